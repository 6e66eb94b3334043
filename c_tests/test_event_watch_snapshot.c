/* Event watches with a snapshot first. */
#include "changes.h"
#include "own_store.h"
#include "recorder.h"
#include "test.h"

enum { PUT = HMKV_EVENT_PUT, DELETE = HMKV_EVENT_DELETE, SYNCED = HMKV_EVENT_SYNCED };

static hmkv *kv;
static struct recorder recorder;

static void begin(void) {
  kv = open_store("timeout=20s");
  recorder = (struct recorder)RECORDER;
}

static void end(void) {
  recorder_free(&recorder);
  close_store(kv);
}

static hmkv_watcher *watch(const char *key, const hmkv_watch_opts *opts) {
  hmkv_watcher *watcher = NULL;
  CHECK_OK(hmkv_watch_open(kv, key, HMKV_NTS, opts, recorder_event, &recorder, &watcher));
  return watcher;
}

/* The snapshot of a range against the same range read at its revision. */
static void check_snapshot(const char *prefix, size_t count) {
  int64_t revision = recorder_at(&recorder, count).revision;
  CHECK_MARK(&recorder, count, SYNCED, revision);
  hmkv_result *range = hmkv_await(hmkv_range(
      kv, prefix, HMKV_NTS, HMKV_RANGE_OPTS(.prefix = 1, .revision = revision)));
  CHECK_OK(hmkv_result_status(range));
  CHECK_INT(count, hmkv_result_count(range));
  for (size_t i = 0; i < count; i++) {
    struct recorded event = recorder_at(&recorder, i);
    const hmkv_kv *entry = hmkv_result_kv(range, i); /* sorted by key too */
    CHECK_INT(PUT, event.type);
    CHECK(!event.last);
    CHECK_INT(revision, event.revision);
    CHECK_STR(entry->key, event.kv.key);
    CHECK_INT(entry->value_len, event.kv.value_len);
    CHECK(memcmp(entry->value, event.kv.value, entry->value_len) == 0);
    CHECK_INT(entry->create_revision, event.kv.create_revision);
    CHECK_INT(entry->mod_revision, event.kv.mod_revision);
    CHECK_INT(entry->version, event.kv.version);
    CHECK_INT(entry->lease, event.kv.lease);
    CHECK(event.prev.key == NULL);
  }
  hmkv_result_free(range);
}

static void first_what_is_there_sorted_by_key_then_synced_then_the_changes(void) {
  const char *prefix = unique("prefix"), *b = text("%s/b", prefix);
  hmkv_lease *lease = NULL;
  CHECK_OK(hmkv_lease_grant(kv, 60000, NULL, NULL, &lease));
  change_put(kv, text("%s/d", prefix), "d");
  change_put(kv, b, "old");
  change_done(hmkv_put(kv, text("%s/a", prefix), HMKV_NTS, "a\0\xff", 3,
                       HMKV_PUT_OPTS(.lease = hmkv_lease_id(lease))));
  change_put(kv, text("%s/c", prefix), "");
  change_put(kv, text("%s/e", prefix), "removed");
  change_remove(kv, text("%s/e", prefix));
  int64_t newest = change_put(kv, b, "b");
  hmkv_watcher *watcher = watch(prefix, HMKV_WATCH_OPTS(.prefix = 1, .snapshot = 1, .prev_kv = 1));
  int64_t removed = change_remove(kv, b), stored = change_put(kv, b, "new");
  recorder_wait(&recorder, 7);
  static const char *const names[] = {"a", "b", "c", "d"};
  for (size_t i = 0; i < 4; i++)
    CHECK_STR(text("%s/%s", prefix, names[i]), recorder_at(&recorder, i).kv.key);
  check_snapshot(prefix, 4);
  CHECK(recorder_at(&recorder, 4).revision >= newest);
  CHECK(recorder_at(&recorder, 4).revision < removed);
  CHECK_DELETE(&recorder, 5, b, removed);
  CHECK_STR("b", recorder_at(&recorder, 5).prev.value);
  CHECK_PUT(&recorder, 6, b, "new", stored);
  CHECK_OK(hmkv_watch_close(watcher));
  recorder_check_order(&recorder);
  recorder_check_versions(&recorder);
  recorder_check_view(&recorder, kv, prefix);
  CHECK_OK(hmkv_lease_close(lease, true));
}

static void a_range_without_keys_is_synced_at_once(void) {
  const char *prefix = unique("prefix");
  int64_t now = newest_revision(kv);
  hmkv_watcher *watcher = watch(prefix, HMKV_WATCH_OPTS(.prefix = 1, .snapshot = 1));
  recorder_wait(&recorder, 1);
  CHECK_INT(SYNCED, recorder_at(&recorder, 0).type);
  CHECK(recorder_at(&recorder, 0).revision >= now);
  int64_t revision = change_put(kv, prefix, "value");
  recorder_wait(&recorder, 2);
  CHECK_PUT(&recorder, 1, prefix, "value", revision);
  CHECK(recorder_at(&recorder, 0).revision < revision);
  CHECK_OK(hmkv_watch_close(watcher));
}

static void the_snapshot_of_a_key_is_the_key(void) {
  const char *key = unique("key");
  change_put(kv, text("%s/", key), "below");
  hmkv_watcher *watcher = watch(key, HMKV_WATCH_OPTS(.snapshot = 1));
  recorder_wait(&recorder, 1);
  CHECK_INT(SYNCED, recorder_at(&recorder, 0).type);
  int64_t revision = change_put(kv, key, "value");
  recorder_wait(&recorder, 2);
  CHECK_OK(hmkv_watch_close(watcher));
  recorder_free(&recorder);
  watcher = watch(key, HMKV_WATCH_OPTS(.snapshot = 1));
  recorder_wait(&recorder, 2);
  CHECK_STR("value", recorder_at(&recorder, 0).kv.value);
  CHECK_INT(revision, recorder_at(&recorder, 0).kv.mod_revision);
  CHECK(recorder_at(&recorder, 1).revision >= revision);
  CHECK_OK(hmkv_watch_close(watcher));
}

static void without_puts_and_deletes_the_snapshot_is_delivered_all_the_same(void) {
  const char *prefix = unique("prefix"), *a = text("%s/a", prefix);
  change_put(kv, a, "a");
  change_put(kv, text("%s/b", prefix), "b");
  hmkv_watcher *watcher = watch(prefix, HMKV_WATCH_OPTS(.prefix = 1, .snapshot = 1, .no_put = 1));
  change_put(kv, a, "not told");
  int64_t removed = change_remove(kv, a);
  recorder_wait(&recorder, 4);
  check_snapshot(prefix, 2);
  CHECK_DELETE(&recorder, 3, a, removed);
  CHECK_OK(hmkv_watch_close(watcher));
  recorder_free(&recorder);
  watcher = watch(prefix, HMKV_WATCH_OPTS(.prefix = 1, .snapshot = 1, .no_put = 1, .no_delete = 1));
  change_put(kv, a, "not told");
  change_remove(kv, a);
  recorder_wait(&recorder, 2);
  check_snapshot(prefix, 1);
  HOLDS_FOR(100, recorder_count(&recorder) == 2);
  CHECK_OK(hmkv_watch_close(watcher));
}

static void binary_keys_are_sorted_bytewise_shorter_first(void) {
  static const struct {
    const char *bytes;
    size_t length;
  } sorted[] = {{"\0", 1}, {"\0\0", 2}, {"\0\0\x01", 3}, {"\x01", 1}, {"A", 1}, {"A\0", 2},
                {"A\0B", 3}, {"AA", 2}, {"a", 1}, {"\x7f", 1}, {"\x80", 1}, {"\xff\0", 2},
                {"\xff\xff", 2}};
  enum { COUNT = sizeof sorted / sizeof *sorted };
  struct own_store own;
  own_store_open(&own, NULL);
  hmkv_watcher *watcher = NULL;
  for (int i = COUNT - 1; i >= 0; i--)
    change_done(hmkv_put(own.kv, sorted[i].bytes, sorted[i].length, "value", 5, NULL));
  CHECK_OK(hmkv_watch_open(own.kv, "", 0, HMKV_WATCH_OPTS(.prefix = 1, .snapshot = 1),
                           recorder_event, &recorder, &watcher));
  recorder_wait(&recorder, COUNT + 1);
  for (size_t i = 0; i < COUNT; i++) {
    struct recorded event = recorder_at(&recorder, i);
    CHECK_INT(PUT, event.type);
    CHECK_INT(sorted[i].length, event.kv.key_len);
    CHECK(memcmp(sorted[i].bytes, event.kv.key, sorted[i].length) == 0);
  }
  CHECK_INT(SYNCED, recorder_at(&recorder, COUNT).type);
  CHECK_OK(hmkv_watch_close(watcher));
  own_store_close(&own);
}

static void put_many(const char *prefix, int keys, size_t size) {
  char *value = malloc(size);
  CHECK(value);
  for (int done = 0; done < keys;) {
    hmkv_txn *txn = hmkv_txn_new(kv);
    for (int i = 0; i < 100 && done < keys; i++, done++) {
      memset(value, 'a' + done % 26, size);
      hmkv_txn_put(txn, HMKV_THEN, text("%s/%06d", prefix, done), HMKV_NTS, value, size, NULL);
    }
    change_done(hmkv_txn_commit(txn, NULL));
  }
  free(value);
}

static void a_snapshot_may_be_larger_than_what_may_wait(void) {
  const char *prefix = unique("prefix");
  int keys = rounds(6000, 600);
  put_many(prefix, keys, 5000); /* 30 MB in all */
  struct gate gate = GATE_CLOSED;
  recorder.hold = &gate;
  hmkv_watcher *watcher =
      watch(prefix, HMKV_WATCH_OPTS(.prefix = 1, .snapshot = 1, .queue_max = 10));
  WAIT_UNTIL(atomic_load(&recorder.entered) == 1);
  int64_t revision = change_put(kv, prefix, "later");
  gate_open(&gate);
  recorder_wait(&recorder, (size_t)keys + 2);
  check_snapshot(text("%s/", prefix), (size_t)keys);
  CHECK_PUT(&recorder, (size_t)keys + 1, prefix, "later", revision);
  CHECK_OK(hmkv_watch_close(watcher));
}

/* The last event ends a revision, a snapshot or a difference. */
static bool is_at_an_end(void) {
  struct recorded event = recorder_at(&recorder, recorder_count(&recorder) - 1);
  return event.last || event.type == SYNCED || event.type == HMKV_EVENT_RESYNC;
}

/* What is not taken of it when changes come is told as the policy says, and ends with
 * SYNCED all the same. */
static void a_snapshot_that_is_overrun_is_completed(void) {
  for (int32_t policy = HMKV_OVERFLOW_RESUME; policy < HMKV_OVERFLOW_END; policy++) {
    const char *prefix = unique("prefix");
    hmkv_watcher *watcher = NULL;
    put_many(prefix, 500, 10);
    CHECK_OK(hmkv_watch_open(kv, prefix, HMKV_NTS,
                             HMKV_WATCH_OPTS(.prefix = 1, .snapshot = 1, .queue_max = 8,
                                             .on_overflow = policy),
                             NULL, NULL, &watcher));
    recorder_pull(&recorder, watcher, 10);
    for (int i = 0; i < 50; i++) change_put(kv, text("%s/%06d", prefix, 10 * i), "new");
    for (int i = 0; i < 50; i++) change_remove(kv, text("%s/%06d", prefix, 10 * i + 5));
    const char *last = text("%s/last", prefix);
    change_put(kv, last, "value");
    while (recorder_count_of(&recorder, SYNCED) == 0 || !recorder_last_of(&recorder, last).type ||
           !is_at_an_end())
      recorder_pull(&recorder, watcher, recorder_count(&recorder) + 1);
    CHECK_OK(hmkv_watch_close(watcher));
    CHECK_INT(1, recorder_count_of(&recorder, SYNCED));
    recorder_check_view(&recorder, kv, prefix);
    if (policy == HMKV_OVERFLOW_RESUME) recorder_check_versions(&recorder);
    recorder_free(&recorder);
  }
}

/* ---- the seam ---- */

static void nothing_is_missed_or_doubled_between_the_snapshot_and_the_changes(void) {
  const char *prefix = unique("prefix");
  struct changer changers[2] = {{0}};
  hmkv *writer = open_store("timeout=20s");
  for (int i = 0; i < 2; i++) {
    changers[i].kv = i ? writer : kv;
    changers[i].prefix = prefix;
    changers[i].seed = (unsigned)i + 1;
    changers[i].pause_ms = i;
    changer_start(&changers[i]);
  }
  for (int i = 0; i < rounds(60, 10); i++) {
    int before = atomic_load(&changers[0].changes);
    hmkv_watcher *watcher = NULL;
    bool pull = i % 2;
    CHECK_OK(hmkv_watch_open(kv, prefix, HMKV_NTS, HMKV_WATCH_OPTS(.prefix = 1, .snapshot = 1),
                             pull ? NULL : recorder_event, &recorder, &watcher));
    if (pull) recorder_pull(&recorder, watcher, 40);
    WAIT_UNTIL(recorder_count(&recorder) >= 40);
    WAIT_UNTIL(atomic_load(&changers[0].changes) > before);
    CHECK_OK(hmkv_watch_close(watcher));
    CHECK_INT(1, recorder_count_of(&recorder, SYNCED));
    recorder_check_versions(&recorder);
    recorder_free(&recorder);
  }
  hmkv_watcher *watcher = watch(prefix, HMKV_WATCH_OPTS(.prefix = 1, .snapshot = 1));
  WAIT_UNTIL(recorder_count(&recorder) >= 200);
  for (int i = 0; i < 2; i++) changer_stop(&changers[i]);
  const char *last = text("%s_last", prefix);
  change_put(kv, last, "value");
  WAIT_UNTIL(recorder_last_of(&recorder, last).type == PUT);
  CHECK_OK(hmkv_watch_close(watcher));
  recorder_check_order(&recorder);
  recorder_check_versions(&recorder);
  recorder_check_view(&recorder, kv, prefix);
  close_store(writer);
}

static const struct test tests[] = {
    BOTH(first_what_is_there_sorted_by_key_then_synced_then_the_changes),
    BOTH(a_range_without_keys_is_synced_at_once),
    BOTH(the_snapshot_of_a_key_is_the_key),
    BOTH(without_puts_and_deletes_the_snapshot_is_delivered_all_the_same),
    BOTH(binary_keys_are_sorted_bytewise_shorter_first),
    BOTH(a_snapshot_may_be_larger_than_what_may_wait),
    BOTH(a_snapshot_that_is_overrun_is_completed),
    BOTH(nothing_is_missed_or_doubled_between_the_snapshot_and_the_changes),
};
TEST_MAIN(.begin = begin, .end = end)
