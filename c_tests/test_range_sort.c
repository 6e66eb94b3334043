/* The order of hmkv_range. */
#include "requests.h"
#include "test.h"

static hmkv *kv;
static const char *prefix;

/* Five keys of which each order is another one. */
static void begin(void) {
  kv = open_store("timeout=20s");
  prefix = unique("sort/");
  static const struct {
    const char *name, *value;
  } puts[] = {
      {"d", "x"}, {"b", "2"}, {"e", "x"}, {"a", "x"}, {"c", "x"}, /* created d b e a c */
      {"b", "2"}, {"b", "2"}, {"a", "3"}, {"c", "10"}, {"d", ""},  {"d", "\xff"},
      {"e", "1"}, {"d", "9"},
      /* changed b a c e d; versions b 3, d 4, others 2; values e 1, c 10, b 2, a 3, d 9 */
  };
  for (size_t i = 0; i < sizeof puts / sizeof *puts; i++)
    put_text(kv, text("%s%s", prefix, puts[i].name), puts[i].value);
}

static void end(void) { close_store(kv); }

static void check_order(int line, const char *names, const hmkv_range_opts *opts) {
  hmkv_result *result = AWAIT(HMKV_OK, hmkv_range(kv, prefix, HMKV_NTS, opts));
  test_str(__FILE__, line, "the keys", names, names_of(result, prefix));
  test_int(__FILE__, line, "the total", 5, (int64_t)hmkv_result_total(result));
  hmkv_result_free(result);
}
#define ORDER(names, ...) check_order(__LINE__, (names), HMKV_RANGE_OPTS(.prefix = 1, __VA_ARGS__))

static void by_key(void) {
  ORDER("a b c d e ", .sort = 0);
  ORDER("a b c d e ", .sort = HMKV_SORT_KEY);
  ORDER("e d c b a ", .descending = 1);
  ORDER("e d c b a ", .sort = HMKV_SORT_KEY, .descending = 1);
}

static void by_create_revision(void) {
  ORDER("d b e a c ", .sort = HMKV_SORT_CREATE);
  ORDER("c a e b d ", .sort = HMKV_SORT_CREATE, .descending = 1);
}

static void by_mod_revision(void) {
  ORDER("b a c e d ", .sort = HMKV_SORT_MOD);
  ORDER("d e c a b ", .sort = HMKV_SORT_MOD, .descending = 1);
}

static void by_value_bytewise_shorter_first(void) {
  ORDER("e c b a d ", .sort = HMKV_SORT_VALUE);
  ORDER("d a b c e ", .sort = HMKV_SORT_VALUE, .descending = 1);
}

static void by_version_and_equal_ones_stand_in_the_order_of_their_names(void) {
  ORDER("a c e b d ", .sort = HMKV_SORT_VERSION);
  ORDER("d b a c e ", .sort = HMKV_SORT_VERSION, .descending = 1);
}

static void equal_values_stand_in_the_order_of_their_names(void) {
  for (int i = 0; i < 5; i++) put_text(kv, text("%s%c", prefix, "cadbe"[i]), i % 2 ? "1" : "2");
  ORDER("a b c d e ", .sort = HMKV_SORT_VALUE);
  ORDER("c d e a b ", .sort = HMKV_SORT_VALUE, .descending = 1);
  ORDER("a b c d ", .sort = HMKV_SORT_VALUE, .limit = 4);
  ORDER("c d e a ", .sort = HMKV_SORT_VALUE, .descending = 1, .limit = 4);
}

static void keys_of_one_transaction_stand_in_the_order_of_their_names(void) {
  hmkv_txn *txn = hmkv_txn_new(kv);
  for (int i = 0; i < 5; i++)
    hmkv_txn_put(txn, HMKV_THEN, text("%s%c", prefix, "cadbe"[i]), HMKV_NTS, "v", 1, NULL);
  FINISH(HMKV_OK, hmkv_txn_commit(txn, NULL));
  ORDER("a b c d e ", .sort = HMKV_SORT_MOD);
  ORDER("a b c d e ", .sort = HMKV_SORT_MOD, .descending = 1);
  ORDER("a b c ", .sort = HMKV_SORT_MOD, .descending = 1, .limit = 3);
}

static void a_limit_takes_the_first_in_the_order_asked_for(void) {
  ORDER("a b ", .limit = 2);
  ORDER("e d ", .descending = 1, .limit = 2);
  ORDER("d b e ", .sort = HMKV_SORT_CREATE, .limit = 3);
  ORDER("d ", .sort = HMKV_SORT_MOD, .descending = 1, .limit = 1);
  ORDER("e c ", .sort = HMKV_SORT_VALUE, .limit = 2);
  ORDER("a c ", .sort = HMKV_SORT_VERSION, .limit = 2);
  ORDER("d b a ", .sort = HMKV_SORT_VERSION, .descending = 1, .limit = 3);
}

static int64_t mod_revision(const char *name) {
  const char *key = text("%s%s", prefix, name);
  hmkv_result *result = AWAIT(HMKV_OK, hmkv_range(kv, key, HMKV_NTS, NULL));
  int64_t revision = hmkv_result_kv(result, 0)->mod_revision;
  hmkv_result_free(result);
  return revision;
}

static void order_filters_and_limit_go_together(void) {
  int64_t a = mod_revision("a"), e = mod_revision("e");
  ORDER("e c a ", .sort = HMKV_SORT_VALUE, .min_mod_revision = a, .max_mod_revision = e);
  ORDER("a c ", .sort = HMKV_SORT_VALUE, .descending = 1, .min_mod_revision = a,
        .max_mod_revision = e, .limit = 2);
  ORDER("e c ", .descending = 1, .min_mod_revision = a, .max_mod_revision = e, .limit = 2);
}

/* Values are sorted by and yet left out. */
static void keys_only_does_not_change_the_order(void) {
  ORDER("e c b a d ", .sort = HMKV_SORT_VALUE, .keys_only = 1);
  ORDER("d a ", .sort = HMKV_SORT_VALUE, .descending = 1, .keys_only = 1, .limit = 2);
  ORDER("b a c e d ", .sort = HMKV_SORT_MOD, .keys_only = 1);
  hmkv_result *result = AWAIT(
      HMKV_OK, hmkv_range(kv, prefix, HMKV_NTS,
                          HMKV_RANGE_OPTS(.prefix = 1, .sort = HMKV_SORT_VALUE, .keys_only = 1)));
  for (size_t i = 0; i < 5; i++) CHECK_INT(0, hmkv_result_kv(result, i)->value_len);
  hmkv_result_free(result);
}

static void a_former_revision_is_sorted_by_what_it_was_then(void) {
  int64_t revision = mod_revision("d");
  for (int i = 0; i < 5; i++) put_text(kv, text("%s%c", prefix, "edcba"[i]), text("%d", i));
  ORDER("e d c b a ", .sort = HMKV_SORT_VALUE);
  ORDER("e c b a d ", .sort = HMKV_SORT_VALUE, .revision = revision);
  ORDER("d e c a b ", .sort = HMKV_SORT_MOD, .descending = 1, .revision = revision);
}

static void without_keys_there_is_nothing_to_sort(void) {
  for (int32_t sort = HMKV_SORT_KEY; sort <= HMKV_SORT_VALUE; sort++) {
    const char *none = text("%snone", prefix);
    hmkv_result *result = AWAIT(HMKV_OK, hmkv_range(kv, none, HMKV_NTS,
                                                    HMKV_RANGE_OPTS(.prefix = 1, .sort = sort)));
    CHECK_INT(0, hmkv_result_count(result));
    hmkv_result_free(result);
  }
}

static const struct test tests[] = {
    BOTH(by_key),
    BOTH(by_create_revision),
    BOTH(by_mod_revision),
    BOTH(by_value_bytewise_shorter_first),
    BOTH(by_version_and_equal_ones_stand_in_the_order_of_their_names),
    BOTH(equal_values_stand_in_the_order_of_their_names),
    BOTH(keys_of_one_transaction_stand_in_the_order_of_their_names),
    BOTH(a_limit_takes_the_first_in_the_order_asked_for),
    BOTH(order_filters_and_limit_go_together),
    BOTH(keys_only_does_not_change_the_order),
    BOTH(a_former_revision_is_sorted_by_what_it_was_then),
    BOTH(without_keys_there_is_nothing_to_sort),
};
TEST_MAIN(.begin = begin, .end = end)
