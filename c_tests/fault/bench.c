#include "bench.h"

#include <stdarg.h>
#include <time.h>

void bench_begin(struct bench *bench, int64_t secs) { bench_begin_part(bench, secs, 0, 1); }

void bench_begin_part(struct bench *bench, int64_t secs, int part, int parts) {
  memset(bench, 0, sizeof *bench);
  bench->seed = (unsigned)test_number("--seed", now_ms()) + (unsigned)part;
  bench->secs = test_number("--secs", secs) / parts;
  bench->begin_us = now_us();
  printf(" --seed %u --secs %" PRId64, bench->seed, bench->secs);
  fflush(stdout);
  bench_figure(bench, "seed %u, %" PRId64 " s", bench->seed, bench->secs);
  control_start(&bench->control);
}

unsigned bench_draw(struct bench *bench, unsigned below) {
  return (unsigned)rand_r(&bench->seed) % below;
}

int64_t bench_ms(const struct bench *bench) { return (now_us() - bench->begin_us) / 1000; }

bool bench_goes_on(const struct bench *bench) { return bench_ms(bench) < bench->secs * 1000; }

void bench_sleep(int64_t ms) {
  struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
  if (ms > 0) nanosleep(&pause, NULL);
}

void bench_over(struct bench *bench) {
  bench->late_ms = control_take_ms(&bench->control);
  control_stop(&bench->control);
}

static void append(char *to, size_t size, const char *between, const char *text) {
  size_t length = strlen(to);
  snprintf(to + length, size - length, "%s%s", length ? between : "", text);
}

void bench_figure(struct bench *bench, const char *format, ...) {
  char figure[512];
  va_list list;
  va_start(list, format);
  vsnprintf(figure, sizeof figure, format, list);
  va_end(list);
  append(bench->figures, sizeof bench->figures, " | ", figure);
}

void bench_must(struct bench *bench, bool holds, const char *what) {
  if (!holds) append(bench->broken, sizeof bench->broken, "; ", what);
}

void bench_check(struct bench *bench, struct history *history, const char *endpoint) {
  history_read(history, endpoint, "k/");
  bench_check_read(bench, history);
}

void bench_check_read(struct bench *bench, struct history *history) {
  struct findings found = check(history, stdout);
  bench_figure(bench, "%zu calls, %zu changes: %ld violations; %ld unknown writes, %ld applied",
               history->op_count, history->change_count, findings_total(&found), found.unknown,
               found.unknown_applied);
  struct orders orders = find_orders(history, stdout);
  bench_figure(bench, "without revisions %ld of %d keys have no order, %ld are undecided after "
               "%ld steps", orders.none, KEYS, orders.undecided, orders.steps);
  bench_must(bench, findings_total(&found) == 0, "the history is wrong");
  bench_must(bench, orders.none == 0, "there is no order of the calls");
  bench_must(bench, found.writes > 100, "too few writes");
  history_free(history);
}

void bench_end(struct bench *bench) {
  printf("\n  | %s | oversleep %" PRId64 " ms | %s |\n ", bench->figures, bench->late_ms,
         bench->broken[0] ? bench->broken : "ok");
  if (bench->broken[0]) FAIL("%s", bench->broken);
}
