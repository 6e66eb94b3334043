/* Opening: endpoints, and what opening does not need. */
#include "process.h"
#include "test.h"

static void refused(hmkv_status expected, const char *endpoint, const char *options) {
  hmkv *kv = (hmkv *)&kv;
  hmkv_status status = hmkv_open(endpoint, options, &kv);
  if (status != expected)
    FAIL("hmkv_open(\"%s\", \"%s\"): expected %s, got %s", endpoint, options ? options : "",
         hmkv_status_name(expected), hmkv_status_name(status));
  CHECK(kv == NULL);
  CHECK(*hmkv_errmsg());
}

static void a_bad_endpoint_is_refused(void) {
  static const char *const bad[] = {
      "",          "nonsense",     "http://",        "http://127.0.0.1",  "127.0.0.1:",
      ":2379",     "127.0.0.1:0",  "127.0.0.1:65536", "127.0.0.1:port",   "ftp://127.0.0.1:2379",
      "127.0.0.1:2379,", ",127.0.0.1:2379", "http://127.0.0.1:2379/path", "a b:2379",
      "http:/127.0.0.1:2379", "mem", "env:x",
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) refused(HMKV_EINVAL, bad[i], NULL);
}

static void a_bad_endpoint_is_named(void) {
  refused(HMKV_EINVAL, "http://127.0.0.1:2379,ftp://elsewhere:1", NULL);
  CHECK(strstr(hmkv_errmsg(), "elsewhere"));
}

static void a_bad_domain_is_refused_with_the_place(void) {
  static const char long_label[] =
      "srv:a.0123456789012345678901234567890123456789012345678901234567890123.c";
  static const struct {
    const char *endpoint, *why;
  } bad[] = {
      {"srv:", "missing"},
      {"srv: ", "' ' after 0 bytes"},
      {"srv:a b.c", "' ' after 1 bytes"},
      {"srv:example.com:2379", "':' after 11 bytes"},
      {"srv:example.com/", "'/' after 11 bytes"},
      {"srv:example.com,example.org", "',' after 11 bytes"},
      {"srv:a..b", "label 2"},
      {"srv:.a", "label 1"},
      {"srv:2379", "number"},
      {"srv:127.0.0.1", "number"},
      {long_label, "label 2"},
      {"srv:user:hunter2@example.com", "'@'"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    refused(HMKV_EINVAL, bad[i].endpoint, NULL);
    if (!strstr(hmkv_errmsg(), bad[i].why)) FAIL("\"%s\" is not in it", bad[i].why);
    CHECK(strstr(hmkv_errmsg(), "srv:") && !strstr(hmkv_errmsg(), "hunter2"));
  }
}

static void good_endpoints_are_accepted(void) {
  static const char *const good[] = {
      "http://127.0.0.1:2379",
      "127.0.0.1:2379",
      "http://127.0.0.1:2379,127.0.0.1:2380,https://localhost:2381",
      "[::1]:2379",
      "http://[::1]:2379",
      "localhost:1",
  };
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) close_store(open_at(good[i], NULL));
}

static void mem_is_shared_by_all_handles_and_survives_close(void) {
  hmkv *one = open_at("mem:", NULL);
  hmkv *two = open_at("mem:", NULL);
  const char *key = unique("key");
  CHECK_OK(hmkv_store(one, key, "kept"));
  CHECK_VALUE(two, key, "kept");
  close_store(one);
  close_store(two);
  two = open_at("mem:", "");
  CHECK_VALUE(two, key, "kept");
  CHECK_OK(hmkv_delete(two, key));
  close_store(two);
}

static void mem_with_a_name_is_a_separate_store(void) {
  const char *key = unique("key"), *name = text("mem:%s", unique("store"));
  hmkv *plain = open_at("mem:", NULL);
  hmkv *named = open_at(name, NULL);
  hmkv *again = open_at(name, NULL);
  hmkv *other = open_at(text("%s2", name), NULL);
  CHECK_OK(hmkv_store(named, key, "named"));
  CHECK_VALUE(again, key, "named");
  CHECK_VALUE(plain, key, NULL);
  CHECK_VALUE(other, key, NULL);
  close_store(plain);
  close_store(again);
  close_store(other);
  close_store(named);
  named = open_at(name, NULL);
  CHECK_VALUE(named, key, "named");
  close_store(named);
}

static void opening_needs_no_server(void) {
  int64_t begin = now_ms();
  hmkv *kv = open_at(dead_endpoint(), "timeout=30s");
  CHECK(now_ms() - begin < 15000); /* it did not wait for its timeout */
  close_store(kv);
}

static void wait_without_a_server_is_unavailable_in_its_time(void) {
  int64_t begin = now_ms();
  refused(HMKV_EUNAVAIL, dead_endpoint(), "wait=700ms timeout=30s");
  int64_t took = now_ms() - begin;
  CHECK(took >= 690 && took < 15000);
}

static void wait_returns_when_a_read_succeeds(void) {
  hmkv *kv = open_store("wait=60s");
  CHECK_VALUE(kv, unique("absent"), NULL);
  close_store(kv);
}

static void a_bare_host_and_port_means_http(void) {
  const char *bare = strstr(test_endpoint(), "//");
  CHECK(bare);
  hmkv *kv = open_at(bare + 2, "wait=60s");
  close_store(kv);
}

/* Opens `env:` in the environment given as arguments and stores a key there. */
static void store_at_env(int argc, char **argv) {
  unsetenv("HMKV_ENDPOINT");
  unsetenv("ETCD_HOST");
  unsetenv("ETCD_PORT");
  unsetenv("ETCDCTL_ENDPOINTS");
  for (int i = 1; i < argc; i++) CHECK_INT(0, putenv(argv[i]));
  hmkv *kv = NULL;
  hmkv_status status = hmkv_open("env:", "timeout=2s", &kv);
  if (status == HMKV_OK) {
    /* Only the open reads the environment. */
    CHECK_INT(0, setenv("HMKV_ENDPOINT", "mem:other", 1));
    status = hmkv_store(kv, argv[0], "by env");
    close_store(kv);
  }
  printf("%s\n", hmkv_status_name(status));
}

static void env_answers(const char *expected, const char *key, const char *a, const char *b,
                        const char *c) {
  struct process child = start_child(KEEP_STDERR, "mem:", "store_at_env", key, a, b, c, NULL);
  char said[4096];
  process_read(&child, said, sizeof said, NULL);
  CHECK_INT(0, process_wait(&child));
  CHECK_STR(text("%s\n", expected), said);
}

static void env_reads_its_variables_in_order(void) {
  const char *key = unique("key"), *dead = dead_endpoint();
  const char *dead_port = text("ETCD_PORT=%s", strrchr(dead, ':') + 1);
  env_answers("HMKV_EINVAL", key, NULL, NULL, NULL);
  env_answers("HMKV_OK", key, "HMKV_ENDPOINT=mem:", "ETCD_HOST=127.0.0.1", dead_port);
  env_answers("HMKV_OK", key, "HMKV_ENDPOINT=mem:", text("ETCDCTL_ENDPOINTS=%s", dead), NULL);
  env_answers("HMKV_EUNAVAIL", key, text("HMKV_ENDPOINT=%s", dead), NULL, NULL);
  env_answers("HMKV_EUNAVAIL", key, "ETCD_HOST=127.0.0.1", dead_port, NULL);
  env_answers("HMKV_EUNAVAIL", key, text("ETCDCTL_ENDPOINTS=%s", dead), NULL, NULL);
  env_answers("HMKV_EINVAL", key, "HMKV_ENDPOINT=nonsense", NULL, NULL);
}

static void env_reaches_the_server(void) {
  const char *live = test_endpoint(), *dead = dead_endpoint();
  const char *host_and_port = strstr(live, "//") + 2;
  const char *port = strrchr(live, ':') + 1;
  hmkv *kv = open_store(NULL);
  const char *key = unique("key");
  env_answers("HMKV_OK", key, text("HMKV_ENDPOINT=%s", live), "ETCD_HOST=127.0.0.1",
              text("ETCD_PORT=%s", strrchr(dead, ':') + 1));
  CHECK_VALUE(kv, key, "by env");
  CHECK_OK(hmkv_delete(kv, key));
  env_answers("HMKV_OK", key, "ETCD_HOST=127.0.0.1", text("ETCD_PORT=%s", port),
              text("ETCDCTL_ENDPOINTS=%s", dead));
  CHECK_VALUE(kv, key, "by env");
  CHECK_OK(hmkv_delete(kv, key));
  env_answers("HMKV_OK", key, text("ETCDCTL_ENDPOINTS=%s", host_and_port), NULL, NULL);
  CHECK_VALUE(kv, key, "by env");
  CHECK_OK(hmkv_delete(kv, key));
  close_store(kv);
}

static void each_handle_has_its_own_lock_and_temporary_keys(void) {
  const char *options = text("lock=%s", unique("lock")), *key = unique("temp");
  hmkv *one = open_store(options);
  hmkv *two = open_store(options);
  CHECK(one != two);
  CHECK_OK(hmkv_temp_key(one, key));
  CHECK_OK(hmkv_dist_lock(one));
  CHECK_STATUS(HMKV_BUSY, hmkv_dist_timed_lock(two, 0));
  close_store(one);
  CHECK(!has_key(two, key));
  CHECK_OK(hmkv_dist_timed_lock(two, 0));
  close_store(two);
}

static const struct test tests[] = {
    BOTH(a_bad_endpoint_is_refused),
    BOTH(a_bad_endpoint_is_named),
    BOTH(a_bad_domain_is_refused_with_the_place),
    BOTH(good_endpoints_are_accepted),
    MEM_ONLY(mem_is_shared_by_all_handles_and_survives_close),
    MEM_ONLY(mem_with_a_name_is_a_separate_store),
    BOTH(opening_needs_no_server),
    BOTH(wait_without_a_server_is_unavailable_in_its_time),
    BOTH(wait_returns_when_a_read_succeeds),
    ETCD_ONLY(a_bare_host_and_port_means_http),
    BOTH(env_reads_its_variables_in_order),
    ETCD_ONLY(env_reaches_the_server),
    BOTH(each_handle_has_its_own_lock_and_temporary_keys),
};
static const struct child children[] = {{"store_at_env", store_at_env}, {NULL, NULL}};
TEST_MAIN(.children = children)
