/* Transactions: puts, ranges and removals, and their results. Ranges with options:
 * test_txn_range.c. */
#include "changes.h"
#include "own_store.h"
#include "process.h"
#include "txns.h"

static hmkv *kv;

static void begin(void) { kv = open_store(NULL); }
static void end(void) { close_store(kv); }

/* Every test runs in either branch. */
static hmkv_txn *new_in(int32_t branch) {
  hmkv_txn *txn = hmkv_txn_new(kv);
  CHECK(txn);
  if (branch == HMKV_ELSE) txn_if_never(txn);
  return txn;
}

static hmkv_result *commit_in(int32_t branch, hmkv_txn *txn) {
  return COMMIT(branch == HMKV_ELSE ? HMKV_COMPARE_FAILED : HMKV_OK, txn);
}

#define EACH_BRANCH(branch) \
  for (int32_t branch = HMKV_THEN; branch <= HMKV_ELSE; branch++)

/* ---- what each operation answers ---- */

static void a_put_with_prev_gives_the_former_key(void) {
  EACH_BRANCH(branch) {
    const char *old = unique("old"), *fresh = unique("fresh"), *plain = unique("plain");
    CHECK_OK(hmkv_store(kv, old, "0"));
    CHECK_OK(hmkv_store(kv, old, "1"));
    CHECK_OK(hmkv_store(kv, plain, "1"));
    hmkv_result *before = list_keys(kv, old);
    hmkv_txn *txn = new_in(branch);
    hmkv_txn_put(txn, branch, old, HMKV_NTS, "2", 1, HMKV_PUT_OPTS(.prev = 1));
    hmkv_txn_put(txn, branch, fresh, HMKV_NTS, "2", 1, HMKV_PUT_OPTS(.prev = 1));
    txn_put(txn, branch, plain, "2");
    hmkv_result *result = commit_in(branch, txn);
    CHECK_SUB(result, 0, HMKV_OK, 1, 0);
    const hmkv_kv *former = txn_kv(result, 0, 0), *was = hmkv_result_kv(before, 0);
    CHECK_SUB_KV(result, 0, 0, old, "1");
    CHECK_INT(strlen(old), former->key_len);
    CHECK_INT(1, former->value_len);
    CHECK_INT(2, former->version);
    CHECK_INT(was->mod_revision, former->mod_revision);
    CHECK_INT(was->create_revision, former->create_revision);
    CHECK_SUB(result, 1, HMKV_OK, 0, 0);
    CHECK_SUB(result, 2, HMKV_OK, 0, 0); /* not asked for */
    hmkv_result_free(before);
    hmkv_result_free(result);
    CHECK_VALUE(kv, old, "2");
    CHECK_VALUE(kv, fresh, "2");
    CHECK_VALUE(kv, plain, "2");
  }
}

static void a_range_of_one_key_gives_it_or_not_found(void) {
  EACH_BRANCH(branch) {
    const char *key = unique("key"), *empty = unique("empty");
    CHECK_OK(hmkv_store(kv, key, "value"));
    CHECK_OK(hmkv_store(kv, empty, ""));
    hmkv_txn *txn = new_in(branch);
    txn_range(txn, branch, key);
    txn_range(txn, branch, unique("missing"));
    txn_range(txn, branch, empty);
    hmkv_result *result = commit_in(branch, txn);
    CHECK_SUB(result, 0, HMKV_OK, 1, 1);
    CHECK_SUB_KV(result, 0, 0, key, "value");
    CHECK_INT(lease_of(kv, key), txn_kv(result, 0, 0)->lease);
    CHECK_INT(1, txn_kv(result, 0, 0)->version);
    CHECK_SUB(result, 1, HMKV_NOT_FOUND, 0, 0);
    CHECK(hmkv_result_kv(hmkv_result_sub(result, 1), 0) == NULL);
    CHECK(hmkv_result_error(hmkv_result_sub(result, 1)) == NULL);
    CHECK_SUB(result, 2, HMKV_OK, 1, 1);
    CHECK_INT(0, txn_kv(result, 2, 0)->value_len);
    hmkv_result_free(result);
  }
}

static void a_removal_tells_how_many_keys_and_with_prev_which(void) {
  EACH_BRANCH(branch) {
    const char *prefix = unique("keys"), *end_key = text("%s/3", prefix);
    const char *other = unique("other");
    for (int i = 0; i < 6; i++) CHECK_OK(hmkv_store(kv, text("%s/%d", prefix, i), text("%d", i)));
    CHECK_OK(hmkv_store(kv, other, "other"));
    hmkv_txn *txn = new_in(branch);
    hmkv_txn_remove(txn, branch, text("%s/0", prefix), HMKV_NTS,
                    HMKV_REMOVE_OPTS(.end = end_key, .end_len = HMKV_NTS, .prev = 1));
    hmkv_txn_remove(txn, branch, prefix, HMKV_NTS, HMKV_REMOVE_OPTS(.prefix = 1));
    txn_remove(txn, branch, unique("missing"));
    hmkv_txn_remove(txn, branch, other, HMKV_NTS, HMKV_REMOVE_OPTS(.prev = 1));
    hmkv_txn_remove(txn, branch, unique("none"), HMKV_NTS,
                    HMKV_REMOVE_OPTS(.prefix = 1, .prev = 1));
    hmkv_result *result = commit_in(branch, txn);
    CHECK_SUB(result, 0, HMKV_OK, 3, 3);
    for (int i = 0; i < 3; i++)
      CHECK_SUB_KV(result, 0, (size_t)i, text("%s/%d", prefix, i), text("%d", i));
    CHECK_SUB(result, 1, HMKV_OK, 0, 3); /* what the first one left */
    CHECK_SUB(result, 2, HMKV_OK, 0, 0);
    CHECK_SUB(result, 3, HMKV_OK, 1, 1);
    CHECK_SUB_KV(result, 3, 0, other, "other");
    CHECK_SUB(result, 4, HMKV_OK, 0, 0);
    CHECK(hmkv_result_sub(result, 5) == NULL);
    hmkv_result_free(result);
    CHECK_INT(0, count_keys(kv, prefix));
    CHECK_VALUE(kv, other, NULL);
  }
}

static void sub_results_stand_in_the_order_in_which_operations_were_added(void) {
  enum { ROUNDS = 8 };
  EACH_BRANCH(branch) {
    int32_t other = HMKV_THEN + HMKV_ELSE - branch;
    const char *prefix = unique("keys");
    hmkv_txn *txn = new_in(branch);
    for (int i = 0; i < ROUNDS; i++) {
      CHECK_OK(hmkv_store(kv, text("%s/removed/%d", prefix, i), "old"));
      CHECK_OK(hmkv_store(kv, text("%s/put/%d", prefix, i), text("former %d", i)));
      CHECK_OK(hmkv_store(kv, text("%s/read/%d", prefix, i), text("read %d", i)));
      hmkv_txn_put(txn, branch, text("%s/put/%d", prefix, i), HMKV_NTS, "new", 3,
                   HMKV_PUT_OPTS(.prev = 1));
      txn_put(txn, other, text("%s/not/%d", prefix, i), "wrong"); /* does not count */
      txn_range(txn, branch, text("%s/read/%d", prefix, i));
      hmkv_txn_remove(txn, branch, text("%s/removed/%d", prefix, i), HMKV_NTS,
                      HMKV_REMOVE_OPTS(.prev = 1));
    }
    hmkv_result *result = commit_in(branch, txn);
    for (int i = 0; i < ROUNDS; i++) {
      size_t at = 3 * (size_t)i;
      CHECK_SUB(result, at, HMKV_OK, 1, 0);
      CHECK_SUB_KV(result, at, 0, text("%s/put/%d", prefix, i), text("former %d", i));
      CHECK_SUB(result, at + 1, HMKV_OK, 1, 1);
      CHECK_SUB_KV(result, at + 1, 0, text("%s/read/%d", prefix, i), text("read %d", i));
      CHECK_SUB(result, at + 2, HMKV_OK, 1, 1);
      CHECK_SUB_KV(result, at + 2, 0, text("%s/removed/%d", prefix, i), "old");
    }
    CHECK(hmkv_result_sub(result, 3 * ROUNDS) == NULL);
    CHECK(hmkv_result_sub(result, 3 * ROUNDS + 1) == NULL);
    CHECK(hmkv_result_sub(result, SIZE_MAX) == NULL);
    CHECK(hmkv_result_sub(result, SIZE_MAX / 2) == NULL);
    /* A sub-result is the same each time, and has none itself. */
    CHECK(hmkv_result_sub(result, 1) == hmkv_result_sub(result, 1));
    CHECK(hmkv_result_sub(hmkv_result_sub(result, 1), 0) == NULL);
    /* What is not a sub-result's is not the transaction's. */
    CHECK_INT(0, hmkv_result_count(result));
    CHECK_INT(0, hmkv_result_total(result));
    CHECK(hmkv_result_kv(result, 0) == NULL);
    hmkv_result_free(result);
    CHECK_INT(0, count_keys(kv, text("%s/not/", prefix)));
  }
}

static void other_results_have_no_sub_result(void) {
  const char *key = unique("key");
  hmkv_result *results[] = {
      AWAIT(HMKV_OK, hmkv_put(kv, key, HMKV_NTS, "1", 1, NULL)),
      AWAIT(HMKV_OK, hmkv_range(kv, key, HMKV_NTS, NULL)),
      AWAIT(HMKV_OK, hmkv_put(kv, key, HMKV_NTS, "2", 1,
                              HMKV_PUT_OPTS(.prev = 1))),
      AWAIT(HMKV_COMPARE_FAILED, hmkv_put(kv, key, HMKV_NTS, "3", 1,
                                          HMKV_PUT_OPTS(.if_mod_revision = HMKV_ABSENT))),
      AWAIT(HMKV_OK, hmkv_remove(kv, key, HMKV_NTS, NULL)),
      AWAIT(HMKV_OK, hmkv_ping(kv)),
      AWAIT(HMKV_EINVAL, hmkv_txn_commit(NULL, NULL)),
      list_keys(kv, key),
  };
  for (size_t i = 0; i < sizeof results / sizeof *results; i++) {
    CHECK(hmkv_result_sub(results[i], 0) == NULL);
    hmkv_result_free(results[i]);
  }
  CHECK(hmkv_result_sub(NULL, 0) == NULL);
}

/* ---- one atomic step with one revision ---- */

static void all_writes_have_one_revision(void) {
  EACH_BRANCH(branch) {
    const char *prefix = unique("keys"), *gone = text("%s/gone", prefix);
    CHECK_OK(hmkv_store(kv, gone, "x"));
    CHECK_OK(hmkv_store(kv, text("%s/0", prefix), "x"));
    hmkv_txn *txn = new_in(branch);
    for (int i = 0; i < 5; i++) txn_put(txn, branch, text("%s/%d", prefix, i), "new");
    txn_remove(txn, branch, gone);
    hmkv_result *result = commit_in(branch, txn), *keys = list_keys(kv, prefix);
    CHECK_INT(5, hmkv_result_count(keys));
    for (size_t i = 0; i < 5; i++)
      CHECK_INT(hmkv_result_revision(result), hmkv_result_kv(keys, i)->mod_revision);
    CHECK(hmkv_result_kv(keys, 0)->create_revision < hmkv_result_revision(result));
    CHECK_INT(2, hmkv_result_kv(keys, 0)->version);
    CHECK_INT(hmkv_result_revision(result), hmkv_result_kv(keys, 4)->create_revision);
    CHECK_INT(1, hmkv_result_kv(keys, 4)->version);
    hmkv_result_free(keys);
    hmkv_result_free(result);
  }
}

/* Which is what they see; a range of an older state does not change it. */
static void sub_results_show_the_revision_of_the_transaction(void) {
  EACH_BRANCH(branch) {
    const char *key = unique("key"), *gone = unique("gone");
    int64_t old = put_text(kv, key, "1");
    put_text(kv, gone, "1");
    hmkv_txn *txn = new_in(branch);
    txn_range(txn, branch, key);
    txn_put(txn, branch, key, "2");
    txn_remove(txn, branch, gone);
    txn_range(txn, branch, key);
    hmkv_txn_range(txn, branch, key, HMKV_NTS, HMKV_RANGE_OPTS(.revision = old));
    hmkv_result *result = commit_in(branch, txn);
    for (size_t i = 0; i < 5; i++)
      CHECK_INT(hmkv_result_revision(result), hmkv_result_revision(hmkv_result_sub(result, i)));
    hmkv_result_free(result);
  }
}

static int64_t revision_after(struct own_store *own, hmkv_txn *txn, hmkv_status expected) {
  hmkv_result *result = COMMIT(expected, txn);
  int64_t revision = hmkv_result_revision(result);
  hmkv_result_free(result);
  CHECK_INT(newest_revision(own->kv), revision);
  return revision;
}

static void a_transaction_makes_one_revision_and_without_writes_none(void) {
  struct own_store own;
  own_store_open(&own, NULL);
  CHECK_OK(hmkv_store(own.kv, "a", "1"));
  int64_t start = newest_revision(own.kv);
  CHECK_INT(start, revision_after(&own, hmkv_txn_new(own.kv), HMKV_OK));
  hmkv_txn *txn = hmkv_txn_new(own.kv);
  for (int i = 0; i < 9; i++) txn_put(txn, HMKV_THEN, text("key/%d", i), "1");
  txn_remove(txn, HMKV_THEN, "a");
  CHECK_INT(start + 1, revision_after(&own, txn, HMKV_OK));
  txn = hmkv_txn_new(own.kv); /* reads alone */
  txn_range(txn, HMKV_THEN, "key/1");
  hmkv_txn_range(txn, HMKV_THEN, "", 0, HMKV_RANGE_OPTS(.prefix = 1));
  CHECK_INT(start + 1, revision_after(&own, txn, HMKV_OK));
  txn = hmkv_txn_new(own.kv); /* nothing to remove */
  txn_remove(txn, HMKV_THEN, "a");
  CHECK_INT(start + 1, revision_after(&own, txn, HMKV_OK));
  txn = hmkv_txn_new(own.kv); /* the writes are in the other branch */
  txn_if_never(txn);
  txn_put(txn, HMKV_THEN, "key/1", "2");
  txn_range(txn, HMKV_ELSE, "key/1");
  CHECK_INT(start + 1, revision_after(&own, txn, HMKV_COMPARE_FAILED));
  txn = hmkv_txn_new(own.kv); /* an equal value is a write */
  txn_put(txn, HMKV_THEN, "key/1", "1");
  CHECK_INT(start + 2, revision_after(&own, txn, HMKV_OK));
  own_store_close(&own);
}

static void a_range_sees_the_writes_before_it_and_none_after_it(void) {
  EACH_BRANCH(branch) {
    const char *prefix = unique("keys"), *a = text("%s/a", prefix), *b = text("%s/b", prefix);
    const char *c = text("%s/c", prefix);
    CHECK_OK(hmkv_store(kv, a, "old"));
    CHECK_OK(hmkv_store(kv, c, "old"));
    hmkv_txn *txn = new_in(branch);
    txn_range(txn, branch, a);                                                          /* 0 */
    txn_put(txn, branch, a, "new");                                                     /* 1 */
    txn_range(txn, branch, a);                                                          /* 2 */
    txn_range(txn, branch, b);                                                          /* 3 */
    txn_put(txn, branch, b, "new");                                                     /* 4 */
    hmkv_txn_range(txn, branch, prefix, HMKV_NTS, HMKV_RANGE_OPTS(.prefix = 1));        /* 5 */
    hmkv_txn_remove(txn, branch, c, HMKV_NTS, HMKV_REMOVE_OPTS(.prev = 1));             /* 6 */
    txn_range(txn, branch, c);                                                          /* 7 */
    hmkv_txn_range(txn, branch, prefix, HMKV_NTS, HMKV_RANGE_OPTS(.prefix = 1, .limit = 1)); /* 8 */
    hmkv_result *result = commit_in(branch, txn);
    int64_t revision = hmkv_result_revision(result);
    CHECK_SUB_KV(result, 0, 0, a, "old");
    CHECK_SUB_KV(result, 2, 0, a, "new");
    CHECK_INT(revision, txn_kv(result, 2, 0)->mod_revision);
    CHECK_INT(2, txn_kv(result, 2, 0)->version);
    CHECK_SUB(result, 3, HMKV_NOT_FOUND, 0, 0);
    CHECK_SUB(result, 5, HMKV_OK, 3, 3);
    CHECK_SUB_KV(result, 5, 0, a, "new");
    CHECK_SUB_KV(result, 5, 1, b, "new");
    CHECK_INT(revision, txn_kv(result, 5, 1)->create_revision);
    CHECK_SUB_KV(result, 5, 2, c, "old");
    CHECK_SUB_KV(result, 6, 0, c, "old");
    CHECK_SUB(result, 7, HMKV_NOT_FOUND, 0, 0);
    CHECK_SUB(result, 8, HMKV_OK, 1, 2);
    hmkv_result_free(result);
  }
}

static void both_branches_may_write_the_same_key(void) {
  const char *key = unique("key"), *gone = unique("gone");
  EACH_BRANCH(branch) {
    CHECK_OK(hmkv_store(kv, gone, "x"));
    hmkv_txn *txn = new_in(branch);
    txn_put(txn, HMKV_THEN, key, "then");
    txn_put(txn, HMKV_ELSE, key, "else");
    txn_put(txn, HMKV_THEN, gone, "then");
    txn_remove(txn, HMKV_ELSE, gone);
    hmkv_result_free(commit_in(branch, txn));
    CHECK_VALUE(kv, key, branch == HMKV_THEN ? "then" : "else");
    CHECK_VALUE(kv, gone, branch == HMKV_THEN ? "then" : NULL);
  }
}

static void keys_and_values_may_hold_nul_bytes(void) {
  const char *prefix = unique("binary");
  char one[256], two[256];
  size_t length = (size_t)snprintf(one, sizeof one, "%s%c1", prefix, 0);
  snprintf(two, sizeof two, "%s%c2", prefix, 0);
  hmkv_txn *txn = hmkv_txn_new(kv);
  hmkv_txn_put(txn, HMKV_THEN, one, length, "\0a\0", 3, NULL);
  hmkv_txn_put(txn, HMKV_THEN, two, length, "b", 1, NULL);
  hmkv_txn_range(txn, HMKV_THEN, one, length, NULL);
  hmkv_txn_remove(txn, HMKV_THEN, prefix, HMKV_NTS, NULL); /* another key */
  hmkv_result *result = COMMIT(HMKV_OK, txn);
  const hmkv_kv *entry = txn_kv(result, 2, 0);
  CHECK_INT(length, entry->key_len);
  CHECK_INT(0, memcmp(one, entry->key, length + 1));
  CHECK_INT(3, entry->value_len);
  CHECK_INT(0, memcmp("\0a\0\0", entry->value, 4));
  CHECK_SUB(result, 3, HMKV_OK, 0, 0);
  hmkv_result_free(result);
  CHECK_INT(2, count_keys(kv, prefix));
  txn = hmkv_txn_new(kv);
  hmkv_txn_remove(txn, HMKV_THEN, one, length, HMKV_REMOVE_OPTS(.end = two, .end_len = length));
  COMMITS(HMKV_OK, txn);
  CHECK_INT(1, count_keys(kv, prefix));
}

/* ---- leases ---- */

static void a_put_hangs_on_the_lease_it_names_and_else_on_none(void) {
  hmkv *holder = open_store(NULL);
  const char *sign = unique("sign"), *key = unique("key"), *former = unique("former");
  CHECK_OK(hmkv_temp_key(holder, sign));
  CHECK_OK(hmkv_temp_key(holder, former));
  int64_t lease = lease_of(kv, sign);
  hmkv_txn *txn = hmkv_txn_new(kv);
  hmkv_txn_put(txn, HMKV_THEN, key, HMKV_NTS, "1", 1, HMKV_PUT_OPTS(.lease = lease));
  hmkv_txn_put(txn, HMKV_THEN, former, HMKV_NTS, "1", 1, HMKV_PUT_OPTS(.prev = 1));
  txn_range(txn, HMKV_THEN, key);
  hmkv_result *result = COMMIT(HMKV_OK, txn);
  CHECK_INT(lease, txn_kv(result, 1, 0)->lease);
  CHECK_INT(lease, txn_kv(result, 2, 0)->lease);
  hmkv_result_free(result);
  CHECK_INT(lease, lease_of(kv, key));
  CHECK_INT(0, lease_of(kv, former));
  close_store(holder);
  CHECK_VALUE(kv, key, NULL);
  CHECK_VALUE(kv, former, "1");
}

/* ---- finishing ---- */

static void a_callback_gets_the_sub_results_too(void) {
  const char *key = unique("key");
  struct answer answer = {0};
  hmkv_txn *txn = hmkv_txn_new(kv);
  txn_put(txn, HMKV_THEN, key, "value");
  txn_range(txn, HMKV_THEN, key);
  hmkv_then(hmkv_txn_commit(txn, HMKV_TXN_OPTS(.timeout_ms = 30000)), answer_record, &answer);
  hmkv_result *result = ANSWERED(HMKV_OK, &answer);
  CHECK_SUB_KV(result, 1, 0, key, "value");
  answer_free(&answer);
}

/* A transaction that may write is in doubt without an answer, one that reads is not. */
static void the_timeout_of_the_options_counts(void) {
  struct own_store own;
  own_store_open(&own, "timeout=1h");
  CHECK_OK(hmkv_store(own.kv, "a", "1"));
  server_pause(&own.server);
  int64_t begin_ms = now_ms();
  hmkv_txn *txn = hmkv_txn_new(own.kv);
  txn_put(txn, HMKV_THEN, "a", "2");
  FINISH(HMKV_EINDETERMINATE, hmkv_txn_commit(txn, HMKV_TXN_OPTS(.timeout_ms = 500)));
  txn = hmkv_txn_new(own.kv);
  txn_range(txn, HMKV_THEN, "a");
  FINISH(HMKV_EUNAVAIL, hmkv_txn_commit(txn, HMKV_TXN_OPTS(.timeout_ms = 500)));
  int64_t took = now_ms() - begin_ms;
  CHECK(took >= 900 && took < 20000);
  server_resume(&own.server);
  own_store_close(&own);
}

static const struct test tests[] = {
    BOTH(a_put_with_prev_gives_the_former_key),
    BOTH(a_range_of_one_key_gives_it_or_not_found),
    BOTH(a_removal_tells_how_many_keys_and_with_prev_which),
    BOTH(sub_results_stand_in_the_order_in_which_operations_were_added),
    BOTH(other_results_have_no_sub_result),
    BOTH(all_writes_have_one_revision),
    BOTH(sub_results_show_the_revision_of_the_transaction),
    BOTH(a_transaction_makes_one_revision_and_without_writes_none),
    BOTH(a_range_sees_the_writes_before_it_and_none_after_it),
    BOTH(both_branches_may_write_the_same_key),
    BOTH(keys_and_values_may_hold_nul_bytes),
    BOTH(a_put_hangs_on_the_lease_it_names_and_else_on_none),
    BOTH(a_callback_gets_the_sub_results_too),
    ETCD_ONLY(the_timeout_of_the_options_counts),
};
TEST_MAIN(.begin = begin, .end = end)
