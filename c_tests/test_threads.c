/* Every call from any thread at any time, during close too. */
#include "test.h"

enum { THREADS = 16, KEYS = 8 };

struct storm {
  hmkv *kv;
  const char *prefix;
  atomic_bool stop;
  bool closing; /* the store may be closed meanwhile */
  atomic_int done;
};

struct worker {
  struct storm *storm;
  unsigned seed;
};

static bool look_at_it(const char *key, const char *value, hmkv_keychange op, void *userdata) {
  CHECK(key && op >= HMKV_KEYCHANGE_PUT && op <= HMKV_KEYCHANGE_DELETE);
  CHECK((value == NULL) == (op == HMKV_KEYCHANGE_DELETE));
  atomic_fetch_add((atomic_int *)userdata, 1);
  return true;
}

/* A negative status is wrong, but for those of a store that was closed. */
static void judge(const struct storm *storm, const char *call, hmkv_status status) {
  if (status >= 0) return;
  if (storm->closing && (status == HMKV_ECLOSED || status == HMKV_EHANDLE ||
                         (on_etcd() && status == HMKV_EINDETERMINATE)))
    return;
  FAIL("%s: %s", call, hmkv_status_name(status));
}

static void do_one(struct worker *worker, atomic_int *seen) {
  struct storm *storm = worker->storm;
  hmkv *kv = storm->kv;
  const char *key = text("%s/%d", storm->prefix, (int)(rand_r(&worker->seed) % KEYS));
  const char *other = text("%s/%d", storm->prefix, (int)(rand_r(&worker->seed) % KEYS));
  char *value = NULL;
  hmkv_result *result = NULL;
  hmkv_watcher *watcher = NULL;
  switch (rand_r(&worker->seed) % 12) {
    case 0:
      judge(storm, "store", hmkv_store(kv, key, "value"));
      break;
    case 1:
      judge(storm, "delete", hmkv_delete(kv, key));
      break;
    case 2:
      judge(storm, "get_range", hmkv_get_range(kv, storm->prefix, text("%s/9", storm->prefix), &result));
      hmkv_result_free(result);
      break;
    case 3:
      judge(storm, "transaction", hmkv_transaction(kv, key, "=", "value", other, "then", key, "else"));
      break;
    case 4:
      judge(storm, "tas", hmkv_tas(kv, key, "value", "set"));
      break;
    case 5:
      judge(storm, "temp_key", hmkv_temp_key(kv, text("%s-temp", key)));
      break;
    case 6:
      judge(storm, "watch", hmkv_watch(kv, key, rand_r(&worker->seed) % 5, &value, NULL));
      break;
    case 7:
      judge(storm, "watch_cb", hmkv_watch_cb(kv, key, 3, look_at_it, seen, &watcher));
      if (watcher) {
        judge(storm, "store", hmkv_store(kv, key, "watched"));
        judge(storm, "cancel", hmkv_watch_cb_cancel(watcher));
      }
      break;
    case 8:
      judge(storm, "timed_lock", hmkv_dist_timed_lock(kv, 0));
      judge(storm, "lock_result", hmkv_dist_lock_result(kv));
      judge(storm, "unlock", hmkv_dist_unlock(kv));
      break;
    case 9:
      judge(storm, "on_state", hmkv_on_state(kv, NULL, NULL));
      break;
    default:
      judge(storm, "get", hmkv_get(kv, key, &value));
  }
  hmkv_free(value);
  atomic_fetch_add(&storm->done, 1);
}

static void *work(void *arg) {
  struct worker *worker = arg;
  static atomic_int seen; /* outlives the watches */
  while (!atomic_load(&worker->storm->stop)) do_one(worker, &seen);
  return NULL;
}

static void *open_and_close(void *arg) {
  atomic_bool *stop = arg;
  while (!atomic_load(stop)) {
    hmkv *kv = open_store("timeout=30s");
    CHECK_OK(hmkv_store(kv, unique("key"), "value"));
    CHECK_OK(hmkv_temp_key(kv, unique("temp")));
    close_store(kv);
  }
  return NULL;
}

static void run(struct storm *storm, int operations, bool close_in_the_storm) {
  pthread_t threads[THREADS];
  struct worker workers[THREADS];
  unsigned base = (unsigned)test_number("--seed", (int64_t)now_ms());
  storm->prefix = unique("storm");
  storm->closing = close_in_the_storm;
  storm->kv = open_store(text("timeout=60s close_timeout=60s lock=%s", unique("lock")));
  for (int i = 0; i < THREADS; i++) {
    workers[i] = (struct worker){storm, base + (unsigned)i * 104729};
    threads[i] = start_thread(work, &workers[i]);
  }
  WAIT_UNTIL(atomic_load(&storm->done) >= operations);
  if (close_in_the_storm) {
    CHECK_OK(hmkv_close(storm->kv));
    int before = atomic_load(&storm->done);
    WAIT_UNTIL(atomic_load(&storm->done) >= before + 100);
  }
  atomic_store(&storm->stop, true);
  for (int i = 0; i < THREADS; i++) join_thread(threads[i]);
  if (!close_in_the_storm) close_store(storm->kv);
}

static void sixteen_threads_do_everything_on_one_handle_while_others_open_and_close(void) {
  struct storm storm = {0};
  pthread_t opener = start_thread(open_and_close, &storm.stop);
  run(&storm, on_etcd() ? rounds(10000, 300) : rounds(40000, 1000), false);
  join_thread(opener);
}

static void closing_during_the_storm(void) {
  for (int i = 0; i < rounds(20, 2); i++) {
    struct storm storm = {0};
    run(&storm, 50 + 20 * i, true);
  }
}

static hmkv *_Atomic shared;

static void *use_shared(void *stop) {
  while (!atomic_load((atomic_bool *)stop)) {
    char *value = NULL;
    hmkv_status status = hmkv_get(atomic_load(&shared), "c_tests/threads", &value);
    hmkv_free(value);
    if (status != HMKV_OK && status != HMKV_NOT_FOUND && status != HMKV_EHANDLE &&
        status != HMKV_ECLOSED)
      FAIL("%s", hmkv_status_name(status));
  }
  return NULL;
}

static void *close_shared(void *kv) {
  hmkv_status status = hmkv_close(kv);
  CHECK(status == HMKV_OK || status == HMKV_EHANDLE);
  return (void *)(uintptr_t)(status == HMKV_OK);
}

static void of_many_closes_at_once_one_finds_it(void) {
  enum { CLOSERS = 4 };
  atomic_bool stop = false;
  pthread_t users[2], closers[CLOSERS];
  atomic_store(&shared, NULL);
  for (int i = 0; i < 2; i++) users[i] = start_thread(use_shared, &stop);
  for (int i = 0; i < rounds(100, 10); i++) {
    hmkv *kv = open_store("close_timeout=60s");
    atomic_store(&shared, kv);
    int found = 0;
    for (int j = 0; j < CLOSERS; j++) closers[j] = start_thread(close_shared, kv);
    for (int j = 0; j < CLOSERS; j++) found += join_thread(closers[j]) != NULL;
    CHECK_INT(1, found);
  }
  atomic_store(&stop, true);
  for (int i = 0; i < 2; i++) join_thread(users[i]);
}

struct cancelled {
  hmkv *kv;
  atomic_int tid;
  atomic_bool returned;
  hmkv_status status;
};

static void *wait_and_be_cancelled(void *arg) {
  struct cancelled *cancelled = arg;
  atomic_store(&cancelled->tid, (int)thread_id());
  cancelled->status = hmkv_watch(cancelled->kv, "c_tests/threads", 3000, NULL, NULL);
  atomic_store(&cancelled->returned, true);
  pthread_testcancel();
  return NULL;
}

static void a_deferred_pthread_cancel_acts_after_the_call(void) {
  struct cancelled cancelled = {.kv = open_store(NULL)};
  pthread_t thread = start_thread(wait_and_be_cancelled, &cancelled);
  WAIT_UNTIL(atomic_load(&cancelled.tid) != 0);
  wait_until_blocked(atomic_load(&cancelled.tid));
  CHECK_INT(0, pthread_cancel(thread));
  CHECK(join_thread(thread) == PTHREAD_CANCELED);
  CHECK(atomic_load(&cancelled.returned));
  CHECK_STATUS(HMKV_TIMED_OUT, cancelled.status);
  close_store(cancelled.kv);
}

/* Of two ways to read the same key, how often each takes long. */
struct reader {
  hmkv *kv;
  const char *key;
  int reads, slow_gets, slow_awaits;
};

enum { READERS = 8, SLOW_MS = 80 };

static void *read_both_ways(void *arg) {
  struct reader *reader = arg;
  for (int i = 0; i < reader->reads; i++) {
    char *value = NULL;
    int64_t begin = now_ms();
    CHECK_OK(hmkv_get(reader->kv, reader->key, &value));
    int64_t between = now_ms();
    hmkv_result *result = hmkv_await(hmkv_range(reader->kv, reader->key, HMKV_NTS, NULL));
    int64_t end = now_ms();
    CHECK_OK(hmkv_result_status(result));
    reader->slow_gets += between - begin > SLOW_MS;
    reader->slow_awaits += end - between > SLOW_MS;
    hmkv_result_free(result);
    hmkv_free(value);
  }
  return NULL;
}

/* An answer that another thread reads wakes the one that waits for it. */
static void who_awaits_among_others_waits_no_longer_than_who_gets(void) {
  pthread_t threads[READERS];
  struct reader readers[READERS];
  struct reader all = {.kv = open_store("timeout=60s"), .key = unique("key")};
  all.reads = rounds(300, 50);
  CHECK_OK(hmkv_store(all.kv, all.key, "value"));
  for (int i = 0; i < READERS; i++) {
    readers[i] = all;
    threads[i] = start_thread(read_both_ways, &readers[i]);
  }
  for (int i = 0; i < READERS; i++) {
    join_thread(threads[i]);
    all.slow_gets += readers[i].slow_gets;
    all.slow_awaits += readers[i].slow_awaits;
  }
  int awaits = READERS * all.reads;
  if (all.slow_awaits > awaits / 100 + 4 * all.slow_gets)
    FAIL("%d of %d awaits are slow, %d gets", all.slow_awaits, awaits, all.slow_gets);
  close_store(all.kv);
}

static const struct test tests[] = {
    BOTH(sixteen_threads_do_everything_on_one_handle_while_others_open_and_close),
    BOTH(closing_during_the_storm),
    BOTH(of_many_closes_at_once_one_finds_it),
    BOTH(a_deferred_pthread_cancel_acts_after_the_call),
    BOTH(who_awaits_among_others_waits_no_longer_than_who_gets),
};
TEST_MAIN()
