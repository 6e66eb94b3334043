/* Every function that takes a handle, called with it. */
#ifndef EVERY_CALL_H
#define EVERY_CALL_H

#include "test.h"

/* Calls each with good other arguments and checks that it answers `expected` and
 * leaves its outputs NULL or 0. `mem_fault` too, so only where all answer alike. */
void every_call_answers(hmkv *kv, hmkv_status expected);
/* The same of the other handles. `kv` is a good store, or one that answers alike. */
void every_watcher_call_answers(hmkv_watcher *watcher, hmkv_status expected);
void every_mirror_call_answers(hmkv_mirror *mirror, hmkv_status expected);
void every_lease_call_answers(hmkv_lease *lease, hmkv_status expected);
void every_lock_call_answers(hmkv *kv, hmkv_lock *lock, hmkv_status expected);

#endif
