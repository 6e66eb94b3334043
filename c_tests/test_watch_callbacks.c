/* What callbacks may do, and what a blocked one holds up: only its own watch. */
#include "events.h"
#include "test.h"

enum { BLOCKED = 40 };

static hmkv *kv;

static void begin(void) { kv = open_store(text("timeout=30s lock=%s", unique("lock"))); }
static void end(void) { close_store(kv); }

static hmkv_watcher *watch(struct events *events) {
  hmkv_watcher *watcher = NULL;
  CHECK_OK(hmkv_watch_cb(kv, events->key, 3, events_record, events, &watcher));
  return watcher;
}

/* Watches of keys of their own, each with its callback waiting at the gate. */
static void block_callbacks(struct events *blocked, hmkv_watcher **watchers, struct gate *gate) {
  const char *prefix = unique("blocked");
  for (int i = 0; i < BLOCKED; i++) {
    blocked[i] = (struct events)EVENTS_OF(text("%s/%d", prefix, i));
    blocked[i].hold = gate;
    watchers[i] = watch(&blocked[i]);
    CHECK_OK(hmkv_store(kv, blocked[i].key, "value"));
  }
  for (int i = 0; i < BLOCKED; i++) WAIT_UNTIL(atomic_load(&blocked[i].running) == 1);
}

static void a_blocked_callback_delays_only_its_own_watch(void) {
  struct gate gate = GATE_CLOSED;
  static struct events blocked[BLOCKED];
  hmkv_watcher *watchers[BLOCKED];
  block_callbacks(blocked, watchers, &gate);
  /* Other watches, on other keys and on the same. */
  struct events other = EVENTS_OF(unique("other")), same = EVENTS_OF(blocked[0].key);
  hmkv_watcher *other_watcher = watch(&other), *same_watcher = watch(&same);
  for (int i = 0; i < 10; i++) {
    CHECK_OK(hmkv_store(kv, other.key, text("%d", i)));
    CHECK_VALUE(kv, other.key, text("%d", i)); /* gets go on */
    CHECK_OK(hmkv_store(kv, same.key, text("%d", i)));
  }
  events_wait(&other, 10);
  events_wait(&same, 10);
  /* So do locks, temporary keys and waits. */
  CHECK_OK(hmkv_dist_lock(kv));
  CHECK_OK(hmkv_dist_unlock(kv));
  CHECK_OK(hmkv_temp_key(kv, unique("temp")));
  CHECK_STATUS(HMKV_TIMED_OUT, hmkv_watch(kv, other.key, 10, NULL, NULL));
  for (int i = 0; i < BLOCKED; i++) CHECK_INT(0, events_count(&blocked[i]));
  gate_open(&gate);
  events_wait(&blocked[0], 11); /* what came meanwhile is not lost */
  for (int i = 1; i < BLOCKED; i++) events_wait(&blocked[i], 1);
  for (int i = 0; i < BLOCKED; i++) {
    CHECK_OK(hmkv_watch_cb_cancel(watchers[i]));
    events_free(&blocked[i]);
  }
  CHECK_OK(hmkv_watch_cb_cancel(other_watcher));
  CHECK_OK(hmkv_watch_cb_cancel(same_watcher));
  events_free(&other);
  events_free(&same);
}

static void a_blocked_callback_does_not_delay_the_renewal_of_leases(void) {
  struct gate gate = GATE_CLOSED;
  struct events blocked = EVENTS_OF(unique("blocked"));
  hmkv *owner = open_store("temp_ttl=3s");
  hmkv_watcher *watcher = NULL;
  blocked.hold = &gate;
  CHECK_OK(hmkv_watch_cb(owner, blocked.key, 3, events_record, &blocked, &watcher));
  CHECK_OK(hmkv_store(owner, blocked.key, "value"));
  WAIT_UNTIL(atomic_load(&blocked.running) == 1);
  const char *temp = unique("temp");
  CHECK_OK(hmkv_temp_key(owner, temp));
  int64_t lease = lease_of(kv, temp);
  HOLDS_FOR(4000, has_key(kv, temp));
  CHECK_INT(lease, lease_of(kv, temp));
  gate_open(&gate);
  events_wait(&blocked, 1);
  close_store(owner);
  events_free(&blocked);
}

/* Work that comes all the time, and is each time done by another thread. */
static void threads_that_are_too_many_end_under_steady_work(void) {
  struct gate gate = GATE_CLOSED;
  static struct events blocked[BLOCKED];
  hmkv_watcher *watchers[BLOCKED];
  block_callbacks(blocked, watchers, &gate);
  CHECK(count_threads("hmkv-callback") >= BLOCKED);
  gate_open(&gate);
  struct events steady = EVENTS_OF(unique("steady"));
  hmkv_watcher *watcher = watch(&steady);
  size_t stored = 0;
  WAIT_UNTIL((CHECK_OK(hmkv_store(kv, steady.key, "value")), events_wait(&steady, ++stored),
              count_threads("hmkv-callback") <= BLOCKED / 4));
  for (int i = 0; i < BLOCKED; i++) {
    events_wait(&blocked[i], 1);
    CHECK_OK(hmkv_watch_cb_cancel(watchers[i]));
    events_free(&blocked[i]);
  }
  CHECK_OK(hmkv_watch_cb_cancel(watcher));
  events_free(&steady);
}

struct calls {
  const char *key;
  struct events nested;
  hmkv_watcher *nested_watcher;
  atomic_int done;
};

static bool call_everything(const char *key, const char *value, hmkv_keychange op, void *userdata) {
  struct calls *calls = userdata;
  CHECK_INT(HMKV_KEYCHANGE_PUT, op);
  CHECK_STR("start", value);
  CHECK_VALUE(kv, key, "start");
  CHECK_OK(hmkv_store(kv, calls->key, "stored inside"));
  CHECK_OK(hmkv_tas(kv, calls->key, "stored inside", "set inside"));
  CHECK_OK(hmkv_transaction(kv, calls->key, "=", "set inside", calls->key, "done", NULL, NULL));
  CHECK_INT(1, count_keys(kv, calls->key));
  CHECK_OK(hmkv_temp_key(kv, text("%s-temp", calls->key)));
  CHECK_OK(hmkv_dist_lock(kv));
  CHECK_INT(HMKV_LOCK_GRANTED, hmkv_dist_lock_result(kv));
  CHECK_OK(hmkv_dist_unlock(kv));
  CHECK_OK(hmkv_dist_timed_lock(kv, 1));
  CHECK_OK(hmkv_dist_unlock(kv));
  CHECK_STATUS(HMKV_TIMED_OUT, hmkv_watch(kv, calls->key, 20, NULL, NULL));
  CHECK_OK(hmkv_on_state(kv, NULL, NULL));
  /* Another watch, whose callback runs while this one does. */
  calls->nested = (struct events)EVENTS_OF(text("%s-nested", calls->key));
  CHECK_OK(hmkv_watch_cb(kv, calls->nested.key, 3, events_record, &calls->nested,
                         &calls->nested_watcher));
  CHECK_OK(hmkv_store(kv, calls->nested.key, "nested"));
  events_wait(&calls->nested, 1);
  CHECK_OK(hmkv_watch_cb_cancel(calls->nested_watcher));
  CHECK_OK(hmkv_delete(kv, calls->key));
  /* A store of its own. */
  hmkv *own = open_store(NULL);
  CHECK_OK(hmkv_store(own, calls->key, "by an own store"));
  CHECK_OK(hmkv_close(own));
  atomic_fetch_add(&calls->done, 1);
  return true;
}

static void callbacks_may_call_everything(void) {
  struct calls calls = {.key = unique("target")};
  const char *key = unique("key");
  hmkv_watcher *watcher = NULL;
  CHECK_OK(hmkv_watch_cb(kv, key, 3, call_everything, &calls, &watcher));
  CHECK_OK(hmkv_store(kv, key, "start"));
  WAIT_UNTIL(atomic_load(&calls.done) == 1);
  CHECK_VALUE(kv, calls.key, "by an own store");
  CHECK_OK(hmkv_watch_cb_cancel(watcher));
  events_free(&calls.nested);
}

static atomic_int chain_length;

static bool next_in_chain(const char *key, const char *value, hmkv_keychange op, void *userdata) {
  (void)op, (void)userdata;
  int number = atoi(value);
  if (number < 200) CHECK_OK(hmkv_store(kv, key, text("%d", number + 1)));
  atomic_store(&chain_length, number);
  return true;
}

static void a_callback_may_store_the_key_that_it_watches(void) {
  hmkv_watcher *watcher = NULL;
  const char *key = unique("chain");
  CHECK_OK(hmkv_watch_cb(kv, key, 3, next_in_chain, NULL, &watcher));
  CHECK_OK(hmkv_store(kv, key, "1"));
  WAIT_UNTIL(atomic_load(&chain_length) == 200);
  CHECK_OK(hmkv_watch_cb_cancel(watcher));
}

/* In small frames, because checkers take a big one for a change of the stack. */
static int use_stack(int kibibytes) {
  volatile char frame[1024];
  frame[0] = (char)kibibytes;
  int below = kibibytes > 0 ? use_stack(kibibytes - 1) : 0;
  return below + (frame[0] == (char)kibibytes);
}

static bool use_the_stack(const char *key, const char *value, hmkv_keychange op, void *userdata) {
  (void)key, (void)value, (void)op;
  enum { KIBIBYTES = 3 * 1024 }; /* of the 8 MiB that other threads have */
  CHECK_INT(KIBIBYTES + 1, use_stack(KIBIBYTES));
  atomic_store((atomic_bool *)userdata, true);
  return true;
}

static void callbacks_have_the_stack_of_other_threads(void) {
  atomic_bool done = false;
  const char *key = unique("key");
  hmkv_watcher *watcher = NULL;
  CHECK_OK(hmkv_watch_cb(kv, key, 3, use_the_stack, &done, &watcher));
  CHECK_OK(hmkv_store(kv, key, "value"));
  WAIT_UNTIL(atomic_load(&done));
  CHECK_OK(hmkv_watch_cb_cancel(watcher));
}

static bool tell_thread(const char *key, const char *value, hmkv_keychange op, void *userdata) {
  (void)key, (void)value, (void)op;
  char name[64] = "";
  CHECK_INT(0, pthread_getname_np(pthread_self(), name, sizeof name));
  if (strncmp(name, "hmkv-", 5) != 0) FAIL("a callback runs on thread \"%s\"", name);
  atomic_store((atomic_bool *)userdata, true);
  return true;
}

static void callbacks_run_on_library_threads(void) {
  atomic_bool done = false;
  const char *key = unique("key");
  hmkv_watcher *watcher = NULL;
  CHECK_OK(hmkv_watch_cb(kv, key, 3, tell_thread, &done, &watcher));
  CHECK_OK(hmkv_store(kv, key, "value"));
  WAIT_UNTIL(atomic_load(&done));
  CHECK_OK(hmkv_watch_cb_cancel(watcher));
}

static const struct test tests[] = {
    BOTH(a_blocked_callback_delays_only_its_own_watch),
    BOTH(threads_that_are_too_many_end_under_steady_work),
    BOTH(a_blocked_callback_does_not_delay_the_renewal_of_leases),
    BOTH(callbacks_may_call_everything),
    BOTH(a_callback_may_store_the_key_that_it_watches),
    BOTH(callbacks_have_the_stack_of_other_threads),
    BOTH(callbacks_run_on_library_threads),
};
TEST_MAIN(.begin = begin, .end = end)
