/* An etcd of the test's own, to be killed, paused and moved. */
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
/* Ends it and removes its data. */
void server_stop(struct server *server);

#endif
