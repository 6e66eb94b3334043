/* Mirrors: what a copy holds, and how it is read. */
#include "changes.h"
#include "mirrors.h"
#include "own_store.h"
#include "requests.h"
#include "test.h"

static hmkv *kv;
static const char *prefix;

static void begin(void) {
  kv = open_store("timeout=20s");
  prefix = unique("mirror/");
}

static void end(void) { close_store(kv); }

static const char *key(const char *name) { return text("%s%s", prefix, name); }

static void what_is_there_when_it_is_opened_is_in_the_copy(void) {
  hmkv_lease *lease = NULL;
  CHECK_OK(hmkv_lease_grant(kv, 60000, NULL, NULL, &lease));
  change_put(kv, key("a"), "old");
  change_put(kv, key("a"), "new");
  change_put(kv, key("empty"), "");
  change_put(kv, key("gone"), "value");
  change_remove(kv, key("gone"));
  change_done(hmkv_put(kv, key("leased"), HMKV_NTS, "b\0\xff", 3,
                       HMKV_PUT_OPTS(.lease = hmkv_lease_id(lease))));
  hmkv_mirror *mirror = mirror_of(kv, prefix, NULL);
  CHECK_STR("new", mirror_value(mirror, key("a")));
  CHECK_STR("", mirror_value(mirror, key("empty")));
  CHECK_STR(NULL, mirror_value(mirror, key("gone")));
  mirror_check(mirror, kv, prefix); /* every field, the lease too */
  hmkv_result *one = mirror_result(HMKV_OK, hmkv_mirror_get(mirror, key("leased"), HMKV_NTS));
  CHECK_INT(1, hmkv_result_count(one));
  CHECK_INT(1, hmkv_result_total(one));
  CHECK_INT(hmkv_lease_id(lease), hmkv_result_kv(one, 0)->lease);
  CHECK_ENTRY(hmkv_result_kv(one, 0), key("leased"), strlen(key("leased")), "b\0\xff", 3);
  hmkv_result_free(one);
  CHECK_OK(hmkv_lease_close(lease, true)); /* its key goes from the copy too */
  CHECK_OK(hmkv_mirror_wait(mirror, newest_revision(kv), HMKV_FOREVER));
  CHECK_STR(NULL, mirror_value(mirror, key("leased")));
  CHECK_OK(hmkv_mirror_close(mirror));
}

static void every_change_reaches_the_copy(void) {
  hmkv_mirror *mirror = mirror_of(kv, prefix, NULL);
  unsigned seed = 3;
  for (int i = 0; i < rounds(2000, 200); i++) {
    change_something(kv, prefix, &seed);
    if (i % 100 == 0) mirror_check(mirror, kv, prefix);
  }
  mirror_check(mirror, kv, prefix);
  CHECK_OK(hmkv_mirror_close(mirror));
}

static void a_key_that_is_not_there_is_not_found_at_the_revision_of_the_copy(void) {
  hmkv_mirror *mirror = mirror_of(kv, prefix, NULL);
  int64_t revision = change_put(kv, key("a"), "value");
  CHECK_OK(hmkv_mirror_wait(mirror, revision, HMKV_FOREVER));
  hmkv_result *none = mirror_result(HMKV_NOT_FOUND, hmkv_mirror_get(mirror, key("b"), HMKV_NTS));
  CHECK_INT(0, hmkv_result_count(none));
  CHECK_INT(0, hmkv_result_total(none));
  CHECK(hmkv_result_kv(none, 0) == NULL);
  CHECK(hmkv_result_revision(none) >= revision);
  hmkv_result_free(none);
  CHECK_OK(hmkv_mirror_close(mirror));
}

/* ---- ranges ---- */

static void check_range(hmkv_mirror *mirror, const char *from, hmkv_range_opts opts) {
  opts.size = sizeof opts;
  hmkv_result *copy = hmkv_mirror_range(mirror, from, HMKV_NTS, &opts);
  opts.revision = hmkv_result_revision(copy);
  hmkv_result *store = hmkv_await(hmkv_range(kv, from, HMKV_NTS, &opts));
  CHECK(hmkv_result_status(store) >= 0);
  check_same_result(store, copy);
  hmkv_result_free(copy);
  hmkv_result_free(store);
}

static void a_range_is_that_of_the_store(void) {
  unsigned seed = 7;
  for (int i = 0; i < 60; i++)
    change_put(kv, key(text("%d", rand_r(&seed) % 25)), text("%d", rand_r(&seed) % 5));
  hmkv_mirror *mirror = mirror_of(kv, prefix, NULL);
  int64_t revision = mirror_revision(mirror, prefix);
  for (int32_t sort = HMKV_SORT_KEY; sort <= HMKV_SORT_VALUE; sort++) {
    /* Which of equal ones are the first, a server decides as it likes. */
    int64_t limit_most = sort == HMKV_SORT_VERSION || sort == HMKV_SORT_VALUE ? 0 : 5;
    for (uint8_t flags = 0; flags < 8; flags++)
      for (int64_t limit = 0; limit <= limit_most; limit += 5)
        check_range(mirror, prefix,
                    (hmkv_range_opts){.prefix = 1, .sort = sort, .limit = limit,
                                      .descending = flags & 1, .keys_only = flags >> 1 & 1,
                                      .count_only = flags >> 2 & 1});
  }
  for (int64_t at = revision - 40; at < revision; at += 13) {
    check_range(mirror, prefix, (hmkv_range_opts){.prefix = 1, .min_mod_revision = at});
    check_range(mirror, prefix, (hmkv_range_opts){.prefix = 1, .max_mod_revision = at});
    check_range(mirror, prefix, (hmkv_range_opts){.prefix = 1, .min_create_revision = at});
    check_range(mirror, prefix, (hmkv_range_opts){.prefix = 1, .max_create_revision = at});
  }
  const char *ends[] = {key("2"), key("1"), key("0"), key("9"), "a"}; /* some before the key */
  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
    check_range(mirror, key("1"), (hmkv_range_opts){.end = ends[i], .end_len = HMKV_NTS});
  check_range(mirror, key("1"), (hmkv_range_opts){0});
  check_range(mirror, key("none"), (hmkv_range_opts){0});
  check_range(mirror, key("1"), (hmkv_range_opts){.prefix = 1});
  CHECK_OK(hmkv_mirror_close(mirror));
}

#define REFUSED(call) CHECK_RESULT(HMKV_EINVAL, call)

static void what_a_copy_cannot_know_is_refused(void) {
  change_put(kv, key("a"), "value");
  hmkv_mirror *mirror = mirror_of(kv, prefix, NULL);
  int64_t revision = mirror_revision(mirror, prefix);
  REFUSED(hmkv_mirror_range(mirror, key("a"), HMKV_NTS, HMKV_RANGE_OPTS(.revision = revision)));
  REFUSED(hmkv_mirror_range(mirror, key("a"), HMKV_NTS, HMKV_RANGE_OPTS(.timeout_ms = 1)));
  REFUSED(hmkv_mirror_range(mirror, key("a"), HMKV_NTS, HMKV_RANGE_OPTS(.serializable = 1)));
  REFUSED(hmkv_mirror_range(mirror, key("a"), HMKV_NTS, HMKV_RANGE_OPTS(.sort = 5)));
  REFUSED(hmkv_mirror_range(mirror, key("a"), HMKV_NTS, HMKV_RANGE_OPTS(.limit = -1)));
  /* Other keys than those that begin with the prefix. */
  size_t shorter = strlen(prefix) - 1;
  REFUSED(hmkv_mirror_get(mirror, "a", HMKV_NTS));
  REFUSED(hmkv_mirror_get(mirror, prefix, shorter));
  REFUSED(hmkv_mirror_get(mirror, "", 0));
  REFUSED(hmkv_mirror_range(mirror, prefix, shorter, HMKV_RANGE_OPTS(.prefix = 1)));
  REFUSED(hmkv_mirror_range(mirror, "", 0, HMKV_RANGE_OPTS(.prefix = 1)));
  REFUSED(hmkv_mirror_range(mirror, key("a"), HMKV_NTS, HMKV_RANGE_OPTS(.from = 1)));
  REFUSED(hmkv_mirror_range(mirror, key("a"), HMKV_NTS,
                            HMKV_RANGE_OPTS(.end = "zzz", .end_len = 3)));
  CHECK_STR("value", mirror_value(mirror, key("a")));
  CHECK_OK(hmkv_mirror_close(mirror));
}

static void results_are_the_callers(void) {
  change_put(kv, key("a"), "old");
  hmkv_mirror *mirror = mirror_of(kv, prefix, NULL);
  hmkv_result *old = mirror_result(HMKV_OK, hmkv_mirror_get(mirror, key("a"), HMKV_NTS));
  CHECK_OK(hmkv_mirror_wait(mirror, change_put(kv, key("a"), "new"), HMKV_FOREVER));
  hmkv_result *new = mirror_result(HMKV_OK, hmkv_mirror_get(mirror, key("a"), HMKV_NTS));
  CHECK_OK(hmkv_mirror_close(mirror));
  CHECK_STR("old", hmkv_result_kv(old, 0)->value);
  CHECK_STR("new", hmkv_result_kv(new, 0)->value);
  hmkv_result_free(old);
  hmkv_result_free(new);
}

/* ---- which keys ---- */

static void the_empty_prefix_is_all_keys_of_any_bytes(void) {
  static const struct {
    const char *key;
    size_t len;
  } keys[] = {{"\0", 1}, {"\0a", 2}, {"a", 1}, {"a\0", 2}, {"a\0b", 3}, {"\xff", 1}, {"\xff\xff\0", 3}};
  enum { COUNT = sizeof keys / sizeof *keys };
  struct own_store own;
  own_store_open(&own, "timeout=20s");
  hmkv_mirror *mirror = NULL, *of_a = NULL, *of_ff = NULL;
  for (size_t i = 0; i < COUNT; i++) {
    if (i == 3) {
      CHECK_OK(hmkv_mirror_open(own.kv, NULL, 0, NULL, NULL, &mirror));
      CHECK_OK(hmkv_mirror_open(own.kv, "a\0", 2, NULL, NULL, &of_a));
      CHECK_OK(hmkv_mirror_open(own.kv, "\xff", 1, NULL, NULL, &of_ff));
    }
    change_done(hmkv_put(own.kv, keys[i].key, keys[i].len, keys[i].key, keys[i].len, NULL));
  }
  mirror_check(mirror, own.kv, "");
  CHECK_OK(hmkv_mirror_wait(of_a, newest_revision(own.kv), HMKV_FOREVER));
  CHECK_OK(hmkv_mirror_wait(of_ff, newest_revision(own.kv), HMKV_FOREVER));
  for (size_t i = 0; i < COUNT; i++) {
    hmkv_result *one = mirror_result(HMKV_OK, hmkv_mirror_get(mirror, keys[i].key, keys[i].len));
    CHECK_ENTRY(hmkv_result_kv(one, 0), keys[i].key, keys[i].len, keys[i].key, keys[i].len);
    hmkv_result_free(one);
    bool in_a = i == 3 || i == 4, in_ff = i >= 5;
    CHECK_RESULT(in_a ? HMKV_OK : HMKV_EINVAL,
                      hmkv_mirror_get(of_a, keys[i].key, keys[i].len));
    CHECK_RESULT(in_ff ? HMKV_OK : HMKV_EINVAL,
                      hmkv_mirror_get(of_ff, keys[i].key, keys[i].len));
  }
  hmkv_result *from = mirror_result(
      HMKV_OK, hmkv_mirror_range(mirror, "a", 1, HMKV_RANGE_OPTS(.from = 1)));
  CHECK_INT(5, hmkv_result_count(from));
  hmkv_result_free(from);
  own_store_close(&own);
}

static void in_a_namespace_it_is_of_the_keys_inside(void) {
  const char *namespace = unique("app/");
  hmkv *inside = open_store(text("timeout=20s namespace=%s", namespace));
  change_put(inside, "k/1", "inside");
  change_put(kv, "k/2", "outside");
  struct recorder told = RECORDER;
  hmkv_mirror *some = mirror_of(inside, "k/", &told), *all = mirror_of(inside, "", NULL);
  change_put(inside, "other", "inside");
  int64_t revision = change_put(kv, text("%sk/3", namespace), "inside");
  change_put(kv, text("%.*s0", (int)strlen(namespace) - 1, namespace), "behind it");
  mirror_check(some, inside, "k/");
  mirror_check(all, inside, "");
  CHECK_STR("inside", mirror_value(some, "k/3"));
  CHECK_STR(NULL, mirror_value(some, "k/2"));
  CHECK_STR("inside", mirror_value(all, "other"));
  hmkv_result *keys = mirror_result(
      HMKV_OK, hmkv_mirror_range(all, "", 0, HMKV_RANGE_OPTS(.prefix = 1)));
  CHECK_STR("k/1 k/3 other ", names_of(keys, ""));
  hmkv_result_free(keys);
  recorder_wait(&told, 3);
  CHECK_STR("k/1", recorder_at(&told, 0).kv.key);
  CHECK_PUT(&told, 2, "k/3", "inside", revision);
  CHECK_OK(hmkv_mirror_close(some));
  close_store(inside);
  recorder_free(&told);
}

static void several_mirrors_of_one_prefix_are_independent(void) {
  hmkv_mirror *one = mirror_of(kv, prefix, NULL), *two = mirror_of(kv, prefix, NULL);
  change_put(kv, key("a"), "1");
  mirror_check(one, kv, prefix);
  mirror_check(two, kv, prefix);
  CHECK_OK(hmkv_mirror_close(one));
  change_put(kv, key("a"), "2");
  mirror_check(two, kv, prefix);
  CHECK_OK(hmkv_mirror_close(two));
}

static void without_a_server_it_does_not_open(void) {
  hmkv *nowhere = open_at(on_etcd() ? dead_endpoint() : "mem:", "timeout=300ms");
  if (!on_etcd()) CHECK_OK(hmkv_mem_fault(nowhere, "cut=1h"));
  struct recorder told = RECORDER;
  hmkv_mirror *mirror = (hmkv_mirror *)&told;
  CHECK_STATUS(HMKV_EUNAVAIL,
               hmkv_mirror_open(nowhere, "k/", HMKV_NTS, recorder_event, &told, &mirror));
  CHECK(mirror == NULL);
  close_store(nowhere);
  CHECK_INT(0, atomic_load(&told.entered));
}

static const struct test tests[] = {
    BOTH(what_is_there_when_it_is_opened_is_in_the_copy),
    BOTH(every_change_reaches_the_copy),
    BOTH(a_key_that_is_not_there_is_not_found_at_the_revision_of_the_copy),
    BOTH(a_range_is_that_of_the_store),
    BOTH(what_a_copy_cannot_know_is_refused),
    BOTH(results_are_the_callers),
    BOTH(the_empty_prefix_is_all_keys_of_any_bytes),
    BOTH(in_a_namespace_it_is_of_the_keys_inside),
    BOTH(several_mirrors_of_one_prefix_are_independent),
    BOTH(without_a_server_it_does_not_open),
};
TEST_MAIN(.begin = begin, .end = end)
