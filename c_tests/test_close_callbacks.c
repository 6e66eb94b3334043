/* hmkv_close and callbacks: inside them, and while they run. */
#include "events.h"
#include "test.h"

struct blocked {
  struct gate gate;
  atomic_int entered, left;
};

static bool block(const char *key, const char *value, hmkv_keychange op, void *userdata) {
  (void)key, (void)value, (void)op;
  struct blocked *blocked = userdata;
  atomic_fetch_add(&blocked->entered, 1);
  gate_pass(&blocked->gate);
  atomic_fetch_add(&blocked->left, 1);
  return true;
}

static void watch(hmkv *kv, const char *key, hmkv_watch_fn fn, void *userdata) {
  hmkv_watcher *watcher = NULL;
  CHECK_OK(hmkv_watch_cb(kv, key, 3, fn, userdata, &watcher));
}

struct closer {
  hmkv *kv;
  hmkv_status status;
  atomic_bool returned;
};

static void *close_it(void *arg) {
  struct closer *closer = arg;
  closer->status = hmkv_close(closer->kv);
  atomic_store(&closer->returned, true);
  return NULL;
}

static void it_waits_for_a_running_callback(void) {
  struct blocked blocked = {.gate = GATE_CLOSED};
  struct closer closer = {.kv = open_store("close_timeout=10m")};
  const char *key = unique("key");
  watch(closer.kv, key, block, &blocked);
  CHECK_OK(hmkv_store(closer.kv, key, "1"));
  CHECK_OK(hmkv_store(closer.kv, key, "2"));
  WAIT_UNTIL(atomic_load(&blocked.entered) == 1);
  pthread_t thread = start_thread(close_it, &closer);
  HOLDS_FOR(300, !atomic_load(&closer.returned));
  gate_open(&blocked.gate);
  join_thread(thread);
  CHECK_STATUS(HMKV_OK, closer.status);
  CHECK_INT(1, atomic_load(&blocked.left));
  CHECK_INT(1, atomic_load(&blocked.entered)); /* the second change was dropped */
}

static void a_callback_that_outlives_close_timeout_makes_it_time_out(void) {
  struct blocked blocked = {.gate = GATE_CLOSED};
  hmkv *kv = open_store("close_timeout=200ms"), *other = open_store(NULL);
  const char *key = unique("key"), *temp = unique("temp");
  struct events second = EVENTS_OF(unique("key"));
  watch(kv, key, block, &blocked);
  watch(kv, second.key, events_record, &second);
  CHECK_OK(hmkv_temp_key(kv, temp));
  for (int i = 0; i < 5; i++) CHECK_OK(hmkv_store(kv, key, "value"));
  WAIT_UNTIL(atomic_load(&blocked.entered) == 1);
  int64_t begin = now_ms();
  CHECK_STATUS(HMKV_TIMED_OUT, hmkv_close(kv));
  int64_t took = now_ms() - begin;
  CHECK(took >= 180 && took < 15000);
  /* The store is closed. */
  char *value = NULL;
  CHECK_STATUS(HMKV_EHANDLE, hmkv_get(kv, key, &value));
  CHECK_STATUS(HMKV_EHANDLE, hmkv_close(kv));
  WAIT_UNTIL(!has_key(other, temp)); /* its end was asked for, if not answered in 200 ms */
  /* No further callback starts, neither of this watch nor of another. */
  CHECK_OK(hmkv_store(other, second.key, "value"));
  CHECK_OK(hmkv_store(other, key, "value"));
  CHECK_INT(0, atomic_load(&blocked.left));
  gate_open(&blocked.gate);
  WAIT_UNTIL(atomic_load(&blocked.left) == 1);
  CHECK_OK(hmkv_store(other, key, "value"));
  close_store(other);
  /* Its thread ends then. */
  WAIT_UNTIL(count_threads("hmkv-") == 0);
  CHECK_INT(1, atomic_load(&blocked.entered));
  CHECK_INT(0, events_count(&second));
}

static void with_close_timeout_0_it_does_not_wait(void) {
  struct blocked blocked = {.gate = GATE_CLOSED};
  hmkv *kv = open_store("close_timeout=0");
  const char *key = unique("key");
  watch(kv, key, block, &blocked);
  CHECK_OK(hmkv_store(kv, key, "value"));
  WAIT_UNTIL(atomic_load(&blocked.entered) == 1);
  CHECK_STATUS(HMKV_TIMED_OUT, hmkv_close(kv));
  gate_open(&blocked.gate);
  WAIT_UNTIL(atomic_load(&blocked.left) == 1);
  WAIT_UNTIL(count_threads("hmkv-") == 0);
}

/* ---- inside a callback ---- */

struct inside {
  hmkv *kv;
  hmkv_status status;
  atomic_int done;
};

static bool close_inside(const char *key, const char *value, hmkv_keychange op, void *userdata) {
  (void)key, (void)value, (void)op;
  struct inside *inside = userdata;
  inside->status = hmkv_close(inside->kv);
  atomic_fetch_add(&inside->done, 1);
  return true;
}

static void inside_its_own_callback_it_is_refused_and_does_nothing(void) {
  hmkv *kv = open_store(NULL);
  struct inside inside = {.kv = kv};
  const char *key = unique("key");
  watch(kv, key, close_inside, &inside);
  for (int i = 1; i <= 3; i++) {
    CHECK_OK(hmkv_store(kv, key, "value"));
    WAIT_UNTIL(atomic_load(&inside.done) == i); /* the watch goes on */
    CHECK_STATUS(HMKV_EINCALLBACK, inside.status);
  }
  CHECK_VALUE(kv, key, "value");
  close_store(kv);
}

static void closing_another_store_inside_a_callback_works(void) {
  hmkv *kv = open_store(NULL);
  struct inside inside = {.kv = open_store(NULL)};
  const char *key = unique("key"), *temp = unique("temp");
  CHECK_OK(hmkv_temp_key(inside.kv, temp));
  watch(kv, key, close_inside, &inside);
  CHECK_OK(hmkv_store(kv, key, "value"));
  WAIT_UNTIL(atomic_load(&inside.done) == 1);
  CHECK_STATUS(HMKV_OK, inside.status);
  CHECK(!has_key(kv, temp));
  CHECK_STATUS(HMKV_EHANDLE, hmkv_close(inside.kv));
  close_store(kv);
}

struct pair {
  hmkv *victim;
  struct pair *other;
  atomic_bool entered;
  hmkv_status status;
  atomic_bool done;
};

static bool close_each_other(const char *key, const char *value, hmkv_keychange op, void *userdata) {
  (void)key, (void)value, (void)op;
  struct pair *pair = userdata;
  atomic_store(&pair->entered, true);
  WAIT_UNTIL(atomic_load(&pair->other->entered));
  pair->status = hmkv_close(pair->victim);
  atomic_store(&pair->done, true);
  return false;
}

/* Each waits for the other's callback: bounded by close_timeout. */
static void callbacks_that_close_each_others_stores_do_not_hang(void) {
  hmkv *stores[2] = {open_store("close_timeout=300ms"), open_store("close_timeout=300ms")};
  struct pair pairs[2] = {{.victim = stores[1], .other = &pairs[1]},
                          {.victim = stores[0], .other = &pairs[0]}};
  const char *key = unique("key");
  for (int i = 0; i < 2; i++) watch(stores[i], key, close_each_other, &pairs[i]);
  CHECK_OK(hmkv_store(stores[0], key, "value"));
  for (int i = 0; i < 2; i++) WAIT_UNTIL(atomic_load(&pairs[i].done));
  for (int i = 0; i < 2; i++) {
    hmkv_status status = pairs[i].status;
    if (status != HMKV_OK && status != HMKV_TIMED_OUT && status != HMKV_EINCALLBACK)
      FAIL("%s", hmkv_status_name(status));
    if (status == HMKV_EINCALLBACK) close_store(pairs[i].victim);
  }
  WAIT_UNTIL(count_threads("hmkv-") == 0);
}

static void closing_again_and_again_with_watches_leaves_nothing(void) {
  const char *key = unique("key");
  hmkv *writer = open_store(NULL);
  for (int i = 0; i < rounds(100, 20); i++) {
    hmkv *kv = open_store(NULL);
    struct events events = EVENTS_OF(key);
    watch(kv, key, events_record, &events);
    CHECK_OK(hmkv_store(writer, key, "value"));
    if (i % 2 == 0) events_wait(&events, 1);
    close_store(kv);
    size_t count = events.count;
    CHECK_OK(hmkv_store(writer, key, "value"));
    CHECK_INT(count, events_count(&events));
    events_free(&events);
  }
  close_store(writer);
}

static const struct test tests[] = {
    BOTH(it_waits_for_a_running_callback),
    BOTH(a_callback_that_outlives_close_timeout_makes_it_time_out),
    BOTH(with_close_timeout_0_it_does_not_wait),
    BOTH(inside_its_own_callback_it_is_refused_and_does_nothing),
    BOTH(closing_another_store_inside_a_callback_works),
    BOTH(callbacks_that_close_each_others_stores_do_not_hang),
    BOTH(closing_again_and_again_with_watches_leaves_nothing),
};
TEST_MAIN()
