/* Named locks and elections together with those of etcdctl. */
#include "locks.h"
#include "process.h"
#include "recorder.h"
#include "test.h"

#include <signal.h>

static const char *name, *queue;
static hmkv *kv;
static char said[4096];

static void begin(void) {
  name = unique("lock");
  queue = text("%s/", name);
  kv = open_store(NULL);
}

static void end(void) { close_store(kv); }

/* It gives up what it holds and ends. */
static void interrupt(struct process *process) {
  process_kill(process, SIGINT);
  process_wait(process);
}

static void while_etcdctl_holds_the_lock_we_wait(void) {
  struct process etcdctl = etcdctl_start("lock", name, NULL);
  process_read(&etcdctl, said, sizeof said, queue); /* it prints its key when it has it */
  check_busy(kv, name);
  struct waiter waiter;
  waiter_start(&waiter, kv, name, NULL);
  HOLDS_FOR(300, !atomic_load(&waiter.returned));
  interrupt(&etcdctl);
  CHECK_OK(waiter_join(&waiter));
  CHECK_INT(1, queue_length(kv, name));
  CHECK_OK(hmkv_lock_release(waiter.lock));
}

static void while_we_hold_the_lock_etcdctl_waits(void) {
  hmkv_lock *lock = take(kv, name, NULL);
  struct process etcdctl = etcdctl_start("lock", name, "echo", "locked", NULL);
  WAIT_UNTIL(queue_length(kv, name) == 2);
  HOLDS_FOR(300, queue_length(kv, name) == 2);
  CHECK_OK(hmkv_lock_release(lock));
  process_read(&etcdctl, said, sizeof said, "locked");
  CHECK_INT(0, process_wait(&etcdctl));
  WAIT_UNTIL(queue_length(kv, name) == 0);
}

static void the_lock_goes_back_and_forth_in_the_order_of_the_queue(void) {
  hmkv_lock *lock = take(kv, name, NULL);
  struct process etcdctl = etcdctl_start("lock", name, NULL);
  WAIT_UNTIL(queue_length(kv, name) == 2);
  struct waiter waiter;
  waiter_start(&waiter, kv, name, NULL);
  const char *its_key = queue_key(kv, name, 1);
  CHECK_OK(hmkv_lock_release(lock));
  process_read(&etcdctl, said, sizeof said, its_key);
  CHECK(!atomic_load(&waiter.returned));
  interrupt(&etcdctl);
  CHECK_OK(waiter_join(&waiter));
  CHECK_OK(hmkv_lock_release(waiter.lock));
}

/* ---- elections ---- */

static hmkv_lock *lead(const char *value) {
  return take_with(kv, name, HMKV_LOCK_OPTS(.value = value, .value_len = HMKV_NTS), NULL);
}

static void etcdctl_sees_our_leader_and_its_values(void) {
  hmkv_lock *lock = lead("ours");
  const char *key = queue_key(kv, name, 0);
  struct process listener = etcdctl_start("elect", "-l", name, NULL);
  process_read(&listener, said, sizeof said, text("%s\nours\n", key));
  CHECK_OK(hmkv_lock_set(lock, "changed", HMKV_NTS));
  process_read(&listener, said, sizeof said, text("%s\nchanged\n", key));
  struct waiter waiter;
  waiter_start(&waiter, kv, name, HMKV_LOCK_OPTS(.value = "next", .value_len = HMKV_NTS));
  const char *next = queue_key(kv, name, 1);
  CHECK_OK(hmkv_lock_release(lock));
  CHECK_OK(waiter_join(&waiter));
  process_read(&listener, said, sizeof said, text("%s\nnext\n", next));
  process_kill(&listener, SIGKILL);
  process_wait(&listener);
  CHECK_OK(hmkv_lock_release(waiter.lock));
}

static void we_see_the_leader_of_etcdctl_and_wait_for_it(void) {
  struct recorder recorder = RECORDER;
  struct process leader = etcdctl_start("elect", name, "theirs", NULL);
  process_read(&leader, said, sizeof said, "theirs"); /* it prints its key and value when it leads */
  const char *key = queue_key(kv, name, 0);
  hmkv_watcher *watcher = NULL;
  CHECK_OK(hmkv_lock_observe(kv, name, recorder_event, &recorder, &watcher));
  recorder_wait(&recorder, 1);
  CHECK_INT(HMKV_EVENT_PUT, recorder_at(&recorder, 0).type);
  CHECK_STR(key, recorder_at(&recorder, 0).kv.key);
  CHECK_STR("theirs", recorder_at(&recorder, 0).kv.value);
  check_busy(kv, name);
  struct waiter waiter;
  waiter_start(&waiter, kv, name, HMKV_LOCK_OPTS(.value = "ours", .value_len = HMKV_NTS));
  HOLDS_FOR(300, !atomic_load(&waiter.returned));
  interrupt(&leader);
  CHECK_OK(waiter_join(&waiter));
  recorder_wait(&recorder, 2);
  CHECK_INT(HMKV_EVENT_PUT, recorder_at(&recorder, 1).type);
  CHECK_STR(queue_key(kv, name, 0), recorder_at(&recorder, 1).kv.key);
  CHECK_STR("ours", recorder_at(&recorder, 1).kv.value);
  CHECK_OK(hmkv_lock_release(waiter.lock));
  recorder_wait(&recorder, 3);
  CHECK_INT(HMKV_EVENT_DELETE, recorder_at(&recorder, 2).type);
  CHECK_OK(hmkv_watch_close(watcher));
  recorder_free(&recorder);
}

static void etcdctl_waits_for_our_leader(void) {
  struct recorder recorder = RECORDER;
  hmkv_lock *lock = lead("ours");
  hmkv_watcher *watcher = NULL;
  CHECK_OK(hmkv_lock_observe(kv, name, recorder_event, &recorder, &watcher));
  struct process candidate = etcdctl_start("elect", name, "theirs", NULL);
  WAIT_UNTIL(queue_length(kv, name) == 2);
  HOLDS_FOR(300, recorder_count(&recorder) <= 1);
  CHECK_OK(hmkv_lock_release(lock));
  process_read(&candidate, said, sizeof said, "theirs");
  recorder_wait(&recorder, 2);
  CHECK_STR("ours", recorder_at(&recorder, 0).kv.value);
  CHECK_STR("theirs", recorder_at(&recorder, 1).kv.value);
  interrupt(&candidate);
  recorder_wait(&recorder, 3);
  CHECK_INT(HMKV_EVENT_DELETE, recorder_at(&recorder, 2).type);
  CHECK_OK(hmkv_watch_close(watcher));
  recorder_free(&recorder);
}

static const struct test tests[] = {
    ETCD_ONLY(while_etcdctl_holds_the_lock_we_wait),
    ETCD_ONLY(while_we_hold_the_lock_etcdctl_waits),
    ETCD_ONLY(the_lock_goes_back_and_forth_in_the_order_of_the_queue),
    ETCD_ONLY(etcdctl_sees_our_leader_and_its_values),
    ETCD_ONLY(we_see_the_leader_of_etcdctl_and_wait_for_it),
    ETCD_ONLY(etcdctl_waits_for_our_leader),
};
TEST_MAIN(.begin = begin, .end = end)
