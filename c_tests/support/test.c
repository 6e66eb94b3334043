#include "test.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <time.h>

static const char *program = "?";
static const char *running = "setting up";
static const char *endpoint = "mem:";
static const char *directory;
static int arg_count;
static char **args;

/* ---- checks ---- */

static void (*failure_hooks[8])(void);

void test_on_failure(void (*hook)(void)) {
  for (size_t i = 0; i < sizeof failure_hooks / sizeof *failure_hooks; i++) {
    if (failure_hooks[i] == hook) return;
    if (!failure_hooks[i]) {
      failure_hooks[i] = hook;
      return;
    }
  }
}

_Noreturn void test_fail(const char *file, int line, const char *format, ...) {
  static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
  pthread_mutex_lock(&one); /* a second thread that fails waits for the end */
  const char *name = strrchr(file, '/');
  fprintf(stderr, "%s:%d: %s.%s: ", name ? name + 1 : file, line, program, running);
  va_list list;
  va_start(list, format);
  vfprintf(stderr, format, list);
  va_end(list);
  fprintf(stderr, "\n  last error of this thread: \"%s\"\n", hmkv_errmsg());
  fflush(NULL);
  for (size_t i = 0; i < sizeof failure_hooks / sizeof *failure_hooks && failure_hooks[i]; i++)
    failure_hooks[i]();
  _exit(1);
}

void test_status(const char *file, int line, const char *what, hmkv_status expected,
                 hmkv_status actual) {
  if (expected == actual) return;
  test_fail(file, line, "%s: expected %s, got %s (%d)", what, hmkv_status_name(expected),
            hmkv_status_name(actual), (int)actual);
}

void test_int(const char *file, int line, const char *what, int64_t expected, int64_t actual) {
  if (expected == actual) return;
  test_fail(file, line, "%s: expected %" PRId64 ", got %" PRId64, what, expected, actual);
}

void test_str(const char *file, int line, const char *what, const char *expected,
              const char *actual) {
  if (expected == actual) return;
  if (expected && actual && strcmp(expected, actual) == 0) return;
  test_fail(file, line, "%s: expected \"%.200s\", got \"%.200s\"", what,
            expected ? expected : "(null)", actual ? actual : "(null)");
}

void test_value(const char *file, int line, hmkv *kv, const char *key, const char *expected) {
  char *value = (char *)"untouched";
  hmkv_status status = hmkv_get(kv, key, &value);
  test_status(file, line, key, expected ? HMKV_OK : HMKV_NOT_FOUND, status);
  test_str(file, line, key, expected, value);
  hmkv_free(value);
}

/* ---- the runner ---- */

static const char *read_endpoint(const char *path) {
  FILE *file = fopen(path, "r");
  if (!file) FAIL("%s: %s", path, strerror(errno));
  char line[1024] = "";
  if (!fgets(line, sizeof line, file)) FAIL("%s is empty", path);
  fclose(file);
  line[strcspn(line, "\r\n")] = '\0';
  const char *slash = strrchr(path, '/');
  directory = slash ? text("%.*s", (int)(slash - path), path) : ".";
  return text("%s", line);
}

static bool is_wanted(const char *name) {
  bool named = false;
  for (int i = 2; i < arg_count; i++) {
    if (args[i][0] == '-') {
      i++;
      continue;
    }
    named = true;
    if (strcmp(args[i], name) == 0) return true;
  }
  return !named;
}

static void list(const struct suite *suite) {
  static const char *const backends[] = {"", "mem", "etcd", "both"};
  for (size_t i = 0; i < suite->count; i++)
    printf("%s.%s %s\n", program, suite->tests[i].name, backends[suite->tests[i].backends]);
}

static void run_child(const struct suite *suite) {
  running = text("child %s", args[3]);
  for (const struct child *child = suite->children; child && child->name; child++) {
    if (strcmp(child->name, args[3]) != 0) continue;
    child->run(arg_count - 4, args + 4);
    return;
  }
  FAIL("no such child");
}

static void run_test(const struct suite *suite, const struct test *test) {
  int64_t start = now_ms();
  running = test->name;
  printf("%s.%s", program, running);
  fflush(stdout);
  CHECK_INT(0, count_threads("hmkv-"));
  if (suite->begin) suite->begin();
  test->run();
  if (suite->end) suite->end();
  /* "No thread after the last close"; the kernel drops a joined one a moment later. */
  WAIT_UNTIL(count_threads("hmkv-") == 0);
  printf(" ok, %" PRId64 " ms\n", now_ms() - start);
}

int test_main(int argc, char **argv, const struct suite *suite) {
  const char *slash = strrchr(argv[0], '/');
  program = slash ? slash + 1 : argv[0];
  if (strncmp(program, "test_", 5) == 0) program += 5;
  arg_count = argc;
  args = argv;
  setvbuf(stderr, NULL, _IOLBF, 0);
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (argc > 1 && strcmp(argv[1], "--list") == 0) {
    list(suite);
    return 0;
  }
  if (argc > 1) endpoint = argv[1][0] == '@' ? read_endpoint(argv[1] + 1) : argv[1];
  if (argc > 3 && strcmp(argv[2], "--child") == 0) {
    run_child(suite);
    return 0;
  }
  int ran = 0;
  for (size_t i = 0; i < suite->count; i++) {
    const struct test *test = &suite->tests[i];
    if (!(test->backends & (on_etcd() ? ON_ETCD : ON_MEM)) || !is_wanted(test->name)) continue;
    run_test(suite, test);
    ran++;
  }
  if (ran == 0) FAIL("no test was run");
  return 0;
}

const char *test_endpoint(void) { return endpoint; }

const char *test_directory(void) {
  if (directory) return directory;
  const char *tmp = getenv("TMPDIR");
  return tmp && *tmp ? tmp : "/tmp";
}

bool on_etcd(void) { return strncmp(endpoint, "mem:", 4) != 0; }

int64_t test_number(const char *name, int64_t otherwise) {
  for (int i = 1; i + 1 < arg_count; i++)
    if (strcmp(args[i], name) == 0) return strtoll(args[i + 1], NULL, 0);
  return otherwise;
}

static bool is_light(void) {
  const char *light = getenv("HMKV_TEST_LIGHT");
  return light && strcmp(light, "1") == 0;
}

int rounds(int normal, int light) { return is_light() ? light : normal; }

bool under_valgrind(void) {
  const char *preload = getenv("LD_PRELOAD");
  return preload && strstr(preload, "vgpreload");
}

bool memory_is_its_own(void) {
#ifdef __SANITIZE_ADDRESS__
  return false;
#else
  return !under_valgrind();
#endif
}

/* ---- time ---- */

int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t patience_ms(void) { return is_light() ? 120000 : 40000; }

void poll_pause(void) {
  struct timespec pause = {0, 2000000};
  nanosleep(&pause, NULL);
}

/* ---- threads ---- */

pthread_t start_thread(void *(*run)(void *), void *arg) {
  pthread_t thread;
  CHECK_INT(0, pthread_create(&thread, NULL, run, arg));
  return thread;
}

void *join_thread(pthread_t thread) {
  struct timespec end;
  clock_gettime(CLOCK_REALTIME, &end);
  end.tv_sec += patience_ms() / 1000;
  void *answer = NULL;
  int error = pthread_timedjoin_np(thread, &answer, &end);
  if (error) FAIL("a thread does not end: %s", strerror(error));
  return answer;
}

int count_threads(const char *prefix) {
  DIR *tasks = opendir("/proc/self/task");
  CHECK(tasks);
  int count = 0;
  for (struct dirent *task; (task = readdir(tasks));) {
    if (task->d_name[0] == '.') continue;
    char path[300], name[64] = "";
    snprintf(path, sizeof path, "/proc/self/task/%s/comm", task->d_name);
    FILE *file = fopen(path, "r");
    if (!file) continue; /* it just ended */
    if (fgets(name, sizeof name, file) && strncmp(name, prefix, strlen(prefix)) == 0) count++;
    fclose(file);
  }
  closedir(tasks);
  return count;
}

int count_descriptors(void) {
  int count = -3; /* ".", ".." and the directory itself */
  DIR *descriptors = opendir("/proc/self/fd");
  CHECK(descriptors);
  while (readdir(descriptors)) count++;
  closedir(descriptors);
  return count;
}

pid_t thread_id(void) { return (pid_t)syscall(SYS_gettid); }

static bool is_asleep(pid_t tid) {
  char path[64];
  snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)tid);
  FILE *file = fopen(path, "r");
  CHECK(file);
  char line[512] = "";
  CHECK(fgets(line, sizeof line, file));
  fclose(file);
  const char *state = strrchr(line, ')');
  CHECK(state);
  return state[2] == 'S';
}

void wait_until_all_blocked(const pid_t *tids, size_t count) {
  int64_t end = now_ms() + patience_ms();
  for (int asleep = 0; asleep < 30; poll_pause()) {
    CHECK(now_ms() < end);
    size_t sleeping = 0;
    for (size_t i = 0; i < count; i++) sleeping += is_asleep(tids[i]);
    asleep = sleeping == count ? asleep + 1 : 0;
  }
}

void wait_until_blocked(pid_t tid) { wait_until_all_blocked(&tid, 1); }

void gate_open(struct gate *gate) {
  pthread_mutex_lock(&gate->mutex);
  gate->open = true;
  pthread_cond_broadcast(&gate->changed);
  pthread_mutex_unlock(&gate->mutex);
}

void gate_pass(struct gate *gate) {
  pthread_mutex_lock(&gate->mutex);
  while (!gate->open) pthread_cond_wait(&gate->changed, &gate->mutex);
  pthread_mutex_unlock(&gate->mutex);
}

/* ---- texts ---- */

/* Keeps texts reachable, so that a leak check does not count them. */
struct kept {
  struct kept *next;
  char text[];
};

const char *text(const char *format, ...) {
  static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  static struct kept *all;
  va_list list, again;
  va_start(list, format);
  va_copy(again, list);
  int length = vsnprintf(NULL, 0, format, list);
  CHECK(length >= 0);
  struct kept *kept = malloc(sizeof *kept + (size_t)length + 1);
  CHECK(kept);
  vsnprintf(kept->text, (size_t)length + 1, format, again);
  va_end(again);
  va_end(list);
  pthread_mutex_lock(&mutex);
  kept->next = all;
  all = kept;
  pthread_mutex_unlock(&mutex);
  return kept->text;
}

const char *unique(const char *name) {
  static atomic_int counter;
  static atomic_llong start;
  long long none = 0;
  atomic_compare_exchange_strong(&start, &none, (long long)now_ms());
  return text("c_tests/%s/%d-%lld-%d/%s", program, (int)getpid(), atomic_load(&start),
              atomic_fetch_add(&counter, 1), name);
}
