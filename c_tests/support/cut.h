/* Cuts handles off from a store of the test's own: on `mem:` that is a fault, on etcd a
 * proxy cuts the connections. */
#ifndef CUT_H
#define CUT_H

#include "own_store.h"
#include "proxy.h"

struct cut {
  const char *endpoint; /* for handles that are to be cut; those of the store never are */
  struct proxy proxy;   /* on etcd */
};

void cut_prepare(struct cut *cut, const struct own_store *own);
/* On etcd it concerns all handles of the endpoint. */
void cut_begin(struct cut *cut, hmkv *kv);
void cut_end(struct cut *cut, hmkv *kv);
void cut_finish(struct cut *cut);

#endif
