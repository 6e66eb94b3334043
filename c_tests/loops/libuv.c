#include "loop.h"

#include <hmkv/libuv.h>

static uv_loop_t loop;
static uv_timer_t timer;
static hmkv_uv store;
static void (*tick)(void);

static void on_timer(uv_timer_t *unused) {
  (void)unused;
  tick();
}

void loop_begin(hmkv *kv, void (*on_tick)(void)) {
  tick = on_tick;
  CHECK_INT(0, uv_loop_init(&loop));
  CHECK_INT(0, hmkv_uv_start(&store, &loop, kv));
  CHECK_INT(0, uv_timer_init(&loop, &timer));
  CHECK_INT(0, uv_timer_start(&timer, on_timer, 5, 5));
}

void loop_run(void) { uv_run(&loop, UV_RUN_DEFAULT); }

void loop_stop(void) { uv_stop(&loop); }

void loop_end(void) {
  hmkv_uv_stop(&store, NULL);
  uv_close((uv_handle_t *)&timer, NULL);
  while (uv_run(&loop, UV_RUN_DEFAULT) != 0) continue;
  CHECK_INT(0, uv_loop_close(&loop));
}

bool loop_takes(hmkv *kv) {
  uv_loop_t other;
  hmkv_uv binding;
  CHECK_INT(0, uv_loop_init(&other));
  int rc = hmkv_uv_start(&binding, &other, kv);
  CHECK_INT(0, uv_loop_close(&other));
  return rc == 0;
}
