/* A seeded random sequence of operations, step by step on `mem:` and on an etcd of
 * the test's own: every answer, value, version and revision must be the same.
 *
 *     test_differential ENDPOINT --seed N --steps N */
#include "events.h"
#include "worlds.h"

enum { WATCHED = 3 };

static const char *const keys[] = {"a",    "a/",       "a/b", "a/b/c",  "aa",      "b",
                                   "\x01", "\x7f\xff", "Z",   "a\x01b", "\xc3\xa4", "k k"};
static const char *const values[] = {"", "1", "a", "aa", "b", "\x01\xff", "a longer value", "10", "9"};
static const char *const operators[] = {"=", "!=", "<", ">", "==", ""};
static const char *const bounds[] = {"", "a", "a/", "a/b", "aa", "b", "\x01", "Z", "m", "\xf0", "~"};
/* A name behind all bounds: its queue has the leases in its keys, which differ. */
#define LOCK_NAME "\xf4\x8f\xbf\xbf"

static struct watched {
  hmkv_watcher *watcher;
  struct events events;
} watched[WORLDS][WATCHED];

static void compare_ranges(const char *start, const char *end) {
  hmkv_result *result[WORLDS];
  hmkv_status status[WORLDS];
  int handle = (int)draw(HANDLES);
  for (int w = 0; w < WORLDS; w++)
    status[w] = hmkv_get_range(worlds[w].kv[handle], start, end, &result[w]);
  same_status(status[MEM], status[ETCD]);
  same_results(result);
}

static void compare_gets(hmkv_status status[WORLDS], char *value[WORLDS]) {
  same_status(status[MEM], status[ETCD]);
  same_text("value", value[MEM], value[ETCD]);
  for (int w = 0; w < WORLDS; w++) hmkv_free(value[w]);
}

static void lock_call(int handle, unsigned which) {
  int64_t answer[WORLDS];
  for (int w = 0; w < WORLDS; w++) {
    hmkv *kv = worlds[w].kv[handle];
    answer[w] = which == 0 ? hmkv_dist_timed_lock(kv, 0)
                : which == 1 ? hmkv_dist_unlock(kv)
                             : hmkv_dist_lock_result(kv);
  }
  same_number("answer", answer[MEM], answer[ETCD]);
}

static void one_step(void) {
  int handle = (int)draw(HANDLES);
  const char *key = PICK(keys), *other = PICK(keys), *third = PICK(keys);
  const char *a = PICK(values), *b = PICK(values), *c = PICK(values);
  const char *start = PICK(bounds), *end = PICK(bounds), *op = operators[draw(6) ? draw(4) : draw(6)];
  const char *then_key = draw(4) ? other : NULL, *else_key = draw(4) ? third : NULL;
  unsigned kind = draw(100), which = draw(3);
  hmkv_status status[WORLDS];
  char *value[WORLDS];
  if (kind >= 97) {
    describe("close and open handle %d", handle);
    for (int w = 0; w < WORLDS; w++) close_store(worlds[w].kv[handle]);
    worlds_open(handle);
    return;
  }
  if (kind >= 90) {
    describe("lock call %u by %d", which, handle);
    lock_call(handle, which);
    return;
  }
  if (kind >= 75) {
    describe("get_range(\"%s\", \"%s\")", start, end);
    compare_ranges(start, end);
    return;
  }
  for (int w = 0; w < WORLDS; w++) {
    hmkv *kv = worlds[w].kv[handle];
    value[w] = NULL;
    if (kind < 22) {
      describe("store(\"%s\", \"%s\")", key, a);
      status[w] = hmkv_store(kv, key, a);
    } else if (kind < 37) {
      describe("get(\"%s\")", key);
      status[w] = hmkv_get(kv, key, &value[w]);
    } else if (kind < 45) {
      describe("delete(\"%s\")", key);
      status[w] = hmkv_delete(kv, key);
    } else if (kind < 57) {
      describe("tas(\"%s\", \"%s\", \"%s\")", key, a, b);
      status[w] = hmkv_tas(kv, key, a, b);
    } else if (kind < 70) {
      describe("transaction(\"%s\" %s \"%s\", \"%s\", \"%s\")", key, op, a,
               then_key ? then_key : "-", else_key ? else_key : "-");
      status[w] = hmkv_transaction(kv, key, op, a, then_key, b, else_key, c);
    } else if (kind < 74) {
      describe("temp_key(\"%s\") by %d", key, handle);
      status[w] = hmkv_temp_key(kv, key);
    } else {
      describe("store(\"\", \"%s\")", a);
      status[w] = hmkv_store(kv, "", a);
    }
  }
  compare_gets(status, value);
}

/* The watches of both worlds must have seen the same since the last look. */
static void compare_watches(void) {
  describe("what the watches saw");
  for (int i = 0; i < WATCHED; i++) {
    const char *mark = text("mark %d", step);
    for (int w = 0; w < WORLDS; w++) CHECK_OK(hmkv_store(worlds[w].kv[0], keys[i], mark));
    for (int w = 0; w < WORLDS; w++) {
      struct events *events = &watched[w][i].events;
      struct event last = {0, NULL};
      WAIT_UNTIL(events_count(events) > 0 &&
                 (last = events_at(events, events_count(events) - 1),
                  last.op == HMKV_KEYCHANGE_DELETE || strcmp(last.value, mark) == 0));
      CHECK_OK(hmkv_watch_cb_cancel(watched[w][i].watcher));
    }
    struct events *mem = &watched[MEM][i].events, *etcd = &watched[ETCD][i].events;
    same_number("events", (int64_t)mem->count, (int64_t)etcd->count);
    for (size_t j = 0; j < mem->count; j++) {
      same_number("op", mem->list[j].op, etcd->list[j].op);
      same_text("event", mem->list[j].value, etcd->list[j].value);
    }
    for (int w = 0; w < WORLDS; w++) events_free(&watched[w][i].events);
  }
}

static void watch_again(void) {
  for (int w = 0; w < WORLDS; w++)
    for (int i = 0; i < WATCHED; i++) {
      watched[w][i].events = (struct events)EVENTS_OF(keys[i]);
      CHECK_OK(hmkv_watch_cb(worlds[w].watching, keys[i], 3, events_record,
                             &watched[w][i].events, &watched[w][i].watcher));
    }
}

static void a_random_sequence_has_the_same_answers_on_both_backends(void) {
  int steps = worlds_start(rounds(10000, 1000), "timeout=60s lock=" LOCK_NAME);
  while (step < steps) {
    watch_again();
    for (int i = 0; i < 250 && step < steps; i++, step++) one_step();
    compare_watches();
    describe("all keys");
    compare_ranges("", "\xf0");
  }
  worlds_stop();
}

static const struct test tests[] = {
    ETCD_ONLY(a_random_sequence_has_the_same_answers_on_both_backends),
};
TEST_MAIN()
