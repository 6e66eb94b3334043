/* Event watches that have to end: the last event tells why. */
#include "changes.h"
#include "process.h"
#include "recorder.h"
#include "server.h"
#include "test.h"

static hmkv *kv;
static struct server server;

static void require_credentials(void) {
  etcdctl_at(server.endpoint, "user", "add", "root:secret", NULL);
  etcdctl_at(server.endpoint, "user", "grant-role", "root", "root", NULL);
  etcdctl_at(server.endpoint, "auth", "enable", NULL);
  setenv("ETCDCTL_USER", "root:secret", 1);
}

static void a_watch_that_is_refused_later_ends_with_the_reason(void) {
  struct recorder pushed = RECORDER, pulled = RECORDER;
  hmkv_watcher *push = NULL, *pull = NULL;
  server_start(&server, NULL);
  kv = open_at(server.endpoint, "timeout=5s");
  CHECK_OK(hmkv_watch_open(kv, "k/", HMKV_NTS,
                           HMKV_WATCH_OPTS(.prefix = 1, .userdata_free = recorder_freed),
                           recorder_event, &pushed, &push));
  CHECK_OK(hmkv_watch_open(kv, "k/", HMKV_NTS, HMKV_WATCH_OPTS(.prefix = 1), NULL, NULL, &pull));
  change_put(kv, "k/1", "value");
  recorder_wait(&pushed, 1);
  require_credentials();
  server_kill(&server);
  server_restart(&server); /* the watch is not allowed to come back */
  recorder_wait(&pushed, 2);
  recorder_pull(&pulled, pull, 2);
  struct recorded last = recorder_at(&pushed, 1), other = recorder_at(&pulled, 1);
  CHECK_INT(HMKV_EVENT_END, last.type);
  CHECK_INT(HMKV_EVENT_END, other.type);
  CHECK(last.status == HMKV_EAUTH || last.status == HMKV_EDENIED);
  CHECK_STATUS(last.status, other.status);
  for (int i = 0; i < 3; i++) {
    const hmkv_event *event = (const hmkv_event *)&server;
    CHECK_STATUS(other.status, hmkv_watch_next(pull, i == 0 ? HMKV_FOREVER : 0, &event));
    CHECK(event == NULL);
    CHECK(*hmkv_errmsg());
  }
  /* The watchers are valid, although their watches ended. */
  CHECK_OK(hmkv_watch_close(push));
  CHECK_OK(hmkv_watch_close(pull));
  CHECK_INT(1, atomic_load(&pushed.freed));
  CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_close(push));
  CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_close(pull));
  close_store(kv);
  unsetenv("ETCDCTL_USER");
  server_stop(&server);
  recorder_free(&pushed);
  recorder_free(&pulled);
}

static void a_watch_that_is_refused_at_once_does_not_open(void) {
  struct recorder recorder = RECORDER;
  server_start(&server, NULL);
  require_credentials();
  kv = open_at(server.endpoint, "timeout=5s");
  for (int i = 0; i < 4; i++) {
    hmkv_watcher *watcher = (hmkv_watcher *)&server;
    hmkv_status status =
        hmkv_watch_open(kv, "k/", HMKV_NTS,
                        HMKV_WATCH_OPTS(.prefix = 1, .snapshot = i / 2,
                                        .userdata_free = recorder_freed),
                        i % 2 ? recorder_event : NULL, &recorder, &watcher);
    CHECK(status == HMKV_EAUTH || status == HMKV_EDENIED);
    CHECK(watcher == NULL);
    CHECK(*hmkv_errmsg());
    CHECK_INT(1, atomic_exchange(&recorder.freed, 0));
  }
  CHECK_INT(0, atomic_load(&recorder.entered));
  close_store(kv);
  unsetenv("ETCDCTL_USER");
  server_stop(&server);
}

/* ---- who closes it needs no event ---- */

static void closing_is_no_end(void) {
  struct recorder closed = RECORDER, left = RECORDER;
  hmkv_watcher *watchers[2];
  const char *key = unique("key");
  kv = open_store(NULL);
  CHECK_OK(hmkv_watch_open(kv, key, HMKV_NTS, NULL, recorder_event, &closed, &watchers[0]));
  CHECK_OK(hmkv_watch_open(kv, key, HMKV_NTS, NULL, recorder_event, &left, &watchers[1]));
  change_put(kv, key, "value");
  recorder_wait(&closed, 1);
  recorder_wait(&left, 1);
  CHECK_OK(hmkv_watch_close(watchers[0]));
  close_store(kv);
  CHECK_INT(1, closed.events.count);
  CHECK_INT(1, left.events.count);
  CHECK_INT(0, closed.states.count + left.states.count);
  recorder_free(&closed);
  recorder_free(&left);
}

static const struct test tests[] = {
    ETCD_ONLY(a_watch_that_is_refused_later_ends_with_the_reason),
    ETCD_ONLY(a_watch_that_is_refused_at_once_does_not_open),
    BOTH(closing_is_no_end),
};
TEST_MAIN()
