/* hmkv_mem_fault("cut=TIME"), as far as it differs from the real thing: how long it lasts,
 * whom it concerns, what the state callback hears. test_cut.c has what both have. */
#include "locks.h"
#include "requests.h"
#include "states.h"
#include "test.h"

static hmkv *kv, *other;
static const char *key;
static struct states states;

static void begin(void) {
  kv = open_store("timeout=60s temp_ttl=2s close_timeout=300ms");
  other = open_store(NULL);
  key = unique("key");
  states = (struct states)STATES_NONE;
  CHECK_OK(hmkv_on_state(kv, states_record, &states));
}

static void end(void) {
  close_store(kv);
  close_store(other);
  states_free(&states);
}

static hmkv_op *put(const char *value) {
  return hmkv_put(kv, key, HMKV_NTS, value, HMKV_NTS, NULL);
}

static bool is_unavailable(int64_t timeout_ms) {
  hmkv_range_opts *opts = HMKV_RANGE_OPTS(.timeout_ms = timeout_ms);
  hmkv_result *result = hmkv_await(hmkv_range(kv, key, HMKV_NTS, opts));
  hmkv_status status = hmkv_result_status(result);
  hmkv_result_free(result);
  return status == HMKV_EUNAVAIL;
}

static void a_call_is_unavailable_after_its_timeout(void) {
  CHECK_OK(hmkv_mem_fault(kv, "cut=1h"));
  int64_t begin_ms = now_ms();
  CHECK(is_unavailable(300));
  CHECK(now_ms() - begin_ms >= 300);
  hmkv_op *op = hmkv_put(kv, key, HMKV_NTS, "1", HMKV_NTS, HMKV_PUT_OPTS(.timeout_ms = 50));
  hmkv_result *result = AWAIT(HMKV_EUNAVAIL, op);
  CHECK_STR("cut off by hmkv_mem_fault", hmkv_result_error(result));
  hmkv_result_free(result);
  CHECK_OK(hmkv_mem_fault(kv, "cut=0"));
  CHECK_VALUE(kv, key, NULL);
}

static void a_call_succeeds_when_the_cut_ends_in_its_time(void) {
  int64_t begin_ms = now_ms();
  CHECK_OK(hmkv_mem_fault(kv, "cut=300ms"));
  CHECK_OK(hmkv_store(kv, key, "1"));
  CHECK(now_ms() - begin_ms >= 300);
}

static void cut_0_ends_it_at_once(void) {
  CHECK_OK(hmkv_mem_fault(kv, "cut=1h"));
  hmkv_op *op = put("1");
  CHECK_OK(hmkv_mem_fault(kv, "cut=0"));
  FINISH(HMKV_OK, op);
  CHECK_OK(hmkv_mem_fault(kv, "cut=0"));
  CHECK_OK(hmkv_store(kv, key, "2"));
}

static void a_new_cut_replaces_the_one_that_lasts(void) {
  CHECK_OK(hmkv_mem_fault(kv, "cut=50ms"));
  CHECK_OK(hmkv_mem_fault(kv, "cut=1h"));
  CHECK(is_unavailable(500));
  CHECK_OK(hmkv_mem_fault(kv, "cut=1ms"));
  CHECK_OK(hmkv_store(kv, key, "1"));
}

static void other_handles_are_not_cut(void) {
  CHECK_OK(hmkv_mem_fault(kv, "cut=1h"));
  CHECK_OK(hmkv_store(other, key, "theirs"));
  CHECK_VALUE(other, key, "theirs");
}

static void requests_that_wait_keep_their_order(void) {
  enum { MANY = 100 };
  hmkv_op *ops[MANY];
  CHECK_OK(hmkv_mem_fault(kv, "cut=1h"));
  for (int i = 0; i < MANY; i++) ops[i] = put(text("%d", i));
  CHECK_OK(hmkv_mem_fault(kv, "cut=0"));
  hmkv_op *late = put("late");
  int64_t last = 0;
  for (int i = 0; i <= MANY; i++) {
    hmkv_result *result = AWAIT(HMKV_OK, i < MANY ? ops[i] : late);
    CHECK(hmkv_result_revision(result) > last);
    last = hmkv_result_revision(result);
    hmkv_result_free(result);
  }
  CHECK_VALUE(other, key, "late");
}

static void what_was_under_way_is_sent_again_or_indeterminate(void) {
  CHECK_OK(hmkv_mem_fault(kv, "delay=1h"));
  hmkv_op *write = put("1"), *read = hmkv_range(kv, key, HMKV_NTS, NULL);
  CHECK_OK(hmkv_mem_fault(kv, "cut=1h"));
  hmkv_result *result = AWAIT(HMKV_EINDETERMINATE, write);
  CHECK_STR("the connection broke before the answer came", hmkv_result_error(result));
  hmkv_result_free(result);
  CHECK_OK(hmkv_mem_fault(kv, "delay=0,cut=0"));
  FINISH(HMKV_NOT_FOUND, read);
}

static void the_state_callback_hears_of_each_cut_once(void) {
  CHECK_OK(hmkv_mem_fault(kv, "cut=1h"));
  WAIT_UNTIL(states_count(&states, HMKV_STATE_CUT, "cut off by hmkv_mem_fault") == 1);
  CHECK_OK(hmkv_mem_fault(kv, "cut=30m"));
  CHECK_OK(hmkv_mem_fault(kv, "cut=0"));
  WAIT_UNTIL(states_count(&states, HMKV_STATE_CONNECTED, test_endpoint()) == 1);
  CHECK_OK(hmkv_mem_fault(kv, "cut=0"));
  CHECK_OK(hmkv_mem_fault(kv, "cut=1ms"));
  WAIT_UNTIL(states_count(&states, HMKV_STATE_CONNECTED, test_endpoint()) == 2);
  CHECK_INT(2, states_count(&states, HMKV_STATE_CUT, NULL));
  CHECK_INT(2, states_count(&states, HMKV_STATE_CONNECTED, NULL));
}

static void a_cut_that_outlives_the_lease_tells_all_in_order(void) {
  CHECK_OK(hmkv_temp_key(kv, key));
  CHECK_OK(hmkv_mem_fault(kv, "cut=1h"));
  WAIT_UNTIL(states_count(&states, HMKV_STATE_LEASE_LOST, NULL) == 1);
  CHECK_OK(hmkv_mem_fault(kv, "cut=0"));
  WAIT_UNTIL(states_count(&states, HMKV_STATE_TEMP_KEY_RESTORED, key) == 1);
  static const hmkv_state order[] = {HMKV_STATE_CUT, HMKV_STATE_LEASE_LOST,
                                     HMKV_STATE_CONNECTED, HMKV_STATE_TEMP_KEY_RESTORED};
  CHECK_INT(4, states.count);
  for (int i = 0; i < 4; i++) CHECK_INT(order[i], states.state[i]);
}

static void leases_that_expire_within_a_cut_are_noticed_after_it(void) {
  CHECK_OK(hmkv_temp_key(kv, key));
  CHECK_OK(hmkv_mem_fault(kv, "cut=1h,expire"));
  CHECK(!has_key(other, key));
  CHECK_INT(0, states_count(&states, HMKV_STATE_LEASE_LOST, NULL));
  CHECK_OK(hmkv_mem_fault(kv, "cut=0"));
  WAIT_UNTIL(states_count(&states, HMKV_STATE_TEMP_KEY_RESTORED, key) == 1);
  CHECK(has_key(other, key));
}

/* The example of the header. */
static void a_lost_lock_is_told_before_another_has_it(void) {
  struct told told = {0};
  hmkv_lock_opts *opts = HMKV_LOCK_OPTS(.ttl_ms = 6000, .margin_ms = 2000);
  hmkv_lock *lock = take_with(kv, key, opts, &told), *theirs = NULL;
  CHECK_OK(hmkv_mem_fault(kv, "cut=1h"));
  CHECK_OK(hmkv_lock_acquire(other, key, NULL, NULL, NULL, &theirs));
  CHECK_INT(1, atomic_load(&told.lost));
  CHECK_STATUS(HMKV_ELOST, hmkv_lock_set(lock, "late", HMKV_NTS));
  CHECK_STATUS(HMKV_ELOST, hmkv_lock_release(lock));
  CHECK_OK(hmkv_lock_release(theirs));
}

static void close_ends_what_waits(void) {
  hmkv *cut = open_store("timeout=60s");
  CHECK_OK(hmkv_mem_fault(cut, "cut=1h"));
  hmkv_op *op = hmkv_put(cut, key, HMKV_NTS, "1", HMKV_NTS, NULL);
  close_store(cut);
  FINISH(HMKV_ECLOSED, op);
  CHECK(!has_key(other, key));
}

static const struct test tests[] = {
    MEM_ONLY(a_call_is_unavailable_after_its_timeout),
    MEM_ONLY(a_call_succeeds_when_the_cut_ends_in_its_time),
    MEM_ONLY(cut_0_ends_it_at_once),
    MEM_ONLY(a_new_cut_replaces_the_one_that_lasts),
    MEM_ONLY(other_handles_are_not_cut),
    MEM_ONLY(requests_that_wait_keep_their_order),
    MEM_ONLY(what_was_under_way_is_sent_again_or_indeterminate),
    MEM_ONLY(the_state_callback_hears_of_each_cut_once),
    MEM_ONLY(a_cut_that_outlives_the_lease_tells_all_in_order),
    MEM_ONLY(leases_that_expire_within_a_cut_are_noticed_after_it),
    MEM_ONLY(a_lost_lock_is_told_before_another_has_it),
    MEM_ONLY(close_ends_what_waits),
};
TEST_MAIN(.begin = begin, .end = end)
