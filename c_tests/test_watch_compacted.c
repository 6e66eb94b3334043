/* Watches whose changes were compacted away during a cut: the final state alone is
 * delivered, and a changed create revision counts as a delete. */
#include "events.h"
#include "process.h"
#include "server.h"
#include "test.h"

enum { PUT = HMKV_KEYCHANGE_PUT, DELETE = HMKV_KEYCHANGE_DELETE };

static struct server server;
static hmkv *kv;

static void begin(void) {
  server_start(&server, NULL);
  kv = open_at(server.endpoint, "timeout=10s");
}

static void end(void) {
  close_store(kv);
  server_stop(&server);
}

static void watch(struct events *events, int32_t mask, hmkv_watcher **watcher) {
  CHECK_OK(hmkv_watch_cb(kv, events->key, mask, events_record, events, watcher));
}

/* Runs `change` on a store that the watchers cannot reach, compacts all that went
 * before, and lets them come back. */
static void while_cut(void (*change)(hmkv *elsewhere, const char *key), const char *key) {
  server_kill(&server);
  server_restart_elsewhere(&server);
  hmkv *elsewhere = open_at(server.endpoint, "timeout=20s");
  change(elsewhere, key);
  hmkv_result *result = list_keys(elsewhere, key);
  etcdctl_at(server.endpoint, "compact", text("%" PRId64, hmkv_result_revision(result)), NULL);
  hmkv_result_free(result);
  close_store(elsewhere);
  server_kill(&server);
  server_restart(&server);
}

static void finish(hmkv_watcher *watcher, struct events *events) {
  CHECK_OK(hmkv_watch_cb_cancel(watcher));
  events_free(events);
}

static void put_several(hmkv *elsewhere, const char *key) {
  for (int i = 2; i <= 9; i++) CHECK_OK(hmkv_store(elsewhere, key, text("%d", i)));
}

static void the_final_state_alone_is_delivered(void) {
  struct events events = EVENTS_OF(unique("key"));
  hmkv_watcher *watcher = NULL;
  watch(&events, 3, &watcher);
  CHECK_OK(hmkv_store(kv, events.key, "1"));
  events_wait(&events, 1);
  while_cut(put_several, events.key);
  WAIT_UNTIL(events_count(&events) >= 2);
  WAIT_UNTIL(hmkv_store(kv, events.key, "10") == HMKV_OK);
  events_wait(&events, 3);
  CHECK_EVENT(&events, 1, PUT, "9");
  CHECK_EVENT(&events, 2, PUT, "10"); /* and it goes on */
  finish(watcher, &events);
}

static void delete_and_create(hmkv *elsewhere, const char *key) {
  CHECK_OK(hmkv_store(elsewhere, key, "2"));
  CHECK_OK(hmkv_delete(elsewhere, key));
  CHECK_OK(hmkv_store(elsewhere, key, "3"));
}

static void deleted_and_created_again_counts_as_deleted(void) {
  struct events events = EVENTS_OF(unique("key"));
  hmkv_watcher *watcher = NULL;
  watch(&events, 3, &watcher);
  CHECK_OK(hmkv_store(kv, events.key, "1"));
  events_wait(&events, 1);
  while_cut(delete_and_create, events.key);
  WAIT_UNTIL(events_count(&events) >= 2);
  CHECK_EVENT(&events, 1, DELETE, NULL);
  WAIT_UNTIL(hmkv_store(kv, events.key, "4") == HMKV_OK);
  finish(watcher, &events); /* it waits for a running callback */
}

static void delete_it(hmkv *elsewhere, const char *key) {
  CHECK_OK(hmkv_store(elsewhere, key, "2"));
  CHECK_OK(hmkv_delete(elsewhere, key));
  CHECK_OK(hmkv_store(elsewhere, text("%s2", key), "another"));
}

static void a_delete_is_delivered(void) {
  struct events events = EVENTS_OF(unique("key"));
  hmkv_watcher *watcher = NULL;
  watch(&events, 3, &watcher);
  CHECK_OK(hmkv_store(kv, events.key, "1"));
  events_wait(&events, 1);
  while_cut(delete_it, events.key);
  WAIT_UNTIL(events_count(&events) >= 2);
  CHECK_EVENT(&events, 1, DELETE, NULL);
  finish(watcher, &events);
}

static void change_others(hmkv *elsewhere, const char *key) {
  for (int i = 0; i < 9; i++) CHECK_OK(hmkv_store(elsewhere, text("%s2", key), "another"));
}

static void without_a_change_nothing_is_delivered(void) {
  struct events events = EVENTS_OF(unique("key"));
  hmkv_watcher *watcher = NULL;
  CHECK_OK(hmkv_store(kv, events.key, "0"));
  watch(&events, 3, &watcher);
  while_cut(change_others, events.key);
  WAIT_UNTIL(hmkv_store(kv, events.key, "1") == HMKV_OK);
  events_wait(&events, 1);
  CHECK_EVENT(&events, 0, PUT, "1");
  finish(watcher, &events);
}

static void create_it(hmkv *elsewhere, const char *key) {
  CHECK_OK(hmkv_store(elsewhere, key, "1"));
  CHECK_OK(hmkv_store(elsewhere, key, "2"));
}

static void a_key_created_meanwhile_is_delivered_as_put(void) {
  struct events events = EVENTS_OF(unique("key"));
  hmkv_watcher *watcher = NULL;
  watch(&events, 3, &watcher);
  while_cut(create_it, events.key);
  WAIT_UNTIL(events_count(&events) >= 1);
  WAIT_UNTIL(hmkv_store(kv, events.key, "3") == HMKV_OK);
  events_wait(&events, 2);
  CHECK_EVENT(&events, 0, PUT, "2");
  CHECK_EVENT(&events, 1, PUT, "3");
  finish(watcher, &events);
}

static void a_watch_for_puts_ends_silently_here_too(void) {
  struct events events = EVENTS_OF(unique("key")), witness = EVENTS_OF(events.key);
  hmkv_watcher *watcher = NULL, *other = NULL;
  CHECK_OK(hmkv_store(kv, events.key, "1"));
  watch(&events, PUT, &watcher);
  watch(&witness, 3, &other);
  while_cut(delete_and_create, events.key);
  WAIT_UNTIL(events_count(&witness) >= 1);
  CHECK_EVENT(&witness, 0, DELETE, NULL);
  WAIT_UNTIL(hmkv_store(kv, events.key, "4") == HMKV_OK);
  finish(other, &witness);
  CHECK_OK(hmkv_watch_cb_cancel(watcher));
  CHECK_INT(0, events.count);
}

/* ---- the store was replaced ---- */

/* The new one has these keys, in this order, when the watchers come. */
static void replace_store(const char *const keys[], size_t count) {
  server_wipe(&server);
  server_restart_elsewhere(&server);
  hmkv *elsewhere = open_at(server.endpoint, "timeout=20s");
  for (size_t i = 0; i < count; i++) CHECK_OK(hmkv_store(elsewhere, keys[i], "new"));
  close_store(elsewhere);
  server_kill(&server);
  server_restart(&server);
}

static void a_replaced_store_tells_its_keys_again(void) {
  struct events same = EVENTS_OF("same"), another = EVENTS_OF("another");
  hmkv_watcher *watchers[2];
  CHECK_OK(hmkv_store(kv, "same", "old"));
  CHECK_OK(hmkv_store(kv, "another", "old"));
  for (int i = 0; i < 9; i++) CHECK_OK(hmkv_store(kv, "other", "old"));
  watch(&same, 3, &watchers[0]);
  watch(&another, 3, &watchers[1]);
  /* "same" has the revisions that it had, and "another" has others. */
  replace_store((const char *const[]){"same", "other", "another"}, 3);
  WAIT_UNTIL(events_count(&same) >= 1 && events_count(&another) >= 1);
  CHECK_EVENT(&same, 0, PUT, "new");
  CHECK_EVENT(&another, 0, DELETE, NULL);
  CHECK_OK(hmkv_store(kv, "same", "and it goes on"));
  events_wait(&same, 2);
  CHECK_EVENT(&same, 1, PUT, "and it goes on");
  events_wait(&another, 1);
  finish(watchers[0], &same);
  finish(watchers[1], &another);
}

static const struct test tests[] = {
    ETCD_ONLY(the_final_state_alone_is_delivered),
    ETCD_ONLY(deleted_and_created_again_counts_as_deleted),
    ETCD_ONLY(a_delete_is_delivered),
    ETCD_ONLY(without_a_change_nothing_is_delivered),
    ETCD_ONLY(a_key_created_meanwhile_is_delivered_as_put),
    ETCD_ONLY(a_watch_for_puts_ends_silently_here_too),
    ETCD_ONLY(a_replaced_store_tells_its_keys_again),
};
TEST_MAIN(.begin = begin, .end = end)
