#include "txns.h"

void txn_put(hmkv_txn *txn, int32_t branch, const char *key, const char *value) {
  hmkv_txn_put(txn, branch, key, HMKV_NTS, value, HMKV_NTS, NULL);
}

void txn_range(hmkv_txn *txn, int32_t branch, const char *key) {
  hmkv_txn_range(txn, branch, key, HMKV_NTS, NULL);
}

void txn_remove(hmkv_txn *txn, int32_t branch, const char *key) {
  hmkv_txn_remove(txn, branch, key, HMKV_NTS, NULL);
}

void txn_if_never(hmkv_txn *txn) {
  hmkv_txn_if_number(txn, "c_tests/txn/never", HMKV_NTS, HMKV_NUMBER_VERSION, ">", 0);
}

const hmkv_kv *txn_kv(const hmkv_result *result, size_t i, size_t j) {
  const hmkv_kv *kv = hmkv_result_kv(hmkv_result_sub(result, i), j);
  CHECK(kv);
  return kv;
}
