/* Transactions: ranges with options and of other revisions, and transactions that only
 * read. */
#include "changes.h"
#include "own_store.h"
#include "txns.h"

static hmkv *kv;

static void begin(void) { kv = open_store(NULL); }
static void end(void) { close_store(kv); }

/* ---- options ---- */

/* Five keys whose orders differ:
 *   name    a  b  c  d  e
 *   value   3  5  1  4  2
 *   version 4  3  2  1  1
 * in the order of creation c a b d e, of the last change a b c d e. */
static const char *prefix;
static int64_t created[5], changed[5];

static const char *name(char letter) { return text("%s%c", prefix, letter); }

static void store_keys(void) {
  static const char order[] = "caebd";
  prefix = unique("keys/");
  for (int i = 0; i < 5; i++) put_text(kv, name(order[i]), "0");
  for (int i = 0; i < 2; i++) put_text(kv, name('a'), "0");
  put_text(kv, name('b'), "0");
  put_text(kv, name('a'), "3");
  put_text(kv, name('b'), "5");
  put_text(kv, name('c'), "1");
  CHECK_OK(hmkv_delete(kv, name('d')));
  CHECK_OK(hmkv_delete(kv, name('e')));
  put_text(kv, name('e'), "0");
  put_text(kv, name('d'), "4");
  CHECK_OK(hmkv_delete(kv, name('e')));
  put_text(kv, name('e'), "2");
  hmkv_result *keys = list_keys(kv, prefix);
  CHECK_INT(5, hmkv_result_count(keys));
  for (size_t i = 0; i < 5; i++) {
    created[i] = hmkv_result_kv(keys, i)->create_revision;
    changed[i] = hmkv_result_kv(keys, i)->mod_revision;
  }
  hmkv_result_free(keys);
}

/* What a range from `first` with options finds, in its order, and its total. */
static void finds(const char *first, const hmkv_range_opts *opts, const char *names,
                  uint64_t total) {
  for (int32_t branch = HMKV_THEN; branch <= HMKV_ELSE; branch++) {
    hmkv_txn *txn = hmkv_txn_new(kv);
    if (branch == HMKV_ELSE) txn_if_never(txn);
    hmkv_txn_range(txn, branch, first, HMKV_NTS, opts);
    hmkv_result *result = COMMIT(branch == HMKV_THEN ? HMKV_OK : HMKV_COMPARE_FAILED, txn);
    const hmkv_result *sub = hmkv_result_sub(result, 0);
    CHECK_STATUS(HMKV_OK, hmkv_result_status(sub));
    CHECK_STR(names, names_of(sub, prefix));
    CHECK_INT(total, hmkv_result_total(sub));
    hmkv_result_free(result);
  }
}

static void its_bounds_are_a_prefix_or_an_end_or_none(void) {
  store_keys();
  const char *end_key = name('d');
  finds(prefix, HMKV_RANGE_OPTS(.prefix = 1), "a b c d e ", 5);
  finds(name('b'), HMKV_RANGE_OPTS(.end = end_key, .end_len = HMKV_NTS), "b c ", 2);
  finds(name('b'), HMKV_RANGE_OPTS(.end = end_key, .end_len = strlen(end_key) - 1), "", 0);
  finds(name('d'), HMKV_RANGE_OPTS(.end = end_key, .end_len = HMKV_NTS), "", 0);
  finds(name('e'), HMKV_RANGE_OPTS(.end = end_key, .end_len = HMKV_NTS), "", 0);
  finds(name('x'), HMKV_RANGE_OPTS(.prefix = 1), "", 0);
  finds(name('c'), HMKV_RANGE_OPTS(.prefix = 0), "c ", 1);
}

static void it_is_sorted_as_asked(void) {
  store_keys();
  static const struct {
    int32_t sort;
    const char *up, *down;
  } orders[] = {
      {HMKV_SORT_KEY, "a b c d e ", "e d c b a "},
      {HMKV_SORT_VALUE, "c e a d b ", "b d a e c "},
      {HMKV_SORT_CREATE, "c a b d e ", "e d b a c "},
      {HMKV_SORT_MOD, "a b c d e ", "e d c b a "},
  };
  for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
    finds(prefix, HMKV_RANGE_OPTS(.prefix = 1, .sort = orders[i].sort), orders[i].up, 5);
    finds(prefix, HMKV_RANGE_OPTS(.prefix = 1, .sort = orders[i].sort, .descending = 1),
          orders[i].down, 5);
    const char *two = text("%.4s", orders[i].down);
    finds(prefix,
          HMKV_RANGE_OPTS(.prefix = 1, .sort = orders[i].sort, .descending = 1, .limit = 2), two, 5);
  }
  /* Equal ones in the order of their names. */
  finds(prefix, HMKV_RANGE_OPTS(.prefix = 1, .sort = HMKV_SORT_VERSION), "d e c b a ", 5);
  finds(prefix, HMKV_RANGE_OPTS(.prefix = 1, .sort = HMKV_SORT_VERSION, .descending = 1),
        "a b c d e ", 5);
}

static void keys_that_are_equal_by_it_stand_in_the_order_of_their_names(void) {
  enum { KEYS = 60, LIMIT = 7 };
  char all[4 * KEYS + 1] = "";
  prefix = unique("equal/");
  hmkv_txn *txn = hmkv_txn_new(kv);
  for (int i = 0; i < KEYS; i++) {
    txn_put(txn, HMKV_THEN, text("%s%02d", prefix, i), "same");
    sprintf(all + 3 * i, "%02d ", i);
  }
  COMMITS(HMKV_OK, txn);
  const char *first = text("%.*s", 3 * LIMIT, all);
  for (int32_t sort = HMKV_SORT_CREATE; sort <= HMKV_SORT_VALUE; sort++) {
    for (uint8_t down = 0; down <= 1; down++) {
      finds(prefix, HMKV_RANGE_OPTS(.prefix = 1, .sort = sort, .descending = down), all, KEYS);
      finds(prefix, HMKV_RANGE_OPTS(.prefix = 1, .sort = sort, .descending = down, .limit = LIMIT),
            first, KEYS);
    }
  }
}

static void its_limit_and_filters_leave_the_total_alone(void) {
  store_keys();
  finds(prefix, HMKV_RANGE_OPTS(.prefix = 1, .limit = 1), "a ", 5);
  finds(prefix, HMKV_RANGE_OPTS(.prefix = 1, .limit = 5), "a b c d e ", 5);
  finds(prefix, HMKV_RANGE_OPTS(.prefix = 1, .limit = 6), "a b c d e ", 5);
  finds(prefix, HMKV_RANGE_OPTS(.prefix = 1, .min_mod_revision = changed[2]), "c d e ", 5);
  finds(prefix, HMKV_RANGE_OPTS(.prefix = 1, .max_mod_revision = changed[2]), "a b c ", 5);
  finds(prefix,
        HMKV_RANGE_OPTS(.prefix = 1, .min_mod_revision = changed[1], .max_mod_revision = changed[3]),
        "b c d ", 5);
  finds(prefix, HMKV_RANGE_OPTS(.prefix = 1, .min_create_revision = created[1]), "b d e ", 5);
  finds(prefix, HMKV_RANGE_OPTS(.prefix = 1, .max_create_revision = created[0]), "a c ", 5);
  finds(prefix, HMKV_RANGE_OPTS(.prefix = 1, .min_mod_revision = changed[4] + 1), "", 5);
}

static void it_comes_without_values_or_as_a_number_alone(void) {
  store_keys();
  finds(prefix, HMKV_RANGE_OPTS(.prefix = 1, .count_only = 1), "", 5);
  finds(name('a'), HMKV_RANGE_OPTS(.count_only = 1), "", 1);
  hmkv_txn *txn = hmkv_txn_new(kv);
  hmkv_txn_range(txn, HMKV_THEN, prefix, HMKV_NTS, HMKV_RANGE_OPTS(.prefix = 1, .keys_only = 1));
  hmkv_txn_range(txn, HMKV_THEN, name('b'), HMKV_NTS, NULL);
  hmkv_result *result = COMMIT(HMKV_OK, txn);
  CHECK_SUB(result, 0, HMKV_OK, 5, 5);
  for (size_t i = 0; i < 5; i++) {
    CHECK_SUB_KV(result, 0, i, name((char)('a' + i)), "");
    CHECK_INT(0, txn_kv(result, 0, i)->value_len);
    CHECK_INT(changed[i], txn_kv(result, 0, i)->mod_revision);
  }
  CHECK_SUB_KV(result, 1, 0, name('b'), "5");
  hmkv_result_free(result);
}

static void serializable_has_no_effect(void) {
  store_keys();
  finds(prefix, HMKV_RANGE_OPTS(.prefix = 1, .serializable = 1), "a b c d e ", 5);
}

static void many_keys_come_in_one_piece(void) {
  enum { OPS = 100 };
  int keys = rounds(1500, 300);
  prefix = unique("many/");
  for (int i = 0; i < keys; i += OPS) {
    hmkv_txn *txn = hmkv_txn_new(kv);
    for (int j = i; j < i + OPS; j++)
      txn_put(txn, HMKV_THEN, text("%s%05d", prefix, j), text("%0200d", j));
    COMMITS(HMKV_OK, txn);
  }
  hmkv_txn *txn = hmkv_txn_new(kv);
  hmkv_txn_range(txn, HMKV_THEN, prefix, HMKV_NTS, HMKV_RANGE_OPTS(.prefix = 1));
  hmkv_result *result = COMMIT(HMKV_OK, txn);
  CHECK_SUB(result, 0, HMKV_OK, (size_t)keys, (uint64_t)keys);
  for (int i = 0; i < keys; i++)
    CHECK_SUB_KV(result, 0, (size_t)i, text("%s%05d", prefix, i), text("%0200d", i));
  hmkv_result_free(result);
}

/* ---- the whole store, and other revisions ---- */

static struct own_store own;

static void open_own(void) {
  own = (struct own_store){0};
  own_store_open(&own, NULL);
}

static void the_empty_key_stands_for_the_first_there_is(void) {
  open_own();
  static const char zero[] = "\0", high[] = "\xff\xff";
  put_text(own.kv, "a", "1");
  put_text(own.kv, "b", "1");
  put_text(own.kv, "\xff\xff", "1");
  put_text(own.kv, "\xff\xff\x01", "1");
  FINISH(HMKV_OK, hmkv_put(own.kv, zero, 1, "1", 1, NULL));
  hmkv_txn *txn = hmkv_txn_new(own.kv);
  hmkv_txn_range(txn, HMKV_THEN, "", 0, HMKV_RANGE_OPTS(.prefix = 1));
  hmkv_txn_range(txn, HMKV_THEN, NULL, 0, HMKV_RANGE_OPTS(.from = 1));
  hmkv_txn_range(txn, HMKV_THEN, "", 0, HMKV_RANGE_OPTS(.end = "b", .end_len = 1));
  hmkv_txn_range(txn, HMKV_THEN, "b", 1, HMKV_RANGE_OPTS(.from = 1));
  hmkv_txn_range(txn, HMKV_THEN, high, 2, HMKV_RANGE_OPTS(.prefix = 1));
  hmkv_result *result = COMMIT(HMKV_OK, txn);
  static const size_t counts[] = {5, 5, 2, 3, 2};
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
    CHECK_SUB(result, i, HMKV_OK, counts[i], counts[i]);
  hmkv_result_free(result);
  own_store_close(&own);
}

/* The key "\0" is the first there can be: nothing lies before it. etcd itself takes
 * the end "\0" for "no end". */
static void before_the_first_key_nothing_is_found_or_removed(void) {
  open_own();
  static const char zero[] = "\0";
  put_text(own.kv, "a", "1");
  put_text(own.kv, "b", "1");
  hmkv_txn *txn = hmkv_txn_new(own.kv);
  hmkv_txn_range(txn, HMKV_THEN, "", 0, HMKV_RANGE_OPTS(.end = "a", .end_len = 1));
  hmkv_txn_remove(txn, HMKV_THEN, "", 0, HMKV_REMOVE_OPTS(.end = "a", .end_len = 1));
  hmkv_txn_remove(txn, HMKV_THEN, "b", 1, HMKV_REMOVE_OPTS(.end = "a", .end_len = 1));
  hmkv_txn_range(txn, HMKV_THEN, "", 0, HMKV_RANGE_OPTS(.end = zero, .end_len = 1));
  hmkv_txn_range(txn, HMKV_THEN, "a", 1, HMKV_RANGE_OPTS(.end = zero, .end_len = 1));
  hmkv_txn_range(txn, HMKV_THEN, zero, 1, HMKV_RANGE_OPTS(.end = zero, .end_len = 1));
  hmkv_txn_remove(txn, HMKV_THEN, "a", 1, HMKV_REMOVE_OPTS(.end = zero, .end_len = 1));
  hmkv_result *result = COMMIT(HMKV_OK, txn);
  for (size_t i = 0; i < 7; i++) CHECK_SUB(result, i, HMKV_OK, 0, 0);
  hmkv_result_free(result);
  CHECK_VALUE(own.kv, "a", "1");
  CHECK_VALUE(own.kv, "b", "1");
  own_store_close(&own);
}

static void a_removal_of_the_empty_prefix_removes_all(void) {
  open_own();
  put_text(own.kv, "a", "1");
  FINISH(HMKV_OK, hmkv_put(own.kv, "\0", 1, "1", 1, NULL));
  put_text(own.kv, "\xff", "1");
  hmkv_txn *txn = hmkv_txn_new(own.kv);
  hmkv_txn_remove(txn, HMKV_THEN, "", 0, HMKV_REMOVE_OPTS(.prefix = 1, .prev = 1));
  hmkv_txn_range(txn, HMKV_THEN, "", 0, HMKV_RANGE_OPTS(.from = 1));
  hmkv_result *result = COMMIT(HMKV_OK, txn);
  CHECK_SUB(result, 0, HMKV_OK, 3, 3);
  CHECK_SUB_KV(result, 0, 1, "a", "1");
  CHECK_SUB(result, 1, HMKV_OK, 0, 0);
  hmkv_result_free(result);
  own_store_close(&own);
}

static void a_range_at_a_revision_shows_that_state(void) {
  open_own();
  int64_t one = put_text(own.kv, "key", "1"), two = put_text(own.kv, "key", "2");
  int64_t gone = change_remove(own.kv, "key"), now = put_text(own.kv, "other", "x");
  hmkv_txn *txn = hmkv_txn_new(own.kv);
  txn_put(txn, HMKV_THEN, "key", "3");
  const int64_t revisions[] = {one, two, gone, now, 0};
  for (int i = 0; i < 5; i++)
    hmkv_txn_range(txn, HMKV_THEN, "key", HMKV_NTS, HMKV_RANGE_OPTS(.revision = revisions[i]));
  hmkv_result *result = COMMIT(HMKV_OK, txn);
  CHECK_INT(now + 1, hmkv_result_revision(result));
  CHECK_SUB_KV(result, 1, 0, "key", "1");
  CHECK_INT(one, txn_kv(result, 1, 0)->mod_revision);
  CHECK_SUB_KV(result, 2, 0, "key", "2");
  CHECK_SUB(result, 3, HMKV_NOT_FOUND, 0, 0);
  CHECK_SUB(result, 4, HMKV_NOT_FOUND, 0, 0); /* before the put */
  CHECK_SUB_KV(result, 5, 0, "key", "3");
  hmkv_result_free(result);
  own_store_close(&own);
}

/* Commits a put and a range of a revision, which must write nothing. */
static void refused_at(hmkv_status expected, int64_t revision, bool put_first) {
  hmkv_txn *txn = hmkv_txn_new(own.kv);
  if (put_first) txn_put(txn, HMKV_THEN, "written", "1");
  hmkv_txn_range(txn, HMKV_THEN, "key", HMKV_NTS, HMKV_RANGE_OPTS(.revision = revision));
  if (!put_first) txn_remove(txn, HMKV_THEN, "key");
  int64_t before = newest_revision(own.kv);
  COMMITS(expected, txn);
  CHECK_INT(before, newest_revision(own.kv));
  CHECK_VALUE(own.kv, "written", NULL);
  CHECK_VALUE(own.kv, "key", "2");
}

static void a_range_at_a_compacted_revision_is_ecompacted_and_nothing_written(void) {
  open_own();
  int64_t one = put_text(own.kv, "key", "1"), two = put_text(own.kv, "key", "2");
  CHECK_INT(two, own_store_compact(&own));
  refused_at(HMKV_ECOMPACTED, one, true);
  refused_at(HMKV_ECOMPACTED, one, false);
  refused_at(HMKV_ECOMPACTED, 1, true);
  hmkv_txn *txn = hmkv_txn_new(own.kv); /* reads alone */
  hmkv_txn_range(txn, HMKV_THEN, "key", HMKV_NTS, HMKV_RANGE_OPTS(.revision = one));
  COMMITS(HMKV_ECOMPACTED, txn);
  txn = hmkv_txn_new(own.kv); /* the newest is kept */
  hmkv_txn_range(txn, HMKV_THEN, "key", HMKV_NTS, HMKV_RANGE_OPTS(.revision = two));
  hmkv_result *result = COMMIT(HMKV_OK, txn);
  CHECK_SUB_KV(result, 0, 0, "key", "2");
  hmkv_result_free(result);
  own_store_close(&own);
}

static void a_range_at_a_revision_to_come_is_einval_and_nothing_written(void) {
  open_own();
  put_text(own.kv, "key", "1");
  int64_t now = put_text(own.kv, "key", "2");
  refused_at(HMKV_EINVAL, now + 1, true); /* that of the transaction itself, too */
  refused_at(HMKV_EINVAL, now + 1, false);
  refused_at(HMKV_EINVAL, now + 1000, true);
  refused_at(HMKV_EINVAL, INT64_MAX, false);
  own_store_close(&own);
}

/* As on etcd: only the branch that is taken is looked at. */
static void in_the_branch_not_taken_a_revision_or_lease_does_no_harm(void) {
  open_own();
  int64_t one = put_text(own.kv, "key", "1");
  put_text(own.kv, "key", "2");
  own_store_compact(&own);
  for (int32_t branch = HMKV_THEN; branch <= HMKV_ELSE; branch++) {
    int32_t other = HMKV_THEN + HMKV_ELSE - branch;
    hmkv_txn *txn = hmkv_txn_new(own.kv);
    if (branch == HMKV_ELSE) txn_if_never(txn);
    txn_put(txn, branch, "key", "3");
    hmkv_txn_range(txn, other, "key", 3, HMKV_RANGE_OPTS(.revision = one));
    hmkv_txn_range(txn, other, "key", 3, HMKV_RANGE_OPTS(.revision = INT64_MAX));
    hmkv_txn_put(txn, other, "other", 5, "1", 1, HMKV_PUT_OPTS(.lease = 12345678));
    COMMITS(branch == HMKV_THEN ? HMKV_OK : HMKV_COMPARE_FAILED, txn);
    CHECK_VALUE(own.kv, "key", "3");
    CHECK_VALUE(own.kv, "other", NULL);
  }
  own_store_close(&own);
}

/* ---- transactions that only read ---- */

struct pair {
  const char *a, *b;
  atomic_bool stop;
};

static void *write_pairs(void *arg) {
  struct pair *pair = arg;
  for (int i = 1; !atomic_load(&pair->stop); i++) {
    hmkv_txn *txn = hmkv_txn_new(kv);
    txn_put(txn, HMKV_THEN, pair->a, text("%d", i));
    txn_put(txn, HMKV_THEN, pair->b, text("%d", i));
    COMMITS(HMKV_OK, txn);
  }
  return NULL;
}

static void ranges_of_one_transaction_show_one_state(void) {
  struct pair pair = {.a = unique("a"), .b = unique("b")};
  pthread_t writer = start_thread(write_pairs, &pair);
  WAIT_UNTIL(has_key(kv, pair.b));
  int64_t last = 0;
  for (int i = 0; i < rounds(300, 30); i++) {
    hmkv_txn *txn = hmkv_txn_new(kv);
    txn_range(txn, HMKV_THEN, pair.a);
    txn_range(txn, HMKV_THEN, pair.b);
    hmkv_result *result = COMMIT(HMKV_OK, txn);
    const hmkv_kv *a = txn_kv(result, 0, 0), *b = txn_kv(result, 1, 0);
    CHECK_STR(a->value, b->value);
    CHECK_INT(a->mod_revision, b->mod_revision);
    CHECK(hmkv_result_revision(result) >= a->mod_revision);
    CHECK(a->mod_revision >= last); /* linearizable */
    last = a->mod_revision;
    hmkv_result_free(result);
  }
  atomic_store(&pair.stop, true);
  join_thread(writer);
}

static const struct test tests[] = {
    BOTH(its_bounds_are_a_prefix_or_an_end_or_none),
    BOTH(it_is_sorted_as_asked),
    BOTH(keys_that_are_equal_by_it_stand_in_the_order_of_their_names),
    BOTH(its_limit_and_filters_leave_the_total_alone),
    BOTH(it_comes_without_values_or_as_a_number_alone),
    BOTH(serializable_has_no_effect),
    BOTH(many_keys_come_in_one_piece),
    BOTH(the_empty_key_stands_for_the_first_there_is),
    BOTH(before_the_first_key_nothing_is_found_or_removed),
    BOTH(a_removal_of_the_empty_prefix_removes_all),
    BOTH(a_range_at_a_revision_shows_that_state),
    BOTH(a_range_at_a_compacted_revision_is_ecompacted_and_nothing_written),
    BOTH(a_range_at_a_revision_to_come_is_einval_and_nothing_written),
    BOTH(in_the_branch_not_taken_a_revision_or_lease_does_no_harm),
    BOTH(ranges_of_one_transaction_show_one_state),
};
TEST_MAIN(.begin = begin, .end = end)
