/* Event watches that were left behind by a compaction, and across restarts and cuts of
 * the server. */
#include "changes.h"
#include "own_store.h"
#include "process.h"
#include "proxy.h"
#include "recorder.h"
#include "test.h"

enum { PUT = HMKV_EVENT_PUT, DELETE = HMKV_EVENT_DELETE, RESYNC = HMKV_EVENT_RESYNC };

static struct own_store own;
static hmkv *kv;
static struct recorder recorder;
static hmkv_watcher *watcher;

static void begin(void) {
  own_store_open(&own, "timeout=10s");
  kv = own.kv;
  recorder = (struct recorder)RECORDER;
}

static void end(void) {
  recorder_free(&recorder);
  own_store_close(&own);
}

static void watch(const hmkv_watch_opts *opts) {
  CHECK_OK(hmkv_watch_open(kv, "k/", HMKV_NTS, opts, recorder_event, &recorder, &watcher));
}

/* The events of `key` in the difference, which begins after the first `from` events and
 * ends with RESYNC: each by its letter. */
static const char *told_of(const char *key, size_t from) {
  const char *told = "";
  for (size_t i = from; recorder_at(&recorder, i).type != RESYNC; i++) {
    struct recorded event = recorder_at(&recorder, i);
    if (strcmp(event.kv.key, key) == 0) told = text("%s%s", told, event.type == PUT ? "P" : "D");
  }
  return told;
}

/* ---- compaction ---- */

/* Of ten keys that the watcher knows: changes of every kind. */
static void change_all(void) {
  for (int round = 0; round < rounds(30, 6); round++)
    for (int i = 0; i < 4; i++) change_put(kv, text("k/%d", i), text("%d", round));
  change_remove(kv, "k/1");
  change_remove(kv, "k/2");
  change_put(kv, "k/2", "again");
  change_remove(kv, "k/3");
  change_put(kv, "k/3", "again");
  change_remove(kv, "k/3");
  change_put(kv, "k/new", "new");
  change_put(kv, "k/passing", "created and removed");
  change_remove(kv, "k/passing");
}

static void what_is_compacted_is_delivered_as_the_difference(void) {
  struct recorder witness = RECORDER;
  for (int push = 0; push < 2; push++) {
    struct gate gate = GATE_CLOSED;
    hmkv_watcher *other = NULL;
    for (int i = 0; i < 10; i++) change_put(kv, text("k/%d", i), "old");
    change_put(kv, "k/first", "old");
    gate_open(&gate);
    recorder.hold = push ? &gate : NULL;
    CHECK_OK(hmkv_watch_open(kv, "k/", HMKV_NTS,
                             HMKV_WATCH_OPTS(.prefix = 1, .snapshot = 1, .queue_max = 4),
                             push ? recorder_event : NULL, &recorder, &watcher));
    CHECK_OK(hmkv_watch_open(kv, "k/", HMKV_NTS, HMKV_WATCH_OPTS(.prefix = 1), recorder_event,
                             &witness, &other));
    if (!push) recorder_pull(&recorder, watcher, 12);
    recorder_wait(&recorder, 12);
    gate.open = false;
    for (int i = 0; i < 20; i++) change_put(kv, "k/first", text("%d", i)); /* some of it waits */
    change_all();
    int64_t newest = change_put(kv, "k/last", "value");
    WAIT_UNTIL(recorder_last_of(&witness, "k/last").type == PUT);
    CHECK_INT(newest, own_store_compact(&own));
    gate_open(&gate);
    while (recorder_count_of(&recorder, RESYNC) == 0 && !push)
      recorder_pull(&recorder, watcher, recorder_count(&recorder) + 1);
    WAIT_UNTIL(recorder_count_of(&recorder, RESYNC) > 0);
    size_t count = recorder_count(&recorder);
    CHECK_MARK(&recorder, count - 1, RESYNC, newest);
    CHECK(count < 12 + 40); /* not all one by one */
    recorder_check_view(&recorder, kv, "k/");
    CHECK_STR("P", told_of("k/0", 12));
    CHECK_STR("D", told_of("k/1", 12));
    CHECK_STR("DP", told_of("k/2", 12)); /* deleted and created again */
    CHECK_STR("D", told_of("k/3", 12));
    for (int i = 4; i < 10; i++) CHECK_STR("", told_of(text("k/%d", i), 12));
    CHECK_STR("P", told_of("k/new", 12));
    CHECK_STR("", told_of("k/passing", 12));
    CHECK_STR("P", told_of("k/last", 12));
    int64_t revision = change_remove(kv, "k/new");
    if (!push) recorder_pull(&recorder, watcher, count + 1);
    recorder_wait(&recorder, count + 1);
    CHECK_DELETE(&recorder, count, "k/new", revision); /* and it goes on */
    CHECK_OK(hmkv_watch_close(watcher));
    CHECK_OK(hmkv_watch_close(other));
    recorder_check_order(&recorder);
    CHECK_INT(1, recorder_count_of(&recorder, RESYNC));
    CHECK_INT(0, recorder_count_of(&witness, RESYNC)); /* it was in time */
    recorder_free(&recorder);
    recorder_free(&witness);
    change_remove_prefix(kv, "k/");
  }
}

/* Who watches from a revision on is taken to know what was there before it. */
static void without_a_snapshot_it_is_the_difference_to_what_was_there_before(void) {
  for (int variant = 0; variant < 2; variant++) {
    for (int i = 0; i < 10; i++) change_put(kv, text("k/%d", i), "old");
    int64_t before = newest_revision(kv);
    CHECK_OK(hmkv_watch_open(kv, "k/", HMKV_NTS,
                             HMKV_WATCH_OPTS(.prefix = 1, .queue_max = 4,
                                             .start_revision = variant ? before + 1 : 0),
                             NULL, NULL, &watcher));
    for (int i = 0; i < 10; i++) change_put(kv, "k/9", text("%d", i)); /* these wait */
    change_all();
    int64_t newest = own_store_compact(&own);
    while (recorder_count_of(&recorder, RESYNC) == 0)
      recorder_pull(&recorder, watcher, recorder_count(&recorder) + 1);
    CHECK_MARK(&recorder, recorder_count(&recorder) - 1, RESYNC, newest);
    CHECK_STR("P", told_of("k/0", 0));
    CHECK_STR("D", told_of("k/1", 0));
    CHECK_STR("DP", told_of("k/2", 0));
    CHECK_STR("D", told_of("k/3", 0));
    for (int i = 4; i < 9; i++) CHECK_STR("", told_of(text("k/%d", i), 0));
    CHECK_STR("P", told_of("k/new", 0));
    CHECK_STR("", told_of("k/passing", 0));
    CHECK_OK(hmkv_watch_close(watcher));
    recorder_check_order(&recorder);
    recorder_free(&recorder);
    change_remove_prefix(kv, "k/");
  }
}

static void without_a_change_of_its_range_a_compaction_is_not_noticed(void) {
  watch(HMKV_WATCH_OPTS(.prefix = 1, .snapshot = 1));
  recorder_wait(&recorder, 1);
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < 50; i++) change_put(kv, "other", text("%d", i));
    own_store_compact(&own);
    int64_t revision = change_put(kv, "k/1", "value");
    recorder_wait(&recorder, 2 + (size_t)round);
    CHECK_PUT(&recorder, 1 + (size_t)round, "k/1", "value", revision);
  }
  CHECK_OK(hmkv_watch_close(watcher));
}

/* ---- restarts ---- */

/* STATE tells of each cut and of each return, the return last. */
static void check_states(void) {
  CHECK_INT(0, recorder_states(&recorder) % 2);
  for (size_t i = 0; i < recorder_states(&recorder); i++) {
    const struct recorded *state = &recorder.states.items[i];
    CHECK_INT(i % 2 == 0, state->status < 0);
    if (i % 2) CHECK_STATUS(HMKV_OK, state->status);
  }
}

/* Runs `change` on a store that the watchers cannot reach, and lets them come back. */
static void while_cut(void (*change)(void), bool compact) {
  size_t states = recorder_states(&recorder);
  server_kill(&own.server);
  WAIT_UNTIL(recorder_states(&recorder) == states + 1);
  server_restart_elsewhere(&own.server);
  hmkv *cut = kv;
  own.kv = kv = open_at(own.server.endpoint, "timeout=20s");
  own.endpoint = own.server.endpoint;
  change();
  if (compact) own_store_compact(&own);
  CHECK_INT(states + 1, recorder_states(&recorder));
  close_store(kv);
  own.kv = kv = cut;
  server_kill(&own.server);
  server_restart(&own.server);
  WAIT_UNTIL(recorder_states(&recorder) >= states + 2);
}

static void changes_of_a_cut_are_delivered_after_it(void) {
  watch(HMKV_WATCH_OPTS(.prefix = 1, .snapshot = 1));
  change_put(kv, "k/1", "value");
  recorder_wait(&recorder, 2);
  while_cut(change_all, false);
  WAIT_UNTIL(hmkv_store(kv, "k/last", "value") == HMKV_OK);
  recorder_wait_put(&recorder, "k/last", "value");
  CHECK_OK(hmkv_watch_close(watcher));
  check_states();
  recorder_check_order(&recorder);
  recorder_check_versions(&recorder);
  recorder_check_view(&recorder, kv, "k/");
  CHECK_INT(0, recorder_count_of(&recorder, RESYNC));
}

static void what_is_compacted_in_a_cut_is_delivered_as_the_difference(void) {
  for (int i = 0; i < 10; i++) change_put(kv, text("k/%d", i), "old");
  watch(HMKV_WATCH_OPTS(.prefix = 1, .snapshot = 1));
  recorder_wait(&recorder, 11);
  while_cut(change_all, true);
  WAIT_UNTIL(recorder_count_of(&recorder, RESYNC) == 1);
  size_t count = recorder_count(&recorder);
  CHECK_INT(RESYNC, recorder_at(&recorder, count - 1).type);
  recorder_check_view(&recorder, kv, "k/");
  CHECK_STR("P", told_of("k/0", 11));
  CHECK_STR("D", told_of("k/1", 11));
  CHECK_STR("DP", told_of("k/2", 11));
  CHECK_STR("D", told_of("k/3", 11));
  CHECK_STR("", told_of("k/4", 11));
  CHECK_STR("P", told_of("k/new", 11));
  WAIT_UNTIL(hmkv_store(kv, "k/last", "value") == HMKV_OK);
  recorder_wait_put(&recorder, "k/last", "value");
  CHECK_OK(hmkv_watch_close(watcher));
  check_states();
  CHECK_INT(1, recorder_count_of(&recorder, RESYNC));
  recorder_check_order(&recorder);
}

static void a_store_that_was_replaced_is_resynced(void) {
  for (int i = 0; i < 10; i++) change_put(kv, text("k/%d", i), "old");
  watch(HMKV_WATCH_OPTS(.prefix = 1, .snapshot = 1));
  recorder_wait(&recorder, 11);
  server_wipe(&own.server);
  server_restart(&own.server); /* its revisions begin anew */
  WAIT_UNTIL(hmkv_store(kv, "k/3", "new") == HMKV_OK);
  WAIT_UNTIL(recorder_count_of(&recorder, RESYNC) == 1);
  recorder_wait_put(&recorder, "k/3", "new");
  recorder_check_view(&recorder, kv, "k/");
  change_put(kv, "k/4", "and it goes on");
  recorder_wait_put(&recorder, "k/4", "and it goes on");
  CHECK_OK(hmkv_watch_close(watcher));
  recorder_check_view(&recorder, kv, "k/");
}

/* The others are on the new store already when this one asks for what it has not got. */
static void who_was_too_slow_for_the_store_before_is_resynced_too(void) {
  struct recorder witness = RECORDER;
  hmkv_watcher *other = NULL;
  for (int i = 0; i < 10; i++) change_put(kv, text("k/%d", i), "old");
  CHECK_OK(hmkv_watch_open(kv, "k/", HMKV_NTS, HMKV_WATCH_OPTS(.prefix = 1), recorder_event,
                           &witness, &other));
  CHECK_OK(hmkv_watch_open(kv, "k/", HMKV_NTS,
                           HMKV_WATCH_OPTS(.prefix = 1, .snapshot = 1, .queue_max = 4), NULL, NULL,
                           &watcher));
  recorder_pull(&recorder, watcher, 11);
  for (int i = 0; i < 50; i++) change_put(kv, "k/0", text("%d", i));
  recorder_wait(&witness, 50);
  server_wipe(&own.server);
  server_restart(&own.server);
  WAIT_UNTIL(hmkv_store(kv, "k/3", "new") == HMKV_OK);
  WAIT_UNTIL(recorder_count_of(&witness, RESYNC) == 1);
  while (recorder_count_of(&recorder, RESYNC) == 0)
    recorder_pull(&recorder, watcher, recorder_count(&recorder) + 1);
  recorder_check_view(&recorder, kv, "k/");
  int64_t revision = change_put(kv, "k/4", "and it goes on");
  size_t count = recorder_count(&recorder);
  recorder_pull(&recorder, watcher, count + 1);
  CHECK_PUT(&recorder, count, "k/4", "and it goes on", revision);
  CHECK_OK(hmkv_watch_close(watcher));
  CHECK_OK(hmkv_watch_close(other));
  recorder_free(&witness);
}

/* ---- cuts while changes go on ---- */

static void nothing_is_lost_or_doubled_across_cuts(void) {
  struct proxy proxy;
  proxy_start(&proxy, own.server.client_port);
  hmkv *through = open_at(proxy.endpoint, "timeout=10s");
  struct changer changer = {.kv = kv, .prefix = "k/", .seed = 11, .pause_ms = 1};
  struct recorder pulled = RECORDER, witness = RECORDER;
  hmkv_watcher *puller = NULL, *other = NULL;
  CHECK_OK(hmkv_watch_open(kv, "k/", HMKV_NTS, HMKV_WATCH_OPTS(.prefix = 1), recorder_event,
                           &witness, &other));
  CHECK_OK(hmkv_watch_open(through, "k/", HMKV_NTS, HMKV_WATCH_OPTS(.prefix = 1, .snapshot = 1),
                           recorder_event, &recorder, &watcher));
  CHECK_OK(hmkv_watch_open(through, "k/", HMKV_NTS,
                           HMKV_WATCH_OPTS(.prefix = 1, .snapshot = 1, .queue_max = 20), NULL,
                           NULL, &puller));
  changer_start(&changer);
  unsigned seed = 5;
  for (int i = 0; i < rounds(20, 5); i++) {
    long cuts = proxy_cuts(&proxy);
    /* In the midst of an answer, or between two. */
    proxy_cut_after(&proxy, TO_CLIENT, 1 + rand_r(&seed) % 4000, i % 2 ? CUT_CLOSE : CUT_RESET);
    WAIT_UNTIL(proxy_cuts(&proxy) > cuts);
    size_t count = recorder_count(&witness);
    WAIT_UNTIL(recorder_count(&recorder) > count); /* it is back */
    recorder_pull(&pulled, puller, recorder_count(&pulled) + 10);
  }
  proxy_cut_never(&proxy);
  changer_stop(&changer);
  change_put(kv, "k/last", "value");
  WAIT_UNTIL(recorder_last_of(&witness, "k/last").type == PUT);
  recorder_wait_put(&recorder, "k/last", "value");
  size_t count = recorder_count(&witness);
  recorder_pull(&pulled, puller, count + 1);
  CHECK_INT(count + 1, recorder_count(&recorder)); /* and SYNCED */
  recorder_check_equal(&witness, 0, &recorder, 1, count);
  recorder_check_equal(&witness, 0, &pulled, 1, count);
  CHECK(recorder_states(&recorder) >= 2);
  CHECK_STATUS(HMKV_OK, recorder.states.items[recorder_states(&recorder) - 1].status);
  CHECK_INT(0, recorder_states(&witness));
  CHECK_OK(hmkv_watch_close(other));
  close_store(through);
  proxy_stop(&proxy);
  recorder_check_order(&recorder);
  recorder_check_versions(&recorder);
  recorder_free(&pulled);
  recorder_free(&witness);
}

static const struct test tests[] = {
    BOTH(what_is_compacted_is_delivered_as_the_difference),
    BOTH(without_a_snapshot_it_is_the_difference_to_what_was_there_before),
    BOTH(without_a_change_of_its_range_a_compaction_is_not_noticed),
    ETCD_ONLY(changes_of_a_cut_are_delivered_after_it),
    ETCD_ONLY(what_is_compacted_in_a_cut_is_delivered_as_the_difference),
    ETCD_ONLY(a_store_that_was_replaced_is_resynced),
    ETCD_ONLY(who_was_too_slow_for_the_store_before_is_resynced_too),
    ETCD_ONLY(nothing_is_lost_or_doubled_across_cuts),
};
TEST_MAIN(.begin = begin, .end = end)
