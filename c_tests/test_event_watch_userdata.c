/* Event watches: who owns the userdata, and closing from everywhere. */
#include "changes.h"
#include "metrics.h"
#include "recorder.h"
#include "test.h"

static hmkv *kv;
static const char *key;

static void begin(void) {
  kv = open_store("timeout=20s");
  key = unique("key");
}

static void end(void) {
  if (kv) close_store(kv);
}

/* ---- userdata that must be freed by userdata_free, once, when nobody uses it ---- */

enum { ALIVE = 0x11223344 };

struct data {
  volatile int magic;
  struct gate *gate;
};

/* Of the data made last; they live longer. */
static struct counts {
  atomic_int entered, left, freed;
} counts;

static struct data *new_data(struct gate *gate) {
  struct data *data = malloc(sizeof *data);
  CHECK(data);
  *data = (struct data){ALIVE, gate};
  atomic_store(&counts.entered, 0);
  atomic_store(&counts.left, 0);
  atomic_store(&counts.freed, 0);
  return data;
}

static void use_data(const hmkv_event *event, void *userdata) {
  struct data *data = userdata;
  CHECK(event->type > 0);
  CHECK_INT(ALIVE, data->magic);
  atomic_fetch_add(&counts.entered, 1);
  if (data->gate) gate_pass(data->gate);
  CHECK_INT(ALIVE, data->magic);
  atomic_fetch_add(&counts.left, 1);
}

static void free_data(void *userdata) {
  struct data *data = userdata;
  CHECK_INT(ALIVE, data->magic);
  CHECK_INT(atomic_load(&counts.entered), atomic_load(&counts.left)); /* no call is running */
  data->magic = 0;
  atomic_fetch_add(&counts.freed, 1);
  free(data); /* a later use is seen by valgrind, a second free by everybody */
}

static int freed(void) { return atomic_load(&counts.freed); }

static hmkv_watcher *watch(struct gate *gate, bool push) {
  hmkv_watcher *watcher = NULL;
  CHECK_OK(hmkv_watch_open(kv, key, HMKV_NTS, HMKV_WATCH_OPTS(.userdata_free = free_data),
                           push ? use_data : NULL, new_data(gate), &watcher));
  return watcher;
}

static void close_frees_the_userdata(void) {
  for (int i = 0; i < 4; i++) {
    bool push = i % 2;
    hmkv_watcher *watcher = watch(NULL, push);
    for (int j = 0; j < 10; j++) change_put(kv, key, "value");
    if (push) WAIT_UNTIL(atomic_load(&counts.left) == 10);
    CHECK_INT(0, freed());
    CHECK_OK(i / 2 ? hmkv_watch_cb_cancel(watcher) : hmkv_watch_close(watcher)); /* the same */
    CHECK_INT(1, freed());
    CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_close(watcher));
    CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_cb_cancel(watcher));
    CHECK_INT(1, freed());
  }
}

struct closer {
  hmkv_watcher *watcher;
  atomic_bool returned;
  hmkv_status status;
};

static void *close_it(void *arg) {
  struct closer *closer = arg;
  closer->status = hmkv_watch_close(closer->watcher);
  atomic_store(&closer->returned, true);
  return NULL;
}

static void close_waits_for_the_callback_and_then_frees(void) {
  struct gate gate = GATE_CLOSED;
  struct closer closer = {.watcher = watch(&gate, true)};
  change_put(kv, key, "1");
  change_put(kv, key, "2");
  WAIT_UNTIL(atomic_load(&counts.entered) == 1);
  pthread_t thread = start_thread(close_it, &closer);
  HOLDS_FOR(200, !atomic_load(&closer.returned) && freed() == 0);
  gate_open(&gate);
  join_thread(thread);
  CHECK_OK(closer.status);
  CHECK_INT(1, freed());
  CHECK_INT(1, atomic_load(&counts.entered)); /* the second change is not told */
}

static void one_of_several_closes_finds_it_and_all_wait(void) {
  enum { CLOSERS = 4 };
  struct gate gate = GATE_CLOSED;
  struct closer closers[CLOSERS] = {{.watcher = watch(&gate, true)}};
  pthread_t threads[CLOSERS];
  change_put(kv, key, "1");
  WAIT_UNTIL(atomic_load(&counts.entered) == 1);
  for (int i = 0; i < CLOSERS; i++) {
    closers[i].watcher = closers[0].watcher;
    threads[i] = start_thread(close_it, &closers[i]);
  }
  for (int i = 0; i < CLOSERS; i++) HOLDS_FOR(50, !atomic_load(&closers[i].returned));
  CHECK_INT(0, freed());
  gate_open(&gate);
  int found = 0;
  for (int i = 0; i < CLOSERS; i++) {
    join_thread(threads[i]);
    found += closers[i].status == HMKV_OK;
    CHECK(closers[i].status == HMKV_OK || closers[i].status == HMKV_EHANDLE);
  }
  CHECK_INT(1, found);
  CHECK_INT(1, freed());
}

/* ---- from inside ---- */

struct inside {
  hmkv_watcher *watcher;
  struct gate known, leave;
  atomic_int calls, freed;
  atomic_bool closed, left;
};

static void close_from_inside(const hmkv_event *event, void *userdata) {
  struct inside *inside = userdata;
  (void)event;
  gate_pass(&inside->known);
  CHECK_OK(hmkv_watch_close(inside->watcher));
  CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_close(inside->watcher));
  atomic_fetch_add(&inside->calls, 1);
  atomic_store(&inside->closed, true);
  gate_pass(&inside->leave);
  CHECK_INT(0, atomic_load(&inside->freed)); /* this call is not over */
  atomic_store(&inside->left, true);
}

static void free_inside(void *userdata) {
  struct inside *inside = userdata;
  CHECK(atomic_load(&inside->left));
  CHECK_INT(0, atomic_fetch_add(&inside->freed, 1));
}

static void closed_from_inside_it_is_freed_after_that_call(void) {
  struct inside inside = {.known = GATE_CLOSED, .leave = GATE_CLOSED};
  CHECK_OK(hmkv_watch_open(kv, key, HMKV_NTS, HMKV_WATCH_OPTS(.userdata_free = free_inside),
                           close_from_inside, &inside, &inside.watcher));
  gate_open(&inside.known);
  for (int i = 0; i < 5; i++) change_put(kv, key, "value");
  WAIT_UNTIL(atomic_load(&inside.closed));
  CHECK_INT(0, atomic_load(&inside.freed));
  gate_open(&inside.leave);
  WAIT_UNTIL(atomic_load(&inside.freed) == 1);
  CHECK_INT(1, atomic_load(&inside.calls)); /* it ended with that call */
  CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_close(inside.watcher));
}

/* The end of a watch that overflowed; its userdata_free closes it. */
static void close_when_freed(void *userdata) {
  struct inside *inside = userdata;
  CHECK_OK(hmkv_watch_close(inside->watcher));
  CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_close(inside->watcher));
  CHECK_INT(0, atomic_fetch_add(&inside->freed, 1));
}

static void pass_gate(const hmkv_event *event, void *userdata) {
  struct inside *inside = userdata;
  atomic_fetch_add(&inside->calls, 1);
  if (event->type != HMKV_EVENT_END) gate_pass(&inside->known);
}

/* Too many changes come while the first of them is in the callback, if there is one. On
 * etcd they may come later than the puts are done. */
static void overflow(hmkv *store, size_t queue_max, atomic_int *entered) {
  change_put(store, key, "value");
  if (entered) WAIT_UNTIL(atomic_load(entered) == 1);
  for (size_t i = 0; i < queue_max + 10; i++) change_put(store, key, "value");
  WAIT_UNTIL(metric(store, "hmkv_watch_queue_depth") > (int64_t)queue_max);
}

static void closed_from_userdata_free_the_watcher_is_retired(void) {
  struct inside inside = {.known = GATE_CLOSED};
  CHECK_OK(hmkv_watch_open(kv, key, HMKV_NTS,
                           HMKV_WATCH_OPTS(.queue_max = 1, .on_overflow = HMKV_OVERFLOW_END,
                                           .userdata_free = close_when_freed),
                           pass_gate, &inside, &inside.watcher));
  overflow(kv, 1, &inside.calls);
  gate_open(&inside.known);
  WAIT_UNTIL(atomic_load(&inside.freed) == 1);
  const hmkv_event *event = NULL;
  WAIT_UNTIL(hmkv_watch_next(inside.watcher, 0, &event) == HMKV_EHANDLE);
}

/* ---- by the store ---- */

static void closing_the_store_frees_the_userdata(void) {
  struct recorder recorders[3] = {RECORDER, RECORDER, RECORDER};
  for (int i = 0; i < 3; i++) {
    hmkv_watcher *watcher = NULL;
    CHECK_OK(hmkv_watch_open(kv, key, HMKV_NTS,
                             HMKV_WATCH_OPTS(.prefix = i == 2, .userdata_free = recorder_freed),
                             i == 1 ? NULL : recorder_event, &recorders[i], &watcher));
  }
  change_put(kv, key, "value");
  recorder_wait(&recorders[0], 1);
  close_store(kv);
  kv = NULL;
  for (int i = 0; i < 3; i++) {
    CHECK_INT(1, atomic_load(&recorders[i].freed));
    recorder_free(&recorders[i]);
  }
}

static void of_a_callback_that_outlives_the_store_it_is_freed_after_it(void) {
  struct gate gate = GATE_CLOSED;
  hmkv *store = open_store("close_timeout=100ms"), *usual = kv;
  kv = store;
  watch(&gate, true);
  kv = usual;
  change_put(kv, key, "1");
  change_put(kv, key, "2");
  WAIT_UNTIL(atomic_load(&counts.entered) == 1);
  CHECK_STATUS(HMKV_TIMED_OUT, hmkv_close(store));
  HOLDS_FOR(50, freed() == 0);
  gate_open(&gate);
  WAIT_UNTIL(freed() == 1);
  CHECK_INT(1, atomic_load(&counts.entered));
}

/* ---- a watch that ended ---- */

static void after_the_last_event_it_is_freed_once(void) {
  for (int i = 0; i < 4; i++) {
    bool push = i % 2, close = i / 2;
    struct gate gate = GATE_CLOSED;
    struct recorder recorder = RECORDER;
    recorder.hold = push ? &gate : NULL;
    hmkv *store = open_store(NULL);
    hmkv_watcher *watcher = NULL;
    CHECK_OK(hmkv_watch_open(store, key, HMKV_NTS,
                             HMKV_WATCH_OPTS(.queue_max = 2, .on_overflow = HMKV_OVERFLOW_END,
                                             .userdata_free = recorder_freed),
                             push ? recorder_event : NULL, &recorder, &watcher));
    overflow(store, 2, push ? &recorder.entered : NULL);
    gate_open(&gate);
    int64_t deadline = now_ms() + patience_ms();
    while (recorder_count_of(&recorder, HMKV_EVENT_END) == 0 && now_ms() < deadline) {
      if (push)
        poll_pause();
      else
        recorder_pull(&recorder, watcher, recorder_count(&recorder) + 1);
    }
    if (close) CHECK_OK(hmkv_watch_close(watcher));
    if (close) CHECK_INT(1, atomic_load(&recorder.freed));
    close_store(store);
    CHECK_INT(1, recorder_count_of(&recorder, HMKV_EVENT_END));
    CHECK_INT(1, atomic_load(&recorder.freed));
    recorder_free(&recorder);
  }
}

/* ---- the two names of one call, and races ---- */

static bool ignore_change(const char *changed, const char *value, hmkv_keychange op,
                          void *userdata) {
  (void)changed, (void)value, (void)op, (void)userdata;
  return true;
}

static void either_call_ends_either_kind_of_watch(void) {
  for (int i = 0; i < 2; i++) {
    hmkv_status (*const end_it)(hmkv_watcher *) = i ? hmkv_watch_close : hmkv_watch_cb_cancel;
    hmkv_watcher *watchers[3] = {NULL, watch(NULL, true), watch(NULL, false)};
    CHECK_OK(hmkv_watch_cb(kv, key, 3, ignore_change, NULL, &watchers[0]));
    for (int j = 0; j < 3; j++) CHECK_OK(end_it(watchers[j]));
    CHECK_INT(2, freed()); /* of the two that have such a thing */
    for (int j = 0; j < 3; j++) {
      CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_close(watchers[j]));
      CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_cb_cancel(watchers[j]));
    }
  }
}

static void it_is_freed_right_after_while_changes_go_on(void) {
  struct changer changer = {.kv = kv, .prefix = key, .seed = 9};
  changer_start(&changer);
  for (int i = 0; i < rounds(500, 50); i++) {
    hmkv_watcher *watcher = NULL;
    CHECK_OK(hmkv_watch_open(kv, key, HMKV_NTS,
                             HMKV_WATCH_OPTS(.prefix = 1, .snapshot = i % 3 == 0, .queue_max = 3,
                                             .on_overflow = i % 3, .userdata_free = free_data),
                             use_data, new_data(NULL), &watcher));
    if (i % 2) WAIT_UNTIL(atomic_load(&counts.entered) > 0);
    CHECK_OK(hmkv_watch_close(watcher));
    CHECK_INT(1, freed());
  }
  changer_stop(&changer);
}

static void free_slowly(void *userdata) {
  poll_pause();
  free_data(userdata);
}

/* Closes the watch, or its store. */
static void close_while_it_is_busy(bool with_store) {
  struct changer changer = {.kv = kv, .prefix = key, .seed = 9};
  changer_start(&changer);
  for (int i = 0; i < rounds(200, 40); i++) {
    hmkv *store = with_store ? open_store(NULL) : kv;
    hmkv_watcher *watcher = NULL;
    CHECK_OK(hmkv_watch_open(store, key, HMKV_NTS,
                             HMKV_WATCH_OPTS(.prefix = 1, .userdata_free = free_slowly), use_data,
                             new_data(NULL), &watcher));
    WAIT_UNTIL(atomic_load(&counts.entered) > i % 5);
    CHECK_OK(with_store ? hmkv_close(store) : hmkv_watch_close(watcher));
    CHECK_INT(1, freed());
  }
  changer_stop(&changer);
}

static void close_does_not_return_before_it_is_freed(void) { close_while_it_is_busy(false); }

static void nor_does_close_of_the_store(void) { close_while_it_is_busy(true); }

static const struct test tests[] = {
    BOTH(close_frees_the_userdata),
    BOTH(close_waits_for_the_callback_and_then_frees),
    BOTH(one_of_several_closes_finds_it_and_all_wait),
    BOTH(closed_from_inside_it_is_freed_after_that_call),
    BOTH(closed_from_userdata_free_the_watcher_is_retired),
    BOTH(closing_the_store_frees_the_userdata),
    BOTH(of_a_callback_that_outlives_the_store_it_is_freed_after_it),
    BOTH(after_the_last_event_it_is_freed_once),
    BOTH(either_call_ends_either_kind_of_watch),
    BOTH(it_is_freed_right_after_while_changes_go_on),
    BOTH(close_does_not_return_before_it_is_freed),
    BOTH(nor_does_close_of_the_store),
};
TEST_MAIN(.begin = begin, .end = end)
