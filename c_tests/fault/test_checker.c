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
    struct orders orders = find_orders(&w.history, stdout);
    CHECK_INT(0, orders.none + orders.undecided);
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

/* ---- orders of calls, whatever the changes ---- */

/* What was before it was told, and is no deletion: an unknown one could be late. */
static bool lose_the_last_write(struct world *w) {
  for (size_t i = w->history.op_count; i-- > 0;) {
    const struct op *op = &w->history.ops[i];
    if (op->kind != OP_PUT || op->status != HMKV_OK || w->state[op->key] != op->value) continue;
    if (op->answer == ABSENT) continue;
    drop(w, change_of(w, op));
    return true;
  }
  return false;
}

static const struct {
  const char *name;
  bool (*damage)(struct world *w);
} disorders[] = {
    {"a test and set that did not match", set_without_a_match},
    {"a transaction that did not match", commit_without_a_match},
    {"a test and set that matched is refused", refuse_a_match},
    {"a wrong else branch", wrong_else_branch},
    {"a wrong former value", wrong_former_value},
    {"a wrong read", wrong_read},
    {"a stale read", stale_read},
    {"the last put is lost", lose_the_last_write},
};

static void damage_leaves_no_order(void) {
  for (size_t i = 0; i < sizeof disorders / sizeof *disorders; i++) {
    int made = 0, found = 0;
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
      struct world w = make(seed);
      if (disorders[i].damage(&w)) {
        struct orders orders = find_orders(&w.history, NULL);
        made++;
        found += orders.none > 0;
        CHECK_INT(0, orders.undecided);
      }
      history_free(&w.history);
    }
    printf("\n  %-50s %2d of %2d", disorders[i].name, found, made);
    CHECK(made > SEEDS / 2);
    CHECK_INT(made, found);
  }
  printf("\n ");
}

/* One call: `p1` a put of 1, `r1` a read of it, `d1` a delete of it, `t1>2` a test and
 * set; `-` for no value. Behind it `?` for an unknown outcome, `!` for "not applied", `x`
 * for a compare that failed, `|` where the next call is at the same time. */
static const char *play(struct history *history, const char *call, int64_t begin) {
  static const char letters[] = "rpdt"; /* as enum op_kind */
  char *rest = NULL;
  struct op op = {.kind = (enum op_kind)(strchr(letters, *call) - letters), .answer = NOT_TOLD,
                  .begin_us = begin, .end_us = begin + 5};
  int64_t number = strtoll(call + 1, &rest, 10);
  if (*rest == '-') number = ABSENT, rest++;
  op.test = op.value = number;
  if (op.kind == OP_READ || op.kind == OP_DELETE) op.answer = number;
  if (*rest == '>') op.value = strtoll(rest + 1, &rest, 10);
  if (*rest == '?') op.status = HMKV_EINDETERMINATE;
  if (*rest == '!') op.status = HMKV_EUNAVAIL;
  if (*rest == 'x') op.status = HMKV_COMPARE_FAILED;
  history_add_op(history, op);
  return rest + strcspn(rest, "| ");
}

static const struct {
  bool right;
  const char *calls;
} plays[] = {
    {true, "r- p1 r1 p2 r2 d2 r-"},
    {true, "p1 p2? r1"},            /* never */
    {true, "p1 p2? r1 r2"},         /* after its end */
    {true, "p1 p2? r1 p3 r3 r2"},   /* and over what was written since */
    {true, "p1 p2? p3? r1 r3 r2"},
    {true, "p1 d? r1 r- p2 r2"},
    {true, "p1 d? d? r- p2 r-"},
    {true, "p1 p2? t2>3? r3"},      /* one unknown write after the other */
    {true, "p1 t2>3? p2? r1 r3"},
    {true, "p1 p2? t1>3x p4 r4"},   /* needed, though nobody read it */
    {true, "p1|p2 r1"},
    {true, "p1|p2 r2"},
    {true, "p1 p2|r1 r2"},
    {true, "p1 p2! r1"},
    {true, "p1 t1>2|t1>3x r2"},
    {false, "p1 p2 r1"},            /* a lost write, or a stale read */
    {false, "p1 r2"},               /* a value out of thin air */
    {false, "p1 p2! r2"},           /* "not applied", and is there */
    {false, "r1 p1"},               /* before it was asked for */
    {false, "p1 r2 p2?"},
    {false, "p1 p2? r2 r1"},        /* seen and gone */
    {false, "p1 p2? r2 p3 r2"},     /* an unknown write that came twice */
    {false, "p1 d? r- p2 r-"},
    {false, "p1 p2? p3? r2 r3 r2"},
    {false, "p1 d1 r1"},
    {false, "p1 t1>2 t1>3"},        /* both were told to have set it */
    {false, "p1 t1>2|t1>3 r2"},
    {false, "p1 t1>2x r1"},         /* refused, although it matched */
    {false, "p1 t2>3? r3"},         /* set, although it did not match */
    {false, "p1|p2 r1 r2 r1"},
    {false, "p1 p2|r1 r1"},
};

static void each_order_that_there_is_is_found_and_no_other(void) {
  for (size_t i = 0; i < sizeof plays / sizeof *plays; i++) {
    struct history history = {0};
    int64_t now = 10;
    for (const char *call = plays[i].calls; *call; call++) {
      call = play(&history, call, now);
      if (*call != '|') now += 10;
      if (!*call) break;
    }
    struct orders orders = find_orders(&history, NULL);
    if ((orders.none == 0) != plays[i].right) FAIL("%s", plays[i].calls);
    history_free(&history);
  }
}

/* So many unknown writes that not all ways can be tried: of those that nobody needs
 * none is. */
static void unknown_writes_do_not_multiply(void) {
  struct history history = {0};
  int64_t now = 10;
  for (int i = 1; i <= 200; i++) play(&history, text("p%d?", i), now += 10);
  for (int i = 1; i <= 200; i += 3) play(&history, text("r%d", i), now += 10);
  CHECK_INT(0, find_orders(&history, stdout).none);
  play(&history, "r1", now += 10);
  struct orders orders = find_orders(&history, NULL);
  CHECK_INT(1, orders.none);
  CHECK(orders.steps < 10000);
  history_free(&history);
}

/* Twelve writes at a time have 479,001,600 orders, but only 24,576 beginnings. */
static void writes_at_the_same_time_do_not_multiply(void) {
  struct history history = {0};
  for (int i = 1; i <= 12; i++) play(&history, text("p%d", i), 10);
  play(&history, "r7", 20);
  CHECK_INT(0, find_orders(&history, stdout).none);
  play(&history, "r8", 30);
  struct orders orders = find_orders(&history, NULL);
  CHECK_INT(1, orders.none);
  CHECK_INT(0, orders.undecided);
  history_free(&history);
}

static const struct test tests[] = {
    MEM_ONLY(what_is_right_passes),
    MEM_ONLY(each_kind_of_damage_is_found),
    MEM_ONLY(damage_leaves_no_order),
    MEM_ONLY(each_order_that_there_is_is_found_and_no_other),
    MEM_ONLY(unknown_writes_do_not_multiply),
    MEM_ONLY(writes_at_the_same_time_do_not_multiply),
};
TEST_MAIN(.begin = NULL)
