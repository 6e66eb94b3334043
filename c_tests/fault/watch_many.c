/* Ten thousand watchers on one store, a hundred of whose callbacks block, on a server that
 * grants few streams: the others are told everything, gets stay fast, memory is bounded. */
#include "bench.h"

#include "changes.h"

enum { WATCHERS = 10000, BLOCKED = WATCHERS / 100, NAMES = 10000, COVER_MAX = 128 };
enum { WRITERS = 4, PAUSE_MS = 20, IDLE_MS = 3000, SILENCE_MS = 20000 };
/* Measured: 1.5 KiB for a watch that was told nothing yet, 9 to 16 KiB after the load. The
 * difference is the names that each knows, here 34 on an average, the room that its queue
 * had for the largest burst, and the queues and threads of those that are blocked. */
enum { QUIET_KIB = 4, LOADED_KIB = 32 };

/* What a watcher is told, in few bytes: ten thousand of them are kept. The digest depends
 * on the order. */
struct told {
  long events;
  int64_t revision;
  uint64_t digest;
};

struct watch {
  int first, end; /* of the names */
  char key[16];
  bool prefix, blocked, resyncs;
  size_t queue_max;
  hmkv_watcher *watcher;
  struct told told;
  atomic_llong whole; /* the last revision that came as a whole */
  int64_t *view;      /* of one that may be resynced: the values as it knows them */
  long resync_count;
};

static struct server server;
static struct watch watches[WATCHERS];
static struct gate gate = GATE_CLOSED;
static atomic_int blocked, ends, cuts;
static atomic_bool stop;
static atomic_long values;
static unsigned seeds[WRITERS];

/* ---- watching ---- */

static void tell(struct told *told, const struct change *change) {
  const uint64_t parts[] = {(uint64_t)change->revision, (uint64_t)change->key,
                            (uint64_t)change->value};
  for (int i = 0; i < 3; i++) {
    told->digest = (told->digest ^ parts[i]) * 0x9e3779b97f4a7c15;
    told->digest ^= told->digest >> 29;
  }
  told->events++;
  told->revision = change->revision;
}

static void take(struct watch *watch, const hmkv_event *event) {
  bool is_put = event->type == HMKV_EVENT_PUT;
  struct change change = {event->revision, atoi(event->kv->key + 2),
                          is_put ? atoll(event->kv->value) : ABSENT};
  tell(&watch->told, &change);
  if (watch->view) watch->view[change.key - watch->first] = change.value;
}

static void on_event(const hmkv_event *event, void *userdata) {
  struct watch *watch = userdata;
  switch (event->type) {
    case HMKV_EVENT_STATE:
      atomic_fetch_add(&cuts, event->status < 0);
      return;
    case HMKV_EVENT_RESYNC:
      watch->resync_count++;
      break;
    case HMKV_EVENT_PUT:
    case HMKV_EVENT_DELETE:
      take(watch, event);
      break;
    default:
      atomic_fetch_add(&ends, 1);
      return;
  }
  if (event->last_of_revision || event->type == HMKV_EVENT_RESYNC)
    atomic_store(&watch->whole, event->revision);
  if (!watch->blocked || watch->told.events > 1) return;
  atomic_fetch_add(&blocked, 1);
  gate_pass(&gate);
}

/* One of many: mostly of one name, else of a prefix of a hundred, of some in a row, or of
 * all. One of a hundred is blocked, of every kind, with short and long queues. */
static struct watch draft(int i) {
  int group = i / 100, place = i % 100;
  struct watch w = {.first = i, .end = i + 1, .blocked = place == 99};
  if (group >= 98 && place >= 90) {
    w.first = 0, w.end = NAMES, w.prefix = true;
    snprintf(w.key, sizeof w.key, "m/");
  } else if (group >= 90) {
    w.first = i * 11 % (NAMES - 37), w.end = w.first + 37;
  } else if (group >= 80) {
    w.first = i % 97 * 100, w.end = w.first + 100, w.prefix = true;
    snprintf(w.key, sizeof w.key, "m/%04d", i % 97);
  }
  if (!w.key[0]) snprintf(w.key, sizeof w.key, "m/%06d", w.first);
  if (!w.blocked) return w;
  w.resyncs = group % 2;
  w.queue_max = group % 4 < 2 ? 2 : 0;
  if (!w.resyncs) return w;
  w.view = malloc((size_t)(w.end - w.first) * sizeof *w.view);
  CHECK(w.view);
  for (int name = 0; name < w.end - w.first; name++) w.view[name] = ABSENT;
  return w;
}

static void open_all(hmkv *kv) {
  for (int i = 0; i < WATCHERS; i++) {
    struct watch *w = &watches[i];
    char end[16] = "";
    if (!w->prefix && w->end - w->first > 1) snprintf(end, sizeof end, "m/%06d", w->end);
    CHECK_OK(hmkv_watch_open(
        kv, w->key, HMKV_NTS,
        HMKV_WATCH_OPTS(.prefix = w->prefix, .end = end[0] ? end : NULL,
                        .end_len = end[0] ? HMKV_NTS : 0, .queue_max = w->queue_max,
                        .on_overflow = w->resyncs ? HMKV_OVERFLOW_RESYNC : HMKV_OVERFLOW_RESUME),
        on_event, w, &w->watcher));
  }
}

/* ---- writing ---- */

/* One revision of the names from `first` on, of which one of `deletes` is deleted. */
static void change_some(hmkv *kv, int first, int count, unsigned *seed, int deletes) {
  hmkv_txn *txn = hmkv_txn_new(kv);
  for (int name = first; name < first + count; name++) {
    char key[16], value[24];
    snprintf(key, sizeof key, "m/%06d", name);
    snprintf(value, sizeof value, "%ld", atomic_fetch_add(&values, 1));
    if (deletes && rand_r(seed) % deletes == 0) {
      hmkv_txn_remove(txn, HMKV_THEN, key, HMKV_NTS, NULL);
    } else {
      hmkv_txn_put(txn, HMKV_THEN, key, HMKV_NTS, value, HMKV_NTS, NULL);
    }
  }
  change_done(hmkv_txn_commit(txn, NULL));
}

/* So that no watcher is without an event. */
static void change_each(hmkv *kv) {
  for (int first = 0; first < NAMES; first += 100) change_some(kv, first, 100, NULL, 0);
}

static void *write_on(void *seed) {
  hmkv *kv = open_at(server.endpoint, "timeout=20s");
  while (!atomic_load(&stop)) {
    int count = rand_r(seed) % 8 ? 1 : 1 + rand_r(seed) % 100;
    change_some(kv, rand_r(seed) % (NAMES - count), count, seed, 10);
    bench_sleep(PAUSE_MS);
  }
  close_store(kv);
  return NULL;
}

/* ---- getting ---- */

struct getter {
  hmkv *kv;
  atomic_bool stop;
  pthread_t thread;
  struct history calls; /* as reads, for their figures */
};

static void *get_on(void *arg) {
  struct getter *getter = arg;
  while (!atomic_load(&getter->stop)) {
    char *value = NULL;
    struct op op = {.kind = OP_READ, .begin_us = now_us()};
    op.status = hmkv_get(getter->kv, "m/000005", &value);
    op.end_us = now_us();
    hmkv_free(value);
    history_add_op(&getter->calls, op);
    bench_sleep(3);
  }
  return NULL;
}

static void getter_start(struct getter *getter, hmkv *kv) {
  *getter = (struct getter){.kv = kv};
  getter->thread = start_thread(get_on, getter);
}

static struct figures getter_stop(struct getter *getter) {
  atomic_store(&getter->stop, true);
  join_thread(getter->thread);
  struct figures figures = figures_of(&getter->calls, 0, INT64_MAX);
  history_free(&getter->calls);
  return figures;
}

/* Before there are watches: what they cost others is the question. */
static struct figures idle_gets(hmkv *kv) {
  struct getter getter;
  getter_start(&getter, kv);
  bench_sleep(IDLE_MS);
  return getter_stop(&getter);
}

/* ---- the verdict ---- */

static long resident_kib(void) {
  char line[256];
  long kib = 0;
  FILE *status = fopen("/proc/self/status", "r");
  CHECK(status);
  while (fgets(line, sizeof line, status)) sscanf(line, "VmRSS: %ld", &kib);
  fclose(status);
  return kib;
}

/* What each should have been told, and the values in the end. */
static struct told expected[WATCHERS];
static int64_t final[NAMES];

static void expect(const struct history *history) {
  static int covers[NAMES][COVER_MAX], counts[NAMES];
  for (int i = 0; i < WATCHERS; i++)
    for (int name = watches[i].first; name < watches[i].end; name++) {
      CHECK(counts[name] < COVER_MAX);
      covers[name][counts[name]++] = i;
    }
  for (size_t i = 0; i < history->change_count; i++) {
    const struct change *change = &history->changes[i];
    final[change->key] = change->value;
    for (int j = 0; j < counts[change->key]; j++)
      tell(&expected[covers[change->key][j]], change);
  }
}

static int behind(bool of_blocked) {
  int count = 0;
  for (int i = 0; i < WATCHERS; i++)
    count += watches[i].blocked == of_blocked &&
             atomic_load(&watches[i].whole) < expected[i].revision;
  return count;
}

/* Until all have come to the end, or none of them gets any further. */
static int wait_for(bool of_blocked) {
  int left = behind(of_blocked);
  for (int64_t until = now_ms() + SILENCE_MS; left && now_ms() < until; poll_pause()) {
    int now = behind(of_blocked);
    if (now < left) until = now_ms() + SILENCE_MS;
    left = now;
  }
  return left;
}

static bool is_right(const struct watch *w, const struct told *wanted) {
  if (w->resync_count)
    return w->resyncs && memcmp(w->view, final + w->first,
                                (size_t)(w->end - w->first) * sizeof *w->view) == 0;
  return w->told.events == wanted->events && w->told.revision == wanted->revision &&
         w->told.digest == wanted->digest;
}

static void judge_watches(struct bench *bench, size_t changes) {
  long events = 0, few = 0, many = 0, wrong[2] = {0}, resyncs = 0;
  for (int i = 0; i < WATCHERS; i++) {
    const struct watch *w = &watches[i];
    wrong[w->blocked] += !is_right(w, &expected[i]);
    resyncs += w->resync_count;
    if (w->blocked) continue;
    events += w->told.events;
    few += w->told.events < expected[i].events;
    many += w->told.events > expected[i].events;
  }
  bench_figure(bench, "%d watchers, %zu changes, %ld events to those that are not blocked: %ld "
               "wrong (%ld too few, %ld too many)", WATCHERS, changes, events, wrong[false], few,
               many);
  bench_figure(bench, "%d blocked, let go: %ld wrong, %ld RESYNC; %d cuts", BLOCKED, wrong[true],
               resyncs, atomic_load(&cuts));
  bench_must(bench, wrong[false] == 0, "events are lost, doubled or out of order");
  bench_must(bench, wrong[true] == 0, "those that were blocked do not get what is theirs");
  bench_must(bench, resyncs > 0, "no queue was full");
  bench_must(bench, atomic_load(&ends) == 0, "a watch ended");
}

static void judge_gets(struct bench *bench, const struct figures *idle,
                       const struct figures *loaded, const struct figures *other) {
  bench_figure(bench, "gets: %ld, %ld ok, p99 %.1f ms, before the watches %.1f ms, on a store "
               "without watches meanwhile %.1f ms", loaded->reads, loaded->reads_ok,
               (double)loaded->p99_us / 1000, (double)idle->p99_us / 1000,
               (double)other->p99_us / 1000);
  bench_must(bench, loaded->reads > 100 && idle->reads > 100, "too few gets");
  bench_must(bench, loaded->reads_ok == loaded->reads, "a get fails");
  bench_must(bench, loaded->p99_us < 3 * idle->p99_us + 1000 * bench->late_ms, "gets are slow");
  /* What a loaded machine does it does to both: this needs no oversleep. */
  bench_must(bench, loaded->p99_us < 3 * other->p99_us + 10000, "gets wait for the watches");
}

static void judge_memory(struct bench *bench, long before, long opened, long loaded) {
  double quiet = (double)(opened - before) / WATCHERS;
  double full = (double)(loaded - before) / WATCHERS;
  bench_figure(bench, "a watch takes %.1f of %d KiB, after the load %.1f of %d KiB", quiet,
               QUIET_KIB, full, LOADED_KIB);
  bench_must(bench, quiet < QUIET_KIB, "a watch takes too much memory");
  bench_must(bench, full < LOADED_KIB, "a watch takes too much memory after the load");
}

void watch_many(void) {
  struct bench bench;
  struct history history = {0};
  struct getter same, other;
  pthread_t writers[WRITERS];
  server_start(&server, "--max-concurrent-streams=64");
  hmkv *kv = open_at(server.endpoint, NULL);
  hmkv *direct = open_at(server.endpoint, "timeout=20s");
  bench_begin(&bench, 12);
  for (int i = 0; i < WATCHERS; i++) watches[i] = draft(i);
  for (int i = 0; i < NAMES; i++) final[i] = ABSENT;
  struct figures idle = idle_gets(kv);
  long before = resident_kib();
  open_all(kv);
  long opened = resident_kib();
  change_each(direct);
  WAIT_UNTIL(atomic_load(&blocked) == BLOCKED);
  control_take_ms(&bench.control); /* the gets are judged, not what it takes to get here */

  for (int i = 0; i < WRITERS; i++) {
    seeds[i] = bench_draw(&bench, 1000000);
    writers[i] = start_thread(write_on, &seeds[i]);
  }
  getter_start(&same, kv);
  getter_start(&other, direct);
  bench_sleep(bench.secs * 1000);
  struct figures loaded = getter_stop(&same), without = getter_stop(&other);
  atomic_store(&stop, true);
  for (int i = 0; i < WRITERS; i++) join_thread(writers[i]);
  bench_over(&bench);
  long most = resident_kib();

  change_each(direct); /* one too many would come before these */
  history_read(&history, server.endpoint, "m/");
  expect(&history);
  int left = wait_for(false);
  bench_must(&bench, left == 0, "events do not come while others are blocked");
  CHECK_INT(BLOCKED, atomic_load(&blocked)); /* all the time */
  gate_open(&gate);
  bench_must(&bench, wait_for(true) == 0, "those that were blocked do not come to the end");
  for (int i = 0; i < WATCHERS; i++) CHECK_OK(hmkv_watch_close(watches[i].watcher));
  judge_watches(&bench, history.change_count);
  judge_gets(&bench, &idle, &loaded, &without);
  judge_memory(&bench, before, opened, most);
  for (int i = 0; i < WATCHERS; i++) free(watches[i].view);
  history_free(&history);
  close_store(kv);
  close_store(direct);
  server_stop(&server);
  bench_end(&bench);
}
