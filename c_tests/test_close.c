/* hmkv_close: what it ends. Callbacks that run meanwhile: test_close_callbacks.c. */
#include "test.h"

#include <sys/socket.h>
#include <netinet/in.h>

static void the_second_close_is_harmless(void) {
  hmkv *kv = open_store(NULL);
  close_store(kv);
  for (int i = 0; i < 3; i++) CHECK_STATUS(HMKV_EHANDLE, hmkv_close(kv));
  hmkv *next = open_store(NULL);
  CHECK(next != kv);
  CHECK_STATUS(HMKV_EHANDLE, hmkv_close(kv)); /* and does not close another */
  CHECK_OK(hmkv_store(next, unique("key"), "value"));
  close_store(next);
}

struct wait {
  hmkv *kv;
  const char *key;
  atomic_int tid;
};

static void *wait_in_watch(void *arg) {
  struct wait *wait = arg;
  atomic_store(&wait->tid, (int)thread_id());
  CHECK_STATUS(HMKV_ECLOSED, hmkv_watch(wait->kv, wait->key, HMKV_FOREVER, NULL, NULL));
  return NULL;
}

static void *wait_in_lock(void *arg) {
  struct wait *wait = arg;
  atomic_store(&wait->tid, (int)thread_id());
  CHECK_STATUS(HMKV_ECLOSED, hmkv_dist_lock(wait->kv));
  return NULL;
}

static void it_ends_every_wait_with_closed(void) {
  enum { WAITS = 10 };
  const char *options = text("lock=%s", unique("lock"));
  hmkv *holder = open_store(options);
  CHECK_OK(hmkv_dist_lock(holder));
  hmkv *kv = open_store(options);
  struct wait waits[WAITS];
  pthread_t threads[WAITS];
  for (int i = 0; i < WAITS; i++) {
    waits[i] = (struct wait){kv, unique("key"), 0};
    threads[i] = start_thread(i % 2 ? wait_in_watch : wait_in_lock, &waits[i]);
  }
  for (int i = 0; i < WAITS; i++) {
    WAIT_UNTIL(atomic_load(&waits[i].tid) != 0);
    wait_until_blocked(atomic_load(&waits[i].tid));
  }
  close_store(kv);
  for (int i = 0; i < WAITS; i++) join_thread(threads[i]);
  close_store(holder);
}

static void *get_from_a_silent_server(void *arg) {
  struct wait *wait = arg;
  char *value = (char *)"untouched";
  atomic_store(&wait->tid, (int)thread_id());
  CHECK_STATUS(HMKV_ECLOSED, hmkv_get(wait->kv, "key", &value));
  CHECK(value == NULL);
  return NULL;
}

/* A server that accepts the connection and never says a word. */
static void it_ends_requests_with_closed(void) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in address = {.sin_family = AF_INET};
  socklen_t length = sizeof address;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK_INT(0, bind(fd, (struct sockaddr *)&address, sizeof address));
  CHECK_INT(0, listen(fd, 8));
  CHECK_INT(0, getsockname(fd, (struct sockaddr *)&address, &length));
  hmkv *kv = open_at(text("127.0.0.1:%d", ntohs(address.sin_port)), "timeout=10m");
  struct wait wait = {.kv = kv};
  pthread_t thread = start_thread(get_from_a_silent_server, &wait);
  WAIT_UNTIL(atomic_load(&wait.tid) != 0);
  wait_until_blocked(atomic_load(&wait.tid));
  close_store(kv);
  join_thread(thread);
  close(fd);
}

static void it_deletes_temporary_keys_and_releases_the_lock(void) {
  const char *name = unique("lock"), *key = unique("temp");
  hmkv *kv = open_store(text("lock=%s", name)), *other = open_store(NULL);
  CHECK_OK(hmkv_temp_key(kv, key));
  CHECK_OK(hmkv_dist_lock(kv));
  close_store(kv);
  CHECK(!has_key(other, key));
  CHECK_INT(0, count_keys(other, text("%s/", name)));
  close_store(other);
}

static void no_other_store_is_disturbed(void) {
  const char *name = unique("lock"), *key = unique("temp"), *plain = unique("key");
  hmkv *stays = open_store(text("lock=%s temp_ttl=4s", name));
  CHECK_OK(hmkv_temp_key(stays, key));
  CHECK_OK(hmkv_dist_lock(stays));
  int64_t lease = lease_of(stays, key);
  for (int i = 0; i < rounds(50, 10); i++) {
    hmkv *goes = open_store(text("lock=%s", name));
    CHECK_OK(hmkv_temp_key(goes, unique("temp")));
    CHECK_STATUS(HMKV_BUSY, hmkv_dist_timed_lock(goes, 0));
    close_store(goes);
    CHECK_OK(hmkv_store(stays, plain, text("%d", i)));
    CHECK_VALUE(stays, plain, text("%d", i));
  }
  CHECK_INT(lease, lease_of(stays, key));
  CHECK_INT(HMKV_LOCK_GRANTED, hmkv_dist_lock_result(stays));
  close_store(stays);
}

static void there_is_no_thread_before_the_first_open_and_after_the_last_close(void) {
  for (int i = 0; i < rounds(20, 5); i++) {
    CHECK_INT(0, count_threads("hmkv-"));
    hmkv *one = open_store(NULL), *two = open_store(NULL);
    CHECK_OK(hmkv_temp_key(one, unique("temp")));
    CHECK_STATUS(HMKV_TIMED_OUT, hmkv_watch(two, unique("key"), 1, NULL, NULL));
    close_store(one);
    CHECK_OK(hmkv_store(two, unique("key"), "value"));
    close_store(two);
    /* The kernel shows a joined thread for a moment longer. */
    WAIT_WITHIN(2000, count_threads("hmkv-") == 0);
  }
}

static void all_threads_have_the_prefix_of_the_library(void) {
  int before = count_threads("");
  hmkv *kv = open_store(NULL);
  CHECK_OK(hmkv_temp_key(kv, unique("temp")));
  CHECK_STATUS(HMKV_TIMED_OUT, hmkv_watch(kv, unique("key"), 1, NULL, NULL));
  /* A thread gets its name when it first runs. */
  WAIT_UNTIL(count_threads("") - before == count_threads("hmkv-"));
  close_store(kv);
}

static void it_is_bounded_without_a_server(void) {
  hmkv *kv = open_at(dead_endpoint(), "close_timeout=300ms timeout=60s");
  int64_t begin = now_ms();
  hmkv_status status = hmkv_close(kv);
  CHECK(status == HMKV_OK);
  CHECK(now_ms() - begin < 15000);
}

static void what_was_stored_stays(void) {
  hmkv *kv = open_store(NULL);
  const char *key = unique("key");
  CHECK_OK(hmkv_store(kv, key, "stays"));
  close_store(kv);
  kv = open_store(NULL);
  CHECK_VALUE(kv, key, "stays");
  CHECK_OK(hmkv_delete(kv, key));
  close_store(kv);
}

static const struct test tests[] = {
    BOTH(the_second_close_is_harmless),
    BOTH(it_ends_every_wait_with_closed),
    BOTH(it_ends_requests_with_closed),
    BOTH(it_deletes_temporary_keys_and_releases_the_lock),
    BOTH(no_other_store_is_disturbed),
    BOTH(there_is_no_thread_before_the_first_open_and_after_the_last_close),
    BOTH(all_threads_have_the_prefix_of_the_library),
    BOTH(it_is_bounded_without_a_server),
    BOTH(what_was_stored_stays),
};
TEST_MAIN()
