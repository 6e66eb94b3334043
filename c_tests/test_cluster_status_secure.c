/* hmkv_cluster_status over TLS, and for a user: all is told, and nothing that is secret. */
#include "auth.h"
#include "cluster.h"
#include "process.h"
#include "status.h"

static struct server server;

static void every_member_of_a_cluster_with_tls_tells(void) {
  struct cluster cluster;
  cluster_start_tls(&cluster);
  const char *d = cluster.members[0].certificates;
  const char *tls = text("cacert='%s/ca.pem' cert='%s/client.pem' key='%s/client.key'", d, d, d);
  hmkv *kv = open_at(cluster.members[0].endpoint, text("timeout=20s %s", tls));
  char *json = cluster_status(kv);
  check_members(json, "https://");
  CHECK_JSON(json, "[.members[].name] | sort == [\"one\", \"three\", \"two\"]");
  CHECK_JSON(json, "all(.members[]; .reachable and [.endpoint] == .client_urls)");
  CHECK_JSON(json, ".leader as $leader | any(.members[]; .id == $leader)");
  hmkv_free(json);
  close_store(kv);
  /* Whose certificate nobody signed answers nothing. */
  kv = open_at(cluster.members[0].endpoint, text("timeout=20s cacert='%s/stranger.pem'", d));
  CHECK_STATUS(HMKV_EUNAVAIL, hmkv_cluster_status(kv, &json));
  CHECK(json == NULL && strstr(hmkv_errmsg(), cluster.members[0].endpoint));
  close_store(kv);
  cluster_stop(&cluster);
}

/* ---- users ---- */

/* A signed token begins with "eyJ": that is {" in base64. */
static const char *const secrets[] = {"hunter2", "daemonsecret", "rootpassword", "eyJ"};

static atomic_long lines;

static void check_text(const char *what, const char *told) {
  for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++)
    if (strstr(told, secrets[i])) FAIL("%s tells %s: %s", what, secrets[i], told);
}

static void check_line(int32_t level, const char *line, void *userdata) {
  (void)level, (void)userdata;
  check_text("the log", line);
  atomic_fetch_add(&lines, 1);
}

/* Also without a token there may be an answer, but never another failure. */
static hmkv_status ask(hmkv *kv, char **json) {
  hmkv_status status = hmkv_cluster_status(kv, json);
  CHECK(status == HMKV_OK || status == HMKV_EUNAVAIL);
  check_text("the answer", status == HMKV_OK ? *json : hmkv_errmsg());
  return status;
}

static void a_user_without_rights_is_told_all_and_nobody_a_secret(void) {
  char *json = NULL;
  hmkv_set_log(HMKV_LOG_DEBUG, check_line, NULL);
  auth_start(&server, JWT);
  etcdctl_at(server.endpoint, "user", "add", "daemon:daemonsecret", NULL);
  hmkv *kv = open_at(server.endpoint, "timeout=20s user=daemon password=daemonsecret");
  hmkv *wrong = open_at(server.endpoint, "timeout=2s user=daemon password=hunter2");
  CHECK_STATUS(HMKV_EDENIED, hmkv_store(kv, "key", "value"));
  CHECK_STATUS(HMKV_EAUTH, hmkv_store(wrong, "key", "value"));
  CHECK_OK(ask(kv, &json));
  check_members(json, "http://");
  CHECK_JSON(json, ".members | length == 1");
  CHECK_JSON(json, ".leader == .members[0].id and .members[0].reachable");
  CHECK_JSON(json, text("[.members[0] | .endpoint, .client_urls[]] | all(. == \"%s\")",
                        server.endpoint));
  hmkv_free(json);
  (void)ask(wrong, &json);
  hmkv_free(json);
  server_kill(&server);
  CHECK_STATUS(HMKV_EUNAVAIL, ask(wrong, &json));
  server_restart(&server);
  WAIT_UNTIL(ask(kv, &json) == HMKV_OK); /* nobody has its former token any more */
  check_members(json, "http://");
  hmkv_free(json);
  close_store(kv);
  close_store(wrong);
  hmkv_set_log(HMKV_LOG_OFF, NULL, NULL);
  CHECK(atomic_load(&lines) >= 5);
  auth_stop(&server);
}

static const struct test tests[] = {
    ETCD_ONLY(every_member_of_a_cluster_with_tls_tells),
    ETCD_ONLY(a_user_without_rights_is_told_all_and_nobody_a_secret),
};

TEST_MAIN()
