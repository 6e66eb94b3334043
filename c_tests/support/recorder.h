/* What an event watch told, kept in order. Each event is checked for what holds of
 * every one as it comes. */
#ifndef RECORDER_H
#define RECORDER_H

#include "test.h"

struct recorded_kv {
  char *key; /* NULL: the event had none */
  size_t key_len;
  char *value;
  size_t value_len;
  int64_t create_revision, mod_revision, version, lease;
};

struct recorded {
  int32_t type;
  bool last; /* last_of_revision */
  struct recorded_kv kv, prev;
  int64_t revision;
  hmkv_status status;
  char *detail; /* NULL for none */
};

struct recorded_list {
  struct recorded *items;
  size_t count, capacity;
};

struct recorder {
  pthread_mutex_t mutex;
  struct recorded_list events; /* all but STATE */
  struct recorded_list states; /* which no test but those of outages foresees */
  struct gate *hold;           /* the callback waits here each time; NULL: nowhere */
  atomic_int entered;          /* calls that began */
  atomic_int running;
  atomic_int freed;
};

#define RECORDER {.mutex = PTHREAD_MUTEX_INITIALIZER}

/* The callback, and a userdata_free that counts; their userdata is a struct recorder. */
void recorder_event(const hmkv_event *event, void *userdata);
void recorder_freed(void *userdata);
/* Takes events of a watcher without callback until there are `count`. */
void recorder_pull(struct recorder *recorder, hmkv_watcher *watcher, size_t count);

size_t recorder_count(struct recorder *recorder);
size_t recorder_states(struct recorder *recorder);
/* How many of a type there are. */
size_t recorder_count_of(struct recorder *recorder, int32_t type);
/* Waits until there are `count`, and checks that there are no more. */
void recorder_wait(struct recorder *recorder, size_t count);
/* Waits until the last that is about `key` stored `value`, and the step that it is of is whole:
 * closing may come in the middle of one. */
void recorder_wait_put(struct recorder *recorder, const char *key, const char *value);
/* One of them; it must exist. */
struct recorded recorder_at(struct recorder *recorder, size_t i);
/* The last that is about a key, or one of type 0. */
struct recorded recorder_last_of(struct recorder *recorder, const char *key);
void recorder_free(struct recorder *recorder);

/* ---- of all that was recorded, when nothing more is to come ---- */

/* Whole revisions in their order, each key once, last_of_revision on the last alone;
 * snapshots sorted; snapshots and differences each before the revisions after them. */
void recorder_check_order(struct recorder *recorder);
/* Of each key the versions step by one: no change is missed or doubled. */
void recorder_check_versions(struct recorder *recorder);
/* Who follows the events has what the store has below `prefix`. */
void recorder_check_view(struct recorder *recorder, hmkv *kv, const char *prefix);
/* `count` events of `other` from `j` on are equal to those from `i` on. */
void recorder_check_equal(struct recorder *recorder, size_t i, struct recorder *other, size_t j,
                          size_t count);

/* ---- one event ---- */

#define CHECK_CHANGE(recorder, i, expected_type, expected_key, expected_value, expected_revision,  \
                     expected_last)                                                                \
  do {                                                                                             \
    struct recorded recorded_ = recorder_at((recorder), (i));                                      \
    CHECK_INT((expected_type), recorded_.type);                                                    \
    CHECK_STR((expected_key), recorded_.kv.key);                                                   \
    CHECK_STR((expected_value), recorded_.kv.value);                                               \
    CHECK_INT((expected_revision), recorded_.revision);                                            \
    CHECK_INT((expected_revision), recorded_.kv.mod_revision);                                     \
    CHECK_INT((expected_last), recorded_.last);                                                    \
  } while (0)
/* The only change of its revision. */
#define CHECK_PUT(recorder, i, key, value, revision) \
  CHECK_CHANGE(recorder, i, HMKV_EVENT_PUT, key, value, revision, true)
#define CHECK_DELETE(recorder, i, key, revision) \
  CHECK_CHANGE(recorder, i, HMKV_EVENT_DELETE, key, "", revision, true)
/* SYNCED or RESYNC. */
#define CHECK_MARK(recorder, i, expected_type, expected_revision)  \
  do {                                                             \
    struct recorded recorded_ = recorder_at((recorder), (i));      \
    CHECK_INT((expected_type), recorded_.type);                    \
    CHECK_INT((expected_revision), recorded_.revision);            \
  } while (0)

#endif
