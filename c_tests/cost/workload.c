/* The calls that check.sh counts: `--calls N` of one kind, from one thread, on a
 * store that has settled. What lies between the two marks is counted. */
#include "test.h"

#include <sys/resource.h>

enum { WARM_UP = 200 };
#define VALUE "a value of 32 bytes, as they are"

static hmkv *kv;
static const char *key;
static long switches;

static long switches_so_far(void) {
  struct rusage usage;
  CHECK_INT(0, getrusage(RUSAGE_SELF, &usage));
  return usage.ru_nvcsw;
}

/* The marks: callgrind knows them by name, count_syscalls by the call of getppid(),
 * which nothing else makes. */
__attribute__((noinline)) void cost_begin(void) {
  switches = switches_so_far();
  (void)getppid();
}

__attribute__((noinline)) void cost_end(void) {
  (void)getppid();
  switches = switches_so_far() - switches;
}

static void get_once(void) {
  char *value = NULL;
  CHECK_OK(hmkv_get(kv, key, &value));
  hmkv_free(value);
}

static void put_once(void) { CHECK_OK(hmkv_store(kv, key, VALUE)); }

/* Each succeeds: the value goes to and fro. */
static void tas_once(void) {
  static const char *const values[] = {VALUE, "another one, just as long as it "};
  static int now;
  CHECK_OK(hmkv_tas(kv, key, values[now], values[!now]));
  now = !now;
}

static void count(void (*once)(void)) {
  int64_t calls = test_number("--calls", 1000);
  key = unique("cost");
  kv = open_store(NULL);
  put_once();
  for (int i = 0; i < WARM_UP; i++) once();
  cost_begin();
  for (int64_t i = 0; i < calls; i++) once();
  cost_end();
  CHECK_OK(hmkv_delete(kv, key));
  close_store(kv);
  printf("\nswitches %.3f\n", (double)switches / (double)calls);
}

static void get(void) { count(get_once); }
static void put(void) { count(put_once); }
static void tas(void) { count(tas_once); }

static const struct test tests[] = {BOTH(get), BOTH(put), BOTH(tas)};

TEST_MAIN()
