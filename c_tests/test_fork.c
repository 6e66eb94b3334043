/* fork(): inherited handles are refused, the child opens its own, the parent goes on. */
#include "control.h"
#include "events.h"
#include "every_call.h"
#include "load.h"
#include "process.h"
#include "test.h"

#include <signal.h>
#include <sys/wait.h>

static hmkv *kv;
static hmkv_watcher *watcher;
static struct events events;
static hmkv_watcher *pulled;
static hmkv_mirror *mirror;
static hmkv_lease *lease;
static hmkv_lock *lock;

static void begin(void) {
  kv = open_store(text("temp_ttl=3s timeout=20s lock=%s", unique("lock")));
  events = (struct events)EVENTS_OF(unique("watched"));
  CHECK_OK(hmkv_watch_cb(kv, events.key, 3, events_record, &events, &watcher));
  CHECK_OK(hmkv_watch_open(kv, events.key, HMKV_NTS, NULL, NULL, NULL, &pulled));
  CHECK_OK(hmkv_mirror_open(kv, events.key, HMKV_NTS, NULL, NULL, &mirror));
  CHECK_OK(hmkv_lease_grant(kv, 60000, NULL, NULL, &lease));
  CHECK_OK(hmkv_lock_acquire(kv, unique("named"), NULL, NULL, NULL, &lock));
}

static void end(void) {
  close_store(kv);
  events_free(&events);
}

static void use_inherited_handles(void *unused) {
  (void)unused;
  int64_t begin = now_ms();
  every_call_answers(kv, HMKV_EFORKED); /* its close too */
  every_watcher_call_answers(watcher, HMKV_EFORKED);
  every_watcher_call_answers(pulled, HMKV_EFORKED);
  every_mirror_call_answers(mirror, HMKV_EFORKED);
  every_lease_call_answers(lease, HMKV_EFORKED);
  every_lock_call_answers(kv, lock, HMKV_EFORKED);
  CHECK(*hmkv_errmsg());
  CHECK(now_ms() - begin < 10000); /* at once: no wait, no timeout */
  every_call_answers(NULL, HMKV_EHANDLE);
}

static void inherited_handles_answer_forked_at_once(void) {
  const char *temp = unique("temp");
  CHECK_OK(hmkv_temp_key(kv, temp));
  CHECK_OK(hmkv_dist_lock(kv));
  in_fork(use_inherited_handles, NULL);
  /* The parent's handles are untouched. */
  CHECK_INT(HMKV_LOCK_GRANTED, hmkv_dist_lock_result(kv));
  CHECK(hmkv_lease_left_ms(lease) > 0);
  CHECK(hmkv_lock_left_ms(lock) > 0);
  HOLDS_FOR(4500, has_key(kv, temp));
  CHECK_OK(hmkv_store(kv, events.key, "after"));
  events_wait(&events, 1);
}

static void open_a_fresh_store(void *key) {
  CHECK_INT(0, count_threads("hmkv-")); /* the parent's threads are not here */
  hmkv *own = open_store("timeout=20s temp_ttl=2s");
  CHECK_OK(hmkv_store(own, key, "by the child"));
  CHECK_VALUE(own, key, "by the child");
  struct events seen = EVENTS_OF(unique("child"));
  hmkv_watcher *own_watcher = NULL;
  CHECK_OK(hmkv_watch_cb(own, seen.key, 3, events_record, &seen, &own_watcher));
  CHECK_OK(hmkv_store(own, seen.key, "value"));
  events_wait(&seen, 1);
  CHECK_OK(hmkv_temp_key(own, unique("temp")));
  CHECK_OK(hmkv_dist_lock(own));
  CHECK_OK(hmkv_watch_cb_cancel(own_watcher));
  CHECK_STATUS(HMKV_EFORKED, hmkv_store(kv, key, "by an inherited handle"));
  close_store(own);
  WAIT_UNTIL(count_threads("hmkv-") == 0);
}

static void a_fresh_open_in_the_child_works(void) {
  const char *key = unique("key");
  CHECK_OK(hmkv_store(kv, key, "by the parent"));
  in_fork(open_a_fresh_store, (void *)(uintptr_t)key);
  /* On mem: the child has a copy of its own. */
  CHECK_VALUE(kv, key, on_etcd() ? "by the child" : "by the parent");
}

static void fork_again(void *unused) {
  (void)unused;
  hmkv *own = open_store(NULL);
  hmkv *parents = kv;
  kv = own;
  in_fork(use_inherited_handles, NULL);
  kv = parents;
  CHECK_STATUS(HMKV_EFORKED, hmkv_close(kv));
  close_store(own);
}

static void a_child_of_the_child_is_refused_too(void) { in_fork(fork_again, NULL); }

static void use_both(void *unused) {
  (void)unused;
  int64_t begin = now_ms();
  CHECK_STATUS(HMKV_EFORKED, hmkv_store(kv, "c_tests/fork", "value"));
  CHECK_STATUS(HMKV_EFORKED, hmkv_close(kv));
  CHECK(now_ms() - begin < 10000); /* at once: no wait, no timeout */
  hmkv *own = open_store("timeout=20s");
  struct own_keys keys = own_keys(own);
  own_keys_turn(own, &keys);
  close_store(own);
}

/* Half of the children live on beside the next one. `--forks` has how many there are. */
static void many_forks_while_eight_threads_are_inside_calls(void) {
  enum { WORKERS = 8 };
  struct load load;
  struct control control;
  int times = (int)test_number("--forks", rounds(50, 6));
  control_start(&control);
  load_start(&load, kv, WORKERS);
  (void)load_take_longest_ms(&load);
  for (int i = 0; i < times; i += 2) {
    long marks[LOAD_MAX];
    struct forked one = fork_begin(use_both, NULL), two = fork_begin(use_both, NULL);
    load_mark(&load, marks);
    WAIT_UNTIL(load_fewest_since(&load, marks) > 0); /* the parent goes on meanwhile */
    fork_end(one);
    fork_end(two);
  }
  int64_t longest = load_take_longest_ms(&load), late = control_take_ms(&control);
  load_stop(&load);
  control_stop(&control);
  printf("\n  %d forks, %ld calls of the parent's %d threads, the longest turn %" PRId64
         " ms, oversleep %" PRId64 " ms\n ",
         times, load_calls(&load), WORKERS, longest, late);
  CHECK(longest <= (under_valgrind() ? 20000 : 1000) + late);
  CHECK_OK(hmkv_store(kv, events.key, "after"));
  events_wait(&events, 1);
}

static void open_first_store(void *unused) {
  (void)unused;
  hmkv *own = open_store("timeout=20s");
  CHECK_OK(hmkv_store(own, unique("key"), "value"));
  close_store(own);
}

static void a_child_of_a_parent_without_a_store_may_open_one(void) {
  close_store(kv);
  in_fork(open_first_store, NULL);
  kv = open_store(NULL);
}

/* The child ends by exit(), with handles that it never touched. */
static void a_child_may_exit_with_inherited_handles(void) {
  fflush(NULL);
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    if (under_valgrind()) raise(SIGKILL); /* no leak check of a copy without its threads */
    exit(0);
  }
  int status = 0;
  WAIT_UNTIL(waitpid(pid, &status, WNOHANG) == pid);
  if (!under_valgrind()) CHECK_INT(0, status);
  CHECK_OK(hmkv_store(kv, events.key, "after"));
  events_wait(&events, 1);
}

static const struct test tests[] = {
    BOTH(inherited_handles_answer_forked_at_once),
    BOTH(a_fresh_open_in_the_child_works),
    BOTH(a_child_of_the_child_is_refused_too),
    BOTH(many_forks_while_eight_threads_are_inside_calls),
    BOTH(a_child_of_a_parent_without_a_store_may_open_one),
    BOTH(a_child_may_exit_with_inherited_handles),
};
TEST_MAIN(.begin = begin, .end = end)
