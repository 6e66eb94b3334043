/* Processes that count under one lock: killed, stopped for three times the TTL, with
 * leaders killed and etcdctl in the queue. The guard lets no former holder count, and no
 * two claim the lock at one time. */
#include "lock.h"

#include "process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>

enum { AWAY_MS = 1000, HELD_MS = 200 }; /* a leader that was killed; the lock by etcdctl */

static struct cluster cluster;
static struct process processes[PROCESSES];
static struct lock_board *board;
static const char *board_file, *endpoints;

struct lock_board *lock_board_map(const char *path, bool create) {
  int fd = open(path, O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), 0600);
  CHECK(fd >= 0);
  if (create) CHECK_INT(0, ftruncate(fd, sizeof(struct lock_board)));
  void *mapped = mmap(NULL, sizeof(struct lock_board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(mapped != MAP_FAILED);
  close(fd);
  return mapped;
}

int lock_claim(struct lock_board *b, int process, int64_t token) {
  int claim = atomic_fetch_add(&b->claim_count, 1);
  CHECK(claim < CLAIMS_MAX);
  b->claims[claim].process = process;
  b->claims[claim].token = token;
  return claim;
}

void lock_claim_now(struct lock_board *b, int claim, int64_t at_us) {
  if (!b->claims[claim].begin_us) b->claims[claim].begin_us = at_us;
  b->claims[claim].last_us = at_us;
}

static void start_process(int i) {
  atomic_store(&board->holding[i], 0);
  processes[i] = start_child(KEEP_STDERR, endpoints, "lock", board_file, text("%d", i), NULL);
}

/* ---- faults ---- */

static int holder(void) {
  for (int i = 0; i < PROCESSES; i++)
    if (atomic_load(&board->holding[i])) return i;
  return -1;
}

/* A stopped process that holds the lock. */
static int stop_the_holder(void) {
  for (int64_t end = now_ms() + patience_ms();; poll_pause()) {
    if (now_ms() > end) FAIL("nobody holds the lock");
    int i = holder();
    if (i < 0) continue;
    process_stop(&processes[i]);
    if (atomic_load(&board->holding[i])) return i;
    process_kill(&processes[i], SIGCONT);
  }
}

static void pause_the_holder(void) {
  int i = stop_the_holder();
  bench_sleep(3 * LOCK_TTL_MS);
  atomic_fetch_add(&board->pauses[i], 1);
  process_kill(&processes[i], SIGCONT);
}

static void kill_the_holder(void) {
  int i = stop_the_holder();
  process_kill(&processes[i], SIGKILL);
  process_wait(&processes[i]);
  start_process(i);
}

static void kill_the_leader(void) {
  int leader = cluster_leader(&cluster);
  server_kill(&cluster.members[leader]);
  bench_sleep(AWAY_MS);
  server_restart(&cluster.members[leader]);
}

static void queue_etcdctl(void) {
  const char *const argv[] = {etcdctl_program(), "--endpoints", endpoints, "lock", LOCK_NAME,
                              NULL};
  char said[1024];
  struct process other = process_start(argv, KEEP_STDERR);
  process_read(&other, said, sizeof said, LOCK_NAME "/");
  int claim = lock_claim(board, PROCESSES, 0);
  lock_claim_now(board, claim, now_us());
  bench_sleep(HELD_MS);
  lock_claim_now(board, claim, now_us());
  process_kill(&other, SIGTERM);
  process_wait(&other);
}

/* ---- the verdict ---- */

static int by_begin(const void *left, const void *right) {
  const struct lock_claim *a = left, *b = right;
  return a->begin_us < b->begin_us ? -1 : a->begin_us > b->begin_us;
}

/* Claims that overlap with an earlier one, or whose token is not above those before. */
static void judge_claims(struct bench *bench) {
  int count = atomic_load(&board->claim_count), overlaps = 0, tokens = 0;
  int64_t last_us = 0, token = 0;
  qsort(board->claims, (size_t)count, sizeof *board->claims, by_begin);
  for (int i = 0; i < count; i++) {
    const struct lock_claim *claim = &board->claims[i];
    if (!claim->begin_us) continue; /* it was lost or killed before it was looked at */
    overlaps += claim->begin_us <= last_us;
    if (claim->last_us > last_us) last_us = claim->last_us;
    if (!claim->token) continue;
    tokens += claim->token <= token;
    token = claim->token;
  }
  bench_figure(bench, "%d claims, %d overlap", count, overlaps);
  bench_must(bench, count > 20, "too few claims");
  bench_must(bench, overlaps == 0, "two hold the lock at one time");
  bench_must(bench, tokens == 0, "tokens do not grow");
}

/* The counter went up by one each time, and as often as was acknowledged. */
static void judge_counter(struct bench *bench) {
  struct history history = {0};
  long acknowledged = atomic_load(&board->counted), unknown = atomic_load(&board->unknown);
  long lost = 0;
  history_read(&history, cluster.members[0].endpoint, "counter/");
  for (size_t i = 0; i < history.change_count; i++)
    lost += history.changes[i].value != (int64_t)i;
  long applied = (long)history.change_count - 1; /* the first change made it 0 */
  bench_figure(bench, "counted to %ld, %ld acknowledged, %ld unknown, %ld refused: %ld lost",
               applied, acknowledged, unknown, atomic_load(&board->refused), lost);
  bench_must(bench, lost == 0, "an update is lost");
  bench_must(bench, applied >= acknowledged && applied <= acknowledged + unknown,
             "acknowledged and applied differ");
  history_free(&history);
}

void lock_case(void) {
  static void (*const faults[])(void) = {pause_the_holder, kill_the_holder, kill_the_leader,
                                         queue_etcdctl};
  static const char *const names[] = {"pauses", "kills", "leader kills", "etcdctl"};
  struct bench bench;
  int done[4] = {0};
  cluster_start(&cluster);
  endpoints = cluster_endpoints(&cluster, 0);
  board_file = text("%s/board", cluster.members[0].directory);
  board = lock_board_map(board_file, true);
  hmkv *kv = open_at(endpoints, NULL);
  CHECK_OK(hmkv_store(kv, LOCK_COUNTER, "0"));
  bench_begin(&bench, 40);
  for (int i = 0; i < PROCESSES; i++) start_process(i);
  WAIT_UNTIL(atomic_load(&board->counted) > 0);
  int first = (int)bench_draw(&bench, 4);
  for (int i = 0; i < 4 || bench_goes_on(&bench); i++) {
    int which = i < 4 ? (first + i) % 4 : (int)bench_draw(&bench, 4);
    faults[which]();
    done[which]++;
    long before = atomic_load(&board->counted);
    WAIT_UNTIL(atomic_load(&board->counted) > before + 5); /* it goes on */
    bench_sleep(bench_draw(&bench, 1000));
  }
  atomic_store(&board->stop, true);
  for (int i = 0; i < PROCESSES; i++) CHECK_INT(0, process_wait(&processes[i]));
  bench_over(&bench);
  for (int i = 0; i < 4; i++) bench_figure(&bench, "%s %d", names[i], done[i]);
  judge_claims(&bench);
  judge_counter(&bench);
  bench_figure(&bench, "after pauses %d said lost, %d held", atomic_load(&board->said_lost),
               atomic_load(&board->said_held));
  bench_must(&bench, atomic_load(&board->said_held) == 0, "held after a pause");
  bench_must(&bench, atomic_load(&board->said_lost) >= done[0], "a loss is not told");
  close_store(kv);
  munmap(board, sizeof *board);
  cluster_stop(&cluster);
  bench_end(&bench);
}
