/* hmkv_tas: test and set. */
#include "test.h"

static hmkv *kv;

static void begin(void) { kv = open_store(NULL); }
static void end(void) { close_store(kv); }

static void it_sets_when_the_value_is_there(void) {
  const char *key = unique("key");
  CHECK_OK(hmkv_store(kv, key, "a"));
  CHECK_OK(hmkv_tas(kv, key, "a", "b"));
  CHECK_VALUE(kv, key, "b");
  CHECK_OK(hmkv_tas(kv, key, "b", "b"));
  CHECK_VALUE(kv, key, "b");
}

static void another_value_is_compare_failed_and_nothing_written(void) {
  const char *key = unique("key");
  CHECK_OK(hmkv_store(kv, key, "a"));
  static const char *const others[] = {"b", "", "aa", "A", "a "};
  for (int i = 0; i < 5; i++) CHECK_STATUS(HMKV_COMPARE_FAILED, hmkv_tas(kv, key, others[i], "x"));
  CHECK_VALUE(kv, key, "a");
  hmkv_result *result = list_keys(kv, key);
  CHECK_INT(1, hmkv_result_kv(result, 0)->version);
  hmkv_result_free(result);
}

static void a_missing_key_is_never_set(void) {
  const char *key = unique("key");
  CHECK_STATUS(HMKV_COMPARE_FAILED, hmkv_tas(kv, key, "a", "b"));
  CHECK_STATUS(HMKV_COMPARE_FAILED, hmkv_tas(kv, key, "", "b"));
  CHECK_VALUE(kv, key, NULL);
  CHECK_OK(hmkv_store(kv, key, ""));
  CHECK_OK(hmkv_delete(kv, key));
  CHECK_STATUS(HMKV_COMPARE_FAILED, hmkv_tas(kv, key, "", "b"));
  CHECK_VALUE(kv, key, NULL);
}

static void an_empty_test_value_matches_only_an_existing_empty_value(void) {
  const char *key = unique("key");
  CHECK_OK(hmkv_store(kv, key, "a"));
  CHECK_STATUS(HMKV_COMPARE_FAILED, hmkv_tas(kv, key, "", "b"));
  CHECK_OK(hmkv_store(kv, key, ""));
  CHECK_OK(hmkv_tas(kv, key, "", "b"));
  CHECK_VALUE(kv, key, "b");
  CHECK_OK(hmkv_tas(kv, key, "b", ""));
  CHECK_VALUE(kv, key, "");
}

enum { THREADS = 8 };

struct contest {
  const char *key;
  int wins;
  bool own_handle;
};

static void *increment(void *arg) {
  const struct contest *contest = arg;
  hmkv *mine = contest->own_handle ? open_store(NULL) : kv;
  for (int done = 0; done < contest->wins;) {
    char *value = NULL;
    CHECK_OK(hmkv_get(mine, contest->key, &value));
    hmkv_status status = hmkv_tas(mine, contest->key, value, text("%d", atoi(value) + 1));
    hmkv_free(value);
    CHECK(status == HMKV_OK || status == HMKV_COMPARE_FAILED);
    if (status == HMKV_OK) done++;
  }
  if (contest->own_handle) close_store(mine);
  return NULL;
}

static void count(bool own_handle) {
  struct contest contest = {unique("counter"), rounds(100, 10), own_handle};
  CHECK_OK(hmkv_store(kv, contest.key, "0"));
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++) threads[i] = start_thread(increment, &contest);
  for (int i = 0; i < THREADS; i++) join_thread(threads[i]);
  CHECK_VALUE(kv, contest.key, text("%d", THREADS * contest.wins));
}

static void eight_threads_on_one_handle_count_exactly(void) { count(false); }

static void eight_threads_with_a_handle_each_count_exactly(void) { count(true); }

static void *set_once(void *arg) {
  const char *key = arg;
  hmkv_status status = hmkv_tas(kv, key, "free", "taken");
  CHECK(status == HMKV_OK || status == HMKV_COMPARE_FAILED);
  return (void *)(uintptr_t)(status == HMKV_OK);
}

static void of_many_one_wins(void) {
  for (int round = 0; round < rounds(100, 10); round++) {
    const char *key = unique("key");
    CHECK_OK(hmkv_store(kv, key, "free"));
    pthread_t threads[THREADS];
    int winners = 0;
    for (int i = 0; i < THREADS; i++) threads[i] = start_thread(set_once, (void *)(uintptr_t)key);
    for (int i = 0; i < THREADS; i++) winners += join_thread(threads[i]) != NULL;
    CHECK_INT(1, winners);
  }
}

static const struct test tests[] = {
    BOTH(it_sets_when_the_value_is_there),
    BOTH(another_value_is_compare_failed_and_nothing_written),
    BOTH(a_missing_key_is_never_set),
    BOTH(an_empty_test_value_matches_only_an_existing_empty_value),
    BOTH(eight_threads_on_one_handle_count_exactly),
    BOTH(eight_threads_with_a_handle_each_count_exactly),
    BOTH(of_many_one_wins),
};
TEST_MAIN(.begin = begin, .end = end)
