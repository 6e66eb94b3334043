/* Mirrors across compactions, cuts, restarts and replaced stores. */
#include "changes.h"
#include "cut.h"
#include "mirrors.h"
#include "test.h"

enum { PUT = HMKV_EVENT_PUT, RESYNC = HMKV_EVENT_RESYNC };

static struct own_store own;
static hmkv *kv;
static struct recorder told;
static hmkv_mirror *mirror;

static void begin(void) {
  own_store_open(&own, "timeout=20s");
  kv = own.kv;
  told = (struct recorder)RECORDER;
}

static void end(void) {
  own_store_close(&own);
  recorder_free(&told);
}

static void compaction_disturbs_nothing(void) {
  unsigned seed = 21;
  mirror = mirror_of(kv, "k/", &told);
  for (int i = 0; i < 5; i++) {
    for (int j = 0; j < 100; j++) change_something(kv, "k/", &seed);
    own_store_compact(&own);
    mirror_check(mirror, kv, "k/");
  }
  change_put(kv, "k/last", "value");
  recorder_wait_put(&told, "k/last", "value");
  CHECK_OK(hmkv_mirror_close(mirror));
  CHECK_INT(0, recorder_count_of(&told, RESYNC));
  recorder_check_order(&told);
}

/* ---- cuts ---- */

/* Two keys that are always changed together. */
static void put_both(hmkv *by, const char *value) {
  hmkv_txn *txn = hmkv_txn_new(by);
  hmkv_txn_put(txn, HMKV_THEN, "k/left", HMKV_NTS, value, HMKV_NTS, NULL);
  hmkv_txn_put(txn, HMKV_THEN, "k/right", HMKV_NTS, value, HMKV_NTS, NULL);
  change_done(hmkv_txn_commit(txn, NULL));
}

static atomic_bool stop;

static void *read_both(void *arg) {
  (void)arg;
  while (!atomic_load(&stop)) {
    hmkv_result *both = mirror_result(
        HMKV_OK, hmkv_mirror_range(mirror, "k/", HMKV_NTS, HMKV_RANGE_OPTS(.prefix = 1)));
    const char *left = NULL, *right = NULL;
    for (size_t i = 0; i < hmkv_result_count(both); i++) {
      const hmkv_kv *one = hmkv_result_kv(both, i);
      if (strcmp(one->key, "k/left") == 0) left = one->value;
      if (strcmp(one->key, "k/right") == 0) right = one->value;
    }
    CHECK(left && right);
    CHECK_STR(left, right);
    hmkv_result_free(both);
  }
  return NULL;
}

/* The store changes while `kv` is cut off, and may be compacted. */
static void change_in_a_cut(struct cut *cut, bool compact) {
  size_t states = recorder_states(&told);
  cut_begin(cut, kv);
  WAIT_UNTIL(recorder_states(&told) == states + 1);
  CHECK_STR("before", mirror_value(mirror, "k/left"));
  CHECK_STATUS(HMKV_TIMED_OUT, hmkv_mirror_wait(mirror, INT64_MAX, 50));
  for (int i = 0; i < 100; i++) put_both(own.kv, text("%d", i));
  change_put(own.kv, "k/new", "new");
  change_remove(own.kv, "k/gone");
  put_both(own.kv, "after");
  if (compact) own_store_compact(&own);
  CHECK_STR("before", mirror_value(mirror, "k/left"));
  CHECK_INT(states + 1, recorder_states(&told));
  cut_end(cut, kv);
}

static void after_a_cut(bool compact) {
  struct cut cut;
  cut_prepare(&cut, &own);
  kv = open_at(cut.endpoint, "timeout=20s");
  put_both(kv, "before");
  change_put(kv, "k/gone", "value");
  mirror = mirror_of(kv, "k/", &told);
  atomic_store(&stop, false);
  pthread_t reader = start_thread(read_both, NULL);
  change_in_a_cut(&cut, compact);
  mirror_check(mirror, kv, "k/");
  CHECK_STR("after", mirror_value(mirror, "k/left"));
  CHECK_STR("new", mirror_value(mirror, "k/new"));
  CHECK_STR(NULL, mirror_value(mirror, "k/gone"));
  put_both(kv, "later");
  mirror_check(mirror, kv, "k/");
  recorder_wait_put(&told, "k/right", "later");
  atomic_store(&stop, true);
  join_thread(reader);
  CHECK_OK(hmkv_mirror_close(mirror));
  CHECK_INT(compact, recorder_count_of(&told, RESYNC));
  recorder_check_order(&told);
  recorder_check_view(&told, kv, "k/");
  if (!compact) recorder_check_versions(&told); /* each of the changes came */
  close_store(kv);
  cut_finish(&cut);
}

static void changes_of_a_cut_come_after_it(void) { after_a_cut(false); }
static void what_is_compacted_in_a_cut_comes_in_one_step(void) { after_a_cut(true); }

static void of_a_replaced_store_the_copy_is_the_new_one(void) {
  for (int i = 0; i < 10; i++) change_put(kv, text("k/%d", i), "old");
  mirror = mirror_of(kv, "k/", &told);
  server_wipe(&own.server);
  server_restart(&own.server); /* its revisions begin anew */
  WAIT_UNTIL(hmkv_store(kv, "k/3", "new") == HMKV_OK);
  WAIT_UNTIL(recorder_count_of(&told, RESYNC) == 1);
  mirror_check(mirror, kv, "k/");
  CHECK_STR("new", mirror_value(mirror, "k/3"));
  CHECK_STR(NULL, mirror_value(mirror, "k/4"));
  int64_t revision = change_put(kv, "other", "value");
  CHECK_OK(hmkv_mirror_wait(mirror, revision, HMKV_FOREVER));
  change_put(kv, "k/4", "and it goes on");
  mirror_check(mirror, kv, "k/");
  recorder_wait_put(&told, "k/4", "and it goes on");
  CHECK_OK(hmkv_mirror_close(mirror));
  recorder_check_view(&told, kv, "k/");
}

/* ---- all of it ---- */

enum { AT_ONCE = 64, KEYS = 2000 };

static hmkv_op *begin_change(unsigned *seed) {
  char one[32], two[32], value[32];
  snprintf(one, sizeof one, "k/%d", rand_r(seed) % KEYS);
  snprintf(two, sizeof two, "k/%d", rand_r(seed) % KEYS);
  snprintf(value, sizeof value, "%d", rand_r(seed));
  switch (rand_r(seed) % 8) {
    case 0:
    case 1:
      return hmkv_remove(kv, one, HMKV_NTS, NULL);
    case 2: {
      hmkv_txn *txn = hmkv_txn_new(kv);
      hmkv_txn_put(txn, HMKV_THEN, one, HMKV_NTS, value, HMKV_NTS, NULL);
      if (strcmp(one, two) != 0) hmkv_txn_remove(txn, HMKV_THEN, two, HMKV_NTS, NULL);
      return hmkv_txn_commit(txn, NULL);
    }
    case 3:
      return hmkv_put(kv, "other", HMKV_NTS, value, HMKV_NTS, NULL);
    default:
      return hmkv_put(kv, one, HMKV_NTS, value, HMKV_NTS, NULL);
  }
}

static void it_is_the_store_after_many_changes_compactions_and_restarts(void) {
  int changes = rounds(100000, 2000);
  unsigned seed = 2024;
  mirror = mirror_of(kv, "k/", &told);
  hmkv_mirror *silent = mirror_of(kv, "k/", NULL), *all = mirror_of(kv, "", NULL);
  for (int done = 0, part = 0; done < changes; done += AT_ONCE) {
    hmkv_op *ops[AT_ONCE];
    for (int i = 0; i < AT_ONCE; i++) ops[i] = begin_change(&seed);
    for (int i = 0; i < AT_ONCE; i++) change_done(ops[i]);
    if (done < (part + 1) * (changes / 6)) continue;
    part++;
    if (part % 2) {
      own_store_compact(&own); /* three times */
    } else if (part < 6) { /* twice */
      if (on_etcd()) {
        server_kill(&own.server);
        server_restart(&own.server);
      } else {
        CHECK_OK(hmkv_mem_fault(kv, "cut=100ms"));
      }
      WAIT_UNTIL(hmkv_store(kv, "other", "restarted") == HMKV_OK);
    }
    mirror_check(mirror, kv, "k/");
  }
  change_put(kv, "k/last", "value");
  mirror_check(mirror, kv, "k/");
  mirror_check(silent, kv, "k/");
  mirror_check(all, kv, "");
  recorder_wait_put(&told, "k/last", "value");
  CHECK_OK(hmkv_mirror_close(mirror));
  recorder_check_order(&told);
  recorder_check_view(&told, kv, "k/");
}

static const struct test tests[] = {
    BOTH(compaction_disturbs_nothing),
    BOTH(changes_of_a_cut_come_after_it),
    BOTH(what_is_compacted_in_a_cut_comes_in_one_step),
    ETCD_ONLY(of_a_replaced_store_the_copy_is_the_new_one),
    BOTH(it_is_the_store_after_many_changes_compactions_and_restarts),
};
TEST_MAIN(.begin = begin, .end = end)
