/* Event watches: whole revisions, in order, none lost, none twice; and their callbacks. */
#include "changes.h"
#include "recorder.h"
#include "test.h"

static hmkv *kv;
static struct recorder recorder;
static hmkv_watcher *watcher;

static void begin(void) {
  kv = open_store("timeout=20s");
  recorder = (struct recorder)RECORDER;
}

static void end(void) {
  recorder_free(&recorder);
  close_store(kv);
}

static hmkv_watcher *watch(struct recorder *into, const char *key, const hmkv_watch_opts *opts) {
  hmkv_watcher *opened = NULL;
  CHECK_OK(hmkv_watch_open(kv, key, HMKV_NTS, opts, recorder_event, into, &opened));
  return opened;
}

static void no_change_after_the_call_is_missed(void) {
  const char *prefix = unique("prefix");
  hmkv *writer = open_store("timeout=20s"); /* over connections of its own */
  for (int i = 0; i < rounds(100, 20); i++) {
    struct recorder one = RECORDER;
    const char *key = text("%s/%d", prefix, i % 10);
    change_put(writer, key, "before");
    watcher = watch(&one, prefix, HMKV_WATCH_OPTS(.prefix = 1));
    int64_t first = change_put(writer, key, "first"), second = change_remove(writer, key);
    recorder_wait(&one, 2);
    CHECK_PUT(&one, 0, key, "first", first);
    CHECK_DELETE(&one, 1, key, second);
    CHECK_OK(hmkv_watch_close(watcher));
    recorder_free(&one);
  }
  close_store(writer);
}

static void whole_revisions_come_in_order_while_many_write(void) {
  enum { CHANGERS = 3, WATCHERS = 4 };
  const char *prefix = unique("prefix");
  struct recorder recorders[WATCHERS] = {RECORDER, RECORDER, RECORDER, RECORDER};
  struct changer changers[CHANGERS] = {{0}};
  hmkv_watcher *watchers[WATCHERS];
  for (int i = 0; i < WATCHERS; i++)
    watchers[i] = watch(&recorders[i], prefix,
                        HMKV_WATCH_OPTS(.prefix = 1, .prev_kv = i == 3, .snapshot = i == 2));
  for (int i = 0; i < CHANGERS; i++) {
    changers[i].kv = kv;
    changers[i].prefix = prefix;
    changers[i].seed = (unsigned)i;
    changer_start(&changers[i]);
  }
  WAIT_UNTIL(atomic_load(&changers[0].changes) >= rounds(1000, 100));
  for (int i = 0; i < CHANGERS; i++) changer_stop(&changers[i]);
  const char *last = text("%s_last", prefix);
  change_put(kv, last, "value");
  for (int i = 0; i < WATCHERS; i++) WAIT_UNTIL(recorder_last_of(&recorders[i], last).type);
  size_t count = recorder_count(&recorders[0]);
  CHECK(count >= (size_t)atomic_load(&changers[0].changes) / 2);
  for (int i = 0; i < WATCHERS; i++) {
    CHECK_OK(hmkv_watch_close(watchers[i]));
    recorder_check_order(&recorders[i]);
    recorder_check_versions(&recorders[i]);
    recorder_check_view(&recorders[i], kv, prefix);
  }
  recorder_check_equal(&recorders[0], 0, &recorders[1], 0, count);
  CHECK_INT(count, recorders[1].events.count);
  CHECK_INT(count + 1, recorders[2].events.count);
  recorder_check_equal(&recorders[0], 0, &recorders[2], 1, count); /* after SYNCED */
  /* What was there before is what the last event of the key brought. */
  CHECK_INT(count, recorders[3].events.count);
  for (size_t i = 0; i < count; i++) {
    struct recorded event = recorder_at(&recorders[3], i), before = {0};
    for (size_t j = i; j > 0 && !before.type; j--)
      if (strcmp(recorders[3].events.items[j - 1].kv.key, event.kv.key) == 0)
        before = recorders[3].events.items[j - 1];
    CHECK_INT(before.type == HMKV_EVENT_PUT, event.prev.key != NULL);
    if (!event.prev.key) continue;
    CHECK_STR(before.kv.value, event.prev.value);
    CHECK_INT(before.kv.mod_revision, event.prev.mod_revision);
    CHECK_INT(before.kv.version, event.prev.version);
  }
  for (int i = 0; i < WATCHERS; i++) recorder_free(&recorders[i]);
}

static void watches_of_overlapping_ranges_hear_of_their_own_each(void) {
  const char *prefix = unique("prefix"), *b = text("%s/b", prefix), *c = text("%s/c", prefix);
  struct recorder key = RECORDER, range = RECORDER;
  hmkv_watcher *all = watch(&recorder, prefix, HMKV_WATCH_OPTS(.prefix = 1));
  hmkv_watcher *one = watch(&key, b, NULL);
  hmkv_watcher *two = watch(&range, b, HMKV_WATCH_OPTS(.end = c, .end_len = HMKV_NTS));
  hmkv_txn *txn = hmkv_txn_new(kv);
  hmkv_txn_put(txn, HMKV_THEN, b, HMKV_NTS, "1", 1, NULL);
  hmkv_txn_put(txn, HMKV_THEN, text("%s2", b), HMKV_NTS, "2", 1, NULL);
  hmkv_txn_put(txn, HMKV_THEN, c, HMKV_NTS, "3", 1, NULL);
  int64_t revision = change_done(hmkv_txn_commit(txn, NULL)), next = change_put(kv, b, "4");
  recorder_wait(&recorder, 4);
  recorder_wait(&key, 2);
  recorder_wait(&range, 3);
  CHECK_CHANGE(&recorder, 1, HMKV_EVENT_PUT, text("%s2", b), "2", revision, false);
  CHECK_CHANGE(&recorder, 2, HMKV_EVENT_PUT, c, "3", revision, true);
  /* Of each watch what it delivers is the last of the revision. */
  CHECK_PUT(&key, 0, b, "1", revision);
  CHECK_PUT(&key, 1, b, "4", next);
  CHECK_CHANGE(&range, 0, HMKV_EVENT_PUT, b, "1", revision, false);
  CHECK_CHANGE(&range, 1, HMKV_EVENT_PUT, text("%s2", b), "2", revision, true);
  CHECK_PUT(&range, 2, b, "4", next);
  CHECK_OK(hmkv_watch_close(all));
  CHECK_OK(hmkv_watch_close(one));
  CHECK_OK(hmkv_watch_close(two));
  recorder_free(&key);
  recorder_free(&range);
}

static void a_revision_may_have_any_number_of_events(void) {
  const char *prefix = unique("prefix");
  int keys = rounds(6000, 600); /* more than wait for a consumer by default */
  for (int done = 0; done < keys;) {
    hmkv_txn *txn = hmkv_txn_new(kv);
    for (int i = 0; i < 100; i++, done++)
      hmkv_txn_put(txn, HMKV_THEN, text("%s/%05d", prefix, done), HMKV_NTS, "value", 5, NULL);
    change_done(hmkv_txn_commit(txn, NULL));
  }
  watcher = watch(&recorder, prefix, HMKV_WATCH_OPTS(.prefix = 1, .prev_kv = 1));
  int64_t revision = change_remove_prefix(kv, prefix);
  int64_t next = change_put(kv, prefix, "next");
  recorder_wait(&recorder, (size_t)keys + 1);
  for (size_t i = 0; i < (size_t)keys; i++) {
    CHECK_CHANGE(&recorder, i, HMKV_EVENT_DELETE, text("%s/%05zu", prefix, i), "", revision,
                 i == (size_t)keys - 1);
    CHECK_STR("value", recorder_at(&recorder, i).prev.value);
  }
  CHECK_PUT(&recorder, (size_t)keys, prefix, "next", next);
  CHECK_OK(hmkv_watch_close(watcher));
}

/* ---- callbacks ---- */

static void a_callback_that_blocks_delays_only_its_own_watch(void) {
  const char *key = unique("key");
  struct gate gate = GATE_CLOSED;
  struct recorder blocked = RECORDER;
  blocked.hold = &gate;
  hmkv_watcher *one = watch(&blocked, key, NULL), *two = watch(&recorder, key, NULL);
  for (int i = 0; i < 50; i++) change_put(kv, key, text("%d", i));
  recorder_wait(&recorder, 50);
  WAIT_UNTIL(atomic_load(&blocked.entered) == 1);
  CHECK_INT(0, recorder_count(&blocked));
  gate_open(&gate);
  recorder_wait(&blocked, 50);
  recorder_check_equal(&blocked, 0, &recorder, 0, 50);
  CHECK_OK(hmkv_watch_close(one));
  CHECK_OK(hmkv_watch_close(two));
  recorder_free(&blocked);
}

static void after_close_no_event_comes(void) {
  const char *key = unique("key");
  struct recorder witness = RECORDER;
  hmkv_watcher *closed = watch(&recorder, key, NULL), *other = watch(&witness, key, NULL);
  CHECK_OK(hmkv_watch_close(closed));
  CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_close(closed));
  for (int i = 0; i < 20; i++) change_put(kv, key, "value");
  recorder_wait(&witness, 20);
  CHECK_INT(0, recorder_count(&recorder)); /* nor one of type END */
  CHECK_OK(hmkv_watch_close(other));
  recorder_free(&witness);
}

struct opener {
  const char *key, *inner_key;
  struct recorder inner;
  hmkv_watcher *own, *opened;
  struct gate known;
  atomic_int calls;
};

static void call_the_library(const hmkv_event *event, void *userdata) {
  struct opener *opener = userdata;
  gate_pass(&opener->known);
  CHECK_STR(opener->key, event->kv->key);
  CHECK_VALUE(kv, opener->key, "value");
  CHECK_STATUS(HMKV_EINCALLBACK, hmkv_close(kv));
  CHECK_OK(hmkv_watch_open(kv, opener->inner_key, HMKV_NTS, HMKV_WATCH_OPTS(.snapshot = 1),
                           recorder_event, &opener->inner, &opener->opened));
  change_put(kv, opener->inner_key, "from the callback");
  recorder_wait(&opener->inner, 2); /* others are called meanwhile */
  CHECK_OK(hmkv_watch_close(opener->own));
  CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_close(opener->own));
  CHECK_STR(opener->key, event->kv->key); /* it lives until the callback returns */
  CHECK_STR("value", event->kv->value);
  atomic_fetch_add(&opener->calls, 1);
}

static void a_callback_may_make_any_call_but_closing_its_own_store(void) {
  struct opener opener = {.key = unique("key"), .inner_key = unique("inner"), .inner = RECORDER,
                          .known = GATE_CLOSED};
  CHECK_OK(hmkv_watch_open(kv, opener.key, HMKV_NTS, NULL, call_the_library, &opener, &opener.own));
  gate_open(&opener.known);
  change_put(kv, opener.key, "value");
  WAIT_UNTIL(atomic_load(&opener.calls) == 1);
  watcher = watch(&recorder, opener.key, NULL);
  for (int i = 0; i < 20; i++) change_put(kv, opener.key, "later");
  recorder_wait(&recorder, 20);
  CHECK_INT(1, atomic_load(&opener.calls)); /* it ended with that call */
  CHECK_OK(hmkv_watch_close(opener.opened));
  CHECK_OK(hmkv_watch_close(watcher));
  CHECK_INT(HMKV_EVENT_SYNCED, recorder_at(&opener.inner, 0).type);
  CHECK_STR("from the callback", recorder_at(&opener.inner, 1).kv.value);
  recorder_free(&opener.inner);
}

static const struct test tests[] = {
    BOTH(no_change_after_the_call_is_missed),
    BOTH(whole_revisions_come_in_order_while_many_write),
    BOTH(watches_of_overlapping_ranges_hear_of_their_own_each),
    BOTH(a_revision_may_have_any_number_of_events),
    BOTH(a_callback_that_blocks_delays_only_its_own_watch),
    BOTH(after_close_no_event_comes),
    BOTH(a_callback_may_make_any_call_but_closing_its_own_store),
};
TEST_MAIN(.begin = begin, .end = end)
