/* Threads that end: cancelled inside a call, or right after one, in thousands. Nothing
 * is left behind and no other thread waits. */
#include "control.h"
#include "load.h"
#include "test.h"


enum { VICTIMS = 2, OTHERS = 6, STALL_MS = 1000 };

static hmkv *kv;
static struct control control;

static void begin(void) {
  kv = open_store("timeout=20s");
  control_start(&control);
}

static void end(void) {
  control_stop(&control);
  close_store(kv);
}

/* ---- cancelled ---- */

struct victim {
  const char *key;
  int cancel_state; /* that it runs with */
  atomic_bool inside;
  atomic_int calls;
  atomic_bool stop;
  bool ended_inside;
  int stored;
};

static void note_end(void *arg) {
  struct victim *victim = arg;
  victim->ended_inside = atomic_load(&victim->inside);
}

static void one_call(struct victim *victim) {
  char value[16], *found = NULL;
  hmkv_result *result = NULL;
  hmkv_status status = HMKV_OK;
  int number = atomic_load(&victim->calls) / 3;
  snprintf(value, sizeof value, "%d", number);
  atomic_store(&victim->inside, true);
  switch (atomic_load(&victim->calls) % 3) {
    case 0:
      status = hmkv_store(kv, victim->key, value);
      victim->stored = number;
      break;
    case 1:
      status = hmkv_get(kv, victim->key, &found);
      break;
    default:
      status = hmkv_get_range(kv, victim->key, victim->key, &result);
  }
  atomic_store(&victim->inside, false);
  CHECK_OK(status);
  if (found) CHECK_STR(value, found);
  if (result) CHECK_STR(value, hmkv_result_kv(result, 0)->value);
  hmkv_free(found);
  hmkv_result_free(result);
  atomic_fetch_add(&victim->calls, 1);
}

static void *call_until_cancelled(void *arg) {
  struct victim *victim = arg;
  int state = 0;
  CHECK_INT(0, pthread_setcancelstate(victim->cancel_state, NULL));
  pthread_cleanup_push(note_end, victim);
  while (!atomic_load(&victim->stop)) {
    one_call(victim);
    CHECK_INT(0, pthread_setcancelstate(victim->cancel_state, &state));
    CHECK_INT(victim->cancel_state, state); /* no call changed it */
    pthread_testcancel();
  }
  pthread_cleanup_pop(0);
  return NULL;
}

static void cancel_a_pair(unsigned *seed, int *inside) {
  struct victim victims[VICTIMS];
  pthread_t threads[VICTIMS];
  for (int i = 0; i < VICTIMS; i++) {
    victims[i] = (struct victim){.key = unique("key"), .cancel_state = PTHREAD_CANCEL_ENABLE};
    threads[i] = start_thread(call_until_cancelled, &victims[i]);
  }
  int calls = 1 + (int)(rand_r(seed) % 10), spin = (int)(rand_r(seed) % 2000);
  WAIT_UNTIL(atomic_load(&victims[0].calls) >= calls && atomic_load(&victims[1].calls) > 0);
  for (volatile int i = 0; i < spin; i++) {} /* somewhere in the next call */
  for (int i = 0; i < VICTIMS; i++) {
    *inside += atomic_load(&victims[i].inside);
    CHECK_INT(0, pthread_cancel(threads[i]));
  }
  for (int i = 0; i < VICTIMS; i++) {
    CHECK(join_thread(threads[i]) == PTHREAD_CANCELED);
    CHECK(!victims[i].ended_inside);
    CHECK_VALUE(kv, victims[i].key, text("%d", victims[i].stored));
  }
}

static void a_cancelled_thread_ends_after_its_call_and_holds_nobody(void) {
  unsigned seed = (unsigned)test_number("--seed", now_ms());
  struct load load;
  int times = rounds(150, 10), inside = 0;
  printf(" --seed %u", seed);
  load_start(&load, kv, OTHERS);
  (void)load_take_longest_ms(&load);
  long before = load_calls(&load);
  for (int i = 0; i < times; i++) cancel_a_pair(&seed, &inside);
  int64_t longest = load_take_longest_ms(&load), late = control_take_ms(&control);
  long calls = load_calls(&load) - before;
  load_stop(&load);
  printf("\n  %d threads cancelled, %d of them inside a call; %ld calls of %d others, the longest "
         "turn %" PRId64 " ms, oversleep %" PRId64 " ms\n ",
         times * VICTIMS, inside, calls, OTHERS, longest, late);
  CHECK(inside > times / 4);
  CHECK(calls > times);
  CHECK(longest <= (under_valgrind() ? 20 : 1) * STALL_MS + late);
}

static void a_thread_that_cannot_be_cancelled_stays_so(void) {
  struct victim victim = {.key = unique("key"), .cancel_state = PTHREAD_CANCEL_DISABLE};
  pthread_t thread = start_thread(call_until_cancelled, &victim);
  WAIT_UNTIL(atomic_load(&victim.calls) > 3);
  CHECK_INT(0, pthread_cancel(thread));
  int calls = atomic_load(&victim.calls);
  WAIT_UNTIL(atomic_load(&victim.calls) > calls + 30);
  atomic_store(&victim.stop, true);
  CHECK(join_thread(thread) == NULL);
}

/* ---- short-lived ---- */

static void *call_and_end(void *number) {
  char *value = NULL;
  CHECK_OK(hmkv_get(kv, "c_tests/caller_ends", &value));
  hmkv_free(value);
  if ((uintptr_t)number % 2) pthread_exit(number);
  return number;
}

static void run_short_threads(int count) {
  enum { AT_ONCE = 8 };
  pthread_t threads[AT_ONCE];
  for (int i = 0; i < count; i += AT_ONCE) {
    for (int j = 0; j < AT_ONCE; j++)
      threads[j] = start_thread(call_and_end, (void *)(uintptr_t)(i + j + 1));
    for (int j = 0; j < AT_ONCE; j++)
      CHECK(join_thread(threads[j]) == (void *)(uintptr_t)(i + j + 1));
  }
}

static long resident_kib(void) {
  long total = 0, resident = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  CHECK(file);
  CHECK_INT(2, fscanf(file, "%ld %ld", &total, &resident));
  fclose(file);
  return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static void thousands_of_short_lived_threads_leave_nothing_behind(void) {
  int count = rounds(3200, 160);
  CHECK_OK(hmkv_store(kv, "c_tests/caller_ends", "value"));
  run_short_threads(count / 2); /* warms up */
  int threads = count_threads("hmkv-"), descriptors = count_descriptors();
  long before = resident_kib();
  run_short_threads(count);
  long grown = resident_kib() - before;
  printf("\n  %d threads with a call each: %ld KiB grown from %ld KiB, %d library threads, "
         "%d descriptors\n ", count, grown, before, count_threads("hmkv-"), count_descriptors());
  WAIT_UNTIL(count_threads("hmkv-") <= threads);
  CHECK_INT(descriptors, count_descriptors());
  if (memory_is_its_own()) CHECK(grown <= 1024);
}

/* ---- calls of a thread that has ended but for its destructors ---- */

static pthread_key_t old_key, new_key;
static atomic_int calls_at_the_end;

static void call_in_destructor(void *keys) {
  own_keys_turn(kv, keys);
  atomic_fetch_add(&calls_at_the_end, CALLS_A_TURN);
}

struct ending {
  struct own_keys keys;
  bool calls_before; /* the thread was known to the library */
};

static void *end_with_destructors(void *arg) {
  struct ending *ending = arg;
  CHECK_INT(0, pthread_setspecific(old_key, &ending->keys));
  if (ending->calls_before) own_keys_turn(kv, &ending->keys);
  CHECK_INT(0, pthread_setspecific(new_key, &ending->keys));
  return NULL;
}

static void destructors_of_a_thread_may_make_calls(void) {
  enum { THREADS = 4 };
  struct ending endings[THREADS];
  pthread_t threads[THREADS];
  struct load load;
  int times = rounds(50, 5);
  CHECK_INT(0, pthread_key_create(&old_key, call_in_destructor));
  CHECK_INT(0, pthread_key_create(&new_key, call_in_destructor));
  load_start(&load, kv, 4);
  for (int j = 0; j < THREADS; j++) endings[j] = (struct ending){own_keys(kv), j % 2};
  for (int i = 0; i < times; i++) {
    for (int j = 0; j < THREADS; j++) threads[j] = start_thread(end_with_destructors, &endings[j]);
    for (int j = 0; j < THREADS; j++) join_thread(threads[j]);
  }
  load_stop(&load);
  CHECK_INT(times * THREADS * 2 * CALLS_A_TURN, atomic_load(&calls_at_the_end));
  printf("\n  %d calls in destructors of %d threads\n ", atomic_load(&calls_at_the_end),
         times * THREADS);
  CHECK_INT(0, pthread_key_delete(old_key));
  CHECK_INT(0, pthread_key_delete(new_key));
}

static const struct test tests[] = {
    BOTH(a_cancelled_thread_ends_after_its_call_and_holds_nobody),
    BOTH(a_thread_that_cannot_be_cancelled_stays_so),
    BOTH(thousands_of_short_lived_threads_leave_nothing_behind),
    BOTH(destructors_of_a_thread_may_make_calls),
};
TEST_MAIN(.begin = begin, .end = end)
