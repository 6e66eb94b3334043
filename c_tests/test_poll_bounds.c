/* dispatch=poll: how much hmkv_dispatch() and hmkv_close() do at most, and at least. */
#include "own_store.h"
#include "requests.h"
#include "test.h"

#include <poll.h>

static bool readable(hmkv *kv) {
  struct pollfd ready = {.fd = hmkv_fd(kv), .events = POLLIN};
  return poll(&ready, 1, 0) == 1;
}

static bool never(const char *key, const char *value, hmkv_keychange op, void *userdata) {
  (void)key, (void)value, (void)op, (void)userdata;
  FAIL("it is not asked for");
  return true;
}

/* On etcd it is the server that passes them over. */
static void what_a_watch_passes_over_is_bounded_too(void) {
  enum { CHANGES = 2000 };
  hmkv *kv = open_store("dispatch=poll");
  const char *key = unique("key");
  hmkv_watcher *watcher;
  CHECK_OK(hmkv_watch_cb(kv, key, HMKV_KEYCHANGE_DELETE, never, NULL, &watcher));
  for (int i = 0; i < CHANGES; i++) CHECK_OK(hmkv_store(kv, key, "value"));
  int most = 0;
  for (size_t ran; readable(kv); most++) {
    CHECK_STATUS(HMKV_TIMED_OUT, hmkv_dispatch(kv, 1, &ran));
    CHECK_INT(0, ran);
    CHECK(most < CHANGES);
  }
  if (!on_etcd()) CHECK(most >= CHANGES / 100);
  CHECK_OK(hmkv_watch_cb_cancel(watcher));
  close_store(kv);
}

/* Ending the lease of the key takes all the time that there is for closing. */
static void closing_runs_what_is_promised_though_the_server_is_away(void) {
  struct own_store own;
  struct answer answer = {0};
  own_store_open(&own, NULL);
  hmkv *kv = open_at(own.endpoint, "dispatch=poll close_timeout=1s timeout=60s");
  CHECK_OK(hmkv_temp_key(kv, "temp"));
  if (on_etcd())
    server_pause(&own.server);
  else
    CHECK_OK(hmkv_mem_fault(kv, "cut=1h"));
  hmkv_then(hmkv_put(kv, "key", HMKV_NTS, "value", HMKV_NTS, NULL), answer_record, &answer);
  CHECK_STATUS(HMKV_OK, hmkv_close(kv));
  CHECK_INT(1, atomic_load(&answer.calls));
  answer_free(&answer);
  if (on_etcd()) server_resume(&own.server);
  own_store_close(&own);
}

static const struct test tests[] = {
    BOTH(what_a_watch_passes_over_is_bounded_too),
    BOTH(closing_runs_what_is_promised_though_the_server_is_away),
};

TEST_MAIN()
