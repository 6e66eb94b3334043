/* Every function that takes a store, called with it. */
#ifndef EVERY_CALL_H
#define EVERY_CALL_H

#include "test.h"

/* Calls each with good other arguments and checks that it answers `expected` and
 * leaves its outputs NULL or 0. `mem_fault` too, so only where all answer alike. */
void every_call_answers(hmkv *kv, hmkv_status expected);

#endif
