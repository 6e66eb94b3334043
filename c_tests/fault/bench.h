/* What the cases have in common: a cluster of three, a control thread, a seed, and a
 * verdict that ends as one line of a table. */
#ifndef BENCH_H
#define BENCH_H

#include "cluster.h"
#include "control.h"
#include "workload.h"

enum { TIMEOUT_MS = 5000 }; /* the library's default */

struct bench {
  unsigned seed;
  int64_t secs;
  int64_t begin_us;
  struct control control;
  int64_t late_ms; /* the worst oversleep, when bench_end() was called */
  char figures[1024], broken[1024];
};

/* Takes `--seed` and `--secs` from the command line. */
void bench_begin(struct bench *bench, int64_t secs);
/* The same for one of several parts of equal length, each with a seed of its own, by which
 * it can be repeated alone. */
void bench_begin_part(struct bench *bench, int64_t secs, int part, int parts);
unsigned bench_draw(struct bench *bench, unsigned below);
bool bench_goes_on(const struct bench *bench);
/* Milliseconds since the begin. */
int64_t bench_ms(const struct bench *bench);
/* Sleeps; for a schedule, never in place of a condition. */
void bench_sleep(int64_t ms);
/* Takes the oversleep, by which the bounds are to be widened. */
void bench_over(struct bench *bench);
void bench_figure(struct bench *bench, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* What must hold. */
void bench_must(struct bench *bench, bool holds, const char *what);
/* The checker on it, with its figures; reads the changes first. Frees it. */
void bench_check(struct bench *bench, struct history *history, const char *endpoint);
/* The same where the changes are in it already. */
void bench_check_read(struct bench *bench, struct history *history);
/* The line; fails when something did not hold. */
void bench_end(struct bench *bench);

/* The cases, each in a file of its name. */
void leader_kill(void);
void cut_answer(void);
void watch_restart(void);
void quorum_loss(void);
void watch_compact(void);
void lock_case(void);
void lock_child(int argc, char **argv);
void member_dead(void);
void temp_key(void);
void temp_key_child(int argc, char **argv);
void watch_chaos(void);
void watch_many(void);
void auth_case(void);
void idle(void);
void idle_child(int argc, char **argv);
void soak(void);
void soak_child(int argc, char **argv);

#endif
