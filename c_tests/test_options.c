/* The option string: its grammar, its words, its ranges. */
#include "test.h"

static void accepted(const char *endpoint, const char *options) {
  hmkv *kv = NULL;
  hmkv_status status = hmkv_open(endpoint, options, &kv);
  if (status != HMKV_OK) FAIL("\"%s\": %s", options, hmkv_status_name(status));
  close_store(kv);
}

/* `named` must stand in the text of the failure. */
static void refused(hmkv_status expected, const char *options, const char *named) {
  hmkv *kv = (hmkv *)&kv;
  hmkv_status status = hmkv_open(test_endpoint(), options, &kv);
  if (status != expected)
    FAIL("\"%s\": expected %s, got %s", options, hmkv_status_name(expected),
         hmkv_status_name(status));
  CHECK(kv == NULL);
  if (!strstr(hmkv_errmsg(), named)) FAIL("\"%s\": \"%s\"", options, hmkv_errmsg());
}

static void null_and_empty_mean_the_defaults(void) {
  accepted(test_endpoint(), NULL);
  accepted(test_endpoint(), "");
  accepted(test_endpoint(), " ,; ");
}

static void items_are_separated_by_comma_semicolon_and_space(void) {
  accepted(test_endpoint(), "timeout=3s,close_timeout=1s;temp_ttl=5s lock_ttl=6s");
  accepted(test_endpoint(), " timeout=3s, close_timeout=1s ; temp_ttl=5s,");
  refused(HMKV_EINVAL, "timeout=3s,bad=1", "bad");
  refused(HMKV_EINVAL, "timeout=3s;bad=1", "bad");
  refused(HMKV_EINVAL, "timeout=3s bad=1", "bad");
}

/* A lock's queue stands at NAME/LEASE, so it shows which name was read. */
static void quotes_and_backslashes_make_any_value(void) {
  static const struct {
    const char *quoted, *plain;
  } values[] = {
      {"'%s'", "%s"},
      {"'%s a,b;c'", "%s a,b;c"},
      {"'%s\\'x\\\\'", "%s'x\\"},
      {"'%s=\"'", "%s=\""},
  };
  for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
    char quoted[300], plain[300];
    const char *name = unique("lock");
    const char *mark = strstr(values[i].quoted, "%s");
    snprintf(quoted, sizeof quoted, "%.*s%s%s", (int)(mark - values[i].quoted),
             values[i].quoted, name, mark + 2);
    snprintf(plain, sizeof plain, "%s%s", name, values[i].plain + 2);
    hmkv *kv = open_store(text("timeout=5s,lock=%s;debug", quoted));
    CHECK_OK(hmkv_dist_lock(kv));
    if (count_keys(kv, text("%s/", plain)) != 1) FAIL("%s is not %s", quoted, plain);
    close_store(kv);
  }
  hmkv_set_log(HMKV_LOG_OFF, NULL, NULL);
}

static void bad_quoting_is_refused(void) {
  refused(HMKV_EINVAL, "lock='open", "lock");
  refused(HMKV_EINVAL, "lock='a'b", "lock");
}

static void an_unknown_item_is_named(void) {
  refused(HMKV_EINVAL, "colour=red", "colour");
  refused(HMKV_EINVAL, "timeout=1s,colour", "colour");
  refused(HMKV_EINVAL, "Timeout=1s", "Timeout");
  refused(HMKV_EINVAL, "dispatch=sometimes", "dispatch");
  refused(HMKV_EINVAL, "=1", "");
}

static void insecure_and_debug_need_no_value(void) {
  accepted(test_endpoint(), "insecure");
  accepted(test_endpoint(), "debug");
  accepted(test_endpoint(), "insecure debug,timeout=2s");
  accepted("http://127.0.0.1:1", "debug;insecure");
  hmkv_set_log(HMKV_LOG_OFF, NULL, NULL);
}

static void insecure_does_nothing_on_http_and_mem(void) {
  hmkv *kv = open_store("insecure");
  const char *key = unique("key");
  CHECK_OK(hmkv_store(kv, key, "value"));
  CHECK_VALUE(kv, key, "value");
  CHECK_OK(hmkv_delete(kv, key));
  close_store(kv);
}

static void dispatch_is_one_of_two_words(void) {
  accepted(test_endpoint(), "dispatch=thread");
  accepted(test_endpoint(), "dispatch=poll");
  refused(HMKV_EINVAL, "dispatch=fast", "dispatch");
  refused(HMKV_EINVAL, "dispatch", "dispatch");
}

static void times_have_ranges(void) {
  static const char *const names[] = {"timeout", "temp_ttl", "lock_ttl", "close_timeout", "wait",
                                      "keepalive"};
  static const char *const bad[] = {"-1s", "-1", "abc", "1x", "s", "''", "1.5.2s", "1s2",
                                    "99999999999999999999s"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    for (size_t j = 0; j < sizeof bad / sizeof *bad; j++)
      refused(HMKV_EINVAL, text("%s=%s", names[i], bad[j]), names[i]);
    refused(HMKV_EINVAL, names[i], names[i]);
    refused(HMKV_EINVAL, text("%s=", names[i]), names[i]);
    if (strcmp(names[i], "wait") != 0) accepted(test_endpoint(), text("%s=7s", names[i]));
  }
  refused(HMKV_EINVAL, "timeout=0", "timeout");
  refused(HMKV_EINVAL, "timeout=0s", "timeout");
  refused(HMKV_EINVAL, "temp_ttl=0", "temp_ttl");
  refused(HMKV_EINVAL, "lock_ttl=0", "lock_ttl");
  accepted(test_endpoint(), "wait=0 close_timeout=0 timeout=500ms");
  accepted(test_endpoint(), "timeout=1m temp_ttl=1h");
}

static void max_request_has_a_range(void) {
  refused(HMKV_EINVAL, "max_request=0", "max_request");
  refused(HMKV_EINVAL, "max_request=-1", "max_request");
  refused(HMKV_EINVAL, "max_request=much", "max_request");
  refused(HMKV_EINVAL, "max_request=99999999999999999999", "max_request");
  accepted(test_endpoint(), "max_request=65536");
}

static void an_unreadable_cacert_fails_at_once(void) {
  hmkv *kv = NULL;
  const char *missing = text("%s/no-such-file.pem", test_directory());
  CHECK_STATUS(HMKV_ETLS, hmkv_open("https://127.0.0.1:1", text("cacert=%s", missing), &kv));
  CHECK(kv == NULL);
  CHECK(strstr(hmkv_errmsg(), "no-such-file.pem"));
  CHECK_STATUS(HMKV_ETLS, hmkv_open("https://127.0.0.1:1",
                                    text("cert=%s key=%s", missing, missing), &kv));
}

static void a_cacert_without_a_certificate_fails_at_once(void) {
  hmkv *kv = NULL;
  CHECK_STATUS(HMKV_ETLS, hmkv_open("https://127.0.0.1:1", "cacert=/dev/null", &kv));
  CHECK(kv == NULL);
}

static void insecure_with_cacert_is_refused(void) {
  hmkv *kv = NULL;
  CHECK_STATUS(HMKV_EINVAL, hmkv_open("https://127.0.0.1:1", "insecure,cacert=/dev/null", &kv));
  CHECK(strstr(hmkv_errmsg(), "insecure") || strstr(hmkv_errmsg(), "cacert"));
  CHECK(kv == NULL);
}

static void the_lock_option_names_the_lock(void) {
  const char *name = unique("lock");
  hmkv *one = open_store(text("lock=%s", name));
  hmkv *same = open_store(text("lock=%s", name));
  hmkv *other = open_store(text("lock=%s2", name));
  CHECK_OK(hmkv_dist_timed_lock(one, 0));
  CHECK_STATUS(HMKV_BUSY, hmkv_dist_timed_lock(same, 0));
  CHECK_OK(hmkv_dist_timed_lock(other, 0));
  close_store(one);
  close_store(same);
  close_store(other);
}

static void the_option_string_is_copied(void) {
  const char *name = unique("lock");
  char *options = strdup(text("lock=%s", name));
  char *endpoint = strdup(test_endpoint());
  CHECK(options && endpoint);
  hmkv *kv = open_at(endpoint, options);
  memset(options, 'x', strlen(options));
  memset(endpoint, 'x', strlen(endpoint));
  free(options);
  free(endpoint);
  CHECK_OK(hmkv_dist_lock(kv));
  CHECK_INT(1, count_keys(kv, text("%s/", name)));
  close_store(kv);
}

static const struct test tests[] = {
    BOTH(null_and_empty_mean_the_defaults),
    BOTH(items_are_separated_by_comma_semicolon_and_space),
    BOTH(quotes_and_backslashes_make_any_value),
    BOTH(bad_quoting_is_refused),
    BOTH(an_unknown_item_is_named),
    BOTH(insecure_and_debug_need_no_value),
    BOTH(insecure_does_nothing_on_http_and_mem),
    BOTH(dispatch_is_one_of_two_words),
    BOTH(times_have_ranges),
    BOTH(max_request_has_a_range),
    BOTH(an_unreadable_cacert_fails_at_once),
    BOTH(a_cacert_without_a_certificate_fails_at_once),
    BOTH(insecure_with_cacert_is_refused),
    BOTH(the_lock_option_names_the_lock),
    BOTH(the_option_string_is_copied),
};
TEST_MAIN()
