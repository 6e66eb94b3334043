/* Event watches whose consumer is slow: what each policy of on_overflow gives way. */
#include "changes.h"
#include "own_store.h"
#include "recorder.h"
#include "test.h"

enum { PUT = HMKV_EVENT_PUT, DELETE = HMKV_EVENT_DELETE };

static hmkv *kv;
static const char *prefix;
static struct recorder recorder, witness;
static struct gate gate;
static hmkv_watcher *watcher, *other;

static void begin(void) {
  kv = open_store("timeout=20s");
  prefix = unique("prefix");
  recorder = witness = (struct recorder)RECORDER;
  gate = (struct gate)GATE_CLOSED;
}

static void end(void) { close_store(kv); }

/* A watcher that takes nothing for now, with its callback held or not asking, and
 * beside it a witness that takes all. */
static void watch(bool push, const hmkv_watch_opts *opts) {
  recorder.hold = push ? &gate : NULL;
  gate.open = false;
  CHECK_OK(hmkv_watch_open(kv, prefix, HMKV_NTS, opts, push ? recorder_event : NULL, &recorder,
                           &watcher));
  CHECK_OK(hmkv_watch_open(kv, prefix, HMKV_NTS, HMKV_WATCH_OPTS(.prefix = 1), recorder_event,
                           &witness, &other));
}

/* The last change; both watchers have been sent all that was before it. */
static int64_t all_is_sent(void) {
  const char *last = text("%s_last", prefix);
  int64_t revision = change_put(kv, last, "value");
  WAIT_UNTIL(recorder_last_of(&witness, last).type == PUT);
  return revision;
}

/* Lets the consumer go on until there are `count` events. */
static void take(bool push, size_t count) {
  gate_open(&gate);
  if (push)
    WAIT_UNTIL(recorder_count(&recorder) >= count);
  else
    recorder_pull(&recorder, watcher, count);
}

/* Until the event of the last change, or what stands for it. */
static void take_until_last(bool push) {
  const char *last = text("%s_last", prefix);
  gate_open(&gate);
  if (push) WAIT_UNTIL(recorder_last_of(&recorder, last).type == PUT);
  while (!push && recorder_last_of(&recorder, last).type != PUT)
    recorder_pull(&recorder, watcher, recorder_count(&recorder) + 1);
}

static void finish(void) {
  CHECK_OK(hmkv_watch_close(watcher));
  CHECK_OK(hmkv_watch_close(other));
  recorder_check_order(&witness);
  recorder_free(&recorder);
  recorder_free(&witness);
  prefix = unique("prefix"); /* for the next round */
}

static void change_many(int changes) {
  unsigned seed = (unsigned)changes;
  for (int i = 0; i < changes; i++) change_something(kv, prefix, &seed);
}

/* ---- resume ---- */

static void with_resume_nothing_is_lost(void) {
  static const size_t sizes[] = {1, 7, 0};
  for (int i = 0; i < 6; i++) {
    bool push = i % 2;
    watch(push, HMKV_WATCH_OPTS(.prefix = 1, .queue_max = sizes[i / 2]));
    change_many(rounds(i == 5 ? 6000 : 600, 100)); /* more than 4,096 wait in the last one */
    all_is_sent();
    size_t count = recorder_count(&witness);
    CHECK(recorder_count(&recorder) == 0);
    take(push, count);
    CHECK_INT(count, recorder_count(&recorder));
    recorder_check_equal(&recorder, 0, &witness, 0, count);
    int64_t revision = change_put(kv, prefix, "and it goes on");
    take(push, count + 1);
    CHECK_PUT(&recorder, count, prefix, "and it goes on", revision);
    recorder_check_order(&recorder);
    CHECK_INT(0, recorder_count_of(&recorder, HMKV_EVENT_RESYNC));
    finish();
  }
}

static void with_resume_a_revision_larger_than_the_queue_comes_whole(void) {
  for (int push = 0; push < 2; push++) {
    watch(push, HMKV_WATCH_OPTS(.prefix = 1, .queue_max = 4, .prev_kv = 1));
    for (int i = 0; i < 10; i++) {
      hmkv_txn *txn = hmkv_txn_new(kv);
      for (int j = 0; j < 100; j++)
        hmkv_txn_put(txn, HMKV_THEN, text("%s/%02d", prefix, j), HMKV_NTS, "value", 5, NULL);
      change_done(hmkv_txn_commit(txn, NULL));
    }
    int64_t removed = change_remove_prefix(kv, text("%s/", prefix));
    all_is_sent();
    take(push, 1101);
    CHECK_CHANGE(&recorder, 1099, DELETE, text("%s/99", prefix), "", removed, true);
    CHECK_STR("value", recorder_at(&recorder, 1099).prev.value);
    CHECK_STR(text("%s_last", prefix), recorder_at(&recorder, 1100).kv.key);
    recorder_check_order(&recorder);
    recorder_check_versions(&recorder);
    finish();
  }
}

static void with_resume_a_consumer_that_stays_slow_gets_all(void) {
  struct changer changer = {.kv = kv, .prefix = prefix, .seed = 5, .pause_ms = 1};
  watch(false, HMKV_WATCH_OPTS(.prefix = 1, .queue_max = 5));
  changer_start(&changer);
  for (size_t taken = 0; taken < (size_t)rounds(500, 100); taken += 10) {
    recorder_pull(&recorder, watcher, taken + 10);
    int before = atomic_load(&changer.changes);
    WAIT_UNTIL(atomic_load(&changer.changes) > before + 12); /* always too many */
  }
  changer_stop(&changer);
  all_is_sent();
  size_t count = recorder_count(&witness);
  take(false, count);
  recorder_check_equal(&recorder, 0, &witness, 0, count);
  recorder_check_order(&recorder);
  finish();
}

/* ---- coalesce ---- */

static void with_coalesce_the_last_change_of_each_key_is_delivered(void) {
  for (int push = 0; push < 2; push++) {
    watch(push, HMKV_WATCH_OPTS(.prefix = 1, .queue_max = 16,
                                .on_overflow = HMKV_OVERFLOW_COALESCE));
    change_many(rounds(1000, 200));
    all_is_sent();
    size_t all = recorder_count(&witness);
    take_until_last(push);
    size_t count = recorder_count(&recorder);
    CHECK(count < all / 2); /* 11 keys: they fit */
    recorder_check_view(&recorder, kv, prefix);
    for (int i = 0; i < CHANGED_KEYS; i++) {
      struct recorded mine = recorder_last_of(&recorder, text("%s%d", prefix, i));
      struct recorded theirs = recorder_last_of(&witness, text("%s%d", prefix, i));
      CHECK_INT(theirs.type, mine.type);
      CHECK_INT(theirs.revision, mine.revision);
    }
    for (size_t i = 1; i < count; i++) /* what is left is in its order */
      CHECK(recorder_at(&recorder, i - 1).revision <= recorder_at(&recorder, i).revision);
    CHECK_INT(0, recorder_count_of(&recorder, HMKV_EVENT_RESYNC));
    int64_t revision = change_put(kv, prefix, "and it goes on");
    take(push, count + 1);
    CHECK_PUT(&recorder, count, prefix, "and it goes on", revision);
    finish();
  }
}

static void with_coalesce_more_keys_than_may_wait_lose_nothing_either(void) {
  for (int push = 0; push < 2; push++) {
    int keys = rounds(200, 50);
    watch(push, HMKV_WATCH_OPTS(.prefix = 1, .queue_max = 8,
                                .on_overflow = HMKV_OVERFLOW_COALESCE));
    for (int i = 0; i < 5 * keys; i++)
      change_put(kv, text("%s/%d", prefix, i % keys), text("%d", i));
    for (int i = 0; i < keys; i += 10) change_remove(kv, text("%s/%d", prefix, i));
    all_is_sent();
    take_until_last(push);
    recorder_check_view(&recorder, kv, prefix);
    for (int i = 0; i < keys; i++) {
      struct recorded event = recorder_last_of(&recorder, text("%s/%d", prefix, i));
      CHECK_INT(i % 10 == 0 ? DELETE : PUT, event.type);
      if (i % 10) CHECK_STR(text("%d", 4 * keys + i), event.kv.value);
    }
    CHECK_INT(0, recorder_count_of(&recorder, HMKV_EVENT_RESYNC));
    finish();
  }
}

static void with_coalesce_who_is_in_time_gets_every_change(void) {
  watch(true, HMKV_WATCH_OPTS(.prefix = 1, .queue_max = 4, .on_overflow = HMKV_OVERFLOW_COALESCE));
  gate_open(&gate);
  for (size_t i = 0; i < 100; i++) {
    int64_t revision = change_put(kv, prefix, text("%zu", i));
    recorder_wait(&recorder, i + 1);
    CHECK_PUT(&recorder, i, prefix, text("%zu", i), revision);
  }
  finish();
}

/* ---- resync ---- */

static void with_resync_the_difference_is_delivered(void) {
  for (int push = 0; push < 2; push++) {
    const char *stays = text("%s/stays", prefix), *goes = text("%s/goes", prefix);
    const char *anew = text("%s/anew", prefix), *grows = text("%s/grows", prefix);
    change_put(kv, stays, "stays");
    change_put(kv, goes, "goes");
    change_put(kv, anew, "old");
    change_put(kv, grows, "old");
    watch(push, HMKV_WATCH_OPTS(.prefix = 1, .snapshot = 1, .queue_max = 8,
                                .on_overflow = HMKV_OVERFLOW_RESYNC));
    take(push, 5); /* the snapshot */
    gate.open = false;
    change_remove(kv, goes);
    change_remove(kv, anew);
    int64_t again = change_put(kv, anew, "again");
    change_put(kv, text("%s/passing", prefix), "created and removed");
    change_remove(kv, text("%s/passing", prefix));
    for (int i = 0; i < 300; i++) change_put(kv, grows, text("%d", i));
    int64_t last = all_is_sent();
    gate_open(&gate);
    int64_t deadline = now_ms() + patience_ms();
    while (recorder_count_of(&recorder, HMKV_EVENT_RESYNC) == 0 && now_ms() < deadline) {
      if (push)
        poll_pause();
      else
        recorder_pull(&recorder, watcher, recorder_count(&recorder) + 1);
    }
    CHECK_INT(1, recorder_count_of(&recorder, HMKV_EVENT_RESYNC));
    size_t count = recorder_count(&recorder);
    CHECK_INT(HMKV_EVENT_RESYNC, recorder_at(&recorder, count - 1).type);
    CHECK(recorder_at(&recorder, count - 1).revision >= last);
    CHECK(count < 40);
    recorder_check_view(&recorder, kv, prefix);
    /* What did not change is not told again. */
    CHECK(recorder_last_of(&recorder, stays).revision < again);
    CHECK_INT(DELETE, recorder_last_of(&recorder, goes).type);
    CHECK_STR("again", recorder_last_of(&recorder, anew).kv.value);
    int64_t revision = change_put(kv, prefix, "and it goes on");
    take(push, count + 1);
    CHECK_PUT(&recorder, count, prefix, "and it goes on", revision);
    recorder_check_order(&recorder);
    finish();
  }
}

/* ---- end ---- */

static void with_end_the_watch_ends_after_what_waits(void) {
  for (int push = 0; push < 2; push++) {
    watch(push, HMKV_WATCH_OPTS(.prefix = 1, .queue_max = 8, .on_overflow = HMKV_OVERFLOW_END));
    for (int i = 0; i < 100; i++) change_put(kv, prefix, text("%d", i));
    all_is_sent();
    gate_open(&gate);
    int64_t deadline = now_ms() + patience_ms();
    while (recorder_count_of(&recorder, HMKV_EVENT_END) == 0 && now_ms() < deadline) {
      if (push)
        poll_pause();
      else
        recorder_pull(&recorder, watcher, recorder_count(&recorder) + 1);
    }
    CHECK_INT(1, recorder_count_of(&recorder, HMKV_EVENT_END));
    size_t count = recorder_count(&recorder);
    struct recorded last = recorder_at(&recorder, count - 1);
    CHECK_INT(HMKV_EVENT_END, last.type);
    CHECK_STATUS(HMKV_ETOOLARGE, last.status);
    /* Eight, the one that did not fit, and that which the callback had. A server may put
     * more into one answer. */
    CHECK(count - 1 >= 8 && count - 1 <= (on_etcd() ? 99 : 9) + (size_t)push);
    recorder_check_equal(&recorder, 0, &witness, 0, count - 1);
    for (int i = 0; i < 20; i++) change_put(kv, prefix, "nobody hears of this");
    for (int i = 0; i < 3 && !push; i++) {
      const hmkv_event *event = (const hmkv_event *)&recorder;
      CHECK_STATUS(HMKV_ETOOLARGE, hmkv_watch_next(watcher, i == 0 ? HMKV_FOREVER : 0, &event));
      CHECK(event == NULL);
      CHECK(*hmkv_errmsg());
    }
    finish(); /* the watcher is valid, although its watch ended */
    CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_close(watcher));
  }
}

static void with_end_a_watch_that_is_late_at_once_opens_all_the_same(void) {
  struct changer changer = {.kv = kv, .prefix = prefix, .seed = 5};
  changer_start(&changer);
  WAIT_UNTIL(atomic_load(&changer.changes) > 50);
  for (int i = 0; i < rounds(on_etcd() ? 200 : 5000, 40); i++) {
    CHECK_OK(hmkv_watch_open(kv, prefix, HMKV_NTS,
                             HMKV_WATCH_OPTS(.prefix = 1, .snapshot = i % 2, .queue_max = 1,
                                             .on_overflow = HMKV_OVERFLOW_END),
                             NULL, NULL, &watcher));
    const hmkv_event *event = NULL;
    CHECK_OK(hmkv_watch_next(watcher, patience_ms(), &event));
    /* The snapshot may be empty. */
    CHECK(event->type == PUT || event->type == DELETE || event->type == HMKV_EVENT_SYNCED);
    CHECK_OK(hmkv_watch_close(watcher));
  }
  changer_stop(&changer);
}

/* ---- every policy ---- */

/* Events that are not asked for do not wait for the consumer. */
static void what_is_not_delivered_fills_no_queue(void) {
  for (int32_t policy = HMKV_OVERFLOW_RESUME; policy <= HMKV_OVERFLOW_END; policy++) {
    watch(false, HMKV_WATCH_OPTS(.prefix = 1, .queue_max = 4, .no_put = 1, .on_overflow = policy));
    for (int i = 0; i < 50; i++) change_put(kv, text("%s/%d", prefix, i % 10), "value");
    int64_t removed = change_remove(kv, text("%s/3", prefix));
    all_is_sent();
    recorder_pull(&recorder, watcher, 1);
    CHECK_DELETE(&recorder, 0, text("%s/3", prefix), removed);
    finish();
  }
}

/* Who polls gets there as well as who waits. */
static void asking_without_waiting_gets_all_the_same(void) {
  for (int32_t policy = HMKV_OVERFLOW_RESUME; policy < HMKV_OVERFLOW_END; policy++) {
    watch(false, HMKV_WATCH_OPTS(.prefix = 1, .queue_max = 4, .on_overflow = policy));
    change_many(rounds(200, 50));
    all_is_sent();
    const char *last = text("%s_last", prefix);
    int asked_in_vain = 0;
    while (recorder_last_of(&recorder, last).type != PUT) {
      const hmkv_event *event = NULL;
      hmkv_status status = hmkv_watch_next(watcher, 0, &event);
      CHECK(status == HMKV_OK || status == HMKV_TIMED_OUT);
      asked_in_vain = status == HMKV_OK ? 0 : asked_in_vain + 1;
      if (status == HMKV_OK) recorder_event(event, &recorder);
      if (status == HMKV_TIMED_OUT) poll_pause();
      if (asked_in_vain == 1000) FAIL("no further event, with policy %d", policy);
    }
    recorder_check_view(&recorder, kv, prefix);
    finish();
  }
}

/* ---- memory ---- */

static size_t resident_bytes(void) {
  FILE *file = fopen("/proc/self/statm", "r");
  CHECK(file);
  long size = 0, resident = 0;
  CHECK_INT(2, fscanf(file, "%ld %ld", &size, &resident));
  fclose(file);
  return (size_t)resident * (size_t)sysconf(_SC_PAGESIZE);
}

static void a_slow_consumer_has_bounded_memory(void) {
  enum { SIZE = 1000 * 1000, MEBI = 1024 * 1024 };
  static const int32_t policies[] = {HMKV_OVERFLOW_RESUME, HMKV_OVERFLOW_COALESCE,
                                     HMKV_OVERFLOW_RESYNC};
  size_t values = (size_t)rounds(200, 20);
  struct own_store own;
  own_store_open(&own, "timeout=20s");
  char *value = malloc(SIZE);
  CHECK(value);
  memset(value, 'v', SIZE);
  hmkv_watcher *slow[3];
  for (int i = 0; i < 3; i++)
    CHECK_OK(hmkv_watch_open(own.kv, "k/", HMKV_NTS,
                             HMKV_WATCH_OPTS(.prefix = 1, .on_overflow = policies[i]), NULL, NULL,
                             &slow[i]));
  change_done(hmkv_put(own.kv, "k/", HMKV_NTS, value, SIZE, NULL));
  size_t before = resident_bytes();
  for (size_t i = 0; i < values; i++)
    change_done(hmkv_put(own.kv, text("k/%03zu", i), HMKV_NTS, value, SIZE, NULL));
  /* 16 MiB may wait for each of them, and some more is on its way. */
  if (memory_is_its_own()) CHECK(resident_bytes() < before + 120 * MEBI);
  for (size_t i = 0; i < values; i++) {
    const hmkv_event *event = NULL;
    CHECK_OK(hmkv_watch_next(slow[0], patience_ms(), &event));
    if (i > 0) CHECK_STR(text("k/%03zu", i - 1), event->kv->key);
    CHECK_INT(SIZE, event->kv->value_len);
    CHECK(memcmp(value, event->kv->value, SIZE) == 0);
    if (memory_is_its_own()) CHECK(resident_bytes() < before + 200 * MEBI);
  }
  free(value);
  for (int i = 0; i < 3; i++) CHECK_OK(hmkv_watch_close(slow[i]));
  own_store_close(&own);
}

static const struct test tests[] = {
    BOTH(with_resume_nothing_is_lost),
    BOTH(with_resume_a_revision_larger_than_the_queue_comes_whole),
    BOTH(with_resume_a_consumer_that_stays_slow_gets_all),
    BOTH(with_coalesce_the_last_change_of_each_key_is_delivered),
    BOTH(with_coalesce_more_keys_than_may_wait_lose_nothing_either),
    BOTH(with_coalesce_who_is_in_time_gets_every_change),
    BOTH(with_resync_the_difference_is_delivered),
    BOTH(with_end_the_watch_ends_after_what_waits),
    BOTH(with_end_a_watch_that_is_late_at_once_opens_all_the_same),
    BOTH(what_is_not_delivered_fills_no_queue),
    BOTH(asking_without_waiting_gets_all_the_same),
    ETCD_ONLY(a_slow_consumer_has_bounded_memory),
};
TEST_MAIN(.begin = begin, .end = end)
