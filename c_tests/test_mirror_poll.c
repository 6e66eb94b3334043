/* Mirrors with dispatch=poll: `changed` runs in hmkv_dispatch() alone, the copy needs none. */
#include "changes.h"
#include "cut.h"
#include "mirrors.h"
#include "test.h"

#include <poll.h>

enum { PUT = HMKV_EVENT_PUT, SYNCED = HMKV_EVENT_SYNCED, RESYNC = HMKV_EVENT_RESYNC };

static struct own_store own;
static struct cut cut;
static hmkv *kv;    /* which dispatches, and is cut */
static hmkv *other; /* which does neither */
static struct recorder told;
static hmkv_mirror *mirror;

static void begin(void) {
  own_store_open(&own, "timeout=20s");
  cut_prepare(&cut, &own);
  other = own.kv;
  kv = open_at(cut.endpoint, "dispatch=poll timeout=20s");
  told = (struct recorder)RECORDER;
}

static void end(void) {
  if (kv) close_store(kv);
  cut_finish(&cut);
  own_store_close(&own);
  recorder_free(&told);
}

/* ---- dispatching ---- */

static atomic_int dispatching; /* the thread that is inside hmkv_dispatch(); 0: none */

static void changed(const hmkv_event *event, void *userdata) {
  CHECK_INT(thread_id(), atomic_load(&dispatching));
  recorder_event(event, userdata);
}

static hmkv_mirror *open_mirror(const char *prefix) {
  hmkv_mirror *opened = NULL;
  CHECK_OK(hmkv_mirror_open(kv, prefix, HMKV_NTS, changed, &told, &opened));
  return opened;
}

static bool readable(void) {
  struct pollfd ready = {.fd = hmkv_fd(kv), .events = POLLIN};
  return poll(&ready, 1, 0) == 1;
}

/* At most `max` calls; it is told of as many as are counted. */
static void dispatch(size_t max) {
  size_t ran = 99;
  int entered = atomic_load(&told.entered);
  CHECK_INT(0, atomic_exchange(&dispatching, thread_id()));
  hmkv_status status = hmkv_dispatch(kv, max, &ran);
  atomic_store(&dispatching, 0);
  CHECK_INT(ran > 0 ? HMKV_OK : HMKV_TIMED_OUT, status);
  CHECK(ran <= max);
  CHECK_INT(ran, atomic_load(&told.entered) - entered);
}

/* As an event loop would. */
#define DISPATCH_UNTIL(cond) WAIT_UNTIL((readable() ? dispatch(100) : (void)0, (cond)))

/* That many and no more, without STATE. */
static void dispatch_to(size_t count) {
  DISPATCH_UNTIL(recorder_count(&told) >= count);
  HOLDS_FOR(20, (dispatch(100), recorder_count(&told) == count));
}

/* The last change, which puts a key, was told, and nothing follows it. */
static void dispatch_all(const char *last, int64_t revision) {
  DISPATCH_UNTIL(recorder_last_of(&told, last).revision == revision);
  dispatch_to(recorder_count(&told));
}

/* ---- what runs, and where ---- */

static void changed_runs_in_dispatch_alone_and_the_copy_needs_none(void) {
  change_put(other, "k/b", "old");
  change_put(other, "k/a", "old");
  mirror = open_mirror("k/");
  CHECK_STR("old", mirror_value(mirror, "k/a"));
  unsigned seed = 11;
  for (int i = 0; i < rounds(500, 50); i++) change_something(other, "k/", &seed);
  int64_t last = change_put(kv, "k/last", "value");
  mirror_check(mirror, kv, "k/");
  HOLDS_FOR(50, readable() && atomic_load(&told.entered) == 0);
  dispatch_all("k/last", last);
  CHECK_OK(hmkv_mirror_close(mirror));
}

static void it_is_told_everything_once_and_in_order(void) {
  change_put(other, "k/b", "old");
  change_put(other, "k/a", "old");
  mirror = open_mirror("k/");
  dispatch_to(3);
  CHECK_STR("k/a", recorder_at(&told, 0).kv.key);
  CHECK_STR("k/b", recorder_at(&told, 1).kv.key);
  CHECK_INT(SYNCED, recorder_at(&told, 2).type);
  int64_t stored = change_put(other, "k/c", "new"), removed = change_remove(kv, "k/a");
  dispatch_to(5);
  CHECK_PUT(&told, 3, "k/c", "new", stored);
  CHECK_DELETE(&told, 4, "k/a", removed);
  unsigned seed = 12;
  for (int i = 0; i < rounds(1000, 100); i++) {
    change_something(i % 2 ? kv : other, "k/", &seed);
    if (i % 7 == 0 && readable()) dispatch((size_t)(1 + i % 5)); /* it lags behind */
  }
  dispatch_all("k/last", change_put(other, "k/last", "value"));
  CHECK_INT(1, recorder_count_of(&told, SYNCED));
  CHECK_INT(0, recorder_count_of(&told, RESYNC));
  CHECK_INT(0, recorder_states(&told));
  recorder_check_order(&told);
  recorder_check_versions(&told);
  recorder_check_view(&told, other, "k/");
  CHECK_OK(hmkv_mirror_close(mirror));
}

static void *dispatch_one(void *unused) {
  int entered = atomic_load(&told.entered);
  WAIT_UNTIL((readable() ? dispatch(1) : (void)0, atomic_load(&told.entered) > entered));
  return unused;
}

static void it_runs_on_whichever_thread_dispatches(void) {
  mirror = open_mirror("k/");
  for (size_t count = 0; count < 20; count++) { /* SYNCED, then puts */
    if (count > 0) change_put(other, "k/a", text("%zu", count));
    CHECK_INT(count, recorder_count(&told));
    if (count % 2)
      join_thread(start_thread(dispatch_one, NULL));
    else
      dispatch_one(NULL);
    CHECK_INT(count + 1, recorder_count(&told));
  }
  recorder_check_order(&told);
  recorder_check_versions(&told);
  CHECK_OK(hmkv_mirror_close(mirror));
}

/* ---- cuts ---- */

static void change_in_a_cut(bool compact) {
  change_put(other, "k/gone", "value");
  mirror = open_mirror("k/");
  dispatch_to(2);
  cut_begin(&cut, kv);
  WAIT_UNTIL(readable());
  CHECK_INT(0, recorder_states(&told));
  DISPATCH_UNTIL(recorder_states(&told) == 1); /* the cut */
  for (int i = 0; i < 10; i++) change_put(other, "k/a", text("%d", i));
  change_remove(other, "k/gone");
  change_put(other, "k/b", "new");
  if (compact) own_store_compact(&own);
  CHECK_STR("value", mirror_value(mirror, "k/gone"));
  int entered = atomic_load(&told.entered);
  HOLDS_FOR(20, (dispatch(100), atomic_load(&told.entered) == entered));
  cut_end(&cut, kv);
  mirror_check(mirror, kv, "k/");
  CHECK_INT(entered, atomic_load(&told.entered));
}

static void changes_of_a_cut_are_told_after_it(void) {
  change_in_a_cut(false);
  dispatch_to(2 + 12);
  CHECK_INT(2, recorder_states(&told)); /* its end */
  CHECK_INT(0, recorder_count_of(&told, RESYNC));
  recorder_check_order(&told);
  recorder_check_versions(&told);
  recorder_check_view(&told, other, "k/");
  CHECK_OK(hmkv_mirror_close(mirror));
}

static void what_is_compacted_in_a_cut_is_told_as_the_difference(void) {
  change_in_a_cut(true);
  dispatch_to(2 + 4);
  CHECK_INT(2, recorder_states(&told));
  CHECK_INT(RESYNC, recorder_at(&told, 5).type);
  CHECK_STR("9", recorder_last_of(&told, "k/a").kv.value);
  CHECK_INT(HMKV_EVENT_DELETE, recorder_last_of(&told, "k/gone").type);
  int64_t revision = change_put(other, "k/a", "and it goes on");
  dispatch_to(7);
  CHECK_PUT(&told, 6, "k/a", "and it goes on", revision);
  recorder_check_order(&told);
  recorder_check_view(&told, other, "k/");
  CHECK_OK(hmkv_mirror_close(mirror));
}

/* ---- who dispatches late ---- */

static void who_dispatches_too_late_is_told_the_difference(void) {
  enum { KEYS = 10, AT_ONCE = 100 };
  for (int i = 0; i < KEYS; i++) change_put(other, text("k/%d", i), "first");
  mirror = open_mirror("k/");
  dispatch_to(KEYS + 1);
  for (int i = 0; i < 60; i++) { /* more than 4,096 */
    hmkv_op *ops[AT_ONCE];
    for (int j = 0; j < AT_ONCE; j++)
      ops[j] = hmkv_put(other, text("k/%d", j % KEYS), HMKV_NTS, text("%d", i), HMKV_NTS, NULL);
    for (int j = 0; j < AT_ONCE; j++) change_done(ops[j]);
  }
  mirror_check(mirror, kv, "k/");
  CHECK_INT(KEYS + 1, atomic_load(&told.entered));
  DISPATCH_UNTIL(recorder_count_of(&told, RESYNC) == 1);
  dispatch_to(recorder_count(&told));
  CHECK(recorder_count(&told) < 4096);
  recorder_check_order(&told);
  recorder_check_view(&told, other, "k/");
  size_t count = recorder_count(&told);
  int64_t revision = change_put(other, "k/0", "and it goes on");
  dispatch_to(count + 1);
  CHECK_PUT(&told, count, "k/0", "and it goes on", revision);
  CHECK_OK(hmkv_mirror_close(mirror));
}

/* ---- closing ---- */

static void of_a_closed_mirror_nothing_is_told(void) {
  for (int store = 0; store < 2; store++) {
    int entered = atomic_load(&told.entered);
    change_put(other, "k/a", "value");
    mirror = open_mirror("k/");
    dispatch_one(NULL);
    for (int i = 0; i < 10; i++) change_put(other, "k/a", text("%d", i));
    mirror_check(mirror, kv, "k/");
    if (store) {
      close_store(kv);
      kv = NULL;
    } else {
      CHECK_OK(hmkv_mirror_close(mirror));
      change_put(other, "k/a", "later");
      HOLDS_FOR(20, (dispatch(100), atomic_load(&told.entered) == entered + 1));
      recorder_free(&told);
    }
    CHECK_INT(entered + 1, atomic_load(&told.entered));
  }
}

static void close_inside(const hmkv_event *event, void *userdata) {
  changed(event, userdata);
  CHECK_STATUS(HMKV_EINCALLBACK, hmkv_dispatch(kv, 1, NULL));
  CHECK_STATUS(HMKV_EINCALLBACK, hmkv_close(kv));
  CHECK_OK(hmkv_mirror_close(mirror));
}

static void it_may_close_its_mirror_but_not_its_store(void) {
  change_put(other, "k/a", "value");
  change_put(other, "k/b", "value");
  CHECK_OK(hmkv_mirror_open(kv, "k/", 2, close_inside, &told, &mirror));
  DISPATCH_UNTIL(recorder_count(&told) == 1);
  change_put(other, "k/a", "later");
  HOLDS_FOR(20, (dispatch(100), recorder_count(&told) == 1));
  CHECK_STATUS(HMKV_EHANDLE, hmkv_mirror_close(mirror));
}

static const struct test tests[] = {
    BOTH(changed_runs_in_dispatch_alone_and_the_copy_needs_none),
    BOTH(it_is_told_everything_once_and_in_order),
    BOTH(it_runs_on_whichever_thread_dispatches),
    BOTH(changes_of_a_cut_are_told_after_it),
    BOTH(what_is_compacted_in_a_cut_is_told_as_the_difference),
    BOTH(who_dispatches_too_late_is_told_the_difference),
    BOTH(of_a_closed_mirror_nothing_is_told),
    BOTH(it_may_close_its_mirror_but_not_its_store),
};
TEST_MAIN(.begin = begin, .end = end)
