/* What the processes under the lock share: a file that all of them map. */
#ifndef LOCK_H
#define LOCK_H

#include "bench.h"

#define LOCK_NAME "fault/lock"
#define LOCK_COUNTER "counter/0"

enum { PROCESSES = 5, LOCK_TTL_MS = 3000, CLAIMS_MAX = 200000 };

/* A time in which one process held the lock, as the library told it. */
struct lock_claim {
  int process;
  int64_t token, begin_us, last_us; /* the first and last look that found it held */
};

struct lock_board {
  atomic_bool stop;
  atomic_int holding[PROCESSES]; /* 1: between acquire and release */
  atomic_int pauses[PROCESSES];  /* that are over */
  atomic_long counted, unknown, refused;
  atomic_int said_lost, said_held; /* after a pause under the lock */
  atomic_int claim_count;
  struct lock_claim claims[CLAIMS_MAX];
};

struct lock_board *lock_board_map(const char *path, bool create);
int lock_claim(struct lock_board *board, int process, int64_t token);
/* It was held at this time. */
void lock_claim_now(struct lock_board *board, int claim, int64_t at_us);

#endif
