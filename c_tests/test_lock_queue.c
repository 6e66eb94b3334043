/* The queue of the lock, as etcd's Go package concurrency lays it out. */
#include "test.h"

enum { WAITERS = 4 };

static const char *name, *queue, *options;
static hmkv *holder;

static void begin(void) {
  name = unique("lock");
  queue = text("%s/", name);
  options = text("lock=%s", name);
  holder = open_store(options);
  CHECK_OK(hmkv_dist_lock(holder));
}

static void end(void) { close_store(holder); }

static void a_contender_is_a_key_name_slash_lease_in_hex(void) {
  hmkv_result *result = list_keys(holder, name);
  CHECK_INT(1, hmkv_result_count(result));
  const hmkv_kv *entry = hmkv_result_kv(result, 0);
  CHECK(entry->lease != 0);
  CHECK_STR(text("%s/%" PRIx64, name, (uint64_t)entry->lease), entry->key);
  hmkv_result_free(result);
}

struct waiter {
  hmkv *kv;
  int number;
  atomic_int *turn;
};

static void *take_turn(void *arg) {
  struct waiter *waiter = arg;
  CHECK_OK(hmkv_dist_lock(waiter->kv));
  CHECK_INT(waiter->number, atomic_fetch_add(waiter->turn, 1));
  CHECK_OK(hmkv_dist_unlock(waiter->kv));
  return NULL;
}

static void the_lowest_create_revision_owns_first_come_first_served(void) {
  for (int round = 0; round < rounds(5, 2); round++) {
    struct waiter waiters[WAITERS];
    pthread_t threads[WAITERS];
    atomic_int turn = 0;
    CHECK_OK(hmkv_dist_lock(holder));
    for (int i = 0; i < WAITERS; i++) {
      waiters[i] = (struct waiter){open_store(options), i, &turn};
      threads[i] = start_thread(take_turn, &waiters[i]);
      WAIT_UNTIL(count_keys(holder, queue) == (size_t)i + 2);
    }
    CHECK_INT(0, atomic_load(&turn));
    CHECK_OK(hmkv_dist_unlock(holder));
    for (int i = 0; i < WAITERS; i++) join_thread(threads[i]);
    CHECK_INT(WAITERS, atomic_load(&turn));
    CHECK_INT(0, count_keys(holder, queue));
    for (int i = 0; i < WAITERS; i++) close_store(waiters[i].kv);
  }
}

static void a_waiter_that_goes_away_does_not_hold_up_the_next(void) {
  hmkv *first = open_store(options), *second = open_store(options);
  atomic_int turn = 0;
  struct waiter waiter = {second, 0, &turn};
  pthread_t thread = start_thread(take_turn, &waiter);
  WAIT_UNTIL(count_keys(holder, queue) == 2);
  CHECK_STATUS(HMKV_BUSY, hmkv_dist_timed_lock(first, 0)); /* joins behind it and leaves */
  CHECK_INT(2, count_keys(holder, queue));
  CHECK_OK(hmkv_dist_unlock(holder));
  join_thread(thread);
  close_store(first);
  close_store(second);
}

static void *acquire(void *kv) {
  CHECK_OK(hmkv_dist_lock(kv));
  return NULL;
}

static void of_several_callers_on_one_handle_one_queues_and_all_succeed(void) {
  hmkv *shared = open_store(options);
  pthread_t threads[WAITERS];
  for (int i = 0; i < WAITERS; i++) threads[i] = start_thread(acquire, shared);
  WAIT_UNTIL(count_keys(holder, queue) == 2);
  HOLDS_FOR(300, count_keys(holder, queue) == 2);
  CHECK_OK(hmkv_dist_unlock(holder));
  for (int i = 0; i < WAITERS; i++) join_thread(threads[i]);
  CHECK_INT(1, count_keys(holder, queue));
  CHECK_OK(hmkv_dist_unlock(shared)); /* one unlock releases it */
  CHECK_INT(0, count_keys(holder, queue));
  close_store(shared);
}

/* A contender that is no libhmkv: its key alone counts. */
static void a_foreign_key_in_the_queue_is_respected(void) {
  CHECK_OK(hmkv_dist_unlock(holder));
  const char *foreign = text("%s/%x", name, 0x1234abcd);
  CHECK_OK(hmkv_store(holder, foreign, ""));
  hmkv *kv = open_store(options);
  CHECK_STATUS(HMKV_BUSY, hmkv_dist_timed_lock(kv, 0));
  pthread_t thread = start_thread(acquire, kv);
  WAIT_UNTIL(count_keys(holder, queue) == 2);
  HOLDS_FOR(300, hmkv_dist_lock_result(kv) != HMKV_LOCK_GRANTED);
  CHECK_OK(hmkv_delete(holder, foreign));
  join_thread(thread);
  close_store(kv);
}

static void a_lock_whose_name_begins_with_this_one_is_separate(void) {
  hmkv *kv = open_store(text("lock=%s2", name));
  CHECK_OK(hmkv_dist_timed_lock(kv, 0));
  CHECK_INT(HMKV_LOCK_GRANTED, hmkv_dist_lock_result(holder));
  close_store(kv);
}

static const struct test tests[] = {
    BOTH(a_contender_is_a_key_name_slash_lease_in_hex),
    BOTH(the_lowest_create_revision_owns_first_come_first_served),
    BOTH(a_waiter_that_goes_away_does_not_hold_up_the_next),
    BOTH(of_several_callers_on_one_handle_one_queues_and_all_succeed),
    BOTH(a_foreign_key_in_the_queue_is_respected),
    BOTH(a_lock_whose_name_begins_with_this_one_is_separate),
};
TEST_MAIN(.begin = begin, .end = end)
