#include "follow.h"

enum { SILENCE_MS = 15000 }; /* after it no more events are waited for */

/* ---- watching ---- */

static void keep(struct follower *f, const hmkv_event *event) {
  if (f->count == f->room) {
    f->room = f->room ? 2 * f->room : 1024;
    f->list = realloc(f->list, f->room * sizeof *f->list);
    CHECK(f->list);
  }
  bool is_put = event->type == HMKV_EVENT_PUT;
  f->list[f->count++] = (struct seen){
      {event->revision, atoi(event->kv->key + 2), is_put ? atoll(event->kv->value) : ABSENT},
      event->last_of_revision};
}

static void on_event(const hmkv_event *event, void *userdata) {
  struct follower *f = userdata;
  pthread_mutex_lock(&f->mutex);
  switch (event->type) {
    case HMKV_EVENT_PUT:
    case HMKV_EVENT_DELETE:
      keep(f, event);
      break;
    case HMKV_EVENT_STATE:
      f->cuts += event->status < 0;
      break;
    case HMKV_EVENT_RESYNC:
      f->resyncs++;
      break;
    default:
      f->ends++;
  }
  pthread_mutex_unlock(&f->mutex);
  if (f->slow && !atomic_load(&f->hurry)) bench_sleep(20);
}

static void *pull(void *arg) {
  struct follower *f = arg;
  while (!atomic_load(&f->stop)) {
    const hmkv_event *event = NULL;
    hmkv_status status = hmkv_watch_next(f->watcher, 100, &event);
    if (status == HMKV_TIMED_OUT) continue;
    CHECK_OK(status);
    on_event(event, f);
  }
  return NULL;
}

static const char *watched_key(int key) { return text("w/%06d", key); }

void follower_start(struct follower *f, hmkv *kv) {
  const char *end = f->end - f->first > 1 ? watched_key(f->end) : NULL;
  pthread_mutex_init(&f->mutex, NULL);
  CHECK_OK(hmkv_watch_open(kv, watched_key(f->first), HMKV_NTS,
                           HMKV_WATCH_OPTS(.end = end, .end_len = end ? HMKV_NTS : 0,
                                           .queue_max = f->queue_max),
                           f->pulls ? NULL : on_event, f, &f->watcher));
  if (f->pulls) f->thread = start_thread(pull, f);
}

void follower_hurry(struct follower *f) { atomic_store(&f->hurry, true); }

size_t follower_count(struct follower *f) {
  pthread_mutex_lock(&f->mutex);
  size_t count = f->count;
  pthread_mutex_unlock(&f->mutex);
  return count;
}

/* ---- comparing ---- */

static bool is_mine(const struct follower *f, const struct change *change, int64_t start) {
  return change->revision > start && change->key >= f->first && change->key < f->end;
}

static bool same(const struct change *a, const struct change *b) {
  return a->revision == b->revision && a->key == b->key && a->value == b->value;
}

/* What is out of order is missing where it belongs and surplus where it stands. */
static void compare(struct follower *f, const struct history *h, int64_t start,
                    struct mistakes *m) {
  size_t at = 0;
  for (size_t i = 0; i < h->change_count; i++) {
    if (!is_mine(f, &h->changes[i], start)) continue;
    while (at < f->count && f->list[at].change.revision < h->changes[i].revision) {
      m->surplus++;
      at++;
    }
    if (at < f->count && same(&f->list[at].change, &h->changes[i])) {
      at++;
    } else {
      m->missing++;
    }
  }
  m->surplus += (long)(f->count - at);
  for (size_t i = 0; i < f->count; i++) {
    bool last = i + 1 == f->count || f->list[i + 1].change.revision != f->list[i].change.revision;
    m->split += f->list[i].last != last;
  }
}

struct mistakes follower_finish(struct follower *f, const struct history *history, int64_t start) {
  struct mistakes m = {0};
  size_t wanted = 0;
  for (size_t i = 0; i < history->change_count; i++)
    wanted += is_mine(f, &history->changes[i], start);
  follower_hurry(f);
  size_t count = 0;
  for (int64_t end = now_ms() + SILENCE_MS; count < wanted && now_ms() < end; poll_pause()) {
    if (follower_count(f) != count) end = now_ms() + SILENCE_MS;
    count = follower_count(f);
  }
  bench_sleep(200); /* for one too many */
  atomic_store(&f->stop, true);
  if (f->pulls) join_thread(f->thread);
  CHECK_OK(hmkv_watch_close(f->watcher));
  compare(f, history, start, &m);
  m.events = (long)f->count;
  m.cuts = f->cuts;
  m.others = f->resyncs + f->ends;
  free(f->list);
  pthread_mutex_destroy(&f->mutex);
  return m;
}

/* ---- writing ---- */

static int draw_key(unsigned *seed) {
  return rand_r(seed) % 2 ? rand_r(seed) % 100 : rand_r(seed) % WATCHED;
}

/* One revision of `size` changes, a tenth of them deletions. */
static hmkv_op *many(hmkv *kv, struct writers *w, unsigned *seed, int size) {
  hmkv_txn *txn = hmkv_txn_new(kv);
  int first = rand_r(seed) % (WATCHED - size);
  if (rand_r(seed) % 2) first %= 100;
  for (int i = 0; i < size; i++) {
    char key[16], value[24];
    snprintf(key, sizeof key, "w/%06d", first + i);
    snprintf(value, sizeof value, "%ld", atomic_fetch_add(&w->values, 1));
    if (rand_r(seed) % 10 == 0) {
      hmkv_txn_remove(txn, HMKV_THEN, key, HMKV_NTS, NULL);
    } else {
      hmkv_txn_put(txn, HMKV_THEN, key, HMKV_NTS, value, HMKV_NTS, NULL);
    }
  }
  return hmkv_txn_commit(txn, NULL);
}

static hmkv_op *single(hmkv *kv, struct writers *w, unsigned *seed) {
  char key[16], value[24];
  snprintf(key, sizeof key, "w/%06d", draw_key(seed));
  snprintf(value, sizeof value, "%ld", atomic_fetch_add(&w->values, 1));
  if (rand_r(seed) % 10 == 0) return hmkv_remove(kv, key, HMKV_NTS, NULL);
  return hmkv_put(kv, key, HMKV_NTS, value, HMKV_NTS, NULL);
}

static void *write_on(void *arg) {
  struct writers *w = arg;
  int number = atomic_fetch_add(&w->started, 1);
  unsigned seed = w->seed + (unsigned)number * 7919;
  hmkv *kv = open_at(w->endpoints, "timeout=1s");
  while (!atomic_load(&w->stop)) {
    int size = rand_r(&seed) % 8 ? 1 : 1 + rand_r(&seed) % 100;
    hmkv_result *result = hmkv_await(size == 1 ? single(kv, w, &seed) : many(kv, w, &seed, size));
    hmkv_status status = hmkv_result_status(result);
    if (status < 0 && status != HMKV_EUNAVAIL && status != HMKV_EINDETERMINATE)
      FAIL("%s: %s", hmkv_status_name(status), hmkv_result_error(result));
    if (status >= 0) atomic_fetch_add(&w->events, size);
    hmkv_result_free(result);
    bench_sleep(w->pause_ms);
  }
  close_store(kv);
  return NULL;
}

void writers_start(struct writers *w) {
  for (int i = 0; i < WRITERS; i++) w->threads[i] = start_thread(write_on, w);
}

void writers_stop(struct writers *w) {
  atomic_store(&w->stop, true);
  for (int i = 0; i < WRITERS; i++) join_thread(w->threads[i]);
}
