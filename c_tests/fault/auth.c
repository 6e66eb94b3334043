/* A server that asks who one is, through everything that happens to a user: tokens that
 * end, the server restarted, the password changed, the role taken away. Nothing that is
 * held or watched is disturbed, and who is denied does not ask without end. */
#include "bench.h"

#include "auth.h"
#include "life.h"
#include "process.h"

enum { CALLERS = 4, LEASE_S = 10, DENIED_MS = 2000, AUTHS_A_SECOND = 5 };
enum phase { ALLOWED, CHANGING, REFUSED, PHASES };

static struct server server;
static hmkv *kv;
static struct life life;
static int passwords;

/* ---- calls without a break; each is judged if it began and ended in one phase ---- */

static struct {
  atomic_int phase; /* of PHASES, and how often it changed */
  atomic_bool stop;
  atomic_long good, denied, wrong, unknown;
  atomic_int wrong_status;
  pthread_t threads[CALLERS];
} callers;

static void enter(enum phase phase) {
  int count = atomic_load(&callers.phase) / PHASES + 1;
  atomic_store(&callers.phase, count * PHASES + (int)phase);
}

static void judge_call(hmkv_status status, int phase, bool writes) {
  if (phase % PHASES == CHANGING) return;
  if (writes && status == HMKV_EINDETERMINATE) {
    atomic_fetch_add(&callers.unknown, 1);
  } else if (status != (phase % PHASES == ALLOWED ? HMKV_OK : HMKV_EDENIED)) {
    atomic_store(&callers.wrong_status, status);
    atomic_fetch_add(&callers.wrong, 1);
  } else {
    atomic_fetch_add(status == HMKV_OK ? &callers.good : &callers.denied, 1);
  }
}

static void *call_on(void *arg) {
  bool writes = (intptr_t)arg == 0;
  while (!atomic_load(&callers.stop)) {
    char *value = NULL;
    int phase = atomic_load(&callers.phase);
    hmkv_status status = writes ? hmkv_store(kv, "daemon/called", "value")
                                : hmkv_get(kv, "daemon/called", &value);
    hmkv_free(value);
    if (phase == atomic_load(&callers.phase)) judge_call(status, phase, writes);
    poll_pause();
  }
  return NULL;
}

static void callers_start(void) {
  atomic_store(&callers.stop, false);
  enter(ALLOWED);
  for (intptr_t i = 0; i < CALLERS; i++) callers.threads[i] = start_thread(call_on, (void *)i);
}

static void callers_stop(void) {
  atomic_store(&callers.stop, true);
  for (int i = 0; i < CALLERS; i++) join_thread(callers.threads[i]);
}

/* ---- authentications; the server counts from its start ---- */

static struct {
  int64_t since_ms;
  long before;
  double worst; /* a second */
} asked;

static void asked_begin(void) {
  asked.since_ms = now_ms();
  asked.before = auth_count(&server);
}

static double asked_rate(void) {
  return 1000.0 * (double)(auth_count(&server) - asked.before) /
         (double)(now_ms() - asked.since_ms);
}

/* ---- what happens ---- */

static void tokens_end(struct bench *bench) {
  (void)bench;
  bench_sleep(TOKEN_SECONDS * 1000 + 500);
}

static void server_restarts(struct bench *bench) {
  server_kill(&server);
  bench_sleep(bench_draw(bench, 500));
  server_restart(&server);
}

/* Between the two there is a moment in which nobody can say who it is. */
static void password_changes(struct bench *bench) {
  (void)bench;
  const char *password = text("password%d", ++passwords);
  enter(CHANGING);
  auth_change_password(&server, "daemon", password);
  auth_file(&server, password);
  WAIT_UNTIL(hmkv_store(kv, "daemon/called", "value") == HMKV_OK);
  enter(ALLOWED);
}

static void role_is_revoked(struct bench *bench) {
  (void)bench;
  enter(CHANGING);
  etcdctl_at(server.endpoint, "user", "revoke-role", "daemon", "role of daemon", NULL);
  WAIT_UNTIL(hmkv_store(kv, "daemon/called", "value") == HMKV_EDENIED);
  enter(REFUSED);
  asked_begin();
  bench_sleep(DENIED_MS);
  double rate = asked_rate();
  if (rate > asked.worst) asked.worst = rate;
  enter(CHANGING);
  etcdctl_at(server.endpoint, "user", "grant-role", "daemon", "role of daemon", NULL);
  WAIT_UNTIL(hmkv_store(kv, "daemon/called", "value") == HMKV_OK);
  enter(ALLOWED);
}

/* Tokens that name an older state of all users are refused. */
static void another_user_comes(struct bench *bench) {
  (void)bench;
  etcdctl_at(server.endpoint, "user", "add", text("other%" PRId64 ":x", now_us()), NULL);
}

enum { KINDS = 5 };
static void (*const kinds[KINDS])(struct bench *) = {
    tokens_end, server_restarts, password_changes, role_is_revoked, another_user_comes};

static int live_through(struct bench *bench, enum token_kind kind, int64_t until_ms) {
  int done = 0, first = (int)bench_draw(bench, KINDS);
  auth_start(&server, kind);
  auth_add_user(&server, "daemon", "first", "daemon/");
  const char *file = auth_file(&server, "first");
  kv = open_at(server.endpoint, text("user=daemon password_file='%s' timeout=20s %s", file,
                                     life_options(LEASE_S)));
  CHECK_OK(hmkv_store(kv, "daemon/called", "value"));
  life_begin(&life, kv, LEASE_S);
  callers_start();
  for (; done < KINDS || bench_ms(bench) < until_ms; done++) {
    kinds[done < KINDS ? (unsigned)(first + done) % KINDS : bench_draw(bench, KINDS)](bench);
    life_goes_on(&life); /* ends the case where something was disturbed */
  }
  callers_stop();
  life_end(&life);
  close_store(kv);
  auth_stop(&server);
  return done;
}

void auth_case(void) {
  struct bench bench;
  bench_begin(&bench, 20);
  int simple = live_through(&bench, SIMPLE_TOKENS, bench.secs * 500);
  int jwt = live_through(&bench, JWT, bench.secs * 1000);
  bench_over(&bench);
  long good = atomic_load(&callers.good), denied = atomic_load(&callers.denied);
  long wrong = atomic_load(&callers.wrong), unknown = atomic_load(&callers.unknown);
  bench_figure(&bench, "%d faults with simple tokens, %d with JWT", simple, jwt);
  bench_figure(&bench, "%ld calls ok, %ld denied, %ld unknown, %ld otherwise (%s)", good, denied,
               unknown, wrong, wrong ? hmkv_status_name(atomic_load(&callers.wrong_status)) : "-");
  bench_figure(&bench, "denied: at most %.1f authentications a second", asked.worst);
  bench_must(&bench, wrong == 0, "a call got another answer than it should");
  bench_must(&bench, unknown <= simple + jwt, "too many unknown writes");
  bench_must(&bench, good > 100 && denied > 100, "too few calls");
  bench_must(&bench, asked.worst < AUTHS_A_SECOND, "a storm of authentications");
  bench_end(&bench);
}
