#include "load.h"

#include "control.h"

struct own_keys own_keys(hmkv *kv) {
  struct own_keys keys = {unique("stored"), unique("set"), 0};
  CHECK_OK(hmkv_store(kv, keys.set, "0"));
  return keys;
}

void own_keys_turn(hmkv *kv, struct own_keys *keys) {
  char now[16], next[16];
  hmkv_result *result = NULL;
  snprintf(now, sizeof now, "%d", keys->number++);
  snprintf(next, sizeof next, "%d", keys->number);
  CHECK_OK(hmkv_store(kv, keys->stored, next));
  CHECK_VALUE(kv, keys->stored, next);
  CHECK_OK(hmkv_tas(kv, keys->set, now, next));
  CHECK_OK(hmkv_get_range(kv, keys->set, keys->set, &result));
  CHECK_INT(1, hmkv_result_count(result));
  CHECK_STR(next, hmkv_result_kv(result, 0)->value);
  hmkv_result_free(result);
}

static void note_turn(struct load_thread *self, long long took) {
  long long worst = atomic_load(&self->worst_us);
  while (took > worst && !atomic_compare_exchange_weak(&self->worst_us, &worst, took)) {}
}

static void *make_calls(void *arg) {
  struct load_thread *self = arg;
  while (!atomic_load(&self->load->stop)) {
    atomic_store(&self->since_us, now_us());
    own_keys_turn(self->load->kv, &self->keys);
    note_turn(self, now_us() - atomic_load(&self->since_us));
    atomic_fetch_add(&self->calls, CALLS_A_TURN);
  }
  return NULL;
}

void load_start(struct load *load, hmkv *kv, int count) {
  CHECK(count <= LOAD_MAX);
  memset(load, 0, sizeof *load);
  load->kv = kv;
  load->count = count;
  for (int i = 0; i < count; i++) {
    struct load_thread *thread = &load->threads[i];
    thread->load = load;
    thread->keys = own_keys(kv);
    atomic_store(&thread->since_us, now_us());
    thread->thread = start_thread(make_calls, thread);
  }
  const long none[LOAD_MAX] = {0};
  WAIT_UNTIL(load_fewest_since(load, none) > 0);
}

long load_calls(struct load *load) {
  long calls = 0;
  for (int i = 0; i < load->count; i++) calls += atomic_load(&load->threads[i].calls);
  return calls;
}

void load_mark(struct load *load, long before[LOAD_MAX]) {
  for (int i = 0; i < load->count; i++) before[i] = atomic_load(&load->threads[i].calls);
}

long load_fewest_since(struct load *load, const long before[LOAD_MAX]) {
  long fewest = -1;
  for (int i = 0; i < load->count; i++) {
    long made = atomic_load(&load->threads[i].calls) - before[i];
    if (fewest < 0 || made < fewest) fewest = made;
  }
  return fewest;
}

int64_t load_take_longest_ms(struct load *load) {
  long long longest = 0;
  for (int i = 0; i < load->count; i++) {
    struct load_thread *thread = &load->threads[i];
    if (!atomic_load(&load->stop)) note_turn(thread, now_us() - atomic_load(&thread->since_us));
    long long worst = atomic_exchange(&thread->worst_us, 0);
    if (worst > longest) longest = worst;
  }
  return longest / 1000;
}

void load_stop(struct load *load) {
  atomic_store(&load->stop, true);
  for (int i = 0; i < load->count; i++) join_thread(load->threads[i].thread);
}
