/* A store in the event loop of another library: one program for each of them. */
#include "loop.h"

enum { CHANGES = 500, WRITERS = 2 };

static hmkv *kv;
static pthread_t me;
static const char *prefix;
static int changes, answers, ticks;
static hmkv_lock *lock;

static void stop_when_all_is_there(void) {
  CHECK(pthread_equal(me, pthread_self()));
  if (changes == CHANGES * WRITERS && answers == CHANGES && ticks > 3 && lock != NULL) loop_stop();
}

static void on_tick(void) {
  ticks++;
  stop_when_all_is_there();
}

static void on_done(hmkv_result *result, void *userdata) {
  (void)userdata;
  CHECK_OK(hmkv_result_status(result));
  hmkv_result_free(result);
  answers++;
  stop_when_all_is_there();
}

static void on_event(const hmkv_event *event, void *userdata) {
  (void)userdata;
  if (event->type != HMKV_EVENT_PUT) return;
  changes++;
  if (changes <= CHANGES) hmkv_then(hmkv_ping(kv), on_done, NULL);
  stop_when_all_is_there();
}

static void on_acquired(hmkv_status status, hmkv_lock *acquired, void *userdata) {
  (void)userdata;
  CHECK_OK(status);
  lock = acquired;
  stop_when_all_is_there();
}

static void *writing(void *unused) {
  hmkv *own = open_store(NULL);
  for (int i = 0; i < CHANGES; i++) CHECK_OK(hmkv_store(own, text("%s%d", prefix, i), "value"));
  close_store(own);
  return unused;
}

static void callbacks_run_in_the_loop_beside_its_own(void) {
  kv = open_store("dispatch=poll");
  me = pthread_self();
  prefix = unique("key/");
  hmkv_watcher *watcher;
  hmkv_lock *attempt;
  pthread_t writer[WRITERS];
  loop_begin(kv, on_tick);
  CHECK_OK(hmkv_watch_open(kv, prefix, HMKV_NTS, HMKV_WATCH_OPTS(.prefix = 1), on_event, NULL,
                           &watcher));
  CHECK_OK(hmkv_lock_acquire(kv, unique("lock"), HMKV_LOCK_OPTS(.acquired = on_acquired), NULL,
                             NULL, &attempt));
  for (int i = 0; i < WRITERS; i++) writer[i] = start_thread(writing, NULL);
  loop_run();
  for (int i = 0; i < WRITERS; i++) join_thread(writer[i]);
  CHECK_INT(CHANGES * WRITERS, changes);
  CHECK_INT(CHANGES, answers);
  CHECK_OK(hmkv_lock_release(lock));
  CHECK_OK(hmkv_watch_close(watcher));
  loop_end();
  close_store(kv);
}

static void a_store_without_the_option_is_refused(void) {
  hmkv *other = open_store(NULL);
  CHECK(!loop_takes(other));
  close_store(other);
}

static const struct test tests[] = {
    BOTH(callbacks_run_in_the_loop_beside_its_own),
    BOTH(a_store_without_the_option_is_refused),
};
TEST_MAIN()
