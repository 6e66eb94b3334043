/* A proxy passes requests and drops the answers: what was sent is unknown, applied once or
 * not at all, and never sent again. What meets a closed port was surely not applied. */
#include "bench.h"

#include "proxy.h"

enum { BATCH = 50, ROUNDS = 40, RANDOM_ROUNDS = 20, REFUSED = 2000 };

static struct server server;
static struct proxy proxy;
static hmkv *kv, *direct;
static struct history history;
static int64_t values;

struct flight {
  struct op op;
  hmkv_op *request;
};

static void submit(struct flight *flight, struct bench *bench, bool only_puts, int64_t timeout) {
  struct op *op = &flight->op;
  const char *key = key_name((int)bench_draw(bench, KEYS));
  *op = (struct op){.kind = only_puts || bench_draw(bench, 2) ? OP_PUT : OP_DELETE,
                    .key = atoi(key + 2), .value = ++values, .answer = NOT_TOLD};
  op->begin_us = now_us();
  if (op->kind == OP_PUT) {
    flight->request = hmkv_put(kv, key, HMKV_NTS, text("%" PRId64, op->value), HMKV_NTS,
                               HMKV_PUT_OPTS(.timeout_ms = timeout));
  } else {
    flight->request = hmkv_remove(kv, key, HMKV_NTS, HMKV_REMOVE_OPTS(.timeout_ms = timeout));
  }
}

static hmkv_status await(struct flight *flight) {
  hmkv_result *result = hmkv_await(flight->request);
  struct op *op = &flight->op;
  op->status = hmkv_result_status(result);
  op->revision = op->status >= 0 ? hmkv_result_revision(result) : 0;
  if (op->kind == OP_DELETE && op->status == HMKV_OK && !hmkv_result_total(result))
    op->status = HMKV_NOT_FOUND;
  op->end_us = now_us();
  hmkv_result_free(result);
  history_add_op(&history, *op);
  return op->status;
}

static int64_t revision(hmkv *store) {
  hmkv_result *result = hmkv_await(hmkv_ping(store));
  int64_t revision = hmkv_result_status(result) == HMKV_OK ? hmkv_result_revision(result) : 0;
  hmkv_result_free(result);
  return revision;
}

static bool is_away(void) {
  hmkv_result *result =
      hmkv_await(hmkv_range(kv, "k/0", HMKV_NTS, HMKV_RANGE_OPTS(.timeout_ms = 100)));
  bool away = hmkv_result_status(result) == HMKV_EUNAVAIL;
  hmkv_result_free(result);
  return away;
}

/* Submits a batch whose answers wait in the proxy, cuts, and counts what it is told. */
static void cut_a_batch(struct bench *bench, bool when_applied, long by_status[32]) {
  static struct flight flights[BATCH];
  int64_t before = 0;
  WAIT_UNTIL((before = revision(kv)) > 0); /* connected */
  proxy_hold(&proxy, TO_CLIENT, true);
  for (int i = 0; i < BATCH; i++) submit(&flights[i], bench, when_applied, 0);
  if (when_applied) {
    WAIT_UNTIL(revision(direct) >= before + BATCH);
  } else {
    bench_sleep(bench_draw(bench, 4));
  }
  proxy_cut_all(&proxy, bench_draw(bench, 2) ? CUT_CLOSE : CUT_RESET);
  proxy_hold(&proxy, TO_CLIENT, false);
  for (int i = 0; i < BATCH; i++) {
    hmkv_status status = await(&flights[i]);
    by_status[status < 0 ? -status : 0]++;
  }
}

static void meet_a_closed_port(struct bench *bench, long by_status[32]) {
  static struct flight flights[REFUSED];
  proxy_refuse(&proxy, true);
  proxy_cut_all(&proxy, CUT_CLOSE);
  WAIT_UNTIL(is_away()); /* before that a write could still meet the old connection */
  for (int i = 0; i < REFUSED; i++) submit(&flights[i], bench, false, 1000);
  for (int i = 0; i < REFUSED; i++) {
    hmkv_status status = await(&flights[i]);
    by_status[status < 0 ? -status : 0]++;
  }
}

void cut_answer(void) {
  struct bench bench;
  long sent[32] = {0}, cut[32] = {0}, refused[32] = {0};
  values = 0;
  server_start(&server, NULL);
  proxy_start(&proxy, server.client_port);
  kv = open_at(proxy.endpoint, NULL);
  direct = open_at(server.endpoint, NULL);
  bench_begin(&bench, 0); /* as long as it takes */
  for (int i = 0; i < ROUNDS; i++) cut_a_batch(&bench, true, sent);
  for (int i = 0; i < RANDOM_ROUNDS; i++) cut_a_batch(&bench, false, cut);
  WAIT_UNTIL(revision(kv) > 0);
  meet_a_closed_port(&bench, refused);
  bench_over(&bench);
  long unknown = sent[-HMKV_EINDETERMINATE], unavailable = refused[-HMKV_EUNAVAIL];
  bench_figure(&bench, "answers dropped: %ld of %d unknown", unknown, ROUNDS * BATCH);
  bench_figure(&bench, "cut at any time: %ld unknown, %ld unavailable, %ld ok",
               cut[-HMKV_EINDETERMINATE], cut[-HMKV_EUNAVAIL], cut[0]);
  bench_figure(&bench, "closed port: %ld of %d unavailable", unavailable, REFUSED);
  bench_must(&bench, unknown == ROUNDS * BATCH, "a write without answer is not unknown");
  bench_must(&bench, percent(unavailable, REFUSED) >= 99, "a closed port is not unavailable");
  close_store(kv);
  close_store(direct);
  proxy_stop(&proxy);
  bench_check(&bench, &history, server.endpoint);
  server_stop(&server);
  bench_end(&bench);
}
