/* Cancels at random moments, against events, from several threads. */
#include "test.h"

#include <sched.h>

enum { KEYS = 4, THREADS = 4, ALIVE = 0x55667788 };

struct data {
  volatile int magic;
  hmkv_watcher *_Atomic watcher;
  atomic_int calls;
  atomic_bool cancelled_inside;
  unsigned cancel_at; /* from inside, at this call; 0: never */
  unsigned end_at;    /* returns false at this call; 0: never */
};

static hmkv *kv;
static const char *keys[KEYS];
static atomic_bool stop;
static atomic_llong rounds_done;
static atomic_int threads_done;

static void begin(void) {
  kv = open_store("timeout=30s");
  for (int i = 0; i < KEYS; i++) keys[i] = unique("key");
  atomic_store(&stop, false);
}

static void end(void) { close_store(kv); }

static bool use_data(const char *key, const char *value, hmkv_keychange op, void *userdata) {
  (void)key, (void)value, (void)op;
  struct data *data = userdata;
  CHECK_INT(ALIVE, data->magic);
  CHECK(!atomic_load(&data->cancelled_inside));
  unsigned call = (unsigned)atomic_fetch_add(&data->calls, 1) + 1;
  hmkv_watcher *watcher = atomic_load(&data->watcher);
  if (call == data->cancel_at && watcher) {
    hmkv_status status = hmkv_watch_cb_cancel(watcher);
    CHECK(status == HMKV_OK || status == HMKV_EHANDLE);
    atomic_store(&data->cancelled_inside, true);
  }
  CHECK_INT(ALIVE, data->magic);
  return call != data->end_at;
}

static void *change_keys(void *seed_pointer) {
  unsigned seed = *(unsigned *)seed_pointer;
  while (!atomic_load(&stop)) {
    const char *key = keys[rand_r(&seed) % KEYS];
    if (rand_r(&seed) % 16 == 0) {
      CHECK_OK(hmkv_delete(kv, key));
    } else {
      CHECK_OK(hmkv_store(kv, key, "value"));
    }
  }
  return NULL;
}

static void *watch_and_cancel(void *seed_pointer) {
  unsigned seed = *(unsigned *)seed_pointer;
  int64_t times = test_number("--rounds", THREADS * rounds(500, 40)) / THREADS;
  for (int64_t i = 0; i < times; i++) {
    struct data *data = calloc(1, sizeof *data);
    CHECK(data);
    data->magic = ALIVE;
    data->cancel_at = (unsigned)rand_r(&seed) % 4;
    data->end_at = (unsigned)rand_r(&seed) % 6;
    hmkv_watcher *watcher = NULL;
    int32_t mask = 1 + rand_r(&seed) % 3;
    CHECK_OK(hmkv_watch_cb(kv, keys[rand_r(&seed) % KEYS], mask, use_data, data, &watcher));
    atomic_store(&data->watcher, watcher);
    int calls = rand_r(&seed) % 3;
    for (int look = rand_r(&seed) % 10; look > 0 && atomic_load(&data->calls) < calls; look--)
      sched_yield();
    hmkv_status status = hmkv_watch_cb_cancel(watcher);
    CHECK(status == HMKV_OK || (status == HMKV_EHANDLE && data->cancel_at));
    CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_cb_cancel(watcher));
    memset(data, 0xdd, sizeof *data);
    free(data);
    atomic_fetch_add(&rounds_done, 1);
  }
  atomic_fetch_add(&threads_done, 1);
  return NULL;
}

/* However long it takes, as long as it goes on. */
static void wait_for_the_cancellers(void) {
  while (atomic_load(&threads_done) < THREADS) {
    long long before = atomic_load(&rounds_done);
    WAIT_UNTIL(atomic_load(&rounds_done) > before || atomic_load(&threads_done) == THREADS);
  }
}

/* `--rounds` has how many, 2,000 where it is not given. */
static void thousands_of_cancels_at_random_moments(void) {
  unsigned base = (unsigned)test_number("--seed", (int64_t)now_ms());
  printf(" (seed %u)", base);
  unsigned seeds[THREADS + 2];
  pthread_t writers[2], cancellers[THREADS];
  for (int i = 0; i < THREADS + 2; i++) seeds[i] = base + (unsigned)i * 7919;
  for (int i = 0; i < 2; i++) writers[i] = start_thread(change_keys, &seeds[i]);
  for (int i = 0; i < THREADS; i++) cancellers[i] = start_thread(watch_and_cancel, &seeds[2 + i]);
  wait_for_the_cancellers();
  for (int i = 0; i < THREADS; i++) join_thread(cancellers[i]);
  atomic_store(&stop, true);
  for (int i = 0; i < 2; i++) join_thread(writers[i]);
}

struct shared {
  hmkv_watcher *watcher;
  atomic_int ready;
  atomic_int found;
};

static void *cancel_shared(void *arg) {
  struct shared *shared = arg;
  atomic_fetch_add(&shared->ready, 1);
  while (atomic_load(&shared->ready) < THREADS) sched_yield();
  hmkv_status status = hmkv_watch_cb_cancel(shared->watcher);
  if (status == HMKV_OK) {
    atomic_fetch_add(&shared->found, 1);
  } else {
    CHECK_STATUS(HMKV_EHANDLE, status);
  }
  return NULL;
}

static void of_many_cancels_at_once_one_finds_it(void) {
  unsigned seed = 1;
  pthread_t writer = start_thread(change_keys, &seed);
  for (int i = 0; i < rounds(200, 20); i++) {
    struct data *data = calloc(1, sizeof *data);
    CHECK(data);
    data->magic = ALIVE;
    struct shared shared = {0};
    CHECK_OK(hmkv_watch_cb(kv, keys[0], 3, use_data, data, &shared.watcher));
    pthread_t threads[THREADS];
    for (int j = 0; j < THREADS; j++) threads[j] = start_thread(cancel_shared, &shared);
    for (int j = 0; j < THREADS; j++) join_thread(threads[j]);
    CHECK_INT(1, atomic_load(&shared.found));
    memset(data, 0xdd, sizeof *data);
    free(data);
  }
  atomic_store(&stop, true);
  join_thread(writer);
}

static void closing_while_callbacks_run_frees_all_userdata(void) {
  unsigned seed = 2;
  pthread_t writer = start_thread(change_keys, &seed);
  for (int i = 0; i < rounds(100, 10); i++) {
    enum { WATCHES = 5 };
    hmkv *other = open_store("close_timeout=60s");
    struct data *data[WATCHES];
    hmkv_watcher *watchers[WATCHES];
    for (int j = 0; j < WATCHES; j++) {
      data[j] = calloc(1, sizeof *data[j]);
      CHECK(data[j]);
      data[j]->magic = ALIVE;
      CHECK_OK(hmkv_watch_cb(other, keys[j % KEYS], 3, use_data, data[j], &watchers[j]));
    }
    for (int look = 0; look < i % 10; look++) sched_yield();
    close_store(other);
    for (int j = 0; j < WATCHES; j++) {
      CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_cb_cancel(watchers[j]));
      memset(data[j], 0xdd, sizeof *data[j]);
      free(data[j]);
    }
  }
  atomic_store(&stop, true);
  join_thread(writer);
}

static const struct test tests[] = {
    BOTH(thousands_of_cancels_at_random_moments),
    BOTH(of_many_cancels_at_once_one_finds_it),
    BOTH(closing_while_callbacks_run_frees_all_userdata),
};
TEST_MAIN(.begin = begin, .end = end)
