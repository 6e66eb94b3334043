/* Callbacks that block for good hold up no call of any thread. */
#include "control.h"
#include "events.h"
#include "load.h"
#include "test.h"

enum { WATCHES = 16, THREADS = 8, STALL_MS = 1000 };

static struct gate gate = GATE_CLOSED;
static atomic_int states_blocked;

static void block_in_state(hmkv_state state, const char *detail, void *userdata) {
  (void)state, (void)detail, (void)userdata;
  atomic_fetch_add(&states_blocked, 1);
  gate_pass(&gate);
}

static void callbacks_that_block_for_good_hold_up_no_call(void) {
  static struct events events[WATCHES];
  hmkv_watcher *watchers[WATCHES];
  struct control control;
  struct load load;
  hmkv *kv = open_store("timeout=20s temp_ttl=2s");
  const char *temp = unique("temp");
  for (int i = 0; i < WATCHES; i++) {
    events[i] = (struct events)EVENTS_OF(unique("watched"));
    events[i].hold = &gate;
    CHECK_OK(hmkv_watch_cb(kv, events[i].key, 3, events_record, &events[i], &watchers[i]));
    CHECK_OK(hmkv_store(kv, events[i].key, "value"));
  }
  CHECK_OK(hmkv_temp_key(kv, temp));
  CHECK_OK(hmkv_on_state(kv, block_in_state, NULL));
  lose_lease(kv, temp);
  for (int i = 0; i < WATCHES; i++) WAIT_UNTIL(atomic_load(&events[i].running) == 1);
  WAIT_UNTIL(atomic_load(&states_blocked) == 1);
  long marks[LOAD_MAX], wanted = rounds(400, 20);
  control_start(&control);
  load_start(&load, kv, THREADS);
  load_mark(&load, marks);
  WAIT_UNTIL(load_fewest_since(&load, marks) >= wanted);
  int64_t longest = load_take_longest_ms(&load), late = control_take_ms(&control);
  CHECK_STATUS(HMKV_TIMED_OUT, hmkv_watch(kv, unique("key"), 1, NULL, NULL));
  CHECK_INT(1, atomic_load(&states_blocked));
  load_stop(&load);
  control_stop(&control);
  printf("\n  %d callbacks blocked, %ld calls of %d threads, the longest turn %" PRId64
         " ms, oversleep %" PRId64 " ms\n ",
         WATCHES + 1, load_calls(&load), THREADS, longest, late);
  CHECK(longest <= (under_valgrind() ? 20 : 1) * STALL_MS + late);
  for (int i = 0; i < WATCHES; i++) CHECK_INT(0, events_count(&events[i]));
  gate_open(&gate);
  for (int i = 0; i < WATCHES; i++) {
    events_wait(&events[i], 1);
    CHECK_OK(hmkv_watch_cb_cancel(watchers[i]));
    events_free(&events[i]);
  }
  close_store(kv);
}

static const struct test tests[] = {BOTH(callbacks_that_block_for_good_hold_up_no_call)};
TEST_MAIN()
