/* A process that is stopped now and then, as by a machine that is suspended, moved or
 * overloaded: whoever led when it stopped may be missed by the others afterwards. */
#include "load.h"
#include "process.h"
#include "test.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 16, STOPPED_MS = 250, RUNNING_MS = 100 };

/* Stops and continues its parent. Made before the parent has threads. */
static pid_t stopper(int times) {
  pid_t child = fork();
  if (child != 0) return child;
  for (int i = 0; i < times; i++) {
    usleep(RUNNING_MS * 1000);
    kill(getppid(), SIGSTOP);
    usleep(STOPPED_MS * 1000);
    kill(getppid(), SIGCONT);
  }
  _exit(0);
}

static void calls_go_on_after_each_stop(void) {
  struct load load = {0};
  int status = 0;
  pid_t child = stopper(rounds(40, 5));
  hmkv *kv = open_store("timeout=20s");
  load_start(&load, kv, THREADS);
  CHECK_INT(child, waitpid(child, &status, 0));
  long marks[LOAD_MAX], calls = load_calls(&load);
  load_mark(&load, marks);
  WAIT_UNTIL(load_fewest_since(&load, marks) > 0);
  load_stop(&load);
  printf("\n  %ld calls of %d threads over %d stops, none failed\n ", calls, THREADS, rounds(40, 5));
  close_store(kv);
}

static const struct test tests[] = {BOTH(calls_go_on_after_each_stop)};
TEST_MAIN()
