#include "ops.h"

/* With NUL bytes, prefixes of each other, and the last keys that there can be. */
static const struct bytes keys[] = {
    BYTES("a"),        BYTES("a/"),       BYTES("a/b"),  BYTES("a/b/c"),    BYTES("aa"),
    BYTES("a\0"),      BYTES("a\0b"),     BYTES("a\xff"), BYTES("a\xff\0"), BYTES("a\xff\xff"),
    BYTES("b"),        BYTES("b\0\0"),    BYTES("bb"),   BYTES("\0"),       BYTES("\0\0"),
    BYTES("\0\xff"),   BYTES("\x01"),     BYTES("\x7f\xff"), BYTES("\x80"), BYTES("\xff"),
    BYTES("\xff\0"),   BYTES("\xff\xff"), BYTES("\xff\xff\xff"), BYTES("Z"), BYTES("\xc3\xa4"),
    BYTES("k k"),      BYTES("key"),      BYTES("a long key, the longest one of them all, which goes on")};
static const struct bytes ends[] = {BYTES("\0"),  BYTES("a"),        BYTES("a\0"), BYTES("a/"), BYTES("a0"),
                                    BYTES("b"),   BYTES("c"),        BYTES("\x01"), BYTES("\x80"), BYTES("k"),
                                    BYTES("\xff"), BYTES("\xff\xff"), BYTES("\xff\xff\xff\xff")};
static char large[5000];
static const struct bytes values[] = {{NULL, 0},     BYTES("1"),      BYTES("2"),      BYTES("10"),
                                      BYTES("a"),    BYTES("a\0"),    BYTES("a\0b"),   BYTES("\0"),
                                      BYTES("\xff\0\xff"), BYTES("b"), {large, sizeof large}};
static const char *const operators[] = {"=", "!=", "<", ">"};

int64_t newest, compacted;

int compare_keys(struct bytes a, struct bytes b) {
  size_t shorter = a.length < b.length ? a.length : b.length;
  int order = shorter ? memcmp(a.data, b.data, shorter) : 0;
  return order ? order : (a.length > b.length) - (a.length < b.length);
}

struct bytes draw_key(void) { return PICK(keys); }

struct bytes draw_start(void) { return draw(6) ? draw_key() : (struct bytes){NULL, 0}; }

struct bytes draw_end(void) { return draw(3) ? PICK(ends) : draw_key(); }

/* One of the `count` up to `last`. */
static int64_t recent(int64_t last, size_t count) {
  int64_t revision = last - (int64_t)draw(count);
  return revision > 0 ? revision : 1;
}

int64_t draw_revision(void) {
  switch (draw(10)) {
    case 0:
      return newest + 1 + draw(3); /* yet to come */
    case 1:
      return recent(newest, (size_t)newest + 1);
    case 2:
      return compacted + draw(3);
    case 3:
      return newest;
    case 4:
      return recent(compacted, 20);
    default:
      return recent(newest, (size_t)(newest - compacted) + 1);
  }
}

int64_t draw_lease(void) {
  unsigned kind = draw(24);
  if (kind < 12) return 0;
  if (kind == 12) return LEASE_NEVER;
  int64_t number = lease_count() - (int64_t)draw(9);
  return number > 0 ? number : 0;
}

/* ---- what a key is, as `mem:` has it ---- */

struct known {
  int64_t numbers[HMKV_NUMBER_LEASE + 1]; /* of hmkv_number_code */
  const struct bytes *value;              /* NULL: no such key */
};

static struct known look_up(struct bytes key) {
  struct known known = {{0}, NULL};
  hmkv_result *result = hmkv_await(hmkv_range(worlds[MEM].kv[0], key.data, key.length, NULL));
  const hmkv_kv *kv = hmkv_result_kv(result, 0);
  if (kv) {
    known.numbers[HMKV_NUMBER_MOD] = revision_from(MEM, kv->mod_revision);
    known.numbers[HMKV_NUMBER_CREATE] = revision_from(MEM, kv->create_revision);
    known.numbers[HMKV_NUMBER_VERSION] = kv->version;
    known.numbers[HMKV_NUMBER_LEASE] = lease_from(MEM, kv->lease);
    known.value = &values[0];
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
      if (values[i].length == kv->value_len && values[i].length &&
          memcmp(values[i].data, kv->value, kv->value_len) == 0)
        known.value = &values[i];
  }
  hmkv_result_free(result);
  return known;
}

/* ---- drawing ---- */

static int64_t draw_condition(struct bytes key) {
  unsigned kind = draw(12);
  if (kind < 7) return 0;
  if (kind == 7) return HMKV_ABSENT;
  if (kind == 8) return recent(newest, (size_t)newest + 1);
  int64_t right = look_up(key).numbers[HMKV_NUMBER_MOD];
  if (right == 0) return HMKV_ABSENT;
  return kind == 9 && right > 1 ? right - 1 : right;
}

static struct op a_put(void) {
  struct op op = {.kind = OP_PUT, .key = draw_key(), .value = PICK(values)};
  op.put = *HMKV_PUT_OPTS(.lease = draw_lease(), .prev = draw(3) == 0);
  return op;
}

static struct op a_range(void) {
  struct op op = {.kind = OP_RANGE, .key = draw_key()};
  struct bytes end = draw_end();
  unsigned shape = draw(6);
  if (shape > 1) op.key = draw_start();
  op.range = *HMKV_RANGE_OPTS(.prefix = shape == 2 || shape == 3, .from = shape == 4,
                              .limit = draw(3) ? 0 : 1 + draw(12), .revision = draw(3) ? 0 : draw_revision(),
                              .sort = draw(2) ? 0 : (int32_t)draw(5), .descending = draw(3) == 0,
                              .keys_only = draw(5) == 0, .count_only = draw(8) == 0,
                              .serializable = draw(4) == 0);
  if (shape == 5) op.range.end = end.data, op.range.end_len = end.length;
  if (draw(6) == 0) op.range.min_mod_revision = recent(newest + 2, 50);
  if (draw(6) == 0) op.range.max_mod_revision = recent(newest + 2, 50);
  if (draw(6) == 0) op.range.min_create_revision = recent(newest + 2, 100);
  if (draw(6) == 0) op.range.max_create_revision = recent(newest + 2, 100);
  return op;
}

static struct op a_removal(void) {
  struct op op = {.kind = OP_REMOVE, .key = draw_key()};
  struct bytes end = draw_end();
  unsigned shape = draw(8);
  if (shape > 5 && draw(3) == 0) op.key = draw_start();
  op.remove = *HMKV_REMOVE_OPTS(.prefix = shape == 6, .prev = draw(3) == 0);
  if (shape == 7) op.remove.end = end.data, op.remove.end_len = end.length;
  return op;
}

/* Something is wrong with its arguments. */
static void spoil(struct op *op) {
  bool empty = draw(4) == 0;
  if (empty) op->key.length = 0; /* which is right of a range */
  switch (op->kind) {
    case OP_PUT:
      if (empty) return;
      if (draw(2)) op->put.lease = -1;
      else op->put.if_mod_revision = -2;
      return;
    case OP_RANGE:
      if (empty) return;
      if (draw(2)) op->range.limit = -1;
      else if (draw(2)) op->range.sort = HMKV_SORT_VALUE + 1;
      else if (draw(2)) op->range.min_mod_revision = -1;
      else op->range.prefix = op->range.from = 1;
      return;
    case OP_REMOVE:
      if (empty) return;
      op->remove.prefix = 1;
      if (draw(2)) op->remove.if_mod_revision = 1;
      else op->remove.end = "z", op->remove.end_len = draw(2);
  }
}

struct op draw_put(void) {
  struct op op = a_put();
  op.put.if_mod_revision = draw_condition(op.key);
  if (draw(50) == 0) spoil(&op);
  return op;
}

struct op draw_range(void) {
  struct op op = a_range();
  if (draw(50) == 0) spoil(&op);
  return op;
}

struct op draw_remove(void) {
  struct op op = a_removal();
  if (!op.remove.prefix && !op.remove.end) op.remove.if_mod_revision = draw_condition(op.key);
  if (draw(50) == 0) spoil(&op);
  return op;
}

static struct compare draw_compare(void) {
  struct compare compare = {.key = draw_key(), .what = (int32_t)draw(5), .op = PICK(operators)};
  struct known known = look_up(compare.key);
  bool wanted = draw(6) != 0; /* that it is true */
  if (compare.what == 0 && known.value && wanted) {
    compare.op = "=";
    compare.value = *known.value;
  } else if (compare.what == 0 && !wanted) {
    compare.value = PICK(values);
  } else if (compare.what == HMKV_NUMBER_LEASE) {
    compare.number = wanted ? known.numbers[HMKV_NUMBER_LEASE] : draw_lease();
    /* The ids of the two worlds have no common order. */
    if (wanted) compare.op = "=";
    else if (compare.number) compare.op = operators[draw(2)];
  } else {
    if (compare.what == 0) compare.what = HMKV_NUMBER_VERSION;
    int64_t right = known.numbers[compare.what];
    compare.number = right + (compare.op[0] == '>' ? -1 : compare.op[0] != '=');
    if (!wanted) compare.number = compare.what == HMKV_NUMBER_VERSION ? draw(4) : draw_revision();
  }
  if (draw(100) == 0) compare.op = "==";
  return compare;
}

void draw_transaction(struct transaction *transaction) {
  transaction->compares = draw(COMPARES_MAX + 1);
  for (size_t i = 0; i < transaction->compares; i++) transaction->compare[i] = draw_compare();
  for (int branch = 0; branch < 2; branch++) {
    transaction->count[branch] = draw(6);
    for (size_t i = 0; i < transaction->count[branch]; i++) {
      struct op *op = &transaction->ops[branch][i];
      unsigned kind = draw(10);
      *op = kind < 4 ? a_put() : kind < 7 ? a_range() : a_removal();
      /* Too often a transaction would fail by it. */
      if (op->kind == OP_RANGE && draw(4)) op->range.revision = 0;
      if (op->kind == OP_PUT && draw(2)) op->put.lease = 0;
      /* Which of several equal keys come below the limit is the server's choice. */
      if (op->kind == OP_RANGE && op->range.limit) op->range.sort = HMKV_SORT_KEY;
      if (draw(200) == 0) spoil(op);
    }
  }
}
