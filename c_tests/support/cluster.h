/* Three etcds that are one cluster. Its members are servers: server_kill(),
 * server_pause(), server_resume() and server_restart() work on each. */
#ifndef CLUSTER_H
#define CLUSTER_H

#include "server.h"

enum { MEMBERS = 3 };

struct cluster {
  struct server members[MEMBERS];
};

/* Starts a new one and waits until every member answers. */
void cluster_start(struct cluster *cluster);
/* The same over TLS, for clients with a certificate; all have those of the first one. */
void cluster_start_tls(struct cluster *cluster);
/* Waits until every member answers. */
void cluster_wait(struct cluster *cluster);
void cluster_stop(struct cluster *cluster);
/* All endpoints joined by commas, that of member `first` first. */
const char *cluster_endpoints(const struct cluster *cluster, int first);
/* The member that all of them, which must be running, call their leader. */
int cluster_leader(struct cluster *cluster);
/* Makes a member the leader, if it is not. */
void cluster_move_leader(struct cluster *cluster, int to);
/* Bytes that this process sent to each member, over the connections that it has
 * now, and that arrived. */
void cluster_traffic(const struct cluster *cluster, uint64_t bytes[MEMBERS]);

#endif
