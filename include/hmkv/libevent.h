/* hmkv/libevent.h - a store with `dispatch=poll` in a loop of libevent. */
#ifndef HMKV_LIBEVENT_H
#define HMKV_LIBEVENT_H

#include <event2/event.h>
#include <hmkv.h>

static inline void hmkv_libevent_ready(evutil_socket_t fd, short what, void *kv) {
  (void)fd, (void)what;
  hmkv_dispatch((hmkv *)kv, 64, NULL);
}

/** Runs the store's callbacks in the loop until event_free(), which is to come before
 *  hmkv_close(). NULL: it failed. */
static inline struct event *hmkv_libevent_start(struct event_base *base, hmkv *kv) {
  int fd = hmkv_fd(kv);
  if (fd < 0) return NULL;
  struct event *event = event_new(base, fd, EV_READ | EV_PERSIST, hmkv_libevent_ready, kv);
  if (event != NULL && event_add(event, NULL) != 0) {
    event_free(event);
    event = NULL;
  }
  return event;
}

#endif
