#include "locks.h"

void told_lost(hmkv_status status, const char *detail, void *userdata) {
  struct told *told = userdata;
  atomic_store(&told->lost_ms, now_ms());
  atomic_fetch_add(&told->running, 1);
  CHECK_STATUS(HMKV_ELOST, status);
  CHECK(detail && *detail && !strchr(detail, '\n'));
  snprintf(told->reason, sizeof told->reason, "%s", detail);
  if (told->hold) gate_pass(told->hold);
  atomic_fetch_add(&told->lost, 1);
  atomic_fetch_sub(&told->running, 1);
}

void told_acquired(hmkv_status status, hmkv_lock *lock, void *userdata) {
  struct told *told = userdata;
  atomic_fetch_add(&told->running, 1);
  told->status = status;
  told->lock = lock;
  if (status < 0) snprintf(told->reason, sizeof told->reason, "%s", hmkv_errmsg());
  told->token = hmkv_lock_token(lock);
  if (told->hold) gate_pass(told->hold);
  atomic_fetch_add(&told->acquired, 1);
  atomic_fetch_sub(&told->running, 1);
}

hmkv_lock *take_with(hmkv *kv, const char *name, const hmkv_lock_opts *opts, struct told *told) {
  hmkv_lock *lock = NULL;
  CHECK_OK(hmkv_lock_acquire(kv, name, opts, told ? told_lost : NULL, told, &lock));
  CHECK(lock);
  return lock;
}

hmkv_lock *take(hmkv *kv, const char *name, struct told *told) {
  return take_with(kv, name, HMKV_LOCK_OPTS(.wait_ms = HMKV_TRY), told);
}

void check_busy(hmkv *kv, const char *name) {
  hmkv_lock *lock = (hmkv_lock *)&lock;
  const hmkv_lock_opts *once = HMKV_LOCK_OPTS(.wait_ms = HMKV_TRY);
  size_t before = queue_length(kv, name);
  CHECK_STATUS(HMKV_BUSY, hmkv_lock_acquire(kv, name, once, NULL, NULL, &lock));
  CHECK(lock == NULL);
  CHECK_INT(before, queue_length(kv, name));
}

size_t queue_length(hmkv *kv, const char *name) { return count_keys(kv, text("%s/", name)); }

const char *queue_key(hmkv *kv, const char *name, size_t place) {
  hmkv_result *result =
      hmkv_await(hmkv_range(kv, text("%s/", name), HMKV_NTS,
                            HMKV_RANGE_OPTS(.prefix = 1, .sort = HMKV_SORT_CREATE)));
  CHECK_OK(hmkv_result_status(result));
  CHECK(place < hmkv_result_count(result));
  const char *key = text("%s", hmkv_result_kv(result, place)->key);
  hmkv_result_free(result);
  return key;
}

hmkv_result *read_key(hmkv *kv, const char *key) {
  hmkv_result *result = hmkv_await(hmkv_range(kv, key, HMKV_NTS, NULL));
  CHECK_OK(hmkv_result_status(result));
  CHECK_INT(1, hmkv_result_count(result));
  return result;
}

static void *wait_for_it(void *arg) {
  struct waiter *waiter = arg;
  waiter->status = hmkv_lock_acquire(waiter->kv, waiter->name, &waiter->opts, told_lost,
                                     &waiter->told, &waiter->lock);
  atomic_store(&waiter->returned_ms, now_ms());
  atomic_store(&waiter->returned, true);
  return NULL;
}

void waiter_begin(struct waiter *waiter, hmkv *kv, const char *name, const hmkv_lock_opts *opts) {
  memset(waiter, 0, sizeof *waiter);
  waiter->kv = kv;
  waiter->name = name;
  waiter->opts = opts ? *opts : *HMKV_LOCK_OPTS(.wait_ms = 0);
  waiter->thread = start_thread(wait_for_it, waiter);
}

void waiter_start(struct waiter *waiter, hmkv *kv, const char *name, const hmkv_lock_opts *opts) {
  size_t before = queue_length(kv, name);
  waiter_begin(waiter, kv, name, opts);
  WAIT_UNTIL(queue_length(kv, name) == before + 1);
}

hmkv_status waiter_join(struct waiter *waiter) {
  join_thread(waiter->thread);
  return waiter->status;
}
