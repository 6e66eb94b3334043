/* Named locks acquired without waiting: option `acquired`. */
#include "locks.h"
#include "test.h"

static const char *name;
static hmkv *one, *two;
static struct told told;

static void begin(void) {
  name = unique("lock");
  one = open_store(NULL);
  two = open_store(NULL);
  memset(&told, 0, sizeof told);
}

static void end(void) {
  if (one) close_store(one);
  close_store(two);
}

static hmkv_lock *ask_with(hmkv *kv, struct told *its, hmkv_lock_opts opts) {
  hmkv_lock *lock = NULL;
  opts.acquired = told_acquired;
  CHECK_OK(hmkv_lock_acquire(kv, name, &opts, told_lost, its, &lock));
  CHECK(lock);
  return lock;
}

static hmkv_lock *ask(hmkv *kv, struct told *its) {
  return ask_with(kv, its, *HMKV_LOCK_OPTS(.wait_ms = 0));
}

static void check_acquired(struct told *its, hmkv_status status, hmkv_lock *lock) {
  WAIT_UNTIL(atomic_load(&its->acquired) == 1);
  CHECK_STATUS(status, its->status);
  CHECK(its->lock == lock);
  if (status == HMKV_OK) CHECK(its->token > 0);
  if (status != HMKV_OK) CHECK_INT(HMKV_EHANDLE, its->token); /* retired by then */
}

static void check_retired(hmkv_lock *lock) {
  CHECK_INT(HMKV_EHANDLE, hmkv_lock_token(lock));
  CHECK_INT(HMKV_EHANDLE, hmkv_lock_left_ms(lock));
  CHECK_STATUS(HMKV_EHANDLE, hmkv_lock_set(lock, "value", HMKV_NTS));
  CHECK_STATUS(HMKV_EHANDLE, hmkv_lock_release(lock));
}

static void a_free_lock_is_acquired(void) {
  hmkv_lock *lock = ask(one, &told);
  check_acquired(&told, HMKV_OK, lock);
  CHECK(hmkv_lock_token(lock) > 0);
  CHECK(hmkv_lock_left_ms(lock) > 0);
  check_busy(two, name);
  CHECK_OK(hmkv_lock_release(lock));
  CHECK_INT(0, queue_length(two, name));
  CHECK_INT(1, atomic_load(&told.acquired));
  CHECK_INT(0, atomic_load(&told.lost));
}

static void it_returns_at_once_and_acquired_is_called_when_it_is_held(void) {
  hmkv_lock *holder = take(two, name, NULL);
  int64_t token = hmkv_lock_token(holder);
  hmkv_lock *lock = ask(one, &told);
  WAIT_UNTIL(queue_length(two, name) == 2);
  CHECK_INT(0, hmkv_lock_token(lock));
  CHECK_INT(0, hmkv_lock_left_ms(lock));
  CHECK_STATUS(HMKV_BUSY, hmkv_lock_set(lock, "early", HMKV_NTS));
  HOLDS_FOR(200, atomic_load(&told.acquired) == 0);
  CHECK_OK(hmkv_lock_release(holder));
  check_acquired(&told, HMKV_OK, lock);
  CHECK(hmkv_lock_token(lock) > token);
  CHECK_OK(hmkv_lock_set(lock, "now", HMKV_NTS));
  CHECK_VALUE(two, queue_key(two, name, 0), "now");
  CHECK_OK(hmkv_lock_release(lock));
  check_retired(lock);
  CHECK_INT(1, atomic_load(&told.acquired));
}

static void it_never_blocks(void) {
  enum { ATTEMPTS = 20 };
  struct told each[ATTEMPTS] = {{0}};
  hmkv *dead = open_at(dead_endpoint(), "timeout=100s");
  int64_t begin_ms = now_ms();
  for (int i = 0; i < ATTEMPTS; i++) ask(dead, &each[i]);
  CHECK(now_ms() - begin_ms < 30000);
  for (int i = 0; i < ATTEMPTS; i++) CHECK_INT(0, atomic_load(&each[i].acquired));
  close_store(dead);
  CHECK(now_ms() - begin_ms < 60000);
}

static void a_loss_is_told_afterwards(void) {
  hmkv_lock *lock = ask(one, &told);
  check_acquired(&told, HMKV_OK, lock);
  CHECK_OK(hmkv_delete(two, queue_key(two, name, 0)));
  WAIT_UNTIL(atomic_load(&told.lost) == 1);
  CHECK_INT(0, hmkv_lock_left_ms(lock));
  CHECK_STATUS(HMKV_ELOST, hmkv_lock_release(lock));
  CHECK_INT(1, atomic_load(&told.acquired));
}

static void with_try_a_held_lock_is_busy_and_the_handle_retired(void) {
  static const int64_t waits[] = {HMKV_TRY, 1, 400};
  hmkv_lock *holder = take(two, name, NULL);
  for (int i = 0; i < 3; i++) {
    memset(&told, 0, sizeof told);
    hmkv_lock *lock = ask_with(one, &told, *HMKV_LOCK_OPTS(.wait_ms = waits[i]));
    check_acquired(&told, HMKV_BUSY, lock);
    check_retired(lock);
    CHECK_INT(1, queue_length(two, name));
    CHECK_INT(1, atomic_load(&told.acquired));
    CHECK_INT(0, atomic_load(&told.lost));
  }
  CHECK(hmkv_lock_left_ms(holder) > 0);
}

static void with_try_a_free_lock_is_acquired(void) {
  hmkv_lock *lock = ask_with(one, &told, *HMKV_LOCK_OPTS(.wait_ms = HMKV_TRY));
  check_acquired(&told, HMKV_OK, lock);
  CHECK_OK(hmkv_lock_release(lock));
}

static void a_dead_server_is_unavailable_with_a_reason(void) {
  hmkv *dead = open_at(dead_endpoint(), "timeout=400ms");
  hmkv_lock *lock = ask(dead, &told);
  check_acquired(&told, HMKV_EUNAVAIL, lock);
  CHECK(*told.reason);
  check_retired(lock);
  close_store(dead);
  CHECK_INT(1, atomic_load(&told.acquired));
}

/* ---- giving up ---- */

static void a_release_gives_up_waiting_and_acquired_runs_no_more(void) {
  hmkv_lock *holder = take(two, name, NULL);
  hmkv_lock *lock = ask(one, &told);
  WAIT_UNTIL(queue_length(two, name) == 2);
  CHECK_OK(hmkv_lock_release(lock));
  CHECK_INT(0, atomic_load(&told.running));
  int called = atomic_load(&told.acquired);
  check_retired(lock);
  WAIT_UNTIL(queue_length(two, name) == 1);
  CHECK_OK(hmkv_lock_release(holder));
  HOLDS_FOR(200, atomic_load(&told.acquired) == called);
  CHECK_OK(hmkv_lock_release(take(two, name, NULL)));
}

/* Given up at any moment of the attempt: never called after that, and no key left. */
static void a_release_at_any_moment_leaves_nothing(void) {
  for (int i = 0; i < rounds(300, 30); i++) {
    struct told *own = calloc(1, sizeof *own);
    CHECK(own);
    hmkv_lock *holder = NULL;
    if (i % 3 == 0) holder = take_with(two, name, HMKV_LOCK_OPTS(.wait_ms = 60000), NULL);
    hmkv_lock *lock = ask_with(one, own, *HMKV_LOCK_OPTS(.ttl_ms = 300000));
    for (int pause = 0; pause < i % 7 && atomic_load(&own->acquired) == 0; pause++) poll_pause();
    CHECK_OK(hmkv_lock_release(lock));
    CHECK_INT(0, atomic_load(&own->running));
    CHECK(atomic_load(&own->acquired) <= 1);
    CHECK_INT(0, atomic_load(&own->lost));
    memset(own, 0xdd, sizeof *own);
    free(own);
    if (holder) CHECK_OK(hmkv_lock_release(holder));
    WAIT_UNTIL(queue_length(two, name) == 0);
  }
}

static void what_a_release_gave_up_is_in_nobodys_way(void) {
  for (int i = 0; i < rounds(100, 10); i++) {
    hmkv_lock *lock = ask(one, &told);
    for (int pause = 0; pause < i % 5; pause++) poll_pause();
    CHECK_OK(hmkv_lock_release(lock));
    CHECK_OK(hmkv_lock_release(take(two, name, NULL)));
  }
}

static void the_next_is_not_held_up_by_one_that_gave_up(void) {
  struct waiter last;
  hmkv_lock *holder = take(two, name, NULL);
  hmkv_lock *lock = ask(one, &told);
  WAIT_UNTIL(queue_length(two, name) == 2);
  waiter_start(&last, two, name, NULL);
  CHECK_OK(hmkv_lock_release(lock));
  HOLDS_FOR(200, !atomic_load(&last.returned));
  CHECK_OK(hmkv_lock_release(holder));
  CHECK_OK(waiter_join(&last));
  CHECK_OK(hmkv_lock_release(last.lock));
}

struct releasing {
  hmkv_lock *lock;
  hmkv_status status;
  atomic_bool returned;
};

static void *release(void *arg) {
  struct releasing *releasing = arg;
  releasing->status = hmkv_lock_release(releasing->lock);
  atomic_store(&releasing->returned, true);
  return NULL;
}

static void a_release_waits_for_acquired_that_runs(void) {
  struct gate gate = GATE_CLOSED;
  told.hold = &gate;
  struct releasing releasing = {.lock = ask(one, &told)};
  WAIT_UNTIL(atomic_load(&told.running) == 1);
  pthread_t thread = start_thread(release, &releasing);
  HOLDS_FOR(200, !atomic_load(&releasing.returned));
  gate_open(&gate);
  join_thread(thread);
  CHECK_INT(0, atomic_load(&told.running));
  CHECK_OK(releasing.status);
  CHECK_OK(told.status);
  CHECK_INT(0, queue_length(two, name));
}

struct inside {
  hmkv_status status, first, second;
  int64_t token;
  atomic_int calls;
};

static void release_itself(hmkv_status status, hmkv_lock *lock, void *userdata) {
  struct inside *inside = userdata;
  inside->status = status;
  inside->token = hmkv_lock_token(lock);
  inside->first = hmkv_lock_release(lock);
  inside->second = hmkv_lock_release(lock);
  CHECK_OK(hmkv_store(one, text("%s done", name), "")); /* any call may be made */
  atomic_fetch_add(&inside->calls, 1);
}

static void it_may_be_released_from_inside_acquired(void) {
  struct inside inside = {0};
  hmkv_lock *lock = NULL;
  CHECK_OK(hmkv_lock_acquire(one, name, HMKV_LOCK_OPTS(.acquired = release_itself), told_lost,
                             &inside, &lock));
  WAIT_UNTIL(atomic_load(&inside.calls) == 1);
  CHECK_OK(inside.status);
  CHECK(inside.token > 0);
  CHECK_OK(inside.first);
  CHECK_STATUS(HMKV_EHANDLE, inside.second);
  check_retired(lock);
  CHECK_INT(0, queue_length(two, name));
}

/* ---- closing ---- */

static void closing_ends_an_attempt_in_time(void) {
  hmkv_lock *holder = take(two, name, NULL);
  hmkv_lock *lock = ask(one, &told);
  WAIT_UNTIL(queue_length(two, name) == 2);
  int64_t begin_ms = now_ms();
  close_store(one);
  one = NULL;
  CHECK(now_ms() - begin_ms < 20000);
  CHECK_INT(0, atomic_load(&told.running));
  if (atomic_load(&told.acquired) != 0) check_acquired(&told, HMKV_ECLOSED, lock);
  check_retired(lock);
  CHECK_INT(1, queue_length(two, name));
  int called = atomic_load(&told.acquired);
  CHECK_OK(hmkv_lock_release(holder));
  HOLDS_FOR(200, atomic_load(&told.acquired) == called);
}

static void closing_at_any_moment_ends_attempts(void) {
  for (int i = 0; i < rounds(100, 8); i++) {
    enum { LOCKS = 3 };
    struct told own[LOCKS] = {{0}};
    hmkv *kv = open_store(NULL);
    hmkv_lock *holder = i % 2 ? take(two, name, NULL) : NULL;
    for (int j = 0; j < LOCKS; j++) ask(kv, &own[j]);
    for (int pause = 0; pause < i % 5; pause++) poll_pause();
    close_store(kv);
    CHECK_INT(i % 2, queue_length(two, name));
    for (int j = 0; j < LOCKS; j++) {
      CHECK_INT(0, atomic_load(&own[j].running));
      CHECK(atomic_load(&own[j].acquired) <= 1);
      CHECK_INT(0, atomic_load(&own[j].lost));
      if (atomic_load(&own[j].acquired) == 1)
        CHECK(own[j].status == HMKV_ECLOSED || own[j].status == HMKV_OK);
    }
    if (holder) CHECK_OK(hmkv_lock_release(holder));
  }
}

/* ---- many at once ---- */

enum { MANY = 20 };

static void many_attempts_on_one_lock_are_served_in_order(void) {
  struct told each[MANY] = {{0}};
  hmkv_lock *locks[MANY];
  hmkv_lock *holder = take(two, name, NULL);
  for (int i = 0; i < MANY; i++) {
    locks[i] = ask(i % 2 ? one : two, &each[i]);
    WAIT_UNTIL(queue_length(two, name) == (size_t)i + 2);
  }
  CHECK_OK(hmkv_lock_release(holder));
  int64_t last = 0;
  for (int i = 0; i < MANY; i++) {
    check_acquired(&each[i], HMKV_OK, locks[i]);
    CHECK(hmkv_lock_token(locks[i]) > last);
    last = hmkv_lock_token(locks[i]);
    for (int j = i + 1; j < MANY; j++) CHECK_INT(0, atomic_load(&each[j].acquired));
    CHECK_OK(hmkv_lock_release(locks[i]));
  }
  CHECK_INT(0, queue_length(two, name));
}

static void many_attempts_on_many_locks_are_served_at_once(void) {
  struct told each[MANY] = {{0}};
  hmkv_lock *locks[MANY], *holders[MANY];
  const char *prefix = name;
  for (int i = 0; i < MANY; i++) {
    name = text("%s-%02d", prefix, i);
    holders[i] = take(two, name, NULL);
    locks[i] = ask(one, &each[i]);
  }
  for (int i = 0; i < MANY; i++)
    WAIT_UNTIL(queue_length(two, text("%s-%02d", prefix, i)) == 2);
  for (int i = MANY; i-- > 0;) CHECK_OK(hmkv_lock_release(holders[i]));
  for (int i = 0; i < MANY; i++) check_acquired(&each[i], HMKV_OK, locks[i]);
  for (int i = 0; i < MANY; i++) CHECK_OK(hmkv_lock_release(locks[i]));
  for (int i = 0; i < MANY; i++) CHECK_INT(0, queue_length(two, text("%s-%02d", prefix, i)));
}

/* A callback that blocks delays no other lock. */
static void acquired_that_blocks_delays_no_other(void) {
  struct gate gate = GATE_CLOSED;
  struct told blocked[3] = {{0}};
  hmkv_lock *locks[3];
  const char *other = unique("lock"), *first = name;
  for (int i = 0; i < 3; i++) {
    blocked[i].hold = &gate;
    name = text("%s-%d", first, i);
    locks[i] = ask(one, &blocked[i]);
    WAIT_UNTIL(atomic_load(&blocked[i].running) == 1);
  }
  name = other;
  hmkv_lock *lock = ask(one, &told);
  check_acquired(&told, HMKV_OK, lock);
  CHECK_OK(hmkv_lock_release(lock));
  gate_open(&gate);
  for (int i = 0; i < 3; i++) {
    check_acquired(&blocked[i], HMKV_OK, locks[i]);
    CHECK_OK(hmkv_lock_release(locks[i]));
  }
}

static void attempts_that_wait_take_no_thread_from_callbacks(void) {
  enum { WAITING = 40 };
  static struct told each[WAITING];
  hmkv_lock *locks[WAITING];
  memset(each, 0, sizeof each);
  hmkv_lock *holder = take(two, name, NULL);
  for (int i = 0; i < WAITING; i++) locks[i] = ask(one, &each[i]);
  WAIT_UNTIL(queue_length(two, name) == 1 + WAITING);
  WAIT_UNTIL(count_threads("hmkv-callback") <= 4); /* the busy have more for a while */
  for (int i = 0; i < WAITING; i++) CHECK_OK(hmkv_lock_release(locks[i]));
  CHECK_OK(hmkv_lock_release(holder));
}

static const struct test tests[] = {
    BOTH(a_free_lock_is_acquired),
    BOTH(it_returns_at_once_and_acquired_is_called_when_it_is_held),
    BOTH(it_never_blocks),
    BOTH(a_loss_is_told_afterwards),
    BOTH(with_try_a_held_lock_is_busy_and_the_handle_retired),
    BOTH(with_try_a_free_lock_is_acquired),
    BOTH(a_dead_server_is_unavailable_with_a_reason),
    BOTH(a_release_gives_up_waiting_and_acquired_runs_no_more),
    BOTH(a_release_at_any_moment_leaves_nothing),
    BOTH(what_a_release_gave_up_is_in_nobodys_way),
    BOTH(the_next_is_not_held_up_by_one_that_gave_up),
    BOTH(a_release_waits_for_acquired_that_runs),
    BOTH(it_may_be_released_from_inside_acquired),
    BOTH(closing_ends_an_attempt_in_time),
    BOTH(closing_at_any_moment_ends_attempts),
    BOTH(many_attempts_on_one_lock_are_served_in_order),
    BOTH(many_attempts_on_many_locks_are_served_at_once),
    BOTH(acquired_that_blocks_delays_no_other),
    BOTH(attempts_that_wait_take_no_thread_from_callbacks),
};
TEST_MAIN(.begin = begin, .end = end)
