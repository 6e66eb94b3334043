#include "leases.h"

#include "requests.h"

hmkv_lease *lease_new(hmkv *kv, int64_t ttl_ms, struct told *told) {
  hmkv_lease *lease = NULL;
  CHECK_OK(hmkv_lease_grant(kv, ttl_ms, told ? told_lost : NULL, told, &lease));
  CHECK(lease);
  return lease;
}

void lease_put(hmkv *kv, hmkv_lease *lease, const char *key, hmkv_status expected) {
  int64_t id = hmkv_lease_id(lease);
  CHECK(id > 0);
  FINISH(expected, hmkv_put(kv, key, HMKV_NTS, "on a lease", HMKV_NTS, HMKV_PUT_OPTS(.lease = id)));
}

bool told_once(struct told *told) {
  return atomic_load(&told->lost) == 1 && atomic_load(&told->running) == 0;
}

bool told_nothing(struct told *told) {
  return atomic_load(&told->lost) == 0 && atomic_load(&told->running) == 0;
}
