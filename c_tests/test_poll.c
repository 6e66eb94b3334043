/* dispatch=poll: callbacks run in hmkv_dispatch() alone, told by one descriptor. */
#include "events.h"
#include "locks.h"
#include "process.h"
#include "states.h"
#include "test.h"

#include <poll.h>
#include <sys/epoll.h>

static hmkv *kv;
static pthread_t me;

static void begin(void) {
  kv = open_store("dispatch=poll,temp_ttl=4s");
  me = pthread_self();
}

static void end(void) { close_store(kv); }

static bool readable(void) {
  struct pollfd ready = {.fd = hmkv_fd(kv), .events = POLLIN};
  return poll(&ready, 1, 0) == 1;
}

/* Runs at most `max`; how many it were. */
static size_t dispatch(size_t max) {
  size_t ran = 99;
  hmkv_status status = hmkv_dispatch(kv, max, &ran);
  CHECK_INT(ran > 0 ? HMKV_OK : HMKV_TIMED_OUT, status);
  CHECK(ran <= max);
  return ran;
}

/* As an event loop would. */
#define DISPATCH_UNTIL(cond)                          \
  WAIT_UNTIL((readable() ? (void)dispatch(100) : (void)0, (cond)))

/* ---- callbacks that count, and know their thread ---- */

static int calls;

static void count_call(void) {
  CHECK(pthread_equal(me, pthread_self()));
  calls++;
}

static void on_event(const hmkv_event *event, void *userdata) {
  (void)event, (void)userdata;
  count_call();
}

static int mirrored;

static void on_mirrored(const hmkv_event *event, void *userdata) {
  on_event(event, userdata);
  mirrored++;
}

static bool on_change(const char *key, const char *value, hmkv_keychange op, void *userdata) {
  (void)key, (void)value, (void)op, (void)userdata;
  count_call();
  return true;
}

static void on_done(hmkv_result *result, void *userdata) {
  count_call();
  *(hmkv_status *)userdata = hmkv_result_status(result);
  hmkv_result_free(result);
}

static void on_lost(hmkv_status status, const char *detail, void *userdata) {
  (void)detail, (void)userdata;
  CHECK_INT(HMKV_ELOST, status);
  count_call();
}

static void on_state(hmkv_state state, const char *detail, void *userdata) {
  (void)state, (void)detail, (void)userdata;
  count_call();
}

static void on_acquired(hmkv_status status, hmkv_lock *lock, void *userdata) {
  count_call();
  *(hmkv_status *)userdata = status;
  if (status == HMKV_OK) (void)hmkv_lock_release(lock); /* it may be lost by now */
}

static hmkv_watcher *watch_it(const char *key) {
  hmkv_watcher *watcher;
  CHECK_OK(hmkv_watch_open(kv, key, HMKV_NTS, NULL, on_event, NULL, &watcher));
  return watcher;
}

/* ---- the descriptor ---- */

static void it_is_readable_exactly_while_callbacks_are_ready(void) {
  const char *key = unique("key");
  hmkv_watcher *watcher = watch_it(key);
  dispatch(100); /* it may have been woken for nothing */
  calls = 0;
  HOLDS_FOR(50, !readable());
  for (int round = 1; round <= 20; round++) {
    CHECK_OK(hmkv_store(kv, key, "value"));
    WAIT_UNTIL(readable());
    CHECK(readable()); /* asking does not change it */
    CHECK_INT(round - 1, calls);
    CHECK_INT(1, dispatch(100));
    CHECK(!readable());
    CHECK_INT(round, calls);
  }
  CHECK_INT(0, dispatch(100));
  CHECK_OK(hmkv_watch_close(watcher));
}

static void it_stays_the_same(void) {
  int fd = hmkv_fd(kv);
  CHECK(fd >= 0);
  const char *key = unique("key");
  hmkv_watcher *watcher = watch_it(key);
  calls = 0;
  for (int i = 1; i <= 100; i++) {
    CHECK_OK(hmkv_store(kv, key, "value"));
    DISPATCH_UNTIL(calls == i);
    CHECK_INT(fd, hmkv_fd(kv));
  }
  CHECK_OK(hmkv_watch_close(watcher));
  CHECK_INT(fd, hmkv_fd(kv));
}

static void each_store_has_its_own(void) {
  hmkv *other = open_store("dispatch=poll");
  CHECK(hmkv_fd(kv) != hmkv_fd(other));
  const char *key = unique("key");
  hmkv_watcher *watcher = watch_it(key);
  calls = 0;
  CHECK_OK(hmkv_store(other, key, "value"));
  WAIT_UNTIL(readable());
  size_t ran;
  CHECK_INT(HMKV_TIMED_OUT, hmkv_dispatch(other, 100, &ran));
  DISPATCH_UNTIL(calls == 1);
  CHECK_OK(hmkv_watch_close(watcher));
  close_store(other);
}

static void without_the_option_there_is_none(void) {
  hmkv *other = open_store("dispatch=thread");
  size_t ran = 99;
  CHECK_INT(-1, hmkv_fd(other));
  CHECK(strstr(hmkv_errmsg(), "dispatch=poll"));
  CHECK_STATUS(HMKV_EINVAL, hmkv_dispatch(other, 1, &ran));
  CHECK_INT(0, ran);
  close_store(other);
  CHECK_INT(-1, hmkv_fd(other));
  CHECK_INT(-1, hmkv_fd(NULL));
  CHECK_STATUS(HMKV_EHANDLE, hmkv_dispatch(other, 1, NULL));
}

static void as_child(void *unused) {
  (void)unused;
  CHECK_INT(-1, hmkv_fd(kv));
  CHECK_STATUS(HMKV_EFORKED, hmkv_dispatch(kv, 1, NULL));
}

static void a_forked_child_has_none(void) { in_fork(as_child, NULL); }

/* ---- what runs, and where ---- */

static void no_callback_of_any_kind_runs_elsewhere(void) {
  const char *key = unique("key"), *lock = unique("lock"), *temp = unique("temp");
  hmkv_status done = 1, got = 1;
  hmkv_watcher *all = watch_it(key), *text, *leader;
  hmkv_lease *lease;
  hmkv_lock *held, *other;
  hmkv_mirror *mirror;
  CHECK_OK(hmkv_mirror_open(kv, key, HMKV_NTS, on_mirrored, NULL, &mirror));
  CHECK_OK(hmkv_watch_cb(kv, key, HMKV_KEYCHANGE_PUT, on_change, NULL, &text));
  CHECK_OK(hmkv_lock_observe(kv, lock, on_event, NULL, &leader));
  CHECK_OK(hmkv_on_state(kv, on_state, NULL));
  CHECK_OK(hmkv_lease_grant(kv, 4000, on_lost, NULL, &lease));
  CHECK_OK(hmkv_lock_acquire(kv, lock, NULL, on_lost, NULL, &held));
  CHECK_OK(hmkv_lock_acquire(kv, unique("lock"), HMKV_LOCK_OPTS(.acquired = on_acquired), NULL,
                             &got, &other));
  CHECK_OK(hmkv_temp_key(kv, temp));
  CHECK_OK(hmkv_store(kv, key, "value"));
  hmkv_then(hmkv_ping(kv), on_done, &done);
  lose_lease(kv, temp);
  calls = mirrored = 0;
  HOLDS_FOR(300, calls == 0 && mirrored == 0);
  CHECK_INT(1, done);
  /* watch, watch_cb, leader, lease lost, restored, acquired, then; of the mirror SYNCED
   * and PUT */
  DISPATCH_UNTIL(calls >= 9 && mirrored == 2 && done == HMKV_OK && got == HMKV_OK);
  CHECK_OK(hmkv_mirror_close(mirror));
  CHECK_OK(hmkv_watch_close(all));
  CHECK_OK(hmkv_watch_cb_cancel(text));
  CHECK_OK(hmkv_watch_close(leader));
  /* On mem: the fault is one of all leases. */
  hmkv_status expected = on_etcd() ? HMKV_OK : HMKV_ELOST;
  CHECK_STATUS(expected, hmkv_lock_release(held));
  CHECK_STATUS(expected, hmkv_lease_close(lease, true));
}

static void what_is_left_is_an_edge_again(void) {
  hmkv_status done[3];
  int set = epoll_create1(EPOLL_CLOEXEC), fd = hmkv_fd(kv);
  struct epoll_event edge = {.events = EPOLLIN | EPOLLET}, got;
  CHECK_INT(0, epoll_ctl(set, EPOLL_CTL_ADD, fd, &edge));
  for (int i = 0; i < 3; i++) hmkv_then(hmkv_ping(kv), on_done, &done[i]);
  calls = 0;
  while (calls < 3) {
    CHECK_INT(1, epoll_wait(set, &got, 1, (int)patience_ms()));
    dispatch(1);
  }
  close(set);
}

static void at_most_max_run(void) {
  const char *key = unique("key");
  hmkv_watcher *watcher = watch_it(key);
  dispatch(100);
  hmkv_status done[5];
  for (int i = 0; i < 5; i++) hmkv_then(hmkv_ping(kv), on_done, &done[i]);
  for (int i = 0; i < 200; i++) CHECK_OK(hmkv_store(kv, key, "value"));
  calls = 0;
  int expected = 0;
  for (size_t max = 1; expected < 205; max = max % 7 + 1) {
    WAIT_UNTIL(readable());
    expected += (int)dispatch(max);
    CHECK_INT(expected, calls);
  }
  HOLDS_FOR(50, !readable());
  CHECK_STATUS(HMKV_EINVAL, hmkv_dispatch(kv, 0, NULL));
  CHECK_OK(hmkv_watch_close(watcher));
}

static void a_busy_watch_lets_others_come_between(void) {
  const char *busy = unique("busy"), *quiet = unique("quiet");
  struct events events = EVENTS_OF(quiet);
  hmkv_watcher *one = watch_it(busy), *two;
  CHECK_OK(hmkv_watch_cb(kv, quiet, HMKV_KEYCHANGE_PUT, events_record, &events, &two));
  dispatch(100);
  for (int i = 0; i < 1000; i++) CHECK_OK(hmkv_store(kv, busy, "value"));
  CHECK_OK(hmkv_store(kv, quiet, "value"));
  calls = 0;
  WAIT_UNTIL((readable() ? (void)dispatch(1) : (void)0, events_count(&events) == 1));
  CHECK(calls < 1000);
  DISPATCH_UNTIL(calls == 1000);
  CHECK_OK(hmkv_watch_cb_cancel(two));
  CHECK_OK(hmkv_watch_close(one));
  events_free(&events);
}

static void calls_that_wait_need_no_dispatching(void) {
  const char *key = unique("key"), *lock = unique("lock"), *temp = unique("temp");
  hmkv_lock *held;
  hmkv *other = open_store(NULL);
  CHECK_OK(hmkv_on_state(kv, on_state, NULL));
  CHECK_OK(hmkv_store(kv, key, "value"));
  CHECK_VALUE(kv, key, "value");
  CHECK_OK(hmkv_temp_key(kv, temp));
  int64_t before = lease_of(kv, temp);
  lose_lease(kv, temp);
  WAIT_UNTIL(has_key(other, temp) && lease_of(other, temp) != before);
  CHECK_OK(hmkv_lock_acquire(kv, lock, NULL, on_lost, NULL, &held));
  CHECK_OK(hmkv_delete(other, queue_key(other, lock, 0)));
  WAIT_UNTIL(hmkv_lock_left_ms(held) == 0);
  CHECK_STATUS(HMKV_ELOST, hmkv_lock_release(held));
  close_store(other);
}

/* ---- from inside callbacks ---- */

static hmkv_watcher *own;

static void close_own(const hmkv_event *event, void *userdata) {
  (void)event, (void)userdata;
  count_call();
  CHECK_STATUS(HMKV_EINCALLBACK, hmkv_dispatch(kv, 1, NULL));
  CHECK_STATUS(HMKV_EINCALLBACK, hmkv_close(kv));
  CHECK_OK(hmkv_store(kv, unique("inside"), "value"));
  CHECK_OK(hmkv_watch_close(own));
}

static atomic_int freed;
static void on_free(void *userdata) {
  (void)userdata;
  atomic_fetch_add(&freed, 1);
}

static void a_callback_may_do_all_but_dispatch_and_close(void) {
  const char *key = unique("key");
  atomic_store(&freed, 0);
  CHECK_OK(hmkv_watch_open(kv, key, HMKV_NTS, HMKV_WATCH_OPTS(.userdata_free = on_free),
                           close_own, &own, &own));
  calls = 0;
  CHECK_OK(hmkv_store(kv, key, "1"));
  CHECK_OK(hmkv_store(kv, key, "2"));
  DISPATCH_UNTIL(atomic_load(&freed) == 1);
  CHECK_INT(1, calls);
  CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_close(own));
}

static hmkv *inner; /* another store */

static void close_the_outer(hmkv_result *result, void *userdata) {
  (void)userdata;
  count_call();
  hmkv_result_free(result);
  /* This callback of `inner` runs inside one of `kv`. */
  CHECK_STATUS(HMKV_EINCALLBACK, hmkv_dispatch(kv, 1, NULL));
  CHECK_STATUS(HMKV_EINCALLBACK, hmkv_close(kv));
  CHECK(hmkv_dispatch(inner, 1, NULL) < 0); /* its own, also while it is closed */
  if (own) CHECK_OK(hmkv_watch_close(own));
  own = NULL;
}

static void dispatch_the_inner(const hmkv_event *event, void *userdata) {
  (void)event, (void)userdata;
  count_call();
  int before = calls;
  hmkv_then(hmkv_ping(inner), close_the_outer, NULL);
  WAIT_UNTIL((CHECK(hmkv_dispatch(inner, 10, NULL) >= 0), calls == before + 1));
  hmkv_then(hmkv_ping(inner), close_the_outer, NULL);
  CHECK_OK(hmkv_close(inner));
  CHECK_INT(before + 2, calls);
  CHECK_STATUS(HMKV_EINCALLBACK, hmkv_dispatch(kv, 1, NULL));
}

static void callbacks_of_another_store_may_run_inside_one(void) {
  const char *key = unique("key");
  inner = open_store("dispatch=poll");
  atomic_store(&freed, 0);
  CHECK_OK(hmkv_watch_open(kv, key, HMKV_NTS, HMKV_WATCH_OPTS(.userdata_free = on_free),
                           dispatch_the_inner, NULL, &own));
  calls = 0;
  CHECK_OK(hmkv_store(kv, key, "1"));
  CHECK_OK(hmkv_store(kv, key, "2"));
  DISPATCH_UNTIL(atomic_load(&freed) == 1);
  CHECK_INT(3, calls);
}

/* ---- threads ---- */

enum { DISPATCHERS = 4, CHANGES = 1000 };
static atomic_int delivered, inside;

static void on_one_at_a_time(const hmkv_event *event, void *userdata) {
  (void)event, (void)userdata;
  CHECK_INT(0, atomic_fetch_add(&inside, 1));
  atomic_fetch_add(&delivered, 1);
  atomic_fetch_sub(&inside, 1);
}

static void *dispatching(void *unused) {
  int64_t late = now_ms() + patience_ms();
  struct pollfd ready = {.fd = hmkv_fd(kv), .events = POLLIN};
  while (atomic_load(&delivered) < CHANGES) {
    if (poll(&ready, 1, 20) == 1) CHECK(hmkv_dispatch(kv, 3, NULL) >= 0);
    CHECK(now_ms() < late);
  }
  return unused;
}

static void several_threads_may_share_the_work(void) {
  const char *key = unique("key");
  hmkv_watcher *watcher;
  pthread_t thread[DISPATCHERS];
  atomic_store(&delivered, 0);
  CHECK_OK(hmkv_watch_open(kv, key, HMKV_NTS, NULL, on_one_at_a_time, NULL, &watcher));
  for (int i = 0; i < DISPATCHERS; i++) thread[i] = start_thread(dispatching, NULL);
  for (int i = 0; i < CHANGES; i++) CHECK_OK(hmkv_store(kv, key, "value"));
  for (int i = 0; i < DISPATCHERS; i++) join_thread(thread[i]);
  CHECK_INT(CHANGES, atomic_load(&delivered));
  CHECK_OK(hmkv_watch_close(watcher));
}

/* ---- closing ---- */

static void closing_runs_what_is_promised_and_nothing_else(void) {
  const char *key = unique("key"), *lock = unique("lock");
  hmkv_lock *held = take(kv, lock, NULL), *waiting;
  hmkv *store = kv;
  kv = open_store("dispatch=poll,timeout=1m");
  hmkv_status done = 1, got = 1;
  watch_it(key);
  CHECK_OK(hmkv_lock_acquire(kv, lock,
                             HMKV_LOCK_OPTS(.wait_ms = HMKV_FOREVER, .acquired = on_acquired),
                             NULL, &got, &waiting));
  WAIT_UNTIL(queue_length(store, lock) == 2);
  CHECK_OK(hmkv_store(kv, key, "value"));
  hmkv_then(hmkv_ping(kv), on_done, &done);
  WAIT_UNTIL(readable());
  calls = 0;
  CHECK_OK(hmkv_close(kv));
  CHECK_INT(2, calls);
  CHECK(done != 1);
  CHECK_INT(HMKV_ECLOSED, got);
  kv = store;
  CHECK_OK(hmkv_lock_release(held));
}

static void a_lock_that_closing_released_is_not_told_as_held(void) {
  hmkv *store = kv;
  hmkv_lock *lock;
  hmkv_status got = 1;
  kv = open_store("dispatch=poll");
  CHECK_OK(hmkv_lock_acquire(kv, unique("lock"), HMKV_LOCK_OPTS(.acquired = on_acquired), NULL,
                             &got, &lock));
  WAIT_UNTIL(readable());
  calls = 0;
  CHECK_OK(hmkv_close(kv));
  CHECK_INT(1, calls);
  CHECK_INT(HMKV_ECLOSED, got);
  kv = store;
}

static atomic_int slept;
static void on_slow(hmkv_result *result, void *userdata) {
  (void)userdata;
  hmkv_result_free(result);
  atomic_fetch_add(&slept, 1);
  usleep(20000);
}

static void closing_ends_in_time_though_much_is_promised(void) {
  hmkv *store = kv;
  kv = open_store("dispatch=poll,close_timeout=100ms");
  enum { PROMISED = 500 };
  atomic_store(&slept, 0);
  for (int i = 0; i < PROMISED; i++) hmkv_then(hmkv_ping(kv), on_slow, NULL);
  CHECK_STATUS(HMKV_TIMED_OUT, hmkv_close(kv));
  CHECK(atomic_load(&slept) < PROMISED);
  kv = store;
}

static void closing_does_not_wait_for_callbacks_that_wait_for_their_turn(void) {
  hmkv *store = kv;
  kv = open_store("dispatch=poll,close_timeout=1h");
  const char *key = unique("key");
  atomic_store(&freed, 0);
  hmkv_watcher *watcher;
  CHECK_OK(hmkv_watch_open(kv, key, HMKV_NTS, HMKV_WATCH_OPTS(.userdata_free = on_free), on_event,
                           &freed, &watcher));
  for (int i = 0; i < 100; i++) CHECK_OK(hmkv_store(kv, key, "value"));
  WAIT_UNTIL(readable());
  calls = 0;
  CHECK_OK(hmkv_close(kv));
  CHECK_INT(0, calls);
  CHECK_INT(1, atomic_load(&freed));
  kv = store;
}

static const struct test tests[] = {
    BOTH(it_is_readable_exactly_while_callbacks_are_ready),
    BOTH(it_stays_the_same),
    BOTH(each_store_has_its_own),
    BOTH(without_the_option_there_is_none),
    BOTH(a_forked_child_has_none),
    BOTH(no_callback_of_any_kind_runs_elsewhere),
    BOTH(what_is_left_is_an_edge_again),
    BOTH(at_most_max_run),
    BOTH(a_busy_watch_lets_others_come_between),
    BOTH(calls_that_wait_need_no_dispatching),
    BOTH(a_callback_may_do_all_but_dispatch_and_close),
    BOTH(callbacks_of_another_store_may_run_inside_one),
    BOTH(several_threads_may_share_the_work),
    BOTH(closing_runs_what_is_promised_and_nothing_else),
    BOTH(a_lock_that_closing_released_is_not_told_as_held),
    BOTH(closing_ends_in_time_though_much_is_promised),
    BOTH(closing_does_not_wait_for_callbacks_that_wait_for_their_turn),
};
TEST_MAIN(.begin = begin, .end = end)
