/* Temporary keys whose lease is lost: they come back, and the state callback says so. */
#include "events.h"
#include "states.h"
#include "test.h"

static hmkv *kv;
static hmkv *other;
static struct states states;

static void begin(void) {
  states = (struct states)STATES_NONE;
  kv = open_store("temp_ttl=4s");
  other = open_store(NULL);
  CHECK_OK(hmkv_on_state(kv, states_record, &states));
}

static void end(void) {
  close_store(kv);
  close_store(other);
  states_free(&states);
}

static void a_lost_key_is_created_again_under_a_new_lease(void) {
  const char *key = unique("temp");
  CHECK_OK(hmkv_temp_key(kv, key));
  int64_t lease = lease_of(other, key);
  lose_lease(kv, key);
  WAIT_UNTIL(has_key(other, key) && lease_of(other, key) != lease);
  CHECK_VALUE(other, key, "1");
  CHECK(lease_of(other, key) != 0);
}

static void the_state_callback_tells_of_the_loss_and_then_of_each_restored_key(void) {
  const char *a = unique("a"), *b = unique("b"), *c = unique("c");
  CHECK_OK(hmkv_temp_key(kv, a));
  CHECK_OK(hmkv_temp_key(kv, b));
  CHECK_OK(hmkv_temp_key(kv, c));
  lose_lease(kv, a);
  WAIT_UNTIL(states_total(&states) >= 4);
  CHECK_INT(4, states_total(&states));
  CHECK_INT(0, states_place(&states, HMKV_STATE_LEASE_LOST, NULL));
  CHECK_INT(1, states_count(&states, HMKV_STATE_TEMP_KEY_RESTORED, a));
  CHECK_INT(1, states_count(&states, HMKV_STATE_TEMP_KEY_RESTORED, b));
  CHECK_INT(1, states_count(&states, HMKV_STATE_TEMP_KEY_RESTORED, c));
  CHECK_INT(3, count_keys(other, a) + count_keys(other, b) + count_keys(other, c));
  CHECK_INT(lease_of(other, a), lease_of(other, c));
}

static void a_watcher_sees_it_go_and_come_back(void) {
  const char *key = unique("temp");
  struct events events = EVENTS_OF(key);
  hmkv_watcher *watcher = NULL;
  CHECK_OK(hmkv_temp_key(kv, key));
  CHECK_OK(hmkv_watch_cb(other, key, 3, events_record, &events, &watcher));
  lose_lease(kv, key);
  events_wait(&events, 1); /* and the delete ends the watch */
  CHECK_EVENT(&events, 0, HMKV_KEYCHANGE_DELETE, NULL);
  WAIT_UNTIL(has_key(other, key));
  CHECK_OK(hmkv_watch_cb_cancel(watcher));
  events_free(&events);
}

static void a_restored_key_is_renewed_and_gone_at_close(void) {
  const char *key = unique("temp");
  CHECK_OK(hmkv_temp_key(kv, key));
  lose_lease(kv, key);
  WAIT_UNTIL(states_count(&states, HMKV_STATE_TEMP_KEY_RESTORED, key) == 1);
  HOLDS_FOR(5500, has_key(other, key)); /* longer than the TTL */
  close_store(kv);
  CHECK(!has_key(other, key));
  kv = open_store(NULL);
}

static void it_can_be_lost_again_and_again(void) {
  const char *key = unique("temp");
  CHECK_OK(hmkv_temp_key(kv, key));
  for (size_t i = 1; i <= (size_t)rounds(5, 3); i++) {
    lose_lease(kv, key);
    WAIT_UNTIL(states_count(&states, HMKV_STATE_TEMP_KEY_RESTORED, key) == i);
    CHECK_INT(i, states_count(&states, HMKV_STATE_LEASE_LOST, NULL));
    CHECK_VALUE(other, key, "1");
  }
}

static void without_a_state_callback_it_is_restored_too(void) {
  const char *key = unique("temp");
  CHECK_OK(hmkv_on_state(kv, NULL, NULL));
  CHECK_OK(hmkv_temp_key(kv, key));
  int64_t lease = lease_of(other, key);
  lose_lease(kv, key);
  WAIT_UNTIL(has_key(other, key) && lease_of(other, key) != lease);
}

static void the_keys_of_other_handles_are_not_disturbed(void) {
  const char *mine = unique("mine"), *theirs = unique("theirs");
  CHECK_OK(hmkv_temp_key(kv, mine));
  CHECK_OK(hmkv_temp_key(other, theirs));
  int64_t lease = lease_of(other, theirs);
  lose_lease(kv, mine);
  WAIT_UNTIL(states_count(&states, HMKV_STATE_TEMP_KEY_RESTORED, mine) == 1);
  CHECK_INT(lease, lease_of(other, theirs));
  CHECK_INT(0, states_count(&states, HMKV_STATE_TEMP_KEY_RESTORED, theirs));
}

static void new_keys_after_a_loss_hang_on_the_new_lease(void) {
  const char *a = unique("a"), *b = unique("b");
  CHECK_OK(hmkv_temp_key(kv, a));
  lose_lease(kv, a);
  WAIT_UNTIL(states_count(&states, HMKV_STATE_TEMP_KEY_RESTORED, a) == 1);
  CHECK_OK(hmkv_temp_key(kv, b));
  CHECK_INT(lease_of(other, a), lease_of(other, b));
}

static const struct test tests[] = {
    BOTH(a_lost_key_is_created_again_under_a_new_lease),
    BOTH(the_state_callback_tells_of_the_loss_and_then_of_each_restored_key),
    BOTH(a_watcher_sees_it_go_and_come_back),
    BOTH(a_restored_key_is_renewed_and_gone_at_close),
    BOTH(it_can_be_lost_again_and_again),
    BOTH(without_a_state_callback_it_is_restored_too),
    BOTH(the_keys_of_other_handles_are_not_disturbed),
    BOTH(new_keys_after_a_loss_hang_on_the_new_lease),
};
TEST_MAIN(.begin = begin, .end = end)
