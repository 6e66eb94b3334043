/* hmkv_metrics: what is counted, and that Prometheus can read it. */
#include "metrics.h"
#include "events.h"
#include "locks.h"
#include "own_store.h"
#include "process.h"
#include "proxy.h"
#include "requests.h"
#include "states.h"

#include <sys/wait.h>

static hmkv *kv;
static const char *key;

static void begin(void) {
  kv = open_store("temp_ttl=20s");
  key = unique("key");
}

static void end(void) { close_store(kv); }

static void a_new_store_has_counted_nothing(void) {
  char *told = metrics_text(kv);
  CHECK(!strstr(told, "kind="));
  hmkv_free(told);
  CHECK_INT(0, metric(kv, "hmkv_watch_events_total"));
  CHECK_INT(1, metric(kv, text("hmkv_info{version=\"%s\"}", hmkv_version())));
}

static void requests_are_counted_by_kind_and_status(void) {
  char *value = NULL;
  for (int i = 0; i < 7; i++) CHECK_OK(hmkv_store(kv, key, "a"));
  for (int i = 0; i < 3; i++) CHECK_VALUE(kv, key, "a");
  CHECK_STATUS(HMKV_NOT_FOUND, hmkv_get(kv, unique("absent"), &value));
  CHECK_OK(hmkv_tas(kv, key, "a", "b"));
  for (int i = 0; i < 2; i++) CHECK_STATUS(HMKV_COMPARE_FAILED, hmkv_tas(kv, key, "a", "c"));
  for (int i = 0; i < 5; i++) CHECK_OK(hmkv_delete(kv, key));
  CHECK_INT(7, requests_ended(kv, "put", "ok"));
  CHECK_INT(4, requests_ended(kv, "range", "ok"));
  CHECK_INT(1, requests_ended(kv, "txn", "ok"));
  CHECK_INT(2, requests_ended(kv, "txn", "compare_failed"));
  CHECK_INT(5, requests_ended(kv, "delete", "ok"));
  CHECK_INT(-1, requests_ended(kv, "put", "unavailable"));
  CHECK_INT(-1, requests_ended(kv, "lease_grant", "ok"));
  CHECK_INT(7, metric(kv, "hmkv_request_duration_seconds_count{kind=\"put\"}"));
  CHECK_INT(3, metric(kv, "hmkv_request_duration_seconds_count{kind=\"txn\"}"));
}

static void what_is_submitted_is_counted_when_it_ends(void) {
  struct answer answer = {0};
  FINISH(HMKV_OK, hmkv_put(kv, key, HMKV_NTS, "a", 1, NULL));
  FINISH(HMKV_COMPARE_FAILED,
         hmkv_put(kv, key, HMKV_NTS, "a", 1, HMKV_PUT_OPTS(.if_mod_revision = HMKV_ABSENT)));
  FINISH(HMKV_OK, hmkv_ping(kv));
  hmkv_then(hmkv_remove(kv, key, HMKV_NTS, NULL), answer_record, &answer);
  ANSWERED(HMKV_OK, &answer);
  answer_free(&answer);
  CHECK_INT(1, requests_ended(kv, "put", "ok"));
  CHECK_INT(1, requests_ended(kv, "txn", "compare_failed"));
  CHECK_INT(1, requests_ended(kv, "range", "ok"));
  CHECK_INT(1, requests_ended(kv, "delete", "ok"));
}

static void what_is_refused_by_its_arguments_is_no_request(void) {
  CHECK_STATUS(HMKV_EINVAL, hmkv_store(kv, "", "value"));
  FINISH(HMKV_EINVAL, hmkv_put(kv, "", 0, "value", 5, NULL));
  char *told = metrics_text(kv);
  CHECK(!strstr(told, "kind="));
  hmkv_free(told);
}

static void failures_are_counted(void) {
  hmkv *dead = open_at(dead_endpoint(), "timeout=100ms");
  for (int i = 0; i < 3; i++) CHECK_STATUS(HMKV_EUNAVAIL, hmkv_store(dead, key, "value"));
  FINISH(HMKV_EUNAVAIL, hmkv_ping(dead));
  CHECK_INT(3, requests_ended(dead, "put", "unavailable"));
  CHECK_INT(0, requests_ended(dead, "put", "ok"));
  CHECK_INT(1, requests_ended(dead, "range", "unavailable"));
  CHECK_INT(0, metric(dead, "hmkv_connected"));
  CHECK_INT(0, metric(dead, "hmkv_reconnects_total"));
  close_store(dead);
}

/* ---- leases and locks ---- */

static void leases_and_locks_that_are_lost_are_counted(void) {
  struct told told = {0};
  const char *name = unique("lock");
  hmkv_lock *lock = take(kv, name, &told);
  CHECK_INT(1, requests_ended(kv, "lease_grant", "ok"));
  CHECK_INT(0, metric(kv, "hmkv_leases_lost_total"));
  lose_lease(kv, queue_key(kv, name, 0));
  WAIT_UNTIL(metric(kv, "hmkv_locks_lost_total") == 1);
  CHECK_STATUS(HMKV_ELOST, hmkv_lock_release(lock));
  hmkv_lease *lease = NULL;
  CHECK_OK(hmkv_lease_grant(kv, 20000, NULL, NULL, &lease));
  FINISH(HMKV_OK, hmkv_put(kv, key, HMKV_NTS, "a", 1, HMKV_PUT_OPTS(.lease = hmkv_lease_id(lease))));
  int64_t before = metric(kv, "hmkv_leases_lost_total");
  CHECK_OK(hmkv_lease_close(lease, true)); /* is no loss */
  CHECK_INT(before, metric(kv, "hmkv_leases_lost_total"));
  CHECK(requests_ended(kv, "lease_revoke", "ok") >= 1);
  CHECK_INT(1, metric(kv, "hmkv_locks_lost_total"));
}

/* ---- queues ---- */

enum { PUTS = 20 };

static void events_that_wait_for_a_blocked_callback_are_seen(void) {
  struct gate gate = GATE_CLOSED;
  struct events events = EVENTS_OF(key);
  hmkv_watcher *watcher = NULL;
  events.hold = &gate;
  CHECK_OK(hmkv_watch_cb(kv, key, 3, events_record, &events, &watcher));
  for (int i = 0; i < PUTS; i++) CHECK_OK(hmkv_store(kv, key, "value"));
  WAIT_UNTIL(metric(kv, "hmkv_watch_queue_depth") == PUTS - 1);
  CHECK_INT(1, metric(kv, "hmkv_watch_events_total"));
  gate_open(&gate);
  events_wait(&events, PUTS);
  CHECK_INT(PUTS, metric(kv, "hmkv_watch_events_total"));
  CHECK_INT(0, metric(kv, "hmkv_watch_queue_depth"));
  CHECK_INT(0, metric(kv, "hmkv_watch_resyncs_total"));
  CHECK_OK(hmkv_watch_cb_cancel(watcher));
  events_free(&events);
}

struct held {
  struct gate gate;
  atomic_int entered;
};

static void hold(hmkv_state state, const char *detail, void *userdata) {
  (void)state, (void)detail;
  struct held *held = userdata;
  atomic_fetch_add(&held->entered, 1);
  gate_pass(&held->gate);
}

/* The loss is told, and blocks; that the key is restored waits. */
static void callbacks_that_wait_are_seen(void) {
  struct held held = {.gate = GATE_CLOSED};
  CHECK_OK(hmkv_temp_key(kv, key));
  CHECK_OK(hmkv_on_state(kv, hold, &held));
  CHECK_INT(0, metric(kv, "hmkv_callback_queue_depth"));
  lose_lease(kv, key);
  WAIT_UNTIL(atomic_load(&held.entered) == 1);
  WAIT_UNTIL(metric(kv, "hmkv_callback_queue_depth") == 1);
  CHECK_INT(1, metric(kv, "hmkv_leases_lost_total"));
  gate_open(&held.gate);
  WAIT_UNTIL(metric(kv, "hmkv_callback_queue_depth") == 0);
  CHECK_OK(hmkv_on_state(kv, NULL, NULL));
}

/* Of one revision, which comes whole: a consumer cannot be in time for it. */
static void resyncs_are_counted(void) {
  hmkv_watcher *watcher = NULL;
  const hmkv_event *event = NULL;
  CHECK_OK(hmkv_watch_open(kv, key, HMKV_NTS,
                           HMKV_WATCH_OPTS(.prefix = 1, .queue_max = 4,
                                           .on_overflow = HMKV_OVERFLOW_RESYNC),
                           NULL, NULL, &watcher));
  hmkv_txn *txn = hmkv_txn_new(kv);
  for (int i = 0; i < PUTS; i++)
    hmkv_txn_put(txn, HMKV_THEN, text("%s/%d", key, i), HMKV_NTS, "value", 5, NULL);
  FINISH(HMKV_OK, hmkv_txn_commit(txn, NULL));
  do CHECK_OK(hmkv_watch_next(watcher, patience_ms(), &event));
  while (event->type != HMKV_EVENT_RESYNC);
  CHECK_INT(1, metric(kv, "hmkv_watch_resyncs_total"));
  CHECK_OK(hmkv_watch_close(watcher));
}

/* ---- connections ---- */

static void reconnects_are_counted_and_the_connection_is_shown(void) {
  struct server server;
  struct proxy proxy;
  server_start(&server, NULL);
  proxy_start(&proxy, server.client_port);
  hmkv *through = open_at(proxy.endpoint, NULL);
  CHECK_INT(0, metric(through, "hmkv_connected"));
  CHECK_OK(hmkv_store(through, key, "value"));
  CHECK_INT(1, metric(through, "hmkv_connected"));
  CHECK_INT(0, metric(through, "hmkv_reconnects_total"));
  proxy_cut_all(&proxy, CUT_RESET);
  WAIT_UNTIL(metric(through, "hmkv_reconnects_total") == 1);
  CHECK_INT(1, metric(through, "hmkv_connected"));
  proxy_refuse(&proxy, true);
  proxy_cut_all(&proxy, CUT_RESET);
  WAIT_UNTIL(metric(through, "hmkv_connected") == 0);
  proxy_refuse(&proxy, false);
  WAIT_UNTIL(metric(through, "hmkv_connected") == 1);
  CHECK_INT(2, metric(through, "hmkv_reconnects_total"));
  close_store(through);
  proxy_stop(&proxy);
  server_stop(&server);
}

/* ---- under load ---- */

enum { THREADS = 8, LINES_MAX = 400 };

struct load {
  hmkv *kv;
  const char *key;
  int calls;
  atomic_int running;
};

static void *call_on(void *userdata) {
  struct load *load = userdata;
  for (int i = 0; i < load->calls; i++) {
    CHECK_OK(hmkv_store(load->kv, load->key, "value"));
    CHECK_VALUE(load->kv, load->key, "value");
    CHECK_STATUS(HMKV_COMPARE_FAILED, hmkv_tas(load->kv, load->key, "another", "value"));
  }
  atomic_fetch_sub(&load->running, 1);
  return NULL;
}

/* Each counter of `before` is in `now`, and not lower. */
static void check_not_lower(char *before, const char *now) {
  char *rest = before;
  for (char *line; (line = strtok_r(rest, "\n", &rest));) {
    char *value = strrchr(line, ' ');
    if (*line == '#' || strstr(line, "_depth") || !value) continue;
    size_t length = (size_t)(value - line) + 1;
    const char *found = now;
    while (found && strncmp(found, line, length) != 0)
      if ((found = strchr(found, '\n'))) found++;
    if (!found) FAIL("%s is gone", line);
    if (strtod(found + length, NULL) < strtod(value, NULL))
      FAIL("%s went down: %.40s", line, found + length);
  }
}

static int64_t total(const char *told, const char *kind) {
  const char *found = strstr(told, text("duration_seconds_count{kind=\"%s\"} ", kind));
  return found ? strtoll(strchr(found, ' ') + 1, NULL, 10) : 0;
}

static void counters_never_go_down_and_miss_nothing(void) {
  struct load load = {kv, key, rounds(2000, 50), THREADS};
  pthread_t threads[THREADS];
  char *before = metrics_text(kv);
  for (int i = 0; i < THREADS; i++) threads[i] = start_thread(call_on, &load);
  while (atomic_load(&load.running) > 0) {
    char *now = metrics_text(kv);
    CHECK(total(now, "put") <= (int64_t)THREADS * load.calls);
    check_not_lower(before, now);
    hmkv_free(before);
    before = now;
  }
  for (int i = 0; i < THREADS; i++) join_thread(threads[i]);
  hmkv_free(before);
  CHECK_INT(THREADS * load.calls, requests_ended(kv, "put", "ok"));
  CHECK_INT(THREADS * load.calls, requests_ended(kv, "range", "ok"));
  CHECK_INT(THREADS * load.calls, requests_ended(kv, "txn", "compare_failed"));
  CHECK_INT(0, requests_ended(kv, "txn", "ok"));
}

/* ---- for Prometheus ---- */

static bool is_parsed(const char *told) {
  const char *const command[] = {TEST_PYTHON, TEST_METRICS_PARSER, TEST_METRICS_PAGE, NULL};
  char said[4096];
  bool accepted = process_accepts(command, told, said, sizeof said);
  if (*said) printf("\n  %s", said);
  return accepted;
}

/* The text with one word changed, which must be in it. */
static const char *changed(const char *told, const char *word, const char *into) {
  const char *found = strstr(told, word);
  CHECK(found);
  return text("%.*s%s%s", (int)(found - told), told, into, found + strlen(word));
}

static void prometheus_can_read_it(void) {
  hmkv *dead = open_at(dead_endpoint(), "timeout=10ms");
  CHECK_STATUS(HMKV_EUNAVAIL, hmkv_store(dead, key, "value"));
  char *failed = metrics_text(dead);
  CHECK(is_parsed(failed));
  hmkv_free(failed);
  close_store(dead);

  CHECK_OK(hmkv_temp_key(kv, key));
  CHECK_OK(hmkv_store(kv, unique("other"), "value"));
  CHECK_OK(hmkv_delete(kv, unique("other")));
  char *told = metrics_text(kv);
  CHECK(is_parsed(told));
  CHECK(!is_parsed(changed(told, "# TYPE hmkv_connected gauge", "# TYPE hmkv_connected counter")));
  CHECK(!is_parsed(changed(told, "status=\"ok\"} 1", "status=\"ok\"} 2")));
  CHECK(!is_parsed(changed(told, "status=\"ok\"", "status=\"fine\"")));
  CHECK(!is_parsed(changed(told, "hmkv_connected 1", "hmkv_connected 1\nhmkv_connected 1")));
  CHECK(!is_parsed(changed(told, "le=\"10\"} 1", "le=\"10\"} 0")));
  CHECK(!is_parsed(changed(told, "hmkv_connected 1", "hmkv_connected one")));
  hmkv_free(told);
}

static const struct test tests[] = {
    BOTH(a_new_store_has_counted_nothing),
    BOTH(requests_are_counted_by_kind_and_status),
    BOTH(what_is_submitted_is_counted_when_it_ends),
    BOTH(what_is_refused_by_its_arguments_is_no_request),
    BOTH(failures_are_counted),
    BOTH(leases_and_locks_that_are_lost_are_counted),
    BOTH(events_that_wait_for_a_blocked_callback_are_seen),
    BOTH(callbacks_that_wait_are_seen),
    BOTH(resyncs_are_counted),
    ETCD_ONLY(reconnects_are_counted_and_the_connection_is_shown),
    BOTH(counters_never_go_down_and_miss_nothing),
    BOTH(prometheus_can_read_it),
};
TEST_MAIN(.begin = begin, .end = end)
