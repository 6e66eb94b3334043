/* A connection that is lost is made anew, while nobody asks for anything. */
#include "control.h"
#include "metrics.h"
#include "process.h"
#include "proxy.h"
#include "requests.h"
#include "server.h"
#include "states.h"

/* One that ends sooner is made anew after a pause of about as much. */
enum { SHORT_LIVED_MS = 1000 };

static struct server server;
static struct proxy proxy;
static struct states states;
static hmkv *kv;

static void listen_at(const char *endpoint) {
  states = (struct states)STATES_NONE;
  kv = open_at(endpoint, "timeout=20s");
  CHECK_OK(hmkv_on_state(kv, states_record, &states));
  CHECK_OK(hmkv_store(kv, "key", "value"));
  WAIT_UNTIL(states_count(&states, HMKV_STATE_CONNECTED, NULL) == 1);
}

static size_t moved_to(const char *endpoint) {
  return states_count(&states, HMKV_STATE_ENDPOINT, endpoint);
}

static void done(void) {
  CHECK_INT(1, states_count(&states, HMKV_STATE_CONNECTED, NULL));
  CHECK_INT(0, states_count(&states, HMKV_STATE_CUT, NULL));
  close_store(kv);
  states_free(&states);
}

static void begin_with_proxy(void) {
  server_start(&server, NULL);
  proxy_start(&proxy, server.client_port);
  listen_at(proxy.endpoint);
}

static void end_with_proxy(void) {
  CHECK_INT(0, moved_to(NULL));
  done();
  proxy_stop(&proxy);
  server_stop(&server);
}

static int64_t reconnects(void) { return metric(kv, "hmkv_reconnects_total"); }

static int64_t cut_ms(void) {
  int64_t former = reconnects(), start = now_ms();
  proxy_cut_all(&proxy, CUT_RESET);
  WAIT_UNTIL(reconnects() > former);
  return now_ms() - start;
}

/* The best of several: a loaded machine decides nothing. */
static void one_that_had_worked_is_made_anew_at_once(void) {
  struct control control;
  control_start(&control);
  begin_with_proxy();
  int64_t best = INT64_MAX;
  for (int i = 0; i < 4; i++) {
    int64_t old_at = now_ms() + SHORT_LIVED_MS + 100;
    WAIT_UNTIL(now_ms() > old_at);
    control_take_ms(&control);
    int64_t took = cut_ms() - control_take_ms(&control);
    if (took < best) best = took;
  }
  printf(", %" PRId64 " ms", best);
  CHECK(best < SHORT_LIVED_MS / 3);
  end_with_proxy();
  control_stop(&control);
}

/* The longest of several: it may not have ended the mending of the one before yet. */
static void a_server_that_ends_what_it_accepts_is_not_pressed(void) {
  begin_with_proxy();
  int64_t longest = 0, not_born = 0; /* when the present one was not there yet */
  for (int judged = 0; judged < 4;) {
    int64_t cut_at = now_ms() + SHORT_LIVED_MS / 5, former = reconnects();
    WAIT_UNTIL(now_ms() >= cut_at);
    proxy_cut_all(&proxy, CUT_CLOSE);
    bool was_young = now_ms() - not_born < SHORT_LIVED_MS * 9 / 10;
    int64_t look;
    while (look = now_ms(), reconnects() == former) {
      CHECK(look < cut_at + patience_ms());
      not_born = look;
      poll_pause();
    }
    if (was_young && look - cut_at > longest) longest = look - cut_at;
    judged += was_young;
  }
  printf(", %" PRId64 " ms", longest);
  CHECK(longest >= SHORT_LIVED_MS * 7 / 10);
  end_with_proxy();
}

/* The first one has no leader for a while, is left for another, and keeps its connection. */
static void the_member_that_is_gone_back_to_is_told(void) {
  struct server other;
  server_start(&server, NULL);
  server_start(&other, NULL);
  listen_at(text("%s,%s", server.endpoint, other.endpoint));
  etcdctl_at(server.endpoint, "member", "add", "absent",
             text("--peer-urls=http://127.0.0.1:%d", free_port()), NULL);
  WAIT_UNTIL(server_metric(&server, "etcd_server_has_leader") == 0);
  CHECK_OK(hmkv_store(kv, "key", "value"));
  WAIT_UNTIL(moved_to(other.endpoint) == 1);
  CHECK_INT(1, moved_to(NULL));
  server_kill(&other);
  WAIT_UNTIL(moved_to(server.endpoint) == 1);
  CHECK_INT(2, moved_to(NULL));
  done();
  server_stop(&other);
  server_stop(&server);
}

static const struct test tests[] = {
    ETCD_ONLY(one_that_had_worked_is_made_anew_at_once),
    ETCD_ONLY(a_server_that_ends_what_it_accepts_is_not_pressed),
    ETCD_ONLY(the_member_that_is_gone_back_to_is_told),
};

TEST_MAIN()
