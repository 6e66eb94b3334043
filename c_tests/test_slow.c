/* The option `slow`: what took so long is in the log, with its key and never its value. */
#include "own_store.h"
#include "requests.h"

#define SECRET "hunter2"

struct lines {
  pthread_mutex_t mutex;
  int count;       /* of lines about something slow */
  char last[1024]; /* of them */
};

#define LINES_NONE {.mutex = PTHREAD_MUTEX_INITIALIZER}

static void note(int32_t level, const char *line, void *userdata) {
  struct lines *lines = userdata;
  CHECK(!strstr(line, SECRET));
  if (strncmp(line, "slow: ", 6) != 0) return;
  CHECK_INT(HMKV_LOG_WARN, level);
  pthread_mutex_lock(&lines->mutex);
  lines->count++;
  snprintf(lines->last, sizeof lines->last, "%s", line);
  pthread_mutex_unlock(&lines->mutex);
}

static int count(struct lines *lines) {
  pthread_mutex_lock(&lines->mutex);
  int count = lines->count;
  pthread_mutex_unlock(&lines->mutex);
  return count;
}

/* What the last line begins with, and what else is in it. */
static void check_last(struct lines *lines, const char *start, const char *rest) {
  pthread_mutex_lock(&lines->mutex);
  if (strncmp(lines->last, start, strlen(start)) != 0 || !strstr(lines->last, rest))
    FAIL("\"%s\" is not \"%s\" with \"%s\"", lines->last, start, rest);
  pthread_mutex_unlock(&lines->mutex);
}

/* Adds keys until reading them all takes as long as is asked for. */
static void a_large_range_is_slow_in_the_end(void) {
  struct own_store own;
  struct lines lines = LINES_NONE;
  own_store_open(&own, "slow=1ms");
  hmkv_set_log(HMKV_LOG_WARN, note, &lines);
  for (int i = 0; count(&lines) == 0; i++) {
    for (int j = 0; j < 1000; j++)
      CHECK_OK(hmkv_store(own.kv, text("many/%d/%d", i, j), SECRET));
    FINISH(HMKV_OK, hmkv_range(own.kv, "many/", 5, HMKV_RANGE_OPTS(.prefix = 1)));
  }
  while (!strstr(lines.last, "slow: range"))
    FINISH(HMKV_OK, hmkv_range(own.kv, "many/", 5, HMKV_RANGE_OPTS(.prefix = 1)));
  check_last(&lines, "slow: range \"many/", text(" ms: ok, %s", own.endpoint));
  hmkv_set_log(HMKV_LOG_OFF, NULL, NULL);
  own_store_close(&own);
}

static void without_the_option_or_below_its_time_nothing_is_logged(void) {
  static const char *const options[] = {NULL, "slow=0", "slow=1h"};
  for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
    struct lines lines = LINES_NONE;
    hmkv *kv = open_store(options[i]);
    hmkv_set_log(HMKV_LOG_DEBUG, note, &lines);
    for (int j = 0; j < 100; j++) CHECK_OK(hmkv_store(kv, unique("key"), SECRET));
    hmkv_set_log(HMKV_LOG_OFF, NULL, NULL);
    CHECK_INT(0, count(&lines));
    close_store(kv);
  }
}

/* To a port that nobody listens at, everything takes until the timeout. */
static void keys_are_shown_as_one_short_word(void) {
  struct lines lines = LINES_NONE;
  hmkv *kv = open_at(dead_endpoint(), "timeout=50ms slow=20ms");
  char longest[300];
  memset(longest, 'k', sizeof longest);
  hmkv_set_log(HMKV_LOG_WARN, note, &lines);
  CHECK_STATUS(HMKV_EUNAVAIL, hmkv_store(kv, "key", SECRET));
  check_last(&lines, "slow: put \"key\" took ", " ms: unavailable");
  FINISH(HMKV_EUNAVAIL, hmkv_put(kv, "\0\n\"\xff", 4, SECRET, 7, NULL));
  check_last(&lines, "slow: put \"\\x00\\n\\\"\\xff\" took ", "unavailable");
  FINISH(HMKV_EUNAVAIL, hmkv_remove(kv, longest, sizeof longest, NULL));
  check_last(&lines, text("slow: delete \"%.200s\"... took ", longest), "unavailable");
  CHECK_STATUS(HMKV_EUNAVAIL, hmkv_tas(kv, "compared", SECRET, SECRET));
  check_last(&lines, "slow: txn \"compared\" took ", "unavailable");
  hmkv_lease *lease = NULL;
  CHECK_STATUS(HMKV_EUNAVAIL, hmkv_lease_grant(kv, 20000, NULL, NULL, &lease));
  check_last(&lines, "slow: lease_grant \"", "unavailable");
  CHECK_INT(5, count(&lines));
  hmkv_set_log(HMKV_LOG_OFF, NULL, NULL);
  close_store(kv);
}

static void a_request_that_hung_tells_where(void) {
  struct own_store own;
  struct lines lines = LINES_NONE;
  own_store_open(&own, "timeout=1s slow=500ms");
  CHECK_OK(hmkv_store(own.kv, "key", SECRET));
  server_pause(&own.server);
  hmkv_set_log(HMKV_LOG_WARN, note, &lines);
  CHECK_STATUS(HMKV_EINDETERMINATE, hmkv_store(own.kv, "key", SECRET));
  check_last(&lines, "slow: put \"key\" took ", text(" ms: indeterminate, %s", own.endpoint));
  hmkv_set_log(HMKV_LOG_OFF, NULL, NULL);
  server_resume(&own.server);
  own_store_close(&own);
}

static const struct test tests[] = {
    BOTH(a_large_range_is_slow_in_the_end),
    BOTH(without_the_option_or_below_its_time_nothing_is_logged),
    BOTH(keys_are_shown_as_one_short_word),
    ETCD_ONLY(a_request_that_hung_tells_where),
};
TEST_MAIN()
