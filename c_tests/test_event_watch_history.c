/* Event watches from a revision on: what was, and what is yet to come. */
#include "changes.h"
#include "own_store.h"
#include "recorder.h"
#include "test.h"

static struct own_store own;
static hmkv *kv;
static struct recorder recorder, replayed;

static void begin(void) {
  own_store_open(&own, "timeout=20s");
  kv = own.kv;
  recorder = (struct recorder)RECORDER;
  replayed = (struct recorder)RECORDER;
}

static void end(void) {
  recorder_free(&recorder);
  recorder_free(&replayed);
  own_store_close(&own);
}

static hmkv_watcher *watch(struct recorder *into, const char *key, const hmkv_watch_opts *opts) {
  hmkv_watcher *watcher = NULL;
  CHECK_OK(hmkv_watch_open(kv, key, HMKV_NTS, opts, recorder_event, into, &watcher));
  return watcher;
}

/* Records `changes` changes of "k/" by a watch that is there from the beginning. */
static void make_history(int changes, const hmkv_watch_opts *opts) {
  unsigned seed = 7;
  hmkv_watcher *watcher = watch(&recorder, "k/", opts);
  for (int i = 0; i < changes; i++) change_something(kv, "k/", &seed);
  int64_t revision = change_put(kv, "k/last", "value");
  WAIT_UNTIL(recorder_last_of(&recorder, "k/last").type);
  CHECK_INT(revision, recorder_last_of(&recorder, "k/last").revision);
  CHECK_OK(hmkv_watch_close(watcher));
  recorder_check_order(&recorder);
}

static void every_change_from_the_revision_on_is_delivered(void) {
  make_history(rounds(300, 60), HMKV_WATCH_OPTS(.prefix = 1, .prev_kv = 1));
  size_t count = recorder_count(&recorder);
  int64_t first = recorder_at(&recorder, 0).revision;
  hmkv_watcher *watcher =
      watch(&replayed, "k/", HMKV_WATCH_OPTS(.prefix = 1, .prev_kv = 1, .start_revision = first));
  recorder_wait(&replayed, count);
  recorder_check_equal(&recorder, 0, &replayed, 0, count);
  int64_t live = change_put(kv, "k/last", "and it goes on");
  recorder_wait(&replayed, count + 1);
  CHECK_PUT(&replayed, count, "k/last", "and it goes on", live);
  CHECK_OK(hmkv_watch_close(watcher));
  recorder_check_order(&replayed);
  recorder_check_versions(&replayed);
}

static void it_begins_with_exactly_that_revision(void) {
  make_history(rounds(60, 20), HMKV_WATCH_OPTS(.prefix = 1));
  size_t count = recorder_count(&recorder), step = (size_t)rounds(3, 9);
  for (size_t i = 0; i < count; i += step) {
    int64_t start = recorder_at(&recorder, i).revision;
    size_t from = i; /* the first event of that revision */
    while (from > 0 && recorder_at(&recorder, from - 1).revision == start) from--;
    hmkv_watcher *watcher =
        watch(&replayed, "k/", HMKV_WATCH_OPTS(.prefix = 1, .start_revision = start));
    recorder_wait(&replayed, count - from);
    recorder_check_equal(&recorder, from, &replayed, 0, count - from);
    CHECK_OK(hmkv_watch_close(watcher));
    recorder_free(&replayed);
  }
}

static void the_history_of_a_key_is_its_own_changes_alone(void) {
  make_history(rounds(200, 40), HMKV_WATCH_OPTS(.prefix = 1));
  hmkv_watcher *watcher = watch(&replayed, "k/4", HMKV_WATCH_OPTS(.start_revision = 1));
  change_put(kv, "k/4", "the end");
  WAIT_UNTIL(recorder_count(&replayed) > 0);
  WAIT_UNTIL(strcmp(recorder_last_of(&replayed, "k/4").kv.value, "the end") == 0);
  CHECK_OK(hmkv_watch_close(watcher));
  size_t found = 0;
  for (size_t i = 0; i < recorder_count(&recorder); i++) {
    struct recorded event = recorder_at(&recorder, i);
    if (strcmp(event.kv.key, "k/4") != 0) continue;
    CHECK_CHANGE(&replayed, found, event.type, "k/4", event.kv.value, event.revision, true);
    CHECK_INT(event.kv.version, recorder_at(&replayed, found).kv.version);
    found++;
  }
  CHECK_INT(found + 1, recorder_count(&replayed));
}

static void filters_hold_for_the_history_too(void) {
  make_history(rounds(200, 40), HMKV_WATCH_OPTS(.prefix = 1));
  hmkv_watcher *watcher = watch(
      &replayed, "k/", HMKV_WATCH_OPTS(.prefix = 1, .no_put = 1, .start_revision = 1));
  size_t deletes = recorder_count_of(&recorder, HMKV_EVENT_DELETE);
  CHECK(deletes > 0);
  change_remove(kv, "k/last");
  recorder_wait(&replayed, deletes + 1);
  CHECK_OK(hmkv_watch_close(watcher));
  CHECK_INT(deletes + 1, recorder_count_of(&replayed, HMKV_EVENT_DELETE));
  recorder_check_order(&replayed); /* also of last_of_revision */
}

static void the_history_goes_over_into_the_changes_without_a_seam(void) {
  struct changer changer = {.kv = kv, .prefix = "k/", .seed = 3, .pause_ms = 1};
  hmkv_watcher *watcher = watch(&recorder, "k/", HMKV_WATCH_OPTS(.prefix = 1));
  changer_start(&changer);
  WAIT_UNTIL(recorder_count(&recorder) > 0);
  for (int i = 0; i < rounds(20, 4); i++) {
    int before = atomic_load(&changer.changes);
    WAIT_UNTIL(atomic_load(&changer.changes) >= before + 10);
    hmkv_watcher *late =
        watch(&replayed, "k/", HMKV_WATCH_OPTS(.prefix = 1, .start_revision = 1));
    WAIT_UNTIL(recorder_count(&replayed) > recorder_count(&recorder) / 2);
    WAIT_UNTIL(atomic_load(&changer.changes) >= before + 20);
    size_t count = recorder_count(&recorder);
    WAIT_UNTIL(recorder_count(&replayed) >= count);
    CHECK_OK(hmkv_watch_close(late));
    recorder_check_equal(&recorder, 0, &replayed, 0, count);
    recorder_check_versions(&replayed);
    recorder_free(&replayed);
  }
  changer_stop(&changer);
  CHECK_OK(hmkv_watch_close(watcher));
}

static void a_revision_that_is_yet_to_come_is_waited_for(void) {
  int64_t now = change_put(kv, "k/1", "old");
  hmkv_watcher *watcher = watch(
      &recorder, "k/", HMKV_WATCH_OPTS(.prefix = 1, .start_revision = now + 4));
  for (int i = 1; i <= 3; i++) CHECK_INT(now + i, change_put(kv, "k/1", "too early"));
  CHECK_INT(now + 4, change_put(kv, "k/2", "in time"));
  CHECK_INT(now + 5, change_remove(kv, "k/1"));
  recorder_wait(&recorder, 2);
  CHECK_PUT(&recorder, 0, "k/2", "in time", now + 4);
  CHECK_DELETE(&recorder, 1, "k/1", now + 5);
  CHECK_OK(hmkv_watch_close(watcher));
}

static void the_next_revision_is_as_none(void) {
  int64_t now = change_put(kv, "k/1", "old");
  hmkv_watcher *watcher = watch(&recorder, "k/1", HMKV_WATCH_OPTS(.start_revision = now + 1));
  hmkv_watcher *newest = watch(&replayed, "k/1", HMKV_WATCH_OPTS(.start_revision = now));
  CHECK_INT(now + 1, change_put(kv, "k/1", "new"));
  recorder_wait(&recorder, 1);
  recorder_wait(&replayed, 2);
  CHECK_PUT(&recorder, 0, "k/1", "new", now + 1);
  CHECK_PUT(&replayed, 0, "k/1", "old", now);
  CHECK_OK(hmkv_watch_close(watcher));
  CHECK_OK(hmkv_watch_close(newest));
}

static void a_revision_that_is_gone_is_ecompacted(void) {
  int64_t first = change_put(kv, "k/1", "0");
  for (int i = 1; i < 10; i++) change_put(kv, "k/1", text("%d", i));
  int64_t newest = own_store_compact(&own);
  CHECK_INT(first + 9, newest);
  /* Of the oldest revision that is kept a server may have dropped a deletion. */
  const int64_t gone[] = {1, first, newest - 1, newest};
  for (int i = 0; i < 4; i++) {
    hmkv_watcher *watcher = (hmkv_watcher *)&own;
    CHECK_STATUS(HMKV_ECOMPACTED,
                 hmkv_watch_open(kv, "k/1", HMKV_NTS, HMKV_WATCH_OPTS(.start_revision = gone[i]),
                                 i == 1 ? NULL : recorder_event, &recorder, &watcher));
    CHECK(watcher == NULL);
    CHECK(*hmkv_errmsg());
  }
  CHECK_INT(0, recorder_count(&recorder));
  change_put(kv, "k/1", "10");
  hmkv_watcher *watcher =
      watch(&recorder, "k/1", HMKV_WATCH_OPTS(.start_revision = newest + 1, .prev_kv = 1));
  recorder_wait(&recorder, 1);
  CHECK_PUT(&recorder, 0, "k/1", "10", newest + 1);
  CHECK_INT(11, recorder_at(&recorder, 0).kv.version);
  CHECK_INT(first, recorder_at(&recorder, 0).kv.create_revision);
  CHECK_STR("9", recorder_at(&recorder, 0).prev.value);
  CHECK_OK(hmkv_watch_close(watcher));
}

static const struct test tests[] = {
    BOTH(every_change_from_the_revision_on_is_delivered),
    BOTH(it_begins_with_exactly_that_revision),
    BOTH(the_history_of_a_key_is_its_own_changes_alone),
    BOTH(filters_hold_for_the_history_too),
    BOTH(the_history_goes_over_into_the_changes_without_a_seam),
    BOTH(a_revision_that_is_yet_to_come_is_waited_for),
    BOTH(the_next_revision_is_as_none),
    BOTH(a_revision_that_is_gone_is_ecompacted),
};
TEST_MAIN(.begin = begin, .end = end)
