/* Leases that are granted, renewed and closed. Those that are lost: test_lease_loss.c,
 * a server that does not answer: test_lease_outage.c. */
#include "events.h"
#include "leases.h"
#include "process.h"
#include "requests.h"
#include "states.h"

static hmkv *kv;    /* the owner */
static hmkv *other; /* somebody else */

static void begin(void) {
  kv = open_store(NULL);
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

/* ---- granting ---- */

static void its_id_is_for_option_lease_of_put(void) {
  const char *key = unique("key");
  hmkv_lease *lease = lease_new(kv, 10000, NULL);
  int64_t id = hmkv_lease_id(lease);
  CHECK(id > 0);
  CHECK_INT(id, hmkv_lease_id(lease));
  lease_put(kv, lease, key, HMKV_OK);
  CHECK_INT(id, lease_of(other, key));
  /* Whoever knows it may use it. */
  const char *theirs = unique("theirs");
  FINISH(HMKV_OK, hmkv_put(other, theirs, HMKV_NTS, "1", 1, HMKV_PUT_OPTS(.lease = id)));
  CHECK_INT(id, lease_of(kv, theirs));
  CHECK_OK(hmkv_lease_close(lease, true));
  CHECK_VALUE(other, key, NULL);
  CHECK_VALUE(other, theirs, NULL);
}

static void every_lease_has_an_id_of_its_own(void) {
  enum { LEASES = 10 };
  hmkv_lease *leases[LEASES];
  for (int i = 0; i < LEASES; i++) {
    leases[i] = lease_new(i % 2 ? kv : other, 10000, NULL);
    for (int j = 0; j < i; j++) {
      CHECK(leases[i] != leases[j]);
      CHECK(hmkv_lease_id(leases[i]) != hmkv_lease_id(leases[j]));
    }
  }
  for (int i = 0; i < LEASES; i++) CHECK_OK(hmkv_lease_close(leases[i], true));
}

/* As time that is left, less the margin: an eighth of the TTL, at most 500 ms. */
static void its_ttl_is_rounded_up_to_seconds_and_at_least_2(void) {
  static const struct {
    int64_t asked_ms, granted_ms;
  } ttls[] = {{1, 2000},    {1000, 2000}, {1999, 2000},   {2000, 2000},      {2001, 3000},
              {7000, 7000}, {7001, 8000}, {60000, 60000}, {59001, 60000}};
  for (size_t i = 0; i < sizeof ttls / sizeof *ttls; i++) {
    int64_t granted = ttls[i].granted_ms;
    int64_t most = granted - (granted / 8 < 500 ? granted / 8 : 500);
    hmkv_lease *lease = lease_new(kv, ttls[i].asked_ms, NULL);
    /* A slow look sees less, but not each time. */
    WAIT_UNTIL(hmkv_lease_left_ms(lease) > most - 600);
    HOLDS_FOR(100, hmkv_lease_left_ms(lease) > 0 && hmkv_lease_left_ms(lease) <= most);
    CHECK_OK(hmkv_lease_close(lease, true));
  }
}

static void what_the_server_was_asked_for_is_that_ttl(void) {
  static const struct {
    int64_t asked_ms;
    int granted_s;
  } ttls[] = {{1, 2}, {2000, 2}, {2001, 3}, {60000, 60}, {INT64_C(365) * 86400000, 365 * 86400}};
  for (size_t i = 0; i < sizeof ttls / sizeof *ttls; i++) {
    hmkv_lease *lease = lease_new(kv, ttls[i].asked_ms, NULL);
    const char *said =
        etcdctl("lease", "timetolive", text("%" PRIx64, (uint64_t)hmkv_lease_id(lease)), NULL);
    if (!strstr(said, text("granted with TTL(%ds)", ttls[i].granted_s))) FAIL("\"%s\"", said);
    CHECK_OK(hmkv_lease_close(lease, true));
  }
}

static void a_ttl_that_is_not_above_0_or_over_a_year_is_refused(void) {
  static const int64_t bad[] = {0,         -1,        HMKV_TRY,      -2000,
                                INT64_MIN, INT64_MAX, INT64_MAX / 2, INT64_C(367) * 86400000};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    hmkv_lease *lease = (hmkv_lease *)&lease;
    CHECK_STATUS(HMKV_EINVAL, hmkv_lease_grant(kv, bad[i], NULL, NULL, &lease));
    CHECK(lease == NULL);
  }
  hmkv_lease *lease = lease_new(kv, INT64_C(365) * 86400000, NULL);
  CHECK(hmkv_lease_left_ms(lease) > INT64_C(364) * 86400000);
  CHECK_OK(hmkv_lease_close(lease, true));
}

static void grant_needs_a_store_and_an_output(void) {
  hmkv_lease *lease = (hmkv_lease *)&lease;
  CHECK_STATUS(HMKV_EHANDLE, hmkv_lease_grant(NULL, 10000, NULL, NULL, &lease));
  CHECK(lease == NULL);
  CHECK_STATUS(HMKV_EINVAL, hmkv_lease_grant(kv, 10000, NULL, NULL, NULL));
  lease = lease_new(kv, 10000, NULL); /* neither `lost` nor userdata is needed */
  CHECK_OK(hmkv_lease_close(lease, true));
}

static void without_a_server_it_is_unavailable_within_the_timeout(void) {
  hmkv *cut = open_at(dead_endpoint(), "timeout=500ms");
  hmkv_lease *lease = (hmkv_lease *)&lease;
  int64_t begin_ms = now_ms();
  CHECK_STATUS(HMKV_EUNAVAIL, hmkv_lease_grant(cut, 10000, NULL, NULL, &lease));
  CHECK(now_ms() - begin_ms < 10000);
  CHECK(lease == NULL);
  close_store(cut);
}

/* ---- renewing ---- */

static void its_keys_outlive_the_ttl_while_it_is_kept(void) {
  const char *prefix = unique("keys");
  struct told told = {0};
  struct states states = STATES_NONE;
  CHECK_OK(hmkv_on_state(kv, states_record, &states));
  hmkv_lease *lease = lease_new(kv, 4000, &told);
  for (int i = 0; i < 3; i++) lease_put(kv, lease, text("%s/%d", prefix, i), HMKV_OK);
  HOLDS_FOR(5000, count_keys(other, prefix) == 3 && hmkv_lease_left_ms(lease) > 0);
  CHECK_INT(hmkv_lease_id(lease), lease_of(other, text("%s/0", prefix)));
  CHECK(told_nothing(&told));
  CHECK_INT(0, states_total(&states)); /* it tells of other leases */
  CHECK_OK(hmkv_lease_close(lease, true));
  CHECK(told_nothing(&told));
  close_owner();
  states_free(&states);
}

static void a_lease_without_keys_is_kept_too(void) {
  hmkv_lease *lease = lease_new(kv, 3000, NULL);
  HOLDS_FOR(4500, hmkv_lease_left_ms(lease) > 0);
  lease_put(kv, lease, unique("key"), HMKV_OK);
  CHECK_OK(hmkv_lease_close(lease, true));
}

/* At a third of the TTL, so that about two thirds are the least that is left; the rest
 * is patience with a slow machine. */
static void it_is_renewed_long_before_its_ttl_is_over(void) {
  hmkv_lease *lease = lease_new(kv, 6000, NULL);
  int64_t highest = 0, least = INT64_MAX, before = INT64_MAX;
  int rises = 0;
  for (int64_t end_ms = now_ms() + 7000; now_ms() < end_ms; poll_pause()) {
    int64_t left = hmkv_lease_left_ms(lease);
    rises += left > before;
    highest = left > highest ? left : highest;
    least = left < least ? left : least;
    before = left;
  }
  CHECK(highest <= 5500);
  CHECK(least >= 1500);
  CHECK(rises >= 2);
  CHECK_OK(hmkv_lease_close(lease, true));
}

static void two_hundred_leases_live_at_once(void) {
  enum { MOST = 200 };
  hmkv_lease *leases[MOST];
  int count = rounds(MOST, 20);
  const char *prefix = unique("many/");
  struct told told = {0};
  int threads = count_threads("hmkv-");
  for (int i = 0; i < count; i++) {
    leases[i] = lease_new(kv, 3000, &told);
    lease_put(kv, leases[i], text("%s%d", prefix, i), HMKV_OK);
  }
  WAIT_UNTIL(count_threads("hmkv-") < threads + 10); /* none of their own, if more for a while */
  HOLDS_FOR(5000, count_keys(other, prefix) == (size_t)count);
  hmkv_result *keys = list_keys(other, prefix);
  for (size_t i = 0; i < hmkv_result_count(keys); i++) {
    const hmkv_kv *entry = hmkv_result_kv(keys, i);
    CHECK_INT(hmkv_lease_id(leases[atoi(entry->key + strlen(prefix))]), entry->lease);
  }
  hmkv_result_free(keys);
  for (int i = 0; i < count; i++) CHECK(hmkv_lease_left_ms(leases[i]) > 0);
  for (int i = 0; i < count / 2; i++) CHECK_OK(hmkv_lease_close(leases[i], true));
  CHECK_INT(count - count / 2, count_keys(other, prefix));
  close_owner();
  CHECK_INT(0, count_keys(other, prefix));
  CHECK(told_nothing(&told));
}

static void *grant_and_close(void *prefix) {
  for (int i = 0; i < rounds(20, 4); i++) {
    const char *key = text("%s/%d-%d", (const char *)prefix, (int)thread_id(), i);
    hmkv_lease *lease = lease_new(kv, 10000, NULL);
    lease_put(kv, lease, key, HMKV_OK);
    CHECK_INT(hmkv_lease_id(lease), lease_of(kv, key));
    CHECK(hmkv_lease_left_ms(lease) > 0);
    CHECK_OK(hmkv_lease_close(lease, true));
    CHECK_VALUE(kv, key, NULL);
  }
  return NULL;
}

static void they_can_be_used_from_many_threads(void) {
  enum { THREADS = 6 };
  const char *prefix = unique("threads");
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++)
    threads[i] = start_thread(grant_and_close, (void *)(uintptr_t)prefix);
  for (int i = 0; i < THREADS; i++) join_thread(threads[i]);
  CHECK_INT(0, count_keys(other, prefix));
}

/* ---- closing ---- */

static void closing_with_revoke_deletes_its_keys_at_once(void) {
  const char *prefix = unique("keys"), *plain = unique("plain"), *another = unique("another");
  hmkv_lease *lease = lease_new(kv, 60000, NULL), *second = lease_new(kv, 60000, NULL);
  for (int i = 0; i < 5; i++) lease_put(kv, lease, text("%s/%d", prefix, i), HMKV_OK);
  lease_put(kv, second, another, HMKV_OK);
  CHECK_OK(hmkv_store(kv, plain, "plain"));
  CHECK_OK(hmkv_lease_close(lease, true));
  CHECK_INT(0, count_keys(other, prefix));
  CHECK_VALUE(other, plain, "plain");
  CHECK_VALUE(other, another, "on a lease");
  CHECK(hmkv_lease_left_ms(second) > 0);
  CHECK_OK(hmkv_lease_close(second, true));
}

static void closing_without_revoke_lets_its_time_run_out(void) {
  const char *key = unique("key");
  struct told told = {0};
  hmkv_lease *lease = lease_new(kv, 4000, &told);
  lease_put(kv, lease, key, HMKV_OK);
  WAIT_UNTIL(hmkv_lease_left_ms(lease) > 3000);
  CHECK_OK(hmkv_lease_close(lease, false));
  HOLDS_FOR(1000, has_key(other, key));
  WAIT_UNTIL(!has_key(other, key));
  CHECK(told_nothing(&told)); /* given up is not lost */
}

static void what_another_write_took_over_stays(void) {
  const char *plain = unique("plain"), *moved = unique("moved");
  hmkv_lease *lease = lease_new(kv, 60000, NULL), *second = lease_new(kv, 60000, NULL);
  lease_put(kv, lease, plain, HMKV_OK);
  lease_put(kv, lease, moved, HMKV_OK);
  CHECK_OK(hmkv_store(other, plain, "theirs"));
  lease_put(other, second, moved, HMKV_OK);
  CHECK_OK(hmkv_lease_close(lease, true));
  CHECK_VALUE(other, plain, "theirs");
  CHECK_VALUE(other, moved, "on a lease");
  CHECK_OK(hmkv_lease_close(second, true));
  CHECK_VALUE(other, moved, NULL);
}

static void a_watch_sees_its_keys_deleted(void) {
  struct events events = EVENTS_OF(unique("key"));
  hmkv_watcher *watcher = NULL;
  hmkv_lease *lease = lease_new(kv, 60000, NULL);
  CHECK_OK(hmkv_watch_cb(other, events.key, 3, events_record, &events, &watcher));
  lease_put(kv, lease, events.key, HMKV_OK);
  CHECK_OK(hmkv_lease_close(lease, true));
  events_wait(&events, 2);
  CHECK_EVENT(&events, 0, HMKV_KEYCHANGE_PUT, "on a lease");
  CHECK_EVENT(&events, 1, HMKV_KEYCHANGE_DELETE, NULL);
  CHECK_OK(hmkv_watch_cb_cancel(watcher));
  events_free(&events);
}

static void after_closing_its_id_is_no_lease(void) {
  hmkv_lease *lease = lease_new(kv, 60000, NULL);
  int64_t id = hmkv_lease_id(lease);
  CHECK_OK(hmkv_lease_close(lease, true));
  FINISH(HMKV_ELOST, hmkv_put(kv, unique("key"), HMKV_NTS, "1", 1, HMKV_PUT_OPTS(.lease = id)));
}

static void closing_the_store_revokes_its_leases(void) {
  const char *prefix = unique("keys"), *theirs = unique("theirs");
  struct told told = {0};
  hmkv_lease *leases[3], *survivor = lease_new(other, 10000, NULL);
  for (int i = 0; i < 3; i++) {
    leases[i] = lease_new(kv, 60000, &told);
    lease_put(kv, leases[i], text("%s/%d", prefix, i), HMKV_OK);
  }
  lease_put(other, survivor, theirs, HMKV_OK);
  close_owner();
  CHECK_INT(0, count_keys(other, prefix));
  CHECK_VALUE(other, theirs, "on a lease");
  CHECK(told_nothing(&told));
  for (int i = 0; i < 3; i++) CHECK_STATUS(HMKV_EHANDLE, hmkv_lease_close(leases[i], true));
  CHECK_OK(hmkv_lease_close(survivor, true));
}

/* ---- handles ---- */

static void bad_lease(hmkv_lease *bad, hmkv_status expected) {
  CHECK_INT(expected, hmkv_lease_id(bad));
  CHECK_INT(expected, hmkv_lease_left_ms(bad));
  CHECK_STATUS(expected, hmkv_lease_close(bad, false));
  CHECK_STATUS(expected, hmkv_lease_close(bad, true));
}

static void only_the_first_close_finds_it(void) {
  hmkv_lease *lease = lease_new(kv, 10000, NULL), *given_up = lease_new(kv, 2000, NULL);
  CHECK_OK(hmkv_lease_close(lease, true));
  CHECK_OK(hmkv_lease_close(given_up, false));
  for (int i = 0; i < 20; i++) {
    bad_lease(lease, HMKV_EHANDLE);
    bad_lease(given_up, HMKV_EHANDLE);
    hmkv_lease *next = lease_new(kv, 10000, NULL); /* which may take its place */
    CHECK(next != lease && next != given_up);
    bad_lease(lease, HMKV_EHANDLE);
    CHECK_OK(hmkv_lease_close(next, true));
  }
}

static void stale_null_forged_and_foreign_handles_are_ehandle(void) {
  hmkv_lease *lease = lease_new(kv, 10000, NULL), *orphan = lease_new(kv, 10000, NULL);
  struct events events = EVENTS_OF(unique("key"));
  hmkv_watcher *watcher = NULL;
  CHECK_OK(hmkv_watch_cb(kv, events.key, 3, events_record, &events, &watcher));
  uintptr_t good = (uintptr_t)lease;
  bad_lease(NULL, HMKV_EHANDLE);
  bad_lease((hmkv_lease *)0x1234, HMKV_EHANDLE);
  bad_lease((hmkv_lease *)(uintptr_t)&good, HMKV_EHANDLE);
  bad_lease((hmkv_lease *)kv, HMKV_EHANDLE);
  bad_lease((hmkv_lease *)watcher, HMKV_EHANDLE);
  for (unsigned bit = 0; bit < 8 * sizeof(void *); bit++) {
    hmkv_lease *flipped = (hmkv_lease *)(good ^ (uintptr_t)1 << bit);
    if (flipped != orphan) bad_lease(flipped, HMKV_EHANDLE);
  }
  CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_close((hmkv_watcher *)lease));
  CHECK_STATUS(HMKV_EHANDLE, hmkv_lock_release((hmkv_lock *)lease));
  CHECK_STATUS(HMKV_EHANDLE, hmkv_store((hmkv *)lease, events.key, "1"));
  CHECK(hmkv_lease_left_ms(lease) > 0); /* undisturbed */
  CHECK_OK(hmkv_lease_close(lease, true));
  close_owner();
  bad_lease(orphan, HMKV_EHANDLE);
  events_free(&events);
}

static void use_inherited(void *lease) {
  hmkv_lease *out = (hmkv_lease *)&out;
  bad_lease(lease, HMKV_EFORKED);
  CHECK_STATUS(HMKV_EFORKED, hmkv_lease_grant(kv, 10000, NULL, NULL, &out));
  CHECK(out == NULL);
}

static void in_a_forked_child_it_is_eforked(void) {
  const char *key = unique("key");
  hmkv_lease *lease = lease_new(kv, 3000, NULL);
  lease_put(kv, lease, key, HMKV_OK);
  in_fork(use_inherited, lease);
  HOLDS_FOR(4500, has_key(other, key));
  CHECK_OK(hmkv_lease_close(lease, true));
}

static const struct test tests[] = {
    BOTH(its_id_is_for_option_lease_of_put),
    BOTH(every_lease_has_an_id_of_its_own),
    BOTH(its_ttl_is_rounded_up_to_seconds_and_at_least_2),
    ETCD_ONLY(what_the_server_was_asked_for_is_that_ttl),
    BOTH(a_ttl_that_is_not_above_0_or_over_a_year_is_refused),
    BOTH(grant_needs_a_store_and_an_output),
    BOTH(without_a_server_it_is_unavailable_within_the_timeout),
    BOTH(its_keys_outlive_the_ttl_while_it_is_kept),
    BOTH(a_lease_without_keys_is_kept_too),
    BOTH(it_is_renewed_long_before_its_ttl_is_over),
    BOTH(two_hundred_leases_live_at_once),
    BOTH(they_can_be_used_from_many_threads),
    BOTH(closing_with_revoke_deletes_its_keys_at_once),
    BOTH(closing_without_revoke_lets_its_time_run_out),
    BOTH(what_another_write_took_over_stays),
    BOTH(a_watch_sees_its_keys_deleted),
    BOTH(after_closing_its_id_is_no_lease),
    BOTH(closing_the_store_revokes_its_leases),
    BOTH(only_the_first_close_finds_it),
    BOTH(stale_null_forged_and_foreign_handles_are_ehandle),
    BOTH(in_a_forked_child_it_is_eforked),
};
TEST_MAIN(.begin = begin, .end = end)
