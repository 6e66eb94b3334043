/* Stores and keys: the part of test.h that calls the library. */
#include "process.h"
#include "test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

hmkv *open_at(const char *where, const char *options) {
  hmkv *kv = NULL;
  CHECK_OK(hmkv_open(where, options, &kv));
  CHECK(kv);
  return kv;
}

hmkv *open_store(const char *options) { return open_at(test_endpoint(), options); }

void close_store(hmkv *kv) { CHECK_OK(hmkv_close(kv)); }

bool has_key(hmkv *kv, const char *key) {
  hmkv_result *result = NULL;
  CHECK_OK(hmkv_get_range(kv, key, key, &result));
  bool found = hmkv_result_count(result) == 1;
  hmkv_result_free(result);
  return found;
}

hmkv_result *list_keys(hmkv *kv, const char *prefix) {
  hmkv_result *result = NULL;
  char *end = malloc(strlen(prefix) + 2);
  CHECK(end);
  sprintf(end, "%s\xff", prefix); /* no key of these tests goes on with a byte 0xff */
  CHECK_OK(hmkv_get_range(kv, prefix, end, &result));
  free(end);
  return result;
}

size_t count_keys(hmkv *kv, const char *prefix) {
  hmkv_result *result = list_keys(kv, prefix);
  size_t count = hmkv_result_count(result);
  hmkv_result_free(result);
  return count;
}

int64_t lease_of(hmkv *kv, const char *key) {
  hmkv_result *result = NULL;
  CHECK_OK(hmkv_get_range(kv, key, key, &result));
  CHECK_INT(1, hmkv_result_count(result));
  int64_t lease = hmkv_result_kv(result, 0)->lease;
  hmkv_result_free(result);
  return lease;
}

void lose_lease(hmkv *kv, const char *key) {
  int64_t lease = lease_of(kv, key);
  CHECK(lease != 0);
  if (on_etcd()) {
    etcdctl("lease", "revoke", text("%" PRIx64, (uint64_t)lease), NULL);
  } else {
    CHECK_OK(hmkv_mem_fault(kv, "expire"));
  }
}

const char *dead_endpoint(void) {
  static int socket_fd = -1; /* bound and not listening: nobody else gets the port */
  static struct sockaddr_in address;
  if (socket_fd < 0) {
    socket_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(socket_fd >= 0);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK_INT(0, bind(socket_fd, (struct sockaddr *)&address, sizeof address));
    socklen_t length = sizeof address;
    CHECK_INT(0, getsockname(socket_fd, (struct sockaddr *)&address, &length));
  }
  return text("http://127.0.0.1:%d", ntohs(address.sin_port));
}
