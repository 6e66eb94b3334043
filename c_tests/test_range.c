/* hmkv_get_range: its bounds, its order, its one revision, its size. */
#include "process.h"
#include "test.h"

static hmkv *kv;
static const char *prefix;

static void begin(void) {
  kv = open_store("timeout=30s");
  prefix = unique("range/");
}

static void end(void) { close_store(kv); }

static const char *at(const char *name) { return text("%s%s", prefix, name); }

static void store(const char *name) { CHECK_OK(hmkv_store(kv, at(name), name)); }

/* The names between two bounds, each followed by a blank. */
static const char *names(const char *start, const char *end) {
  hmkv_result *result = NULL;
  CHECK_OK(hmkv_get_range(kv, start, end, &result));
  CHECK_OK(hmkv_result_status(result));
  char list[4096] = "";
  for (size_t i = 0; i < hmkv_result_count(result); i++) {
    const hmkv_kv *entry = hmkv_result_kv(result, i);
    if (strncmp(entry->key, prefix, strlen(prefix)) != 0) continue;
    strcat(strcat(list, entry->key + strlen(prefix)), " ");
  }
  hmkv_result_free(result);
  return text("%s", list);
}

static void both_bounds_are_inclusive(void) {
  store("a"), store("b"), store("c"), store("d");
  CHECK_STR("b c ", names(at("b"), at("c")));
  CHECK_STR("a b c d ", names(at("a"), at("d")));
  CHECK_STR("c ", names(at("c"), at("c")));
  CHECK_STR("b c ", names(at("aa"), at("cc")));
}

static void keys_above_the_end_that_begin_with_it_are_outside(void) {
  store("a"), store("b"), store("b\x01"), store("b/1"), store("bb");
  CHECK_STR("a b ", names(at("a"), at("b")));
}

static void keys_compare_bytewise_shorter_first(void) {
  static const char *const sorted[] = {"",  "\x01", "A",  "AA",   "B",        "a",
                                       "a\x01", "aa", "b", "\x7f", "\x80", "\xc3\xa4", "\xff"};
  enum { COUNT = sizeof sorted / sizeof *sorted };
  for (int i = 0; i < COUNT; i++) store(sorted[(i * 5) % COUNT]); /* in another order */
  char expected[300] = "";
  for (int i = 0; i < COUNT; i++) strcat(strcat(expected, sorted[i]), " ");
  CHECK_STR(expected, names(prefix, at("\xff")));
}

static void an_empty_start_begins_at_the_first_key_there_is(void) {
  const char *first = text("\x01%s", at("first"));
  CHECK_OK(hmkv_store(kv, first, "value"));
  hmkv_result *result = NULL;
  CHECK_OK(hmkv_get_range(kv, "", first, &result));
  size_t count = hmkv_result_count(result);
  CHECK(count >= 1);
  CHECK_STR(first, hmkv_result_kv(result, count - 1)->key);
  hmkv_result_free(result);
  store("last");
  CHECK_STR("last ", names("", at("last")));
  CHECK_OK(hmkv_delete(kv, first));
}

static void an_empty_end_makes_the_range_empty(void) {
  store("a");
  CHECK_STR("", names("", ""));
  CHECK_STR("", names(at("a"), ""));
}

static void a_start_above_the_end_makes_the_range_empty(void) {
  store("a"), store("b");
  CHECK_STR("", names(at("b"), at("a")));
  CHECK_STR("", names(at("aa"), at("a")));
}

static void an_empty_range_is_ok_with_count_0(void) {
  hmkv_result *result = NULL;
  CHECK_OK(hmkv_get_range(kv, at("x"), at("y"), &result));
  CHECK(result);
  CHECK_INT(0, hmkv_result_count(result));
  CHECK_INT(0, hmkv_result_total(result));
  CHECK(hmkv_result_kv(result, 0) == NULL);
  CHECK(hmkv_result_revision(result) > 0);
  hmkv_result_free(result);
}

static void a_range_that_is_empty_by_its_bounds_has_revision_0(void) {
  store("a");
  const char *bounds[][2] = {{"", ""}, {at("a"), ""}, {at("b"), at("a")}};
  for (size_t i = 0; i < 3; i++) {
    hmkv_result *result = NULL;
    CHECK_OK(hmkv_get_range(kv, bounds[i][0], bounds[i][1], &result));
    CHECK_INT(0, hmkv_result_count(result));
    CHECK_INT(0, hmkv_result_revision(result));
    hmkv_result_free(result);
  }
}

static void deleted_keys_are_not_in_it(void) {
  store("a"), store("b"), store("c");
  CHECK_OK(hmkv_delete(kv, at("b")));
  CHECK_STR("a c ", names(at("a"), at("c")));
}

static void two_thousand_keys_come_in_order(void) {
  int count = rounds(2000, 1200);
  for (int i = 0; i < count; i++) {
    int shuffled = i * 7919 % count;
    CHECK_OK(hmkv_store(kv, at(text("%06d", shuffled)), text("%d", shuffled)));
  }
  hmkv_result *result = list_keys(kv, prefix);
  CHECK_INT(count, hmkv_result_count(result));
  CHECK_INT(count, hmkv_result_total(result));
  for (int i = 0; i < count; i++) {
    const hmkv_kv *entry = hmkv_result_kv(result, (size_t)i);
    CHECK_STR(at(text("%06d", i)), entry->key);
    CHECK_STR(text("%d", i), entry->value);
  }
  hmkv_result_free(result);
}

static void more_than_4_mebibytes_come_whole(void) {
  enum { COUNT = 40, SIZE = 160 * 1024 };
  char *value = malloc(SIZE + 1);
  CHECK(value);
  value[SIZE] = '\0';
  for (int i = 0; i < COUNT; i++) {
    memset(value, 'A' + i, SIZE);
    CHECK_OK(hmkv_store(kv, at(text("%02d", i)), value));
  }
  hmkv_result *result = list_keys(kv, prefix);
  CHECK_INT(COUNT, hmkv_result_count(result));
  for (int i = 0; i < COUNT; i++) {
    const hmkv_kv *entry = hmkv_result_kv(result, (size_t)i);
    memset(value, 'A' + i, SIZE);
    CHECK_INT(SIZE, entry->value_len);
    CHECK_INT(0, memcmp(value, entry->value, SIZE + 1));
    CHECK_OK(hmkv_delete(kv, entry->key));
  }
  hmkv_result_free(result);
  free(value);
}

struct writer {
  atomic_bool stop;
  hmkv *kv;
  const char *first, *last;
};

/* The first key is always as new as the last or one ahead. */
static void *write_both_ends(void *arg) {
  struct writer *writer = arg;
  for (int i = 1; !atomic_load(&writer->stop); i++) {
    const char *value = text("%d", i);
    CHECK_OK(hmkv_store(writer->kv, writer->first, value));
    CHECK_OK(hmkv_store(writer->kv, writer->last, value));
  }
  return NULL;
}

static void the_answer_is_that_of_one_revision(void) {
  int fill = rounds(2500, 1100);
  char filler[400];
  memset(filler, 'f', sizeof filler - 1);
  filler[sizeof filler - 1] = '\0';
  for (int i = 0; i < fill; i++) CHECK_OK(hmkv_store(kv, at(text("m%05d", i)), filler));
  struct writer writer = {.kv = open_store(NULL), .first = at("a"), .last = at("z")};
  CHECK_OK(hmkv_store(kv, writer.first, "0"));
  CHECK_OK(hmkv_store(kv, writer.last, "0"));
  pthread_t thread = start_thread(write_both_ends, &writer);
  int64_t revision = 0;
  for (int i = 0; i < rounds(60, 10); i++) {
    hmkv_result *result = list_keys(kv, prefix);
    size_t count = hmkv_result_count(result);
    CHECK_INT(fill + 2, count);
    int first = atoi(hmkv_result_kv(result, 0)->value);
    int last = atoi(hmkv_result_kv(result, count - 1)->value);
    if (first != last && first != last + 1) FAIL("first %d, last %d", first, last);
    CHECK(hmkv_result_revision(result) >= revision); /* linearizable */
    revision = hmkv_result_revision(result);
    for (size_t j = 0; j < count; j++)
      CHECK(hmkv_result_kv(result, j)->mod_revision <= revision);
    hmkv_result_free(result);
  }
  atomic_store(&writer.stop, true);
  join_thread(thread);
  close_store(writer.kv);
}

static void values_with_nul_bytes_come_whole(void) {
  const char *key = at("binary");
  put_binary(key, "a\0b\0", 4);
  hmkv_result *result = list_keys(kv, key);
  CHECK_INT(1, hmkv_result_count(result));
  const hmkv_kv *entry = hmkv_result_kv(result, 0);
  CHECK_INT(4, entry->value_len);
  CHECK_INT(0, memcmp("a\0b\0", entry->value, 5)); /* and a NUL after it */
  hmkv_result_free(result);
}

static const struct test tests[] = {
    BOTH(both_bounds_are_inclusive),
    BOTH(keys_above_the_end_that_begin_with_it_are_outside),
    BOTH(keys_compare_bytewise_shorter_first),
    BOTH(an_empty_start_begins_at_the_first_key_there_is),
    BOTH(an_empty_end_makes_the_range_empty),
    BOTH(a_start_above_the_end_makes_the_range_empty),
    BOTH(an_empty_range_is_ok_with_count_0),
    BOTH(a_range_that_is_empty_by_its_bounds_has_revision_0),
    BOTH(deleted_keys_are_not_in_it),
    BOTH(two_thousand_keys_come_in_order),
    BOTH(more_than_4_mebibytes_come_whole),
    BOTH(the_answer_is_that_of_one_revision),
    ETCD_ONLY(values_with_nul_bytes_come_whole),
};
TEST_MAIN(.begin = begin, .end = end)
