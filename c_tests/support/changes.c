#include "changes.h"

#include <time.h>

int64_t change_done(hmkv_op *op) {
  hmkv_result *result = hmkv_await(op);
  CHECK(result);
  hmkv_status status = hmkv_result_status(result);
  if (status != HMKV_OK)
    FAIL("%s: %s", hmkv_status_name(status), status < 0 ? hmkv_result_error(result) : "no");
  int64_t revision = hmkv_result_revision(result);
  CHECK(revision > 0);
  hmkv_result_free(result);
  return revision;
}

int64_t change_put(hmkv *kv, const char *key, const char *value) {
  return change_done(hmkv_put(kv, key, HMKV_NTS, value, HMKV_NTS, NULL));
}

int64_t change_remove(hmkv *kv, const char *key) {
  return change_done(hmkv_remove(kv, key, HMKV_NTS, NULL));
}

int64_t change_remove_prefix(hmkv *kv, const char *prefix) {
  return change_done(hmkv_remove(kv, prefix, HMKV_NTS, HMKV_REMOVE_OPTS(.prefix = 1)));
}

int64_t newest_revision(hmkv *kv) { return change_done(hmkv_ping(kv)); }

void change_something(hmkv *kv, const char *prefix, unsigned *seed) {
  char keys[CHANGED_KEYS][300], value[32];
  int one = rand_r(seed) % CHANGED_KEYS;
  int two = (one + 3) % CHANGED_KEYS, three = (one + 7) % CHANGED_KEYS;
  for (int i = 0; i < CHANGED_KEYS; i++) snprintf(keys[i], sizeof *keys, "%s%d", prefix, i);
  snprintf(value, sizeof value, "%d", rand_r(seed));
  switch (rand_r(seed) % 8) {
    case 0:
    case 1:
      change_remove(kv, keys[one]);
      return;
    case 2: {
      hmkv_txn *txn = hmkv_txn_new(kv);
      hmkv_txn_put(txn, HMKV_THEN, keys[two], HMKV_NTS, value, HMKV_NTS, NULL);
      hmkv_txn_remove(txn, HMKV_THEN, keys[three], HMKV_NTS, NULL);
      hmkv_txn_put(txn, HMKV_THEN, keys[one], HMKV_NTS, value, HMKV_NTS, NULL);
      change_done(hmkv_txn_commit(txn, NULL));
      return;
    }
    case 3:
      change_done(hmkv_remove(kv, keys[3], HMKV_NTS,
                              HMKV_REMOVE_OPTS(.end = keys[6], .end_len = HMKV_NTS)));
      return;
    default:
      change_put(kv, keys[one], value);
  }
}

static void *change(void *arg) {
  struct changer *changer = arg;
  struct timespec pause = {changer->pause_ms / 1000, changer->pause_ms % 1000 * 1000000L};
  while (!atomic_load(&changer->stop)) {
    change_something(changer->kv, changer->prefix, &changer->seed);
    atomic_fetch_add(&changer->changes, 1);
    if (changer->pause_ms > 0) nanosleep(&pause, NULL);
  }
  return NULL;
}

void changer_start(struct changer *changer) {
  atomic_store(&changer->stop, false);
  changer->thread = start_thread(change, changer);
}

void changer_stop(struct changer *changer) {
  atomic_store(&changer->stop, true);
  join_thread(changer->thread);
}
