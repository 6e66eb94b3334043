/* Processes that end while stores are open: harmless, and never a hang. */
#include "events.h"
#include "process.h"
#include "test.h"

#include <sys/wait.h>

static hmkv *kv;
static const char *key;

static void *wait_for_ever(void *unused) {
  (void)unused;
  (void)!hmkv_watch(kv, key, HMKV_FOREVER, NULL, NULL);
  return NULL;
}

static void *call_for_ever(void *unused) {
  (void)unused;
  for (;;) {
    char *value = NULL;
    (void)!hmkv_store(kv, key, "value");
    (void)!hmkv_get(kv, key, &value);
    hmkv_free(value);
  }
  return NULL;
}

static bool block_for_ever(const char *k, const char *value, hmkv_keychange op, void *userdata) {
  (void)k, (void)value, (void)op;
  atomic_store((atomic_bool *)userdata, true);
  for (;;) pause();
  return true;
}

/* A store with all that it can have: watches, leases, a lock, waiting threads. */
static void open_all(void) {
  static struct events events;
  static atomic_bool blocked;
  hmkv_watcher *watcher = NULL;
  kv = open_store(text("lock=%s timeout=5s", unique("lock")));
  key = unique("key");
  events = (struct events)EVENTS_OF(key);
  const char *blocking = unique("blocking");
  CHECK_OK(hmkv_watch_cb(kv, key, 3, events_record, &events, &watcher));
  CHECK_OK(hmkv_watch_cb(kv, blocking, 3, block_for_ever, &blocked, &watcher));
  CHECK_OK(hmkv_store(kv, blocking, "value"));
  WAIT_UNTIL(atomic_load(&blocked));
  CHECK_OK(hmkv_temp_key(kv, unique("temp")));
  CHECK_OK(hmkv_dist_lock(kv));
  start_thread(wait_for_ever, NULL);
  start_thread(call_for_ever, NULL);
}

/* Each call works or answers closed. */
static void call_at_exit(void) {
  char *value = NULL;
  hmkv_status stored = hmkv_store(kv, key, "at exit");
  hmkv_status got = hmkv_get(kv, key, &value);
  hmkv_free(value);
  hmkv_status closed = hmkv_close(kv);
  printf("%s %s %s\n", hmkv_status_name(stored), hmkv_status_name(got), hmkv_status_name(closed));
}

static void open_at_exit(void) {
  hmkv *own = NULL;
  hmkv_status status = hmkv_open(test_endpoint(), NULL, &own);
  if (status == HMKV_OK) status = hmkv_store(own, key, "at exit");
  if (own) (void)hmkv_close(own);
  printf("%s\n", hmkv_status_name(status));
}

static void end_somehow(int argc, char **argv) {
  CHECK_INT(1, argc);
  const char *how = argv[0];
  if (strcmp(how, "early handler") == 0) atexit(call_at_exit); /* runs after the library's */
  if (strcmp(how, "opens") == 0) {
    key = unique("key");
    atexit(open_at_exit);
    exit(0);
  }
  if (strcmp(how, "small") == 0) {
    kv = open_store(NULL);
    key = unique("key");
    CHECK_OK(hmkv_store(kv, key, "value"));
    atexit(call_at_exit);
    exit(0);
  }
  open_all();
  if (strcmp(how, "late handler") == 0) atexit(call_at_exit); /* runs before the library's */
  if (strcmp(how, "_exit") == 0) _exit(0);
  if (strcmp(how, "closed") == 0) printf("%s\n", hmkv_status_name(hmkv_close(kv)));
  exit(0);
}

static const char *ends(const char *how) {
  struct process child = start_child(JOIN_STDERR, test_endpoint(), "end_somehow", how, NULL);
  char said[8192];
  process_read(&child, said, sizeof said, NULL);
  int status = process_wait(&child);
  if (status != 0) FAIL("%s: wait status %#x: %s", how, (unsigned)status, said);
  return text("%s", said);
}

static void exit_with_everything_open_is_harmless(void) {
  for (int i = 0; i < rounds(20, 3); i++) CHECK_STR("", ends("exit"));
}

static void underscore_exit_is_harmless(void) { CHECK_STR("", ends("_exit")); }

static void exit_after_a_close_that_timed_out_is_harmless(void) {
  CHECK_STR("HMKV_TIMED_OUT\n", ends("closed"));
}

static bool is_known(const char *word) {
  static const char *const known[] = {"HMKV_OK", "HMKV_ECLOSED", "HMKV_TIMED_OUT", "HMKV_NOT_FOUND",
                                      "HMKV_EHANDLE", "HMKV_EINDETERMINATE", "HMKV_EUNAVAIL"};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (strcmp(word, known[i]) == 0) return true;
  return false;
}

static void calls_in_exit_handlers_work_or_answer_closed(void) {
  static const char *const ways[] = {"early handler", "late handler", "small"};
  for (int i = 0; i < 3; i++) {
    const char *said = ends(ways[i]);
    char stored[64] = "", got[64] = "", closed[64] = "";
    if (sscanf(said, "%63s %63s %63s", stored, got, closed) != 3 || !is_known(stored) ||
        !is_known(got) || !is_known(closed))
      FAIL("%s: \"%s\"", ways[i], said);
  }
  CHECK_STR("HMKV_OK HMKV_OK HMKV_OK\n", ends("small"));
}

static void opening_in_an_exit_handler_works_or_answers_closed(void) {
  const char *said = ends("opens");
  char status[64] = "";
  CHECK(sscanf(said, "%63s", status) == 1);
  if (!is_known(status)) FAIL("\"%s\"", said);
}

static const struct test tests[] = {
    BOTH(exit_with_everything_open_is_harmless),
    BOTH(underscore_exit_is_harmless),
    BOTH(exit_after_a_close_that_timed_out_is_harmless),
    BOTH(calls_in_exit_handlers_work_or_answer_closed),
    BOTH(opening_in_an_exit_handler_works_or_answers_closed),
};
static const struct child children[] = {{"end_somehow", end_somehow}, {NULL, NULL}};
TEST_MAIN(.children = children)
