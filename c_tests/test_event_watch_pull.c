/* hmkv_watch_next: event watches without callback. */
#include "changes.h"
#include "recorder.h"
#include "test.h"

#include <sched.h>

static hmkv *kv;
static const char *key;
static hmkv_watcher *watcher;

static void begin(void) {
  kv = open_store("timeout=20s");
  key = unique("key");
  CHECK_OK(hmkv_watch_open(kv, key, HMKV_NTS, HMKV_WATCH_OPTS(.prev_kv = 1), NULL, NULL, &watcher));
}

static void end(void) {
  if (kv) close_store(kv);
}

static void next_is(int64_t timeout_ms, int32_t type, const char *value, int64_t revision) {
  const hmkv_event *event = NULL;
  CHECK_OK(hmkv_watch_next(watcher, timeout_ms, &event));
  CHECK_INT(type, event->type);
  CHECK_STR(key, event->kv->key);
  CHECK_STR(value, event->kv->value);
  CHECK_INT(revision, event->revision);
}

static void no_event(int64_t timeout_ms) {
  const hmkv_event *event = (const hmkv_event *)&watcher;
  CHECK_STATUS(HMKV_TIMED_OUT, hmkv_watch_next(watcher, timeout_ms, &event));
  CHECK(event == NULL);
}

static void it_waits_for_the_next_event(void) {
  no_event(0);
  int64_t begin_ms = now_ms();
  no_event(150);
  CHECK(now_ms() - begin_ms >= 150);
  int64_t first = change_put(kv, key, "1"), second = change_put(kv, key, "2");
  next_is(HMKV_FOREVER, HMKV_EVENT_PUT, "1", first);
  next_is(patience_ms(), HMKV_EVENT_PUT, "2", second);
  int64_t third = change_remove(kv, key);
  const hmkv_event *event = NULL;
  WAIT_UNTIL(hmkv_watch_next(watcher, 0, &event) == HMKV_OK);
  CHECK_INT(HMKV_EVENT_DELETE, event->type);
  CHECK_INT(third, event->revision);
  CHECK_STR("2", event->prev->value);
  no_event(0);
  no_event(INT64_C(1));
}

static void events_wait_for_it_in_their_order(void) {
  struct recorder recorder = RECORDER;
  for (int i = 0; i < 200; i++) change_put(kv, key, text("%d", i));
  recorder_pull(&recorder, watcher, 200);
  for (size_t i = 0; i < 200; i++) CHECK_STR(text("%zu", i), recorder_at(&recorder, i).kv.value);
  no_event(0);
  recorder_check_order(&recorder);
  recorder_free(&recorder);
}

static void an_event_lives_until_the_next_call(void) {
  static const char *const values[] = {"0", "a value of some length, to be freed some time", "2"};
  for (int i = 0; i < 3; i++) change_put(kv, key, values[i]);
  for (int i = 0; i < 3; i++) {
    const hmkv_event *event = NULL;
    CHECK_OK(hmkv_watch_next(watcher, HMKV_FOREVER, &event));
    struct recorder other = RECORDER; /* the library works meanwhile */
    hmkv_watcher *busy = NULL;
    CHECK_OK(hmkv_watch_open(kv, key, HMKV_NTS, HMKV_WATCH_OPTS(.start_revision = event->revision),
                             NULL, NULL, &busy));
    recorder_pull(&other, busy, (size_t)(3 - i));
    CHECK_OK(hmkv_watch_close(busy));
    recorder_free(&other);
    CHECK_STR(key, event->kv->key);
    CHECK_STR(values[i], event->kv->value);
    CHECK_INT(i + 1, event->kv->version);
    if (i > 0) CHECK_STR(key, event->prev->key);
    if (i > 0) CHECK_STR(values[i - 1], event->prev->value);
    if (i == 0) CHECK(event->prev == NULL);
  }
}

static void wrong_arguments_are_einval_and_take_nothing(void) {
  int64_t revision = change_put(kv, key, "value");
  const hmkv_event *event = (const hmkv_event *)&watcher;
  CHECK_STATUS(HMKV_EINVAL, hmkv_watch_next(watcher, 0, NULL));
  CHECK_STATUS(HMKV_EINVAL, hmkv_watch_next(watcher, -2, &event));
  CHECK(event == NULL);
  CHECK_STATUS(HMKV_EINVAL, hmkv_watch_next(watcher, INT64_MIN, &event));
  next_is(INT64_MAX, HMKV_EVENT_PUT, "value", revision);
}

static bool ignore_change(const char *changed, const char *value, hmkv_keychange op,
                          void *userdata) {
  (void)changed, (void)value, (void)op, (void)userdata;
  return true;
}

static void a_watcher_with_a_callback_is_einval(void) {
  struct recorder recorder = RECORDER;
  hmkv_watcher *with_callback[2];
  CHECK_OK(hmkv_watch_open(kv, key, HMKV_NTS, NULL, recorder_event, &recorder, &with_callback[0]));
  CHECK_OK(hmkv_watch_cb(kv, key, 3, ignore_change, NULL, &with_callback[1]));
  for (int i = 0; i < 2; i++) {
    const hmkv_event *event = (const hmkv_event *)&watcher;
    CHECK_STATUS(HMKV_EINVAL, hmkv_watch_next(with_callback[i], 0, &event));
    CHECK(event == NULL);
    CHECK_STATUS(HMKV_EINVAL, hmkv_watch_next(with_callback[i], HMKV_FOREVER, &event));
  }
  change_put(kv, key, "value");
  recorder_wait(&recorder, 1); /* it lost nothing by that */
  for (int i = 0; i < 2; i++) CHECK_OK(hmkv_watch_close(with_callback[i]));
  recorder_free(&recorder);
}

/* ---- threads ---- */

struct waiter {
  pthread_t thread;
  atomic_int tid;
  hmkv_status status;
  const hmkv_event *event;
};

static void *wait_for_one(void *arg) {
  struct waiter *waiter = arg;
  atomic_store(&waiter->tid, (int)thread_id());
  waiter->event = (const hmkv_event *)waiter;
  waiter->status = hmkv_watch_next(watcher, HMKV_FOREVER, &waiter->event);
  return NULL;
}

static struct waiter *start_waiter(void) {
  static struct waiter waiter;
  memset(&waiter, 0, sizeof waiter);
  waiter.thread = start_thread(wait_for_one, &waiter);
  WAIT_UNTIL(atomic_load(&waiter.tid) != 0);
  wait_until_blocked(atomic_load(&waiter.tid));
  return &waiter;
}

static void while_another_thread_waits_it_is_einval(void) {
  struct waiter *waiter = start_waiter();
  for (int i = 0; i < 3; i++) {
    const hmkv_event *event = (const hmkv_event *)waiter;
    CHECK_STATUS(HMKV_EINVAL, hmkv_watch_next(watcher, i == 0 ? HMKV_FOREVER : i - 1, &event));
    CHECK(event == NULL);
  }
  change_put(kv, key, "1");
  join_thread(waiter->thread);
  CHECK_OK(waiter->status);
  CHECK_STR("1", waiter->event->kv->value); /* another thread may look at it, too */
  int64_t revision = change_put(kv, key, "2");
  next_is(HMKV_FOREVER, HMKV_EVENT_PUT, "2", revision); /* now it is this one's turn */
}

static void closing_the_watch_ends_the_wait_with_ecanceled(void) {
  struct waiter *waiter = start_waiter();
  CHECK_OK(hmkv_watch_close(watcher));
  join_thread(waiter->thread);
  CHECK_STATUS(HMKV_ECANCELED, waiter->status);
  CHECK(waiter->event == NULL);
  const hmkv_event *event = (const hmkv_event *)waiter;
  CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_next(watcher, HMKV_FOREVER, &event));
  CHECK(event == NULL);
  CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_close(watcher));
}

static void closing_the_store_ends_the_wait_with_eclosed(void) {
  struct waiter *waiter = start_waiter();
  close_store(kv);
  kv = NULL;
  join_thread(waiter->thread);
  CHECK_STATUS(HMKV_ECLOSED, waiter->status);
  CHECK(waiter->event == NULL);
  const hmkv_event *event = (const hmkv_event *)waiter;
  CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_next(watcher, 0, &event));
  CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_close(watcher));
}

/* Where nobody waits, what waits to be taken is gone with the watch. */
static void a_closed_watch_hands_out_nothing(void) {
  for (int i = 0; i < 10; i++) change_put(kv, key, "value");
  const hmkv_event *event = NULL;
  CHECK_OK(hmkv_watch_next(watcher, HMKV_FOREVER, &event));
  CHECK_OK(hmkv_watch_close(watcher));
  CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_next(watcher, 0, &event));
  CHECK(event == NULL);
}

struct puller {
  hmkv_watcher *watcher;
  atomic_int taken;
};

static void *pull_until_closed(void *arg) {
  struct puller *puller = arg;
  for (;;) {
    const hmkv_event *event = NULL;
    hmkv_status status = hmkv_watch_next(puller->watcher, HMKV_FOREVER, &event);
    if (status == HMKV_ECANCELED || status == HMKV_ECLOSED || status == HMKV_EHANDLE) return NULL;
    CHECK_OK(status);
    atomic_fetch_add(&puller->taken, 1);
  }
}

static void closing_races_with_events_and_waits_harmlessly(void) {
  struct changer changer = {.kv = kv, .prefix = unique("prefix"), .seed = 1};
  changer_start(&changer);
  for (int i = 0; i < rounds(200, 30); i++) {
    struct puller puller = {0};
    hmkv *store = i % 3 == 2 ? open_store(NULL) : kv;
    CHECK_OK(hmkv_watch_open(store, changer.prefix, HMKV_NTS, HMKV_WATCH_OPTS(.prefix = 1), NULL,
                             NULL, &puller.watcher));
    pthread_t thread = start_thread(pull_until_closed, &puller);
    if (i % 2) WAIT_UNTIL(atomic_load(&puller.taken) > 0);
    if (store == kv)
      CHECK_OK(hmkv_watch_close(puller.watcher));
    else
      close_store(store);
    join_thread(thread);
    CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_close(puller.watcher));
  }
  changer_stop(&changer);
}

static void *pull_without_pause(void *arg) {
  struct puller *puller = arg;
  for (;;) {
    const hmkv_event *event = NULL;
    hmkv_status status = hmkv_watch_next(puller->watcher, 0, &event);
    atomic_fetch_add(&puller->taken, 1);
    if (status == HMKV_ECANCELED || status == HMKV_EHANDLE) return NULL;
    if (status != HMKV_TIMED_OUT) CHECK_OK(status);
  }
}

/* It is not answered that another thread waits where there is none. */
static void who_closes_is_no_second_thread_that_waits(void) {
  for (int i = 0; i < rounds(on_etcd() ? 300 : 3000, 100); i++) {
    struct puller puller = {0};
    CHECK_OK(hmkv_watch_open(kv, key, HMKV_NTS, NULL, NULL, NULL, &puller.watcher));
    pthread_t thread = start_thread(pull_without_pause, &puller);
    while (atomic_load(&puller.taken) < i % 50) sched_yield();
    CHECK_OK(hmkv_watch_close(puller.watcher));
    join_thread(thread);
  }
}

static const struct test tests[] = {
    BOTH(it_waits_for_the_next_event),
    BOTH(events_wait_for_it_in_their_order),
    BOTH(an_event_lives_until_the_next_call),
    BOTH(wrong_arguments_are_einval_and_take_nothing),
    BOTH(a_watcher_with_a_callback_is_einval),
    BOTH(while_another_thread_waits_it_is_einval),
    BOTH(closing_the_watch_ends_the_wait_with_ecanceled),
    BOTH(closing_the_store_ends_the_wait_with_eclosed),
    BOTH(a_closed_watch_hands_out_nothing),
    BOTH(closing_races_with_events_and_waits_harmlessly),
    BOTH(who_closes_is_no_second_thread_that_waits),
};
TEST_MAIN(.begin = begin, .end = end)
