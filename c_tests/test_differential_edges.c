/* Edges of size on both backends. */
#include "test.h"

/* A server adds some bytes of its own to a request before it looks at its limit. */
enum { WORLDS = 2, MEM = 0, ETCD = 1, MOST = 1700000, SERVERS_OWN = 64 };

static hmkv *kv[WORLDS];
static char *big;

static void begin(void) {
  kv[MEM] = open_at(text("mem:%s", unique("edges")), NULL);
  kv[ETCD] = open_store("timeout=30s");
  big = malloc(MOST + 1);
  CHECK(big);
  memset(big, 'v', MOST);
  big[MOST] = '\0';
}

static void end(void) {
  for (int w = 0; w < WORLDS; w++) close_store(kv[w]);
  free(big);
}

typedef hmkv_status (*call)(hmkv *kv, const char *key, const char *value);

/* The longest value that is not too large. */
static int limit(hmkv *store, call make, const char *key) {
  int good = 0, bad = MOST;
  while (bad - good > 1) {
    int middle = good + (bad - good) / 2;
    big[middle] = '\0';
    hmkv_status status = make(store, key, big);
    big[middle] = 'v';
    if (status == HMKV_ETOOLARGE) {
      bad = middle;
    } else if (status >= 0) {
      good = middle;
    } else {
      FAIL("%s", hmkv_status_name(status));
    }
  }
  return good;
}

static void same_limit(const char *name, call make) {
  const char *const names[] = {unique("k"), unique("a much longer key, to move the limit"),
                               text("%0500d", (int)getpid())};
  for (int i = 0; i < 3; i++) {
    int mem = limit(kv[MEM], make, names[i]), etcd = limit(kv[ETCD], make, names[i]);
    if (etcd > mem || etcd < mem - SERVERS_OWN)
      FAIL("%s: %d bytes on mem:, %d on etcd", name, mem, etcd);
    CHECK(mem > 1500000);
    for (int w = 0; w < WORLDS; w++) CHECK_OK(hmkv_delete(kv[w], names[i]));
  }
}

static hmkv_status set(hmkv *store, const char *key, const char *value) {
  return hmkv_tas(store, key, "x", value);
}

static hmkv_status test(hmkv *store, const char *key, const char *value) {
  return hmkv_tas(store, key, value, "x");
}

static hmkv_status branch(hmkv *store, const char *key, const char *value) {
  return hmkv_transaction(store, key, "=", "x", NULL, NULL, key, value);
}

static void the_largest_request_is_the_same_but_for_what_the_server_adds(void) {
  same_limit("store", hmkv_store);
  same_limit("tas, the value to set", set);
  same_limit("tas, the value to test", test);
  same_limit("transaction", branch);
}

static hmkv_status get(hmkv *store, const char *key, const char *unused) {
  char *value = NULL;
  (void)unused;
  hmkv_status status = hmkv_get(store, key, &value);
  hmkv_free(value);
  return status;
}

static hmkv_status range(hmkv *store, const char *key, const char *unused) {
  hmkv_result *result = NULL;
  (void)unused;
  hmkv_status status = hmkv_get_range(store, key, key, &result);
  hmkv_result_free(result);
  return status;
}

static hmkv_status delete(hmkv *store, const char *key, const char *unused) {
  (void)unused;
  return hmkv_delete(store, key);
}

static hmkv_status temp(hmkv *store, const char *key, const char *unused) {
  (void)unused;
  return hmkv_temp_key(store, key);
}

static hmkv_status watch(hmkv *store, const char *key, const char *unused) {
  (void)unused;
  return hmkv_watch(store, key, 0, NULL, NULL);
}

/* Each call begins with what the one before left. A range names its key twice. */
static void huge_keys_have_the_same_answers(void) {
  static const call calls[] = {get, range, delete, temp, watch, hmkv_store, get, range, delete};
  static const int lengths[] = {1000, 10000, 100000, 700000, 1000000, MOST};
  const char *start = unique("huge");
  for (size_t j = 0; j < sizeof lengths / sizeof *lengths; j++)
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
      int length = lengths[j];
      memcpy(big, start, strlen(start));
      if (calls[i] == range && length > 700000) continue; /* more than a server reads */
      big[length] = '\0';
      hmkv_status mem = calls[i](kv[MEM], big, "v"), etcd = calls[i](kv[ETCD], big, "v");
      if (mem != etcd)
        FAIL("call %zu, key of %d bytes: %s on mem:, %s on etcd", i, length, hmkv_status_name(mem),
             hmkv_status_name(etcd));
      big[length] = 'v';
    }
}

static const struct test tests[] = {
    ETCD_ONLY(the_largest_request_is_the_same_but_for_what_the_server_adds),
    ETCD_ONLY(huge_keys_have_the_same_answers),
};
TEST_MAIN(.begin = begin, .end = end)
