/* hmkv_transaction. */
#include "test.h"

static hmkv *kv;

static void begin(void) { kv = open_store(NULL); }
static void end(void) { close_store(kv); }

/* One compare with both branches, each to a key of its own. */
static void compare(const char *stored, const char *op, const char *value, bool expected) {
  const char *key = unique("key"), *then_key = unique("then"), *else_key = unique("else");
  if (stored) CHECK_OK(hmkv_store(kv, key, stored));
  hmkv_status status = hmkv_transaction(kv, key, op, value, then_key, "T", else_key, "E");
  if (status != (expected ? HMKV_OK : HMKV_COMPARE_FAILED))
    FAIL("\"%s\" %s \"%s\": %s", stored ? stored : "(none)", op, value, hmkv_status_name(status));
  CHECK_VALUE(kv, then_key, expected ? "T" : NULL);
  CHECK_VALUE(kv, else_key, expected ? NULL : "E");
  CHECK_VALUE(kv, key, stored);
}

static void each_operator_takes_its_branch(void) {
  compare("b", "=", "b", true);
  compare("b", "=", "a", false);
  compare("b", "!=", "a", true);
  compare("b", "!=", "b", false);
  compare("b", "<", "c", true);
  compare("b", "<", "b", false);
  compare("b", "<", "a", false);
  compare("b", ">", "a", true);
  compare("b", ">", "b", false);
  compare("b", ">", "c", false);
}

static void values_compare_bytewise_shorter_first(void) {
  compare("a", "<", "aa", true);
  compare("aa", ">", "a", true);
  compare("B", "<", "a", true);
  compare("\x7f", "<", "\x80", true);
  compare("\xff", ">", "a", true);
  compare("10", "<", "9", true);
  compare("", "<", "a", true);
  compare("", "=", "", true);
  compare("", "!=", "", false);
  compare("a", ">", "", true);
}

static void on_a_missing_key_every_operator_is_false(void) {
  static const char *const operators[] = {"=", "!=", "<", ">"};
  for (int i = 0; i < 4; i++) {
    compare(NULL, operators[i], "a", false);
    compare(NULL, operators[i], "", false);
  }
}

static void any_other_operator_is_refused_and_nothing_written(void) {
  static const char *const bad[] = {"", "==", "<=", ">=", "<>", "!", " =", "= ", "eq", "x", "=\n"};
  const char *key = unique("key"), *then_key = unique("then"), *else_key = unique("else");
  CHECK_OK(hmkv_store(kv, key, "a"));
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    CHECK_STATUS(HMKV_EINVAL,
                 hmkv_transaction(kv, key, bad[i], "a", then_key, "T", else_key, "E"));
    CHECK_VALUE(kv, then_key, NULL);
    CHECK_VALUE(kv, else_key, NULL);
    CHECK_VALUE(kv, key, "a");
  }
}

static void a_null_key_means_that_its_branch_does_nothing(void) {
  const char *key = unique("key"), *other = unique("other");
  CHECK_OK(hmkv_store(kv, key, "a"));
  CHECK_OK(hmkv_transaction(kv, key, "=", "a", NULL, NULL, other, "E"));
  CHECK_VALUE(kv, other, NULL);
  CHECK_STATUS(HMKV_COMPARE_FAILED, hmkv_transaction(kv, key, "=", "b", other, "T", NULL, NULL));
  CHECK_VALUE(kv, other, NULL);
  CHECK_OK(hmkv_transaction(kv, key, "=", "a", NULL, NULL, NULL, NULL));
  CHECK_STATUS(HMKV_COMPARE_FAILED, hmkv_transaction(kv, key, "=", "b", NULL, NULL, NULL, NULL));
  CHECK_VALUE(kv, key, "a");
}

static void a_key_without_a_value_is_refused(void) {
  const char *key = unique("key"), *other = unique("other");
  CHECK_OK(hmkv_store(kv, key, "a"));
  CHECK_STATUS(HMKV_EINVAL, hmkv_transaction(kv, key, "=", "a", other, NULL, NULL, NULL));
  CHECK_STATUS(HMKV_EINVAL, hmkv_transaction(kv, key, "=", "a", NULL, NULL, other, NULL));
  CHECK_VALUE(kv, other, NULL);
}

static void the_compared_key_can_be_stored(void) {
  const char *key = unique("key");
  CHECK_OK(hmkv_store(kv, key, "a"));
  CHECK_OK(hmkv_transaction(kv, key, "=", "a", key, "b", key, "c"));
  CHECK_VALUE(kv, key, "b");
  CHECK_STATUS(HMKV_COMPARE_FAILED, hmkv_transaction(kv, key, "=", "a", key, "b", key, "c"));
  CHECK_VALUE(kv, key, "c");
}

static void a_missing_key_can_be_created_by_the_else_branch(void) {
  const char *key = unique("key");
  CHECK_STATUS(HMKV_COMPARE_FAILED,
               hmkv_transaction(kv, key, "!=", "x", NULL, NULL, key, "created"));
  CHECK_VALUE(kv, key, "created");
}

static void a_branch_stores_an_empty_value(void) {
  const char *key = unique("key");
  CHECK_OK(hmkv_store(kv, key, "a"));
  CHECK_OK(hmkv_transaction(kv, key, "=", "a", key, "", NULL, NULL));
  CHECK_VALUE(kv, key, "");
}

struct contest {
  hmkv *kv;
  const char *counter;
  int wins;
};

/* Adds one to the counter `wins` times; no addition of another may get lost. */
static void *count_up(void *arg) {
  struct contest *contest = arg;
  for (int done = 0; done < contest->wins;) {
    char *value = NULL;
    CHECK_OK(hmkv_get(contest->kv, contest->counter, &value));
    hmkv_status status = hmkv_transaction(contest->kv, contest->counter, "=", value,
                                          contest->counter, text("%06d", atoi(value) + 1),
                                          NULL, NULL);
    hmkv_free(value);
    CHECK(status == HMKV_OK || status == HMKV_COMPARE_FAILED);
    if (status == HMKV_OK) done++;
  }
  return NULL;
}

static void compare_and_store_are_one_atomic_step(void) {
  enum { THREADS = 6 };
  struct contest contest = {kv, unique("counter"), rounds(100, 10)};
  CHECK_OK(hmkv_store(kv, contest.counter, "000000"));
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++) threads[i] = start_thread(count_up, &contest);
  for (int i = 0; i < THREADS; i++) join_thread(threads[i]);
  CHECK_VALUE(kv, contest.counter, text("%06d", THREADS * contest.wins));
}

static const struct test tests[] = {
    BOTH(each_operator_takes_its_branch),
    BOTH(values_compare_bytewise_shorter_first),
    BOTH(on_a_missing_key_every_operator_is_false),
    BOTH(any_other_operator_is_refused_and_nothing_written),
    BOTH(a_null_key_means_that_its_branch_does_nothing),
    BOTH(a_key_without_a_value_is_refused),
    BOTH(the_compared_key_can_be_stored),
    BOTH(a_missing_key_can_be_created_by_the_else_branch),
    BOTH(a_branch_stores_an_empty_value),
    BOTH(compare_and_store_are_one_atomic_step),
};
TEST_MAIN(.begin = begin, .end = end)
