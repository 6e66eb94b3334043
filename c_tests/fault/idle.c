/* A store that is there and of which nothing is asked: its connections stay, and the
 * process needs hardly more than the same process without a store. */
#include "bench.h"

#include "leases.h"
#include "process.h"
#include "recorder.h"
#include "server.h"

#include <dirent.h>
#include <signal.h>
#include <time.h>

enum { SOCKETS_MAX = 64, WAKES_A_SECOND = 20 };
static const double CPU_PERCENT = 0.2;
static struct server server;

/* ---- the processes: with a store, and without one ---- */

static void read_a_line(void) {
  char line[64];
  CHECK(fgets(line, sizeof line, stdin));
}

static void with_a_store(void) {
  struct recorder recorder = RECORDER;
  struct told told = {0};
  hmkv_watcher *watcher = NULL;
  hmkv *kv = open_store(NULL);
  CHECK_OK(hmkv_watch_open(kv, "idle/", HMKV_NTS, HMKV_WATCH_OPTS(.prefix = 1), recorder_event,
                           &recorder, &watcher));
  hmkv_lease *lease = lease_new(kv, 10000, &told);
  lease_put(kv, lease, "leased", HMKV_OK);
  CHECK_OK(hmkv_store(kv, "idle/key", "1"));
  recorder_wait(&recorder, 1);
  printf("ready\n");
  fflush(stdout);
  read_a_line();
  CHECK_OK(hmkv_store(kv, "idle/key", "2"));
  recorder_wait(&recorder, 2);
  CHECK_INT(0, recorder_states(&recorder)); /* no cut */
  CHECK(told_nothing(&told) && hmkv_lease_left_ms(lease) > 0);
  close_store(kv);
  recorder_free(&recorder);
}

void idle_child(int argc, char **argv) {
  CHECK_INT(1, argc);
  if (strcmp(argv[0], "with") == 0) {
    with_a_store();
  } else {
    printf("ready\n");
    fflush(stdout);
    read_a_line();
  }
}

static struct process start(const char *how) {
  char said[256];
  struct process child = start_child(KEEP_STDERR, server.endpoint, "idle", how, NULL);
  process_read(&child, said, sizeof said, "ready");
  return child;
}

static void end(struct process *child) {
  CHECK_INT(4, write(child->in, "end\n", 4));
  CHECK_INT(0, process_wait(child));
}

/* ---- what another process needs and has ---- */

static int64_t cpu_us(const struct process *child) {
  clockid_t clock;
  struct timespec used;
  CHECK_INT(0, clock_getcpuclockid(child->pid, &clock));
  CHECK_INT(0, clock_gettime(clock, &used));
  return (int64_t)used.tv_sec * 1000000 + used.tv_nsec / 1000;
}

static long wakes_of(const char *status_file) {
  char line[256];
  long wakes = 0;
  FILE *status = fopen(status_file, "r");
  if (!status) return 0; /* the thread ended */
  while (fgets(line, sizeof line, status)) sscanf(line, "voluntary_ctxt_switches: %ld", &wakes);
  fclose(status);
  return wakes;
}

static long wakes(const struct process *child) {
  long sum = 0;
  DIR *tasks = opendir(text("/proc/%d/task", child->pid));
  CHECK(tasks);
  for (struct dirent *task; (task = readdir(tasks));)
    if (task->d_name[0] != '.')
      sum += wakes_of(text("/proc/%d/task/%s/status", child->pid, task->d_name));
  closedir(tasks);
  return sum;
}

/* A connection that is made anew is another socket. */
struct sockets {
  int count;
  unsigned long long numbers[SOCKETS_MAX];
};

static struct sockets sockets(const struct process *child) {
  struct sockets all = {0};
  DIR *descriptors = opendir(text("/proc/%d/fd", child->pid));
  CHECK(descriptors);
  for (struct dirent *entry; (entry = readdir(descriptors));) {
    char link[128] = "";
    const char *path = text("/proc/%d/fd/%s", child->pid, entry->d_name);
    if (readlink(path, link, sizeof link - 1) < 0) continue;
    CHECK(all.count < SOCKETS_MAX);
    all.count += sscanf(link, "socket:[%llu]", &all.numbers[all.count]) == 1;
  }
  closedir(descriptors);
  return all;
}

static int new_sockets(const struct sockets *before, const struct sockets *after) {
  int fresh = 0;
  for (int i = 0; i < after->count; i++) {
    bool known = false;
    for (int j = 0; j < before->count; j++) known |= before->numbers[j] == after->numbers[i];
    fresh += !known;
  }
  return fresh;
}

void idle(void) {
  struct bench bench;
  server_start(&server, NULL);
  struct process with = start("with"), without = start("without");
  bench_begin(&bench, 20);
  struct sockets before = sockets(&with);
  int64_t begin_us = now_us(), cpu[2] = {cpu_us(&with), cpu_us(&without)};
  long woken = wakes(&with);
  int fresh = 0;
  while (bench_goes_on(&bench)) {
    bench_sleep(1000);
    struct sockets now = sockets(&with);
    int found = new_sockets(&before, &now);
    if (found > fresh) fresh = found;
  }
  double passed = (double)(now_us() - begin_us);
  double used = 100 * (double)(cpu_us(&with) - cpu[0]) / passed;
  double usual = 100 * (double)(cpu_us(&without) - cpu[1]) / passed;
  double rate = 1e6 * (double)(wakes(&with) - woken) / passed;
  bench_over(&bench);
  end(&with);
  end(&without);
  bench_figure(&bench, "%d connections, %d of them anew", before.count, fresh);
  bench_figure(&bench, "%.3f %% of a CPU, %.3f %% without a store, %.1f wakes a second", used,
               usual, rate);
  bench_must(&bench, fresh == 0, "a connection was made anew");
  bench_must(&bench, used - usual < CPU_PERCENT, "it takes too much of the CPU");
  bench_must(&bench, rate < WAKES_A_SECOND, "it wakes too often");
  server_stop(&server);
  bench_end(&bench);
}
