/* The options user, password and password_file. What happens while a store is in use:
 * test_auth_expiry.c, test_auth_changes.c; what must not be told: test_auth_secrets.c. */
#include "auth.h"
#include "changes.h"
#include "events.h"
#include "leases.h"
#include "process.h"
#include "recorder.h"
#include "requests.h"
#include "test.h"

#include <sys/stat.h>

static struct server server;
static hmkv *kv;

static void begin(void) { kv = NULL; }

static void end(void) {
  if (kv) close_store(kv);
}

/* ---- options ---- */

static void refused(hmkv_status expected, const char *options, const char *why) {
  hmkv *none = (hmkv *)&none;
  CHECK_STATUS(expected, hmkv_open(test_endpoint(), options, &none));
  CHECK(none == NULL);
  if (!strstr(hmkv_errmsg(), why)) FAIL("\"%s\" of %s lacks %s", hmkv_errmsg(), options, why);
}

static void a_user_has_exactly_one_password(void) {
  refused(HMKV_EINVAL, "user=daemon", "password");
  refused(HMKV_EINVAL, "password=secret", "user");
  refused(HMKV_EINVAL, "password_file=/dev/null", "user");
  refused(HMKV_EINVAL, "user=daemon password=secret password_file=/dev/null", "exclude");
  refused(HMKV_EINVAL, "user=daemon password_file=/dev/null password=secret", "exclude");
  refused(HMKV_EINVAL, "user= password=secret", "user");
  refused(HMKV_EINVAL, "user=daemon password=", "password");
  refused(HMKV_EINVAL, "user=daemon password=''", "password");
  refused(HMKV_EINVAL, "user password=secret", "user");
  refused(HMKV_EINVAL, "user=a user=b password=secret", "user");
}

static void a_store_in_memory_asks_nobody(void) {
  kv = open_at("mem:", "user=daemon password=secret");
  CHECK_OK(hmkv_store(kv, unique("key"), "value"));
  close_store(kv);
  kv = open_at("mem:", "user=daemon password_file=/nothing/there");
  CHECK_OK(hmkv_store(kv, unique("key"), "value"));
}

static void write_file(const char *path, const char *bytes, size_t length) {
  FILE *file = fopen(path, "w");
  CHECK(file);
  CHECK_INT(length, fwrite(bytes, 1, length, file));
  CHECK_INT(0, fclose(file));
}

static void a_password_file_that_cannot_be_used_fails_at_once(void) {
  const char *file = text("%s/password-%d", test_directory(), (int)getpid());
  const char *options = text("user=daemon password_file='%s'", file);
  refused(HMKV_EAUTH, options, file);
  write_file(file, "", 0);
  refused(HMKV_EAUTH, options, "empty");
  write_file(file, "\n", 1);
  refused(HMKV_EAUTH, options, "empty");
  write_file(file, "a\xff", 2);
  refused(HMKV_EAUTH, options, "UTF-8");
  static char long_text[100000];
  memset(long_text, 'x', sizeof long_text);
  write_file(file, long_text, sizeof long_text);
  refused(HMKV_EAUTH, options, "long");
  refused(HMKV_EAUTH, text("user=daemon password_file='%s'", test_directory()), "regular");
  CHECK_INT(0, unlink(file));
  CHECK_INT(0, mkfifo(file, 0600)); /* which nobody writes to */
  refused(HMKV_EAUTH, options, "regular");
  CHECK_INT(0, unlink(file));
}

/* ---- who is asked ---- */

static void use_everything(const char *under) {
  struct events events = EVENTS_OF(text("%swatched", under));
  struct recorder recorder = RECORDER;
  hmkv_watcher *cb = NULL, *watch = NULL;
  hmkv_result *result = NULL;
  const char *key = text("%skey", under);
  CHECK_OK(hmkv_watch_cb(kv, events.key, 3, events_record, &events, &cb));
  CHECK_OK(hmkv_watch_open(kv, events.key, HMKV_NTS, NULL, recorder_event, &recorder, &watch));
  CHECK_OK(hmkv_store(kv, key, "1"));
  CHECK_VALUE(kv, key, "1");
  CHECK_OK(hmkv_tas(kv, key, "1", "2"));
  CHECK_OK(hmkv_transaction(kv, key, "=", "2", events.key, "3", NULL, NULL));
  CHECK_OK(hmkv_get_range(kv, text("%sa", under), text("%sz", under), &result));
  CHECK_INT(2, hmkv_result_count(result));
  hmkv_result_free(result);
  FINISH(HMKV_OK, hmkv_ping(kv));
  CHECK_STATUS(HMKV_TIMED_OUT, hmkv_watch(kv, key, 0, NULL, NULL));
  CHECK_OK(hmkv_temp_key(kv, text("%stemp", under)));
  CHECK_OK(hmkv_dist_lock(kv));
  CHECK_OK(hmkv_dist_unlock(kv));
  CHECK_OK(hmkv_lock_release(take(kv, text("%snamed", under), NULL)));
  hmkv_lease *lease = lease_new(kv, 5000, NULL);
  lease_put(kv, lease, text("%sleased", under), HMKV_OK);
  CHECK_OK(hmkv_lease_close(lease, true));
  CHECK_OK(hmkv_delete(kv, key));
  events_wait(&events, 1);
  recorder_wait(&recorder, 1);
  CHECK_OK(hmkv_watch_cb_cancel(cb));
  CHECK_OK(hmkv_watch_close(watch));
  events_free(&events);
  recorder_free(&recorder);
}

static void a_user_may_do_what_the_role_allows(void) {
  auth_start(&server, SIMPLE_TOKENS);
  auth_add_user(&server, "daemon", "secret", "daemon/");
  kv = open_at(server.endpoint, "wait=20s user=daemon password=secret lock=daemon/dist");
  use_everything("daemon/");
  CHECK_STATUS(HMKV_EDENIED, hmkv_store(kv, "other", "value"));
  CHECK_STATUS(HMKV_EDENIED, hmkv_temp_key(kv, "other"));
  auth_stop(&server);
}

static void a_namespace_is_a_role_of_its_own(void) {
  auth_start(&server, JWT);
  auth_add_user(&server, "daemon", "secret", "daemon/");
  kv = open_at(server.endpoint, "wait=20s user=daemon password=secret namespace=daemon/");
  use_everything("");
  auth_stop(&server);
}

/* With a role for one prefix there is not much that the library may look at. */
static void with_one_prefix_cuts_and_replaced_stores_are_found_too(void) {
  struct recorder recorder = RECORDER;
  hmkv_watcher *watcher = NULL;
  auth_start(&server, JWT);
  auth_add_user(&server, "daemon", "secret", "daemon/");
  kv = open_at(server.endpoint, "timeout=20s user=daemon password=secret");
  for (int i = 0; i < 10; i++) CHECK_OK(hmkv_store(kv, "daemon/key", text("%d", i)));
  CHECK_OK(hmkv_watch_open(kv, "daemon/", HMKV_NTS, HMKV_WATCH_OPTS(.prefix = 1), recorder_event,
                           &recorder, &watcher));
  server_wipe(&server);
  unsetenv("ETCDCTL_USER");
  server_restart(&server);
  auth_enable(&server);
  auth_add_user(&server, "daemon", "secret", "daemon/");
  WAIT_UNTIL(recorder_count_of(&recorder, HMKV_EVENT_RESYNC) == 1);
  size_t count = recorder_count(&recorder);
  CHECK_OK(hmkv_store(kv, "daemon/key", "new"));
  recorder_wait(&recorder, count + 1);
  CHECK_STR("new", recorder_last_of(&recorder, "daemon/key").kv.value);
  CHECK_OK(hmkv_watch_close(watcher));
  recorder_free(&recorder);
  auth_stop(&server);
}

static void names_and_passwords_may_be_odd(void) {
  static const char *const odd[][2] = {
      {"J\xc3\xb6rg O'Neil,;= \\ \"x\"\t", "p,a;s s=w'o\\r\"d \xe2\x82\xac %s %00"},
      {"=", "="},
      {"token", "user=root password=rootpassword"},
  };
  auth_start(&server, SIMPLE_TOKENS);
  for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
    auth_add_user(&server, odd[i][0], odd[i][1], "daemon/");
    char options[400] = "user='";
    size_t length = strlen(options);
    for (int part = 0; part < 2; part++) {
      for (const char *c = odd[i][part]; *c; c++) {
        if (*c == '\'' || *c == '\\') options[length++] = '\\';
        options[length++] = *c;
      }
      length += (size_t)sprintf(options + length, part == 0 ? "' password='" : "'");
    }
    kv = open_at(server.endpoint, options);
    CHECK_OK(hmkv_store(kv, "daemon/key", "value"));
    close_store(kv);
    kv = NULL;
  }
  char long_name[3000];
  memset(long_name, 'n', sizeof long_name);
  long_name[sizeof long_name - 1] = '\0';
  kv = open_at(server.endpoint, text("user='%s\n\x01' password='%s'", long_name, long_name));
  CHECK_STATUS(HMKV_EAUTH, hmkv_store(kv, "daemon/key", "value"));
  CHECK(!strchr(hmkv_errmsg(), '\n'));
  auth_stop(&server);
}

static void tls_and_a_password_go_together(void) {
  server_start_tls(&server);
  setenv("ETCDCTL_CACERT", text("%s/ca.pem", server.certificates), 1);
  setenv("ETCDCTL_CERT", text("%s/client.pem", server.certificates), 1);
  setenv("ETCDCTL_KEY", text("%s/client.key", server.certificates), 1);
  auth_enable(&server);
  auth_add_user(&server, "daemon", "secret", "daemon/");
  const char *d = server.certificates;
  const char *tls = text("cacert='%s/ca.pem' cert='%s/client.pem' key='%s/client.key'", d, d, d);
  kv = open_at(server.endpoint,
               text("wait=20s user=daemon password=secret lock=daemon/dist %s", tls));
  use_everything("daemon/");
  close_store(kv);
  kv = open_at(server.endpoint, text("user=daemon password=wrong %s", tls));
  CHECK_STATUS(HMKV_EAUTH, hmkv_store(kv, "daemon/key", "value"));
  auth_stop(&server);
}

/* ---- who is refused ---- */

enum { THREADS = 4 };
static atomic_bool stop;

static void *keep_being_refused(void *calls) {
  for (; !atomic_load(&stop); atomic_fetch_add((atomic_long *)calls, 1)) {
    char *value = NULL;
    CHECK_STATUS(HMKV_EAUTH, hmkv_store(kv, "daemon/key", "value"));
    CHECK(strstr(hmkv_errmsg(), "authentication failed"));
    CHECK_STATUS(HMKV_EAUTH, hmkv_get(kv, "daemon/key", &value));
    FINISH(HMKV_EAUTH, hmkv_put(kv, "daemon/key", HMKV_NTS, "value", HMKV_NTS, NULL));
    FINISH(HMKV_EAUTH, hmkv_ping(kv));
    poll_pause();
  }
  return NULL;
}

static void a_wrong_password_is_refused_without_a_storm(void) {
  enum { SECONDS = 5 };
  pthread_t threads[THREADS];
  atomic_long calls = 0;
  auth_start(&server, SIMPLE_TOKENS);
  auth_add_user(&server, "daemon", "secret", "daemon/");
  kv = open_at(server.endpoint, "user=daemon password=wrong lock=daemon/dist");
  long before = auth_count(&server);
  atomic_store(&stop, false);
  for (int i = 0; i < THREADS; i++) threads[i] = start_thread(keep_being_refused, &calls);
  int64_t start = now_ms();
  while (now_ms() < start + 1000 * SECONDS) {
    struct events events = EVENTS_OF("daemon/key");
    hmkv_watcher *watcher = NULL;
    hmkv_lease *lease = NULL;
    hmkv_lock *lock = NULL;
    CHECK_STATUS(HMKV_EAUTH, hmkv_watch_cb(kv, events.key, 3, events_record, &events, &watcher));
    CHECK_STATUS(HMKV_EAUTH, hmkv_watch(kv, events.key, 0, NULL, NULL));
    CHECK_STATUS(HMKV_EAUTH, hmkv_lease_grant(kv, 5000, NULL, NULL, &lease));
    CHECK_STATUS(HMKV_EAUTH, hmkv_temp_key(kv, "daemon/temp"));
    CHECK_STATUS(HMKV_EAUTH, hmkv_dist_lock(kv));
    CHECK_STATUS(HMKV_EAUTH, hmkv_lock_acquire(kv, "daemon/l", NULL, NULL, NULL, &lock));
    poll_pause();
  }
  atomic_store(&stop, true);
  for (int i = 0; i < THREADS; i++) join_thread(threads[i]);
  long count = auth_count(&server) - before;
  printf("%ld rounds of calls, %ld authentications\n", atomic_load(&calls), count);
  CHECK(count >= 1 && count < 5 * SECONDS);
  hmkv *waiting = NULL;
  CHECK_STATUS(HMKV_EAUTH, hmkv_open(server.endpoint, "wait=20s user=nobody password=x", &waiting));
  auth_stop(&server);
}

/* A caller in a hurry gives up, what it began for all goes on. */
static void calls_in_a_hurry_have_a_token_in_the_end(void) {
  auth_start(&server, SIMPLE_TOKENS);
  auth_add_user(&server, "daemon", "secret", "daemon/");
  kv = open_at(server.endpoint, "timeout=30ms user=daemon password=secret");
  long before = auth_count(&server);
  int64_t end = now_ms() + patience_ms();
  hmkv_status status;
  do {
    int64_t start = now_ms();
    CHECK(start < end);
    status = hmkv_store(kv, "daemon/key", "value");
    CHECK(status == HMKV_OK || status == HMKV_EUNAVAIL || status == HMKV_EINDETERMINATE);
    CHECK(now_ms() - start < 30 + 1000); /* an attempt to get a token takes 1.5 s */
  } while (status != HMKV_OK);
  CHECK(auth_count(&server) - before <= 2);
  auth_stop(&server);
}

static const struct test tests[] = {
    BOTH(a_user_has_exactly_one_password),
    MEM_ONLY(a_store_in_memory_asks_nobody),
    ETCD_ONLY(a_password_file_that_cannot_be_used_fails_at_once),
    ETCD_ONLY(a_user_may_do_what_the_role_allows),
    ETCD_ONLY(a_namespace_is_a_role_of_its_own),
    ETCD_ONLY(with_one_prefix_cuts_and_replaced_stores_are_found_too),
    ETCD_ONLY(names_and_passwords_may_be_odd),
    ETCD_ONLY(tls_and_a_password_go_together),
    ETCD_ONLY(a_wrong_password_is_refused_without_a_storm),
    ETCD_ONLY(calls_in_a_hurry_have_a_token_in_the_end),
};

TEST_MAIN(.begin = begin, .end = end)
