/* Two stores that must give the same answers, `mem:` and an etcd of the test's own, and
 * what a random sequence of operations on both needs. Answers are compared as text, in
 * which revisions count from the start of the sequence and leases have numbers. */
#ifndef WORLDS_H
#define WORLDS_H

#include "test.h"

enum { MEM, ETCD, WORLDS };
enum { HANDLES = 2 };

struct world {
  const char *endpoint;
  hmkv *kv[HANDLES];
  hmkv *watching;
  int64_t base; /* the revision at the start */
};

extern struct world worlds[WORLDS];
extern int step;

/* Opens both and prints the seed; gives the number of steps. The command line may have
 * `--seed N --steps N`. `options` are those of the handles. */
int worlds_start(int steps, const char *options);
void worlds_stop(void);
/* Opens a handle in both worlds. */
void worlds_open(int handle);

unsigned draw(size_t below);
#define PICK(array) (array)[draw(sizeof(array) / sizeof *(array))]

/* The operation of this step in words, for a failure; the stream takes them anew. */
FILE *describing(void);
void describe(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- comparing: a difference ends the test ---- */

void same_number(const char *what, int64_t mem, int64_t etcd);
void same_status(hmkv_status mem, hmkv_status etcd);
void same_text(const char *what, const char *mem, const char *etcd);
/* Every part of two results, which are given back. */
void same_results(hmkv_result *result[WORLDS]);

struct shown {
  FILE *file;
  char *text; /* there after shown_end(); then the struct may be copied */
  size_t length;
};
void shown_begin(struct shown *shown);
/* Does nothing where it has ended. */
void shown_end(struct shown *shown);
/* Ends both, compares and frees them. */
void same_shown(struct shown shown[WORLDS]);

void show_bytes(FILE *file, const void *data, size_t length);
void show_kv(FILE *file, int world, const hmkv_kv *kv);
/* The result with its first `most` keys. */
void show_result(FILE *file, int world, const hmkv_result *result, size_t most);

/* ---- revisions: those above 0 count from the base; others stand for themselves ---- */

int64_t revision_in(int world, int64_t revision);
int64_t revision_from(int world, int64_t revision);

/* ---- leases: numbers from 1 on, in the order in which they were made ---- */

enum { LEASE_OTHER = -3, LEASE_NEVER = -2 };

int lease_count(void);
void lease_add(const int64_t id[WORLDS]);
/* Of LEASE_NEVER an id that no lease has. Numbers of no lease stand for themselves. */
int64_t lease_in(int world, int64_t number);
/* LEASE_OTHER for one that was not added. */
int64_t lease_from(int world, int64_t id);

#endif
