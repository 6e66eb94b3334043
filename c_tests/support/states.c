#include "states.h"

void states_record(hmkv_state state, const char *detail, void *userdata) {
  struct states *states = userdata;
  CHECK_INT(0, atomic_fetch_add(&states->running, 1)); /* one call at a time */
  CHECK(detail && !strchr(detail, '\n'));
  pthread_mutex_lock(&states->mutex);
  CHECK(states->count < STATES_MAX);
  states->state[states->count] = state;
  states->detail[states->count++] = strdup(detail);
  pthread_mutex_unlock(&states->mutex);
  atomic_fetch_sub(&states->running, 1);
}

static bool is_about_the_way(hmkv_state state) {
  return state == HMKV_STATE_CONNECTED || state == HMKV_STATE_CUT || state == HMKV_STATE_ENDPOINT;
}

static bool is(struct states *states, size_t i, hmkv_state state, const char *detail) {
  return states->state[i] == state && (!detail || strcmp(states->detail[i], detail) == 0);
}

size_t states_count(struct states *states, hmkv_state state, const char *detail) {
  size_t count = 0;
  pthread_mutex_lock(&states->mutex);
  for (size_t i = 0; i < states->count; i++) count += is(states, i, state, detail);
  pthread_mutex_unlock(&states->mutex);
  return count;
}

size_t states_total(struct states *states) {
  size_t count = 0;
  pthread_mutex_lock(&states->mutex);
  for (size_t i = 0; i < states->count; i++) count += !is_about_the_way(states->state[i]);
  pthread_mutex_unlock(&states->mutex);
  return count;
}

size_t states_place(struct states *states, hmkv_state state, const char *detail) {
  pthread_mutex_lock(&states->mutex);
  size_t i = 0, place = 0;
  for (; i < states->count && !is(states, i, state, detail); i++)
    place += !is_about_the_way(states->state[i]);
  CHECK(i < states->count);
  pthread_mutex_unlock(&states->mutex);
  return place;
}

void states_free(struct states *states) {
  for (size_t i = 0; i < states->count; i++) free(states->detail[i]);
  states->count = 0;
}
