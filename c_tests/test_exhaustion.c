/* No thread, no descriptor to be had: a status, never an abort, and all works again
 * when there is room. */
#include "events.h"
#include "process.h"
#include "test.h"

#include <sys/resource.h>

static void set_limit(int resource, rlim_t soft) {
  struct rlimit limit;
  CHECK_INT(0, getrlimit((__rlimit_resource_t)resource, &limit));
  limit.rlim_cur = soft < limit.rlim_max ? soft : limit.rlim_max;
  CHECK_INT(0, setrlimit((__rlimit_resource_t)resource, &limit));
}

/* A status of one that got no room: done, or out of it, or no endpoint reached. */
static void judge(const char *call, hmkv_status status) {
  if (status != HMKV_OK && status != HMKV_ENOMEM && status != HMKV_EUNAVAIL)
    FAIL("%s: %s", call, hmkv_status_name(status));
}

static void use(hmkv *kv, void (*verdict)(const char *, hmkv_status)) {
  struct events events = EVENTS_OF(unique("key"));
  hmkv_watcher *watcher = NULL;
  verdict("store", hmkv_store(kv, events.key, "value"));
  verdict("temp_key", hmkv_temp_key(kv, unique("temp")));
  verdict("lock", hmkv_dist_timed_lock(kv, 0));
  (void)hmkv_dist_unlock(kv);
  hmkv_status status = hmkv_watch_cb(kv, events.key, 3, events_record, &events, &watcher);
  verdict("watch_cb", status);
  if (status != HMKV_OK) {
    CHECK(watcher == NULL);
    return;
  }
  CHECK_OK(hmkv_watch_cb_cancel(watcher));
  events_free(&events);
}

static void must_work(const char *call, hmkv_status status) {
  if (status != HMKV_OK) FAIL("%s with room again: %s", call, hmkv_status_name(status));
}

static void try_with(int resource, rlim_t limit) {
  const char *options = text("timeout=1s lock=%s", unique("lock"));
  struct rlimit before;
  CHECK_INT(0, getrlimit((__rlimit_resource_t)resource, &before));
  set_limit(resource, limit);
  hmkv *kv = (hmkv *)&kv;
  hmkv_status status = hmkv_open(test_endpoint(), options, &kv);
  if (status == HMKV_OK) {
    use(kv, judge);
    status = hmkv_close(kv);
    CHECK(status == HMKV_OK || status == HMKV_TIMED_OUT);
  } else {
    CHECK_STATUS(HMKV_ENOMEM, status);
    CHECK(kv == NULL);
    CHECK(*hmkv_errmsg());
  }
  set_limit(resource, before.rlim_cur);
  kv = open_store(text("timeout=20s lock=%s", unique("lock")));
  use(kv, must_work);
  close_store(kv);
}

static void lack_descriptors(int argc, char **argv) {
  CHECK_INT(1, argc);
  try_with(RLIMIT_NOFILE, (rlim_t)count_descriptors() + (rlim_t)atoi(argv[0]));
}

/* The number of processes does not bound root. */
static void lack_threads(int argc, char **argv) {
  CHECK_INT(1, argc);
  (void)argv;
  if (geteuid() == 0) CHECK_INT(0, setresuid(65534, 65534, 65534));
  try_with(RLIMIT_NPROC, 1);
}

static void succeeds(const char *child_name, int room) {
  struct process child =
      start_child(JOIN_STDERR, test_endpoint(), child_name, text("%d", room), NULL);
  char said[8192];
  process_read(&child, said, sizeof said, NULL);
  int status = process_wait(&child);
  if (status != 0) FAIL("%s, %d: wait status %#x: %s", child_name, room, (unsigned)status, said);
}

static void without_descriptors_calls_fail_and_later_work(void) {
  for (int room = 0; room < 16; room++) succeeds("lack_descriptors", room);
}

static void without_threads_calls_fail_and_later_work(void) { succeeds("lack_threads", 0); }

static const struct test tests[] = {
    BOTH(without_descriptors_calls_fail_and_later_work),
    BOTH(without_threads_calls_fail_and_later_work),
};
static const struct child children[] = {
    {"lack_descriptors", lack_descriptors}, {"lack_threads", lack_threads}, {NULL, NULL}};
TEST_MAIN(.children = children)
