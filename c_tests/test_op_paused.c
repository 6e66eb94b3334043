/* Requests to a server that hangs: submitting does not wait, each ends in its own time,
 * cancelling and closing end them at once. */
#include "proxy.h"
#include "requests.h"
#include "server.h"
#include "test.h"

enum { COUNT = 200 };

static struct server server;
static struct proxy proxy;
static hmkv *kv; /* through the proxy */
static const char *key;

static void open_with(const char *options) {
  if (kv) close_store(kv);
  kv = open_at(proxy.endpoint, options);
  /* Connecting may take longer than the store's time. */
  FINISH(HMKV_OK, hmkv_put(kv, key, HMKV_NTS, "old", 3, HMKV_PUT_OPTS(.timeout_ms = 20000)));
}

static void begin(void) {
  server_start(&server, NULL);
  proxy_start(&proxy, server.client_port);
  key = unique("key");
  open_with("timeout=10m close_timeout=1s");
}

static void end(void) {
  if (kv) close_store(kv);
  kv = NULL;
  proxy_stop(&proxy);
  server_stop(&server);
}

static hmkv_op *get_op(void) { return hmkv_range(kv, key, HMKV_NTS, NULL); }
static hmkv_op *put_op(const char *value) {
  return hmkv_put(kv, key, HMKV_NTS, value, HMKV_NTS, NULL);
}

/* Submits a put to the paused server and waits until it is out of the library. */
static hmkv_op *sent_put(void) {
  enum { SIZE = 10000 };
  static char value[SIZE];
  memset(value, 'n', SIZE);
  uint64_t before = proxy_passed(&proxy, TO_SERVER);
  hmkv_op *op = hmkv_put(kv, key, HMKV_NTS, value, SIZE, NULL);
  WAIT_UNTIL(proxy_passed(&proxy, TO_SERVER) >= before + SIZE);
  return op;
}

/* ---- hmkv_cancel ---- */

static void a_cancelled_read_is_ecanceled(void) {
  server_pause(&server);
  for (int i = 0; i < 20; i++) CHECK_STATUS(HMKV_ECANCELED, hmkv_cancel(get_op()));
  hmkv_op *op = get_op(), *ping = hmkv_ping(kv);
  hmkv_op *all = hmkv_range(kv, key, 1, HMKV_RANGE_OPTS(.prefix = 1));
  HOLDS_FOR(100, op != NULL); /* it is sent by now */
  CHECK_STATUS(HMKV_ECANCELED, hmkv_cancel(op));
  CHECK_STATUS(HMKV_ECANCELED, hmkv_cancel(ping));
  CHECK_STATUS(HMKV_ECANCELED, hmkv_cancel(all));
  server_resume(&server);
  FINISH(HMKV_OK, get_op());
}

static void a_put_that_was_sent_is_indeterminate(void) {
  server_pause(&server);
  hmkv_op *op = sent_put();
  CHECK_STATUS(HMKV_EINDETERMINATE, hmkv_cancel(op));
  server_resume(&server);
  hmkv_result *result = AWAIT(HMKV_OK, get_op());
  size_t length = hmkv_result_kv(result, 0)->value_len;
  CHECK(length == 3 || length == 10000);
  hmkv_result_free(result);
}

/* Answered, but the answer has not come. */
static void a_put_that_is_applied_already_is_indeterminate(void) {
  hmkv *direct = open_at(server.endpoint, "timeout=20s");
  proxy_hold(&proxy, TO_CLIENT, true);
  hmkv_op *op = sent_put();
  hmkv_op *removal = hmkv_remove(kv, unique("absent"), HMKV_NTS, NULL);
  char *value = NULL;
  WAIT_UNTIL((hmkv_free(value), hmkv_get(direct, key, &value)) == HMKV_OK && *value == 'n');
  hmkv_free(value);
  CHECK_STATUS(HMKV_EINDETERMINATE, hmkv_cancel(op));
  hmkv_status status = hmkv_cancel(removal);
  if (status != HMKV_ECANCELED) CHECK_STATUS(HMKV_EINDETERMINATE, status);
  proxy_hold(&proxy, TO_CLIENT, false);
  FINISH(HMKV_OK, put_op("next"));
  CHECK_VALUE(direct, key, "next");
  close_store(direct);
}

static void a_put_that_was_not_sent_is_ecanceled_and_never_applied(void) {
  const char *lost = unique("lost");
  proxy_refuse(&proxy, true);
  proxy_cut_all(&proxy, CUT_CLOSE);
  WAIT_UNTIL(hmkv_cancel(put_op("lost")) == HMKV_ECANCELED); /* the cut is noticed */
  for (int i = 0; i < 20; i++)
    CHECK_STATUS(HMKV_ECANCELED, hmkv_cancel(hmkv_put(kv, lost, HMKV_NTS, "v", 1, NULL)));
  proxy_refuse(&proxy, false);
  FINISH(HMKV_OK, hmkv_ping(kv));
  HOLDS_FOR(300, !has_key(kv, lost));
}

static void cancelled_requests_make_room_for_others(void) {
  server_pause(&server);
  for (int round = 0; round < 20; round++) {
    hmkv_op *ops[COUNT];
    for (int i = 0; i < COUNT; i++) ops[i] = get_op();
    for (int i = 0; i < COUNT; i++) CHECK_STATUS(HMKV_ECANCELED, hmkv_cancel(ops[i]));
  }
  server_resume(&server);
  for (int i = 0; i < 20; i++) FINISH(HMKV_OK, get_op());
}

/* ---- time ---- */

static void submitting_does_not_wait(void) {
  hmkv_op *ops[COUNT];
  int64_t begin = now_ms();
  server_pause(&server);
  for (int i = 0; i < COUNT; i++) ops[i] = i % 2 ? get_op() : put_op("new");
  CHECK(now_ms() - begin < 10000); /* the timeout is ten minutes */
  server_resume(&server);
  for (int i = 0; i < COUNT; i++) FINISH(HMKV_OK, ops[i]);
}

/* Within 1 s and a little more. */
static void ends_in_time(int64_t begin) {
  int64_t took = now_ms() - begin;
  if (took < 900 || took > 6000) FAIL("it took %" PRId64 " ms", took);
}

static hmkv_op *timed_put(int64_t ms) {
  return hmkv_put(kv, key, HMKV_NTS, "new", 3, HMKV_PUT_OPTS(.timeout_ms = ms));
}
static hmkv_op *timed_cas(int64_t ms) {
  return hmkv_put(kv, key, HMKV_NTS, "new", 3,
                  HMKV_PUT_OPTS(.timeout_ms = ms, .if_mod_revision = HMKV_ABSENT));
}
static hmkv_op *timed_remove(int64_t ms) {
  return hmkv_remove(kv, "absent", HMKV_NTS, HMKV_REMOVE_OPTS(.timeout_ms = ms));
}
static hmkv_op *timed_txn(int64_t ms) {
  hmkv_txn *txn = hmkv_txn_new(kv);
  hmkv_txn_put(txn, HMKV_THEN, key, HMKV_NTS, "new", 3, NULL);
  return hmkv_txn_commit(txn, HMKV_TXN_OPTS(.timeout_ms = ms));
}
static hmkv_op *timed_get(int64_t ms) {
  return hmkv_range(kv, key, HMKV_NTS, HMKV_RANGE_OPTS(.timeout_ms = ms));
}
static hmkv_op *timed_range(int64_t ms) {
  return hmkv_range(kv, key, 1, HMKV_RANGE_OPTS(.prefix = 1, .timeout_ms = ms));
}

static const struct {
  hmkv_op *(*submit)(int64_t ms);
  hmkv_status unanswered, answered;
} kinds[] = {
    {timed_put, HMKV_EINDETERMINATE, HMKV_OK},
    {timed_cas, HMKV_EINDETERMINATE, HMKV_COMPARE_FAILED},
    {timed_remove, HMKV_EINDETERMINATE, HMKV_OK},
    {timed_txn, HMKV_EINDETERMINATE, HMKV_OK},
    {timed_get, HMKV_EUNAVAIL, HMKV_OK},
    {timed_range, HMKV_EUNAVAIL, HMKV_OK},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static void timeout_ms_is_the_time_of_one_request(void) {
  hmkv_op *ops[KINDS];
  struct answer answers[KINDS];
  memset(answers, 0, sizeof answers);
  FINISH(HMKV_OK, hmkv_ping(kv)); /* there is a connection */
  server_pause(&server);
  int64_t begin = now_ms();
  for (int i = 0; i < KINDS; i++) {
    ops[i] = kinds[i].submit(1000);
    hmkv_then(kinds[i].submit(1000), answer_record, &answers[i]);
  }
  for (int i = 0; i < KINDS; i++) {
    FINISH(kinds[i].unanswered, ops[i]);
    ends_in_time(begin);
    ANSWERED(kinds[i].unanswered, &answers[i]);
    ends_in_time(begin);
    answer_free(&answers[i]);
  }
  server_resume(&server);
}

static bool none_is_answered(struct answer answers[KINDS]) {
  int calls = 0;
  for (int i = 0; i < KINDS; i++) calls += atomic_load(&answers[i].calls);
  return calls == 0;
}

/* The server is back long before a connection to it counts as dead, after 2 s. */
static void timeout_ms_may_be_longer_than_the_stores(void) {
  static const int64_t times[] = {HMKV_FOREVER, 60000};
  open_with("timeout=300ms");
  for (int i = 0; i < 2; i++) {
    hmkv_op *ops[KINDS];
    struct answer answers[KINDS];
    memset(answers, 0, sizeof answers);
    FINISH(HMKV_OK, hmkv_range(kv, key, HMKV_NTS, HMKV_RANGE_OPTS(.timeout_ms = 20000)));
    server_pause(&server);
    for (int j = 0; j < KINDS; j++) {
      ops[j] = kinds[j].submit(times[i]);
      hmkv_then(kinds[j].submit(times[i]), answer_record, &answers[j]);
    }
    HOLDS_FOR(600, none_is_answered(answers));
    server_resume(&server);
    for (int j = 0; j < KINDS; j++) {
      FINISH(kinds[j].answered, ops[j]);
      ANSWERED(kinds[j].answered, &answers[j]);
      answer_free(&answers[j]);
    }
  }
}

static void requests_in_flight_get_their_answer_when_the_server_resumes(void) {
  hmkv_op *ops[COUNT];
  server_pause(&server);
  for (int i = 0; i < COUNT; i++) ops[i] = hmkv_put(kv, unique("key"), HMKV_NTS, "v", 1, NULL);
  server_resume(&server);
  for (int i = COUNT - 1; i >= 0; i--) FINISH(HMKV_OK, ops[i]);
}

/* ---- hmkv_close ---- */

struct awaiter {
  hmkv_op *op;
  hmkv_result *result;
  pthread_t thread;
  atomic_int tid;
};

static void *await_it(void *arg) {
  struct awaiter *awaiter = arg;
  atomic_store(&awaiter->tid, (int)thread_id());
  awaiter->result = hmkv_await(awaiter->op);
  return NULL;
}

static void is_ended(int i, hmkv_result *result) {
  hmkv_status status = hmkv_result_status(result);
  if (!(i % 2 == 0 && status == HMKV_EINDETERMINATE)) CHECK_STATUS(HMKV_ECLOSED, status);
  CHECK(*hmkv_result_error(result));
  hmkv_result_free(result);
}

static void closing_ends_all_requests(void) {
  enum { AWAITERS = 6 };
  struct awaiter awaiters[AWAITERS];
  struct answer answers[COUNT];
  hmkv_op *late[COUNT], *latest[COUNT];
  memset(answers, 0, sizeof answers);
  server_pause(&server);
  for (int i = 0; i < AWAITERS; i++) {
    awaiters[i] = (struct awaiter){.op = i % 2 ? get_op() : put_op("new")};
    awaiters[i].thread = start_thread(await_it, &awaiters[i]);
  }
  for (int i = 0; i < COUNT; i++) {
    late[i] = i % 2 ? get_op() : put_op("new");
    latest[i] = i % 2 ? get_op() : put_op("new");
    hmkv_then(i % 2 ? get_op() : put_op("new"), answer_record, &answers[i]);
  }
  for (int i = 0; i < AWAITERS; i++) {
    WAIT_UNTIL(atomic_load(&awaiters[i].tid) != 0);
    wait_until_blocked(atomic_load(&awaiters[i].tid));
  }
  int64_t begin = now_ms();
  CHECK_OK(hmkv_close(kv));
  kv = NULL;
  for (int i = 0; i < COUNT; i++) CHECK_INT(1, atomic_load(&answers[i].calls));
  for (int i = 0; i < AWAITERS; i++) join_thread(awaiters[i].thread);
  CHECK(now_ms() - begin < 10000);
  for (int i = 0; i < AWAITERS; i++) is_ended(i, awaiters[i].result);
  for (int i = 0; i < COUNT; i++) {
    is_ended(i, answers[i].result);
    is_ended(i, hmkv_await(late[i]));
    hmkv_status status = hmkv_cancel(latest[i]);
    if (status == HMKV_ECANCELED || (i % 2 == 0 && status == HMKV_EINDETERMINATE)) continue;
    CHECK_STATUS(HMKV_ECLOSED, status);
  }
  server_resume(&server);
}

/* Some of them were sent, others waited for those, or had a connection yet to be made. */
static void requests_that_ran_out_of_time_make_room_for_others(void) {
  enum { MANY = 1000 };
  static hmkv_op *ops[MANY];
  static const char *keys[MANY];
  server_pause(&server);
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < MANY; i++) {
      keys[i] = unique("key");
      ops[i] = i % 2 ? hmkv_range(kv, key, HMKV_NTS, HMKV_RANGE_OPTS(.timeout_ms = 200))
                     : hmkv_put(kv, keys[i], HMKV_NTS, "new", 3, HMKV_PUT_OPTS(.timeout_ms = 200));
    }
    for (int i = 0; i < MANY; i++) {
      hmkv_result *result = hmkv_await(ops[i]);
      hmkv_status status = hmkv_result_status(result);
      if (status != HMKV_EINDETERMINATE || i % 2) CHECK_STATUS(HMKV_EUNAVAIL, status);
      if (status == HMKV_EINDETERMINATE) keys[i] = NULL;
      hmkv_result_free(result);
    }
  }
  server_resume(&server);
  for (int i = 0; i < MANY; i++) ops[i] = get_op();
  for (int i = 0; i < MANY; i++) FINISH(HMKV_OK, ops[i]);
  for (int i = 0; i < MANY; i++) CHECK(!keys[i] || !has_key(kv, keys[i])); /* "not applied" */
}

/* Some are sent, the others wait for those. */
static void closing_ends_very_many_requests(void) {
  enum { MANY = 50000 };
  static hmkv_op *ops[MANY];
  server_pause(&server);
  for (int i = 0; i < MANY; i++) ops[i] = i % 2 ? get_op() : put_op("new");
  hmkv_close(kv);
  kv = NULL;
  for (int i = 0; i < MANY; i++) is_ended(i, hmkv_await(ops[i]));
  server_resume(&server);
}

static void puts_that_never_found_a_server_are_closed_with_the_last_store(void) {
  close_store(kv);
  for (int round = 0; round < rounds(20, 4); round++) {
    kv = open_at(dead_endpoint(), "timeout=10m close_timeout=0");
    hmkv_op *ops[COUNT];
    for (int i = 0; i < COUNT; i++) ops[i] = put_op("never sent");
    close_store(kv);
    for (int i = 0; i < COUNT; i++) {
      hmkv_result *result = hmkv_await(ops[i]);
      CHECK_STATUS(HMKV_ECLOSED, hmkv_result_status(result));
      hmkv_result_free(result);
    }
  }
  kv = NULL;
}

static const struct test tests[] = {
    ETCD_ONLY(a_cancelled_read_is_ecanceled),
    ETCD_ONLY(a_put_that_was_sent_is_indeterminate),
    ETCD_ONLY(a_put_that_is_applied_already_is_indeterminate),
    ETCD_ONLY(a_put_that_was_not_sent_is_ecanceled_and_never_applied),
    ETCD_ONLY(cancelled_requests_make_room_for_others),
    ETCD_ONLY(requests_that_ran_out_of_time_make_room_for_others),
    ETCD_ONLY(submitting_does_not_wait),
    ETCD_ONLY(timeout_ms_is_the_time_of_one_request),
    ETCD_ONLY(timeout_ms_may_be_longer_than_the_stores),
    ETCD_ONLY(requests_in_flight_get_their_answer_when_the_server_resumes),
    ETCD_ONLY(closing_ends_all_requests),
    ETCD_ONLY(closing_ends_very_many_requests),
    ETCD_ONLY(puts_that_never_found_a_server_are_closed_with_the_last_store),
};
TEST_MAIN(.begin = begin, .end = end)
