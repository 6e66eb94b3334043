/* What the state callback reported, kept in order. */
#ifndef STATES_H
#define STATES_H

#include "test.h"

enum { STATES_MAX = 1000 };

struct states {
  pthread_mutex_t mutex;
  size_t count;
  hmkv_state state[STATES_MAX];
  char *detail[STATES_MAX];
  atomic_int running;
};

#define STATES_NONE {.mutex = PTHREAD_MUTEX_INITIALIZER}

/* The callback; its userdata is a struct states. */
void states_record(hmkv_state state, const char *detail, void *userdata);
/* How often `state` came, with this detail if it is not NULL. */
size_t states_count(struct states *states, hmkv_state state, const char *detail);
/* How many came, but for those about the way to the server. */
size_t states_total(struct states *states);
/* The place of the first one among these; it must have come. */
size_t states_place(struct states *states, hmkv_state state, const char *detail);
void states_free(struct states *states);

#endif
