#include "mirrors.h"

#include "changes.h"

hmkv_mirror *mirror_of(hmkv *kv, const char *prefix, struct recorder *told) {
  hmkv_mirror *mirror = NULL;
  CHECK_OK(hmkv_mirror_open(kv, prefix, HMKV_NTS, told ? recorder_event : NULL, told, &mirror));
  CHECK(mirror);
  return mirror;
}

hmkv_result *mirror_result(hmkv_status expected, hmkv_result *result) {
  CHECK(result);
  CHECK_STATUS(expected, hmkv_result_status(result));
  CHECK_INT(expected < 0, hmkv_result_error(result) != NULL);
  return result;
}

int64_t mirror_revision(hmkv_mirror *mirror, const char *prefix) {
  hmkv_result *result = mirror_result(
      HMKV_OK, hmkv_mirror_range(mirror, prefix, HMKV_NTS,
                                 HMKV_RANGE_OPTS(.prefix = 1, .count_only = 1)));
  int64_t revision = hmkv_result_revision(result);
  hmkv_result_free(result);
  return revision;
}

const char *mirror_value(hmkv_mirror *mirror, const char *key) {
  hmkv_result *result = hmkv_mirror_get(mirror, key, HMKV_NTS);
  hmkv_status status = hmkv_result_status(result);
  CHECK(status == HMKV_OK || status == HMKV_NOT_FOUND);
  CHECK_INT(status == HMKV_OK, hmkv_result_count(result));
  const char *value = status == HMKV_OK ? text("%s", hmkv_result_kv(result, 0)->value) : NULL;
  hmkv_result_free(result);
  return value;
}

void check_same_result(const hmkv_result *a, const hmkv_result *b) {
  CHECK_INT(hmkv_result_status(a), hmkv_result_status(b));
  CHECK_INT(hmkv_result_total(a), hmkv_result_total(b));
  CHECK_INT(hmkv_result_count(a), hmkv_result_count(b));
  for (size_t i = 0; i < hmkv_result_count(a); i++) {
    const hmkv_kv *one = hmkv_result_kv(a, i), *two = hmkv_result_kv(b, i);
    CHECK_INT(one->key_len, two->key_len);
    CHECK(memcmp(one->key, two->key, one->key_len + 1) == 0); /* with the NUL */
    CHECK_INT(one->value_len, two->value_len);
    CHECK(memcmp(one->value, two->value, one->value_len + 1) == 0);
    CHECK_INT(one->create_revision, two->create_revision);
    CHECK_INT(one->mod_revision, two->mod_revision);
    CHECK_INT(one->version, two->version);
    CHECK_INT(one->lease, two->lease);
  }
}

void mirror_check(hmkv_mirror *mirror, hmkv *kv, const char *prefix) {
  CHECK_OK(hmkv_mirror_wait(mirror, newest_revision(kv), patience_ms()));
  hmkv_result *copy = mirror_result(
      HMKV_OK, hmkv_mirror_range(mirror, prefix, HMKV_NTS, HMKV_RANGE_OPTS(.prefix = 1)));
  hmkv_result *store = hmkv_await(
      hmkv_range(kv, prefix, HMKV_NTS,
                 HMKV_RANGE_OPTS(.prefix = 1, .revision = hmkv_result_revision(copy))));
  check_same_result(store, copy);
  hmkv_result_free(copy);
  hmkv_result_free(store);
}
