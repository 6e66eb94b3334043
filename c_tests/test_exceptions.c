/* A C++ exception or pthread_exit() that leaves a callback ends the process with one
 * line on standard error. */
#include "process.h"
#include "test.h"
#include "throwing.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

static bool exit_from_watch(const char *key, const char *value, hmkv_keychange op, void *userdata) {
  (void)key, (void)value, (void)op, (void)userdata;
  pthread_exit(NULL);
}

static void exit_from_state(hmkv_state state, const char *detail, void *userdata) {
  (void)state, (void)detail, (void)userdata;
  pthread_exit(NULL);
}

static void exit_from_log(int32_t level, const char *line, void *userdata) {
  (void)level, (void)line, (void)userdata;
  pthread_exit(NULL);
}

static void wait_for_the_end(void) {
  int64_t end = now_ms() + 20000;
  while (now_ms() < end) poll_pause();
}

static void provoke_watch(hmkv_watch_fn fn) {
  hmkv *kv = open_store(NULL);
  hmkv_watcher *watcher = NULL;
  const char *key = unique("key");
  CHECK_OK(hmkv_watch_cb(kv, key, 3, fn, NULL, &watcher));
  CHECK_OK(hmkv_store(kv, key, "value"));
  wait_for_the_end();
}

static void provoke_state(hmkv_state_fn fn) {
  hmkv *kv = open_store(NULL);
  const char *key = unique("temp");
  CHECK_OK(hmkv_temp_key(kv, key));
  CHECK_OK(hmkv_on_state(kv, fn, NULL));
  lose_lease(kv, key);
  wait_for_the_end();
}

static void provoke_log(hmkv_log_fn fn) {
  hmkv_set_log(HMKV_LOG_DEBUG, fn, NULL);
  hmkv *kv = open_store("debug");
  CHECK_OK(hmkv_temp_key(kv, unique("temp")));
  close_store(kv);
  kv = open_at(dead_endpoint(), "timeout=300ms");
  (void)!hmkv_store(kv, "key", "value");
  close_store(kv);
}

static void provoke(int argc, char **argv) {
  CHECK_INT(1, argc);
  struct rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  if (strcmp(argv[0], "throw from watch") == 0) provoke_watch(throw_from_watch);
  if (strcmp(argv[0], "exit from watch") == 0) provoke_watch(exit_from_watch);
  if (strcmp(argv[0], "throw from state") == 0) provoke_state(throw_from_state);
  if (strcmp(argv[0], "exit from state") == 0) provoke_state(exit_from_state);
  if (strcmp(argv[0], "throw from log") == 0) provoke_log(throw_from_log);
  if (strcmp(argv[0], "exit from log") == 0) provoke_log(exit_from_log);
  printf("still alive\n");
}

static void ends_with_one_line(const char *how) {
  struct process child = start_child(JOIN_STDERR, test_endpoint(), "provoke", how, NULL);
  char said[8192];
  process_read(&child, said, sizeof said, NULL);
  int status = process_wait(&child);
  if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT)
    FAIL("%s: wait status %#x, output \"%s\"", how, (unsigned)status, said);
  const char *line_end = strchr(said, '\n');
  if (!strstr(said, "libhmkv") || !line_end || line_end[1])
    FAIL("%s: not one line about libhmkv: \"%s\"", how, said);
}

static void an_exception_out_of_a_watch_callback(void) { ends_with_one_line("throw from watch"); }
static void pthread_exit_out_of_a_watch_callback(void) { ends_with_one_line("exit from watch"); }
static void an_exception_out_of_a_state_callback(void) { ends_with_one_line("throw from state"); }
static void pthread_exit_out_of_a_state_callback(void) { ends_with_one_line("exit from state"); }
static void an_exception_out_of_a_log_callback(void) { ends_with_one_line("throw from log"); }
static void pthread_exit_out_of_a_log_callback(void) { ends_with_one_line("exit from log"); }

static const struct test tests[] = {
    BOTH(an_exception_out_of_a_watch_callback),
    BOTH(pthread_exit_out_of_a_watch_callback),
    BOTH(an_exception_out_of_a_state_callback),
    BOTH(pthread_exit_out_of_a_state_callback),
    BOTH(an_exception_out_of_a_log_callback),
    BOTH(pthread_exit_out_of_a_log_callback),
};
static const struct child children[] = {{"provoke", provoke}, {NULL, NULL}};
TEST_MAIN(.children = children)
