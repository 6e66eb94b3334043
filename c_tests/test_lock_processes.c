/* Several processes under one lock. */
#include "process.h"
#include "test.h"

enum { PROCESSES = 3 };

/* Reads a number, adds one and stores it, each time under the lock alone. */
static void count_up(int argc, char **argv) {
  CHECK_INT(3, argc);
  hmkv *kv = open_store(text("lock=%s timeout=30s", argv[0]));
  for (int i = atoi(argv[2]); i > 0; i--) {
    CHECK_OK(hmkv_dist_lock(kv));
    char *value = NULL;
    CHECK_OK(hmkv_get(kv, argv[1], &value));
    CHECK_OK(hmkv_store(kv, argv[1], text("%d", atoi(value) + 1)));
    hmkv_free(value);
    CHECK_OK(hmkv_dist_unlock(kv));
  }
  close_store(kv);
}

static void processes_exclude_each_other(void) {
  const char *name = unique("lock"), *counter = unique("counter");
  int each = rounds(60, 10);
  hmkv *kv = open_store(NULL);
  CHECK_OK(hmkv_store(kv, counter, "0"));
  struct process children[PROCESSES];
  for (int i = 0; i < PROCESSES; i++)
    children[i] = start_child(KEEP_STDERR, test_endpoint(), "count_up", name, counter,
                              text("%d", each), NULL);
  for (int i = 0; i < PROCESSES; i++) CHECK_INT(0, process_wait(&children[i]));
  CHECK_VALUE(kv, counter, text("%d", PROCESSES * each));
  CHECK_INT(0, count_keys(kv, text("%s/", name)));
  close_store(kv);
}

static void try_it(int argc, char **argv) {
  CHECK_INT(1, argc);
  hmkv *kv = open_store(text("lock=%s", argv[0]));
  printf("%s\n", hmkv_status_name(hmkv_dist_timed_lock(kv, 0)));
  close_store(kv);
}

static void what_this_process_holds_is_busy_for_another(void) {
  const char *name = unique("lock");
  hmkv *kv = open_store(text("lock=%s", name));
  static const char *const expected[] = {"HMKV_BUSY", "HMKV_OK"};
  CHECK_OK(hmkv_dist_lock(kv));
  for (int i = 0; i < 2; i++) {
    struct process child = start_child(KEEP_STDERR, test_endpoint(), "try_it", name, NULL);
    char said[64];
    process_read(&child, said, sizeof said, NULL);
    CHECK_INT(0, process_wait(&child));
    CHECK_STR(text("%s\n", expected[i]), said);
    CHECK_OK(hmkv_dist_unlock(kv));
  }
  close_store(kv);
}

static const struct test tests[] = {
    ETCD_ONLY(processes_exclude_each_other),
    ETCD_ONLY(what_this_process_holds_is_busy_for_another),
};
static const struct child children[] = {{"count_up", count_up}, {"try_it", try_it}, {NULL, NULL}};
TEST_MAIN(.children = children)
