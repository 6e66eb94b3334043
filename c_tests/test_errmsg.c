/* The details of the last failure: hmkv_errmsg(). */
#include "test.h"

static void fail_once(const char *option) {
  hmkv *kv = (hmkv *)&kv;
  CHECK_STATUS(HMKV_EINVAL, hmkv_open(test_endpoint(), option, &kv));
  CHECK(kv == NULL);
}

static void *expect_none(void *unused) {
  (void)unused;
  CHECK_STR("", hmkv_errmsg());
  return NULL;
}

static void it_is_empty_before_the_first_failure_of_a_thread(void) {
  fail_once("nonsense=1");
  join_thread(start_thread(expect_none, NULL));
  CHECK(*hmkv_errmsg());
}

static void *fail_elsewhere(void *unused) {
  (void)unused;
  CHECK_STR("", hmkv_errmsg());
  fail_once("elsewhere=1");
  CHECK(strstr(hmkv_errmsg(), "elsewhere"));
  return NULL;
}

static void each_thread_has_its_own(void) {
  fail_once("here=1");
  CHECK(strstr(hmkv_errmsg(), "here"));
  join_thread(start_thread(fail_elsewhere, NULL));
  CHECK(strstr(hmkv_errmsg(), "here"));
  CHECK(!strstr(hmkv_errmsg(), "elsewhere"));
}

static void success_and_positive_statuses_leave_it_alone(void) {
  hmkv *kv = open_store(text("lock=%s", unique("lock")));
  hmkv *other = open_store(NULL);
  const char *key = unique("key");
  fail_once("nonsense=1");
  const char *before = text("%s", hmkv_errmsg());
  CHECK(strstr(before, "nonsense"));
  char *value = NULL;
  CHECK_OK(hmkv_store(kv, key, "a"));
  CHECK_STATUS(HMKV_NOT_FOUND, hmkv_get(kv, unique("absent"), &value));
  CHECK_STATUS(HMKV_COMPARE_FAILED, hmkv_tas(kv, key, "b", "c"));
  CHECK_STATUS(HMKV_TIMED_OUT, hmkv_watch(kv, key, 0, NULL, NULL));
  CHECK_OK(hmkv_dist_lock(kv));
  CHECK_OK(hmkv_dist_unlock(kv));
  CHECK_OK(hmkv_delete(kv, key));
  close_store(other);
  close_store(kv);
  CHECK_STR(before, hmkv_errmsg());
}

static void accessors_and_frees_leave_it_alone(void) {
  fail_once("nonsense=1");
  const char *before = text("%s", hmkv_errmsg());
  CHECK_STATUS(HMKV_EINVAL, hmkv_result_status(NULL));
  CHECK(!hmkv_result_kv(NULL, 0));
  hmkv_result_free(NULL);
  hmkv_free(NULL);
  (void)hmkv_strerror(-1);
  CHECK_STR(before, hmkv_errmsg());
}

static void a_new_failure_replaces_it(void) {
  fail_once("first=1");
  fail_once("second=1");
  CHECK(strstr(hmkv_errmsg(), "second"));
  CHECK(!strstr(hmkv_errmsg(), "first"));
}

static void it_is_cut_at_1023_bytes(void) {
  enum { LONG = 5000 };
  char option[LONG + 3];
  memset(option, 'x', LONG);
  memcpy(option + LONG, "=1", 3);
  fail_once(option);
  CHECK_INT(1023, strlen(hmkv_errmsg()));
  option[500] = '\0';
  CHECK(strstr(hmkv_errmsg(), option));
}

static void it_is_one_line(void) {
  fail_once("lock='a\nb' bad'\n'name=1");
  CHECK(*hmkv_errmsg());
  CHECK(!strchr(hmkv_errmsg(), '\n'));
  hmkv *kv = NULL;
  CHECK_STATUS(HMKV_EINVAL, hmkv_open("http://bad\nhost:1", NULL, &kv));
  CHECK(*hmkv_errmsg());
  CHECK(!strchr(hmkv_errmsg(), '\n'));
}

static void it_never_holds_a_secret(void) {
  hmkv *kv = NULL;
  fail_once("password=hunter2");
  CHECK(*hmkv_errmsg() && !strstr(hmkv_errmsg(), "hunter2"));
  fail_once("password='hunter2");
  CHECK(!strstr(hmkv_errmsg(), "hunter2"));
  CHECK_STATUS(HMKV_EINVAL, hmkv_open("http://me:hunter2@127.0.0.1:1", NULL, &kv));
  CHECK(!strstr(hmkv_errmsg(), "hunter2"));
}

static void every_failure_has_one(void) {
  char *value = NULL;
  fail_once("marker=1");
  CHECK_STATUS(HMKV_EHANDLE, hmkv_get(NULL, "key", &value));
  CHECK(*hmkv_errmsg() && !strstr(hmkv_errmsg(), "marker"));
  hmkv *kv = open_store(NULL);
  fail_once("marker=1");
  CHECK_STATUS(HMKV_EINVAL, hmkv_get(kv, "", &value));
  CHECK(*hmkv_errmsg() && !strstr(hmkv_errmsg(), "marker"));
  close_store(kv);
}

static const struct test tests[] = {
    BOTH(it_is_empty_before_the_first_failure_of_a_thread),
    BOTH(each_thread_has_its_own),
    BOTH(success_and_positive_statuses_leave_it_alone),
    BOTH(accessors_and_frees_leave_it_alone),
    BOTH(a_new_failure_replaces_it),
    BOTH(it_is_cut_at_1023_bytes),
    BOTH(it_is_one_line),
    BOTH(it_never_holds_a_secret),
    BOTH(every_failure_has_one),
};
TEST_MAIN()
