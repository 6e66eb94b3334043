#include "events.h"

bool events_record(const char *key, const char *value, hmkv_keychange op, void *userdata) {
  struct events *events = userdata;
  CHECK_INT(0, atomic_fetch_add(&events->running, 1)); /* one call at a time */
  CHECK_STR(events->key, key);
  if (events->hold) gate_pass(events->hold);
  pthread_mutex_lock(&events->mutex);
  if (events->count == events->capacity) {
    events->capacity = events->capacity ? 2 * events->capacity : 16;
    events->list = realloc(events->list, events->capacity * sizeof *events->list);
    CHECK(events->list);
  }
  struct event *event = &events->list[events->count++];
  event->op = op;
  event->value = value ? strdup(value) : NULL;
  bool go_on = events->count != events->end_after;
  pthread_cond_broadcast(&events->changed);
  pthread_mutex_unlock(&events->mutex);
  atomic_fetch_sub(&events->running, 1);
  return go_on;
}

size_t events_count(struct events *events) {
  pthread_mutex_lock(&events->mutex);
  size_t count = events->count;
  pthread_mutex_unlock(&events->mutex);
  return count;
}

void events_wait(struct events *events, size_t count) {
  WAIT_UNTIL(events_count(events) >= count);
  CHECK_INT(count, events_count(events));
}

struct event events_at(struct events *events, size_t i) {
  pthread_mutex_lock(&events->mutex);
  CHECK(i < events->count);
  struct event event = events->list[i];
  pthread_mutex_unlock(&events->mutex);
  return event;
}

void events_free(struct events *events) {
  for (size_t i = 0; i < events->count; i++) free(events->list[i].value);
  free(events->list);
  events->list = NULL;
  events->count = events->capacity = 0;
}
