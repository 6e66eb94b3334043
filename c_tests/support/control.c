#include "control.h"

#include <errno.h>
#include <sched.h>
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
  struct control_thread *self = arg;
  cpu_set_t processor;
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, NULL);
  CPU_ZERO(&processor);
  CPU_SET(self->processor, &processor);
  (void)pthread_setaffinity_np(pthread_self(), sizeof processor, &processor);
  while (!atomic_load(&self->control->stop)) {
    long long wanted = atomic_load(&self->wanted_us);
    struct timespec until = {wanted / 1000000, wanted % 1000000 * 1000};
    CHECK_INT(0, clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL));
    note(self->control, now_us() - wanted);
    atomic_store(&self->wanted_us, now_us() + 5000);
  }
  return NULL;
}

void control_start(struct control *control) {
  cpu_set_t usable;
  memset(control, 0, sizeof *control);
  CHECK_INT(0, sched_getaffinity(0, sizeof usable, &usable));
  for (int i = 0; i < CPU_SETSIZE && control->count < CONTROL_MAX; i++) {
    if (!CPU_ISSET(i, &usable)) continue;
    struct control_thread *thread = &control->threads[control->count++];
    thread->control = control;
    thread->processor = i;
    atomic_store(&thread->wanted_us, now_us());
    thread->thread = start_thread(sleep_and_look, thread);
  }
}

int64_t control_take_ms(struct control *control) {
  for (int i = 0; i < control->count; i++)
    note(control, now_us() - atomic_load(&control->threads[i].wanted_us));
  return (atomic_exchange(&control->worst_us, 0) + 999) / 1000;
}

void control_stop(struct control *control) {
  atomic_store(&control->stop, true);
  for (int i = 0; i < control->count; i++) join_thread(control->threads[i].thread);
}
