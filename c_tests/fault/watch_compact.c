/* A watch is cut off, what it misses is compacted, it comes back: one RESYNC brings the
 * difference, and who follows has what the store has. */
#include "bench.h"

#include "changes.h"
#include "process.h"
#include "proxy.h"
#include "recorder.h"

enum { KEYS_WATCHED = 200, CHANGES = 5000, IN_FLIGHT = 250, SILENCE_MS = 3000 };

static struct server server;
static struct proxy proxy;
static hmkv *direct;

static hmkv_op *one_change(struct bench *bench, int i) {
  char key[16], value[16];
  snprintf(key, sizeof key, "w/%03u", bench_draw(bench, KEYS_WATCHED));
  snprintf(value, sizeof value, "%d", i);
  if (bench_draw(bench, 4) == 0) return hmkv_remove(direct, key, HMKV_NTS, NULL);
  return hmkv_put(direct, key, HMKV_NTS, value, HMKV_NTS, NULL);
}

static void change_much(struct bench *bench) {
  for (int done = 0; done < CHANGES; done += IN_FLIGHT) {
    hmkv_op *ops[IN_FLIGHT];
    for (int i = 0; i < IN_FLIGHT; i++) ops[i] = one_change(bench, done + i);
    for (int i = 0; i < IN_FLIGHT; i++) change_done(ops[i]);
  }
}

/* From the moment it may come back until the resync. */
static int64_t one_round(struct bench *bench, struct recorder *recorder) {
  size_t before = recorder_count_of(recorder, HMKV_EVENT_RESYNC);
  proxy_refuse(&proxy, true);
  proxy_cut_all(&proxy, bench_draw(bench, 2) ? CUT_CLOSE : CUT_RESET);
  change_much(bench);
  etcdctl_at(server.endpoint, "compact", text("%" PRId64, newest_revision(direct)), NULL);
  proxy_refuse(&proxy, false);
  int64_t from = now_ms();
  WAIT_UNTIL(recorder_count_of(recorder, HMKV_EVENT_RESYNC) > before);
  int64_t took = now_ms() - from;
  /* The watch is there again: what comes now comes as a change. */
  const char *key = text("w/mark%d", (int)before);
  change_put(direct, key, "");
  WAIT_UNTIL(recorder_last_of(recorder, key).type == HMKV_EVENT_PUT);
  return took;
}

void watch_compact(void) {
  struct bench bench;
  static struct recorder recorder;
  hmkv_watcher *watcher = NULL;
  int done = 0;
  int64_t worst = 0;
  recorder = (struct recorder)RECORDER;
  server_start(&server, NULL);
  proxy_start(&proxy, server.client_port);
  hmkv *kv = open_at(proxy.endpoint, NULL);
  direct = open_at(server.endpoint, "timeout=30s");
  bench_begin(&bench, 15);
  CHECK_OK(hmkv_watch_open(kv, "w/", HMKV_NTS, HMKV_WATCH_OPTS(.prefix = 1, .snapshot = 1),
                           recorder_event, &recorder, &watcher));
  for (; bench_goes_on(&bench); done++) {
    int64_t took = one_round(&bench, &recorder);
    if (took > worst) worst = took;
  }
  bench_over(&bench);
  int resyncs = (int)recorder_count_of(&recorder, HMKV_EVENT_RESYNC);
  CHECK_OK(hmkv_watch_close(watcher));
  recorder_check_order(&recorder);
  recorder_check_view(&recorder, direct, "w/");
  bench_figure(&bench, "%d rounds of %d changes, %d resyncs, %zu events", done, CHANGES, resyncs,
               recorder_count(&recorder));
  bench_figure(&bench, "back after %" PRId64 " ms at most; the view is the store's", worst);
  bench_must(&bench, resyncs == done, "not one resync a round");
  bench_must(&bench, worst <= SILENCE_MS + bench.late_ms, "too long a silence");
  recorder_free(&recorder);
  close_store(kv);
  close_store(direct);
  proxy_stop(&proxy);
  server_stop(&server);
  bench_end(&bench);
}
