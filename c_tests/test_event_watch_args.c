/* hmkv_watch_open: wrong arguments and options. */
#include "changes.h"
#include "recorder.h"
#include "test.h"

static hmkv *kv;
static struct recorder recorder;

static void begin(void) {
  kv = open_store("timeout=20s");
  recorder = (struct recorder)RECORDER;
}

static void end(void) {
  CHECK_INT(0, atomic_load(&recorder.entered));
  close_store(kv);
}

static void answers_for(hmkv_status expected, hmkv *store, const void *key, size_t key_len,
                        const hmkv_watch_opts *opts) {
  for (int push = 0; push < 2; push++) {
    hmkv_watcher *watcher = (hmkv_watcher *)&recorder;
    CHECK_STATUS(expected, hmkv_watch_open(store, key, key_len, opts, push ? recorder_event : NULL,
                                           &recorder, &watcher));
    CHECK(watcher == NULL);
    CHECK(*hmkv_errmsg());
  }
}

static void answers(hmkv_status expected, const void *key, size_t key_len,
                    const hmkv_watch_opts *opts) {
  answers_for(expected, kv, key, key_len, opts);
}

static void works(const void *key, size_t key_len, const hmkv_watch_opts *opts) {
  hmkv_watcher *watcher = NULL;
  CHECK_OK(hmkv_watch_open(kv, key, key_len, opts, NULL, NULL, &watcher));
  CHECK_OK(hmkv_watch_close(watcher));
}

static void a_null_where_none_is_allowed_is_einval(void) {
  const char *key = unique("key");
  answers(HMKV_EINVAL, NULL, 3, NULL);
  answers(HMKV_EINVAL, NULL, HMKV_NTS, NULL);
  answers(HMKV_EINVAL, NULL, 3, HMKV_WATCH_OPTS(.prefix = 1));
  CHECK_STATUS(HMKV_EINVAL, hmkv_watch_open(kv, key, HMKV_NTS, NULL, recorder_event, &recorder,
                                            NULL));
  CHECK_STATUS(HMKV_EINVAL, hmkv_watch_open(kv, key, HMKV_NTS, NULL, NULL, NULL, NULL));
  works(key, HMKV_NTS, NULL); /* options, callback and userdata may be */
}

static void an_empty_key_needs_prefix_or_end(void) {
  answers(HMKV_EINVAL, "", 0, NULL);
  answers(HMKV_EINVAL, NULL, 0, NULL);
  answers(HMKV_EINVAL, "", HMKV_NTS, HMKV_WATCH_OPTS(.snapshot = 1));
  works("", 0, HMKV_WATCH_OPTS(.prefix = 1));
  works(NULL, 0, HMKV_WATCH_OPTS(.end = "z", .end_len = 1));
}

static void an_end_is_not_empty_and_excludes_prefix(void) {
  const char *key = unique("key");
  answers(HMKV_EINVAL, key, HMKV_NTS, HMKV_WATCH_OPTS(.end = "", .end_len = 0));
  answers(HMKV_EINVAL, key, HMKV_NTS, HMKV_WATCH_OPTS(.end = "", .end_len = HMKV_NTS));
  answers(HMKV_EINVAL, key, HMKV_NTS, HMKV_WATCH_OPTS(.end = "z", .end_len = 1, .prefix = 1));
  works(key, HMKV_NTS, HMKV_WATCH_OPTS(.end = "z", .end_len = HMKV_NTS));
}

/* A range that is empty by its bounds: whatever the answer is, it comes at once, and
 * other watches of the store go on. */
static void an_end_that_is_not_above_the_key_disturbs_nobody(void) {
  static const char *const ends[] = {"a", "key"};
  struct recorder other = RECORDER;
  const char *key = unique("key");
  hmkv_watcher *witness = NULL;
  CHECK_OK(hmkv_watch_open(kv, key, HMKV_NTS, NULL, recorder_event, &other, &witness));
  for (int i = 0; i < 4; i++) {
    hmkv_watcher *watcher = NULL;
    hmkv_status status = hmkv_watch_open(
        kv, "key", HMKV_NTS,
        HMKV_WATCH_OPTS(.end = ends[i % 2], .end_len = HMKV_NTS, .snapshot = i / 2), NULL, NULL,
        &watcher);
    if (status != HMKV_EINVAL) CHECK_OK(status);
    if (status == HMKV_OK) CHECK_OK(hmkv_watch_close(watcher));
  }
  change_put(kv, key, "value");
  recorder_wait(&other, 1);
  CHECK_OK(hmkv_watch_close(witness));
  CHECK_INT(0, other.states.count);
  recorder_free(&other);
}

static void a_snapshot_excludes_a_start_revision(void) {
  const char *key = unique("key");
  answers(HMKV_EINVAL, key, HMKV_NTS, HMKV_WATCH_OPTS(.snapshot = 1, .start_revision = 1));
  answers(HMKV_EINVAL, key, HMKV_NTS,
          HMKV_WATCH_OPTS(.prefix = 1, .snapshot = 1, .start_revision = INT64_MAX));
}

static void unknown_flags_and_numbers_are_einval(void) {
  const char *key = unique("key");
  answers(HMKV_EINVAL, key, HMKV_NTS, HMKV_WATCH_OPTS(.prefix = 2));
  answers(HMKV_EINVAL, key, HMKV_NTS, HMKV_WATCH_OPTS(.snapshot = 255));
  answers(HMKV_EINVAL, key, HMKV_NTS, HMKV_WATCH_OPTS(.prev_kv = 2));
  answers(HMKV_EINVAL, key, HMKV_NTS, HMKV_WATCH_OPTS(.no_put = 3));
  answers(HMKV_EINVAL, key, HMKV_NTS, HMKV_WATCH_OPTS(.no_delete = 128));
  answers(HMKV_EINVAL, key, HMKV_NTS, HMKV_WATCH_OPTS(.on_overflow = HMKV_OVERFLOW_END + 1));
  answers(HMKV_EINVAL, key, HMKV_NTS, HMKV_WATCH_OPTS(.on_overflow = -1));
  answers(HMKV_EINVAL, key, HMKV_NTS, HMKV_WATCH_OPTS(.on_overflow = INT32_MAX));
  answers(HMKV_EINVAL, key, HMKV_NTS, HMKV_WATCH_OPTS(.start_revision = -1));
  answers(HMKV_EINVAL, key, HMKV_NTS, HMKV_WATCH_OPTS(.start_revision = INT64_MIN));
  for (int32_t policy = HMKV_OVERFLOW_RESUME; policy <= HMKV_OVERFLOW_END; policy++) {
    works(key, HMKV_NTS, HMKV_WATCH_OPTS(.on_overflow = policy, .queue_max = 1));
    works(key, HMKV_NTS, HMKV_WATCH_OPTS(.on_overflow = policy, .queue_max = SIZE_MAX));
  }
}

static void an_option_struct_may_be_of_another_version(void) {
  const char *key = unique("key");
  struct {
    hmkv_watch_opts known;
    char unknown[64];
  } longer = {.known = {.size = sizeof longer, .snapshot = 1}};
  works(key, HMKV_NTS, &longer.known);
  longer.unknown[63] = 1;
  answers(HMKV_EUNSUPPORTED, key, HMKV_NTS, &longer.known);
  /* What lies behind a shorter one is not looked at. */
  hmkv_watch_opts shorter = {.size = offsetof(hmkv_watch_opts, on_overflow),
                             .on_overflow = 99, .prefix = 99, .snapshot = 99};
  works(key, HMKV_NTS, &shorter);
  answers(HMKV_EINVAL, "", 0, &shorter); /* nor was it a prefix */
  shorter.size = 0;
  answers(HMKV_EINVAL, key, HMKV_NTS, &shorter);
  shorter.size = 3;
  answers(HMKV_EINVAL, key, HMKV_NTS, &shorter);
  shorter.size = SIZE_MAX;
  answers(HMKV_EINVAL, key, HMKV_NTS, &shorter);
  union {
    hmkv_watch_opts aligned[2];
    char bytes[2 * sizeof(hmkv_watch_opts)];
  } place = {.aligned = {{.size = sizeof(hmkv_watch_opts)}}};
  memmove(place.bytes + 1, place.bytes, sizeof(hmkv_watch_opts));
  answers(HMKV_EINVAL, key, HMKV_NTS, (const hmkv_watch_opts *)(const void *)(place.bytes + 1));
}

static void a_store_that_is_none_is_ehandle(void) {
  const char *key = unique("key");
  hmkv *closed = open_store(NULL);
  hmkv_watcher *watcher = NULL;
  CHECK_OK(hmkv_watch_open(closed, key, HMKV_NTS, NULL, NULL, NULL, &watcher));
  close_store(closed);
  CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_close(watcher));
  answers_for(HMKV_EHANDLE, NULL, key, HMKV_NTS, NULL);
  answers_for(HMKV_EHANDLE, closed, key, HMKV_NTS, NULL);
  answers_for(HMKV_EHANDLE, (hmkv *)(uintptr_t)0x1234, key, HMKV_NTS, NULL);
  answers_for(HMKV_EHANDLE, (hmkv *)watcher, key, HMKV_NTS, NULL);
}

static void a_watcher_that_is_none_is_ehandle(void) {
  hmkv_watcher *const none[] = {NULL, (hmkv_watcher *)kv, (hmkv_watcher *)(uintptr_t)0x1234,
                                (hmkv_watcher *)(uintptr_t)-8, (hmkv_watcher *)&recorder};
  for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
    const hmkv_event *event = (const hmkv_event *)&recorder;
    CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_next(none[i], 0, &event));
    CHECK(event == NULL);
    CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_next(none[i], HMKV_FOREVER, &event));
    CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_close(none[i]));
    CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_cb_cancel(none[i]));
  }
}

static const struct test tests[] = {
    BOTH(a_null_where_none_is_allowed_is_einval),
    BOTH(an_empty_key_needs_prefix_or_end),
    BOTH(an_end_is_not_empty_and_excludes_prefix),
    BOTH(an_end_that_is_not_above_the_key_disturbs_nobody),
    BOTH(a_snapshot_excludes_a_start_revision),
    BOTH(unknown_flags_and_numbers_are_einval),
    BOTH(an_option_struct_may_be_of_another_version),
    BOTH(a_store_that_is_none_is_ehandle),
    BOTH(a_watcher_that_is_none_is_ehandle),
};
TEST_MAIN(.begin = begin, .end = end)
