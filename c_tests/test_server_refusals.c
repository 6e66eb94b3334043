/* What a server refuses: no space, no credentials, a watch without permission. */
#include "events.h"
#include "process.h"
#include "server.h"
#include "test.h"

static struct server server;

static void over_the_quota_writes_answer_nospace_and_reads_go_on(void) {
  enum { SIZE = 200 * 1024 };
  server_start(&server, "--quota-backend-bytes=4000000");
  hmkv *kv = open_at(server.endpoint, "timeout=20s");
  char *value = malloc(SIZE + 1);
  CHECK(value);
  memset(value, 'v', SIZE);
  value[SIZE] = '\0';
  hmkv_status status = HMKV_OK;
  int stored = 0;
  for (; stored < 200 && status == HMKV_OK; stored++)
    status = hmkv_store(kv, text("key%03d", stored), value);
  stored--;
  /* A server applies the write that exceeds the quota and refuses it all the same. */
  CHECK(status == HMKV_ENOSPACE || status == HMKV_EINDETERMINATE);
  CHECK(*hmkv_errmsg());
  if (status == HMKV_ENOSPACE) CHECK_VALUE(kv, text("key%03d", stored), NULL);
  CHECK_STATUS(HMKV_ENOSPACE, hmkv_store(kv, "small", "value"));
  CHECK_STATUS(HMKV_ENOSPACE,
               hmkv_transaction(kv, "key000", "!=", "", "small", "value", NULL, NULL));
  CHECK_STATUS(HMKV_ENOSPACE, hmkv_temp_key(kv, "temp"));
  CHECK_VALUE(kv, "small", NULL); /* not applied */
  CHECK_VALUE(kv, "temp", NULL);
  CHECK_VALUE(kv, "key000", value);
  CHECK(count_keys(kv, "key") >= (size_t)stored);
  CHECK_OK(hmkv_delete(kv, "key000")); /* room may be made */
  free(value);
  close_store(kv);
  server_stop(&server);
}

struct last_call {
  atomic_int calls;
  atomic_int ended;
  char reason[1100];
};

static bool keep_reason(const char *key, const char *value, hmkv_keychange op, void *userdata) {
  struct last_call *last = userdata;
  CHECK_STR("watched", key);
  CHECK_INT(0, atomic_load(&last->ended)); /* nothing comes after it */
  if (op == HMKV_KEYCHANGE_INVAL) {
    CHECK(value == NULL);
    snprintf(last->reason, sizeof last->reason, "%s", hmkv_errmsg());
    atomic_store(&last->ended, 1);
  }
  atomic_fetch_add(&last->calls, 1);
  return true;
}

static void require_credentials(void) {
  etcdctl_at(server.endpoint, "user", "add", "root:secret", NULL);
  etcdctl_at(server.endpoint, "user", "grant-role", "root", "root", NULL);
  etcdctl_at(server.endpoint, "auth", "enable", NULL);
  setenv("ETCDCTL_USER", "root:secret", 1);
}

static void without_credentials_calls_answer_auth(void) {
  server_start(&server, NULL);
  hmkv *kv = open_at(server.endpoint, "timeout=5s");
  CHECK_OK(hmkv_store(kv, "key", "value"));
  require_credentials();
  char *value = (char *)"untouched";
  hmkv_result *result = NULL;
  CHECK_STATUS(HMKV_EAUTH, hmkv_store(kv, "key", "other"));
  CHECK(*hmkv_errmsg());
  CHECK_STATUS(HMKV_EAUTH, hmkv_get(kv, "key", &value));
  CHECK(value == NULL);
  CHECK_STATUS(HMKV_EAUTH, hmkv_get_range(kv, "a", "z", &result));
  CHECK_STATUS(HMKV_EAUTH, hmkv_delete(kv, "key"));
  close_store(kv);
  unsetenv("ETCDCTL_USER");
  server_stop(&server);
}

static void a_watch_that_has_to_end_makes_a_last_call_with_the_reason(void) {
  struct last_call last = {0};
  server_start(&server, NULL);
  hmkv *kv = open_at(server.endpoint, "timeout=5s");
  hmkv_watcher *watcher = NULL;
  CHECK_OK(hmkv_watch_cb(kv, "watched", 3, keep_reason, &last, &watcher));
  CHECK_OK(hmkv_store(kv, "watched", "value"));
  WAIT_UNTIL(atomic_load(&last.calls) == 1);
  require_credentials();
  server_kill(&server);
  server_restart(&server); /* the watch is not allowed to come back */
  WAIT_UNTIL(atomic_load(&last.ended) == 1);
  CHECK(last.reason[0]);
  CHECK(!strchr(last.reason, '\n'));
  CHECK_OK(hmkv_watch_cb_cancel(watcher)); /* valid, although it ended */
  CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_cb_cancel(watcher));
  CHECK_INT(2, atomic_load(&last.calls));
  close_store(kv);
  unsetenv("ETCDCTL_USER");
  server_stop(&server);
}

static const struct test tests[] = {
    ETCD_ONLY(over_the_quota_writes_answer_nospace_and_reads_go_on),
    ETCD_ONLY(without_credentials_calls_answer_auth),
    ETCD_ONLY(a_watch_that_has_to_end_makes_a_last_call_with_the_reason),
};
TEST_MAIN()
