/* hmkv_watch_cb: how a watch ends. */
#include "events.h"
#include "test.h"

enum { PUT = HMKV_KEYCHANGE_PUT, DELETE = HMKV_KEYCHANGE_DELETE };

static hmkv *kv;

static void begin(void) { kv = open_store(NULL); }

static void end(void) {
  if (kv) close_store(kv);
}

static hmkv_watcher *watch(struct events *events, int32_t mask) {
  hmkv_watcher *watcher = NULL;
  CHECK_OK(hmkv_watch_cb(kv, events->key, mask, events_record, events, &watcher));
  return watcher;
}

/* Changes the key and lets another watch see each change: the watches that still
 * run have then had the time to do the same. */
static void change_and_let_others_see(const char *key) {
  for (int i = 0; i < 20; i++) {
    struct events witness = EVENTS_OF(key);
    hmkv_watcher *watcher = watch(&witness, 3);
    CHECK_OK(hmkv_store(kv, key, text("later %d", i)));
    events_wait(&witness, 1);
    CHECK_OK(hmkv_watch_cb_cancel(watcher));
    events_free(&witness);
  }
}

/* It reports nothing more, and its watcher is still valid, once. */
static void is_over(hmkv_watcher *watcher, struct events *events) {
  size_t before = events_count(events);
  change_and_let_others_see(events->key);
  CHECK_OK(hmkv_watch_cb_cancel(watcher));
  CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_cb_cancel(watcher));
  CHECK_INT(before, events_count(events));
  events_free(events);
}

static void it_ends_when_the_callback_returns_false(void) {
  struct events events = EVENTS_OF(unique("key"));
  events.end_after = 2;
  hmkv_watcher *watcher = watch(&events, 3);
  for (int i = 1; i <= 5; i++) CHECK_OK(hmkv_store(kv, events.key, text("%d", i)));
  events_wait(&events, 2);
  CHECK_EVENT(&events, 1, PUT, "2");
  is_over(watcher, &events);
}

static void it_ends_when_the_key_is_deleted(void) {
  struct events events = EVENTS_OF(unique("key"));
  hmkv_watcher *watcher = watch(&events, 3);
  CHECK_OK(hmkv_store(kv, events.key, "a"));
  CHECK_OK(hmkv_delete(kv, events.key));
  CHECK_OK(hmkv_store(kv, events.key, "b"));
  events_wait(&events, 2);
  CHECK_EVENT(&events, 1, DELETE, NULL);
  is_over(watcher, &events);
}

static void a_watch_for_deletes_ends_with_the_delete(void) {
  struct events events = EVENTS_OF(unique("key"));
  hmkv_watcher *watcher = watch(&events, DELETE);
  CHECK_OK(hmkv_store(kv, events.key, "a"));
  CHECK_OK(hmkv_delete(kv, events.key));
  events_wait(&events, 1);
  CHECK_OK(hmkv_store(kv, events.key, "b"));
  CHECK_OK(hmkv_delete(kv, events.key));
  is_over(watcher, &events);
}

static void a_watch_for_puts_ends_silently_with_the_delete(void) {
  struct events events = EVENTS_OF(unique("key"));
  hmkv_watcher *watcher = watch(&events, PUT);
  CHECK_OK(hmkv_store(kv, events.key, "a"));
  CHECK_OK(hmkv_delete(kv, events.key));
  CHECK_OK(hmkv_store(kv, events.key, "b"));
  events_wait(&events, 1);
  is_over(watcher, &events);
}

static void deleting_an_absent_key_does_not_end_it(void) {
  struct events events = EVENTS_OF(unique("key"));
  hmkv_watcher *watcher = watch(&events, 3);
  CHECK_OK(hmkv_delete(kv, events.key));
  CHECK_OK(hmkv_store(kv, events.key, "a"));
  events_wait(&events, 1);
  CHECK_EVENT(&events, 0, PUT, "a");
  CHECK_OK(hmkv_watch_cb_cancel(watcher));
  events_free(&events);
}

static void it_ends_when_it_is_cancelled(void) {
  struct events events = EVENTS_OF(unique("key"));
  hmkv_watcher *watcher = watch(&events, 3);
  CHECK_OK(hmkv_store(kv, events.key, "a"));
  events_wait(&events, 1);
  CHECK_OK(hmkv_watch_cb_cancel(watcher));
  change_and_let_others_see(events.key);
  CHECK_INT(1, events_count(&events));
  events_free(&events);
}

static void it_ends_when_the_store_is_closed(void) {
  struct events events = EVENTS_OF(unique("key"));
  hmkv_watcher *watcher = watch(&events, 3);
  CHECK_OK(hmkv_store(kv, events.key, "a"));
  events_wait(&events, 1);
  close_store(kv);
  kv = open_store(NULL);
  change_and_let_others_see(events.key);
  CHECK_INT(1, events_count(&events));
  CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_cb_cancel(watcher));
  events_free(&events);
}

static void closing_makes_no_last_call(void) {
  for (int i = 0; i < rounds(100, 20); i++) {
    hmkv *other = open_store(NULL);
    struct events events = EVENTS_OF(unique("key"));
    hmkv_watcher *watcher = NULL;
    CHECK_OK(hmkv_watch_cb(other, events.key, 3, events_record, &events, &watcher));
    close_store(other);
    CHECK_INT(0, events_count(&events));
  }
}

static void one_watch_ends_and_the_others_of_the_key_go_on(void) {
  const char *key = unique("key");
  struct events first = EVENTS_OF(key), second = EVENTS_OF(key);
  first.end_after = 1;
  hmkv_watcher *ends = watch(&first, 3), *stays = watch(&second, 3);
  for (int i = 0; i < 10; i++) CHECK_OK(hmkv_store(kv, key, text("%d", i)));
  events_wait(&second, 10);
  events_wait(&first, 1);
  CHECK_OK(hmkv_watch_cb_cancel(ends));
  CHECK_OK(hmkv_watch_cb_cancel(stays));
  events_free(&first);
  events_free(&second);
}

static void a_new_watch_can_follow_an_ended_one(void) {
  const char *key = unique("key");
  for (int i = 0; i < rounds(100, 20); i++) {
    struct events events = EVENTS_OF(key);
    hmkv_watcher *watcher = watch(&events, 3);
    CHECK_OK(hmkv_store(kv, key, "a"));
    CHECK_OK(hmkv_delete(kv, key));
    events_wait(&events, 2);
    CHECK_EVENT(&events, 0, PUT, "a");
    CHECK_EVENT(&events, 1, DELETE, NULL);
    CHECK_OK(hmkv_watch_cb_cancel(watcher));
    events_free(&events);
  }
}

static const struct test tests[] = {
    BOTH(it_ends_when_the_callback_returns_false),
    BOTH(it_ends_when_the_key_is_deleted),
    BOTH(a_watch_for_deletes_ends_with_the_delete),
    BOTH(a_watch_for_puts_ends_silently_with_the_delete),
    BOTH(deleting_an_absent_key_does_not_end_it),
    BOTH(it_ends_when_it_is_cancelled),
    BOTH(it_ends_when_the_store_is_closed),
    BOTH(closing_makes_no_last_call),
    BOTH(one_watch_ends_and_the_others_of_the_key_go_on),
    BOTH(a_new_watch_can_follow_an_ended_one),
};
TEST_MAIN(.begin = begin, .end = end)
