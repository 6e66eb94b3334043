/*
 * What every test program uses: checks, the runner, waiting, stores.
 *
 * A program is a list of test functions, each named after the sentence that it
 * pins, and runs on the endpoint given as its first argument (`@FILE`: read it
 * from FILE; default `mem:`). Further arguments are names of tests to run.
 */
#ifndef TEST_H
#define TEST_H

#include <hmkv.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- checks: print where, what and hmkv_errmsg(), then end the process ---- */

#define CHECK(cond) ((cond) ? (void)0 : test_fail(__FILE__, __LINE__, "%s", #cond))
#define CHECK_STATUS(expected, call) test_status(__FILE__, __LINE__, #call, (expected), (call))
#define CHECK_OK(call) CHECK_STATUS(HMKV_OK, call)
#define CHECK_INT(expected, actual) \
  test_int(__FILE__, __LINE__, #actual, (int64_t)(expected), (int64_t)(actual))
#define CHECK_STR(expected, actual) test_str(__FILE__, __LINE__, #actual, (expected), (actual))
/* The value of a key, or NULL for none. */
#define CHECK_VALUE(kv, key, expected) test_value(__FILE__, __LINE__, (kv), (key), (expected))
#define FAIL(...) test_fail(__FILE__, __LINE__, __VA_ARGS__)

_Noreturn void test_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void test_status(const char *file, int line, const char *what, hmkv_status expected,
                 hmkv_status actual);
void test_int(const char *file, int line, const char *what, int64_t expected, int64_t actual);
void test_str(const char *file, int line, const char *what, const char *expected,
              const char *actual);
void test_value(const char *file, int line, hmkv *kv, const char *key, const char *expected);
/* Runs `hook` before a failed check ends the process. */
void test_on_failure(void (*hook)(void));

/* ---- the runner ---- */

enum { ON_MEM = 1, ON_ETCD = 2 };

struct test {
  const char *name;
  void (*run)(void);
  int backends;
};

struct child {
  const char *name;
  void (*run)(int argc, char **argv);
};

#define BOTH(fn) {#fn, fn, ON_MEM | ON_ETCD}
#define MEM_ONLY(fn) {#fn, fn, ON_MEM}
#define ETCD_ONLY(fn) {#fn, fn, ON_ETCD} /* its reason stands in ETCD_ONLY.md */

struct suite {
  const struct test *tests;
  size_t count;
  const struct child *children; /* ends with a NULL name; for start_child() */
  void (*begin)(void);          /* before and after each test; NULL: nothing */
  void (*end)(void);
};

/* The main function; the list is called `tests`, the other members may follow. */
#define TEST_MAIN(...)                                                                    \
  int main(int argc, char **argv) {                                                       \
    const struct suite suite = {.tests = tests, .count = sizeof tests / sizeof *tests,    \
                                __VA_ARGS__};                                             \
    return test_main(argc, argv, &suite);                                                 \
  }

int test_main(int argc, char **argv, const struct suite *suite);
const char *test_endpoint(void);
/* Where temporary files go; removed with the etcd fixture. */
const char *test_directory(void);
bool on_etcd(void);
/* Command line `--name N`, else `otherwise`. */
int64_t test_number(const char *name, int64_t otherwise);
/* Rounds of a heavy loop: `light` where the environment asks for it (valgrind). */
int rounds(int normal, int light);
bool under_valgrind(void);

/* Whether memory is that of a program as users have it. */
bool memory_is_its_own(void);

/* ---- time ---- */

int64_t now_ms(void);
/* How long a condition may take on a noisy machine. */
int64_t patience_ms(void);
/* The pause between two looks at a condition. */
void poll_pause(void);

#define WAIT_UNTIL(cond) WAIT_FOR(patience_ms(), cond, #cond)
#define WAIT_WITHIN(ms, cond) WAIT_FOR(ms, cond, #cond)
#define WAIT_FOR(ms, cond, words)                                                         \
  do {                                                                                    \
    int64_t wait_end_ = now_ms() + (ms);                                                  \
    for (;;) {                                                                            \
      bool wait_late_ = now_ms() > wait_end_;                                             \
      if (cond) break;                                                                    \
      if (wait_late_) FAIL("not within %" PRId64 " ms: %s", (int64_t)(ms), words);        \
      poll_pause();                                                                       \
    }                                                                                     \
  } while (0)
/* The opposite: the condition must hold at every look for `ms`. */
#define HOLDS_FOR(ms, cond)                                                               \
  do {                                                                                    \
    int64_t hold_end_ = now_ms() + (ms);                                                  \
    do {                                                                                  \
      CHECK(cond);                                                                        \
      poll_pause();                                                                       \
    } while (now_ms() < hold_end_);                                                       \
  } while (0)

/* ---- threads ---- */

pthread_t start_thread(void *(*run)(void *), void *arg);
void *join_thread(pthread_t thread);
/* Threads of this process whose name begins with `prefix`. */
int count_threads(const char *prefix);
/* Descriptors that this process has open. */
int count_descriptors(void);
/* Waits until thread `tid` sleeps in the kernel and stays there. */
void wait_until_blocked(pid_t tid);
void wait_until_all_blocked(const pid_t *tids, size_t count);
pid_t thread_id(void);

/* Holds threads until it is opened. */
struct gate {
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  bool open;
};
#define GATE_CLOSED {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false}
void gate_open(struct gate *gate);
void gate_pass(struct gate *gate);

/* ---- stores and keys ---- */

/* A key that no other test uses; lives as long as the process. */
const char *unique(const char *name);
/* printf into memory that lives as long as the process. */
const char *text(const char *format, ...) __attribute__((format(printf, 1, 2)));
hmkv *open_at(const char *endpoint, const char *options);
hmkv *open_store(const char *options);
void close_store(hmkv *kv);
bool has_key(hmkv *kv, const char *key);
/* How many keys begin with `prefix`. */
size_t count_keys(hmkv *kv, const char *prefix);
hmkv_result *list_keys(hmkv *kv, const char *prefix);
/* The lease of a key; 0 for none. */
int64_t lease_of(hmkv *kv, const char *key);
/* Ends the lease of `key`, which `kv` holds, behind the library's back. */
void lose_lease(hmkv *kv, const char *key);
/* An endpoint that refuses connections for as long as the process lives. */
const char *dead_endpoint(void);

#endif
