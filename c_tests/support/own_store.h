/* A store that no other test has, on either backend: it may be compacted, all of its
 * keys watched, its revisions counted. Only the main thread opens one. */
#ifndef OWN_STORE_H
#define OWN_STORE_H

#include "server.h"

struct own_store {
  hmkv *kv;
  const char *endpoint; /* for further handles */
  struct server server; /* on etcd */
};

void own_store_open(struct own_store *own, const char *options);
/* All revisions before the newest one are gone. Answers the newest. */
int64_t own_store_compact(struct own_store *own);
void own_store_close(struct own_store *own);

#endif
