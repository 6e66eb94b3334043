/* Endpoint srv: the members are those that a name server tells. */
#include "dns.h"
#include "events.h"
#include "server.h"
#include "test.h"

static struct dns dns;

static void begin(void) { dns_start(&dns); }
static void end(void) { dns_stop(&dns); }

static void add_plain(int priority, const struct server *server) {
  dns_add(&dns, PLAIN, priority, server->client_port, "localhost");
}

static bool stores(hmkv *kv, const char *key) { return hmkv_store(kv, key, "value") == HMKV_OK; }

/* Where what is stored through `kv` arrives. */
static bool leads_to(hmkv *kv, const struct server *server) {
  const char *key = unique("where");
  CHECK_OK(hmkv_store(kv, key, "value"));
  hmkv *direct = open_at(server->endpoint, "timeout=20s");
  bool arrived = has_key(direct, key);
  close_store(direct);
  return arrived;
}

/* A call takes its whole time, of which another attempt could have made something. */
static void is_unavailable(hmkv *kv, int64_t timeout, const char *why) {
  int64_t began = now_ms();
  CHECK_STATUS(HMKV_EUNAVAIL, hmkv_store(kv, "key", "value"));
  int64_t took = now_ms() - began;
  CHECK(took >= timeout - 10 && took < timeout + 15000);
  if (!strstr(hmkv_errmsg(), "cluster.test") || !strstr(hmkv_errmsg(), why))
    FAIL("\"%s\" is not in it", why);
  char *value = NULL;
  CHECK_STATUS(HMKV_EUNAVAIL, hmkv_get(kv, "key", &value));
  CHECK(strstr(hmkv_errmsg(), "srv:cluster.test"));
}

static void members_are_found(void) {
  struct server server;
  server_start(&server, NULL);
  add_plain(0, &server);
  hmkv *kv = open_at(DOMAIN, "wait=60s");
  const char *key = unique("key");
  CHECK_OK(hmkv_store(kv, key, "value"));
  CHECK_VALUE(kv, key, "value");
  CHECK_OK(hmkv_temp_key(kv, unique("temporary")));
  CHECK_OK(hmkv_dist_lock(kv));
  CHECK_STATUS(HMKV_TIMED_OUT, hmkv_watch(kv, key, 0, NULL, NULL));
  close_store(kv);
  kv = open_at(DOMAIN ".", "timeout=20s"); /* the first call waits for the look-up */
  CHECK_VALUE(kv, key, "value");
  close_store(kv);
  CHECK_INT(0, setenv("HMKV_ENDPOINT", DOMAIN, 1));
  kv = open_at("env:", "timeout=20s");
  CHECK_INT(0, unsetenv("HMKV_ENDPOINT"));
  CHECK_VALUE(kv, key, "value");
  close_store(kv);
  server_stop(&server);
}

static void srv_name_tells_clusters_of_one_domain_apart(void) {
  struct server one, two;
  server_start(&one, NULL);
  server_start(&two, NULL);
  add_plain(0, &one);
  dns_add(&dns, "_etcd-client-green._tcp.cluster.test", 0, two.client_port, "localhost");
  hmkv *kv = open_at(DOMAIN, "timeout=20s");
  CHECK(leads_to(kv, &one));
  close_store(kv);
  kv = open_at(DOMAIN, "timeout=20s srv_name=green");
  CHECK(leads_to(kv, &two));
  close_store(kv);
  kv = (hmkv *)&kv;
  CHECK_STATUS(HMKV_EINVAL, hmkv_open(DOMAIN, "srv_name=a.b", &kv));
  CHECK(strstr(hmkv_errmsg(), "srv_name"));
  server_stop(&one);
  server_stop(&two);
}

static void the_lowest_priority_number_is_tried_first(void) {
  struct server one, two;
  server_start(&one, NULL);
  server_start(&two, NULL);
  add_plain(20, &one);
  add_plain(10, &two);
  for (int i = 0; i < 5; i++) {
    hmkv *kv = open_at(DOMAIN, "timeout=20s");
    CHECK(leads_to(kv, &two));
    close_store(kv);
  }
  dns_clear(&dns);
  add_plain(1, &one);
  add_plain(300, &two);
  hmkv *kv = open_at(DOMAIN, "timeout=20s");
  CHECK(leads_to(kv, &one));
  server_kill(&one);
  char *value = NULL;
  CHECK_STATUS(HMKV_NOT_FOUND, hmkv_get(kv, "absent", &value)); /* goes on by itself */
  CHECK(leads_to(kv, &two));
  close_store(kv);
  server_stop(&one);
  server_stop(&two);
}

/* As it could be the records for TLS that are missing. */
static void a_failure_is_not_the_absence_of_records_for_tls(void) {
  struct server plain;
  server_start(&plain, NULL);
  add_plain(0, &plain);
  dns_refuse(&dns, true);
  hmkv *kv = open_at(DOMAIN, "timeout=2s");
  is_unavailable(kv, 2000, TLS ": no answer");
  dns_refuse(&dns, false);
  WAIT_UNTIL(stores(kv, "key"));
  close_store(kv);
  server_stop(&plain);
}

static void changed_records_are_followed(void) {
  struct server one, two;
  server_start(&one, NULL);
  server_start(&two, NULL);
  dns_set_ttl(&dns, 1);
  add_plain(0, &one);
  hmkv *kv = open_at(DOMAIN, "timeout=20s");
  CHECK(leads_to(kv, &one));
  dns_clear(&dns);
  add_plain(0, &two);
  WAIT_UNTIL(leads_to(kv, &two)); /* while the former one is well */
  close_store(kv);
  server_stop(&one);
  server_stop(&two);
}

/* Long before the records' time is over. */
static void a_server_that_moved_is_found(void) {
  struct server server;
  server_start(&server, NULL);
  add_plain(0, &server);
  hmkv *kv = open_at(DOMAIN, "timeout=30s");
  const char *key = unique("key"), *lease_key = unique("temporary");
  struct events events = EVENTS_OF(key);
  hmkv_watcher *watcher = NULL;
  CHECK_OK(hmkv_watch_cb(kv, key, 3, events_record, &events, &watcher));
  CHECK_OK(hmkv_store(kv, key, "before"));
  CHECK_OK(hmkv_temp_key(kv, lease_key));
  events_wait(&events, 1);
  server_kill(&server);
  int former = server.client_port;
  server_restart_elsewhere(&server);
  char port[16];
  CHECK(sscanf(server.endpoint, "http://127.0.0.1:%15[0-9]", port) == 1 && atoi(port) != former);
  dns_clear(&dns);
  dns_add(&dns, PLAIN, 0, atoi(port), "localhost");
  CHECK_VALUE(kv, key, "before");
  CHECK_OK(hmkv_store(kv, key, "after"));
  events_wait(&events, 2);
  CHECK(has_key(kv, lease_key));
  CHECK_OK(hmkv_watch_cb_cancel(watcher));
  events_free(&events);
  close_store(kv);
  server_stop(&server);
}

static void opening_does_not_wait_for_a_silent_name_server(void) {
  struct server server;
  server_start(&server, NULL);
  add_plain(0, &server);
  dns_be_silent(&dns, true);
  int64_t began = now_ms();
  hmkv *kv = open_at(DOMAIN, "timeout=1500ms");
  hmkv *hurried = open_at(DOMAIN, "timeout=100ms");
  CHECK(now_ms() - began < 1500);
  is_unavailable(kv, 1500, "no answer");
  is_unavailable(hurried, 100, "no answer");
  hmkv *none = (hmkv *)&none;
  CHECK_STATUS(HMKV_EUNAVAIL, hmkv_open(DOMAIN, "wait=300ms", &none));
  CHECK(strstr(hmkv_errmsg(), DOMAIN) && none == NULL);
  WAIT_UNTIL(dns_asked(&dns) > 6); /* it is asked again and again */
  close_store(hurried);
  hmkv *patient = open_at(DOMAIN, "timeout=30s");
  dns_be_silent(&dns, false);
  CHECK_OK(hmkv_store(patient, "key", "value"));
  WAIT_UNTIL(stores(kv, "key"));
  close_store(patient);
  close_store(kv);
  server_stop(&server);
}

static void a_domain_without_records_is_unavailable_until_it_has_some(void) {
  struct server server;
  server_start(&server, NULL);
  hmkv *kv = open_at(DOMAIN, "timeout=1s");
  is_unavailable(kv, 1000, "no records");
  dns_add(&dns, PLAIN, 0, 0, "."); /* "decidedly not available" */
  is_unavailable(kv, 1000, "no records");
  dns_clear(&dns);
  hmkv *patient = open_at(DOMAIN, "timeout=20s");
  is_unavailable(kv, 1000, "no records"); /* and the patient one has looked too */
  add_plain(0, &server);
  CHECK_OK(hmkv_store(patient, "key", "value"));
  WAIT_WITHIN(20000, stores(kv, "key"));
  close_store(patient);
  close_store(kv);
  server_stop(&server);
}

#define RECORD "\xc0\x0c\0\x21\0\x01\0\0\0\x01"
static const struct {
  const char *bytes;
  size_t length;
  int answers;
} garbage[] = {
#define BYTES(bytes, answers) {bytes, sizeof bytes - 1, answers}
    BYTES("", 1),
    BYTES("\xff\xff\xff\xff", 65535),
    BYTES(RECORD, 1),
    BYTES(RECORD "\0\x08\0\0\0\0\0\1\xc0\x0c", 65535), /* more than there are */
    BYTES(RECORD "\0\x08\0\0\0\0\0\1\xc0\xff", 1),     /* points beyond the end */
    BYTES(RECORD "\xff\xff\0\0\0\0\0\1\1a\0", 1),      /* longer than the message */
    BYTES(RECORD "\0\x05\0\0\0\0\0\1\1a\0", 1),        /* shorter than its name */
    BYTES(RECORD "\0\x0c\0\0\0\0\0\1\4a;b\n\0", 1),    /* no name of a host */
    BYTES(RECORD "\0\x0a\0\0\0\0\0\1\2\xc3\xbc\0", 1),
    BYTES(RECORD "\0\x0b\0\0\0\0\0\0\3a.b\0", 1), /* no port */
};

static void garbage_is_no_answer(void) {
  struct server server;
  server_start(&server, NULL);
  add_plain(0, &server);
  for (size_t i = 0; i < sizeof garbage / sizeof *garbage; i++) {
    dns_answer_with(&dns, garbage[i].bytes, garbage[i].length, garbage[i].answers);
    hmkv *kv = open_at(DOMAIN, "timeout=1s"); /* in which there is an answer to look at */
    is_unavailable(kv, 1000, TLS);
    dns_answer_with(&dns, NULL, 0, 0);
    WAIT_UNTIL(stores(kv, "key"));
    close_store(kv);
  }
  server_stop(&server);
}

static void what_fails_or_is_empty_replaces_nothing(void) {
  struct server server;
  server_start(&server, NULL);
  dns_set_ttl(&dns, 1);
  add_plain(0, &server);
  hmkv *kv = open_at(DOMAIN, "timeout=20s");
  CHECK_OK(hmkv_store(kv, "key", "value"));
  dns_clear(&dns);
  long asked = dns_asked(&dns);
  WAIT_UNTIL(dns_asked(&dns) >= asked + 2); /* by the time to live: there are none */
  /* And by need. */
  server_kill(&server);
  char *value = NULL;
  hmkv_op *op = hmkv_range(kv, "key", HMKV_NTS, NULL);
  asked = dns_asked(&dns);
  WAIT_UNTIL(dns_asked(&dns) >= asked + 4);
  dns_answer_with(&dns, garbage[0].bytes, garbage[0].length, garbage[0].answers);
  asked = dns_asked(&dns);
  WAIT_UNTIL(dns_asked(&dns) >= asked + 2);
  server_restart(&server);
  hmkv_result *result = hmkv_await(op);
  hmkv_result_free(result); /* it may have been too late for this one */
  CHECK_OK(hmkv_get(kv, "key", &value));
  hmkv_free(value);
  close_store(kv);
  server_stop(&server);
}

static void the_cluster_itself_may_tell_the_members_too(void) {
  struct server server;
  server_start(&server, NULL);
  add_plain(0, &server);
  hmkv *kv = open_at(DOMAIN, "timeout=30s sync=1s");
  for (int i = 0; i < 200; i++) CHECK_OK(hmkv_store(kv, "key", "value"));
  server_kill(&server);
  server_restart_elsewhere(&server);
  char port[16];
  CHECK(sscanf(server.endpoint, "http://127.0.0.1:%15[0-9]", port) == 1);
  dns_clear(&dns);
  dns_add(&dns, PLAIN, 0, atoi(port), "localhost");
  CHECK_VALUE(kv, "key", "value");
  close_store(kv);
  server_stop(&server);
}

static void closing_does_not_wait_for_a_silent_name_server(void) {
  dns_be_silent(&dns, true);
  for (int i = 0; i < 5; i++) {
    hmkv *kv = open_at(DOMAIN, "timeout=30s");
    hmkv_op *op = hmkv_range(kv, "key", HMKV_NTS, NULL);
    int64_t began = now_ms();
    close_store(kv);
    CHECK(now_ms() - began < 1500);
    hmkv_result *result = hmkv_await(op);
    CHECK_STATUS(HMKV_ECLOSED, hmkv_result_status(result));
    hmkv_result_free(result);
  }
}

static const struct test tests[] = {
    ETCD_ONLY(members_are_found),
    ETCD_ONLY(srv_name_tells_clusters_of_one_domain_apart),
    ETCD_ONLY(the_lowest_priority_number_is_tried_first),
    ETCD_ONLY(a_failure_is_not_the_absence_of_records_for_tls),
    ETCD_ONLY(changed_records_are_followed),
    ETCD_ONLY(a_server_that_moved_is_found),
    ETCD_ONLY(opening_does_not_wait_for_a_silent_name_server),
    ETCD_ONLY(a_domain_without_records_is_unavailable_until_it_has_some),
    ETCD_ONLY(garbage_is_no_answer),
    ETCD_ONLY(what_fails_or_is_empty_replaces_nothing),
    ETCD_ONLY(the_cluster_itself_may_tell_the_members_too),
    ETCD_ONLY(closing_does_not_wait_for_a_silent_name_server),
};
TEST_MAIN(.begin = begin, .end = end)
