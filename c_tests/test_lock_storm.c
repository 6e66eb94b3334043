/* Mutual exclusion: an unprotected counter under the lock. */
#include "test.h"

#include <sched.h>

enum { HANDLES = 4, THREADS = 4 };

struct contender {
  hmkv *kv;
  pthread_mutex_t among_us; /* the lock belongs to the handle, so its threads take turns */
  volatile long *counter;
  atomic_int *inside;
  int rounds;
};

static void *count_up(void *arg) {
  struct contender *contender = arg;
  for (int i = 0; i < contender->rounds; i++) {
    pthread_mutex_lock(&contender->among_us);
    if (i % 3 == 0) {
      while (hmkv_dist_timed_lock(contender->kv, i % 2) != HMKV_OK) {
      }
    } else {
      CHECK_OK(hmkv_dist_lock(contender->kv));
    }
    CHECK_INT(0, atomic_fetch_add(contender->inside, 1));
    long read = *contender->counter;
    sched_yield();
    *contender->counter = read + 1;
    CHECK_INT(1, atomic_fetch_sub(contender->inside, 1));
    CHECK_OK(hmkv_dist_unlock(contender->kv));
    pthread_mutex_unlock(&contender->among_us);
  }
  return NULL;
}

static void never_two_handles_hold_it(void) {
  const char *name = unique("lock");
  volatile long counter = 0;
  atomic_int inside = 0;
  int each = on_etcd() ? rounds(15, 3) : rounds(100, 10);
  struct contender contenders[HANDLES];
  pthread_t threads[HANDLES][THREADS];
  for (int i = 0; i < HANDLES; i++) {
    contenders[i] = (struct contender){open_store(text("lock=%s timeout=30s", name)),
                                       PTHREAD_MUTEX_INITIALIZER, &counter, &inside, each};
    for (int j = 0; j < THREADS; j++) threads[i][j] = start_thread(count_up, &contenders[i]);
  }
  for (int i = 0; i < HANDLES; i++)
    for (int j = 0; j < THREADS; j++) join_thread(threads[i][j]);
  CHECK_INT(HANDLES * THREADS * each, counter);
  CHECK_INT(0, count_keys(contenders[0].kv, text("%s/", name)));
  for (int i = 0; i < HANDLES; i++) close_store(contenders[i].kv);
}

static atomic_bool stop;

/* Locks, unlocks and asks without any order: only statuses of the contract. */
static void *do_anything(void *kv) {
  for (unsigned i = (unsigned)thread_id(); !atomic_load(&stop); i++) {
    hmkv_status status = i % 4 == 0   ? hmkv_dist_lock(kv)
                         : i % 4 == 1 ? hmkv_dist_unlock(kv)
                         : i % 4 == 2 ? hmkv_dist_timed_lock(kv, 0)
                                      : HMKV_OK;
    if (status != HMKV_OK && status != HMKV_BUSY) FAIL("%s", hmkv_status_name(status));
    int32_t result = hmkv_dist_lock_result(kv);
    CHECK(result >= HMKV_LOCK_RSLT_INVALID && result <= HMKV_LOCK_RELEASED);
  }
  return NULL;
}

static void calls_in_any_order_on_one_handle_do_no_harm(void) {
  const char *name = unique("lock");
  hmkv *kv = open_store(text("lock=%s timeout=30s", name));
  pthread_t threads[THREADS];
  atomic_store(&stop, false);
  for (int i = 0; i < THREADS; i++) threads[i] = start_thread(do_anything, kv);
  int64_t end = now_ms() + 1500;
  WAIT_UNTIL(now_ms() > end);
  atomic_store(&stop, true);
  for (int i = 0; i < THREADS; i++) join_thread(threads[i]);
  CHECK_OK(hmkv_dist_unlock(kv));
  CHECK_INT(0, count_keys(kv, text("%s/", name)));
  CHECK_OK(hmkv_dist_timed_lock(kv, 0));
  CHECK_INT(1, count_keys(kv, text("%s/", name)));
  close_store(kv);
}

static const struct test tests[] = {
    BOTH(never_two_handles_hold_it),
    BOTH(calls_in_any_order_on_one_handle_do_no_harm),
};
TEST_MAIN()
