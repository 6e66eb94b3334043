/* One of the processes of the case lock: takes the lock, counts a few times, lets go. */
#include "lock.h"

static struct lock_board *board;
static hmkv *kv;
static int self;

/* The thread that looks every 10 ms whether the lock is held. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static hmkv_lock *looked_at;
static int claim;

/* The time before the question: a process that is stopped in it claims nothing later. */
static int64_t look(hmkv_lock *lock) {
  int64_t at = now_us(), left = hmkv_lock_left_ms(lock);
  if (left > 0) lock_claim_now(board, claim, at);
  return left;
}

static void *look_on(void *arg) {
  (void)arg;
  while (!atomic_load(&board->stop)) {
    pthread_mutex_lock(&mutex);
    if (looked_at) look(looked_at);
    pthread_mutex_unlock(&mutex);
    bench_sleep(10);
  }
  return NULL;
}

/* After a pause of more than the TTL the first call must say that the lock is lost. */
static void look_after_pause(hmkv_lock *lock, int *pauses) {
  int now = atomic_load(&board->pauses[self]);
  pthread_mutex_lock(&mutex);
  int64_t left = look(lock);
  pthread_mutex_unlock(&mutex);
  if (now == *pauses) return;
  *pauses = now;
  atomic_fetch_add(left > 0 ? &board->said_held : &board->said_lost, 1);
}

static void count_up(hmkv_lock *lock) {
  char *value = NULL;
  if (hmkv_get(kv, LOCK_COUNTER, &value) != HMKV_OK) return;
  char next[24];
  snprintf(next, sizeof next, "%d", atoi(value) + 1);
  hmkv_free(value);
  bench_sleep(5); /* for another to come between, if it could */
  hmkv_txn *txn = hmkv_txn_new(kv);
  hmkv_txn_if_held(txn, lock);
  hmkv_txn_put(txn, HMKV_THEN, LOCK_COUNTER, HMKV_NTS, next, HMKV_NTS, NULL);
  atomic_fetch_add(&board->unknown, 1); /* for one who is killed in it */
  hmkv_result *result = hmkv_await(hmkv_txn_commit(txn, NULL));
  hmkv_status status = hmkv_result_status(result);
  if (status == HMKV_OK) atomic_fetch_add(&board->counted, 1);
  if (status != HMKV_EINDETERMINATE) atomic_fetch_sub(&board->unknown, 1);
  if (status == HMKV_COMPARE_FAILED || status == HMKV_ELOST) atomic_fetch_add(&board->refused, 1);
  hmkv_result_free(result);
}

static void look_at(hmkv_lock *lock) {
  pthread_mutex_lock(&mutex);
  if (lock) claim = lock_claim(board, self, hmkv_lock_token(lock));
  looked_at = lock;
  pthread_mutex_unlock(&mutex);
}

static void hold(unsigned *seed) {
  hmkv_lock *lock = NULL;
  hmkv_status status = hmkv_lock_acquire(
      kv, LOCK_NAME, HMKV_LOCK_OPTS(.ttl_ms = LOCK_TTL_MS, .wait_ms = 3000), NULL, NULL, &lock);
  if (status != HMKV_OK) {
    CHECK(status == HMKV_BUSY || status == HMKV_EUNAVAIL);
    return;
  }
  int pauses = atomic_load(&board->pauses[self]);
  look_at(lock);
  atomic_store(&board->holding[self], 1);
  for (int i = rand_r(seed) % 10; i >= 0; i--) {
    look_after_pause(lock, &pauses);
    count_up(lock);
  }
  bench_sleep(rand_r(seed) % 50);
  look_after_pause(lock, &pauses);
  atomic_store(&board->holding[self], 0);
  look_after_pause(lock, &pauses);
  look_at(NULL);
  hmkv_lock_release(lock);
}

void lock_child(int argc, char **argv) {
  CHECK_INT(2, argc);
  board = lock_board_map(argv[0], false);
  self = atoi(argv[1]);
  unsigned seed = (unsigned)getpid();
  kv = open_store("timeout=2s");
  pthread_t looker = start_thread(look_on, NULL);
  while (!atomic_load(&board->stop)) hold(&seed);
  join_thread(looker);
  close_store(kv);
}
