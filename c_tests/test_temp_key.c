/* hmkv_temp_key: a key that lives as long as its handle. */
#include "process.h"
#include "states.h"
#include "test.h"

static hmkv *kv;    /* the owner */
static hmkv *other; /* somebody else */

static void begin(void) {
  kv = open_store("temp_ttl=4s");
  other = open_store(NULL);
}

static void end(void) {
  if (kv) close_store(kv);
  close_store(other);
}

static void close_owner(void) {
  close_store(kv);
  kv = NULL;
}

static void its_value_is_1_and_it_has_a_lease(void) {
  const char *key = unique("temp");
  CHECK_OK(hmkv_temp_key(kv, key));
  CHECK_VALUE(other, key, "1");
  CHECK(lease_of(other, key) != 0);
}

static void all_of_a_handle_hang_on_one_lease(void) {
  const char *a = unique("a"), *b = unique("b"), *c = unique("c");
  CHECK_OK(hmkv_temp_key(kv, a));
  CHECK_OK(hmkv_temp_key(kv, b));
  CHECK_OK(hmkv_temp_key(other, c));
  CHECK_INT(lease_of(kv, a), lease_of(kv, b));
  CHECK(lease_of(kv, a) != lease_of(kv, c));
}

static void it_is_gone_when_the_store_is_closed(void) {
  const char *prefix = unique("temp");
  for (int i = 0; i < 20; i++) CHECK_OK(hmkv_temp_key(kv, text("%s/%d", prefix, i)));
  CHECK_INT(20, count_keys(other, prefix));
  close_owner();
  CHECK_INT(0, count_keys(other, prefix));
}

static void it_replaces_what_is_there_and_takes_it_over(void) {
  const char *key = unique("temp");
  CHECK_OK(hmkv_store(other, key, "value"));
  CHECK_OK(hmkv_temp_key(kv, key));
  CHECK_VALUE(other, key, "1");
  CHECK(lease_of(other, key) != 0);
  close_owner();
  CHECK_VALUE(other, key, NULL);
}

static void it_takes_over_the_temporary_key_of_another_handle(void) {
  hmkv *former = open_store("temp_ttl=4s");
  const char *key = unique("temp"), *sign = unique("sign");
  CHECK_OK(hmkv_temp_key(former, key));
  CHECK_OK(hmkv_temp_key(former, sign));
  CHECK_OK(hmkv_temp_key(kv, sign));
  CHECK_OK(hmkv_temp_key(kv, key));
  CHECK_INT(lease_of(other, sign), lease_of(other, key));
  close_store(former);
  CHECK_VALUE(other, key, "1");
  close_owner();
  CHECK_VALUE(other, key, NULL);
}

static void making_it_again_succeeds(void) {
  const char *key = unique("temp");
  CHECK_OK(hmkv_temp_key(kv, key));
  int64_t lease = lease_of(kv, key);
  CHECK_OK(hmkv_temp_key(kv, key));
  CHECK_VALUE(other, key, "1");
  CHECK_INT(lease, lease_of(kv, key));
  CHECK_OK(hmkv_delete(kv, key));
  CHECK_OK(hmkv_temp_key(kv, key));
  CHECK_VALUE(other, key, "1");
}

static void it_outlives_its_ttl_while_held(void) {
  const char *key = unique("temp");
  struct states states = STATES_NONE;
  CHECK_OK(hmkv_on_state(kv, states_record, &states));
  CHECK_OK(hmkv_temp_key(kv, key));
  int64_t lease = lease_of(other, key);
  HOLDS_FOR(5000, has_key(other, key));
  CHECK_INT(lease, lease_of(other, key));
  CHECK_INT(0, states_total(&states));
  close_owner();
  states_free(&states);
}

/* The ways in which a temporary key stops being one. Another temporary key shows
 * when the lost ones are back. */
static void ends_by(void (*end_it)(const char *key), const char *expected) {
  const char *key = unique("temp"), *sign = unique("sign");
  struct states states = STATES_NONE;
  CHECK_OK(hmkv_on_state(kv, states_record, &states));
  CHECK_OK(hmkv_temp_key(kv, key));
  CHECK_OK(hmkv_temp_key(kv, sign));
  end_it(key);
  CHECK_VALUE(other, key, expected);
  if (expected) CHECK_INT(0, lease_of(other, key));
  /* Not renewed, and the owner had the time to see it. */
  HOLDS_FOR(1500, has_key(other, key) == (expected != NULL));
  lose_lease(kv, sign);
  WAIT_UNTIL(states_count(&states, HMKV_STATE_TEMP_KEY_RESTORED, sign) == 1);
  CHECK_INT(0, states_count(&states, HMKV_STATE_TEMP_KEY_RESTORED, key));
  CHECK_VALUE(other, sign, "1");
  CHECK_VALUE(other, key, expected);
  close_owner();
  CHECK_VALUE(other, key, expected);
  CHECK_VALUE(other, sign, NULL);
  states_free(&states);
}

static void delete_by_owner(const char *key) { CHECK_OK(hmkv_delete(kv, key)); }
static void delete_by_other(const char *key) { CHECK_OK(hmkv_delete(other, key)); }
static void store_by_owner(const char *key) { CHECK_OK(hmkv_store(kv, key, "mine")); }
static void store_by_other(const char *key) { CHECK_OK(hmkv_store(other, key, "theirs")); }
static void tas_by_other(const char *key) { CHECK_OK(hmkv_tas(other, key, "1", "set")); }
static void txn_by_owner(const char *key) {
  CHECK_OK(hmkv_transaction(kv, key, "=", "1", key, "txn", NULL, NULL));
}

static void deleting_it_ends_its_renewal(void) { ends_by(delete_by_owner, NULL); }
static void deleting_it_by_anyone_ends_its_renewal(void) { ends_by(delete_by_other, NULL); }
static void storing_it_ends_its_renewal(void) { ends_by(store_by_owner, "mine"); }
static void storing_it_by_anyone_ends_its_renewal(void) { ends_by(store_by_other, "theirs"); }
static void setting_it_by_anyone_ends_its_renewal(void) { ends_by(tas_by_other, "set"); }
static void a_transaction_on_it_ends_its_renewal(void) { ends_by(txn_by_owner, "txn"); }

static void *make_many(void *arg) {
  const char *prefix = arg;
  for (int i = 0; i < 25; i++)
    CHECK_OK(hmkv_temp_key(kv, text("%s/%d-%d", prefix, (int)thread_id(), i)));
  return NULL;
}

static void it_can_be_made_from_many_threads(void) {
  enum { THREADS = 6 };
  const char *prefix = unique("many");
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++) threads[i] = start_thread(make_many, (void *)(uintptr_t)prefix);
  for (int i = 0; i < THREADS; i++) join_thread(threads[i]);
  hmkv_result *result = list_keys(other, prefix);
  CHECK_INT(THREADS * 25, hmkv_result_count(result));
  for (size_t i = 0; i < hmkv_result_count(result); i++)
    CHECK_INT(hmkv_result_kv(result, 0)->lease, hmkv_result_kv(result, i)->lease);
  hmkv_result_free(result);
  close_owner();
  CHECK_INT(0, count_keys(other, prefix));
}

/* What the server says of a lease: "... granted with TTL(3s), remaining(2s)". */
static void ask_lease(int64_t lease, int *granted_s, int *remaining_s) {
  const char *said = etcdctl("lease", "timetolive", text("%" PRIx64, (uint64_t)lease), NULL);
  const char *numbers = strstr(said, "granted with TTL(");
  if (!numbers || sscanf(numbers, "granted with TTL(%ds), remaining(%ds)", granted_s, remaining_s) != 2)
    FAIL("\"%s\"", said);
}

static void its_ttl_is_rounded_up_to_seconds_and_at_least_2(void) {
  static const struct {
    const char *option;
    int granted_s;
  } ttls[] = {{"1ms", 2}, {"1s", 2}, {"2s", 2}, {"2001ms", 3}, {"7s", 7}, {"1m", 60}};
  for (size_t i = 0; i < sizeof ttls / sizeof *ttls; i++) {
    const char *name = unique("lock"), *key = unique("temp");
    hmkv *own = open_store(text("temp_ttl=%s lock_ttl=%s lock=%s", ttls[i].option, ttls[i].option, name));
    int granted_s = 0, remaining_s = 0;
    CHECK_OK(hmkv_temp_key(own, key));
    ask_lease(lease_of(own, key), &granted_s, &remaining_s);
    CHECK_INT(ttls[i].granted_s, granted_s);
    CHECK_OK(hmkv_dist_lock(own));
    hmkv_result *queue = list_keys(own, text("%s/", name));
    ask_lease(hmkv_result_kv(queue, 0)->lease, &granted_s, &remaining_s);
    CHECK_INT(ttls[i].granted_s, granted_s);
    hmkv_result_free(queue);
    close_store(own);
  }
}

/* At a third of the TTL: the server never sees less than two thirds, and the rest
 * is patience with a slow machine. */
static void it_is_renewed_long_before_its_ttl_is_over(void) {
  enum { TTL_S = 6 };
  hmkv *own = open_store(text("temp_ttl=%ds", TTL_S));
  const char *key = unique("temp");
  CHECK_OK(hmkv_temp_key(own, key));
  int64_t lease = lease_of(own, key), end = now_ms() + 1000 * (TTL_S + 1);
  while (now_ms() < end) {
    int granted_s = 0, remaining_s = 0;
    ask_lease(lease, &granted_s, &remaining_s);
    CHECK(remaining_s >= TTL_S / 3);
  }
  close_store(own);
}

static const struct test tests[] = {
    BOTH(its_value_is_1_and_it_has_a_lease),
    BOTH(all_of_a_handle_hang_on_one_lease),
    BOTH(it_is_gone_when_the_store_is_closed),
    BOTH(it_replaces_what_is_there_and_takes_it_over),
    BOTH(it_takes_over_the_temporary_key_of_another_handle),
    BOTH(making_it_again_succeeds),
    BOTH(it_outlives_its_ttl_while_held),
    BOTH(deleting_it_ends_its_renewal),
    BOTH(deleting_it_by_anyone_ends_its_renewal),
    BOTH(storing_it_ends_its_renewal),
    BOTH(storing_it_by_anyone_ends_its_renewal),
    BOTH(setting_it_by_anyone_ends_its_renewal),
    BOTH(a_transaction_on_it_ends_its_renewal),
    BOTH(it_can_be_made_from_many_threads),
    ETCD_ONLY(its_ttl_is_rounded_up_to_seconds_and_at_least_2),
    ETCD_ONLY(it_is_renewed_long_before_its_ttl_is_over),
};
TEST_MAIN(.begin = begin, .end = end)
