/* What the library asks of the system fails, at each place where it asks: a thread cannot
 * be had, memory cannot be had. Then a status says so and all works again, or, for
 * memory alone, the process ends with one line. Never a hang, a crash, wrong data. */
#include "events.h"
#include "process.h"
#include "test.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* ---- what stands before the C library's functions ---- */

static struct {
  uintptr_t begin, end; /* of the library's code: only its own calls fail */
  atomic_long threads, memory;       /* calls seen */
  atomic_long fail_thread, fail_memory; /* the number of the one that fails; 0: none */
} calls;

static bool fails(const void *caller, atomic_long *seen, atomic_long *fail) {
  uintptr_t from = (uintptr_t)caller;
  if (from < calls.begin || from >= calls.end) return false;
  long number = atomic_fetch_add(seen, 1) + 1;
  return number == atomic_load(fail);
}

#define CALLER __builtin_extract_return_addr(__builtin_return_address(0))

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
                   void *arg) {
  static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
  if (fails(CALLER, &calls.threads, &calls.fail_thread)) return EAGAIN;
  if (!real) *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
  return real(thread, attr, run, arg);
}

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);

void *malloc(size_t size) {
  return fails(CALLER, &calls.memory, &calls.fail_memory) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
  return fails(CALLER, &calls.memory, &calls.fail_memory) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size) {
  return fails(CALLER, &calls.memory, &calls.fail_memory) ? NULL : __libc_realloc(old, size);
}

static int find_library(struct dl_phdr_info *info, size_t size, void *unused) {
  (void)size, (void)unused;
  if (!strstr(info->dlpi_name, "libhmkv")) return 0;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *part = &info->dlpi_phdr[i];
    if (part->p_type != PT_LOAD || !(part->p_flags & PF_X)) continue;
    calls.begin = info->dlpi_addr + part->p_vaddr;
    calls.end = calls.begin + part->p_memsz;
  }
  return 1;
}

/* ---- a process in which one call fails ---- */

/* True where it is done. */
static bool judge(const char *call, hmkv_status status) {
  if (status != HMKV_OK && status != HMKV_ENOMEM && status != HMKV_EUNAVAIL &&
      status != HMKV_EINDETERMINATE)
    FAIL("%s: %s", call, hmkv_status_name(status));
  return status == HMKV_OK;
}

static void use(hmkv *kv, const char *key) {
  struct events events = EVENTS_OF(key);
  hmkv_watcher *watcher = NULL;
  char *value = NULL;
  static char large[256 * 1024];
  memset(large, 'x', sizeof large - 1);
  bool stored = judge("store", hmkv_store(kv, key, large));
  if (judge("get", hmkv_get(kv, key, &value)) && stored) CHECK_STR(large, value);
  hmkv_free(value);
  (void)judge("temp_key", hmkv_temp_key(kv, text("%s temp", key)));
  if (judge("lock", hmkv_dist_timed_lock(kv, 0))) (void)hmkv_dist_unlock(kv);
  hmkv_result *result = hmkv_await(hmkv_put(kv, key, HMKV_NTS, "value", HMKV_NTS, NULL));
  (void)judge("put", hmkv_result_status(result));
  hmkv_result_free(result);
  if (!judge("watch_cb", hmkv_watch_cb(kv, key, 3, events_record, &events, &watcher))) return;
  if (judge("store again", hmkv_store(kv, key, "other"))) WAIT_UNTIL(events_count(&events) > 0);
  CHECK_OK(hmkv_watch_cb_cancel(watcher));
  events_free(&events);
}

static const char *options(void) { return text("timeout=2s lock=%s", unique("lock")); }

static void fail_once(int argc, char **argv) {
  CHECK_INT(2, argc);
  const char *key = unique("key");
  const struct rlimit no_core = {0, 0};
  CHECK_INT(0, setrlimit(RLIMIT_CORE, &no_core));
  dl_iterate_phdr(find_library, NULL);
  CHECK(calls.begin);
  const char *chosen = options();
  atomic_store(strcmp(argv[0], "thread") == 0 ? &calls.fail_thread : &calls.fail_memory,
               atol(argv[1]));
  hmkv *kv = (hmkv *)&kv;
  hmkv_status status = hmkv_open(test_endpoint(), chosen, &kv);
  if (judge("open", status)) {
    use(kv, key);
    status = hmkv_close(kv);
    CHECK(status == HMKV_OK || status == HMKV_TIMED_OUT);
  } else {
    CHECK(kv == NULL);
  }
  printf("%ld %ld", atomic_load(&calls.threads), atomic_load(&calls.memory));
  atomic_store(&calls.fail_thread, 0);
  atomic_store(&calls.fail_memory, 0);
  kv = open_store(options());
  use(kv, unique("key"));
  CHECK_OK(hmkv_store(kv, key, "value"));
  CHECK_VALUE(kv, key, "value");
  close_store(kv);
}

/* The wait status; what it said goes to `said`. */
static int run(const char *what, long point, char *said, size_t size) {
  struct process child =
      start_child(JOIN_STDERR, test_endpoint(), "fail_once", what, text("%ld", point), NULL);
  process_read(&child, said, size, NULL);
  return process_wait(&child);
}

static void counts(long *threads, long *memory) {
  char said[8192];
  CHECK_INT(0, run("none", 0, said, sizeof said));
  if (sscanf(said, "%ld %ld", threads, memory) != 2) FAIL("no counts: %s", said);
}

static void a_thread_that_cannot_be_had_is_a_status(void) {
  long threads = 0, memory = 0;
  char said[8192];
  counts(&threads, &memory);
  CHECK(threads >= 2);
  for (long point = 1; point <= threads; point++) {
    int status = run("thread", point, said, sizeof said);
    if (status != 0) FAIL("thread %ld: wait status %#x: %s", point, (unsigned)status, said);
  }
  printf(" (%ld)", threads);
}

/* Some of the points, drawn by a seed; `--points` has about how many, 0 for each. */
static void memory_that_cannot_be_had_is_a_status_or_one_line(void) {
  long threads = 0, memory = 0, ended = 0, tried = 0;
  char said[8192];
  counts(&threads, &memory);
  CHECK(memory > 50);
  long points = (long)test_number("--points", 25);
  unsigned seed = (unsigned)test_number("--seed", now_ms());
  printf(" (seed %u)", seed);
  for (long point = 1; point <= memory; point++) {
    if (points && (long)((unsigned)rand_r(&seed) % (unsigned)memory) >= points) continue;
    int status = run("memory", point, said, sizeof said);
    bool aborted = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
    if (status != 0 && !(aborted && strstr(said, "memory allocation of")))
      FAIL("memory %ld: wait status %#x: %s", point, (unsigned)status, said);
    ended += aborted;
    tried++;
  }
  printf(" %ld of %ld points, %ld ended the process", tried, memory, ended);
}

static const struct test tests[] = {
    BOTH(a_thread_that_cannot_be_had_is_a_status),
    BOTH(memory_that_cannot_be_had_is_a_status_or_one_line),
};
static const struct child children[] = {{"fail_once", fail_once}, {NULL, NULL}};
TEST_MAIN(.children = children)
