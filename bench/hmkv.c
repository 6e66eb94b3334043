/* libhmkv as a client of the workloads. */
#include "bench.h"

#include <hmkv.h>
#include <string.h>

static bool done(const char *what, hmkv_status rc)
{
    if (rc != HMKV_OK)
        bench_complain(what, rc < 0 ? hmkv_errmsg() : hmkv_status_name(rc));
    return rc == HMKV_OK;
}

static void *open_store(const char *endpoint)
{
    hmkv *kv = NULL;
    return done("open", hmkv_open(endpoint, NULL, &kv)) ? kv : NULL;
}

static void close_store(void *kv) { (void)done("close", hmkv_close(kv)); }

static bool get(void *kv, const char *key, char first)
{
    char *value = NULL;
    if (!done("get", hmkv_get(kv, key, &value)))
        return false;
    bool right = strlen(value) == VALUE_LEN && (first == 0 || value[0] == first);
    hmkv_free(value);
    return right;
}

static bool put(void *kv, const char *key, const char *value)
{
    return done("put", hmkv_store(kv, key, value));
}

static bool tas(void *kv, const char *key, const char *test, const char *set)
{
    return done("tas", hmkv_tas(kv, key, test, set));
}

static bool range(void *kv, const char *first, const char *last)
{
    hmkv_result *result = NULL;
    if (!done("range", hmkv_get_range(kv, first, last, &result)))
        return false;
    size_t count = hmkv_result_count(result), bytes = 0;
    for (size_t i = 0; i < count; i++) {
        const hmkv_kv *pair = hmkv_result_kv(result, i);
        bytes += pair->key_len + pair->value_len;
    }
    hmkv_result_free(result);
    return count == KEY_COUNT && bytes == (size_t)KEY_COUNT * (KEY_LEN + VALUE_LEN);
}

static bool finish(hmkv_op *op)
{
    hmkv_result *result = hmkv_await(op);
    bool ok = done("flight", hmkv_result_status(result)) &&
              hmkv_result_kv(result, 0)->value_len == VALUE_LEN;
    hmkv_result_free(result);
    return ok;
}

static long flight(void *kv, int width, long n, const char *(*next_key)(void))
{
    hmkv_op *ops[256] = {0};
    long errors = 0, slots = width < 256 ? width : 256;
    for (long i = 0; i < n + slots; i++) {
        if (ops[i % slots] != NULL)
            errors += !finish(ops[i % slots]);
        ops[i % slots] = i < n ? hmkv_range(kv, next_key(), KEY_LEN, NULL) : NULL;
    }
    return errors;
}

static bool on_change(const char *key, const char *value, hmkv_keychange op, void *userdata)
{
    (void)key;
    (void)userdata;
    if (op == HMKV_KEYCHANGE_PUT && strlen(value) == VALUE_LEN)
        bench_changed();
    return true;
}

/* The watcher ends with its store. */
static bool watch(void *kv, const char *key)
{
    hmkv_watcher *watcher = NULL;
    return done("watch", hmkv_watch_cb(kv, key, HMKV_KEYCHANGE_PUT, on_change, NULL, &watcher));
}

const bench_client client = {
    .name = "libhmkv",
    .open = open_store,
    .close = close_store,
    .get = get,
    .put = put,
    .tas = tas,
    .range = range,
    .watch = watch,
    .flight = flight,
};
