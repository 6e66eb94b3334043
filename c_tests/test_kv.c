/* hmkv_store, hmkv_get, hmkv_delete. */
#include "process.h"
#include "test.h"

static hmkv *kv;

static void a_stored_value_is_read_back(void) {
  const char *key = unique("key");
  CHECK_OK(hmkv_store(kv, key, "one"));
  CHECK_VALUE(kv, key, "one");
  CHECK_OK(hmkv_store(kv, key, "two"));
  CHECK_VALUE(kv, key, "two");
}

static void an_absent_key_is_not_found_and_the_output_null(void) {
  char *value = (char *)"untouched";
  CHECK_STATUS(HMKV_NOT_FOUND, hmkv_get(kv, unique("absent"), &value));
  CHECK(value == NULL);
}

static void an_empty_value_is_legal_and_not_the_same_as_absent(void) {
  const char *key = unique("key");
  CHECK_OK(hmkv_store(kv, key, ""));
  CHECK_VALUE(kv, key, "");
  CHECK_OK(hmkv_delete(kv, key));
  CHECK_VALUE(kv, key, NULL);
}

static void an_empty_key_is_refused_everywhere(void) {
  char *value = NULL;
  hmkv_watcher *watcher = NULL;
  CHECK_STATUS(HMKV_EINVAL, hmkv_store(kv, "", "value"));
  CHECK_STATUS(HMKV_EINVAL, hmkv_get(kv, "", &value));
  CHECK_STATUS(HMKV_EINVAL, hmkv_delete(kv, ""));
  CHECK_STATUS(HMKV_EINVAL, hmkv_tas(kv, "", "a", "b"));
  CHECK_STATUS(HMKV_EINVAL, hmkv_temp_key(kv, ""));
  CHECK_STATUS(HMKV_EINVAL, hmkv_transaction(kv, "", "=", "", NULL, NULL, NULL, NULL));
  const char *key = unique("key");
  CHECK_STATUS(HMKV_EINVAL, hmkv_transaction(kv, key, "=", "", "", "a", NULL, NULL));
  CHECK_STATUS(HMKV_EINVAL, hmkv_transaction(kv, key, "=", "", NULL, NULL, "", "a"));
  CHECK_STATUS(HMKV_EINVAL, hmkv_watch(kv, "", 0, NULL, NULL));
  CHECK_STATUS(HMKV_EINVAL, hmkv_watch_cb(kv, "", 3, NULL, NULL, &watcher));
}

static void deleting_works_and_an_absent_key_is_no_failure(void) {
  const char *key = unique("key");
  CHECK_OK(hmkv_delete(kv, key));
  CHECK_OK(hmkv_store(kv, key, "value"));
  CHECK_OK(hmkv_delete(kv, key));
  CHECK_VALUE(kv, key, NULL);
  CHECK_OK(hmkv_delete(kv, key));
}

static void deleting_a_key_leaves_its_neighbours(void) {
  const char *key = unique("key");
  const char *longer = text("%s2", key), *shorter = text("%.*s", (int)strlen(key) - 1, key);
  CHECK_OK(hmkv_store(kv, key, "a"));
  CHECK_OK(hmkv_store(kv, longer, "b"));
  CHECK_OK(hmkv_store(kv, shorter, "c"));
  CHECK_OK(hmkv_delete(kv, key));
  CHECK_VALUE(kv, longer, "b");
  CHECK_VALUE(kv, shorter, "c");
}

static void no_encoding_is_imposed(void) {
  char every[256], key[600];
  for (int i = 1; i < 256; i++) every[i - 1] = (char)i;
  every[255] = '\0';
  snprintf(key, sizeof key, "%s/%s", unique("bytes"), every);
  CHECK_OK(hmkv_store(kv, key, every));
  CHECK_VALUE(kv, key, every);
  char *value = NULL;
  CHECK_OK(hmkv_get(kv, key, &value));
  CHECK_INT(0, memcmp(every, value, 256));
  hmkv_free(value);
  CHECK_OK(hmkv_tas(kv, key, every, "\xff\xfe"));
  CHECK_VALUE(kv, key, "\xff\xfe");
  CHECK_OK(hmkv_delete(kv, key));
  CHECK_VALUE(kv, key, NULL);
}

static void keys_that_differ_in_one_byte_are_different(void) {
  const char *key = unique("key");
  const char *variants[] = {key, text("%s ", key), text("%s/", key), text("%sA", key),
                            text("%sa", key), text("%s\xc3\xa4", key), text("%sa\xcc\x88", key)};
  enum { COUNT = sizeof variants / sizeof *variants };
  for (int i = 0; i < COUNT; i++) CHECK_OK(hmkv_store(kv, variants[i], text("%d", i)));
  for (int i = 0; i < COUNT; i++) CHECK_VALUE(kv, variants[i], text("%d", i));
}

static void long_keys_work(void) {
  enum { LONG = 16000 };
  const char *start = unique("long");
  char *key = malloc(LONG + 1);
  CHECK(key);
  memset(key, 'k', LONG);
  memcpy(key, start, strlen(start));
  key[LONG] = '\0';
  CHECK_OK(hmkv_store(kv, key, "long"));
  CHECK_VALUE(kv, key, "long");
  key[LONG - 1] = '\0';
  CHECK_VALUE(kv, key, NULL);
  key[LONG - 1] = 'k';
  CHECK_OK(hmkv_delete(kv, key));
  free(key);
}

static void inputs_are_copied(void) {
  const char *name = unique("key");
  char *key = strdup(name), *value = strdup("value");
  CHECK(key && value);
  CHECK_OK(hmkv_store(kv, key, value));
  memset(key, 'x', strlen(key));
  memset(value, 'x', strlen(value));
  CHECK_VALUE(kv, name, "value");
  free(key);
  free(value);
}

static void *store_next(void *shared) {
  void **pair = shared;
  CHECK_OK(hmkv_store(pair[0], pair[1], "stored elsewhere"));
  return NULL;
}

/* A read shows every write that was acknowledged to anyone before it. */
static void get_shows_what_was_acknowledged_to_others(void) {
  hmkv *other = open_store(NULL);
  for (int i = 0; i < rounds(200, 20); i++) {
    const char *key = unique("key");
    void *pair[] = {other, (void *)(uintptr_t)key};
    join_thread(start_thread(store_next, pair));
    CHECK_VALUE(kv, key, "stored elsewhere");
  }
  close_store(other);
}

static void storing_makes_one_new_revision_each_time(void) {
  const char *key = unique("key");
  int64_t create = 0, mod = 0;
  for (int i = 1; i <= 3; i++) {
    CHECK_OK(hmkv_store(kv, key, "same"));
    hmkv_result *result = list_keys(kv, key);
    CHECK_INT(1, hmkv_result_count(result));
    const hmkv_kv *entry = hmkv_result_kv(result, 0);
    if (i == 1) create = entry->create_revision;
    CHECK_INT(create, entry->create_revision);
    CHECK_INT(i, entry->version);
    CHECK(entry->mod_revision > mod);
    mod = entry->mod_revision;
    hmkv_result_free(result);
  }
}

static void storing_detaches_the_key_from_its_lease(void) {
  hmkv *owner = open_store(NULL);
  const char *key = unique("temp");
  CHECK_OK(hmkv_temp_key(owner, key));
  CHECK(lease_of(kv, key) != 0);
  CHECK_OK(hmkv_store(kv, key, "mine"));
  CHECK_INT(0, lease_of(kv, key));
  close_store(owner);
  CHECK_VALUE(kv, key, "mine");
}

static void a_value_with_a_nul_byte_is_ebinary(void) {
  const char *key = unique("binary");
  put_binary(key, "a\0b", 3);
  char *value = (char *)"untouched";
  CHECK_STATUS(HMKV_EBINARY, hmkv_get(kv, key, &value));
  CHECK(value == NULL);
  /* A NUL at the end counts too: as text the value would lose it. */
  put_binary(key, "a\0", 2);
  CHECK_STATUS(HMKV_EBINARY, hmkv_get(kv, key, &value));
  CHECK_OK(hmkv_store(kv, key, "text"));
  CHECK_VALUE(kv, key, "text");
}

static void begin(void) { kv = open_store(NULL); }
static void end(void) { close_store(kv); }

static const struct test tests[] = {
    BOTH(a_stored_value_is_read_back),
    BOTH(an_absent_key_is_not_found_and_the_output_null),
    BOTH(an_empty_value_is_legal_and_not_the_same_as_absent),
    BOTH(an_empty_key_is_refused_everywhere),
    BOTH(deleting_works_and_an_absent_key_is_no_failure),
    BOTH(deleting_a_key_leaves_its_neighbours),
    BOTH(no_encoding_is_imposed),
    BOTH(keys_that_differ_in_one_byte_are_different),
    BOTH(long_keys_work),
    BOTH(inputs_are_copied),
    BOTH(get_shows_what_was_acknowledged_to_others),
    BOTH(storing_makes_one_new_revision_each_time),
    BOTH(storing_detaches_the_key_from_its_lease),
    ETCD_ONLY(a_value_with_a_nul_byte_is_ebinary),
};
TEST_MAIN(.begin = begin, .end = end)
