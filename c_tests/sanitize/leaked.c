/* The caller forgets a result. */
#include <hmkv.h>

int main(void) {
  hmkv *kv = NULL;
  if (hmkv_open("mem:", NULL, &kv)) return 1;
  hmkv_result *volatile result = hmkv_await(hmkv_ping(kv));
  if (!result) return 1;
  result = NULL;
  return hmkv_close(kv);
}
