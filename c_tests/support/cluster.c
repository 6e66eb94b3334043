#include "cluster.h"

#include "process.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

static const char *const names[MEMBERS] = {"one", "two", "three"};

static void launch_all(struct cluster *cluster) {
  const char *list = "";
  for (int i = 0; i < MEMBERS; i++) {
    server_choose_ports(&cluster->members[i], true, true);
    list = text("%s%s%s=%s", list, i ? "," : "", names[i], server_peer_url(&cluster->members[i]));
  }
  for (int i = 0; i < MEMBERS; i++) {
    cluster->members[i].cluster = list;
    server_launch(&cluster->members[i]);
  }
}

static bool all_come_up(struct cluster *cluster) {
  for (int i = 0; i < MEMBERS; i++) {
    if (server_comes_up(&cluster->members[i])) continue;
    server_must_be_worth_another_attempt(&cluster->members[i]);
    for (int j = 0; j < MEMBERS; j++) {
      cluster->members[j].fsync = cluster->members[i].fsync;
      server_wipe(&cluster->members[j]);
    }
    return false;
  }
  return true;
}

static void begin(struct cluster *cluster) {
  for (int attempt = 0; attempt < 20; attempt++) {
    launch_all(cluster);
    if (all_come_up(cluster)) return;
  }
  FAIL("the cluster does not start");
}

static void prepare(struct cluster *cluster) {
  for (int i = 0; i < MEMBERS; i++) server_prepare(&cluster->members[i], names[i]);
}

void cluster_start(struct cluster *cluster) {
  prepare(cluster);
  begin(cluster);
}

void cluster_start_tls(struct cluster *cluster) {
  prepare(cluster);
  server_certify(&cluster->members[0]);
  for (int i = 1; i < MEMBERS; i++)
    cluster->members[i].certificates = cluster->members[0].certificates;
  begin(cluster);
}

void cluster_wait(struct cluster *cluster) {
  for (int i = 0; i < MEMBERS; i++) server_wait(&cluster->members[i]);
}

void cluster_stop(struct cluster *cluster) {
  for (int i = 0; i < MEMBERS; i++) server_stop(&cluster->members[i]);
}

const char *cluster_endpoints(const struct cluster *cluster, int first) {
  return text("%s,%s,%s", cluster->members[first].endpoint,
              cluster->members[(first + 1) % MEMBERS].endpoint,
              cluster->members[(first + 2) % MEMBERS].endpoint);
}

/* ---- the leader ---- */

struct view {
  uint64_t member, leader;
};

static uint64_t field(const char *fields, const char *name) {
  const char *found = strstr(fields, text("\"%s\" : ", name));
  if (!found) FAIL("no %s in \"%s\"", name, fields);
  return strtoull(strchr(found, ':') + 1, NULL, 10);
}

static struct view view_of(const struct server *member) {
  const char *fields = etcdctl_at(member->endpoint, "endpoint", "status", "-w", "fields", NULL);
  return (struct view){field(fields, "MemberID"), field(fields, "Leader")};
}

/* -1 when they do not agree. */
static int leader_now(const struct cluster *cluster, uint64_t ids[MEMBERS]) {
  struct view views[MEMBERS];
  int leader = -1;
  for (int i = 0; i < MEMBERS; i++) {
    views[i] = view_of(&cluster->members[i]);
    ids[i] = views[i].member;
  }
  for (int i = 0; i < MEMBERS; i++) {
    if (views[i].leader != views[0].leader) return -1;
    if (views[i].member == views[0].leader) leader = i;
  }
  return leader;
}

int cluster_leader(struct cluster *cluster) {
  uint64_t ids[MEMBERS];
  int leader = -1;
  WAIT_UNTIL((leader = leader_now(cluster, ids)) >= 0);
  return leader;
}

void cluster_move_leader(struct cluster *cluster, int to) {
  uint64_t ids[MEMBERS];
  int leader = -1;
  WAIT_UNTIL((leader = leader_now(cluster, ids)) >= 0);
  if (leader == to) return;
  etcdctl_at(cluster->members[leader].endpoint, "move-leader", text("%" PRIx64, ids[to]), NULL);
  WAIT_UNTIL(leader_now(cluster, ids) == to);
}

/* ---- the connections of this process ---- */

static int peer_port(int fd) {
  struct sockaddr_in address;
  socklen_t length = sizeof address;
  if (getpeername(fd, (struct sockaddr *)&address, &length) != 0) return 0;
  return address.sin_family == AF_INET ? ntohs(address.sin_port) : 0;
}

static uint64_t bytes_acked(int fd) {
  struct tcp_info info;
  memset(&info, 0, sizeof info);
  socklen_t length = sizeof info;
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0) return 0;
  return info.tcpi_bytes_acked;
}

void cluster_traffic(const struct cluster *cluster, uint64_t bytes[MEMBERS]) {
  memset(bytes, 0, MEMBERS * sizeof *bytes);
  DIR *descriptors = opendir("/proc/self/fd");
  CHECK(descriptors);
  for (struct dirent *entry; (entry = readdir(descriptors));) {
    int fd = atoi(entry->d_name); /* "." and ".." are no sockets either */
    int port = peer_port(fd);
    for (int i = 0; i < MEMBERS; i++)
      if (port && port == cluster->members[i].client_port) bytes[i] += bytes_acked(fd);
  }
  closedir(descriptors);
}
