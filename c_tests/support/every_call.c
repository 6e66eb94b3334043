#include "every_call.h"

#include "mirrors.h"
#include "requests.h"

static const char key[] = "c_tests/every_call";

static bool never_called(const char *watched, const char *value, hmkv_keychange op,
                         void *userdata) {
  (void)watched, (void)value, (void)op, (void)userdata;
  FAIL("the callback of a watch that was refused");
}

static void no_event(const hmkv_event *event, void *userdata) {
  (void)event, (void)userdata;
  FAIL("the callback of a watch that was refused");
}

static void no_loss(hmkv_status status, const char *detail, void *userdata) {
  (void)status, (void)detail, (void)userdata;
  FAIL("the callback of what was refused");
}

static void not_acquired(hmkv_status status, hmkv_lock *lock, void *userdata) {
  (void)status, (void)lock, (void)userdata;
  FAIL("the callback of a lock that was refused");
}

static void count_free(void *userdata) { ++*(int *)userdata; }

static void text_calls(hmkv *kv, hmkv_status expected) {
  char *value = (char *)"untouched";
  hmkv_result *result = (hmkv_result *)&value;
  CHECK_STATUS(expected, hmkv_store(kv, key, "value"));
  CHECK_STATUS(expected, hmkv_get(kv, key, &value));
  CHECK(value == NULL);
  CHECK_STATUS(expected, hmkv_get_range(kv, key, key, &result));
  CHECK(result == NULL);
  CHECK_STATUS(expected, hmkv_delete(kv, key));
  CHECK_STATUS(expected, hmkv_transaction(kv, key, "=", "a", key, "b", key, "c"));
  CHECK_STATUS(expected, hmkv_tas(kv, key, "a", "b"));
  CHECK_STATUS(expected, hmkv_temp_key(kv, key));
  CHECK_STATUS(expected, hmkv_dist_lock(kv));
  CHECK_STATUS(expected, hmkv_dist_timed_lock(kv, 0));
  CHECK_STATUS(expected, hmkv_dist_unlock(kv));
  CHECK_INT(expected, hmkv_dist_lock_result(kv));
}

static void requests(hmkv *kv, hmkv_status expected) {
  FINISH(expected, hmkv_put(kv, key, HMKV_NTS, "value", HMKV_NTS, NULL));
  FINISH(expected, hmkv_range(kv, key, HMKV_NTS, NULL));
  FINISH(expected, hmkv_remove(kv, key, HMKV_NTS, NULL));
  FINISH(expected, hmkv_ping(kv));
  hmkv_txn *txn = hmkv_txn_new(kv);
  CHECK(txn);
  hmkv_txn_if_value(txn, key, HMKV_NTS, "=", "value", HMKV_NTS);
  hmkv_txn_if_number(txn, key, HMKV_NTS, HMKV_NUMBER_MOD, "=", 1);
  hmkv_txn_put(txn, HMKV_THEN, key, HMKV_NTS, "value", HMKV_NTS, NULL);
  hmkv_txn_range(txn, HMKV_ELSE, key, HMKV_NTS, NULL);
  hmkv_txn_remove(txn, HMKV_ELSE, key, HMKV_NTS, NULL);
  FINISH(expected, hmkv_txn_commit(txn, NULL));
  hmkv_txn_free(hmkv_txn_new(kv));
}

static void watches(hmkv *kv, hmkv_status expected) {
  char *value = (char *)"untouched";
  hmkv_keychange op = 77;
  hmkv_watcher *watcher = (hmkv_watcher *)&value;
  int freed = 0;
  CHECK_STATUS(expected, hmkv_watch(kv, key, HMKV_FOREVER, &value, &op));
  CHECK(value == NULL);
  CHECK_INT(0, op);
  CHECK_STATUS(expected, hmkv_watch_cb(kv, key, 3, never_called, NULL, &watcher));
  CHECK(watcher == NULL);
  watcher = (hmkv_watcher *)&value;
  CHECK_STATUS(expected, hmkv_watch_open(kv, key, HMKV_NTS, NULL, no_event, NULL, &watcher));
  CHECK(watcher == NULL);
  watcher = (hmkv_watcher *)&value;
  CHECK_STATUS(expected, hmkv_watch_open(kv, key, HMKV_NTS,
                                         HMKV_WATCH_OPTS(.userdata_free = count_free), NULL,
                                         &freed, &watcher));
  CHECK(watcher == NULL);
  CHECK_INT(1, freed);
  watcher = (hmkv_watcher *)&value;
  CHECK_STATUS(expected, hmkv_lock_observe(kv, key, no_event, NULL, &watcher));
  CHECK(watcher == NULL);
}

static void mirrors(hmkv *kv, hmkv_status expected) {
  hmkv_mirror *mirror = (hmkv_mirror *)&mirror;
  CHECK_STATUS(expected, hmkv_mirror_open(kv, key, HMKV_NTS, no_event, NULL, &mirror));
  CHECK(mirror == NULL);
}

static void leases_and_locks(hmkv *kv, hmkv_status expected) {
  hmkv_lease *lease = (hmkv_lease *)&lease;
  hmkv_lock *lock = (hmkv_lock *)&lock;
  CHECK_STATUS(expected, hmkv_lease_grant(kv, 60000, no_loss, NULL, &lease));
  CHECK(lease == NULL);
  CHECK_STATUS(expected, hmkv_lock_acquire(kv, key, NULL, no_loss, NULL, &lock));
  CHECK(lock == NULL);
  lock = (hmkv_lock *)&lock;
  CHECK_STATUS(expected, hmkv_lock_acquire(kv, key, HMKV_LOCK_OPTS(.acquired = not_acquired),
                                           no_loss, NULL, &lock));
  CHECK(lock == NULL);
}

void every_call_answers(hmkv *kv, hmkv_status expected) {
  text_calls(kv, expected);
  requests(kv, expected);
  watches(kv, expected);
  mirrors(kv, expected);
  leases_and_locks(kv, expected);
  CHECK_STATUS(expected, hmkv_on_state(kv, NULL, NULL));
  char *told = (char *)"untouched";
  CHECK_STATUS(expected, hmkv_metrics(kv, &told));
  CHECK(told == NULL);
  told = (char *)"untouched";
  CHECK_STATUS(expected, hmkv_cluster_status(kv, &told));
  CHECK(told == NULL);
  CHECK_STATUS(expected, hmkv_mem_fault(kv, "expire"));
  CHECK_STATUS(expected, hmkv_close(kv));
}

void every_watcher_call_answers(hmkv_watcher *watcher, hmkv_status expected) {
  const hmkv_event *event = (const hmkv_event *)&watcher;
  CHECK_STATUS(expected, hmkv_watch_next(watcher, HMKV_FOREVER, &event));
  CHECK(event == NULL);
  CHECK_STATUS(expected, hmkv_watch_close(watcher));
  CHECK_STATUS(expected, hmkv_watch_cb_cancel(watcher));
}

void every_mirror_call_answers(hmkv_mirror *mirror, hmkv_status expected) {
  CHECK_RESULT(expected, hmkv_mirror_get(mirror, key, HMKV_NTS));
  CHECK_RESULT(expected, hmkv_mirror_range(mirror, key, HMKV_NTS, NULL));
  CHECK_STATUS(expected, hmkv_mirror_wait(mirror, INT64_MAX, HMKV_FOREVER));
  CHECK_STATUS(expected, hmkv_mirror_close(mirror));
}

void every_lease_call_answers(hmkv_lease *lease, hmkv_status expected) {
  CHECK_INT(expected, hmkv_lease_id(lease));
  CHECK_INT(expected, hmkv_lease_left_ms(lease));
  CHECK_STATUS(expected, hmkv_lease_close(lease, false));
  CHECK_STATUS(expected, hmkv_lease_close(lease, true));
}

void every_lock_call_answers(hmkv *kv, hmkv_lock *lock, hmkv_status expected) {
  CHECK_INT(expected, hmkv_lock_token(lock));
  CHECK_INT(expected, hmkv_lock_left_ms(lock));
  CHECK_STATUS(expected, hmkv_lock_set(lock, "value", 5));
  CHECK_STATUS(expected, hmkv_lock_release(lock));
  hmkv_txn *txn = hmkv_txn_new(kv);
  hmkv_txn_if_held(txn, lock);
  FINISH(expected, hmkv_txn_commit(txn, NULL));
}
