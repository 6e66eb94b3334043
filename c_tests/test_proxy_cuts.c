/* Connections that end in the middle: of a large write, of an answer, between a
 * request and its answer. Every call answers truly, and no SIGPIPE ends the process. */
#include "calls.h"
#include "control.h"
#include "proxy.h"
#include "server.h"
#include "test.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { LARGE = 512 * 1024, TIMEOUT_MS = 5000 };

static struct server server;
static struct proxy proxy;
static struct control control;
static hmkv *kv; /* through the proxy */
static hmkv *direct;
static char *large;

static void begin(void) {
  server_start(&server, NULL);
  proxy_start(&proxy, server.client_port);
  kv = open_at(proxy.endpoint, NULL);
  direct = open_at(server.endpoint, "timeout=20s");
  large = malloc(LARGE + 1);
  CHECK(large);
  memset(large, 'x', LARGE);
  large[LARGE] = '\0';
  control_start(&control);
}

static void end(void) {
  control_stop(&control);
  close_store(kv);
  close_store(direct);
  proxy_stop(&proxy);
  server_stop(&server);
  free(large);
}

static int64_t version_of(const char *key) {
  hmkv_result *result = NULL;
  CHECK_OK(hmkv_get_range(direct, key, key, &result));
  const hmkv_kv *pair = hmkv_result_kv(result, 0);
  int64_t version = pair ? pair->version : 0;
  hmkv_result_free(result);
  return version;
}

/* Writes of one key. An unknown one may be applied later than it returned, so the
 * server is asked in the end. */
struct writes {
  const char *key;
  int64_t before; /* the key's version */
  int ok, unavailable, unknown;
};

static struct writes no_writes(void) {
  const char *key = unique("key");
  CHECK_OK(hmkv_store(direct, key, "none"));
  return (struct writes){.key = key, .before = version_of(key)};
}

static void store(struct writes *writes, hmkv *to, const char *value) {
  hmkv_status status = hmkv_store(to, writes->key, value);
  if (status == HMKV_OK) {
    writes->ok++;
  } else if (status == HMKV_EUNAVAIL) {
    writes->unavailable++;
  } else {
    CHECK_STATUS(HMKV_EINDETERMINATE, status);
    writes->unknown++;
  }
}

/* How many were applied. */
static int check_writes(const char *what, const struct writes *writes) {
  int applied = (int)(version_of(writes->key) - writes->before);
  printf("\n  %s: %d ok, %d unavailable, %d unknown; %d applied", what, writes->ok,
         writes->unavailable, writes->unknown, applied);
  CHECK(applied >= writes->ok && applied <= writes->ok + writes->unknown);
  return applied;
}

/* ---- SIGPIPE ---- */

/* Shows that SIGPIPE does end this process where somebody writes without care. */
static void check_that_sigpipe_is_deadly(void) {
  int pair[2], status = 0;
  struct sigaction action;
  sigset_t mask;
  CHECK_INT(0, sigaction(SIGPIPE, NULL, &action));
  CHECK(action.sa_handler == SIG_DFL);
  CHECK_INT(0, pthread_sigmask(SIG_SETMASK, NULL, &mask));
  CHECK_INT(0, sigismember(&mask, SIGPIPE));
  CHECK_INT(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
  close(pair[1]);
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) _exit(write(pair[0], "x", 1) == 1);
  close(pair[0]);
  WAIT_UNTIL(waitpid(pid, &status, WNOHANG) == pid);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE);
}

static void a_peer_that_hangs_up_in_large_writes_ends_nothing(void) {
  unsigned seed = (unsigned)test_number("--seed", now_ms());
  struct callers callers;
  struct writes writes = no_writes();
  int times = rounds(160, 20);
  printf(" --seed %u", seed);
  signal(SIGPIPE, SIG_DFL);
  check_that_sigpipe_is_deadly();
  callers_start(&callers, kv, seed);
  int64_t begin_us = now_us();
  for (int i = 0; i < times; i++) {
    int64_t after = (int64_t)(LARGE + 8192) * i / times + (int64_t)(rand_r(&seed) % 100);
    proxy_cut_after(&proxy, TO_SERVER, after, i % 2 ? CUT_RESET : CUT_CLOSE);
    store(&writes, kv, large);
  }
  proxy_cut_never(&proxy);
  int64_t end_us = now_us();
  WAIT_UNTIL(hmkv_store(kv, unique("last"), "1") == HMKV_OK);
  callers_stop(&callers);
  check_that_sigpipe_is_deadly();
  int64_t late = control_take_ms(&control);
  struct span span = callers_span(&callers, begin_us, end_us, 0, 0);
  check_writes("large writes", &writes);
  printf("\n  %ld cuts, %ld connections; %zu calls beside them, %zu unavailable, %zu unknown, the "
         "longest %" PRId64 " ms, oversleep %" PRId64 " ms",
         proxy_cuts(&proxy), proxy_connections(&proxy), span.calls,
         span.by_status[-HMKV_EUNAVAIL], span.by_status[-HMKV_EINDETERMINATE],
         span.longest_us / 1000, late);
  CHECK(proxy_cuts(&proxy) >= times * 9 / 10);
  CHECK(writes.unknown + writes.unavailable >= times / 2);
  CHECK(span.longest_us <= (TIMEOUT_MS + 100 + late) * 1000);
  callers_verify(&callers, direct);
  callers_free(&callers);
  printf("\n ");
}

/* ---- answers ---- */

static void a_read_that_is_cut_is_repeated(void) {
  const char *key = unique("large");
  int times = rounds(80, 10);
  CHECK_OK(hmkv_store(direct, key, large));
  for (int i = 0; i < times; i++) {
    int64_t after = (int64_t)LARGE * i / times;
    proxy_cut_after(&proxy, TO_CLIENT, after, i % 2 ? CUT_RESET : CUT_CLOSE);
    CHECK_VALUE(kv, key, large);
  }
  printf("\n  %d reads of %d bytes, %ld cuts, every read succeeded\n ", times, LARGE,
         proxy_cuts(&proxy));
  CHECK(proxy_cuts(&proxy) >= times * 9 / 10);
}

static void a_write_whose_answer_is_cut_is_unknown(void) {
  struct writes writes = no_writes();
  int times = rounds(100, 10);
  for (int i = 0; i < times; i++) {
    WAIT_UNTIL(hmkv_store(kv, unique("warm"), "1") == HMKV_OK);
    proxy_cut_after(&proxy, TO_CLIENT, 0, i % 2 ? CUT_RESET : CUT_CLOSE);
    store(&writes, kv, text("%d", i));
    proxy_cut_never(&proxy);
  }
  int applied = check_writes("writes whose answer was cut", &writes);
  printf(", %ld cuts\n ", proxy_cuts(&proxy));
  CHECK(writes.unknown >= times / 2);
  CHECK(applied > times / 2);
}

static void a_write_to_a_port_that_refuses_is_not_applied(void) {
  struct writes writes = no_writes();
  int times = rounds(40, 5);
  hmkv *hasty = open_at(proxy.endpoint, "timeout=100ms");
  proxy_refuse(&proxy, true);
  proxy_cut_all(&proxy, CUT_RESET);
  for (int i = 0; i < times; i++) store(&writes, hasty, "never");
  CHECK_INT(0, check_writes("writes to a port that refuses", &writes));
  CHECK_INT(times, writes.unavailable);
  printf("\n ");
  proxy_refuse(&proxy, false);
  WAIT_UNTIL(hmkv_store(hasty, writes.key, "back") == HMKV_OK);
  WAIT_UNTIL(hmkv_store(kv, writes.key, "back") == HMKV_OK);
  close_store(hasty);
}

/* A direction that is held is a server that hangs, on connections that live. */
static void calls_through_a_held_connection_wait_for_it(void) {
  struct writes writes = no_writes();
  int times = rounds(6, 2);
  int64_t shortest = INT64_MAX; /* a thread that is late, another need not have seen */
  hmkv *hasty = open_at(proxy.endpoint, "timeout=300ms");
  for (int i = 0; i < times; i++) {
    enum proxy_way way = i % 2 ? TO_SERVER : TO_CLIENT;
    char *value = NULL;
    WAIT_UNTIL(hmkv_get(hasty, writes.key, &value) == HMKV_OK);
    hmkv_free(value);
    uint64_t passed = proxy_passed(&proxy, way);
    proxy_hold(&proxy, way, true);
    (void)control_take_ms(&control);
    int64_t start = now_ms();
    store(&writes, hasty, "held");
    int64_t took = now_ms() - start, late = control_take_ms(&control);
    CHECK_INT(passed, proxy_passed(&proxy, way));
    CHECK(took >= 290);
    if (took - late < shortest) shortest = took - late;
    proxy_hold(&proxy, way, false);
  }
  WAIT_UNTIL(hmkv_store(kv, unique("last"), "1") == HMKV_OK);
  check_writes("writes through a held connection", &writes);
  printf("\n ");
  CHECK_INT(times, writes.unknown);
  CHECK(shortest <= 300 + 100);
  close_store(hasty);
}

static const struct test tests[] = {
    ETCD_ONLY(a_peer_that_hangs_up_in_large_writes_ends_nothing),
    ETCD_ONLY(a_read_that_is_cut_is_repeated),
    ETCD_ONLY(a_write_whose_answer_is_cut_is_unknown),
    ETCD_ONLY(calls_through_a_held_connection_wait_for_it),
    ETCD_ONLY(a_write_to_a_port_that_refuses_is_not_applied),
};
TEST_MAIN(.begin = begin, .end = end)
