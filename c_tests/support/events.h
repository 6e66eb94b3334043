/* What a watch reported, kept in order. */
#ifndef EVENTS_H
#define EVENTS_H

#include "test.h"

struct event {
  hmkv_keychange op;
  char *value; /* NULL for none */
};

struct events {
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  struct event *list;
  size_t count;
  size_t capacity;
  size_t end_after; /* the callback returns false at this count; 0: never */
  struct gate *hold; /* the callback waits here each time; NULL: nowhere */
  const char *key;   /* what each event must name */
  atomic_int running;
};

#define EVENTS_OF(watched) \
  {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .key = (watched)}

/* The callback; its userdata is a struct events. */
bool events_record(const char *key, const char *value, hmkv_keychange op, void *userdata);
size_t events_count(struct events *events);
/* Waits until there are `count`, and checks that there are no more. */
void events_wait(struct events *events, size_t count);
/* One of them; it must exist. */
struct event events_at(struct events *events, size_t i);
#define CHECK_EVENT(events, i, expected_op, expected_value)       \
  do {                                                            \
    CHECK_INT((expected_op), events_at((events), (i)).op);        \
    CHECK_STR((expected_value), events_at((events), (i)).value);  \
  } while (0)
void events_free(struct events *events);

#endif
