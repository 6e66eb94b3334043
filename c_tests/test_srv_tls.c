/* Endpoint srv: records for TLS, and what they mean for others. */
#include "dns.h"
#include "server.h"
#include "test.h"

static struct dns dns;

static void begin(void) { dns_start(&dns); }
static void end(void) { dns_stop(&dns); }

static const char *with_certificates(const struct server *server, const char *more) {
  const char *d = server->certificates;
  return text("cacert='%s/ca.pem' cert='%s/client.pem' key='%s/client.key' %s", d, d, d, more);
}

static void records_for_tls_mean_https(void) {
  struct server server;
  server_start_tls(&server);
  dns_add(&dns, TLS, 0, server.client_port, "127.0.0.1");
  hmkv *kv = open_at(DOMAIN, with_certificates(&server, "timeout=20s"));
  const char *key = unique("key");
  CHECK_OK(hmkv_store(kv, key, "value"));
  CHECK_VALUE(kv, key, "value");
  close_store(kv);
  /* Without options it is TLS all the same, which needs them here. */
  kv = open_at(DOMAIN, "timeout=3s");
  CHECK_STATUS(HMKV_ETLS, hmkv_store(kv, key, "value"));
  close_store(kv);
  server_stop(&server);
}

/* The certificate is for 127.0.0.1 and other.test. */
static void the_certificate_must_have_the_name_in_the_record(void) {
  struct server server;
  server_start_tls(&server);
  dns_add(&dns, TLS, 0, server.client_port, "localhost");
  hmkv *kv = open_at(DOMAIN, with_certificates(&server, "timeout=3s"));
  CHECK_STATUS(HMKV_ETLS, hmkv_store(kv, "key", "value"));
  CHECK(strstr(hmkv_errmsg(), "localhost"));
  close_store(kv);
  kv = open_at(DOMAIN, with_certificates(&server, "timeout=20s server_name=other.test"));
  CHECK_OK(hmkv_store(kv, "key", "value"));
  close_store(kv);
  kv = (hmkv *)&kv;
  const char *missing = text("cacert='%s/nothing.pem'", server.certificates);
  CHECK_STATUS(HMKV_ETLS, hmkv_open(DOMAIN, missing, &kv)); /* at once, before any record */
  server_stop(&server);
}

static void where_there_are_records_for_tls_others_are_not_used(void) {
  struct server secure, plain;
  server_start_tls(&secure);
  server_start(&plain, NULL);
  dns_add(&dns, TLS, 9, secure.client_port, "127.0.0.1");
  dns_add(&dns, PLAIN, 0, plain.client_port, "localhost");
  hmkv *kv = open_at(DOMAIN, "timeout=3s"); /* it does not know the authority */
  hmkv *direct = open_at(plain.endpoint, "timeout=20s");
  const char *key = unique("key");
  CHECK_STATUS(HMKV_ETLS, hmkv_store(kv, key, "value"));
  /* Not even when there are no others any more. */
  dns_clear(&dns);
  dns_add(&dns, PLAIN, 0, plain.client_port, "localhost");
  long asked = dns_asked(&dns);
  WAIT_UNTIL(hmkv_store(kv, key, "value") != HMKV_OK && dns_asked(&dns) > asked + 2);
  CHECK(!has_key(direct, key));
  close_store(kv);
  dns_add(&dns, TLS, 9, secure.client_port, "127.0.0.1");
  kv = open_at(DOMAIN, with_certificates(&secure, "timeout=20s"));
  CHECK_OK(hmkv_store(kv, key, "value"));
  CHECK(!has_key(direct, key));
  close_store(direct);
  close_store(kv);
  server_stop(&secure);
  server_stop(&plain);
}

static void with_options_for_tls_other_records_are_not_used(void) {
  struct server secure, plain;
  server_start_tls(&secure);
  server_start(&plain, NULL);
  dns_add(&dns, PLAIN, 0, plain.client_port, "localhost");
  hmkv *kv = open_at(DOMAIN, text("timeout=2s cacert='%s/ca.pem'", secure.certificates));
  CHECK_STATUS(HMKV_EUNAVAIL, hmkv_store(kv, "key", "value"));
  CHECK(strstr(hmkv_errmsg(), TLS));
  close_store(kv);
  server_stop(&secure);
  server_stop(&plain);
}

static const struct test tests[] = {
    ETCD_ONLY(records_for_tls_mean_https),
    ETCD_ONLY(the_certificate_must_have_the_name_in_the_record),
    ETCD_ONLY(where_there_are_records_for_tls_others_are_not_used),
    ETCD_ONLY(with_options_for_tls_other_records_are_not_used),
};
TEST_MAIN(.begin = begin, .end = end)
