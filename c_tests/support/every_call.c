#include "every_call.h"

static bool never_called(const char *key, const char *value, hmkv_keychange op, void *userdata) {
  (void)key, (void)value, (void)op, (void)userdata;
  FAIL("the callback of a watch that was refused");
}

void every_call_answers(hmkv *kv, hmkv_status expected) {
  char *value = (char *)"untouched";
  hmkv_keychange op = 77;
  hmkv_result *result = (hmkv_result *)&value;
  hmkv_watcher *watcher = (hmkv_watcher *)&value;
  const char *key = "c_tests/every_call";
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
  value = (char *)"untouched";
  CHECK_STATUS(expected, hmkv_watch(kv, key, HMKV_FOREVER, &value, &op));
  CHECK(value == NULL);
  CHECK_INT(0, op);
  CHECK_STATUS(expected, hmkv_watch_cb(kv, key, 3, never_called, NULL, &watcher));
  CHECK(watcher == NULL);
  CHECK_STATUS(expected, hmkv_on_state(kv, NULL, NULL));
  CHECK_STATUS(expected, hmkv_mem_fault(kv, "expire"));
  CHECK_STATUS(expected, hmkv_close(kv));
}
