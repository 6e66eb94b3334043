/* NULL where none is allowed is HMKV_EINVAL, in every argument of every function;
 * where it is allowed it works. */
#include "events.h"
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

static void mem_fault_needs_a_text(void) { REFUSED(hmkv_mem_fault(kv, NULL)); }

static void free_functions_accept_null(void) {
  hmkv_free(NULL);
  hmkv_result_free(NULL);
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
    BOTH(mem_fault_needs_a_text),
    BOTH(free_functions_accept_null),
};
TEST_MAIN(.begin = begin, .end = end)
