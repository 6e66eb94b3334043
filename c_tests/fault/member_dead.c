/* One follower is away for long, then each member hangs in turn: one short stall each,
 * and all goes on as before. */
#include "bench.h"

enum { THREADS = 16, CALLS = 1000, SPANS_MAX = 200 };
enum { HEALTHY_MS = 3000, SETTLE_MS = 3000, QUIET_MS = 1000 };
/* The long form is three minutes, of which one is the follower's. */
enum { LONG_SECS = 180, PAUSE_MS = 6000, LONG_PAUSE_MS = 8000, LONG_PAUSES = 12 };

static struct cluster cluster;
static struct workload load;

struct span {
  const char *name;
  bool of_leader;
  int64_t begin_us, ready_us, end_us; /* it goes; another client is answered; it comes back */
};

static struct span spans[SPANS_MAX];
static int span_count;

static void wait_for_the_others(struct span *span, int victim) {
  WAIT_UNTIL(server_answers(&cluster.members[(victim + 1) % MEMBERS]) ||
             server_answers(&cluster.members[(victim + 2) % MEMBERS]));
  span->ready_us = now_us();
}

static struct span *begin_span(const char *name, int victim) {
  CHECK(span_count < SPANS_MAX);
  struct span *span = &spans[span_count++];
  *span = (struct span){.name = name, .of_leader = cluster_leader(&cluster) == victim};
  span->begin_us = now_us();
  return span;
}

/* All members serve, and so does the library; then a time without a fault, as between
 * any two. */
static void all_goes_on(void) {
  cluster_wait(&cluster);
  long before = atomic_load(&load.ended);
  WAIT_UNTIL(atomic_load(&load.ended) >= before + CALLS);
  bench_sleep(QUIET_MS);
}

static void kill_a_follower(int64_t ms) {
  int victim = (cluster_leader(&cluster) + 1) % MEMBERS;
  struct span *span = begin_span("killed", victim);
  server_kill(&cluster.members[victim]);
  wait_for_the_others(span, victim);
  bench_sleep(ms);
  span->end_us = now_us();
  server_restart(&cluster.members[victim]);
  all_goes_on();
}

/* etcd 3.4 now and then serves no reads after a long pause, for as long as one waits. */
static void wake(struct server *member) {
  server_resume(member);
  for (int64_t end = now_ms() + 15000; now_ms() < end; poll_pause())
    if (server_answers(member)) return;
  printf("\n  the member serves no reads 15 s after its pause: it is started again");
  server_kill(member);
  server_restart(member);
}

static void pause_a_member(int victim, int64_t ms) {
  struct span *span = begin_span("paused", victim);
  server_pause(&cluster.members[victim]);
  wait_for_the_others(span, victim);
  bench_sleep(ms - (now_us() - span->begin_us) / 1000);
  span->end_us = now_us();
  wake(&cluster.members[victim]);
  all_goes_on();
}

/* Without a leader nothing can succeed; what that takes beyond the usual is not judged. */
static void judge(struct bench *bench, const struct history *history, const struct span *span,
                  const struct figures *healthy) {
  int64_t usual = span->of_leader ? 2500 : 1000, late = bench->late_ms;
  int64_t cluster_ms = (span->ready_us - span->begin_us) / 1000;
  int64_t excused = cluster_ms > usual ? cluster_ms - usual : 0;
  struct figures whole = figures_of(history, span->begin_us, span->end_us);
  struct figures then =
      figures_of(history, span->begin_us + (SETTLE_MS + excused) * 1000, span->end_us);
  long calls = then.reads + then.writes, ok = then.reads_ok + then.writes_ok;
  int64_t stall = whole.gap_us / 1000, p99 = 5 * healthy->p99_us / 1000 + 20;
  printf("\n  %s%s: stall %" PRId64 " ms (cluster %" PRId64 "), then %.2f %% of %ld ok, p99 %.1f ms",
         span->name, span->of_leader ? " leader" : "", stall, cluster_ms, percent(ok, calls),
         calls, (double)then.p99_us / 1000);
  bench_must(bench, calls > 100, "too few calls");
  bench_must(bench, stall <= (span->of_leader ? 3500 : 2500) + excused + late, "a long stall");
  bench_must(bench, percent(ok, calls) >= 99.9, "too few calls succeed");
  bench_must(bench, then.p99_us / 1000 <= p99 + late, "calls are slow");
}

static void judge_all(struct bench *bench, const struct history *history, int64_t end_us) {
  struct figures all = figures_of(history, bench->begin_us, end_us);
  struct figures healthy =
      figures_of(history, bench->begin_us, bench->begin_us + HEALTHY_MS * 1000);
  int64_t worst = 0;
  for (int i = 0; i < span_count; i++) {
    judge(bench, history, &spans[i], &healthy);
    int64_t gap = figures_of(history, spans[i].begin_us, spans[i].end_us).gap_us / 1000;
    if (gap > worst) worst = gap;
  }
  bench_figure(bench, "1 kill, %d pauses", span_count - 1);
  bench_figure(bench, "%ld unknown, %ld unavailable, stall %" PRId64 " ms at most", all.unknown,
               all.unavailable, worst);
  bench_figure(bench, "p99 %.1f ms when healthy, longest call %" PRId64 " ms",
               (double)healthy.p99_us / 1000, all.longest_us / 1000);
  bench_must(bench, all.longest_us / 1000 <= TIMEOUT_MS + 100 + bench->late_ms, "a call is late");
  bench_must(bench, all.others == 0, "an unexpected status");
}

void member_dead(void) {
  struct bench bench;
  struct history history = {0};
  span_count = 0;
  cluster_start(&cluster);
  hmkv *kv = open_at(cluster_endpoints(&cluster, 0), NULL);
  CHECK_OK(hmkv_store(kv, "connected", ""));
  bench_begin(&bench, 30);
  workload_start(&load, kv, THREADS, bench.seed);
  bench_sleep(HEALTHY_MS);
  kill_a_follower(bench.secs * 1000 / 3);
  int first = (int)bench_draw(&bench, MEMBERS);
  bool is_long = bench.secs >= LONG_SECS;
  int least = is_long ? LONG_PAUSES : MEMBERS;
  for (int i = 0; i < least || bench_goes_on(&bench); i++)
    pause_a_member((first + i) % MEMBERS, is_long ? LONG_PAUSE_MS : PAUSE_MS);
  workload_stop(&load, &history);
  int64_t end_us = now_us();
  bench_over(&bench);
  judge_all(&bench, &history, end_us);
  close_store(kv);
  bench_check(&bench, &history, cluster.members[0].endpoint);
  cluster_stop(&cluster);
  bench_end(&bench);
}
