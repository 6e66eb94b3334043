/* Watches behind proxies before three members, of which one is killed, paused or cut off
 * every few seconds: as in watch-restart, and gets on the same handle keep their time. */
#include "follow.h"

#include "changes.h"
#include "proxy.h"

enum { FOLLOWERS = 6, FAULTS_MAX = 2000 };
enum { HEALTHY_MS = 3000, FAULT_MS = 1500, QUIET_MS = 2000, SETTLE_MS = 1000 };

static struct cluster cluster;
static struct proxy proxies[MEMBERS];
static struct history gets; /* as reads, for their figures */
static atomic_bool stop;

static struct {
  int64_t begin_us, end_us;
} faults[FAULTS_MAX];
static int fault_count;

static void *get_on(void *arg) {
  while (!atomic_load(&stop)) {
    char *value = NULL;
    struct op op = {.kind = OP_READ, .begin_us = now_us()};
    op.status = hmkv_get(arg, "w/000005", &value);
    op.end_us = now_us();
    hmkv_free(value);
    history_add_op(&gets, op);
    bench_sleep(3);
  }
  return NULL;
}

/* ---- faults ---- */

static void kill_one(struct bench *bench, int i) {
  server_kill(&cluster.members[i]);
  bench_sleep(bench_draw(bench, FAULT_MS));
  server_restart(&cluster.members[i]);
}

static void pause_one(struct bench *bench, int i) {
  server_pause(&cluster.members[i]);
  bench_sleep(bench_draw(bench, FAULT_MS));
  server_resume(&cluster.members[i]);
}

static void cut_one(struct bench *bench, int i) {
  enum proxy_cut how = bench_draw(bench, 2) ? CUT_CLOSE : CUT_RESET;
  proxy_cut_after(&proxies[i], TO_CLIENT, bench_draw(bench, 20000), how);
  bench_sleep(FAULT_MS);
  proxy_cut_never(&proxies[i]);
}

static void cut_all(struct bench *bench, int i) {
  (void)i;
  enum proxy_cut how = bench_draw(bench, 2) ? CUT_CLOSE : CUT_RESET;
  for (int j = 0; j < MEMBERS; j++) proxy_cut_all(&proxies[j], how);
}

static void hold_one(struct bench *bench, int i) {
  proxy_hold(&proxies[i], TO_CLIENT, true);
  bench_sleep(bench_draw(bench, FAULT_MS));
  proxy_hold(&proxies[i], TO_CLIENT, false);
}

static void refuse_one(struct bench *bench, int i) {
  proxy_refuse(&proxies[i], true);
  proxy_cut_all(&proxies[i], CUT_RESET);
  bench_sleep(bench_draw(bench, FAULT_MS));
  proxy_refuse(&proxies[i], false);
}

static void one_fault(struct bench *bench) {
  static void (*const kinds[])(struct bench *, int) = {kill_one, pause_one, cut_one,
                                                       cut_all, hold_one, refuse_one};
  CHECK(fault_count < FAULTS_MAX);
  faults[fault_count].begin_us = now_us();
  kinds[bench_draw(bench, 6)](bench, (int)bench_draw(bench, MEMBERS));
  faults[fault_count++].end_us = now_us();
}

/* ---- the verdict ---- */

/* The gets of the quiet times between faults, as if nothing had been between them. */
static struct figures quiet_gets(void) {
  struct history quiet = {0};
  for (size_t i = 0; i < gets.op_count; i++) {
    const struct op *op = &gets.ops[i];
    for (int j = 0; j < fault_count; j++)
      if (op->begin_us > faults[j].end_us + SETTLE_MS * 1000 &&
          (j + 1 == fault_count || op->end_us < faults[j + 1].begin_us))
        if (op->begin_us < faults[j].end_us + QUIET_MS * 1000) history_add_op(&quiet, *op);
  }
  struct figures f = figures_of(&quiet, 0, INT64_MAX);
  history_free(&quiet);
  return f;
}

static void judge_gets(struct bench *bench, int64_t healthy_us) {
  struct figures all = figures_of(&gets, bench->begin_us, INT64_MAX);
  struct figures healthy = figures_of(&gets, bench->begin_us, healthy_us);
  struct figures quiet = quiet_gets();
  int64_t bound = 2 * healthy.p99_us / 1000 + 20 + bench->late_ms;
  bench_figure(bench, "gets: %ld, %ld ok, longest %" PRId64 " ms", all.reads, all.reads_ok,
               all.longest_us / 1000);
  bench_figure(bench, "p99 %.1f ms before, %.1f ms between the faults",
               (double)healthy.p99_us / 1000, (double)quiet.p99_us / 1000);
  bench_must(bench, quiet.reads > 100, "too few gets");
  bench_must(bench, all.longest_us / 1000 <= TIMEOUT_MS + 100 + bench->late_ms, "a get is late");
  bench_must(bench, quiet.p99_us / 1000 <= bound, "gets are slow between faults");
}

static void judge_watches(struct bench *bench, struct follower *followers, int64_t start) {
  struct history history = {0};
  struct mistakes all = {0};
  const char *endpoint = cluster.members[0].endpoint;
  history_read(&history, endpoint, "w/");
  for (int i = 0; i < FOLLOWERS; i++) {
    struct mistakes m = follower_finish(&followers[i], &history, start, endpoint);
    all.missing += m.missing, all.surplus += m.surplus, all.split += m.split;
    all.others += m.others, all.events += m.events, all.cuts += m.cuts;
  }
  bench_figure(bench, "%d faults, %zu changes, %ld events to %d watchers, %ld cuts seen",
               fault_count, history.change_count, all.events, FOLLOWERS, all.cuts);
  bench_figure(bench, "%ld lost, %ld doubled or out of order, %ld split", all.missing,
               all.surplus, all.split);
  bench_must(bench, all.missing + all.surplus == 0, "events are lost, doubled or out of order");
  bench_must(bench, all.split + all.others == 0, "a revision is split, a watch resynced or ended");
  bench_must(bench, history.change_count > 1000, "too few changes");
  history_free(&history);
}

void watch_chaos(void) {
  struct bench bench;
  static struct follower followers[FOLLOWERS];
  static struct writers writers;
  const struct follower kinds[FOLLOWERS] = {
      {.first = 5, .end = 6},
      {.first = 0, .end = 100, .queue_max = 16},
      {.first = 50, .end = 1000, .pulls = true},
      {.first = 0, .end = WATCHED},
      {.first = 0, .end = WATCHED, .pulls = true, .queue_max = 100},
      {.first = 0, .end = WATCHED, .slow = true},
  };
  cluster_start(&cluster);
  for (int i = 0; i < MEMBERS; i++) proxy_start(&proxies[i], cluster.members[i].client_port);
  hmkv *kv = open_at(text("%s,%s,%s", proxies[0].endpoint, proxies[1].endpoint,
                          proxies[2].endpoint), NULL);
  int64_t start = newest_revision(kv);
  for (int i = 0; i < FOLLOWERS; i++) {
    followers[i] = kinds[i];
    follower_start(&followers[i], kv);
  }
  writers = (struct writers){.endpoints = cluster_endpoints(&cluster, 0), .pause_ms = 10};
  bench_begin(&bench, 35);
  writers.seed = bench.seed;
  writers_start(&writers);
  pthread_t getter = start_thread(get_on, kv);
  bench_sleep(HEALTHY_MS);
  int64_t healthy_us = now_us();
  while (bench_goes_on(&bench)) {
    one_fault(&bench);
    bench_sleep(QUIET_MS);
  }
  cluster_wait(&cluster);
  writers_stop(&writers);
  atomic_store(&stop, true);
  join_thread(getter);
  bench_over(&bench);
  judge_watches(&bench, followers, start);
  judge_gets(&bench, healthy_us);
  history_free(&gets);
  close_store(kv);
  for (int i = 0; i < MEMBERS; i++) proxy_stop(&proxies[i]);
  cluster_stop(&cluster);
  bench_end(&bench);
}
