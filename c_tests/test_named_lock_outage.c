/* Named locks whose store is cut off from the server, for longer and for shorter than
 * the TTL. */
#include "locks.h"
#include "process.h"
#include "proxy.h"
#include "server.h"
#include "test.h"

static struct server server;
static const char *name;
static hmkv *kv;
static struct told told;

static void begin(void) {
  server_start(&server, NULL);
  name = unique("lock");
  kv = NULL;
  memset(&told, 0, sizeof told);
}

static void end(void) {
  if (kv) close_store(kv);
  server_stop(&server);
}

enum { TTL_MS = 6000, MARGIN_MS = 2000 };

/* Without an answer since `begin_ms` at the latest, it counts as lost before the
 * server's time is over, and not at once. */
static void check_lost_in_time(int64_t begin_ms) {
  int64_t took = atomic_load(&told.lost_ms) - begin_ms;
  CHECK(took < TTL_MS - MARGIN_MS + 1500); /* which is for a slow look */
  CHECK(took > 500);
}

static void lost_is_called_by_the_margin_before_the_ttl_is_over(void) {
  kv = open_at(server.endpoint, "timeout=1s");
  hmkv_lock *lock = take_with(
      kv, name, HMKV_LOCK_OPTS(.ttl_ms = TTL_MS, .margin_ms = MARGIN_MS), &told);
  const char *key = queue_key(kv, name, 0);
  CHECK(hmkv_lock_left_ms(lock) <= TTL_MS - MARGIN_MS);
  server_pause(&server);
  int64_t begin_ms = now_ms();
  WAIT_UNTIL(atomic_load(&told.lost) == 1);
  CHECK_INT(0, hmkv_lock_left_ms(lock));
  server_resume(&server);
  check_lost_in_time(begin_ms);
  /* What was lost here ends there too. */
  server_wait(&server);
  WAIT_UNTIL(!*etcdctl_at(server.endpoint, "get", key, "--keys-only", NULL));
  CHECK_INT(1, atomic_load(&told.lost));
  CHECK_STATUS(HMKV_ELOST, hmkv_lock_set(lock, "value", HMKV_NTS));
  CHECK_STATUS(HMKV_ELOST, hmkv_lock_release(lock));
  hmkv_lock *again = NULL;
  WAIT_UNTIL(hmkv_lock_acquire(kv, name, NULL, NULL, NULL, &again) == HMKV_OK);
  CHECK_OK(hmkv_lock_release(again));
}

/* Cut off from a server that goes on and gives the lock to another. */
static void lost_is_called_before_another_gets_it(void) {
  struct proxy proxy;
  struct waiter waiter;
  proxy_start(&proxy, server.client_port);
  hmkv *cut = open_at(proxy.endpoint, "timeout=1s close_timeout=500ms");
  kv = open_at(server.endpoint, NULL);
  hmkv_lock *lock = take_with(
      cut, name, HMKV_LOCK_OPTS(.ttl_ms = TTL_MS, .margin_ms = MARGIN_MS), &told);
  int64_t token = hmkv_lock_token(lock);
  waiter_start(&waiter, kv, name, NULL);
  int64_t begin_ms = now_ms();
  proxy_hold(&proxy, TO_SERVER, true);
  proxy_hold(&proxy, TO_CLIENT, true);
  CHECK_OK(waiter_join(&waiter));
  CHECK(atomic_load(&told.lost_ms) != 0);
  CHECK(atomic_load(&waiter.returned_ms) - atomic_load(&told.lost_ms) >= 500);
  check_lost_in_time(begin_ms);
  CHECK_INT(0, hmkv_lock_left_ms(lock));
  CHECK(hmkv_lock_token(waiter.lock) > token);
  /* What the former holder writes late, guarded, is refused. */
  hmkv_txn *txn = hmkv_txn_new(cut);
  hmkv_txn_if_held(txn, lock);
  hmkv_txn_put(txn, HMKV_THEN, text("%s guarded", name), HMKV_NTS, "late", HMKV_NTS, NULL);
  hmkv_op *late = hmkv_txn_commit(txn, HMKV_TXN_OPTS(.timeout_ms = 30000));
  proxy_hold(&proxy, TO_SERVER, false);
  proxy_hold(&proxy, TO_CLIENT, false);
  hmkv_result *result = hmkv_await(late);
  /* Which may have come to its end unknown, but was not applied. */
  CHECK(hmkv_result_status(result) == HMKV_COMPARE_FAILED ||
        hmkv_result_status(result) == HMKV_EINDETERMINATE ||
        hmkv_result_status(result) == HMKV_EUNAVAIL);
  hmkv_result_free(result);
  CHECK_STATUS(HMKV_ELOST, hmkv_lock_release(lock));
  close_store(cut);
  proxy_stop(&proxy);
  CHECK_VALUE(kv, text("%s guarded", name), NULL);
  CHECK_INT(1, queue_length(kv, name));
  CHECK_INT(1, atomic_load(&told.lost));
  CHECK_OK(hmkv_lock_release(waiter.lock));
}

static void an_outage_shorter_than_the_ttl_does_no_harm(void) {
  kv = open_at(server.endpoint, NULL);
  hmkv_lock *lock = take_with(kv, name, HMKV_LOCK_OPTS(.ttl_ms = 30000), &told);
  int64_t token = hmkv_lock_token(lock);
  for (int i = 0; i < 2; i++) {
    server_kill(&server);
    server_restart(&server);
    WAIT_UNTIL(hmkv_store(kv, unique("key"), "value") == HMKV_OK);
    CHECK(hmkv_lock_left_ms(lock) > 0);
    CHECK_INT(1, queue_length(kv, name));
  }
  CHECK_INT(0, atomic_load(&told.lost));
  CHECK_INT(token, hmkv_lock_token(lock));
  CHECK_OK(hmkv_lock_set(lock, "still here", HMKV_NTS));
  CHECK_OK(hmkv_lock_release(lock));
  CHECK_INT(0, queue_length(kv, name));
}

static void a_key_deleted_during_an_outage_is_a_loss(void) {
  hmkv *other;
  kv = open_at(server.endpoint, NULL);
  hmkv_lock *lock = take_with(kv, name, HMKV_LOCK_OPTS(.ttl_ms = 60000), &told);
  const char *key = queue_key(kv, name, 0);
  server_kill(&server);
  server_restart_elsewhere(&server);
  other = open_at(server.endpoint, NULL);
  CHECK_OK(hmkv_delete(other, key));
  close_store(other);
  server_kill(&server);
  server_restart(&server);
  WAIT_UNTIL(atomic_load(&told.lost) == 1);
  CHECK_INT(0, hmkv_lock_left_ms(lock));
  CHECK_STATUS(HMKV_ELOST, hmkv_lock_release(lock));
}

static void waiters_in_the_queue_survive_a_restart(void) {
  struct waiter waiter;
  struct told pending = {0};
  hmkv_lock *asked = NULL;
  kv = open_at(server.endpoint, "lock_ttl=30s");
  hmkv *other = open_at(server.endpoint, "lock_ttl=30s");
  hmkv_lock *lock = take(kv, name, &told);
  waiter_start(&waiter, other, name, NULL);
  CHECK_OK(hmkv_lock_acquire(other, name, HMKV_LOCK_OPTS(.acquired = told_acquired), told_lost,
                             &pending, &asked));
  WAIT_UNTIL(queue_length(kv, name) == 3);
  server_kill(&server);
  server_restart(&server);
  WAIT_UNTIL(hmkv_store(kv, unique("key"), "value") == HMKV_OK);
  CHECK_INT(3, queue_length(kv, name));
  CHECK(!atomic_load(&waiter.returned));
  CHECK_OK(hmkv_lock_release(lock));
  CHECK_OK(waiter_join(&waiter));
  CHECK_INT(0, atomic_load(&pending.acquired));
  CHECK_OK(hmkv_lock_release(waiter.lock));
  WAIT_UNTIL(atomic_load(&pending.acquired) == 1);
  CHECK_OK(pending.status);
  CHECK_OK(hmkv_lock_release(asked));
  CHECK_INT(0, queue_length(kv, name));
  close_store(other);
}

static const struct test tests[] = {
    ETCD_ONLY(lost_is_called_by_the_margin_before_the_ttl_is_over),
    ETCD_ONLY(lost_is_called_before_another_gets_it),
    ETCD_ONLY(an_outage_shorter_than_the_ttl_does_no_harm),
    ETCD_ONLY(a_key_deleted_during_an_outage_is_a_loss),
    ETCD_ONLY(waiters_in_the_queue_survive_a_restart),
};
TEST_MAIN(.begin = begin, .end = end)
