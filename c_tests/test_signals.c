/* Library threads block all signals; the caller's mask and dispositions stay. */
#include "test.h"

#include <dirent.h>
#include <signal.h>

static hmkv *kv;

/* Has every kind of library thread at work. */
static void use_it(void) {
  CHECK_OK(hmkv_store(kv, unique("key"), "value"));
  CHECK_OK(hmkv_temp_key(kv, unique("temp")));
  CHECK_OK(hmkv_dist_lock(kv));
  CHECK_OK(hmkv_dist_unlock(kv));
  CHECK_STATUS(HMKV_TIMED_OUT, hmkv_watch(kv, unique("key"), 1, NULL, NULL));
}

/* Those that a thread causes by itself, those that cannot be blocked, and the two
 * that belong to the C library. */
static bool may_be_open(int signal) {
  static const int open[] = {SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGFPE,
                             SIGILL,  SIGTRAP, SIGABRT, 32,     33};
  for (size_t i = 0; i < sizeof open / sizeof *open; i++)
    if (open[i] == signal) return true;
  return false;
}

static void check_thread(const char *task) {
  char line[256], name[64] = "?";
  FILE *status = fopen(text("/proc/self/task/%s/status", task), "r");
  if (!status) return; /* it just ended */
  unsigned long long blocked = 0;
  bool found = false;
  while (fgets(line, sizeof line, status)) {
    sscanf(line, "Name: %63s", name);
    found |= sscanf(line, "SigBlk: %llx", &blocked) == 1;
  }
  fclose(status);
  if (!found || strncmp(name, "hmkv-", 5) != 0) return;
  for (int signal = 1; signal <= SIGRTMAX; signal++)
    if (!may_be_open(signal) && !(blocked >> (signal - 1) & 1))
      FAIL("thread %s does not block signal %d", name, signal);
}

static void check_all_threads(void) {
  DIR *tasks = opendir("/proc/self/task");
  CHECK(tasks);
  for (struct dirent *task; (task = readdir(tasks));)
    if (task->d_name[0] != '.') check_thread(task->d_name);
  closedir(tasks);
}

static bool check_mask(const char *key, const char *value, hmkv_keychange op, void *userdata) {
  (void)key, (void)value, (void)op;
  sigset_t mask;
  CHECK_INT(0, pthread_sigmask(SIG_SETMASK, NULL, &mask));
  for (int signal = 1; signal <= SIGRTMAX; signal++)
    if (!may_be_open(signal) && sigismember(&mask, signal) == 0)
      FAIL("a callback runs with signal %d open", signal);
  check_all_threads();
  atomic_store((atomic_bool *)userdata, true);
  return true;
}

static void every_library_thread_blocks_all_signals(void) {
  atomic_bool done = false;
  hmkv_watcher *watcher = NULL;
  const char *key = unique("key");
  kv = open_store(text("lock=%s", unique("lock")));
  check_all_threads();
  use_it();
  CHECK(count_threads("hmkv-") > 0);
  check_all_threads();
  CHECK_OK(hmkv_watch_cb(kv, key, 3, check_mask, &done, &watcher));
  CHECK_OK(hmkv_store(kv, key, "value"));
  WAIT_UNTIL(atomic_load(&done));
  check_all_threads();
  close_store(kv);
}

static void the_callers_mask_is_unchanged(void) {
  sigset_t odd, before, after;
  sigemptyset(&odd);
  sigaddset(&odd, SIGUSR2);
  sigaddset(&odd, SIGRTMIN + 3);
  CHECK_INT(0, pthread_sigmask(SIG_SETMASK, &odd, &before));
  kv = open_store(text("lock=%s", unique("lock")));
  use_it();
  close_store(kv);
  CHECK_INT(0, pthread_sigmask(SIG_SETMASK, &before, &after));
  for (int signal = 1; signal <= SIGRTMAX; signal++)
    CHECK_INT(sigismember(&odd, signal), sigismember(&after, signal));
}

static void dispositions_are_unchanged(void) {
  struct sigaction before[65], after;
  for (int signal = 1; signal <= 64; signal++)
    if (sigaction(signal, NULL, &before[signal]) != 0) memset(&before[signal], 0, sizeof after);
  kv = open_store(text("lock=%s", unique("lock")));
  use_it();
  close_store(kv);
  for (int signal = 1; signal <= 64; signal++) {
    if (sigaction(signal, NULL, &after) != 0) continue;
    if (after.sa_handler != before[signal].sa_handler || after.sa_flags != before[signal].sa_flags)
      FAIL("the disposition of signal %d changed", signal);
  }
}

static atomic_int caught, caught_elsewhere;
static pid_t main_thread;

static void count_signal(int signal) {
  (void)signal;
  atomic_fetch_add(thread_id() == main_thread ? &caught : &caught_elsewhere, 1);
}

static void *send_signals(void *stop) {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, NULL);
  while (!atomic_load((atomic_bool *)stop)) {
    kill(getpid(), SIGUSR1);
    poll_pause();
  }
  return NULL;
}

/* And calls of the thread that is interrupted keep their word. */
static void signals_of_the_process_reach_the_programs_own_threads(void) {
  struct sigaction action = {.sa_handler = count_signal}, before; /* no SA_RESTART */
  atomic_bool stop = false;
  main_thread = thread_id();
  CHECK_INT(0, sigaction(SIGUSR1, &action, &before));
  kv = open_store(text("lock=%s", unique("lock")));
  use_it();
  pthread_t sender = start_thread(send_signals, &stop);
  int64_t begin = now_ms();
  CHECK_STATUS(HMKV_TIMED_OUT, hmkv_watch(kv, unique("key"), 700, NULL, NULL));
  CHECK(now_ms() - begin >= 680);
  for (int i = 0; i < 100 || atomic_load(&caught) < 200; i++) use_it();
  atomic_store(&stop, true);
  join_thread(sender);
  close_store(kv);
  CHECK_INT(0, atomic_load(&caught_elsewhere));
  CHECK_INT(0, sigaction(SIGUSR1, &before, NULL));
}

static volatile sig_atomic_t handled, handled_elsewhere;

static void count_any(int signal) {
  (void)signal;
  if (thread_id() == main_thread) handled++;
  else handled_elsewhere++;
}

/* Each comes while requests are under way; only this thread may have it. */
static void every_signal_a_thousand_times_reaches_the_programs_own_thread(void) {
  enum { TIMES = 1000, BETWEEN = 100 };
  struct sigaction action = {.sa_handler = count_any, .sa_flags = SA_RESTART}, before;
  const char *key = unique("key");
  main_thread = thread_id();
  kv = open_store(text("lock=%s", unique("lock")));
  use_it();
  for (int signal = 1; signal <= SIGRTMAX; signal++) {
    if (may_be_open(signal)) continue;
    CHECK_INT(0, sigaction(signal, &action, &before));
    handled = 0;
    for (int i = 0; i < TIMES; i++) {
      if (i % BETWEEN == 0) CHECK_OK(hmkv_store(kv, key, "value"));
      hmkv_op *op = i % BETWEEN == 1 ? hmkv_put(kv, key, HMKV_NTS, "other", HMKV_NTS, NULL) : NULL;
      CHECK_INT(0, kill(getpid(), signal)); /* it is handled before this returns */
      if (op) {
        hmkv_result *result = hmkv_await(op);
        CHECK_OK(hmkv_result_status(result));
        hmkv_result_free(result);
      }
    }
    CHECK_INT(TIMES, handled);
    CHECK_INT(0, sigaction(signal, &before, NULL));
  }
  CHECK_INT(0, handled_elsewhere);
  close_store(kv);
}

static const struct test tests[] = {
    BOTH(every_library_thread_blocks_all_signals),
    BOTH(the_callers_mask_is_unchanged),
    BOTH(dispositions_are_unchanged),
    BOTH(every_signal_a_thousand_times_reaches_the_programs_own_thread),
    BOTH(signals_of_the_process_reach_the_programs_own_threads),
};
TEST_MAIN()
