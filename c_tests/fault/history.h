/* What clients did and were answered, and what the store says happened: the two
 * halves that check() holds against each other. Keys are small numbers, values are
 * numbers that nobody else ever writes. */
#ifndef HISTORY_H
#define HISTORY_H

#include "test.h"

enum { KEYS = 10, ABSENT = -1, NOT_TOLD = -2 };

enum op_kind {
  OP_READ,
  OP_PUT,
  OP_DELETE, /* HMKV_NOT_FOUND: there was nothing to delete */
  OP_TAS,    /* HMKV_COMPARE_FAILED: not set */
  OP_TXN,    /* if `key` is `test`: `key` and `other` become `value`; else reads `key` */
};

struct op {
  enum op_kind kind;
  int thread, key, other;
  int64_t begin_us, end_us;
  hmkv_status status;
  int64_t revision; /* 0: the call does not tell it */
  int64_t test, value;
  int64_t answer; /* read: of a put and a delete what was there before; or NOT_TOLD */
};

/* One key after one revision. */
struct change {
  int64_t revision;
  int key;
  int64_t value; /* ABSENT: it was deleted */
};

struct history {
  struct op *ops; /* in any order */
  size_t op_count, op_room;
  struct change *changes; /* all that there were, in the order of revisions */
  size_t change_count, change_room;
};

void history_add_op(struct history *history, struct op op);
void history_add_change(struct history *history, struct change change);
void history_free(struct history *history);

/* Reads every change since the first revision of the keys that are `prefix` and a number,
 * by etcdctl and so by none of the library's code. Only the main thread may. */
void history_read(struct history *history, const char *endpoint, const char *prefix);
/* `k/0` to `k/9`, of which the checker knows. */
const char *key_name(int key);

/* ---- the checker: O(n log n) ---- */

enum finding {
  LOST,        /* an applied write is not there, not at its revision, or in half */
  DOUBLED,     /* a write is there twice */
  DENIED,      /* a write is there that was answered with "not applied" */
  UNEXPLAINED, /* a change is there that no operation can have made */
  WRONG,       /* an answer is not that of a replay */
  STALE,       /* an answer is older than what was acknowledged before */
  DISORDERED,  /* revisions are not in the order of time */
  FINDINGS,
};

struct findings {
  long of[FINDINGS];
  long writes, unknown, unknown_applied;
};

/* Tells the first few to `out`, which may be NULL. */
struct findings check(const struct history *history, FILE *out);
long findings_total(const struct findings *findings);
const char *finding_name(enum finding finding);

/* ---- whether there is an order at all, whatever the store says of revisions ---- */

struct orders {
  long calls;     /* of each key, transactions with two of them count twice */
  long none;      /* keys whose calls have no order */
  long undecided; /* keys with too many ways to try them all */
  long steps;     /* ways that were tried */
};

/* Of each key alone. A write of unknown outcome comes once at any time after its begin,
 * or never. Where there are changes, the last of each key is its last value. */
struct orders find_orders(const struct history *history, FILE *out);

#endif
