/* The checker itself: it finds nothing in histories that are right, and each kind of
 * damage in those that were damaged. The histories are made up, from a seed. */
#include "history.h"

enum { THREADS = 8, OPS = 3000, SEEDS = 20 };

/* A store that takes one operation at a time; the threads' times overlap. */
struct world {
  struct history history;
  unsigned seed;
  int64_t now, revision, value;
  int64_t free_at[THREADS];
  int64_t state[KEYS];
};

static unsigned draw(struct world *w, unsigned below) {
  return (unsigned)rand_r(&w->seed) % below;
}

static void change(struct world *w, int key, int64_t value) {
  history_add_change(&w->history, (struct change){w->revision, key, value});
  w->state[key] = value;
}

/* Does it, as the store, and answers. */
static void apply(struct world *w, struct op *op) {
  int64_t before = w->state[op->key];
  bool same = before == op->test;
  op->status = HMKV_OK;
  op->answer = op->kind == OP_TAS ? NOT_TOLD : before;
  if (op->kind == OP_READ) {
    op->status = before == ABSENT ? HMKV_NOT_FOUND : HMKV_OK;
  } else if (op->kind == OP_DELETE && before == ABSENT) {
    op->status = HMKV_NOT_FOUND;
  } else if ((op->kind == OP_TAS || op->kind == OP_TXN) && !same) {
    op->status = HMKV_COMPARE_FAILED;
  } else {
    w->revision++;
    change(w, op->key, op->kind == OP_DELETE ? ABSENT : op->value);
    if (op->kind == OP_TXN) change(w, op->other, op->value);
  }
  op->revision = w->revision;
}

static void one_op(struct world *w) {
  struct op op = {.kind = draw(w, 5), .thread = (int)draw(w, THREADS), .key = (int)draw(w, KEYS)};
  w->now += 1 + draw(w, 10);
  if (w->free_at[op.thread] >= w->now) return;
  op.other = (op.key + 1) % KEYS;
  op.begin_us = w->now - draw(w, (unsigned)(w->now - w->free_at[op.thread]));
  op.end_us = w->now + 1 + draw(w, 40);
  op.test = draw(w, 3) ? w->state[op.key] : 0;
  op.value = ++w->value;
  w->free_at[op.thread] = op.end_us + 1;
  unsigned fate = draw(w, 20);
  if (fate == 0) {
    op.status = HMKV_EUNAVAIL;
  } else if (fate == 1 && op.kind != OP_READ) {
    if (draw(w, 2)) apply(w, &op);
    op.status = HMKV_EINDETERMINATE;
  } else {
    apply(w, &op);
  }
  bool tells = op.status >= 0 && op.kind != OP_TAS && (op.kind != OP_READ || draw(w, 2));
  if (!tells) op.revision = 0;
  if (op.status < 0) op.answer = NOT_TOLD;
  history_add_op(&w->history, op);
}

static struct world make(unsigned seed) {
  struct world w = {.seed = seed, .now = 1000, .revision = 1, .value = 1000};
  for (int i = 0; i < KEYS; i++) w.state[i] = ABSENT;
  for (int i = 0; i < OPS; i++) one_op(&w);
  return w;
}

static void what_is_right_passes(void) {
  for (unsigned seed = 1; seed <= SEEDS; seed++) {
    struct world w = make(seed);
    struct findings found = check(&w.history, stdout);
    CHECK_INT(0, findings_total(&found));
    CHECK(found.writes > 100 && found.unknown > 10 && found.unknown_applied > 2);
    history_free(&w.history);
  }
}

/* ---- damage: each does one kind to a history and answers whether there was a place ---- */

/* A drawn operation of a kind and status that tells its revision or not; NULL: none. */
static struct op *pick(struct world *w, enum op_kind kind, hmkv_status status) {
  for (int attempt = 0; attempt < 10000; attempt++) {
    struct op *op = &w->history.ops[draw(w, (unsigned)w->history.op_count)];
    if (op->kind == kind && op->status == status && op->begin_us > 5000) return op;
  }
  return NULL;
}

static struct change *change_of(struct world *w, const struct op *op) {
  for (size_t i = 0; i < w->history.change_count; i++)
    if (w->history.changes[i].value == op->value) return &w->history.changes[i];
  return NULL;
}

static void drop(struct world *w, struct change *lost) {
  size_t at = (size_t)(lost - w->history.changes);
  memmove(lost, lost + 1, (--w->history.change_count - at) * sizeof *lost);
}

static bool lose_a_put(struct world *w) {
  drop(w, change_of(w, pick(w, OP_PUT, HMKV_OK)));
  return true;
}

static bool lose_a_tas(struct world *w) {
  drop(w, change_of(w, pick(w, OP_TAS, HMKV_OK)));
  return true;
}

static bool lose_a_delete(struct world *w) {
  const struct op *op = pick(w, OP_DELETE, HMKV_OK);
  for (size_t i = 0; i < w->history.change_count; i++) {
    if (w->history.changes[i].revision != op->revision) continue;
    drop(w, &w->history.changes[i]);
    return true;
  }
  return false;
}

static bool lose_half_a_txn(struct world *w) {
  drop(w, change_of(w, pick(w, OP_TXN, HMKV_OK)) + 1);
  return true;
}

static bool double_a_put(struct world *w) {
  const struct op *op = pick(w, OP_PUT, HMKV_OK);
  w->revision++;
  change(w, op->key, op->value);
  return true;
}

static bool double_an_unknown(struct world *w) {
  const struct op *op = pick(w, OP_PUT, HMKV_EINDETERMINATE);
  for (int i = 0; i < 2; i++) {
    w->revision++;
    change(w, op->key, op->value);
  }
  return true;
}

static bool deny_a_put(struct world *w) {
  pick(w, OP_PUT, HMKV_OK)->status = HMKV_EUNAVAIL;
  return true;
}

static bool deny_a_tas(struct world *w) {
  pick(w, OP_TAS, HMKV_OK)->status = HMKV_COMPARE_FAILED;
  return true;
}

static bool put_from_nowhere(struct world *w) {
  w->revision++;
  change(w, 0, ++w->value);
  return true;
}

static bool write_another_key(struct world *w) {
  struct change *wrong = change_of(w, pick(w, OP_PUT, HMKV_OK));
  wrong->key = (wrong->key + 5) % KEYS;
  return true;
}

/* More deletions than there were unknown ones of the key. */
static bool delete_from_nowhere(struct world *w) {
  for (int i = 0; i < OPS; i++) {
    w->revision++;
    change(w, 0, ABSENT);
  }
  return true;
}

static bool set_without_a_match(struct world *w) {
  pick(w, OP_TAS, HMKV_OK)->test = 1;
  return true;
}

static bool commit_without_a_match(struct world *w) {
  pick(w, OP_TXN, HMKV_OK)->test = 1;
  return true;
}

/* What is there in the end, by a put that was acknowledged, is said not to be. */
static bool refuse_a_match(struct world *w) {
  for (size_t i = 0; i < w->history.op_count; i++) {
    const struct op *put = &w->history.ops[i];
    if (put->kind != OP_PUT || put->status != HMKV_OK || put->value != w->state[put->key]) continue;
    history_add_op(&w->history, (struct op){.kind = OP_TAS, .key = put->key, .test = put->value,
                                            .value = ++w->value, .answer = NOT_TOLD,
                                            .status = HMKV_COMPARE_FAILED,
                                            .begin_us = w->now + 1000, .end_us = w->now + 1001});
    return true;
  }
  return false;
}

static bool wrong_else_branch(struct world *w) {
  pick(w, OP_TXN, HMKV_COMPARE_FAILED)->answer = 1;
  return true;
}

static bool wrong_former_value(struct world *w) {
  pick(w, OP_PUT, HMKV_OK)->answer = 1;
  return true;
}

static bool wrong_read(struct world *w) {
  pick(w, OP_READ, HMKV_OK)->answer = 1;
  return true;
}

/* A read of the state before a put that was acknowledged before the read. */
static bool read_the_past(struct world *w, bool tells) {
  for (int attempt = 0; attempt < 10000; attempt++) {
    const struct op *put = pick(w, OP_PUT, HMKV_OK);
    struct op *read = pick(w, OP_READ, HMKV_OK);
    if (read->key != put->key || read->begin_us <= put->end_us) continue;
    if (put->answer == ABSENT || !!read->revision != tells) continue;
    read->answer = put->answer;
    if (tells) read->revision = put->revision - 1;
    return true;
  }
  return false;
}

static bool stale_read(struct world *w) { return read_the_past(w, false); }
static bool stale_read_that_tells(struct world *w) { return read_the_past(w, true); }

static void swap(int64_t *a, int64_t *b) {
  int64_t kept = *a;
  *a = *b;
  *b = kept;
}

/* Two puts one after the other stand the other way round. */
static bool wrong_order(struct world *w) {
  for (int attempt = 0; attempt < 10000; attempt++) {
    struct op *a = pick(w, OP_PUT, HMKV_OK), *b = pick(w, OP_PUT, HMKV_OK);
    if (a->end_us >= b->begin_us || a->key == b->key) continue;
    swap(&change_of(w, a)->revision, &change_of(w, b)->revision);
    swap(&a->revision, &b->revision);
    return true;
  }
  return false;
}

static bool wrong_revision(struct world *w) {
  pick(w, OP_PUT, HMKV_OK)->revision++;
  return true;
}

static bool applied_before_it_was_asked(struct world *w) {
  struct op *op = NULL;
  for (int i = 0; i < 1000 && (!op || !change_of(w, op)); i++)
    op = pick(w, OP_PUT, HMKV_EINDETERMINATE);
  op->begin_us = w->now + 1000;
  op->end_us = w->now + 1001;
  return true;
}

static bool read_the_future(struct world *w) {
  struct op *read = NULL;
  for (int i = 0; i < 10000 && (!read || !read->revision || read->end_us > w->now / 2); i++)
    read = pick(w, OP_READ, HMKV_OK);
  read->revision = w->revision;
  read->answer = w->state[read->key];
  return true;
}

static const struct {
  const char *name;
  bool (*damage)(struct world *w);
  enum finding finding;
} mutants[] = {
    {"a put is lost", lose_a_put, LOST},
    {"a test and set is lost", lose_a_tas, LOST},
    {"a delete is lost", lose_a_delete, LOST},
    {"half a transaction is lost", lose_half_a_txn, LOST},
    {"a put has another revision", wrong_revision, LOST},
    {"a put is there twice", double_a_put, DOUBLED},
    {"an unknown put is there twice", double_an_unknown, DOUBLED},
    {"a put that was \"not applied\" is there", deny_a_put, DENIED},
    {"a test and set that was \"not set\" is there", deny_a_tas, DENIED},
    {"a value that nobody wrote", put_from_nowhere, UNEXPLAINED},
    {"a put is there at another key", write_another_key, UNEXPLAINED},
    {"deletions that nobody asked for", delete_from_nowhere, UNEXPLAINED},
    {"a test and set that did not match", set_without_a_match, WRONG},
    {"a transaction that did not match", commit_without_a_match, WRONG},
    {"a test and set that matched is refused", refuse_a_match, WRONG},
    {"a wrong else branch", wrong_else_branch, WRONG},
    {"a wrong former value", wrong_former_value, WRONG},
    {"a wrong read", wrong_read, WRONG},
    {"a stale read", stale_read, STALE},
    {"a stale read that tells its revision", stale_read_that_tells, STALE},
    {"a read of the future", read_the_future, DISORDERED},
    {"two puts in the wrong order", wrong_order, DISORDERED},
    {"a put that was applied before it was asked for", applied_before_it_was_asked, DISORDERED},
};

static void each_kind_of_damage_is_found(void) {
  for (size_t i = 0; i < sizeof mutants / sizeof *mutants; i++) {
    int made = 0, found = 0;
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
      struct world w = make(seed);
      if (mutants[i].damage(&w)) {
        struct findings findings = check(&w.history, NULL);
        made++;
        found += findings.of[mutants[i].finding] > 0;
      }
      history_free(&w.history);
    }
    printf("\n  %-50s %-11s %2d of %2d", mutants[i].name, finding_name(mutants[i].finding), found,
           made);
    CHECK(made > SEEDS / 2);
    CHECK_INT(made, found);
  }
  printf("\n ");
}

static const struct test tests[] = {
    MEM_ONLY(what_is_right_passes),
    MEM_ONLY(each_kind_of_damage_is_found),
};
TEST_MAIN(.begin = NULL)
