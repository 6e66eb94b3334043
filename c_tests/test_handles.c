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

static void bad_watcher(hmkv_watcher *bad) {
  CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_cb_cancel(bad));
}

static void null_handles(void) {
  bad_store(NULL);
  bad_watcher(NULL);
}

static void closed_handles(void) {
  hmkv *closed = open_store(NULL);
  struct events events = EVENTS_OF(unique("key"));
  hmkv_watcher *cancelled = NULL, *orphan = NULL;
  CHECK_OK(hmkv_watch_cb(closed, events.key, 3, events_record, &events, &cancelled));
  CHECK_OK(hmkv_watch_cb(closed, events.key, 3, events_record, &events, &orphan));
  CHECK_OK(hmkv_watch_cb_cancel(cancelled));
  bad_watcher(cancelled);
  close_store(closed);
  bad_store(closed);
  bad_watcher(cancelled);
  bad_watcher(orphan);
}

static void stale_handles_whose_place_is_taken_again(void) {
  enum { COUNT = 50 };
  hmkv *old[COUNT];
  hmkv_watcher *old_watchers[COUNT];
  struct events events = EVENTS_OF(unique("key"));
  for (int i = 0; i < COUNT; i++) {
    old[i] = open_store(NULL);
    CHECK_OK(hmkv_watch_cb(old[i], events.key, 3, events_record, &events, &old_watchers[i]));
    for (int j = 0; j < i; j++) CHECK(old[i] != old[j]);
    close_store(old[i]);
  }
  hmkv *now = open_store(NULL);
  hmkv_watcher *watcher = NULL;
  CHECK_OK(hmkv_watch_cb(now, events.key, 3, events_record, &events, &watcher));
  for (int i = 0; i < COUNT; i++) {
    bad_watcher(old_watchers[i]);
    bad_store(old[i]);
  }
  CHECK_OK(hmkv_store(now, events.key, "value"));
  events_wait(&events, 1); /* the new ones are still there */
  CHECK_OK(hmkv_watch_cb_cancel(watcher));
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
    if (forged[i] == good) continue;
    bad_store((hmkv *)forged[i]);
    bad_watcher((hmkv_watcher *)forged[i]);
  }
  free(on_the_heap);
}

static void each_single_bit_of_a_handle_counts(void) {
  hmkv_watcher *watcher = NULL;
  struct events events = EVENTS_OF(unique("key"));
  CHECK_OK(hmkv_watch_cb(kv, events.key, 3, events_record, &events, &watcher));
  for (unsigned bit = 0; bit < 8 * sizeof(void *); bit++) {
    uintptr_t flip = (uintptr_t)1 << bit;
    bad_store((hmkv *)((uintptr_t)kv ^ flip));
    bad_watcher((hmkv_watcher *)((uintptr_t)watcher ^ flip));
  }
  CHECK_OK(hmkv_store(kv, events.key, "value"));
  events_wait(&events, 1);
  CHECK_OK(hmkv_watch_cb_cancel(watcher));
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
  }
}

static void a_watcher_is_no_store_and_a_store_no_watcher(void) {
  hmkv_watcher *watcher = NULL;
  struct events events = EVENTS_OF(unique("key"));
  CHECK_OK(hmkv_watch_cb(kv, events.key, 3, events_record, &events, &watcher));
  CHECK((void *)watcher != (void *)kv);
  bad_store((hmkv *)watcher);
  bad_watcher((hmkv_watcher *)kv);
  CHECK_OK(hmkv_store(kv, events.key, "value"));
  events_wait(&events, 1);
  CHECK_OK(hmkv_watch_cb_cancel(watcher));
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
    BOTH(a_watcher_is_no_store_and_a_store_no_watcher),
    BOTH(it_has_a_text),
};
TEST_MAIN(.begin = begin, .end = end)
