#include "loop.h"

#include <hmkv/sd-event.h>

static sd_event *loop;
static sd_event_source *store, *timer;
static void (*tick)(void);

static int on_timer(sd_event_source *source, uint64_t usec, void *unused) {
  (void)usec, (void)unused;
  tick();
  return sd_event_source_set_time_relative(source, 5000);
}

void loop_begin(hmkv *kv, void (*on_tick)(void)) {
  tick = on_tick;
  CHECK(sd_event_new(&loop) >= 0);
  CHECK(hmkv_sd_event_start(loop, kv, &store) >= 0);
  CHECK(sd_event_add_time_relative(loop, &timer, CLOCK_MONOTONIC, 5000, 1, on_timer, NULL) >= 0);
  CHECK(sd_event_source_set_enabled(timer, SD_EVENT_ON) >= 0);
}

void loop_run(void) { CHECK_INT(0, sd_event_loop(loop)); }

void loop_stop(void) { CHECK(sd_event_exit(loop, 0) >= 0); }

void loop_end(void) {
  sd_event_source_disable_unref(store);
  sd_event_source_disable_unref(timer);
  sd_event_unref(loop);
}

bool loop_takes(hmkv *kv) {
  sd_event *other;
  sd_event_source *source = NULL;
  CHECK(sd_event_new(&other) >= 0);
  int rc = hmkv_sd_event_start(other, kv, &source);
  sd_event_unref(other);
  return rc >= 0;
}
