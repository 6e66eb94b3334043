/* A list of endpoints of which some do not answer. */
#include "events.h"
#include "test.h"

#include <netinet/in.h>
#include <sys/socket.h>

static void everything_works_at(const char *endpoints) {
  const char *name = unique("lock"), *key = unique("key"), *temp = unique("temp");
  hmkv *kv = open_at(endpoints, text("timeout=20s temp_ttl=3s lock=%s", name));
  struct events events = EVENTS_OF(key);
  hmkv_watcher *watcher = NULL;
  CHECK_OK(hmkv_store(kv, key, "1"));
  CHECK_OK(hmkv_watch_cb(kv, key, 3, events_record, &events, &watcher));
  CHECK_OK(hmkv_tas(kv, key, "1", "2"));
  CHECK_OK(hmkv_transaction(kv, key, "=", "2", key, "3", NULL, NULL));
  CHECK_VALUE(kv, key, "3");
  CHECK_INT(1, count_keys(kv, key));
  CHECK_OK(hmkv_temp_key(kv, temp));
  CHECK_OK(hmkv_dist_lock(kv));
  CHECK_STATUS(HMKV_TIMED_OUT, hmkv_watch(kv, key, 10, NULL, NULL));
  CHECK_OK(hmkv_dist_unlock(kv));
  HOLDS_FOR(4500, has_key(kv, temp)); /* renewed */
  CHECK_OK(hmkv_delete(kv, key));
  events_wait(&events, 3);
  CHECK_OK(hmkv_watch_cb_cancel(watcher));
  for (int i = 0; i < rounds(200, 20); i++) {
    CHECK_OK(hmkv_store(kv, key, text("%d", i)));
    CHECK_VALUE(kv, key, text("%d", i));
  }
  events_free(&events);
  close_store(kv);
}

static void all_calls_succeed_with_a_dead_first_endpoint(void) {
  everything_works_at(text("%s,%s", dead_endpoint(), test_endpoint()));
}

static void all_calls_succeed_with_a_dead_last_endpoint(void) {
  everything_works_at(text("%s,%s", test_endpoint(), dead_endpoint()));
}

static void all_calls_succeed_with_one_live_endpoint_of_four(void) {
  everything_works_at(text("%s,127.0.0.1:1,%s,127.0.0.1:2", dead_endpoint(), test_endpoint()));
}

static void waiting_at_open_finds_the_live_one(void) {
  hmkv *kv = open_at(text("%s,%s", dead_endpoint(), test_endpoint()), "wait=30s");
  CHECK_VALUE(kv, unique("absent"), NULL);
  close_store(kv);
}

/* An endpoint that accepts connections and never says a word: reads go on. */
static void reads_succeed_with_a_silent_first_endpoint(void) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in address = {.sin_family = AF_INET};
  socklen_t length = sizeof address;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK_INT(0, bind(fd, (struct sockaddr *)&address, sizeof address));
  CHECK_INT(0, listen(fd, 64));
  CHECK_INT(0, getsockname(fd, (struct sockaddr *)&address, &length));
  hmkv *kv = open_at(text("127.0.0.1:%d,%s", ntohs(address.sin_port), test_endpoint()), "timeout=20s");
  for (int i = 0; i < 5; i++) CHECK_VALUE(kv, unique("absent"), NULL);
  CHECK_STATUS(HMKV_TIMED_OUT, hmkv_watch(kv, unique("key"), 10, NULL, NULL));
  close_store(kv);
  close(fd);
}

static const struct test tests[] = {
    ETCD_ONLY(all_calls_succeed_with_a_dead_first_endpoint),
    ETCD_ONLY(all_calls_succeed_with_a_dead_last_endpoint),
    ETCD_ONLY(all_calls_succeed_with_one_live_endpoint_of_four),
    ETCD_ONLY(waiting_at_open_finds_the_live_one),
    ETCD_ONLY(reads_succeed_with_a_silent_first_endpoint),
};
TEST_MAIN()
