/* hmkv_put: what is stored, on which condition, and what its result shows. */
#include "requests.h"
#include "test.h"

static hmkv *kv;

static void begin(void) { kv = open_store("timeout=20s"); }
static void end(void) { close_store(kv); }

/* The one key, which must exist. */
static hmkv_result *read_key(const char *key) {
  return AWAIT(HMKV_OK, hmkv_range(kv, key, HMKV_NTS, NULL));
}

static hmkv_op *put_if(const char *key, const char *value, int64_t revision) {
  return hmkv_put(kv, key, HMKV_NTS, value, HMKV_NTS, HMKV_PUT_OPTS(.if_mod_revision = revision));
}

static hmkv_op *put_prev(const char *key, const char *value) {
  return hmkv_put(kv, key, HMKV_NTS, value, HMKV_NTS, HMKV_PUT_OPTS(.prev = 1));
}

static void keys_and_values_are_of_any_bytes(void) {
  static const char value[] = "a\0b\0\xff", other[] = "\0";
  char key[300], longer[300];
  size_t length = (size_t)snprintf(key, sizeof key, "%s", unique("key"));
  memcpy(key + length, "\0\x01\xff\0", 4);
  memcpy(longer, key, length + 4);
  longer[length + 4] = '\0';
  FINISH(HMKV_OK, hmkv_put(kv, key, length + 4, value, 5, NULL));
  FINISH(HMKV_OK, hmkv_put(kv, longer, length + 5, other, 1, NULL));
  hmkv_result *result = AWAIT(HMKV_OK, hmkv_range(kv, key, length + 4, NULL));
  CHECK_INT(1, hmkv_result_count(result));
  CHECK_ENTRY(hmkv_result_kv(result, 0), key, length + 4, value, 5);
  hmkv_result_free(result);
  result = AWAIT(HMKV_OK, hmkv_range(kv, longer, length + 5, NULL));
  CHECK_ENTRY(hmkv_result_kv(result, 0), longer, length + 5, other, 1);
  hmkv_result_free(result);
  FINISH(HMKV_NOT_FOUND, hmkv_range(kv, key, length, NULL));
  FINISH(HMKV_NOT_FOUND, hmkv_range(kv, key, length + 1, NULL));
}

static void the_length_nts_means_nul_terminated(void) {
  const char *key = unique("key");
  FINISH(HMKV_OK, hmkv_put(kv, key, HMKV_NTS, "value", HMKV_NTS, NULL));
  CHECK_VALUE(kv, key, "value");
  FINISH(HMKV_OK, hmkv_put(kv, key, strlen(key), "value", 3, NULL));
  CHECK_VALUE(kv, key, "val");
  FINISH(HMKV_OK, hmkv_put(kv, text("%s and more", key), strlen(key), "a\0b", HMKV_NTS, NULL));
  CHECK_VALUE(kv, key, "a");
}

static void a_length_of_0_permits_null(void) {
  const char *key = unique("key");
  put_text(kv, key, "something");
  FINISH(HMKV_OK, hmkv_put(kv, key, HMKV_NTS, NULL, 0, NULL));
  CHECK_VALUE(kv, key, "");
  FINISH(HMKV_OK, hmkv_put(kv, key, HMKV_NTS, "ignored", 0, NULL));
  CHECK_VALUE(kv, key, "");
}

static void an_empty_key_is_refused(void) {
  FINISH(HMKV_EINVAL, hmkv_put(kv, "", 0, "value", 5, NULL));
  FINISH(HMKV_EINVAL, hmkv_put(kv, "", HMKV_NTS, "value", 5, NULL));
  FINISH(HMKV_EINVAL, hmkv_put(kv, NULL, 0, "value", 5, NULL));
}

static void a_nul_byte_in_a_value_is_ebinary_for_text_calls(void) {
  const char *key = unique("key");
  char *value = (char *)"untouched";
  FINISH(HMKV_OK, hmkv_put(kv, key, HMKV_NTS, "a\0", 2, NULL));
  CHECK_STATUS(HMKV_EBINARY, hmkv_get(kv, key, &value));
  CHECK(value == NULL);
}

static void inputs_are_copied_before_it_returns(void) {
  const char *name = unique("key");
  char *key = strdup(name), *value = strdup("value");
  hmkv_put_opts *opts = calloc(1, sizeof *opts);
  CHECK(key && value && opts);
  opts->size = sizeof *opts;
  hmkv_op *op = hmkv_put(kv, key, HMKV_NTS, value, HMKV_NTS, opts);
  memset(key, 'x', strlen(key));
  memset(value, 'x', strlen(value));
  memset(opts, 0xff, sizeof *opts);
  free(key);
  free(value);
  free(opts);
  FINISH(HMKV_OK, op);
  CHECK_VALUE(kv, name, "value");
}

static void the_result_has_the_revision_of_the_put(void) {
  const char *key = unique("key");
  int64_t last = 0;
  for (int i = 0; i < 3; i++) {
    int64_t revision = put_text(kv, key, "same"); /* an equal value is a change */
    CHECK(revision > last);
    hmkv_result *result = read_key(key);
    CHECK_INT(revision, hmkv_result_kv(result, 0)->mod_revision);
    CHECK_INT(i + 1, hmkv_result_kv(result, 0)->version);
    hmkv_result_free(result);
    last = revision;
  }
}

static void without_prev_the_result_has_no_key(void) {
  const char *key = unique("key");
  put_text(kv, key, "one");
  hmkv_result *result = AWAIT(HMKV_OK, hmkv_put(kv, key, HMKV_NTS, "two", HMKV_NTS, NULL));
  CHECK_INT(0, hmkv_result_count(result));
  CHECK(hmkv_result_kv(result, 0) == NULL);
  CHECK_INT(0, hmkv_result_total(result));
  CHECK(hmkv_result_sub(result, 0) == NULL);
  hmkv_result_free(result);
}

static void prev_gives_the_key_as_it_was(void) {
  const char *key = unique("key");
  hmkv_result *result = AWAIT(HMKV_OK, put_prev(key, "one"));
  CHECK_INT(0, hmkv_result_count(result)); /* there was none */
  int64_t created = hmkv_result_revision(result);
  hmkv_result_free(result);
  int64_t changed = put_text(kv, key, "two");
  result = AWAIT(HMKV_OK, put_prev(key, "three"));
  CHECK_INT(1, hmkv_result_count(result));
  const hmkv_kv *former = hmkv_result_kv(result, 0);
  CHECK_ENTRY(former, key, strlen(key), "two", 3);
  CHECK_INT(created, former->create_revision);
  CHECK_INT(changed, former->mod_revision);
  CHECK_INT(2, former->version);
  CHECK_INT(0, former->lease);
  CHECK(hmkv_result_revision(result) > changed);
  hmkv_result_free(result);
  CHECK_VALUE(kv, key, "three");
}

/* ---- if_mod_revision ---- */

static void without_it_the_put_is_unconditional(void) {
  const char *key = unique("key");
  FINISH(HMKV_OK, put_if(key, "one", 0));
  FINISH(HMKV_OK, put_if(key, "two", 0));
  CHECK_VALUE(kv, key, "two");
}

static void absent_stores_only_a_key_that_does_not_exist(void) {
  const char *key = unique("key");
  hmkv_result *result = AWAIT(HMKV_OK, put_if(key, "one", HMKV_ABSENT));
  int64_t created = hmkv_result_revision(result);
  CHECK_INT(0, hmkv_result_count(result));
  hmkv_result_free(result);
  result = AWAIT(HMKV_COMPARE_FAILED, put_if(key, "two", HMKV_ABSENT));
  CHECK_INT(1, hmkv_result_count(result));
  CHECK_ENTRY(hmkv_result_kv(result, 0), key, strlen(key), "one", 3);
  CHECK_INT(created, hmkv_result_kv(result, 0)->mod_revision);
  CHECK(hmkv_result_revision(result) >= created);
  CHECK_INT(0, hmkv_result_total(result)); /* that of ranges alone */
  hmkv_result_free(result);
  FINISH(HMKV_OK, hmkv_remove(kv, key, HMKV_NTS, NULL));
  FINISH(HMKV_OK, put_if(key, "three", HMKV_ABSENT));
  CHECK_VALUE(kv, key, "three");
}

static void a_revision_stores_only_if_the_last_change_has_it(void) {
  const char *key = unique("key");
  put_text(kv, unique("other"), "so that 0 is not the revision before");
  int64_t first = put_text(kv, key, "one");
  hmkv_result *result = AWAIT(HMKV_OK, put_if(key, "two", first));
  int64_t second = hmkv_result_revision(result);
  CHECK(second > first);
  hmkv_result_free(result);
  const int64_t wrong[] = {first, first - 1, second + 1, second + 1000000, INT64_MAX};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    result = AWAIT(HMKV_COMPARE_FAILED, put_if(key, "lost", wrong[i]));
    CHECK_INT(1, hmkv_result_count(result));
    CHECK_ENTRY(hmkv_result_kv(result, 0), key, strlen(key), "two", 3);
    CHECK_INT(second, hmkv_result_kv(result, 0)->mod_revision);
    CHECK_INT(2, hmkv_result_kv(result, 0)->version);
    hmkv_result_free(result);
  }
  CHECK_VALUE(kv, key, "two");
}

static void a_revision_of_an_absent_key_fails_without_a_key(void) {
  const char *key = unique("key");
  int64_t revision = put_text(kv, unique("other"), "value");
  hmkv_result *result = AWAIT(HMKV_COMPARE_FAILED, put_if(key, "lost", revision));
  CHECK_INT(0, hmkv_result_count(result));
  CHECK(hmkv_result_kv(result, 0) == NULL);
  hmkv_result_free(result);
  FINISH(HMKV_NOT_FOUND, hmkv_range(kv, key, HMKV_NTS, NULL));
}

static void prev_and_a_condition_go_together(void) {
  const char *key = unique("key");
  int64_t first = put_text(kv, key, "one");
  hmkv_result *result = AWAIT(HMKV_OK, hmkv_put(kv, key, HMKV_NTS, "two", HMKV_NTS,
                                                HMKV_PUT_OPTS(.if_mod_revision = first, .prev = 1)));
  CHECK_INT(1, hmkv_result_count(result));
  CHECK_ENTRY(hmkv_result_kv(result, 0), key, strlen(key), "one", 3);
  CHECK_INT(first, hmkv_result_kv(result, 0)->mod_revision);
  hmkv_result_free(result);
  result = AWAIT(HMKV_COMPARE_FAILED,
                 hmkv_put(kv, key, HMKV_NTS, "three", HMKV_NTS,
                          HMKV_PUT_OPTS(.if_mod_revision = first, .prev = 1)));
  CHECK_INT(1, hmkv_result_count(result));
  CHECK_ENTRY(hmkv_result_kv(result, 0), key, strlen(key), "two", 3);
  hmkv_result_free(result);
}

/* Adds one `wins` times; what a lost attempt shows is what the next one builds on. */
static void *count_up(void *arg) {
  const char *key = arg;
  int number = 0;
  int64_t revision = HMKV_ABSENT;
  for (int done = 0; done < rounds(60, 10);) {
    hmkv_op *op = put_if(key, text("%d", number + 1), revision);
    hmkv_result *result = hmkv_await(op);
    hmkv_status status = hmkv_result_status(result);
    CHECK(status == HMKV_OK || status == HMKV_COMPARE_FAILED);
    if (status == HMKV_OK) {
      done++;
      number++;
      revision = hmkv_result_revision(result);
    } else {
      CHECK_INT(1, hmkv_result_count(result));
      number = atoi(hmkv_result_kv(result, 0)->value);
      revision = hmkv_result_kv(result, 0)->mod_revision;
    }
    hmkv_result_free(result);
  }
  return NULL;
}

static void compare_and_put_are_one_atomic_step(void) {
  enum { THREADS = 4 };
  const char *key = unique("counter");
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++) threads[i] = start_thread(count_up, (void *)(uintptr_t)key);
  for (int i = 0; i < THREADS; i++) join_thread(threads[i]);
  CHECK_VALUE(kv, key, text("%d", THREADS * rounds(60, 10)));
}

static void of_many_that_create_a_key_at_once_one_wins(void) {
  enum { COUNT = 100 };
  const char *key = unique("key");
  hmkv_op *ops[COUNT];
  int winner = -1;
  for (int i = 0; i < COUNT; i++) ops[i] = put_if(key, text("%d", i), HMKV_ABSENT);
  for (int i = 0; i < COUNT; i++) {
    hmkv_result *result = hmkv_await(ops[i]);
    if (hmkv_result_status(result) == HMKV_OK) {
      CHECK_INT(-1, winner);
      winner = i;
    } else {
      CHECK_STATUS(HMKV_COMPARE_FAILED, hmkv_result_status(result));
      CHECK_INT(1, hmkv_result_count(result));
    }
    hmkv_result_free(result);
  }
  CHECK_VALUE(kv, key, text("%d", winner));
}

/* ---- lease ---- */

static hmkv_op *put_leased(const char *key, int64_t lease) {
  return hmkv_put(kv, key, HMKV_NTS, "value", HMKV_NTS, HMKV_PUT_OPTS(.lease = lease));
}

static hmkv_lease *grant(void) {
  hmkv_lease *lease = NULL;
  CHECK_OK(hmkv_lease_grant(kv, 60000, NULL, NULL, &lease));
  CHECK(hmkv_lease_id(lease) > 0);
  return lease;
}

static void a_key_hangs_on_the_lease_that_the_option_names(void) {
  const char *key = unique("key"), *kept = unique("kept");
  hmkv_lease *lease = grant(), *other = grant();
  FINISH(HMKV_OK, put_leased(key, hmkv_lease_id(lease)));
  CHECK_INT(hmkv_lease_id(lease), lease_of(kv, key));
  FINISH(HMKV_OK, put_leased(kept, hmkv_lease_id(lease)));
  FINISH(HMKV_OK, put_leased(kept, hmkv_lease_id(other))); /* it hangs on the last one */
  CHECK_INT(hmkv_lease_id(other), lease_of(kv, kept));
  CHECK_OK(hmkv_lease_close(lease, true));
  CHECK(!has_key(kv, key));
  CHECK(has_key(kv, kept));
  put_text(kv, kept, "without");
  CHECK_INT(0, lease_of(kv, kept));
  CHECK_OK(hmkv_lease_close(other, true));
  CHECK(has_key(kv, kept));
}

static void prev_shows_the_lease(void) {
  const char *key = unique("key");
  hmkv_lease *lease = grant();
  FINISH(HMKV_OK, put_leased(key, hmkv_lease_id(lease)));
  hmkv_result *result = AWAIT(HMKV_OK, put_prev(key, "new"));
  CHECK_INT(hmkv_lease_id(lease), hmkv_result_kv(result, 0)->lease);
  hmkv_result_free(result);
  CHECK_OK(hmkv_lease_close(lease, true));
}

static void a_lease_that_does_not_exist_is_elost_and_nothing_is_written(void) {
  const char *key = unique("key");
  hmkv_lease *lease = grant();
  int64_t ended = hmkv_lease_id(lease);
  CHECK_OK(hmkv_lease_close(lease, true));
  const int64_t ids[] = {ended, 1, 0x7abcdef012345678, INT64_MAX};
  for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
    FINISH(HMKV_ELOST, put_leased(key, ids[i]));
    FINISH(HMKV_ELOST, hmkv_put(kv, key, HMKV_NTS, "value", HMKV_NTS,
                                HMKV_PUT_OPTS(.lease = ids[i], .if_mod_revision = HMKV_ABSENT)));
  }
  CHECK(!has_key(kv, key));
  put_text(kv, key, "old");
  FINISH(HMKV_ELOST, put_leased(key, ended));
  CHECK_VALUE(kv, key, "old");
}

/* ---- size ---- */

static void a_value_above_the_limit_is_too_large_and_not_applied(void) {
  enum { MIB = 1024 * 1024 };
  const char *key = unique("key");
  char *value = calloc(2, MIB);
  CHECK(value);
  FINISH(HMKV_OK, hmkv_put(kv, key, HMKV_NTS, value, MIB, NULL)); /* of NUL bytes alone */
  FINISH(HMKV_ETOOLARGE, hmkv_put(kv, key, HMKV_NTS, value, 2 * MIB, NULL));
  hmkv_result *result = read_key(key);
  CHECK_ENTRY(hmkv_result_kv(result, 0), key, strlen(key), value, MIB);
  hmkv_result_free(result);
  FINISH(HMKV_OK, hmkv_remove(kv, key, HMKV_NTS, NULL));
  free(value);
}

static const struct test tests[] = {
    BOTH(keys_and_values_are_of_any_bytes),
    BOTH(the_length_nts_means_nul_terminated),
    BOTH(a_length_of_0_permits_null),
    BOTH(an_empty_key_is_refused),
    BOTH(a_nul_byte_in_a_value_is_ebinary_for_text_calls),
    BOTH(inputs_are_copied_before_it_returns),
    BOTH(the_result_has_the_revision_of_the_put),
    BOTH(without_prev_the_result_has_no_key),
    BOTH(prev_gives_the_key_as_it_was),
    BOTH(without_it_the_put_is_unconditional),
    BOTH(absent_stores_only_a_key_that_does_not_exist),
    BOTH(a_revision_stores_only_if_the_last_change_has_it),
    BOTH(a_revision_of_an_absent_key_fails_without_a_key),
    BOTH(prev_and_a_condition_go_together),
    BOTH(compare_and_put_are_one_atomic_step),
    BOTH(of_many_that_create_a_key_at_once_one_wins),
    BOTH(a_key_hangs_on_the_lease_that_the_option_names),
    BOTH(prev_shows_the_lease),
    BOTH(a_lease_that_does_not_exist_is_elost_and_nothing_is_written),
    BOTH(a_value_above_the_limit_is_too_large_and_not_applied),
};
TEST_MAIN(.begin = begin, .end = end)
