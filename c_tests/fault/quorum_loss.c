/* Two of three members are away: nothing succeeds, every call ends in its time, nothing
 * false is claimed, and it goes on when they are back. */
#include "bench.h"

enum { THREADS = 16, AGAIN_MS = 3000, SHORT_MS = 2000, CALLS = 1000 };

static struct cluster cluster;
static struct workload load;

struct outage {
  int64_t down_us, up_us, ready_us; /* all are away; they may come; another client is answered */
};

static struct outage take_two_away(struct bench *bench) {
  struct outage outage = {0};
  int survivor = (int)bench_draw(bench, MEMBERS);
  for (int i = 1; i < MEMBERS; i++) server_kill(&cluster.members[(survivor + i) % MEMBERS]);
  outage.down_us = now_us();
  bench_sleep(bench->secs * 1000);
  outage.up_us = now_us();
  server_restart(&cluster.members[(survivor + 1) % MEMBERS]);
  outage.ready_us = now_us();
  server_restart(&cluster.members[(survivor + 2) % MEMBERS]);
  return outage;
}

static void wait_for_calls(void) {
  long before = atomic_load(&load.ended);
  WAIT_UNTIL(atomic_load(&load.ended) >= before + CALLS);
}

struct told {
  long reads, writes, reads_otherwise, writes_ok;
  int64_t first_ok_us; /* the first success after `up_us` */
};

static struct told told_in(const struct history *history, const struct outage *outage) {
  struct told told = {.first_ok_us = INT64_MAX};
  for (size_t i = 0; i < history->op_count; i++) {
    const struct op *op = &history->ops[i];
    if (op->status >= 0 && op->end_us > outage->up_us && op->end_us < told.first_ok_us)
      told.first_ok_us = op->end_us;
    if (op->begin_us < outage->down_us || op->end_us > outage->up_us) continue;
    told.reads += op->kind == OP_READ;
    told.writes += op->kind != OP_READ;
    told.reads_otherwise += op->kind == OP_READ && op->status != HMKV_EUNAVAIL;
    told.writes_ok += op->kind != OP_READ && op->status >= 0;
  }
  return told;
}

void quorum_loss(void) {
  struct bench bench;
  struct history history = {0};
  cluster_start(&cluster);
  hmkv *kv = open_at(cluster_endpoints(&cluster, 0), text("timeout=%dms", SHORT_MS));
  bench_begin(&bench, 8);
  workload_start(&load, kv, THREADS, bench.seed);
  wait_for_calls();
  struct outage outage = take_two_away(&bench);
  WAIT_UNTIL(atomic_load(&load.success_us) > outage.ready_us);
  wait_for_calls();
  workload_stop(&load, &history);
  int64_t end_us = now_us();
  bench_over(&bench);

  struct figures all = figures_of(&history, bench.begin_us, end_us);
  struct told told = told_in(&history, &outage);
  int64_t again_ms = (told.first_ok_us - outage.ready_us) / 1000;
  bench_figure(&bench, "away: %ld reads, %ld not EUNAVAIL; %ld writes, %ld ok", told.reads,
               told.reads_otherwise, told.writes, told.writes_ok);
  bench_figure(&bench, "longest call %" PRId64 " ms of %d", all.longest_us / 1000, SHORT_MS);
  bench_figure(&bench, "a success %" PRId64 " ms after the cluster's", again_ms);
  bench_must(&bench, told.reads > 0 && told.writes > 0, "no calls in the outage");
  bench_must(&bench, told.reads_otherwise == 0, "a read is not EUNAVAIL");
  bench_must(&bench, told.writes_ok == 0, "a write succeeds without a quorum");
  bench_must(&bench, all.longest_us / 1000 <= SHORT_MS + 100 + bench.late_ms, "a call is late");
  bench_must(&bench, again_ms <= AGAIN_MS + bench.late_ms, "it is too long until a success");
  bench_must(&bench, all.others == 0, "an unexpected status");
  close_store(kv);
  bench_check(&bench, &history, cluster.members[0].endpoint);
  cluster_stop(&cluster);
  bench_end(&bench);
}
