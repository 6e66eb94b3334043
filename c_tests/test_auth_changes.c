/* What changes behind a user's back: the password, the role, whether anybody is asked. */
#include "auth.h"
#include "events.h"
#include "leases.h"
#include "process.h"
#include "recorder.h"
#include "requests.h"
#include "states.h"
#include "test.h"

static struct server server;
static struct states states;
static hmkv *kv;

static void begin(void) {
  states = (struct states)STATES_NONE;
  kv = NULL;
}

static void end(void) {
  if (kv) close_store(kv);
  auth_stop(&server);
  states_free(&states);
}

static void open_with_role(enum token_kind kind, const char *options) {
  auth_start(&server, kind);
  auth_add_user(&server, "daemon", "first", "daemon/");
  kv = open_at(server.endpoint, text("user=daemon lock=daemon/dist %s", options));
}

/* ---- the password ---- */

static void the_password_file_is_read_at_each_authentication(enum token_kind kind) {
  struct events events = EVENTS_OF("daemon/watched");
  hmkv_watcher *watcher = NULL;
  struct told told = {0};
  auth_start(&server, kind);
  auth_add_user(&server, "daemon", "first", "daemon/");
  const char *file = auth_file(&server, "first\n");
  kv = open_at(server.endpoint, text("timeout=10s user=daemon password_file='%s'", file));
  CHECK_OK(hmkv_watch_cb(kv, "daemon/watched", 3, events_record, &events, &watcher));
  hmkv_lease *lease = lease_new(kv, 20000, &told);
  CHECK_OK(hmkv_store(kv, "daemon/watched", "0"));
  auth_file(&server, "second");
  auth_change_password(&server, "daemon", "second");
  CHECK_OK(hmkv_store(kv, "daemon/watched", "1"));
  /* It is changed before the file is: a while without success, and no end. */
  auth_change_password(&server, "daemon", "third");
  WAIT_UNTIL(hmkv_store(kv, "daemon/other", "refused") == HMKV_EAUTH);
  CHECK_STATUS(HMKV_EAUTH, hmkv_store(kv, "daemon/watched", "refused"));
  auth_file(&server, "third\r\n");
  WAIT_UNTIL(hmkv_store(kv, "daemon/watched", "2") == HMKV_OK);
  server_kill(&server);
  server_restart(&server);
  CHECK_OK(hmkv_store(kv, "daemon/watched", "3"));
  events_wait(&events, 4);
  CHECK(told_nothing(&told));
  CHECK_OK(hmkv_watch_cb_cancel(watcher));
  CHECK_OK(hmkv_lease_close(lease, true));
  events_free(&events);
}

static void the_password_file_is_read_at_each_authentication_simple(void) {
  the_password_file_is_read_at_each_authentication(SIMPLE_TOKENS);
}
static void the_password_file_is_read_at_each_authentication_signed(void) {
  the_password_file_is_read_at_each_authentication(JWT);
}

/* A stream that breaks while the password is wrong takes its watches up again later. */
static void a_watch_outlives_a_time_without_a_password(void) {
  struct recorder recorder = RECORDER;
  hmkv_watcher *watcher = NULL;
  auth_start(&server, JWT);
  auth_add_user(&server, "daemon", "first", "daemon/");
  const char *file = auth_file(&server, "first");
  kv = open_at(server.endpoint, text("timeout=2s user=daemon password_file='%s'", file));
  CHECK_OK(hmkv_watch_open(kv, "daemon/watched", HMKV_NTS, NULL, recorder_event, &recorder,
                           &watcher));
  auth_file(&server, "wrong");
  server_kill(&server);
  HOLDS_FOR((TOKEN_SECONDS + 1) * 1000, recorder_count(&recorder) == 0);
  server_restart(&server);
  etcdctl_at(server.endpoint, "put", "daemon/watched", "meanwhile", NULL);
  WAIT_UNTIL(hmkv_store(kv, "daemon/other", "refused") == HMKV_EAUTH);
  HOLDS_FOR(2500, recorder_count(&recorder) == 0);
  auth_file(&server, "first");
  recorder_wait(&recorder, 1);
  CHECK_STR("meanwhile", recorder_at(&recorder, 0).kv.value);
  CHECK_OK(hmkv_watch_close(watcher));
  recorder_free(&recorder);
}

/* ---- the role ---- */

static void a_role_that_is_revoked(enum token_kind kind) {
  struct told told = {0};
  open_with_role(kind, "timeout=3s password=first");
  CHECK_OK(hmkv_store(kv, "daemon/key", "value"));
  hmkv_lock *lock = take(kv, "daemon/named", &told);
  etcdctl_at(server.endpoint, "user", "revoke-role", "daemon", "role of daemon", NULL);
  long before = auth_count(&server);
  int64_t start = now_ms(), calls = 0;
  for (; now_ms() < start + 5000; calls++) {
    char *value = NULL;
    hmkv_result *result = NULL;
    hmkv_lock *other = NULL;
    hmkv_watcher *watcher = NULL;
    struct events events = EVENTS_OF("daemon/key");
    CHECK_STATUS(HMKV_EDENIED, hmkv_store(kv, "daemon/key", "other"));
    CHECK_STATUS(HMKV_EDENIED, hmkv_get(kv, "daemon/key", &value));
    CHECK_STATUS(HMKV_EDENIED, hmkv_get_range(kv, "daemon/a", "daemon/z", &result));
    CHECK_STATUS(HMKV_EDENIED, hmkv_tas(kv, "daemon/key", "value", "other"));
    CHECK_STATUS(HMKV_EDENIED, hmkv_temp_key(kv, "daemon/temp"));
    CHECK_STATUS(HMKV_EDENIED, hmkv_lock_acquire(kv, "daemon/other", NULL, NULL, NULL, &other));
    CHECK_STATUS(HMKV_EDENIED, hmkv_watch_cb(kv, "daemon/key", 3, events_record, &events, &watcher));
    FINISH(HMKV_EDENIED, hmkv_remove(kv, "daemon/key", HMKV_NTS, NULL));
    poll_pause();
  }
  long count = auth_count(&server) - before;
  printf("%" PRId64 " rounds of calls, %ld authentications\n", calls, count);
  CHECK(count <= 5 * 4);
  etcdctl_at(server.endpoint, "user", "grant-role", "daemon", "role of daemon", NULL);
  WAIT_UNTIL(hmkv_store(kv, "daemon/key", "again") == HMKV_OK);
  CHECK(told_nothing(&told));
  CHECK(hmkv_lock_left_ms(lock) > 0);
  CHECK_OK(hmkv_lock_release(lock));
}

static void who_lost_the_role_is_denied_simple(void) { a_role_that_is_revoked(SIMPLE_TOKENS); }
static void who_lost_the_role_is_denied_signed(void) { a_role_that_is_revoked(JWT); }

static void a_watch_that_is_denied_ends_when_its_stream_is_made_anew(void) {
  struct recorder recorder = RECORDER, kept = RECORDER;
  hmkv_watcher *watchers[2];
  open_with_role(SIMPLE_TOKENS, "timeout=20s password=first");
  etcdctl_at(server.endpoint, "role", "add", "more", NULL);
  etcdctl_at(server.endpoint, "role", "grant-permission", "more", "readwrite", "more", NULL);
  etcdctl_at(server.endpoint, "user", "grant-role", "daemon", "more", NULL);
  CHECK_OK(hmkv_watch_open(kv, "more", HMKV_NTS, NULL, recorder_event, &recorder, &watchers[0]));
  CHECK_OK(hmkv_watch_open(kv, "daemon/x", HMKV_NTS, NULL, recorder_event, &kept, &watchers[1]));
  etcdctl_at(server.endpoint, "user", "revoke-role", "daemon", "more", NULL);
  server_kill(&server);
  server_restart(&server);
  recorder_wait(&recorder, 1);
  CHECK_INT(HMKV_EVENT_END, recorder_at(&recorder, 0).type);
  CHECK_STATUS(HMKV_EDENIED, recorder_at(&recorder, 0).status);
  CHECK_OK(hmkv_store(kv, "daemon/x", "value"));
  recorder_wait(&kept, 1);
  CHECK_INT(HMKV_EVENT_PUT, recorder_at(&kept, 0).type);
  for (int i = 0; i < 2; i++) CHECK_OK(hmkv_watch_close(watchers[i]));
  recorder_free(&recorder);
  recorder_free(&kept);
}

static void revoke_lease_of(const char *key) {
  etcdctl_at(server.endpoint, "lease", "revoke", text("%" PRIx64, lease_of(kv, key)), NULL);
}

static long transactions(void) {
  return server_metric(&server, "grpc_server_started_total{grpc_method=\"Txn\","
                                "grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"}");
}

static void a_temporary_key_that_is_denied_is_lost_and_holds_up_no_other(void) {
  open_with_role(SIMPLE_TOKENS, "timeout=5s temp_ttl=30s password=first");
  etcdctl_at(server.endpoint, "role", "add", "more", NULL);
  etcdctl_at(server.endpoint, "role", "grant-permission", "more", "readwrite", "another", NULL);
  etcdctl_at(server.endpoint, "user", "grant-role", "daemon", "more", NULL);
  CHECK_OK(hmkv_on_state(kv, states_record, &states));
  CHECK_OK(hmkv_temp_key(kv, "another"));
  CHECK_OK(hmkv_temp_key(kv, "daemon/temp"));
  etcdctl_at(server.endpoint, "user", "revoke-role", "daemon", "more", NULL);
  revoke_lease_of("daemon/temp");
  WAIT_UNTIL(states_count(&states, HMKV_STATE_TEMP_KEY_RESTORED, "daemon/temp") == 1);
  WAIT_UNTIL(states_count(&states, HMKV_STATE_TEMP_KEY_LOST, "another") == 1);
  CHECK_VALUE(kv, "daemon/temp", "1");
  /* Nor is it tried for ever, nor when it is allowed again. */
  long before = transactions();
  etcdctl_at(server.endpoint, "user", "grant-role", "daemon", "more", NULL);
  HOLDS_FOR(1500, states_total(&states) == 3);
  CHECK_INT(before, transactions());
  CHECK(!has_key(kv, "another"));
}

/* ---- watches that the library has of its own ---- */

static long watches(void) { return server_metric(&server, "etcd_debugging_mvcc_watcher_total"); }

/* The role goes, the stream breaks, and the role comes back. */
static void locks_and_temporary_keys_are_watched_again_after_a_denial(void) {
  struct recorder recorder = RECORDER;
  struct told told = {0};
  hmkv_watcher *watcher = NULL;
  open_with_role(SIMPLE_TOKENS, "timeout=20s lock_ttl=60s temp_ttl=60s password=first");
  CHECK_OK(hmkv_on_state(kv, states_record, &states));
  CHECK_OK(hmkv_temp_key(kv, "daemon/temp"));
  CHECK_OK(hmkv_temp_key(kv, "daemon/kept"));
  CHECK_OK(hmkv_dist_lock(kv));
  hmkv_lock *lock = take_with(
      kv, "daemon/named", HMKV_LOCK_OPTS(.wait_ms = HMKV_TRY, .ttl_ms = 60000), &told);
  const char *dist = queue_key(kv, "daemon/dist", 0), *named = queue_key(kv, "daemon/named", 0);
  CHECK_OK(hmkv_watch_open(kv, "daemon/x", HMKV_NTS, NULL, recorder_event, &recorder, &watcher));
  etcdctl_at(server.endpoint, "user", "revoke-role", "daemon", "role of daemon", NULL);
  server_kill(&server);
  server_restart(&server);
  recorder_wait(&recorder, 1);
  CHECK_STATUS(HMKV_EDENIED, recorder_at(&recorder, 0).status);
  WAIT_UNTIL(watches() == 0);
  etcdctl_at(server.endpoint, "del", dist, NULL);
  HOLDS_FOR(1000, watches() == 0 && states_total(&states) == 0);
  etcdctl_at(server.endpoint, "user", "grant-role", "daemon", "role of daemon", NULL);
  WAIT_UNTIL(states_count(&states, HMKV_STATE_LOCK_LOST, "daemon/dist") == 1);
  CHECK_STATUS(HMKV_ELOST, hmkv_dist_unlock(kv));
  WAIT_UNTIL(watches() == 3);
  CHECK(told_nothing(&told));
  CHECK(hmkv_lock_left_ms(lock) > 0);
  etcdctl_at(server.endpoint, "del", named, NULL);
  etcdctl_at(server.endpoint, "del", "daemon/temp", NULL);
  WAIT_UNTIL(told_once(&told));
  CHECK_INT(0, hmkv_lock_left_ms(lock));
  CHECK_STATUS(HMKV_ELOST, hmkv_lock_release(lock));
  /* What was deleted is not created again. */
  WAIT_UNTIL(watches() == 1);
  revoke_lease_of("daemon/kept");
  WAIT_UNTIL(states_count(&states, HMKV_STATE_TEMP_KEY_RESTORED, "daemon/kept") == 1);
  CHECK(!has_key(kv, "daemon/temp"));
  CHECK_OK(hmkv_watch_close(watcher));
  recorder_free(&recorder);
}

/* ---- whether anybody is asked ---- */

static void a_user_of_a_server_that_asks_nobody_is_asked_later(void) {
  struct events events = EVENTS_OF("key");
  hmkv_watcher *watcher = NULL;
  auth_prepare(&server, SIMPLE_TOKENS);
  kv = open_at(server.endpoint, "timeout=10s user=root password=rootpassword");
  CHECK_OK(hmkv_watch_cb(kv, "key", 3, events_record, &events, &watcher));
  CHECK_OK(hmkv_store(kv, "key", "1"));
  auth_enable(&server);
  CHECK_OK(hmkv_store(kv, "key", "2"));
  CHECK_VALUE(kv, "key", "2");
  etcdctl_at(server.endpoint, "auth", "disable", NULL);
  CHECK_OK(hmkv_store(kv, "key", "3"));
  events_wait(&events, 3);
  CHECK_OK(hmkv_watch_cb_cancel(watcher));
  events_free(&events);
}

static void changes_of_other_users_disturb_nothing(enum token_kind kind) {
  struct recorder recorder = RECORDER;
  struct told told = {0};
  hmkv_watcher *watchers[4];
  int64_t worst = 0;
  open_with_role(kind, "timeout=5s password=first");
  hmkv_lease *lease = lease_new(kv, 5000, &told);
  for (int i = 0; i < 4; i++) {
    etcdctl_at(server.endpoint, "role", "add", text("other role %d", i), NULL);
    CHECK_OK(hmkv_watch_open(kv, text("daemon/%d", i), HMKV_NTS, NULL, recorder_event, &recorder,
                             &watchers[i]));
    etcdctl_at(server.endpoint, "user", "add", text("other%d:x", i), NULL);
    int64_t start = now_ms();
    CHECK_OK(hmkv_store(kv, text("daemon/%d", i), "value"));
    worst = now_ms() - start > worst ? now_ms() - start : worst;
    etcdctl_at(server.endpoint, "role", "add", text("more role %d", i), NULL);
    CHECK_VALUE(kv, text("daemon/%d", i), "value");
  }
  printf("a write took %" PRId64 " ms at most\n", worst);
  CHECK(worst < 3000);
  recorder_wait(&recorder, 4);
  CHECK_INT(0, recorder_states(&recorder));
  CHECK(told_nothing(&told));
  for (int i = 0; i < 4; i++) CHECK_OK(hmkv_watch_close(watchers[i]));
  CHECK_OK(hmkv_lease_close(lease, true));
  recorder_free(&recorder);
}

static void changes_of_other_users_disturb_nothing_simple(void) {
  changes_of_other_users_disturb_nothing(SIMPLE_TOKENS);
}
static void changes_of_other_users_disturb_nothing_signed(void) {
  changes_of_other_users_disturb_nothing(JWT);
}

static const struct test tests[] = {
    ETCD_ONLY(the_password_file_is_read_at_each_authentication_simple),
    ETCD_ONLY(the_password_file_is_read_at_each_authentication_signed),
    ETCD_ONLY(a_watch_outlives_a_time_without_a_password),
    ETCD_ONLY(who_lost_the_role_is_denied_simple),
    ETCD_ONLY(who_lost_the_role_is_denied_signed),
    ETCD_ONLY(a_watch_that_is_denied_ends_when_its_stream_is_made_anew),
    ETCD_ONLY(a_temporary_key_that_is_denied_is_lost_and_holds_up_no_other),
    ETCD_ONLY(locks_and_temporary_keys_are_watched_again_after_a_denial),
    ETCD_ONLY(a_user_of_a_server_that_asks_nobody_is_asked_later),
    ETCD_ONLY(changes_of_other_users_disturb_nothing_simple),
    ETCD_ONLY(changes_of_other_users_disturb_nothing_signed),
};

TEST_MAIN(.begin = begin, .end = end)
