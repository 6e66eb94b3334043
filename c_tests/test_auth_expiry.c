/* Tokens end while everything is in use, and with the server that gave them. Whoever
 * uses the store does not notice. */
#include "auth.h"
#include "changes.h"
#include "events.h"
#include "leases.h"
#include "recorder.h"
#include "requests.h"
#include "states.h"
#include "test.h"

static struct server server;
static hmkv *kv;

static void begin(void) {
  server.pid = 0;
  kv = NULL;
}

static void end(void) {
  close_store(kv);
  auth_stop(&server);
}

/* `ttl_s` is that of all leases. */
static void open_as_user(enum token_kind kind, int ttl_s) {
  auth_start(&server, kind);
  auth_add_user(&server, "daemon", "daemonpassword", "daemon/");
  kv = open_at(server.endpoint,
               text("user=daemon password=daemonpassword lock=daemon/dist timeout=20s "
                    "temp_ttl=%ds lock_ttl=%ds", ttl_s, ttl_s));
}

/* ---- everything at once, for several lives of a token ---- */

struct life {
  struct states states;
  struct events events;
  struct recorder recorder;
  struct told lease_told, lock_told;
  hmkv_watcher *cb, *watch;
  hmkv_lease *lease;
  hmkv_lock *lock;
  int64_t created[4];
  int puts;
};

static const char *const keys[] = {"daemon/leased", "daemon/temp"};

static int64_t created(const char *key) {
  hmkv_result *result = read_key(kv, key);
  int64_t revision = hmkv_result_kv(result, 0)->create_revision;
  hmkv_result_free(result);
  return revision;
}

static void life_begin(struct life *life, int ttl_s) {
  *life = (struct life){.states = STATES_NONE, .events = EVENTS_OF("daemon/watched"),
                        .recorder = RECORDER};
  CHECK_OK(hmkv_on_state(kv, states_record, &life->states));
  CHECK_OK(hmkv_watch_cb(kv, "daemon/watched", 3, events_record, &life->events, &life->cb));
  CHECK_OK(hmkv_watch_open(kv, "daemon/watched", HMKV_NTS, HMKV_WATCH_OPTS(.prefix = 1),
                           recorder_event, &life->recorder, &life->watch));
  life->lease = lease_new(kv, 1000 * ttl_s, &life->lease_told);
  lease_put(kv, life->lease, keys[0], HMKV_OK);
  CHECK_OK(hmkv_temp_key(kv, keys[1]));
  CHECK_OK(hmkv_dist_lock(kv));
  const hmkv_lock_opts *opts = HMKV_LOCK_OPTS(.wait_ms = HMKV_TRY, .ttl_ms = 1000 * ttl_s);
  life->lock = take_with(kv, "daemon/named", opts, &life->lock_told);
  for (int i = 0; i < 2; i++) life->created[i] = created(keys[i]);
  life->created[2] = created(queue_key(kv, "daemon/dist", 0));
  life->created[3] = hmkv_lock_token(life->lock);
}

/* A change that both watches hear of, and a look at everything else. */
static void life_goes_on(struct life *life) {
  CHECK_OK(hmkv_store(kv, "daemon/watched", text("%d", life->puts++)));
  events_wait(&life->events, (size_t)life->puts);
  recorder_wait(&life->recorder, (size_t)life->puts);
  CHECK(told_nothing(&life->lease_told) && told_nothing(&life->lock_told));
  CHECK_INT(0, states_total(&life->states));
  CHECK(hmkv_lease_left_ms(life->lease) > 0);
  CHECK(hmkv_lock_left_ms(life->lock) > 0);
  CHECK_INT(HMKV_LOCK_GRANTED, hmkv_dist_lock_result(kv));
  for (int i = 0; i < 2; i++) CHECK_INT(life->created[i], created(keys[i]));
  CHECK_INT(life->created[2], created(queue_key(kv, "daemon/dist", 0)));
  CHECK_INT(life->created[3], created(queue_key(kv, "daemon/named", 0)));
}

static void life_end(struct life *life) {
  CHECK_OK(hmkv_watch_cb_cancel(life->cb));
  CHECK_OK(hmkv_watch_close(life->watch));
  CHECK_INT(life->puts, recorder_count_of(&life->recorder, HMKV_EVENT_PUT));
  recorder_check_versions(&life->recorder);
  CHECK_OK(hmkv_lock_release(life->lock));
  CHECK_OK(hmkv_dist_unlock(kv));
  CHECK_OK(hmkv_lease_close(life->lease, true));
  CHECK(!has_key(kv, keys[0]));
  events_free(&life->events);
  recorder_free(&life->recorder);
  states_free(&life->states);
}

static void let_tokens_end(void) { usleep((TOKEN_SECONDS * 1000 + 500) * 1000); }

static void tokens_end_unnoticed(enum token_kind kind) {
  struct life life;
  open_as_user(kind, 2);
  life_begin(&life, 2);
  long before = auth_count(&server);
  for (int i = 0; i < 4; i++) {
    let_tokens_end();
    life_goes_on(&life);
    /* A watch that begins on a stream which is older than the token. */
    hmkv_watcher *more = NULL;
    struct recorder recorder = RECORDER;
    CHECK_OK(hmkv_watch_open(kv, "daemon/more", HMKV_NTS, NULL, recorder_event, &recorder, &more));
    change_put(kv, "daemon/more", text("%d", i));
    recorder_wait(&recorder, 1);
    CHECK_INT(0, recorder_states(&recorder));
    CHECK_OK(hmkv_watch_close(more));
    recorder_free(&recorder);
    life_goes_on(&life);
  }
  CHECK_INT(0, recorder_states(&life.recorder));
  long count = auth_count(&server) - before;
  CHECK(count >= 1 && count <= 12);
  life_end(&life);
}

static void simple_tokens_end_unnoticed(void) { tokens_end_unnoticed(SIMPLE_TOKENS); }
static void signed_tokens_end_unnoticed(void) { tokens_end_unnoticed(JWT); }

/* ---- with the server ---- */

static void the_server_forgets(enum token_kind kind) {
  struct life life;
  open_as_user(kind, 20);
  life_begin(&life, 20);
  for (int i = 0; i < 3; i++) {
    life_goes_on(&life);
    server_kill(&server);
    server_restart(&server);
  }
  life_goes_on(&life);
  CHECK(auth_count(&server) < 20);
  life_end(&life);
}

static void a_restart_of_the_server_costs_nothing_but_time_simple(void) {
  the_server_forgets(SIMPLE_TOKENS);
}
static void a_restart_of_the_server_costs_nothing_but_time_signed(void) {
  the_server_forgets(JWT);
}

/* ---- many at once ---- */

enum { THREADS = 8 };
static atomic_bool stop;

static void *keep_calling(void *key) {
  int64_t calls = 0;
  for (; !atomic_load(&stop); calls++) {
    CHECK_OK(hmkv_store(kv, key, "value"));
    CHECK_VALUE(kv, key, "value");
    FINISH(HMKV_OK, hmkv_put(kv, key, HMKV_NTS, "other", HMKV_NTS, NULL));
    if (calls % 100 == 0) usleep(1000);
  }
  return (void *)(intptr_t)calls;
}

static void no_call_of_many_fails_or_authenticates_for_itself(void) {
  pthread_t threads[THREADS];
  open_as_user(JWT, 10);
  long before = auth_count(&server);
  atomic_store(&stop, false);
  for (int i = 0; i < THREADS; i++)
    threads[i] = start_thread(keep_calling, (void *)(uintptr_t)text("daemon/%d", i));
  usleep(3 * TOKEN_SECONDS * 1000 * 1000);
  atomic_store(&stop, true);
  int64_t calls = 0;
  for (int i = 0; i < THREADS; i++) calls += (intptr_t)join_thread(threads[i]);
  long count = auth_count(&server) - before;
  printf("%" PRId64 " rounds of calls, %ld authentications\n", calls, count);
  CHECK(count >= 3 && count <= 6);
}

static const struct test tests[] = {
    ETCD_ONLY(simple_tokens_end_unnoticed),
    ETCD_ONLY(signed_tokens_end_unnoticed),
    ETCD_ONLY(a_restart_of_the_server_costs_nothing_but_time_simple),
    ETCD_ONLY(a_restart_of_the_server_costs_nothing_but_time_signed),
    ETCD_ONLY(no_call_of_many_fails_or_authenticates_for_itself),
};

TEST_MAIN(.begin = begin, .end = end)
