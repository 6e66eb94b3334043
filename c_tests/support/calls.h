/* Threads that make calls through faults, each on keys of its own: every call is
 * recorded, every read judged, and in the end every acknowledged write looked for. */
#ifndef CALLS_H
#define CALLS_H

#include "test.h"

enum { CALLERS = 8, UNKNOWN_MAX = 4096, STATUSES = 32 };

struct call {
  int64_t begin_us;
  int64_t end_us;
  hmkv_status status;
};

/* A key that one thread alone writes, and what it may hold. */
struct written {
  const char *key;
  int last;                 /* the last value that was acknowledged or seen */
  int unknown[UNKNOWN_MAX]; /* values that it may hold instead, now or later */
  int unknowns;
  long acknowledged;
  long unacknowledged;
};

struct caller {
  struct callers *callers;
  pthread_t thread;
  unsigned seed;
  struct call *list; /* to be read when the thread has ended */
  size_t capacity;
  atomic_size_t count;
  struct written stored; /* whatever it holds: an unknown write may come late */
  struct written set;    /* tested and set: the next success settles the unknown ones */
  int next;              /* a value that was not used yet */
};

struct callers {
  hmkv *kv;
  atomic_bool stop;
  struct caller caller[CALLERS];
};

void callers_start(struct callers *callers, hmkv *kv, unsigned seed);
/* The calls that ended so far. */
size_t callers_calls(struct callers *callers);
void callers_stop(struct callers *callers);

/* ---- when they have stopped ---- */

/* Reads every key by `kv` and checks that no acknowledged write is missing and none
 * was applied twice. Prints the counts. */
void callers_verify(struct callers *callers, hmkv *kv);

/* What happened in a span of time. Calls count where they began.
 *
 * A stall is a time without a success of at least `stall_us`. Those with less than
 * `stall_us` between them are one: a few calls that come through end no stall. */
struct span {
  size_t calls;
  size_t by_status[STATUSES]; /* at -status; a positive answer counts as 0 */
  size_t late_calls, late_ok; /* of those that began `settle_us` after the begin */
  int stalls;
  int64_t stall_begin_us, stall_us; /* the longest stall, counted from the begin */
  int64_t gap_us;                   /* the longest time without a success */
  int64_t longest_us;               /* the longest call */
};

struct span callers_span(struct callers *callers, int64_t begin_us, int64_t end_us,
                         int64_t settle_us, int64_t stall_us);
/* The percentage of the late calls that succeeded. */
double span_share(const struct span *span);
void callers_free(struct callers *callers);

#endif
