/* hmkv_watch_cb: what is reported. How a watch ends: test_watch_end.c. */
#include "events.h"
#include "process.h"
#include "test.h"

enum { PUT = HMKV_KEYCHANGE_PUT, DELETE = HMKV_KEYCHANGE_DELETE };

static hmkv *kv;

static void begin(void) { kv = open_store(NULL); }
static void end(void) { close_store(kv); }

static hmkv_watcher *watch(struct events *events, int32_t mask) {
  hmkv_watcher *watcher = NULL;
  CHECK_OK(hmkv_watch_cb(kv, events->key, mask, events_record, events, &watcher));
  CHECK(watcher);
  return watcher;
}

static void finish(hmkv_watcher *watcher, struct events *events) {
  CHECK_OK(hmkv_watch_cb_cancel(watcher));
  events_free(events);
}

static void when_it_returns_the_watch_is_registered(void) {
  for (int i = 0; i < rounds(1000, 100); i++) {
    struct events events = EVENTS_OF(unique("key"));
    hmkv_watcher *watcher = watch(&events, 3);
    CHECK_OK(hmkv_store(kv, events.key, "right after"));
    events_wait(&events, 1);
    CHECK_EVENT(&events, 0, PUT, "right after");
    finish(watcher, &events);
  }
}

static void a_change_by_another_handle_right_after_is_seen(void) {
  hmkv *other = open_store(NULL);
  for (int i = 0; i < rounds(300, 50); i++) {
    struct events events = EVENTS_OF(unique("key"));
    hmkv_watcher *watcher = watch(&events, 3);
    CHECK_OK(hmkv_store(other, events.key, "by another"));
    events_wait(&events, 1);
    finish(watcher, &events);
  }
  close_store(other);
}

static void earlier_changes_are_not_reported(void) {
  for (int i = 0; i < rounds(200, 30); i++) {
    struct events events = EVENTS_OF(unique("key"));
    CHECK_OK(hmkv_store(kv, events.key, "before"));
    hmkv_watcher *watcher = watch(&events, 3);
    CHECK_OK(hmkv_store(kv, events.key, "after"));
    events_wait(&events, 1);
    CHECK_EVENT(&events, 0, PUT, "after");
    finish(watcher, &events);
  }
}

static void every_change_is_reported_in_order(void) {
  struct events events = EVENTS_OF(unique("key"));
  hmkv_watcher *watcher = watch(&events, 3);
  size_t count = (size_t)rounds(500, 50);
  for (size_t i = 0; i < count; i++) CHECK_OK(hmkv_store(kv, events.key, text("%zu", i)));
  events_wait(&events, count);
  for (size_t i = 0; i < count; i++) CHECK_EVENT(&events, i, PUT, text("%zu", i));
  finish(watcher, &events);
}

static void storing_an_equal_value_is_reported(void) {
  struct events events = EVENTS_OF(unique("key"));
  CHECK_OK(hmkv_store(kv, events.key, "same"));
  hmkv_watcher *watcher = watch(&events, 3);
  for (int i = 0; i < 3; i++) CHECK_OK(hmkv_store(kv, events.key, "same"));
  events_wait(&events, 3);
  CHECK_EVENT(&events, 2, PUT, "same");
  finish(watcher, &events);
}

static void an_empty_value_is_text_not_null(void) {
  struct events events = EVENTS_OF(unique("key"));
  hmkv_watcher *watcher = watch(&events, PUT);
  CHECK_OK(hmkv_store(kv, events.key, ""));
  events_wait(&events, 1);
  CHECK_EVENT(&events, 0, PUT, "");
  finish(watcher, &events);
}

static void mask_3_reports_puts_and_the_delete(void) {
  struct events events = EVENTS_OF(unique("key"));
  hmkv_watcher *watcher = watch(&events, PUT | DELETE);
  CHECK_OK(hmkv_store(kv, events.key, "a"));
  CHECK_OK(hmkv_delete(kv, events.key));
  events_wait(&events, 2);
  CHECK_EVENT(&events, 0, PUT, "a");
  CHECK_EVENT(&events, 1, DELETE, NULL);
  finish(watcher, &events);
}

static void mask_delete_reports_the_delete_alone(void) {
  struct events events = EVENTS_OF(unique("key"));
  hmkv_watcher *watcher = watch(&events, DELETE);
  CHECK_OK(hmkv_store(kv, events.key, "a"));
  CHECK_OK(hmkv_store(kv, events.key, "b"));
  CHECK_OK(hmkv_delete(kv, events.key));
  events_wait(&events, 1);
  CHECK_EVENT(&events, 0, DELETE, NULL);
  finish(watcher, &events);
}

static void any_other_mask_is_refused(void) {
  static const int32_t bad[] = {0, 4, 5, 7, 8, -1, INT32_MIN, INT32_MAX};
  struct events events = EVENTS_OF(unique("key"));
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    hmkv_watcher *watcher = (hmkv_watcher *)&watcher;
    CHECK_STATUS(HMKV_EINVAL, hmkv_watch_cb(kv, events.key, bad[i], events_record, &events, &watcher));
    CHECK(watcher == NULL);
  }
  struct events good = EVENTS_OF(events.key);
  hmkv_watcher *watcher = watch(&good, 3);
  CHECK_OK(hmkv_store(kv, events.key, "value"));
  events_wait(&good, 1);
  CHECK_INT(0, events_count(&events)); /* on failure the callback never runs */
  finish(watcher, &good);
}

static void changes_by_transaction_tas_and_temp_key_are_reported(void) {
  struct events events = EVENTS_OF(unique("key"));
  hmkv *owner = open_store(NULL);
  hmkv_watcher *watcher = watch(&events, 3);
  const char *key = events.key;
  CHECK_OK(hmkv_store(kv, key, "a"));
  CHECK_OK(hmkv_tas(kv, key, "a", "b"));
  CHECK_STATUS(HMKV_COMPARE_FAILED, hmkv_tas(kv, key, "x", "y"));
  CHECK_OK(hmkv_transaction(kv, key, "=", "b", key, "c", NULL, NULL));
  CHECK_STATUS(HMKV_COMPARE_FAILED, hmkv_transaction(kv, key, "=", "x", NULL, NULL, key, "d"));
  CHECK_OK(hmkv_temp_key(owner, key));
  close_store(owner);
  events_wait(&events, 6);
  for (size_t i = 0; i < 4; i++) CHECK_EVENT(&events, i, PUT, text("%c", (char)('a' + i)));
  CHECK_EVENT(&events, 4, PUT, "1");
  CHECK_EVENT(&events, 5, DELETE, NULL);
  finish(watcher, &events);
}

static void neighbours_of_the_key_are_not_reported(void) {
  struct events events = EVENTS_OF(unique("key"));
  hmkv_watcher *watcher = watch(&events, 3);
  CHECK_OK(hmkv_store(kv, text("%s2", events.key), "longer"));
  CHECK_OK(hmkv_store(kv, text("%.*s", (int)strlen(events.key) - 1, events.key), "shorter"));
  CHECK_OK(hmkv_store(kv, events.key, "it"));
  events_wait(&events, 1);
  CHECK_EVENT(&events, 0, PUT, "it");
  finish(watcher, &events);
}

static void the_key_is_copied(void) {
  struct events events = EVENTS_OF(unique("key"));
  char *copy = strdup(events.key);
  CHECK(copy);
  hmkv_watcher *watcher = NULL;
  CHECK_OK(hmkv_watch_cb(kv, copy, 3, events_record, &events, &watcher));
  memset(copy, 'x', strlen(copy));
  free(copy);
  CHECK_OK(hmkv_store(kv, events.key, "value"));
  events_wait(&events, 1); /* events_record() compares the key */
  finish(watcher, &events);
}

static atomic_int nulls;

static bool count_null(const char *key, const char *value, hmkv_keychange op, void *userdata) {
  (void)key, (void)value, (void)op;
  CHECK(userdata == NULL);
  atomic_fetch_add(&nulls, 1);
  return true;
}

static void userdata_may_be_null(void) {
  hmkv_watcher *watcher = NULL;
  const char *key = unique("key");
  CHECK_OK(hmkv_watch_cb(kv, key, 3, count_null, NULL, &watcher));
  CHECK_OK(hmkv_store(kv, key, "value"));
  WAIT_UNTIL(atomic_load(&nulls) == 1);
  CHECK_OK(hmkv_watch_cb_cancel(watcher));
}

static void a_dead_server_is_unavailable_within_the_timeout(void) {
  struct events events = EVENTS_OF("key");
  hmkv *dead = open_at(dead_endpoint(), "timeout=300ms");
  hmkv_watcher *watcher = (hmkv_watcher *)&watcher;
  CHECK_STATUS(HMKV_EUNAVAIL, hmkv_watch_cb(dead, "key", 3, events_record, &events, &watcher));
  CHECK(watcher == NULL);
  close_store(dead);
  CHECK_INT(0, events_count(&events));
}

static void a_value_with_a_nul_byte_arrives_as_put_with_null(void) {
  struct events events = EVENTS_OF(unique("key"));
  hmkv_watcher *watcher = watch(&events, 3);
  put_binary(events.key, "a\0b", 3);
  CHECK_OK(hmkv_store(kv, events.key, "text"));
  events_wait(&events, 2); /* and the watch goes on */
  CHECK_EVENT(&events, 0, PUT, NULL);
  CHECK_EVENT(&events, 1, PUT, "text");
  finish(watcher, &events);
}

static const struct test tests[] = {
    BOTH(when_it_returns_the_watch_is_registered),
    BOTH(a_change_by_another_handle_right_after_is_seen),
    BOTH(earlier_changes_are_not_reported),
    BOTH(every_change_is_reported_in_order),
    BOTH(storing_an_equal_value_is_reported),
    BOTH(an_empty_value_is_text_not_null),
    BOTH(mask_3_reports_puts_and_the_delete),
    BOTH(mask_delete_reports_the_delete_alone),
    BOTH(any_other_mask_is_refused),
    BOTH(changes_by_transaction_tas_and_temp_key_are_reported),
    BOTH(neighbours_of_the_key_are_not_reported),
    BOTH(the_key_is_copied),
    BOTH(userdata_may_be_null),
    BOTH(a_dead_server_is_unavailable_within_the_timeout),
    ETCD_ONLY(a_value_with_a_nul_byte_arrives_as_put_with_null),
};
TEST_MAIN(.begin = begin, .end = end)
