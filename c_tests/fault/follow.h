/* Watches whose every event is kept, and threads that make them: what is watched are
 * `w/000000` to `w/009999`, changed one at a time and up to a hundred at once. */
#ifndef FOLLOW_H
#define FOLLOW_H

#include "bench.h"

enum { WATCHED = 10000, WRITERS = 4 };

struct seen {
  struct change change;
  bool last; /* last_of_revision */
};

struct follower {
  int first, end; /* of the keys */
  bool slow;      /* waits at each event until follower_hurry() */
  bool pulls;     /* by hmkv_watch_next(), in a thread */
  size_t queue_max;
  hmkv_watcher *watcher;
  pthread_t thread;
  atomic_bool hurry, stop;
  pthread_mutex_t mutex;
  struct seen *list;
  size_t count, room;
  int cuts, resyncs, ends;
};

/* A change as an event tells it. */
struct seen seen_of(const hmkv_event *event);
void follower_keep(struct follower *follower, struct seen seen);

/* Opens the watch, at the next revision. */
void follower_start(struct follower *follower, hmkv *kv);
void follower_hurry(struct follower *follower);
size_t follower_count(struct follower *follower);
/* What it saw against the part of its keys since `start`. */
struct mistakes {
  long missing, surplus, split, others; /* events; revisions; resyncs and ends */
  long events, cuts;
};
struct mistakes follower_compare(const struct follower *follower, const struct history *history,
                                 int64_t start);
/* Waits for as many events as the history has and for one more, which it makes at
 * `endpoint`; closes the watch and compares: what it saw before that must be exactly the
 * part of its keys since `start`. Frees it. Only the main thread may. */
struct mistakes follower_finish(struct follower *follower, const struct history *history,
                                int64_t start, const char *endpoint);

struct writers {
  const char *endpoints;
  unsigned seed;
  int pause_ms;
  atomic_bool stop;
  atomic_long events, values;
  pthread_t threads[WRITERS];
  atomic_int started;
};

void writers_start(struct writers *writers);
void writers_stop(struct writers *writers);

#endif
