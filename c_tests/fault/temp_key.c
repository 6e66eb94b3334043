/* A temporary key through outages shorter and longer than its lease, a paused server,
 * tokens that end, leaders killed, and the end of its holder. */
#include "bench.h"

#include "auth.h"
#include "process.h"
#include "proxy.h"

#include <signal.h>

enum { TTL_MS = 5000, BACK_MS = TTL_MS / 3 + 2000, GONE_MS = TTL_MS + 1000 };

static const char *const options = "temp_ttl=5s";
static struct server server;
static struct proxy proxy;
static struct cluster cluster;
static hmkv *direct;

/* What another client sees of the key. */
static struct {
  atomic_int puts, deletes;
} seen;

static void see(const hmkv_event *event, void *userdata) {
  (void)userdata;
  if (event->type == HMKV_EVENT_PUT) atomic_fetch_add(&seen.puts, 1);
  if (event->type == HMKV_EVENT_DELETE) atomic_fetch_add(&seen.deletes, 1);
}

struct worst {
  int rounds;
  int64_t back_ms, gone_ms;
  int absent, dropped;
};

static void note(int64_t *worst, int64_t value) {
  if (value > *worst) *worst = value;
}

/* ---- one server, behind a proxy ---- */

static void cut_off(int64_t ms) {
  proxy_refuse(&proxy, true);
  proxy_cut_all(&proxy, CUT_RESET);
  bench_sleep(ms);
  proxy_refuse(&proxy, false);
}

static void short_outage(struct bench *bench, struct worst *w) {
  int before = atomic_load(&seen.deletes);
  cut_off(500 + bench_draw(bench, 1500));
  bench_sleep(TTL_MS); /* a lease that was not renewed ends in it */
  w->absent += atomic_load(&seen.deletes) - before;
}

static void long_outage(struct bench *bench, struct worst *w) {
  int deletes = atomic_load(&seen.deletes), puts = atomic_load(&seen.puts);
  proxy_refuse(&proxy, true);
  proxy_cut_all(&proxy, CUT_CLOSE);
  WAIT_UNTIL(atomic_load(&seen.deletes) > deletes);
  bench_sleep(bench_draw(bench, 2000));
  proxy_refuse(&proxy, false);
  int64_t from = now_ms();
  WAIT_UNTIL(atomic_load(&seen.puts) > puts);
  note(&w->back_ms, now_ms() - from);
}

/* The server may drop the lease when it goes on, and tell of it a moment later. */
static void hung_server(struct worst *w) {
  int deletes = atomic_load(&seen.deletes), puts = atomic_load(&seen.puts);
  server_pause(&server);
  bench_sleep(TTL_MS + 3000);
  server_resume(&server);
  server_wait(&server);
  int64_t from = now_ms(), gone = 0;
  while (now_ms() < from + TTL_MS) {
    if (!gone && atomic_load(&seen.deletes) > deletes) gone = now_ms();
    if (gone && atomic_load(&seen.puts) > puts) break;
    poll_pause();
  }
  if (gone) WAIT_UNTIL(atomic_load(&seen.puts) > puts);
  if (gone) note(&w->back_ms, now_ms() - gone);
  w->dropped += gone != 0;
  CHECK(has_key(direct, "temp/key"));
}

void temp_key_child(int argc, char **argv) {
  CHECK_INT(1, argc);
  hmkv *kv = open_store(options);
  CHECK_OK(hmkv_temp_key(kv, argv[0]));
  printf("ready\n");
  pause();
}

static void killed_holder(struct bench *bench, struct worst *w) {
  char said[64];
  const char *key = "temp/child";
  struct process child =
      start_child(KEEP_STDERR, server.endpoint, "temp-key", key, NULL);
  process_read(&child, said, sizeof said, "ready");
  bench_sleep(bench_draw(bench, 3000));
  CHECK(has_key(direct, key));
  process_kill(&child, SIGKILL);
  int64_t from = now_ms();
  process_wait(&child);
  WAIT_UNTIL(!has_key(direct, key));
  note(&w->gone_ms, now_ms() - from);
}

static void on_one_server(struct bench *bench, struct worst *w) {
  hmkv_watcher *watcher = NULL;
  server_start(&server, NULL);
  proxy_start(&proxy, server.client_port);
  direct = open_at(server.endpoint, "timeout=20s");
  hmkv *kv = open_at(proxy.endpoint, options);
  CHECK_OK(hmkv_watch_open(direct, "temp/key", HMKV_NTS, NULL, see, NULL, &watcher));
  CHECK_OK(hmkv_temp_key(kv, "temp/key"));
  WAIT_UNTIL(atomic_load(&seen.puts) == 1);
  do {
    short_outage(bench, w);
    long_outage(bench, w);
    killed_holder(bench, w);
    hung_server(w);
    w->rounds++;
  } while (bench_goes_on(bench));
  CHECK_OK(hmkv_watch_close(watcher));
  close_store(kv);
  bench_must(bench, !has_key(direct, "temp/key"), "the key survives the close");
  close_store(direct);
  proxy_stop(&proxy);
  server_stop(&server);
}

/* ---- a server whose tokens end before a lease does ---- */

static int on_a_server_that_asks(struct bench *bench, int lives) {
  static const char user[] = "user=root password=rootpassword timeout=20s";
  hmkv_watcher *watcher = NULL;
  auth_start(&server, bench_draw(bench, 2) ? JWT : SIMPLE_TOKENS);
  hmkv *kv = open_at(server.endpoint, text("%s %s", user, options));
  hmkv *other = open_at(server.endpoint, user);
  CHECK_OK(hmkv_temp_key(kv, "temp/key"));
  CHECK_OK(hmkv_watch_open(other, "temp/key", HMKV_NTS, NULL, see, NULL, &watcher));
  int before = atomic_load(&seen.deletes);
  bench_sleep(TTL_MS + lives * TOKEN_SECONDS * 1000); /* each life of a token and one lease */
  CHECK(has_key(other, "temp/key"));
  int absent = atomic_load(&seen.deletes) - before;
  CHECK_OK(hmkv_watch_close(watcher));
  close_store(other);
  close_store(kv);
  auth_stop(&server);
  return absent;
}

/* ---- three members ---- */

static int on_a_cluster(struct bench *bench, int kills) {
  hmkv_watcher *watcher = NULL;
  cluster_start(&cluster);
  hmkv *kv = open_at(cluster_endpoints(&cluster, 0), options);
  hmkv *other = open_at(cluster_endpoints(&cluster, 1), "timeout=20s");
  CHECK_OK(hmkv_temp_key(kv, "temp/key"));
  CHECK_OK(hmkv_watch_open(other, "temp/key", HMKV_NTS, NULL, see, NULL, &watcher));
  int before = atomic_load(&seen.deletes);
  for (int i = 0; i < kills; i++) {
    int leader = cluster_leader(&cluster);
    server_kill(&cluster.members[leader]);
    bench_sleep(1000 + bench_draw(bench, 1000));
    server_restart(&cluster.members[leader]);
    bench_sleep(TTL_MS);
  }
  CHECK(has_key(other, "temp/key"));
  int absent = atomic_load(&seen.deletes) - before;
  CHECK_OK(hmkv_watch_close(watcher));
  close_store(other);
  close_store(kv);
  cluster_stop(&cluster);
  return absent;
}

void temp_key(void) {
  struct bench bench;
  struct worst worst = {0};
  bench_begin(&bench, 10);
  on_one_server(&bench, &worst);
  int lives = 2 * worst.rounds, absent_then = on_a_server_that_asks(&bench, lives);
  int kills = 2 * worst.rounds, absent = on_a_cluster(&bench, kills);
  bench_over(&bench);
  bench_figure(&bench, "%d rounds, %d leases dropped by a hung server, %d leader kills",
               worst.rounds, worst.dropped, kills);
  bench_figure(&bench, "absent in short outages %d times, in leader kills %d times, in %d lives of "
               "a token %d times", worst.absent, absent, lives, absent_then);
  bench_figure(&bench, "back after %" PRId64 " of %d ms", worst.back_ms, BACK_MS);
  bench_figure(&bench, "gone after its holder %" PRId64 " of %d ms", worst.gone_ms, GONE_MS);
  bench_must(&bench, worst.absent == 0, "absent in an outage shorter than the lease");
  bench_must(&bench, absent == 0, "absent when a leader is killed");
  bench_must(&bench, absent_then == 0, "absent when a token ends");
  bench_must(&bench, worst.back_ms <= BACK_MS + bench.late_ms, "back too late");
  bench_must(&bench, worst.gone_ms <= GONE_MS + bench.late_ms, "gone too late");
  bench_end(&bench);
}
