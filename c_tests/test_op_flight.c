/* Many requests in flight at the same time: they cost no thread each, and each has its
 * own answer. */
#include "own_store.h"
#include "requests.h"
#include "test.h"

enum { MORE_THREADS = 16 }; /* that a busy machine may cost */

/* On etcd a server of its own: the others are not to bear the flood. */
static struct own_store own;
static hmkv *kv;
static const char *prefix;
static int count;
static hmkv_op **ops;

static void begin(void) {
  own_store_open(&own, "timeout=100s");
  kv = own.kv;
  prefix = unique("flight/");
  count = rounds(10000, 500);
  ops = calloc((size_t)count, sizeof *ops);
  CHECK(ops);
  FINISH(HMKV_OK, hmkv_ping(kv));
}

static void end(void) {
  hmkv_result *result =
      AWAIT(HMKV_OK, hmkv_remove(kv, prefix, HMKV_NTS, HMKV_REMOVE_OPTS(.prefix = 1)));
  CHECK_INT(count, hmkv_result_total(result));
  hmkv_result_free(result);
  own_store_close(&own);
  free(ops);
}

/* Key and value of number `i`. */
struct pair {
  char key[300], value[32];
};

static struct pair pair_of(int i) {
  struct pair pair;
  snprintf(pair.key, sizeof pair.key, "%s%d", prefix, i);
  snprintf(pair.value, sizeof pair.value, "value of %d", i);
  return pair;
}

static hmkv_op *submit_put(int i) {
  struct pair pair = pair_of(i);
  return hmkv_put(kv, pair.key, HMKV_NTS, pair.value, HMKV_NTS, NULL);
}

static hmkv_op *submit_get(int i) {
  struct pair pair = pair_of(i);
  return hmkv_range(kv, pair.key, HMKV_NTS, NULL);
}

static void check_get(const hmkv_result *result, int i) {
  struct pair pair = pair_of(i);
  CHECK_OK(hmkv_result_status(result));
  CHECK_INT(1, hmkv_result_count(result));
  CHECK_ENTRY(hmkv_result_kv(result, 0), pair.key, strlen(pair.key), pair.value, strlen(pair.value));
}

/* Number `i` of an order in which each comes once; 7919 is prime and divides no count. */
static int shuffled(int i) { return (int)((int64_t)i * 7919 % count); }

static void awaited_in_any_order(void) {
  int threads = count_threads("hmkv-");
  for (int i = 0; i < count; i++) ops[i] = submit_put(i);
  CHECK(count_threads("hmkv-") <= threads + MORE_THREADS);
  for (int i = 0; i < count; i++) FINISH(HMKV_OK, ops[shuffled(i)]);
  for (int i = 0; i < count; i++) ops[i] = submit_get(i);
  CHECK(count_threads("hmkv-") <= threads + MORE_THREADS);
  for (int i = count - 1; i >= 0; i--) {
    hmkv_result *result = hmkv_await(ops[shuffled(i)]);
    check_get(result, shuffled(i));
    hmkv_result_free(result);
  }
  CHECK(count_threads("hmkv-") <= threads + MORE_THREADS);
}

/* ---- with callbacks ---- */

struct number {
  int i;
  atomic_int calls;
};

static atomic_int done;

static void put_done(hmkv_result *result, void *userdata) {
  struct number *number = userdata;
  CHECK_OK(hmkv_result_status(result));
  CHECK(hmkv_result_revision(result) > 0);
  hmkv_result_free(result);
  atomic_fetch_add(&number->calls, 1);
  atomic_fetch_add(&done, 1);
}

static void get_done(hmkv_result *result, void *userdata) {
  struct number *number = userdata;
  check_get(result, number->i);
  hmkv_result_free(result);
  atomic_fetch_add(&number->calls, 1);
  atomic_fetch_add(&done, 1);
}

static void then_all(hmkv_op *(*submit)(int i), hmkv_done_fn fn) {
  int threads = count_threads("hmkv-"), most = 0;
  struct number *numbers = calloc((size_t)count, sizeof *numbers);
  CHECK(numbers);
  atomic_store(&done, 0);
  for (int i = 0; i < count; i++) {
    numbers[i].i = i;
    hmkv_then(submit(i), fn, &numbers[i]);
    if (i % 1000 == 0 && count_threads("hmkv-") > most) most = count_threads("hmkv-");
  }
  WAIT_UNTIL(atomic_load(&done) == count);
  if (count_threads("hmkv-") > most) most = count_threads("hmkv-");
  CHECK(most <= threads + MORE_THREADS);
  for (int i = 0; i < count; i++) CHECK_INT(1, atomic_load(&numbers[i].calls));
  CHECK_INT(count, atomic_load(&done));
  free(numbers);
}

static void with_a_callback_for_each(void) {
  then_all(submit_put, put_done);
  then_all(submit_get, get_done);
}

struct worker {
  pthread_t thread;
  int first;
};

enum { WORKERS = 4 };

static void *work(void *arg) {
  struct worker *worker = arg;
  for (int i = worker->first; i < count; i += WORKERS) ops[i] = submit_put(i);
  for (int i = worker->first; i < count; i += WORKERS) FINISH(HMKV_OK, ops[i]);
  return NULL;
}

static void from_several_threads_at_once(void) {
  struct worker workers[WORKERS];
  for (int i = 0; i < WORKERS; i++) {
    workers[i].first = i;
    workers[i].thread = start_thread(work, &workers[i]);
  }
  for (int i = 0; i < WORKERS; i++) join_thread(workers[i].thread);
  then_all(submit_get, get_done);
}

static void each_put_makes_one_revision(void) {
  for (int i = 0; i < count; i++) ops[i] = submit_put(i);
  int64_t *revisions = calloc((size_t)count, sizeof *revisions);
  CHECK(revisions);
  for (int i = 0; i < count; i++) {
    hmkv_result *result = AWAIT(HMKV_OK, ops[i]);
    revisions[i] = hmkv_result_revision(result);
    hmkv_result_free(result);
  }
  hmkv_result *all = AWAIT(HMKV_OK, hmkv_range(kv, prefix, HMKV_NTS,
                                               HMKV_RANGE_OPTS(.prefix = 1, .sort = HMKV_SORT_MOD)));
  CHECK_INT(count, hmkv_result_count(all));
  int64_t last = 0;
  for (int i = 0; i < count; i++) {
    const hmkv_kv *entry = hmkv_result_kv(all, (size_t)i);
    CHECK(entry->mod_revision > last);
    last = entry->mod_revision;
    CHECK_INT(1, entry->version);
    CHECK_INT(revisions[atoi(entry->key + strlen(prefix))], entry->mod_revision);
  }
  hmkv_result_free(all);
  free(revisions);
}

static const struct test tests[] = {
    BOTH(awaited_in_any_order),
    BOTH(with_a_callback_for_each),
    BOTH(from_several_threads_at_once),
    BOTH(each_put_makes_one_revision),
};
TEST_MAIN(.begin = begin, .end = end)
