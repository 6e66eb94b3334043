/* Everything that a store can have at once, below `daemon/`: two watches, a lease, a
 * temporary key, two locks. What happens to the server must not show in any of it. */
#ifndef LIFE_H
#define LIFE_H

#include "events.h"
#include "leases.h"
#include "recorder.h"
#include "states.h"

enum { LIFE_KEYS = 4 };

struct life {
  hmkv *kv;
  struct states states;
  struct events events;
  struct recorder recorder;
  struct told lease_told, lock_told;
  hmkv_watcher *cb, *watch;
  hmkv_lease *lease;
  hmkv_lock *lock;
  int64_t created[LIFE_KEYS];
  int puts;
};

/* What the store has to be opened with; `ttl_s` is that of all leases. */
const char *life_options(int ttl_s);
void life_begin(struct life *life, hmkv *kv, int ttl_s);
/* A change that both watches hear of, and a look at everything else. */
void life_goes_on(struct life *life);
void life_end(struct life *life);

#endif
