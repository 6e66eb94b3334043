/* hmkv_range: which keys it reads, and what its options leave out. Their order is in
 * test_range_sort.c, large ranges are in test_range_large.c. */
#include "cluster.h"
#include "own_store.h"
#include "requests.h"
#include "test.h"

static hmkv *kv;
static const char *prefix;

static void begin(void) {
  kv = open_store("timeout=20s");
  prefix = unique("range/");
}

static void end(void) { close_store(kv); }

static const char *at(const char *name) { return text("%s%s", prefix, name); }
static int64_t store(const char *name) { return put_text(kv, at(name), name); }

static hmkv_op *range(const char *name, const hmkv_range_opts *opts) {
  return hmkv_range(kv, at(name), HMKV_NTS, opts);
}

/* Checks the names, each followed by a blank, and the total. */
static void check_names(int line, const char *names, uint64_t total, hmkv_op *op) {
  hmkv_result *result = AWAIT(HMKV_OK, op);
  test_str(__FILE__, line, "the keys", names, names_of(result, prefix));
  test_int(__FILE__, line, "the total", (int64_t)total, (int64_t)hmkv_result_total(result));
  hmkv_result_free(result);
}
#define NAMES(names, total, op) check_names(__LINE__, (names), (total), (op))

/* ---- one key ---- */

static void without_options_it_is_the_one_key(void) {
  store("a"), store("b"), store("bb"), store("c");
  int64_t revision = store("b");
  hmkv_result *result = AWAIT(HMKV_OK, range("b", NULL));
  CHECK_INT(1, hmkv_result_count(result));
  CHECK_INT(1, hmkv_result_total(result));
  CHECK_ENTRY(hmkv_result_kv(result, 0), at("b"), strlen(at("b")), "b", 1);
  CHECK_INT(revision, hmkv_result_kv(result, 0)->mod_revision);
  CHECK_INT(2, hmkv_result_kv(result, 0)->version);
  CHECK(hmkv_result_revision(result) >= revision);
  CHECK(hmkv_result_sub(result, 0) == NULL);
  hmkv_result_free(result);
}

static void an_absent_key_is_not_found(void) {
  hmkv_result *result = AWAIT(HMKV_NOT_FOUND, range("a", NULL));
  CHECK_INT(0, hmkv_result_count(result));
  CHECK_INT(0, hmkv_result_total(result));
  CHECK(hmkv_result_kv(result, 0) == NULL);
  CHECK(hmkv_result_revision(result) > 0);
  hmkv_result_free(result);
  FINISH(HMKV_NOT_FOUND, range("a", HMKV_RANGE_OPTS(.keys_only = 1)));
  FINISH(HMKV_NOT_FOUND, range("a", HMKV_RANGE_OPTS(.count_only = 1)));
}

static void a_range_without_keys_is_ok(void) {
  NAMES("", 0, range("a", HMKV_RANGE_OPTS(.prefix = 1)));
  NAMES("", 0, range("a", HMKV_RANGE_OPTS(.end = at("b"), .end_len = HMKV_NTS)));
}

/* ---- prefix, end, from ---- */

static void a_prefix_is_all_that_begins_with_the_key(void) {
  store("a"), store("b"), store("b/1"), store("bb"), store("b\xff"), store("c");
  NAMES("b b/1 bb b\xff ", 4, range("b", HMKV_RANGE_OPTS(.prefix = 1)));
  NAMES("a b b/1 bb b\xff c ", 6, range("", HMKV_RANGE_OPTS(.prefix = 1)));
  /* The length counts, not the NUL. */
  NAMES("b b/1 bb b\xff ", 4,
        hmkv_range(kv, at("bcd"), strlen(at("b")), HMKV_RANGE_OPTS(.prefix = 1)));
}

static void a_range_ends_before_its_end(void) {
  store("a"), store("b"), store("bb"), store("c"), store("c/1");
  NAMES("b bb ", 2, range("b", HMKV_RANGE_OPTS(.end = at("c"), .end_len = HMKV_NTS)));
  NAMES("b bb c ", 3, range("b", HMKV_RANGE_OPTS(.end = at("c"), .end_len = strlen(at("c")) + 1)));
  NAMES("bb ", 1, range("ba", HMKV_RANGE_OPTS(.end = at("bc"), .end_len = HMKV_NTS)));
}

static void an_end_at_or_below_the_key_makes_the_range_empty(void) {
  store("a"), store("b"), store("c");
  NAMES("", 0, range("b", HMKV_RANGE_OPTS(.end = at("b"), .end_len = HMKV_NTS)));
  NAMES("", 0, range("c", HMKV_RANGE_OPTS(.end = at("a"), .end_len = HMKV_NTS)));
}

/* A key of one NUL byte is a special range end of etcd. */
static void an_end_of_one_nul_byte_is_a_key_like_any_other(void) {
  store("a"), store("b");
  NAMES("", 0, range("a", HMKV_RANGE_OPTS(.end = "\0", .end_len = 1)));
  NAMES("", 0, hmkv_range(kv, NULL, 0, HMKV_RANGE_OPTS(.end = "\0", .end_len = 1)));
  NAMES("", 0, hmkv_range(kv, "\0", 1, HMKV_RANGE_OPTS(.end = "\0", .end_len = 1)));
}

static void from_is_all_keys_from_the_key_on(void) {
  const char *next = text("%.*s0", (int)strlen(prefix) - 1, prefix); /* 0 comes after / */
  store("a"), store("b"), store("bb"), store("c");
  put_text(kv, next, "behind the prefix");
  hmkv_result *result = AWAIT(HMKV_OK, range("b", HMKV_RANGE_OPTS(.from = 1, .limit = 4)));
  CHECK_INT(4, hmkv_result_count(result));
  CHECK(hmkv_result_total(result) >= 4);
  CHECK_STR(at("b"), hmkv_result_kv(result, 0)->key);
  CHECK_STR(at("bb"), hmkv_result_kv(result, 1)->key);
  CHECK_STR(at("c"), hmkv_result_kv(result, 2)->key);
  CHECK_STR(next, hmkv_result_kv(result, 3)->key);
  hmkv_result_free(result);
  result = AWAIT(HMKV_OK, range("bbb", HMKV_RANGE_OPTS(.from = 1, .limit = 1)));
  CHECK_STR("c ", names_of(result, prefix));
  hmkv_result_free(result);
}

static void the_empty_key_stands_for_the_first_key_there_is(void) {
  struct own_store alone;
  own_store_open(&alone, "timeout=20s");
  hmkv *own = alone.kv;
  FINISH(HMKV_OK, hmkv_put(own, "\0", 1, "first", HMKV_NTS, NULL));
  put_text(own, "a", "1"), put_text(own, "b", "2"), put_text(own, "\xff\xff", "3");
  static const char *const empty[] = {NULL, "", "ignored"};
  for (int i = 0; i < 3; i++) {
    hmkv_result *all[] = {
        AWAIT(HMKV_OK, hmkv_range(own, empty[i], 0, HMKV_RANGE_OPTS(.prefix = 1))),
        AWAIT(HMKV_OK, hmkv_range(own, empty[i], 0, HMKV_RANGE_OPTS(.from = 1)))};
    for (int j = 0; j < 2; j++) {
      CHECK_INT(4, hmkv_result_total(all[j]));
      CHECK_INT(4, hmkv_result_count(all[j]));
      CHECK_ENTRY(hmkv_result_kv(all[j], 0), "\0", 1, "first", 5);
      CHECK_ENTRY(hmkv_result_kv(all[j], 3), "\xff\xff", 2, "3", 1);
      hmkv_result_free(all[j]);
    }
    hmkv_result *below = AWAIT(HMKV_OK, hmkv_range(own, empty[i], 0,
                                                   HMKV_RANGE_OPTS(.end = "b", .end_len = 1)));
    CHECK_INT(2, hmkv_result_count(below));
    CHECK_STR("a", hmkv_result_kv(below, 1)->key);
    hmkv_result_free(below);
  }
  own_store_close(&alone);
}

static void an_empty_key_alone_is_refused(void) {
  FINISH(HMKV_EINVAL, hmkv_range(kv, "", 0, NULL));
  FINISH(HMKV_EINVAL, hmkv_range(kv, "", HMKV_NTS, NULL));
  FINISH(HMKV_EINVAL, hmkv_range(kv, NULL, 0, NULL));
  FINISH(HMKV_EINVAL, hmkv_range(kv, NULL, 0, HMKV_RANGE_OPTS(.limit = 1, .count_only = 1)));
}

static void prefix_end_and_from_exclude_each_other_and_end_is_not_empty(void) {
  const char *b = at("b");
  FINISH(HMKV_EINVAL, range("a", HMKV_RANGE_OPTS(.prefix = 1, .from = 1)));
  FINISH(HMKV_EINVAL, range("a", HMKV_RANGE_OPTS(.prefix = 1, .end = b, .end_len = HMKV_NTS)));
  FINISH(HMKV_EINVAL, range("a", HMKV_RANGE_OPTS(.from = 1, .end = b, .end_len = HMKV_NTS)));
  FINISH(HMKV_EINVAL,
         range("a", HMKV_RANGE_OPTS(.from = 1, .prefix = 1, .end = b, .end_len = HMKV_NTS)));
  FINISH(HMKV_EINVAL, range("a", HMKV_RANGE_OPTS(.end = "", .end_len = 0)));
  FINISH(HMKV_EINVAL, range("a", HMKV_RANGE_OPTS(.end = "", .end_len = HMKV_NTS)));
}

static void the_end_is_copied_before_it_returns(void) {
  store("a"), store("b"), store("c");
  char *last = strdup(at("c")), *key = strdup(at("a"));
  CHECK(last && key);
  hmkv_op *op = hmkv_range(kv, key, HMKV_NTS, HMKV_RANGE_OPTS(.end = last, .end_len = HMKV_NTS));
  memset(last, 0, strlen(last));
  memset(key, 0, strlen(key));
  free(last);
  free(key);
  NAMES("a b ", 2, op);
}

/* ---- what is left out ---- */

static void a_limit_takes_the_first_keys_and_the_total_counts_all(void) {
  store("a"), store("b"), store("c"), store("d");
  NAMES("a b ", 4, range("", HMKV_RANGE_OPTS(.prefix = 1, .limit = 2)));
  NAMES("a b c d ", 4, range("", HMKV_RANGE_OPTS(.prefix = 1, .limit = 4)));
  NAMES("a b c d ", 4, range("", HMKV_RANGE_OPTS(.prefix = 1, .limit = INT64_MAX)));
  NAMES("b ", 3, range("b", HMKV_RANGE_OPTS(.end = at("e"), .end_len = HMKV_NTS, .limit = 1)));
  NAMES("b ", 1, range("b", HMKV_RANGE_OPTS(.limit = 1)));
}

static void keys_only_leaves_out_the_values(void) {
  store("a"), store("b");
  int64_t revision = store("a");
  hmkv_result *result = AWAIT(HMKV_OK, range("", HMKV_RANGE_OPTS(.prefix = 1, .keys_only = 1)));
  CHECK_STR("a b ", names_of(result, prefix));
  CHECK_ENTRY(hmkv_result_kv(result, 0), at("a"), strlen(at("a")), "", 0);
  CHECK_INT(revision, hmkv_result_kv(result, 0)->mod_revision);
  CHECK_INT(2, hmkv_result_kv(result, 0)->version);
  hmkv_result_free(result);
  NAMES("b ", 1, range("b", HMKV_RANGE_OPTS(.keys_only = 1)));
}

static void count_only_gives_the_total_alone(void) {
  store("a"), store("b"), store("c");
  NAMES("", 3, range("", HMKV_RANGE_OPTS(.prefix = 1, .count_only = 1)));
  NAMES("", 3, range("", HMKV_RANGE_OPTS(.prefix = 1, .count_only = 1, .limit = 2)));
  NAMES("", 3, range("", HMKV_RANGE_OPTS(.prefix = 1, .count_only = 1, .keys_only = 1)));
  NAMES("", 1, range("b", HMKV_RANGE_OPTS(.count_only = 1)));
  int64_t revision = store("d");
  hmkv_result *result = AWAIT(HMKV_OK, range("", HMKV_RANGE_OPTS(.prefix = 1, .count_only = 1)));
  CHECK(hmkv_result_revision(result) >= revision);
  hmkv_result_free(result);
}

static void the_four_filters_leave_keys_out(void) {
  int64_t a = store("a"), b = store("b"), c = store("c"), d = store("d");
  int64_t b2 = store("b"), a2 = store("a"); /* in order of change: c d b a */
  NAMES("a b ", 4, range("", HMKV_RANGE_OPTS(.prefix = 1, .min_mod_revision = b2)));
  NAMES("a ", 4, range("", HMKV_RANGE_OPTS(.prefix = 1, .min_mod_revision = b2 + 1)));
  NAMES("c d ", 4, range("", HMKV_RANGE_OPTS(.prefix = 1, .max_mod_revision = d)));
  NAMES("c ", 4, range("", HMKV_RANGE_OPTS(.prefix = 1, .max_mod_revision = d - 1)));
  NAMES("b d ", 4,
        range("", HMKV_RANGE_OPTS(.prefix = 1, .min_mod_revision = d, .max_mod_revision = b2)));
  NAMES("c d ", 4, range("", HMKV_RANGE_OPTS(.prefix = 1, .min_create_revision = c)));
  NAMES("a b ", 4, range("", HMKV_RANGE_OPTS(.prefix = 1, .max_create_revision = b)));
  NAMES("b c ", 4, range("", HMKV_RANGE_OPTS(.prefix = 1, .min_create_revision = b,
                                             .max_create_revision = c)));
  NAMES("b ", 4, range("", HMKV_RANGE_OPTS(.prefix = 1, .min_create_revision = a + 1,
                                           .max_create_revision = c, .min_mod_revision = d + 1,
                                           .max_mod_revision = a2)));
  NAMES("", 4, range("", HMKV_RANGE_OPTS(.prefix = 1, .min_mod_revision = a2 + 1)));
  NAMES("a b c d ", 4, range("", HMKV_RANGE_OPTS(.prefix = 1, .max_mod_revision = INT64_MAX)));
}

static void a_limit_counts_what_the_filters_let_through(void) {
  store("a"), store("b");
  int64_t c = store("c");
  store("d"), store("e");
  NAMES("c d ", 5, range("", HMKV_RANGE_OPTS(.prefix = 1, .min_mod_revision = c, .limit = 2)));
  NAMES("a b ", 5, range("", HMKV_RANGE_OPTS(.prefix = 1, .max_mod_revision = c, .limit = 2)));
}

static void one_key_that_a_filter_leaves_out_exists(void) {
  int64_t revision = store("a");
  NAMES("", 1, range("a", HMKV_RANGE_OPTS(.min_mod_revision = revision + 1)));
  NAMES("a ", 1, range("a", HMKV_RANGE_OPTS(.min_mod_revision = revision)));
  FINISH(HMKV_NOT_FOUND, range("b", HMKV_RANGE_OPTS(.min_mod_revision = revision)));
}

/* ---- revision, serializable ---- */

static void a_revision_shows_the_state_at_that_time(void) {
  int64_t first = store("a");
  store("b");
  int64_t second = put_text(kv, at("a"), "changed");
  FINISH(HMKV_OK, hmkv_remove(kv, at("b"), HMKV_NTS, NULL));
  store("c");
  hmkv_result *result = AWAIT(HMKV_OK, range("a", HMKV_RANGE_OPTS(.revision = first)));
  CHECK_ENTRY(hmkv_result_kv(result, 0), at("a"), strlen(at("a")), "a", 1);
  CHECK_INT(1, hmkv_result_kv(result, 0)->version);
  CHECK_INT(first, hmkv_result_revision(result));
  hmkv_result_free(result);
  NAMES("a ", 1, range("", HMKV_RANGE_OPTS(.prefix = 1, .revision = first)));
  NAMES("a b ", 2, range("", HMKV_RANGE_OPTS(.prefix = 1, .revision = second)));
  NAMES("", 2, range("", HMKV_RANGE_OPTS(.prefix = 1, .revision = second, .count_only = 1)));
  FINISH(HMKV_NOT_FOUND, range("b", HMKV_RANGE_OPTS(.revision = first)));
  FINISH(HMKV_OK, range("b", HMKV_RANGE_OPTS(.revision = second)));
  NAMES("a c ", 2, range("", HMKV_RANGE_OPTS(.prefix = 1)));
}

static void a_revision_that_is_yet_to_come_is_refused(void) {
  int64_t revision = store("a");
  FINISH(HMKV_EINVAL, range("a", HMKV_RANGE_OPTS(.revision = revision + 1000000)));
  FINISH(HMKV_EINVAL, range("a", HMKV_RANGE_OPTS(.revision = INT64_MAX)));
}

static void a_revision_that_is_gone_is_ecompacted(void) {
  struct own_store alone;
  own_store_open(&alone, "timeout=20s");
  hmkv *own = alone.kv;
  int64_t first = put_text(own, "key", "1"), last = put_text(own, "key", "2");
  own_store_compact(&alone);
  FINISH(HMKV_ECOMPACTED, hmkv_range(own, "key", 3, HMKV_RANGE_OPTS(.revision = first)));
  FINISH(HMKV_ECOMPACTED,
         hmkv_range(own, "k", 1, HMKV_RANGE_OPTS(.prefix = 1, .revision = first)));
  FINISH(HMKV_OK, hmkv_range(own, "key", 3, HMKV_RANGE_OPTS(.revision = last)));
  FINISH(HMKV_EINVAL, hmkv_range(own, "key", 3, HMKV_RANGE_OPTS(.revision = last + 1)));
  CHECK_VALUE(own, "key", "2");
  own_store_close(&alone);
}

static void a_serializable_range_reads_what_is_there(void) {
  store("a"), store("b");
  NAMES("a b ", 2, range("", HMKV_RANGE_OPTS(.prefix = 1, .serializable = 1)));
  FINISH(HMKV_NOT_FOUND, range("c", HMKV_RANGE_OPTS(.serializable = 1)));
}

static void a_serializable_range_works_without_a_quorum(void) {
  struct cluster cluster;
  cluster_start(&cluster);
  hmkv *one = open_at(cluster.members[0].endpoint, "timeout=10s");
  put_text(one, "key", "value");
  FINISH(HMKV_OK, hmkv_range(one, "key", 3, NULL));
  server_kill(&cluster.members[1]);
  server_kill(&cluster.members[2]);
  hmkv_result *result = AWAIT(HMKV_OK, hmkv_range(one, "key", 3, HMKV_RANGE_OPTS(.serializable = 1)));
  CHECK_ENTRY(hmkv_result_kv(result, 0), "key", 3, "value", 5);
  hmkv_result_free(result);
  FINISH(HMKV_EUNAVAIL, hmkv_range(one, "key", 3, HMKV_RANGE_OPTS(.timeout_ms = 2000)));
  FINISH(HMKV_OK, hmkv_range(one, "key", 3, HMKV_RANGE_OPTS(.serializable = 1)));
  close_store(one);
  cluster_stop(&cluster);
}

static const struct test tests[] = {
    BOTH(without_options_it_is_the_one_key),
    BOTH(an_absent_key_is_not_found),
    BOTH(a_range_without_keys_is_ok),
    BOTH(a_prefix_is_all_that_begins_with_the_key),
    BOTH(a_range_ends_before_its_end),
    BOTH(an_end_at_or_below_the_key_makes_the_range_empty),
    BOTH(an_end_of_one_nul_byte_is_a_key_like_any_other),
    BOTH(from_is_all_keys_from_the_key_on),
    BOTH(the_empty_key_stands_for_the_first_key_there_is),
    BOTH(an_empty_key_alone_is_refused),
    BOTH(prefix_end_and_from_exclude_each_other_and_end_is_not_empty),
    BOTH(the_end_is_copied_before_it_returns),
    BOTH(a_limit_takes_the_first_keys_and_the_total_counts_all),
    BOTH(keys_only_leaves_out_the_values),
    BOTH(count_only_gives_the_total_alone),
    BOTH(the_four_filters_leave_keys_out),
    BOTH(a_limit_counts_what_the_filters_let_through),
    BOTH(one_key_that_a_filter_leaves_out_exists),
    BOTH(a_revision_shows_the_state_at_that_time),
    BOTH(a_revision_that_is_yet_to_come_is_refused),
    BOTH(a_revision_that_is_gone_is_ecompacted),
    BOTH(a_serializable_range_reads_what_is_there),
    ETCD_ONLY(a_serializable_range_works_without_a_quorum),
};
TEST_MAIN(.begin = begin, .end = end)
