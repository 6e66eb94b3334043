/* Random puts, ranges, removals and transactions for both worlds. */
#ifndef OPS_H
#define OPS_H

#include "worlds.h"

struct bytes {
  const char *data;
  size_t length;
};
#define BYTES(literal) {literal, sizeof(literal) - 1}
int compare_keys(struct bytes a, struct bytes b);

struct bytes draw_key(void);
/* A key or the empty one; for the begin of a range. */
struct bytes draw_start(void);
struct bytes draw_end(void);
/* Any: the newest, past, compacted, yet to come. */
int64_t draw_revision(void);

/* What the draws are about; revisions count from the base. */
extern int64_t newest, compacted;
/* A number as of lease_in(): of none, of a lease that lives or has ended, of no lease. */
int64_t draw_lease(void);

enum op_kind { OP_PUT, OP_RANGE, OP_REMOVE };

/* Revisions in the options count from the base, leases are numbers. */
struct op {
  enum op_kind kind;
  struct bytes key, value;
  union {
    hmkv_put_opts put;
    hmkv_range_opts range;
    hmkv_remove_opts remove;
  };
};

struct op draw_put(void);
struct op draw_range(void);
struct op draw_remove(void);
void show_op(FILE *file, const struct op *op);
/* Submits it in both worlds and compares the answers. */
void same_answer(const struct op *op);
/* All that there is. */
void same_keys(void);

enum { COMPARES_MAX = 5, OPS_MAX = 128 };

struct compare {
  struct bytes key, value;
  int32_t what; /* one of hmkv_number_code, or 0: the value */
  const char *op;
  int64_t number;
};

struct transaction {
  size_t compares;
  struct compare compare[COMPARES_MAX];
  size_t count[2]; /* of the operations to do THEN or ELSE */
  struct op ops[2][OPS_MAX];
};

void draw_transaction(struct transaction *transaction);
void show_transaction(FILE *file, const struct transaction *transaction);
void same_transaction(const struct transaction *transaction);

#endif
