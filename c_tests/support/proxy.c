#include "proxy.h"

#include "server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

static struct sockaddr_in local(int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

static int new_socket(void) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
  CHECK(fd >= 0);
  CHECK_INT(0, setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes));
  return fd;
}

static void prepare(int fd) {
  int yes = 1;
  CHECK_INT(0, setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes));
  CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
}

/* ---- links; with the mutex held ---- */

static void open_link(struct proxy *proxy, int client) {
  int server = new_socket(), slot = 0;
  struct sockaddr_in address = local(proxy->server_port);
  while (slot < PROXY_LINKS && proxy->links[slot].used) slot++;
  CHECK(slot < PROXY_LINKS);
  if (connect(server, (struct sockaddr *)&address, sizeof address) != 0) {
    close(client);
    close(server);
    return;
  }
  struct proxy_link *link = &proxy->links[slot];
  prepare(client);
  prepare(server);
  link->used = true;
  link->held = false;
  link->flows[TO_SERVER] = (struct proxy_flow){client, server, malloc(PROXY_BUFFER), 0, 0};
  link->flows[TO_CLIENT] = (struct proxy_flow){server, client, malloc(PROXY_BUFFER), 0, 0};
  CHECK(link->flows[TO_SERVER].buffer && link->flows[TO_CLIENT].buffer);
  proxy->connections++;
  proxy->last = link;
}

static void close_link(struct proxy_link *link, enum proxy_cut how) {
  const struct linger reset = {1, 0};
  for (int way = 0; way < WAYS; way++) {
    int fd = link->flows[way].from;
    if (how == CUT_RESET) (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(fd);
    free(link->flows[way].buffer);
  }
  link->used = false;
}

static bool is_empty(const struct proxy_flow *flow) { return flow->begin == flow->end; }

/* False when the other side is gone. */
static bool read_some(struct proxy_flow *flow) {
  ssize_t got = read(flow->from, flow->buffer, PROXY_BUFFER);
  if (got > 0) {
    flow->begin = 0;
    flow->end = (size_t)got;
  }
  return got > 0 || (got < 0 && errno == EAGAIN);
}

enum step { GOES_ON, ENDED, CUT };

static enum step write_some(struct proxy *proxy, int way, struct proxy_flow *flow) {
  size_t length = flow->end - flow->begin;
  int64_t left = proxy->left[way];
  if (left == 0 && proxy->how == CUT_HOLD) {
    proxy->hold[way] = true;
    proxy->left[way] = -1;
    return GOES_ON;
  }
  if (left == 0) return CUT;
  if (left > 0 && (uint64_t)left < length) length = (size_t)left;
  ssize_t sent = send(flow->to, flow->buffer + flow->begin, length, MSG_NOSIGNAL);
  if (sent < 0) return errno == EAGAIN ? GOES_ON : ENDED;
  flow->begin += (size_t)sent;
  proxy->passed[way] += (uint64_t)sent;
  if (left > 0) proxy->left[way] -= sent;
  return GOES_ON;
}

static enum step move(struct proxy *proxy, int way, struct proxy_flow *flow) {
  if (proxy->hold[way]) return GOES_ON;
  if (is_empty(flow) && !read_some(flow)) return ENDED;
  enum step step = GOES_ON;
  for (bool moved = true; step == GOES_ON && moved && !is_empty(flow);) {
    size_t before = flow->begin;
    step = write_some(proxy, way, flow);
    moved = flow->begin != before;
  }
  return step;
}

static void move_link(struct proxy *proxy, struct proxy_link *link) {
  for (int way = 0; way < WAYS; way++) {
    enum step step = move(proxy, way, &link->flows[way]);
    if (step == GOES_ON) continue;
    if (step == CUT) {
      proxy->left[way] = -1;
      proxy->cuts++;
    }
    close_link(link, step == CUT ? proxy->how : CUT_CLOSE);
    return;
  }
}

/* ---- the thread ---- */

static int fill(struct proxy *proxy, struct pollfd *polls) {
  int count = 2;
  polls[0] = (struct pollfd){proxy->wake, POLLIN, 0};
  polls[1] = (struct pollfd){proxy->refusing ? -1 : proxy->listener, POLLIN, 0};
  for (int i = 0; i < PROXY_LINKS; i++) {
    if (!proxy->links[i].used || proxy->links[i].held) continue;
    for (int way = 0; way < WAYS; way++) {
      const struct proxy_flow *flow = &proxy->links[i].flows[way];
      if (proxy->hold[way]) continue;
      polls[count++] = is_empty(flow) ? (struct pollfd){flow->from, POLLIN, 0}
                                      : (struct pollfd){flow->to, POLLOUT, 0};
    }
  }
  return count;
}

static void *run(void *arg) {
  struct proxy *proxy = arg;
  struct pollfd polls[2 + WAYS * PROXY_LINKS];
  sigset_t all;
  uint64_t woken;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, NULL);
  for (;;) {
    pthread_mutex_lock(&proxy->mutex);
    if (proxy->stop) break;
    int count = fill(proxy, polls);
    pthread_mutex_unlock(&proxy->mutex);
    CHECK(poll(polls, (nfds_t)count, -1) > 0);
    if (polls[0].revents) CHECK_INT(sizeof woken, read(proxy->wake, &woken, sizeof woken));
    pthread_mutex_lock(&proxy->mutex);
    int client = polls[1].revents ? accept4(proxy->listener, NULL, NULL, SOCK_CLOEXEC) : -1;
    if (client >= 0) open_link(proxy, client);
    for (int i = 0; i < PROXY_LINKS; i++)
      if (proxy->links[i].used && !proxy->links[i].held) move_link(proxy, &proxy->links[i]);
    pthread_mutex_unlock(&proxy->mutex);
  }
  pthread_mutex_unlock(&proxy->mutex);
  return NULL;
}

/* ---- from other threads ---- */

/* Another process may take a port that was free a moment ago. */
static int listen_somewhere(struct proxy *proxy) {
  for (int attempt = 0; attempt < 20; attempt++) {
    int port = free_port();
    struct sockaddr_in address = local(port);
    proxy->listener = new_socket();
    if (bind(proxy->listener, (struct sockaddr *)&address, sizeof address) == 0 &&
        listen(proxy->listener, PROXY_LINKS) == 0)
      return port;
    CHECK_INT(EADDRINUSE, errno);
    close(proxy->listener);
  }
  FAIL("no port to listen at");
}

void proxy_start(struct proxy *proxy, int server_port) {
  memset(proxy, 0, sizeof *proxy);
  proxy->server_port = server_port;
  int port = listen_somewhere(proxy);
  proxy->wake = eventfd(0, EFD_CLOEXEC);
  CHECK(proxy->wake >= 0);
  prepare(proxy->listener);
  snprintf(proxy->endpoint, sizeof proxy->endpoint, "http://127.0.0.1:%d", port);
  pthread_mutex_init(&proxy->mutex, NULL);
  proxy->left[TO_SERVER] = proxy->left[TO_CLIENT] = -1;
  proxy->thread = start_thread(run, proxy);
}

static void wake_and_unlock(struct proxy *proxy) {
  const uint64_t one = 1;
  CHECK_INT(sizeof one, write(proxy->wake, &one, sizeof one));
  pthread_mutex_unlock(&proxy->mutex);
}

void proxy_lead_to(struct proxy *proxy, int server_port) {
  pthread_mutex_lock(&proxy->mutex);
  proxy->server_port = server_port;
  pthread_mutex_unlock(&proxy->mutex);
}

void proxy_hold(struct proxy *proxy, enum proxy_way way, bool hold) {
  pthread_mutex_lock(&proxy->mutex);
  proxy->hold[way] = hold;
  wake_and_unlock(proxy);
}

void proxy_hold_last(struct proxy *proxy) {
  pthread_mutex_lock(&proxy->mutex);
  CHECK(proxy->last && proxy->last->used);
  proxy->last->held = true;
  wake_and_unlock(proxy);
}

void proxy_cut_after(struct proxy *proxy, enum proxy_way way, int64_t bytes, enum proxy_cut how) {
  pthread_mutex_lock(&proxy->mutex);
  proxy->left[way] = bytes;
  proxy->how = how;
  wake_and_unlock(proxy);
}

void proxy_cut_never(struct proxy *proxy) {
  pthread_mutex_lock(&proxy->mutex);
  proxy->left[TO_SERVER] = proxy->left[TO_CLIENT] = -1;
  wake_and_unlock(proxy);
}

void proxy_cut_all(struct proxy *proxy, enum proxy_cut how) {
  pthread_mutex_lock(&proxy->mutex);
  for (int i = 0; i < PROXY_LINKS; i++) {
    if (!proxy->links[i].used) continue;
    close_link(&proxy->links[i], how);
    proxy->cuts++;
  }
  wake_and_unlock(proxy);
}

void proxy_refuse(struct proxy *proxy, bool refuse) {
  pthread_mutex_lock(&proxy->mutex);
  if (refuse && !proxy->refusing) CHECK_INT(0, shutdown(proxy->listener, SHUT_RDWR));
  if (!refuse && proxy->refusing) CHECK_INT(0, listen(proxy->listener, PROXY_LINKS));
  proxy->refusing = refuse;
  wake_and_unlock(proxy);
}

long proxy_connections(struct proxy *proxy) {
  pthread_mutex_lock(&proxy->mutex);
  long connections = proxy->connections;
  pthread_mutex_unlock(&proxy->mutex);
  return connections;
}

long proxy_cuts(struct proxy *proxy) {
  pthread_mutex_lock(&proxy->mutex);
  long cuts = proxy->cuts;
  pthread_mutex_unlock(&proxy->mutex);
  return cuts;
}

uint64_t proxy_passed(struct proxy *proxy, enum proxy_way way) {
  pthread_mutex_lock(&proxy->mutex);
  uint64_t passed = proxy->passed[way];
  pthread_mutex_unlock(&proxy->mutex);
  return passed;
}

void proxy_stop(struct proxy *proxy) {
  pthread_mutex_lock(&proxy->mutex);
  proxy->stop = true;
  wake_and_unlock(proxy);
  join_thread(proxy->thread);
  for (int i = 0; i < PROXY_LINKS; i++)
    if (proxy->links[i].used) close_link(&proxy->links[i], CUT_CLOSE);
  close(proxy->listener);
  close(proxy->wake);
  pthread_mutex_destroy(&proxy->mutex);
}
