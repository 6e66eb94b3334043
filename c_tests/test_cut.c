/* A store that is cut off for a time: the same sequence on `mem:`, where it is a fault,
 * and on etcd, where a proxy cuts the connections. */
#include "changes.h"
#include "cut.h"
#include "events.h"
#include "leases.h"
#include "requests.h"
#include "states.h"
#include "test.h"

static struct own_store own;
static struct cut cut;
static hmkv *kv; /* which is cut */
static hmkv *other;
static struct states states;

static void begin(void) {
  own_store_open(&own, NULL);
  other = own.kv;
  cut_prepare(&cut, &own);
  kv = open_at(cut.endpoint, "timeout=20s temp_ttl=4s lock_ttl=4s");
  states = (struct states)STATES_NONE;
  CHECK_OK(hmkv_on_state(kv, states_record, &states));
}

static void end(void) {
  close_store(kv);
  states_free(&states);
  cut_finish(&cut);
  own_store_close(&own);
}

/* ---- requests ---- */

enum { SHORT_MS = 500, LONG_MS = 60000 };

/* A read that is not waited for, of a store that is cut off. */
static void read_fails(hmkv *store) {
  FINISH(HMKV_EUNAVAIL,
         hmkv_range(store, "key", HMKV_NTS, HMKV_RANGE_OPTS(.timeout_ms = SHORT_MS)));
}

/* Who gives up soon was connected before: that may take longer than it would wait. */
static void requests_fail_unsent_or_wait_for_the_end(void) {
  char *value = NULL;
  hmkv *hasty = open_at(cut.endpoint, text("timeout=%dms", SHORT_MS));
  WAIT_UNTIL(hmkv_store(hasty, "key", "before") == HMKV_OK);
  cut_begin(&cut, hasty);
  CHECK_STATUS(HMKV_EUNAVAIL, hmkv_get(hasty, "key", &value));
  CHECK_STATUS(HMKV_EUNAVAIL, hmkv_store(hasty, "key", "refused"));
  CHECK_STATUS(HMKV_EUNAVAIL, hmkv_tas(hasty, "key", "before", "refused"));
  CHECK_STATUS(HMKV_EUNAVAIL, hmkv_temp_key(hasty, "temp"));
  FINISH(HMKV_EUNAVAIL, hmkv_ping(hasty));
  struct answer answer = {0};
  hmkv_put_opts *wait = HMKV_PUT_OPTS(.timeout_ms = LONG_MS);
  hmkv_op *waits = hmkv_put(hasty, "waits", HMKV_NTS, "1", HMKV_NTS, wait);
  hmkv_op *canceled = hmkv_put(hasty, "key", HMKV_NTS, "canceled", HMKV_NTS, wait);
  hmkv_then(hmkv_range(hasty, "key", HMKV_NTS, HMKV_RANGE_OPTS(.timeout_ms = LONG_MS)),
            answer_record, &answer);
  CHECK_STATUS(HMKV_ECANCELED, hmkv_cancel(canceled));
  CHECK_VALUE(other, "key", "before");
  CHECK_INT(0, atomic_load(&answer.calls));
  cut_end(&cut, hasty);
  FINISH(HMKV_OK, waits);
  CHECK_STR("before", hmkv_result_kv(ANSWERED(HMKV_OK, &answer), 0)->value);
  answer_free(&answer);
  CHECK_VALUE(other, "key", "before");
  CHECK(has_key(other, "waits") && !has_key(other, "temp"));
  close_store(hasty);
}

/* ---- watches ---- */

/* Events in their order, one word each. */
struct story {
  pthread_mutex_t mutex;
  char words[1024];
};
#define STORY {.mutex = PTHREAD_MUTEX_INITIALIZER}

static void tell(struct story *story, const hmkv_event *event) {
  const char *word = "?";
  if (event->type == HMKV_EVENT_STATE) word = hmkv_status_name(event->status);
  if (event->type == HMKV_EVENT_PUT) word = text("%s=%s", event->kv->key, event->kv->value);
  if (event->type == HMKV_EVENT_DELETE) word = text("-%s", event->kv->key);
  if (event->type == HMKV_EVENT_RESYNC) word = "resync";
  CHECK((event->type == HMKV_EVENT_STATE && event->status < 0) == (strncmp(word, "HMKV_E", 6) == 0));
  pthread_mutex_lock(&story->mutex);
  CHECK(strlen(story->words) + strlen(word) + 2 < sizeof story->words);
  strcat(strcat(story->words, word), " ");
  pthread_mutex_unlock(&story->mutex);
}

static void story_event(const hmkv_event *event, void *userdata) { tell(userdata, event); }

static bool is_told(struct story *story, const char *words) {
  pthread_mutex_lock(&story->mutex);
  bool told = strcmp(story->words, words) == 0;
  pthread_mutex_unlock(&story->mutex);
  return told;
}

/* Waits until the watch has told that; `pulled` is the watcher where it has no callback. */
static void wait_told(struct story *story, hmkv_watcher *pulled, const char *words) {
  int64_t end = now_ms() + patience_ms();
  while (!is_told(story, words)) {
    const hmkv_event *event = NULL;
    if (now_ms() > end) FAIL("told: %s, not: %s", story->words, words);
    if (pulled && hmkv_watch_next(pulled, 10, &event) == HMKV_OK) tell(story, event);
    if (!pulled) poll_pause();
  }
}

static void event_watches_tell_of_the_cut_and_miss_nothing(void) {
  struct story pushed = STORY, pulled = STORY;
  hmkv_watcher *push = NULL, *next = NULL;
  CHECK_OK(hmkv_watch_open(kv, "k", HMKV_NTS, HMKV_WATCH_OPTS(.prefix = 1), story_event, &pushed,
                           &push));
  CHECK_OK(hmkv_watch_open(kv, "k", HMKV_NTS, HMKV_WATCH_OPTS(.prefix = 1), NULL, NULL, &next));
  CHECK_OK(hmkv_store(kv, "k1", "1"));
  wait_told(&pushed, NULL, "k1=1 ");
  wait_told(&pulled, next, "k1=1 ");
  cut_begin(&cut, kv);
  wait_told(&pushed, NULL, "k1=1 HMKV_EUNAVAIL ");
  wait_told(&pulled, next, "k1=1 HMKV_EUNAVAIL ");
  CHECK_OK(hmkv_store(other, "k1", "2"));
  CHECK_OK(hmkv_store(other, "k2", "3"));
  CHECK_OK(hmkv_delete(other, "k1"));
  cut_end(&cut, kv);
  static const char *const all = "k1=1 HMKV_EUNAVAIL HMKV_OK k1=2 k2=3 -k1 ";
  wait_told(&pushed, NULL, all);
  wait_told(&pulled, next, all);
  CHECK_OK(hmkv_store(other, "k3", "4"));
  wait_told(&pushed, NULL, text("%sk3=4 ", all));
  wait_told(&pulled, next, text("%sk3=4 ", all));
  CHECK_OK(hmkv_watch_close(push));
  CHECK_OK(hmkv_watch_close(next));
}

static void what_was_compacted_meanwhile_comes_as_the_difference(void) {
  struct story pushed = STORY;
  hmkv_watcher *watcher = NULL;
  CHECK_OK(hmkv_store(other, "k1", "1"));
  CHECK_OK(hmkv_watch_open(kv, "k", HMKV_NTS, HMKV_WATCH_OPTS(.prefix = 1), story_event, &pushed,
                           &watcher));
  cut_begin(&cut, kv);
  wait_told(&pushed, NULL, "HMKV_EUNAVAIL ");
  CHECK_OK(hmkv_store(other, "k2", "2"));
  CHECK_OK(hmkv_store(other, "k2", "3"));
  CHECK_OK(hmkv_delete(other, "k1"));
  CHECK_OK(hmkv_store(other, "x", "4"));
  own_store_compact(&own);
  cut_end(&cut, kv);
  wait_told(&pushed, NULL, "HMKV_EUNAVAIL HMKV_OK k2=3 -k1 resync ");
  CHECK_OK(hmkv_watch_close(watcher));
}

static void watches_with_a_callback_go_on(void) {
  struct events events = EVENTS_OF("key");
  hmkv_watcher *watcher = NULL;
  CHECK_OK(hmkv_watch_cb(kv, "key", HMKV_KEYCHANGE_PUT, events_record, &events, &watcher));
  cut_begin(&cut, kv);
  CHECK_OK(hmkv_store(other, "key", "1"));
  CHECK_OK(hmkv_store(other, "key", "2"));
  CHECK_INT(0, events_count(&events));
  cut_end(&cut, kv);
  events_wait(&events, 2);
  CHECK_EVENT(&events, 0, HMKV_KEYCHANGE_PUT, "1");
  CHECK_EVENT(&events, 1, HMKV_KEYCHANGE_PUT, "2");
  CHECK_OK(hmkv_watch_cb_cancel(watcher));
  events_free(&events);
}

/* ---- leases and locks ---- */

static void a_cut_longer_than_the_ttl_loses_leases_and_locks(void) {
  struct told lock_told = {0}, lease_told = {0};
  CHECK_OK(hmkv_temp_key(kv, "temp"));
  CHECK_OK(hmkv_dist_lock(kv));
  hmkv_lease *lease = lease_new(kv, 4000, &lease_told);
  lease_put(kv, lease, "leased", HMKV_OK);
  hmkv_lock_opts *opts = HMKV_LOCK_OPTS(.ttl_ms = 6000, .margin_ms = 2000);
  hmkv_lock *lock = take_with(kv, "lock", opts, &lock_told);
  struct waiter waiter;
  waiter_start(&waiter, other, "lock", NULL);
  cut_begin(&cut, kv);
  WAIT_UNTIL(atomic_load(&lock_told.lost) == 1 && atomic_load(&lease_told.lost) == 1);
  WAIT_UNTIL(states_count(&states, HMKV_STATE_LEASE_LOST, NULL) == 1);
  WAIT_UNTIL(states_count(&states, HMKV_STATE_LOCK_LOST, HMKV_DIST_LOCK_KEY) == 1);
  CHECK_OK(waiter_join(&waiter));
  CHECK(atomic_load(&lock_told.lost_ms) <= atomic_load(&waiter.returned_ms));
  CHECK_INT(0, hmkv_lock_left_ms(lock));
  CHECK_STATUS(HMKV_ELOST, hmkv_lock_set(lock, "late", HMKV_NTS));
  WAIT_UNTIL(!has_key(other, "temp") && !has_key(other, "leased"));
  CHECK_INT(0, states_count(&states, HMKV_STATE_TEMP_KEY_RESTORED, NULL));
  CHECK_OK(hmkv_dist_lock(other));
  cut_end(&cut, kv);
  WAIT_UNTIL(states_count(&states, HMKV_STATE_TEMP_KEY_RESTORED, "temp") == 1);
  CHECK(has_key(other, "temp") && !has_key(other, "leased"));
  CHECK_STATUS(HMKV_ELOST, hmkv_dist_unlock(kv));
  CHECK_STATUS(HMKV_ELOST, hmkv_lock_release(lock));
  CHECK_STATUS(HMKV_ELOST, hmkv_lease_close(lease, true));
  CHECK_OK(hmkv_dist_unlock(other));
  CHECK_OK(hmkv_lock_release(waiter.lock));
}

static void a_cut_shorter_than_the_ttl_loses_nothing(void) {
  struct told told = {0};
  hmkv_lock *lock = take_with(kv, "lock", HMKV_LOCK_OPTS(.ttl_ms = 60000), &told);
  CHECK_OK(hmkv_dist_lock(kv));
  cut_begin(&cut, kv);
  read_fails(kv);
  cut_end(&cut, kv);
  WAIT_UNTIL(hmkv_store(kv, "key", "back") == HMKV_OK);
  CHECK_OK(hmkv_lock_set(lock, "still mine", HMKV_NTS));
  CHECK_OK(hmkv_lock_release(lock));
  CHECK(told_nothing(&told));
}

static void who_waits_for_a_lock_waits_on(void) {
  hmkv_lock *lock = take(other, "lock", NULL);
  struct waiter waiter;
  waiter_start(&waiter, kv, "lock", HMKV_LOCK_OPTS(.ttl_ms = 60000));
  cut_begin(&cut, kv);
  read_fails(kv);
  CHECK_OK(hmkv_lock_release(lock));
  CHECK(!atomic_load(&waiter.returned));
  cut_end(&cut, kv);
  CHECK_OK(waiter_join(&waiter));
  CHECK_OK(hmkv_lock_release(waiter.lock));
}

static void close_ends_within_its_time_and_leases_by_themselves(void) {
  hmkv *closed = open_at(cut.endpoint, "timeout=60s close_timeout=300ms temp_ttl=2s");
  CHECK_OK(hmkv_temp_key(closed, "temp"));
  cut_begin(&cut, closed);
  hmkv_op *op = hmkv_put(closed, "key", HMKV_NTS, "unsent", HMKV_NTS, NULL);
  close_store(closed);
  hmkv_result *result = hmkv_await(op);
  CHECK(hmkv_result_status(result) == HMKV_ECLOSED ||
        (on_etcd() && hmkv_result_status(result) == HMKV_EINDETERMINATE));
  hmkv_result_free(result);
  WAIT_UNTIL(!has_key(other, "temp"));
  CHECK(!has_key(other, "key"));
  if (on_etcd()) cut_end(&cut, kv);
}

static const struct test tests[] = {
    BOTH(requests_fail_unsent_or_wait_for_the_end),
    BOTH(event_watches_tell_of_the_cut_and_miss_nothing),
    BOTH(what_was_compacted_meanwhile_comes_as_the_difference),
    BOTH(watches_with_a_callback_go_on),
    BOTH(a_cut_longer_than_the_ttl_loses_leases_and_locks),
    BOTH(a_cut_shorter_than_the_ttl_loses_nothing),
    BOTH(who_waits_for_a_lock_waits_on),
    BOTH(close_ends_within_its_time_and_leases_by_themselves),
};
TEST_MAIN(.begin = begin, .end = end)
