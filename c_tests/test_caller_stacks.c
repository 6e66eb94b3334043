/* Callers with small stacks, of threads and of coroutines: every call works, and the
 * stack that it took is told. */
#include "load.h"
#include "server.h"
#include "test.h"

#include <sys/mman.h>
#include <ucontext.h>

enum { KIB = 1024, GUARD = 64 * KIB, PAINT = 0xa5, LISTED = 500 };
/* Calls have to do with 32 KiB; opening and closing may need more. */
enum { OPENING = 64 * KIB };

/* With a guard below it, and painted, to tell how much of it was used. */
struct stack {
  unsigned char *base;
  size_t size;
};

static struct stack new_stack(size_t size) {
  unsigned char *memory = mmap(NULL, GUARD + size, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  CHECK(memory != MAP_FAILED);
  CHECK_INT(0, mprotect(memory, GUARD, PROT_NONE));
  memset(memory + GUARD, PAINT, size);
  return (struct stack){memory + GUARD, size};
}

static size_t used_of(const struct stack *stack) {
  size_t untouched = 0;
  while (untouched < stack->size && stack->base[untouched] == PAINT) untouched++;
  return stack->size - untouched;
}

static void free_stack(const struct stack *stack) {
  CHECK_INT(0, munmap(stack->base - GUARD, GUARD + stack->size));
}

static const char *store_list(hmkv *kv) {
  const char *prefix = unique("list");
  for (int i = 0; i < LISTED; i++)
    CHECK_OK(hmkv_store(kv, text("%s/%03d", prefix, i), "a value of some length, as values are"));
  return prefix;
}

struct work {
  hmkv *kv;
  struct own_keys keys;
  const char *first, *last; /* of the list */
  int turns;
  atomic_int done;
};

static struct work work_on(hmkv *kv, const char *list, int turns) {
  return (struct work){kv, own_keys(kv), text("%s/000", list), text("%s/999", list), turns, 0};
}

static void work_a_turn(struct work *work) {
  hmkv_result *result = NULL;
  own_keys_turn(work->kv, &work->keys);
  CHECK_OK(hmkv_get_range(work->kv, work->first, work->last, &result));
  CHECK_INT(LISTED, hmkv_result_count(result));
  hmkv_result_free(result);
  atomic_fetch_add(&work->done, 1);
}

static void *work_through(void *arg) {
  struct work *work = arg;
  while (atomic_load(&work->done) < work->turns) work_a_turn(work);
  return NULL;
}

static pthread_t start_on(const struct stack *stack, struct work *work) {
  pthread_attr_t attributes;
  pthread_t thread;
  CHECK_INT(0, pthread_attr_init(&attributes));
  CHECK_INT(0, pthread_attr_setstack(&attributes, stack->base, stack->size));
  CHECK_INT(0, pthread_create(&thread, &attributes, work_through, work));
  CHECK_INT(0, pthread_attr_destroy(&attributes));
  return thread;
}

/* Half of the threads have `size` bytes, beside others with the usual stack. */
static void threads_work_with(hmkv *kv, const char *list, size_t size, int turns) {
  enum { SMALL = 4, NORMAL = 4 };
  struct stack stacks[SMALL];
  struct work small[SMALL];
  pthread_t threads[SMALL];
  struct load load;
  size_t most = 0;
  load_start(&load, kv, NORMAL);
  for (int i = 0; i < SMALL; i++) {
    stacks[i] = new_stack(size);
    small[i] = work_on(kv, list, turns);
    threads[i] = start_on(&stacks[i], &small[i]);
  }
  for (int i = 0; i < SMALL; i++) {
    join_thread(threads[i]);
    CHECK_INT(turns, atomic_load(&small[i].done));
    size_t used = used_of(&stacks[i]);
    if (used > most) most = used;
  }
  load_stop(&load);
  for (int i = 0; i < SMALL; i++) free_stack(&stacks[i]);
  printf("\n  %d threads of %zu KiB: %d calls, %zu bytes of stack used at most, %ld calls beside them",
         SMALL, size / KIB, SMALL * turns * (CALLS_A_TURN + 1), most, load_calls(&load));
  CHECK(most > 0 && most < size);
}

static void all_sizes_work(hmkv *kv) {
  const char *list = store_list(kv);
  threads_work_with(kv, list, 32 * KIB, rounds(100, 5));
  threads_work_with(kv, list, 64 * KIB, rounds(100, 5));
  threads_work_with(kv, list, 256 * KIB, rounds(100, 5));
  printf("\n ");
}

static void threads_with_small_stacks_work_beside_others(void) {
  hmkv *kv = open_store("timeout=20s");
  all_sizes_work(kv);
  close_store(kv);
}

static void threads_with_small_stacks_work_over_tls(void) {
  static struct server server;
  server_start_tls(&server);
  const char *d = server.certificates;
  hmkv *kv = open_at(server.endpoint, text("timeout=20s cacert='%s/ca.pem' cert='%s/client.pem' "
                                           "key='%s/client.key'", d, d, d));
  all_sizes_work(kv);
  close_store(kv);
  server_stop(&server);
}

/* The first call of a store, which connects, and the last, on a small stack. */
static void *open_use_and_close(void *arg) {
  struct own_keys *keys = arg;
  hmkv *kv = open_store("timeout=20s");
  own_keys_turn(kv, keys);
  close_store(kv);
  return NULL;
}

static void a_small_stack_opens_and_closes_stores(void) {
  hmkv *kv = open_store("timeout=20s");
  struct own_keys keys = own_keys(kv);
  close_store(kv);
  size_t most = 0;
  int times = rounds(50, 5);
  for (int i = 0; i < times; i++) {
    struct stack stack = new_stack(OPENING);
    pthread_attr_t attributes;
    pthread_t thread;
    CHECK_INT(0, pthread_attr_init(&attributes));
    CHECK_INT(0, pthread_attr_setstack(&attributes, stack.base, stack.size));
    CHECK_INT(0, pthread_create(&thread, &attributes, open_use_and_close, &keys));
    CHECK_INT(0, pthread_attr_destroy(&attributes));
    join_thread(thread);
    if (used_of(&stack) > most) most = used_of(&stack);
    free_stack(&stack);
  }
  CHECK_INT(times, keys.number);
  CHECK(most > 0 && most < OPENING);
  printf("\n  %d stores opened, used and closed, %zu bytes of stack used at most\n ", times, most);
}

/* ---- coroutines ---- */

struct coroutine {
  ucontext_t context;
  ucontext_t *scheduler;
  struct stack stack;
  struct work work;
};

static _Thread_local struct coroutine *running;

static void run_coroutine(void) {
  struct coroutine *self = running;
  while (atomic_load(&self->work.done) < self->work.turns) {
    work_a_turn(&self->work);
    CHECK_INT(0, swapcontext(&self->context, self->scheduler));
  }
}

struct scheduler {
  hmkv *kv;
  const char *list;
  int turns;
  size_t most;
};

/* One thread takes turns with several coroutines, each on a stack of its own. */
static void *schedule(void *arg) {
  enum { COROUTINES = 4 };
  struct scheduler *scheduler = arg;
  static _Thread_local struct coroutine coroutines[COROUTINES];
  static _Thread_local ucontext_t own;
  for (int i = 0; i < COROUTINES; i++) {
    struct coroutine *coroutine = &coroutines[i];
    coroutine->stack = new_stack(64 * KIB);
    coroutine->work = work_on(scheduler->kv, scheduler->list, scheduler->turns);
    coroutine->scheduler = &own;
    CHECK_INT(0, getcontext(&coroutine->context));
    coroutine->context.uc_stack.ss_sp = coroutine->stack.base;
    coroutine->context.uc_stack.ss_size = coroutine->stack.size;
    coroutine->context.uc_link = &own;
    makecontext(&coroutine->context, run_coroutine, 0);
  }
  for (int turn = 0; turn < scheduler->turns * COROUTINES; turn++) {
    running = &coroutines[turn % COROUTINES];
    CHECK_INT(0, swapcontext(&own, &running->context));
  }
  for (int i = 0; i < COROUTINES; i++) {
    CHECK_INT(scheduler->turns, atomic_load(&coroutines[i].work.done));
    size_t used = used_of(&coroutines[i].stack);
    if (used > scheduler->most) scheduler->most = used;
    free_stack(&coroutines[i].stack);
  }
  return NULL;
}

static void coroutines_work_on_several_threads(void) {
  enum { SCHEDULERS = 3 };
  struct scheduler schedulers[SCHEDULERS];
  pthread_t threads[SCHEDULERS];
  hmkv *kv = open_store("timeout=20s");
  const char *list = store_list(kv);
  size_t most = 0;
  for (int i = 0; i < SCHEDULERS; i++) {
    schedulers[i] = (struct scheduler){kv, list, rounds(50, 5), 0};
    threads[i] = start_thread(schedule, &schedulers[i]);
  }
  for (int i = 0; i < SCHEDULERS; i++) {
    join_thread(threads[i]);
    if (schedulers[i].most > most) most = schedulers[i].most;
  }
  close_store(kv);
  CHECK(most > 0 && most < 64 * KIB);
  printf("\n  %d threads with 4 coroutines each, %d turns each, %zu bytes of stack used at most\n ",
         SCHEDULERS, schedulers[0].turns, most);
}

static const struct test tests[] = {
    BOTH(threads_with_small_stacks_work_beside_others),
    ETCD_ONLY(threads_with_small_stacks_work_over_tls),
    BOTH(a_small_stack_opens_and_closes_stores),
    BOTH(coroutines_work_on_several_threads),
};
TEST_MAIN()
