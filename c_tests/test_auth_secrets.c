/* Neither a password nor a token is told: not by the log at its loudest, and not by any
 * error text. */
#include "auth.h"
#include "events.h"
#include "leases.h"
#include "process.h"
#include "recorder.h"
#include "requests.h"
#include "states.h"
#include "test.h"

static struct server server;

/* A signed token begins with "eyJ": that is {" in base64. */
static const char *const secrets[] = {"hunter2", "daemonsecret", "rootpassword", "eyJ"};

static atomic_long lines, texts;

static void check_text(const char *what, const char *text) {
  for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++)
    if (strstr(text, secrets[i])) FAIL("%s tells %s: %s", what, secrets[i], text);
  atomic_fetch_add(&texts, *text != '\0');
}

static void check_line(int32_t level, const char *line, void *userdata) {
  (void)level, (void)userdata;
  check_text("the log", line);
  CHECK(!strchr(line, '\n'));
  atomic_fetch_add(&lines, 1);
}

static void check_state(hmkv_state state, const char *detail, void *userdata) {
  (void)state, (void)userdata;
  check_text("a state", detail);
}

static void check_event(const hmkv_event *event, void *userdata) {
  (void)userdata;
  if (event->detail) check_text("an event", event->detail);
}

static void check_lost(hmkv_status status, const char *detail, void *userdata) {
  (void)status, (void)userdata;
  check_text("a loss", detail);
}

static void tell(hmkv_status status) {
  if (status < 0) check_text("hmkv_errmsg()", hmkv_errmsg());
}

static void tell_result(hmkv_op *op) {
  hmkv_result *result = hmkv_await(op);
  if (hmkv_result_status(result) < 0) check_text("a result", hmkv_result_error(result));
  hmkv_result_free(result);
}

static void use(hmkv *kv) {
  hmkv_lock *lock = NULL;
  hmkv_watcher *watcher = NULL;
  char *value = NULL;
  tell(hmkv_store(kv, "daemon/key", "value"));
  tell(hmkv_get(kv, "daemon/key", &value));
  hmkv_free(value);
  tell(hmkv_get(kv, "other", &value));
  tell(hmkv_temp_key(kv, "daemon/temp"));
  tell(hmkv_lock_acquire(kv, "daemon/lock", HMKV_LOCK_OPTS(.wait_ms = HMKV_TRY), check_lost, NULL,
                         &lock));
  if (lock) tell(hmkv_lock_release(lock));
  tell(hmkv_watch_open(kv, "daemon/key", HMKV_NTS, NULL, check_event, NULL, &watcher));
  tell_result(hmkv_ping(kv));
  tell_result(hmkv_put(kv, "daemon/key", HMKV_NTS, "value", HMKV_NTS, NULL));
}

static void no_log_line_and_no_error_text_has_one(void) {
  hmkv_set_log(HMKV_LOG_DEBUG, check_line, NULL);
  auth_start(&server, JWT);
  auth_add_user(&server, "daemon", "daemonsecret", "daemon/");
  const char *file = auth_file(&server, "daemonsecret\n");
  const char *const options[] = {
      "user=daemon password=daemonsecret",
      "user=daemon password=hunter2",
      "user=nobody password=hunter2",
      text("user=daemon password_file='%s'", file),
  };
  enum { STORES = sizeof options / sizeof *options };
  hmkv *stores[STORES];
  for (int i = 0; i < STORES; i++) {
    stores[i] = open_at(server.endpoint, text("timeout=3s debug %s", options[i]));
    CHECK_OK(hmkv_on_state(stores[i], check_state, NULL));
    use(stores[i]);
  }
  int64_t end = now_ms() + (TOKEN_SECONDS + 1) * 1000;
  WAIT_UNTIL(now_ms() > end); /* their tokens are over by then */
  for (int i = 0; i < STORES; i++) use(stores[i]);
  auth_file(&server, "hunter2");
  server_kill(&server);
  for (int i = 0; i < STORES; i++) tell(hmkv_store(stores[i], "daemon/key", "value"));
  server_restart(&server);
  auth_change_password(&server, "daemon", "hunter22");
  for (int i = 0; i < STORES; i++) use(stores[i]);
  CHECK_STATUS(HMKV_EAUTH, hmkv_store(stores[3], "daemon/key", "value"));
  for (int i = 0; i < STORES; i++) close_store(stores[i]);
  hmkv_set_log(HMKV_LOG_OFF, NULL, NULL);
  printf("%ld lines, %ld texts\n", atomic_load(&lines), atomic_load(&texts));
  CHECK(atomic_load(&lines) >= 20 && atomic_load(&texts) > atomic_load(&lines));
  auth_stop(&server);
}

static void no_refusal_of_options_has_one(void) {
  static const char *const wrong[] = {
      "password=hunter2",
      "user=u password=hunter2 password_file=f",
      "user=u password='hunter2",
      "user=u password='x'hunter2",
      "user=u password=x hunter2",
      "user=u password=x;hunter2=1",
      "user=u password=x,hunter2='",
      "user=u password=x hunter2='y'z",
      "user=u password=hunter2 password=hunter2",
      "user=u password=hunter2 colour=hunter2",
      "user=u password=hunter2 dispatch=fast",
  };
  atomic_store(&texts, 0);
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    hmkv *kv = NULL;
    CHECK(hmkv_open(test_endpoint(), wrong[i], &kv) < 0);
    tell(HMKV_EINVAL);
  }
  CHECK_INT(sizeof wrong / sizeof *wrong, atomic_load(&texts));
}

static const struct test tests[] = {
    ETCD_ONLY(no_log_line_and_no_error_text_has_one),
    BOTH(no_refusal_of_options_has_one),
};

TEST_MAIN()
