/* Leases that are granted, and keys on them. What `lost` told: locks.h. */
#ifndef LEASES_H
#define LEASES_H

#include "locks.h"

/* A new lease; `told` may be NULL. */
hmkv_lease *lease_new(hmkv *kv, int64_t ttl_ms, struct told *told);
/* Puts a key on it; the answer must be `expected`. */
void lease_put(hmkv *kv, hmkv_lease *lease, const char *key, hmkv_status expected);
/* Its callback ran, or was not called, and does not run now. */
bool told_once(struct told *told);
bool told_nothing(struct told *told);

#endif
