/* A server that hangs or is not there: what a status says about a write, and that
 * every call ends in its time. */
#include "server.h"
#include "test.h"

static struct server server;
static hmkv *kv;
static const char *key;

static void begin(void) {
  server_start(&server, NULL);
  kv = open_at(server.endpoint, text("timeout=1s close_timeout=1s lock_ttl=4s lock=%s", unique("lock")));
  key = unique("key");
  WAIT_UNTIL(hmkv_store(kv, key, "old") == HMKV_OK);
}

static void end(void) {
  if (kv) close_store(kv);
  server_stop(&server);
}

/* Within the timeout of 1 s and a little more. */
static void ends_in_time(int64_t begin) {
  int64_t took = now_ms() - begin;
  CHECK(took >= 900);
  CHECK(took < 6000);
}

static void a_write_without_an_answer_is_indeterminate_within_the_timeout(void) {
  server_pause(&server);
  int64_t begin = now_ms();
  CHECK_STATUS(HMKV_EINDETERMINATE, hmkv_store(kv, key, "new"));
  ends_in_time(begin);
  server_resume(&server);
  char *value = NULL;
  WAIT_UNTIL(hmkv_get(kv, key, &value) == HMKV_OK);
  CHECK(strcmp(value, "old") == 0 || strcmp(value, "new") == 0);
  hmkv_free(value);
}

static hmkv_status tas_it(void) { return hmkv_tas(kv, unique("absent"), "a", "b"); }
static hmkv_status delete_it(void) { return hmkv_delete(kv, unique("absent")); }
static hmkv_status transact_it(void) {
  return hmkv_transaction(kv, unique("absent"), "=", "a", NULL, NULL, unique("else"), "e");
}

static void every_kind_of_write_without_an_answer_is_indeterminate(void) {
  hmkv_status (*const writes[])(void) = {tas_it, delete_it, transact_it};
  char *value = NULL;
  for (size_t i = 0; i < sizeof writes / sizeof *writes; i++) {
    WAIT_UNTIL(hmkv_get(kv, key, &value) == HMKV_OK); /* there is a connection */
    hmkv_free(value);
    server_pause(&server);
    CHECK_STATUS(HMKV_EINDETERMINATE, writes[i]());
    server_resume(&server);
  }
}

/* A hung server answers no ping either; a new connection to it gets no first word. */
static void a_write_that_finds_no_living_connection_is_surely_not_applied(void) {
  hmkv_status status = HMKV_EINDETERMINATE;
  const char *lost = NULL;
  server_pause(&server);
  WAIT_UNTIL((status = hmkv_store(kv, lost = unique("lost"), "1")) == HMKV_EUNAVAIL);
  server_resume(&server);
  WAIT_UNTIL(hmkv_store(kv, key, "new") == HMKV_OK);
  HOLDS_FOR(1000, !has_key(kv, lost));
}

static void a_read_without_an_answer_is_unavailable_within_the_timeout(void) {
  server_pause(&server);
  char *value = (char *)"untouched";
  int64_t begin = now_ms();
  CHECK_STATUS(HMKV_EUNAVAIL, hmkv_get(kv, key, &value));
  ends_in_time(begin);
  CHECK(value == NULL);
  hmkv_result *result = (hmkv_result *)&result;
  begin = now_ms();
  CHECK_STATUS(HMKV_EUNAVAIL, hmkv_get_range(kv, key, key, &result));
  ends_in_time(begin);
  CHECK(result == NULL);
  begin = now_ms();
  CHECK_STATUS(HMKV_EUNAVAIL, hmkv_watch(kv, key, HMKV_FOREVER, NULL, NULL));
  ends_in_time(begin);
  server_resume(&server);
  WAIT_UNTIL(hmkv_get(kv, key, &value) == HMKV_OK);
  CHECK_STR("old", value);
  hmkv_free(value);
}

static void a_hung_server_is_not_busy(void) {
  server_pause(&server);
  CHECK_STATUS(HMKV_EUNAVAIL, hmkv_dist_timed_lock(kv, 1));
  CHECK_INT(HMKV_LOCK_SET_FAIL, hmkv_dist_lock_result(kv));
  CHECK_STATUS(HMKV_EUNAVAIL, hmkv_dist_lock(kv));
  server_resume(&server);
  WAIT_UNTIL(hmkv_dist_timed_lock(kv, 10) == HMKV_OK);
}

static void an_unlock_without_an_answer_releases_at_the_latest_with_the_lease(void) {
  hmkv *other = open_at(server.endpoint, text("timeout=20s lock=%s", "c_tests_faults"));
  hmkv *holder = open_at(server.endpoint, "timeout=1s lock_ttl=3s lock=c_tests_faults");
  CHECK_OK(hmkv_dist_lock(holder));
  CHECK_STATUS(HMKV_BUSY, hmkv_dist_timed_lock(other, 0));
  server_pause(&server);
  hmkv_status status = hmkv_dist_unlock(holder);
  if (status != HMKV_EUNAVAIL && status != HMKV_EINDETERMINATE)
    FAIL("%s", hmkv_status_name(status));
  CHECK_INT(HMKV_LOCK_RELEASE_FAIL, hmkv_dist_lock_result(holder));
  CHECK_OK(hmkv_dist_unlock(holder)); /* it holds it no longer */
  server_resume(&server);
  CHECK_OK(hmkv_dist_timed_lock(other, 30));
  close_store(holder);
  close_store(other);
}

struct request {
  atomic_int tid;
  hmkv_status status;
};

static void *get_it(void *arg) {
  struct request *request = arg;
  char *value = NULL;
  atomic_store(&request->tid, (int)thread_id());
  request->status = hmkv_get(kv, key, &value);
  CHECK(value == NULL);
  return NULL;
}

static void *store_it(void *arg) {
  struct request *request = arg;
  atomic_store(&request->tid, (int)thread_id());
  request->status = hmkv_store(kv, key, "new");
  return NULL;
}

static void closing_ends_requests_in_flight(void) {
  struct request get = {0}, store = {0};
  close_store(kv);
  kv = open_at(server.endpoint, "timeout=10m close_timeout=1s");
  CHECK_VALUE(kv, key, "old");
  server_pause(&server);
  pthread_t getter = start_thread(get_it, &get), storer = start_thread(store_it, &store);
  WAIT_UNTIL(atomic_load(&get.tid) != 0 && atomic_load(&store.tid) != 0);
  wait_until_blocked(atomic_load(&get.tid));
  wait_until_blocked(atomic_load(&store.tid));
  int64_t begin = now_ms();
  CHECK_OK(hmkv_close(kv));
  kv = NULL;
  join_thread(getter);
  join_thread(storer);
  CHECK(now_ms() - begin < 10000);
  CHECK_STATUS(HMKV_ECLOSED, get.status);
  CHECK_STATUS(HMKV_EINDETERMINATE, store.status); /* it was handed to a connection */
  server_resume(&server);
}

static void closing_is_bounded_and_what_was_not_revoked_ends_with_its_lease(void) {
  const char *temp = unique("temp");
  hmkv *holder = open_at(server.endpoint, "timeout=10s temp_ttl=3s close_timeout=500ms");
  CHECK_OK(hmkv_temp_key(holder, temp));
  server_pause(&server);
  int64_t begin = now_ms();
  CHECK_OK(hmkv_close(holder));
  CHECK(now_ms() - begin < 6000);
  server_resume(&server);
  hmkv *other = open_at(server.endpoint, "timeout=20s");
  WAIT_UNTIL(!has_key(other, temp));
  close_store(other);
}

/* Nobody listens: surely not applied. */
static void a_write_to_a_closed_port_is_unavailable(void) {
  hmkv *dead = open_at(dead_endpoint(), "timeout=200ms");
  for (int i = 0; i < rounds(20, 5); i++) {
    CHECK_STATUS(HMKV_EUNAVAIL, hmkv_store(dead, key, "value"));
    CHECK_STATUS(HMKV_EUNAVAIL, hmkv_tas(dead, key, "a", "b"));
    CHECK_STATUS(HMKV_EUNAVAIL, hmkv_delete(dead, key));
    CHECK_STATUS(HMKV_EUNAVAIL, hmkv_temp_key(dead, key));
    CHECK_STATUS(HMKV_EUNAVAIL, hmkv_transaction(dead, key, "=", "a", key, "b", NULL, NULL));
  }
  CHECK(*hmkv_errmsg());
  close_store(dead);
}

static void a_server_that_comes_later_is_found(void) {
  server_kill(&server);
  hmkv *early = open_at(server.endpoint, "timeout=300ms");
  CHECK_STATUS(HMKV_EUNAVAIL, hmkv_store(early, key, "early"));
  server_restart(&server);
  WAIT_UNTIL(hmkv_store(early, key, "late") == HMKV_OK);
  CHECK_VALUE(early, key, "late");
  close_store(early);
}

static const struct test tests[] = {
    ETCD_ONLY(a_write_without_an_answer_is_indeterminate_within_the_timeout),
    ETCD_ONLY(every_kind_of_write_without_an_answer_is_indeterminate),
    ETCD_ONLY(a_write_that_finds_no_living_connection_is_surely_not_applied),
    ETCD_ONLY(a_read_without_an_answer_is_unavailable_within_the_timeout),
    ETCD_ONLY(a_hung_server_is_not_busy),
    ETCD_ONLY(an_unlock_without_an_answer_releases_at_the_latest_with_the_lease),
    ETCD_ONLY(closing_ends_requests_in_flight),
    ETCD_ONLY(closing_is_bounded_and_what_was_not_revoked_ends_with_its_lease),
    ETCD_ONLY(a_write_to_a_closed_port_is_unavailable),
    ETCD_ONLY(a_server_that_comes_later_is_found),
};
TEST_MAIN(.begin = begin, .end = end)
