/* Order and completeness: every change is delivered, once, in revision order, while
 * several write and the callback is slow. */
#include "events.h"
#include "test.h"

enum { WRITERS = 4 };

static hmkv *kv;

static void begin(void) { kv = open_store("timeout=30s"); }
static void end(void) { close_store(kv); }

struct writer {
  const char *key;
  int number;
  int count;
};

static void *write_many(void *arg) {
  struct writer *writer = arg;
  hmkv *mine = open_store("timeout=30s");
  char value[64];
  for (int i = 0; i < writer->count; i++) {
    snprintf(value, sizeof value, "%d %d", writer->number, i);
    CHECK_OK(hmkv_store(mine, writer->key, value));
  }
  close_store(mine);
  return NULL;
}

static void start_writers(pthread_t *threads, struct writer *writers, const char *key, int each) {
  for (int i = 0; i < WRITERS; i++) {
    writers[i] = (struct writer){key, i, each};
    threads[i] = start_thread(write_many, &writers[i]);
  }
}

/* Each writer's changes are there once and in its order, and the last event is the
 * value that the key has. */
static void check_order(struct events *events, int each) {
  int next[WRITERS] = {0};
  for (size_t i = 0; i < events->count; i++) {
    struct event event = events_at(events, i);
    int writer = -1, number = -1;
    CHECK_INT(HMKV_KEYCHANGE_PUT, event.op);
    CHECK_INT(2, sscanf(event.value, "%d %d", &writer, &number));
    CHECK(writer >= 0 && writer < WRITERS);
    if (number != next[writer])
      FAIL("event %zu: writer %d: expected %d, got %d", i, writer, next[writer], number);
    next[writer]++;
  }
  for (int i = 0; i < WRITERS; i++) CHECK_INT(each, next[i]);
  CHECK_VALUE(kv, events->key, events_at(events, events->count - 1).value);
}

static bool record_slowly(const char *key, const char *value, hmkv_keychange op, void *userdata) {
  struct events *events = userdata;
  if (events_count(events) < 100) poll_pause();
  return events_record(key, value, op, userdata);
}

static void ten_thousand_puts_come_once_and_in_order_while_the_callback_is_slow(void) {
  int each = rounds(2500, 100);
  struct events events = EVENTS_OF(unique("key"));
  struct writer writers[WRITERS];
  pthread_t threads[WRITERS];
  hmkv_watcher *watcher = NULL;
  CHECK_OK(hmkv_watch_cb(kv, events.key, 3, record_slowly, &events, &watcher));
  start_writers(threads, writers, events.key, each);
  for (int i = 0; i < WRITERS; i++) join_thread(threads[i]);
  events_wait(&events, (size_t)(WRITERS * each));
  check_order(&events, each);
  CHECK_OK(hmkv_watch_cb_cancel(watcher));
  events_free(&events);
}

static void ten_thousand_puts_come_after_the_callback_was_blocked_for_all_of_them(void) {
  int each = rounds(2500, 100);
  struct gate gate = GATE_CLOSED;
  struct events events = EVENTS_OF(unique("key"));
  events.hold = &gate;
  struct writer writers[WRITERS];
  pthread_t threads[WRITERS];
  hmkv_watcher *watcher = NULL;
  CHECK_OK(hmkv_watch_cb(kv, events.key, 3, events_record, &events, &watcher));
  start_writers(threads, writers, events.key, each);
  for (int i = 0; i < WRITERS; i++) join_thread(threads[i]);
  CHECK_INT(0, events_count(&events));
  gate_open(&gate);
  events_wait(&events, (size_t)(WRITERS * each));
  check_order(&events, each);
  CHECK_OK(hmkv_watch_cb_cancel(watcher));
  events_free(&events);
}

static void *increment(void *arg) {
  struct writer *writer = arg;
  for (int done = 0; done < writer->count;) {
    char *value = NULL;
    CHECK_OK(hmkv_get(kv, writer->key, &value));
    hmkv_status status = hmkv_tas(kv, writer->key, value, text("%d", atoi(value) + 1));
    CHECK(status == HMKV_OK || status == HMKV_COMPARE_FAILED);
    done += status == HMKV_OK;
    hmkv_free(value);
  }
  return NULL;
}

/* By test and set each revision's value is known. */
static void the_order_is_that_of_the_revisions(void) {
  int each = rounds(300, 30);
  struct events events = EVENTS_OF(unique("counter"));
  struct writer writer = {events.key, 0, each};
  pthread_t threads[WRITERS];
  hmkv_watcher *watcher = NULL;
  CHECK_OK(hmkv_store(kv, events.key, "0"));
  CHECK_OK(hmkv_watch_cb(kv, events.key, 3, events_record, &events, &watcher));
  for (int i = 0; i < WRITERS; i++) threads[i] = start_thread(increment, &writer);
  for (int i = 0; i < WRITERS; i++) join_thread(threads[i]);
  events_wait(&events, (size_t)(WRITERS * each));
  for (int i = 0; i < WRITERS * each; i++)
    CHECK_EVENT(&events, (size_t)i, HMKV_KEYCHANGE_PUT, text("%d", i + 1));
  CHECK_OK(hmkv_watch_cb_cancel(watcher));
  events_free(&events);
}

static void watches_that_begin_in_the_middle_get_a_gapless_rest(void) {
  int each = rounds(500, 60);
  const char *key = unique("key");
  struct writer writers[WRITERS];
  pthread_t threads[WRITERS];
  start_writers(threads, writers, key, each);
  enum { WATCHES = 10 };
  static struct events events[WATCHES];
  hmkv_watcher *watchers[WATCHES];
  for (int i = 0; i < WATCHES; i++) {
    events[i] = (struct events)EVENTS_OF(key);
    CHECK_OK(hmkv_watch_cb(kv, key, 3, events_record, &events[i], &watchers[i]));
    poll_pause();
  }
  for (int i = 0; i < WRITERS; i++) join_thread(threads[i]);
  CHECK_OK(hmkv_store(kv, key, "end"));
  for (int i = 0; i < WATCHES; i++) {
    size_t count = 0;
    WAIT_UNTIL((count = events_count(&events[i])) > 0 &&
               strcmp(events_at(&events[i], count - 1).value, "end") == 0);
    CHECK_OK(hmkv_watch_cb_cancel(watchers[i]));
    /* Each is the tail of the first one's list, which began before. */
    CHECK(events[i].count <= events[0].count);
    for (size_t j = 1; j <= events[i].count; j++)
      CHECK_STR(events[0].list[events[0].count - j].value, events[i].list[events[i].count - j].value);
  }
  for (int i = 0; i < WATCHES; i++) events_free(&events[i]);
}

static const struct test tests[] = {
    BOTH(ten_thousand_puts_come_once_and_in_order_while_the_callback_is_slow),
    BOTH(ten_thousand_puts_come_after_the_callback_was_blocked_for_all_of_them),
    BOTH(the_order_is_that_of_the_revisions),
    BOTH(watches_that_begin_in_the_middle_get_a_gapless_rest),
};
TEST_MAIN(.begin = begin, .end = end)
