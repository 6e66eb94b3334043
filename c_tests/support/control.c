#include "control.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

int64_t now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void note(struct control *control, long long late) {
  long long worst = atomic_load(&control->worst_us);
  while (late > worst && !atomic_compare_exchange_weak(&control->worst_us, &worst, late)) {}
}

static void *sleep_and_look(void *arg) {
  struct control *control = arg;
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, NULL);
  while (!atomic_load(&control->stop)) {
    long long wanted = atomic_load(&control->wanted_us);
    struct timespec until = {wanted / 1000000, wanted % 1000000 * 1000};
    CHECK_INT(0, clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL));
    note(control, now_us() - wanted);
    atomic_store(&control->wanted_us, now_us() + 5000);
  }
  return NULL;
}

void control_start(struct control *control) {
  memset(control, 0, sizeof *control);
  atomic_store(&control->wanted_us, now_us());
  control->thread = start_thread(sleep_and_look, control);
}

int64_t control_take_ms(struct control *control) {
  note(control, now_us() - atomic_load(&control->wanted_us));
  return (atomic_exchange(&control->worst_us, 0) + 999) / 1000;
}

void control_stop(struct control *control) {
  atomic_store(&control->stop, true);
  join_thread(control->thread);
}
