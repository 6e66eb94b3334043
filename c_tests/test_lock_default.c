/* The default name of the lock, and other programs that use it. */
#include "process.h"
#include "test.h"

#include <signal.h>

#define QUEUE HMKV_DIST_LOCK_KEY "/"

static void the_default_name_is_hbtd_dist_lock(void) {
  hmkv *kv = open_store(NULL), *named = open_store("lock=hbtd_dist_lock");
  CHECK_OK(hmkv_dist_lock(kv));
  CHECK_INT(1, count_keys(kv, QUEUE));
  CHECK_STATUS(HMKV_BUSY, hmkv_dist_timed_lock(named, 0));
  close_store(kv);
  close_store(named);
}

static struct process start_etcdctl_lock(const char *command) {
  const char *const argv[] = {etcdctl_program(), "--endpoints", test_endpoint(), "lock",
                              HMKV_DIST_LOCK_KEY, command, command ? "locked" : NULL, NULL};
  return process_start(argv, KEEP_STDERR);
}

static void while_etcdctl_holds_it_we_are_busy_and_wait(void) {
  hmkv *kv = open_store("lock_ttl=5s");
  struct process etcdctl = start_etcdctl_lock(NULL);
  char said[1024];
  process_read(&etcdctl, said, sizeof said, QUEUE); /* it prints its key when it has it */
  CHECK_STATUS(HMKV_BUSY, hmkv_dist_timed_lock(kv, 0));
  CHECK_STATUS(HMKV_BUSY, hmkv_dist_timed_lock(kv, 1));
  CHECK_INT(1, count_keys(kv, QUEUE));
  process_kill(&etcdctl, SIGINT); /* it releases the lock */
  CHECK_OK(hmkv_dist_timed_lock(kv, 30));
  process_wait(&etcdctl);
  CHECK_INT(1, count_keys(kv, QUEUE));
  close_store(kv);
}

static void while_we_hold_it_etcdctl_waits(void) {
  hmkv *kv = open_store("lock_ttl=5s");
  CHECK_OK(hmkv_dist_lock(kv));
  struct process etcdctl = start_etcdctl_lock("echo");
  WAIT_UNTIL(count_keys(kv, QUEUE) == 2);
  CHECK_INT(HMKV_LOCK_GRANTED, hmkv_dist_lock_result(kv));
  HOLDS_FOR(300, count_keys(kv, QUEUE) == 2);
  CHECK_OK(hmkv_dist_unlock(kv));
  char said[1024];
  process_read(&etcdctl, said, sizeof said, "locked");
  CHECK_INT(0, process_wait(&etcdctl));
  WAIT_UNTIL(count_keys(kv, QUEUE) == 0);
  close_store(kv);
}

static void *acquire(void *kv) {
  CHECK_OK(hmkv_dist_lock(kv));
  return NULL;
}

static void we_and_etcdctl_stand_in_one_queue(void) {
  hmkv *first = open_store(NULL), *last = open_store(NULL);
  CHECK_OK(hmkv_dist_lock(first));
  struct process etcdctl = start_etcdctl_lock(NULL);
  WAIT_UNTIL(count_keys(first, QUEUE) == 2);
  pthread_t waiter = start_thread(acquire, last);
  WAIT_UNTIL(count_keys(first, QUEUE) == 3);
  CHECK_OK(hmkv_dist_unlock(first));
  char said[1024];
  process_read(&etcdctl, said, sizeof said, QUEUE); /* its turn before `last` */
  CHECK(hmkv_dist_lock_result(last) != HMKV_LOCK_GRANTED);
  process_kill(&etcdctl, SIGINT);
  join_thread(waiter);
  process_wait(&etcdctl);
  close_store(first);
  close_store(last);
}

static const struct test tests[] = {
    BOTH(the_default_name_is_hbtd_dist_lock),
    ETCD_ONLY(while_etcdctl_holds_it_we_are_busy_and_wait),
    ETCD_ONLY(while_we_hold_it_etcdctl_waits),
    ETCD_ONLY(we_and_etcdctl_stand_in_one_queue),
};
TEST_MAIN()
