/* Callbacks that cancel each other: where waiting would close a circle, the call
 * marks and answers HMKV_EINCALLBACK. */
#include "test.h"

enum { MAX = 5 };

struct circle;

struct member {
  struct circle *circle;
  hmkv_watcher *own;
  struct member *victim;
  hmkv_status status;
  atomic_int calls;
};

struct circle {
  struct member members[MAX];
  int size;
  struct gate started; /* all watchers are known */
  atomic_int inside;   /* members whose callback runs */
  atomic_int left;
};

static hmkv *kv;

static void begin(void) { kv = open_store(NULL); }
static void end(void) { close_store(kv); }

static bool cancel_next(const char *key, const char *value, hmkv_keychange op, void *userdata) {
  (void)key, (void)value, (void)op;
  struct member *member = userdata;
  struct circle *circle = member->circle;
  gate_pass(&circle->started);
  CHECK_INT(1, atomic_fetch_add(&member->calls, 1) + 1);
  atomic_fetch_add(&circle->inside, 1);
  WAIT_UNTIL(atomic_load(&circle->inside) == circle->size);
  member->status = hmkv_watch_cb_cancel(member->victim->own);
  atomic_fetch_add(&circle->left, 1);
  return true;
}

static void run_circle(int size) {
  struct circle circle = {.size = size, .started = GATE_CLOSED};
  const char *prefix = unique("circle");
  for (int i = 0; i < size; i++) {
    struct member *member = &circle.members[i];
    member->circle = &circle;
    member->victim = &circle.members[(i + 1) % size];
    CHECK_OK(hmkv_watch_cb(kv, text("%s/%d", prefix, i), 3, cancel_next, member, &member->own));
  }
  gate_open(&circle.started);
  for (int i = 0; i < size; i++) {
    CHECK_OK(hmkv_store(kv, text("%s/%d", prefix, i), "1"));
    CHECK_OK(hmkv_store(kv, text("%s/%d", prefix, i), "2"));
  }
  WAIT_UNTIL(atomic_load(&circle.left) == size);
  int refused = 0;
  for (int i = 0; i < size; i++) {
    hmkv_status status = circle.members[i].status;
    if (status != HMKV_OK && status != HMKV_EINCALLBACK) FAIL("%s", hmkv_status_name(status));
    refused += status == HMKV_EINCALLBACK;
  }
  CHECK(refused >= 1);
  CHECK(refused < size); /* only where the circle would close */
  /* All are marked: nothing more is reported. A cancel from outside waits for what may
   * still run; it finds the watches whose cancel did not wait. */
  for (int i = 0; i < size; i++) CHECK_OK(hmkv_store(kv, text("%s/%d", prefix, i), "3"));
  for (int i = 0; i < size; i++) {
    hmkv_status waited = circle.members[(i + size - 1) % size].status;
    CHECK_STATUS(waited == HMKV_OK ? HMKV_EHANDLE : HMKV_OK,
                 hmkv_watch_cb_cancel(circle.members[i].own));
    CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_cb_cancel(circle.members[i].own));
    CHECK_INT(1, atomic_load(&circle.members[i].calls));
  }
}

static void two_callbacks_that_cancel_each_other_do_not_hang(void) {
  for (int i = 0; i < rounds(50, 5); i++) run_circle(2);
}

static void nor_do_five(void) {
  for (int i = 0; i < rounds(20, 3); i++) run_circle(5);
}

/* Waiting for a running callback that waits for nobody is no circle. */
struct plain {
  struct gate gate;
  atomic_int entered;
  atomic_int left;
};

static bool wait_at_gate(const char *key, const char *value, hmkv_keychange op, void *userdata) {
  (void)key, (void)value, (void)op;
  struct plain *plain = userdata;
  atomic_fetch_add(&plain->entered, 1);
  gate_pass(&plain->gate);
  atomic_fetch_add(&plain->left, 1);
  return true;
}

struct chain {
  hmkv_watcher *victim;
  struct plain *plain;
  hmkv_status status;
  int left_before_return;
  atomic_bool done;
};

static bool cancel_victim(const char *key, const char *value, hmkv_keychange op, void *userdata) {
  (void)key, (void)value, (void)op;
  struct chain *chain = userdata;
  chain->status = hmkv_watch_cb_cancel(chain->victim);
  chain->left_before_return = atomic_load(&chain->plain->left);
  atomic_store(&chain->done, true);
  return true;
}

static void a_callback_that_cancels_a_running_one_waits_for_it(void) {
  struct plain plain = {.gate = GATE_CLOSED};
  struct chain chain = {.plain = &plain};
  const char *one = unique("one"), *two = unique("two");
  hmkv_watcher *watcher = NULL;
  CHECK_OK(hmkv_watch_cb(kv, one, 3, wait_at_gate, &plain, &chain.victim));
  CHECK_OK(hmkv_watch_cb(kv, two, 3, cancel_victim, &chain, &watcher));
  CHECK_OK(hmkv_store(kv, one, "1"));
  WAIT_UNTIL(atomic_load(&plain.entered) == 1);
  CHECK_OK(hmkv_store(kv, two, "1"));
  HOLDS_FOR(200, !atomic_load(&chain.done));
  gate_open(&plain.gate);
  WAIT_UNTIL(atomic_load(&chain.done));
  CHECK_STATUS(HMKV_OK, chain.status);
  CHECK_INT(1, chain.left_before_return);
  CHECK_OK(hmkv_watch_cb_cancel(watcher));
}

static const struct test tests[] = {
    BOTH(two_callbacks_that_cancel_each_other_do_not_hang),
    BOTH(nor_do_five),
    BOTH(a_callback_that_cancels_a_running_one_waits_for_it),
};
TEST_MAIN(.begin = begin, .end = end)
