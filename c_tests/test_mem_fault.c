/* hmkv_mem_fault: lost leases without a server. */
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

static void what_is_not_built_yet_is_unsupported(void) {
  static const char *const specs[] = {"cut", "delay", "indeterminate"};
  hmkv *kv = open_store(NULL);
  for (int i = 0; i < 3; i++) CHECK_STATUS(HMKV_EUNSUPPORTED, hmkv_mem_fault(kv, specs[i]));
  close_store(kv);
}

static void any_other_text_is_refused(void) {
  static const char *const specs[] = {"", "expired", "expire ", "EXPIRE", "\xff"};
  hmkv *kv = open_store(NULL);
  const char *key = unique("temp");
  CHECK_OK(hmkv_temp_key(kv, key));
  int64_t lease = lease_of(kv, key);
  for (int i = 0; i < 5; i++) CHECK_STATUS(HMKV_EINVAL, hmkv_mem_fault(kv, specs[i]));
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
    MEM_ONLY(what_is_not_built_yet_is_unsupported),
    MEM_ONLY(any_other_text_is_refused),
    ETCD_ONLY(it_is_unsupported_on_etcd),
};
TEST_MAIN()
