/*
 * count_syscalls CALLS PROGRAM [ARGUMENT...]: runs a program and counts what all its
 * threads ask of the kernel between its first getppid() and its second. Prints
 * "syscalls N", N for each of CALLS, and the same by thread name and by call.
 *
 * By ptrace, which needs no privilege for one's own child and misses nothing.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NUMBERS = 512, NAMES = 64, THREADS = 256 };

#define NAMED(call) {SYS_##call, #call}
static const struct { long number; const char *name; } known[] = {
    NAMED(read), NAMED(write), NAMED(readv), NAMED(writev), NAMED(sendto), NAMED(recvfrom),
    NAMED(sendmsg), NAMED(recvmsg), NAMED(futex), NAMED(epoll_ctl), NAMED(epoll_pwait),
    NAMED(ppoll), NAMED(sched_yield), NAMED(brk), NAMED(mmap), NAMED(munmap), NAMED(madvise),
    NAMED(mprotect), NAMED(clock_nanosleep),
#ifdef SYS_poll
    NAMED(poll), NAMED(epoll_wait),
#endif
};

/* Threads of one name are counted together. */
static struct { char name[32]; unsigned long total, by_number[NUMBERS]; } names[NAMES];
static struct { pid_t tid; int name; } threads[THREADS];
static int name_count, thread_count;

static _Noreturn void fail(const char *format, ...) {
  va_list list;
  va_start(list, format);
  fputs("count_syscalls: ", stderr);
  vfprintf(stderr, format, list);
  fputc('\n', stderr);
  va_end(list);
  exit(2);
}

static _Noreturn void become(char **argv) {
  if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
    fail("ptrace is refused (%s), system calls cannot be counted; in a container, allow it",
         strerror(errno));
  raise(SIGSTOP);
  execv(argv[0], argv);
  fail("%s: %s", argv[0], strerror(errno));
}

/* Asked at the first call that is counted: by then a thread has its name. */
static int name_of(pid_t pid, pid_t tid) {
  for (int i = 0; i < thread_count; i++)
    if (threads[i].tid == tid) return threads[i].name;
  char path[64], name[sizeof names[0].name] = "?";
  snprintf(path, sizeof path, "/proc/%d/task/%d/comm", (int)pid, (int)tid);
  FILE *file = fopen(path, "r");
  if (file && fgets(name, sizeof name, file)) name[strcspn(name, "\n")] = '\0';
  if (file) fclose(file);
  int at = 0;
  while (at < name_count && strcmp(names[at].name, name) != 0) at++;
  if (at == NAMES || thread_count == THREADS) fail("too many threads");
  if (at == name_count) strcpy(names[name_count++].name, name);
  threads[thread_count].tid = tid;
  threads[thread_count++].name = at;
  return at;
}

static void report(double calls) {
  unsigned long total = 0;
  for (int i = 0; i < name_count; i++) total += names[i].total;
  printf("syscalls %.3f\n", (double)total / calls);
  for (int i = 0; i < name_count; i++) {
    printf("  %7.3f %s:", (double)names[i].total / calls, names[i].name);
    for (int number = 0; number < NUMBERS; number++) {
      double each = (double)names[i].by_number[number] / calls;
      if (each < 0.0005) continue;
      const char *name = NULL;
      for (size_t k = 0; k < sizeof known / sizeof *known; k++)
        if (known[k].number == number) name = known[k].name;
      if (name) printf(" %s %.3f", name, each);
      else printf(" [%d] %.3f", number, each);
    }
    putchar('\n');
  }
}

int main(int argc, char **argv) {
  double calls = argc > 2 ? strtod(argv[1], NULL) : 0;
  if (calls < 1) fail("usage: count_syscalls CALLS PROGRAM [ARGUMENT...]");
  pid_t pid = fork();
  if (pid < 0) fail("fork: %s", strerror(errno));
  if (pid == 0) become(argv + 2);

  int status, marks = 0;
  if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status)) return 2; /* it said why */
  long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE |
                 PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
  if (ptrace(PTRACE_SETOPTIONS, pid, NULL, options) != 0) fail("options: %s", strerror(errno));
  ptrace(PTRACE_SYSCALL, pid, NULL, NULL);
  for (pid_t tid; (tid = waitpid(-1, &status, __WALL)) > 0;) {
    if (tid == pid && WIFSIGNALED(status)) fail("signal %d ended it", WTERMSIG(status));
    if (tid == pid && WIFEXITED(status) && WEXITSTATUS(status)) return WEXITSTATUS(status);
    if (!WIFSTOPPED(status)) continue;
    int stop = WSTOPSIG(status);
    long signal = 0;
    struct __ptrace_syscall_info info;
    if (stop == (SIGTRAP | 0x80)) {
      if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof info, &info) < 0) {
        if (errno != ESRCH) fail("PTRACE_GET_SYSCALL_INFO: %s", strerror(errno));
      } else if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
        if (info.entry.nr == SYS_getppid) {
          marks++;
        } else if (marks == 1) {
          int at = name_of(pid, tid);
          names[at].total++;
          if (info.entry.nr < NUMBERS) names[at].by_number[info.entry.nr]++;
        }
      }
    } else if (stop != SIGSTOP && status >> 16 == 0) {
      signal = stop; /* SIGSTOP is how a new thread begins */
    }
    ptrace(PTRACE_SYSCALL, tid, NULL, signal);
  }
  if (marks != 2) fail("%d marks were seen, not 2", marks);
  report(calls);
  return 0;
}
