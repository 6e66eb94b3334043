/* The floor: get, put and tas in etcd's messages, written and read by hand. */
#include "bench.h"
#include "floor_http2.h"

#include <string.h>

static byte *put_varint(byte *p, uint64_t v)
{
    for (; v >= 128; v >>= 7)
        *p++ = (byte)(v | 128);
    *p++ = (byte)v;
    return p;
}

static byte *put_bytes(byte *p, int field, const void *bytes, size_t len)
{
    p = put_varint(p, (uint64_t)field << 3 | 2);
    p = put_varint(p, len);
    memcpy(p, bytes, len);
    return p + len;
}

static byte *put_string(byte *p, int field, const char *text)
{
    return put_bytes(p, field, text, strlen(text));
}

static byte *put_pair(byte *p, const char *key, const char *value)
{
    return put_string(put_string(p, 1, key), 2, value);
}

typedef struct {
    const byte *at, *end;
} span;

static bool get_varint(span *s, uint64_t *v)
{
    *v = 0;
    for (int shift = 0; s->at < s->end && shift < 64; shift += 7) {
        *v |= (uint64_t)(*s->at & 127) << shift;
        if (*s->at++ < 128)
            return true;
    }
    return false;
}

/* The first field of that number: a number in *v, or bytes in *inner. */
static bool get_field(span s, unsigned field, uint64_t *v, span *inner)
{
    uint64_t tag;
    while (get_varint(&s, &tag) && get_varint(&s, v)) {
        *inner = s;
        if ((tag & 7) == 2) {
            if (*v > (uint64_t)(s.end - s.at))
                return false;
            s.at += *v;
            inner->end = s.at;
        } else if ((tag & 7) != 0) {
            return false;
        }
        if (tag >> 3 == field)
            return true;
    }
    return false;
}

static span message(const call *x) { return (span){x->answer + 5, x->answer + x->len}; }

static bool get(void *opened, const char *key, char first)
{
    byte request[MESSAGE_MAX];
    call x;
    uint64_t v;
    span kv, value;

    byte *end = put_string(request, 1, key);
    return transact(opened, &x, "/etcdserverpb.KV/Range", request, (size_t)(end - request)) &&
           get_field(message(&x), 2, &v, &kv) && get_field(kv, 5, &v, &value) &&
           v == VALUE_LEN && (first == 0 || (char)*value.at == first);
}

static bool put(void *opened, const char *key, const char *value)
{
    byte request[MESSAGE_MAX];
    call x;
    uint64_t v;
    span header;

    byte *end = put_pair(request, key, value);
    return transact(opened, &x, "/etcdserverpb.KV/Put", request, (size_t)(end - request)) &&
           get_field(message(&x), 1, &v, &header);
}

static bool tas(void *opened, const char *key, const char *test, const char *set)
{
    byte request[MESSAGE_MAX], pair[MESSAGE_MAX / 2], inner[MESSAGE_MAX / 2];
    call x;
    uint64_t succeeded;
    span none;

    byte *end = put_varint(inner, 2 << 3); /* target: VALUE; result: EQUAL, the default */
    *end++ = 3;
    end = put_string(put_string(end, 3, key), 7, test);
    byte *p = put_bytes(request, 1, inner, (size_t)(end - inner));

    end = put_pair(pair, key, set);
    end = put_bytes(inner, 2, pair, (size_t)(end - pair));
    p = put_bytes(p, 2, inner, (size_t)(end - inner));

    return transact(opened, &x, "/etcdserverpb.KV/Txn", request, (size_t)(p - request)) &&
           get_field(message(&x), 2, &succeeded, &none) && succeeded == 1;
}

static void *open_floor(const char *endpoint) { return open_connection(endpoint); }

static void close_floor(void *opened) { close_connection(opened); }

const bench_client client = {
    .name = "floor",
    .open = open_floor,
    .close = close_floor,
    .get = get,
    .put = put,
    .tas = tas,
};
