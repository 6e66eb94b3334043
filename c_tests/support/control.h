/* Threads that only sleep, one on each processor: how late the machine wakes a thread at
 * worst. Bounds of time are widened by it, so that a loaded machine decides no verdict,
 * nor one of its processors that stands still for a while. */
#ifndef CONTROL_H
#define CONTROL_H

#include "test.h"

enum { CONTROL_MAX = 16 };

struct control;

struct control_thread {
  struct control *control;
  int processor;
  pthread_t thread;
  atomic_llong wanted_us; /* when the running sleep is to end */
};

struct control {
  struct control_thread threads[CONTROL_MAX];
  int count;
  atomic_bool stop;
  atomic_llong worst_us;
};

void control_start(struct control *control);
/* The worst oversleep since the last look, in milliseconds rounded up. */
int64_t control_take_ms(struct control *control);
void control_stop(struct control *control);
int64_t now_us(void);

#endif
