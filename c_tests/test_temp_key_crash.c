/* Temporary keys and locks of a process that died. */
#include "process.h"
#include "test.h"

#include <signal.h>

enum { TTL_S = 3 };

/* Makes a temporary key, acquires the lock, says so and waits for its end. */
static void hold(int argc, char **argv) {
  CHECK_INT(2, argc);
  hmkv *kv = open_store(text("temp_ttl=%ds lock_ttl=%ds lock=%s", TTL_S, TTL_S, argv[1]));
  CHECK_OK(hmkv_temp_key(kv, argv[0]));
  CHECK_OK(hmkv_dist_lock(kv));
  printf("holding\n");
  for (;;) pause();
}

static void leave(int argc, char **argv) {
  CHECK_INT(1, argc);
  hmkv *kv = open_store(text("temp_ttl=%ds", TTL_S));
  CHECK_OK(hmkv_temp_key(kv, argv[0]));
  printf("holding\n");
  exit(0); /* without closing the store */
}

static void a_temporary_key_is_gone_within_its_ttl_after_kill_9(void) {
  hmkv *kv = open_store(NULL);
  const char *key = unique("temp");
  char said[64];
  struct process child = start_child(KEEP_STDERR, test_endpoint(), "hold", key, unique("lock"), NULL);
  process_read(&child, said, sizeof said, "holding");
  HOLDS_FOR(1000 * TTL_S + 1000, has_key(kv, key)); /* renewed while the process lives */
  process_kill(&child, SIGKILL);
  CHECK_INT(SIGKILL, process_wait(&child));
  WAIT_WITHIN(1000 * (TTL_S + 2), !has_key(kv, key));
  close_store(kv);
}

static void a_lock_is_free_within_its_ttl_after_kill_9(void) {
  const char *name = unique("lock");
  hmkv *kv = open_store(text("lock=%s", name));
  char said[64];
  struct process child = start_child(KEEP_STDERR, test_endpoint(), "hold", unique("temp"), name, NULL);
  process_read(&child, said, sizeof said, "holding");
  CHECK_STATUS(HMKV_BUSY, hmkv_dist_timed_lock(kv, 0));
  process_kill(&child, SIGKILL);
  CHECK_INT(SIGKILL, process_wait(&child));
  CHECK_OK(hmkv_dist_timed_lock(kv, TTL_S + 2));
  CHECK_INT(1, count_keys(kv, text("%s/", name)));
  close_store(kv);
}

static void a_temporary_key_is_gone_within_its_ttl_after_exit_without_close(void) {
  hmkv *kv = open_store(NULL);
  const char *key = unique("temp");
  char said[64];
  struct process child = start_child(KEEP_STDERR, test_endpoint(), "leave", key, NULL);
  process_read(&child, said, sizeof said, "holding");
  CHECK_INT(0, process_wait(&child));
  WAIT_WITHIN(1000 * (TTL_S + 2), !has_key(kv, key));
  close_store(kv);
}

static void a_waiter_killed_in_the_queue_does_not_hold_up_the_others(void) {
  const char *name = unique("lock"), *queue = text("%s/", name);
  hmkv *holder = open_store(text("lock=%s", name)), *next = open_store(text("lock=%s", name));
  CHECK_OK(hmkv_dist_lock(holder));
  struct process child = start_child(KEEP_STDERR, test_endpoint(), "hold", unique("temp"), name, NULL);
  WAIT_UNTIL(count_keys(holder, queue) == 2);
  process_kill(&child, SIGKILL);
  CHECK_INT(SIGKILL, process_wait(&child));
  CHECK_OK(hmkv_dist_unlock(holder));
  CHECK_OK(hmkv_dist_timed_lock(next, TTL_S + 2));
  close_store(holder);
  close_store(next);
}

static const struct test tests[] = {
    ETCD_ONLY(a_temporary_key_is_gone_within_its_ttl_after_kill_9),
    ETCD_ONLY(a_lock_is_free_within_its_ttl_after_kill_9),
    ETCD_ONLY(a_temporary_key_is_gone_within_its_ttl_after_exit_without_close),
    ETCD_ONLY(a_waiter_killed_in_the_queue_does_not_hold_up_the_others),
};
static const struct child children[] = {{"hold", hold}, {"leave", leave}, {NULL, NULL}};
TEST_MAIN(.children = children)
