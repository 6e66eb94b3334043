/* Handles are validated, never trusted: NULL, closed, stale, forged and foreign ones
 * are answered with HMKV_EHANDLE, harmlessly. */
#include "events.h"
#include "every_call.h"
#include "test.h"

static hmkv *kv; /* a good one, which must not be disturbed */

static void begin(void) { kv = open_store(NULL); }

static void end(void) {
  CHECK_OK(hmkv_store(kv, unique("key"), "undisturbed"));
  close_store(kv);
}

static void bad_store(hmkv *bad) { every_call_answers(bad, HMKV_EHANDLE); }

static void bad_watcher(hmkv_watcher *bad) { every_watcher_call_answers(bad, HMKV_EHANDLE); }

static void bad_mirror(hmkv_mirror *bad) { every_mirror_call_answers(bad, HMKV_EHANDLE); }

static void bad_lease(hmkv_lease *bad) { every_lease_call_answers(bad, HMKV_EHANDLE); }

static void bad_lock(hmkv_lock *bad) { every_lock_call_answers(kv, bad, HMKV_EHANDLE); }

/* A handle that is of none of the kinds. */
static void bad_handle(void *bad) {
  bad_store(bad);
  bad_watcher(bad);
  bad_mirror(bad);
  bad_lease(bad);
  bad_lock(bad);
}

static void null_handles(void) { bad_handle(NULL); }

/* One of each kind, made by `of`. */
struct children {
  hmkv_watcher *watcher, *pulled, *observer;
  hmkv_mirror *mirror;
  hmkv_lease *lease;
  hmkv_lock *lock;
};

static void ignore_event(const hmkv_event *event, void *userdata) {
  (void)event, (void)userdata;
}

static struct children children_of(hmkv *of, struct events *events) {
  struct children new = {0};
  const char *name = unique("lock");
  CHECK_OK(hmkv_watch_cb(of, events->key, 3, events_record, events, &new.watcher));
  CHECK_OK(hmkv_watch_open(of, events->key, HMKV_NTS, NULL, NULL, NULL, &new.pulled));
  CHECK_OK(hmkv_lock_observe(of, name, ignore_event, NULL, &new.observer));
  CHECK_OK(hmkv_mirror_open(of, events->key, HMKV_NTS, NULL, NULL, &new.mirror));
  CHECK_OK(hmkv_lease_grant(of, 60000, NULL, NULL, &new.lease));
  CHECK_OK(hmkv_lock_acquire(of, name, NULL, NULL, NULL, &new.lock));
  return new;
}

static void retire(const struct children *old) {
  CHECK_OK(hmkv_watch_cb_cancel(old->watcher));
  CHECK_OK(hmkv_watch_close(old->pulled));
  CHECK_OK(hmkv_watch_close(old->observer));
  CHECK_OK(hmkv_mirror_close(old->mirror));
  CHECK_OK(hmkv_lease_close(old->lease, true));
  CHECK_OK(hmkv_lock_release(old->lock));
}

static void all_are_bad(const struct children *old) {
  bad_handle(old->watcher);
  bad_handle(old->pulled);
  bad_handle(old->observer);
  bad_handle(old->mirror);
  bad_handle(old->lease);
  bad_handle(old->lock);
}

static void closed_handles(void) {
  hmkv *closed = open_store(NULL);
  struct events events = EVENTS_OF(unique("key"));
  struct children retired = children_of(closed, &events), orphans = children_of(closed, &events);
  retire(&retired);
  all_are_bad(&retired);
  close_store(closed);
  bad_handle(closed);
  all_are_bad(&retired);
  all_are_bad(&orphans);
}

static void stale_handles_whose_place_is_taken_again(void) {
  enum { COUNT = 50 };
  hmkv *old[COUNT];
  struct children old_children[COUNT];
  struct events events = EVENTS_OF(unique("key"));
  for (int i = 0; i < COUNT; i++) {
    old[i] = open_store(NULL);
    old_children[i] = children_of(old[i], &events);
    for (int j = 0; j < i; j++) CHECK(old[i] != old[j]);
    close_store(old[i]);
  }
  hmkv *now = open_store(NULL);
  struct children children = children_of(now, &events);
  for (int i = 0; i < COUNT; i++) {
    all_are_bad(&old_children[i]);
    bad_handle(old[i]);
  }
  CHECK_OK(hmkv_store(now, events.key, "value"));
  events_wait(&events, 1); /* the new ones are still there */
  retire(&children);
  close_store(now);
  events_free(&events);
}

static void forged_handles(void) {
  int on_the_stack = 0;
  void *on_the_heap = malloc(64);
  CHECK(on_the_heap);
  memset(on_the_heap, 0x41, 64);
  uintptr_t good = (uintptr_t)kv;
  const uintptr_t forged[] = {
      1, 2, 7, 8, 16, 0xff, 0x1000, 0xdeadbeef, UINTPTR_MAX, UINTPTR_MAX - 1,
      UINTPTR_MAX / 2, UINTPTR_MAX / 2 + 1, (uintptr_t)&on_the_stack, (uintptr_t)on_the_heap,
      (uintptr_t)&forged_handles, (uintptr_t)"text", good + 1, good - 1, good ^ 2, good + 4096,
      ~good, good << 1, good ^ ((uintptr_t)1 << 32), good ^ ((uintptr_t)1 << 63),
      good ^ ((uintptr_t)1 << 48),
  };
  for (size_t i = 0; i < sizeof forged / sizeof *forged; i++) {
    if (forged[i] != good) bad_handle((void *)forged[i]);
  }
  free(on_the_heap);
}

static void each_single_bit_of_a_handle_counts(void) {
  struct events events = EVENTS_OF(unique("key"));
  struct children children = children_of(kv, &events);
  for (unsigned bit = 0; bit < 8 * sizeof(void *); bit++) {
    uintptr_t flip = (uintptr_t)1 << bit;
    bad_store((hmkv *)((uintptr_t)kv ^ flip));
    hmkv_watcher *other = (hmkv_watcher *)((uintptr_t)children.watcher ^ flip);
    if (other != children.pulled && other != children.observer) bad_watcher(other);
    bad_mirror((hmkv_mirror *)((uintptr_t)children.mirror ^ flip));
    bad_lease((hmkv_lease *)((uintptr_t)children.lease ^ flip));
    bad_lock((hmkv_lock *)((uintptr_t)children.lock ^ flip));
  }
  CHECK_OK(hmkv_store(kv, events.key, "value"));
  events_wait(&events, 1);
  retire(&children);
  events_free(&events);
}

static void random_bits(void) {
  unsigned seed = 12345;
  for (int i = 0; i < rounds(3000, 300); i++) {
    uintptr_t bits = 0;
    for (int j = 0; j < 5; j++) bits = bits << 15 ^ (uintptr_t)rand_r(&seed);
    if (bits == (uintptr_t)kv) continue;
    char *value = (char *)"untouched";
    CHECK_STATUS(HMKV_EHANDLE, hmkv_get((hmkv *)bits, "key", &value));
    CHECK(value == NULL);
    bad_watcher((hmkv_watcher *)bits);
    bad_mirror((hmkv_mirror *)bits);
    bad_lease((hmkv_lease *)bits);
    bad_lock((hmkv_lock *)bits);
  }
}

static void a_handle_of_one_kind_is_none_of_another(void) {
  struct events events = EVENTS_OF(unique("key"));
  struct children children = children_of(kv, &events);
  void *const handles[] = {kv, children.watcher, children.pulled, children.observer,
                           children.mirror, children.lease, children.lock};
  for (int i = 0; i < 7; i++) {
    for (int j = 0; j < i; j++) CHECK(handles[i] != handles[j]);
    if (i != 0) bad_store(handles[i]);
    if (i < 1 || i > 3) bad_watcher(handles[i]);
    if (i != 4) bad_mirror(handles[i]);
    if (i != 5) bad_lease(handles[i]);
    if (i != 6) bad_lock(handles[i]);
  }
  CHECK_OK(hmkv_store(kv, events.key, "value"));
  events_wait(&events, 1);
  CHECK(hmkv_lease_left_ms(children.lease) > 0);
  CHECK(hmkv_lock_left_ms(children.lock) > 0);
  retire(&children);
  events_free(&events);
}

static void it_has_a_text(void) {
  CHECK_STATUS(HMKV_EHANDLE, hmkv_store((hmkv *)0x1234, "key", "value"));
  CHECK(*hmkv_errmsg());
}

static const struct test tests[] = {
    BOTH(null_handles),
    BOTH(closed_handles),
    BOTH(stale_handles_whose_place_is_taken_again),
    BOTH(forged_handles),
    BOTH(each_single_bit_of_a_handle_counts),
    BOTH(random_bits),
    BOTH(a_handle_of_one_kind_is_none_of_another),
    BOTH(it_has_a_text),
};
TEST_MAIN(.begin = begin, .end = end)
