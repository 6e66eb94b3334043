/* NULL where none is allowed is HMKV_EINVAL, in every argument of every function;
 * where it is allowed it works. */
#include "events.h"
#include "mirrors.h"
#include "requests.h"
#include "test.h"

static hmkv *kv;
static const char *key;

static void begin(void) {
  kv = open_store(NULL);
  key = unique("key");
}

static void end(void) { close_store(kv); }

#define REFUSED(call) CHECK_STATUS(HMKV_EINVAL, call)

static void open_needs_an_endpoint_and_an_output(void) {
  hmkv *out = (hmkv *)&out;
  REFUSED(hmkv_open(NULL, NULL, &out));
  CHECK(out == NULL);
  REFUSED(hmkv_open(test_endpoint(), NULL, NULL));
  REFUSED(hmkv_open(NULL, NULL, NULL));
}

static void store_and_delete_need_key_and_value(void) {
  REFUSED(hmkv_store(kv, NULL, "value"));
  REFUSED(hmkv_store(kv, key, NULL));
  REFUSED(hmkv_store(kv, NULL, NULL));
  REFUSED(hmkv_delete(kv, NULL));
  CHECK_VALUE(kv, key, NULL);
}

static void get_needs_key_and_output(void) {
  char *value = (char *)"untouched";
  REFUSED(hmkv_get(kv, NULL, &value));
  CHECK(value == NULL);
  REFUSED(hmkv_get(kv, key, NULL));
}

static void get_range_needs_both_bounds_and_an_output(void) {
  hmkv_result *result = (hmkv_result *)&result;
  REFUSED(hmkv_get_range(kv, NULL, key, &result));
  CHECK(result == NULL);
  result = (hmkv_result *)&result;
  REFUSED(hmkv_get_range(kv, key, NULL, &result));
  CHECK(result == NULL);
  REFUSED(hmkv_get_range(kv, key, key, NULL));
}

static void transaction_needs_key_op_and_value(void) {
  const char *other = unique("other");
  CHECK_OK(hmkv_store(kv, key, "a"));
  REFUSED(hmkv_transaction(kv, NULL, "=", "a", other, "b", NULL, NULL));
  REFUSED(hmkv_transaction(kv, key, NULL, "a", other, "b", NULL, NULL));
  REFUSED(hmkv_transaction(kv, key, "=", NULL, other, "b", NULL, NULL));
  REFUSED(hmkv_transaction(kv, key, "=", "a", other, NULL, NULL, NULL));
  REFUSED(hmkv_transaction(kv, key, "=", "a", NULL, NULL, other, NULL));
  CHECK_VALUE(kv, other, NULL);
  CHECK_OK(hmkv_transaction(kv, key, "=", "a", NULL, NULL, NULL, NULL));
  CHECK_OK(hmkv_transaction(kv, key, "=", "a", NULL, "ignored", NULL, "ignored"));
}

static void tas_needs_all_three(void) {
  CHECK_OK(hmkv_store(kv, key, "a"));
  REFUSED(hmkv_tas(kv, NULL, "a", "b"));
  REFUSED(hmkv_tas(kv, key, NULL, "b"));
  REFUSED(hmkv_tas(kv, key, "a", NULL));
  CHECK_VALUE(kv, key, "a");
}

static void temp_key_needs_a_key(void) { REFUSED(hmkv_temp_key(kv, NULL)); }

static void watch_needs_a_key_alone(void) {
  char *value = (char *)"untouched";
  hmkv_keychange op = 77;
  REFUSED(hmkv_watch(kv, NULL, 0, &value, &op));
  CHECK(value == NULL);
  CHECK_INT(0, op);
  CHECK_STATUS(HMKV_TIMED_OUT, hmkv_watch(kv, key, 0, NULL, NULL));
  CHECK_STATUS(HMKV_TIMED_OUT, hmkv_watch(kv, key, 0, &value, NULL));
  CHECK_STATUS(HMKV_TIMED_OUT, hmkv_watch(kv, key, 0, NULL, &op));
}

static void watch_cb_needs_key_callback_and_output(void) {
  struct events events = EVENTS_OF(key);
  hmkv_watcher *watcher = (hmkv_watcher *)&watcher;
  REFUSED(hmkv_watch_cb(kv, NULL, 3, events_record, &events, &watcher));
  CHECK(watcher == NULL);
  watcher = (hmkv_watcher *)&watcher;
  REFUSED(hmkv_watch_cb(kv, key, 3, NULL, &events, &watcher));
  CHECK(watcher == NULL);
  REFUSED(hmkv_watch_cb(kv, key, 3, events_record, &events, NULL));
  struct events good = EVENTS_OF(key);
  CHECK_OK(hmkv_watch_cb(kv, key, 3, events_record, &good, &watcher));
  CHECK_OK(hmkv_store(kv, key, "value"));
  events_wait(&good, 1);
  CHECK_INT(0, events_count(&events)); /* no watch is left over */
  CHECK_OK(hmkv_watch_cb_cancel(watcher));
  events_free(&good);
}

static void on_state_takes_null(void) {
  CHECK_OK(hmkv_on_state(kv, NULL, NULL));
  CHECK_OK(hmkv_on_state(kv, NULL, &kv));
}

static void metrics_and_cluster_status_need_an_output(void) {
  REFUSED(hmkv_metrics(kv, NULL));
  REFUSED(hmkv_cluster_status(kv, NULL));
}

static void mem_fault_needs_a_text(void) { REFUSED(hmkv_mem_fault(kv, NULL)); }

/* ---- requests ---- */

static void await_then_and_cancel_take_null(void) {
  hmkv_result *result = hmkv_await(NULL);
  struct answer answer = {0};
  REFUSED(hmkv_result_status(result));
  CHECK(*hmkv_result_error(result));
  hmkv_result_free(result);
  REFUSED(hmkv_cancel(NULL));
  hmkv_then(NULL, NULL, NULL);
  hmkv_then(NULL, answer_record, &answer);
  ANSWERED(HMKV_EINVAL, &answer);
  answer_free(&answer);
  hmkv_then(hmkv_ping(kv), NULL, NULL);
}

static void requests_need_a_key_and_a_value_unless_their_length_is_0(void) {
  FINISH(HMKV_EINVAL, hmkv_put(kv, NULL, 1, "value", 5, NULL));
  FINISH(HMKV_EINVAL, hmkv_put(kv, NULL, HMKV_NTS, "value", 5, NULL));
  FINISH(HMKV_EINVAL, hmkv_put(kv, key, HMKV_NTS, NULL, 1, NULL));
  FINISH(HMKV_EINVAL, hmkv_put(kv, key, HMKV_NTS, NULL, HMKV_NTS, NULL));
  FINISH(HMKV_EINVAL, hmkv_put(kv, NULL, 0, NULL, 0, NULL));
  FINISH(HMKV_EINVAL, hmkv_range(kv, NULL, 1, HMKV_RANGE_OPTS(.prefix = 1)));
  FINISH(HMKV_EINVAL, hmkv_range(kv, NULL, HMKV_NTS, HMKV_RANGE_OPTS(.prefix = 1)));
  FINISH(HMKV_EINVAL, hmkv_remove(kv, NULL, 1, HMKV_REMOVE_OPTS(.prefix = 1)));
  FINISH(HMKV_EINVAL, hmkv_remove(kv, NULL, HMKV_NTS, HMKV_REMOVE_OPTS(.prefix = 1)));
  CHECK_VALUE(kv, key, NULL);
  FINISH(HMKV_OK, hmkv_put(kv, key, HMKV_NTS, NULL, 0, NULL));
  CHECK_VALUE(kv, key, "");
  FINISH(HMKV_OK, hmkv_range(kv, NULL, 0, HMKV_RANGE_OPTS(.prefix = 1, .count_only = 1)));
}

/* ---- transactions ---- */

/* Takes what `add` made of a new transaction. */
#define TXN_REFUSED(add)                                                      \
  do {                                                                        \
    hmkv_txn *txn = hmkv_txn_new(kv);                                         \
    hmkv_txn_put(txn, HMKV_THEN, key, HMKV_NTS, "written", HMKV_NTS, NULL);   \
    add;                                                                      \
    FINISH(HMKV_EINVAL, hmkv_txn_commit(txn, NULL));                          \
  } while (0)

static void the_calls_of_a_transaction_take_null_for_it(void) {
  hmkv_txn_if_value(NULL, key, HMKV_NTS, "=", "value", 5);
  hmkv_txn_if_number(NULL, key, HMKV_NTS, HMKV_NUMBER_MOD, "=", 1);
  hmkv_txn_if_held(NULL, NULL);
  hmkv_txn_put(NULL, HMKV_THEN, key, HMKV_NTS, "value", 5, NULL);
  hmkv_txn_range(NULL, HMKV_THEN, key, HMKV_NTS, NULL);
  hmkv_txn_remove(NULL, HMKV_THEN, key, HMKV_NTS, NULL);
  hmkv_txn_put(NULL, 77, NULL, 1, NULL, 1, NULL);
  FINISH(HMKV_EINVAL, hmkv_txn_commit(NULL, NULL));
  hmkv_txn_free(NULL);
  CHECK_VALUE(kv, key, NULL);
}

static void a_transaction_needs_keys_operators_and_values(void) {
  TXN_REFUSED(hmkv_txn_if_value(txn, NULL, 1, "=", "value", 5));
  TXN_REFUSED(hmkv_txn_if_value(txn, NULL, 0, "=", "value", 5));
  TXN_REFUSED(hmkv_txn_if_value(txn, key, HMKV_NTS, NULL, "value", 5));
  TXN_REFUSED(hmkv_txn_if_value(txn, key, HMKV_NTS, "=", NULL, 5));
  TXN_REFUSED(hmkv_txn_if_value(txn, key, HMKV_NTS, "=", NULL, HMKV_NTS));
  TXN_REFUSED(hmkv_txn_if_number(txn, NULL, 1, HMKV_NUMBER_MOD, "=", 1));
  TXN_REFUSED(hmkv_txn_if_number(txn, key, HMKV_NTS, HMKV_NUMBER_MOD, NULL, 1));
  TXN_REFUSED(hmkv_txn_put(txn, HMKV_ELSE, NULL, 1, "value", 5, NULL));
  TXN_REFUSED(hmkv_txn_put(txn, HMKV_ELSE, NULL, 0, "value", 5, NULL));
  TXN_REFUSED(hmkv_txn_put(txn, HMKV_ELSE, key, HMKV_NTS, NULL, 5, NULL));
  TXN_REFUSED(hmkv_txn_range(txn, HMKV_ELSE, NULL, 1, NULL));
  TXN_REFUSED(hmkv_txn_range(txn, HMKV_ELSE, NULL, 0, NULL));
  TXN_REFUSED(hmkv_txn_remove(txn, HMKV_ELSE, NULL, HMKV_NTS, NULL));
  TXN_REFUSED(hmkv_txn_remove(txn, HMKV_ELSE, NULL, 0, NULL));
  CHECK_VALUE(kv, key, NULL);
  hmkv_txn *txn = hmkv_txn_new(kv);
  hmkv_txn_if_held(txn, NULL);
  FINISH(HMKV_EHANDLE, hmkv_txn_commit(txn, NULL));
  txn = hmkv_txn_new(kv);
  hmkv_txn_if_value(txn, key, HMKV_NTS, "=", NULL, 0);
  hmkv_txn_put(txn, HMKV_ELSE, key, HMKV_NTS, NULL, 0, NULL);
  FINISH(HMKV_COMPARE_FAILED, hmkv_txn_commit(txn, NULL));
  CHECK_VALUE(kv, key, "");
}

/* ---- event watches, leases, locks ---- */

static void event(const hmkv_event *event, void *userdata) { (void)event, (void)userdata; }

static void watch_open_needs_key_and_output(void) {
  hmkv_watcher *watcher = (hmkv_watcher *)&watcher;
  REFUSED(hmkv_watch_open(kv, NULL, 1, NULL, event, NULL, &watcher));
  CHECK(watcher == NULL);
  watcher = (hmkv_watcher *)&watcher;
  REFUSED(hmkv_watch_open(kv, NULL, 0, NULL, event, NULL, &watcher));
  CHECK(watcher == NULL);
  REFUSED(hmkv_watch_open(kv, NULL, HMKV_NTS, HMKV_WATCH_OPTS(.prefix = 1), event, NULL, &watcher));
  REFUSED(hmkv_watch_open(kv, key, HMKV_NTS, NULL, event, NULL, NULL));
  CHECK_OK(hmkv_watch_open(kv, key, HMKV_NTS, NULL, event, NULL, &watcher));
  CHECK_OK(hmkv_watch_close(watcher));
  CHECK_OK(hmkv_watch_open(kv, NULL, 0, HMKV_WATCH_OPTS(.prefix = 1), event, NULL, &watcher));
  CHECK_OK(hmkv_watch_close(watcher));
}

static void watch_next_needs_an_output(void) {
  hmkv_watcher *watcher = NULL;
  CHECK_OK(hmkv_watch_open(kv, key, HMKV_NTS, NULL, NULL, NULL, &watcher));
  REFUSED(hmkv_watch_next(watcher, 0, NULL));
  const hmkv_event *none = (const hmkv_event *)&none;
  CHECK_STATUS(HMKV_TIMED_OUT, hmkv_watch_next(watcher, 0, &none));
  CHECK(none == NULL);
  CHECK_OK(hmkv_watch_close(watcher));
}

static void mirror_open_needs_an_output_and_a_prefix_unless_its_length_is_0(void) {
  hmkv_mirror *mirror = (hmkv_mirror *)&mirror;
  REFUSED(hmkv_mirror_open(kv, NULL, 1, event, NULL, &mirror));
  CHECK(mirror == NULL);
  mirror = (hmkv_mirror *)&mirror;
  REFUSED(hmkv_mirror_open(kv, NULL, HMKV_NTS, event, NULL, &mirror));
  CHECK(mirror == NULL);
  REFUSED(hmkv_mirror_open(kv, key, HMKV_NTS, event, NULL, NULL));
  CHECK_OK(hmkv_mirror_open(kv, NULL, 0, NULL, NULL, &mirror));
  CHECK_RESULT(HMKV_EINVAL, hmkv_mirror_get(mirror, NULL, 1));
  CHECK_RESULT(HMKV_EINVAL, hmkv_mirror_get(mirror, NULL, 0));
  CHECK_RESULT(HMKV_EINVAL, hmkv_mirror_range(mirror, NULL, 1, NULL));
  CHECK_RESULT(HMKV_EINVAL, hmkv_mirror_range(mirror, NULL, 0, NULL));
  CHECK_RESULT(HMKV_OK, hmkv_mirror_range(mirror, NULL, 0, HMKV_RANGE_OPTS(.prefix = 1)));
  CHECK_OK(hmkv_mirror_close(mirror));
}

static void lease_grant_needs_an_output_alone(void) {
  hmkv_lease *lease = NULL;
  REFUSED(hmkv_lease_grant(kv, 60000, NULL, NULL, NULL));
  CHECK_OK(hmkv_lease_grant(kv, 60000, NULL, NULL, &lease));
  CHECK_OK(hmkv_lease_close(lease, true));
}

static void lock_acquire_needs_a_name_and_an_output(void) {
  hmkv_lock *lock = (hmkv_lock *)&lock;
  REFUSED(hmkv_lock_acquire(kv, NULL, NULL, NULL, NULL, &lock));
  CHECK(lock == NULL);
  REFUSED(hmkv_lock_acquire(kv, key, NULL, NULL, NULL, NULL));
  REFUSED(hmkv_lock_acquire(kv, key, HMKV_LOCK_OPTS(.value_len = 1), NULL, NULL, &lock));
  CHECK_INT(0, count_keys(kv, key));
  CHECK_OK(hmkv_lock_acquire(kv, key, NULL, NULL, NULL, &lock));
  REFUSED(hmkv_lock_set(lock, NULL, 1));
  REFUSED(hmkv_lock_set(lock, NULL, HMKV_NTS));
  CHECK_OK(hmkv_lock_set(lock, NULL, 0));
  CHECK_OK(hmkv_lock_release(lock));
}

static void lock_observe_needs_name_callback_and_output(void) {
  hmkv_watcher *watcher = (hmkv_watcher *)&watcher;
  REFUSED(hmkv_lock_observe(kv, NULL, event, NULL, &watcher));
  CHECK(watcher == NULL);
  watcher = (hmkv_watcher *)&watcher;
  REFUSED(hmkv_lock_observe(kv, key, NULL, NULL, &watcher));
  CHECK(watcher == NULL);
  REFUSED(hmkv_lock_observe(kv, key, event, NULL, NULL));
}

static void free_functions_accept_null(void) {
  hmkv_free(NULL);
  hmkv_result_free(NULL);
  hmkv_txn_free(NULL);
  hmkv_set_log(HMKV_LOG_OFF, NULL, NULL);
}

static const struct test tests[] = {
    BOTH(open_needs_an_endpoint_and_an_output),
    BOTH(store_and_delete_need_key_and_value),
    BOTH(get_needs_key_and_output),
    BOTH(get_range_needs_both_bounds_and_an_output),
    BOTH(transaction_needs_key_op_and_value),
    BOTH(tas_needs_all_three),
    BOTH(temp_key_needs_a_key),
    BOTH(watch_needs_a_key_alone),
    BOTH(watch_cb_needs_key_callback_and_output),
    BOTH(on_state_takes_null),
    BOTH(metrics_and_cluster_status_need_an_output),
    BOTH(mem_fault_needs_a_text),
    BOTH(await_then_and_cancel_take_null),
    BOTH(requests_need_a_key_and_a_value_unless_their_length_is_0),
    BOTH(the_calls_of_a_transaction_take_null_for_it),
    BOTH(a_transaction_needs_keys_operators_and_values),
    BOTH(watch_open_needs_key_and_output),
    BOTH(watch_next_needs_an_output),
    BOTH(mirror_open_needs_an_output_and_a_prefix_unless_its_length_is_0),
    BOTH(lease_grant_needs_an_output_alone),
    BOTH(lock_acquire_needs_a_name_and_an_output),
    BOTH(lock_observe_needs_name_callback_and_output),
    BOTH(free_functions_accept_null),
};
TEST_MAIN(.begin = begin, .end = end)
