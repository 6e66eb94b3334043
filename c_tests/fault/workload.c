#include "workload.h"

#include "control.h"

static const char *number(char buffer[24], int64_t value) {
  snprintf(buffer, 24, "%" PRId64, value);
  return buffer;
}

/* The only key of a result, or what it was before. */
static int64_t value_of(const hmkv_result *result) {
  return hmkv_result_count(result) ? atoll(hmkv_result_kv(result, 0)->value) : ABSENT;
}

static void read_key(hmkv *kv, struct op *op, bool tells) {
  if (tells) {
    hmkv_result *result = hmkv_await(hmkv_range(kv, key_name(op->key), HMKV_NTS, NULL));
    op->status = hmkv_result_status(result);
    op->revision = hmkv_result_revision(result);
    if (op->status >= 0) op->answer = value_of(result);
    hmkv_result_free(result);
  } else {
    char *value = NULL;
    op->status = hmkv_get(kv, key_name(op->key), &value);
    if (op->status >= 0) op->answer = value ? atoll(value) : ABSENT;
    hmkv_free(value);
  }
}

static void put(hmkv *kv, struct op *op) {
  char value[24];
  hmkv_result *result =
      hmkv_await(hmkv_put(kv, key_name(op->key), HMKV_NTS, number(value, op->value), HMKV_NTS,
                          HMKV_PUT_OPTS(.prev = 1)));
  op->status = hmkv_result_status(result);
  op->revision = hmkv_result_revision(result);
  if (op->status >= 0) op->answer = value_of(result);
  hmkv_result_free(result);
}

/* The first tier's: no revision, no former value. */
static void store(hmkv *kv, struct op *op) {
  char value[24];
  op->status = hmkv_store(kv, key_name(op->key), number(value, op->value));
}

static void delete(hmkv *kv, struct op *op) {
  hmkv_result *result =
      hmkv_await(hmkv_remove(kv, key_name(op->key), HMKV_NTS, HMKV_REMOVE_OPTS(.prev = 1)));
  op->status = hmkv_result_status(result);
  op->revision = hmkv_result_revision(result);
  if (op->status == HMKV_OK) op->answer = value_of(result);
  if (op->status == HMKV_OK && hmkv_result_total(result) == 0) op->status = HMKV_NOT_FOUND;
  hmkv_result_free(result);
}

static void tas(hmkv *kv, struct op *op) {
  char test[24], value[24];
  op->status = hmkv_tas(kv, key_name(op->key), number(test, op->test), number(value, op->value));
}

static void txn(hmkv *kv, struct op *op) {
  char test[24], value[24];
  const char *key = key_name(op->key), *other = key_name(op->other);
  hmkv_txn *txn = hmkv_txn_new(kv);
  hmkv_txn_if_value(txn, key, HMKV_NTS, "=", number(test, op->test), HMKV_NTS);
  hmkv_txn_put(txn, HMKV_THEN, key, HMKV_NTS, number(value, op->value), HMKV_NTS, NULL);
  hmkv_txn_put(txn, HMKV_THEN, other, HMKV_NTS, value, HMKV_NTS, NULL);
  hmkv_txn_range(txn, HMKV_ELSE, key, HMKV_NTS, NULL);
  hmkv_result *result = hmkv_await(hmkv_txn_commit(txn, NULL));
  op->status = hmkv_result_status(result);
  op->revision = hmkv_result_revision(result);
  if (op->status == HMKV_COMPARE_FAILED) op->answer = value_of(hmkv_result_sub(result, 0));
  hmkv_result_free(result);
}

static void call(hmkv *kv, struct op *op, int choice) {
  switch (choice) {
    case 0: case 1: case 2: case 3:
      op->kind = OP_READ;
      read_key(kv, op, choice % 2);
      break;
    case 4:
      op->kind = OP_PUT;
      put(kv, op);
      break;
    case 5:
      op->kind = OP_PUT;
      store(kv, op);
      break;
    case 6:
      op->kind = OP_DELETE;
      delete(kv, op);
      break;
    case 7:
      op->kind = OP_TXN;
      txn(kv, op);
      break;
    default:
      op->kind = OP_TAS;
      tas(kv, op);
  }
}

static void note_seen(struct workload *load, const struct op *op) {
  if (op->status < 0) return;
  bool wrote = op->status == HMKV_OK && op->kind != OP_READ && op->kind != OP_DELETE;
  int64_t seen = wrote ? op->value : op->kind == OP_READ ? op->answer : NOT_TOLD;
  if (seen != NOT_TOLD) atomic_store(&load->seen[op->key], seen);
}

static void keep(struct worker *self, const struct op *op) {
  FILE *record = self->load->record;
  if (!record) history_add_op(&self->calls, *op);
  else CHECK_INT(1, fwrite(op, sizeof *op, 1, record));
}

/* The members share the machine with this process. */
static void take_a_break(const struct workload *load) {
  if (load->pause_ms) usleep((useconds_t)load->pause_ms * 1000);
  else poll_pause();
}

static void *work(void *arg) {
  struct worker *self = arg;
  struct workload *load = self->load;
  int turn = self->number % MEMBERS;
  hmkv *kv = turn && load->others[turn - 1] ? load->others[turn - 1] : load->kv;
  while (!atomic_load(&load->stop)) {
    int choice = rand_r(&self->seed) % 10;
    struct op op = {.thread = self->number, .key = rand_r(&self->seed) % KEYS, .answer = NOT_TOLD};
    op.other = (op.key + 1 + rand_r(&self->seed) % (KEYS - 1)) % KEYS;
    op.test = atomic_load(&load->seen[op.key]);
    if (op.test == ABSENT) op.test = 0; /* no compare with a missing key is true */
    op.value = ++self->next * WORKERS_MAX + self->number;
    op.begin_us = now_us();
    call(kv, &op, choice);
    op.end_us = now_us();
    if (op.status < 0) op.revision = 0;
    if (op.status >= 0) atomic_store(&load->success_us, op.end_us);
    note_seen(load, &op);
    keep(self, &op);
    atomic_fetch_add(&load->ended, 1);
    take_a_break(load);
  }
  return NULL;
}

void workload_start(struct workload *load, hmkv *kv, int count, unsigned seed) {
  CHECK(count <= WORKERS_MAX);
  struct workload fresh = {
      .record = load->record, .pause_ms = load->pause_ms, .kv = kv, .count = count};
  memcpy(fresh.others, load->others, sizeof fresh.others);
  *load = fresh;
  for (int i = 0; i < count; i++) {
    load->workers[i] = (struct worker){.load = load, .number = i};
    load->workers[i].seed = seed + (unsigned)i * 7919;
    load->workers[i].thread = start_thread(work, &load->workers[i]);
  }
}

void workload_stop(struct workload *load, struct history *history) {
  atomic_store(&load->stop, true);
  for (int i = 0; i < load->count; i++) {
    struct worker *worker = &load->workers[i];
    join_thread(worker->thread);
    for (size_t j = 0; j < worker->calls.op_count; j++)
      history_add_op(history, worker->calls.ops[j]);
    history_free(&worker->calls);
  }
}

/* ---- figures ---- */

static int by_number(const void *left, const void *right) {
  const int64_t *a = left, *b = right;
  return *a < *b ? -1 : *a > *b;
}

static void count(struct figures *f, const struct op *op) {
  bool ok = op->status >= 0, reads = op->kind == OP_READ;
  f->reads += reads;
  f->reads_ok += reads && ok;
  f->writes += !reads;
  f->writes_ok += !reads && ok;
  f->unavailable += op->status == HMKV_EUNAVAIL;
  f->unknown += op->status == HMKV_EINDETERMINATE;
  f->others += !ok && op->status != HMKV_EUNAVAIL && (reads || op->status != HMKV_EINDETERMINATE);
  if (op->end_us - op->begin_us > f->longest_us) f->longest_us = op->end_us - op->begin_us;
}

static void find_gap(struct figures *f, int64_t *ends, size_t count, int64_t begin, int64_t end) {
  qsort(ends, count, sizeof *ends, by_number);
  ends[count] = end;
  for (size_t i = 0; i <= count; i++) {
    int64_t from = i ? ends[i - 1] : begin;
    if (ends[i] - from <= f->gap_us) continue;
    f->gap_us = ends[i] - from;
    f->gap_at_us = from - begin;
  }
}

struct figures figures_of(const struct history *history, int64_t begin_us, int64_t end_us) {
  struct figures f = {0};
  size_t successes = 0, calls = 0;
  int64_t *ends = malloc((history->op_count + 1) * sizeof *ends);
  int64_t *took = malloc((history->op_count + 1) * sizeof *took);
  CHECK(ends && took);
  for (size_t i = 0; i < history->op_count; i++) {
    const struct op *op = &history->ops[i];
    if (op->status >= 0 && op->end_us >= begin_us && op->end_us < end_us)
      ends[successes++] = op->end_us;
    if (op->begin_us < begin_us || op->begin_us >= end_us) continue;
    count(&f, op);
    took[calls++] = op->end_us - op->begin_us;
  }
  find_gap(&f, ends, successes, begin_us, end_us);
  qsort(took, calls, sizeof *took, by_number);
  if (calls) f.p99_us = took[calls * 99 / 100];
  free(ends);
  free(took);
  return f;
}

double percent(long part, long whole) {
  return whole ? 100.0 * (double)part / (double)whole : 100;
}
