/* The distributed lock: acquiring, waiting, releasing. */
#include "test.h"

static const char *name, *queue, *options;
static hmkv *one, *two;

static void begin(void) {
  name = unique("lock");
  queue = text("%s/", name);
  options = text("lock=%s", name);
  one = open_store(options);
  two = open_store(options);
}

static void end(void) {
  if (one) close_store(one);
  if (two) close_store(two);
}

static void two_handles_of_one_process_compete(void) {
  CHECK_OK(hmkv_dist_lock(one));
  CHECK_STATUS(HMKV_BUSY, hmkv_dist_timed_lock(two, 0));
  CHECK_OK(hmkv_dist_unlock(one));
  CHECK_OK(hmkv_dist_timed_lock(two, 0));
  CHECK_STATUS(HMKV_BUSY, hmkv_dist_timed_lock(one, 0));
}

static void *acquire(void *kv) {
  CHECK_OK(hmkv_dist_lock(kv));
  return NULL;
}

static void dist_lock_waits_until_the_holder_unlocks(void) {
  CHECK_OK(hmkv_dist_lock(one));
  pthread_t waiter = start_thread(acquire, two);
  WAIT_UNTIL(count_keys(one, queue) == 2);
  HOLDS_FOR(300, hmkv_dist_lock_result(two) != HMKV_LOCK_GRANTED);
  CHECK_OK(hmkv_dist_unlock(one));
  join_thread(waiter);
  CHECK_INT(HMKV_LOCK_GRANTED, hmkv_dist_lock_result(two));
}

static void dist_lock_waits_until_the_holder_closes(void) {
  CHECK_OK(hmkv_dist_lock(one));
  pthread_t waiter = start_thread(acquire, two);
  WAIT_UNTIL(count_keys(one, queue) == 2);
  close_store(one);
  one = NULL;
  join_thread(waiter);
  CHECK_INT(HMKV_LOCK_GRANTED, hmkv_dist_lock_result(two));
}

static void closing_releases_the_lock_at_once(void) {
  CHECK_OK(hmkv_dist_lock(one));
  close_store(one);
  one = NULL;
  CHECK_INT(0, count_keys(two, queue));
  CHECK_OK(hmkv_dist_timed_lock(two, 0));
}

static void locking_again_succeeds_and_is_not_counted(void) {
  CHECK_OK(hmkv_dist_lock(one));
  CHECK_OK(hmkv_dist_lock(one));
  CHECK_OK(hmkv_dist_timed_lock(one, 0));
  CHECK_OK(hmkv_dist_timed_lock(one, 5));
  CHECK_INT(1, count_keys(two, queue));
  CHECK_OK(hmkv_dist_unlock(one));
  CHECK_INT(0, count_keys(two, queue));
  CHECK_OK(hmkv_dist_timed_lock(two, 0));
}

static void unlocking_without_a_lock_is_ok(void) {
  CHECK_OK(hmkv_dist_unlock(one));
  CHECK_OK(hmkv_dist_unlock(one));
  CHECK_OK(hmkv_dist_lock(one));
  CHECK_OK(hmkv_dist_unlock(one));
  CHECK_OK(hmkv_dist_unlock(one));
}

static void unlocking_does_not_release_the_lock_of_another_handle(void) {
  CHECK_OK(hmkv_dist_lock(one));
  CHECK_OK(hmkv_dist_unlock(two));
  CHECK_STATUS(HMKV_BUSY, hmkv_dist_timed_lock(two, 0));
  CHECK_OK(hmkv_dist_unlock(two));
  CHECK_INT(HMKV_LOCK_GRANTED, hmkv_dist_lock_result(one));
}

static void *unlock(void *kv) {
  CHECK_OK(hmkv_dist_unlock(kv));
  return NULL;
}

static void the_owner_is_the_handle_not_the_thread(void) {
  CHECK_OK(hmkv_dist_lock(one));
  join_thread(start_thread(acquire, one));
  join_thread(start_thread(unlock, one));
  CHECK_OK(hmkv_dist_timed_lock(two, 0));
}

static void negative_seconds_are_refused(void) {
  CHECK_STATUS(HMKV_EINVAL, hmkv_dist_timed_lock(one, -1));
  CHECK_STATUS(HMKV_EINVAL, hmkv_dist_timed_lock(one, INT32_MIN));
  CHECK_INT(0, count_keys(two, queue));
}

static void a_timed_lock_waits_as_long_as_asked(void) {
  CHECK_OK(hmkv_dist_lock(one));
  int64_t begin = now_ms();
  CHECK_STATUS(HMKV_BUSY, hmkv_dist_timed_lock(two, 2));
  int64_t took = now_ms() - begin;
  CHECK(took >= 1980);
  CHECK(took < 20000);
}

static void zero_seconds_try_once(void) {
  CHECK_OK(hmkv_dist_lock(one));
  int64_t begin = now_ms();
  CHECK_STATUS(HMKV_BUSY, hmkv_dist_timed_lock(two, 0));
  CHECK(now_ms() - begin < 15000);
}

static void a_timed_lock_gets_what_becomes_free_meanwhile(void) {
  CHECK_OK(hmkv_dist_lock(one));
  pthread_t thread = start_thread(acquire, two); /* to be in the queue before */
  WAIT_UNTIL(count_keys(one, queue) == 2);
  hmkv *three = open_store(options);
  CHECK_OK(hmkv_dist_unlock(one));
  join_thread(thread);
  thread = start_thread(unlock, two);
  CHECK_OK(hmkv_dist_timed_lock(three, 30));
  join_thread(thread);
  close_store(three);
}

/* The wait alone: the lease's time is the option `lock_ttl`. */
static void the_seconds_do_not_limit_the_lock(void) {
  CHECK_OK(hmkv_dist_timed_lock(one, 1));
  HOLDS_FOR(2500, hmkv_dist_lock_result(one) == HMKV_LOCK_GRANTED);
  CHECK_STATUS(HMKV_BUSY, hmkv_dist_timed_lock(two, 0));
}

/* Joining the queue is bounded by the timeout, waiting in it is not. */
static void dist_lock_waits_longer_than_the_timeout(void) {
  hmkv *impatient = open_store(text("timeout=1s lock=%s", name));
  WAIT_UNTIL(hmkv_store(impatient, unique("key"), "connected") == HMKV_OK);
  CHECK_OK(hmkv_dist_lock(one));
  pthread_t waiter = start_thread(acquire, impatient);
  WAIT_UNTIL(count_keys(one, queue) == 2);
  HOLDS_FOR(2500, count_keys(one, queue) == 2);
  CHECK_OK(hmkv_dist_unlock(one));
  join_thread(waiter);
  CHECK_INT(HMKV_LOCK_GRANTED, hmkv_dist_lock_result(impatient));
  close_store(impatient);
}

static void a_held_lock_outlives_its_ttl(void) {
  const char *short_name = unique("lock");
  const char *short_lived = text("lock_ttl=4s lock=%s", short_name);
  hmkv *holder = open_store(short_lived), *rival = open_store(short_lived);
  CHECK_OK(hmkv_dist_lock(holder));
  int64_t end = now_ms() + 5000;
  while (now_ms() < end) CHECK_STATUS(HMKV_BUSY, hmkv_dist_timed_lock(rival, 1));
  CHECK_INT(HMKV_LOCK_GRANTED, hmkv_dist_lock_result(holder));
  close_store(holder);
  close_store(rival);
}

static void a_wait_that_gives_up_leaves_no_key_behind(void) {
  CHECK_OK(hmkv_dist_lock(one));
  CHECK_STATUS(HMKV_BUSY, hmkv_dist_timed_lock(two, 0));
  CHECK_INT(1, count_keys(one, queue));
  CHECK_STATUS(HMKV_BUSY, hmkv_dist_timed_lock(two, 1));
  CHECK_INT(1, count_keys(one, queue));
  CHECK_OK(hmkv_dist_unlock(one));
  CHECK_INT(0, count_keys(one, queue));
}

static void *acquire_until_closed(void *kv) {
  CHECK_STATUS(HMKV_ECLOSED, hmkv_dist_lock(kv));
  return NULL;
}

static void *acquire_timed_until_closed(void *kv) {
  CHECK_STATUS(HMKV_ECLOSED, hmkv_dist_timed_lock(kv, 600));
  return NULL;
}

static void closing_ends_a_blocked_lock_and_leaves_no_key(void) {
  void *(*const waits[])(void *) = {acquire_until_closed, acquire_timed_until_closed};
  CHECK_OK(hmkv_dist_lock(one));
  for (int i = 0; i < 2; i++) {
    hmkv *waiting = open_store(options);
    pthread_t thread = start_thread(waits[i], waiting);
    WAIT_UNTIL(count_keys(one, queue) == 2);
    close_store(waiting);
    join_thread(thread);
    CHECK_INT(1, count_keys(one, queue));
  }
  CHECK_INT(HMKV_LOCK_GRANTED, hmkv_dist_lock_result(one));
}

static void it_works_before_and_after_a_timed_lock(void) {
  for (int i = 0; i < 3; i++) {
    CHECK_OK(hmkv_dist_lock(one));
    CHECK_OK(hmkv_dist_unlock(one));
    CHECK_OK(hmkv_dist_timed_lock(one, 1));
    CHECK_OK(hmkv_dist_unlock(one));
  }
}

static void a_dead_server_is_unavailable_not_busy(void) {
  hmkv *kv = open_at(dead_endpoint(), "timeout=500ms");
  CHECK_STATUS(HMKV_EUNAVAIL, hmkv_dist_timed_lock(kv, 0));
  CHECK_STATUS(HMKV_EUNAVAIL, hmkv_dist_timed_lock(kv, 1));
  /* Joining the queue is bounded by the timeout, only the wait is not. */
  CHECK_STATUS(HMKV_EUNAVAIL, hmkv_dist_lock(kv));
  close_store(kv);
}

static const struct test tests[] = {
    BOTH(two_handles_of_one_process_compete),
    BOTH(dist_lock_waits_until_the_holder_unlocks),
    BOTH(dist_lock_waits_until_the_holder_closes),
    BOTH(closing_releases_the_lock_at_once),
    BOTH(locking_again_succeeds_and_is_not_counted),
    BOTH(unlocking_without_a_lock_is_ok),
    BOTH(unlocking_does_not_release_the_lock_of_another_handle),
    BOTH(the_owner_is_the_handle_not_the_thread),
    BOTH(negative_seconds_are_refused),
    BOTH(a_timed_lock_waits_as_long_as_asked),
    BOTH(zero_seconds_try_once),
    BOTH(a_timed_lock_gets_what_becomes_free_meanwhile),
    BOTH(the_seconds_do_not_limit_the_lock),
    BOTH(dist_lock_waits_longer_than_the_timeout),
    BOTH(a_held_lock_outlives_its_ttl),
    BOTH(a_wait_that_gives_up_leaves_no_key_behind),
    BOTH(closing_ends_a_blocked_lock_and_leaves_no_key),
    BOTH(it_works_before_and_after_a_timed_lock),
    BOTH(a_dead_server_is_unavailable_not_busy),
};
TEST_MAIN(.begin = begin, .end = end)
