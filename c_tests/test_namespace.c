/* The option `namespace`: requests, ranges and transactions. Watches, leases, locks
 * and temporary keys are in test_namespace_children.c. */
#include "requests.h"
#include "test.h"

static const char *namespace;
static hmkv *kv;    /* in the namespace */
static hmkv *plain; /* in none */

static void begin(void) {
  namespace = unique("app/");
  kv = open_store(text("timeout=20s namespace=%s", namespace));
  plain = open_store("timeout=20s");
}

static void end(void) {
  close_store(kv);
  close_store(plain);
}

/* The key as it is without the namespace. */
static const char *full(const char *name) { return text("%s%s", namespace, name); }

/* Keys before and behind the namespace, and the one that is its name. */
enum { OUTSIDE = 4 };

static const char *outside(int i) {
  int length = (int)strlen(namespace) - 1;
  const char *const keys[OUTSIDE] = {text("%.*s", length, namespace),
                                     text("%.*s.", length, namespace),
                                     text("%.*s0", length, namespace), namespace};
  return keys[i];
}

static void put_outside(void) {
  for (int i = 0; i < OUTSIDE; i++) put_text(plain, outside(i), "outside");
}

static void outside_is_untouched(void) {
  for (int i = 0; i < OUTSIDE; i++) CHECK_VALUE(plain, outside(i), "outside");
}

static void put_names(void) {
  static const char *const names[] = {"\x01", "a", "b", "b/1", "c", "\xff\xff"};
  for (int i = 0; i < 6; i++) put_text(kv, names[i], "value");
}

/* ---- one key ---- */

static void a_key_carries_the_prefix_for_others(void) {
  CHECK_OK(hmkv_store(kv, "a", "1"));
  put_text(kv, "b", "2");
  CHECK_VALUE(plain, full("a"), "1");
  CHECK_VALUE(plain, full("b"), "2");
  CHECK_INT(2, count_keys(plain, namespace));
  CHECK_OK(hmkv_store(plain, full("c"), "3"));
  CHECK_VALUE(kv, "c", "3");
  CHECK_VALUE(kv, full("c"), NULL);
  CHECK_OK(hmkv_delete(kv, "c"));
  CHECK_VALUE(plain, full("c"), NULL);
}

static void the_prefix_is_taken_as_it_is(void) {
  const char *name = unique("name");
  hmkv *bare = open_store(text("namespace=%s", name));
  hmkv *quoted = open_store(text("namespace='%s a,b;\\'c'", name));
  put_text(bare, "x", "1");
  CHECK_VALUE(plain, text("%sx", name), "1");
  put_text(quoted, "x", "2");
  CHECK_VALUE(plain, text("%s a,b;'cx", name), "2");
  CHECK_VALUE(bare, " a,b;'cx", "2"); /* one may lie in another */
  close_store(bare);
  close_store(quoted);
}

static void two_namespaces_do_not_see_each_other(void) {
  hmkv *other = open_store(text("namespace=%s", unique("other/")));
  hmkv *same = open_store(text("namespace=%s", namespace));
  CHECK_OK(hmkv_store(kv, "key", "mine"));
  CHECK_VALUE(other, "key", NULL);
  CHECK_VALUE(same, "key", "mine");
  CHECK_OK(hmkv_store(other, "key", "theirs"));
  CHECK_VALUE(kv, "key", "mine");
  FINISH(HMKV_OK, hmkv_remove(other, "", 0, HMKV_REMOVE_OPTS(.prefix = 1)));
  CHECK_VALUE(kv, "key", "mine");
  CHECK_VALUE(other, "key", NULL);
  close_store(other);
  close_store(same);
}

static void the_empty_key_is_refused_here_too(void) {
  char *value = NULL;
  CHECK_STATUS(HMKV_EINVAL, hmkv_store(kv, "", "value"));
  CHECK_STATUS(HMKV_EINVAL, hmkv_get(kv, "", &value));
  CHECK_STATUS(HMKV_EINVAL, hmkv_delete(kv, ""));
  FINISH(HMKV_EINVAL, hmkv_put(kv, "", 0, "value", 5, NULL));
  FINISH(HMKV_EINVAL, hmkv_range(kv, "", 0, NULL));
  FINISH(HMKV_EINVAL, hmkv_remove(kv, "", 0, NULL));
  FINISH(HMKV_EINVAL, hmkv_range(kv, "a", 1, HMKV_RANGE_OPTS(.end = "", .end_len = 0)));
  CHECK_VALUE(plain, namespace, NULL);
}

/* ---- the text calls ---- */

static void get_range_stays_inside(void) {
  put_outside();
  put_names();
  hmkv_result *result = NULL;
  CHECK_OK(hmkv_get_range(kv, "", "\xff\xff\xff", &result));
  CHECK_STR("\x01 a b b/1 c \xff\xff ", names_of(result, ""));
  CHECK_INT(6, hmkv_result_total(result));
  hmkv_result_free(result);
  CHECK_OK(hmkv_get_range(kv, "a", "b/1", &result));
  CHECK_STR("a b b/1 ", names_of(result, ""));
  hmkv_result_free(result);
  CHECK_OK(hmkv_get_range(kv, "b", "a", &result));
  CHECK_INT(0, hmkv_result_count(result));
  hmkv_result_free(result);
}

static void transaction_and_tas_are_inside(void) {
  CHECK_OK(hmkv_store(kv, "key", "a"));
  CHECK_OK(hmkv_transaction(kv, "key", "=", "a", "then", "T", "else", "E"));
  CHECK_STATUS(HMKV_COMPARE_FAILED, hmkv_transaction(kv, "key", ">", "a", "then", "-", "else", "E"));
  CHECK_OK(hmkv_tas(kv, "key", "a", "b"));
  CHECK_STATUS(HMKV_COMPARE_FAILED, hmkv_tas(kv, "key", "a", "c"));
  CHECK_VALUE(plain, full("then"), "T");
  CHECK_VALUE(plain, full("else"), "E");
  CHECK_VALUE(plain, full("key"), "b");
  CHECK_INT(3, count_keys(plain, namespace));
}

/* ---- requests ---- */

static void results_come_without_the_prefix(void) {
  int64_t first = put_text(kv, "key", "one");
  hmkv_result *result = AWAIT(HMKV_OK, hmkv_range(kv, "key", 3, NULL));
  CHECK_ENTRY(hmkv_result_kv(result, 0), "key", 3, "one", 3);
  hmkv_result_free(result);
  result = AWAIT(HMKV_OK, hmkv_put(kv, "key", 3, "two", 3, HMKV_PUT_OPTS(.prev = 1)));
  CHECK_ENTRY(hmkv_result_kv(result, 0), "key", 3, "one", 3);
  hmkv_result_free(result);
  result = AWAIT(HMKV_COMPARE_FAILED,
                 hmkv_put(kv, "key", 3, "three", 5, HMKV_PUT_OPTS(.if_mod_revision = first)));
  CHECK_ENTRY(hmkv_result_kv(result, 0), "key", 3, "two", 3);
  hmkv_result_free(result);
  result = AWAIT(HMKV_COMPARE_FAILED,
                 hmkv_remove(kv, "key", 3, HMKV_REMOVE_OPTS(.if_mod_revision = first)));
  CHECK_ENTRY(hmkv_result_kv(result, 0), "key", 3, "two", 3);
  hmkv_result_free(result);
  result = AWAIT(HMKV_OK, hmkv_remove(kv, "key", 3, HMKV_REMOVE_OPTS(.prev = 1)));
  CHECK_ENTRY(hmkv_result_kv(result, 0), "key", 3, "two", 3);
  hmkv_result_free(result);
  FINISH(HMKV_NOT_FOUND, hmkv_range(plain, full("key"), HMKV_NTS, NULL));
}

static void check_range(int line, const char *names, const char *key, const hmkv_range_opts *opts) {
  hmkv_result *result = AWAIT(HMKV_OK, hmkv_range(kv, key, HMKV_NTS, opts));
  test_str(__FILE__, line, "the keys", names, names_of(result, ""));
  if (opts->limit == 0)
    test_int(__FILE__, line, "the total", (int64_t)hmkv_result_count(result),
             (int64_t)hmkv_result_total(result));
  hmkv_result_free(result);
}
#define RANGE(names, key, ...) check_range(__LINE__, (names), (key), HMKV_RANGE_OPTS(__VA_ARGS__))

static void ranges_stay_inside(void) {
  put_outside();
  put_names();
  RANGE("\x01 a b b/1 c \xff\xff ", "", .prefix = 1);
  RANGE("\x01 a b b/1 c \xff\xff ", "", .from = 1);
  RANGE("b b/1 ", "b", .prefix = 1);
  RANGE("b b/1 c \xff\xff ", "b", .from = 1);
  RANGE("\xff\xff ", "\xff", .prefix = 1);
  RANGE("\xff\xff ", "\xff", .from = 1);
  RANGE("", "\xff\xff\xff", .from = 1);
  RANGE("\x01 a ", "", .end = "b", .end_len = 1);
  RANGE("a b b/1 ", "a", .end = "c", .end_len = 1);
  RANGE("c \xff\xff ", "c", .end = "\xff\xff\xff\xff", .end_len = 4);
  RANGE("", "c", .end = "a", .end_len = 1);
  RANGE("", "a", .end = "\0", .end_len = 1);
  RANGE("\xff\xff c b/1 b a \x01 ", "", .prefix = 1, .descending = 1);
  RANGE("\xff\xff c ", "", .from = 1, .descending = 1, .limit = 2);
  hmkv_result *result =
      AWAIT(HMKV_OK, hmkv_range(kv, NULL, 0, HMKV_RANGE_OPTS(.from = 1, .count_only = 1)));
  CHECK_INT(6, hmkv_result_total(result));
  hmkv_result_free(result);
}

static void removals_stay_inside(void) {
  put_outside();
  put_names();
  hmkv_result *result =
      AWAIT(HMKV_OK, hmkv_remove(kv, "", 0, HMKV_REMOVE_OPTS(.end = "b", .end_len = 1, .prev = 1)));
  CHECK_STR("\x01 a ", names_of(result, ""));
  hmkv_result_free(result);
  result = AWAIT(HMKV_OK, hmkv_remove(kv, "c", 1,
                                      HMKV_REMOVE_OPTS(.end = "\xff\xff\xff", .end_len = 3)));
  CHECK_INT(2, hmkv_result_total(result));
  hmkv_result_free(result);
  result = AWAIT(HMKV_OK, hmkv_remove(kv, "a", 1, HMKV_REMOVE_OPTS(.end = "\0", .end_len = 1)));
  CHECK_INT(0, hmkv_result_total(result));
  hmkv_result_free(result);
  result = AWAIT(HMKV_OK, hmkv_remove(kv, NULL, 0, HMKV_REMOVE_OPTS(.prefix = 1)));
  CHECK_INT(2, hmkv_result_total(result));
  hmkv_result_free(result);
  outside_is_untouched();
}

static void a_large_range_comes_without_the_prefix(void) {
  int count = rounds(3000, 1200);
  hmkv_op **ops = calloc((size_t)count, sizeof *ops);
  CHECK(ops);
  put_outside();
  for (int i = 0; i < count; i++)
    ops[i] = hmkv_put(kv, text("%06d", i), HMKV_NTS, text("%d", i), HMKV_NTS, NULL);
  for (int i = 0; i < count; i++) FINISH(HMKV_OK, ops[i]);
  for (int descending = 0; descending < 2; descending++) {
    hmkv_result *result =
        AWAIT(HMKV_OK, hmkv_range(kv, "", 0, HMKV_RANGE_OPTS(.prefix = 1,
                                                            .descending = (uint8_t)descending)));
    CHECK_INT(count, hmkv_result_total(result));
    CHECK_INT(count, hmkv_result_count(result));
    for (int i = 0; i < count; i++) {
      const char *value = text("%d", descending ? count - 1 - i : i);
      CHECK_ENTRY(hmkv_result_kv(result, (size_t)i), text("%06d", atoi(value)), 6, value,
                  strlen(value));
    }
    hmkv_result_free(result);
  }
  FINISH(HMKV_OK, hmkv_remove(kv, "", 0, HMKV_REMOVE_OPTS(.prefix = 1)));
  outside_is_untouched();
  free(ops);
}

/* ---- transactions ---- */

static void transactions_are_inside(void) {
  put_outside();
  int64_t created = put_text(kv, "key", "one");
  put_text(kv, "gone/1", "x"), put_text(kv, "gone/2", "y");
  hmkv_txn *txn = hmkv_txn_new(kv);
  hmkv_txn_if_value(txn, "key", HMKV_NTS, "=", "one", 3);
  hmkv_txn_if_number(txn, "key", HMKV_NTS, HMKV_NUMBER_CREATE, "=", created);
  hmkv_txn_if_number(txn, full("key"), HMKV_NTS, HMKV_NUMBER_VERSION, "=", 0); /* no such key */
  hmkv_txn_put(txn, HMKV_THEN, "key", HMKV_NTS, "two", 3, HMKV_PUT_OPTS(.prev = 1));
  hmkv_txn_remove(txn, HMKV_THEN, "gone/", HMKV_NTS, HMKV_REMOVE_OPTS(.prefix = 1, .prev = 1));
  hmkv_txn_range(txn, HMKV_THEN, "", 0, HMKV_RANGE_OPTS(.prefix = 1));
  hmkv_txn_range(txn, HMKV_THEN, "", 0, HMKV_RANGE_OPTS(.from = 1, .count_only = 1));
  hmkv_result *result = AWAIT(HMKV_OK, hmkv_txn_commit(txn, NULL));
  CHECK_ENTRY(hmkv_result_kv(hmkv_result_sub(result, 0), 0), "key", 3, "one", 3);
  CHECK_STR("gone/1 gone/2 ", names_of(hmkv_result_sub(result, 1), ""));
  CHECK_STR("key ", names_of(hmkv_result_sub(result, 2), ""));
  CHECK_INT(1, hmkv_result_total(hmkv_result_sub(result, 3)));
  hmkv_result_free(result);
  CHECK_VALUE(plain, full("key"), "two");
  txn = hmkv_txn_new(kv);
  hmkv_txn_remove(txn, HMKV_THEN, NULL, 0, HMKV_REMOVE_OPTS(.prefix = 1));
  FINISH(HMKV_OK, hmkv_txn_commit(txn, NULL));
  outside_is_untouched();
  CHECK_VALUE(plain, full("key"), NULL);
}

static void a_failed_compare_shows_keys_without_the_prefix(void) {
  put_text(kv, "key", "one");
  hmkv_txn *txn = hmkv_txn_new(kv);
  hmkv_txn_if_number(txn, "key", HMKV_NTS, HMKV_NUMBER_MOD, "=", 0);
  hmkv_txn_range(txn, HMKV_ELSE, "key", HMKV_NTS, NULL);
  hmkv_txn_put(txn, HMKV_ELSE, "other", HMKV_NTS, "e", 1, NULL);
  hmkv_result *result = AWAIT(HMKV_COMPARE_FAILED, hmkv_txn_commit(txn, NULL));
  CHECK_ENTRY(hmkv_result_kv(hmkv_result_sub(result, 0), 0), "key", 3, "one", 3);
  hmkv_result_free(result);
  CHECK_VALUE(plain, full("other"), "e");
}

static const struct test tests[] = {
    BOTH(a_key_carries_the_prefix_for_others),
    BOTH(the_prefix_is_taken_as_it_is),
    BOTH(two_namespaces_do_not_see_each_other),
    BOTH(the_empty_key_is_refused_here_too),
    BOTH(get_range_stays_inside),
    BOTH(transaction_and_tas_are_inside),
    BOTH(results_come_without_the_prefix),
    BOTH(ranges_stay_inside),
    BOTH(removals_stay_inside),
    BOTH(a_large_range_comes_without_the_prefix),
    BOTH(transactions_are_inside),
    BOTH(a_failed_compare_shows_keys_without_the_prefix),
};
TEST_MAIN(.begin = begin, .end = end)
