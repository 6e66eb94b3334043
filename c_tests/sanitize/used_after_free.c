/* The library reads what its caller has freed. */
#include <hmkv.h>
#include <stdlib.h>

int main(void) {
  hmkv *kv = NULL;
  hmkv_put_opts *opts = calloc(1, sizeof *opts);
  if (!opts || hmkv_open("mem:", NULL, &kv)) return 1;
  opts->size = sizeof *opts;
  hmkv_put_opts *volatile freed = opts;
  free(opts);
  hmkv_result_free(hmkv_await(hmkv_put(kv, "k", 1, "v", 1, freed)));
  return hmkv_close(kv);
}
