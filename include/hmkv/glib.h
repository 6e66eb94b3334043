/* hmkv/glib.h - a store with `dispatch=poll` in a main loop of GLib. */
#ifndef HMKV_GLIB_H
#define HMKV_GLIB_H

#include <glib-unix.h>
#include <hmkv.h>

static inline gboolean hmkv_glib_ready(gint fd, GIOCondition condition, gpointer kv) {
  (void)fd, (void)condition;
  hmkv_dispatch((hmkv *)kv, 64, NULL);
  return G_SOURCE_CONTINUE;
}

/** Runs the store's callbacks in the context, NULL for the default one, until
 *  g_source_destroy(), which is to come before hmkv_close(). The source is the caller's,
 *  for g_source_unref(). NULL: it failed. */
static inline GSource *hmkv_glib_start(GMainContext *context, hmkv *kv) {
  int fd = hmkv_fd(kv);
  if (fd < 0) return NULL;
  GSource *source = g_unix_fd_source_new(fd, G_IO_IN);
  g_source_set_callback(source, G_SOURCE_FUNC(hmkv_glib_ready), kv, NULL);
  g_source_attach(source, context);
  return source;
}

#endif
