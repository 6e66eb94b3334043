/* Named locks: waiting for one, and the queue. */
#include "locks.h"
#include "test.h"

enum { WAITERS = 4 };

static const char *name;
static hmkv *one, *two;

static void begin(void) {
  name = unique("lock");
  one = open_store(text("lock=%s", name));
  two = open_store(text("lock=%s", name));
}

static void end(void) {
  if (one) close_store(one);
  close_store(two);
}

static void it_waits_until_the_holder_releases(void) {
  hmkv *const stores[] = {one, two};
  for (int i = 0; i < 2; i++) {
    struct waiter waiter;
    hmkv_lock *lock = take(one, name, NULL);
    int64_t token = hmkv_lock_token(lock);
    waiter_start(&waiter, stores[i], name, NULL);
    HOLDS_FOR(300, !atomic_load(&waiter.returned));
    CHECK_OK(hmkv_lock_release(lock));
    CHECK_OK(waiter_join(&waiter));
    CHECK(hmkv_lock_token(waiter.lock) > token);
    CHECK(hmkv_lock_left_ms(waiter.lock) > 0);
    check_busy(one, name);
    CHECK_OK(hmkv_lock_release(waiter.lock));
  }
}

static void it_waits_until_the_store_of_the_holder_closes(void) {
  struct waiter waiter;
  take(one, name, NULL);
  waiter_start(&waiter, two, name, NULL);
  close_store(one);
  one = NULL;
  CHECK_OK(waiter_join(&waiter));
  CHECK_INT(1, queue_length(two, name));
  CHECK_OK(hmkv_lock_release(waiter.lock));
}

static void forever_is_for_ever_too(void) {
  struct waiter waiter;
  hmkv_lock *lock = take(one, name, NULL);
  waiter_start(&waiter, two, name, HMKV_LOCK_OPTS(.wait_ms = HMKV_FOREVER));
  HOLDS_FOR(300, !atomic_load(&waiter.returned));
  CHECK_OK(hmkv_lock_release(lock));
  CHECK_OK(waiter_join(&waiter));
  CHECK_OK(hmkv_lock_release(waiter.lock));
}

static void wait_ms_is_how_long_it_waits(void) {
  take(one, name, NULL);
  hmkv_lock *lock = (hmkv_lock *)&lock;
  int64_t begin_ms = now_ms();
  CHECK_STATUS(HMKV_BUSY, hmkv_lock_acquire(two, name, HMKV_LOCK_OPTS(.wait_ms = 1500), NULL,
                                            NULL, &lock));
  int64_t took = now_ms() - begin_ms;
  CHECK(lock == NULL);
  CHECK(took >= 1480);
  CHECK(took < 20000);
}

static void try_does_not_wait(void) {
  take(one, name, NULL);
  int64_t begin_ms = now_ms();
  check_busy(two, name);
  CHECK(now_ms() - begin_ms < 15000);
}

static void it_waits_longer_than_the_timeout_of_the_store(void) {
  hmkv *impatient = open_store("timeout=1s");
  struct waiter waiter;
  WAIT_UNTIL(hmkv_store(impatient, unique("key"), "connected") == HMKV_OK);
  hmkv_lock *lock = take(one, name, NULL);
  waiter_start(&waiter, impatient, name, HMKV_LOCK_OPTS(.wait_ms = 60000));
  HOLDS_FOR(2500, !atomic_load(&waiter.returned));
  CHECK_OK(hmkv_lock_release(lock));
  CHECK_OK(waiter_join(&waiter));
  close_store(impatient);
}

static void the_wait_does_not_limit_the_lock(void) {
  hmkv_lock *lock = take_with(one, name, HMKV_LOCK_OPTS(.wait_ms = 1), NULL);
  HOLDS_FOR(1200, hmkv_lock_left_ms(lock) > 0);
  check_busy(two, name);
}

static void a_wait_that_gives_up_leaves_no_key_behind(void) {
  static const int64_t waits[] = {HMKV_TRY, 1, 300};
  hmkv_lock *lock = take(one, name, NULL);
  hmkv *const stores[] = {one, two};
  for (int i = 0; i < 6; i++) {
    hmkv_lock *none = NULL;
    CHECK_STATUS(HMKV_BUSY, hmkv_lock_acquire(stores[i % 2], name,
                                              HMKV_LOCK_OPTS(.wait_ms = waits[i / 2]), NULL, NULL,
                                              &none));
    CHECK_INT(1, queue_length(one, name));
  }
  CHECK_OK(hmkv_lock_release(lock));
  CHECK_INT(0, queue_length(one, name));
}

/* ---- the queue ---- */

struct turn {
  struct waiter waiter;
  int number;
  atomic_int *turns;
  int64_t token;
};

static void *take_turn(void *arg) {
  struct turn *turn = arg;
  CHECK_OK(waiter_join(&turn->waiter));
  CHECK_INT(turn->number, atomic_fetch_add(turn->turns, 1));
  turn->token = hmkv_lock_token(turn->waiter.lock);
  CHECK_OK(hmkv_lock_release(turn->waiter.lock));
  return NULL;
}

static void first_come_first_served(void) {
  hmkv *const stores[] = {one, two};
  for (int round = 0; round < rounds(5, 2); round++) {
    struct turn turns[WAITERS];
    pthread_t threads[WAITERS];
    atomic_int taken = 0;
    hmkv_lock *lock = take(one, name, NULL);
    int64_t last = hmkv_lock_token(lock);
    for (int i = 0; i < WAITERS; i++) {
      turns[i].number = i;
      turns[i].turns = &taken;
      waiter_start(&turns[i].waiter, stores[i / 2 % 2], name, NULL);
      threads[i] = start_thread(take_turn, &turns[i]);
    }
    CHECK_INT(0, atomic_load(&taken));
    CHECK_OK(hmkv_lock_release(lock));
    for (int i = 0; i < WAITERS; i++) {
      join_thread(threads[i]);
      CHECK(turns[i].token > last);
      last = turns[i].token;
    }
    CHECK_INT(WAITERS, atomic_load(&taken));
    CHECK_INT(0, queue_length(one, name));
  }
}

static void a_waiter_that_gives_up_does_not_hold_up_the_next(void) {
  struct waiter first, second;
  hmkv_lock *lock = take(one, name, NULL);
  waiter_start(&first, one, name, HMKV_LOCK_OPTS(.wait_ms = rounds(3000, 10000)));
  waiter_start(&second, two, name, NULL);
  CHECK_STATUS(HMKV_BUSY, waiter_join(&first));
  CHECK_INT(2, queue_length(one, name));
  HOLDS_FOR(200, !atomic_load(&second.returned));
  CHECK_OK(hmkv_lock_release(lock));
  CHECK_OK(waiter_join(&second));
  CHECK_OK(hmkv_lock_release(second.lock));
}

static void *lock_it(void *kv) {
  CHECK_OK(hmkv_dist_lock(kv));
  return NULL;
}

static void the_lock_of_a_handle_stands_in_the_same_queue(void) {
  struct waiter last;
  hmkv_lock *lock = take(one, name, NULL);
  pthread_t thread = start_thread(lock_it, two);
  WAIT_UNTIL(queue_length(one, name) == 2);
  waiter_start(&last, one, name, NULL);
  CHECK_OK(hmkv_lock_release(lock));
  join_thread(thread);
  HOLDS_FOR(200, !atomic_load(&last.returned));
  CHECK_OK(hmkv_dist_unlock(two));
  CHECK_OK(waiter_join(&last));
  CHECK_STATUS(HMKV_BUSY, hmkv_dist_timed_lock(two, 0));
  CHECK_OK(hmkv_lock_release(last.lock));
}

/* A contender that is no libhmkv: its key alone counts. */
static void a_foreign_key_in_the_queue_is_respected(void) {
  const char *foreign = text("%s/%x", name, 0x1234abcd);
  CHECK_OK(hmkv_store(one, foreign, ""));
  check_busy(two, name);
  struct waiter waiter;
  waiter_start(&waiter, two, name, NULL);
  CHECK_OK(hmkv_store(one, foreign, "another value, the same creation"));
  HOLDS_FOR(300, !atomic_load(&waiter.returned));
  CHECK_OK(hmkv_delete(one, foreign));
  CHECK_OK(waiter_join(&waiter));
  CHECK_OK(hmkv_lock_release(waiter.lock));
}

static void a_waiter_whose_lease_ends_queues_anew_or_fails(void) {
  struct waiter waiter;
  hmkv_lock *lock = take(one, name, NULL);
  waiter_start(&waiter, two, name, NULL);
  const char *key = queue_key(one, name, 1);
  lose_lease(two, key);
  WAIT_UNTIL(atomic_load(&waiter.returned) ||
             (queue_length(one, name) == 2 && !has_key(one, key)));
  CHECK_OK(hmkv_lock_release(lock));
  if (waiter_join(&waiter) == HMKV_OK) {
    CHECK_INT(1, queue_length(one, name));
    CHECK(hmkv_lock_left_ms(waiter.lock) > 0);
    check_busy(one, name);
    CHECK_OK(hmkv_lock_release(waiter.lock));
  } else {
    CHECK_STATUS(HMKV_ELOST, waiter.status);
  }
  CHECK_INT(0, queue_length(one, name));
  CHECK_INT(0, atomic_load(&waiter.told.lost));
}

/* Its key is gone when its turn comes: ownership is checked after waiting. */
static void a_waiter_that_lost_its_place_does_not_get_the_lock_unseen(void) {
  struct waiter waiter;
  hmkv_lock *lock = take(one, name, NULL);
  waiter_start(&waiter, two, name, NULL);
  CHECK_OK(hmkv_delete(one, queue_key(one, name, 1)));
  HOLDS_FOR(100, !atomic_load(&waiter.returned) || waiter.status < 0);
  CHECK_OK(hmkv_lock_release(lock));
  if (waiter_join(&waiter) == HMKV_OK) {
    CHECK_INT(1, queue_length(one, name));
    hmkv_result *result = read_key(one, queue_key(one, name, 0));
    const hmkv_kv *kv = hmkv_result_kv(result, 0);
    CHECK_INT(hmkv_lock_token(waiter.lock), kv->create_revision);
    CHECK_STR(text("%s/%" PRIx64, name, (uint64_t)kv->lease), kv->key);
    hmkv_result_free(result);
    check_busy(one, name);
    CHECK_OK(hmkv_lock_release(waiter.lock));
  } else {
    CHECK_STATUS(HMKV_ELOST, waiter.status);
    CHECK(waiter.lock == NULL);
  }
  CHECK_INT(0, queue_length(one, name));
  CHECK_INT(0, atomic_load(&waiter.told.lost)); /* it was not held then */
}

/* ---- closing ---- */

static void closing_ends_a_wait_and_leaves_no_key(void) {
  static const int64_t waits[] = {0, 600000};
  hmkv_lock *lock = take(one, name, NULL);
  for (int i = 0; i < 2; i++) {
    hmkv *waiting = open_store(NULL);
    struct waiter waiter;
    waiter_start(&waiter, waiting, name, HMKV_LOCK_OPTS(.wait_ms = waits[i]));
    close_store(waiting);
    CHECK_STATUS(HMKV_ECLOSED, waiter_join(&waiter));
    CHECK(waiter.lock == NULL);
    CHECK_INT(1, queue_length(one, name));
  }
  CHECK(hmkv_lock_left_ms(lock) > 0);
}

static void closing_ends_many_waits_of_one_store(void) {
  enum { MANY = 8 };
  struct waiter waiters[MANY];
  hmkv *waiting = open_store(NULL);
  const char *names[2] = {name, unique("lock")};
  take(one, names[0], NULL);
  take(one, names[1], NULL);
  for (int i = 0; i < MANY; i++) waiter_start(&waiters[i], waiting, names[i % 2], NULL);
  close_store(waiting);
  for (int i = 0; i < MANY; i++) CHECK_STATUS(HMKV_ECLOSED, waiter_join(&waiters[i]));
  for (int i = 0; i < 2; i++) CHECK_INT(1, queue_length(one, names[i]));
}

static const struct test tests[] = {
    BOTH(it_waits_until_the_holder_releases),
    BOTH(it_waits_until_the_store_of_the_holder_closes),
    BOTH(forever_is_for_ever_too),
    BOTH(wait_ms_is_how_long_it_waits),
    BOTH(try_does_not_wait),
    BOTH(it_waits_longer_than_the_timeout_of_the_store),
    BOTH(the_wait_does_not_limit_the_lock),
    BOTH(a_wait_that_gives_up_leaves_no_key_behind),
    BOTH(first_come_first_served),
    BOTH(a_waiter_that_gives_up_does_not_hold_up_the_next),
    BOTH(the_lock_of_a_handle_stands_in_the_same_queue),
    BOTH(a_foreign_key_in_the_queue_is_respected),
    BOTH(a_waiter_whose_lease_ends_queues_anew_or_fails),
    BOTH(a_waiter_that_lost_its_place_does_not_get_the_lock_unseen),
    BOTH(closing_ends_a_wait_and_leaves_no_key),
    BOTH(closing_ends_many_waits_of_one_store),
};
TEST_MAIN(.begin = begin, .end = end)
