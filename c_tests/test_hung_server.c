/* A server that hangs, or was away while nobody called: calls end with the store, get
 * their answer when it is back, and find it again. */
#include "control.h"
#include "load.h"
#include "server.h"
#include "test.h"

enum { THREADS = 8, KINDS = 4, CLOSE_MS = 1000, QUIET_MS = 8000, STALL_MS = 1000 };

static struct server server;
static struct control control;

static void begin(void) {
  server_start(&server, NULL);
  control_start(&control);
}

static void end(void) {
  control_stop(&control);
  server_stop(&server);
}

struct caller {
  hmkv *kv;
  const char *key;
  int kind; /* of call_once() */
  atomic_int tid;
  atomic_int calls;
  hmkv_status last; /* the first that was negative */
  hmkv_status next; /* of the call after that */
};

static bool writes(int kind) { return kind % KINDS < 2; }

static hmkv_status call_once(const struct caller *caller) {
  char *value = NULL;
  hmkv_result *result = NULL;
  hmkv_status status = HMKV_OK;
  switch (caller->kind % KINDS) {
    case 0:
      return hmkv_store(caller->kv, caller->key, "value");
    case 1:
      return hmkv_tas(caller->kv, caller->key, "value", "value");
    case 2:
      status = hmkv_get(caller->kv, caller->key, &value);
      CHECK_STR(status == HMKV_OK ? "value" : NULL, value);
      break;
    default:
      status = hmkv_get_range(caller->kv, caller->key, caller->key, &result);
      CHECK_INT(status == HMKV_OK, hmkv_result_count(result));
  }
  hmkv_free(value);
  hmkv_result_free(result);
  return status;
}

static void *call_until_it_fails(void *arg) {
  struct caller *caller = arg;
  atomic_store(&caller->tid, (int)thread_id());
  while ((caller->last = call_once(caller)) >= 0) atomic_fetch_add(&caller->calls, 1);
  caller->next = call_once(caller);
  return NULL;
}

static void *call_one_time(void *arg) {
  struct caller *caller = arg;
  atomic_store(&caller->tid, (int)thread_id());
  caller->last = call_once(caller);
  atomic_fetch_add(&caller->calls, 1);
  return NULL;
}

static void prepare(struct caller callers[THREADS], hmkv *kv) {
  for (int i = 0; i < THREADS; i++) {
    callers[i] = (struct caller){.kv = kv, .key = unique("key"), .kind = i};
    CHECK_OK(hmkv_store(kv, callers[i].key, "value"));
  }
}

/* All at once: a server that is paused for long counts as dead. */
static void wait_until_all_are_blocked(struct caller callers[THREADS]) {
  pid_t tids[THREADS];
  for (int i = 0; i < THREADS; i++) {
    WAIT_UNTIL(atomic_load(&callers[i].tid) != 0);
    tids[i] = atomic_load(&callers[i].tid);
  }
  wait_until_all_blocked(tids, THREADS);
}

/* Gives the time from the begin of the close to the end of the last call. */
static int64_t close_amid_calls(int *unknown) {
  struct caller callers[THREADS];
  pthread_t threads[THREADS];
  hmkv *kv = open_at(server.endpoint, text("timeout=10m close_timeout=%dms", CLOSE_MS));
  prepare(callers, kv);
  for (int i = 0; i < THREADS; i++) threads[i] = start_thread(call_until_it_fails, &callers[i]);
  for (int i = 0; i < THREADS; i++) WAIT_UNTIL(atomic_load(&callers[i].calls) > 10);
  server_pause(&server);
  wait_until_all_are_blocked(callers);
  int64_t start = now_ms();
  CHECK_OK(hmkv_close(kv));
  for (int i = 0; i < THREADS; i++) join_thread(threads[i]);
  int64_t took = now_ms() - start;
  server_resume(&server);
  for (int i = 0; i < THREADS; i++) {
    bool is_unknown = writes(callers[i].kind) && callers[i].last == HMKV_EINDETERMINATE;
    if (!is_unknown) CHECK_STATUS(HMKV_ECLOSED, callers[i].last);
    CHECK_STATUS(HMKV_EHANDLE, callers[i].next);
    *unknown += is_unknown;
  }
  server_wait(&server);
  return took;
}

static void closing_ends_the_calls_of_all_threads_in_time(void) {
  int times = rounds(6, 2), unknown = 0;
  int64_t longest = 0;
  for (int i = 0; i < times; i++) {
    int64_t took = close_amid_calls(&unknown);
    if (took > longest) longest = took;
  }
  int64_t late = control_take_ms(&control);
  printf("\n  %d closes, %d calls ended, %d of them unknown writes; the longest took %" PRId64
         " ms, oversleep %" PRId64 " ms\n ",
         times, times * THREADS, unknown, longest, late);
  CHECK(unknown >= times); /* they were handed to a connection */
  /* A thread that is late, another need not have seen; any further wait is as long again. */
  CHECK(longest < 2 * CLOSE_MS + late);
}

static void calls_to_a_paused_server_get_their_answer_when_it_resumes(void) {
  struct caller callers[THREADS];
  pthread_t threads[THREADS];
  hmkv *kv = open_at(server.endpoint, "timeout=20s");
  int times = rounds(5, 2);
  for (int i = 0; i < times; i++) {
    prepare(callers, kv);
    server_pause(&server);
    for (int j = 0; j < THREADS; j++) threads[j] = start_thread(call_one_time, &callers[j]);
    wait_until_all_are_blocked(callers);
    for (int j = 0; j < THREADS; j++) CHECK_INT(0, atomic_load(&callers[j].calls));
    server_resume(&server);
    for (int j = 0; j < THREADS; j++) join_thread(threads[j]);
    for (int j = 0; j < THREADS; j++) CHECK_OK(callers[j].last);
  }
  printf("\n  %d calls waited and succeeded\n ", times * THREADS);
  close_store(kv);
}

static void after_a_quiet_time_calls_work_at_once(void) {
  struct load load;
  hmkv *kv = open_at(server.endpoint, "timeout=5s keepalive=6s");
  load_start(&load, kv, THREADS);
  load_stop(&load);
  int threads = count_threads("hmkv-");
  HOLDS_FOR(QUIET_MS, count_threads("hmkv-") == threads);
  (void)control_take_ms(&control);
  load_start(&load, kv, THREADS);
  int64_t longest = load_take_longest_ms(&load), late = control_take_ms(&control);
  load_stop(&load);
  printf("\n  after %d ms: %ld calls, the longest turn %" PRId64 " ms, oversleep %" PRId64 " ms\n ",
         QUIET_MS, load_calls(&load), longest, late);
  CHECK(longest <= (under_valgrind() ? 20 : 1) * STALL_MS + late);
  close_store(kv);
}

/* The connection ended before the call: its write was not handed to it. */
static void a_server_restarted_in_a_quiet_time_serves_the_next_call(void) {
  struct caller callers[THREADS];
  hmkv *kv = open_at(server.endpoint, "timeout=20s");
  prepare(callers, kv);
  for (int i = 0; i < KINDS; i++) {
    server_kill(&server);
    server_restart(&server);
    CHECK_OK(call_once(&callers[i]));
  }
  printf("\n  %d restarts, the first call after each succeeded\n ", KINDS);
  close_store(kv);
}

static const struct test tests[] = {
    ETCD_ONLY(closing_ends_the_calls_of_all_threads_in_time),
    ETCD_ONLY(calls_to_a_paused_server_get_their_answer_when_it_resumes),
    ETCD_ONLY(after_a_quiet_time_calls_work_at_once),
    ETCD_ONLY(a_server_restarted_in_a_quiet_time_serves_the_next_call),
};
TEST_MAIN(.begin = begin, .end = end)
