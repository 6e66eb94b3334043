/* The log: hmkv_set_log() and the option `debug`. */
#include "process.h"
#include "test.h"

struct log {
  atomic_int lines;
  atomic_int worst; /* the highest level seen */
  atomic_int running;
  atomic_bool retired;
};

static void count_line(int32_t level, const char *line, void *userdata) {
  struct log *log = userdata;
  atomic_fetch_add(&log->running, 1);
  CHECK(!atomic_load(&log->retired));
  CHECK(level >= HMKV_LOG_ERROR && level <= HMKV_LOG_DEBUG);
  CHECK(line && *line && !strchr(line, '\n'));
  CHECK(!strstr(line, "hunter2"));
  int worst = atomic_load(&log->worst);
  while (level > worst && !atomic_compare_exchange_weak(&log->worst, &worst, level)) {
  }
  atomic_fetch_add(&log->lines, 1);
  atomic_fetch_sub(&log->running, 1);
}

/* Something that there is much to tell about. */
static void work(const char *options) {
  hmkv *kv = open_store(text("%s lock=%s", options, unique("lock")));
  const char *key = unique("key");
  CHECK_OK(hmkv_temp_key(kv, key));
  CHECK_OK(hmkv_dist_lock(kv));
  lose_lease(kv, key);
  close_store(kv);
  kv = open_at(dead_endpoint(), "timeout=100ms");
  CHECK_STATUS(HMKV_EUNAVAIL, hmkv_store(kv, key, "value"));
  close_store(kv);
}

static void there_is_a_log_at_level_debug(void) {
  struct log log = {0};
  hmkv_set_log(HMKV_LOG_DEBUG, count_line, &log);
  work("");
  hmkv_set_log(HMKV_LOG_OFF, NULL, NULL);
  CHECK(atomic_load(&log.lines) > 0);
}

static void no_line_is_above_the_level(void) {
  for (int32_t level = HMKV_LOG_ERROR; level <= HMKV_LOG_DEBUG; level++) {
    struct log log = {0};
    hmkv_set_log(level, count_line, &log);
    work("");
    hmkv_set_log(HMKV_LOG_OFF, NULL, NULL);
    CHECK(atomic_load(&log.worst) <= level);
  }
}

static void levels_outside_count_as_the_nearest(void) {
  struct log low = {0}, high = {0};
  hmkv_set_log(-5, count_line, &low);
  work("");
  hmkv_set_log(99, count_line, &high);
  work("");
  hmkv_set_log(HMKV_LOG_OFF, NULL, NULL);
  CHECK_INT(0, atomic_load(&low.lines));
  CHECK(atomic_load(&high.lines) > 0);
}

static void level_off_and_null_turn_it_off(void) {
  struct log log = {0};
  hmkv_set_log(HMKV_LOG_OFF, count_line, &log);
  work("");
  CHECK_INT(0, atomic_load(&log.lines));
  hmkv_set_log(HMKV_LOG_DEBUG, count_line, &log);
  hmkv_set_log(HMKV_LOG_DEBUG, NULL, &log);
  atomic_store(&log.retired, true);
  work("");
  hmkv_set_log(HMKV_LOG_OFF, NULL, NULL);
}

static void the_option_debug_raises_the_level(void) {
  struct log log = {0};
  hmkv_set_log(HMKV_LOG_ERROR, count_line, &log);
  work("debug");
  hmkv_set_log(HMKV_LOG_OFF, NULL, NULL);
  CHECK_INT(HMKV_LOG_DEBUG, atomic_load(&log.worst));
}

static void *keep_working(void *stop) {
  while (!atomic_load((atomic_bool *)stop)) work("timeout=5s");
  return NULL;
}

/* When hmkv_set_log() returns, the former callback is not running. */
static void a_replaced_callback_runs_no_more(void) {
  atomic_bool stop = false;
  pthread_t worker = start_thread(keep_working, &stop);
  for (int i = 0; i < rounds(300, 50); i++) {
    struct log *log = calloc(1, sizeof *log);
    CHECK(log);
    hmkv_set_log(HMKV_LOG_DEBUG, count_line, log);
    for (int looks = 0; looks < 5 && atomic_load(&log->lines) == 0; looks++) poll_pause();
    struct log none = {0};
    hmkv_set_log(HMKV_LOG_OFF, count_line, &none);
    CHECK_INT(0, atomic_load(&log->running));
    atomic_store(&log->retired, true);
    free(log);
  }
  atomic_store(&stop, true);
  join_thread(worker);
  hmkv_set_log(HMKV_LOG_OFF, NULL, NULL);
}

static atomic_int replaced_inside;

static void replace_itself(int32_t level, const char *line, void *userdata) {
  (void)level, (void)line, (void)userdata;
  atomic_fetch_add(&replaced_inside, 1);
  hmkv_set_log(HMKV_LOG_OFF, NULL, NULL);
}

static void it_may_be_replaced_from_inside(void) {
  hmkv_set_log(HMKV_LOG_DEBUG, replace_itself, NULL);
  work("");
  CHECK(atomic_load(&replaced_inside) >= 1);
}

static void no_line_holds_a_secret(void) {
  struct log log = {0};
  hmkv *kv = NULL;
  hmkv_set_log(HMKV_LOG_DEBUG, count_line, &log); /* it checks each line */
  CHECK_STATUS(HMKV_EINVAL, hmkv_open(test_endpoint(), "debug password=hunter2", &kv));
  CHECK_STATUS(HMKV_EINVAL, hmkv_open("http://me:hunter2@127.0.0.1:1", "debug", &kv));
  work("debug");
  hmkv_set_log(HMKV_LOG_OFF, NULL, NULL);
}

static void work_in_silence(int argc, char **argv) {
  (void)argv;
  CHECK_INT(0, argc);
  work("");
  hmkv *kv = NULL;
  CHECK_STATUS(HMKV_EINVAL, hmkv_open("nonsense", "debug", &kv));
  work("debug insecure"); /* without a callback, `debug` has nowhere to write to */
}

static void without_a_callback_nothing_is_printed(void) {
  struct process child = start_child(JOIN_STDERR, test_endpoint(), "work_in_silence", NULL);
  char said[8192];
  process_read(&child, said, sizeof said, NULL);
  CHECK_INT(0, process_wait(&child));
  CHECK_STR("", said);
}

static const struct test tests[] = {
    BOTH(there_is_a_log_at_level_debug),
    BOTH(no_line_is_above_the_level),
    BOTH(levels_outside_count_as_the_nearest),
    BOTH(level_off_and_null_turn_it_off),
    BOTH(the_option_debug_raises_the_level),
    MEM_ONLY(a_replaced_callback_runs_no_more),
    BOTH(it_may_be_replaced_from_inside),
    BOTH(no_line_holds_a_secret),
    BOTH(without_a_callback_nothing_is_printed),
};
static const struct child children[] = {{"work_in_silence", work_in_silence}, {NULL, NULL}};
TEST_MAIN(.children = children)
