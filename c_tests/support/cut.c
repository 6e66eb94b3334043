#include "cut.h"

void cut_prepare(struct cut *cut, const struct own_store *own) {
  if (on_etcd()) proxy_start(&cut->proxy, own->server.client_port);
  cut->endpoint = on_etcd() ? cut->proxy.endpoint : own->endpoint;
}

void cut_begin(struct cut *cut, hmkv *kv) {
  if (on_etcd()) {
    proxy_refuse(&cut->proxy, true);
    proxy_cut_all(&cut->proxy, CUT_RESET);
  } else {
    CHECK_OK(hmkv_mem_fault(kv, "cut=1h"));
  }
}

void cut_end(struct cut *cut, hmkv *kv) {
  if (on_etcd())
    proxy_refuse(&cut->proxy, false);
  else
    CHECK_OK(hmkv_mem_fault(kv, "cut=0"));
}

void cut_finish(struct cut *cut) {
  if (on_etcd()) proxy_stop(&cut->proxy);
}
