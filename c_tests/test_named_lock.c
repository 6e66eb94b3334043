/* Named locks: acquiring and releasing, their keys and numbers. Waiting:
 * test_named_lock_wait.c, losing: test_named_lock_loss.c. */
#include "locks.h"
#include "process.h"
#include "test.h"

static const char *name;
static hmkv *one, *two;

static void begin(void) {
  name = unique("lock");
  one = open_store(text("lock=%s", name));
  two = open_store(text("lock=%s", name));
}

static void end(void) {
  if (one) close_store(one);
  close_store(two);
}

/* ---- who excludes whom ---- */

static void the_same_name_excludes_within_one_store(void) {
  hmkv_lock *lock = take(one, name, NULL);
  check_busy(one, name);
  CHECK_INT(1, queue_length(one, name));
  CHECK_OK(hmkv_lock_release(lock));
  CHECK_INT(0, queue_length(one, name));
  CHECK_OK(hmkv_lock_release(take(one, name, NULL)));
}

static void the_same_name_excludes_two_stores(void) {
  hmkv_lock *lock = take(one, name, NULL);
  check_busy(two, name);
  CHECK_OK(hmkv_lock_release(lock));
  lock = take(two, name, NULL);
  check_busy(one, name);
  CHECK_OK(hmkv_lock_release(lock));
}

static void any_number_of_locks_of_one_store_are_independent(void) {
  enum { LOCKS = 12 };
  hmkv_lock *locks[LOCKS];
  const char *names[LOCKS];
  CHECK_OK(hmkv_dist_timed_lock(one, 0));
  for (int i = 0; i < LOCKS; i++) {
    names[i] = unique("one of many");
    locks[i] = take(one, names[i], NULL);
    for (int j = 0; j < i; j++) CHECK(locks[i] != locks[j]);
  }
  for (int i = 0; i < LOCKS; i++) {
    CHECK_OK(hmkv_lock_release(locks[i]));
    for (int j = 0; j < LOCKS; j++) CHECK_INT(j > i, queue_length(two, names[j]));
    if (i + 1 < LOCKS) CHECK(hmkv_lock_left_ms(locks[i + 1]) > 0);
  }
  CHECK_INT(HMKV_LOCK_GRANTED, hmkv_dist_lock_result(one));
  CHECK_INT(1, queue_length(two, name));
}

static void a_name_that_goes_on_is_another_lock(void) {
  hmkv_lock *lock = take(one, name, NULL);
  hmkv_lock *longer = take(one, text("%s2", name), NULL);
  hmkv_lock *shorter = take(one, text("%.*s", (int)strlen(name) - 1, name), NULL);
  CHECK_OK(hmkv_lock_release(lock));
  check_busy(two, text("%s2", name));
  CHECK_OK(hmkv_lock_release(longer));
  CHECK_OK(hmkv_lock_release(shorter));
}

static void the_lock_of_a_handle_and_a_named_one_exclude_each_other(void) {
  hmkv *const stores[] = {one, two};
  for (int i = 0; i < 2; i++) {
    CHECK_OK(hmkv_dist_timed_lock(one, 0));
    check_busy(stores[i], name);
    CHECK_OK(hmkv_dist_unlock(one));
    hmkv_lock *lock = take(stores[i], name, NULL);
    CHECK_STATUS(HMKV_BUSY, hmkv_dist_timed_lock(one, 0));
    CHECK_INT(HMKV_LOCK_OCCUPIED, hmkv_dist_lock_result(one));
    CHECK_OK(hmkv_dist_unlock(one));
    check_busy(one, name); /* which released nothing */
    CHECK_OK(hmkv_lock_release(lock));
  }
}

static void closing_the_store_releases_its_locks_at_once(void) {
  const char *second = unique("lock");
  struct told told = {0};
  hmkv_lock *lock = take(one, name, &told);
  take(one, second, NULL);
  close_store(one);
  one = NULL;
  CHECK_INT(0, queue_length(two, name));
  CHECK_INT(0, queue_length(two, second));
  take(two, name, NULL);
  CHECK_STATUS(HMKV_EHANDLE, hmkv_lock_release(lock));
  CHECK_INT(0, atomic_load(&told.lost));
}

/* ---- the key and the numbers ---- */

static void a_contender_is_a_key_name_slash_lease_in_hex(void) {
  hmkv_lock *lock = take(one, name, NULL);
  hmkv_result *result = list_keys(two, name);
  CHECK_INT(1, hmkv_result_count(result));
  const hmkv_kv *entry = hmkv_result_kv(result, 0);
  CHECK(entry->lease > 0);
  CHECK_STR(text("%s/%" PRIx64, name, (uint64_t)entry->lease), entry->key);
  CHECK_INT(0, entry->value_len);
  CHECK_INT(entry->create_revision, hmkv_lock_token(lock));
  CHECK_INT(1, entry->version);
  hmkv_result_free(result);
  CHECK_OK(hmkv_lock_release(lock));
}

static void each_lock_has_a_lease_of_its_own(void) {
  const char *second = unique("lock");
  take(one, name, NULL);
  take(one, second, NULL);
  CHECK(lease_of(two, queue_key(two, name, 0)) != lease_of(two, queue_key(two, second, 0)));
}

static void the_token_grows_from_holder_to_holder(void) {
  int64_t last = 0;
  for (int i = 0; i < 6; i++) {
    hmkv_lock *lock = take(i % 2 ? one : two, name, NULL);
    int64_t token = hmkv_lock_token(lock);
    CHECK(token > last);
    CHECK_INT(token, hmkv_lock_token(lock));
    last = token;
    CHECK_OK(hmkv_lock_release(lock));
  }
}

static void the_time_left_is_that_of_the_lease_less_the_margin(void) {
  hmkv_lock *lock = take_with(
      one, name, HMKV_LOCK_OPTS(.wait_ms = HMKV_TRY, .ttl_ms = 30000, .margin_ms = 9000), NULL);
  int64_t left = hmkv_lock_left_ms(lock);
  CHECK(left <= 21000);
  CHECK(left > 1000);
  CHECK_OK(hmkv_lock_release(lock));
  lock = take_with(one, name, HMKV_LOCK_OPTS(.wait_ms = HMKV_TRY, .ttl_ms = 30000), NULL);
  WAIT_UNTIL(hmkv_lock_left_ms(lock) > 21000);
  CHECK(hmkv_lock_left_ms(lock) <= 29500); /* the margin is at most 500 */
  CHECK_OK(hmkv_lock_release(lock));
}

static void the_ttl_is_rounded_up_to_whole_seconds_and_at_least_2(void) {
  static const int64_t asked[] = {1, 1999, 2000, 2001, 2501};
  static const int64_t granted[] = {2000, 2000, 2000, 3000, 3000};
  for (int i = 0; i < 5; i++) {
    hmkv_lock *lock = take_with(
        one, name, HMKV_LOCK_OPTS(.wait_ms = HMKV_TRY, .ttl_ms = asked[i], .margin_ms = 0), NULL);
    /* Each renewal brings it near the whole once more. */
    WAIT_UNTIL(hmkv_lock_left_ms(lock) > granted[i] - granted[i] / 8 - 120);
    CHECK(hmkv_lock_left_ms(lock) <= granted[i]);
    CHECK_OK(hmkv_lock_release(lock));
  }
}

static void without_a_ttl_it_is_that_of_the_option(void) {
  hmkv *kv = open_store("lock_ttl=60s");
  hmkv_lock *lock = take(kv, name, NULL);
  CHECK(hmkv_lock_left_ms(lock) > 30000);
  CHECK(hmkv_lock_left_ms(lock) < 60000);
  close_store(kv);
}

static void it_is_renewed_and_outlives_its_ttl(void) {
  struct told told = {0};
  hmkv_lock *lock =
      take_with(one, name, HMKV_LOCK_OPTS(.wait_ms = HMKV_TRY, .ttl_ms = 3000), &told);
  HOLDS_FOR(7000, hmkv_lock_left_ms(lock) > 0);
  check_busy(two, name);
  CHECK_INT(0, atomic_load(&told.lost));
  CHECK_OK(hmkv_lock_release(lock));
}

/* ---- handles and arguments ---- */

static void a_lock_is_released_once(void) {
  hmkv_lock *lock = take(one, name, NULL);
  CHECK_OK(hmkv_lock_release(lock));
  hmkv_lock *next = take(one, name, NULL);
  CHECK(next != lock);
  for (int i = 0; i < 3; i++) CHECK_STATUS(HMKV_EHANDLE, hmkv_lock_release(lock));
  check_busy(two, name);
  CHECK_OK(hmkv_lock_release(next));
}

static void bad_lock(hmkv_lock *bad) {
  CHECK_STATUS(HMKV_EHANDLE, hmkv_lock_release(bad));
  CHECK_STATUS(HMKV_EHANDLE, hmkv_lock_set(bad, "value", HMKV_NTS));
  CHECK_INT(HMKV_EHANDLE, hmkv_lock_token(bad));
  CHECK_INT(HMKV_EHANDLE, hmkv_lock_left_ms(bad));
}

static void bad_handles_are_answered_harmlessly(void) {
  hmkv_lock *lock = take(one, name, NULL), *released = take(one, unique("lock"), NULL);
  CHECK_OK(hmkv_lock_release(released));
  bad_lock(NULL);
  bad_lock(released);
  bad_lock((hmkv_lock *)one);
  bad_lock((hmkv_lock *)&lock);
  for (unsigned bit = 0; bit < 8 * sizeof(void *); bit++)
    bad_lock((hmkv_lock *)((uintptr_t)lock ^ (uintptr_t)1 << bit));
  hmkv_lock *none = (hmkv_lock *)&none;
  CHECK_STATUS(HMKV_EHANDLE, hmkv_lock_acquire(NULL, name, NULL, NULL, NULL, &none));
  CHECK(none == NULL);
  CHECK_STATUS(HMKV_EHANDLE, hmkv_lock_acquire((hmkv *)lock, name, NULL, NULL, NULL, &none));
  CHECK(hmkv_lock_left_ms(lock) > 0); /* undisturbed */
  CHECK_OK(hmkv_lock_release(lock));
}

static void use_inherited(void *lock) {
  CHECK_STATUS(HMKV_EFORKED, hmkv_lock_release(lock));
  CHECK_STATUS(HMKV_EFORKED, hmkv_lock_set(lock, "theirs", HMKV_NTS));
  CHECK_INT(HMKV_EFORKED, hmkv_lock_token(lock));
  CHECK_INT(HMKV_EFORKED, hmkv_lock_left_ms(lock));
}

static void a_lock_inherited_through_fork_is_refused_and_stays_held(void) {
  hmkv_lock *lock = take(one, name, NULL);
  in_fork(use_inherited, lock);
  check_busy(two, name);
  CHECK_VALUE(two, queue_key(two, name, 0), "");
  CHECK_OK(hmkv_lock_release(lock));
}

static void refused(const char *its_name, const hmkv_lock_opts *opts) {
  struct told told = {0};
  hmkv_lock *lock = (hmkv_lock *)&lock;
  hmkv_lock_opts with = *opts;
  for (int i = 0; i < 2; i++) {
    CHECK_STATUS(HMKV_EINVAL, hmkv_lock_acquire(one, its_name, &with, told_lost, &told, &lock));
    CHECK(lock == NULL);
    CHECK(*hmkv_errmsg());
    with.acquired = told_acquired; /* which is not called then */
  }
  CHECK_INT(0, queue_length(two, name));
  CHECK_INT(0, atomic_load(&told.acquired) + atomic_load(&told.lost));
}

static void wrong_arguments_are_refused(void) {
  refused("", HMKV_LOCK_OPTS(.wait_ms = 0));
  refused(NULL, HMKV_LOCK_OPTS(.wait_ms = 0));
  refused(name, HMKV_LOCK_OPTS(.wait_ms = -3));
  refused(name, HMKV_LOCK_OPTS(.wait_ms = INT64_MIN));
  refused(name, HMKV_LOCK_OPTS(.ttl_ms = -1));
  refused(name, HMKV_LOCK_OPTS(.margin_ms = -1));
  refused(name, HMKV_LOCK_OPTS(.max_hold_ms = -1));
  refused(name, HMKV_LOCK_OPTS(.ttl_ms = 4000, .margin_ms = 2000));
  refused(name, HMKV_LOCK_OPTS(.ttl_ms = 4000, .margin_ms = INT64_MAX));
  refused(name, HMKV_LOCK_OPTS(.margin_ms = 5000)); /* of 10 s */
  refused(name, HMKV_LOCK_OPTS(.margin_ms = 1000, .max_hold_ms = 1000));
  refused(name, HMKV_LOCK_OPTS(.margin_ms = 1000, .max_hold_ms = 1));
  refused(name, HMKV_LOCK_OPTS(.max_hold_ms = 500)); /* the margin is an eighth, at most 500 */
  refused(name, HMKV_LOCK_OPTS(.value = NULL, .value_len = 1));
  refused(name, HMKV_LOCK_OPTS(.value = "of forgotten length"));
  CHECK_STATUS(HMKV_EINVAL, hmkv_lock_acquire(one, name, NULL, NULL, NULL, NULL));
  CHECK_INT(0, queue_length(two, name));
  take_with(one, name, HMKV_LOCK_OPTS(.ttl_ms = 4000, .margin_ms = 1999, .max_hold_ms = 60000),
            NULL);
}

static void options_of_another_size_are_read_or_refused(void) {
  struct {
    hmkv_lock_opts known;
    uint64_t later;
  } longer = {.known = {.size = sizeof longer, .wait_ms = HMKV_TRY}};
  CHECK_OK(hmkv_lock_release(take_with(one, name, &longer.known, NULL)));
  longer.later = 1;
  hmkv_lock *lock = (hmkv_lock *)&lock;
  CHECK_STATUS(HMKV_EUNSUPPORTED, hmkv_lock_acquire(one, name, &longer.known, NULL, NULL, &lock));
  CHECK(lock == NULL);
  hmkv_lock_opts shorter = {.size = offsetof(hmkv_lock_opts, ttl_ms), .wait_ms = HMKV_TRY,
                            .ttl_ms = -1, .margin_ms = -1};
  CHECK_OK(hmkv_lock_release(take_with(one, name, &shorter, NULL)));
  shorter.size = 0;
  refused(name, &shorter);
}

static void inputs_are_copied(void) {
  char *copy = strdup(name), *value = strdup("value");
  CHECK(copy && value);
  hmkv_lock_opts opts = *HMKV_LOCK_OPTS(.value = value, .value_len = HMKV_NTS);
  hmkv_lock *lock = take_with(one, copy, &opts, NULL);
  memset(copy, 'x', strlen(copy));
  memset(value, 'x', strlen(value));
  memset(&opts, 0xff, sizeof opts);
  free(copy);
  free(value);
  CHECK_VALUE(two, queue_key(two, name, 0), "value");
  check_busy(two, name);
  CHECK_OK(hmkv_lock_release(lock));
  CHECK_INT(0, queue_length(two, name));
}

static void a_dead_server_is_unavailable_not_busy(void) {
  hmkv *dead = open_at(dead_endpoint(), "timeout=500ms");
  static const int64_t waits[] = {HMKV_TRY, 1, 0};
  for (int i = 0; i < 3; i++) {
    hmkv_lock *lock = (hmkv_lock *)&lock;
    CHECK_STATUS(HMKV_EUNAVAIL, hmkv_lock_acquire(dead, name, HMKV_LOCK_OPTS(.wait_ms = waits[i]),
                                                  NULL, NULL, &lock));
    CHECK(lock == NULL);
  }
  close_store(dead);
}

static const struct test tests[] = {
    BOTH(the_same_name_excludes_within_one_store),
    BOTH(the_same_name_excludes_two_stores),
    BOTH(any_number_of_locks_of_one_store_are_independent),
    BOTH(a_name_that_goes_on_is_another_lock),
    BOTH(the_lock_of_a_handle_and_a_named_one_exclude_each_other),
    BOTH(closing_the_store_releases_its_locks_at_once),
    BOTH(a_contender_is_a_key_name_slash_lease_in_hex),
    BOTH(each_lock_has_a_lease_of_its_own),
    BOTH(the_token_grows_from_holder_to_holder),
    BOTH(the_time_left_is_that_of_the_lease_less_the_margin),
    BOTH(the_ttl_is_rounded_up_to_whole_seconds_and_at_least_2),
    BOTH(without_a_ttl_it_is_that_of_the_option),
    BOTH(it_is_renewed_and_outlives_its_ttl),
    BOTH(a_lock_is_released_once),
    BOTH(bad_handles_are_answered_harmlessly),
    BOTH(a_lock_inherited_through_fork_is_refused_and_stays_held),
    BOTH(wrong_arguments_are_refused),
    BOTH(options_of_another_size_are_read_or_refused),
    BOTH(inputs_are_copied),
    BOTH(a_dead_server_is_unavailable_not_busy),
};
TEST_MAIN(.begin = begin, .end = end)
