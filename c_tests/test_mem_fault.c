/* hmkv_mem_fault: its text, and leases that are lost without a server. test_mem_fault_*.c
 * have the other faults. */
#include "states.h"
#include "test.h"

static void expire_deletes_the_temporary_keys_and_the_lock_key_at_once(void) {
  const char *name = unique("lock"), *queue = text("%s/", name), *key = unique("temp");
  hmkv *kv = open_store(text("lock=%s", name)), *other = open_store(NULL);
  CHECK_OK(hmkv_temp_key(kv, key));
  CHECK_OK(hmkv_dist_lock(kv));
  hmkv_result *before = list_keys(other, queue);
  CHECK_INT(1, hmkv_result_count(before));
  CHECK_OK(hmkv_mem_fault(kv, "expire"));
  CHECK_INT(0, count_keys(other, queue));
  hmkv_result_free(before);
  WAIT_UNTIL(has_key(other, key));
  close_store(kv);
  close_store(other);
}

static void expire_spares_everything_else(void) {
  hmkv *kv = open_store(NULL), *other = open_store(NULL);
  const char *plain = unique("plain"), *theirs = unique("theirs");
  CHECK_OK(hmkv_store(kv, plain, "value"));
  CHECK_OK(hmkv_temp_key(other, theirs));
  CHECK_OK(hmkv_temp_key(kv, unique("temp")));
  int64_t lease = lease_of(other, theirs);
  CHECK_OK(hmkv_mem_fault(kv, "expire"));
  CHECK_VALUE(other, plain, "value");
  CHECK_INT(lease, lease_of(other, theirs));
  close_store(kv);
  close_store(other);
}

static void expire_without_a_lease_is_ok(void) {
  hmkv *kv = open_store(NULL);
  struct states states = STATES_NONE;
  CHECK_OK(hmkv_on_state(kv, states_record, &states));
  CHECK_OK(hmkv_mem_fault(kv, "expire"));
  CHECK_OK(hmkv_mem_fault(kv, "expire"));
  close_store(kv);
  CHECK_INT(0, states_total(&states));
}

static void several_faults_are_made_in_their_order(void) {
  static const char *const separators[] = {",", ";", " ", "\t\n", " ; ,"};
  const char *key = unique("key");
  hmkv *kv = open_store(NULL), *other = open_store(NULL);
  for (int i = 0; i < 5; i++) {
    CHECK_OK(hmkv_mem_fault(kv, text(",indeterminate=dropped%sindeterminate;", separators[i])));
    CHECK_STATUS(HMKV_EINDETERMINATE, hmkv_store(kv, key, text("dropped %d", i)));
    CHECK(!has_key(other, key));
    CHECK_STATUS(HMKV_EINDETERMINATE, hmkv_store(kv, key, text("applied %d", i)));
    CHECK_VALUE(other, key, text("applied %d", i));
    CHECK_OK(hmkv_delete(kv, key));
  }
  close_store(kv);
  close_store(other);
}

static void a_wrong_text_makes_no_fault_and_says_where(void) {
  static const struct {
    const char *spec, *error;
  } wrong[] = {
      {"", "there is no fault in the text"},
      {" , ;", "there is no fault in the text"},
      {"expired", "fault at byte 0: \"expired\" is not known: "
                  "expire, compact, cut, delay or indeterminate"},
      {"EXPIRE", "fault at byte 0: \"EXPIRE\" is not known"},
      {"expire,cutt", "fault at byte 7: \"cutt\" is not known"},
      {"expire,=1s", "fault at byte 7: \"\" is not known"},
      {"expire=1s", "fault at byte 0: \"expire\" takes no value"},
      {"expire, compact=", "fault at byte 8: \"compact\" takes no value"},
      {"expire;cut", "fault at byte 7: \"cut\" needs a time, as in \"cut=3s\""},
      {"expire delay", "fault at byte 7: \"delay\" needs a time, as in \"delay=3s\""},
      {"expire cut=", "fault at byte 7: \"\" is not a time: 0, 500ms, 5s, 2m or 1h"},
      {"expire delay=10", "fault at byte 7: \"10\" is not a time: 0, 500ms, 5s, 2m or 1h"},
      {"cut=61m,expire", "fault at byte 0: \"61m\" is more than an hour"},
      {"expire,indeterminate=", "fault at byte 7: \"\" is not an outcome: applied or dropped"},
      {"expire,indeterminate=maybe", "fault at byte 7: \"maybe\" is not an outcome"},
  };
  hmkv *kv = open_store(NULL);
  const char *key = unique("temp");
  CHECK_OK(hmkv_temp_key(kv, key));
  int64_t lease = lease_of(kv, key);
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    CHECK_STATUS(HMKV_EINVAL, hmkv_mem_fault(kv, wrong[i].spec));
    if (strncmp(hmkv_errmsg(), wrong[i].error, strlen(wrong[i].error)) != 0)
      FAIL("%s: %s", wrong[i].spec, hmkv_errmsg());
  }
  CHECK_STATUS(HMKV_EINVAL, hmkv_mem_fault(kv, "expire,\xff"));
  CHECK_STATUS(HMKV_EINVAL, hmkv_mem_fault(kv, NULL));
  CHECK_INT(lease, lease_of(kv, key));
  close_store(kv);
}

static void it_is_unsupported_on_etcd(void) {
  hmkv *kv = open_store(NULL);
  const char *key = unique("temp");
  CHECK_OK(hmkv_temp_key(kv, key));
  int64_t lease = lease_of(kv, key);
  CHECK_STATUS(HMKV_EUNSUPPORTED, hmkv_mem_fault(kv, "expire"));
  CHECK_INT(lease, lease_of(kv, key));
  close_store(kv);
}

static const struct test tests[] = {
    MEM_ONLY(expire_deletes_the_temporary_keys_and_the_lock_key_at_once),
    MEM_ONLY(expire_spares_everything_else),
    MEM_ONLY(expire_without_a_lease_is_ok),
    MEM_ONLY(several_faults_are_made_in_their_order),
    MEM_ONLY(a_wrong_text_makes_no_fault_and_says_where),
    ETCD_ONLY(it_is_unsupported_on_etcd),
};
TEST_MAIN()
