/* hmkv_remove: of a key, a prefix, a range; on a condition; and what its result shows. */
#include "own_store.h"
#include "requests.h"
#include "test.h"

static hmkv *kv;
static const char *prefix;

static void begin(void) {
  kv = open_store("timeout=20s");
  prefix = unique("remove/");
}

static void end(void) { close_store(kv); }

static const char *at(const char *name) { return text("%s%s", prefix, name); }
static int64_t store(const char *name) { return put_text(kv, at(name), name); }

/* The names that are left. */
static const char *left(void) {
  hmkv_result *result =
      AWAIT(HMKV_OK, hmkv_range(kv, prefix, HMKV_NTS, HMKV_RANGE_OPTS(.prefix = 1)));
  const char *names = names_of(result, prefix);
  hmkv_result_free(result);
  return names;
}

/* Checks the number of keys removed. */
#define REMOVED(count, op)                            \
  do {                                                \
    hmkv_result *removed_ = AWAIT(HMKV_OK, op);       \
    CHECK_INT((count), hmkv_result_total(removed_));  \
    CHECK_INT(0, hmkv_result_count(removed_));        \
    hmkv_result_free(removed_);                       \
  } while (0)

static hmkv_op *remove_range(const char *name, const char *end) {
  return hmkv_remove(kv, at(name), HMKV_NTS, HMKV_REMOVE_OPTS(.end = at(end), .end_len = HMKV_NTS));
}

static hmkv_op *remove_prefix(const char *name) {
  return hmkv_remove(kv, at(name), HMKV_NTS, HMKV_REMOVE_OPTS(.prefix = 1));
}

static hmkv_op *remove_if(const char *name, int64_t revision) {
  return hmkv_remove(kv, at(name), HMKV_NTS, HMKV_REMOVE_OPTS(.if_mod_revision = revision));
}

static void one_key_is_removed_and_its_neighbours_stay(void) {
  store("a"), store("b"), store("b/1"), store("bb"), store("c");
  REMOVED(1, hmkv_remove(kv, at("b"), HMKV_NTS, NULL));
  CHECK_STR("a b/1 bb c ", left());
}

static void an_absent_key_is_ok_with_total_0(void) {
  store("a");
  REMOVED(0, hmkv_remove(kv, at("b"), HMKV_NTS, NULL));
  REMOVED(0, remove_prefix("b"));
  REMOVED(0, remove_range("b", "c"));
  CHECK_STR("a ", left());
}

static void keys_are_of_any_bytes(void) {
  char key[300];
  size_t length = (size_t)snprintf(key, sizeof key, "%s", at("key"));
  memcpy(key + length, "\0\0x", 3);
  for (size_t i = 0; i <= 3; i++) FINISH(HMKV_OK, hmkv_put(kv, key, length + i, "v", 1, NULL));
  REMOVED(1, hmkv_remove(kv, key, length + 1, NULL));
  FINISH(HMKV_OK, hmkv_range(kv, key, length, NULL));
  FINISH(HMKV_NOT_FOUND, hmkv_range(kv, key, length + 1, NULL));
  FINISH(HMKV_OK, hmkv_range(kv, key, length + 2, NULL));
  REMOVED(2, hmkv_remove(kv, key, length + 1, HMKV_REMOVE_OPTS(.prefix = 1)));
  REMOVED(1, hmkv_remove(kv, key, HMKV_NTS, NULL));
  CHECK_STR("", left());
}

static void an_empty_key_alone_is_refused(void) {
  FINISH(HMKV_EINVAL, hmkv_remove(kv, "", 0, NULL));
  FINISH(HMKV_EINVAL, hmkv_remove(kv, "", HMKV_NTS, NULL));
  FINISH(HMKV_EINVAL, hmkv_remove(kv, NULL, 0, NULL));
  FINISH(HMKV_EINVAL, hmkv_remove(kv, NULL, 0, HMKV_REMOVE_OPTS(.prev = 1)));
}

static void a_prefix_removes_all_that_begins_with_it(void) {
  store("a"), store("b"), store("b\x01"), store("b/1"), store("bb"), store("b\xff"), store("c");
  REMOVED(5, remove_prefix("b"));
  CHECK_STR("a c ", left());
  REMOVED(2, remove_prefix(""));
  CHECK_STR("", left());
}

static void a_range_ends_before_its_end(void) {
  store("a"), store("b"), store("bb"), store("c"), store("c/1"), store("d");
  REMOVED(2, remove_range("b", "c"));
  CHECK_STR("a c c/1 d ", left());
  REMOVED(2, hmkv_remove(kv, at("c"), HMKV_NTS,
                         HMKV_REMOVE_OPTS(.end = at("dx"), .end_len = strlen(at("d")))));
  CHECK_STR("a d ", left());
}

static void an_end_at_or_below_the_key_makes_the_range_empty(void) {
  store("a"), store("b"), store("c");
  REMOVED(0, remove_range("b", "b"));
  REMOVED(0, remove_range("c", "a"));
  CHECK_STR("a b c ", left());
}

/* A key of all NUL is a special range end of etcd. */
static void an_end_of_one_nul_byte_is_a_key_like_any_other(void) {
  struct own_store alone;
  own_store_open(&alone, "timeout=20s");
  hmkv *own = alone.kv;
  put_text(own, "a", "1");
  put_text(own, "b", "2");
  FINISH(HMKV_OK, hmkv_put(own, "\0", 1, "the first key there can be", HMKV_NTS, NULL));
  REMOVED(0, hmkv_remove(own, "a", 1, HMKV_REMOVE_OPTS(.end = "\0", .end_len = 1)));
  REMOVED(0, hmkv_remove(own, NULL, 0, HMKV_REMOVE_OPTS(.end = "\0", .end_len = 1)));
  hmkv_txn *txn = hmkv_txn_new(own);
  hmkv_txn_range(txn, HMKV_THEN, "a", 1, HMKV_RANGE_OPTS(.end = "\0", .end_len = 1));
  hmkv_txn_remove(txn, HMKV_THEN, "a", 1, HMKV_REMOVE_OPTS(.end = "\0", .end_len = 1));
  hmkv_result *result = AWAIT(HMKV_OK, hmkv_txn_commit(txn, NULL));
  CHECK_INT(0, hmkv_result_total(hmkv_result_sub(result, 0)));
  CHECK_INT(0, hmkv_result_total(hmkv_result_sub(result, 1)));
  hmkv_result_free(result);
  REMOVED(1, hmkv_remove(own, "", 0, HMKV_REMOVE_OPTS(.end = "\0\0", .end_len = 2)));
  CHECK_VALUE(own, "a", "1");
  CHECK_VALUE(own, "b", "2");
  own_store_close(&alone);
}

static void the_empty_key_stands_for_the_first_key_there_is(void) {
  struct own_store alone;
  own_store_open(&alone, "timeout=20s");
  hmkv *own = alone.kv;
  static const char *const keys[] = {"\x01", "a", "b", "\xff", "\xff\xff"};
  for (int i = 0; i < 5; i++) put_text(own, keys[i], "value");
  REMOVED(2, hmkv_remove(own, "", 0, HMKV_REMOVE_OPTS(.end = "b", .end_len = 1)));
  CHECK(!has_key(own, "\x01"));
  CHECK(has_key(own, "b"));
  REMOVED(3, hmkv_remove(own, NULL, 0, HMKV_REMOVE_OPTS(.prefix = 1)));
  for (int i = 0; i < 5; i++) CHECK(!has_key(own, keys[i]));
  own_store_close(&alone);
}

static void a_prefix_of_ff_bytes_has_no_end(void) {
  struct own_store alone;
  own_store_open(&alone, "timeout=20s");
  hmkv *own = alone.kv;
  static const char *const keys[] = {"a", "\xfe\xff", "\xff", "\xff\x01", "\xff\xff", "\xff\xff\xff"};
  for (int i = 0; i < 6; i++) put_text(own, keys[i], "value");
  REMOVED(2, hmkv_remove(own, "\xff\xff", HMKV_NTS, HMKV_REMOVE_OPTS(.prefix = 1)));
  REMOVED(1, hmkv_remove(own, "\xfe", HMKV_NTS, HMKV_REMOVE_OPTS(.prefix = 1)));
  REMOVED(2, hmkv_remove(own, "\xff", 1, HMKV_REMOVE_OPTS(.prefix = 1)));
  CHECK(has_key(own, "a"));
  own_store_close(&alone);
}

/* ---- prev ---- */

static void prev_gives_the_keys_as_they_were(void) {
  int64_t created = store("a");
  store("b");
  int64_t changed = put_text(kv, at("a"), "changed");
  FINISH(HMKV_OK, hmkv_put(kv, at("c"), HMKV_NTS, "\0c", 2, NULL));
  hmkv_result *result =
      AWAIT(HMKV_OK, hmkv_remove(kv, prefix, HMKV_NTS, HMKV_REMOVE_OPTS(.prefix = 1, .prev = 1)));
  CHECK_INT(3, hmkv_result_total(result));
  CHECK_INT(3, hmkv_result_count(result));
  CHECK_ENTRY(hmkv_result_kv(result, 0), at("a"), strlen(at("a")), "changed", 7);
  CHECK_ENTRY(hmkv_result_kv(result, 1), at("b"), strlen(at("b")), "b", 1);
  CHECK_ENTRY(hmkv_result_kv(result, 2), at("c"), strlen(at("c")), "\0c", 2);
  CHECK_INT(created, hmkv_result_kv(result, 0)->create_revision);
  CHECK_INT(changed, hmkv_result_kv(result, 0)->mod_revision);
  CHECK_INT(2, hmkv_result_kv(result, 0)->version);
  CHECK(hmkv_result_kv(result, 3) == NULL);
  CHECK(hmkv_result_revision(result) > changed);
  hmkv_result_free(result);
  CHECK_STR("", left());
}

static void prev_of_one_key_and_of_none(void) {
  store("a");
  hmkv_result *result =
      AWAIT(HMKV_OK, hmkv_remove(kv, at("a"), HMKV_NTS, HMKV_REMOVE_OPTS(.prev = 1)));
  CHECK_INT(1, hmkv_result_count(result));
  CHECK_ENTRY(hmkv_result_kv(result, 0), at("a"), strlen(at("a")), "a", 1);
  hmkv_result_free(result);
  result = AWAIT(HMKV_OK, hmkv_remove(kv, at("a"), HMKV_NTS, HMKV_REMOVE_OPTS(.prev = 1)));
  CHECK_INT(0, hmkv_result_count(result));
  CHECK_INT(0, hmkv_result_total(result));
  hmkv_result_free(result);
}

static void prev_gives_more_than_4_mebibytes(void) {
  enum { COUNT = 40, SIZE = 160 * 1024 };
  char *value = malloc(SIZE);
  CHECK(value);
  for (int i = 0; i < COUNT; i++) {
    const char *key = at(text("%02d", i));
    memset(value, 'A' + i, SIZE);
    FINISH(HMKV_OK, hmkv_put(kv, key, HMKV_NTS, value, SIZE, NULL));
  }
  hmkv_result *result =
      AWAIT(HMKV_OK, hmkv_remove(kv, prefix, HMKV_NTS, HMKV_REMOVE_OPTS(.prefix = 1, .prev = 1)));
  CHECK_INT(COUNT, hmkv_result_count(result));
  for (int i = 0; i < COUNT; i++) {
    const char *key = at(text("%02d", i));
    memset(value, 'A' + i, SIZE);
    CHECK_ENTRY(hmkv_result_kv(result, (size_t)i), key, strlen(key), value, SIZE);
  }
  hmkv_result_free(result);
  CHECK_STR("", left());
  free(value);
}

/* ---- if_mod_revision ---- */

static void a_revision_removes_only_if_the_last_change_has_it(void) {
  int64_t first = store("a"), second = put_text(kv, at("a"), "changed");
  const int64_t wrong[] = {first, second + 1, INT64_MAX};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    hmkv_result *result = AWAIT(HMKV_COMPARE_FAILED, remove_if("a", wrong[i]));
    CHECK_INT(1, hmkv_result_count(result));
    CHECK_ENTRY(hmkv_result_kv(result, 0), at("a"), strlen(at("a")), "changed", 7);
    CHECK_INT(second, hmkv_result_kv(result, 0)->mod_revision);
    CHECK_INT(0, hmkv_result_total(result));
    hmkv_result_free(result);
  }
  CHECK_STR("a ", left());
  hmkv_result *result = AWAIT(HMKV_OK, remove_if("a", second));
  CHECK_INT(1, hmkv_result_total(result));
  CHECK_INT(0, hmkv_result_count(result));
  CHECK(hmkv_result_revision(result) > second);
  hmkv_result_free(result);
  CHECK_STR("", left());
}

static void a_revision_of_an_absent_key_fails_without_a_key(void) {
  int64_t revision = store("a");
  hmkv_result *result = AWAIT(HMKV_COMPARE_FAILED, remove_if("b", revision));
  CHECK_INT(0, hmkv_result_count(result));
  CHECK_INT(0, hmkv_result_total(result));
  hmkv_result_free(result);
  FINISH(HMKV_OK, remove_if("a", revision));
  FINISH(HMKV_COMPARE_FAILED, remove_if("a", revision));
}

static void prev_and_a_condition_go_together(void) {
  int64_t revision = store("a");
  hmkv_result *result =
      AWAIT(HMKV_OK, hmkv_remove(kv, at("a"), HMKV_NTS,
                                 HMKV_REMOVE_OPTS(.if_mod_revision = revision, .prev = 1)));
  CHECK_INT(1, hmkv_result_total(result));
  CHECK_INT(1, hmkv_result_count(result));
  CHECK_ENTRY(hmkv_result_kv(result, 0), at("a"), strlen(at("a")), "a", 1);
  hmkv_result_free(result);
}

static void a_condition_is_for_one_key_that_exists(void) {
  int64_t revision = store("a");
  FINISH(HMKV_EINVAL, remove_if("a", HMKV_ABSENT));
  FINISH(HMKV_EINVAL, hmkv_remove(kv, at("a"), HMKV_NTS,
                                  HMKV_REMOVE_OPTS(.if_mod_revision = revision, .prefix = 1)));
  FINISH(HMKV_EINVAL, hmkv_remove(kv, at("a"), HMKV_NTS,
                                  HMKV_REMOVE_OPTS(.if_mod_revision = revision, .end = at("b"),
                                                   .end_len = HMKV_NTS)));
  CHECK_STR("a ", left());
}

/* ---- the rest ---- */

static void prefix_and_end_exclude_each_other_and_end_is_not_empty(void) {
  store("a");
  FINISH(HMKV_EINVAL,
         hmkv_remove(kv, at("a"), HMKV_NTS,
                     HMKV_REMOVE_OPTS(.prefix = 1, .end = at("b"), .end_len = HMKV_NTS)));
  FINISH(HMKV_EINVAL, hmkv_remove(kv, at("a"), HMKV_NTS, HMKV_REMOVE_OPTS(.end = "", .end_len = 0)));
  FINISH(HMKV_EINVAL,
         hmkv_remove(kv, at("a"), HMKV_NTS, HMKV_REMOVE_OPTS(.end = "", .end_len = HMKV_NTS)));
  CHECK_STR("a ", left());
}

static void all_keys_go_at_one_revision_and_nothing_makes_none(void) {
  struct own_store alone;
  own_store_open(&alone, "timeout=20s");
  hmkv *own = alone.kv;
  for (int i = 0; i < 10; i++) put_text(own, text("key/%d", i), "value");
  int64_t last = put_text(own, "other", "value");
  hmkv_result *result =
      AWAIT(HMKV_OK, hmkv_remove(own, "key/", HMKV_NTS, HMKV_REMOVE_OPTS(.prefix = 1)));
  CHECK_INT(10, hmkv_result_total(result));
  CHECK_INT(last + 1, hmkv_result_revision(result));
  hmkv_result_free(result);
  result = AWAIT(HMKV_OK, hmkv_remove(own, "key/", HMKV_NTS, HMKV_REMOVE_OPTS(.prefix = 1)));
  CHECK_INT(last + 1, hmkv_result_revision(result));
  hmkv_result_free(result);
  own_store_close(&alone);
}

static void a_removed_key_begins_anew(void) {
  int64_t created = store("a");
  store("a");
  REMOVED(1, hmkv_remove(kv, at("a"), HMKV_NTS, NULL));
  store("a");
  hmkv_result *result = AWAIT(HMKV_OK, hmkv_range(kv, at("a"), HMKV_NTS, NULL));
  CHECK_INT(1, hmkv_result_kv(result, 0)->version);
  CHECK(hmkv_result_kv(result, 0)->create_revision > created);
  hmkv_result_free(result);
}

static const struct test tests[] = {
    BOTH(one_key_is_removed_and_its_neighbours_stay),
    BOTH(an_absent_key_is_ok_with_total_0),
    BOTH(keys_are_of_any_bytes),
    BOTH(an_empty_key_alone_is_refused),
    BOTH(a_prefix_removes_all_that_begins_with_it),
    BOTH(a_range_ends_before_its_end),
    BOTH(an_end_at_or_below_the_key_makes_the_range_empty),
    BOTH(an_end_of_one_nul_byte_is_a_key_like_any_other),
    BOTH(the_empty_key_stands_for_the_first_key_there_is),
    BOTH(a_prefix_of_ff_bytes_has_no_end),
    BOTH(prev_gives_the_keys_as_they_were),
    BOTH(prev_of_one_key_and_of_none),
    BOTH(prev_gives_more_than_4_mebibytes),
    BOTH(a_revision_removes_only_if_the_last_change_has_it),
    BOTH(a_revision_of_an_absent_key_fails_without_a_key),
    BOTH(prev_and_a_condition_go_together),
    BOTH(a_condition_is_for_one_key_that_exists),
    BOTH(prefix_and_end_exclude_each_other_and_end_is_not_empty),
    BOTH(all_keys_go_at_one_revision_and_nothing_makes_none),
    BOTH(a_removed_key_begins_anew),
};
TEST_MAIN(.begin = begin, .end = end)
