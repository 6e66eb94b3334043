/* Named locks as guards of writes: hmkv_txn_if_held. */
#include "locks.h"
#include "test.h"

static const char *name, *key;
static hmkv *one, *two;
static struct told told;

static void begin(void) {
  name = unique("lock");
  key = unique("guarded");
  one = open_store(NULL);
  two = open_store(NULL);
  memset(&told, 0, sizeof told);
}

static void end(void) {
  close_store(one);
  close_store(two);
}

static hmkv_txn *guarded(hmkv *kv, hmkv_lock *lock, const char *value) {
  hmkv_txn *txn = hmkv_txn_new(kv);
  hmkv_txn_if_held(txn, lock);
  hmkv_txn_put(txn, HMKV_THEN, key, HMKV_NTS, value, HMKV_NTS, NULL);
  return txn;
}

static hmkv_status commit(hmkv_txn *txn) {
  hmkv_result *result = hmkv_await(hmkv_txn_commit(txn, NULL));
  hmkv_status status = hmkv_result_status(result);
  if (status >= 0) CHECK_INT(status == HMKV_OK, hmkv_result_sub(result, 0) != NULL);
  if (status < 0) CHECK(*hmkv_result_error(result));
  hmkv_result_free(result);
  return status;
}

static hmkv_status write_guarded(hmkv *kv, hmkv_lock *lock, const char *value) {
  return commit(guarded(kv, lock, value));
}

static void while_it_is_held_the_write_is_done(void) {
  hmkv_lock *lock = take(one, name, NULL);
  CHECK_OK(write_guarded(one, lock, "1"));
  CHECK_VALUE(two, key, "1");
  CHECK_OK(hmkv_lock_set(lock, "another value", HMKV_NTS)); /* of the same creation */
  CHECK_OK(write_guarded(one, lock, "2"));
  CHECK_VALUE(two, key, "2");
  CHECK_OK(hmkv_lock_release(lock));
}

/* Whether the loss was seen here or not. */
static void after_a_loss_nothing_is_written(void) {
  for (int seen = 0; seen < 2; seen++) {
    memset(&told, 0, sizeof told);
    hmkv_lock *lock = take(one, name, &told);
    CHECK_OK(write_guarded(one, lock, "mine"));
    CHECK_OK(hmkv_delete(two, queue_key(two, name, 0)));
    if (seen) WAIT_UNTIL(atomic_load(&told.lost) == 1);
    CHECK_STATUS(HMKV_COMPARE_FAILED, write_guarded(one, lock, "late"));
    CHECK_VALUE(two, key, "mine");
    hmkv_lock *next = take(two, name, NULL);
    CHECK_OK(write_guarded(two, next, "theirs"));
    CHECK_STATUS(HMKV_COMPARE_FAILED, write_guarded(one, lock, "late"));
    CHECK_VALUE(two, key, "theirs");
    WAIT_UNTIL(atomic_load(&told.lost) == 1);
    CHECK_STATUS(HMKV_ELOST, hmkv_lock_release(lock));
    CHECK_OK(hmkv_lock_release(next));
  }
}

static void a_key_made_again_is_not_the_lock(void) {
  hmkv_lock *lock = take(one, name, &told);
  const char *its_key = queue_key(two, name, 0);
  CHECK_OK(hmkv_delete(two, its_key));
  CHECK_OK(hmkv_store(two, its_key, ""));
  CHECK_STATUS(HMKV_COMPARE_FAILED, write_guarded(one, lock, "late"));
  CHECK_VALUE(two, key, NULL);
  WAIT_UNTIL(atomic_load(&told.lost) == 1);
  CHECK_STATUS(HMKV_ELOST, hmkv_lock_release(lock));
  CHECK_OK(hmkv_delete(two, its_key));
}

static void after_a_lost_lease_nothing_is_written(void) {
  hmkv_lock *lock = take(one, name, &told);
  lose_lease(one, queue_key(two, name, 0));
  CHECK_STATUS(HMKV_COMPARE_FAILED, write_guarded(one, lock, "late"));
  WAIT_UNTIL(atomic_load(&told.lost) == 1);
  CHECK_STATUS(HMKV_COMPARE_FAILED, write_guarded(one, lock, "late"));
  CHECK_VALUE(two, key, NULL);
  CHECK_STATUS(HMKV_ELOST, hmkv_lock_release(lock));
}

static void the_other_branch_tells_of_the_loss(void) {
  hmkv_lock *lock = take(one, name, NULL);
  CHECK_OK(hmkv_delete(two, queue_key(two, name, 0)));
  hmkv_txn *txn = guarded(one, lock, "late");
  hmkv_txn_put(txn, HMKV_ELSE, text("%s else", key), HMKV_NTS, "lost", HMKV_NTS, NULL);
  hmkv_result *result = hmkv_await(hmkv_txn_commit(txn, NULL));
  CHECK_STATUS(HMKV_COMPARE_FAILED, hmkv_result_status(result));
  CHECK(hmkv_result_sub(result, 0) && !hmkv_result_sub(result, 1));
  hmkv_result_free(result);
  CHECK_VALUE(two, key, NULL);
  CHECK_VALUE(two, text("%s else", key), "lost");
}

static void two_locks_guard_together(void) {
  hmkv_lock *first = take(one, name, NULL), *second = take(one, unique("lock"), NULL);
  hmkv_txn *txn = guarded(one, first, "both");
  hmkv_txn_if_held(txn, second);
  CHECK_OK(commit(txn));
  txn = guarded(one, second, "late");
  hmkv_txn_if_held(txn, first);
  CHECK_OK(hmkv_delete(two, queue_key(two, name, 0)));
  CHECK_STATUS(HMKV_COMPARE_FAILED, commit(txn));
  CHECK_VALUE(two, key, "both");
  CHECK_OK(hmkv_lock_release(second));
}

/* Released between asking and writing. */
static void a_guard_outlives_its_lock_and_fails(void) {
  hmkv_lock *lock = take(one, name, NULL);
  hmkv_txn *txn = guarded(one, lock, "late");
  CHECK_OK(hmkv_lock_release(lock));
  hmkv_lock *next = take(one, name, NULL);
  CHECK_STATUS(HMKV_COMPARE_FAILED, commit(txn));
  CHECK_VALUE(two, key, NULL);
  CHECK_OK(hmkv_lock_release(next));
}

static void a_released_lock_and_a_bad_one_are_refused(void) {
  hmkv_lock *lock = take(one, name, NULL);
  CHECK_OK(hmkv_lock_release(lock));
  CHECK_STATUS(HMKV_EHANDLE, write_guarded(one, lock, "late"));
  CHECK_STATUS(HMKV_EHANDLE, write_guarded(one, NULL, "late"));
  CHECK_STATUS(HMKV_EHANDLE, write_guarded(one, (hmkv_lock *)one, "late"));
  CHECK_STATUS(HMKV_EHANDLE, write_guarded(one, (hmkv_lock *)&lock, "late"));
  CHECK_VALUE(two, key, NULL);
  hmkv_txn_if_held(NULL, NULL);
}

static void a_lock_of_another_store_is_refused(void) {
  hmkv_lock *lock = take(one, name, NULL);
  CHECK_STATUS(HMKV_EINVAL, write_guarded(two, lock, "late"));
  CHECK_VALUE(two, key, NULL);
  CHECK_OK(write_guarded(one, lock, "1"));
  CHECK_OK(hmkv_lock_release(lock));
}

static void a_lock_that_is_waited_for_is_refused(void) {
  hmkv_lock *lock = take(two, name, NULL), *asked = NULL;
  CHECK_OK(hmkv_lock_acquire(one, name, HMKV_LOCK_OPTS(.acquired = told_acquired), told_lost,
                             &told, &asked));
  CHECK_STATUS(HMKV_EINVAL, write_guarded(one, asked, "early"));
  CHECK_VALUE(two, key, NULL);
  CHECK_OK(hmkv_lock_release(lock));
  WAIT_UNTIL(atomic_load(&told.acquired) == 1);
  CHECK_OK(write_guarded(one, asked, "1"));
  CHECK_OK(hmkv_lock_release(asked));
}

/* ---- many contenders ---- */

enum { CONTENDERS = 8 };

struct contender {
  hmkv *kv;
  pthread_t thread;
  int rounds;
  int done;
};

static atomic_int inside;
static atomic_llong last_token;

static int read_number(hmkv *kv) {
  char *value = NULL;
  CHECK_OK(hmkv_get(kv, key, &value));
  int number = atoi(value);
  hmkv_free(value);
  return number;
}

static hmkv_lock *get_it(struct contender *contender, int round) {
  static const int64_t waits[] = {0, 50, HMKV_TRY};
  for (;;) {
    hmkv_lock *lock = NULL;
    hmkv_status status =
        hmkv_lock_acquire(contender->kv, name, HMKV_LOCK_OPTS(.wait_ms = waits[round % 3]), NULL,
                          NULL, &lock);
    if (status == HMKV_OK) return lock;
    CHECK_STATUS(HMKV_BUSY, status);
    poll_pause();
  }
}

static void *count_up(void *arg) {
  struct contender *contender = arg;
  for (int i = 0; i < contender->rounds; i++) {
    hmkv_lock *lock = get_it(contender, i);
    CHECK_INT(0, atomic_fetch_add(&inside, 1));
    int64_t token = hmkv_lock_token(lock);
    CHECK(token > atomic_exchange(&last_token, token));
    int number = read_number(contender->kv);
    CHECK_OK(write_guarded(contender->kv, lock, text("%d", number + 1)));
    contender->done++;
    CHECK_INT(1, atomic_fetch_sub(&inside, 1));
    CHECK_OK(hmkv_lock_release(lock));
  }
  return NULL;
}

static void many_contenders_lose_no_update(void) {
  struct contender contenders[CONTENDERS] = {{0}};
  hmkv *stores[] = {open_store("timeout=30s lock_ttl=60s"), open_store("timeout=30s lock_ttl=60s")};
  atomic_store(&last_token, 0);
  CHECK_OK(hmkv_store(one, key, "0"));
  for (int i = 0; i < CONTENDERS; i++) {
    contenders[i].kv = stores[i % 2]; /* four of each store */
    contenders[i].rounds = on_etcd() ? rounds(12, 2) : rounds(100, 6);
    contenders[i].thread = start_thread(count_up, &contenders[i]);
  }
  int done = 0;
  for (int i = 0; i < CONTENDERS; i++) {
    join_thread(contenders[i].thread);
    done += contenders[i].done;
  }
  CHECK_VALUE(one, key, text("%d", done));
  CHECK_INT(0, queue_length(one, name));
  for (int i = 0; i < 2; i++) close_store(stores[i]);
}

static atomic_bool stop;
static atomic_int refused;

/* Writes until the lock is lost: what is acknowledged counts, no more and no less. */
static void *count_up_until_lost(void *arg) {
  struct contender *contender = arg;
  while (!atomic_load(&stop)) {
    hmkv_lock *lock = NULL;
    CHECK_OK(hmkv_lock_acquire(contender->kv, name, NULL, NULL, NULL, &lock));
    hmkv_status status = HMKV_OK;
    for (int i = 0; i < 5 && status == HMKV_OK; i++) {
      status = write_guarded(contender->kv, lock, text("%d", read_number(contender->kv) + 1));
      contender->done += status == HMKV_OK;
    }
    if (status != HMKV_OK) {
      CHECK_STATUS(HMKV_COMPARE_FAILED, status);
      atomic_fetch_add(&refused, 1);
    }
    hmkv_status released = hmkv_lock_release(lock);
    CHECK(released == HMKV_OK || released == HMKV_ELOST);
  }
  return NULL;
}

/* An operator deletes keys of the queue all the time. */
static void former_holders_lose_no_update(void) {
  struct contender contenders[CONTENDERS] = {{0}};
  hmkv *kv = open_store("timeout=30s lock_ttl=60s");
  atomic_store(&stop, false);
  atomic_store(&refused, 0);
  CHECK_OK(hmkv_store(one, key, "0"));
  for (int i = 0; i < CONTENDERS; i++) {
    contenders[i].kv = kv;
    contenders[i].thread = start_thread(count_up_until_lost, &contenders[i]);
  }
  int64_t end = now_ms() + patience_ms();
  for (int i = 0; i < rounds(60, 10) || (!atomic_load(&refused) && now_ms() < end); i++) {
    hmkv_op *op = hmkv_range(two, text("%s/", name), HMKV_NTS,
                             HMKV_RANGE_OPTS(.prefix = 1, .sort = HMKV_SORT_CREATE, .limit = 1));
    hmkv_result *result = hmkv_await(op);
    CHECK_OK(hmkv_result_status(result));
    if (hmkv_result_count(result) == 1) CHECK_OK(hmkv_delete(two, hmkv_result_kv(result, 0)->key));
    hmkv_result_free(result);
    HOLDS_FOR(20, !atomic_load(&stop));
  }
  atomic_store(&stop, true);
  int done = 0;
  for (int i = 0; i < CONTENDERS; i++) {
    join_thread(contenders[i].thread);
    done += contenders[i].done;
  }
  CHECK_VALUE(one, key, text("%d", done));
  CHECK_INT(0, queue_length(one, name));
  CHECK(atomic_load(&refused) > 0);
  close_store(kv);
}

static const struct test tests[] = {
    BOTH(while_it_is_held_the_write_is_done),
    BOTH(after_a_loss_nothing_is_written),
    BOTH(a_key_made_again_is_not_the_lock),
    BOTH(after_a_lost_lease_nothing_is_written),
    BOTH(the_other_branch_tells_of_the_loss),
    BOTH(two_locks_guard_together),
    BOTH(a_guard_outlives_its_lock_and_fails),
    BOTH(a_released_lock_and_a_bad_one_are_refused),
    BOTH(a_lock_of_another_store_is_refused),
    BOTH(a_lock_that_is_waited_for_is_refused),
    BOTH(many_contenders_lose_no_update),
    BOTH(former_holders_lose_no_update),
};
TEST_MAIN(.begin = begin, .end = end)
