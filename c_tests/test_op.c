/* hmkv_await, hmkv_then, hmkv_cancel: each finishes a request, once. What closing the
 * store does to requests is in test_op_close.c, a server that hangs in test_op_paused.c. */
#include "events.h"
#include "process.h"
#include "requests.h"
#include "test.h"

#include <time.h>

static hmkv *kv;
static const char *key;

static void begin(void) {
  kv = open_store("timeout=20s");
  key = unique("key");
}

static void end(void) { close_store(kv); }

static hmkv_op *put_op(const char *value) {
  return hmkv_put(kv, key, HMKV_NTS, value, HMKV_NTS, NULL);
}

static hmkv_op *get_op(void) { return hmkv_range(kv, key, HMKV_NTS, NULL); }

/* ---- submitting ---- */

static void a_ping_shows_the_stores_revision(void) {
  int64_t revision = put_text(kv, key, "value");
  hmkv_result *result = AWAIT(HMKV_OK, hmkv_ping(kv));
  CHECK(hmkv_result_revision(result) >= revision);
  CHECK_INT(0, hmkv_result_count(result));
  CHECK_INT(0, hmkv_result_total(result));
  hmkv_result_free(result);
}

static void every_submit(hmkv *store, hmkv_status expected) {
  FINISH(expected, hmkv_put(store, key, HMKV_NTS, "value", HMKV_NTS, NULL));
  FINISH(expected, hmkv_range(store, key, HMKV_NTS, NULL));
  FINISH(expected, hmkv_remove(store, key, HMKV_NTS, NULL));
  FINISH(expected, hmkv_ping(store));
  FINISH(expected, hmkv_txn_commit(hmkv_txn_new(store), NULL));
  CHECK_STATUS(expected, hmkv_cancel(hmkv_ping(store)));
  struct answer answer = {0};
  hmkv_then(hmkv_ping(store), answer_record, &answer);
  ANSWERED(expected, &answer);
  answer_free(&answer);
}

static void a_bad_handle_is_told_by_the_result(void) {
  hmkv *closed = open_store(NULL);
  hmkv_txn *txn = hmkv_txn_new(closed);
  close_store(closed);
  every_submit(NULL, HMKV_EHANDLE);
  every_submit(closed, HMKV_EHANDLE);
  every_submit((hmkv *)&closed, HMKV_EHANDLE);
  hmkv_result *result = hmkv_await(hmkv_txn_commit(txn, NULL));
  CHECK(hmkv_result_status(result) == HMKV_ECLOSED || hmkv_result_status(result) == HMKV_EHANDLE);
  hmkv_result_free(result);
}

static void a_bad_argument_is_told_by_the_result(void) {
  FINISH(HMKV_EINVAL, hmkv_put(kv, "", 0, "value", 5, NULL));
  FINISH(HMKV_EINVAL, hmkv_range(kv, "", 0, NULL));
  FINISH(HMKV_EINVAL, hmkv_remove(kv, "", 0, NULL));
  CHECK_STATUS(HMKV_EINVAL, hmkv_cancel(hmkv_put(kv, "", 0, "value", 5, NULL)));
  struct answer answer = {0};
  hmkv_then(hmkv_range(kv, "", 0, NULL), answer_record, &answer);
  ANSWERED(HMKV_EINVAL, &answer);
  answer_free(&answer);
}

/* ---- hmkv_await ---- */

static void a_result_owns_its_data(void) {
  hmkv *other = open_store(NULL);
  FINISH(HMKV_OK, hmkv_put(other, key, HMKV_NTS, "a\0b", 3, NULL));
  hmkv_result *result = AWAIT(HMKV_OK, hmkv_range(other, key, HMKV_NTS, NULL));
  hmkv_result *failed = AWAIT(HMKV_EINVAL, hmkv_range(other, "", 0, NULL));
  FINISH(HMKV_OK, hmkv_remove(other, key, HMKV_NTS, NULL));
  close_store(other);
  CHECK_ENTRY(hmkv_result_kv(result, 0), key, strlen(key), "a\0b", 3);
  CHECK(*hmkv_result_error(failed));
  hmkv_result_free(result);
  hmkv_result_free(failed);
}

static void ops_are_awaited_in_any_order(void) {
  enum { COUNT = 50 };
  hmkv_op *ops[COUNT];
  const char *keys[COUNT];
  for (int i = 0; i < COUNT; i++) {
    keys[i] = unique("key");
    ops[i] = hmkv_put(kv, keys[i], HMKV_NTS, text("%d", i), HMKV_NTS, NULL);
  }
  for (int i = 0; i < COUNT; i++) FINISH(HMKV_OK, ops[i * 13 % COUNT]);
  for (int i = 0; i < COUNT; i++) CHECK_VALUE(kv, keys[i], text("%d", i));
}

static void *await_it(void *op) { return AWAIT(HMKV_OK, op); }

static void an_op_may_be_awaited_in_another_thread(void) {
  FINISH(HMKV_OK, put_op("value"));
  hmkv_result *result = join_thread(start_thread(await_it, get_op()));
  CHECK_ENTRY(hmkv_result_kv(result, 0), key, strlen(key), "value", 5);
  hmkv_result_free(result);
}

/* ---- hmkv_then ---- */

static void then_calls_once_on_a_library_thread(void) {
  struct answer put = {0}, get = {0}, missing = {0};
  hmkv_then(put_op("value"), answer_record, &put);
  ANSWERED(HMKV_OK, &put);
  hmkv_then(get_op(), answer_record, &get);
  hmkv_then(hmkv_range(kv, unique("absent"), HMKV_NTS, NULL), answer_record, &missing);
  CHECK_ENTRY(hmkv_result_kv(ANSWERED(HMKV_OK, &get), 0), key, strlen(key), "value", 5);
  ANSWERED(HMKV_NOT_FOUND, &missing);
  CHECK(get.thread != thread_id());
  CHECK_INT(0, strncmp(get.thread_name, "hmkv-", 5));
  HOLDS_FOR(100, atomic_load(&put.calls) == 1 && atomic_load(&get.calls) == 1);
  answer_free(&put);
  answer_free(&get);
  answer_free(&missing);
}

static void the_callback_owns_the_result(void) {
  struct answer answer = {0};
  hmkv *other = open_store(NULL);
  FINISH(HMKV_OK, put_op("value"));
  hmkv_then(hmkv_range(other, key, HMKV_NTS, NULL), answer_record, &answer);
  ANSWERED(HMKV_OK, &answer);
  FINISH(HMKV_OK, hmkv_remove(kv, key, HMKV_NTS, NULL));
  close_store(other);
  CHECK_ENTRY(hmkv_result_kv(answer.result, 0), key, strlen(key), "value", 5);
  answer_free(&answer);
}

static void then_without_a_function_throws_the_result_away(void) {
  hmkv_then(put_op("value"), NULL, NULL);
  WAIT_UNTIL(has_key(kv, key));
  hmkv_then(get_op(), NULL, &key);
  hmkv_then(hmkv_range(kv, "", 0, NULL), NULL, NULL);
  hmkv_then(NULL, NULL, NULL);
}

static void an_op_that_is_null_is_einval(void) {
  struct answer answer = {0};
  hmkv_result *result = hmkv_await(NULL);
  CHECK_STATUS(HMKV_EINVAL, hmkv_result_status(result));
  hmkv_result_free(result);
  CHECK_STATUS(HMKV_EINVAL, hmkv_cancel(NULL));
  hmkv_then(NULL, answer_record, &answer);
  ANSWERED(HMKV_EINVAL, &answer);
  CHECK(answer.thread != thread_id());
  answer_free(&answer);
}

/* The library has no thread then, and yet the callback runs on one. */
static void then_calls_also_without_any_store(void) {
  struct answer answers[3] = {{0}};
  hmkv_op *op = put_op("value");
  close_store(kv);
  CHECK(op);
  hmkv_then(hmkv_ping(NULL), answer_record, &answers[0]);
  ANSWERED(HMKV_EHANDLE, &answers[0]);
  hmkv_then(hmkv_ping(kv), answer_record, &answers[1]);
  ANSWERED(HMKV_EHANDLE, &answers[1]);
  hmkv_then(op, answer_record, &answers[2]);
  WAIT_UNTIL(atomic_load(&answers[2].calls) == 1);
  for (int i = 0; i < 3; i++) {
    CHECK(answers[i].thread != thread_id());
    answer_free(&answers[i]);
  }
  WAIT_UNTIL(count_threads("hmkv-") == 0);
  kv = open_store(NULL);
}

/* ---- inside callbacks ---- */

static _Thread_local bool inside_then;

struct chain {
  int left;
  atomic_int done;
};

/* Submits the next request, whose callback is this again. */
static void next_of_chain(hmkv_result *result, void *userdata) {
  struct chain *chain = userdata;
  CHECK(!inside_then);
  CHECK_OK(hmkv_result_status(result));
  hmkv_result_free(result);
  if (chain->left-- == 0) {
    atomic_store(&chain->done, 1);
    return;
  }
  hmkv_op *op = put_op(text("%d", chain->left));
  if (chain->left % 2) FINISH(HMKV_OK, get_op()); /* the put is likely finished by then */
  inside_then = true;
  hmkv_then(op, next_of_chain, chain);
  inside_then = false;
}

static void the_callback_never_runs_inside_then(void) {
  struct chain chains[3] = {{.left = 100}, {.left = 100}, {.left = 100}};
  for (int i = 0; i < 3; i++) {
    inside_then = true;
    hmkv_then(put_op("first"), next_of_chain, &chains[i]);
    inside_then = false;
  }
  for (int i = 0; i < 3; i++) WAIT_UNTIL(atomic_load(&chains[i].done));
}

static void await_inside(hmkv_result *result, void *userdata) {
  atomic_int *done = userdata;
  hmkv_result_free(result);
  FINISH(HMKV_OK, put_op("from a callback"));
  hmkv_result *read = AWAIT(HMKV_OK, get_op());
  CHECK_ENTRY(hmkv_result_kv(read, 0), key, strlen(key), "from a callback", 15);
  hmkv_result_free(read);
  CHECK_VALUE(kv, key, "from a callback");
  CHECK_STATUS(HMKV_EINCALLBACK, hmkv_close(kv));
  atomic_fetch_add(done, 1);
}

static void a_callback_may_make_any_call_but_close_its_store(void) {
  atomic_int done = 0;
  for (int i = 1; i <= 3; i++) {
    hmkv_then(put_op("first"), await_inside, &done);
    WAIT_UNTIL(atomic_load(&done) == i);
  }
  FINISH(HMKV_OK, hmkv_ping(kv)); /* the store is still open */
}

static bool await_inside_a_watch(const char *watched, const char *value, hmkv_keychange op,
                                 void *userdata) {
  (void)watched, (void)value, (void)op;
  await_inside(NULL, userdata);
  return false;
}

static void an_op_may_be_awaited_in_the_callback_of_a_watch(void) {
  atomic_int done = 0;
  hmkv_watcher *watcher = NULL;
  const char *watched = unique("watched");
  CHECK_OK(hmkv_watch_cb(kv, watched, 3, await_inside_a_watch, &done, &watcher));
  put_text(kv, watched, "now");
  WAIT_UNTIL(atomic_load(&done) == 1);
  CHECK_OK(hmkv_watch_cb_cancel(watcher));
}

struct blocked {
  struct gate gate;
  atomic_int entered, left;
};

static void block(hmkv_result *result, void *userdata) {
  struct blocked *blocked = userdata;
  hmkv_result_free(result);
  atomic_fetch_add(&blocked->entered, 1);
  gate_pass(&blocked->gate);
  atomic_fetch_add(&blocked->left, 1);
}

static void a_callback_that_blocks_holds_up_no_other_request(void) {
  struct blocked blocked = {.gate = GATE_CLOSED};
  hmkv_then(put_op("value"), block, &blocked);
  WAIT_UNTIL(atomic_load(&blocked.entered) == 1);
  for (int i = 0; i < 20; i++) {
    struct answer answer = {0};
    hmkv_then(get_op(), answer_record, &answer);
    ANSWERED(HMKV_OK, &answer);
    answer_free(&answer);
    FINISH(HMKV_OK, get_op());
  }
  CHECK_INT(0, atomic_load(&blocked.left));
  gate_open(&blocked.gate);
  WAIT_UNTIL(atomic_load(&blocked.left) == 1);
}

/* ---- hmkv_cancel ---- */

/* Cancels later and later, until the request is finished by then. */
static void comes_to(hmkv_status expected, hmkv_op *(*submit)(void), hmkv_status cut_off) {
  hmkv_status status = cut_off;
  for (int64_t pause = 0; status != expected; pause += 2) {
    hmkv_op *op = submit();
    int64_t wait_end = now_ms() + pause;
    while (now_ms() < wait_end) poll_pause();
    status = hmkv_cancel(op);
    if (status != expected && status != HMKV_ECANCELED) CHECK_STATUS(cut_off, status);
    CHECK(pause < 10000);
  }
}

static hmkv_op *put_value(void) { return put_op("value"); }
static hmkv_op *get_absent(void) { return hmkv_range(kv, unique("absent"), HMKV_NTS, NULL); }
static hmkv_op *put_if_absent(void) {
  return hmkv_put(kv, key, HMKV_NTS, "lost", 4, HMKV_PUT_OPTS(.if_mod_revision = HMKV_ABSENT));
}

static void cancelling_a_finished_request_gives_its_status(void) {
  comes_to(HMKV_OK, put_value, HMKV_EINDETERMINATE);
  WAIT_UNTIL(has_key(kv, key));
  comes_to(HMKV_COMPARE_FAILED, put_if_absent, HMKV_EINDETERMINATE);
  comes_to(HMKV_OK, get_op, HMKV_ECANCELED);
  comes_to(HMKV_NOT_FOUND, get_absent, HMKV_ECANCELED);
  CHECK_VALUE(kv, key, "value");
}

static void cancelled_requests_leave_nothing(void) {
  enum { AT_ONCE = 40 };
  hmkv_op *ops[AT_ONCE];
  int threads = 0;
  for (int i = 0; i < rounds(100, 10); i++) {
    for (int j = 0; j < AT_ONCE; j++) ops[j] = j % 2 ? put_op("value") : get_op();
    for (int j = 0; j < AT_ONCE; j++) {
      hmkv_status status = hmkv_cancel(ops[j]);
      if (status == HMKV_ECANCELED || status == HMKV_OK) continue;
      CHECK_STATUS(j % 2 ? HMKV_EINDETERMINATE : HMKV_NOT_FOUND, status);
    }
    if (i == 0) threads = count_threads("hmkv-");
  }
  WAIT_UNTIL(count_threads("hmkv-") <= threads + 4); /* the busy have more for a while */
  FINISH(HMKV_OK, put_op("last")); /* connections are fit for use */
  FINISH(HMKV_OK, get_op());
}

/* At any moment, also while the answer arrives. */
static void a_put_that_is_ecanceled_is_not_applied(void) {
  int cancelled = 0, finished = 0;
  for (int i = 0; i < rounds(2000, 100); i++) {
    const char *victim = unique("victim");
    struct timespec pause = {0, i % 100 * 10000};
    hmkv_op *op = hmkv_put(kv, victim, HMKV_NTS, "v", 1, NULL);
    if (pause.tv_nsec) nanosleep(&pause, NULL);
    hmkv_status status = hmkv_cancel(op);
    if (status == HMKV_OK) CHECK(has_key(kv, victim));
    if (status == HMKV_ECANCELED) CHECK(!has_key(kv, victim));
    cancelled += status == HMKV_ECANCELED;
    finished += status == HMKV_OK;
  }
  printf("\n  %d puts were cancelled, %d were finished before\n ", cancelled, finished);
}

/* ---- fork ---- */

static void use_inherited_ops(void *arg) {
  hmkv_op **ops = arg;
  FINISH(HMKV_EFORKED, ops[0]);
  FINISH(HMKV_EFORKED, ops[1]);
  CHECK_STATUS(HMKV_EFORKED, hmkv_cancel(ops[2]));
  every_submit(kv, HMKV_EFORKED);
}

static void an_op_inherited_through_fork_is_refused(void) {
  hmkv_op *ops[] = {put_op("value"), get_absent(), put_op("value")};
  in_fork(use_inherited_ops, ops);
  FINISH(HMKV_OK, ops[0]); /* the parent's are untouched */
  FINISH(HMKV_NOT_FOUND, ops[1]);
  FINISH(HMKV_OK, ops[2]);
  CHECK_VALUE(kv, key, "value");
}

static const struct test tests[] = {
    BOTH(a_ping_shows_the_stores_revision),
    BOTH(a_bad_handle_is_told_by_the_result),
    BOTH(a_bad_argument_is_told_by_the_result),
    BOTH(a_result_owns_its_data),
    BOTH(ops_are_awaited_in_any_order),
    BOTH(an_op_may_be_awaited_in_another_thread),
    BOTH(then_calls_once_on_a_library_thread),
    BOTH(the_callback_owns_the_result),
    BOTH(then_without_a_function_throws_the_result_away),
    BOTH(an_op_that_is_null_is_einval),
    BOTH(then_calls_also_without_any_store),
    BOTH(the_callback_never_runs_inside_then),
    BOTH(a_callback_may_make_any_call_but_close_its_store),
    BOTH(an_op_may_be_awaited_in_the_callback_of_a_watch),
    BOTH(a_callback_that_blocks_holds_up_no_other_request),
    BOTH(cancelling_a_finished_request_gives_its_status),
    BOTH(cancelled_requests_leave_nothing),
    BOTH(a_put_that_is_ecanceled_is_not_applied),
    BOTH(an_op_inherited_through_fork_is_refused),
};
TEST_MAIN(.begin = begin, .end = end)
