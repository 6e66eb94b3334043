/* Many watches on one store. */
#include "events.h"
#include "test.h"

enum { MANY = 200 };

static hmkv *kv;
static struct events events[MANY];
static hmkv_watcher *watchers[MANY];

static void begin(void) { kv = open_store("timeout=30s"); }
static void end(void) { close_store(kv); }

static void watch(int i, const char *key) {
  events[i] = (struct events)EVENTS_OF(key);
  CHECK_OK(hmkv_watch_cb(kv, key, 3, events_record, &events[i], &watchers[i]));
}

static void finish(void) {
  for (int i = 0; i < MANY; i++) {
    CHECK_OK(hmkv_watch_cb_cancel(watchers[i]));
    events_free(&events[i]);
  }
}

static void two_hundred_watches_on_as_many_keys(void) {
  const char *prefix = unique("many");
  for (int i = 0; i < MANY; i++) watch(i, text("%s/%d", prefix, i));
  for (int round = 0; round < 3; round++)
    for (int i = 0; i < MANY; i++) CHECK_OK(hmkv_store(kv, events[i].key, text("%d %d", i, round)));
  for (int i = 0; i < MANY; i++) {
    events_wait(&events[i], 3);
    for (int round = 0; round < 3; round++)
      CHECK_EVENT(&events[i], (size_t)round, HMKV_KEYCHANGE_PUT, text("%d %d", i, round));
  }
  finish();
}

static void two_hundred_watches_on_one_key(void) {
  const char *key = unique("key");
  size_t puts = (size_t)rounds(20, 5);
  for (int i = 0; i < MANY; i++) watch(i, key);
  for (size_t i = 0; i < puts; i++) CHECK_OK(hmkv_store(kv, key, text("%zu", i)));
  CHECK_OK(hmkv_delete(kv, key));
  for (int i = 0; i < MANY; i++) {
    events_wait(&events[i], puts + 1);
    for (size_t j = 0; j < puts; j++)
      CHECK_EVENT(&events[i], j, HMKV_KEYCHANGE_PUT, text("%zu", j));
    CHECK_EVENT(&events[i], puts, HMKV_KEYCHANGE_DELETE, NULL);
  }
  finish();
}

static void two_hundred_watches_need_no_thread_each(void) {
  const char *key = unique("key");
  int before = count_threads("hmkv-");
  for (int i = 0; i < MANY; i++) watch(i, text("%s/%d", key, i));
  WAIT_UNTIL(count_threads("hmkv-") < before + MANY / 4); /* the busy have more for a while */
  finish();
}

static void gets_and_waits_work_beside_two_hundred_watches(void) {
  const char *key = unique("key"), *waited = unique("waited");
  for (int i = 0; i < MANY; i++) watch(i, text("%s/%d", key, i));
  CHECK_OK(hmkv_store(kv, waited, "value"));
  CHECK_VALUE(kv, waited, "value");
  CHECK_STATUS(HMKV_TIMED_OUT, hmkv_watch(kv, waited, 10, NULL, NULL));
  CHECK_OK(hmkv_temp_key(kv, waited));
  finish();
}

static void closing_ends_two_hundred_watches(void) {
  const char *key = unique("key");
  for (int i = 0; i < MANY; i++) watch(i, key);
  CHECK_OK(hmkv_store(kv, key, "value"));
  close_store(kv);
  kv = open_store("timeout=30s");
  size_t before[MANY];
  for (int i = 0; i < MANY; i++) before[i] = events_count(&events[i]);
  CHECK_OK(hmkv_store(kv, key, "after"));
  for (int i = 0; i < MANY; i++) {
    CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_cb_cancel(watchers[i]));
    CHECK_INT(before[i], events_count(&events[i]));
    CHECK(before[i] <= 1);
    events_free(&events[i]);
  }
}

static const struct test tests[] = {
    BOTH(two_hundred_watches_on_as_many_keys),
    BOTH(two_hundred_watches_on_one_key),
    BOTH(two_hundred_watches_need_no_thread_each),
    BOTH(gets_and_waits_work_beside_two_hundred_watches),
    BOTH(closing_ends_two_hundred_watches),
};
TEST_MAIN(.begin = begin, .end = end)
