/* Everything at once for long, with members restarted: the process has in the end what it
 * had after a while, and nothing of what it was told is wrong. */
#include "bench.h"

#include "follow.h"
#include "process.h"

#include <dirent.h>

enum { SAMPLES_MAX = 200000, SAMPLE_MS = 250, GROWTH_KIB = 1024 };
/* A member more or fewer may be connected to, a callback be slow for a moment. */
enum { MORE_THREADS = 2, MORE_DESCRIPTORS = 2 * MEMBERS };
enum { RESTART_MS = 5 * 60 * 1000, WARM_MS = 10 * 60 * 1000 }; /* of the long form, at most */

static struct cluster cluster;

/* ---- what the process has ---- */

struct sample {
  int64_t at_ms;
  long kib, threads, descriptors;
};

static struct sampler {
  int pid;
  struct bench *bench;
  atomic_bool stop;
  pthread_t thread;
  struct sample samples[SAMPLES_MAX];
  int count;
} sampler;

static long count_entries(const char *directory) {
  long count = -2; /* "." and ".." */
  DIR *entries = opendir(directory);
  CHECK(entries);
  while (readdir(entries)) count++;
  closedir(entries);
  return count;
}

static struct sample take_sample(int pid) {
  struct sample sample = {0};
  char path[64], line[256];
  snprintf(path, sizeof path, "/proc/%d/fd", pid);
  sample.descriptors = count_entries(path);
  snprintf(path, sizeof path, "/proc/%d/status", pid);
  FILE *status = fopen(path, "r");
  CHECK(status);
  while (fgets(line, sizeof line, status)) {
    sscanf(line, "RssAnon: %ld", &sample.kib);
    sscanf(line, "Threads: %ld", &sample.threads);
  }
  fclose(status);
  return sample;
}

static void *take_samples(void *unused) {
  (void)unused;
  while (!atomic_load(&sampler.stop)) {
    CHECK(sampler.count < SAMPLES_MAX);
    struct sample *sample = &sampler.samples[sampler.count++];
    *sample = take_sample(sampler.pid);
    sample->at_ms = bench_ms(sampler.bench);
    bench_sleep(SAMPLE_MS);
  }
  return NULL;
}

/* The least of a span of time: what comes and goes is not in it, what stays is. */
static struct sample least(int64_t from_ms, int64_t to_ms) {
  struct sample least = {to_ms, 1L << 40, 1L << 40, 1L << 40};
  for (int i = 0; i < sampler.count; i++) {
    const struct sample *s = &sampler.samples[i];
    if (s->at_ms < from_ms || s->at_ms >= to_ms) continue;
    if (s->kib < least.kib) least.kib = s->kib;
    if (s->threads < least.threads) least.threads = s->threads;
    if (s->descriptors < least.descriptors) least.descriptors = s->descriptors;
  }
  return least;
}

static void judge_samples(struct bench *bench, int64_t warm_ms, int64_t end_ms) {
  int64_t middle_ms = (warm_ms + end_ms) / 2;
  struct sample before = least(warm_ms, middle_ms), after = least(middle_ms, end_ms);
  bench_figure(bench, "after %" PRId64 " s: %ld KiB, %ld threads, %ld descriptors", warm_ms / 1000,
               before.kib, before.threads, before.descriptors);
  bench_figure(bench, "in the second half: %+ld KiB, %+ld, %+ld", after.kib - before.kib,
               after.threads - before.threads, after.descriptors - before.descriptors);
  bench_must(bench, after.kib - before.kib < GROWTH_KIB, "the memory grows");
  bench_must(bench, after.threads <= before.threads + MORE_THREADS, "there are more and more threads");
  bench_must(bench, after.descriptors <= before.descriptors + MORE_DESCRIPTORS,
             "there are more and more descriptors");
}

/* ---- what it was told, against what there was ---- */

static void judge_calls(struct bench *bench, const char *calls_file, const char *seen_file) {
  struct history history = {0};
  struct follower follower = {.first = 0, .end = KEYS};
  struct op op;
  struct seen seen;
  FILE *calls = fopen(calls_file, "r"), *events = fopen(seen_file, "r");
  CHECK(calls && events);
  while (fread(&op, sizeof op, 1, calls) == 1) history_add_op(&history, op);
  while (fread(&seen, sizeof seen, 1, events) == 1) follower_keep(&follower, seen);
  fclose(calls);
  fclose(events);
  history_read(&history, cluster.members[0].endpoint, "k/");
  struct mistakes m = follower_compare(&follower, &history, 0);
  bench_figure(bench, "%ld events: %ld lost, %ld doubled or out of order, %ld split", m.events,
               m.missing, m.surplus, m.split);
  bench_must(bench, m.missing + m.surplus + m.split == 0, "a watch told something wrong");
  free(follower.list);
  bench_check_read(bench, &history);
}

/* Six in a short form, each member twice. */
static int restart_members(struct bench *bench) {
  int restarts = 0;
  int64_t every = bench->secs * 1000 / 6;
  if (every > RESTART_MS) every = RESTART_MS;
  for (int i = (int)bench_draw(bench, MEMBERS); bench_goes_on(bench); i++, restarts++) {
    int64_t next = bench_ms(bench) + every;
    server_kill(&cluster.members[i % MEMBERS]);
    bench_sleep(bench_draw(bench, 1000));
    server_restart(&cluster.members[i % MEMBERS]);
    bench_sleep(next - bench_ms(bench));
  }
  return restarts;
}

void soak(void) {
  struct bench bench;
  char said[256];
  cluster_start(&cluster);
  const char *calls_file = text("%s/calls", cluster.members[0].directory);
  const char *seen_file = text("%s/seen", cluster.members[0].directory);
  bench_begin(&bench, 24);
  struct process child = start_child(KEEP_STDERR, cluster_endpoints(&cluster, 0), "soak",
                                     calls_file, seen_file, text("%u", bench.seed), NULL);
  process_read(&child, said, sizeof said, "ready");
  sampler.pid = child.pid;
  sampler.bench = &bench;
  sampler.thread = start_thread(take_samples, NULL);
  int restarts = restart_members(&bench);
  int64_t end_ms = bench_ms(&bench);
  atomic_store(&sampler.stop, true);
  join_thread(sampler.thread);
  cluster_wait(&cluster);
  CHECK_INT(4, write(child.in, "end\n", 4));
  process_read(&child, said, sizeof said, NULL);
  CHECK_INT(0, process_wait(&child));
  bench_over(&bench);
  bench_figure(&bench, "%d restarts, %s", restarts, said);
  judge_samples(&bench, end_ms / 3 < WARM_MS ? end_ms / 3 : WARM_MS, end_ms);
  judge_calls(&bench, calls_file, seen_file);
  cluster_stop(&cluster);
  bench_end(&bench);
}
