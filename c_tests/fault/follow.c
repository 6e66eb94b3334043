#include "follow.h"

#include "process.h"

enum { SILENCE_MS = 15000 }; /* after it no more events are waited for */

/* ---- watching ---- */

struct seen seen_of(const hmkv_event *event) {
  bool is_put = event->type == HMKV_EVENT_PUT;
  return (struct seen){
      {event->revision, atoi(event->kv->key + 2), is_put ? atoll(event->kv->value) : ABSENT},
      event->last_of_revision};
}

void follower_keep(struct follower *f, struct seen seen) {
  if (f->count == f->room) {
    f->room = f->room ? 2 * f->room : 1024;
    f->list = realloc(f->list, f->room * sizeof *f->list);
    CHECK(f->list);
  }
  f->list[f->count++] = seen;
}

static void on_event(const hmkv_event *event, void *userdata) {
  struct follower *f = userdata;
  pthread_mutex_lock(&f->mutex);
  switch (event->type) {
    case HMKV_EVENT_PUT:
    case HMKV_EVENT_DELETE:
      follower_keep(f, seen_of(event));
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
struct mistakes follower_compare(const struct follower *f, const struct history *h,
                                 int64_t start) {
  struct mistakes m = {.events = (long)f->count, .cuts = f->cuts, .others = f->resyncs + f->ends};
  size_t at = 0;
  for (size_t i = 0; i < h->change_count; i++) {
    if (!is_mine(f, &h->changes[i], start)) continue;
    while (at < f->count && f->list[at].change.revision < h->changes[i].revision) {
      m.surplus++;
      at++;
    }
    if (at < f->count && same(&f->list[at].change, &h->changes[i])) {
      at++;
    } else {
      m.missing++;
    }
  }
  m.surplus += (long)(f->count - at);
  for (size_t i = 0; i < f->count; i++) {
    bool last = i + 1 == f->count || f->list[i + 1].change.revision != f->list[i].change.revision;
    m.split += f->list[i].last != last;
  }
  return m;
}

/* Until there are so many, or nothing comes any more. */
static void wait_for(struct follower *f, size_t wanted) {
  size_t count = 0;
  for (int64_t end = now_ms() + SILENCE_MS; count < wanted && now_ms() < end; poll_pause()) {
    if (follower_count(f) != count) end = now_ms() + SILENCE_MS;
    count = follower_count(f);
  }
}

/* Whether a change came that is newer than all of the history. */
static bool has_newer(struct follower *f, int64_t last) {
  pthread_mutex_lock(&f->mutex);
  bool newer = f->count && f->list[f->count - 1].change.revision > last;
  pthread_mutex_unlock(&f->mutex);
  return newer;
}

/* One too many would come before what is made after it. */
static void wait_for_surplus(struct follower *f, int64_t last, const char *endpoint) {
  etcdctl_at(endpoint, "put", watched_key(f->first), "0", NULL);
  for (int64_t end = now_ms() + SILENCE_MS; !has_newer(f, last) && now_ms() < end;) poll_pause();
}

/* Other followers' are after the history too. */
static void forget_newer(struct follower *f, int64_t last) {
  size_t kept = 0;
  for (size_t i = 0; i < f->count; i++)
    if (f->list[i].change.revision <= last) f->list[kept++] = f->list[i];
  f->count = kept;
}

struct mistakes follower_finish(struct follower *f, const struct history *history, int64_t start,
                                const char *endpoint) {
  size_t wanted = 0, changes = history->change_count;
  int64_t last = changes ? history->changes[changes - 1].revision : start;
  for (size_t i = 0; i < changes; i++) wanted += is_mine(f, &history->changes[i], start);
  follower_hurry(f);
  wait_for(f, wanted);
  wait_for_surplus(f, last, endpoint);
  atomic_store(&f->stop, true);
  if (f->pulls) join_thread(f->thread);
  CHECK_OK(hmkv_watch_close(f->watcher));
  forget_newer(f, last);
  struct mistakes m = follower_compare(f, history, start);
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
