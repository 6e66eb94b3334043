#include "loop.h"

#include <hmkv/glib.h>

static GMainContext *context;
static GMainLoop *loop;
static GSource *store, *timer;
static void (*tick)(void);

static gboolean on_timer(gpointer unused) {
  (void)unused;
  tick();
  return G_SOURCE_CONTINUE;
}

void loop_begin(hmkv *kv, void (*on_tick)(void)) {
  tick = on_tick;
  context = g_main_context_new();
  loop = g_main_loop_new(context, FALSE);
  store = hmkv_glib_start(context, kv);
  CHECK(store != NULL);
  timer = g_timeout_source_new(5);
  g_source_set_callback(timer, on_timer, NULL, NULL);
  g_source_attach(timer, context);
}

void loop_run(void) { g_main_loop_run(loop); }

void loop_stop(void) { g_main_loop_quit(loop); }

void loop_end(void) {
  g_source_destroy(store);
  g_source_unref(store);
  g_source_destroy(timer);
  g_source_unref(timer);
  g_main_loop_unref(loop);
  g_main_context_unref(context);
}

bool loop_takes(hmkv *kv) { return hmkv_glib_start(NULL, kv) != NULL; }
