/* hmkv/libuv.h - a store with `dispatch=poll` in a loop of libuv. */
#ifndef HMKV_LIBUV_H
#define HMKV_LIBUV_H

#include <hmkv.h>
#include <uv.h>

/** Stays where it is until `closed` of hmkv_uv_stop() was called. */
typedef struct hmkv_uv {
  uv_poll_t poll;
  hmkv *kv;
} hmkv_uv;

static inline void hmkv_uv_ready(uv_poll_t *poll, int status, int events) {
  (void)status, (void)events;
  hmkv_dispatch(((hmkv_uv *)poll->data)->kv, 64, NULL);
}

/** Runs the store's callbacks in the loop from now on. Returns 0, or libuv's error. */
static inline int hmkv_uv_start(hmkv_uv *uv, uv_loop_t *loop, hmkv *kv) {
  int rc = uv_poll_init(loop, &uv->poll, hmkv_fd(kv));
  uv->kv = kv;
  uv->poll.data = uv;
  return rc != 0 ? rc : uv_poll_start(&uv->poll, UV_READABLE, hmkv_uv_ready);
}

/** To be called before hmkv_close(). `closed` may be NULL. */
static inline void hmkv_uv_stop(hmkv_uv *uv, uv_close_cb closed) {
  uv_close((uv_handle_t *)&uv->poll, closed);
}

#endif
