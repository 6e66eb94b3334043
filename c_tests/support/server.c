#include "server.h"

#include "process.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

enum { SERVERS_MAX = 8 };
static struct server *servers[SERVERS_MAX];
static pid_t owner;

/* Below the ports that the kernel gives to clients: one of those could sit on the
 * port of a server that is away for a moment. */
int free_port(void) {
  static unsigned seed;
  if (!seed) seed = (unsigned)getpid() * 2654435761U ^ (unsigned)time(NULL);
  for (int attempt = 0; attempt < 1000; attempt++) {
    int port = 20000 + rand_r(&seed) % 12000;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int error = bind(fd, (struct sockaddr *)&address, sizeof address);
    close(fd);
    if (error == 0) return port;
  }
  FAIL("no free port");
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *ftw) {
  (void)info, (void)type, (void)ftw;
  return remove(path);
}

static void end(struct server *server) {
  if (server->pid > 0) {
    kill(server->pid, SIGKILL);
    waitpid(server->pid, NULL, 0);
    server->pid = 0;
  }
}

void server_wipe(struct server *server) {
  end(server);
  nftw(text("%s/data", server->directory), remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void forget(struct server *server) {
  end(server);
  nftw(server->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
  for (int i = 0; i < SERVERS_MAX; i++)
    if (servers[i] == server) servers[i] = NULL;
}

static void end_all(void) {
  if (getpid() != owner) return; /* a fork that failed */
  for (int i = 0; i < SERVERS_MAX; i++)
    if (servers[i]) forget(servers[i]);
}

const char *server_peer_url(const struct server *server) {
  return text("http://127.0.0.1:%d", server->peer_port);
}

void server_launch(struct server *server) {
  const char *program = getenv("ETCD");
  const char *peer = server_peer_url(server);
  const char *cluster = server->cluster ? server->cluster : text("%s=%s", server->name, peer);
  const char *also = server->also_listens;
  const char *listens = also ? text("%s,%s", server->endpoint, also) : server->endpoint;
  const char *argv[24] = {program && *program ? program : "etcd", "--name", server->name,
                          "--data-dir", text("%s/data", server->directory),
                          "--listen-client-urls", listens,
                          "--advertise-client-urls", server->endpoint,
                          "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                          "--initial-cluster", cluster, "--log-level", "error"};
  int count = 17;
  if (!server->fsync) argv[count++] = "--unsafe-no-fsync";
  if (server->option) argv[count++] = server->option;
  if (server->certificates) {
    argv[count++] = text("--cert-file=%s/server.pem", server->certificates);
    argv[count++] = text("--key-file=%s/server.key", server->certificates);
    argv[count++] = text("--trusted-ca-file=%s/ca.pem", server->certificates);
    argv[count++] = "--client-cert-auth";
  }
  const char *log = text("%s/log", server->directory);
  server->pid = fork();
  CHECK(server->pid >= 0);
  if (server->pid > 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  int fd = open(log, O_CREAT | O_TRUNC | O_RDWR, 0600);
  int nothing = open("/dev/null", O_RDONLY);
  dup2(nothing, 0);
  dup2(fd, 1);
  dup2(fd, 2);
  execvp(argv[0], (char *const *)(uintptr_t)argv);
  dprintf(2, "%s: %s\n", argv[0], strerror(errno));
  _exit(127);
}

static bool log_has(struct server *server, const char *wanted) {
  char log[8192] = "";
  FILE *file = fopen(text("%s/log", server->directory), "r");
  if (!file) return false;
  log[fread(log, 1, sizeof log - 1, file)] = '\0';
  fclose(file);
  return strstr(log, wanted) != NULL;
}

bool server_answers(struct server *server) {
  const char *const argv[] = {"sh", "-c", "\"$0\" --endpoints=\"$1\" "
                              "--command-timeout=1s ${2:+--cacert=$2/ca.pem "
                              "--cert=$2/client.pem --key=$2/client.key} "
                              "endpoint health >/dev/null 2>&1",
                              etcdctl_program(), server->endpoint,
                              server->certificates ? server->certificates : "", NULL};
  struct process probe = process_start(argv, JOIN_STDERR);
  return process_wait(&probe) == 0;
}

bool server_comes_up(struct server *server) {
  int64_t deadline = now_ms() + patience_ms();
  for (;; poll_pause()) {
    if (waitpid(server->pid, NULL, WNOHANG) == server->pid) {
      server->pid = 0;
      return false;
    }
    if (server_answers(server)) return true;
    if (now_ms() > deadline) FAIL("etcd at %s does not get healthy", server->endpoint);
  }
}

void server_choose_ports(struct server *server, bool client, bool peer) {
  if (peer) server->peer_port = free_port();
  if (client) server->client_port = free_port();
  snprintf(server->endpoint, sizeof server->endpoint, "%s://127.0.0.1:%d",
           server->certificates ? "https" : "http", server->client_port);
}

void server_must_be_worth_another_attempt(struct server *server) {
  if (log_has(server, "unsafe-no-fsync")) {
    server->fsync = true; /* a version that does not know the option */
  } else if (!log_has(server, "address already in use")) {
    FAIL("etcd does not start, its log is %s/log", server->directory);
  }
}

static void run(struct server *server, bool new_client_port, bool new_peer_port) {
  for (int attempt = 0; attempt < 20; attempt++) {
    server_choose_ports(server, new_client_port, new_peer_port);
    server_launch(server);
    if (server_comes_up(server)) return;
    server_must_be_worth_another_attempt(server);
    if (!new_client_port) poll_pause();
  }
  FAIL("etcd does not start, its log is %s/log", server->directory);
}

void server_prepare(struct server *server, const char *name) {
  memset(server, 0, sizeof *server);
  server->name = name;
  snprintf(server->directory, sizeof server->directory, "%s/own-XXXXXX", test_directory());
  if (!mkdtemp(server->directory)) FAIL("%s: %s", server->directory, strerror(errno));
  owner = getpid();
  int slot = 0;
  while (slot < SERVERS_MAX && servers[slot]) slot++;
  CHECK(slot < SERVERS_MAX);
  servers[slot] = server;
  test_on_failure(end_all);
}

void server_begin(struct server *server) { run(server, true, true); }

void server_start(struct server *server, const char *option) {
  server_prepare(server, "own");
  server->option = option;
  server_begin(server);
}

void server_certify(struct server *server) {
  const char *const argv[] = {"sh", TEST_CERTIFICATES, server->directory, NULL};
  struct process made = process_start(argv, JOIN_STDERR);
  char output[8192];
  process_read(&made, output, sizeof output, NULL);
  if (process_wait(&made) != 0) FAIL("no certificates: %s", output);
  server->certificates = server->directory;
}

void server_start_tls(struct server *server) {
  server_prepare(server, "own");
  server_certify(server);
  server_begin(server);
}

void server_kill(struct server *server) { end(server); }

void server_restart(struct server *server) { run(server, false, false); }

void server_restart_elsewhere(struct server *server) {
  int port = server->client_port;
  run(server, true, false);
  server->client_port = port; /* where server_restart() goes back to */
}

void server_pause(struct server *server) {
  int status = 0;
  CHECK_INT(0, kill(server->pid, SIGSTOP));
  CHECK_INT(server->pid, waitpid(server->pid, &status, WUNTRACED)); /* all its threads stand */
  CHECK(WIFSTOPPED(status));
}

void server_resume(struct server *server) { CHECK_INT(0, kill(server->pid, SIGCONT)); }

void server_wait(struct server *server) { CHECK(server_comes_up(server)); }

void server_stop(struct server *server) { forget(server); }

long server_metric(struct server *server, const char *name) {
  static char answer[1024 * 1024];
  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)server->client_port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(fd >= 0);
  CHECK_INT(0, connect(fd, (struct sockaddr *)&address, sizeof address));
  static const char request[] = "GET /metrics HTTP/1.0\r\n\r\n";
  CHECK_INT(sizeof request - 1, write(fd, request, sizeof request - 1));
  size_t length = 0;
  for (ssize_t got; (got = read(fd, answer + length, sizeof answer - 1 - length)) > 0;)
    length += (size_t)got;
  close(fd);
  answer[length] = '\0';
  const char *line = strstr(answer, text("\n%s ", name));
  if (!line) FAIL("the server does not tell %s", name);
  return (long)strtod(line + strlen(name) + 2, NULL);
}
