#include "life.h"

static const char *const keys[] = {"daemon/leased", "daemon/temp"};

const char *life_options(int ttl_s) {
  return text("lock=daemon/dist temp_ttl=%ds lock_ttl=%ds", ttl_s, ttl_s);
}

static int64_t created(hmkv *kv, const char *key) {
  hmkv_result *result = read_key(kv, key);
  int64_t revision = hmkv_result_kv(result, 0)->create_revision;
  hmkv_result_free(result);
  return revision;
}

void life_begin(struct life *life, hmkv *kv, int ttl_s) {
  *life = (struct life){.kv = kv, .states = STATES_NONE, .events = EVENTS_OF("daemon/watched"),
                        .recorder = RECORDER};
  CHECK_OK(hmkv_on_state(kv, states_record, &life->states));
  CHECK_OK(hmkv_watch_cb(kv, "daemon/watched", 3, events_record, &life->events, &life->cb));
  CHECK_OK(hmkv_watch_open(kv, "daemon/watched", HMKV_NTS, HMKV_WATCH_OPTS(.prefix = 1),
                           recorder_event, &life->recorder, &life->watch));
  life->lease = lease_new(kv, 1000 * ttl_s, &life->lease_told);
  lease_put(kv, life->lease, keys[0], HMKV_OK);
  CHECK_OK(hmkv_temp_key(kv, keys[1]));
  CHECK_OK(hmkv_dist_lock(kv));
  const hmkv_lock_opts *opts = HMKV_LOCK_OPTS(.wait_ms = HMKV_TRY, .ttl_ms = 1000 * ttl_s);
  life->lock = take_with(kv, "daemon/named", opts, &life->lock_told);
  for (int i = 0; i < 2; i++) life->created[i] = created(kv, keys[i]);
  life->created[2] = created(kv, queue_key(kv, "daemon/dist", 0));
  life->created[3] = hmkv_lock_token(life->lock);
}

void life_goes_on(struct life *life) {
  hmkv *kv = life->kv;
  CHECK_OK(hmkv_store(kv, "daemon/watched", text("%d", life->puts++)));
  events_wait(&life->events, (size_t)life->puts);
  recorder_wait(&life->recorder, (size_t)life->puts);
  CHECK(told_nothing(&life->lease_told) && told_nothing(&life->lock_told));
  CHECK_INT(0, states_total(&life->states));
  CHECK(hmkv_lease_left_ms(life->lease) > 0);
  CHECK(hmkv_lock_left_ms(life->lock) > 0);
  CHECK_INT(HMKV_LOCK_GRANTED, hmkv_dist_lock_result(kv));
  for (int i = 0; i < 2; i++) CHECK_INT(life->created[i], created(kv, keys[i]));
  CHECK_INT(life->created[2], created(kv, queue_key(kv, "daemon/dist", 0)));
  CHECK_INT(life->created[3], created(kv, queue_key(kv, "daemon/named", 0)));
}

void life_end(struct life *life) {
  hmkv *kv = life->kv;
  CHECK_OK(hmkv_watch_cb_cancel(life->cb));
  CHECK_OK(hmkv_watch_close(life->watch));
  CHECK_INT(life->puts, recorder_count_of(&life->recorder, HMKV_EVENT_PUT));
  recorder_check_versions(&life->recorder);
  CHECK_OK(hmkv_lock_release(life->lock));
  CHECK_OK(hmkv_dist_unlock(kv));
  CHECK_OK(hmkv_lease_close(life->lease, true));
  CHECK(!has_key(kv, keys[0]));
  events_free(&life->events);
  recorder_free(&life->recorder);
  states_free(&life->states);
}
