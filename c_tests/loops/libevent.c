#include "loop.h"

#include <hmkv/libevent.h>

static struct event_base *base;
static struct event *store, *timer;
static void (*tick)(void);

static void on_timer(evutil_socket_t fd, short what, void *unused) {
  (void)fd, (void)what, (void)unused;
  tick();
}

void loop_begin(hmkv *kv, void (*on_tick)(void)) {
  tick = on_tick;
  base = event_base_new();
  CHECK(base != NULL);
  store = hmkv_libevent_start(base, kv);
  CHECK(store != NULL);
  timer = event_new(base, -1, EV_PERSIST, on_timer, NULL);
  CHECK_INT(0, event_add(timer, &(struct timeval){.tv_usec = 5000}));
}

void loop_run(void) { CHECK_INT(0, event_base_dispatch(base)); }

void loop_stop(void) { CHECK_INT(0, event_base_loopbreak(base)); }

void loop_end(void) {
  event_free(store);
  event_free(timer);
  event_base_free(base);
}

bool loop_takes(hmkv *kv) {
  struct event_base *other = event_base_new();
  struct event *binding = hmkv_libevent_start(other, kv);
  event_base_free(other);
  return binding != NULL;
}
