#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { ARGS_MAX = 32 };

struct process process_start(const char *const argv[], int stderr_too) {
  int in[2], out[2];
  CHECK_INT(0, pipe2(in, O_CLOEXEC));
  CHECK_INT(0, pipe2(out, O_CLOEXEC));
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* kept through exec */
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    dup2(in[0], STDIN_FILENO);
    dup2(out[1], STDOUT_FILENO);
    if (stderr_too) dup2(out[1], STDERR_FILENO);
    execvp(argv[0], (char *const *)(uintptr_t)argv);
    dprintf(STDERR_FILENO, "%s: %s\n", argv[0], strerror(errno));
    _exit(127);
  }
  close(in[0]);
  close(out[1]);
  return (struct process){pid, in[1], out[0]};
}

static int wait_for(pid_t pid) {
  int status = 0;
  pid_t ended = 0;
  WAIT_UNTIL((ended = waitpid(pid, &status, WNOHANG)) != 0);
  CHECK_INT(pid, ended);
  return status;
}

int process_wait(struct process *process) {
  if (process->in >= 0) close(process->in);
  if (process->out >= 0) close(process->out);
  process->in = process->out = -1;
  return wait_for(process->pid);
}

void process_read(struct process *process, char *buffer, size_t size, const char *wanted) {
  size_t length = 0;
  int64_t end = now_ms() + patience_ms();
  fcntl(process->out, F_SETFL, O_NONBLOCK);
  buffer[0] = '\0';
  for (;;) {
    if (wanted && strstr(buffer, wanted)) return;
    ssize_t got = read(process->out, buffer + length, size - 1 - length);
    if (got > 0) {
      length += (size_t)got;
      buffer[length] = '\0';
      CHECK(length + 1 < size);
    } else if (got == 0) {
      if (wanted) FAIL("a process ended without saying \"%s\": \"%s\"", wanted, buffer);
      return;
    } else {
      CHECK(errno == EAGAIN || errno == EINTR);
      if (now_ms() > end) FAIL("a process says no more than \"%s\"", buffer);
      poll_pause();
    }
  }
}

bool process_accepts(const char *const argv[], const char *input, char *said, size_t size) {
  struct process process = process_start(argv, JOIN_STDERR);
  size_t length = strlen(input);
  CHECK_INT(length, write(process.in, input, length));
  close(process.in);
  process.in = -1;
  process_read(&process, said, size, NULL);
  int status = process_wait(&process);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void process_kill(struct process *process, int signal) {
  CHECK_INT(0, kill(process->pid, signal));
}

void process_stop(struct process *process) {
  int status = 0;
  process_kill(process, SIGSTOP);
  CHECK_INT(process->pid, waitpid(process->pid, &status, WUNTRACED));
  CHECK(WIFSTOPPED(status));
}

/* ---- etcdctl ---- */

const char *etcdctl_program(void) {
  const char *program = getenv("ETCDCTL");
  return program && *program ? program : "etcdctl";
}

static struct process start_etcdctl(const char *where, const char *first, va_list rest) {
  /* A machine under load may need more than its defaults. */
  const char *argv[ARGS_MAX] = {etcdctl_program(), "--command-timeout=30s", "--dial-timeout=30s",
                                "--endpoints", where};
  int count = 5;
  for (const char *arg = first; arg; arg = va_arg(rest, const char *)) {
    CHECK(count < ARGS_MAX - 1);
    argv[count++] = arg;
  }
  return process_start(argv, KEEP_STDERR);
}

static const char *run_etcdctl(const char *where, const void *input, size_t length,
                               const char *first, va_list rest) {
  struct process process = start_etcdctl(where, first, rest);
  if (input) CHECK_INT(length, write(process.in, input, length));
  close(process.in);
  process.in = -1;
  static char output[65536]; /* only the main thread runs etcdctl */
  process_read(&process, output, sizeof output, NULL);
  const char *kept = text("%s", output);
  int status = process_wait(&process);
  if (status != 0) FAIL("etcdctl %s failed: %s", first, kept);
  return kept;
}

const char *etcdctl(const char *first, ...) {
  va_list rest;
  va_start(rest, first);
  const char *output = run_etcdctl(test_endpoint(), NULL, 0, first, rest);
  va_end(rest);
  return output;
}

const char *etcdctl_at(const char *endpoint, const char *first, ...) {
  va_list rest;
  va_start(rest, first);
  const char *output = run_etcdctl(endpoint, NULL, 0, first, rest);
  va_end(rest);
  return output;
}

struct process etcdctl_start(const char *first, ...) {
  va_list rest;
  va_start(rest, first);
  struct process process = start_etcdctl(test_endpoint(), first, rest);
  va_end(rest);
  return process;
}

static void put_input(const void *value, size_t length, const char *first, ...) {
  va_list rest;
  va_start(rest, first);
  run_etcdctl(test_endpoint(), value, length, first, rest);
  va_end(rest);
}

void put_binary(const char *key, const void *value, size_t length) {
  put_input(value, length, "put", key, NULL);
}

/* ---- this program again ---- */

struct process start_child(int stderr_too, const char *endpoint, const char *name, ...) {
  static char self[4096]; /* by its name: under valgrind /proc/self/exe is another file */
  if (!self[0]) {
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    CHECK(length > 0);
    self[length] = '\0';
  }
  const char *argv[ARGS_MAX] = {self, endpoint, "--child", name};
  int count = 4;
  va_list rest;
  va_start(rest, name);
  for (const char *arg; (arg = va_arg(rest, const char *));) {
    CHECK(count < ARGS_MAX - 1);
    argv[count++] = arg;
  }
  va_end(rest);
  return process_start(argv, stderr_too);
}

/* ---- forks ---- */

struct forked fork_begin(void (*run)(void *), void *arg) {
  atomic_int *done = mmap(NULL, sizeof *done, PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(done != MAP_FAILED);
  fflush(NULL);
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    run(arg);
    atomic_store(done, 1);
    /* No leak check of a copy that lacks the other threads' stacks. */
    raise(SIGKILL);
  }
  return (struct forked){pid, done};
}

void fork_end(struct forked forked) {
  int status = wait_for(forked.pid);
  if (!atomic_load(forked.done)) FAIL("the fork failed: wait status %#x", (unsigned)status);
  munmap(forked.done, sizeof *forked.done);
}

void in_fork(void (*run)(void *), void *arg) { fork_end(fork_begin(run, arg)); }
