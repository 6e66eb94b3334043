/* The option `namespace`: watches, leases, temporary keys, locks and elections. */
#include "events.h"
#include "recorder.h"
#include "requests.h"
#include "states.h"
#include "test.h"

static const char *namespace;
static hmkv *kv;    /* in the namespace */
static hmkv *other; /* in another one */
static hmkv *plain; /* in none */

static void begin(void) {
  namespace = unique("app/");
  kv = open_store(text("timeout=20s lock=lock namespace=%s", namespace));
  other = open_store(text("timeout=20s lock=lock namespace=%s", unique("other/")));
  plain = open_store("timeout=20s");
}

static void end(void) {
  close_store(kv);
  close_store(other);
  close_store(plain);
}

/* The key as it is without the namespace. */
static const char *full(const char *name) { return text("%s%s", namespace, name); }

/* Keys before and behind the namespace, and the one that is its name. */
static void put_outside(void) {
  int length = (int)strlen(namespace) - 1;
  put_text(plain, text("%.*s", length, namespace), "outside");
  put_text(plain, text("%.*s0", length, namespace), "outside");
  put_text(plain, namespace, "outside");
  put_text(other, "key", "outside");
}

/* ---- watches ---- */

struct storing {
  hmkv *by;
  const char *key;
  atomic_bool stop;
};

static void *store_again_and_again(void *arg) {
  struct storing *storing = arg;
  while (!atomic_load(&storing->stop)) {
    CHECK_OK(hmkv_store(other, "key", "outside"));
    CHECK_OK(hmkv_store(storing->by, storing->key, "inside"));
    poll_pause();
  }
  return NULL;
}

static void watch_waits_for_the_key_inside(void) {
  struct storing storing = {.by = plain, .key = full("key")};
  char *value = NULL;
  hmkv_keychange op = 0;
  pthread_t thread = start_thread(store_again_and_again, &storing);
  CHECK_OK(hmkv_watch(kv, "key", patience_ms(), &value, &op));
  CHECK_STR("inside", value);
  CHECK_INT(HMKV_KEYCHANGE_PUT, op);
  hmkv_free(value);
  atomic_store(&storing.stop, true);
  join_thread(thread);
}

static void watch_cb_names_the_key_without_the_prefix(void) {
  struct events events = EVENTS_OF("key");
  hmkv_watcher *watcher = NULL;
  CHECK_OK(hmkv_watch_cb(kv, "key", 3, events_record, &events, &watcher));
  put_outside();
  put_text(kv, "key", "1");
  put_text(plain, full("key"), "2");
  FINISH(HMKV_OK, hmkv_remove(plain, full("key"), HMKV_NTS, NULL));
  events_wait(&events, 3);
  CHECK_EVENT(&events, 0, HMKV_KEYCHANGE_PUT, "1");
  CHECK_EVENT(&events, 1, HMKV_KEYCHANGE_PUT, "2");
  CHECK_EVENT(&events, 2, HMKV_KEYCHANGE_DELETE, NULL);
  CHECK_OK(hmkv_watch_cb_cancel(watcher));
  events_free(&events);
}

static void events_come_without_the_prefix_and_from_inside_alone(void) {
  struct recorder all = RECORDER, end = RECORDER, pulled = RECORDER;
  hmkv_watcher *watchers[3] = {NULL};
  put_text(kv, "a", "old");
  put_text(kv, "x", "old");
  put_outside();
  CHECK_OK(hmkv_watch_open(kv, "", 0, HMKV_WATCH_OPTS(.prefix = 1, .snapshot = 1, .prev_kv = 1),
                           recorder_event, &all, &watchers[0]));
  CHECK_OK(hmkv_watch_open(kv, NULL, 0, HMKV_WATCH_OPTS(.end = "b", .end_len = 1),
                           recorder_event, &end, &watchers[1]));
  CHECK_OK(hmkv_watch_open(kv, "x", 1, HMKV_WATCH_OPTS(.prev_kv = 1), NULL, NULL, &watchers[2]));
  put_outside();
  int64_t a = put_text(plain, full("a"), "new"), x = put_text(kv, "x", "new");
  hmkv_result *removed = AWAIT(HMKV_OK, hmkv_remove(kv, "a", 1, NULL));
  int64_t gone = hmkv_result_revision(removed);
  hmkv_result_free(removed);
  recorder_wait(&all, 6);
  CHECK_STR("a", recorder_at(&all, 0).kv.key);
  CHECK_STR("x", recorder_at(&all, 1).kv.key);
  CHECK_INT(HMKV_EVENT_SYNCED, recorder_at(&all, 2).type);
  CHECK_PUT(&all, 3, "a", "new", a);
  CHECK_STR("a", recorder_at(&all, 3).prev.key);
  CHECK_STR("old", recorder_at(&all, 3).prev.value);
  CHECK_PUT(&all, 4, "x", "new", x);
  CHECK_DELETE(&all, 5, "a", gone);
  CHECK_STR("a", recorder_at(&all, 5).prev.key);
  recorder_wait(&end, 2);
  CHECK_PUT(&end, 0, "a", "new", a);
  CHECK_DELETE(&end, 1, "a", gone);
  recorder_pull(&pulled, watchers[2], 1);
  CHECK_PUT(&pulled, 0, "x", "new", x);
  CHECK_STR("x", recorder_at(&pulled, 0).prev.key);
  for (int i = 0; i < 3; i++) CHECK_OK(hmkv_watch_close(watchers[i]));
  recorder_free(&all);
  recorder_free(&end);
  recorder_free(&pulled);
}

/* ---- leases and temporary keys ---- */

static void leases_hold_keys_inside(void) {
  hmkv_lease *lease = NULL;
  CHECK_OK(hmkv_lease_grant(kv, 60000, NULL, NULL, &lease));
  FINISH(HMKV_OK, hmkv_put(kv, "key", 3, "v", 1, HMKV_PUT_OPTS(.lease = hmkv_lease_id(lease))));
  CHECK_INT(hmkv_lease_id(lease), lease_of(plain, full("key")));
  CHECK_INT(hmkv_lease_id(lease), lease_of(kv, "key"));
  CHECK_OK(hmkv_lease_close(lease, true));
  CHECK_VALUE(plain, full("key"), NULL);
}

static void temporary_keys_are_inside(void) {
  hmkv *owner = open_store(text("timeout=20s namespace=%s", namespace));
  CHECK_OK(hmkv_temp_key(owner, "temp"));
  CHECK_VALUE(plain, full("temp"), "1");
  CHECK_VALUE(kv, "temp", "1");
  CHECK_VALUE(other, "temp", NULL);
  close_store(owner);
  CHECK_VALUE(plain, full("temp"), NULL);
}

static void states_name_keys_and_locks_without_the_prefix(void) {
  struct states states = STATES_NONE;
  CHECK_OK(hmkv_on_state(kv, states_record, &states));
  CHECK_OK(hmkv_temp_key(kv, "temp"));
  lose_lease(kv, "temp");
  WAIT_UNTIL(states_count(&states, HMKV_STATE_TEMP_KEY_RESTORED, "temp") == 1);
  WAIT_UNTIL(has_key(plain, full("temp")));
  CHECK_OK(hmkv_dist_lock(kv));
  hmkv_result *queue = list_keys(kv, "lock/");
  CHECK_INT(1, hmkv_result_count(queue));
  lose_lease(kv, hmkv_result_kv(queue, 0)->key);
  hmkv_result_free(queue);
  WAIT_UNTIL(states_count(&states, HMKV_STATE_LOCK_LOST, "lock") == 1);
  CHECK_STATUS(HMKV_ELOST, hmkv_dist_unlock(kv));
  CHECK_OK(hmkv_on_state(kv, NULL, NULL));
  states_free(&states);
}

/* ---- locks ---- */

static void the_lock_of_the_handle_is_inside(void) {
  hmkv *same = open_store(text("lock=lock namespace=%s", namespace));
  CHECK_OK(hmkv_dist_lock(kv));
  CHECK_STATUS(HMKV_BUSY, hmkv_dist_timed_lock(same, 0));
  CHECK_OK(hmkv_dist_timed_lock(other, 0));
  CHECK_INT(1, count_keys(plain, full("lock/")));
  CHECK_OK(hmkv_dist_unlock(kv));
  CHECK_OK(hmkv_dist_timed_lock(same, 0));
  close_store(same);
}

static void named_locks_are_inside(void) {
  hmkv *same = open_store(text("namespace=%s", namespace));
  hmkv_lock *lock = NULL, *theirs = NULL, *busy = NULL;
  CHECK_OK(hmkv_lock_acquire(kv, "job", HMKV_LOCK_OPTS(.value = "v", .value_len = 1), NULL, NULL,
                             &lock));
  CHECK_STATUS(HMKV_BUSY, hmkv_lock_acquire(same, "job", HMKV_LOCK_OPTS(.wait_ms = HMKV_TRY),
                                            NULL, NULL, &busy));
  CHECK_OK(hmkv_lock_acquire(other, "job", HMKV_LOCK_OPTS(.wait_ms = HMKV_TRY), NULL, NULL,
                             &theirs));
  hmkv_result *queue = list_keys(plain, full("job/"));
  CHECK_INT(1, hmkv_result_count(queue));
  CHECK_STR("v", hmkv_result_kv(queue, 0)->value);
  CHECK_INT(hmkv_lock_token(lock), hmkv_result_kv(queue, 0)->create_revision);
  hmkv_result_free(queue);
  CHECK_OK(hmkv_lock_set(lock, "w", 1));
  queue = list_keys(kv, "job/");
  CHECK_STR("w", hmkv_result_kv(queue, 0)->value);
  hmkv_result_free(queue);
  CHECK_OK(hmkv_lock_release(lock));
  CHECK_OK(hmkv_lock_release(theirs));
  CHECK_INT(0, count_keys(plain, full("job/")));
  close_store(same);
}

static hmkv_op *write_if_held(hmkv_lock *lock, const char *value) {
  hmkv_txn *txn = hmkv_txn_new(kv);
  hmkv_txn_if_held(txn, lock);
  hmkv_txn_put(txn, HMKV_THEN, "key", 3, value, HMKV_NTS, NULL);
  return hmkv_txn_commit(txn, NULL);
}

static void a_transaction_is_guarded_by_the_lock_inside(void) {
  hmkv_lock *lock = NULL;
  CHECK_OK(hmkv_lock_acquire(kv, "job", NULL, NULL, NULL, &lock));
  FINISH(HMKV_OK, write_if_held(lock, "held"));
  CHECK_VALUE(plain, full("key"), "held");
  FINISH(HMKV_OK, hmkv_remove(plain, full("job/"), HMKV_NTS, HMKV_REMOVE_OPTS(.prefix = 1)));
  FINISH(HMKV_COMPARE_FAILED, write_if_held(lock, "lost"));
  CHECK_VALUE(kv, "key", "held");
  WAIT_UNTIL(hmkv_lock_left_ms(lock) == 0);
  CHECK_STATUS(HMKV_ELOST, hmkv_lock_release(lock));
}

static void an_observer_sees_the_leader_inside(void) {
  struct recorder seen = RECORDER;
  hmkv_watcher *observer = NULL;
  hmkv_lock *leader = NULL, *theirs = NULL;
  CHECK_OK(hmkv_lock_observe(kv, "job", recorder_event, &seen, &observer));
  CHECK_OK(hmkv_lock_acquire(other, "job", HMKV_LOCK_OPTS(.value = "theirs", .value_len = 6), NULL,
                             NULL, &theirs));
  CHECK_OK(hmkv_lock_acquire(kv, "job", HMKV_LOCK_OPTS(.value = "mine", .value_len = 4), NULL,
                             NULL, &leader));
  recorder_wait(&seen, 1);
  hmkv_result *queue = list_keys(kv, "job/");
  CHECK_STR(hmkv_result_kv(queue, 0)->key, recorder_at(&seen, 0).kv.key);
  CHECK_STR("mine", recorder_at(&seen, 0).kv.value);
  CHECK_OK(hmkv_lock_release(leader));
  recorder_wait(&seen, 2);
  CHECK_INT(HMKV_EVENT_DELETE, recorder_at(&seen, 1).type);
  CHECK_STR(hmkv_result_kv(queue, 0)->key, recorder_at(&seen, 1).kv.key);
  hmkv_result_free(queue);
  CHECK_OK(hmkv_lock_release(theirs));
  CHECK_OK(hmkv_watch_close(observer));
  recorder_free(&seen);
}

static const struct test tests[] = {
    BOTH(watch_waits_for_the_key_inside),
    BOTH(watch_cb_names_the_key_without_the_prefix),
    BOTH(events_come_without_the_prefix_and_from_inside_alone),
    BOTH(leases_hold_keys_inside),
    BOTH(temporary_keys_are_inside),
    BOTH(states_name_keys_and_locks_without_the_prefix),
    BOTH(the_lock_of_the_handle_is_inside),
    BOTH(named_locks_are_inside),
    BOTH(a_transaction_is_guarded_by_the_lock_inside),
    BOTH(an_observer_sees_the_leader_inside),
};
TEST_MAIN(.begin = begin, .end = end)
