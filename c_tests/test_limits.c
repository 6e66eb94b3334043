/* The size of requests: what is too large is refused, and nothing else happens. */
#include "test.h"

enum { MIB = 1024 * 1024, LIMIT = MIB + MIB / 2 };

static hmkv *kv;

static void begin(void) { kv = open_store(NULL); }
static void end(void) { close_store(kv); }

static char *filled(size_t length) {
  char *value = malloc(length + 1);
  CHECK(value);
  for (size_t i = 0; i < length; i++) value[i] = (char)('a' + i % 26);
  value[length] = '\0';
  return value;
}

static void a_value_of_a_mebibyte_comes_back(void) {
  const char *key = unique("key");
  char *value = filled(MIB);
  CHECK_OK(hmkv_store(kv, key, value));
  CHECK_VALUE(kv, key, value);
  hmkv_result *result = list_keys(kv, key);
  CHECK_INT(MIB, hmkv_result_kv(result, 0)->value_len);
  hmkv_result_free(result);
  CHECK_OK(hmkv_delete(kv, key));
  free(value);
}

static void a_value_just_below_the_limit_is_stored(void) {
  const char *key = unique("key");
  char *value = filled(LIMIT - 1024);
  CHECK_OK(hmkv_store(kv, key, value));
  CHECK_VALUE(kv, key, value);
  CHECK_OK(hmkv_delete(kv, key));
  free(value);
}

static void a_value_above_the_limit_is_too_large_and_not_applied(void) {
  const char *key = unique("key");
  char *value = filled(LIMIT + 100);
  CHECK_STATUS(HMKV_ETOOLARGE, hmkv_store(kv, key, value));
  CHECK_VALUE(kv, key, NULL);
  CHECK_OK(hmkv_store(kv, key, "small"));
  CHECK_STATUS(HMKV_ETOOLARGE, hmkv_store(kv, key, value));
  CHECK_STATUS(HMKV_ETOOLARGE, hmkv_tas(kv, key, "small", value));
  CHECK_STATUS(HMKV_ETOOLARGE, hmkv_tas(kv, key, value, "other"));
  CHECK_STATUS(HMKV_ETOOLARGE, hmkv_transaction(kv, key, "=", "small", key, value, NULL, NULL));
  CHECK_STATUS(HMKV_ETOOLARGE, hmkv_transaction(kv, key, "=", "else", NULL, NULL, key, value));
  CHECK_VALUE(kv, key, "small");
  free(value);
}

static void a_transaction_counts_all_its_parts(void) {
  const char *key = unique("key"), *other = unique("other");
  char *half = filled(LIMIT / 2 + 100);
  CHECK_OK(hmkv_store(kv, key, "a"));
  CHECK_STATUS(HMKV_ETOOLARGE, hmkv_transaction(kv, key, "=", "a", other, half, other, half));
  CHECK_VALUE(kv, other, NULL);
  CHECK_OK(hmkv_transaction(kv, key, "=", "a", other, half, NULL, NULL));
  CHECK_VALUE(kv, other, half);
  CHECK_OK(hmkv_delete(kv, other));
  free(half);
}

static void a_key_above_the_limit_is_too_large(void) {
  char *key = filled(LIMIT + 100);
  CHECK_STATUS(HMKV_ETOOLARGE, hmkv_store(kv, key, "value"));
  CHECK_STATUS(HMKV_ETOOLARGE, hmkv_delete(kv, key));
  CHECK_STATUS(HMKV_ETOOLARGE, hmkv_temp_key(kv, key));
  free(key);
}

static void a_key_that_can_be_stored_can_be_read_and_deleted(void) {
  char *key = filled(MIB);
  const char *start = unique("long");
  memcpy(key, start, strlen(start));
  CHECK_OK(hmkv_store(kv, key, "value"));
  CHECK_VALUE(kv, key, "value");
  CHECK_OK(hmkv_delete(kv, key));
  CHECK_VALUE(kv, key, NULL);
  free(key);
}

static void a_range_with_bounds_above_the_limit_is_too_large(void) {
  char *start = filled(MIB), *end = filled(MIB);
  end[0] = (char)(start[0] + 1);
  hmkv_result *result = (hmkv_result *)&result;
  CHECK_STATUS(HMKV_ETOOLARGE, hmkv_get_range(kv, start, end, &result));
  CHECK(result == NULL);
  free(start);
  free(end);
}

static void the_store_stays_usable(void) {
  const char *key = unique("key");
  char *value = filled(2 * LIMIT);
  for (int i = 0; i < 20; i++) {
    CHECK_STATUS(HMKV_ETOOLARGE, hmkv_store(kv, key, value));
    CHECK_OK(hmkv_store(kv, key, text("%d", i)));
    CHECK_VALUE(kv, key, text("%d", i));
  }
  free(value);
}

static void the_option_max_request_lowers_the_limit(void) {
  hmkv *small = open_store("max_request=2KiB");
  const char *key = unique("key");
  char *value = filled(3000);
  CHECK_STATUS(HMKV_ETOOLARGE, hmkv_store(small, key, value));
  CHECK_VALUE(small, key, NULL);
  value[1500] = '\0';
  CHECK_OK(hmkv_store(small, key, value));
  CHECK_VALUE(small, key, value);
  free(value);
  close_store(small);
}

/* What is above the limit on both backends; below it, the server decides. */
static void a_servers_own_refusal_is_too_large_too(void) {
  hmkv *bold = open_store("max_request=8MiB");
  const char *key = unique("key");
  char *value = filled(LIMIT + 50000);
  CHECK_STATUS(HMKV_ETOOLARGE, hmkv_store(bold, key, value));
  char *huge = filled(3 * MIB);
  CHECK_STATUS(HMKV_ETOOLARGE, hmkv_store(bold, key, huge));
  CHECK_VALUE(bold, key, NULL);
  free(value);
  free(huge);
  close_store(bold);
}

static const struct test tests[] = {
    BOTH(a_value_of_a_mebibyte_comes_back),
    BOTH(a_value_just_below_the_limit_is_stored),
    BOTH(a_value_above_the_limit_is_too_large_and_not_applied),
    BOTH(a_transaction_counts_all_its_parts),
    BOTH(a_key_above_the_limit_is_too_large),
    BOTH(a_key_that_can_be_stored_can_be_read_and_deleted),
    BOTH(a_range_with_bounds_above_the_limit_is_too_large),
    BOTH(the_store_stays_usable),
    BOTH(the_option_max_request_lowers_the_limit),
    ETCD_ONLY(a_servers_own_refusal_is_too_large_too),
};
TEST_MAIN(.begin = begin, .end = end)
