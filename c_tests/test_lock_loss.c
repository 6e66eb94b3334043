/* A lock that is lost while it is held. */
#include "states.h"
#include "test.h"

static const char *name, *queue;
static hmkv *kv, *other;
static struct states states;

static void begin(void) {
  name = unique("lock");
  queue = text("%s/", name);
  kv = open_store(text("lock=%s", name));
  other = open_store(text("lock=%s", name));
  states = (struct states)STATES_NONE;
  CHECK_OK(hmkv_on_state(kv, states_record, &states));
  CHECK_OK(hmkv_dist_lock(kv));
}

static void end(void) {
  close_store(kv);
  close_store(other);
  states_free(&states);
}

/* The first key of the queue. */
static const char *lock_key(void) {
  hmkv_result *result = list_keys(other, queue);
  CHECK(hmkv_result_count(result) >= 1);
  const char *key = text("%s", hmkv_result_kv(result, 0)->key);
  hmkv_result_free(result);
  return key;
}

static void wait_for_loss(size_t times) {
  WAIT_UNTIL(states_count(&states, HMKV_STATE_LOCK_LOST, name) == times);
  CHECK_INT(HMKV_LOCK_RSLT_INVALID, hmkv_dist_lock_result(kv));
}

static void lose(void) {
  lose_lease(kv, lock_key());
  wait_for_loss(1);
}

static void a_lost_lease_is_reported_by_the_state_callback(void) {
  lose();
  CHECK_INT(1, states_total(&states));
}

static void the_next_unlock_answers_lost_once(void) {
  lose();
  CHECK_STATUS(HMKV_ELOST, hmkv_dist_unlock(kv));
  CHECK_OK(hmkv_dist_unlock(kv));
}

static void each_loss_is_answered_once(void) {
  lose();
  CHECK_STATUS(HMKV_ELOST, hmkv_dist_unlock(kv));
  CHECK_OK(hmkv_dist_lock(kv));
  lose_lease(kv, lock_key());
  wait_for_loss(2);
  CHECK_STATUS(HMKV_ELOST, hmkv_dist_unlock(kv));
  CHECK_OK(hmkv_dist_unlock(kv));
}

static void after_a_loss_another_gets_it(void) {
  lose();
  CHECK_OK(hmkv_dist_timed_lock(other, 5));
  CHECK_STATUS(HMKV_ELOST, hmkv_dist_unlock(kv)); /* and does not release it */
  CHECK_INT(HMKV_LOCK_GRANTED, hmkv_dist_lock_result(other));
  CHECK_INT(1, count_keys(other, queue));
}

static void after_a_loss_it_queues_anew(void) {
  lose();
  CHECK_OK(hmkv_dist_timed_lock(other, 5));
  CHECK_STATUS(HMKV_BUSY, hmkv_dist_timed_lock(kv, 0));
  CHECK_INT(HMKV_LOCK_OCCUPIED, hmkv_dist_lock_result(kv));
  CHECK_OK(hmkv_dist_unlock(other));
  CHECK_OK(hmkv_dist_timed_lock(kv, 5));
  CHECK_INT(HMKV_LOCK_GRANTED, hmkv_dist_lock_result(kv));
  CHECK_INT(1, count_keys(other, queue));
}

static void a_lock_key_deleted_by_an_operator_is_a_loss(void) {
  CHECK_OK(hmkv_delete(other, lock_key()));
  wait_for_loss(1);
  CHECK_STATUS(HMKV_ELOST, hmkv_dist_unlock(kv));
  CHECK_OK(hmkv_dist_unlock(kv));
  CHECK_OK(hmkv_dist_timed_lock(other, 0));
}

static void *acquire(void *store) {
  CHECK_OK(hmkv_dist_lock(store));
  return NULL;
}

/* Ownership is checked again after waiting. */
static void a_waiter_that_lost_its_place_does_not_get_the_lock_unseen(void) {
  pthread_t waiter = start_thread(acquire, other);
  WAIT_UNTIL(count_keys(kv, queue) == 2);
  hmkv_result *result = list_keys(kv, queue);
  const hmkv_kv *first = hmkv_result_kv(result, 0), *second = hmkv_result_kv(result, 1);
  const hmkv_kv *last = first->create_revision > second->create_revision ? first : second;
  CHECK_OK(hmkv_delete(kv, last->key)); /* its place in the queue */
  hmkv_result_free(result);
  CHECK_OK(hmkv_dist_unlock(kv));
  join_thread(waiter);
  /* It says that it holds the lock: then it stands in the queue, again. */
  CHECK_INT(HMKV_LOCK_GRANTED, hmkv_dist_lock_result(other));
  CHECK_INT(1, count_keys(kv, queue));
  CHECK_STATUS(HMKV_BUSY, hmkv_dist_timed_lock(kv, 0));
}

static void temporary_keys_and_the_lock_are_lost_separately(void) {
  const char *key = unique("temp");
  CHECK_OK(hmkv_temp_key(kv, key));
  int64_t lease = lease_of(other, key);
  CHECK_OK(hmkv_delete(other, lock_key()));
  wait_for_loss(1);
  CHECK_INT(lease, lease_of(other, key));
  CHECK_INT(0, states_count(&states, HMKV_STATE_LEASE_LOST, NULL));
}

static const struct test tests[] = {
    BOTH(a_lost_lease_is_reported_by_the_state_callback),
    BOTH(the_next_unlock_answers_lost_once),
    BOTH(each_loss_is_answered_once),
    BOTH(after_a_loss_another_gets_it),
    BOTH(after_a_loss_it_queues_anew),
    BOTH(a_lock_key_deleted_by_an_operator_is_a_loss),
    BOTH(a_waiter_that_lost_its_place_does_not_get_the_lock_unseen),
    BOTH(temporary_keys_and_the_lock_are_lost_separately),
};
TEST_MAIN(.begin = begin, .end = end)
