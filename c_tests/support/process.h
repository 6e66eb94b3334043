/* Other processes: programs, copies of this one, forks. */
#ifndef PROCESS_H
#define PROCESS_H

#include "test.h"

#include <sys/types.h>

struct process {
  pid_t pid;
  int in;  /* its standard input */
  int out; /* its standard output, and standard error if asked for */
};

enum { KEEP_STDERR = 0, JOIN_STDERR = 1 };

/* Starts a program found by PATH, with all signals unblocked; it is killed when
 * the calling thread ends. */
struct process process_start(const char *const argv[], int stderr_too);
/* Closes the pipes, waits and gives the wait status. */
int process_wait(struct process *process);
/* Reads output into `buffer` until `wanted` is in it, or to its end for NULL. */
void process_read(struct process *process, char *buffer, size_t size, const char *wanted);
/* Gives `input` to a program found by PATH; whether it ends with 0. What it prints goes to
 * `said`. */
bool process_accepts(const char *const argv[], const char *input, char *said, size_t size);
void process_kill(struct process *process, int signal);
/* Stops it; when this returns all its threads stand. SIGCONT lets them go on. */
void process_stop(struct process *process);

/* etcdctl, or the program that the environment names instead. Since 3.4 it speaks the
 * third API by itself; to be told so makes a newer one complain. */
const char *etcdctl_program(void);
/* Runs it against the endpoint of the test; the arguments end with NULL. It
 * must succeed. Its output lives as long as the process. */
const char *etcdctl(const char *first, ...) __attribute__((sentinel));
/* The same against another server. */
const char *etcdctl_at(const char *endpoint, const char *first, ...) __attribute__((sentinel));
/* Starts it against the endpoint of the test and lets it run. */
struct process etcdctl_start(const char *first, ...) __attribute__((sentinel));
/* Stores a value that may hold NUL bytes. */
void put_binary(const char *key, const void *value, size_t length);

/* Starts this program again as the child `name` of its list; the arguments end
 * with NULL. */
struct process start_child(int stderr_too, const char *endpoint, const char *name, ...)
    __attribute__((sentinel));

/* Runs `run` in a fork of this process and checks that it came to its end. */
void in_fork(void (*run)(void *), void *arg);
/* The same in two halves, for a parent that has work meanwhile. */
struct forked {
  pid_t pid;
  atomic_int *done;
};
struct forked fork_begin(void (*run)(void *), void *arg);
void fork_end(struct forked forked);

#endif
