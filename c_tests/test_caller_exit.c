/* exit() while other threads are inside calls, with exit handlers and C++ destructors
 * that make calls: the process ends with its code, and soon. */
#include "control.h"
#include "process.h"
#include "server.h"
#include "static_ends.h"
#include "test.h"

#include <sys/wait.h>

enum { CALLERS = 8, CODE = 7, HANDLERS = 5, BOUND_MS = 5000, HUNG_TIMEOUT_MS = 300 };

/* ---- the child ---- */

static hmkv *kv;
static const char *key;
static atomic_int calls[CALLERS];

static void judge(const char *call, hmkv_status status) {
  if (status >= 0 || status == HMKV_ECLOSED || status == HMKV_EHANDLE ||
      status == HMKV_EINDETERMINATE || status == HMKV_EUNAVAIL)
    return;
  dprintf(STDOUT_FILENO, "%s of another thread: %s\n", call, hmkv_status_name(status));
  _exit(9);
}

static void *call_for_ever(void *arg) {
  atomic_int *count = arg;
  for (;;) {
    char *value = NULL;
    hmkv_result *result = NULL;
    judge("store", hmkv_store(kv, key, "value"));
    judge("get", hmkv_get(kv, key, &value));
    judge("tas", hmkv_tas(kv, key, "value", "value"));
    judge("get_range", hmkv_get_range(kv, key, key, &result));
    hmkv_free(value);
    hmkv_result_free(result);
    atomic_fetch_add(count, 1);
  }
  return NULL;
}

static void call_at_end(const char *which) {
  char *value = NULL;
  hmkv_status stored = hmkv_store(kv, key, "at the end");
  hmkv_status got = hmkv_get(kv, key, &value);
  hmkv_free(value);
  dprintf(STDOUT_FILENO, "%s %s %s\n", which, hmkv_status_name(stored), hmkv_status_name(got));
}

static void early_handler(void) { call_at_end("early"); }
static void late_handler(void) { call_at_end("late"); }

static bool all_called(int times) {
  for (int i = 0; i < CALLERS; i++)
    if (atomic_load(&calls[i]) < times) return false;
  return true;
}

static void *end_the_process(void *unused) {
  (void)unused;
  at_end_of_thread(call_at_end);
  dprintf(STDOUT_FILENO, "ending\n");
  exit(CODE);
}

/* end_amid_calls THREAD OPTIONS: calls from 8 threads, until a line comes in. */
static void end_amid_calls(int argc, char **argv) {
  CHECK_INT(2, argc);
  char byte;
  at_end_of_global(call_at_end);
  atexit(early_handler);
  kv = open_store(argv[1]);
  key = unique("key");
  atexit(late_handler);
  at_end_of_local(call_at_end);
  for (int i = 0; i < CALLERS; i++) start_thread(call_for_ever, &calls[i]);
  WAIT_UNTIL(all_called(2));
  dprintf(STDOUT_FILENO, "calling\n");
  CHECK_INT(1, read(STDIN_FILENO, &byte, 1));
  if (strcmp(argv[0], "main") == 0) end_the_process(NULL);
  start_thread(end_the_process, NULL);
  call_for_ever(&calls[0]); /* the main thread is inside calls too */
}

/* ---- the parent ---- */

struct outcome {
  int ok, closed, failed; /* calls at the end, by their statuses */
  int64_t took_ms;
};

static void count_status(struct outcome *outcome, const char *name) {
  if (strcmp(name, "HMKV_OK") == 0) {
    outcome->ok++;
  } else if (strcmp(name, "HMKV_ECLOSED") == 0) {
    outcome->closed++;
  } else {
    CHECK(strcmp(name, "HMKV_EUNAVAIL") == 0 || strcmp(name, "HMKV_EINDETERMINATE") == 0);
    outcome->failed++;
  }
}

static void count_lines(struct outcome *outcome, char *said) {
  int lines = 0;
  char which[16], stored[64], got[64], *rest = said;
  for (char *line; (line = strtok_r(rest, "\n", &rest));) {
    if (strcmp(line, "ending") == 0) continue;
    if (sscanf(line, "%15s %63s %63s", which, stored, got) != 3) FAIL("a child says \"%s\"", line);
    count_status(outcome, stored);
    count_status(outcome, got);
    lines++;
  }
  CHECK_INT(HANDLERS, lines);
}

static void end_one(struct outcome *outcome, const char *endpoint, const char *thread,
                    const char *options, struct server *pause) {
  struct process child =
      start_child(JOIN_STDERR, endpoint, "end_amid_calls", thread, options, NULL);
  char said[8192];
  process_read(&child, said, sizeof said, "calling\n");
  if (pause) server_pause(pause);
  int64_t begin = now_ms();
  CHECK_INT(1, write(child.in, "\n", 1));
  process_read(&child, said, sizeof said, NULL);
  int status = process_wait(&child);
  int64_t took = now_ms() - begin;
  if (pause) server_resume(pause);
  if (took > outcome->took_ms) outcome->took_ms = took;
  if (!WIFEXITED(status) || WEXITSTATUS(status) != CODE)
    FAIL("wait status %#x: %s", (unsigned)status, said);
  count_lines(outcome, said);
}

static void report(const struct outcome *outcome, int times, int64_t late_ms) {
  printf("\n  %d processes; calls at the end: %d ok, %d closed, %d failed; the longest end took "
         "%" PRId64 " ms, oversleep %" PRId64 " ms\n ",
         times, outcome->ok, outcome->closed, outcome->failed, outcome->took_ms, late_ms);
}

static void exit_amid_calls_ends_with_its_code(void) {
  struct control control;
  struct outcome outcome = {0};
  int times = rounds(60, 4);
  control_start(&control);
  for (int i = 0; i < times; i++)
    end_one(&outcome, test_endpoint(), i % 2 ? "main" : "other", "timeout=5s", NULL);
  int64_t late = control_take_ms(&control);
  control_stop(&control);
  report(&outcome, times, late);
  CHECK_INT(0, outcome.failed); /* they work or answer closed */
  CHECK(outcome.took_ms <= (under_valgrind() ? 5 * BOUND_MS : BOUND_MS) + late);
}

static void exit_amid_calls_to_a_hung_server_ends_in_time(void) {
  static struct server server;
  struct control control;
  struct outcome outcome = {0};
  const char *options = text("timeout=%dms", HUNG_TIMEOUT_MS);
  int times = rounds(4, 2);
  server_start(&server, NULL);
  control_start(&control);
  for (int i = 0; i < times; i++)
    end_one(&outcome, server.endpoint, i % 2 ? "main" : "other", options, &server);
  int64_t late = control_take_ms(&control);
  control_stop(&control);
  server_stop(&server);
  report(&outcome, times, late);
  CHECK_INT(0, outcome.ok);
  CHECK(outcome.took_ms <= 2 * HANDLERS * (HUNG_TIMEOUT_MS + 100 + late) + 1000);
}

static const struct test tests[] = {
    BOTH(exit_amid_calls_ends_with_its_code),
    ETCD_ONLY(exit_amid_calls_to_a_hung_server_ends_in_time),
};
static const struct child children[] = {{"end_amid_calls", end_amid_calls}, {NULL, NULL}};
TEST_MAIN(.children = children)
