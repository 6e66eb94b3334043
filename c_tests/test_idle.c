/* A store of which nothing is asked: its connections stay, though the server asks
 * them whether they are alive, and ends those that ask it too often. */
#include "events.h"
#include "server.h"
#include "test.h"

static atomic_int ended;

static void count_ends(int32_t level, const char *line, void *userdata) {
  (void)level;
  (void)userdata;
  if (strstr(line, "ended")) atomic_fetch_add(&ended, 1);
}

static void idle_connections_stay(void) {
  struct server server;
  CHECK_INT(0, setenv("ETCD_GRPC_KEEPALIVE_INTERVAL", "2s", 1));
  CHECK_INT(0, setenv("ETCD_GRPC_KEEPALIVE_TIMEOUT", "1s", 1));
  server_start(&server, NULL);
  hmkv_set_log(HMKV_LOG_DEBUG, count_ends, NULL);
  hmkv *kv = open_at(server.endpoint, "timeout=20s keepalive=6s temp_ttl=60s");
  const char *key = unique("key");
  struct events events = EVENTS_OF(key);
  hmkv_watcher *watcher = NULL;
  CHECK_OK(hmkv_store(kv, key, "1"));
  CHECK_OK(hmkv_temp_key(kv, unique("temp")));
  CHECK_OK(hmkv_watch_cb(kv, key, HMKV_KEYCHANGE_PUT, events_record, &events, &watcher));
  atomic_store(&ended, 0);
  HOLDS_FOR(rounds(30000, 8000), atomic_load(&ended) == 0);
  CHECK_OK(hmkv_store(kv, key, "2"));
  events_wait(&events, 1);
  CHECK_INT(0, atomic_load(&ended));
  CHECK_OK(hmkv_watch_cb_cancel(watcher));
  events_free(&events);
  close_store(kv);
  hmkv_set_log(HMKV_LOG_OFF, NULL, NULL);
  server_stop(&server);
}

static const struct test tests[] = {ETCD_ONLY(idle_connections_stay)};
TEST_MAIN()
