/* Transactions: compares and branches. Operations: test_txn_ops.c, what is refused:
 * test_txn_refused.c. */
#include "txns.h"

static hmkv *kv;

static void begin(void) { kv = open_store(NULL); }
static void end(void) { close_store(kv); }

static const char *const operators[] = {"=", "!=", "<", ">"};
enum { OPERATORS = 4 };

/* What an operator must say of two numbers, or of what memcmp() says of two values. */
static bool holds(const char *op, int64_t left, int64_t right) {
  switch (op[0]) {
    case '=': return left == right;
    case '!': return left != right;
    case '<': return left < right;
    default: return left > right;
  }
}

/* Commits a transaction that has its compares, and checks that it takes the branch. */
static void takes(hmkv_txn *txn, bool expected, const char *what) {
  const char *then_key = unique("then"), *else_key = unique("else");
  txn_put(txn, HMKV_THEN, then_key, "T");
  txn_put(txn, HMKV_ELSE, else_key, "E");
  hmkv_result *result = hmkv_await(hmkv_txn_commit(txn, NULL));
  hmkv_status status = hmkv_result_status(result);
  if (status != (expected ? HMKV_OK : HMKV_COMPARE_FAILED))
    FAIL("%s: %s", what, hmkv_status_name(status));
  CHECK(hmkv_result_error(result) == NULL);
  hmkv_result_free(result);
  CHECK_VALUE(kv, then_key, expected ? "T" : NULL);
  CHECK_VALUE(kv, else_key, expected ? NULL : "E");
}

/* ---- values ---- */

static void compare_value(const char *stored, const char *op, const char *value, bool expected) {
  const char *key = unique("key");
  if (stored) CHECK_OK(hmkv_store(kv, key, stored));
  hmkv_txn *txn = hmkv_txn_new(kv);
  hmkv_txn_if_value(txn, key, HMKV_NTS, op, value, HMKV_NTS);
  takes(txn, expected, text("\"%s\" %s \"%s\"", stored ? stored : "(none)", op, value));
  CHECK_VALUE(kv, key, stored);
}

static void values_compare_bytewise_with_every_operator(void) {
  static const char *const values[] = {"", "a", "aa", "b", "B", "10", "9", "\x7f", "\x80", "\xff"};
  enum { VALUES = sizeof values / sizeof *values };
  for (int i = 0; i < VALUES; i += rounds(1, 2))
    for (int j = 0; j < VALUES; j += rounds(1, 3))
      for (int op = 0; op < OPERATORS; op++)
        compare_value(values[i], operators[op], values[j],
                      holds(operators[op], strcmp(values[i], values[j]), 0));
}

static void a_compare_on_the_value_of_a_missing_key_is_false(void) {
  const char *deleted = unique("deleted");
  CHECK_OK(hmkv_store(kv, deleted, "a"));
  CHECK_OK(hmkv_delete(kv, deleted));
  for (int op = 0; op < OPERATORS; op++) {
    compare_value(NULL, operators[op], "", false);
    compare_value(NULL, operators[op], "a", false);
    hmkv_txn *txn = hmkv_txn_new(kv);
    hmkv_txn_if_value(txn, deleted, HMKV_NTS, operators[op], "a", 1);
    takes(txn, false, "a deleted key");
  }
}

static void keys_and_values_may_hold_nul_bytes(void) {
  const char *prefix = unique("binary");
  char key[256], other[256];
  int length = snprintf(key, sizeof key, "%s%c%s", prefix, 0, "one");
  int other_length = snprintf(other, sizeof other, "%s%c%s", prefix, 0, "two");
  FINISH(HMKV_OK, hmkv_put(kv, key, (size_t)length, "a\0b", 3, NULL));
  static const struct {
    const char *op, *value;
    size_t length;
    bool expected;
  } compares[] = {
      {"=", "a\0b", 3, true}, {"=", "a\0c", 3, false}, {"=", "a", 1, false}, {">", "a", 1, true},
      {">", "a\0a", 3, true}, {"<", "a\0c", 3, true},  {"<", "a\0b\0", 4, true},
      {"!=", "a\0b", HMKV_NTS, true},
  };
  for (size_t i = 0; i < sizeof compares / sizeof *compares; i++) {
    hmkv_txn *txn = hmkv_txn_new(kv);
    hmkv_txn_if_value(txn, key, (size_t)length, compares[i].op, compares[i].value,
                      compares[i].length);
    takes(txn, compares[i].expected, text("binary compare %zu", i));
  }
  hmkv_txn *txn = hmkv_txn_new(kv); /* the key beside it is another */
  hmkv_txn_if_value(txn, other, (size_t)other_length, "=", "a\0b", 3);
  takes(txn, false, "another key");
}

static void a_value_of_length_0_may_be_null(void) {
  const char *key = unique("key");
  CHECK_OK(hmkv_store(kv, key, ""));
  hmkv_txn *txn = hmkv_txn_new(kv);
  hmkv_txn_if_value(txn, key, HMKV_NTS, "=", NULL, 0);
  hmkv_txn_put(txn, HMKV_THEN, text("%s2", key), HMKV_NTS, NULL, 0, NULL);
  takes(txn, true, "empty");
  CHECK_VALUE(kv, text("%s2", key), "");
}

/* ---- numbers ---- */

static void compare_number(const char *key, int32_t what, int64_t actual) {
  int64_t numbers[] = {INT64_MIN, -1, 0, 1, actual - 1, actual, actual + 1, INT64_MAX};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i += (size_t)rounds(1, 2)) {
    for (int op = 0; op < OPERATORS; op++) {
      hmkv_txn *txn = hmkv_txn_new(kv);
      hmkv_txn_if_number(txn, key, HMKV_NTS, what, operators[op], numbers[i]);
      takes(txn, holds(operators[op], actual, numbers[i]),
            text("number %d: %" PRId64 " %s %" PRId64, (int)what, actual, operators[op], numbers[i]));
    }
  }
}

static void every_number_compares_with_every_operator(void) {
  hmkv *holder = open_store(NULL);
  const char *key = unique("key");
  CHECK_OK(hmkv_store(kv, key, "1"));
  CHECK_OK(hmkv_store(kv, key, "2"));
  CHECK_OK(hmkv_temp_key(holder, key)); /* so that it has a lease */
  hmkv_result *result = list_keys(kv, key);
  hmkv_kv numbers = *hmkv_result_kv(result, 0);
  hmkv_result_free(result);
  CHECK_INT(3, numbers.version);
  CHECK(numbers.lease > 0);
  CHECK(numbers.mod_revision > numbers.create_revision);
  compare_number(key, HMKV_NUMBER_MOD, numbers.mod_revision);
  compare_number(key, HMKV_NUMBER_CREATE, numbers.create_revision);
  compare_number(key, HMKV_NUMBER_VERSION, numbers.version);
  compare_number(key, HMKV_NUMBER_LEASE, numbers.lease);
  close_store(holder);
}

static void the_numbers_of_a_missing_key_are_0(void) {
  const char *deleted = unique("deleted");
  CHECK_OK(hmkv_store(kv, deleted, "a"));
  CHECK_OK(hmkv_delete(kv, deleted));
  for (int32_t what = HMKV_NUMBER_MOD; what <= HMKV_NUMBER_LEASE; what++) {
    compare_number(unique("missing"), what, 0);
    compare_number(deleted, what, 0);
  }
}

static void a_key_without_a_lease_has_lease_0(void) {
  const char *key = unique("key");
  CHECK_OK(hmkv_store(kv, key, "a"));
  compare_number(key, HMKV_NUMBER_LEASE, 0);
}

/* ---- several compares, and none ---- */

static void the_then_branch_is_done_when_all_compares_are_true(void) {
  enum { COMPARES = 4 };
  const char *key = unique("key");
  CHECK_OK(hmkv_store(kv, key, "a"));
  for (int falsehoods = 0; falsehoods < 1 << COMPARES; falsehoods++) {
    hmkv_txn *txn = hmkv_txn_new(kv);
    hmkv_txn_if_value(txn, key, HMKV_NTS, falsehoods & 1 ? "!=" : "=", "a", 1);
    hmkv_txn_if_number(txn, key, HMKV_NTS, HMKV_NUMBER_VERSION, "=", falsehoods & 2 ? 2 : 1);
    hmkv_txn_if_number(txn, unique("missing"), HMKV_NTS, HMKV_NUMBER_CREATE,
                       falsehoods & 4 ? ">" : "=", 0);
    hmkv_txn_if_number(txn, key, HMKV_NTS, HMKV_NUMBER_LEASE, falsehoods & 8 ? "<" : "=", 0);
    takes(txn, falsehoods == 0, text("falsehoods %d", falsehoods));
  }
}

static void without_a_compare_the_then_branch_is_done(void) {
  takes(hmkv_txn_new(kv), true, "no compare");
}

static void an_empty_transaction_is_done(void) {
  CHECK_OK(hmkv_store(kv, unique("key"), "a"));
  hmkv_result *result = COMMIT(HMKV_OK, hmkv_txn_new(kv));
  CHECK(hmkv_result_revision(result) > 0);
  CHECK_INT(0, hmkv_result_count(result));
  CHECK_INT(0, hmkv_result_total(result));
  CHECK(hmkv_result_kv(result, 0) == NULL);
  CHECK(hmkv_result_sub(result, 0) == NULL);
  hmkv_result_free(result);
}

static void compares_alone_tell_whether_they_are_true(void) {
  const char *key = unique("key");
  for (int i = 0; i < 2; i++) {
    hmkv_txn *txn = hmkv_txn_new(kv);
    hmkv_txn_if_number(txn, key, HMKV_NTS, HMKV_NUMBER_CREATE, ">", 0);
    hmkv_result *result = COMMIT(i == 0 ? HMKV_COMPARE_FAILED : HMKV_OK, txn);
    CHECK(hmkv_result_sub(result, 0) == NULL);
    hmkv_result_free(result);
    CHECK_OK(hmkv_store(kv, key, "a"));
  }
}

static void a_branch_that_is_empty_does_nothing(void) {
  const char *key = unique("key");
  hmkv_txn *txn = hmkv_txn_new(kv);
  txn_if_never(txn);
  txn_put(txn, HMKV_THEN, key, "T");
  hmkv_result *result = COMMIT(HMKV_COMPARE_FAILED, txn);
  CHECK(hmkv_result_sub(result, 0) == NULL);
  hmkv_result_free(result);
  txn = hmkv_txn_new(kv);
  txn_put(txn, HMKV_ELSE, key, "E");
  result = COMMIT(HMKV_OK, txn);
  CHECK(hmkv_result_sub(result, 0) == NULL);
  hmkv_result_free(result);
  CHECK_VALUE(kv, key, NULL);
}

static void compares_see_the_state_before_the_writes(void) {
  const char *key = unique("key");
  hmkv_txn *txn = hmkv_txn_new(kv);
  txn_put(txn, HMKV_THEN, key, "a");
  hmkv_txn_if_number(txn, key, HMKV_NTS, HMKV_NUMBER_CREATE, "=", 0);
  COMMITS(HMKV_OK, txn);
  CHECK_VALUE(kv, key, "a");
}

static void inputs_are_copied(void) {
  const char *name = unique("key");
  char *key = strdup(name), *value = strdup("value"), *op = strdup("=");
  CHECK(key && value && op);
  CHECK_OK(hmkv_store(kv, name, "value"));
  hmkv_txn *txn = hmkv_txn_new(kv);
  hmkv_txn_if_value(txn, key, HMKV_NTS, op, value, HMKV_NTS);
  hmkv_txn_if_number(txn, key, HMKV_NTS, HMKV_NUMBER_VERSION, op, 1);
  txn_range(txn, HMKV_THEN, key);
  strcat(strcpy(value, "set"), "!");
  txn_put(txn, HMKV_THEN, key, value);
  memset(key, 'x', strlen(key));
  memset(value, 'x', strlen(value));
  op[0] = '?';
  hmkv_result *result = COMMIT(HMKV_OK, txn);
  CHECK_SUB_KV(result, 0, 0, name, "value");
  hmkv_result_free(result);
  CHECK_VALUE(kv, name, "set!");
  free(key);
  free(value);
  free(op);
}

/* ---- many at once ---- */

struct contest {
  const char *counter;
  int wins;
};

/* Adds one `wins` times, on the revision that the else branch or a range told. */
static void *count_up(void *arg) {
  struct contest *contest = arg;
  int64_t seen = 0, number = 0;
  for (int done = 0; done < contest->wins;) {
    hmkv_txn *txn = hmkv_txn_new(kv);
    hmkv_txn_if_number(txn, contest->counter, HMKV_NTS, HMKV_NUMBER_MOD, "=", seen);
    txn_put(txn, HMKV_THEN, contest->counter, text("%" PRId64, number + 1));
    txn_range(txn, HMKV_ELSE, contest->counter);
    hmkv_result *result = hmkv_await(hmkv_txn_commit(txn, NULL));
    hmkv_status status = hmkv_result_status(result);
    if (status == HMKV_OK) {
      done++;
      number++;
      seen = hmkv_result_revision(result);
    } else {
      CHECK_STATUS(HMKV_COMPARE_FAILED, status);
      const hmkv_kv *now = txn_kv(result, 0, 0);
      CHECK(now->mod_revision > seen);
      seen = now->mod_revision;
      number = atoll(now->value);
    }
    hmkv_result_free(result);
  }
  return NULL;
}

static void a_counter_of_eight_threads_loses_no_update(void) {
  enum { THREADS = 8 };
  struct contest contest = {unique("counter"), rounds(60, 8)};
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++) threads[i] = start_thread(count_up, &contest);
  for (int i = 0; i < THREADS; i++) join_thread(threads[i]);
  CHECK_VALUE(kv, contest.counter, text("%d", THREADS * contest.wins));
  hmkv_result *result = list_keys(kv, contest.counter);
  CHECK_INT(THREADS * contest.wins, hmkv_result_kv(result, 0)->version);
  hmkv_result_free(result);
}

static const struct test tests[] = {
    BOTH(values_compare_bytewise_with_every_operator),
    BOTH(a_compare_on_the_value_of_a_missing_key_is_false),
    BOTH(keys_and_values_may_hold_nul_bytes),
    BOTH(a_value_of_length_0_may_be_null),
    BOTH(every_number_compares_with_every_operator),
    BOTH(the_numbers_of_a_missing_key_are_0),
    BOTH(a_key_without_a_lease_has_lease_0),
    BOTH(the_then_branch_is_done_when_all_compares_are_true),
    BOTH(without_a_compare_the_then_branch_is_done),
    BOTH(an_empty_transaction_is_done),
    BOTH(compares_alone_tell_whether_they_are_true),
    BOTH(a_branch_that_is_empty_does_nothing),
    BOTH(compares_see_the_state_before_the_writes),
    BOTH(inputs_are_copied),
    BOTH(a_counter_of_eight_threads_loses_no_update),
};
TEST_MAIN(.begin = begin, .end = end)
