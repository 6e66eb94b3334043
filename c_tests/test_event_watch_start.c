/* hmkv_watch_open: of a start that fails the userdata is freed too. */
#include "changes.h"
#include "own_store.h"
#include "process.h"
#include "recorder.h"
#include "test.h"

static hmkv *kv;
static const char *key;

static void begin(void) {
  kv = open_store("timeout=20s");
  key = unique("key");
}

static void end(void) { close_store(kv); }

static struct recorder failed;

static void fails(hmkv_status expected, hmkv *store, const char *watched, hmkv_watch_opts opts) {
  for (int push = 0; push < 2; push++) {
    hmkv_watcher *watcher = (hmkv_watcher *)&opts;
    opts.size = sizeof opts;
    opts.userdata_free = recorder_freed;
    CHECK_STATUS(expected, hmkv_watch_open(store, watched, HMKV_NTS, &opts,
                                           push ? recorder_event : NULL, &failed, &watcher));
    CHECK(watcher == NULL);
    CHECK_INT(1, atomic_exchange(&failed.freed, 0));
  }
}

static void a_start_that_fails_frees_the_userdata(void) {
  failed = (struct recorder)RECORDER;
  hmkv *closed = open_store(NULL), *unreachable = open_at(dead_endpoint(), "timeout=300ms");
  close_store(closed);
  fails(HMKV_EHANDLE, NULL, key, (hmkv_watch_opts){0});
  fails(HMKV_EHANDLE, closed, key, (hmkv_watch_opts){0});
  fails(HMKV_EHANDLE, (hmkv *)&failed, key, (hmkv_watch_opts){0});
  fails(HMKV_EINVAL, kv, "", (hmkv_watch_opts){0});
  fails(HMKV_EINVAL, kv, NULL, (hmkv_watch_opts){0});
  fails(HMKV_EINVAL, kv, key, (hmkv_watch_opts){.prefix = 2});
  fails(HMKV_EINVAL, kv, key, (hmkv_watch_opts){.on_overflow = 77});
  fails(HMKV_EINVAL, kv, key, (hmkv_watch_opts){.start_revision = -5});
  fails(HMKV_EINVAL, kv, key, (hmkv_watch_opts){.start_revision = 5, .snapshot = 1});
  fails(HMKV_EINVAL, kv, key, (hmkv_watch_opts){.prefix = 1, .end = "z", .end_len = 1});
  fails(HMKV_EUNAVAIL, unreachable, key, (hmkv_watch_opts){0});
  fails(HMKV_EUNAVAIL, unreachable, key, (hmkv_watch_opts){.snapshot = 1});
  fails(HMKV_EUNAVAIL, unreachable, key, (hmkv_watch_opts){.start_revision = 1});
  close_store(unreachable);
  CHECK_STATUS(HMKV_EINVAL,
               hmkv_watch_open(kv, key, HMKV_NTS, HMKV_WATCH_OPTS(.userdata_free = recorder_freed),
                               recorder_event, &failed, NULL)); /* nowhere to put the watcher */
  CHECK_INT(1, atomic_exchange(&failed.freed, 0));
  CHECK_INT(0, atomic_load(&failed.entered)); /* the callback never ran */
}

static void of_a_compacted_revision_it_does_too(void) {
  struct own_store own;
  failed = (struct recorder)RECORDER;
  own_store_open(&own, NULL);
  for (int i = 0; i < 5; i++) change_put(own.kv, key, "value");
  own_store_compact(&own);
  fails(HMKV_ECOMPACTED, own.kv, key, (hmkv_watch_opts){.start_revision = 1});
  CHECK_INT(0, atomic_load(&failed.entered));
  own_store_close(&own);
}

static void options_that_cannot_be_read_free_nothing(void) {
  struct {
    hmkv_watch_opts known;
    char unknown[8];
  } opts = {.known = {.size = sizeof opts, .userdata_free = recorder_freed}, .unknown = "new"};
  failed = (struct recorder)RECORDER;
  hmkv_watcher *watcher = NULL;
  CHECK_STATUS(HMKV_EUNSUPPORTED, hmkv_watch_open(kv, key, HMKV_NTS, &opts.known, recorder_event,
                                                  &failed, &watcher));
  opts.known.size = 3;
  CHECK_STATUS(HMKV_EINVAL, hmkv_watch_open(kv, key, HMKV_NTS, &opts.known, recorder_event,
                                            &failed, &watcher));
  CHECK(watcher == NULL);
  CHECK_INT(0, atomic_load(&failed.freed));
}

static void *start_in_vain(void *store) {
  hmkv_watcher *watcher = (hmkv_watcher *)&failed;
  CHECK_STATUS(HMKV_ECLOSED,
               hmkv_watch_open(store, key, HMKV_NTS,
                               HMKV_WATCH_OPTS(.userdata_free = recorder_freed), recorder_event,
                               &failed, &watcher));
  CHECK(watcher == NULL);
  return NULL;
}

static void closing_the_store_ends_a_start(void) {
  failed = (struct recorder)RECORDER;
  hmkv *unreachable = open_at(dead_endpoint(), "timeout=1h");
  pthread_t thread = start_thread(start_in_vain, unreachable);
  HOLDS_FOR(100, atomic_load(&failed.freed) == 0);
  close_store(unreachable);
  join_thread(thread);
  CHECK_INT(1, atomic_load(&failed.freed));
  CHECK_INT(0, atomic_load(&failed.entered));
}

static void fail_in_the_child(void *watcher) {
  failed = (struct recorder)RECORDER;
  const hmkv_event *event = NULL;
  fails(HMKV_EFORKED, kv, key, (hmkv_watch_opts){0});
  CHECK_STATUS(HMKV_EFORKED, hmkv_watch_next(watcher, HMKV_FOREVER, &event));
  CHECK_STATUS(HMKV_EFORKED, hmkv_watch_close(watcher));
}

static void in_a_forked_child_it_is_eforked(void) {
  hmkv_watcher *watcher = NULL;
  failed = (struct recorder)RECORDER;
  CHECK_OK(hmkv_watch_open(kv, key, HMKV_NTS, HMKV_WATCH_OPTS(.userdata_free = recorder_freed),
                           NULL, &failed, &watcher));
  in_fork(fail_in_the_child, watcher);
  int64_t revision = change_put(kv, key, "value");
  const hmkv_event *event = NULL;
  CHECK_OK(hmkv_watch_next(watcher, patience_ms(), &event)); /* here all is as it was */
  CHECK_INT(revision, event->revision);
  CHECK_OK(hmkv_watch_close(watcher));
  CHECK_INT(1, atomic_load(&failed.freed));
}

static atomic_int null_freed;

static void count_null(void *userdata) {
  CHECK(userdata == NULL);
  atomic_fetch_add(&null_freed, 1);
}

static void the_userdata_may_be_null(void) {
  hmkv_watcher *watcher = NULL;
  CHECK_OK(hmkv_watch_open(kv, key, HMKV_NTS, HMKV_WATCH_OPTS(.userdata_free = count_null), NULL,
                           NULL, &watcher));
  CHECK_OK(hmkv_watch_close(watcher));
  CHECK_INT(1, atomic_load(&null_freed));
}

static const struct test tests[] = {
    BOTH(a_start_that_fails_frees_the_userdata),
    BOTH(of_a_compacted_revision_it_does_too),
    BOTH(closing_the_store_ends_a_start),
    BOTH(options_that_cannot_be_read_free_nothing),
    BOTH(in_a_forked_child_it_is_eforked),
    BOTH(the_userdata_may_be_null),
};
TEST_MAIN(.begin = begin, .end = end)
