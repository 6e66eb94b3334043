/* Named locks: what they call, their queues, attempts that wait in a thread. */
#ifndef LOCKS_H
#define LOCKS_H

#include "test.h"

/* What one lock called; its userdata. A call counts when it is about to return. */
struct told {
  atomic_int lost, acquired;
  atomic_int running;
  atomic_llong lost_ms; /* when `lost` was called */
  hmkv_status status;   /* of the last `acquired` */
  hmkv_lock *lock;      /* that it got */
  int64_t token;        /* what hmkv_lock_token() answered in it */
  char reason[1024];    /* of the loss, or of the attempt that failed */
  struct gate *hold;    /* either waits here; NULL: nowhere */
};

void told_lost(hmkv_status status, const char *detail, void *userdata);
void told_acquired(hmkv_status status, hmkv_lock *lock, void *userdata);

/* Acquires a lock that must be free; `told` may be NULL. */
hmkv_lock *take(hmkv *kv, const char *name, struct told *told);
/* The same with options. */
hmkv_lock *take_with(hmkv *kv, const char *name, const hmkv_lock_opts *opts, struct told *told);
/* An attempt must find it held and leave nothing. */
void check_busy(hmkv *kv, const char *name);

/* ---- the queue of a lock ---- */

size_t queue_length(hmkv *kv, const char *name);
/* The key at a place of it, in the order of creation; it must be there. */
const char *queue_key(hmkv *kv, const char *name, size_t place);
/* Its value, create revision, ...; for hmkv_result_free(). */
hmkv_result *read_key(hmkv *kv, const char *key);

/* ---- an attempt in a thread ---- */

struct waiter {
  hmkv *kv;
  const char *name;
  hmkv_lock_opts opts;
  struct told told;
  pthread_t thread;
  hmkv_status status;
  hmkv_lock *lock;
  atomic_bool returned;
  atomic_llong returned_ms;
};

/* Begins it; `opts` may be NULL. */
void waiter_begin(struct waiter *waiter, hmkv *kv, const char *name, const hmkv_lock_opts *opts);
/* And waits until it stands in the queue. */
void waiter_start(struct waiter *waiter, hmkv *kv, const char *name, const hmkv_lock_opts *opts);
/* The answer of the attempt. */
hmkv_status waiter_join(struct waiter *waiter);

#endif
