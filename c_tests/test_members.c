/* Option `sync`: members that were not given are found, and those that are gone are
 * forgotten. */
#include "cluster.h"
#include "events.h"
#include "process.h"
#include "proxy.h"
#include "test.h"

static struct cluster cluster;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char lines[200000];

static void note(int32_t level, const char *line, void *userdata) {
  (void)level, (void)userdata;
  pthread_mutex_lock(&lock);
  size_t used = strlen(lines);
  snprintf(lines + used, sizeof lines - used, "%s\n", line);
  pthread_mutex_unlock(&lock);
}

static int count_lines(const char *wanted) {
  pthread_mutex_lock(&lock);
  int count = 0;
  for (const char *at = lines; (at = strstr(at, wanted)); at++) count++;
  pthread_mutex_unlock(&lock);
  return count;
}

static int is_member(int member) {
  return count_lines(text("%s is a member\n", cluster.members[member].endpoint));
}
static int is_no_member(int member) {
  return count_lines(text("%s is no member any more\n", cluster.members[member].endpoint));
}

static void begin(void) {
  *lines = 0;
  hmkv_set_log(HMKV_LOG_DEBUG, note, NULL);
}
static void end(void) { hmkv_set_log(HMKV_LOG_OFF, NULL, NULL); }

static void begin_cluster(void) { cluster_start(&cluster); }

static hmkv *open_first(const char *options) {
  return open_at(cluster.members[0].endpoint, options);
}

static void members_that_were_not_given_are_found(void) {
  begin_cluster();
  const char *key = unique("key"), *lease_key = unique("temporary");
  hmkv *kv = open_first("sync=1s timeout=20s");
  WAIT_UNTIL(is_member(1) && is_member(2));
  struct events events = EVENTS_OF(key);
  hmkv_watcher *watcher = NULL;
  CHECK_OK(hmkv_watch_cb(kv, key, 3, events_record, &events, &watcher));
  CHECK_OK(hmkv_store(kv, key, "before"));
  CHECK_OK(hmkv_temp_key(kv, lease_key));
  events_wait(&events, 1);
  server_kill(&cluster.members[0]);
  CHECK_VALUE(kv, key, "before"); /* reads go to another member by themselves */
  CHECK_OK(hmkv_store(kv, key, "after"));
  events_wait(&events, 2);
  CHECK(has_key(kv, lease_key));
  CHECK_OK(hmkv_watch_cb_cancel(watcher));
  events_free(&events);
  close_store(kv);
  cluster_stop(&cluster);
}

static void without_sync_only_those_given_are_asked(void) {
  begin_cluster();
  hmkv *kv = open_first("timeout=1s");
  WAIT_UNTIL(hmkv_store(kv, unique("key"), "value") == HMKV_OK); /* the cluster is young */
  server_kill(&cluster.members[0]);
  char *value = NULL;
  CHECK_STATUS(HMKV_EUNAVAIL, hmkv_get(kv, "key", &value));
  CHECK_INT(0, is_member(1) + is_member(2));
  close_store(kv);
  cluster_stop(&cluster);
}

/* False while the cluster is too young for that. */
static bool remove_member(const char *endpoint, const char *id) {
  const char *const argv[] = {etcdctl_program(), "--endpoints", endpoint, "member", "remove", id, NULL};
  char output[4096];
  struct process process = process_start(argv, JOIN_STDERR);
  process_read(&process, output, sizeof output, NULL);
  int status = process_wait(&process);
  if (status != 0) CHECK(strstr(output, "unhealthy cluster"));
  return status == 0;
}

/* Nobody notices: what is asked of it meanwhile is answered. */
static void a_member_that_was_removed_is_forgotten(void) {
  begin_cluster();
  const char *key = unique("key"), *first = cluster.members[0].endpoint;
  const char *other = cluster.members[1].endpoint;
  hmkv *kv = open_first("sync=1s timeout=20s");
  WAIT_UNTIL(is_member(1) && is_member(2));
  char id[64] = "";
  const char *list = etcdctl_at(other, "member", "list", NULL);
  const char *line = strstr(list, first);
  CHECK(line);
  while (line > list && line[-1] != '\n') line--;
  CHECK(sscanf(line, "%63[0-9a-f]", id) == 1);
  CHECK_OK(hmkv_store(kv, key, "before"));
  WAIT_UNTIL(remove_member(other, id));
  for (int64_t late = now_ms() + patience_ms(); !is_no_member(0);) {
    CHECK(now_ms() < late);
    CHECK_VALUE(kv, key, "before");
  }
  server_kill(&cluster.members[0]);
  for (int i = 0; i < 200; i++) CHECK_OK(hmkv_store(kv, key, "after"));
  close_store(kv);
  cluster_stop(&cluster);
}

/* As where it is reached through a proxy or from another network. */
static void an_address_that_leads_nowhere_replaces_none(void) {
  struct server server;
  server_start(&server, text("--advertise-client-urls=http://127.0.0.1:%d", free_port()));
  hmkv *kv = open_at(server.endpoint, "sync=1s timeout=20s");
  WAIT_UNTIL(count_lines("no list of members") >= 3);
  for (int i = 0; i < 500; i++) CHECK_OK(hmkv_store(kv, unique("key"), "value"));
  CHECK_INT(0, count_lines("is a member") + count_lines("is no member"));
  close_store(kv);
  server_stop(&server);
}

static void closing_ends_it(void) {
  struct server server;
  server_start(&server, NULL);
  for (int i = 0; i < 20; i++) {
    hmkv *kv = open_at(server.endpoint, "sync=1s");
    if (i % 2) CHECK_OK(hmkv_store(kv, "key", "value"));
    close_store(kv);
  }
  WAIT_UNTIL(count_threads("hmkv-") == 0); /* the kernel drops a joined one a moment later */
  server_stop(&server);
}

static atomic_int caller;

static void *store_until_closed(void *kv) {
  atomic_store(&caller, thread_id());
  CHECK_STATUS(HMKV_EINDETERMINATE, hmkv_store(kv, "key", "value"));
  return NULL;
}

/* The list names another way to the same server, which is not there at first. */
static void a_call_to_a_member_that_was_dropped_ends_with_the_close(void) {
  struct server server;
  struct proxy given, listed;
  proxy_start(&listed, 0);
  proxy_refuse(&listed, true);
  server_start(&server, text("--advertise-client-urls=%s", listed.endpoint));
  proxy_lead_to(&listed, server.client_port);
  proxy_start(&given, server.client_port);
  hmkv *kv = open_at(given.endpoint, "sync=1s timeout=60s");
  WAIT_UNTIL(count_lines("no list of members")); /* by a connection of its own */
  CHECK_OK(hmkv_store(kv, "key", "value"));
  proxy_hold_last(&given);
  pthread_t thread = start_thread(store_until_closed, kv);
  WAIT_UNTIL(atomic_load(&caller));
  wait_until_blocked(atomic_load(&caller));
  proxy_refuse(&listed, false);
  const char *dropped = text("%s is no member any more\n", given.endpoint);
  WAIT_UNTIL(count_lines(dropped) == 3); /* requests, leases, watches */
  CHECK_INT(0, pthread_tryjoin_np(thread, NULL) == 0);
  close_store(kv);
  join_thread(thread);
  proxy_stop(&given);
  proxy_stop(&listed);
  server_stop(&server);
}

static const struct test tests[] = {
    ETCD_ONLY(members_that_were_not_given_are_found),
    ETCD_ONLY(without_sync_only_those_given_are_asked),
    ETCD_ONLY(a_member_that_was_removed_is_forgotten),
    ETCD_ONLY(an_address_that_leads_nowhere_replaces_none),
    ETCD_ONLY(closing_ends_it),
    ETCD_ONLY(a_call_to_a_member_that_was_dropped_ends_with_the_close),
};
TEST_MAIN(.begin = begin, .end = end)
