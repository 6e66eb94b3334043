/* Changes of a store that tell their revision. Each must succeed. */
#ifndef CHANGES_H
#define CHANGES_H

#include "test.h"

/* Awaits a request, which must answer HMKV_OK, and gives its revision. */
int64_t change_done(hmkv_op *op);
int64_t change_put(hmkv *kv, const char *key, const char *value);
int64_t change_remove(hmkv *kv, const char *key);
int64_t change_remove_prefix(hmkv *kv, const char *prefix);
int64_t newest_revision(hmkv *kv);

enum { CHANGED_KEYS = 10 };

/* One change out of many kinds, of the keys `prefix`0 to `prefix`9; some have several
 * events, few have none. */
void change_something(hmkv *kv, const char *prefix, unsigned *seed);
/* The same by a thread of its own, until it is stopped. */
struct changer {
  hmkv *kv;
  const char *prefix;
  unsigned seed;
  int pause_ms; /* after each change */
  pthread_t thread;
  atomic_bool stop;
  atomic_int changes;
};
void changer_start(struct changer *changer);
void changer_stop(struct changer *changer);

#endif
