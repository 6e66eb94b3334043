/* hmkv_mem_fault("indeterminate"): writes that get no answer. */
#include "calls.h"
#include "leases.h"
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
  close_store(kv);
  close_store(other);
}

/* Each writes "new" where there was "old". */
static hmkv_status store(void) { return hmkv_store(kv, key, "new"); }
static hmkv_status tas(void) { return hmkv_tas(kv, key, "old", "new"); }
static hmkv_status transaction(void) {
  return hmkv_transaction(kv, key, "=", "old", key, "new", NULL, NULL);
}
static hmkv_status await(hmkv_op *op) {
  hmkv_result *result = hmkv_await(op);
  hmkv_status status = hmkv_result_status(result);
  hmkv_result_free(result);
  return status;
}
static hmkv_status put(void) {
  return await(hmkv_put(kv, key, HMKV_NTS, "new", HMKV_NTS, NULL));
}
static hmkv_status commit(void) {
  hmkv_txn *txn = hmkv_txn_new(kv);
  hmkv_txn_put(txn, HMKV_THEN, key, HMKV_NTS, "new", HMKV_NTS, NULL);
  return await(hmkv_txn_commit(txn, NULL));
}
/* These delete it. */
static hmkv_status delete(void) { return hmkv_delete(kv, key); }
static hmkv_status remove_key(void) { return await(hmkv_remove(kv, key, HMKV_NTS, NULL)); }

static const struct {
  hmkv_status (*write)(void);
  const char *after;
} writes[] = {{store, "new"},  {tas, "new"},     {transaction, "new"}, {put, "new"},
              {commit, "new"}, {delete, NULL}, {remove_key, NULL}};
enum { WRITES = sizeof writes / sizeof *writes };

static void each_write_is_applied_or_is_not(void) {
  static const struct {
    const char *spec;
    bool applied;
  } faults[] = {{"indeterminate=applied", true},
                {"indeterminate", true},
                {"indeterminate=dropped", false}};
  for (int i = 0; i < 3 * WRITES; i++) {
    CHECK_OK(hmkv_store(kv, key, "old"));
    CHECK_OK(hmkv_mem_fault(kv, faults[i / WRITES].spec));
    CHECK_STATUS(HMKV_EINDETERMINATE, writes[i % WRITES].write());
    CHECK_VALUE(kv, key, faults[i / WRITES].applied ? writes[i % WRITES].after : "old");
    /* The next one has its answer. */
    CHECK_OK(hmkv_store(kv, key, "old"));
    CHECK_OK(writes[i % WRITES].write());
    CHECK_VALUE(other, key, writes[i % WRITES].after);
  }
}

static void given_several_times_it_concerns_so_many_writes(void) {
  CHECK_OK(hmkv_mem_fault(kv, "indeterminate=dropped"));
  CHECK_OK(hmkv_mem_fault(kv, "indeterminate,indeterminate=dropped"));
  CHECK_STATUS(HMKV_EINDETERMINATE, hmkv_store(kv, key, "1"));
  CHECK_VALUE(kv, key, NULL);
  CHECK_STATUS(HMKV_EINDETERMINATE, hmkv_store(kv, key, "2"));
  CHECK_VALUE(kv, key, "2");
  CHECK_STATUS(HMKV_EINDETERMINATE, hmkv_store(kv, key, "3"));
  CHECK_VALUE(kv, key, "2");
  CHECK_OK(hmkv_store(kv, key, "4"));
}

static void it_is_for_the_next_write_of_this_handle(void) {
  CHECK_OK(hmkv_mem_fault(kv, "indeterminate=dropped"));
  CHECK_OK(hmkv_store(other, key, "theirs"));
  CHECK_VALUE(kv, key, "theirs");
  FINISH(HMKV_OK, hmkv_ping(kv));
  hmkv_op *op = hmkv_put(kv, key, HMKV_NTS, "mine", HMKV_NTS, NULL);
  FINISH(HMKV_EINDETERMINATE, op);
  CHECK_VALUE(kv, key, "theirs");
}

static void what_the_library_repeats_is_left_out(void) {
  const char *name = unique("lock");
  CHECK_OK(hmkv_mem_fault(kv, "indeterminate"));
  hmkv_lease *lease = lease_new(kv, 2000, NULL);
  hmkv_lock *lock = take(kv, name, NULL);
  CHECK_OK(hmkv_lock_release(lock));
  CHECK_OK(hmkv_dist_lock(kv));
  CHECK_OK(hmkv_dist_unlock(kv));
  CHECK_OK(hmkv_lease_close(lease, true));
  CHECK_STATUS(HMKV_EINDETERMINATE, hmkv_store(kv, key, "1"));
}

static void a_temporary_key_is_made_by_the_second_call(void) {
  static const char *const specs[] = {"indeterminate=applied", "indeterminate=dropped"};
  for (int i = 0; i < 2; i++) {
    CHECK_OK(hmkv_mem_fault(kv, specs[i]));
    CHECK_STATUS(HMKV_EINDETERMINATE, hmkv_temp_key(kv, key));
    CHECK_INT(i == 0, has_key(other, key));
    CHECK_OK(hmkv_temp_key(kv, key));
    CHECK(lease_of(other, key) != 0);
    CHECK_OK(hmkv_delete(kv, key));
  }
}

static void a_lock_is_held_still(void) {
  struct told told = {0};
  hmkv_lock *lock = take_with(kv, key, NULL, &told);
  CHECK_OK(hmkv_mem_fault(kv, "indeterminate=dropped"));
  CHECK_STATUS(HMKV_EINDETERMINATE, hmkv_lock_set(lock, "value", HMKV_NTS));
  CHECK(hmkv_lock_left_ms(lock) > 0);
  CHECK_OK(hmkv_lock_set(lock, "value", HMKV_NTS));
  CHECK_OK(hmkv_lock_release(lock));
  CHECK(told_nothing(&told));
}

/* A conditional write repairs it: the one that was applied makes it fail, and no other
 * is applied twice. */
static void a_test_and_set_settles_it(void) {
  CHECK_OK(hmkv_store(kv, key, "1"));
  CHECK_OK(hmkv_mem_fault(kv, "indeterminate=applied"));
  CHECK_STATUS(HMKV_EINDETERMINATE, hmkv_tas(kv, key, "1", "2"));
  CHECK_STATUS(HMKV_COMPARE_FAILED, hmkv_tas(kv, key, "1", "2"));
  CHECK_OK(hmkv_mem_fault(kv, "indeterminate=dropped"));
  CHECK_STATUS(HMKV_EINDETERMINATE, hmkv_tas(kv, key, "2", "3"));
  CHECK_OK(hmkv_tas(kv, key, "2", "3"));
}

static void with_a_delay_it_is_answered_as_late(void) {
  CHECK_OK(hmkv_mem_fault(kv, "delay=200ms,indeterminate"));
  int64_t begin_ms = now_ms();
  CHECK_STATUS(HMKV_EINDETERMINATE, hmkv_store(kv, key, "1"));
  CHECK(now_ms() - begin_ms >= 200);
  CHECK_OK(hmkv_mem_fault(kv, "delay=0"));
  CHECK_VALUE(kv, key, "1");
}

static void a_write_that_waits_out_a_cut_is_lost_after_it(void) {
  CHECK_OK(hmkv_mem_fault(kv, "indeterminate,cut=1h"));
  hmkv_op *op = hmkv_put(kv, key, HMKV_NTS, "1", HMKV_NTS, NULL);
  hmkv_op *canceled = hmkv_put(kv, key, HMKV_NTS, "2", HMKV_NTS, NULL);
  CHECK_STATUS(HMKV_ECANCELED, hmkv_cancel(canceled));
  CHECK_OK(hmkv_mem_fault(kv, "cut=0"));
  FINISH(HMKV_EINDETERMINATE, op);
  CHECK_VALUE(kv, key, "1");
}

/* Under all faults at once: no acknowledged write is missing, no refused one applied. */
static void every_answer_is_true_in_a_storm(void) {
  static const char *const specs[] = {"cut=5ms", "delay=4ms", "indeterminate=applied",
                                      "indeterminate=dropped", "delay=0", "cut=0", "delay=20ms"};
  struct callers callers;
  hmkv *stormy = open_store("timeout=12ms");
  callers_start(&callers, stormy, 1);
  unsigned seed = 1;
  for (int i = 0; i < rounds(1000, 100); i++) {
    CHECK_OK(hmkv_mem_fault(stormy, specs[rand_r(&seed) % 7]));
    usleep(2000);
  }
  CHECK_OK(hmkv_mem_fault(stormy, "delay=0,cut=0"));
  callers_stop(&callers);
  close_store(stormy);
  struct span span = callers_span(&callers, 0, INT64_MAX, 0, INT64_MAX);
  CHECK(span.by_status[0] > 0 && span.by_status[-HMKV_EUNAVAIL] > 0);
  CHECK(span.by_status[-HMKV_EINDETERMINATE] > 0);
  callers_verify(&callers, other);
  callers_free(&callers);
}

static const struct test tests[] = {
    MEM_ONLY(each_write_is_applied_or_is_not),
    MEM_ONLY(given_several_times_it_concerns_so_many_writes),
    MEM_ONLY(it_is_for_the_next_write_of_this_handle),
    MEM_ONLY(what_the_library_repeats_is_left_out),
    MEM_ONLY(a_temporary_key_is_made_by_the_second_call),
    MEM_ONLY(a_lock_is_held_still),
    MEM_ONLY(a_test_and_set_settles_it),
    MEM_ONLY(with_a_delay_it_is_answered_as_late),
    MEM_ONLY(a_write_that_waits_out_a_cut_is_lost_after_it),
    MEM_ONLY(every_answer_is_true_in_a_storm),
};
TEST_MAIN(.begin = begin, .end = end)
