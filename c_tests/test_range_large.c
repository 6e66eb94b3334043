/* Ranges that are read in pages: complete, at one revision, in any order. */
#include "own_store.h"
#include "requests.h"
#include "test.h"

enum { PER_TXN = 128, IN_FLIGHT = 16, WRITER_KEYS = 64 };

/* On etcd a server of its own: one that had so many keys is slow for all others after. */
static struct own_store own;
static hmkv *kv;
static const char *prefix;
static int count;

static const char *key_of(char *buffer, int i) {
  sprintf(buffer, "%s%06d", prefix, i);
  return buffer;
}

static hmkv_op *put_block(int from) {
  char key[300], value[16];
  hmkv_txn *txn = hmkv_txn_new(kv);
  for (int i = from; i < from + PER_TXN && i < count; i++) {
    int length = snprintf(value, sizeof value, "%d", count - i);
    hmkv_txn_put(txn, HMKV_THEN, key_of(key, i), HMKV_NTS, value, (size_t)length, NULL);
  }
  return hmkv_txn_commit(txn, NULL);
}

static void fill(void) {
  hmkv_op *ops[IN_FLIGHT];
  for (int from = 0; from < count;) {
    int submitted = 0;
    for (; submitted < IN_FLIGHT && from < count; from += PER_TXN) ops[submitted++] = put_block(from);
    for (int i = 0; i < submitted; i++) FINISH(HMKV_OK, ops[i]);
  }
}

static void begin(void) {
  own_store_open(&own, "timeout=60s");
  kv = own.kv;
  prefix = unique("large/");
  count = rounds(100000, 2000);
  fill();
}

static void end(void) { own_store_close(&own); }

static void remove_all(void) {
  hmkv_result *removed =
      AWAIT(HMKV_OK, hmkv_remove(kv, prefix, HMKV_NTS, HMKV_REMOVE_OPTS(.prefix = 1)));
  CHECK_INT(count, hmkv_result_total(removed));
  hmkv_result_free(removed);
}

/* Checks that entry `at` is key `i` with its value. */
static void check_entry(const hmkv_result *result, int at, int i, bool has_value) {
  char key[300], value[16];
  int length = has_value ? snprintf(value, sizeof value, "%d", count - i) : 0;
  key_of(key, i);
  CHECK_ENTRY(hmkv_result_kv(result, (size_t)at), key, strlen(key), value, (size_t)length);
}

static hmkv_result *read_all(const hmkv_range_opts *opts) {
  hmkv_result *result = AWAIT(HMKV_OK, hmkv_range(kv, prefix, HMKV_NTS, opts));
  CHECK_INT(count, hmkv_result_total(result));
  return result;
}

static void all_keys_come_in_order(void) {
  hmkv_result *result = read_all(HMKV_RANGE_OPTS(.prefix = 1));
  CHECK_INT(count, hmkv_result_count(result));
  for (int i = 0; i < count; i++) {
    check_entry(result, i, i, true);
    CHECK(hmkv_result_kv(result, (size_t)i)->mod_revision <= hmkv_result_revision(result));
  }
  CHECK(hmkv_result_kv(result, (size_t)count) == NULL);
  hmkv_result_free(result);
}

static void the_largest_first(void) {
  hmkv_result *result = read_all(HMKV_RANGE_OPTS(.prefix = 1, .descending = 1));
  CHECK_INT(count, hmkv_result_count(result));
  for (int i = 0; i < count; i++) check_entry(result, i, count - 1 - i, true);
  hmkv_result_free(result);
}

static void in_the_order_of_their_creation(void) {
  hmkv_result *result = read_all(HMKV_RANGE_OPTS(.prefix = 1, .sort = HMKV_SORT_CREATE));
  CHECK_INT(count, hmkv_result_count(result));
  char before[300] = "";
  int64_t created = 0;
  for (int i = 0; i < count; i++) {
    const hmkv_kv *entry = hmkv_result_kv(result, (size_t)i);
    CHECK(entry->create_revision >= created);
    if (entry->create_revision == created) CHECK(strcmp(before, entry->key) < 0);
    created = entry->create_revision;
    snprintf(before, sizeof before, "%s", entry->key);
  }
  hmkv_result_free(result);
}

static void keys_only_and_count_only(void) {
  hmkv_result *result = read_all(HMKV_RANGE_OPTS(.prefix = 1, .keys_only = 1));
  CHECK_INT(count, hmkv_result_count(result));
  for (int i = 0; i < count; i++) check_entry(result, i, i, false);
  hmkv_result_free(result);
  result = read_all(HMKV_RANGE_OPTS(.prefix = 1, .count_only = 1));
  CHECK_INT(0, hmkv_result_count(result));
  hmkv_result_free(result);
}

static void a_limit_of_more_than_a_page(void) {
  int limit = count / 2 + 1;
  hmkv_result *result = read_all(HMKV_RANGE_OPTS(.prefix = 1, .limit = limit));
  CHECK_INT(limit, hmkv_result_count(result));
  for (int i = 0; i < limit; i++) check_entry(result, i, i, true);
  hmkv_result_free(result);
  result = read_all(HMKV_RANGE_OPTS(.prefix = 1, .limit = limit, .descending = 1));
  CHECK_INT(limit, hmkv_result_count(result));
  for (int i = 0; i < limit; i++) check_entry(result, i, count - 1 - i, true);
  hmkv_result_free(result);
}

static void a_filter_over_many_pages(void) {
  char key[300];
  int64_t revision = put_text(kv, key_of(key, count - 1), "1");
  hmkv_result *result = read_all(HMKV_RANGE_OPTS(.prefix = 1, .min_mod_revision = revision));
  CHECK_INT(1, hmkv_result_count(result));
  check_entry(result, 0, count - 1, true);
  hmkv_result_free(result);
  result = read_all(HMKV_RANGE_OPTS(.prefix = 1, .max_mod_revision = revision - 1));
  CHECK_INT(count - 1, hmkv_result_count(result));
  check_entry(result, count - 2, count - 2, true);
  hmkv_result_free(result);
}

static void a_former_revision_is_read_whole(void) {
  hmkv_result *now = AWAIT(HMKV_OK, hmkv_ping(kv));
  int64_t revision = hmkv_result_revision(now);
  hmkv_result_free(now);
  remove_all();
  hmkv_result *result = read_all(HMKV_RANGE_OPTS(.prefix = 1, .revision = revision));
  CHECK_INT(count, hmkv_result_count(result));
  CHECK_INT(revision, hmkv_result_revision(result));
  for (int i = 0; i < count; i++) check_entry(result, i, i, true);
  hmkv_result_free(result);
  result = AWAIT(HMKV_OK, hmkv_range(kv, prefix, HMKV_NTS, HMKV_RANGE_OPTS(.prefix = 1)));
  CHECK_INT(0, hmkv_result_total(result));
  hmkv_result_free(result);
}

struct writer {
  pthread_t thread;
  atomic_bool stop;
  hmkv *kv;
};

/* Some keys all over the range always hold the same number, that of one transaction. */
static void *write_keys(void *arg) {
  struct writer *writer = arg;
  char key[300], value[16];
  for (int number = 1; !atomic_load(&writer->stop); number++) {
    int length = snprintf(value, sizeof value, "w%d", number);
    hmkv_txn *txn = hmkv_txn_new(writer->kv);
    for (int i = 0; i < WRITER_KEYS; i++)
      hmkv_txn_put(txn, HMKV_THEN, key_of(key, (count - 1) / (WRITER_KEYS - 1) * i), HMKV_NTS,
                   value, (size_t)length, NULL);
    FINISH(HMKV_OK, hmkv_txn_commit(txn, NULL));
  }
  return NULL;
}

static void all_pages_are_of_one_revision(void) {
  struct writer writer = {.kv = open_at(own.endpoint, "timeout=60s")};
  writer.thread = start_thread(write_keys, &writer);
  int64_t last = 0;
  for (int i = 0; i < rounds(10, 3); i++) {
    hmkv_result *result = read_all(HMKV_RANGE_OPTS(.prefix = 1));
    int64_t revision = hmkv_result_revision(result), written = 0;
    CHECK_INT(count, hmkv_result_count(result));
    CHECK(revision >= last); /* linearizable */
    last = revision;
    int seen = 0;
    for (int j = 0; j < count; j++) {
      const hmkv_kv *entry = hmkv_result_kv(result, (size_t)j);
      CHECK(entry->mod_revision <= revision);
      if (entry->value[0] != 'w') continue;
      if (!written) written = entry->mod_revision;
      CHECK_INT(written, entry->mod_revision);
      seen++;
    }
    CHECK(seen == WRITER_KEYS || seen == 0);
    hmkv_result_free(result);
  }
  atomic_store(&writer.stop, true);
  join_thread(writer.thread);
  close_store(writer.kv);
  remove_all();
}

static void many_are_read_at_the_same_time(void) {
  enum { READERS = 4 };
  hmkv_op *ops[READERS];
  for (int i = 0; i < READERS; i++)
    ops[i] = hmkv_range(kv, prefix, HMKV_NTS, HMKV_RANGE_OPTS(.prefix = 1));
  for (int i = 0; i < READERS; i++) {
    hmkv_result *result = AWAIT(HMKV_OK, ops[i]);
    CHECK_INT(count, hmkv_result_count(result));
    check_entry(result, 0, 0, true);
    check_entry(result, count - 1, count - 1, true);
    hmkv_result_free(result);
  }
}

static void a_range_that_is_cancelled_between_its_pages_leaves_nothing(void) {
  for (int i = 0; i < 20; i++) {
    hmkv_op *op = hmkv_range(kv, prefix, HMKV_NTS, HMKV_RANGE_OPTS(.prefix = 1));
    int64_t wait_end = now_ms() + i; /* each time a little later */
    while (now_ms() < wait_end) poll_pause();
    hmkv_status status = hmkv_cancel(op);
    if (status != HMKV_ECANCELED) CHECK_STATUS(HMKV_OK, status);
  }
  hmkv_result_free(read_all(HMKV_RANGE_OPTS(.prefix = 1, .count_only = 1)));
}

static const struct test tests[] = {
    BOTH(all_keys_come_in_order),
    BOTH(the_largest_first),
    BOTH(in_the_order_of_their_creation),
    BOTH(keys_only_and_count_only),
    BOTH(a_limit_of_more_than_a_page),
    BOTH(a_filter_over_many_pages),
    BOTH(many_are_read_at_the_same_time),
    BOTH(a_range_that_is_cancelled_between_its_pages_leaves_nothing),
    BOTH(a_former_revision_is_read_whole),
    BOTH(all_pages_are_of_one_revision),
};
TEST_MAIN(.begin = begin, .end = end)
