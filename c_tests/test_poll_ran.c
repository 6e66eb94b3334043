/* dispatch=poll: hmkv_dispatch() counts the callbacks that ran, and nothing besides. */
#include "changes.h"
#include "cut.h"
#include "locks.h"
#include "test.h"

#include <poll.h>

static struct own_store own;
static struct cut cut;
static hmkv *kv; /* which is cut */
static size_t calls, ran;

static void begin(void) {
  own_store_open(&own, NULL);
  cut_prepare(&cut, &own);
  kv = open_at(cut.endpoint, "dispatch=poll timeout=20s");
  calls = ran = 0;
}

static void end(void) {
  close_store(kv);
  cut_finish(&cut);
  own_store_close(&own);
}

/* Runs what is ready, however often that is nothing, until the callback was called so
 * often. */
static void dispatch_until(size_t count) {
  for (int64_t late = now_ms() + patience_ms(); calls < count;) {
    struct pollfd ready = {.fd = hmkv_fd(kv), .events = POLLIN};
    CHECK(now_ms() < late);
    size_t now;
    if (poll(&ready, 1, 20) != 1) continue;
    hmkv_status status = hmkv_dispatch(kv, 1, &now);
    CHECK_INT(now > 0 ? HMKV_OK : HMKV_TIMED_OUT, status);
    ran += now;
    CHECK_INT(calls, ran);
  }
  CHECK_INT(count, calls);
}

static bool on_change(const char *key, const char *value, hmkv_keychange op, void *userdata) {
  (void)key, (void)op;
  snprintf(userdata, 16, "%s", value ? value : "none");
  calls++;
  return true;
}

/* To such a watch nobody tells that the server was away, or that changes were left out. */
static void the_end_of_a_difference_is_no_callback(void) {
  char last[16];
  hmkv_watcher *watcher;
  CHECK_OK(hmkv_watch_cb(kv, "key", 3, on_change, last, &watcher));
  CHECK_OK(hmkv_store(kv, "key", "1"));
  dispatch_until(1);
  cut_begin(&cut, kv);
  for (int i = 2; i <= 9; i++) CHECK_OK(hmkv_store(own.kv, "key", text("%d", i)));
  CHECK_OK(hmkv_store(own.kv, "another", "value"));
  own_store_compact(&own);
  cut_end(&cut, kv);
  dispatch_until(2);
  CHECK_STR("9", last);
  CHECK_OK(hmkv_store(own.kv, "key", "10"));
  dispatch_until(3);
  CHECK_STR("10", last);
  CHECK_OK(hmkv_watch_cb_cancel(watcher));
}

static void on_leader(const hmkv_event *event, void *userdata) {
  (void)userdata;
  CHECK(event->type != HMKV_EVENT_DELETE);
  calls++;
}

static void a_contender_that_does_not_lead_is_no_callback(void) {
  hmkv_watcher *watcher;
  hmkv_lock *lock = take(own.kv, "lock", NULL);
  CHECK_OK(hmkv_lock_observe(kv, "lock", on_leader, NULL, &watcher));
  dispatch_until(1);
  for (int i = 0; i < 20; i++) CHECK_OK(hmkv_store(own.kv, "lock/1234abcd", text("%d", i)));
  CHECK_OK(hmkv_lock_release(lock));
  dispatch_until(2);
  CHECK_OK(hmkv_watch_close(watcher));
}

static const struct test tests[] = {
    BOTH(the_end_of_a_difference_is_no_callback),
    BOTH(a_contender_that_does_not_lead_is_no_callback),
};
TEST_MAIN(.begin = begin, .end = end)
