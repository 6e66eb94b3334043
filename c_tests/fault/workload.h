/* Threads that read and write the same few keys through faults and record every call,
 * for the checker and for the figures. */
#ifndef WORKLOAD_H
#define WORKLOAD_H

#include "cluster.h"
#include "history.h"

enum { WORKERS_MAX = 32 };

struct workload;

struct worker {
  struct workload *load;
  pthread_t thread;
  int number;
  unsigned seed;
  int64_t next; /* counts its values */
  struct history calls;
};

struct workload {
  FILE *record; /* calls go there in place of a history; NULL: nowhere */
  int pause_ms; /* after each call; 0: a short one */
  hmkv *others[MEMBERS - 1]; /* for as large a share of the workers as `kv`; NULL: none */
  hmkv *kv;
  int count;
  atomic_bool stop;
  atomic_long ended;          /* calls */
  atomic_llong success_us;    /* when the last one succeeded */
  atomic_llong seen[KEYS];    /* what someone saw there last: a guess for comparing */
  struct worker workers[WORKERS_MAX];
};

/* All but `record`, `pause_ms` and `others` is begun anew. */
void workload_start(struct workload *load, hmkv *kv, int count, unsigned seed);
/* Ends the threads and moves their calls to `history`. */
void workload_stop(struct workload *load, struct history *history);

/* What the calls that began in a span of time were. */
struct figures {
  long reads, reads_ok, writes, writes_ok, unavailable, unknown, others;
  int64_t gap_us, gap_at_us; /* the longest time without a success, from the begin on */
  int64_t longest_us, p99_us;
};

struct figures figures_of(const struct history *history, int64_t begin_us, int64_t end_us);
double percent(long part, long whole);

#endif
