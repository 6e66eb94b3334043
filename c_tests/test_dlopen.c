/* The library loaded and unloaded by dlopen() and dlclose(), again and again, with a
 * store used in between, and once with one left open.
 *
 *     test_dlopen LIBRARY ENDPOINT [TIMES] */
#include <hmkv.h>

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(cond) \
  ((cond) ? (void)0 : (printf("%d: %s: %s\n", __LINE__, #cond, hmkv_text()), exit(1)))

static const char *(*errmsg)(void);

static const char *hmkv_text(void) {
  const char *text = errmsg ? errmsg() : dlerror();
  return text ? text : "";
}

static void find(void *library, const char *name, void *function_pointer) {
  void *symbol = dlsym(library, name);
  CHECK(symbol);
  memcpy(function_pointer, &symbol, sizeof symbol);
}

static void load_and_use(const char *path, const char *endpoint, int close_it) {
  hmkv_status (*open)(const char *, const char *, hmkv **);
  hmkv_status (*store)(hmkv *, const char *, const char *);
  hmkv_status (*temp_key)(hmkv *, const char *);
  hmkv_status (*close)(hmkv *);
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  CHECK(library);
  find(library, "hmkv_errmsg", &errmsg);
  find(library, "hmkv_open", &open);
  find(library, "hmkv_store", &store);
  find(library, "hmkv_temp_key", &temp_key);
  find(library, "hmkv_close", &close);
  hmkv *kv = NULL;
  CHECK(open(endpoint, "timeout=20s", &kv) == HMKV_OK);
  CHECK(store(kv, "c_tests/dlopen", "value") == HMKV_OK);
  CHECK(temp_key(kv, "c_tests/dlopen-temp") == HMKV_OK);
  if (close_it) CHECK(close(kv) == HMKV_OK);
  CHECK(dlclose(library) == 0);
}

int main(int argc, char **argv) {
  static char line[1024];
  CHECK(argc == 3 || argc == 4);
  int times = argc == 4 ? atoi(argv[3]) : 1000;
  const char *endpoint = argv[2];
  if (endpoint[0] == '@') {
    FILE *file = fopen(endpoint + 1, "r");
    CHECK(file && fgets(line, sizeof line, file));
    fclose(file);
    line[strcspn(line, "\n")] = '\0';
    endpoint = line;
  }
  for (int i = 0; i < times; i++) load_and_use(argv[1], endpoint, 1);
  load_and_use(argv[1], endpoint, 0); /* its threads go on after dlclose() */
  return 0;
}
