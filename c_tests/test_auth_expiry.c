/* Tokens end while everything is in use, and with the server that gave them. Whoever
 * uses the store does not notice. */
#include "auth.h"
#include "changes.h"
#include "life.h"
#include "requests.h"

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
               text("user=daemon password=daemonpassword timeout=20s %s", life_options(ttl_s)));
}

/* ---- everything at once, for several lives of a token ---- */

static void tokens_end_unnoticed(enum token_kind kind, int lease_s) {
  struct life life;
  open_as_user(kind, lease_s);
  life_begin(&life, kv, lease_s);
  long before = auth_count(&server);
  for (int i = 0; i < 4; i++) {
    HOLDS_FOR(TOKEN_SECONDS * 1000 + 500, told_nothing(&life.lease_told));
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
  printf("\n  %ld authentications\n ", count);
  CHECK(count >= 1 && count <= 20);
  life_end(&life);
}

/* A current server takes each renewal for a use of the token: they must be rarer than
 * tokens are good for. */
static void simple_tokens_end_unnoticed(void) { tokens_end_unnoticed(SIMPLE_TOKENS, 9); }
static void signed_tokens_end_unnoticed(void) { tokens_end_unnoticed(JWT, 4); }

/* ---- with the server ---- */

static void the_server_forgets(enum token_kind kind) {
  struct life life;
  open_as_user(kind, 20);
  life_begin(&life, kv, 20);
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
    if (calls % 100 == 0) poll_pause();
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
  int64_t end = now_ms() + 3 * TOKEN_SECONDS * 1000;
  WAIT_UNTIL(now_ms() > end);
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
