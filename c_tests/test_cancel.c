/* hmkv_watch_cb_cancel. Circles: test_cancel_circle.c, at random: test_cancel_storm.c. */
#include "events.h"
#include "test.h"

static hmkv *kv;

static void begin(void) { kv = open_store(NULL); }

static void end(void) {
  if (kv) close_store(kv);
}

static hmkv_watcher *watch(struct events *events) {
  hmkv_watcher *watcher = NULL;
  CHECK_OK(hmkv_watch_cb(kv, events->key, 3, events_record, events, &watcher));
  return watcher;
}

static void only_the_first_cancel_finds_it(void) {
  struct events events = EVENTS_OF(unique("key"));
  hmkv_watcher *watcher = watch(&events);
  CHECK_OK(hmkv_watch_cb_cancel(watcher));
  for (int i = 0; i < 3; i++) CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_cb_cancel(watcher));
  /* Its place may be taken by another watch, which the old handle does not find. */
  for (int i = 0; i < 100; i++) {
    struct events next = EVENTS_OF(events.key);
    hmkv_watcher *other = watch(&next);
    CHECK(other != watcher);
    CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_cb_cancel(watcher));
    CHECK_OK(hmkv_watch_cb_cancel(other));
  }
}

static void after_the_watch_ended_by_itself_the_handle_is_valid_once(void) {
  struct events by_false = EVENTS_OF(unique("key")), by_delete = EVENTS_OF(unique("key"));
  by_false.end_after = 1;
  hmkv_watcher *one = watch(&by_false), *two = watch(&by_delete);
  CHECK_OK(hmkv_store(kv, by_false.key, "value"));
  CHECK_OK(hmkv_store(kv, by_delete.key, "value"));
  CHECK_OK(hmkv_delete(kv, by_delete.key));
  events_wait(&by_false, 1);
  events_wait(&by_delete, 2);
  for (int i = 0; i < 10; i++) CHECK_OK(hmkv_store(kv, by_false.key, "later"));
  CHECK_OK(hmkv_watch_cb_cancel(one));
  CHECK_OK(hmkv_watch_cb_cancel(two));
  CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_cb_cancel(one));
  CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_cb_cancel(two));
  events_free(&by_false);
  events_free(&by_delete);
}

static void after_close_it_is_a_stale_handle(void) {
  struct events events = EVENTS_OF(unique("key"));
  hmkv_watcher *watcher = watch(&events);
  close_store(kv);
  kv = NULL;
  CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_cb_cancel(watcher));
  kv = open_store(NULL);
  CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_cb_cancel(watcher));
}

/* ---- from another thread, while the callback runs ---- */

enum { ALIVE = 0x11223344 };

struct data {
  volatile int magic;
  struct gate *gate;
  atomic_int entered;
  volatile int work;
};

static bool use_data(const char *key, const char *value, hmkv_keychange op, void *userdata) {
  (void)key, (void)value, (void)op;
  struct data *data = userdata;
  CHECK_INT(ALIVE, data->magic);
  atomic_fetch_add(&data->entered, 1);
  if (data->gate) gate_pass(data->gate);
  for (int i = 0; i < 1000; i++) data->work++;
  CHECK_INT(ALIVE, data->magic);
  return true;
}

static struct data *new_data(struct gate *gate) {
  struct data *data = calloc(1, sizeof *data);
  CHECK(data);
  data->magic = ALIVE;
  data->gate = gate;
  return data;
}

static void free_data(struct data *data) {
  data->magic = 0;
  memset(data, 0xdd, sizeof *data);
  free(data);
}

struct canceller {
  hmkv_watcher *watcher;
  atomic_bool returned;
  hmkv_status status;
};

static void *cancel(void *arg) {
  struct canceller *canceller = arg;
  canceller->status = hmkv_watch_cb_cancel(canceller->watcher);
  atomic_store(&canceller->returned, true);
  return NULL;
}

static void it_returns_when_the_callback_is_not_running_and_userdata_may_be_freed(void) {
  struct gate gate = GATE_CLOSED;
  struct data *data = new_data(&gate);
  const char *key = unique("key");
  struct canceller canceller = {0};
  CHECK_OK(hmkv_watch_cb(kv, key, 3, use_data, data, &canceller.watcher));
  CHECK_OK(hmkv_store(kv, key, "1"));
  CHECK_OK(hmkv_store(kv, key, "2"));
  WAIT_UNTIL(atomic_load(&data->entered) == 1);
  pthread_t thread = start_thread(cancel, &canceller);
  HOLDS_FOR(200, !atomic_load(&canceller.returned));
  gate_open(&gate);
  join_thread(thread);
  CHECK_OK(canceller.status);
  CHECK_INT(1, atomic_load(&data->entered)); /* the second change is not reported */
  free_data(data);
}

static void a_concurrent_second_cancel_waits_too(void) {
  enum { CANCELLERS = 4 };
  struct gate gate = GATE_CLOSED;
  struct data *data = new_data(&gate);
  const char *key = unique("key");
  struct canceller cancellers[CANCELLERS] = {{0}};
  pthread_t threads[CANCELLERS];
  CHECK_OK(hmkv_watch_cb(kv, key, 3, use_data, data, &cancellers[0].watcher));
  CHECK_OK(hmkv_store(kv, key, "1"));
  WAIT_UNTIL(atomic_load(&data->entered) == 1);
  for (int i = 0; i < CANCELLERS; i++) {
    cancellers[i].watcher = cancellers[0].watcher;
    threads[i] = start_thread(cancel, &cancellers[i]);
  }
  for (int i = 0; i < CANCELLERS; i++) HOLDS_FOR(60, !atomic_load(&cancellers[i].returned));
  gate_open(&gate);
  int found = 0;
  for (int i = 0; i < CANCELLERS; i++) {
    join_thread(threads[i]);
    found += cancellers[i].status == HMKV_OK;
    CHECK(cancellers[i].status == HMKV_OK || cancellers[i].status == HMKV_EHANDLE);
  }
  CHECK_INT(1, found);
  free_data(data);
}

static void *store_all_the_time(void *arg) {
  const char *key = ((void **)arg)[0];
  atomic_bool *stop = ((void **)arg)[1];
  while (!atomic_load(stop)) CHECK_OK(hmkv_store(kv, key, "value"));
  return NULL;
}

static void userdata_is_freed_right_after_while_changes_go_on(void) {
  const char *key = unique("key");
  atomic_bool stop = false;
  void *arg[] = {(void *)(uintptr_t)key, &stop};
  pthread_t threads[2];
  for (int i = 0; i < 2; i++) threads[i] = start_thread(store_all_the_time, arg);
  for (int i = 0; i < rounds(500, 50); i++) {
    struct data *data = new_data(NULL);
    hmkv_watcher *watcher = NULL;
    CHECK_OK(hmkv_watch_cb(kv, key, 3, use_data, data, &watcher));
    if (i % 2 == 0) WAIT_UNTIL(atomic_load(&data->entered) > 0);
    CHECK_OK(hmkv_watch_cb_cancel(watcher));
    free_data(data);
  }
  atomic_store(&stop, true);
  for (int i = 0; i < 2; i++) join_thread(threads[i]);
}

/* ---- from inside its own callback ---- */

struct own {
  hmkv_watcher *watcher;
  struct gate started; /* the watcher is known */
  atomic_int calls;
  hmkv_status first, second;
  bool go_on;
};

static bool cancel_itself(const char *key, const char *value, hmkv_keychange op, void *userdata) {
  (void)key, (void)value, (void)op;
  struct own *own = userdata;
  gate_pass(&own->started);
  own->first = hmkv_watch_cb_cancel(own->watcher);
  own->second = hmkv_watch_cb_cancel(own->watcher);
  atomic_fetch_add(&own->calls, 1);
  return own->go_on;
}

static void from_inside_its_own_callback_it_marks_and_returns(void) {
  for (int i = 0; i < 2; i++) {
    struct own own = {.started = GATE_CLOSED, .go_on = i == 0};
    const char *key = unique("key");
    CHECK_OK(hmkv_watch_cb(kv, key, 3, cancel_itself, &own, &own.watcher));
    gate_open(&own.started);
    for (int j = 0; j < 5; j++) CHECK_OK(hmkv_store(kv, key, "value"));
    WAIT_UNTIL(atomic_load(&own.calls) == 1);
    struct events witness = EVENTS_OF(key);
    hmkv_watcher *watcher = watch(&witness);
    for (int j = 0; j < 20; j++) CHECK_OK(hmkv_store(kv, key, "value"));
    events_wait(&witness, 20);
    CHECK_OK(hmkv_watch_cb_cancel(watcher));
    events_free(&witness);
    CHECK_INT(1, atomic_load(&own.calls)); /* it ended with that call */
    CHECK_STATUS(HMKV_OK, own.first);
    CHECK_STATUS(HMKV_EHANDLE, own.second);
    CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_cb_cancel(own.watcher));
  }
}

static bool cancel_other(const char *key, const char *value, hmkv_keychange op, void *userdata) {
  (void)key, (void)value, (void)op;
  struct own *own = userdata;
  gate_pass(&own->started);
  own->first = hmkv_watch_cb_cancel(own->watcher);
  atomic_fetch_add(&own->calls, 1);
  return true;
}

static void a_callback_may_cancel_another_watch(void) {
  struct own own = {.started = GATE_CLOSED};
  struct events victim = EVENTS_OF(unique("victim"));
  const char *key = unique("key");
  hmkv_watcher *watcher = NULL;
  own.watcher = watch(&victim);
  CHECK_OK(hmkv_watch_cb(kv, key, 3, cancel_other, &own, &watcher));
  gate_open(&own.started);
  CHECK_OK(hmkv_store(kv, key, "value"));
  WAIT_UNTIL(atomic_load(&own.calls) == 1);
  CHECK_STATUS(HMKV_OK, own.first);
  CHECK_OK(hmkv_store(kv, victim.key, "value"));
  CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_cb_cancel(own.watcher));
  CHECK_OK(hmkv_watch_cb_cancel(watcher));
  CHECK_INT(0, events_count(&victim));
}

/* ---- after a cancel from inside, while that callback still runs ---- */

struct self_cancelling {
  hmkv_watcher *watcher;
  struct gate known, leave;
  atomic_bool cancelled, left;
  atomic_int tid;
};

static bool cancel_itself_and_stay(const char *key, const char *value, hmkv_keychange op,
                                   void *userdata) {
  (void)key, (void)value, (void)op;
  struct self_cancelling *self = userdata;
  gate_pass(&self->known);
  CHECK_OK(hmkv_watch_cb_cancel(self->watcher));
  atomic_store(&self->cancelled, true);
  gate_pass(&self->leave);
  atomic_store(&self->left, true);
  return true;
}

static void *cancel_from_outside(void *arg) {
  struct self_cancelling *self = arg;
  atomic_store(&self->tid, (int)thread_id());
  CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_cb_cancel(self->watcher));
  CHECK(atomic_load(&self->left));
  return NULL;
}

static void *close_from_outside(void *arg) {
  struct self_cancelling *self = arg;
  atomic_store(&self->tid, (int)thread_id());
  CHECK_OK(hmkv_close(kv));
  CHECK(atomic_load(&self->left));
  kv = NULL;
  return NULL;
}

static void waits_for_the_callback(void *(*call)(void *)) {
  struct self_cancelling self = {.known = GATE_CLOSED, .leave = GATE_CLOSED};
  const char *key = unique("key");
  hmkv *other = open_store(NULL); /* keeps the callback threads */
  CHECK_OK(hmkv_watch_cb(kv, key, 3, cancel_itself_and_stay, &self, &self.watcher));
  gate_open(&self.known);
  CHECK_OK(hmkv_store(kv, key, "value"));
  WAIT_UNTIL(atomic_load(&self.cancelled));
  pthread_t thread = start_thread(call, &self);
  WAIT_UNTIL(atomic_load(&self.tid) != 0);
  wait_until_blocked(atomic_load(&self.tid));
  gate_open(&self.leave);
  join_thread(thread);
  close_store(other);
}

static void after_a_cancel_from_inside_one_from_outside_waits(void) {
  waits_for_the_callback(cancel_from_outside);
}

static void after_a_cancel_from_inside_close_waits(void) {
  waits_for_the_callback(close_from_outside);
}

static void cancelling_one_leaves_the_others(void) {
  const char *key = unique("key");
  struct events gone = EVENTS_OF(key), stays = EVENTS_OF(key);
  hmkv_watcher *one = watch(&gone), *two = watch(&stays);
  CHECK_OK(hmkv_watch_cb_cancel(one));
  for (int i = 0; i < 10; i++) CHECK_OK(hmkv_store(kv, key, text("%d", i)));
  events_wait(&stays, 10);
  CHECK_INT(0, events_count(&gone));
  CHECK_OK(hmkv_watch_cb_cancel(two));
  events_free(&stays);
}

static const struct test tests[] = {
    BOTH(only_the_first_cancel_finds_it),
    BOTH(after_the_watch_ended_by_itself_the_handle_is_valid_once),
    BOTH(after_close_it_is_a_stale_handle),
    BOTH(it_returns_when_the_callback_is_not_running_and_userdata_may_be_freed),
    BOTH(a_concurrent_second_cancel_waits_too),
    BOTH(userdata_is_freed_right_after_while_changes_go_on),
    BOTH(from_inside_its_own_callback_it_marks_and_returns),
    BOTH(a_callback_may_cancel_another_watch),
    BOTH(after_a_cancel_from_inside_one_from_outside_waits),
    BOTH(after_a_cancel_from_inside_close_waits),
    BOTH(cancelling_one_leaves_the_others),
};
TEST_MAIN(.begin = begin, .end = end)
