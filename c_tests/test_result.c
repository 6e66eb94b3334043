/* The accessors of a result. */
#include "requests.h"
#include "test.h"

static hmkv *kv;

static void begin(void) { kv = open_store(NULL); }
static void end(void) { close_store(kv); }

static void accessors_accept_null(void) {
  CHECK_STATUS(HMKV_EINVAL, hmkv_result_status(NULL));
  CHECK(hmkv_result_error(NULL) == NULL);
  CHECK_INT(0, hmkv_result_count(NULL));
  CHECK(hmkv_result_kv(NULL, 0) == NULL);
  CHECK_INT(0, hmkv_result_revision(NULL));
  CHECK_INT(0, hmkv_result_total(NULL));
  CHECK(hmkv_result_sub(NULL, 0) == NULL);
  hmkv_result_free(NULL);
}

static void a_success_has_no_error_text(void) {
  hmkv_result *result = list_keys(kv, unique("none"));
  CHECK_OK(hmkv_result_status(result));
  CHECK(hmkv_result_error(result) == NULL);
  hmkv_result_free(result);
}

static void beyond_the_last_there_is_null(void) {
  const char *key = unique("key");
  CHECK_OK(hmkv_store(kv, key, "value"));
  hmkv_result *result = list_keys(kv, key);
  CHECK_INT(1, hmkv_result_count(result));
  CHECK(hmkv_result_kv(result, 0) != NULL);
  CHECK(hmkv_result_kv(result, 1) == NULL);
  CHECK(hmkv_result_kv(result, SIZE_MAX) == NULL);
  CHECK(hmkv_result_kv(result, SIZE_MAX / sizeof(hmkv_kv) + 1) == NULL);
  hmkv_result_free(result);
}

static void keys_and_values_have_a_length_and_a_nul_after_them(void) {
  const char *key = unique("key");
  CHECK_OK(hmkv_store(kv, key, "value"));
  CHECK_OK(hmkv_store(kv, text("%s2", key), ""));
  hmkv_result *result = list_keys(kv, key);
  const hmkv_kv *entry = hmkv_result_kv(result, 0);
  CHECK_STR(key, entry->key);
  CHECK_INT(strlen(key), entry->key_len);
  CHECK_STR("value", entry->value);
  CHECK_INT(5, entry->value_len);
  entry = hmkv_result_kv(result, 1);
  CHECK(entry->value != NULL);
  CHECK_INT(0, entry->value_len);
  CHECK_INT('\0', entry->value[0]);
  hmkv_result_free(result);
}

static void revisions_and_version_tell_a_keys_history(void) {
  const char *key = unique("key"), *other = text("%s2", key);
  CHECK_OK(hmkv_store(kv, key, "1"));
  CHECK_OK(hmkv_store(kv, other, "1"));
  CHECK_OK(hmkv_store(kv, key, "2"));
  hmkv_result *result = list_keys(kv, key);
  const hmkv_kv *a = hmkv_result_kv(result, 0), *b = hmkv_result_kv(result, 1);
  CHECK_INT(2, a->version);
  CHECK_INT(1, b->version);
  CHECK(a->create_revision > 0);
  CHECK(a->create_revision < b->create_revision);
  CHECK_INT(b->create_revision, b->mod_revision);
  CHECK(b->mod_revision < a->mod_revision);
  CHECK(a->mod_revision <= hmkv_result_revision(result));
  CHECK_INT(0, a->lease);
  int64_t created = a->create_revision;
  hmkv_result_free(result);
  CHECK_OK(hmkv_delete(kv, key));
  CHECK_OK(hmkv_store(kv, key, "3"));
  result = list_keys(kv, key);
  a = hmkv_result_kv(result, 0);
  CHECK_INT(1, a->version); /* counted from its creation */
  CHECK(a->create_revision > created);
  hmkv_result_free(result);
}

static void a_temporary_key_shows_its_lease(void) {
  const char *key = unique("temp"), *other = unique("temp");
  CHECK_OK(hmkv_temp_key(kv, key));
  CHECK_OK(hmkv_temp_key(kv, other));
  CHECK(lease_of(kv, key) > 0);
  CHECK_INT(lease_of(kv, key), lease_of(kv, other)); /* all on one lease */
}

static void total_is_the_number_of_keys_in_the_range(void) {
  const char *prefix = unique("many");
  for (int i = 0; i < 30; i++) CHECK_OK(hmkv_store(kv, text("%s/%02d", prefix, i), ""));
  hmkv_result *result = list_keys(kv, prefix);
  CHECK_INT(30, hmkv_result_total(result));
  CHECK_INT(30, hmkv_result_count(result));
  hmkv_result_free(result);
}

static void a_result_outlives_its_store(void) {
  hmkv *other = open_store(NULL);
  const char *key = unique("key");
  CHECK_OK(hmkv_store(other, key, "value"));
  hmkv_result *result = list_keys(other, key);
  CHECK_OK(hmkv_delete(other, key));
  close_store(other);
  CHECK_STR(key, hmkv_result_kv(result, 0)->key);
  CHECK_STR("value", hmkv_result_kv(result, 0)->value);
  hmkv_result_free(result);
}

static void the_revision_grows_with_each_change(void) {
  const char *key = unique("key");
  int64_t last = 0;
  for (int i = 0; i < 5; i++) {
    CHECK_OK(hmkv_store(kv, key, "same"));
    hmkv_result *result = list_keys(kv, key);
    CHECK(hmkv_result_revision(result) > last);
    last = hmkv_result_revision(result);
    hmkv_result_free(result);
  }
}

static void a_failure_has_a_text_that_lives_as_long_as_the_result(void) {
  hmkv_result *result = hmkv_await(hmkv_range(kv, "", 0, NULL));
  CHECK_STATUS(HMKV_EINVAL, hmkv_result_status(result));
  const char *error = hmkv_result_error(result);
  CHECK(error && *error && !strchr(error, '\n'));
  const char *kept = text("%s", error);
  FINISH(HMKV_EHANDLE, hmkv_ping(NULL)); /* another failure */
  CHECK_STR(kept, hmkv_result_error(result));
  CHECK_INT(0, hmkv_result_count(result));
  CHECK(hmkv_result_kv(result, 0) == NULL);
  CHECK_INT(0, hmkv_result_revision(result)); /* the server was not asked */
  CHECK_INT(0, hmkv_result_total(result));
  CHECK(hmkv_result_sub(result, 0) == NULL);
  hmkv_result_free(result);
}

static void a_positive_status_has_no_error_text(void) {
  const char *key = unique("key");
  hmkv_result *result = hmkv_await(hmkv_range(kv, key, HMKV_NTS, NULL));
  CHECK_STATUS(HMKV_NOT_FOUND, hmkv_result_status(result));
  CHECK(hmkv_result_error(result) == NULL);
  hmkv_result_free(result);
  result = hmkv_await(hmkv_put(kv, key, HMKV_NTS, "v", 1, HMKV_PUT_OPTS(.if_mod_revision = 1)));
  CHECK_STATUS(HMKV_COMPARE_FAILED, hmkv_result_status(result));
  CHECK(hmkv_result_error(result) == NULL);
  hmkv_result_free(result);
}

static void every_request_shows_the_stores_revision(void) {
  const char *key = unique("key");
  int64_t last = put_text(kv, key, "value");
  hmkv_txn *txn = hmkv_txn_new(kv);
  hmkv_txn_put(txn, HMKV_THEN, key, HMKV_NTS, "value", 5, NULL);
  hmkv_op *const ops[] = {
      hmkv_ping(kv), hmkv_range(kv, key, HMKV_NTS, NULL),
      hmkv_range(kv, unique("absent"), HMKV_NTS, NULL), hmkv_txn_commit(txn, NULL),
      hmkv_put(kv, key, HMKV_NTS, "v", 1, NULL), hmkv_remove(kv, key, HMKV_NTS, NULL),
  };
  for (int i = 0; i < 6; i++) {
    hmkv_result *result = hmkv_await(ops[i]);
    CHECK(hmkv_result_status(result) >= 0);
    CHECK(hmkv_result_revision(result) >= last);
    hmkv_result_free(result);
  }
}

static void total_is_0_for_requests_without_a_range(void) {
  const char *key = unique("key");
  hmkv_txn *txn = hmkv_txn_new(kv);
  hmkv_txn_range(txn, HMKV_THEN, key, HMKV_NTS, HMKV_RANGE_OPTS(.prefix = 1));
  hmkv_op *const ops[] = {hmkv_put(kv, key, HMKV_NTS, "v", 1, HMKV_PUT_OPTS(.prev = 1)),
                          hmkv_ping(kv), hmkv_txn_commit(txn, NULL)};
  for (int i = 0; i < 3; i++) {
    hmkv_result *result = AWAIT(HMKV_OK, ops[i]);
    CHECK_INT(0, hmkv_result_total(result));
    CHECK_INT(0, hmkv_result_count(result));
    CHECK((hmkv_result_sub(result, 0) != NULL) == (i == 2)); /* of transactions alone */
    CHECK(hmkv_result_sub(result, 1) == NULL);
    CHECK(hmkv_result_sub(result, SIZE_MAX) == NULL);
    hmkv_result_free(result);
  }
  hmkv_result *result = list_keys(kv, key);
  CHECK(hmkv_result_sub(result, 0) == NULL);
  hmkv_result_free(result);
}

static void a_sub_result_lives_as_long_as_the_transactions(void) {
  const char *key = unique("key");
  hmkv *other = open_store(NULL);
  hmkv_txn *txn = hmkv_txn_new(other);
  hmkv_txn_put(txn, HMKV_THEN, key, HMKV_NTS, "a\0b", 3, NULL);
  hmkv_txn_range(txn, HMKV_THEN, key, HMKV_NTS, NULL);
  hmkv_txn_range(txn, HMKV_THEN, unique("absent"), HMKV_NTS, NULL);
  hmkv_result *result = AWAIT(HMKV_OK, hmkv_txn_commit(txn, NULL));
  CHECK_OK(hmkv_delete(other, key));
  close_store(other);
  const hmkv_result *put = hmkv_result_sub(result, 0), *range = hmkv_result_sub(result, 1);
  CHECK_OK(hmkv_result_status(put));
  CHECK_INT(0, hmkv_result_count(put));
  CHECK_OK(hmkv_result_status(range));
  CHECK_INT(1, hmkv_result_total(range));
  CHECK_ENTRY(hmkv_result_kv(range, 0), key, strlen(key), "a\0b", 3);
  CHECK(hmkv_result_error(range) == NULL);
  CHECK_STATUS(HMKV_NOT_FOUND, hmkv_result_status(hmkv_result_sub(result, 2)));
  CHECK(hmkv_result_sub(result, 3) == NULL);
  CHECK(hmkv_result_sub(range, 0) == NULL);
  hmkv_result_free(result);
}

static const struct test tests[] = {
    BOTH(accessors_accept_null),
    BOTH(a_success_has_no_error_text),
    BOTH(beyond_the_last_there_is_null),
    BOTH(keys_and_values_have_a_length_and_a_nul_after_them),
    BOTH(revisions_and_version_tell_a_keys_history),
    BOTH(a_temporary_key_shows_its_lease),
    BOTH(total_is_the_number_of_keys_in_the_range),
    BOTH(a_result_outlives_its_store),
    BOTH(the_revision_grows_with_each_change),
    BOTH(a_failure_has_a_text_that_lives_as_long_as_the_result),
    BOTH(a_positive_status_has_no_error_text),
    BOTH(every_request_shows_the_stores_revision),
    BOTH(total_is_0_for_requests_without_a_range),
    BOTH(a_sub_result_lives_as_long_as_the_transactions),
};
TEST_MAIN(.begin = begin, .end = end)
