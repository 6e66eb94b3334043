/* hmkv_cluster_status where a member does not answer: it ends in time, says so of that
 * member, and leaves nothing behind. */
#include "cluster.h"
#include "control.h"
#include "proxy.h"
#include "status.h"

/* What HTTP/2 begins with; the server's first word is the answer to it. */
enum { PREFACE = 24 };
enum { MARGIN_MS = 300 };
/* Longer than connecting may take, shorter than a connection is believed that is silent. */
enum { WAIT_MS = 1300 };

static struct control control;
static hmkv *kv;

static void begin(void) { control_start(&control); }
static void end(void) { control_stop(&control); }

/* No other failure than having no answer; NULL then. Gives how long it took. */
static int64_t ask(hmkv *of, int64_t timeout_ms, char **json) {
  control_take_ms(&control);
  int64_t start = now_ms();
  hmkv_status status = hmkv_cluster_status(of, json);
  int64_t took = now_ms() - start, late = control_take_ms(&control);
  CHECK(status == HMKV_OK || status == HMKV_EUNAVAIL);
  if (took > timeout_ms + MARGIN_MS + 5 * late)
    FAIL("%" PRId64 " ms, where threads are %" PRId64 " ms late", took, late);
  return took;
}

static void calls_work(void) {
  WAIT_UNTIL(hmkv_store(kv, "key", "value") == HMKV_OK);
  CHECK_VALUE(kv, "key", "value");
}

/* Where all that lasts is there: what asks members has its thread with leases. */
static int standing_descriptors(void) {
  calls_work();
  hmkv_lease *lease = NULL;
  CHECK_OK(hmkv_lease_grant(kv, 60000, NULL, NULL, &lease));
  CHECK_OK(hmkv_lease_close(lease, true));
  return count_descriptors();
}

static bool are_missing(hmkv *of, int64_t timeout_ms, const char *names) {
  char *json = NULL;
  ask(of, timeout_ms, &json);
  if (json) check_members(json, "http://"); /* with a reason where there is no answer */
  const char *filter = text("[.members[] | select(.reachable | not) | .name] == %s", names);
  bool are = json && json_holds(json, filter);
  hmkv_free(json);
  return are;
}

/* In the shorter time it is not even seen that it does not accept a connection. */
static void a_member_that_hangs_delays_it_by_the_timeout_at_most(void) {
  struct cluster cluster;
  cluster_start(&cluster);
  cluster_move_leader(&cluster, 0); /* an election would make writes fail */
  const char *where = cluster.members[0].endpoint;
  kv = open_at(where, "timeout=3s");
  hmkv *hasty = open_at(where, "timeout=400ms");
  int before = standing_descriptors();
  hmkv_free(cluster_status(kv));
  WAIT_UNTIL(count_descriptors() == before);
  server_pause(&cluster.members[1]);
  for (int i = 0; i < 3; i++) {
    WAIT_UNTIL(are_missing(hasty, 400, "[\"two\"]"));
    WAIT_UNTIL(are_missing(kv, 3000, "[\"two\"]"));
    calls_work();
    WAIT_UNTIL(count_descriptors() == before);
  }
  server_resume(&cluster.members[1]);
  WAIT_UNTIL(are_missing(kv, 3000, "[]"));
  WAIT_UNTIL(count_descriptors() == before);
  close_store(hasty);
  close_store(kv);
  cluster_stop(&cluster);
}

static void *ask_until_closed(void *of) {
  char *json = NULL;
  hmkv_status status;
  while ((status = hmkv_cluster_status(of, &json)) == HMKV_OK) hmkv_free(json);
  CHECK_STATUS(HMKV_ECLOSED, status);
  CHECK(json == NULL);
  return NULL;
}

/* Two descriptors are the proxy's, while it holds a connection back. */
static int of_the_store(void) { return count_descriptors() - 2; }

/* The server greets, and gets nothing that is said then: its answer is waited for. False
 * where the machine was too slow for the greeting, or for any answer. */
static bool an_answer_is_waited_for(struct proxy *proxy, int before) {
  char *json = NULL;
  proxy_cut_after(proxy, TO_SERVER, PREFACE, CUT_HOLD);
  bool waited = ask(kv, WAIT_MS, &json) >= WAIT_MS - 100 && json;
  if (waited) {
    check_members(json, "http://");
    CHECK_JSON(json, "[.members[].reachable] == [true]"); /* by its other endpoint */
    calls_work();
    WAIT_UNTIL(of_the_store() == before);
  }
  hmkv_free(json);
  proxy_hold(proxy, TO_SERVER, false);
  WAIT_UNTIL(count_descriptors() == before);
  return waited;
}

static void a_connection_whose_answer_nobody_waits_for_is_ended(void) {
  struct server server;
  struct proxy proxy;
  server_start(&server, NULL);
  proxy_start(&proxy, server.client_port);
  const char *both = text("%s,%s", server.endpoint, proxy.endpoint);
  kv = open_at(both, text("timeout=%dms", WAIT_MS));
  int before = standing_descriptors();
  WAIT_UNTIL(an_answer_is_waited_for(&proxy, before));

  hmkv *other = open_at(both, "timeout=60s");
  uint64_t greeted = proxy_passed(&proxy, TO_CLIENT);
  proxy_cut_after(&proxy, TO_SERVER, PREFACE, CUT_HOLD);
  pthread_t thread = start_thread(ask_until_closed, other);
  WAIT_UNTIL(proxy_passed(&proxy, TO_CLIENT) > greeted);
  HOLDS_FOR(100, of_the_store() > before);
  close_store(other);
  join_thread(thread);
  WAIT_UNTIL(of_the_store() == before);
  calls_work();
  close_store(kv);
  proxy_stop(&proxy);
  server_stop(&server);
}

static const struct test tests[] = {
    ETCD_ONLY(a_member_that_hangs_delays_it_by_the_timeout_at_most),
    ETCD_ONLY(a_connection_whose_answer_nobody_waits_for_is_ended),
};

TEST_MAIN(.begin = begin, .end = end)
