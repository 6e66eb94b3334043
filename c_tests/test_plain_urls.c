/* What was encrypted on its way to the members that were given stays so: where all of
 * them have https, the URLs that a cluster lists without it get nothing. Here such a URL
 * leads to the same server, by a proxy that counts; another one is before its TLS. */
#include "auth.h"
#include "proxy.h"
#include "status.h"

static struct server server, plain;
static struct proxy tls, listed;
static const char *endpoint, *options;

static void begin(void) {
  server_prepare(&server, "own");
  server_certify(&server);
  int port = free_port();
  proxy_start(&tls, 0);
  proxy_start(&listed, port);
  endpoint = text("https%s", strchr(tls.endpoint, ':'));
  server.also_listens = text("http://127.0.0.1:%d", port);
  server.option = text("--advertise-client-urls=%s,%s", endpoint, listed.endpoint);
  server_begin(&server);
  proxy_lead_to(&tls, server.client_port);
  plain = server;
  plain.client_port = port;
  auth_enable(&server);
  const char *d = server.certificates;
  options = text("user=root password=rootpassword cacert='%s/ca.pem' cert='%s/client.pem' "
                 "key='%s/client.key'", d, d, d);
}

static void end(void) {
  proxy_stop(&tls);
  proxy_stop(&listed);
  auth_stop(&server);
}

static void nothing_came_by_the_plain_url(void) {
  HOLDS_FOR(100, proxy_connections(&listed) == 0);
  CHECK_INT(0, proxy_passed(&listed, TO_SERVER));
}

static void cluster_status_does_not_ask_there(void) {
  hmkv *kv = open_at(endpoint, text("timeout=20s %s", options));
  CHECK_OK(hmkv_store(kv, "key", "value")); /* it has a token from now on */
  char *json = cluster_status(kv);
  check_members(json, "http");
  CHECK_JSON(json, text("(.members[0].client_urls | sort) == [\"%s\", \"%s\"]", listed.endpoint,
                        endpoint));
  CHECK_JSON(json, text("[.members[].endpoint] == [\"%s\"]", endpoint));
  hmkv_free(json);
  close_store(kv);
  nothing_came_by_the_plain_url();
  /* It would have led there: who names such a URL is understood. */
  kv = open_at(text("%s,%s", endpoint, listed.endpoint), text("timeout=20s %s", options));
  hmkv_free(cluster_status(kv));
  CHECK(proxy_connections(&listed) > 0 && proxy_passed(&listed, TO_CLIENT) > 0);
  close_store(kv);
}

static long lists_asked_for(void) {
  return server_metric(&plain, "grpc_server_started_total{grpc_method=\"MemberList\","
                               "grpc_service=\"etcdserverpb.Cluster\",grpc_type=\"unary\"}");
}

static void sync_does_not_go_there(void) {
  hmkv *kv = open_at(endpoint, text("sync=1s timeout=2s %s", options));
  WAIT_UNTIL(hmkv_store(kv, "key", "value") == HMKV_OK);
  long asked = lists_asked_for();
  WAIT_UNTIL(lists_asked_for() >= asked + 3);
  nothing_came_by_the_plain_url();
  proxy_refuse(&tls, true);
  proxy_cut_all(&tls, CUT_RESET);
  char *json = NULL, *value = NULL;
  CHECK_STATUS(HMKV_EUNAVAIL, hmkv_get(kv, "key", &value));
  CHECK_STATUS(HMKV_EUNAVAIL, hmkv_cluster_status(kv, &json));
  nothing_came_by_the_plain_url();
  proxy_refuse(&tls, false);
  WAIT_UNTIL(hmkv_store(kv, "key", "value") == HMKV_OK);
  close_store(kv);
  nothing_came_by_the_plain_url();
}

static const struct test tests[] = {
    ETCD_ONLY(cluster_status_does_not_ask_there),
    ETCD_ONLY(sync_does_not_go_there),
};

TEST_MAIN(.begin = begin, .end = end)
