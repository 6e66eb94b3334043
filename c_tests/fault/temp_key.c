/* Temporary keys through outages shorter and longer than their leases, a paused server,
 * tokens that end, leaders killed, and the end of their holders. Several stores hold one
 * each, so that one fault, which takes its seconds, counts for each of them. */
#include "bench.h"

#include "auth.h"
#include "process.h"
#include "proxy.h"

#include <signal.h>

enum { TTL_MS = 5000, BACK_MS = TTL_MS / 3 + 2000, GONE_MS = TTL_MS + 1000 };
/* A new leader gives each lease its whole time: what is not renewed under it ends in this. */
enum { KILL_EVERY_MS = TTL_MS + 3000 };
enum { HOLDERS = 5, LONG_SECS = 600, ENOUGH = 30 };
/* The parts of the time, in percent, at whose ends the next part begins. */
enum { ON_ONE_SERVER = 36, WITH_TOKENS = 45, ON_A_CLUSTER = 100 };

static const char *const options = "temp_ttl=5s";
static struct server server;
static struct cluster cluster;
static hmkv *direct;

static struct holder {
  char key[24];
  struct proxy proxy;
  hmkv *kv;
  hmkv_watcher *watcher;
  atomic_int puts, deletes;         /* what another client sees of the key */
  int puts_before, deletes_before;
  int64_t at_ms, from_ms;
  bool done;
} holders[HOLDERS];

static struct {
  int short_outages, long_outages, pauses, ends, lives, kills;
  int absent, absent_then, absent_in_kills, dropped;
  int64_t back_ms, gone_ms;
} sum;

static void note(int64_t *worst, int64_t value) {
  if (value > *worst) *worst = value;
}

static bool goes_on(const struct bench *bench, int percent_of_it) {
  return bench_ms(bench) < bench->secs * 10 * percent_of_it;
}

/* ---- the holders ---- */

static void see(const hmkv_event *event, void *userdata) {
  struct holder *holder = userdata;
  if (event->type == HMKV_EVENT_PUT) atomic_fetch_add(&holder->puts, 1);
  if (event->type == HMKV_EVENT_DELETE) atomic_fetch_add(&holder->deletes, 1);
}

static void hold(struct holder *holder, hmkv *kv) {
  snprintf(holder->key, sizeof holder->key, "temp/%d", (int)(holder - holders));
  holder->kv = kv;
  atomic_store(&holder->puts, 0);
  atomic_store(&holder->deletes, 0);
  CHECK_OK(hmkv_watch_open(direct, holder->key, HMKV_NTS, NULL, see, holder, &holder->watcher));
  CHECK_OK(hmkv_temp_key(kv, holder->key));
  WAIT_UNTIL(atomic_load(&holder->puts) == 1);
}

static void mark(void) {
  for (struct holder *h = holders; h < holders + HOLDERS; h++) {
    h->puts_before = atomic_load(&h->puts);
    h->deletes_before = atomic_load(&h->deletes);
    h->done = false;
  }
}

static bool was_deleted(struct holder *h) { return atomic_load(&h->deletes) > h->deletes_before; }
static bool is_back(struct holder *h) { return atomic_load(&h->puts) > h->puts_before; }

static int deleted(void) {
  int count = 0;
  for (struct holder *h = holders; h < holders + HOLDERS; h++) count += was_deleted(h);
  return count;
}

static int done(void) {
  int count = 0;
  for (struct holder *h = holders; h < holders + HOLDERS; h++) count += h->done;
  return count;
}

static void all_are_there(void) {
  for (int i = 0; i < HOLDERS; i++) CHECK(has_key(direct, holders[i].key));
}

static void let_go(void) {
  for (struct holder *h = holders; h < holders + HOLDERS; h++) {
    CHECK_OK(hmkv_watch_close(h->watcher));
    close_store(h->kv);
  }
}

/* ---- one server, behind a proxy for each ---- */

static void cut_off_all(enum proxy_cut how) {
  for (struct holder *h = holders; h < holders + HOLDERS; h++) {
    proxy_refuse(&h->proxy, true);
    proxy_cut_all(&h->proxy, how);
  }
}

/* Each comes back at its own time. */
static void draw_times(struct bench *bench, int64_t least_ms, unsigned spread_ms) {
  for (struct holder *h = holders; h < holders + HOLDERS; h++) {
    h->at_ms = now_ms() + least_ms + bench_draw(bench, spread_ms);
    h->from_ms = 0;
  }
}

static bool lead_back(struct holder *h) {
  if (h->from_ms || now_ms() < h->at_ms) return false;
  proxy_refuse(&h->proxy, false);
  h->from_ms = now_ms();
  return true;
}

static void short_outages(struct bench *bench) {
  mark();
  cut_off_all(CUT_RESET);
  draw_times(bench, 500, 1500);
  for (int back = 0; back < HOLDERS; poll_pause())
    for (struct holder *h = holders; h < holders + HOLDERS; h++) back += lead_back(h);
  bench_sleep(TTL_MS); /* a lease that was not renewed ends in it */
  sum.absent += deleted();
  sum.short_outages += HOLDERS;
}

static void look_for_return(struct holder *h) {
  lead_back(h);
  if (!h->from_ms || h->done || !is_back(h)) return;
  note(&sum.back_ms, now_ms() - h->from_ms);
  h->done = true;
}

static void long_outages(struct bench *bench) {
  mark();
  cut_off_all(CUT_CLOSE);
  WAIT_UNTIL(deleted() == HOLDERS);
  draw_times(bench, 0, 2000);
  for (int64_t end = now_ms() + patience_ms(); done() < HOLDERS; poll_pause()) {
    if (now_ms() > end) FAIL("%d of %d keys do not come back", HOLDERS - done(), HOLDERS);
    for (struct holder *h = holders; h < holders + HOLDERS; h++) look_for_return(h);
  }
  sum.long_outages += HOLDERS;
}

static void look_for_loss(struct holder *h) {
  if (!h->from_ms && was_deleted(h)) h->from_ms = now_ms();
  if (!h->from_ms || h->done || !is_back(h)) return;
  note(&sum.back_ms, now_ms() - h->from_ms);
  h->done = true;
}

/* The server may drop leases when it goes on, and tell of it a moment later. */
static void hung_server(void) {
  mark();
  server_pause(&server);
  bench_sleep(TTL_MS + 3000);
  server_resume(&server);
  server_wait(&server);
  for (struct holder *h = holders; h < holders + HOLDERS; h++) h->from_ms = 0;
  int64_t begin = now_ms();
  for (; now_ms() < begin + TTL_MS && done() < HOLDERS; poll_pause())
    for (struct holder *h = holders; h < holders + HOLDERS; h++) look_for_loss(h);
  for (; done() < deleted(); poll_pause()) {
    if (now_ms() > begin + patience_ms()) FAIL("a key that the server dropped does not come back");
    for (struct holder *h = holders; h < holders + HOLDERS; h++) look_for_loss(h);
  }
  sum.dropped += deleted();
  sum.pauses += HOLDERS;
  all_are_there();
}

void temp_key_child(int argc, char **argv) {
  CHECK_INT(1, argc);
  hmkv *kv = open_store(options);
  CHECK_OK(hmkv_temp_key(kv, argv[0]));
  printf("ready\n");
  pause();
}

static const char *key_of_child(int i) {
  static char key[24];
  snprintf(key, sizeof key, "temp/child/%d", i);
  return key;
}

/* Each after a time of its own, so that leases end at all moments between renewals. */
static void killed_holders(struct bench *bench) {
  struct process children[HOLDERS];
  int64_t kill_ms[HOLDERS], killed_ms[HOLDERS] = {0};
  bool gone[HOLDERS] = {false};
  for (int i = 0; i < HOLDERS; i++) {
    char said[64];
    children[i] = start_child(KEEP_STDERR, server.endpoint, "temp-key", key_of_child(i), NULL);
    process_read(&children[i], said, sizeof said, "ready");
    CHECK(has_key(direct, key_of_child(i)));
  }
  for (int i = 0; i < HOLDERS; i++) kill_ms[i] = now_ms() + bench_draw(bench, 3000);
  int64_t end = now_ms() + patience_ms();
  for (int left = HOLDERS; left > 0; poll_pause()) {
    if (now_ms() > end) FAIL("%d keys survive their holders", left);
    for (int i = 0; i < HOLDERS; i++) {
      if (!killed_ms[i] && now_ms() >= kill_ms[i]) {
        CHECK(has_key(direct, key_of_child(i)));
        process_kill(&children[i], SIGKILL);
        killed_ms[i] = now_ms();
        process_wait(&children[i]);
      }
      if (!killed_ms[i] || gone[i] || has_key(direct, key_of_child(i))) continue;
      note(&sum.gone_ms, now_ms() - killed_ms[i]);
      gone[i] = true;
      left--;
    }
  }
  sum.ends += HOLDERS;
}

static void on_one_server(struct bench *bench) {
  server_start(&server, NULL);
  direct = open_at(server.endpoint, "timeout=20s");
  for (struct holder *h = holders; h < holders + HOLDERS; h++) {
    proxy_start(&h->proxy, server.client_port);
    hold(h, open_at(h->proxy.endpoint, options));
  }
  do {
    short_outages(bench);
    long_outages(bench);
    killed_holders(bench);
    hung_server();
  } while (goes_on(bench, ON_ONE_SERVER));
  let_go();
  bench_must(bench, count_keys(direct, "temp/") == 0, "a key survives the close");
  close_store(direct);
  for (int i = 0; i < HOLDERS; i++) proxy_stop(&holders[i].proxy);
  server_stop(&server);
}

/* ---- a server whose tokens end before a lease does ---- */

static void on_a_server_that_asks(struct bench *bench) {
  static const char user[] = "user=root password=rootpassword timeout=20s";
  auth_start(&server, bench_draw(bench, 2) ? JWT : SIMPLE_TOKENS);
  direct = open_at(server.endpoint, user);
  for (struct holder *h = holders; h < holders + HOLDERS; h++)
    hold(h, open_at(server.endpoint, text("%s %s", user, options)));
  mark();
  int lives = 0;
  for (; lives < 2 || goes_on(bench, WITH_TOKENS); lives++) bench_sleep(TOKEN_SECONDS * 1000);
  bench_sleep(TTL_MS); /* what was not renewed in the last one ends in it */
  all_are_there();
  sum.absent_then = deleted();
  sum.lives = lives * HOLDERS;
  let_go();
  close_store(direct);
  auth_stop(&server);
}

/* ---- three members ---- */

static void on_a_cluster(struct bench *bench) {
  cluster_start(&cluster);
  direct = open_at(cluster_endpoints(&cluster, 1), "timeout=20s");
  for (int i = 0; i < HOLDERS; i++)
    hold(&holders[i], open_at(cluster_endpoints(&cluster, i % MEMBERS), options));
  mark();
  while (sum.kills < 2 || goes_on(bench, ON_A_CLUSTER)) {
    int leader = cluster_leader(&cluster);
    int64_t next = now_ms() + KILL_EVERY_MS;
    server_kill(&cluster.members[leader]);
    bench_sleep(1000 + bench_draw(bench, 1000));
    server_restart(&cluster.members[leader]);
    bench_sleep(next - now_ms());
    sum.kills++;
  }
  all_are_there();
  sum.absent_in_kills = deleted();
  let_go();
  close_store(direct);
  cluster_stop(&cluster);
}

static void judge_counts(struct bench *bench) {
  const int counts[] = {sum.short_outages, sum.long_outages, sum.pauses, sum.ends, sum.lives,
                        sum.kills};
  bool enough = true;
  for (int i = 0; i < 6; i++) enough &= counts[i] >= ENOUGH;
  bench_figure(bench, "%d keys: %d outages shorter than the lease, %d longer, %d pauses of the "
               "server, %d ends of holders, %d lives of a token, and %d leader kills for all",
               HOLDERS, counts[0], counts[1], counts[2], counts[3], counts[4], counts[5]);
  bench_must(bench, enough || bench->secs < LONG_SECS, "too few of a kind");
}

void temp_key(void) {
  struct bench bench;
  bench_begin(&bench, 10);
  on_one_server(&bench);
  on_a_server_that_asks(&bench);
  on_a_cluster(&bench);
  bench_over(&bench);
  judge_counts(&bench);
  bench_figure(&bench, "absent in short outages %d times, in lives of a token %d, in leader kills "
               "%d; %d leases dropped by a hung server", sum.absent, sum.absent_then,
               sum.absent_in_kills, sum.dropped);
  bench_figure(&bench, "back after %" PRId64 " of %d ms", sum.back_ms, BACK_MS);
  bench_figure(&bench, "gone after its holder %" PRId64 " of %d ms", sum.gone_ms, GONE_MS);
  bench_must(&bench, sum.absent == 0, "absent in an outage shorter than the lease");
  bench_must(&bench, sum.absent_in_kills == 0, "absent when a leader is killed");
  bench_must(&bench, sum.absent_then == 0, "absent when a token ends");
  bench_must(&bench, sum.back_ms <= BACK_MS + bench.late_ms, "back too late");
  bench_must(&bench, sum.gone_ms <= GONE_MS + bench.late_ms, "gone too late");
  bench_end(&bench);
}
