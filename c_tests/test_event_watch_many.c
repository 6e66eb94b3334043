/* Many event watches on one store: no thread each, and one watch of the server for each
 * range. */
#include "changes.h"
#include "own_store.h"
#include "test.h"

enum { MANY = 10000, ON_ONE_KEY = 1000, IN_ONE_REVISION = 100 };

/* Of one watch; a recorder would be too large. */
struct heard {
  atomic_int events;
  atomic_llong revision;
  const char *key;
};

static struct own_store own;
static hmkv *kv;
static struct heard heard[MANY];
static hmkv_watcher *watchers[MANY];

static void begin(void) {
  own_store_open(&own, "timeout=60s");
  kv = own.kv;
  memset(heard, 0, sizeof heard);
}

static void end(void) { own_store_close(&own); }

static void hear(const hmkv_event *event, void *userdata) {
  struct heard *one = userdata;
  if (event->type == HMKV_EVENT_STATE) return;
  CHECK_INT(HMKV_EVENT_PUT, event->type);
  CHECK_STR(one->key, event->kv->key);
  CHECK(event->last_of_revision); /* of what this watch delivers */
  CHECK(event->revision > atomic_load(&one->revision));
  atomic_store(&one->revision, event->revision);
  atomic_fetch_add(&one->events, 1);
}

static void watch(int i, const char *key, const hmkv_watch_opts *opts) {
  heard[i].key = key;
  CHECK_OK(hmkv_watch_open(kv, key, HMKV_NTS, opts, hear, &heard[i], &watchers[i]));
}

static void close_all(int count) {
  for (int i = 0; i < count; i++) CHECK_OK(hmkv_watch_close(watchers[i]));
}

static long server_watches(void) { return server_metric(&own.server, "etcd_debugging_mvcc_watcher_total"); }
static long server_streams(void) { return server_metric(&own.server, "etcd_debugging_mvcc_watch_stream_total"); }

static void ten_thousand_watches_of_as_many_keys_all_hear(void) {
  int count = rounds(MANY, 200);
  for (int i = 0; i < 20; i++) watch(i, text("many/%d", i), NULL);
  int threads = count_threads("hmkv-");
  for (int i = 20; i < count; i++) watch(i, text("many/%d", i), NULL);
  WAIT_UNTIL(count_threads("hmkv-") <= threads + 4); /* the busy have more for a while */
  for (int round = 1; round <= 2; round++) {
    for (int done = 0; done < count;) {
      hmkv_txn *txn = hmkv_txn_new(kv);
      for (int i = 0; i < IN_ONE_REVISION && done < count; i++, done++)
        hmkv_txn_put(txn, HMKV_THEN, heard[done].key, HMKV_NTS, "value", 5, NULL);
      change_done(hmkv_txn_commit(txn, NULL));
    }
    for (int i = 0; i < count; i++) WAIT_UNTIL(atomic_load(&heard[i].events) == round);
  }
  WAIT_UNTIL(count_threads("hmkv-") <= threads + 4); /* the busy have more for a while */
  close_all(count);
  change_put(kv, "many/0", "nobody hears of this");
  for (int i = 0; i < count; i++) CHECK_INT(2, atomic_load(&heard[i].events));
}

static void a_thousand_watches_of_one_key_all_hear(void) {
  int count = rounds(ON_ONE_KEY, 200), puts = rounds(20, 5);
  for (int i = 0; i < 20; i++) watch(i, "key", NULL);
  int threads = count_threads("hmkv-");
  for (int i = 20; i < count; i++)
    watch(i, "key", HMKV_WATCH_OPTS(.prev_kv = i % 2, .no_delete = i % 3 == 0));
  WAIT_UNTIL(count_threads("hmkv-") <= threads + 4); /* the busy have more for a while */
  int64_t last = 0;
  for (int i = 0; i < puts; i++) last = change_put(kv, "key", text("%d", i));
  for (int i = 0; i < count; i++) WAIT_UNTIL(atomic_load(&heard[i].events) == puts);
  for (int i = 0; i < count; i++) CHECK_INT(last, atomic_load(&heard[i].revision));
  close_all(count);
}

static void watches_that_come_and_go_leave_those_that_stay(void) {
  watch(0, "key", NULL);
  for (int i = 1; i <= rounds(300, 50); i++) {
    heard[1] = (struct heard){0};
    watch(1, i % 2 ? "key" : text("key%d", i), i % 3 ? NULL : HMKV_WATCH_OPTS(.start_revision = 1));
    change_put(kv, "key", "value");
    if (i % 2) WAIT_UNTIL(atomic_load(&heard[1].events) >= (i % 3 ? 1 : i));
    CHECK_OK(hmkv_watch_close(watchers[1]));
    WAIT_UNTIL(atomic_load(&heard[0].events) == i);
  }
  CHECK_OK(hmkv_watch_close(watchers[0]));
}

static void closing_the_store_ends_them_all(void) {
  int count = rounds(3000, 200);
  for (int i = 0; i < count; i++) watch(i, i % 2 ? "key" : text("many/%d", i), NULL);
  change_put(kv, "key", "value");
  hmkv *closed = kv;
  own.kv = kv = open_at(own.endpoint, "timeout=60s");
  close_store(closed);
  change_put(kv, "key", "nobody hears of this");
  for (int i = 0; i < count; i++) {
    CHECK_STATUS(HMKV_EHANDLE, hmkv_watch_close(watchers[i]));
    CHECK(atomic_load(&heard[i].events) <= i % 2);
  }
}

static void watches_of_one_range_share_one_watch_of_the_server(void) {
  int count = rounds(ON_ONE_KEY, 200);
  long watches = server_watches(), streams = server_streams();
  for (int i = 0; i < count; i++) watch(i, "key", NULL);
  change_put(kv, "key", "value");
  for (int i = 0; i < count; i++) WAIT_UNTIL(atomic_load(&heard[i].events) == 1);
  CHECK(server_watches() > watches);
  WAIT_UNTIL(server_watches() <= watches + 2);
  CHECK_INT(streams + 1, server_streams());
  close_all(count);
  WAIT_UNTIL(server_watches() == watches); /* it does not stay behind */
}

static void watches_of_many_ranges_share_one_stream(void) {
  int count = rounds(1000, 100);
  long watches = server_watches(), streams = server_streams();
  for (int i = 0; i < count; i++) watch(i, text("many/%d", i), NULL);
  CHECK(server_watches() >= watches + count);
  CHECK(server_watches() <= watches + count + 2);
  CHECK_INT(streams + 1, server_streams());
  close_all(count);
  WAIT_UNTIL(server_watches() == watches);
}

/* Those that begin in the past catch up, and share what is there then. */
static void late_watches_come_to_share_it_too(void) {
  for (int i = 0; i < 10; i++) change_put(kv, "key", text("%d", i));
  int count = rounds(100, 20);
  long watches = server_watches();
  for (int i = 0; i < count; i++)
    watch(i, "key", i % 2 ? HMKV_WATCH_OPTS(.start_revision = 1) : NULL);
  for (int i = 1; i < count; i += 2) WAIT_UNTIL(atomic_load(&heard[i].events) == 10);
  change_put(kv, "key", "value");
  for (int i = 0; i < count; i++) WAIT_UNTIL(atomic_load(&heard[i].events) == (i % 2 ? 11 : 1));
  WAIT_UNTIL(server_watches() <= watches + 2);
  close_all(count);
}

static const struct test tests[] = {
    BOTH(ten_thousand_watches_of_as_many_keys_all_hear),
    BOTH(a_thousand_watches_of_one_key_all_hear),
    BOTH(watches_that_come_and_go_leave_those_that_stay),
    BOTH(closing_the_store_ends_them_all),
    ETCD_ONLY(watches_of_one_range_share_one_watch_of_the_server),
    ETCD_ONLY(watches_of_many_ranges_share_one_stream),
    ETCD_ONLY(late_watches_come_to_share_it_too),
};
TEST_MAIN(.begin = begin, .end = end)
