/* An etcd of the test's own, to be killed, paused and moved. Only the main thread
 * starts servers: they end with the thread that started them. */
#ifndef SERVER_H
#define SERVER_H

#include "test.h"

#include <sys/types.h>

struct server {
  pid_t pid;
  char endpoint[64];
  char directory[512];
  int client_port;
  int peer_port;
  const char *option; /* one more argument of etcd, or NULL */
  const char *certificates; /* directory of certificates.sh, or NULL for http */
  const char *also_listens; /* one more URL for clients, which nobody is told of, or NULL */
  const char *name;
  const char *cluster; /* its members, NAME=URL joined by commas; NULL: itself alone */
  bool fsync;
};

/* Starts a new server and waits until it answers. `option` may be NULL. */
void server_start(struct server *server, const char *option);
/* The same over TLS, for clients with a certificate. */
void server_start_tls(struct server *server);
/* Ends it as a power cut would. */
void server_kill(struct server *server);
/* Starts it again where it was, with its data. */
void server_restart(struct server *server);
/* Starts it again with its data at an endpoint that its clients do not know. */
void server_restart_elsewhere(struct server *server);
/* A paused server keeps its connections and answers nobody. */
void server_pause(struct server *server);
void server_resume(struct server *server);
/* Asks once, for a second at most, for what the whole cluster agreed on. */
bool server_answers(struct server *server);
/* Waits until it answers with what the whole cluster agreed on. */
void server_wait(struct server *server);
/* A number that it tells of itself; not over TLS. */
long server_metric(struct server *server, const char *name);
/* Ends it and removes its data. */
void server_stop(struct server *server);

/* A port of 127.0.0.1 that nobody has and the kernel gives to no client. */
int free_port(void);

/* ---- the steps of server_start(), for members of a cluster ---- */

void server_prepare(struct server *server, const char *name);
/* Makes certificates in its directory; it is one with TLS from then on. */
void server_certify(struct server *server);
/* All that follow, for one that is alone. */
void server_begin(struct server *server);
void server_choose_ports(struct server *server, bool client, bool peer);
const char *server_peer_url(const struct server *server);
void server_launch(struct server *server);
/* True when it answers, false when it ended. */
bool server_comes_up(struct server *server);
/* It ended: ends the test, unless another attempt may go better. */
void server_must_be_worth_another_attempt(struct server *server);
/* Ends it with its data, to be launched anew. */
void server_wipe(struct server *server);

#endif
