/* hmkv_on_state about the way to the server: connected, cut, another member. */
#include "cluster.h"
#include "leases.h"
#include "metrics.h"
#include "proxy.h"
#include "recorder.h"
#include "requests.h"
#include "server.h"
#include "states.h"

static struct server server;
static struct states states;
static hmkv *kv;
static const char *key;

static void listen_at(const char *endpoint, const char *options) {
  states = (struct states)STATES_NONE;
  kv = open_at(endpoint, options);
  CHECK_OK(hmkv_on_state(kv, states_record, &states));
  key = unique("key");
}

static void done(void) {
  size_t cuts = states_count(&states, HMKV_STATE_CUT, NULL);
  close_store(kv);
  CHECK_INT(cuts, states_count(&states, HMKV_STATE_CUT, NULL)); /* closing is none */
  /* Connected, cut, connected, ...; another member only in between. */
  bool connected = false;
  for (size_t i = 0; i < states.count; i++) {
    switch (states.state[i]) {
      case HMKV_STATE_CONNECTED:
      case HMKV_STATE_CUT:
        CHECK(connected == (states.state[i] == HMKV_STATE_CUT));
        connected = !connected;
        break;
      case HMKV_STATE_ENDPOINT:
        CHECK(connected);
        break;
      default:
        break;
    }
    CHECK(*states.detail[i]);
  }
  states_free(&states);
}

static size_t connected(void) { return states_count(&states, HMKV_STATE_CONNECTED, NULL); }
static size_t cut(void) { return states_count(&states, HMKV_STATE_CUT, NULL); }
static size_t moved(void) { return states_count(&states, HMKV_STATE_ENDPOINT, NULL); }
static size_t total(void) { return connected() + cut() + moved() + states_total(&states); }

static void the_first_request_connects(void) {
  listen_at(test_endpoint(), NULL);
  HOLDS_FOR(200, total() == 0);
  for (int i = 0; i < 20; i++) CHECK_OK(hmkv_store(kv, key, "value"));
  WAIT_UNTIL(connected() == 1);
  CHECK_STR(states.detail[0], test_endpoint());
  hmkv_lease *lease = lease_new(kv, 60000, NULL);
  CHECK_STATUS(HMKV_TIMED_OUT, hmkv_watch(kv, key, 10, NULL, NULL));
  CHECK_OK(hmkv_lease_close(lease, true));
  CHECK_INT(1, total());
  done();
}

static void a_server_that_never_answered_is_no_cut(void) {
  listen_at(dead_endpoint(), "timeout=200ms");
  for (int i = 0; i < 3; i++) CHECK_STATUS(HMKV_EUNAVAIL, hmkv_store(kv, key, "value"));
  HOLDS_FOR(300, total() == 0);
  done();
}

/* Nobody asks for anything meanwhile. */
static void an_idle_store_hears_of_a_cut_and_of_its_end(void) {
  server_start(&server, NULL);
  listen_at(server.endpoint, NULL);
  CHECK_OK(hmkv_store(kv, key, "value"));
  for (size_t i = 1; i <= 3; i++) {
    WAIT_UNTIL(connected() == i);
    server_kill(&server);
    WAIT_UNTIL(cut() == i);
    HOLDS_FOR(300, total() == 2 * i);
    server_restart(&server);
  }
  WAIT_UNTIL(connected() == 4);
  CHECK_INT(4, states_count(&states, HMKV_STATE_CONNECTED, server.endpoint));
  CHECK_VALUE(kv, key, "value");
  CHECK_INT(0, moved());
  done();
  server_stop(&server);
}

/* Requests, leases and watches have a connection each. */
static void all_connections_together_are_cut_once(void) {
  struct recorder recorder = RECORDER;
  hmkv_watcher *watcher = NULL;
  server_start(&server, NULL);
  listen_at(server.endpoint, NULL);
  CHECK_OK(hmkv_watch_open(kv, key, HMKV_NTS, NULL, recorder_event, &recorder, &watcher));
  hmkv_lease *lease = lease_new(kv, 60000, NULL);
  for (size_t i = 1; i <= 3; i++) {
    CHECK_OK(hmkv_store(kv, key, "value"));
    recorder_wait(&recorder, i);
    WAIT_UNTIL(connected() == i);
    server_kill(&server);
    WAIT_UNTIL(cut() == i);
    server_restart(&server);
    WAIT_UNTIL(connected() == i + 1);
  }
  CHECK_OK(hmkv_watch_close(watcher));
  CHECK_OK(hmkv_lease_close(lease, true));
  CHECK_INT(7, total());
  done();
  recorder_free(&recorder);
  server_stop(&server);
}

enum { THREADS = 8 };
static atomic_bool stop;

static void *call_on(void *userdata) {
  (void)userdata;
  while (!atomic_load(&stop)) {
    hmkv_status status = hmkv_store(kv, key, "value");
    CHECK(status == HMKV_OK || status == HMKV_EUNAVAIL || status == HMKV_EINDETERMINATE);
  }
  return NULL;
}

static void under_many_threads_each_transition_comes_once(void) {
  pthread_t threads[THREADS];
  server_start(&server, NULL);
  listen_at(server.endpoint, "timeout=300ms");
  WAIT_UNTIL(hmkv_store(kv, key, "value") == HMKV_OK); /* connecting may take longer */
  atomic_store(&stop, false);
  for (int i = 0; i < THREADS; i++) threads[i] = start_thread(call_on, NULL);
  for (size_t i = 1; i <= 3; i++) {
    WAIT_UNTIL(connected() == i);
    server_kill(&server);
    WAIT_UNTIL(cut() == i);
    server_restart(&server);
  }
  WAIT_UNTIL(connected() == 4);
  atomic_store(&stop, true);
  for (int i = 0; i < THREADS; i++) join_thread(threads[i]);
  CHECK_INT(7, total());
  done();
  server_stop(&server);
}

static void a_connection_that_is_made_anew_at_once_is_no_cut(void) {
  struct proxy proxy;
  server_start(&server, NULL);
  proxy_start(&proxy, server.client_port);
  listen_at(proxy.endpoint, NULL);
  CHECK_OK(hmkv_store(kv, key, "value"));
  for (int i = 0; i < 4; i++) {
    proxy_cut_all(&proxy, i % 2 ? CUT_CLOSE : CUT_RESET);
    WAIT_UNTIL(metric(kv, "hmkv_reconnects_total") == i + 1);
  }
  CHECK_VALUE(kv, key, "value");
  CHECK_INT(1, total());
  proxy_refuse(&proxy, true);
  proxy_cut_all(&proxy, CUT_RESET);
  WAIT_UNTIL(cut() == 1);
  proxy_refuse(&proxy, false);
  WAIT_UNTIL(connected() == 2);
  done();
  proxy_stop(&proxy);
  server_stop(&server);
}

/* It keeps its connections, and answers nobody. */
static void a_server_that_hangs_is_a_cut_when_it_is_asked(void) {
  server_start(&server, NULL);
  listen_at(server.endpoint, "timeout=500ms");
  WAIT_UNTIL(hmkv_store(kv, key, "value") == HMKV_OK); /* connecting may take longer */
  server_pause(&server);
  do FINISH(HMKV_EUNAVAIL, hmkv_ping(kv));
  while (cut() == 0);
  CHECK_INT(1, cut());
  server_resume(&server);
  WAIT_UNTIL(connected() == 2);
  done();
  server_stop(&server);
}

static void another_member_is_told_without_a_cut(void) {
  struct cluster cluster;
  cluster_start(&cluster);
  cluster_move_leader(&cluster, 1); /* an election would make writes fail */
  listen_at(cluster_endpoints(&cluster, 0), "timeout=20s");
  CHECK_OK(hmkv_store(kv, key, "1"));
  WAIT_UNTIL(states_count(&states, HMKV_STATE_CONNECTED, cluster.members[0].endpoint) == 1);
  server_kill(&cluster.members[0]);
  WAIT_UNTIL(moved() == 1); /* while nothing is asked */
  CHECK_OK(hmkv_delete(kv, key));
  CHECK_OK(hmkv_store(kv, key, "2"));
  CHECK_INT(0, states_count(&states, HMKV_STATE_ENDPOINT, cluster.members[0].endpoint));
  server_restart(&cluster.members[0]);
  cluster_wait(&cluster);
  CHECK_VALUE(kv, key, "2");
  CHECK_INT(0, cut());
  CHECK_INT(1, connected());
  for (int i = 0; i < MEMBERS; i++) server_kill(&cluster.members[i]);
  WAIT_UNTIL(cut() == 1);
  for (int i = 0; i < MEMBERS; i++) server_launch(&cluster.members[i]);
  WAIT_UNTIL(connected() == 2);
  cluster_wait(&cluster);
  done();
  cluster_stop(&cluster);
}

static const struct test tests[] = {
    ETCD_ONLY(the_first_request_connects),
    ETCD_ONLY(a_server_that_never_answered_is_no_cut),
    ETCD_ONLY(an_idle_store_hears_of_a_cut_and_of_its_end),
    ETCD_ONLY(all_connections_together_are_cut_once),
    ETCD_ONLY(under_many_threads_each_transition_comes_once),
    ETCD_ONLY(a_connection_that_is_made_anew_at_once_is_no_cut),
    ETCD_ONLY(a_server_that_hangs_is_a_cut_when_it_is_asked),
    ETCD_ONLY(another_member_is_told_without_a_cut),
};
TEST_MAIN()
