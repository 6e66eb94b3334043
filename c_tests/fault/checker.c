/* Holds what clients were told against what the store says happened. The revisions are
 * the total order; the question is only whether every answer fits into it. */
#include "history.h"

enum { TOLD_MAX = 20 };

/* What is known of an operation beside itself. */
struct judged {
  const struct op *op;
  int64_t revision; /* where it stands in the order; 0: not known, or not applied */
  int64_t low;      /* the newest revision that was acknowledged before it began */
  int64_t high;     /* the last before the first change that began after its end */
};

struct checker {
  const struct history *history;
  FILE *out;
  struct findings found;
  long told;
  struct judged *ops;
  struct change *by_key;   /* by key and revision */
  size_t first_of[KEYS + 1];
  struct change *by_value; /* without deletions; by value and revision */
  size_t value_count;
  size_t *deletion; /* of each place in by_key: the first at or after it */
  bool *explained;  /* of by_key */
  int64_t newest;
};

static const char *const names[FINDINGS] = {"lost", "doubled", "denied", "unexplained",
                                            "wrong", "stale", "disordered"};
static const char *const kinds[] = {"read", "put", "delete", "tas", "txn"};

const char *finding_name(enum finding finding) { return names[finding]; }

long findings_total(const struct findings *findings) {
  long total = 0;
  for (int i = 0; i < FINDINGS; i++) total += findings->of[i];
  return total;
}

static void report(struct checker *c, enum finding finding, const struct judged *j) {
  const struct op *op = j->op;
  c->found.of[finding]++;
  if (!c->out || c->told++ >= TOLD_MAX) return;
  fprintf(c->out,
          "\n  %s: thread %d %s %s other %d test %" PRId64 " value %" PRId64 ": %s, answer %" PRId64
          ", revision %" PRId64 "; stands at %" PRId64 ", may at %" PRId64 "-%" PRId64
          ", %" PRId64 " to %" PRId64 " us",
          names[finding], op->thread, kinds[op->kind], key_name(op->key), op->other, op->test,
          op->value, hmkv_status_name(op->status), op->answer, op->revision, j->revision, j->low,
          j->high, op->begin_us, op->end_us);
}

static void report_change(struct checker *c, enum finding finding, const struct change *change) {
  c->found.of[finding]++;
  if (c->out && c->told++ < TOLD_MAX)
    fprintf(c->out, "\n  %s: revision %" PRId64 " of %s, value %" PRId64, names[finding],
            change->revision, key_name(change->key), change->value);
}

/* ---- orders ---- */

static int compare(int64_t a, int64_t b) { return a < b ? -1 : a > b; }

static int by_key_and_revision(const void *left, const void *right) {
  const struct change *a = left, *b = right;
  return a->key != b->key ? compare(a->key, b->key) : compare(a->revision, b->revision);
}

static int by_value_and_revision(const void *left, const void *right) {
  const struct change *a = left, *b = right;
  return a->value != b->value ? compare(a->value, b->value) : compare(a->revision, b->revision);
}

static int by_begin(const void *left, const void *right) {
  const struct judged *const *a = left, *const *b = right;
  return compare((*a)->op->begin_us, (*b)->op->begin_us);
}

static int by_end(const void *left, const void *right) {
  const struct judged *const *a = left, *const *b = right;
  return compare((*a)->op->end_us, (*b)->op->end_us);
}

/* ---- the state after a revision ---- */

/* The first change of `key` after `revision`: a place in by_key, the key's end for none. */
static size_t after(const struct checker *c, int key, int64_t revision) {
  size_t low = c->first_of[key], high = c->first_of[key + 1];
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (c->by_key[middle].revision <= revision) low = middle + 1;
    else high = middle;
  }
  return low;
}

static int64_t state_at(const struct checker *c, int key, int64_t revision) {
  size_t next = after(c, key, revision);
  return next == c->first_of[key] ? ABSENT : c->by_key[next - 1].value;
}

static size_t first_with_value(const struct checker *c, int64_t value) {
  size_t low = 0, high = c->value_count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (c->by_value[middle].value < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/* A key holds a value, which comes once, from its change to the next. */
static bool held_value(const struct checker *c, int key, int64_t value, int64_t low, int64_t high) {
  if (state_at(c, key, low) == value) return true;
  size_t next = after(c, key, low);
  if (value == ABSENT) {
    next = c->deletion[next];
    return next < c->first_of[key + 1] && c->by_key[next].revision <= high;
  }
  size_t end = c->value_count;
  for (size_t i = first_with_value(c, value); i < end && c->by_value[i].value == value; i++)
    if (c->by_value[i].key == key)
      return c->by_value[i].revision > low && c->by_value[i].revision <= high;
  return false;
}

static bool held_another(const struct checker *c, int key, int64_t value, int64_t low,
                         int64_t high) {
  if (state_at(c, key, low) != value) return true;
  size_t next = after(c, key, low);
  return next < c->first_of[key + 1] && c->by_key[next].revision <= high;
}

/* ---- 1: where each write stands ---- */

static bool writes_value(const struct op *op) {
  return op->kind == OP_PUT || op->kind == OP_TAS || op->kind == OP_TXN;
}

static void explain(struct checker *c, int key, int64_t revision) {
  size_t next = after(c, key, revision);
  if (next > c->first_of[key] && c->by_key[next - 1].revision == revision)
    c->explained[next - 1] = true;
}

/* Finds a write by its value and explains its changes. */
static void locate(struct checker *c, struct judged *j) {
  const struct op *op = j->op;
  int wanted = op->kind == OP_TXN && op->other != op->key ? 2 : 1, there = 0;
  for (size_t i = first_with_value(c, op->value);
       i < c->value_count && c->by_value[i].value == op->value; i++) {
    const struct change *change = &c->by_value[i];
    bool own = change->key == op->key || (op->kind == OP_TXN && change->key == op->other);
    if (!own) continue; /* and stays unexplained */
    if (!j->revision) j->revision = change->revision;
    if (change->revision == j->revision) there++;
    else report(c, DOUBLED, j);
    explain(c, change->key, change->revision);
  }
  if (j->revision && there != wanted) report(c, there < wanted ? LOST : DOUBLED, j);
}

static void judge_write(struct checker *c, struct judged *j) {
  const struct op *op = j->op;
  locate(c, j);
  c->found.writes++;
  if (op->status == HMKV_OK && (!j->revision || (op->revision && op->revision != j->revision)))
    report(c, LOST, j);
  if (op->status == HMKV_EINDETERMINATE) {
    c->found.unknown++;
    c->found.unknown_applied += j->revision != 0;
  } else if (op->status != HMKV_OK && j->revision) {
    report(c, DENIED, j);
  }
}

static void judge_delete(struct checker *c, struct judged *j) {
  const struct op *op = j->op;
  c->found.writes++;
  c->found.unknown += op->status == HMKV_EINDETERMINATE;
  if (op->status != HMKV_OK) return;
  j->revision = op->revision;
  size_t next = after(c, op->key, op->revision);
  const struct change *change = next > c->first_of[op->key] ? &c->by_key[next - 1] : NULL;
  if (!change || change->revision != op->revision || change->value != ABSENT) {
    report(c, LOST, j);
  } else if (c->explained[next - 1]) {
    report(c, DOUBLED, j); /* two deletions of one revision */
  }
  explain(c, op->key, op->revision);
}

/* ---- 2: what time says ---- */

static void bound(struct checker *c, struct judged **begins, struct judged **ends, size_t count) {
  int64_t newest = 0, oldest = c->newest + 1;
  for (size_t i = 0, j = 0; i < count; i++) {
    for (; j < count && ends[j]->op->end_us < begins[i]->op->begin_us; j++) {
      const struct judged *e = ends[j];
      int64_t known = e->op->revision ? e->op->revision : e->revision;
      if (e->op->status >= 0 && known > newest) newest = known;
    }
    begins[i]->low = newest;
  }
  for (size_t i = count, j = count; i-- > 0;) {
    for (; j > 0 && begins[j - 1]->op->begin_us > ends[i]->op->end_us; j--) {
      const struct judged *b = begins[j - 1];
      if (b->revision && b->revision < oldest) oldest = b->revision;
    }
    ends[i]->high = oldest - 1;
  }
}

/* Of the deletions of one key that nobody was told of, each needs an unknown delete that
 * began before it. The earliest fits best; an unknown one may come at any time later. */
static void explain_deletions(struct checker *c, struct judged **begins, size_t count) {
  for (int key = 0; key < KEYS; key++) {
    size_t at = 0;
    for (size_t i = c->first_of[key]; i < c->first_of[key + 1]; i++) {
      if (c->explained[i] || c->by_key[i].value != ABSENT) continue;
      while (at < count && !(begins[at]->op->kind == OP_DELETE && begins[at]->op->key == key &&
                             begins[at]->op->status == HMKV_EINDETERMINATE))
        at++;
      if (at == count || begins[at]->low >= c->by_key[i].revision) continue;
      c->explained[i] = true;
      c->found.unknown_applied++;
      at++;
    }
  }
  for (size_t i = 0; i < c->history->change_count; i++)
    if (!c->explained[i]) report_change(c, UNEXPLAINED, &c->by_key[i]);
}

/* ---- 3: what was answered ---- */

static void judge_change(struct checker *c, const struct judged *j) {
  const struct op *op = j->op;
  int64_t before = state_at(c, op->key, j->revision - 1);
  if (j->revision <= j->low || (op->status >= 0 && j->revision > j->high))
    report(c, DISORDERED, j);
  if ((op->kind == OP_TAS || op->kind == OP_TXN) && before != op->test) report(c, WRONG, j);
  if ((op->kind == OP_PUT || op->kind == OP_DELETE) && op->status == HMKV_OK &&
      op->answer != NOT_TOLD && op->answer != before)
    report(c, WRONG, j);
}

/* A read, a compare that failed, a delete of nothing. */
static void judge_look(struct checker *c, const struct judged *j) {
  const struct op *op = j->op;
  bool compared = op->kind == OP_TAS || op->kind == OP_TXN;
  int64_t answer = op->kind == OP_DELETE ? ABSENT : op->answer;
  if (op->revision) {
    int64_t state = state_at(c, op->key, op->revision);
    if (op->revision < j->low) report(c, STALE, j);
    if (op->revision > j->high) report(c, DISORDERED, j);
    if (compared && state == op->test) report(c, WRONG, j);
    if (answer != NOT_TOLD && answer != state) report(c, WRONG, j);
    return;
  }
  if (compared && !held_another(c, op->key, op->test, j->low, j->high)) report(c, WRONG, j);
  if (answer != NOT_TOLD && !held_value(c, op->key, answer, j->low, j->high))
    report(c, held_value(c, op->key, answer, 0, j->low) ? STALE : WRONG, j);
}

static bool is_change(const struct judged *j) { return j->op->kind != OP_READ && j->revision; }

static bool is_look(const struct judged *j) {
  return j->op->status >= 0 && !(writes_value(j->op) && j->op->status == HMKV_OK);
}

/* ---- the whole ---- */

static void *copy(const void *from, size_t count, size_t size) {
  void *to = malloc(count * size + 1);
  CHECK(to);
  if (count) memcpy(to, from, count * size);
  return to;
}

static void prepare(struct checker *c) {
  const struct history *h = c->history;
  c->by_key = copy(h->changes, h->change_count, sizeof *h->changes);
  c->by_value = copy(h->changes, h->change_count, sizeof *h->changes);
  c->explained = calloc(h->change_count + 1, sizeof *c->explained);
  c->deletion = calloc(h->change_count + 1, sizeof *c->deletion);
  c->ops = calloc(h->op_count + 1, sizeof *c->ops);
  CHECK(c->explained && c->deletion && c->ops);
  qsort(c->by_key, h->change_count, sizeof *c->by_key, by_key_and_revision);
  for (size_t i = 0; i < h->change_count; i++) {
    const struct change *change = &h->changes[i];
    if (change->value != ABSENT) c->by_value[c->value_count++] = *change;
    if (change->revision > c->newest) c->newest = change->revision;
    c->first_of[change->key + 1]++;
  }
  for (int key = 0; key < KEYS; key++) c->first_of[key + 1] += c->first_of[key];
  c->deletion[h->change_count] = h->change_count;
  for (size_t i = h->change_count; i-- > 0;)
    c->deletion[i] = c->by_key[i].value == ABSENT ? i : c->deletion[i + 1];
  qsort(c->by_value, c->value_count, sizeof *c->by_value, by_value_and_revision);
  for (size_t i = 0; i < h->op_count; i++) {
    c->ops[i].op = &h->ops[i];
    if (h->ops[i].status >= 0 && h->ops[i].revision > c->newest) c->newest = h->ops[i].revision;
  }
}

struct findings check(const struct history *history, FILE *out) {
  struct checker c = {.history = history, .out = out};
  size_t count = history->op_count;
  prepare(&c);
  for (size_t i = 0; i < count; i++) {
    if (writes_value(c.ops[i].op)) judge_write(&c, &c.ops[i]);
    if (c.ops[i].op->kind == OP_DELETE) judge_delete(&c, &c.ops[i]);
  }
  struct judged **begins = calloc(count + 1, sizeof *begins);
  struct judged **ends = calloc(count + 1, sizeof *ends);
  CHECK(begins && ends);
  for (size_t i = 0; i < count; i++) begins[i] = ends[i] = &c.ops[i];
  qsort(begins, count, sizeof *begins, by_begin);
  qsort(ends, count, sizeof *ends, by_end);
  bound(&c, begins, ends, count);
  explain_deletions(&c, begins, count);
  for (size_t i = 0; i < count; i++) {
    if (is_change(&c.ops[i])) judge_change(&c, &c.ops[i]);
    else if (is_look(&c.ops[i])) judge_look(&c, &c.ops[i]);
  }
  free(begins);
  free(ends);
  free(c.ops);
  free(c.by_key);
  free(c.by_value);
  free(c.deletion);
  free(c.explained);
  return c.found;
}
