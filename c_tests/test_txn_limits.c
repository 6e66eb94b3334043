/* Transactions that the store refuses as a whole: keys written twice, too many parts,
 * too large, a lease that does not exist. Nothing of them is written. */
#include "txns.h"

enum { OPS_MAX = 128 };

static hmkv *kv;
static const char *key, *other;

static void begin(void) {
  kv = open_store(NULL);
  key = unique("key");
  other = unique("other");
}

static void end(void) { close_store(kv); }

#define EACH_BRANCH(branch) \
  for (int32_t branch = HMKV_THEN; branch <= HMKV_ELSE; branch++)

/* ---- keys written twice ---- */

static void put_put(hmkv_txn *txn, int32_t branch) {
  txn_put(txn, branch, key, "1");
  txn_put(txn, branch, key, "2");
}

static void put_put_of_equal_values(hmkv_txn *txn, int32_t branch) {
  txn_put(txn, branch, key, "1");
  txn_range(txn, branch, key);
  txn_put(txn, branch, key, "1");
}

static void put_remove(hmkv_txn *txn, int32_t branch) {
  txn_put(txn, branch, key, "1");
  txn_remove(txn, branch, key);
}

static void remove_put(hmkv_txn *txn, int32_t branch) {
  txn_remove(txn, branch, key);
  txn_put(txn, branch, key, "1");
}

static void put_remove_prefix(hmkv_txn *txn, int32_t branch) {
  txn_put(txn, branch, text("%s/1", key), "1");
  hmkv_txn_remove(txn, branch, key, HMKV_NTS, HMKV_REMOVE_OPTS(.prefix = 1));
}

static void remove_range_put(hmkv_txn *txn, int32_t branch) {
  const char *last = text("%s/9", key);
  hmkv_txn_remove(txn, branch, key, HMKV_NTS, HMKV_REMOVE_OPTS(.end = last, .end_len = HMKV_NTS));
  txn_put(txn, branch, text("%s/8", key), "1");
}

static void put_remove_first_of_range(hmkv_txn *txn, int32_t branch) {
  const char *last = text("%s/9", key);
  txn_put(txn, branch, key, "1");
  hmkv_txn_remove(txn, branch, key, HMKV_NTS, HMKV_REMOVE_OPTS(.end = last, .end_len = HMKV_NTS));
}

static void (*const twice[])(hmkv_txn *, int32_t) = {
    put_put,           put_put_of_equal_values, put_remove,
    remove_put,        put_remove_prefix,       remove_range_put,
    put_remove_first_of_range,
};

/* With the writes in one branch, and either branch taken. */
static void a_key_that_a_branch_writes_twice_is_refused_and_nothing_written(void) {
  CHECK_OK(hmkv_store(kv, key, "0"));
  for (size_t i = 0; i < sizeof twice / sizeof *twice; i++) {
    EACH_BRANCH(taken) {
      EACH_BRANCH(branch) {
        hmkv_txn *txn = hmkv_txn_new(kv);
        if (taken == HMKV_ELSE) txn_if_never(txn);
        txn_put(txn, HMKV_THEN, other, "1");
        txn_put(txn, HMKV_ELSE, other, "1");
        twice[i](txn, branch);
        COMMITS(HMKV_EINVAL, txn);
        CHECK_VALUE(kv, other, NULL);
        CHECK_VALUE(kv, key, "0");
        CHECK_INT(1, count_keys(kv, key));
      }
    }
  }
}

static void a_put_beside_a_removed_range_is_no_second_write(void) {
  const char *first = text("%s/1", key), *last = text("%s/5", key);
  for (int i = 0; i < 6; i++) CHECK_OK(hmkv_store(kv, text("%s/%d", key, i), "0"));
  hmkv_txn *txn = hmkv_txn_new(kv);
  hmkv_txn_remove(txn, HMKV_THEN, first, HMKV_NTS,
                  HMKV_REMOVE_OPTS(.end = last, .end_len = HMKV_NTS));
  txn_put(txn, HMKV_THEN, last, "1"); /* where the range ends, which it does not hold */
  txn_put(txn, HMKV_THEN, text("%s/0", key), "1");
  hmkv_txn_range(txn, HMKV_THEN, key, HMKV_NTS, HMKV_RANGE_OPTS(.prefix = 1));
  hmkv_result *result = COMMIT(HMKV_OK, txn);
  CHECK_SUB(result, 0, HMKV_OK, 0, 4);
  CHECK_SUB(result, 3, HMKV_OK, 2, 2);
  CHECK_SUB_KV(result, 3, 0, text("%s/0", key), "1");
  CHECK_SUB_KV(result, 3, 1, last, "1");
  hmkv_result_free(result);
}

/* What is gone cannot be removed a second time. */
static void removals_may_overlap(void) {
  for (int i = 0; i < 3; i++) CHECK_OK(hmkv_store(kv, text("%s/%d", key, i), "0"));
  hmkv_txn *txn = hmkv_txn_new(kv);
  txn_remove(txn, HMKV_THEN, text("%s/1", key));
  hmkv_txn_remove(txn, HMKV_THEN, key, HMKV_NTS, HMKV_REMOVE_OPTS(.prefix = 1));
  txn_remove(txn, HMKV_THEN, text("%s/1", key));
  hmkv_result *result = COMMIT(HMKV_OK, txn);
  CHECK_SUB(result, 0, HMKV_OK, 0, 1);
  CHECK_SUB(result, 1, HMKV_OK, 0, 2);
  CHECK_SUB(result, 2, HMKV_OK, 0, 0);
  hmkv_result_free(result);
}

/* ---- numbers of parts ---- */

static hmkv_txn *with_parts(int compares, int then_ops, int else_ops) {
  hmkv_txn *txn = hmkv_txn_new(kv);
  for (int i = 0; i < compares; i++)
    hmkv_txn_if_number(txn, other, HMKV_NTS, HMKV_NUMBER_VERSION, "=", 0);
  for (int i = 0; i < then_ops; i++) txn_put(txn, HMKV_THEN, text("%s/%d", key, i), "1");
  for (int i = 0; i < else_ops; i++) txn_range(txn, HMKV_ELSE, text("%s/%d", key, i));
  return txn;
}

static void of_compares_and_operations_128_fit_each(void) {
  hmkv_result *result = COMMIT(HMKV_OK, with_parts(OPS_MAX, OPS_MAX, OPS_MAX));
  for (size_t i = 0; i < OPS_MAX; i++) CHECK_SUB(result, i, HMKV_OK, 0, 0);
  CHECK(hmkv_result_sub(result, OPS_MAX) == NULL);
  hmkv_result_free(result);
  CHECK_INT(OPS_MAX, count_keys(kv, key));
  CHECK_OK(hmkv_store(kv, other, "1"));
  result = COMMIT(HMKV_COMPARE_FAILED, with_parts(OPS_MAX, OPS_MAX, OPS_MAX));
  for (size_t i = 0; i < OPS_MAX; i++) {
    CHECK_SUB(result, i, HMKV_OK, 1, 1);
    CHECK_SUB_KV(result, i, 0, text("%s/%zu", key, i), "1");
  }
  CHECK(hmkv_result_sub(result, OPS_MAX) == NULL);
  hmkv_result_free(result);
}

static void of_either_129_are_too_large_and_nothing_written(void) {
  COMMITS(HMKV_ETOOLARGE, with_parts(OPS_MAX + 1, 1, 0));
  COMMITS(HMKV_ETOOLARGE, with_parts(1, OPS_MAX + 1, 0));
  COMMITS(HMKV_ETOOLARGE, with_parts(1, 1, OPS_MAX + 1)); /* of the branch not taken, too */
  COMMITS(HMKV_ETOOLARGE, with_parts(0, 5000, 5000));
  CHECK_INT(0, count_keys(kv, key));
  COMMITS(HMKV_OK, with_parts(1, 1, 1)); /* the store stays usable */
  CHECK_INT(1, count_keys(kv, key));
}

/* ---- size ---- */

static char *filled(size_t length) {
  char *value = malloc(length);
  CHECK(value);
  memset(value, 'v', length);
  return value;
}

enum { PIECE = 1700 };

/* Three pieces are more than the limit, two are not. */
static void all_parts_count_for_max_request(void) {
  hmkv *small = open_store("max_request=4KiB");
  char *piece = filled(PIECE);
  for (int pieces = 2; pieces <= 3; pieces++) {
    EACH_BRANCH(branch) {
      const char *written = unique("written");
      hmkv_txn *txn = hmkv_txn_new(small);
      if (branch == HMKV_ELSE) txn_if_never(txn);
      txn_put(txn, branch, written, "1");
      hmkv_txn_if_value(txn, unique("missing"), HMKV_NTS, "=", piece, PIECE);
      hmkv_txn_put(txn, branch, text("%s/1", written), HMKV_NTS, piece, PIECE, NULL);
      if (pieces == 3)
        hmkv_txn_put(txn, HMKV_THEN + HMKV_ELSE - branch, text("%s/2", written), HMKV_NTS, piece,
                     PIECE, NULL);
      hmkv_status expected = pieces == 3 ? HMKV_ETOOLARGE : HMKV_COMPARE_FAILED;
      COMMITS(expected, txn);
      CHECK_VALUE(kv, written, pieces == 2 && branch == HMKV_ELSE ? "1" : NULL);
    }
  }
  free(piece);
  close_store(small);
}

static void over_the_default_of_max_request_is_too_large(void) {
  enum { HALF = 800 * 1024 };
  char *half = filled(HALF);
  for (int halves = 2; halves >= 1; halves--) {
    hmkv_txn *txn = hmkv_txn_new(kv);
    txn_put(txn, HMKV_THEN, key, "1");
    for (int i = 0; i < halves; i++)
      hmkv_txn_put(txn, HMKV_THEN, text("%s/%d", key, i), HMKV_NTS, half, HALF, NULL);
    COMMITS(halves == 2 ? HMKV_ETOOLARGE : HMKV_OK, txn);
    CHECK_INT(halves == 2 ? 0 : 2, count_keys(kv, key));
  }
  free(half);
  hmkv_txn *txn = hmkv_txn_new(kv);
  hmkv_txn_remove(txn, HMKV_THEN, key, HMKV_NTS, HMKV_REMOVE_OPTS(.prefix = 1));
  COMMITS(HMKV_OK, txn);
}

/* ---- leases ---- */

static void a_lease_that_does_not_exist_is_elost_and_nothing_written(void) {
  hmkv *holder = open_store(NULL);
  const char *sign = unique("sign");
  CHECK_OK(hmkv_temp_key(holder, sign));
  int64_t ended = lease_of(kv, sign);
  close_store(holder);
  const int64_t leases[] = {ended, INT64_MAX - 1, INT64_MAX};
  CHECK_OK(hmkv_store(kv, other, "0"));
  for (size_t i = 0; i < sizeof leases / sizeof *leases; i++) {
    EACH_BRANCH(branch) {
      hmkv_txn *txn = hmkv_txn_new(kv);
      if (branch == HMKV_ELSE) txn_if_never(txn);
      txn_remove(txn, branch, other);
      txn_put(txn, branch, text("%s/1", key), "1");
      hmkv_txn_put(txn, branch, key, HMKV_NTS, "1", 1, HMKV_PUT_OPTS(.lease = leases[i]));
      COMMITS(HMKV_ELOST, txn);
      CHECK_INT(0, count_keys(kv, key));
      CHECK_VALUE(kv, other, "0");
    }
  }
}

static const struct test tests[] = {
    BOTH(a_key_that_a_branch_writes_twice_is_refused_and_nothing_written),
    BOTH(a_put_beside_a_removed_range_is_no_second_write),
    BOTH(removals_may_overlap),
    BOTH(of_compares_and_operations_128_fit_each),
    BOTH(of_either_129_are_too_large_and_nothing_written),
    BOTH(all_parts_count_for_max_request),
    BOTH(over_the_default_of_max_request_is_too_large),
    BOTH(a_lease_that_does_not_exist_is_elost_and_nothing_written),
};
TEST_MAIN(.begin = begin, .end = end)
