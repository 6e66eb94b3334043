/* The leader is killed again and again under a load that is checked as a whole; in the
 * long form with several seeds, each on a cluster of its own. */
#include "bench.h"

enum { THREADS = 24, EVERY_MS = 6000, AWAY_MS = 2000, GAP_MS = 3500, KILLS_MAX = 1000 };
enum { SHORT_SECS = 24, LONG_SECS = 100, SEEDS = 5 };

static struct cluster cluster;
static struct workload load;

struct event {
  int64_t kill_us, ready_us; /* another client was answered by the others */
};

static bool others_answer(int victim) {
  return server_answers(&cluster.members[(victim + 1) % MEMBERS]) ||
         server_answers(&cluster.members[(victim + 2) % MEMBERS]);
}

static struct event kill_the_leader(void) {
  struct event event = {0};
  int leader = cluster_leader(&cluster);
  event.kill_us = now_us();
  server_kill(&cluster.members[leader]);
  WAIT_UNTIL(others_answer(leader));
  event.ready_us = now_us();
  bench_sleep(AWAY_MS - (event.ready_us - event.kill_us) / 1000);
  server_restart(&cluster.members[leader]);
  return event;
}

/* The longest time without a success after a kill, less what the cluster itself took
 * beyond what is usual. */
static int64_t worst_gap_ms(const struct history *history, int64_t end_us,
                            const struct event *events, int count, int64_t *ready_ms) {
  int64_t worst = 0;
  for (int i = 0; i < count; i++) {
    int64_t end = i + 1 < count ? events[i + 1].kill_us : end_us;
    int64_t gap = figures_of(history, events[i].kill_us, end).gap_us / 1000;
    int64_t ready = (events[i].ready_us - events[i].kill_us) / 1000;
    if (ready > *ready_ms) *ready_ms = ready;
    if (ready > GAP_MS - 1000) gap -= ready - (GAP_MS - 1000);
    if (gap > worst) worst = gap;
  }
  return worst;
}

static void with_a_seed(int part, int parts) {
  struct bench bench;
  struct history history = {0};
  static struct event events[KILLS_MAX];
  int kills = 0;
  int64_t ready_ms = 0;
  cluster_start(&cluster);
  /* What one member does not know yet, another was told to have happened. */
  hmkv *kv = open_at(cluster_endpoints(&cluster, 0), NULL);
  for (int i = 1; i < MEMBERS; i++)
    load.others[i - 1] = open_at(cluster_endpoints(&cluster, i), NULL);
  bench_begin_part(&bench, SHORT_SECS, part, parts);
  workload_start(&load, kv, THREADS, bench.seed);
  while (bench_goes_on(&bench) && kills < KILLS_MAX) {
    int64_t next = bench_ms(&bench) + EVERY_MS - 500 + bench_draw(&bench, 1000);
    events[kills++] = kill_the_leader();
    bench_sleep(next - bench_ms(&bench));
  }
  workload_stop(&load, &history);
  int64_t end_us = now_us();
  bench_over(&bench);
  cluster_wait(&cluster);

  struct figures all = figures_of(&history, bench.begin_us, end_us);
  int64_t gap_ms = worst_gap_ms(&history, end_us, events, kills, &ready_ms);
  bench_figure(&bench, "%d kills", kills);
  bench_figure(&bench, "reads %ld, %.3f %% ok", all.reads, percent(all.reads_ok, all.reads));
  bench_figure(&bench, "writes %ld, %.2f %% ok, %ld unknown, %ld unavailable", all.writes,
               percent(all.writes_ok, all.writes), all.unknown, all.unavailable);
  bench_figure(&bench, "gap %" PRId64 " ms (cluster %" PRId64 " ms), longest call %" PRId64 " ms",
               all.gap_us / 1000, ready_ms, all.longest_us / 1000);
  bench_must(&bench, percent(all.reads_ok, all.reads) >= 99.9, "too few reads succeed");
  bench_must(&bench, gap_ms <= GAP_MS + bench.late_ms, "too long without a success");
  bench_must(&bench, all.longest_us / 1000 <= TIMEOUT_MS + 100 + bench.late_ms, "a call is late");
  bench_must(&bench, all.others == 0, "an unexpected status");
  close_store(kv);
  for (int i = 1; i < MEMBERS; i++) close_store(load.others[i - 1]);
  bench_check(&bench, &history, cluster.members[0].endpoint);
  cluster_stop(&cluster);
  bench_end(&bench);
}

void leader_kill(void) {
  int parts = test_number("--secs", SHORT_SECS) >= LONG_SECS ? SEEDS : 1;
  for (int part = 0; part < parts; part++) with_a_seed(part, parts);
}
