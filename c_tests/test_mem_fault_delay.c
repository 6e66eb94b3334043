/* hmkv_mem_fault("delay=TIME"): a store that is slow to answer. */
#include "locks.h"
#include "requests.h"
#include "test.h"

static hmkv *kv, *other;
static const char *key;

static void begin(void) {
  kv = open_store("timeout=60s");
  other = open_store(NULL);
  key = unique("key");
}

static void end(void) {
  CHECK_OK(hmkv_mem_fault(kv, "delay=0"));
  close_store(kv);
  close_store(other);
}

static hmkv_op *put(const char *value, int64_t timeout_ms) {
  return hmkv_put(kv, key, HMKV_NTS, value, HMKV_NTS, HMKV_PUT_OPTS(.timeout_ms = timeout_ms));
}

static hmkv_op *get(int64_t timeout_ms) {
  return hmkv_range(kv, key, HMKV_NTS, HMKV_RANGE_OPTS(.timeout_ms = timeout_ms));
}

static void each_answer_comes_so_much_later(void) {
  char *value = NULL;
  CHECK_OK(hmkv_mem_fault(kv, "delay=200ms"));
  int64_t begin_ms = now_ms();
  CHECK_OK(hmkv_store(kv, key, "1"));
  CHECK(now_ms() - begin_ms >= 200);
  CHECK_OK(hmkv_get(kv, key, &value));
  CHECK(now_ms() - begin_ms >= 400);
  CHECK_STR("1", value);
  hmkv_free(value);
}

static void delay_0_ends_it(void) {
  CHECK_OK(hmkv_mem_fault(kv, "delay=1h"));
  CHECK_OK(hmkv_mem_fault(kv, "delay=0"));
  CHECK_OK(hmkv_store(kv, key, "1"));
}

static void a_request_reaches_the_store_after_half_of_the_time(void) {
  struct answer answer = {0};
  CHECK_OK(hmkv_mem_fault(kv, "delay=2s"));
  int64_t begin_ms = now_ms();
  hmkv_then(put("1", 0), answer_record, &answer);
  WAIT_UNTIL(has_key(other, key));
  CHECK(now_ms() - begin_ms >= 1000);
  ANSWERED(HMKV_OK, &answer);
  CHECK(now_ms() - begin_ms >= 2000);
  answer_free(&answer);
}

static void a_read_that_is_late_is_unavailable(void) {
  CHECK_OK(hmkv_mem_fault(kv, "delay=1h"));
  int64_t begin_ms = now_ms();
  FINISH(HMKV_EUNAVAIL, get(100));
  CHECK(now_ms() - begin_ms >= 100);
}

static void a_write_that_is_late_is_indeterminate_and_applied_later(void) {
  CHECK_OK(hmkv_mem_fault(kv, "delay=600ms"));
  FINISH(HMKV_EINDETERMINATE, put("1", 50));
  WAIT_UNTIL(has_key(other, key));
}

/* Of two writes an hour before they arrive, the cut lets neither through; a read that
 * follows shows that the line is free again. */
static void or_never_where_a_cut_comes_first(void) {
  CHECK_OK(hmkv_mem_fault(kv, "delay=1h"));
  FINISH(HMKV_EINDETERMINATE, put("late", 1));
  CHECK_STATUS(HMKV_EINDETERMINATE, hmkv_cancel(put("canceled", 0)));
  CHECK_OK(hmkv_mem_fault(kv, "delay=0,cut=1ms"));
  FINISH(HMKV_NOT_FOUND, get(0));
}

static void requests_and_answers_keep_their_order(void) {
  enum { MANY = 50 };
  hmkv_op *ops[MANY];
  for (int i = 0; i < MANY; i++) {
    CHECK_OK(hmkv_mem_fault(kv, i % 3 == 0 ? "delay=200ms" : i % 3 == 1 ? "delay=0" : "delay=50ms"));
    ops[i] = put(text("%d", i), 0);
  }
  int64_t last = 0;
  for (int i = 0; i < MANY; i++) {
    hmkv_result *result = AWAIT(HMKV_OK, ops[i]);
    CHECK(hmkv_result_revision(result) > last);
    last = hmkv_result_revision(result);
    hmkv_result_free(result);
  }
  CHECK_VALUE(other, key, text("%d", MANY - 1));
}

static void a_canceled_write_is_indeterminate_and_a_read_canceled(void) {
  CHECK_OK(hmkv_mem_fault(kv, "delay=1h"));
  CHECK_STATUS(HMKV_EINDETERMINATE, hmkv_cancel(put("1", 0)));
  CHECK_STATUS(HMKV_ECANCELED, hmkv_cancel(get(0)));
}

static void other_handles_are_not_slow(void) {
  CHECK_OK(hmkv_mem_fault(kv, "delay=1h"));
  CHECK_OK(hmkv_store(other, key, "1"));
}

static void a_lock_that_is_released_late_is_held_no_longer(void) {
  hmkv *slow = open_store("timeout=100ms");
  hmkv_lock *lock = take_with(slow, key, HMKV_LOCK_OPTS(.ttl_ms = 60000), NULL), *theirs = NULL;
  CHECK_OK(hmkv_mem_fault(slow, "delay=400ms"));
  CHECK_STATUS(HMKV_EINDETERMINATE, hmkv_lock_release(lock));
  CHECK_OK(hmkv_lock_acquire(other, key, NULL, NULL, NULL, &theirs));
  CHECK_OK(hmkv_lock_release(theirs));
  close_store(slow);
}

static void a_lease_that_is_not_renewed_for_its_time_is_lost(void) {
  struct told told = {0};
  hmkv_lock *lock = take_with(kv, key, HMKV_LOCK_OPTS(.ttl_ms = 2000), &told);
  CHECK_OK(hmkv_mem_fault(kv, "delay=1h"));
  WAIT_UNTIL(atomic_load(&told.lost) == 1);
  CHECK_STATUS(HMKV_ELOST, hmkv_lock_release(lock));
}

static void close_ends_what_is_under_way(void) {
  hmkv *slow = open_store("timeout=60s close_timeout=300ms temp_ttl=2s");
  const char *temp = unique("temp");
  CHECK_OK(hmkv_temp_key(slow, temp));
  CHECK_OK(hmkv_mem_fault(slow, "delay=1h"));
  hmkv_op *write = hmkv_put(slow, key, HMKV_NTS, "1", HMKV_NTS, NULL);
  hmkv_op *read = hmkv_range(slow, key, HMKV_NTS, NULL);
  close_store(slow);
  FINISH(HMKV_EINDETERMINATE, write);
  FINISH(HMKV_ECLOSED, read);
  CHECK(!has_key(other, key));
  WAIT_UNTIL(!has_key(other, temp));
}

static const struct test tests[] = {
    MEM_ONLY(each_answer_comes_so_much_later),
    MEM_ONLY(delay_0_ends_it),
    MEM_ONLY(a_request_reaches_the_store_after_half_of_the_time),
    MEM_ONLY(a_read_that_is_late_is_unavailable),
    MEM_ONLY(a_write_that_is_late_is_indeterminate_and_applied_later),
    MEM_ONLY(or_never_where_a_cut_comes_first),
    MEM_ONLY(requests_and_answers_keep_their_order),
    MEM_ONLY(a_canceled_write_is_indeterminate_and_a_read_canceled),
    MEM_ONLY(other_handles_are_not_slow),
    MEM_ONLY(a_lock_that_is_released_late_is_held_no_longer),
    MEM_ONLY(a_lease_that_is_not_renewed_for_its_time_is_lost),
    MEM_ONLY(close_ends_what_is_under_way),
};
TEST_MAIN(.begin = begin, .end = end)
