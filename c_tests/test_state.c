/* hmkv_on_state: one callback for each store, replaced without a trace. */
#include "states.h"
#include "test.h"

static hmkv *kv;
static const char *key;

static void begin(void) {
  kv = open_store("temp_ttl=4s");
  key = unique("temp");
  CHECK_OK(hmkv_temp_key(kv, key));
}

static void end(void) { close_store(kv); }

static void lose_and_wait(struct states *states, size_t times) {
  lose_lease(kv, key);
  WAIT_UNTIL(states_count(states, HMKV_STATE_TEMP_KEY_RESTORED, key) == times);
}

static void a_new_callback_replaces_the_last(void) {
  struct states one = STATES_NONE, two = STATES_NONE;
  CHECK_OK(hmkv_on_state(kv, states_record, &one));
  lose_and_wait(&one, 1);
  CHECK_OK(hmkv_on_state(kv, states_record, &two));
  size_t before = states_total(&one);
  lose_and_wait(&two, 1);
  CHECK_INT(before, states_total(&one));
  CHECK_OK(hmkv_on_state(kv, NULL, NULL));
  states_free(&one);
  states_free(&two);
}

static void a_callback_hears_of_its_own_store_alone(void) {
  struct states mine = STATES_NONE, theirs = STATES_NONE;
  hmkv *other = open_store(NULL);
  CHECK_OK(hmkv_temp_key(other, unique("other")));
  CHECK_OK(hmkv_on_state(kv, states_record, &mine));
  CHECK_OK(hmkv_on_state(other, states_record, &theirs));
  lose_and_wait(&mine, 1);
  close_store(other);
  CHECK_INT(0, states_total(&theirs));
  CHECK_OK(hmkv_on_state(kv, NULL, NULL));
  states_free(&mine);
}

struct held {
  struct gate gate;
  atomic_int entered, left;
};

static void hold(hmkv_state state, const char *detail, void *userdata) {
  (void)state, (void)detail;
  struct held *held = userdata;
  atomic_fetch_add(&held->entered, 1);
  gate_pass(&held->gate);
  atomic_fetch_add(&held->left, 1);
}

static void *replace(void *returned) {
  CHECK_OK(hmkv_on_state(kv, NULL, NULL));
  atomic_store((atomic_bool *)returned, true);
  return NULL;
}

static void replacing_waits_for_the_running_callback(void) {
  struct held held = {.gate = GATE_CLOSED};
  atomic_bool returned = false;
  CHECK_OK(hmkv_on_state(kv, hold, &held));
  lose_lease(kv, key);
  WAIT_UNTIL(atomic_load(&held.entered) == 1);
  pthread_t thread = start_thread(replace, &returned);
  HOLDS_FOR(200, !atomic_load(&returned));
  CHECK_INT(0, atomic_load(&held.left));
  gate_open(&held.gate);
  join_thread(thread);
  CHECK_INT(1, atomic_load(&held.entered)); /* it ran no more */
  CHECK_INT(1, atomic_load(&held.left));
}

static void a_blocked_state_callback_holds_up_nothing_else(void) {
  struct held held = {.gate = GATE_CLOSED};
  CHECK_OK(hmkv_on_state(kv, hold, &held));
  int64_t lease = lease_of(kv, key);
  lose_lease(kv, key);
  WAIT_UNTIL(atomic_load(&held.entered) == 1);
  WAIT_UNTIL(has_key(kv, key) && lease_of(kv, key) != lease); /* restored all the same */
  CHECK_OK(hmkv_store(kv, unique("key"), "value"));
  HOLDS_FOR(5500, has_key(kv, key)); /* and renewed */
  gate_open(&held.gate);
  WAIT_UNTIL(atomic_load(&held.left) >= 2);
  CHECK_OK(hmkv_on_state(kv, NULL, NULL));
}

static struct states after_replacement;
static atomic_int calls_inside;

static void replace_inside(hmkv_state state, const char *detail, void *userdata) {
  (void)state, (void)detail;
  CHECK(userdata == &calls_inside);
  atomic_fetch_add(&calls_inside, 1);
  CHECK_OK(hmkv_on_state(kv, states_record, &after_replacement));
}

static void it_may_be_replaced_from_inside_itself(void) {
  after_replacement = (struct states)STATES_NONE;
  CHECK_OK(hmkv_on_state(kv, replace_inside, &calls_inside));
  lose_lease(kv, key);
  WAIT_UNTIL(states_count(&after_replacement, HMKV_STATE_TEMP_KEY_RESTORED, key) == 1);
  CHECK_INT(1, atomic_load(&calls_inside));
  CHECK_OK(hmkv_on_state(kv, NULL, NULL));
  states_free(&after_replacement);
}

static atomic_int calls_made;

static void call_everything(hmkv_state state, const char *detail, void *userdata) {
  (void)state, (void)detail;
  const char *own = userdata;
  CHECK_OK(hmkv_store(kv, own, "from the callback"));
  CHECK_VALUE(kv, own, "from the callback");
  CHECK_OK(hmkv_temp_key(kv, text("%s2", own)));
  CHECK_OK(hmkv_dist_unlock(kv));
  CHECK_STATUS(HMKV_EINCALLBACK, hmkv_close(kv));
  atomic_fetch_add(&calls_made, 1);
}

static void it_may_make_any_call_but_closing_its_own_store(void) {
  CHECK_OK(hmkv_on_state(kv, call_everything, (void *)(uintptr_t)unique("key")));
  lose_lease(kv, key);
  WAIT_UNTIL(atomic_load(&calls_made) >= 2);
  CHECK_OK(hmkv_on_state(kv, NULL, NULL));
  CHECK_OK(hmkv_store(kv, unique("key"), "still open"));
}

static void after_close_it_runs_no_more(void) {
  for (int i = 0; i < rounds(50, 10); i++) {
    hmkv *short_lived = open_store(NULL);
    struct states *states = calloc(1, sizeof *states);
    CHECK(states);
    *states = (struct states)STATES_NONE;
    const char *temp = unique("temp");
    CHECK_OK(hmkv_temp_key(short_lived, temp));
    CHECK_OK(hmkv_on_state(short_lived, states_record, states));
    CHECK_OK(hmkv_mem_fault(short_lived, "expire"));
    close_store(short_lived);
    states_free(states);
    memset(states, 0xdd, sizeof *states);
    free(states);
  }
}

static const struct test tests[] = {
    BOTH(a_new_callback_replaces_the_last),
    BOTH(a_callback_hears_of_its_own_store_alone),
    BOTH(replacing_waits_for_the_running_callback),
    BOTH(a_blocked_state_callback_holds_up_nothing_else),
    BOTH(it_may_be_replaced_from_inside_itself),
    BOTH(it_may_make_any_call_but_closing_its_own_store),
    MEM_ONLY(after_close_it_runs_no_more),
};
TEST_MAIN(.begin = begin, .end = end)
