/* Signals that interrupt threads inside calls: a handler that blocks holds nobody
 * else, and a storm of signals fails no call. */
#include "control.h"
#include "load.h"
#include "test.h"

#include <errno.h>
#include <signal.h>
#include <sys/time.h>

enum { THREADS = 8, HELD_MS = 2000 };

static hmkv *kv;
static struct load load;
static struct control control;

static void begin(void) {
  kv = open_store("timeout=20s");
  control_start(&control);
  load_start(&load, kv, THREADS);
}

static void end(void) {
  control_stop(&control);
  close_store(kv);
}

/* ---- a handler that blocks ---- */

static int hold[2];
static atomic_int handlers, handlers_inside;
static _Thread_local volatile sig_atomic_t inside;

static void block_in_handler(int signal) {
  (void)signal;
  int before = errno;
  char byte;
  if (inside) atomic_fetch_add(&handlers_inside, 1);
  atomic_fetch_add(&handlers, 1);
  while (read(hold[0], &byte, 1) < 0) {}
  errno = before;
}

struct victim {
  pthread_t thread;
  atomic_bool stop;
  atomic_long gets;
  const char *key;
};

static void *get_on_and_on(void *arg) {
  struct victim *victim = arg;
  while (!atomic_load(&victim->stop)) {
    char *value = NULL;
    inside = 1;
    hmkv_status status = hmkv_get(kv, victim->key, &value);
    inside = 0;
    CHECK_OK(status);
    CHECK_STR("value", value);
    hmkv_free(value);
    atomic_fetch_add(&victim->gets, 1);
  }
  return NULL;
}

/* What one blocked handler did to the other threads. */
struct effect {
  bool held;        /* not each of them made 40 calls within the bound */
  long calls;       /* that they made meanwhile */
  int64_t after_ms; /* when each had made 40 */
};

/* Blocks the victim in a handler for at least `ms`. */
static struct effect block_once(struct victim *victim, int64_t ms) {
  int before = atomic_load(&handlers);
  struct effect effect = {0};
  CHECK_INT(0, pthread_kill(victim->thread, SIGUSR1));
  WAIT_UNTIL(atomic_load(&handlers) == before + 1);
  long marks[LOAD_MAX], gets = atomic_load(&victim->gets), calls = load_calls(&load);
  int64_t start = now_ms(), late = 0;
  (void)control_take_ms(&control);
  load_mark(&load, marks);
  while (load_fewest_since(&load, marks) < 40 && !effect.held) {
    poll_pause();
    /* The worst, not the sum: that may grow as fast as time goes by, and who waits for the
     * victim waits as long. */
    int64_t now_late = control_take_ms(&control);
    if (now_late > late) late = now_late;
    effect.held = now_ms() - start > HELD_MS + late;
  }
  effect.after_ms = now_ms() - start;
  HOLDS_FOR(ms - effect.after_ms, atomic_load(&victim->gets) == gets);
  effect.calls = load_calls(&load) - calls;
  CHECK_INT(1, write(hold[1], "", 1));
  WAIT_UNTIL(atomic_load(&victim->gets) > gets); /* its call is only late */
  return effect;
}

/* Where it hits the instant in which its thread writes or reads, it delays what is in
 * flight on that connection, and only that: most hit a thread that waits. */
static void a_handler_that_blocks_in_a_call_fails_no_other(void) {
  struct sigaction action = {.sa_handler = block_in_handler, .sa_flags = SA_RESTART}, before;
  struct victim victim = {.key = unique("key")};
  struct effect first, effect;
  int times = rounds(60, 5), held = 0;
  int64_t slowest_ms = 0;
  CHECK_INT(0, pipe(hold));
  CHECK_INT(0, sigaction(SIGUSR1, &action, &before));
  CHECK_OK(hmkv_store(kv, victim.key, "value"));
  victim.thread = start_thread(get_on_and_on, &victim);
  WAIT_UNTIL(atomic_load(&victim.gets) > 0);
  first = block_once(&victim, 3000);
  for (int i = 0; i < times; i++) {
    effect = block_once(&victim, 20);
    held += effect.held;
    if (!effect.held && effect.after_ms > slowest_ms) slowest_ms = effect.after_ms;
  }
  atomic_store(&victim.stop, true);
  join_thread(victim.thread);
  load_stop(&load);
  CHECK_INT(0, sigaction(SIGUSR1, &before, NULL));
  close(hold[0]);
  close(hold[1]);
  printf("\n  for 3 s: %ld calls of %d others meanwhile; %d times for 20 ms: %d held the others, else "
         "each made 40 calls within %" PRId64 " ms; %d of all in a call\n ",
         first.calls, THREADS, times, held, slowest_ms, atomic_load(&handlers_inside));
  CHECK(atomic_load(&handlers_inside) > times / 2);
  CHECK(held <= 1 + times / 5);
}

/* ---- a storm ---- */

static atomic_long caught;

static void count_it(int signal) {
  (void)signal;
  atomic_fetch_add(&caught, 1);
}

static void set_timer(int microseconds) {
  const struct itimerval timer = {{0, microseconds}, {0, microseconds}};
  CHECK_INT(0, setitimer(ITIMER_REAL, &timer, NULL));
}

static void a_storm_of_signals_fails_no_call(void) {
  static const int signals[] = {SIGUSR1, SIGUSR2, SIGALRM};
  struct sigaction before[3];
  for (int i = 0; i < 3; i++) {
    struct sigaction action = {.sa_handler = count_it, .sa_flags = i == 1 ? SA_RESTART : 0};
    CHECK_INT(0, sigaction(signals[i], &action, &before[i]));
  }
  long wanted = rounds(4000, 100), sent = 0, marks[LOAD_MAX];
  load_mark(&load, marks);
  set_timer(1000); /* and SIGALRM for whichever thread the kernel takes */
  while (load_fewest_since(&load, marks) < wanted / THREADS || sent < wanted) {
    for (int i = 0; i < THREADS; i++)
      CHECK_INT(0, pthread_kill(load.threads[i].thread, signals[sent % 2]));
    sent++;
    usleep(200);
  }
  set_timer(0);
  long calls = load_calls(&load);
  load_stop(&load);
  for (int i = 0; i < 3; i++) CHECK_INT(0, sigaction(signals[i], &before[i], NULL));
  printf("\n  %ld signals sent to %d threads, %ld handlers ran, %ld calls, none failed\n ",
         sent * THREADS, THREADS, atomic_load(&caught), calls);
  CHECK(atomic_load(&caught) > wanted);
}

static const struct test tests[] = {
    ETCD_ONLY(a_handler_that_blocks_in_a_call_fails_no_other),
    BOTH(a_storm_of_signals_fails_no_call),
};
TEST_MAIN(.begin = begin, .end = end)
