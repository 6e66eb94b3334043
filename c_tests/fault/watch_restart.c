/* Watches of every kind while their only server is killed and started again: each sees
 * every change once, in order, in whole revisions. */
#include "follow.h"

#include "changes.h"

enum { FOLLOWERS = 8, EVENTS_A_KILL = 1000 };

static struct server server;

void watch_restart(void) {
  struct bench bench;
  struct history history = {0};
  struct mistakes all = {0};
  static struct follower followers[FOLLOWERS];
  const struct follower kinds[FOLLOWERS] = {
      {.first = 5, .end = 6},
      {.first = 7, .end = 8, .pulls = true},
      {.first = 0, .end = 100},
      {.first = 50, .end = 1000, .queue_max = 16},
      {.first = 0, .end = WATCHED},
      {.first = 0, .end = WATCHED, .pulls = true},
      {.first = 0, .end = WATCHED, .slow = true},
      {.first = 0, .end = 100, .slow = true, .pulls = true, .queue_max = 1},
  };
  int kills = 0;
  server_start(&server, NULL);
  hmkv *kv = open_at(server.endpoint, NULL);
  bench_begin(&bench, 20);
  int64_t start = newest_revision(kv);
  for (int i = 0; i < FOLLOWERS; i++) {
    followers[i] = kinds[i];
    follower_start(&followers[i], kv);
  }
  static struct writers writers;
  writers = (struct writers){.endpoints = server.endpoint, .seed = bench.seed, .pause_ms = 2};
  writers_start(&writers);
  while (bench_goes_on(&bench)) {
    long before = atomic_load(&writers.events);
    WAIT_UNTIL(atomic_load(&writers.events) >= before + EVENTS_A_KILL);
    bench_sleep(bench_draw(&bench, 500));
    server_kill(&server);
    bench_sleep(bench_draw(&bench, 500));
    server_restart(&server);
    kills++;
  }
  long before = atomic_load(&writers.events);
  WAIT_UNTIL(atomic_load(&writers.events) >= before + EVENTS_A_KILL);
  writers_stop(&writers);
  bench_over(&bench);
  history_read(&history, server.endpoint, "w/");
  for (int i = 0; i < FOLLOWERS; i++) {
    struct mistakes m = follower_finish(&followers[i], &history, start, server.endpoint);
    if (m.missing + m.surplus + m.split + m.others)
      printf("\n  watcher %d: %ld missing, %ld surplus, %ld split, %ld others", i, m.missing,
             m.surplus, m.split, m.others);
    all.missing += m.missing, all.surplus += m.surplus, all.split += m.split;
    all.others += m.others, all.events += m.events, all.cuts += m.cuts;
  }
  bench_figure(&bench, "%d kills, %zu changes, %ld events to %d watchers, %ld cuts seen", kills,
               history.change_count, all.events, FOLLOWERS, all.cuts);
  bench_figure(&bench, "%ld lost, %ld doubled or out of order, %ld split", all.missing,
               all.surplus, all.split);
  bench_must(&bench, all.missing == 0, "events are lost");
  bench_must(&bench, all.surplus == 0, "events are doubled or out of order");
  bench_must(&bench, all.split == 0, "a revision is split");
  bench_must(&bench, all.others == 0, "a watch was resynced or ended");
  bench_must(&bench, all.cuts >= kills, "no watch was cut");
  history_free(&history);
  close_store(kv);
  server_stop(&server);
  bench_end(&bench);
}
