/* Threads that make calls one after the other, each of which must succeed and show
 * what the thread itself wrote before. */
#ifndef LOAD_H
#define LOAD_H

#include "test.h"

enum { LOAD_MAX = 16, CALLS_A_TURN = 4 };

/* Keys of one thread, and what they hold. */
struct own_keys {
  const char *stored;
  const char *set;
  int number;
};

struct own_keys own_keys(hmkv *kv);
/* One store, get, test and set, and range. Needs little stack. */
void own_keys_turn(hmkv *kv, struct own_keys *keys);

struct load;

struct load_thread {
  struct load *load;
  pthread_t thread;
  struct own_keys keys;
  atomic_long calls;
  atomic_llong since_us; /* when the running turn began */
  atomic_llong worst_us; /* the longest turn */
};

struct load {
  hmkv *kv;
  int count;
  atomic_bool stop;
  struct load_thread threads[LOAD_MAX];
};

/* Starts `count` threads and waits until each has made a call. */
void load_start(struct load *load, hmkv *kv, int count);
/* The calls made so far: by all, and by the thread that made the fewest since
 * `before`, which is what load_mark() saw. */
long load_calls(struct load *load);
void load_mark(struct load *load, long before[LOAD_MAX]);
long load_fewest_since(struct load *load, const long before[LOAD_MAX]);
/* The longest turn of any thread since the last look, in milliseconds. */
int64_t load_take_longest_ms(struct load *load);
void load_stop(struct load *load);

#endif
