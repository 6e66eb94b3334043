/* Answers that no buffer was made for: a hundred values of a mebibyte in one range. */
#include "own_store.h"
#include "requests.h"
#include "test.h"

enum { MIB = 1024 * 1024 };

static struct own_store own;
static char *value;
static int count;

static void begin(void) {
  own_store_open(&own, "timeout=60s");
  count = rounds(100, 10);
  value = malloc(MIB);
  CHECK(value);
}

static void end(void) {
  free(value);
  own_store_close(&own);
}

static void fill_value(int i) {
  for (int j = 0; j < MIB; j++) value[j] = (char)(i + j / 7);
}

static void fill(void) {
  char key[32];
  for (int i = 0; i < count; i++) {
    sprintf(key, "huge/%03d", i);
    fill_value(i);
    FINISH(HMKV_OK, hmkv_put(own.kv, key, HMKV_NTS, value, MIB, NULL));
  }
}

static void check_range(int limit) {
  hmkv_result *result = AWAIT(HMKV_OK, hmkv_range(own.kv, "huge/", HMKV_NTS,
                                                  HMKV_RANGE_OPTS(.prefix = 1, .limit = limit)));
  CHECK_INT(limit, hmkv_result_count(result));
  CHECK_INT(count, hmkv_result_total(result));
  for (int i = 0; i < limit; i++) {
    const hmkv_kv *entry = hmkv_result_kv(result, (size_t)i);
    fill_value(i);
    CHECK_INT(MIB, entry->value_len);
    CHECK(memcmp(value, entry->value, MIB) == 0);
  }
  hmkv_result_free(result);
}

static void answers_of_any_size_are_whole(void) {
  fill();
  check_range(8);
  check_range(count);
  CHECK_OK(hmkv_store(own.kv, "small", "value")); /* it goes on */
  CHECK_VALUE(own.kv, "small", "value");
}

static void a_huge_answer_without_the_time_for_it_does_no_harm(void) {
  fill();
  for (int ms = 1; ms < 60; ms += 7) {
    hmkv_result *result = hmkv_await(hmkv_range(
        own.kv, "huge/", HMKV_NTS, HMKV_RANGE_OPTS(.prefix = 1, .timeout_ms = ms)));
    hmkv_status status = hmkv_result_status(result);
    CHECK(status == HMKV_OK || status == HMKV_EUNAVAIL);
    hmkv_result_free(result);
    CHECK_OK(hmkv_store(own.kv, "small", text("%d", ms)));
    CHECK_VALUE(own.kv, "small", text("%d", ms));
  }
}

static const struct test tests[] = {
    BOTH(answers_of_any_size_are_whole),
    BOTH(a_huge_answer_without_the_time_for_it_does_no_harm),
};
TEST_MAIN(.begin = begin, .end = end)
