/* hmkv_watch_open: what is watched, and what a change says. */
#include "changes.h"
#include "own_store.h"
#include "recorder.h"
#include "test.h"

enum { PUT = HMKV_EVENT_PUT, DELETE = HMKV_EVENT_DELETE };

static hmkv *kv;
static struct recorder recorder;
static hmkv_watcher *watcher;

static void begin(void) {
  kv = open_store("timeout=20s");
  recorder = (struct recorder)RECORDER;
}

static void end(void) { close_store(kv); }

static void watch(const char *key, const hmkv_watch_opts *opts) {
  watcher = NULL;
  CHECK_OK(hmkv_watch_open(kv, key, HMKV_NTS, opts, recorder_event, &recorder, &watcher));
  CHECK(watcher);
}

/* Waits for `count` events and ends the watch. */
static void finish(size_t count) {
  recorder_wait(&recorder, count);
  CHECK_OK(hmkv_watch_close(watcher));
  CHECK_INT(count, recorder.events.count);
  recorder_check_order(&recorder);
  recorder_check_versions(&recorder);
  CHECK_INT(0, recorder.states.count);
  recorder_free(&recorder);
}

static void every_change_of_a_key_is_delivered_with_all_fields(void) {
  const char *key = unique("key");
  hmkv_lease *lease = NULL;
  CHECK_OK(hmkv_lease_grant(kv, 60000, NULL, NULL, &lease));
  watch(key, NULL);
  int64_t first = change_put(kv, key, "one");
  int64_t second = change_done(hmkv_put(kv, key, HMKV_NTS, "two\0!", 5,
                                        HMKV_PUT_OPTS(.lease = hmkv_lease_id(lease))));
  int64_t third = change_put(kv, key, "");
  int64_t fourth = change_put(kv, key, ""); /* an equal value is a change */
  recorder_wait(&recorder, 4);
  CHECK_PUT(&recorder, 0, key, "one", first);
  CHECK_PUT(&recorder, 1, key, "two", second);
  CHECK_PUT(&recorder, 2, key, "", third);
  CHECK_PUT(&recorder, 3, key, "", fourth);
  for (size_t i = 0; i < 4; i++) {
    struct recorded event = recorder_at(&recorder, i);
    CHECK_INT(strlen(key), event.kv.key_len);
    CHECK_INT(first, event.kv.create_revision);
    CHECK_INT(i + 1, event.kv.version);
    CHECK_INT(i == 1 ? hmkv_lease_id(lease) : 0, event.kv.lease);
    CHECK(event.prev.key == NULL); /* not asked for */
    CHECK(event.detail == NULL);
  }
  struct recorded binary = recorder_at(&recorder, 1);
  CHECK_INT(5, binary.kv.value_len);
  CHECK(memcmp("two\0!", binary.kv.value, 5) == 0);
  CHECK_OK(hmkv_lease_close(lease, true));
  finish(4);
}

static void it_does_not_end_with_a_deletion(void) {
  const char *key = unique("key");
  watch(key, NULL);
  for (size_t i = 0; i < 6; i += 2) {
    int64_t put = change_put(kv, key, "value"), removed = change_remove(kv, key);
    change_remove(kv, key); /* which is not there */
    recorder_wait(&recorder, i + 2);
    CHECK_PUT(&recorder, i, key, "value", put);
    CHECK_DELETE(&recorder, i + 1, key, removed);
    CHECK_INT(1, recorder_at(&recorder, i).kv.version);
    CHECK_INT(put, recorder_at(&recorder, i).kv.create_revision);
  }
  finish(6);
}

static void a_key_alone_is_watched_without_its_neighbours(void) {
  const char *key = unique("key");
  watch(key, NULL);
  change_put(kv, text("%s/", key), "below");
  change_put(kv, text("%.*s", (int)strlen(key) - 1, key), "before");
  change_put(kv, text("%s0", key), "after");
  int64_t revision = change_put(kv, key, "it");
  recorder_wait(&recorder, 1);
  CHECK_PUT(&recorder, 0, key, "it", revision);
  finish(1);
}

static void a_prefix_is_all_keys_that_begin_with_it(void) {
  const char *prefix = unique("prefix");
  watch(prefix, HMKV_WATCH_OPTS(.prefix = 1));
  change_put(kv, text("%.*s", (int)strlen(prefix) - 1, prefix), "shorter");
  change_put(kv, text("%.*sy", (int)strlen(prefix) - 1, prefix), "next");
  const char *const keys[] = {prefix, text("%s\x01", prefix), text("%s/b", prefix),
                              text("%s/a", prefix), text("%s\xff\xff", prefix)};
  int64_t revisions[5];
  for (int i = 0; i < 5; i++) revisions[i] = change_put(kv, keys[i], "value");
  recorder_wait(&recorder, 5);
  for (size_t i = 0; i < 5; i++) CHECK_PUT(&recorder, i, keys[i], "value", revisions[i]);
  finish(5);
}

static void a_range_ends_before_its_end(void) {
  const char *prefix = unique("range"), *b = text("%s/b", prefix), *d = text("%s/d", prefix);
  watch(b, HMKV_WATCH_OPTS(.end = d, .end_len = HMKV_NTS));
  change_put(kv, text("%s/a", prefix), "before");
  change_put(kv, d, "the end");
  change_put(kv, text("%s/e", prefix), "after");
  int64_t first = change_put(kv, b, "1");
  int64_t second = change_put(kv, text("%s/c\xff", prefix), "2");
  recorder_wait(&recorder, 2);
  CHECK_PUT(&recorder, 0, b, "1", first);
  CHECK_PUT(&recorder, 1, text("%s/c\xff", prefix), "2", second);
  finish(2);
  /* An end of any bytes: this range is the one key. */
  size_t length = strlen(b);
  watch(b, HMKV_WATCH_OPTS(.end = b, .end_len = length + 1));
  change_put(kv, text("%s\x01", b), "3");
  int64_t third = change_put(kv, b, "4");
  recorder_wait(&recorder, 1);
  CHECK_PUT(&recorder, 0, b, "4", third);
  finish(1);
}

static void binary_keys_are_watched(void) {
  const char *name = unique("key");
  size_t length = strlen(name);
  char *key = malloc(length + 4);
  CHECK(key);
  sprintf(key, "%s", name);
  memcpy(key + length, "\0\xff\0", 4);
  CHECK_OK(hmkv_watch_open(kv, key, length + 3, NULL, recorder_event, &recorder, &watcher));
  change_put(kv, key, "another key: the one without the last bytes");
  change_done(hmkv_put(kv, key, length + 4, "another", HMKV_NTS, NULL));
  change_done(hmkv_put(kv, key, length + 3, "\0", 1, NULL));
  change_done(hmkv_remove(kv, key, length + 3, NULL));
  recorder_wait(&recorder, 2);
  for (size_t i = 0; i < 2; i++) {
    struct recorded event = recorder_at(&recorder, i);
    CHECK_INT(i == 0 ? PUT : DELETE, event.type);
    CHECK_INT(length + 3, event.kv.key_len);
    CHECK(memcmp(key, event.kv.key, length + 3) == 0);
    CHECK_INT(i == 0, event.kv.value_len);
  }
  free(key);
  finish(2);
}

static void the_empty_key_stands_for_the_first_key_there_is(void) {
  struct own_store own;
  own_store_open(&own, NULL);
  struct recorder before_b = RECORDER, high = RECORDER;
  hmkv_watcher *all = NULL, *some = NULL, *last = NULL;
  CHECK_OK(hmkv_watch_open(own.kv, NULL, 0, HMKV_WATCH_OPTS(.prefix = 1), recorder_event,
                           &recorder, &all));
  CHECK_OK(hmkv_watch_open(own.kv, "", HMKV_NTS, HMKV_WATCH_OPTS(.end = "b", .end_len = 1),
                           recorder_event, &before_b, &some));
  CHECK_OK(hmkv_watch_open(own.kv, "\xff", 1, HMKV_WATCH_OPTS(.prefix = 1), recorder_event, &high,
                           &last)); /* no key is the end of it */
  static const char *const keys[] = {"b", "\x01", "a", "ba", "\xff\xff\xff"};
  for (int i = 0; i < 5; i++) change_put(own.kv, keys[i], "value");
  change_done(hmkv_put(own.kv, "\0", 1, "value", HMKV_NTS, NULL)); /* the first possible */
  recorder_wait(&recorder, 6);
  for (size_t i = 0; i < 5; i++) CHECK_STR(keys[i], recorder_at(&recorder, i).kv.key);
  CHECK_INT(1, recorder_at(&recorder, 5).kv.key_len);
  recorder_wait(&before_b, 3);
  CHECK_STR("\x01", recorder_at(&before_b, 0).kv.key);
  CHECK_STR("a", recorder_at(&before_b, 1).kv.key);
  CHECK_INT(1, recorder_at(&before_b, 2).kv.key_len);
  recorder_wait(&high, 1);
  CHECK_STR("\xff\xff\xff", recorder_at(&high, 0).kv.key);
  CHECK_OK(hmkv_watch_close(last));
  CHECK_OK(hmkv_watch_close(all));
  CHECK_OK(hmkv_watch_close(some));
  recorder_check_order(&recorder);
  recorder_free(&recorder);
  recorder_free(&before_b);
  recorder_free(&high);
  own_store_close(&own);
}

/* ---- several changes in one revision ---- */

static void a_removed_range_is_one_revision_of_many_events(void) {
  const char *prefix = unique("prefix");
  for (int i = 0; i < 20; i++) change_put(kv, text("%s/%02d", prefix, i), "value");
  watch(prefix, HMKV_WATCH_OPTS(.prefix = 1));
  int64_t revision = change_remove_prefix(kv, prefix);
  recorder_wait(&recorder, 20);
  for (size_t i = 0; i < 20; i++)
    CHECK_CHANGE(&recorder, i, DELETE, text("%s/%02zu", prefix, i), "", revision, i == 19);
  finish(20);
}

static void keys_of_a_lease_that_ends_are_deleted_in_one_revision(void) {
  const char *prefix = unique("prefix");
  watch(prefix, HMKV_WATCH_OPTS(.prefix = 1));
  for (size_t i = 0; i < 18; i += 6) {
    hmkv_lease *lease = NULL;
    CHECK_OK(hmkv_lease_grant(kv, 60000, NULL, NULL, &lease));
    int64_t before = 0;
    for (int j = 2; j >= 0; j--)
      before = change_done(hmkv_put(kv, text("%s/%d", prefix, j), HMKV_NTS, "value", HMKV_NTS,
                                    HMKV_PUT_OPTS(.lease = hmkv_lease_id(lease))));
    if (i == 12) lose_lease(kv, text("%s/0", prefix)); /* not by who has it */
    hmkv_status closed = hmkv_lease_close(lease, true);
    if (i < 12) CHECK_OK(closed);
    recorder_wait(&recorder, i + 6);
    int64_t revision = recorder_at(&recorder, i + 5).revision;
    CHECK(revision > before);
    for (size_t j = 0; j < 3; j++)
      CHECK_CHANGE(&recorder, i + 3 + j, DELETE, text("%s/%zu", prefix, j), "", revision, j == 2);
  }
  finish(18);
}

static void the_changes_of_a_transaction_are_one_revision_in_its_order(void) {
  const char *prefix = unique("prefix"), *a = text("%s/a", prefix), *b = text("%s/b", prefix);
  const char *c = text("%s/c", prefix), *outside = unique("outside");
  change_put(kv, c, "old");
  watch(prefix, HMKV_WATCH_OPTS(.prefix = 1));
  hmkv_txn *txn = hmkv_txn_new(kv);
  hmkv_txn_put(txn, HMKV_THEN, b, HMKV_NTS, "1", 1, NULL);
  hmkv_txn_remove(txn, HMKV_THEN, c, HMKV_NTS, NULL);
  hmkv_txn_put(txn, HMKV_THEN, a, HMKV_NTS, "2", 1, NULL);
  hmkv_txn_put(txn, HMKV_THEN, outside, HMKV_NTS, "3", 1, NULL); /* not delivered */
  hmkv_txn_put(txn, HMKV_ELSE, text("%s/d", prefix), HMKV_NTS, "4", 1, NULL);
  int64_t revision = change_done(hmkv_txn_commit(txn, NULL));
  int64_t next = change_put(kv, c, "new");
  recorder_wait(&recorder, 4);
  CHECK_CHANGE(&recorder, 0, PUT, b, "1", revision, false);
  CHECK_CHANGE(&recorder, 1, DELETE, c, "", revision, false);
  CHECK_CHANGE(&recorder, 2, PUT, a, "2", revision, true);
  CHECK_PUT(&recorder, 3, c, "new", next);
  finish(4);
}

/* Puts a and c, removes b, in the order of `order`. */
static int64_t write_three(const char *prefix, const char *order, const char *value) {
  hmkv_txn *txn = hmkv_txn_new(kv);
  for (; *order; order++) {
    const char *key = text("%s/%c", prefix, *order);
    if (*order == 'b')
      hmkv_txn_remove(txn, HMKV_THEN, key, HMKV_NTS, NULL);
    else
      hmkv_txn_put(txn, HMKV_THEN, key, HMKV_NTS, value, HMKV_NTS, NULL);
  }
  return change_done(hmkv_txn_commit(txn, NULL));
}

static void without_puts_or_deletes_the_last_that_is_delivered_ends_the_revision(void) {
  static const char *const orders[] = {"abc", "acb", "bac", "bca", "cab", "cba"};
  const char *prefix = unique("prefix"), *a = text("%s/a", prefix), *b = text("%s/b", prefix);
  const char *c = text("%s/c", prefix);
  struct recorder puts = RECORDER, deletes = RECORDER, nothing = RECORDER;
  hmkv_watcher *others[3];
  watch(prefix, HMKV_WATCH_OPTS(.prefix = 1));
  CHECK_OK(hmkv_watch_open(kv, prefix, HMKV_NTS, HMKV_WATCH_OPTS(.prefix = 1, .no_delete = 1),
                           recorder_event, &puts, &others[0]));
  CHECK_OK(hmkv_watch_open(kv, prefix, HMKV_NTS, HMKV_WATCH_OPTS(.prefix = 1, .no_put = 1),
                           recorder_event, &deletes, &others[1]));
  CHECK_OK(hmkv_watch_open(kv, prefix, HMKV_NTS,
                           HMKV_WATCH_OPTS(.prefix = 1, .no_put = 1, .no_delete = 1),
                           recorder_event, &nothing, &others[2]));
  for (size_t i = 0; i < 6; i++) {
    int64_t put = change_put(kv, b, "old"), revision = write_three(prefix, orders[i], "value");
    recorder_wait(&recorder, 4 * i + 4);
    recorder_wait(&puts, 3 * i + 3);
    recorder_wait(&deletes, i + 1);
    CHECK_PUT(&puts, 3 * i, b, "old", put);
    bool a_first = strchr(orders[i], 'a') < strchr(orders[i], 'c');
    CHECK_CHANGE(&puts, 3 * i + 1, PUT, a_first ? a : c, "value", revision, false);
    CHECK_CHANGE(&puts, 3 * i + 2, PUT, a_first ? c : a, "value", revision, true);
    CHECK_DELETE(&deletes, i, b, revision);
    for (size_t j = 0; j < 3; j++) {
      struct recorded event = recorder_at(&recorder, 4 * i + 1 + j);
      CHECK_STR(text("%s/%c", prefix, orders[i][j]), event.kv.key);
      CHECK_INT(j == 2, event.last);
    }
  }
  for (int i = 0; i < 3; i++) CHECK_OK(hmkv_watch_close(others[i]));
  CHECK_INT(0, nothing.events.count);
  recorder_free(&puts);
  recorder_free(&deletes);
  finish(24);
}

static void prev_is_the_key_before_the_change(void) {
  const char *prefix = unique("prefix"), *key = text("%s/a", prefix), *b = text("%s/b", prefix);
  hmkv_lease *lease = NULL;
  CHECK_OK(hmkv_lease_grant(kv, 60000, NULL, NULL, &lease));
  int64_t first = change_done(hmkv_put(kv, key, HMKV_NTS, "one\0!", 5,
                                       HMKV_PUT_OPTS(.lease = hmkv_lease_id(lease))));
  watch(prefix, HMKV_WATCH_OPTS(.prefix = 1, .prev_kv = 1));
  int64_t second = change_put(kv, key, "two"), created = change_put(kv, b, "b");
  int64_t removed = change_remove_prefix(kv, prefix);
  change_put(kv, key, "again");
  recorder_wait(&recorder, 5);
  struct recorded over = recorder_at(&recorder, 0);
  CHECK_STR(key, over.prev.key);
  CHECK_INT(5, over.prev.value_len);
  CHECK(memcmp("one\0!", over.prev.value, 5) == 0);
  CHECK_INT(first, over.prev.create_revision);
  CHECK_INT(first, over.prev.mod_revision);
  CHECK_INT(1, over.prev.version);
  CHECK_INT(hmkv_lease_id(lease), over.prev.lease);
  CHECK(recorder_at(&recorder, 1).prev.key == NULL); /* it did not exist */
  struct recorded gone = recorder_at(&recorder, 2), other = recorder_at(&recorder, 3);
  CHECK_INT(removed, gone.revision);
  CHECK_STR("two", gone.prev.value);
  CHECK_INT(second, gone.prev.mod_revision);
  CHECK_INT(first, gone.prev.create_revision);
  CHECK_INT(2, gone.prev.version);
  CHECK_INT(0, gone.prev.lease);
  CHECK_STR("b", other.prev.value);
  CHECK_INT(created, other.prev.mod_revision);
  CHECK(recorder_at(&recorder, 4).prev.key == NULL); /* not that before the deletion */
  CHECK_OK(hmkv_lease_close(lease, true));
  finish(5);
}

static const struct test tests[] = {
    BOTH(every_change_of_a_key_is_delivered_with_all_fields),
    BOTH(it_does_not_end_with_a_deletion),
    BOTH(a_key_alone_is_watched_without_its_neighbours),
    BOTH(a_prefix_is_all_keys_that_begin_with_it),
    BOTH(a_range_ends_before_its_end),
    BOTH(binary_keys_are_watched),
    BOTH(the_empty_key_stands_for_the_first_key_there_is),
    BOTH(a_removed_range_is_one_revision_of_many_events),
    BOTH(keys_of_a_lease_that_ends_are_deleted_in_one_revision),
    BOTH(the_changes_of_a_transaction_are_one_revision_in_its_order),
    BOTH(without_puts_or_deletes_the_last_that_is_delivered_ends_the_revision),
    BOTH(prev_is_the_key_before_the_change),
};
TEST_MAIN(.begin = begin, .end = end)
