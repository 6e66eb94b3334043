/* Whether calls fit into an order of each key alone, without what the store tells of
 * revisions: the search of Wing and Gong. Between the first call that has to come and the
 * first that ended, each that has begun may be next; ways that were tried are remembered.
 *
 * What keeps it short: a call that changes nothing is taken as soon as it fits, which
 * spoils nothing. A write of unknown outcome is taken only where a call or another such
 * write needs just its effect: before one that does not it could as well come later. */
#include "history.h"

enum { NEVER = -3, STEPS_MAX = 2000000 };

/* What an operation is for one key. */
struct step {
  const struct op *op;
  int64_t begin, end;
  enum { ANY, IS, IS_NOT } rule;
  int64_t test, after; /* NOT_TOLD: it changes nothing */
  uint64_t hash;
  bool taken;
  bool leads_on; /* another of unknown outcome tests for just what it writes */
};

struct steps {
  struct step *list;
  size_t count, room;
};

struct search {
  struct steps sure, unknown; /* by their begin */
  size_t first;               /* of `sure` that is not taken */
  size_t left;
  uint64_t taken; /* the hashes of all that are */
  size_t *trail, trail_count;
  size_t furthest, stuck; /* the most that were ever taken, and the first that was not */
  uint64_t *tried;        /* a set; 0: free */
  size_t tried_count, tried_room;
  long steps;
};

/* ---- the operations of a key ---- */

static void add(struct steps *steps, struct step step) {
  static uint64_t number;
  if (steps->count == steps->room) {
    steps->room = steps->room ? 2 * steps->room : 256;
    steps->list = realloc(steps->list, steps->room * sizeof *steps->list);
    CHECK(steps->list);
  }
  step.hash = ++number * 0x9e3779b97f4a7c15;
  step.hash = (step.hash ^ step.hash >> 31) * 0xbf58476d1ce4e5b9;
  step.hash ^= step.hash >> 29;
  steps->list[steps->count++] = step;
}

static struct step look(const struct op *op) {
  struct step step = {.rule = IS, .test = op->answer, .after = NOT_TOLD};
  bool compared = op->kind == OP_TAS || op->kind == OP_TXN;
  if (op->kind == OP_DELETE) step.test = ABSENT;
  if (compared && op->answer == op->test) step.test = NEVER;
  if (compared && op->answer == NOT_TOLD) step.rule = IS_NOT, step.test = op->test;
  return step;
}

static struct step write_of(const struct op *op, int key) {
  struct step step = {.rule = ANY, .after = op->kind == OP_DELETE ? ABSENT : op->value};
  if (key != op->key) return step; /* the other of a transaction */
  if (op->kind == OP_TAS || op->kind == OP_TXN) {
    step.rule = IS, step.test = op->test;
  } else if (op->status == HMKV_OK && op->answer != NOT_TOLD) {
    step.rule = IS, step.test = op->answer;
  } else if (op->kind == OP_DELETE) {
    step.rule = IS_NOT, step.test = ABSENT;
  }
  return step;
}

static void add_op(struct search *s, const struct op *op, int key) {
  bool applied = op->status == HMKV_OK || op->status == HMKV_EINDETERMINATE;
  bool writes = op->kind != OP_READ && applied;
  bool both = writes && op->kind == OP_TXN;
  if (op->key != key && !(both && op->other == key)) return;
  if (!writes && op->status < 0) return; /* nothing was told, nothing was done */
  struct step step = writes ? write_of(op, key) : look(op);
  step.op = op, step.begin = op->begin_us, step.end = op->end_us;
  if (step.rule != IS || step.test != NOT_TOLD)
    add(op->status == HMKV_EINDETERMINATE ? &s->unknown : &s->sure, step);
}

static int by_begin(const void *left, const void *right) {
  const struct step *a = left, *b = right;
  return a->begin < b->begin ? -1 : a->begin > b->begin;
}

/* ---- the search ---- */

static bool fits(const struct step *step, int64_t state) {
  return step->rule == ANY || (step->test == state) == (step->rule == IS);
}

static void take(struct search *s, size_t at) {
  struct step *step = &s->sure.list[at];
  step->taken = true;
  s->taken ^= step->hash;
  s->left--;
  s->trail[s->trail_count++] = at;
  while (s->first < s->sure.count && s->sure.list[s->first].taken) s->first++;
  if (s->trail_count > s->furthest) s->furthest = s->trail_count, s->stuck = s->first;
}

static void take_back(struct search *s, size_t mark) {
  while (s->trail_count > mark) {
    size_t at = s->trail[--s->trail_count];
    s->sure.list[at].taken = false;
    s->taken ^= s->sure.list[at].hash;
    s->left++;
    if (at < s->first) s->first = at;
  }
}

/* What began after this has to wait for the one that ended then. */
static int64_t first_end(const struct search *s) {
  int64_t end = INT64_MAX;
  for (size_t i = s->first; i < s->sure.count && s->sure.list[i].begin <= end; i++)
    if (!s->sure.list[i].taken && s->sure.list[i].end < end) end = s->sure.list[i].end;
  return end;
}

static void take_looks(struct search *s, int64_t state) {
  for (bool more = true; more;) {
    more = false;
    int64_t end = first_end(s);
    for (size_t i = s->first; i < s->sure.count && s->sure.list[i].begin <= end; i++) {
      const struct step *step = &s->sure.list[i];
      if (step->taken || step->after != NOT_TOLD || !fits(step, state)) continue;
      take(s, i);
      more = true;
    }
  }
}

static void find_chains(struct steps *unknown) {
  for (size_t i = 0; i < unknown->count; i++)
    for (size_t j = 0; j < unknown->count; j++) {
      const struct step *next = &unknown->list[j];
      if (next->rule == IS && next->test == unknown->list[i].after)
        unknown->list[i].leads_on = true;
    }
}

static bool is_needed(const struct search *s, const struct step *unknown, int64_t state,
                      int64_t end) {
  if (unknown->leads_on) return true;
  for (size_t i = s->first; i < s->sure.count && s->sure.list[i].begin <= end; i++) {
    const struct step *step = &s->sure.list[i];
    if (!step->taken && !fits(step, state) && fits(step, unknown->after)) return true;
  }
  return false;
}

static bool insert(uint64_t *set, size_t room, uint64_t entry) {
  size_t at = entry & (room - 1);
  for (; set[at]; at = (at + 1) & (room - 1))
    if (set[at] == entry) return false;
  set[at] = entry;
  return true;
}

/* False when the same were taken before, with the same state in the end. */
static bool is_new(struct search *s, int64_t state) {
  if (2 * s->tried_count >= s->tried_room) {
    size_t room = s->tried_room ? 2 * s->tried_room : 1024;
    uint64_t *set = calloc(room, sizeof *set);
    CHECK(set);
    for (size_t i = 0; i < s->tried_room; i++)
      if (s->tried[i]) insert(set, room, s->tried[i]);
    free(s->tried);
    s->tried = set, s->tried_room = room;
  }
  uint64_t entry = s->taken ^ (uint64_t)(state + 4) * 0xd6e8feb86659fd93;
  bool fresh = insert(s->tried, s->tried_room, entry ? entry : 1);
  s->tried_count += fresh;
  return fresh;
}

/* What was taken before a choice, and which of the ways on from there comes next: the
 * sure calls, then the unknown ones. */
struct choice {
  int64_t state;
  size_t before, mark; /* of the trail: without the looks, and with them */
  size_t next;
  struct step *unknown; /* that was taken in the way before; NULL: none */
};

static struct choice begin_choice(struct search *s, int64_t state) {
  struct choice choice = {.state = state, .before = s->trail_count};
  take_looks(s, state);
  choice.mark = s->trail_count;
  choice.next = is_new(s, state) ? s->first : SIZE_MAX;
  return choice;
}

static void mark_unknown(struct search *s, struct choice *choice, struct step *unknown) {
  struct step *changed = unknown ? unknown : choice->unknown;
  if (!changed) return;
  changed->taken = unknown != NULL;
  s->taken ^= changed->hash;
  choice->unknown = unknown;
}

/* Takes back the way before and goes the next; tells the state after it, or NOT_TOLD where
 * there is none left. */
static int64_t go_next(struct search *s, struct choice *choice) {
  take_back(s, choice->mark);
  mark_unknown(s, choice, NULL);
  int64_t end = first_end(s);
  while (choice->next < s->sure.count) {
    size_t at = choice->next++;
    const struct step *step = &s->sure.list[at];
    if (step->begin > end) choice->next = s->sure.count;
    else if (!step->taken && step->after != NOT_TOLD && fits(step, choice->state)) {
      take(s, at);
      return step->after;
    }
  }
  while (choice->next - s->sure.count < s->unknown.count) {
    struct step *step = &s->unknown.list[choice->next++ - s->sure.count];
    if (step->begin > end) break;
    if (step->taken || !fits(step, choice->state)) continue;
    if (!is_needed(s, step, choice->state, end)) continue;
    mark_unknown(s, choice, step);
    return step->after;
  }
  return NOT_TOLD;
}

/* True also when it gave up. */
static bool search(struct search *s) {
  size_t depth = 1, most = s->sure.count + s->unknown.count + 2;
  struct choice *choices = calloc(most, sizeof *choices);
  CHECK(choices);
  choices[0] = begin_choice(s, ABSENT);
  while (depth > 0 && s->left > 0 && s->steps <= STEPS_MAX) {
    struct choice *last = &choices[depth - 1];
    int64_t state = go_next(s, last);
    s->steps++;
    if (state != NOT_TOLD) choices[depth++] = begin_choice(s, state);
    else take_back(s, choices[--depth].before);
  }
  free(choices);
  return depth > 0;
}

/* ---- the whole ---- */

static void tell(FILE *out, const struct search *s, int key) {
  const struct step *step = &s->sure.list[s->stuck];
  fprintf(out, "\n  no order of %s: %zu of %zu fit, not beyond", key_name(key), s->furthest,
          s->sure.count);
  if (!step->op) {
    fprintf(out, " the last value, %" PRId64, step->test);
    return;
  }
  fprintf(out, " thread %d, kind %d, value %" PRId64 ", test %" PRId64 ", answer %" PRId64
          ": %s, %" PRId64 " to %" PRId64 " us", step->op->thread, step->op->kind,
          step->op->value, step->op->test, step->op->answer,
          hmkv_status_name(step->op->status), step->begin, step->end);
}

struct orders find_orders(const struct history *history, FILE *out) {
  struct orders found = {0};
  for (int key = 0; key < KEYS; key++) {
    struct search s = {0};
    int64_t last = ABSENT;
    for (size_t i = 0; i < history->op_count; i++) add_op(&s, &history->ops[i], key);
    for (size_t i = 0; i < history->change_count; i++)
      if (history->changes[i].key == key) last = history->changes[i].value;
    if (history->change_count)
      add(&s.sure, (struct step){.begin = INT64_MAX, .end = INT64_MAX, .rule = IS, .test = last,
                                 .after = NOT_TOLD});
    s.left = s.sure.count;
    s.trail = calloc(s.sure.count + 1, sizeof *s.trail);
    CHECK(s.trail);
    if (s.sure.count) qsort(s.sure.list, s.sure.count, sizeof *s.sure.list, by_begin);
    if (s.unknown.count) qsort(s.unknown.list, s.unknown.count, sizeof *s.sure.list, by_begin);
    find_chains(&s.unknown);
    bool fits_all = search(&s);
    found.undecided += s.steps > STEPS_MAX;
    found.none += !fits_all;
    found.calls += (long)s.sure.count;
    found.steps += s.steps;
    if (!fits_all && out) tell(out, &s, key);
    free(s.sure.list);
    free(s.unknown.list);
    free(s.trail);
    free(s.tried);
  }
  return found;
}
