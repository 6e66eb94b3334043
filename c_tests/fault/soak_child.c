/* The process of the case soak: readers and writers, a watch of all they do, and stores,
 * locks, leases, temporary keys and watches that come and go. What it was told goes to
 * files, for its memory is measured. */
#include "bench.h"

#include "follow.h"

#include <poll.h>

enum { THREADS = 6, PAUSE_MS = 15 };
static const char last_key[] = "k~"; /* behind all that the checker knows */

static hmkv *kv;
static FILE *seen_file;
static atomic_bool saw_last;
static long times;

static void keep(const hmkv_event *event, void *userdata) {
  (void)userdata;
  CHECK(event->type != HMKV_EVENT_RESYNC && event->type != HMKV_EVENT_END);
  if (event->type != HMKV_EVENT_PUT && event->type != HMKV_EVENT_DELETE) return;
  if (strcmp(event->kv->key, last_key) == 0) {
    atomic_store(&saw_last, true);
    return;
  }
  struct seen seen = seen_of(event);
  CHECK_INT(1, fwrite(&seen, sizeof seen, 1, seen_file));
}

/* While a member is away a call may fail, by these. */
static bool done(hmkv_status status) {
  if (status < 0 && status != HMKV_EUNAVAIL && status != HMKV_EINDETERMINATE &&
      status != HMKV_ELOST)
    FAIL("%s: %s", hmkv_status_name(status), hmkv_errmsg());
  return status == HMKV_OK;
}

static void ignore(const hmkv_event *event, void *userdata) { (void)event, (void)userdata; }

static void lock_and_release(hmkv *store) {
  hmkv_lock *lock = NULL;
  const hmkv_lock_opts *opts = HMKV_LOCK_OPTS(.wait_ms = 2000);
  if (done(hmkv_lock_acquire(store, "soak/lock", opts, NULL, NULL, &lock)))
    done(hmkv_lock_release(lock));
}

static void grant_and_close(hmkv *store) {
  hmkv_lease *lease = NULL;
  if (!done(hmkv_lease_grant(store, 5000, NULL, NULL, &lease))) return;
  done(hmkv_lease_close(lease, true));
}

static void watch_and_close(hmkv *store) {
  hmkv_watcher *watcher = NULL;
  const hmkv_watch_opts *opts = HMKV_WATCH_OPTS(.prefix = 1, .snapshot = 1);
  if (done(hmkv_watch_open(store, "k/", HMKV_NTS, opts, ignore, NULL, &watcher)))
    CHECK_OK(hmkv_watch_close(watcher));
}

static void read_and_cancel(hmkv *store) {
  hmkv_result *result = NULL;
  if (done(hmkv_get_range(store, "k/", "l", &result))) hmkv_result_free(result);
  (void)hmkv_cancel(hmkv_range(store, "k/", HMKV_NTS, HMKV_RANGE_OPTS(.prefix = 1)));
}

static void open_use_and_close(void) {
  hmkv *own = open_store("temp_ttl=5s timeout=3s");
  done(hmkv_temp_key(own, "soak/temp"));
  watch_and_close(own);
  lock_and_release(own);
  hmkv_status status = hmkv_close(own);
  CHECK(status == HMKV_OK || status == HMKV_TIMED_OUT);
}

static bool is_to_end(void) {
  struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
  return poll(&in, 1, PAUSE_MS) != 0;
}

void soak_child(int argc, char **argv) {
  static struct workload load;
  struct history none = {0};
  hmkv_watcher *watcher = NULL;
  CHECK_INT(3, argc);
  load.record = fopen(argv[0], "w");
  seen_file = fopen(argv[1], "w");
  CHECK(load.record && seen_file);
  load.pause_ms = PAUSE_MS;
  kv = open_store(NULL);
  CHECK_OK(hmkv_watch_open(kv, "k/", HMKV_NTS, HMKV_WATCH_OPTS(.end = "l", .end_len = 1), keep,
                           NULL, &watcher));
  workload_start(&load, kv, THREADS, (unsigned)strtoul(argv[2], NULL, 10));
  WAIT_UNTIL(atomic_load(&load.ended) > 100);
  printf("ready\n");
  fflush(stdout);
  for (; !is_to_end(); times++) {
    lock_and_release(kv);
    grant_and_close(kv);
    watch_and_close(kv);
    read_and_cancel(kv);
    if (times % 5 == 0) open_use_and_close();
  }
  workload_stop(&load, &none);
  CHECK_OK(hmkv_store(kv, last_key, ""));
  WAIT_UNTIL(atomic_load(&saw_last));
  CHECK_OK(hmkv_watch_close(watcher));
  close_store(kv);
  CHECK_INT(0, fclose(load.record));
  CHECK_INT(0, fclose(seen_file));
  printf("%ld times a lock, a lease and watches", times);
}
