/* Locks with a value, and hmkv_lock_observe. The tool's elections:
 * test_lock_etcdctl.c. */
#include "locks.h"
#include "recorder.h"
#include "test.h"

static const char *name;
static hmkv *one, *two, *three; /* the last is for observers */

static void begin(void) {
  name = unique("election");
  one = open_store(NULL);
  two = open_store(NULL);
  three = open_store(NULL);
}

static void end(void) {
  close_store(one);
  close_store(two);
  close_store(three);
}

static hmkv_lock *lead(hmkv *kv, const char *value) {
  return take_with(kv, name, HMKV_LOCK_OPTS(.value = value, .value_len = HMKV_NTS), NULL);
}

static void stand(struct waiter *waiter, hmkv *kv, const char *value) {
  waiter_start(waiter, kv, name, HMKV_LOCK_OPTS(.value = value, .value_len = HMKV_NTS));
}

static hmkv_watcher *observe(hmkv *kv, struct recorder *recorder) {
  hmkv_watcher *watcher = NULL;
  CHECK_OK(hmkv_lock_observe(kv, name, recorder_event, recorder, &watcher));
  CHECK(watcher);
  return watcher;
}

static void finish(hmkv_watcher *watcher, struct recorder *recorder) {
  CHECK_OK(hmkv_watch_close(watcher));
  CHECK_INT(0, atomic_load(&recorder->running));
  recorder_free(recorder);
}

static void check_leader(struct recorder *recorder, size_t i, const char *key, const char *value) {
  struct recorded event = recorder_at(recorder, i);
  CHECK_INT(HMKV_EVENT_PUT, event.type);
  CHECK_STR(key, event.kv.key);
  CHECK_STR(value, event.kv.value);
  CHECK(event.kv.lease > 0);
}

static void check_none(struct recorder *recorder, size_t i, const char *former) {
  struct recorded event = recorder_at(recorder, i);
  CHECK_INT(HMKV_EVENT_DELETE, event.type);
  CHECK_STR(former, event.kv.key);
}

/* ---- the value ---- */

static void the_value_is_that_of_the_key(void) {
  hmkv_lock *lock = lead(one, "host-1:80");
  CHECK_VALUE(two, queue_key(two, name, 0), "host-1:80");
  CHECK_OK(hmkv_lock_release(lock));
}

static void a_waiter_has_its_value_in_the_queue(void) {
  struct waiter waiter;
  hmkv_lock *lock = lead(one, "first");
  stand(&waiter, two, "second");
  CHECK_VALUE(two, queue_key(two, name, 0), "first");
  CHECK_VALUE(two, queue_key(two, name, 1), "second");
  CHECK_OK(hmkv_lock_release(lock));
  CHECK_OK(waiter_join(&waiter));
  CHECK_VALUE(two, queue_key(two, name, 0), "second");
  CHECK_OK(hmkv_lock_release(waiter.lock));
}

static void a_value_may_hold_any_bytes(void) {
  hmkv_lock *lock = take_with(one, name, HMKV_LOCK_OPTS(.value = "a\0b", .value_len = 3), NULL);
  hmkv_result *result = read_key(two, queue_key(two, name, 0));
  CHECK_INT(3, hmkv_result_kv(result, 0)->value_len);
  CHECK_INT(0, memcmp("a\0b", hmkv_result_kv(result, 0)->value, 4));
  hmkv_result_free(result);
  CHECK_OK(hmkv_lock_set(lock, "\0", 1));
  result = read_key(two, queue_key(two, name, 0));
  CHECK_INT(1, hmkv_result_kv(result, 0)->value_len);
  hmkv_result_free(result);
  CHECK_OK(hmkv_lock_release(lock));
}

static void set_changes_it_and_nothing_else(void) {
  hmkv_lock *lock = lead(one, "1");
  const char *key = queue_key(two, name, 0);
  int64_t lease = lease_of(two, key);
  for (int i = 2; i < 6; i++) {
    CHECK_OK(hmkv_lock_set(lock, text("%d", i), HMKV_NTS));
    hmkv_result *result = read_key(two, key);
    const hmkv_kv *kv = hmkv_result_kv(result, 0);
    CHECK_STR(text("%d", i), kv->value);
    CHECK_INT(i, kv->version);
    CHECK_INT(lease, kv->lease);
    CHECK_INT(hmkv_lock_token(lock), kv->create_revision);
    hmkv_result_free(result);
  }
  CHECK_OK(hmkv_lock_set(lock, NULL, 0));
  CHECK_VALUE(two, key, "");
  CHECK_STATUS(HMKV_EINVAL, hmkv_lock_set(lock, NULL, 1));
  check_busy(two, name);
  CHECK_OK(hmkv_lock_release(lock));
  CHECK_INT(0, queue_length(two, name));
}

/* Whether the loss was seen here or not. */
static void after_a_loss_set_writes_nothing(void) {
  for (int again = 0; again < 2; again++) {
    hmkv_lock *lock = lead(one, "mine");
    const char *key = queue_key(two, name, 0);
    CHECK_OK(hmkv_delete(two, key));
    if (again) CHECK_OK(hmkv_store(two, key, "theirs"));
    CHECK_STATUS(HMKV_ELOST, hmkv_lock_set(lock, "late", HMKV_NTS));
    CHECK_VALUE(two, key, again ? "theirs" : NULL);
    WAIT_UNTIL(hmkv_lock_left_ms(lock) == 0);
    CHECK_STATUS(HMKV_ELOST, hmkv_lock_set(lock, "late", HMKV_NTS));
    CHECK_VALUE(two, key, again ? "theirs" : NULL);
    CHECK_STATUS(HMKV_ELOST, hmkv_lock_release(lock));
    CHECK_OK(hmkv_delete(two, key));
  }
}

/* ---- observers ---- */

static void an_observer_sees_the_present_leader_at_once(void) {
  struct recorder recorder = RECORDER;
  hmkv_lock *lock = lead(one, "here");
  CHECK_OK(hmkv_lock_set(lock, "still here", HMKV_NTS));
  hmkv_watcher *watcher = observe(three, &recorder);
  recorder_wait(&recorder, 1);
  check_leader(&recorder, 0, queue_key(two, name, 0), "still here");
  CHECK_INT(hmkv_lock_token(lock), recorder_at(&recorder, 0).kv.create_revision);
  finish(watcher, &recorder);
  CHECK_OK(hmkv_lock_release(lock));
}

static void without_a_leader_it_is_told_of_the_first(void) {
  struct recorder recorder = RECORDER;
  hmkv_watcher *watcher = observe(three, &recorder);
  HOLDS_FOR(200, recorder_count(&recorder) == 0);
  hmkv_lock *lock = lead(one, "first");
  const char *key = queue_key(two, name, 0);
  recorder_wait(&recorder, 1);
  check_leader(&recorder, 0, key, "first");
  CHECK_OK(hmkv_lock_release(lock));
  recorder_wait(&recorder, 2);
  check_none(&recorder, 1, key);
  finish(watcher, &recorder);
}

static void changes_of_the_value_are_told(void) {
  struct recorder recorder = RECORDER;
  hmkv_watcher *watcher = observe(three, &recorder);
  hmkv_lock *lock = lead(one, "0");
  const char *key = queue_key(two, name, 0);
  recorder_wait(&recorder, 1);
  for (size_t i = 1; i < 10; i++) {
    CHECK_OK(hmkv_lock_set(lock, text("%zu", i), HMKV_NTS));
    recorder_wait(&recorder, i + 1);
    check_leader(&recorder, i, key, text("%zu", i));
    CHECK(recorder_at(&recorder, i).revision > recorder_at(&recorder, i - 1).revision);
  }
  finish(watcher, &recorder);
  CHECK_OK(hmkv_lock_release(lock));
}

static void the_lead_goes_from_hand_to_hand_and_ends(void) {
  enum { STANDING = 4 };
  struct recorder recorder = RECORDER;
  struct waiter waiters[STANDING];
  const char *keys[STANDING + 1];
  hmkv_watcher *watcher = observe(three, &recorder);
  hmkv_lock *lock = lead(one, "0");
  keys[0] = queue_key(two, name, 0);
  for (size_t i = 0; i < STANDING; i++) {
    stand(&waiters[i], i % 2 ? one : two, text("%zu", i + 1));
    keys[i + 1] = queue_key(two, name, i + 1);
  }
  recorder_wait(&recorder, 1);
  HOLDS_FOR(200, recorder_count(&recorder) == 1); /* who stands in line leads not */
  for (size_t i = 0; i <= STANDING; i++) {
    check_leader(&recorder, i, keys[i], text("%zu", i));
    CHECK_OK(hmkv_lock_release(lock));
    recorder_wait(&recorder, i + 2);
    if (i == STANDING) break;
    CHECK_OK(waiter_join(&waiters[i]));
    lock = waiters[i].lock;
  }
  check_none(&recorder, STANDING + 1, keys[STANDING]);
  HOLDS_FOR(100, recorder_count(&recorder) == STANDING + 2);
  finish(watcher, &recorder);
}

/* Joining the queue, leaving it and proclaiming in it are no business of observers. */
static void what_happens_behind_the_leader_is_not_told(void) {
  struct recorder recorder = RECORDER;
  struct told told = {0};
  hmkv_lock *lock = lead(one, "leader"), *asked = NULL;
  hmkv_watcher *watcher = observe(three, &recorder);
  recorder_wait(&recorder, 1);
  check_busy(two, name);
  CHECK_OK(hmkv_lock_acquire(two, name, HMKV_LOCK_OPTS(.acquired = told_acquired), NULL, &told,
                             &asked));
  WAIT_UNTIL(queue_length(one, name) == 2);
  const char *behind = queue_key(one, name, 1);
  hmkv_result *result = hmkv_await(hmkv_put(one, behind, HMKV_NTS, "standing", HMKV_NTS,
                                            HMKV_PUT_OPTS(.lease = lease_of(one, behind))));
  CHECK_OK(hmkv_result_status(result));
  hmkv_result_free(result);
  CHECK_OK(hmkv_lock_release(asked));
  CHECK_OK(hmkv_store(one, text("%s0/", name), "beside it"));
  CHECK_OK(hmkv_lock_set(lock, "after all", HMKV_NTS));
  recorder_wait(&recorder, 2);
  check_leader(&recorder, 1, queue_key(one, name, 0), "after all");
  finish(watcher, &recorder);
  CHECK_OK(hmkv_lock_release(lock));
}

static void a_lost_lead_is_told(void) {
  struct recorder recorder = RECORDER;
  hmkv_watcher *watcher = observe(three, &recorder);
  hmkv_lock *lock = lead(one, "a");
  const char *key = queue_key(two, name, 0);
  recorder_wait(&recorder, 1);
  lose_lease(one, key);
  recorder_wait(&recorder, 2);
  check_none(&recorder, 1, key);
  WAIT_UNTIL(hmkv_lock_left_ms(lock) == 0);
  CHECK_STATUS(HMKV_ELOST, hmkv_lock_release(lock));
  lock = lead(two, "b");
  recorder_wait(&recorder, 3);
  check_leader(&recorder, 2, queue_key(two, name, 0), "b");
  finish(watcher, &recorder);
  CHECK_OK(hmkv_lock_release(lock));
}

static void observers_of_all_stores_see_the_same(void) {
  enum { OBSERVERS = 6 };
  hmkv *const stores[] = {one, two, three};
  struct recorder recorders[OBSERVERS];
  hmkv_watcher *watchers[OBSERVERS];
  for (int i = 0; i < OBSERVERS; i++) {
    recorders[i] = (struct recorder)RECORDER;
    watchers[i] = observe(stores[i % 3], &recorders[i]);
  }
  hmkv_lock *lock = lead(one, "a"); /* it may observe itself */
  const char *key = queue_key(two, name, 0);
  for (int i = 0; i < OBSERVERS; i++) recorder_wait(&recorders[i], 1);
  CHECK_OK(hmkv_lock_set(lock, "b", HMKV_NTS));
  for (int i = 0; i < OBSERVERS; i++) recorder_wait(&recorders[i], 2);
  CHECK_OK(hmkv_lock_release(lock));
  for (int i = 0; i < OBSERVERS; i++) {
    recorder_wait(&recorders[i], 3);
    check_leader(&recorders[i], 0, key, "a");
    check_leader(&recorders[i], 1, key, "b");
    check_none(&recorders[i], 2, key);
    finish(watchers[i], &recorders[i]);
  }
}

static void changes_that_come_too_fast_are_told_in_order(void) {
  enum { LAST = 200 };
  struct gate gate = GATE_CLOSED;
  struct recorder recorder = RECORDER;
  recorder.hold = &gate;
  hmkv_lock *lock = lead(one, "0");
  const char *key = queue_key(two, name, 0);
  hmkv_watcher *watcher = observe(three, &recorder);
  WAIT_UNTIL(atomic_load(&recorder.entered) == 1);
  for (int i = 1; i <= LAST; i++) CHECK_OK(hmkv_lock_set(lock, text("%d", i), HMKV_NTS));
  gate_open(&gate);
  const char *last = text("%d", LAST);
  WAIT_UNTIL(recorder_count(&recorder) > 1 &&
             strcmp(recorder_last_of(&recorder, key).kv.value, last) == 0);
  int64_t revision = 0;
  for (size_t i = 0; i < recorder_count(&recorder); i++) {
    CHECK(recorder_at(&recorder, i).revision > revision);
    revision = recorder_at(&recorder, i).revision;
  }
  finish(watcher, &recorder);
  CHECK_OK(hmkv_lock_release(lock));
}

static void after_its_close_an_observer_is_not_called(void) {
  for (int i = 0; i < 2; i++) {
    struct recorder recorder = RECORDER;
    hmkv_lock *lock = lead(one, "a");
    hmkv_watcher *watcher = observe(three, &recorder);
    recorder_wait(&recorder, 1);
    CHECK_OK(i ? hmkv_watch_cb_cancel(watcher) : hmkv_watch_close(watcher));
    CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_close(watcher));
    CHECK_OK(hmkv_lock_set(lock, "b", HMKV_NTS));
    CHECK_OK(hmkv_lock_release(lock));
    HOLDS_FOR(100, atomic_load(&recorder.entered) == 1);
    recorder_free(&recorder);
  }
}

static void an_observer_has_a_callback_alone(void) {
  struct recorder recorder = RECORDER;
  const hmkv_event *event = (const hmkv_event *)&event;
  hmkv_watcher *watcher = observe(three, &recorder);
  CHECK_STATUS(HMKV_EINVAL, hmkv_watch_next(watcher, 0, &event));
  finish(watcher, &recorder);
}

static void an_observer_with_wrong_arguments_is_refused(void) {
  hmkv_watcher *none = (hmkv_watcher *)&none;
  struct recorder recorder = RECORDER;
  CHECK_STATUS(HMKV_EINVAL, hmkv_lock_observe(one, "", recorder_event, &recorder, &none));
  CHECK(none == NULL);
  CHECK_STATUS(HMKV_EINVAL, hmkv_lock_observe(one, NULL, recorder_event, &recorder, &none));
  CHECK_STATUS(HMKV_EINVAL, hmkv_lock_observe(one, name, NULL, &recorder, &none));
  CHECK_STATUS(HMKV_EINVAL, hmkv_lock_observe(one, name, recorder_event, &recorder, NULL));
  CHECK_STATUS(HMKV_EHANDLE, hmkv_lock_observe(NULL, name, recorder_event, &recorder, &none));
  hmkv *dead = open_at(dead_endpoint(), "timeout=300ms");
  CHECK_STATUS(HMKV_EUNAVAIL, hmkv_lock_observe(dead, name, recorder_event, &recorder, &none));
  CHECK(none == NULL);
  close_store(dead);
  CHECK_INT(0, atomic_load(&recorder.entered));
}

static const struct test tests[] = {
    BOTH(the_value_is_that_of_the_key),
    BOTH(a_waiter_has_its_value_in_the_queue),
    BOTH(a_value_may_hold_any_bytes),
    BOTH(set_changes_it_and_nothing_else),
    BOTH(after_a_loss_set_writes_nothing),
    BOTH(an_observer_sees_the_present_leader_at_once),
    BOTH(without_a_leader_it_is_told_of_the_first),
    BOTH(changes_of_the_value_are_told),
    BOTH(the_lead_goes_from_hand_to_hand_and_ends),
    BOTH(what_happens_behind_the_leader_is_not_told),
    BOTH(a_lost_lead_is_told),
    BOTH(observers_of_all_stores_see_the_same),
    BOTH(changes_that_come_too_fast_are_told_in_order),
    BOTH(after_its_close_an_observer_is_not_called),
    BOTH(an_observer_has_a_callback_alone),
    BOTH(an_observer_with_wrong_arguments_is_refused),
};
TEST_MAIN(.begin = begin, .end = end)
