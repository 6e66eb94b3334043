/* Closing the store ends its requests: every await has its answer, every callback of
 * hmkv_then() its call. */
#include "requests.h"
#include "test.h"

enum { COUNT = 120 };

static hmkv *other; /* stays open */

static void begin(void) { other = open_store("timeout=20s"); }
static void end(void) { close_store(other); }

static bool writes(int i) { return i % 2 == 0; }

struct requests {
  hmkv *kv;
  hmkv_op *ops[COUNT];
  const char *keys[COUNT];
};

/* Puts of new keys, and reads of one that is there. */
static void submit(struct requests *requests) {
  const char *there = unique("there");
  requests->kv = open_store("timeout=10m");
  put_text(requests->kv, there, "value");
  for (int i = 0; i < COUNT; i++) {
    requests->keys[i] = writes(i) ? unique("key") : there;
    requests->ops[i] = writes(i)
                           ? hmkv_put(requests->kv, requests->keys[i], HMKV_NTS, "v", 1, NULL)
                           : hmkv_range(requests->kv, requests->keys[i], HMKV_NTS, NULL);
  }
}

/* What request `i` may answer, and that it is true. */
static void judge(int i, const char *key, hmkv_status status) {
  if (status == HMKV_ECLOSED || status == HMKV_ECANCELED) {
    if (writes(i)) CHECK(!has_key(other, key));
  } else if (status == HMKV_OK) {
    CHECK(has_key(other, key));
  } else {
    CHECK_STATUS(HMKV_EINDETERMINATE, status);
    CHECK(writes(i));
  }
}

static void judge_result(int i, const char *key, hmkv_result *result) {
  CHECK(hmkv_result_status(result) != HMKV_ECANCELED); /* nobody cancelled it */
  judge(i, key, hmkv_result_status(result));
  if (hmkv_result_status(result) < 0) CHECK(*hmkv_result_error(result));
  CHECK_INT(hmkv_result_status(result) == HMKV_OK && !writes(i), hmkv_result_count(result));
  hmkv_result_free(result);
}

static void an_op_may_be_awaited_after_close(void) {
  for (int round = 0; round < rounds(20, 4); round++) {
    struct requests requests;
    submit(&requests);
    close_store(requests.kv);
    for (int i = 0; i < COUNT; i++) judge_result(i, requests.keys[i], hmkv_await(requests.ops[i]));
  }
}

static void an_op_may_be_cancelled_after_close(void) {
  struct requests requests;
  submit(&requests);
  close_store(requests.kv);
  for (int i = 0; i < COUNT; i++) judge(i, requests.keys[i], hmkv_cancel(requests.ops[i]));
}

struct awaiter {
  hmkv_op *op;
  hmkv_result *result;
  pthread_t thread;
};

static void *await_it(void *arg) {
  struct awaiter *awaiter = arg;
  awaiter->result = hmkv_await(awaiter->op);
  return NULL;
}

static void every_await_in_other_threads_has_its_answer(void) {
  enum { AWAITERS = 8 };
  for (int round = 0; round < rounds(20, 4); round++) {
    struct requests requests;
    struct awaiter awaiters[AWAITERS];
    submit(&requests);
    for (int i = 0; i < AWAITERS; i++) {
      awaiters[i] = (struct awaiter){.op = requests.ops[COUNT - 1 - i]};
      awaiters[i].thread = start_thread(await_it, &awaiters[i]);
    }
    close_store(requests.kv);
    for (int i = 0; i < AWAITERS; i++) {
      join_thread(awaiters[i].thread);
      judge_result(COUNT - 1 - i, requests.keys[COUNT - 1 - i], awaiters[i].result);
    }
    for (int i = 0; i < COUNT - AWAITERS; i++) hmkv_cancel(requests.ops[i]);
  }
}

static void every_callback_has_run_when_close_returns(void) {
  for (int round = 0; round < rounds(20, 4); round++) {
    struct requests requests;
    struct answer answers[COUNT];
    memset(answers, 0, sizeof answers);
    submit(&requests);
    for (int i = 0; i < COUNT; i++) hmkv_then(requests.ops[i], answer_record, &answers[i]);
    close_store(requests.kv);
    for (int i = 0; i < COUNT; i++) {
      CHECK_INT(1, atomic_load(&answers[i].calls));
      judge_result(i, requests.keys[i], answers[i].result);
    }
  }
}

static void then_calls_once_also_after_close(void) {
  struct requests requests;
  struct answer answers[COUNT];
  memset(answers, 0, sizeof answers);
  submit(&requests);
  close_store(requests.kv);
  for (int i = 0; i < COUNT; i++) hmkv_then(requests.ops[i], answer_record, &answers[i]);
  for (int i = 0; i < COUNT; i++) {
    WAIT_UNTIL(atomic_load(&answers[i].calls) > 0);
    CHECK(answers[i].thread != thread_id());
    judge_result(i, requests.keys[i], answers[i].result);
  }
  for (int i = 0; i < COUNT; i++) CHECK_INT(1, atomic_load(&answers[i].calls));
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

static void close_waits_for_a_running_callback(void) {
  struct blocked blocked = {.gate = GATE_CLOSED};
  hmkv *kv = open_store("close_timeout=10m");
  hmkv_then(hmkv_ping(kv), block, &blocked);
  WAIT_UNTIL(atomic_load(&blocked.entered) == 1);
  gate_open(&blocked.gate);
  close_store(kv);
  CHECK_INT(1, atomic_load(&blocked.left));
}

/* Refused before it was submitted. */
static void close_waits_for_the_callback_of_a_refused_request(void) {
  for (int round = 0; round < rounds(100, 10); round++) {
    struct answer answers[3];
    memset(answers, 0, sizeof answers);
    hmkv *kv = open_store("close_timeout=10m");
    hmkv_txn *txn = hmkv_txn_new(kv);
    hmkv_txn_put(txn, HMKV_THEN, NULL, 3, "v", 1, NULL);
    hmkv_then(hmkv_put(kv, "", 0, "v", 1, NULL), answer_record, &answers[0]);
    hmkv_then(hmkv_remove(kv, NULL, 1, NULL), answer_record, &answers[1]);
    hmkv_then(hmkv_txn_commit(txn, NULL), answer_record, &answers[2]);
    close_store(kv);
    for (int i = 0; i < 3; i++) {
      CHECK_INT(1, atomic_load(&answers[i].calls));
      CHECK_STATUS(HMKV_EINVAL, hmkv_result_status(answers[i].result));
      hmkv_result_free(answers[i].result);
    }
  }
}

static void after_a_close_that_timed_out_no_further_callback_starts(void) {
  struct blocked blocked = {.gate = GATE_CLOSED};
  struct requests requests;
  struct answer answers[COUNT];
  memset(answers, 0, sizeof answers);
  hmkv *kv = open_store("close_timeout=200ms");
  hmkv_then(hmkv_ping(kv), block, &blocked);
  WAIT_UNTIL(atomic_load(&blocked.entered) == 1);
  submit(&requests);
  for (int i = 0; i < COUNT; i++)
    hmkv_then(hmkv_put(kv, requests.keys[0], HMKV_NTS, "v", 1, NULL), answer_record, &answers[i]);
  CHECK_STATUS(HMKV_TIMED_OUT, hmkv_close(kv));
  int called = 0;
  for (int i = 0; i < COUNT; i++) called += atomic_load(&answers[i].calls);
  CHECK_INT(0, atomic_load(&blocked.left));
  gate_open(&blocked.gate);
  WAIT_UNTIL(atomic_load(&blocked.left) == 1);
  close_store(requests.kv);
  int later = 0;
  for (int i = 0; i < COUNT; i++) {
    CHECK(atomic_load(&answers[i].calls) <= 1);
    later += atomic_load(&answers[i].calls);
    if (atomic_load(&answers[i].calls)) hmkv_result_free(answers[i].result);
    hmkv_cancel(requests.ops[i]);
  }
  CHECK_INT(called, later);
}

static void submit_inside(hmkv_result *result, void *userdata) {
  hmkv *kv = userdata;
  hmkv_status status = hmkv_result_status(result);
  hmkv_result_free(result);
  /* The store is being closed or is not yet: in both cases there is an answer. */
  result = hmkv_await(hmkv_ping(kv));
  CHECK(status == HMKV_OK || status == HMKV_ECLOSED);
  status = hmkv_result_status(result);
  if (status != HMKV_OK && status != HMKV_ECLOSED) CHECK_STATUS(HMKV_EHANDLE, status);
  hmkv_result_free(result);
}

static void a_callback_may_submit_while_its_store_is_closed(void) {
  for (int round = 0; round < rounds(20, 4); round++) {
    hmkv *kv = open_store("timeout=10m close_timeout=1m");
    for (int i = 0; i < 30; i++) hmkv_then(hmkv_ping(kv), submit_inside, kv);
    close_store(kv);
  }
}

static const struct test tests[] = {
    BOTH(an_op_may_be_awaited_after_close),
    BOTH(an_op_may_be_cancelled_after_close),
    BOTH(every_await_in_other_threads_has_its_answer),
    BOTH(every_callback_has_run_when_close_returns),
    BOTH(then_calls_once_also_after_close),
    BOTH(close_waits_for_a_running_callback),
    BOTH(close_waits_for_the_callback_of_a_refused_request),
    BOTH(after_a_close_that_timed_out_no_further_callback_starts),
    BOTH(a_callback_may_submit_while_its_store_is_closed),
};
TEST_MAIN(.begin = begin, .end = end)
