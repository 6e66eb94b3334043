/* What becomes of temporary keys and locks when the server is away, for longer and
 * for shorter than the TTL. */
#include "leases.h"
#include "process.h"
#include "server.h"
#include "states.h"
#include "test.h"

static struct server server;
static struct states states;
static hmkv *kv;

static void begin(void) {
  server_start(&server, NULL);
  states = (struct states)STATES_NONE;
}

static void end(void) {
  close_store(kv);
  server_stop(&server);
  states_free(&states);
}

static void open_with(const char *options) {
  kv = open_at(server.endpoint, options);
  CHECK_OK(hmkv_on_state(kv, states_record, &states));
}

/* Lets leases of at most `ttl_s` end without the client. */
static void let_leases_end(struct server *where, const char *key, int ttl_s) {
  hmkv *watcher = open_at(where->endpoint, NULL);
  WAIT_WITHIN(1000 * ttl_s + patience_ms(), !has_key(watcher, key));
  close_store(watcher);
}

static void after_an_outage_longer_than_the_ttl_the_key_is_created_again(void) {
  const char *key = unique("temp");
  open_with("temp_ttl=3s");
  CHECK_OK(hmkv_temp_key(kv, key));
  server_kill(&server);
  WAIT_UNTIL(states_count(&states, HMKV_STATE_LEASE_LOST, NULL) == 1);
  CHECK_INT(0, states_count(&states, HMKV_STATE_TEMP_KEY_RESTORED, NULL));
  server_restart_elsewhere(&server);
  let_leases_end(&server, key, 3);
  server_kill(&server);
  server_restart(&server);
  WAIT_UNTIL(states_count(&states, HMKV_STATE_TEMP_KEY_RESTORED, key) == 1);
  CHECK_VALUE(kv, key, "1");
  CHECK_INT(1, states_count(&states, HMKV_STATE_LEASE_LOST, NULL));
  CHECK_INT(0, states_place(&states, HMKV_STATE_LEASE_LOST, NULL));
}

static void a_key_that_belongs_to_someone_else_by_then_is_left_alone(void) {
  const char *key = unique("temp"), *sign = unique("sign");
  open_with("temp_ttl=3s");
  CHECK_OK(hmkv_temp_key(kv, key));
  CHECK_OK(hmkv_temp_key(kv, sign));
  server_kill(&server);
  server_restart_elsewhere(&server);
  let_leases_end(&server, key, 3);
  hmkv *other = open_at(server.endpoint, NULL);
  CHECK_OK(hmkv_store(other, key, "theirs"));
  close_store(other);
  server_kill(&server);
  server_restart(&server);
  WAIT_UNTIL(states_count(&states, HMKV_STATE_TEMP_KEY_LOST, key) == 1);
  WAIT_UNTIL(states_count(&states, HMKV_STATE_TEMP_KEY_RESTORED, sign) == 1);
  CHECK_INT(0, states_count(&states, HMKV_STATE_TEMP_KEY_RESTORED, key));
  CHECK_VALUE(kv, key, "theirs");
  CHECK_VALUE(kv, sign, "1");
}

static void an_outage_shorter_than_the_ttl_does_no_harm(void) {
  const char *key = unique("temp");
  open_with(text("temp_ttl=30s lock_ttl=30s lock=%s", unique("lock")));
  CHECK_OK(hmkv_temp_key(kv, key));
  CHECK_OK(hmkv_dist_lock(kv));
  int64_t lease = lease_of(kv, key);
  for (int i = 0; i < 2; i++) {
    server_kill(&server);
    server_restart(&server);
    WAIT_UNTIL(hmkv_store(kv, unique("key"), "value") == HMKV_OK);
    CHECK_VALUE(kv, key, "1");
    CHECK_INT(lease, lease_of(kv, key));
    CHECK_INT(HMKV_LOCK_GRANTED, hmkv_dist_lock_result(kv));
  }
  CHECK_INT(0, states_total(&states));
  CHECK_OK(hmkv_dist_unlock(kv));
}

/* A held lock counts as lost before the server can give it to another. */
static void a_lock_is_reported_lost_before_its_ttl_is_over(void) {
  enum { TTL_S = 4 };
  const char *name = unique("lock");
  open_with(text("lock=%s lock_ttl=%ds timeout=1s", name, TTL_S));
  CHECK_OK(hmkv_dist_lock(kv));
  CHECK_INT(HMKV_LOCK_GRANTED, hmkv_dist_lock_result(kv));
  server_pause(&server);
  int64_t begin = now_ms();
  WAIT_UNTIL(states_count(&states, HMKV_STATE_LOCK_LOST, name) == 1);
  int64_t took = now_ms() - begin;
  CHECK_INT(HMKV_LOCK_RSLT_INVALID, hmkv_dist_lock_result(kv));
  server_resume(&server);
  CHECK(took < 1000 * TTL_S + 500); /* half a second for a slow look */
  CHECK_STATUS(HMKV_ELOST, hmkv_dist_unlock(kv));
  CHECK_OK(hmkv_dist_unlock(kv));
  CHECK_INT(1, states_count(&states, HMKV_STATE_LOCK_LOST, NULL));
  WAIT_UNTIL(hmkv_dist_timed_lock(kv, 20) == HMKV_OK);
  CHECK_INT(HMKV_LOCK_GRANTED, hmkv_dist_lock_result(kv));
}

static void *lock_it(void *arg) {
  CHECK_OK(hmkv_dist_lock(arg));
  return NULL;
}

static void a_waiter_in_the_queue_survives_a_restart(void) {
  const char *name = unique("lock");
  open_with(text("lock=%s lock_ttl=20s", name));
  hmkv *waiter = open_at(server.endpoint, text("lock=%s lock_ttl=20s", name));
  CHECK_OK(hmkv_dist_lock(kv));
  pthread_t thread = start_thread(lock_it, waiter);
  WAIT_UNTIL(count_keys(kv, text("%s/", name)) == 2);
  server_kill(&server);
  server_restart(&server);
  WAIT_UNTIL(hmkv_store(kv, unique("key"), "value") == HMKV_OK);
  CHECK_INT(HMKV_LOCK_GRANTED, hmkv_dist_lock_result(kv));
  CHECK(hmkv_dist_lock_result(waiter) != HMKV_LOCK_GRANTED);
  CHECK_OK(hmkv_dist_unlock(kv));
  join_thread(thread);
  CHECK_INT(HMKV_LOCK_GRANTED, hmkv_dist_lock_result(waiter));
  close_store(waiter);
}

static void in_a_replaced_store_keys_are_restored_and_locks_are_lost(void) {
  const char *key = unique("temp");
  struct told lock_told = {0}, lease_told = {0};
  open_with(text("lock=%s timeout=20s", unique("dist")));
  CHECK_OK(hmkv_temp_key(kv, key));
  CHECK_OK(hmkv_dist_lock(kv));
  hmkv_lock *lock = take(kv, unique("named"), &lock_told);
  hmkv_lease *lease = lease_new(kv, 10000, &lease_told);
  server_wipe(&server);
  server_restart(&server);
  WAIT_UNTIL(told_once(&lock_told) && told_once(&lease_told));
  WAIT_UNTIL(states_count(&states, HMKV_STATE_LOCK_LOST, NULL) == 1);
  WAIT_UNTIL(states_count(&states, HMKV_STATE_TEMP_KEY_RESTORED, key) == 1);
  CHECK_VALUE(kv, key, "1");
  CHECK_STATUS(HMKV_ELOST, hmkv_dist_unlock(kv));
  CHECK_STATUS(HMKV_ELOST, hmkv_lock_release(lock));
  CHECK(hmkv_lease_close(lease, true) != HMKV_EHANDLE);
}

static const struct test tests[] = {
    ETCD_ONLY(after_an_outage_longer_than_the_ttl_the_key_is_created_again),
    ETCD_ONLY(a_key_that_belongs_to_someone_else_by_then_is_left_alone),
    ETCD_ONLY(an_outage_shorter_than_the_ttl_does_no_harm),
    ETCD_ONLY(a_lock_is_reported_lost_before_its_ttl_is_over),
    ETCD_ONLY(a_waiter_in_the_queue_survives_a_restart),
    ETCD_ONLY(in_a_replaced_store_keys_are_restored_and_locks_are_lost),
};
TEST_MAIN(.begin = begin, .end = end)
