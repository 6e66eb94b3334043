/* An event loop of some library, as test_loop.c uses it. */
#ifndef LOOP_H
#define LOOP_H

#include "test.h"

/* Makes the loop, with the store in it and a timer that calls `tick` every few ms. */
void loop_begin(hmkv *kv, void (*tick)(void));
/* Runs until loop_stop() is called in it. */
void loop_run(void);
void loop_stop(void);
/* Takes the store out, and ends the loop. */
void loop_end(void);
/* What the binding answers for a store without dispatch=poll. */
bool loop_takes(hmkv *kv);

#endif
