/* Watches across kills of the server: nothing lost, doubled or out of order. */
#include "events.h"
#include "server.h"
#include "test.h"

static struct server server;
static hmkv *kv;

static void begin(void) {
  server_start(&server, NULL);
  kv = open_at(server.endpoint, "timeout=20s");
}

static void end(void) {
  close_store(kv);
  server_stop(&server);
}

struct writer {
  const char *key;
  atomic_int written;
  atomic_bool stop;
};

/* Counts up by test and set, so that a write of unknown outcome is repaired: each
 * number is stored exactly once. */
static void *count_up(void *arg) {
  struct writer *writer = arg;
  hmkv *mine = open_at(server.endpoint, "timeout=1s");
  int number = 0;
  while (!atomic_load(&writer->stop)) {
    char *value = NULL;
    if (hmkv_get(mine, writer->key, &value) != HMKV_OK) continue;
    number = atoi(value);
    hmkv_free(value);
    hmkv_status status = hmkv_tas(mine, writer->key, text("%d", number), text("%d", number + 1));
    if (status == HMKV_OK) atomic_store(&writer->written, number + 1);
    if (status < 0 && status != HMKV_EUNAVAIL && status != HMKV_EINDETERMINATE)
      FAIL("%s", hmkv_status_name(status));
  }
  close_store(mine);
  return NULL;
}

static void no_event_is_lost_doubled_or_out_of_order_across_kills(void) {
  struct writer writer = {.key = unique("counter")};
  struct gate gate = GATE_CLOSED;
  struct events fast = EVENTS_OF(writer.key), blocked = EVENTS_OF(writer.key);
  blocked.hold = &gate;
  hmkv_watcher *watchers[2];
  CHECK_OK(hmkv_store(kv, writer.key, "0"));
  CHECK_OK(hmkv_watch_cb(kv, writer.key, 3, events_record, &fast, &watchers[0]));
  CHECK_OK(hmkv_watch_cb(kv, writer.key, 3, events_record, &blocked, &watchers[1]));
  pthread_t thread = start_thread(count_up, &writer);
  for (int i = 0; i < 6; i++) {
    int before = atomic_load(&writer.written);
    WAIT_UNTIL(atomic_load(&writer.written) >= before + 30);
    server_kill(&server);
    server_restart(&server);
  }
  int before = atomic_load(&writer.written);
  WAIT_UNTIL(atomic_load(&writer.written) >= before + 30);
  atomic_store(&writer.stop, true);
  join_thread(thread);
  gate_open(&gate);
  char *value = NULL;
  WAIT_UNTIL(hmkv_get(kv, writer.key, &value) == HMKV_OK);
  size_t count = (size_t)atoi(value);
  hmkv_free(value);
  events_wait(&fast, count);
  events_wait(&blocked, count);
  for (size_t i = 0; i < count; i++) {
    CHECK_EVENT(&fast, i, HMKV_KEYCHANGE_PUT, text("%zu", i + 1));
    CHECK_EVENT(&blocked, i, HMKV_KEYCHANGE_PUT, text("%zu", i + 1));
  }
  for (int i = 0; i < 2; i++) CHECK_OK(hmkv_watch_cb_cancel(watchers[i]));
  events_free(&fast);
  events_free(&blocked);
}

static void changes_during_the_cut_are_delivered_after_it(void) {
  struct events events = EVENTS_OF(unique("key"));
  hmkv_watcher *watcher = NULL;
  CHECK_OK(hmkv_watch_cb(kv, events.key, 3, events_record, &events, &watcher));
  CHECK_OK(hmkv_store(kv, events.key, "1"));
  events_wait(&events, 1);
  server_kill(&server);
  server_restart_elsewhere(&server);
  hmkv *elsewhere = open_at(server.endpoint, "timeout=20s");
  for (int i = 2; i <= 30; i++) CHECK_OK(hmkv_store(elsewhere, events.key, text("%d", i)));
  CHECK_OK(hmkv_delete(elsewhere, events.key));
  CHECK_OK(hmkv_store(elsewhere, events.key, "again"));
  close_store(elsewhere);
  CHECK_INT(1, events_count(&events));
  server_kill(&server);
  server_restart(&server);
  WAIT_UNTIL(events_count(&events) >= 31);
  CHECK_OK(hmkv_watch_cb_cancel(watcher));
  CHECK_INT(31, events.count); /* the delete ended it */
  for (size_t i = 0; i < 30; i++) CHECK_EVENT(&events, i, HMKV_KEYCHANGE_PUT, text("%zu", i + 1));
  CHECK_EVENT(&events, 30, HMKV_KEYCHANGE_DELETE, NULL);
  events_free(&events);
}

static atomic_int waiting_tid;

static void *wait_for_change(void *key) {
  atomic_store(&waiting_tid, (int)thread_id());
  char *value = NULL;
  hmkv_keychange op = 0;
  CHECK_OK(hmkv_watch(kv, key, HMKV_FOREVER, &value, &op));
  CHECK_INT(HMKV_KEYCHANGE_PUT, op);
  return value;
}

static void a_blocking_watch_survives_a_restart(void) {
  const char *key = unique("key");
  CHECK_VALUE(kv, key, NULL);
  pthread_t thread = start_thread(wait_for_change, (void *)(uintptr_t)key);
  WAIT_UNTIL(atomic_load(&waiting_tid) != 0);
  /* Blocked it is also before: what it watches from, it asks the server. */
  WAIT_UNTIL(server_metric(&server, "etcd_debugging_mvcc_watcher_total") == 1);
  wait_until_blocked(atomic_load(&waiting_tid));
  server_kill(&server);
  server_restart(&server);
  WAIT_UNTIL(hmkv_store(kv, key, "after the restart") == HMKV_OK);
  char *value = join_thread(thread);
  CHECK_STR("after the restart", value);
  hmkv_free(value);
}

static void while_the_server_is_away_calls_are_unavailable_and_later_work_again(void) {
  const char *key = unique("key");
  hmkv *hasty = open_at(server.endpoint, "timeout=2s");
  WAIT_UNTIL(hmkv_store(hasty, key, "1") == HMKV_OK);
  server_kill(&server);
  char *value = NULL;
  CHECK_STATUS(HMKV_EUNAVAIL, hmkv_get(hasty, key, &value));
  hmkv_status status = hmkv_store(hasty, key, "2");
  CHECK(status == HMKV_EUNAVAIL || status == HMKV_EINDETERMINATE);
  /* Once the connection is known to be gone, it is sure. */
  WAIT_UNTIL((status = hmkv_store(hasty, key, "2")) == HMKV_EUNAVAIL);
  server_restart(&server);
  CHECK_VALUE(kv, key, "1");
  WAIT_UNTIL(hmkv_store(hasty, key, "3") == HMKV_OK);
  CHECK_VALUE(kv, key, "3");
  close_store(hasty);
}

static const struct test tests[] = {
    ETCD_ONLY(no_event_is_lost_doubled_or_out_of_order_across_kills),
    ETCD_ONLY(changes_during_the_cut_are_delivered_after_it),
    ETCD_ONLY(a_blocking_watch_survives_a_restart),
    ETCD_ONLY(while_the_server_is_away_calls_are_unavailable_and_later_work_again),
};
TEST_MAIN(.begin = begin, .end = end)
