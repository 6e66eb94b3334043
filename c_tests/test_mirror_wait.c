/* Mirrors: waiting until a copy has a revision. */
#include "changes.h"
#include "mirrors.h"
#include "own_store.h"
#include "process.h"
#include "requests.h"
#include "test.h"

static hmkv *kv;
static const char *prefix, *outside;
static hmkv_mirror *mirror;

static void begin(void) {
  kv = open_store("timeout=20s");
  prefix = unique("mirror/");
  outside = unique("outside");
  mirror = mirror_of(kv, prefix, NULL);
}

static void end(void) {
  if (mirror) CHECK_OK(hmkv_mirror_close(mirror));
  close_store(kv);
}

static const char *key(const char *name) { return text("%s%s", prefix, name); }

/* ---- own writes ---- */

static void own_writes_are_read(void) {
  char value[32];
  const char *one = key("a");
  for (int i = 0; i < rounds(10000, 200); i++) {
    snprintf(value, sizeof value, "%d", i);
    int64_t revision = change_put(kv, one, value);
    CHECK_OK(hmkv_mirror_wait(mirror, revision, HMKV_FOREVER));
    hmkv_result *read = hmkv_mirror_get(mirror, one, HMKV_NTS);
    CHECK_STR(value, hmkv_result_kv(read, 0)->value);
    CHECK(hmkv_result_revision(read) >= revision);
    hmkv_result_free(read);
  }
}

static void a_revision_that_changed_other_keys_is_waited_for_too(void) {
  change_put(kv, key("a"), "value");
  for (int i = 0; i < rounds(50, 5); i++) {
    int64_t revision = change_put(kv, outside, text("%d", i));
    CHECK_OK(hmkv_mirror_wait(mirror, revision, HMKV_FOREVER));
    CHECK(mirror_revision(mirror, prefix) >= revision);
  }
  mirror_check(mirror, kv, prefix);
}

/* Changes of the prefix that are on their way are not passed over by one outside. */
static void then_all_changes_before_it_are_in_the_copy(void) {
  enum { KEYS = 20 };
  hmkv *writer = open_store("timeout=20s");
  unsigned seed = 9;
  for (int i = 0; i < rounds(300, 20); i++) {
    int expected[KEYS] = {0};
    for (int j = 0; j < KEYS; j++) {
      const char *one = key(text("%d", j));
      expected[j] = rand_r(&seed) % 1000;
      if (expected[j] % 3 == 0) {
        change_remove(writer, one);
        expected[j] = 0;
      } else {
        change_put(writer, one, text("%d", expected[j]));
      }
    }
    CHECK_OK(hmkv_mirror_wait(mirror, change_put(writer, outside, "value"), HMKV_FOREVER));
    for (int j = 0; j < KEYS; j++)
      CHECK_STR(expected[j] ? text("%d", expected[j]) : NULL,
                mirror_value(mirror, key(text("%d", j))));
  }
  mirror_check(mirror, kv, prefix);
  close_store(writer);
}

/* A key that comes and goes leaves nothing that the store could be asked for. Whoever
 * has waited never sees it. */
static void what_came_and_went_before_it_is_not_seen(void) {
  struct recorder told = RECORDER;
  CHECK_OK(hmkv_mirror_close(mirror));
  mirror = mirror_of(kv, prefix, &told);
  for (int i = 0; i < rounds(300, 30); i++) {
    const char *passing = key(text("passing%d", i));
    change_put(kv, passing, "value");
    change_remove(kv, passing);
    CHECK_OK(hmkv_mirror_wait(mirror, change_put(kv, outside, "value"), HMKV_FOREVER));
    CHECK_STR(NULL, mirror_value(mirror, passing));
  }
  recorder_wait(&told, 1 + 2 * (size_t)rounds(300, 30)); /* but it is told */
  recorder_check_order(&told);
  recorder_check_versions(&told);
  CHECK_OK(hmkv_mirror_close(mirror));
  mirror = NULL;
  recorder_free(&told);
}

static void of_an_empty_prefix_too(void) {
  int64_t revision = change_put(kv, outside, "value");
  CHECK_OK(hmkv_mirror_wait(mirror, revision, HMKV_FOREVER));
  CHECK(mirror_revision(mirror, prefix) >= revision);
}

/* ---- the time ---- */

static void without_the_revision_it_times_out(void) {
  int64_t newest = change_put(kv, key("a"), "value");
  CHECK_OK(hmkv_mirror_wait(mirror, newest, HMKV_FOREVER));
  CHECK_OK(hmkv_mirror_wait(mirror, newest, 0));
  CHECK_OK(hmkv_mirror_wait(mirror, 0, 0));
  CHECK_OK(hmkv_mirror_wait(mirror, newest, 0)); /* a wait changes nothing */
  int64_t far = newest + 1000000000;
  CHECK_STATUS(HMKV_TIMED_OUT, hmkv_mirror_wait(mirror, far, 0));
  int64_t began = now_ms();
  CHECK_STATUS(HMKV_TIMED_OUT, hmkv_mirror_wait(mirror, far, 60));
  CHECK(now_ms() - began >= 60);
  CHECK_STATUS(HMKV_TIMED_OUT, hmkv_mirror_wait(mirror, INT64_MAX, 60));
}

static void wrong_arguments_are_refused(void) {
  CHECK_STATUS(HMKV_EINVAL, hmkv_mirror_wait(mirror, -1, 0));
  CHECK_STATUS(HMKV_EINVAL, hmkv_mirror_wait(mirror, INT64_MIN, 0));
  CHECK_STATUS(HMKV_EINVAL, hmkv_mirror_wait(mirror, 1, -2));
}

/* ---- others that wait ---- */

struct waiting {
  hmkv_mirror *mirror;
  int64_t revision;
  pthread_t thread;
  atomic_int tid;
  hmkv_status status;
  atomic_bool returned;
};

static void *wait_in_thread(void *arg) {
  struct waiting *waiting = arg;
  atomic_store(&waiting->tid, thread_id());
  waiting->status = hmkv_mirror_wait(waiting->mirror, waiting->revision, HMKV_FOREVER);
  atomic_store(&waiting->returned, true);
  return NULL;
}

static void waiting_begin(struct waiting *waiting, int64_t revision) {
  *waiting = (struct waiting){.mirror = mirror, .revision = revision};
  waiting->thread = start_thread(wait_in_thread, waiting);
  WAIT_UNTIL(atomic_load(&waiting->tid) != 0);
}

static void waiting_end(struct waiting *waiting, hmkv_status expected) {
  join_thread(waiting->thread);
  CHECK_STATUS(expected, waiting->status);
}

static void a_revision_that_is_yet_to_come_is_waited_for(void) {
  enum { COUNT = 8 };
  struct waiting waiting[COUNT];
  for (int outside_too = 0; outside_too < 2; outside_too++) {
    int64_t newest = newest_revision(kv);
    for (int i = 0; i < COUNT; i++) waiting_begin(&waiting[i], newest + 1 + i);
    while (newest_revision(kv) < newest + COUNT)
      change_put(kv, outside_too ? outside : key("a"), "value");
    for (int i = 0; i < COUNT; i++) waiting_end(&waiting[i], HMKV_OK);
  }
}

static void closing_the_mirror_ends_a_wait(void) {
  struct waiting waiting[2];
  for (int i = 0; i < 2; i++) waiting_begin(&waiting[i], INT64_MAX);
  HOLDS_FOR(50, !atomic_load(&waiting[0].returned) && !atomic_load(&waiting[1].returned));
  CHECK_OK(hmkv_mirror_close(mirror));
  for (int i = 0; i < 2; i++) {
    join_thread(waiting[i].thread);
    /* Or it began only now. */
    CHECK(waiting[i].status == HMKV_ECANCELED || waiting[i].status == HMKV_EHANDLE);
  }
  mirror = NULL;
}

static void closing_the_store_ends_a_wait(void) {
  struct waiting waiting;
  hmkv *other = open_store(NULL);
  hmkv_mirror *mine = mirror;
  mirror = mirror_of(other, prefix, NULL);
  waiting_begin(&waiting, INT64_MAX);
  HOLDS_FOR(50, !atomic_load(&waiting.returned));
  close_store(other);
  join_thread(waiting.thread);
  CHECK(waiting.status == HMKV_ECLOSED || waiting.status == HMKV_EHANDLE);
  mirror = mine;
}

/* ---- servers that do not answer ---- */

static void while_the_server_is_silent_the_copy_is_read_and_not_waited_for(void) {
  struct own_store own;
  own_store_open(&own, "timeout=20s");
  change_put(own.kv, "k/a", "value");
  hmkv_mirror *copy = mirror_of(own.kv, "k/", NULL);
  int64_t newest = newest_revision(own.kv);
  CHECK_OK(hmkv_mirror_wait(copy, newest, HMKV_FOREVER));
  if (on_etcd())
    server_pause(&own.server);
  else
    CHECK_OK(hmkv_mem_fault(own.kv, "cut=1h"));
  CHECK_STR("value", mirror_value(copy, "k/a"));
  CHECK_OK(hmkv_mirror_wait(copy, newest, 0));
  CHECK_STATUS(HMKV_TIMED_OUT, hmkv_mirror_wait(copy, newest + 1, 100));
  if (on_etcd())
    server_resume(&own.server);
  else
    CHECK_OK(hmkv_mem_fault(own.kv, "cut=0"));
  CHECK_OK(hmkv_mirror_wait(copy, change_put(own.kv, "other", "value"), HMKV_FOREVER));
  mirror_check(copy, own.kv, "k/");
  own_store_close(&own);
}

static void when_the_watch_had_to_end_it_tells_why(void) {
  struct server server;
  struct recorder told = RECORDER;
  server_start(&server, NULL);
  hmkv *own = open_at(server.endpoint, "timeout=5s");
  hmkv_mirror *copy = mirror_of(own, "k/", &told);
  int64_t revision = change_put(own, "k/a", "value");
  CHECK_OK(hmkv_mirror_wait(copy, revision, HMKV_FOREVER));
  etcdctl_at(server.endpoint, "user", "add", "root:secret", NULL);
  etcdctl_at(server.endpoint, "user", "grant-role", "root", "root", NULL);
  etcdctl_at(server.endpoint, "auth", "enable", NULL);
  setenv("ETCDCTL_USER", "root:secret", 1);
  server_kill(&server);
  server_restart(&server); /* the watch is not allowed to come back */
  hmkv_status status = hmkv_mirror_wait(copy, INT64_MAX, HMKV_FOREVER);
  CHECK(status == HMKV_EAUTH || status == HMKV_EDENIED);
  CHECK(*hmkv_errmsg());
  CHECK_OK(hmkv_mirror_wait(copy, revision, 0));
  CHECK_STR("value", mirror_value(copy, "k/a")); /* as it was */
  WAIT_UNTIL(recorder_count_of(&told, HMKV_EVENT_END) == 1);
  CHECK_INT(status, recorder_at(&told, recorder_count(&told) - 1).status);
  CHECK_OK(hmkv_mirror_close(copy));
  close_store(own);
  unsetenv("ETCDCTL_USER");
  server_stop(&server);
  recorder_free(&told);
}

static const struct test tests[] = {
    BOTH(own_writes_are_read),
    BOTH(a_revision_that_changed_other_keys_is_waited_for_too),
    BOTH(then_all_changes_before_it_are_in_the_copy),
    BOTH(what_came_and_went_before_it_is_not_seen),
    BOTH(of_an_empty_prefix_too),
    BOTH(without_the_revision_it_times_out),
    BOTH(wrong_arguments_are_refused),
    BOTH(a_revision_that_is_yet_to_come_is_waited_for),
    BOTH(closing_the_mirror_ends_a_wait),
    BOTH(closing_the_store_ends_a_wait),
    BOTH(while_the_server_is_silent_the_copy_is_read_and_not_waited_for),
    ETCD_ONLY(when_the_watch_had_to_end_it_tells_why),
};
TEST_MAIN(.begin = begin, .end = end)
