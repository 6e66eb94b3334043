/* Named locks that are lost while they are held. A server that does not answer:
 * test_named_lock_outage.c. */
#include "locks.h"
#include "test.h"

static const char *name;
static hmkv *one, *two;
static struct told told;

static void begin(void) {
  name = unique("lock");
  one = open_store(text("lock=%s", unique("dist")));
  two = open_store(NULL);
  memset(&told, 0, sizeof told);
}

static void end(void) {
  close_store(one);
  close_store(two);
}

static void wait_for_loss(hmkv_lock *lock) {
  WAIT_UNTIL(atomic_load(&told.lost) == 1);
  CHECK_INT(0, hmkv_lock_left_ms(lock));
}

static void delete_key(void) { CHECK_OK(hmkv_delete(two, queue_key(two, name, 0))); }

/* An operator deletes the key, or the lease ends. */
static void lose_by_delete(void) { delete_key(); }
static void lose_by_lease(void) { lose_lease(one, queue_key(two, name, 0)); }

static void (*const losses[])(void) = {lose_by_delete, lose_by_lease};

static void lost_is_called_once_with_a_reason(void) {
  for (int i = 0; i < 2; i++) {
    memset(&told, 0, sizeof told);
    hmkv_lock *lock = take(one, name, &told);
    int64_t token = hmkv_lock_token(lock);
    losses[i]();
    wait_for_loss(lock);
    CHECK(*told.reason);
    CHECK_INT(token, hmkv_lock_token(lock));
    HOLDS_FOR(200, atomic_load(&told.lost) == 1);
    CHECK_STATUS(HMKV_ELOST, hmkv_lock_release(lock));
    CHECK(*hmkv_errmsg());
    CHECK_STATUS(HMKV_EHANDLE, hmkv_lock_release(lock));
    CHECK_INT(1, atomic_load(&told.lost));
    CHECK_INT(0, queue_length(two, name));
  }
}

static void without_a_callback_the_numbers_and_the_release_tell(void) {
  for (int i = 0; i < 2; i++) {
    hmkv_lock *lock = take(one, name, NULL);
    losses[i]();
    WAIT_UNTIL(hmkv_lock_left_ms(lock) == 0);
    CHECK(hmkv_lock_token(lock) > 0);
    CHECK_STATUS(HMKV_ELOST, hmkv_lock_release(lock));
  }
}

static void after_a_loss_another_gets_it_and_keeps_it(void) {
  for (int i = 0; i < 2; i++) {
    memset(&told, 0, sizeof told);
    hmkv_lock *lock = take(one, name, &told);
    int64_t token = hmkv_lock_token(lock);
    losses[i]();
    wait_for_loss(lock);
    hmkv_lock *next = take(two, name, NULL);
    CHECK(hmkv_lock_token(next) > token);
    CHECK_STATUS(HMKV_ELOST, hmkv_lock_set(lock, "not theirs", HMKV_NTS));
    CHECK_STATUS(HMKV_ELOST, hmkv_lock_release(lock)); /* and releases nothing */
    CHECK_INT(1, queue_length(two, name));
    CHECK_VALUE(two, queue_key(two, name, 0), "");
    check_busy(one, name);
    CHECK_OK(hmkv_lock_release(next));
  }
}

static void the_next_in_the_queue_gets_it(void) {
  for (int i = 0; i < 2; i++) {
    struct waiter waiter;
    memset(&told, 0, sizeof told);
    hmkv_lock *lock = take(one, name, &told);
    waiter_start(&waiter, two, name, NULL);
    losses[i]();
    CHECK_OK(waiter_join(&waiter));
    wait_for_loss(lock);
    CHECK_INT(1, queue_length(two, name));
    CHECK_STATUS(HMKV_ELOST, hmkv_lock_release(lock));
    CHECK_OK(hmkv_lock_release(waiter.lock));
    CHECK_INT(0, atomic_load(&waiter.told.lost));
  }
}

static void the_loser_can_queue_anew(void) {
  hmkv_lock *lock = take(one, name, &told);
  delete_key();
  wait_for_loss(lock);
  hmkv_lock *again = take(one, name, NULL);
  CHECK(hmkv_lock_token(again) > hmkv_lock_token(lock));
  CHECK(hmkv_lock_left_ms(again) > 0);
  CHECK_INT(0, hmkv_lock_left_ms(lock));
  CHECK_STATUS(HMKV_ELOST, hmkv_lock_release(lock));
  check_busy(two, name);
  CHECK_OK(hmkv_lock_release(again));
}

static void a_deleted_key_is_the_loss_of_one_lock(void) {
  const char *second = unique("lock"), *key = unique("temp");
  struct told other = {0};
  hmkv_lock *kept = take(one, second, &other), *lock = take(one, name, &told);
  CHECK_OK(hmkv_temp_key(one, key));
  CHECK_OK(hmkv_dist_timed_lock(one, 0));
  int64_t lease = lease_of(two, key);
  delete_key();
  wait_for_loss(lock);
  HOLDS_FOR(200, atomic_load(&other.lost) == 0);
  CHECK(hmkv_lock_left_ms(kept) > 0);
  CHECK_INT(HMKV_LOCK_GRANTED, hmkv_dist_lock_result(one));
  CHECK_INT(lease, lease_of(two, key));
  CHECK_STATUS(HMKV_ELOST, hmkv_lock_release(lock));
  CHECK_OK(hmkv_lock_release(kept));
}

static void all_leases_lost_are_all_locks_lost(void) {
  enum { LOCKS = 5 };
  hmkv_lock *locks[LOCKS];
  struct told each[LOCKS] = {{0}};
  for (int i = 0; i < LOCKS; i++) locks[i] = take(one, text("%s-%d", name, i), &each[i]);
  CHECK_OK(hmkv_mem_fault(one, "expire"));
  for (int i = 0; i < LOCKS; i++) {
    CHECK_INT(0, queue_length(two, text("%s-%d", name, i))); /* at once */
    WAIT_UNTIL(atomic_load(&each[i].lost) == 1);
    CHECK_INT(0, hmkv_lock_left_ms(locks[i]));
    take(two, text("%s-%d", name, i), NULL);
  }
  for (int i = 0; i < LOCKS; i++) {
    CHECK_STATUS(HMKV_ELOST, hmkv_lock_release(locks[i]));
    CHECK_INT(1, atomic_load(&each[i].lost));
  }
}

/* ---- what is no loss ---- */

static void a_release_and_a_close_are_no_loss(void) {
  struct told other = {0};
  hmkv *three = open_store(NULL);
  hmkv_lock *lock = take(one, name, &told);
  take(three, unique("lock"), &other);
  CHECK_OK(hmkv_lock_release(lock));
  close_store(three);
  HOLDS_FOR(200, atomic_load(&told.lost) + atomic_load(&other.lost) == 0);
}

static void a_key_deleted_after_the_release_is_no_loss(void) {
  for (int i = 0; i < rounds(50, 5); i++) {
    hmkv_lock *lock = take(one, name, &told);
    hmkv_status status = hmkv_lock_release(lock);
    CHECK_OK(status);
    lock = take(two, name, NULL);
    delete_key();
    CHECK_INT(0, atomic_load(&told.lost));
    WAIT_UNTIL(hmkv_lock_left_ms(lock) == 0);
    CHECK_STATUS(HMKV_ELOST, hmkv_lock_release(lock));
  }
}

/* ---- releasing while `lost` runs ---- */

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

static void after_a_release_lost_is_not_running(void) {
  struct gate gate = GATE_CLOSED;
  told.hold = &gate;
  struct releasing releasing = {.lock = take(one, name, &told)};
  delete_key();
  WAIT_UNTIL(atomic_load(&told.running) == 1);
  pthread_t thread = start_thread(release, &releasing);
  HOLDS_FOR(200, !atomic_load(&releasing.returned));
  gate_open(&gate);
  join_thread(thread);
  CHECK_INT(0, atomic_load(&told.running));
  CHECK_INT(1, atomic_load(&told.lost));
  CHECK_STATUS(HMKV_ELOST, releasing.status);
}

/* Each time with userdata of its own, freed right after the release. */
static void userdata_may_be_freed_when_it_is_released(void) {
  for (int i = 0; i < rounds(200, 20); i++) {
    struct told *own = calloc(1, sizeof *own);
    CHECK(own);
    hmkv_lock *lock = take(one, name, own);
    delete_key();
    if (i % 3 == 0) WAIT_UNTIL(atomic_load(&own->lost) == 1);
    hmkv_status status = hmkv_lock_release(lock);
    /* Where the loss was not seen yet the lock may have been released in time. */
    CHECK(status == HMKV_ELOST || (i % 3 != 0 && status == HMKV_OK));
    CHECK_INT(0, atomic_load(&own->running));
    CHECK(atomic_load(&own->lost) <= 1);
    memset(own, 0xdd, sizeof *own);
    free(own);
  }
}

struct inside {
  hmkv_lock *lock;
  hmkv_status first, second;
  int64_t left_ms;
  atomic_int calls;
};

static void release_itself(hmkv_status status, const char *detail, void *userdata) {
  struct inside *inside = userdata;
  CHECK_STATUS(HMKV_ELOST, status);
  CHECK(detail && *detail);
  inside->left_ms = hmkv_lock_left_ms(inside->lock);
  inside->first = hmkv_lock_release(inside->lock);
  inside->second = hmkv_lock_release(inside->lock);
  CHECK_INT(HMKV_EHANDLE, hmkv_lock_token(inside->lock));
  CHECK_OK(hmkv_store(one, text("%s said", name), detail)); /* any call may be made */
  atomic_fetch_add(&inside->calls, 1);
}

static void it_may_be_released_from_inside_lost(void) {
  struct inside inside = {0};
  CHECK_OK(hmkv_lock_acquire(one, name, NULL, release_itself, &inside, &inside.lock));
  delete_key();
  WAIT_UNTIL(atomic_load(&inside.calls) == 1);
  CHECK_INT(0, inside.left_ms);
  CHECK_STATUS(HMKV_ELOST, inside.first);
  CHECK_STATUS(HMKV_EHANDLE, inside.second);
  CHECK_STATUS(HMKV_EHANDLE, hmkv_lock_release(inside.lock));
  CHECK_OK(hmkv_lock_release(take(one, name, NULL)));
  CHECK_INT(1, atomic_load(&inside.calls));
}

static void acquire_again(hmkv_status status, const char *detail, void *userdata) {
  struct inside *inside = userdata;
  CHECK_STATUS(HMKV_ELOST, status);
  CHECK(*detail);
  inside->first = hmkv_lock_release(inside->lock);
  inside->lock = take(one, name, NULL);
  atomic_fetch_add(&inside->calls, 1);
}

static void it_may_be_acquired_anew_from_inside_lost(void) {
  struct inside inside = {0};
  CHECK_OK(hmkv_lock_acquire(one, name, NULL, acquire_again, &inside, &inside.lock));
  delete_key();
  WAIT_UNTIL(atomic_load(&inside.calls) == 1);
  CHECK_STATUS(HMKV_ELOST, inside.first);
  CHECK(hmkv_lock_left_ms(inside.lock) > 0);
  check_busy(two, name);
  CHECK_OK(hmkv_lock_release(inside.lock));
}

/* ---- max_hold_ms ---- */

static void it_is_given_up_after_max_hold_ms_in_spite_of_renewals(void) {
  struct waiter waiter;
  int64_t begin_ms = now_ms();
  hmkv_lock *lock = take_with(one, name,
                              HMKV_LOCK_OPTS(.wait_ms = HMKV_TRY, .ttl_ms = 3000,
                                             .margin_ms = 1400, .max_hold_ms = 7000),
                              &told);
  waiter_start(&waiter, two, name, NULL);
  CHECK_OK(waiter_join(&waiter));
  int64_t lost_ms = atomic_load(&told.lost_ms), given_ms = atomic_load(&waiter.returned_ms);
  CHECK(lost_ms != 0);
  CHECK(given_ms - lost_ms >= 400); /* told before, by the margin */
  CHECK(lost_ms - begin_ms >= 5500); /* nearly twice the TTL */
  CHECK(given_ms - begin_ms < 27000);
  wait_for_loss(lock);
  check_busy(one, name);
  CHECK_STATUS(HMKV_ELOST, hmkv_lock_release(lock));
  CHECK_OK(hmkv_lock_release(waiter.lock));
  CHECK_INT(0, atomic_load(&waiter.told.lost));
}

static void *ask_all_the_time(void *lock) {
  while (hmkv_lock_left_ms(lock) > 0) poll_pause();
  return NULL;
}

/* Also where its owner finds the end by asking. */
static void max_hold_ms_leaves_the_margin_to_who_asks_all_the_time(void) {
  for (int i = 0; i < rounds(4, 2); i++) {
    struct waiter waiter;
    memset(&told, 0, sizeof told);
    hmkv_lock *lock = take_with(one, name,
                                HMKV_LOCK_OPTS(.wait_ms = HMKV_TRY, .ttl_ms = 8000,
                                               .margin_ms = 1200, .max_hold_ms = 1800),
                                &told);
    pthread_t threads[3];
    for (int j = 0; j < 3; j++) threads[j] = start_thread(ask_all_the_time, lock);
    waiter_begin(&waiter, two, name, NULL); /* before or after the end */
    for (int j = 0; j < 3; j++) join_thread(threads[j]);
    CHECK_OK(waiter_join(&waiter));
    CHECK(atomic_load(&told.lost_ms) != 0);
    CHECK(atomic_load(&waiter.returned_ms) - atomic_load(&told.lost_ms) >= 300);
    wait_for_loss(lock);
    CHECK_STATUS(HMKV_ELOST, hmkv_lock_release(lock));
    CHECK_OK(hmkv_lock_release(waiter.lock));
  }
}

static void the_time_left_is_at_most_max_hold_ms(void) {
  hmkv_lock *lock = take_with(one, name,
                              HMKV_LOCK_OPTS(.wait_ms = HMKV_TRY, .ttl_ms = 60000,
                                             .margin_ms = 100, .max_hold_ms = 1500),
                              &told);
  CHECK(hmkv_lock_left_ms(lock) <= 1500);
  wait_for_loss(lock); /* long before the TTL */
  WAIT_UNTIL(queue_length(two, name) == 0);
  CHECK_OK(hmkv_lock_release(take(two, name, NULL)));
  CHECK_STATUS(HMKV_ELOST, hmkv_lock_release(lock));
}

static void released_before_max_hold_ms_it_is_not_lost(void) {
  hmkv_lock *lock =
      take_with(one, name, HMKV_LOCK_OPTS(.wait_ms = HMKV_TRY, .max_hold_ms = 1000), &told);
  hmkv_status status = hmkv_lock_release(lock);
  hmkv_lock *next = take(two, name, NULL);
  HOLDS_FOR(1500, hmkv_lock_left_ms(next) > 0);
  CHECK_INT(status == HMKV_OK ? 0 : 1, atomic_load(&told.lost));
}

/* Also where the margin, in which its owner may end what it does, is not over. */
static void released_after_max_hold_ms_it_is_free_at_once(void) {
  for (int i = 0; i < 2; i++) {
    memset(&told, 0, sizeof told);
    hmkv *kv = open_store(NULL);
    hmkv_lock *lock = take_with(kv, name,
                                HMKV_LOCK_OPTS(.wait_ms = HMKV_TRY, .ttl_ms = 120000,
                                               .margin_ms = 59000, .max_hold_ms = 59200),
                                &told);
    wait_for_loss(lock);
    CHECK_INT(1, queue_length(two, name));
    if (i == 0) CHECK_STATUS(HMKV_ELOST, hmkv_lock_release(lock));
    close_store(kv);
    CHECK_INT(0, queue_length(two, name));
  }
}

static const struct test tests[] = {
    BOTH(lost_is_called_once_with_a_reason),
    BOTH(without_a_callback_the_numbers_and_the_release_tell),
    BOTH(after_a_loss_another_gets_it_and_keeps_it),
    BOTH(the_next_in_the_queue_gets_it),
    BOTH(the_loser_can_queue_anew),
    BOTH(a_deleted_key_is_the_loss_of_one_lock),
    MEM_ONLY(all_leases_lost_are_all_locks_lost),
    BOTH(a_release_and_a_close_are_no_loss),
    BOTH(a_key_deleted_after_the_release_is_no_loss),
    BOTH(after_a_release_lost_is_not_running),
    BOTH(userdata_may_be_freed_when_it_is_released),
    BOTH(it_may_be_released_from_inside_lost),
    BOTH(it_may_be_acquired_anew_from_inside_lost),
    BOTH(it_is_given_up_after_max_hold_ms_in_spite_of_renewals),
    BOTH(max_hold_ms_leaves_the_margin_to_who_asks_all_the_time),
    BOTH(the_time_left_is_at_most_max_hold_ms),
    BOTH(released_before_max_hold_ms_it_is_not_lost),
    BOTH(released_after_max_hold_ms_it_is_free_at_once),
};
TEST_MAIN(.begin = begin, .end = end)
