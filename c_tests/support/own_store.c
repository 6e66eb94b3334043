#include "own_store.h"

#include "changes.h"
#include "process.h"

void own_store_open(struct own_store *own, const char *options) {
  if (on_etcd()) {
    server_start(&own->server, NULL);
    own->endpoint = text("%s", own->server.endpoint);
  } else {
    own->endpoint = text("mem:%s", unique("own"));
  }
  own->kv = open_at(own->endpoint, options);
}

int64_t own_store_compact(struct own_store *own) {
  int64_t newest = newest_revision(own->kv);
  if (on_etcd()) {
    etcdctl_at(own->endpoint, "compact", text("%" PRId64, newest), NULL);
  } else {
    CHECK_OK(hmkv_mem_fault(own->kv, "compact"));
  }
  return newest;
}

void own_store_close(struct own_store *own) {
  if (own->kv) close_store(own->kv);
  own->kv = NULL;
  if (on_etcd()) server_stop(&own->server);
}
