/* hmkv_dist_lock_result in each state. RELEASE_FAIL needs a server that does not
 * answer: test_server_faults.c. */
#include "test.h"

static hmkv *one, *two;
static const char *queue;

static void begin(void) {
  const char *name = unique("lock");
  queue = text("%s/", name);
  one = open_store(text("lock=%s", name));
  two = open_store(text("lock=%s", name));
}

static void end(void) {
  close_store(one);
  close_store(two);
}

static void never_tried_is_invalid(void) {
  CHECK_INT(HMKV_LOCK_RSLT_INVALID, hmkv_dist_lock_result(one));
  CHECK_OK(hmkv_dist_unlock(one));
  CHECK_INT(HMKV_LOCK_RSLT_INVALID, hmkv_dist_lock_result(one));
}

static void held_is_granted(void) {
  CHECK_OK(hmkv_dist_lock(one));
  CHECK_INT(HMKV_LOCK_GRANTED, hmkv_dist_lock_result(one));
  CHECK_INT(HMKV_LOCK_RSLT_INVALID, hmkv_dist_lock_result(two)); /* each tells its own */
}

static void found_held_by_another_is_occupied(void) {
  CHECK_OK(hmkv_dist_lock(one));
  CHECK_STATUS(HMKV_BUSY, hmkv_dist_timed_lock(two, 0));
  CHECK_INT(HMKV_LOCK_OCCUPIED, hmkv_dist_lock_result(two));
  CHECK_INT(HMKV_LOCK_GRANTED, hmkv_dist_lock_result(one));
  CHECK_OK(hmkv_dist_unlock(one));
  CHECK_OK(hmkv_dist_timed_lock(two, 0));
  CHECK_INT(HMKV_LOCK_GRANTED, hmkv_dist_lock_result(two));
}

static void unlocked_is_released(void) {
  CHECK_OK(hmkv_dist_lock(one));
  CHECK_OK(hmkv_dist_unlock(one));
  CHECK_INT(HMKV_LOCK_RELEASED, hmkv_dist_lock_result(one));
  CHECK_OK(hmkv_dist_lock(one));
  CHECK_INT(HMKV_LOCK_GRANTED, hmkv_dist_lock_result(one));
}

static void a_failed_attempt_is_set_fail(void) {
  hmkv *kv = open_at(dead_endpoint(), "timeout=300ms");
  CHECK_STATUS(HMKV_EUNAVAIL, hmkv_dist_timed_lock(kv, 0));
  CHECK_INT(HMKV_LOCK_SET_FAIL, hmkv_dist_lock_result(kv));
  close_store(kv);
}

static void lost_while_held_is_invalid(void) {
  CHECK_OK(hmkv_dist_lock(one));
  hmkv_result *result = list_keys(one, queue);
  CHECK_INT(1, hmkv_result_count(result));
  lose_lease(one, hmkv_result_kv(result, 0)->key);
  hmkv_result_free(result);
  WAIT_UNTIL(hmkv_dist_lock_result(one) == HMKV_LOCK_RSLT_INVALID);
}

static void on_a_bad_handle_it_is_a_status(void) {
  CHECK_INT(HMKV_EHANDLE, hmkv_dist_lock_result(NULL));
}

static const struct test tests[] = {
    BOTH(never_tried_is_invalid),
    BOTH(held_is_granted),
    BOTH(found_held_by_another_is_occupied),
    BOTH(unlocked_is_released),
    BOTH(a_failed_attempt_is_set_fail),
    BOTH(lost_while_held_is_invalid),
    BOTH(on_a_bad_handle_it_is_a_status),
};
TEST_MAIN(.begin = begin, .end = end)
