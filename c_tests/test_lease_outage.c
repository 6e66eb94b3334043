/* Leases while the server does not answer, for shorter and for longer than the TTL. */
#include "cluster.h"
#include "control.h"
#include "leases.h"
#include "proxy.h"
#include "requests.h"
#include "server.h"

static struct server server;
static hmkv *kv;

static void begin(void) {
  server_start(&server, NULL);
  kv = open_at(server.endpoint, "timeout=1s close_timeout=1s");
}

static void end(void) {
  if (kv) close_store(kv);
  server_stop(&server);
}

/* A lease with one key; the first call connects. */
static hmkv_lease *lease_on(hmkv *store, int64_t ttl_ms, const char *key, struct told *told) {
  WAIT_UNTIL(hmkv_store(store, unique("connect"), "1") == HMKV_OK);
  hmkv_lease *lease = lease_new(store, ttl_ms, told);
  lease_put(store, lease, key, HMKV_OK);
  return lease;
}

static bool can_read(const char *key, bool *there) {
  hmkv_result *result = hmkv_await(hmkv_range(kv, key, HMKV_NTS, NULL));
  hmkv_status status = hmkv_result_status(result);
  hmkv_result_free(result);
  *there = status == HMKV_OK;
  return status >= 0;
}

static bool is_gone(const char *key) {
  bool there = true;
  return can_read(key, &there) && !there;
}

static void what_is_left_falls_during_an_outage_and_rises_after_it(void) {
  const char *key = unique("key");
  struct told told = {0};
  hmkv_lease *lease = lease_on(kv, 20000, key, &told);
  server_pause(&server);
  int64_t left = hmkv_lease_left_ms(lease);
  CHECK(left > 0 && left <= 19500);
  for (int64_t end_ms = now_ms() + patience_ms(); left > 11500; poll_pause()) {
    int64_t next = hmkv_lease_left_ms(lease);
    CHECK(next <= left && now_ms() < end_ms);
    left = next;
  }
  server_resume(&server);
  WAIT_UNTIL(hmkv_lease_left_ms(lease) > 15000);
  CHECK(told_nothing(&told));
  CHECK_OK(hmkv_lease_close(lease, true));
  CHECK(!has_key(kv, key));
}

static void an_outage_shorter_than_the_ttl_does_no_harm(void) {
  const char *key = unique("key");
  struct told told = {0};
  hmkv_lease *lease = lease_on(kv, 30000, key, &told);
  int64_t id = hmkv_lease_id(lease);
  for (int i = 0; i < 2; i++) {
    server_kill(&server);
    server_restart(&server);
    WAIT_UNTIL(hmkv_store(kv, unique("key"), "1") == HMKV_OK);
    CHECK_INT(id, lease_of(kv, key));
    WAIT_UNTIL(hmkv_lease_left_ms(lease) > 25000); /* it was renewed since */
  }
  CHECK(told_nothing(&told));
  CHECK_OK(hmkv_lease_close(lease, true));
  CHECK(!has_key(kv, key));
}

static void a_server_that_is_paused_for_longer_than_the_ttl_is_a_loss(void) {
  enum { TTL_MS = 4000 };
  const char *key = unique("key");
  struct told told = {0};
  struct control control;
  control_start(&control);
  hmkv_lease *lease = lease_on(kv, TTL_MS, key, &told);
  int64_t id = hmkv_lease_id(lease), begin_ms = now_ms();
  server_pause(&server);
  WAIT_UNTIL(told_once(&told));
  int64_t took = atomic_load(&told.lost_ms) - begin_ms, late = control_take_ms(&control);
  CHECK(took < TTL_MS + 300 + late); /* before the time is over */
  CHECK(took > TTL_MS / 4);          /* and not at the first renewal that fails */
  CHECK_INT(0, hmkv_lease_left_ms(lease));
  server_resume(&server);
  WAIT_UNTIL(is_gone(key)); /* nobody renews it */
  CHECK_INT(0, hmkv_lease_left_ms(lease));
  CHECK_INT(id, hmkv_lease_id(lease));
  CHECK(told_once(&told));
  lease_put(kv, lease, key, HMKV_ELOST);
  CHECK_STATUS(HMKV_ELOST, hmkv_lease_close(lease, true));
  lease = lease_new(kv, 60000, &told);
  lease_put(kv, lease, key, HMKV_OK);
  CHECK_OK(hmkv_lease_close(lease, true));
  CHECK(told_once(&told));
  control_stop(&control);
}

/* Sees the key by another connection while it is told of the loss. */
struct witness {
  hmkv *direct;
  const char *key;
  bool there;
  atomic_int calls;
};

static void look_at_key(hmkv_status status, const char *detail, void *userdata) {
  (void)detail;
  struct witness *witness = userdata;
  CHECK_STATUS(HMKV_ELOST, status);
  witness->there = has_key(witness->direct, witness->key);
  atomic_fetch_add(&witness->calls, 1);
}

static void who_is_cut_off_is_told_before_the_server_deletes_the_keys(void) {
  struct proxy proxy;
  struct control control;
  proxy_start(&proxy, server.client_port);
  hmkv *cut = open_at(proxy.endpoint, "timeout=1s close_timeout=1s");
  struct witness witness = {.direct = kv, .key = unique("key")};
  hmkv_lease *lease = NULL;
  WAIT_UNTIL(hmkv_lease_grant(cut, 5000, look_at_key, &witness, &lease) == HMKV_OK);
  lease_put(cut, lease, witness.key, HMKV_OK);
  control_start(&control);
  proxy_refuse(&proxy, true);
  proxy_cut_all(&proxy, CUT_RESET);
  WAIT_UNTIL(atomic_load(&witness.calls) == 1);
  CHECK_INT(0, hmkv_lease_left_ms(lease));
  if (control_take_ms(&control) < 200) CHECK(witness.there);
  WAIT_UNTIL(is_gone(witness.key));
  CHECK_INT(1, atomic_load(&witness.calls));
  CHECK_STATUS(HMKV_ELOST, hmkv_lease_close(lease, true));
  control_stop(&control);
  close_store(cut);
  proxy_stop(&proxy);
}

static void a_revocation_without_an_answer_says_so_and_the_keys_end_with_the_time(void) {
  const char *key = unique("key");
  struct told told = {0};
  hmkv_lease *lease = lease_on(kv, 5000, key, &told);
  server_pause(&server);
  int64_t begin_ms = now_ms();
  hmkv_status status = hmkv_lease_close(lease, true);
  int64_t took = now_ms() - begin_ms;
  if (status != HMKV_EUNAVAIL && status != HMKV_EINDETERMINATE) FAIL("%s", hmkv_status_name(status));
  CHECK(took >= 900 && took < 6000);
  CHECK_STATUS(HMKV_EHANDLE, hmkv_lease_close(lease, true));
  server_resume(&server);
  WAIT_UNTIL(is_gone(key));
  CHECK(told_nothing(&told));
}

static void closing_without_revoke_does_not_ask_the_server(void) {
  const char *key = unique("key");
  hmkv_lease *lease = lease_on(kv, 3000, key, NULL);
  server_pause(&server);
  int64_t begin_ms = now_ms();
  CHECK_OK(hmkv_lease_close(lease, false));
  CHECK(now_ms() - begin_ms < 700);
  server_resume(&server);
  WAIT_UNTIL(is_gone(key));
}

static void granting_without_an_answer_is_unavailable_within_the_timeout(void) {
  WAIT_UNTIL(hmkv_store(kv, unique("connect"), "1") == HMKV_OK);
  server_pause(&server);
  hmkv_lease *lease = (hmkv_lease *)&lease;
  int64_t begin_ms = now_ms();
  CHECK_STATUS(HMKV_EUNAVAIL, hmkv_lease_grant(kv, 5000, NULL, NULL, &lease));
  int64_t took = now_ms() - begin_ms;
  CHECK(lease == NULL);
  CHECK(took >= 900 && took < 6000);
  server_resume(&server);
  WAIT_UNTIL(hmkv_lease_grant(kv, 5000, NULL, NULL, &lease) == HMKV_OK);
  CHECK_OK(hmkv_lease_close(lease, true));
}

struct request {
  atomic_int tid;
  hmkv_lease *lease;
  hmkv_status status;
};

static void *grant_it(void *arg) {
  struct request *request = arg;
  atomic_store(&request->tid, (int)thread_id());
  request->status = hmkv_lease_grant(kv, 5000, NULL, NULL, &request->lease);
  return NULL;
}

static void *revoke_it(void *arg) {
  struct request *request = arg;
  atomic_store(&request->tid, (int)thread_id());
  request->status = hmkv_lease_close(request->lease, true);
  return NULL;
}

/* Runs a call on a server that does not answer, and closes the store meanwhile. */
static void end_by_close(void *(*call)(void *), struct request *request) {
  close_store(kv);
  kv = open_at(server.endpoint, "timeout=10m close_timeout=1s");
  request->lease = lease_on(kv, 5000, unique("key"), NULL);
  server_pause(&server);
  pthread_t thread = start_thread(call, request);
  WAIT_UNTIL(atomic_load(&request->tid));
  wait_until_blocked(atomic_load(&request->tid));
  int64_t begin_ms = now_ms();
  close_store(kv);
  kv = NULL;
  CHECK(now_ms() - begin_ms < 6000);
  join_thread(thread);
  CHECK(now_ms() - begin_ms < 10000);
  server_resume(&server);
}

static void closing_the_store_ends_a_grant(void) {
  struct request request = {0};
  end_by_close(grant_it, &request);
  CHECK_STATUS(HMKV_ECLOSED, request.status);
  CHECK(request.lease == NULL);
}

static void closing_the_store_ends_a_revocation(void) {
  struct request request = {0};
  end_by_close(revoke_it, &request);
  if (request.status != HMKV_ECLOSED && request.status != HMKV_EINDETERMINATE)
    FAIL("%s", hmkv_status_name(request.status));
  CHECK_STATUS(HMKV_EHANDLE, hmkv_lease_close(request.lease, true));
}

static void changes_of_the_leader_do_no_harm(void) {
  struct cluster cluster;
  cluster_start(&cluster);
  hmkv *store = open_at(cluster_endpoints(&cluster, 0), NULL);
  const char *key = unique("key");
  struct told told = {0};
  hmkv_lease *lease = lease_on(store, 6000, key, &told);
  int64_t id = hmkv_lease_id(lease);
  for (int i = 0; i < 3; i++) {
    cluster_move_leader(&cluster, (cluster_leader(&cluster) + 1) % MEMBERS);
    HOLDS_FOR(2500, hmkv_lease_left_ms(lease) > 0);
    CHECK_INT(id, lease_of(store, key));
  }
  CHECK(told_nothing(&told));
  CHECK_OK(hmkv_lease_close(lease, true));
  CHECK(!has_key(store, key));
  close_store(store);
  cluster_stop(&cluster);
}

/* ---- in the library itself ---- */

static struct gate busy = GATE_CLOSED;
static atomic_int held;

/* What no log may do: it holds up the thread that reads answers and events. */
static void hold_up(int32_t level, const char *line, void *userdata) {
  (void)level, (void)line, (void)userdata;
  char name[16] = "";
  pthread_getname_np(pthread_self(), name, sizeof name);
  if (strcmp(name, "hmkv-io") != 0) return;
  atomic_fetch_add(&held, 1);
  gate_pass(&busy);
}

static void renewals_wait_for_no_events_and_no_answers(void) {
  const char *key = unique("key");
  struct told told = {0};
  hmkv_watcher *watcher = NULL;
  hmkv_lease *lease = lease_on(kv, 2000, key, &told);
  hmkv_set_log(HMKV_LOG_DEBUG, hold_up, NULL);
  CHECK_STATUS(HMKV_EUNAVAIL, hmkv_watch_open(kv, key, HMKV_NTS, NULL, NULL, NULL, &watcher));
  CHECK_INT(1, atomic_load(&held)); /* when it had connected */
  HOLDS_FOR(6000, hmkv_lease_left_ms(lease) > 0);
  CHECK(has_key(kv, key)); /* this thread reads the answer itself */
  CHECK_INT(1, atomic_load(&held));
  gate_open(&busy);
  CHECK(told_nothing(&told));
  hmkv_set_log(HMKV_LOG_OFF, NULL, NULL);
  CHECK_OK(hmkv_lease_close(lease, true));
  CHECK(!has_key(kv, key));
}

static const struct test tests[] = {
    ETCD_ONLY(what_is_left_falls_during_an_outage_and_rises_after_it),
    ETCD_ONLY(an_outage_shorter_than_the_ttl_does_no_harm),
    ETCD_ONLY(a_server_that_is_paused_for_longer_than_the_ttl_is_a_loss),
    ETCD_ONLY(who_is_cut_off_is_told_before_the_server_deletes_the_keys),
    ETCD_ONLY(a_revocation_without_an_answer_says_so_and_the_keys_end_with_the_time),
    ETCD_ONLY(closing_without_revoke_does_not_ask_the_server),
    ETCD_ONLY(granting_without_an_answer_is_unavailable_within_the_timeout),
    ETCD_ONLY(closing_the_store_ends_a_grant),
    ETCD_ONLY(closing_the_store_ends_a_revocation),
    ETCD_ONLY(changes_of_the_leader_do_no_harm),
    ETCD_ONLY(renewals_wait_for_no_events_and_no_answers),
};
TEST_MAIN(.begin = begin, .end = end)
