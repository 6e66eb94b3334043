/* hmkv_watch: waiting for the next change. */
#include "metrics.h"
#include "process.h"
#include "test.h"

static hmkv *kv;

static void begin(void) { kv = open_store(NULL); }

static void end(void) {
  if (kv) close_store(kv);
}

/* A thread that waits for one change. */
struct waiter {
  hmkv *kv;
  const char *key;
  int64_t timeout_ms;
  bool no_outputs;
  atomic_int tid;
  hmkv_status status;
  char *value;
  hmkv_keychange op;
};

static void *wait_for_change(void *arg) {
  struct waiter *waiter = arg;
  waiter->value = (char *)"untouched";
  waiter->op = 77;
  atomic_store(&waiter->tid, (int)thread_id());
  waiter->status =
      hmkv_watch(waiter->kv, waiter->key, waiter->timeout_ms,
                 waiter->no_outputs ? NULL : &waiter->value, waiter->no_outputs ? NULL : &waiter->op);
  return NULL;
}

/* The reads that were answered. A watch begins with one, and tells of what comes after it. */
static int64_t reads(void) {
  int64_t ended = requests_ended(kv, "range", "ok");
  return ended < 0 ? 0 : ended;
}

/* Starts it; from now on it sees every change. */
static pthread_t start_waiter(struct waiter *waiter, const char *key, int64_t timeout_ms) {
  waiter->kv = kv;
  waiter->key = key;
  waiter->timeout_ms = timeout_ms;
  atomic_store(&waiter->tid, 0);
  int64_t before = reads();
  pthread_t thread = start_thread(wait_for_change, waiter);
  WAIT_UNTIL(atomic_load(&waiter->tid) != 0 && reads() > before);
  wait_until_blocked(atomic_load(&waiter->tid));
  return thread;
}

static void expect(struct waiter *waiter, pthread_t thread, hmkv_keychange op, const char *value) {
  join_thread(thread);
  CHECK_OK(waiter->status);
  CHECK_INT(op, waiter->op);
  CHECK_STR(value, waiter->value);
  hmkv_free(waiter->value);
}

static void the_next_change_is_reported(void) {
  struct waiter waiter = {0};
  const char *key = unique("key");
  CHECK_OK(hmkv_store(kv, key, "before"));
  pthread_t thread = start_waiter(&waiter, key, 60000);
  CHECK_OK(hmkv_store(kv, text("%s2", key), "another key"));
  CHECK_OK(hmkv_store(kv, key, "after"));
  expect(&waiter, thread, HMKV_KEYCHANGE_PUT, "after");
}

static void the_key_need_not_exist(void) {
  struct waiter waiter = {0};
  const char *key = unique("key");
  pthread_t thread = start_waiter(&waiter, key, HMKV_FOREVER);
  CHECK_OK(hmkv_store(kv, key, ""));
  expect(&waiter, thread, HMKV_KEYCHANGE_PUT, "");
}

static void a_delete_is_reported_without_a_value(void) {
  struct waiter waiter = {0};
  const char *key = unique("key");
  CHECK_OK(hmkv_store(kv, key, "value"));
  pthread_t thread = start_waiter(&waiter, key, HMKV_FOREVER);
  CHECK_OK(hmkv_delete(kv, key));
  expect(&waiter, thread, HMKV_KEYCHANGE_DELETE, NULL);
}

static void delete_then_create_reports_the_delete(void) {
  struct waiter waiter = {0};
  const char *key = unique("key");
  CHECK_OK(hmkv_store(kv, key, "value"));
  pthread_t thread = start_waiter(&waiter, key, HMKV_FOREVER);
  CHECK_OK(hmkv_delete(kv, key));
  CHECK_OK(hmkv_store(kv, key, "new"));
  expect(&waiter, thread, HMKV_KEYCHANGE_DELETE, NULL);
}

static void exactly_the_first_change_is_reported(void) {
  struct waiter waiter = {0};
  const char *key = unique("key");
  pthread_t thread = start_waiter(&waiter, key, HMKV_FOREVER);
  for (int i = 1; i <= 20; i++) CHECK_OK(hmkv_store(kv, key, text("%d", i)));
  CHECK_OK(hmkv_delete(kv, key));
  expect(&waiter, thread, HMKV_KEYCHANGE_PUT, "1");
}

static void storing_an_equal_value_is_a_change(void) {
  struct waiter waiter = {0};
  const char *key = unique("key");
  CHECK_OK(hmkv_store(kv, key, "same"));
  pthread_t thread = start_waiter(&waiter, key, HMKV_FOREVER);
  CHECK_OK(hmkv_store(kv, key, "same"));
  expect(&waiter, thread, HMKV_KEYCHANGE_PUT, "same");
}

static void deleting_an_absent_key_is_no_change(void) {
  struct waiter waiter = {0};
  const char *key = unique("key");
  pthread_t thread = start_waiter(&waiter, key, HMKV_FOREVER);
  CHECK_OK(hmkv_delete(kv, key));
  CHECK_OK(hmkv_store(kv, key, "value"));
  expect(&waiter, thread, HMKV_KEYCHANGE_PUT, "value");
}

static void a_temporary_key_that_ends_is_a_delete(void) {
  struct waiter waiter = {0};
  const char *key = unique("temp");
  hmkv *owner = open_store(NULL);
  CHECK_OK(hmkv_temp_key(owner, key));
  pthread_t thread = start_waiter(&waiter, key, HMKV_FOREVER);
  close_store(owner);
  expect(&waiter, thread, HMKV_KEYCHANGE_DELETE, NULL);
}

static void timed_out(const char *key, int64_t timeout_ms) {
  char *value = (char *)"untouched";
  hmkv_keychange op = 77;
  int64_t begin = now_ms();
  CHECK_STATUS(HMKV_TIMED_OUT, hmkv_watch(kv, key, timeout_ms, &value, &op));
  int64_t took = now_ms() - begin;
  CHECK(value == NULL);
  CHECK_INT(0, op);
  CHECK(took >= timeout_ms - 20 && took < timeout_ms + 20000);
}

static void without_a_change_it_times_out(void) {
  const char *key = unique("key");
  timed_out(key, 300);
  CHECK_OK(hmkv_store(kv, key, "earlier changes do not count"));
  timed_out(key, 300);
}

static void timeout_0_does_not_wait(void) {
  const char *key = unique("key");
  timed_out(key, 0);
  CHECK_OK(hmkv_store(kv, key, "value"));
  timed_out(key, 0);
}

static void a_timeout_below_forever_is_refused(void) {
  const char *key = unique("key");
  static const int64_t bad[] = {-2, -1000, INT64_MIN};
  for (int i = 0; i < 3; i++) {
    char *value = (char *)"untouched";
    hmkv_keychange op = 77;
    CHECK_STATUS(HMKV_EINVAL, hmkv_watch(kv, key, bad[i], &value, &op));
    CHECK(value == NULL);
    CHECK_INT(0, op);
  }
}

static void a_huge_timeout_is_no_overflow(void) {
  struct waiter waiter = {0};
  const char *key = unique("key");
  pthread_t thread = start_waiter(&waiter, key, INT64_MAX);
  CHECK_OK(hmkv_store(kv, key, "value"));
  expect(&waiter, thread, HMKV_KEYCHANGE_PUT, "value");
}

static void value_and_op_may_be_null(void) {
  struct waiter waiter = {.no_outputs = true};
  const char *key = unique("key");
  CHECK_STATUS(HMKV_TIMED_OUT, hmkv_watch(kv, key, 0, NULL, NULL));
  pthread_t thread = start_waiter(&waiter, key, HMKV_FOREVER);
  CHECK_OK(hmkv_store(kv, key, "value"));
  join_thread(thread);
  CHECK_OK(waiter.status);
}

static void closing_ends_the_wait(void) {
  static const int64_t timeouts[] = {HMKV_FOREVER, 600000};
  for (int i = 0; i < 2; i++) {
    struct waiter waiter = {0};
    pthread_t thread = start_waiter(&waiter, unique("key"), timeouts[i]);
    close_store(kv);
    join_thread(thread);
    CHECK_STATUS(HMKV_ECLOSED, waiter.status);
    CHECK(waiter.value == NULL);
    CHECK_INT(0, waiter.op);
    kv = open_store(NULL);
  }
}

static void many_wait_for_one_key(void) {
  enum { COUNT = 20 };
  struct waiter waiters[COUNT];
  pthread_t threads[COUNT];
  const char *key = unique("key");
  memset(waiters, 0, sizeof waiters);
  for (int i = 0; i < COUNT; i++) threads[i] = start_waiter(&waiters[i], key, HMKV_FOREVER);
  CHECK_OK(hmkv_store(kv, key, "value"));
  for (int i = 0; i < COUNT; i++) expect(&waiters[i], threads[i], HMKV_KEYCHANGE_PUT, "value");
}

static void a_dead_server_is_unavailable_within_the_timeout(void) {
  hmkv *dead = open_at(dead_endpoint(), "timeout=300ms");
  int64_t begin = now_ms();
  CHECK_STATUS(HMKV_EUNAVAIL, hmkv_watch(dead, "key", HMKV_FOREVER, NULL, NULL));
  CHECK(now_ms() - begin < 20000);
  close_store(dead);
}

static void a_value_with_a_nul_byte_is_ebinary(void) {
  struct waiter waiter = {0};
  const char *key = unique("key");
  pthread_t thread = start_waiter(&waiter, key, HMKV_FOREVER);
  put_binary(key, "a\0b", 3);
  join_thread(thread);
  CHECK_STATUS(HMKV_EBINARY, waiter.status);
  CHECK(waiter.value == NULL);
}

static const struct test tests[] = {
    BOTH(the_next_change_is_reported),
    BOTH(the_key_need_not_exist),
    BOTH(a_delete_is_reported_without_a_value),
    BOTH(delete_then_create_reports_the_delete),
    BOTH(exactly_the_first_change_is_reported),
    BOTH(storing_an_equal_value_is_a_change),
    BOTH(deleting_an_absent_key_is_no_change),
    BOTH(a_temporary_key_that_ends_is_a_delete),
    BOTH(without_a_change_it_times_out),
    BOTH(timeout_0_does_not_wait),
    BOTH(a_timeout_below_forever_is_refused),
    BOTH(a_huge_timeout_is_no_overflow),
    BOTH(value_and_op_may_be_null),
    BOTH(closing_ends_the_wait),
    BOTH(many_wait_for_one_key),
    BOTH(a_dead_server_is_unavailable_within_the_timeout),
    ETCD_ONLY(a_value_with_a_nul_byte_is_ebinary),
};
TEST_MAIN(.begin = begin, .end = end)
