#include "ops.h"

/* ---- showing ---- */

static void show_number(FILE *file, const char *name, int64_t number) {
  if (number) fprintf(file, " %s %" PRId64, name, number);
}

static void show_end(FILE *file, const void *end, size_t length) {
  if (!end) return;
  fputs(" end ", file);
  show_bytes(file, end, length);
}

void show_op(FILE *file, const struct op *op) {
  static const char *const names[] = {"put ", "range ", "remove "};
  fputs(names[op->kind], file);
  show_bytes(file, op->key.data, op->key.length);
  if (op->kind == OP_PUT) {
    fputc('=', file);
    show_bytes(file, op->value.data, op->value.length);
    show_number(file, "lease", op->put.lease);
    show_number(file, "if_mod_revision", op->put.if_mod_revision);
    show_number(file, "prev", op->put.prev);
  } else if (op->kind == OP_RANGE) {
    show_end(file, op->range.end, op->range.end_len);
    show_number(file, "prefix", op->range.prefix);
    show_number(file, "from", op->range.from);
    show_number(file, "limit", op->range.limit);
    show_number(file, "revision", op->range.revision);
    show_number(file, "min_mod_revision", op->range.min_mod_revision);
    show_number(file, "max_mod_revision", op->range.max_mod_revision);
    show_number(file, "min_create_revision", op->range.min_create_revision);
    show_number(file, "max_create_revision", op->range.max_create_revision);
    show_number(file, "sort", op->range.sort);
    show_number(file, "descending", op->range.descending);
    show_number(file, "keys_only", op->range.keys_only);
    show_number(file, "count_only", op->range.count_only);
    show_number(file, "serializable", op->range.serializable);
  } else {
    show_end(file, op->remove.end, op->remove.end_len);
    show_number(file, "prefix", op->remove.prefix);
    show_number(file, "if_mod_revision", op->remove.if_mod_revision);
    show_number(file, "prev", op->remove.prev);
  }
}

void show_transaction(FILE *file, const struct transaction *transaction) {
  static const char *const whats[] = {"value", "mod", "create", "version", "lease"};
  fputs("transaction", file);
  for (size_t i = 0; i < transaction->compares; i++) {
    const struct compare *compare = &transaction->compare[i];
    fputs("\n  if ", file);
    show_bytes(file, compare->key.data, compare->key.length);
    fprintf(file, " %s %s ", whats[compare->what], compare->op);
    if (compare->what)
      fprintf(file, "%" PRId64, compare->number);
    else
      show_bytes(file, compare->value.data, compare->value.length);
  }
  for (int branch = 0; branch < 2; branch++)
    for (size_t i = 0; i < transaction->count[branch]; i++) {
      fputs(branch ? "\n  else " : "\n  then ", file);
      show_op(file, &transaction->ops[branch][i]);
    }
}

/* ---- doing it in both worlds ---- */

static hmkv_put_opts put_opts(int w, hmkv_put_opts opts) {
  opts.lease = lease_in(w, opts.lease);
  opts.if_mod_revision = revision_in(w, opts.if_mod_revision);
  return opts;
}

static hmkv_range_opts range_opts(int w, hmkv_range_opts opts) {
  opts.revision = revision_in(w, opts.revision);
  opts.min_mod_revision = revision_in(w, opts.min_mod_revision);
  opts.max_mod_revision = revision_in(w, opts.max_mod_revision);
  opts.min_create_revision = revision_in(w, opts.min_create_revision);
  opts.max_create_revision = revision_in(w, opts.max_create_revision);
  return opts;
}

static hmkv_remove_opts remove_opts(int w, hmkv_remove_opts opts) {
  opts.if_mod_revision = revision_in(w, opts.if_mod_revision);
  return opts;
}

static hmkv_op *submit(int w, int handle, const struct op *op) {
  hmkv *kv = worlds[w].kv[handle];
  struct bytes key = op->key, value = op->value;
  if (op->kind == OP_PUT) {
    hmkv_put_opts opts = put_opts(w, op->put);
    return hmkv_put(kv, key.data, key.length, value.data, value.length, &opts);
  }
  if (op->kind == OP_RANGE) {
    hmkv_range_opts opts = range_opts(w, op->range);
    return hmkv_range(kv, key.data, key.length, &opts);
  }
  hmkv_remove_opts opts = remove_opts(w, op->remove);
  return hmkv_remove(kv, key.data, key.length, &opts);
}

static void add(hmkv_txn *txn, int w, int32_t branch, const struct op *op) {
  struct bytes key = op->key, value = op->value;
  if (op->kind == OP_PUT) {
    hmkv_put_opts opts = put_opts(w, op->put);
    hmkv_txn_put(txn, branch, key.data, key.length, value.data, value.length, &opts);
  } else if (op->kind == OP_RANGE) {
    hmkv_range_opts opts = range_opts(w, op->range);
    hmkv_txn_range(txn, branch, key.data, key.length, &opts);
  } else {
    hmkv_remove_opts opts = remove_opts(w, op->remove);
    hmkv_txn_remove(txn, branch, key.data, key.length, &opts);
  }
}

static void add_compare(hmkv_txn *txn, int w, const struct compare *compare) {
  struct bytes key = compare->key, value = compare->value;
  int64_t number = compare->number;
  if (compare->what == HMKV_NUMBER_MOD || compare->what == HMKV_NUMBER_CREATE)
    number = revision_in(w, number);
  else if (compare->what == HMKV_NUMBER_LEASE)
    number = lease_in(w, number);
  if (compare->what)
    hmkv_txn_if_number(txn, key.data, key.length, compare->what, compare->op, number);
  else
    hmkv_txn_if_value(txn, key.data, key.length, compare->op, value.data, value.length);
}

static void await_both(hmkv_op *submitted[WORLDS], hmkv_result *result[WORLDS]) {
  for (int w = 0; w < WORLDS; w++) result[w] = hmkv_await(submitted[w]);
  int64_t revision = revision_from(MEM, hmkv_result_revision(result[MEM]));
  if (revision > newest) newest = revision;
}

static void answers(const struct op *op, hmkv_result *result[WORLDS]) {
  hmkv_op *submitted[WORLDS];
  int handle = (int)draw(HANDLES);
  for (int w = 0; w < WORLDS; w++) submitted[w] = submit(w, handle, op);
  await_both(submitted, result);
}

/* A lease that is not there, a revision that is not. */
static bool is_refusal(const hmkv_result *result) {
  hmkv_status status = hmkv_result_status(result);
  return status == HMKV_ELOST || status == HMKV_ECOMPACTED || status == HMKV_EINVAL;
}

/* Of several such reasons etcd 3.4 tells one of a put, as `mem:` does, later versions that
 * of the operation which comes first. */
static bool refused_for_two_reasons(hmkv_result *result[WORLDS]) {
  if (!is_refusal(result[MEM]) || !is_refusal(result[ETCD])) return false;
  return hmkv_result_status(result[MEM]) != hmkv_result_status(result[ETCD]);
}

void same_transaction(const struct transaction *transaction) {
  hmkv_op *submitted[WORLDS];
  hmkv_result *result[WORLDS];
  int handle = (int)draw(HANDLES);
  show_transaction(describing(), transaction);
  for (int w = 0; w < WORLDS; w++) {
    hmkv_txn *txn = hmkv_txn_new(worlds[w].kv[handle]);
    for (size_t i = 0; i < transaction->compares; i++) add_compare(txn, w, &transaction->compare[i]);
    for (int branch = 0; branch < 2; branch++)
      for (size_t i = 0; i < transaction->count[branch]; i++)
        add(txn, w, branch ? HMKV_ELSE : HMKV_THEN, &transaction->ops[branch][i]);
    submitted[w] = hmkv_txn_commit(txn, NULL);
  }
  await_both(submitted, result);
  if (refused_for_two_reasons(result)) {
    for (int w = 0; w < WORLDS; w++) hmkv_result_free(result[w]);
    return;
  }
  same_results(result);
}

/* ---- a limit among equal keys ---- */

static bool equal_by(int32_t sort, const hmkv_kv *a, const hmkv_kv *b) {
  switch (sort) {
    case HMKV_SORT_CREATE:
      return a->create_revision == b->create_revision;
    case HMKV_SORT_MOD:
      return a->mod_revision == b->mod_revision;
    case HMKV_SORT_VERSION:
      return a->version == b->version;
    default:
      return a->value_len == b->value_len && memcmp(a->value, b->value, a->value_len) == 0;
  }
}

static bool same_name(const hmkv_kv *a, const hmkv_kv *b) {
  return a->key_len == b->key_len && memcmp(a->key, b->key, a->key_len) == 0;
}

/* Of keys that are equal by what they are sorted by, the server chooses which come below
 * the limit. Those are looked for in the answer without a limit, `whole`, where they stand
 * from `sure` on; the others must be the same. */
static void same_cut(hmkv_result *result[WORLDS], const hmkv_result *whole, size_t sure, int32_t sort) {
  struct shown shown[WORLDS];
  for (int w = 0; w < WORLDS; w++) {
    shown_begin(&shown[w]);
    show_result(shown[w].file, w, result[w], sure);
    for (size_t i = sure, j = sure; i < hmkv_result_count(result[w]); i++, j++) {
      const hmkv_kv *kv = hmkv_result_kv(result[w], i), *other;
      while ((other = hmkv_result_kv(whole, j)) && !same_name(kv, other)) j++;
      if (!other || !equal_by(sort, hmkv_result_kv(whole, sure), other) ||
          revision_from(w, kv->mod_revision) != revision_from(MEM, other->mod_revision)) {
        fputs("this one is not there, not among the equal ones or not in order: ", shown[w].file);
        show_kv(shown[w].file, w, kv);
        shown_end(&shown[w]);
        FAIL("step %d: on %s: %s", step, w == MEM ? "mem:" : "etcd", shown[w].text);
      }
    }
    hmkv_result_free(result[w]);
  }
  same_shown(shown);
}

static void same_limited(const struct op *op, hmkv_result *result[WORLDS]) {
  struct op all = *op;
  size_t limit = (size_t)op->range.limit, sure = limit;
  all.range.limit = all.range.keys_only = 0;
  hmkv_result *whole = hmkv_await(submit(MEM, 0, &all));
  const hmkv_kv *left_out = hmkv_result_kv(whole, limit);
  while (left_out && sure > 0 && equal_by(op->range.sort, hmkv_result_kv(whole, sure - 1), left_out)) sure--;
  if (hmkv_result_count(result[MEM]) != limit || sure == limit)
    same_results(result);
  else
    same_cut(result, whole, sure, op->range.sort);
  hmkv_result_free(whole);
}

void same_answer(const struct op *op) {
  hmkv_result *result[WORLDS];
  show_op(describing(), op);
  answers(op, result);
  if (op->kind == OP_RANGE && op->range.limit > 0 && op->range.sort != HMKV_SORT_KEY)
    same_limited(op, result);
  else
    same_results(result);
}

void same_keys(void) {
  static const struct op all = {.kind = OP_RANGE, .range = {.size = sizeof all.range, .prefix = 1}};
  hmkv_result *result[WORLDS];
  answers(&all, result);
  CHECK_OK(hmkv_result_status(result[MEM]));
  same_results(result);
}
