#include "calls.h"

#include "control.h"

static void record(struct caller *self, int64_t begin, hmkv_status status) {
  size_t count = atomic_load(&self->count);
  if (count == self->capacity) {
    self->capacity = self->capacity ? 2 * self->capacity : 1024;
    self->list = realloc(self->list, self->capacity * sizeof *self->list);
    CHECK(self->list);
  }
  self->list[count] = (struct call){begin, now_us(), status};
  atomic_store(&self->count, count + 1);
}

/* What a call may answer when a member is away. */
static void judge(const char *call, hmkv_status status, bool writes) {
  if (status >= 0 || status == HMKV_EUNAVAIL || (writes && status == HMKV_EINDETERMINATE)) return;
  FAIL("%s: %s", call, hmkv_status_name(status));
}

static void acknowledged(struct written *written, int value) {
  written->last = value;
  written->acknowledged++;
}

static void unacknowledged(struct written *written, int value) {
  CHECK(written->unknowns < UNKNOWN_MAX);
  written->unknown[written->unknowns++] = value;
  written->unacknowledged++;
}

static bool may_hold(const struct written *written, int value) {
  for (int i = 0; i < written->unknowns; i++)
    if (written->unknown[i] == value) return true;
  return value == written->last;
}

static void store(struct caller *self) {
  char value[16];
  int number = self->next++;
  snprintf(value, sizeof value, "%d", number);
  int64_t begin = now_us();
  hmkv_status status = hmkv_store(self->callers->kv, self->stored.key, value);
  record(self, begin, status);
  judge("store", status, true);
  if (status == HMKV_OK) acknowledged(&self->stored, number);
  if (status == HMKV_EINDETERMINATE) unacknowledged(&self->stored, number);
}

/* Linearizable: what another thread's view or another member would show is wrong. */
static bool look(struct caller *self, const struct written *written, int *found) {
  char *value = NULL;
  int64_t begin = now_us();
  hmkv_status status = hmkv_get(self->callers->kv, written->key, &value);
  record(self, begin, status);
  judge("get", status, false);
  if (status < 0) return false;
  CHECK_STATUS(HMKV_OK, status);
  *found = atoi(value);
  hmkv_free(value);
  if (!may_hold(written, *found))
    FAIL("%s holds %d, which is neither %d nor one of %d unknown writes", written->key, *found,
         written->last, written->unknowns);
  return true;
}

static void settle(struct written *written, int value) {
  written->last = value;
  written->unknowns = 0;
}

static void set(struct caller *self) {
  char now[16], next[16];
  int number = self->next++, found = 0;
  snprintf(now, sizeof now, "%d", self->set.last);
  snprintf(next, sizeof next, "%d", number);
  int64_t begin = now_us();
  hmkv_status status = hmkv_tas(self->callers->kv, self->set.key, now, next);
  record(self, begin, status);
  judge("tas", status, true);
  if (status == HMKV_OK) {
    acknowledged(&self->set, number);
    settle(&self->set, number); /* the unknown ones cannot succeed any more */
  } else if (status == HMKV_COMPARE_FAILED) {
    CHECK(self->set.unknowns > 0); /* one of them was applied */
    if (look(self, &self->set, &found)) settle(&self->set, found);
  } else if (status == HMKV_EINDETERMINATE) {
    unacknowledged(&self->set, number);
  }
}

static void *make_calls(void *arg) {
  struct caller *self = arg;
  while (!atomic_load(&self->callers->stop)) {
    int found = 0;
    switch (rand_r(&self->seed) % 4) {
      case 0:
        store(self);
        break;
      case 1:
        set(self);
        break;
      case 2:
        look(self, &self->stored, &found);
        break;
      default:
        look(self, &self->set, &found);
    }
    poll_pause(); /* the members share the machine with this process */
  }
  return NULL;
}

void callers_start(struct callers *callers, hmkv *kv, unsigned seed) {
  memset(callers, 0, sizeof *callers);
  callers->kv = kv;
  for (int i = 0; i < CALLERS; i++) {
    struct caller *caller = &callers->caller[i];
    caller->callers = callers;
    caller->seed = seed + (unsigned)i * 104729;
    caller->next = 1;
    caller->stored.key = unique("stored");
    caller->set.key = unique("set");
    CHECK_OK(hmkv_store(kv, caller->stored.key, "0"));
    CHECK_OK(hmkv_store(kv, caller->set.key, "0"));
  }
  for (int i = 0; i < CALLERS; i++)
    callers->caller[i].thread = start_thread(make_calls, &callers->caller[i]);
}

size_t callers_calls(struct callers *callers) {
  size_t calls = 0;
  for (int i = 0; i < CALLERS; i++) calls += atomic_load(&callers->caller[i].count);
  return calls;
}

void callers_stop(struct callers *callers) {
  atomic_store(&callers->stop, true);
  for (int i = 0; i < CALLERS; i++) join_thread(callers->caller[i].thread);
}

/* ---- the writes ---- */

/* Reads how often the key was written after the first time. */
static long verify(hmkv *kv, const struct written *written) {
  hmkv_result *result = NULL;
  CHECK_OK(hmkv_get_range(kv, written->key, written->key, &result));
  CHECK_INT(1, hmkv_result_count(result));
  const hmkv_kv *pair = hmkv_result_kv(result, 0);
  long times = (long)pair->version - 1;
  if (times < written->acknowledged || times > written->acknowledged + written->unacknowledged)
    FAIL("%s was written %ld times, by %ld acknowledged and %ld unknown writes", written->key,
         times, written->acknowledged, written->unacknowledged);
  if (!may_hold(written, atoi(pair->value)))
    FAIL("%s holds %s, and %d was acknowledged", written->key, pair->value, written->last);
  hmkv_result_free(result);
  return times;
}

void callers_verify(struct callers *callers, hmkv *kv) {
  long ok = 0, unknown = 0, applied = 0;
  for (int i = 0; i < CALLERS; i++) {
    const struct written *const both[] = {&callers->caller[i].stored, &callers->caller[i].set};
    for (int j = 0; j < 2; j++) {
      applied += verify(kv, both[j]);
      ok += both[j]->acknowledged;
      unknown += both[j]->unacknowledged;
    }
  }
  printf("\n  %ld acknowledged writes are all there; of %ld unknown ones %ld were applied", ok,
         unknown, applied - ok);
}

/* ---- spans of time ---- */

static int by_time(const void *left, const void *right) {
  const int64_t *a = left, *b = right;
  return *a < *b ? -1 : *a > *b;
}

struct stall {
  int64_t begin, end;
};

static void note_gap(struct span *span, struct stall *last, struct stall gap, int64_t stall_us) {
  if (gap.end - gap.begin > span->gap_us) span->gap_us = gap.end - gap.begin;
  if (gap.end - gap.begin < stall_us || stall_us == 0) return;
  bool is_new = span->stalls == 0 || gap.begin - last->end >= stall_us;
  if (is_new) *last = gap;
  last->end = gap.end;
  span->stalls += is_new;
  if (last->end - last->begin <= span->stall_us) return;
  span->stall_begin_us = last->begin;
  span->stall_us = last->end - last->begin;
}

static void find_stalls(struct span *span, int64_t *successes, size_t count, int64_t length,
                        int64_t stall_us) {
  struct stall last = {0, 0};
  int64_t before = 0;
  qsort(successes, count, sizeof *successes, by_time);
  for (size_t i = 0; i < count; before = successes[i++])
    note_gap(span, &last, (struct stall){before, successes[i]}, stall_us);
  note_gap(span, &last, (struct stall){before, length}, stall_us);
}

static void count_call(struct span *span, const struct call *call, int64_t settled) {
  int status = call->status < 0 ? -call->status : 0;
  CHECK(status < STATUSES);
  span->calls++;
  span->by_status[status]++;
  if (call->end_us - call->begin_us > span->longest_us)
    span->longest_us = call->end_us - call->begin_us;
  if (call->begin_us < settled) return;
  span->late_calls++;
  span->late_ok += status == 0;
}

struct span callers_span(struct callers *callers, int64_t begin_us, int64_t end_us,
                         int64_t settle_us, int64_t stall_us) {
  struct span span = {0};
  size_t successes = 0;
  int64_t *times = malloc((callers_calls(callers) + 1) * sizeof *times);
  CHECK(times);
  for (int i = 0; i < CALLERS; i++) {
    struct caller *caller = &callers->caller[i];
    for (size_t j = 0; j < caller->count; j++) {
      const struct call *call = &caller->list[j];
      if (call->status >= 0 && call->end_us >= begin_us && call->end_us < end_us)
        times[successes++] = call->end_us - begin_us;
      if (call->begin_us >= begin_us && call->begin_us < end_us)
        count_call(&span, call, begin_us + settle_us);
    }
  }
  find_stalls(&span, times, successes, end_us - begin_us, stall_us);
  free(times);
  return span;
}

double span_share(const struct span *span) {
  return span->late_calls ? 100.0 * (double)span->late_ok / (double)span->late_calls : 0;
}

void callers_free(struct callers *callers) {
  for (int i = 0; i < CALLERS; i++) free(callers->caller[i].list);
}
