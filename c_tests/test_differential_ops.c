/* The full interface at random: a seeded sequence of puts, ranges, removals, transactions,
 * leases, watches and compactions, step by step on `mem:` and on an etcd of the test's
 * own. Every part of every answer and every event must be the same.
 *
 *     test_differential_ops ENDPOINT --seed N --steps N */
#include "ops.h"
#include "process.h"

enum { LEASES = 6, WATCHES = 5, CROWD = 100, HOUR_MS = 3600000 };

/* ---- leases ---- */

static struct lease {
  hmkv_lease *lease[WORLDS]; /* NULL: none */
  int handle;
} leases[LEASES];

static void grant(struct lease *lease) {
  int64_t ttl = HOUR_MS + draw(2000), id[WORLDS];
  hmkv_status status[WORLDS];
  lease->handle = (int)draw(HANDLES);
  describe("grant by %d", lease->handle);
  for (int w = 0; w < WORLDS; w++) {
    hmkv *kv = worlds[w].kv[lease->handle];
    status[w] = hmkv_lease_grant(kv, ttl, NULL, NULL, &lease->lease[w]);
  }
  same_status(status[MEM], status[ETCD]);
  CHECK_OK(status[MEM]);
  for (int w = 0; w < WORLDS; w++) {
    id[w] = hmkv_lease_id(lease->lease[w]);
    CHECK(id[w] > 0);
    int64_t left = hmkv_lease_left_ms(lease->lease[w]);
    CHECK(left > HOUR_MS / 2 && left < HOUR_MS + 3000);
  }
  lease_add(id);
}

static void close_lease(struct lease *lease, bool revoke) {
  hmkv_status status[WORLDS];
  int64_t number = lease_from(MEM, hmkv_lease_id(lease->lease[MEM]));
  describe("close lease %" PRId64 " %s revoking it", number, revoke ? "while" : "without");
  for (int i = 0; i < 2; i++) { /* the second time it is a stale handle */
    for (int w = 0; w < WORLDS; w++) status[w] = hmkv_lease_close(lease->lease[w], revoke);
    same_status(status[MEM], status[ETCD]);
    CHECK_STATUS(i ? HMKV_EHANDLE : HMKV_OK, status[MEM]);
  }
  for (int w = 0; w < WORLDS; w++) lease->lease[w] = NULL;
  same_keys();
}

static void lease_step(void) {
  struct lease *lease = &leases[draw(LEASES)];
  if (lease->lease[MEM])
    close_lease(lease, draw(3) != 0);
  else
    grant(lease);
}

/* Closing a store revokes its leases, in an order of its own: so there is one at most. */
static void close_and_open(int handle) {
  struct lease *last = NULL;
  for (int i = 0; i < LEASES; i++) {
    if (!leases[i].lease[MEM] || leases[i].handle != handle) continue;
    if (last) close_lease(last, draw(2));
    last = &leases[i];
  }
  describe("close and open handle %d", handle);
  for (int w = 0; w < WORLDS; w++) {
    close_store(worlds[w].kv[handle]);
    if (last) CHECK_STATUS(HMKV_EHANDLE, hmkv_lease_close(last->lease[w], true));
    if (last) last->lease[w] = NULL;
  }
  worlds_open(handle);
  same_keys();
}

/* ---- watches ---- */

struct seen {
  int world;
  pthread_mutex_t mutex;
  struct shown shown;
  int64_t revision; /* the last one, from the base */
  bool synced, ended;
};

static struct watch {
  hmkv_watcher *watcher[WORLDS]; /* NULL: none */
  struct seen seen[WORLDS];
  struct bytes key, mark; /* the first key of its range */
  int64_t marked;         /* the revision of the last mark that it must report */
  hmkv_watch_opts opts;
  bool pulled;
  char *name;
} watches[WATCHES];

static void show_event(FILE *file, int w, const hmkv_event *event) {
  static const char *const names[] = {"?", "PUT", "DELETE", "SYNCED", "RESYNC", "STATE", "END"};
  fprintf(file, "%s at %" PRId64 "%s %s%s\n", names[event->type], revision_from(w, event->revision),
          event->last_of_revision ? ", the last" : "", hmkv_status_name(event->status),
          event->detail ? " with its detail" : "");
  if (event->kv) show_kv(file, w, event->kv);
  if (event->prev) fputs("before: ", file), show_kv(file, w, event->prev);
}

static void see(const hmkv_event *event, void *userdata) {
  struct seen *seen = userdata;
  if (event->type == HMKV_EVENT_STATE) return; /* of a connection that was cut and came back */
  pthread_mutex_lock(&seen->mutex);
  show_event(seen->shown.file, seen->world, event);
  if (event->revision) seen->revision = revision_from(seen->world, event->revision);
  seen->synced |= event->type == HMKV_EVENT_SYNCED;
  seen->ended |= event->type == HMKV_EVENT_END;
  pthread_mutex_unlock(&seen->mutex);
}

static bool has_seen(struct seen *seen, int64_t revision, bool synced) {
  pthread_mutex_lock(&seen->mutex);
  bool all = seen->ended || (seen->revision >= revision && seen->synced >= synced);
  pthread_mutex_unlock(&seen->mutex);
  return all;
}

static bool covers(const struct watch *watch, struct bytes key) {
  const hmkv_watch_opts *opts = &watch->opts;
  struct bytes from = watch->key, end = {opts->end, opts->end_len};
  if (opts->prefix)
    return key.length >= from.length && (!from.length || memcmp(key.data, from.data, from.length) == 0);
  if (!end.data) return compare_keys(key, from) == 0;
  return compare_keys(from, key) <= 0 && compare_keys(key, end) < 0;
}

static void note_mark(const struct op *op) {
  same_answer(op);
  for (int i = 0; i < WATCHES; i++) {
    struct watch *watch = &watches[i];
    bool hidden = op->kind == OP_PUT ? watch->opts.no_put : watch->opts.no_delete;
    if (watch->watcher[MEM] && !hidden && newest >= watch->opts.start_revision && covers(watch, op->key))
      watch->marked = newest;
  }
}

/* Makes a change that the watch must report. */
static void mark(struct watch *watch) {
  struct op put = {.kind = OP_PUT, .key = watch->mark, .put = *HMKV_PUT_OPTS(0)};
  struct op remove = {.kind = OP_REMOVE, .key = watch->mark, .remove = *HMKV_REMOVE_OPTS(0)};
  do {
    note_mark(&put);
    if (watch->opts.no_put) note_mark(&remove);
  } while (newest < watch->opts.start_revision);
}

/* Waits until both saw the last mark, and compares what they saw. */
static void catch_up(struct watch *watch) {
  int64_t revision = watch->marked;
  describe("what %s saw up to revision %" PRId64, watch->name, revision);
  for (int w = 0; w < WORLDS; w++) {
    struct seen *seen = &watch->seen[w];
    const hmkv_event *event = NULL;
    if (watch->pulled)
      while (!has_seen(seen, revision, watch->opts.snapshot)) {
        CHECK_OK(hmkv_watch_next(watch->watcher[w], patience_ms(), &event));
        see(event, seen);
      }
    WAIT_UNTIL(has_seen(seen, revision, watch->opts.snapshot));
    /* There is no more; else it shows. */
    while (watch->pulled && !seen->ended && hmkv_watch_next(watch->watcher[w], 0, &event) == HMKV_OK)
      see(event, seen);
  }
  struct shown shown[WORLDS];
  for (int w = 0; w < WORLDS; w++) {
    struct seen *seen = &watch->seen[w];
    pthread_mutex_lock(&seen->mutex);
    shown_end(&seen->shown);
    shown[w] = seen->shown;
    shown_begin(&seen->shown);
    pthread_mutex_unlock(&seen->mutex);
  }
  same_shown(shown);
}

static void close_watch(struct watch *watch) {
  hmkv_status status[WORLDS];
  mark(watch);
  catch_up(watch);
  for (int w = 0; w < WORLDS; w++) {
    status[w] = hmkv_watch_close(watch->watcher[w]);
    watch->watcher[w] = NULL;
  }
  same_status(status[MEM], status[ETCD]);
  for (int w = 0; w < WORLDS; w++) {
    shown_end(&watch->seen[w].shown);
    CHECK_STR("", watch->seen[w].shown.text);
    free(watch->seen[w].shown.text);
  }
  free(watch->name);
}

static void draw_watch(struct watch *watch) {
  static const size_t queues[] = {0, 0, 1, 2, 7, 100};
  struct bytes end = draw_end();
  unsigned shape = draw(3), begin = draw(3), without = draw(4);
  watch->key = shape ? draw_start() : draw_key();
  watch->opts = *HMKV_WATCH_OPTS(.prefix = shape == 1, .snapshot = begin == 1, .prev_kv = draw(2),
                                 .no_put = without == 1, .no_delete = without == 2,
                                 .queue_max = PICK(queues));
  if (shape == 2) watch->opts.end = end.data, watch->opts.end_len = end.length;
  if (begin == 2) watch->opts.start_revision = draw_revision();
  /* Whether the server still has a deletion at just that revision depends on its version. */
  if (begin == 2 && watch->opts.start_revision == compacted) watch->opts.start_revision++;
  watch->pulled = draw(2);
  watch->mark = watch->key.length ? watch->key : (struct bytes)BYTES("\0");
  watch->marked = 0;
}

static void name_watch(struct watch *watch) {
  struct shown shown;
  shown_begin(&shown);
  fprintf(shown.file, "the watch of step %d: ", step);
  show_bytes(shown.file, watch->key.data, watch->key.length);
  if (watch->opts.end) {
    fputs(" to ", shown.file);
    show_bytes(shown.file, watch->opts.end, watch->opts.end_len);
  }
  fprintf(shown.file, "%s%s%s%s%s%s, start_revision %" PRId64 ", queue_max %zu,",
          watch->opts.prefix ? " prefix" : "", watch->opts.snapshot ? " snapshot" : "",
          watch->opts.prev_kv ? " prev_kv" : "", watch->opts.no_put ? " no_put" : "",
          watch->opts.no_delete ? " no_delete" : "", watch->pulled ? " pulled" : "",
          watch->opts.start_revision, watch->opts.queue_max);
  shown_end(&shown);
  watch->name = shown.text;
}

static void open_watch(struct watch *watch) {
  hmkv_status status[WORLDS];
  draw_watch(watch);
  name_watch(watch);
  describe("open %s", watch->name);
  for (int w = 0; w < WORLDS; w++) {
    struct seen *seen = &watch->seen[w];
    hmkv_watch_opts opts = watch->opts;
    *seen = (struct seen){.world = w, .mutex = PTHREAD_MUTEX_INITIALIZER};
    shown_begin(&seen->shown);
    opts.start_revision = revision_in(w, opts.start_revision);
    status[w] = hmkv_watch_open(worlds[w].watching, watch->key.data, watch->key.length, &opts,
                                watch->pulled ? NULL : see, seen, &watch->watcher[w]);
  }
  same_status(status[MEM], status[ETCD]);
  if (status[MEM] == HMKV_OK) return;
  for (int w = 0; w < WORLDS; w++) {
    CHECK(!watch->watcher[w]);
    shown_end(&watch->seen[w].shown);
    free(watch->seen[w].shown.text);
  }
  free(watch->name);
}

static void watch_step(void) {
  struct watch *watch = &watches[draw(WATCHES)];
  if (!watch->watcher[MEM])
    open_watch(watch);
  else if (draw(2))
    close_watch(watch);
  else
    mark(watch), catch_up(watch);
}

/* ---- the rest ---- */

/* Watches that have not seen all by then get a difference instead. So all catch up first;
 * those that could have a small queue full are closed, as they come back in their own time. */
static void compact(void) {
  for (int i = 0; i < WATCHES; i++)
    if (watches[i].watcher[MEM] && watches[i].opts.queue_max) close_watch(&watches[i]);
  for (int i = 0; i < WATCHES; i++)
    if (watches[i].watcher[MEM]) mark(&watches[i]);
  for (int i = 0; i < WATCHES; i++)
    if (watches[i].watcher[MEM]) catch_up(&watches[i]);
  same_keys();
  if (newest == compacted) return; /* which etcd refuses */
  describe("compact at %" PRId64, newest);
  CHECK_OK(hmkv_mem_fault(worlds[MEM].kv[0], "compact"));
  etcdctl_at(worlds[ETCD].endpoint, "compact", text("%" PRId64, revision_in(ETCD, newest)), NULL);
  compacted = newest;
}

/* Many keys at once, for ranges of several pages and revisions of many events. */
static void crowd(void) {
  static char names[CROWD][16];
  static struct transaction all;
  static bool there;
  there = !there;
  all.compares = 0;
  all.count[0] = there ? CROWD : 1;
  for (int i = 0; i < CROWD; i++) {
    snprintf(names[i], sizeof names[i], "crowd/%d", i * 7 % CROWD);
    all.ops[0][i] = draw_put();
    all.ops[0][i].put = *HMKV_PUT_OPTS(.prev = draw(2));
    all.ops[0][i].key = (struct bytes){names[i], strlen(names[i])};
  }
  if (!there) {
    all.ops[0][0] = (struct op){.kind = OP_REMOVE, .key = BYTES("crowd/")};
    all.ops[0][0].remove = *HMKV_REMOVE_OPTS(.prefix = 1, .prev = 1);
  }
  same_transaction(&all);
}

static void ping(void) {
  hmkv_result *result[WORLDS];
  int handle = (int)draw(HANDLES);
  describe("ping");
  for (int w = 0; w < WORLDS; w++) result[w] = hmkv_await(hmkv_ping(worlds[w].kv[handle]));
  same_results(result);
}

static void one_step(void) {
  static struct transaction transaction;
  unsigned kind = draw(1000);
  struct op op;
  if (kind < 250) {
    op = draw_put();
    same_answer(&op);
  } else if (kind < 360) {
    op = draw_remove();
    same_answer(&op);
  } else if (kind < 650) {
    op = draw_range();
    same_answer(&op);
  } else if (kind < 850) {
    draw_transaction(&transaction);
    same_transaction(&transaction);
  } else if (kind < 890) {
    lease_step();
  } else if (kind < 950) {
    watch_step();
  } else if (kind < 980) {
    same_keys();
  } else if (kind < 990) {
    ping();
  } else if (kind < 993) {
    compact();
  } else if (kind < 996) {
    crowd();
  } else if (kind < 998) {
    close_and_open((int)draw(HANDLES));
  }
}

static void a_random_sequence_has_the_same_answers_on_both_backends(void) {
  int steps = worlds_start(rounds(5000, 500), "timeout=60s close_timeout=60s");
  for (; step < steps; step++) one_step();
  for (int i = 0; i < WATCHES; i++)
    if (watches[i].watcher[MEM]) close_watch(&watches[i]);
  same_keys();
  worlds_stop();
}

static const struct test tests[] = {
    ETCD_ONLY(a_random_sequence_has_the_same_answers_on_both_backends),
};
TEST_MAIN()
