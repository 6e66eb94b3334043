/* Transactions that are committed and judged in one step. */
#ifndef TXNS_H
#define TXNS_H

#include "requests.h"

/* Commits with default options, waits, and checks the status. */
#define COMMIT(expected, txn) AWAIT((expected), hmkv_txn_commit((txn), NULL))
/* The same where nobody looks at the result. */
#define COMMITS(expected, txn) FINISH((expected), hmkv_txn_commit((txn), NULL))

/* Keys and values as text, without options. */
void txn_put(hmkv_txn *txn, int32_t branch, const char *key, const char *value);
void txn_range(hmkv_txn *txn, int32_t branch, const char *key);
void txn_remove(hmkv_txn *txn, int32_t branch, const char *key);
/* A compare that is always false: that a key which no test stores exists. */
void txn_if_never(hmkv_txn *txn);

/* A sub-result: its status, how many keys it holds and its total. */
#define CHECK_SUB(result, i, status, count, total)                        \
  do {                                                                    \
    const hmkv_result *sub_ = hmkv_result_sub((result), (i));             \
    CHECK(sub_);                                                          \
    CHECK_STATUS((status), hmkv_result_status(sub_));                     \
    CHECK_INT((count), hmkv_result_count(sub_));                          \
    CHECK_INT((total), hmkv_result_total(sub_));                          \
  } while (0)
/* Key j of sub-result i. */
const hmkv_kv *txn_kv(const hmkv_result *result, size_t i, size_t j);
#define CHECK_SUB_KV(result, i, j, expected_key, expected_value)          \
  do {                                                                    \
    CHECK_STR((expected_key), txn_kv((result), (i), (j))->key);           \
    CHECK_STR((expected_value), txn_kv((result), (i), (j))->value);       \
  } while (0)

#endif
