/* A TCP proxy between the library and a server: it holds bytes back, cuts
 * connections at a byte, refuses. A thread of its own does the work; the functions
 * are for one other thread at a time. */
#ifndef PROXY_H
#define PROXY_H

#include "test.h"

enum proxy_way { TO_SERVER, TO_CLIENT, WAYS };
enum proxy_cut { CUT_CLOSE, CUT_RESET, CUT_HOLD };

enum { PROXY_LINKS = 64, PROXY_BUFFER = 65536 };

/* One direction of a connection: what was read and is to be written. */
struct proxy_flow {
  int from, to;
  unsigned char *buffer;
  size_t begin, end;
};

struct proxy_link {
  bool used, held;
  struct proxy_flow flows[WAYS];
};

struct proxy {
  char endpoint[64];
  int listener, server_port, wake;
  pthread_t thread;
  pthread_mutex_t mutex; /* of all that follows */
  bool stop, refusing, hold[WAYS];
  int64_t left[WAYS]; /* bytes until a cut; less than 0: no cut */
  enum proxy_cut how;
  long connections, cuts;
  struct proxy_link *last;
  uint64_t passed[WAYS];
  struct proxy_link links[PROXY_LINKS];
};

void proxy_start(struct proxy *proxy, int server_port);
/* Connections that are made from now on lead there. */
void proxy_lead_to(struct proxy *proxy, int server_port);
/* Bytes of this direction wait in the proxy and before it, or go on. */
void proxy_hold(struct proxy *proxy, enum proxy_way way, bool hold);
/* Bytes of both directions of the connection that was made last, and is still there, wait
 * for ever. */
void proxy_hold_last(struct proxy *proxy);
/* Lets `bytes` more pass in this direction, all connections together; the connection
 * that brings the next one is cut to both sides. Once. Instead of a cut, CUT_HOLD holds
 * this direction as proxy_hold() does. */
void proxy_cut_after(struct proxy *proxy, enum proxy_way way, int64_t bytes, enum proxy_cut how);
/* No longer. */
void proxy_cut_never(struct proxy *proxy);
/* Cuts every connection now. */
void proxy_cut_all(struct proxy *proxy, enum proxy_cut how);
/* New connections are refused as by a closed port, or accepted again. */
void proxy_refuse(struct proxy *proxy, bool refuse);
/* Connections accepted, cuts made, bytes passed so far. */
long proxy_connections(struct proxy *proxy);
long proxy_cuts(struct proxy *proxy);
uint64_t proxy_passed(struct proxy *proxy, enum proxy_way way);
/* Cuts every connection and frees the port. */
void proxy_stop(struct proxy *proxy);

#endif
