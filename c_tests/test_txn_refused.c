/* Transactions that are refused: the first thing that is wrong is the answer, and
 * nothing is written. */
#include "process.h"
#include "txns.h"

static hmkv *kv;

static void begin(void) { kv = open_store(NULL); }
static void end(void) { close_store(kv); }

/* ---- what is wrong with an argument ---- */

#define SPOIL(name) static void name(hmkv_txn *txn)
#define KEY "c_tests/txn/refused", HMKV_NTS
static const hmkv_lock_opts not_a_lock;

SPOIL(value_op_unknown) { hmkv_txn_if_value(txn, KEY, "==", "a", 1); }
SPOIL(value_op_less_or_equal) { hmkv_txn_if_value(txn, KEY, "<=", "a", 1); }
SPOIL(value_op_empty) { hmkv_txn_if_value(txn, KEY, "", "a", 1); }
SPOIL(value_op_null) { hmkv_txn_if_value(txn, KEY, NULL, "a", 1); }
SPOIL(value_key_empty) { hmkv_txn_if_value(txn, "", 0, "=", "a", 1); }
SPOIL(value_key_empty_text) { hmkv_txn_if_value(txn, "", HMKV_NTS, "=", "a", 1); }
SPOIL(value_key_null) { hmkv_txn_if_value(txn, NULL, 1, "=", "a", 1); }
SPOIL(value_key_null_text) { hmkv_txn_if_value(txn, NULL, HMKV_NTS, "=", "a", 1); }
SPOIL(value_key_null_of_length_0) { hmkv_txn_if_value(txn, NULL, 0, "=", "a", 1); }
SPOIL(value_null) { hmkv_txn_if_value(txn, KEY, "=", NULL, 1); }
SPOIL(value_null_text) { hmkv_txn_if_value(txn, KEY, "=", NULL, HMKV_NTS); }

SPOIL(number_op_unknown) { hmkv_txn_if_number(txn, KEY, HMKV_NUMBER_MOD, "<>", 1); }
SPOIL(number_op_null) { hmkv_txn_if_number(txn, KEY, HMKV_NUMBER_MOD, NULL, 1); }
SPOIL(number_key_empty) { hmkv_txn_if_number(txn, "a", 0, HMKV_NUMBER_MOD, "=", 1); }
SPOIL(number_key_null) { hmkv_txn_if_number(txn, NULL, 3, HMKV_NUMBER_MOD, "=", 1); }
SPOIL(number_0) { hmkv_txn_if_number(txn, KEY, 0, "=", 1); }
SPOIL(number_5) { hmkv_txn_if_number(txn, KEY, 5, "=", 1); }
SPOIL(number_negative) { hmkv_txn_if_number(txn, KEY, -1, "=", 1); }

SPOIL(put_branch_0) { hmkv_txn_put(txn, 0, KEY, "a", 1, NULL); }
SPOIL(put_branch_3) { hmkv_txn_put(txn, 3, KEY, "a", 1, NULL); }
SPOIL(put_key_empty) { hmkv_txn_put(txn, HMKV_THEN, "", 0, "a", 1, NULL); }
SPOIL(put_key_null) { hmkv_txn_put(txn, HMKV_ELSE, NULL, 2, "a", 1, NULL); }
SPOIL(put_value_null) { hmkv_txn_put(txn, HMKV_THEN, KEY, NULL, 1, NULL); }
SPOIL(put_value_null_text) { hmkv_txn_put(txn, HMKV_ELSE, KEY, NULL, HMKV_NTS, NULL); }
#define PUT(...) hmkv_txn_put(txn, HMKV_THEN, KEY, "a", 1, HMKV_PUT_OPTS(__VA_ARGS__))
SPOIL(put_prev_2) { PUT(.prev = 2); }
SPOIL(put_lease_negative) { PUT(.lease = -1); }
SPOIL(put_if_mod_revision) { PUT(.if_mod_revision = 1); }
SPOIL(put_if_absent) { PUT(.if_mod_revision = HMKV_ABSENT); }
SPOIL(put_timeout) { PUT(.timeout_ms = 1000); }
SPOIL(put_timeout_forever) { PUT(.timeout_ms = HMKV_FOREVER); }
SPOIL(put_size_0) { hmkv_txn_put(txn, HMKV_THEN, KEY, "a", 1, &(hmkv_put_opts){.size = 0}); }
SPOIL(put_misaligned) {
  char room[sizeof(hmkv_put_opts) + 16] = {0};
  size_t size = sizeof(hmkv_put_opts);
  uintptr_t at = ((uintptr_t)room + 7) / 8 * 8 + 1;
  memcpy((char *)at, &size, sizeof size);
  hmkv_txn_put(txn, HMKV_THEN, KEY, "a", 1, (const hmkv_put_opts *)at);
}

#define RANGE(...) hmkv_txn_range(txn, HMKV_THEN, KEY, HMKV_RANGE_OPTS(__VA_ARGS__))
SPOIL(range_branch) { hmkv_txn_range(txn, -1, KEY, NULL); }
SPOIL(range_key_empty) { hmkv_txn_range(txn, HMKV_THEN, "", 0, NULL); }
SPOIL(range_key_null) { hmkv_txn_range(txn, HMKV_ELSE, NULL, HMKV_NTS, NULL); }
SPOIL(range_prefix_and_end) { RANGE(.prefix = 1, .end = "x", .end_len = 1); }
SPOIL(range_prefix_and_from) { RANGE(.prefix = 1, .from = 1); }
SPOIL(range_from_and_end) { RANGE(.from = 1, .end = "x", .end_len = 1); }
SPOIL(range_end_empty) { RANGE(.end = "", .end_len = 0); }
SPOIL(range_limit_negative) { RANGE(.limit = -1); }
SPOIL(range_revision_negative) { RANGE(.revision = -1); }
SPOIL(range_min_mod_negative) { RANGE(.min_mod_revision = -1); }
SPOIL(range_max_mod_negative) { RANGE(.max_mod_revision = -1); }
SPOIL(range_min_create_negative) { RANGE(.min_create_revision = -1); }
SPOIL(range_max_create_negative) { RANGE(.max_create_revision = -1); }
SPOIL(range_sort_5) { RANGE(.sort = 5); }
SPOIL(range_sort_negative) { RANGE(.sort = -1); }
SPOIL(range_descending_2) { RANGE(.descending = 2); }
SPOIL(range_prefix_2) { RANGE(.prefix = 2); }
SPOIL(range_from_2) { RANGE(.from = 2); }
SPOIL(range_keys_only_2) { RANGE(.keys_only = 2); }
SPOIL(range_count_only_2) { RANGE(.count_only = 2); }
SPOIL(range_serializable_2) { RANGE(.serializable = 255); }
SPOIL(range_timeout) { RANGE(.timeout_ms = 1); }
SPOIL(range_size_4) { hmkv_txn_range(txn, HMKV_THEN, KEY, &(hmkv_range_opts){.size = 4}); }

#define REMOVE(...) hmkv_txn_remove(txn, HMKV_THEN, KEY, HMKV_REMOVE_OPTS(__VA_ARGS__))
SPOIL(remove_branch) { hmkv_txn_remove(txn, INT32_MAX, KEY, NULL); }
SPOIL(remove_key_empty) { hmkv_txn_remove(txn, HMKV_THEN, "", HMKV_NTS, NULL); }
SPOIL(remove_key_null) { hmkv_txn_remove(txn, HMKV_ELSE, NULL, 1, NULL); }
SPOIL(remove_prefix_and_end) { REMOVE(.prefix = 1, .end = "x", .end_len = 1); }
SPOIL(remove_end_empty) { REMOVE(.end = "", .end_len = HMKV_NTS); }
SPOIL(remove_prefix_2) { REMOVE(.prefix = 2); }
SPOIL(remove_prev_2) { REMOVE(.prev = 2); }
SPOIL(remove_if_mod_revision) { REMOVE(.if_mod_revision = 1); }
SPOIL(remove_timeout) { REMOVE(.timeout_ms = 1); }
SPOIL(remove_size_huge) {
  hmkv_txn_remove(txn, HMKV_THEN, KEY, &(hmkv_remove_opts){.size = (size_t)-1});
}

SPOIL(lock_null) { hmkv_txn_if_held(txn, NULL); }
SPOIL(lock_forged) { hmkv_txn_if_held(txn, (hmkv_lock *)0x1234); }
SPOIL(lock_that_is_a_store) { hmkv_txn_if_held(txn, (hmkv_lock *)kv); }
SPOIL(lock_that_is_memory) { hmkv_txn_if_held(txn, (hmkv_lock *)(uintptr_t)&not_a_lock); }
SPOIL(put_of_a_newer_version) {
  struct {
    hmkv_put_opts known;
    int64_t unknown;
  } newer = {.known = {.size = sizeof newer}, .unknown = 1};
  hmkv_txn_put(txn, HMKV_THEN, KEY, "a", 1, &newer.known);
}

static const struct spoil {
  const char *name;
  void (*spoil)(hmkv_txn *txn);
  hmkv_status status;
} spoils[] = {
#define WRONG(name) {#name, name, HMKV_EINVAL}
    WRONG(value_op_unknown), WRONG(value_op_less_or_equal), WRONG(value_op_empty),
    WRONG(value_op_null), WRONG(value_key_empty), WRONG(value_key_empty_text),
    WRONG(value_key_null), WRONG(value_key_null_text), WRONG(value_key_null_of_length_0),
    WRONG(value_null), WRONG(value_null_text), WRONG(number_op_unknown), WRONG(number_op_null),
    WRONG(number_key_empty), WRONG(number_key_null), WRONG(number_0), WRONG(number_5),
    WRONG(number_negative), WRONG(put_branch_0), WRONG(put_branch_3), WRONG(put_key_empty),
    WRONG(put_key_null), WRONG(put_value_null), WRONG(put_value_null_text), WRONG(put_prev_2),
    WRONG(put_lease_negative), WRONG(put_if_mod_revision), WRONG(put_if_absent),
    WRONG(put_timeout), WRONG(put_timeout_forever), WRONG(put_size_0), WRONG(put_misaligned),
    WRONG(range_branch), WRONG(range_key_empty), WRONG(range_key_null),
    WRONG(range_prefix_and_end), WRONG(range_prefix_and_from), WRONG(range_from_and_end),
    WRONG(range_end_empty), WRONG(range_limit_negative), WRONG(range_revision_negative),
    WRONG(range_min_mod_negative), WRONG(range_max_mod_negative),
    WRONG(range_min_create_negative), WRONG(range_max_create_negative), WRONG(range_sort_5),
    WRONG(range_sort_negative), WRONG(range_descending_2), WRONG(range_prefix_2),
    WRONG(range_from_2), WRONG(range_keys_only_2), WRONG(range_count_only_2),
    WRONG(range_serializable_2), WRONG(range_timeout), WRONG(range_size_4), WRONG(remove_branch),
    WRONG(remove_key_empty), WRONG(remove_key_null), WRONG(remove_prefix_and_end),
    WRONG(remove_end_empty), WRONG(remove_prefix_2), WRONG(remove_prev_2),
    WRONG(remove_if_mod_revision), WRONG(remove_timeout), WRONG(remove_size_huge),
    {"lock_null", lock_null, HMKV_EHANDLE},
    {"lock_forged", lock_forged, HMKV_EHANDLE},
    {"lock_that_is_a_store", lock_that_is_a_store, HMKV_EHANDLE},
    {"lock_that_is_memory", lock_that_is_memory, HMKV_EHANDLE},
    {"put_of_a_newer_version", put_of_a_newer_version, HMKV_EUNSUPPORTED},
};
enum { SPOILS = sizeof spoils / sizeof *spoils };

/* Commits a transaction that was spoiled amid good parts. Gives its error text. */
static const char *refuses(const struct spoil *first, const struct spoil *second) {
  const char *before = unique("before"), *after = unique("after");
  hmkv_txn *txn = hmkv_txn_new(kv);
  txn_put(txn, HMKV_THEN, before, "1");
  txn_put(txn, HMKV_ELSE, before, "1");
  first->spoil(txn);
  if (second) second->spoil(txn);
  txn_put(txn, HMKV_THEN, after, "1");
  txn_put(txn, HMKV_ELSE, after, "1");
  hmkv_result *result = hmkv_await(hmkv_txn_commit(txn, NULL));
  if (hmkv_result_status(result) != first->status)
    FAIL("%s, then %s: %s", first->name, second ? second->name : "nothing",
         hmkv_status_name(hmkv_result_status(result)));
  const char *error = hmkv_result_error(result);
  if (!error || !*error) FAIL("%s: no text", first->name);
  error = text("%s", error);
  CHECK_INT(0, hmkv_result_revision(result)); /* the server was not asked */
  CHECK_INT(0, hmkv_result_count(result));
  CHECK(hmkv_result_sub(result, 0) == NULL);
  hmkv_result_free(result);
  CHECK_VALUE(kv, before, NULL);
  CHECK_VALUE(kv, after, NULL);
  return error;
}

static void what_is_wrong_with_an_argument_is_the_answer_and_nothing_written(void) {
  for (int i = 0; i < SPOILS; i++) refuses(&spoils[i], NULL);
}

static void the_first_thing_that_is_wrong_is_the_answer(void) {
  for (int i = 0; i < SPOILS; i++) {
    const struct spoil *first = &spoils[i], *second = &spoils[(i + SPOILS / 2) % SPOILS];
    CHECK_STR(refuses(first, NULL), refuses(first, second));
  }
}

/* ---- stores and transactions that are not there ---- */

static void a_bad_store_is_ehandle(void) {
  hmkv *closed = open_store(NULL);
  close_store(closed);
  hmkv *const bad[] = {NULL, closed, (hmkv *)0x1234, (hmkv *)~(uintptr_t)kv};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    hmkv_txn *txn = hmkv_txn_new(bad[i]);
    CHECK(txn);
    txn_if_never(txn);
    hmkv_txn_if_value(txn, "", 0, NULL, NULL, 7); /* not the first thing that is wrong */
    txn_put(txn, HMKV_THEN, "c_tests/txn/refused", "1");
    COMMITS(HMKV_EHANDLE, txn);
    hmkv_txn_free(hmkv_txn_new(bad[i]));
  }
}

static void a_store_closed_meanwhile_is_answered(void) {
  hmkv *other = open_store(NULL);
  const char *key = unique("key");
  hmkv_txn *txn = hmkv_txn_new(other);
  txn_put(txn, HMKV_THEN, key, "1");
  close_store(other);
  txn_put(txn, HMKV_ELSE, key, "1");
  hmkv_result *result = hmkv_await(hmkv_txn_commit(txn, NULL));
  hmkv_status status = hmkv_result_status(result);
  if (status != HMKV_ECLOSED && status != HMKV_EHANDLE) FAIL("%s", hmkv_status_name(status));
  hmkv_result_free(result);
  CHECK_VALUE(kv, key, NULL);
}

static void null_transactions_do_nothing(void) {
  hmkv_txn_if_value(NULL, "a", 1, "=", "a", 1);
  hmkv_txn_if_number(NULL, "a", 1, HMKV_NUMBER_MOD, "=", 1);
  hmkv_txn_if_held(NULL, NULL);
  hmkv_txn_put(NULL, HMKV_THEN, "a", 1, "a", 1, NULL);
  hmkv_txn_range(NULL, HMKV_THEN, "a", 1, NULL);
  hmkv_txn_remove(NULL, HMKV_THEN, "a", 1, NULL);
  hmkv_txn_free(NULL);
  COMMITS(HMKV_EINVAL, NULL);
  FINISH(HMKV_EINVAL, hmkv_txn_commit(NULL, HMKV_TXN_OPTS(.timeout_ms = 1)));
}

static void one_that_is_not_committed_is_given_back(void) {
  const char *key = unique("key");
  hmkv_txn_free(hmkv_txn_new(kv));
  hmkv_txn *txn = hmkv_txn_new(kv);
  hmkv_txn_if_value(txn, key, HMKV_NTS, "=", "value", HMKV_NTS);
  hmkv_txn_if_number(txn, key, HMKV_NTS, HMKV_NUMBER_MOD, "=", 1);
  for (int32_t branch = HMKV_THEN; branch <= HMKV_ELSE; branch++) {
    txn_put(txn, branch, key, "value");
    txn_range(txn, branch, key);
    txn_remove(txn, branch, text("%s2", key));
  }
  hmkv_txn_free(txn);
  txn = hmkv_txn_new(kv);
  txn_put(txn, HMKV_THEN, key, "value");
  txn_put(txn, 17, key, "value");
  hmkv_txn_free(txn);
  CHECK_VALUE(kv, key, NULL);
}

static void wrong_options_of_the_commit_are_the_answer(void) {
  struct {
    hmkv_txn_opts known;
    int64_t unknown;
  } newer = {.known = {.size = sizeof newer}, .unknown = 0};
  const hmkv_txn_opts size_0 = {.size = 0}, size_7 = {.size = 7};
  const hmkv_txn_opts short_one = {.size = sizeof(size_t), .timeout_ms = -7}; /* which is not read */
  const char *key = unique("key");
  const struct {
    const hmkv_txn_opts *opts;
    hmkv_status status;
  } tries[] = {
      {HMKV_TXN_OPTS(.timeout_ms = HMKV_FOREVER - 1), HMKV_EINVAL},
      {&size_0, HMKV_EINVAL},
      {&size_7, HMKV_EINVAL},
      {&newer.known, HMKV_OK},
      {&short_one, HMKV_OK},
      {HMKV_TXN_OPTS(.timeout_ms = 60000), HMKV_OK},
      {HMKV_TXN_OPTS(.timeout_ms = 0), HMKV_OK},
  };
  for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
    hmkv_txn *txn = hmkv_txn_new(kv);
    txn_put(txn, HMKV_THEN, key, "1");
    FINISH(tries[i].status, hmkv_txn_commit(txn, tries[i].opts));
    CHECK_VALUE(kv, key, tries[i].status == HMKV_OK ? "1" : NULL);
  }
  newer.unknown = 1;
  hmkv_txn *txn = hmkv_txn_new(kv);
  txn_put(txn, HMKV_THEN, key, "2");
  FINISH(HMKV_EUNSUPPORTED, hmkv_txn_commit(txn, &newer.known));
  CHECK_VALUE(kv, key, "1");
}

/* ---- fork ---- */

struct inherited {
  hmkv_txn *txn;
  hmkv_op *op;
};

static void use_inherited(void *arg) {
  struct inherited *inherited = arg;
  txn_put(inherited->txn, HMKV_THEN, "c_tests/txn/forked", "1");
  COMMITS(HMKV_EFORKED, inherited->txn);
  FINISH(HMKV_EFORKED, inherited->op);
  hmkv_txn *txn = hmkv_txn_new(kv);
  txn_put(txn, HMKV_THEN, "c_tests/txn/forked", "1");
  COMMITS(HMKV_EFORKED, txn);
}

static void in_a_forked_child_a_commit_is_eforked(void) {
  const char *key = unique("key"), *other = unique("other");
  struct inherited inherited = {.txn = hmkv_txn_new(kv)};
  txn_put(inherited.txn, HMKV_THEN, key, "1");
  hmkv_txn *txn = hmkv_txn_new(kv);
  txn_put(txn, HMKV_THEN, other, "1");
  inherited.op = hmkv_txn_commit(txn, NULL);
  in_fork(use_inherited, &inherited);
  COMMITS(HMKV_OK, inherited.txn); /* the parent's are untouched */
  FINISH(HMKV_OK, inherited.op);
  CHECK_VALUE(kv, key, "1");
  CHECK_VALUE(kv, other, "1");
  CHECK_VALUE(kv, "c_tests/txn/forked", NULL);
}

static const struct test tests[] = {
    BOTH(what_is_wrong_with_an_argument_is_the_answer_and_nothing_written),
    BOTH(the_first_thing_that_is_wrong_is_the_answer),
    BOTH(a_bad_store_is_ehandle),
    BOTH(a_store_closed_meanwhile_is_answered),
    BOTH(null_transactions_do_nothing),
    BOTH(one_that_is_not_committed_is_given_back),
    BOTH(wrong_options_of_the_commit_are_the_answer),
    BOTH(in_a_forked_child_a_commit_is_eforked),
};
TEST_MAIN(.begin = begin, .end = end)
