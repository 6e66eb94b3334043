/* https: what the TLS options do, and what goes wrong with certificates. */
#include "server.h"
#include "test.h"

static struct server server;

static const char *options(const char *format) {
  const char *d = server.certificates;
  return text(format, d, d, d, d);
}

static void begin(void) { server_start_tls(&server); }

static void end(void) { server_stop(&server); }

static void with_authority_and_client_certificate_everything_works(void) {
  hmkv *kv = open_at(server.endpoint, options("cacert='%s/ca.pem' cert='%s/client.pem' key='%s/client.key'"));
  const char *key = unique("key");
  CHECK_OK(hmkv_store(kv, key, "1"));
  CHECK_VALUE(kv, key, "1");
  CHECK_OK(hmkv_dist_lock(kv));
  CHECK_STATUS(HMKV_TIMED_OUT, hmkv_watch(kv, key, 0, NULL, NULL));
  close_store(kv);
}

static void server_name_is_what_the_certificate_must_have(void) {
  const char *format = "cacert='%s/ca.pem' cert='%s/client.pem' key='%s/client.key' server_name=";
  hmkv *kv = open_at(server.endpoint, text("%sother.test timeout=20s", options(format)));
  CHECK_OK(hmkv_store(kv, "named", "1"));
  close_store(kv);
  kv = open_at(server.endpoint, text("%swrong.test timeout=3s", options(format)));
  CHECK_STATUS(HMKV_ETLS, hmkv_store(kv, "named", "2"));
  CHECK(strstr(hmkv_errmsg(), "wrong.test"));
  close_store(kv);
}

static void an_unknown_authority_is_refused(void) {
  hmkv *kv = open_at(server.endpoint, options("timeout=3s cacert='%s/stranger.pem'"));
  CHECK_STATUS(HMKV_ETLS, hmkv_store(kv, "key", "1"));
  close_store(kv);
  kv = open_at(server.endpoint, "timeout=3s"); /* the system's */
  CHECK_STATUS(HMKV_ETLS, hmkv_store(kv, "key", "1"));
  close_store(kv);
}

static void bad_certificate_files_fail_at_once(void) {
  static const char *const bad[] = {
      "cacert='%s/nothing.pem'",
      "cacert='%s/ca.key'",
      "cacert='%s/ca.pem' cert='%s/client.pem' key='%s/server.key'",
      "cacert='%s/ca.pem' cert='%s/client.key' key='%s/client.key'",
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    hmkv *kv = (hmkv *)&kv;
    CHECK_STATUS(HMKV_ETLS, hmkv_open(server.endpoint, options(bad[i]), &kv));
    CHECK(kv == NULL);
  }
}

static void insecure_believes_any_server(void) {
  hmkv *kv = open_at(server.endpoint, options("timeout=3s cert='%s/client.pem' key='%s/client.key'"));
  CHECK_STATUS(HMKV_ETLS, hmkv_store(kv, "insecure", "1"));
  close_store(kv);
  kv = open_at(server.endpoint, options("insecure cert='%s/client.pem' key='%s/client.key'"));
  CHECK_OK(hmkv_store(kv, "insecure", "2"));
  CHECK_VALUE(kv, "insecure", "2");
  close_store(kv);
}

static void copy(const char *from, const char *to) {
  const char *d = server.certificates;
  CHECK_INT(0, system(text("cp '%s/%s' '%s/%s'", d, from, d, to)));
}

/* Certificates end: a daemon gets new ones into the same files. */
static void files_are_read_again_at_each_connect(void) {
  copy("ca.pem", "present.pem");
  hmkv *kv = open_at(server.endpoint,
                     options("timeout=3s cacert='%s/present.pem' cert='%s/client.pem' key='%s/client.key'"));
  CHECK_OK(hmkv_store(kv, "renewed", "1"));
  copy("stranger.pem", "present.pem");
  CHECK_OK(hmkv_store(kv, "renewed", "2")); /* on the connection that is there */
  server_kill(&server);
  server_restart(&server);
  WAIT_UNTIL(hmkv_store(kv, "renewed", "3") == HMKV_ETLS);
  copy("ca.pem", "present.pem");
  WAIT_UNTIL(hmkv_store(kv, "renewed", "4") == HMKV_OK);
  CHECK_VALUE(kv, "renewed", "4");
  close_store(kv);
}

static const struct test tests[] = {
    ETCD_ONLY(with_authority_and_client_certificate_everything_works),
    ETCD_ONLY(server_name_is_what_the_certificate_must_have),
    ETCD_ONLY(an_unknown_authority_is_refused),
    ETCD_ONLY(bad_certificate_files_fail_at_once),
    ETCD_ONLY(insecure_believes_any_server),
    ETCD_ONLY(files_are_read_again_at_each_connect),
};

TEST_MAIN(.begin = begin, .end = end)
