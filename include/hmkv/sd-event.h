/* hmkv/sd-event.h - a store with `dispatch=poll` in a loop of sd-event. */
#ifndef HMKV_SD_EVENT_H
#define HMKV_SD_EVENT_H

#include <hmkv.h>
#include <sys/epoll.h>
#include <systemd/sd-event.h>

static inline int hmkv_sd_event_ready(sd_event_source *source, int fd, uint32_t events, void *kv) {
  (void)source, (void)fd, (void)events;
  hmkv_dispatch((hmkv *)kv, 64, NULL);
  return 0;
}

/** Runs the store's callbacks in the loop until sd_event_source_disable_unref(), which is
 *  to come before hmkv_close(). Returns 0 or more, or sd-event's error. */
static inline int hmkv_sd_event_start(sd_event *event, hmkv *kv, sd_event_source **source) {
  return sd_event_add_io(event, source, hmkv_fd(kv), EPOLLIN, hmkv_sd_event_ready, kv);
}

#endif
