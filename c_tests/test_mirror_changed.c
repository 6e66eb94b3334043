/* Mirrors: what `changed` is told. */
#include "changes.h"
#include "mirrors.h"
#include "test.h"

enum { PUT = HMKV_EVENT_PUT, SYNCED = HMKV_EVENT_SYNCED, RESYNC = HMKV_EVENT_RESYNC };

static hmkv *kv;
static const char *prefix;
static struct recorder told;
static struct gate gate;

static void begin(void) {
  kv = open_store("timeout=20s");
  prefix = unique("mirror/");
  told = (struct recorder)RECORDER;
  gate = (struct gate)GATE_CLOSED;
}

static void end(void) {
  close_store(kv);
  recorder_free(&told);
}

static const char *key(const char *name) { return text("%s%s", prefix, name); }

static void first_what_is_there_then_every_change(void) {
  change_put(kv, key("b"), "old");
  int64_t snapshot = change_put(kv, key("a"), "old");
  hmkv_mirror *mirror = mirror_of(kv, prefix, &told);
  recorder_wait(&told, 3);
  CHECK_STR(key("a"), recorder_at(&told, 0).kv.key);
  CHECK_STR(key("b"), recorder_at(&told, 1).kv.key);
  CHECK(!recorder_at(&told, 0).last && !recorder_at(&told, 1).last);
  CHECK_INT(SYNCED, recorder_at(&told, 2).type);
  CHECK(recorder_at(&told, 2).revision >= snapshot);
  int64_t stored = change_put(kv, key("c"), "new"), removed = change_remove(kv, key("a"));
  recorder_wait(&told, 5);
  CHECK_PUT(&told, 3, key("c"), "new", stored);
  CHECK_DELETE(&told, 4, key("a"), removed);
  unsigned seed = 4;
  for (int i = 0; i < rounds(1000, 100); i++) change_something(kv, prefix, &seed);
  int64_t last = change_put(kv, key("last"), "value");
  WAIT_UNTIL(recorder_last_of(&told, key("last")).revision == last);
  recorder_check_order(&told);
  recorder_check_versions(&told);
  recorder_check_view(&told, kv, prefix);
  CHECK_INT(0, recorder_count_of(&told, RESYNC));
  CHECK_OK(hmkv_mirror_close(mirror));
}

/* ---- the copy when it is called ---- */

struct looking {
  pthread_mutex_t mutex; /* until `mirror` is known */
  hmkv_mirror *mirror;
  atomic_int changes;
};

static void look(const hmkv_event *event, void *userdata) {
  struct looking *looking = userdata;
  pthread_mutex_lock(&looking->mutex);
  pthread_mutex_unlock(&looking->mutex);
  if (!event->kv) return;
  CHECK_OK(hmkv_mirror_wait(looking->mirror, event->revision, 0));
  hmkv_result *now = hmkv_mirror_get(looking->mirror, event->kv->key, event->kv->key_len);
  CHECK(hmkv_result_revision(now) >= event->revision);
  if (hmkv_result_count(now) == 1)
    CHECK(hmkv_result_kv(now, 0)->mod_revision >= event->kv->mod_revision);
  else
    CHECK_STATUS(HMKV_NOT_FOUND, hmkv_result_status(now));
  if (event->type == PUT && hmkv_result_revision(now) == event->revision)
    CHECK_INT(1, hmkv_result_count(now));
  hmkv_result_free(now);
  atomic_fetch_add(&looking->changes, 1);
}

static void when_it_is_called_the_copy_has_the_change(void) {
  struct looking looking = {.mutex = PTHREAD_MUTEX_INITIALIZER};
  int puts = rounds(3000, 200);
  change_put(kv, key("a"), "first");
  pthread_mutex_lock(&looking.mutex);
  CHECK_OK(hmkv_mirror_open(kv, prefix, HMKV_NTS, look, &looking, &looking.mirror));
  pthread_mutex_unlock(&looking.mutex);
  for (int i = 0; i < puts; i++) change_put(kv, key(text("%d", i % 10)), "value");
  WAIT_UNTIL(atomic_load(&looking.changes) == puts + 1);
  CHECK_OK(hmkv_mirror_close(looking.mirror));
}

/* ---- one that is slow ---- */

static void one_that_is_slow_delays_neither_the_copy_nor_its_readers(void) {
  change_put(kv, key("0"), "first");
  change_put(kv, key("gone"), "first");
  told.hold = &gate;
  hmkv_mirror *mirror = mirror_of(kv, prefix, &told);
  WAIT_UNTIL(atomic_load(&told.entered) == 1);
  for (int i = 0; i < 100; i++) change_put(kv, key("0"), text("%d", i));
  change_remove(kv, key("gone"));
  mirror_check(mirror, kv, prefix);
  CHECK_INT(0, recorder_count(&told));
  gate_open(&gate);
  recorder_wait(&told, 3 + 101); /* all of them: there was room */
  recorder_check_order(&told);
  recorder_check_versions(&told);
  CHECK_OK(hmkv_mirror_close(mirror));
}

/* Of few keys many changes: more than 4,096 wait also where the copy was shown to its
 * readers just now, and the last thousand are queued only in a moment. */
static void what_waits_too_long_becomes_the_difference(void) {
  enum { KEYS = 10 };
  for (int i = 0; i < KEYS; i++) change_put(kv, key(text("%d", i)), "first");
  change_put(kv, key("again"), "first");
  told.hold = &gate;
  hmkv_mirror *mirror = mirror_of(kv, prefix, &told);
  WAIT_UNTIL(atomic_load(&told.entered) == 1); /* else it may begin in the midst of the changes */
  for (int round = 0; round < 2; round++) {
    size_t count = recorder_count(&told);
    int entered = atomic_load(&told.entered);
    gate.open = false;
    if (round == 1) {
      change_put(kv, key("0"), "once more");
      WAIT_UNTIL(atomic_load(&told.entered) == entered + 1);
    }
    for (int i = 0; i < 100; i++) {
      hmkv_op *ops[100];
      for (int j = 0; j < 100; j++)
        ops[j] = hmkv_put(kv, key(text("%d", j % KEYS)), HMKV_NTS, text("%d", i), HMKV_NTS, NULL);
      for (int j = 0; j < 100; j++) change_done(ops[j]);
    }
    change_remove(kv, key("again"));
    change_put(kv, key("again"), "again");
    mirror_check(mirror, kv, prefix);
    int64_t newest = mirror_revision(mirror, prefix);
    gate_open(&gate);
    int32_t mark = round == 0 ? SYNCED : RESYNC; /* the snapshot was not consumed */
    WAIT_UNTIL(recorder_count_of(&told, mark) == 1);
    CHECK_MARK(&told, recorder_count(&told) - 1, mark, newest);
    CHECK(recorder_count(&told) - count <= 2 * (KEYS + 2) + 2);
    recorder_check_view(&told, kv, prefix);
    if (round == 1) CHECK(*recorder_at(&told, recorder_count(&told) - 1).detail);
  }
  size_t count = recorder_count(&told);
  int64_t revision = change_put(kv, key("0"), "and it goes on");
  recorder_wait(&told, count + 1);
  CHECK_PUT(&told, count, key("0"), "and it goes on", revision);
  CHECK_INT(1, recorder_count_of(&told, SYNCED));
  CHECK_INT(1, recorder_count_of(&told, RESYNC));
  CHECK_OK(hmkv_mirror_close(mirror));
}

/* ---- closing ---- */

struct closing {
  hmkv *store; /* NULL: the mirror alone */
  struct gate ready;
  hmkv_mirror *mirror;
  atomic_int calls;
  hmkv_status status;
  atomic_bool done;
};

static void close_inside(const hmkv_event *event, void *userdata) {
  struct closing *closing = userdata;
  (void)event;
  gate_pass(&closing->ready);
  if (atomic_fetch_add(&closing->calls, 1) > 0) FAIL("called after the close");
  closing->status = closing->store ? hmkv_close(closing->store)
                                   : hmkv_mirror_close(closing->mirror);
  if (!closing->store) CHECK_STATUS(HMKV_EHANDLE, hmkv_mirror_close(closing->mirror));
  atomic_store(&closing->done, true);
}

static void it_may_close_its_mirror(void) {
  struct closing closing = {.ready = GATE_CLOSED};
  change_put(kv, key("a"), "value");
  change_put(kv, key("b"), "value");
  CHECK_OK(hmkv_mirror_open(kv, prefix, HMKV_NTS, close_inside, &closing, &closing.mirror));
  gate_open(&closing.ready);
  WAIT_UNTIL(atomic_load(&closing.done));
  CHECK_OK(closing.status);
  change_put(kv, key("a"), "value");
  CHECK_RESULT(HMKV_EHANDLE, hmkv_mirror_get(closing.mirror, key("a"), HMKV_NTS));
  HOLDS_FOR(50, atomic_load(&closing.calls) == 1);
}

static void it_may_not_close_its_store(void) {
  struct closing closing = {.ready = GATE_CLOSED, .store = kv};
  CHECK_OK(hmkv_mirror_open(kv, prefix, HMKV_NTS, close_inside, &closing, &closing.mirror));
  gate_open(&closing.ready);
  WAIT_UNTIL(atomic_load(&closing.done));
  CHECK_STATUS(HMKV_EINCALLBACK, closing.status);
  mirror_check(closing.mirror, kv, prefix);
  CHECK_OK(hmkv_mirror_close(closing.mirror));
}

static void *close_in_thread(void *arg) {
  struct closing *closing = arg;
  closing->status = closing->store ? hmkv_close(closing->store)
                                   : hmkv_mirror_close(closing->mirror);
  atomic_store(&closing->done, true);
  return NULL;
}

static void closing_waits_for_it(void) {
  for (int store = 0; store < 2; store++) {
    struct recorder held = RECORDER;
    struct closing closing = {.ready = GATE_CLOSED};
    hmkv *other = open_store("timeout=20s close_timeout=60s");
    change_put(kv, key("a"), "value");
    gate.open = false;
    held.hold = &gate;
    closing.mirror = mirror_of(other, prefix, &held);
    if (store) closing.store = other;
    WAIT_UNTIL(atomic_load(&held.running) == 1);
    pthread_t thread = start_thread(close_in_thread, &closing);
    HOLDS_FOR(50, !atomic_load(&closing.done));
    gate_open(&gate);
    join_thread(thread);
    CHECK_OK(closing.status);
    CHECK_INT(0, atomic_load(&held.running));
    int entered = atomic_load(&held.entered);
    change_put(kv, key("a"), "later");
    HOLDS_FOR(20, atomic_load(&held.entered) == entered);
    CHECK_STATUS(HMKV_EHANDLE, hmkv_mirror_close(closing.mirror));
    if (!store) close_store(other);
    recorder_free(&held);
  }
}

static const struct test tests[] = {
    BOTH(first_what_is_there_then_every_change),
    BOTH(when_it_is_called_the_copy_has_the_change),
    BOTH(one_that_is_slow_delays_neither_the_copy_nor_its_readers),
    BOTH(what_waits_too_long_becomes_the_difference),
    BOTH(it_may_close_its_mirror),
    BOTH(it_may_not_close_its_store),
    BOTH(closing_waits_for_it),
};
TEST_MAIN(.begin = begin, .end = end)
