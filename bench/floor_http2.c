/* Whoever calls first writes for all who called meanwhile, and whoever waits first
 * reads for all until its own answer is there, then appoints the next. This knows
 * what get, put and a transaction need of HTTP/2, no more; whatever else comes
 * ends the program. */
#define _GNU_SOURCE
#include "floor_http2.h"

#include "bench.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define OUT_MAX 65536
#define IN_MAX 65536
#define WINDOW_FIRST 65535       /* what a server grants unasked */
#define WINDOW_OURS (1u << 30)   /* what it is granted here */
#define WINDOW_RENEW (1u << 20)

enum { DATA = 0, HEADERS = 1, RST_STREAM = 3, SETTINGS = 4, PING = 6, GOAWAY = 7,
       WINDOW_UPDATE = 8 };
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4, PADDED = 8 };

struct connection {
    int fd;
    char authority[256];
    pthread_mutex_t mutex; /* over all below but `in`, which is the reader's */
    uint32_t next_stream;
    bool headers_known, writing, led;
    call *waiting, **last;
    byte out[2][OUT_MAX];
    size_t out_len;
    int out_side;
    int64_t window;   /* bytes of DATA that may still be sent */
    uint32_t received; /* bytes of DATA since the last grant */
    byte in[IN_MAX];
    size_t in_len;
};

static void fail(const char *what)
{
    fprintf(stderr, "floor: %s\n", what);
    exit(1);
}

/* --- Frames ------------------------------------------------------------- */

static byte *put_u32(byte *p, uint32_t v)
{
    p[0] = (byte)(v >> 24);
    p[1] = (byte)(v >> 16);
    p[2] = (byte)(v >> 8);
    p[3] = (byte)v;
    return p + 4;
}

static uint32_t get_u32(const byte *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static byte *put_frame(byte *p, size_t len, int type, int flags, uint32_t stream)
{
    put_u32(p, (uint32_t)len << 8 | (uint32_t)type);
    p[4] = (byte)flags;
    return put_u32(p + 5, stream);
}

/* A short string of HPACK, not Huffman-coded. */
static byte *put_text(byte *p, const char *text)
{
    size_t len = strlen(text);
    *p++ = (byte)len;
    memcpy(p, text, len);
    return p + len;
}

/* Space for `len` more bytes to send; the mutex is held. */
static byte *reserve(connection *c, size_t len)
{
    if (c->out_len + len > OUT_MAX)
        fail("more to send than fits");
    byte *p = c->out[c->out_side] + c->out_len;
    c->out_len += len;
    return p;
}

/* HEADERS and DATA of a call. The headers that never change stand in the server's
 * dynamic table after the first call. */
static void put_call(connection *c, uint32_t stream, const char *path, const byte *message,
                     size_t len)
{
    byte block[512], *p = block;

    *p++ = 0x83; /* :method POST */
    *p++ = 0x86; /* :scheme http */
    *p++ = 0x04; /* :path, not kept */
    p = put_text(p, path);
    if (c->headers_known) {
        *p++ = 0x80 | 64;
        *p++ = 0x80 | 63;
        *p++ = 0x80 | 62;
    } else {
        *p++ = 0x40 | 1;
        p = put_text(p, c->authority);
        *p++ = 0x40 | 31;
        p = put_text(p, "application/grpc");
        *p++ = 0x40;
        p = put_text(p, "te");
        p = put_text(p, "trailers");
        c->headers_known = true;
    }
    size_t headers = (size_t)(p - block);

    c->window -= (int64_t)len + 5;
    if (c->window < 0)
        fail("the server's window is used up");
    byte *o = reserve(c, 9 + headers + 9 + 5 + len);
    o = put_frame(o, headers, HEADERS, END_HEADERS, stream);
    memcpy(o, block, headers);
    o = put_frame(o + headers, 5 + len, DATA, END_STREAM, stream);
    *o++ = 0; /* not compressed */
    o = put_u32(o, (uint32_t)len);
    memcpy(o, message, len);
}

/* --- Writing and reading ------------------------------------------------ */

static void send_all(connection *c, const byte *p, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(c->fd, p, len, MSG_NOSIGNAL);
        if (sent <= 0)
            fail("cannot send");
        p += sent;
        len -= (size_t)sent;
    }
}

/* Unless another thread is at it, send all there is, also what others add. */
static void flush(connection *c)
{
    if (c->writing)
        return;
    c->writing = true;
    while (c->out_len > 0) {
        const byte *p = c->out[c->out_side];
        size_t len = c->out_len;
        c->out_side ^= 1;
        c->out_len = 0;
        pthread_mutex_unlock(&c->mutex);
        send_all(c, p, len);
        pthread_mutex_lock(&c->mutex);
    }
    c->writing = false;
}

static call *find_call(connection *c, uint32_t stream)
{
    call *x = c->waiting;
    while (x != NULL && x->stream != stream)
        x = x->next;
    return x;
}

static void leave(connection *c, call *x)
{
    *x->place = x->next;
    if (x->next != NULL)
        x->next->place = x->place;
    else
        c->last = x->place;
}

static void on_data(connection *c, call *x, const byte *p, size_t len)
{
    c->received += (uint32_t)len;
    if (c->received >= WINDOW_RENEW) {
        put_u32(put_frame(reserve(c, 13), 4, WINDOW_UPDATE, 0, 0), c->received);
        c->received = 0;
    }
    if (x == NULL || x->len + len > sizeof x->answer)
        fail("an answer that nobody waits for, or a long one");
    memcpy(x->answer + x->len, p, len);
    x->len += len;
}

/* Answers to the server ride on the next write. */
static void on_frame(connection *c, call *reader, const byte *f, size_t len)
{
    int type = f[3], flags = f[4];
    uint32_t stream = get_u32(f + 5) & 0x7fffffff;
    call *x = stream != 0 ? find_call(c, stream) : NULL;

    if (type == DATA) {
        if (flags & PADDED)
            fail("a padded frame");
        on_data(c, x, f + 9, len);
    } else if (type == SETTINGS && !(flags & ACK)) {
        put_frame(reserve(c, 9), 0, SETTINGS, ACK, 0);
    } else if (type == PING && !(flags & ACK)) {
        memcpy(put_frame(reserve(c, 17), 8, PING, ACK, 0), f + 9, 8);
    } else if (type == WINDOW_UPDATE && stream == 0) {
        c->window += get_u32(f + 9) & 0x7fffffff;
    } else if (type == GOAWAY || (type == RST_STREAM && get_u32(f + 9) != 0)) {
        fail("the server gave up");
    }
    if (type <= HEADERS && (flags & END_STREAM) && x != NULL) {
        leave(c, x);
        x->done = true;
        if (x != reader)
            sem_post(&x->wake);
    }
}

static void read_for_all(connection *c, call *reader)
{
    while (!reader->done) {
        pthread_mutex_unlock(&c->mutex);
        ssize_t got = recv(c->fd, c->in + c->in_len, IN_MAX - c->in_len, 0);
        if (got <= 0)
            fail("cannot receive");
        c->in_len += (size_t)got;
        pthread_mutex_lock(&c->mutex);

        size_t at = 0;
        while (c->in_len - at >= 9) {
            size_t len = get_u32(c->in + at) >> 8;
            if (c->in_len - at < 9 + len)
                break;
            on_frame(c, reader, c->in + at, len);
            at += 9 + len;
        }
        c->in_len -= at;
        memmove(c->in, c->in + at, c->in_len);
    }
}

/* Called after the own call is written. True: this thread reads now, and holds the
 * mutex; false: its answer is there, and it does not. */
static bool wait_for_turn(connection *c, call *x)
{
    if (!x->done && !c->led) {
        c->led = true;
        return true;
    }
    pthread_mutex_unlock(&c->mutex);
    while (sem_wait(&x->wake) != 0)
        continue;
    if (x->leads)
        pthread_mutex_lock(&c->mutex);
    return x->leads;
}

static void hand_on(connection *c)
{
    c->led = c->waiting != NULL;
    if (c->led) {
        c->waiting->leads = true;
        sem_post(&c->waiting->wake);
    }
}

bool transact(connection *c, call *x, const char *path, const byte *message, size_t len)
{
    x->done = x->leads = false;
    x->next = NULL;
    x->len = 0;
    sem_init(&x->wake, 0, 0);

    pthread_mutex_lock(&c->mutex);
    x->stream = c->next_stream;
    c->next_stream += 2;
    x->place = c->last;
    *c->last = x;
    c->last = &x->next;
    put_call(c, x->stream, path, message, len);
    flush(c);
    if (wait_for_turn(c, x)) {
        read_for_all(c, x);
        hand_on(c);
        pthread_mutex_unlock(&c->mutex);
    }
    sem_destroy(&x->wake);
    /* A failed call has trailers and no message. */
    if (x->len < 5 || get_u32(x->answer + 1) != x->len - 5) {
        bench_complain(path, "no answer but a status");
        return false;
    }
    return true;
}

/* --- Opening and closing ------------------------------------------------ */

static int dial(const char *authority)
{
    char host[256];
    struct addrinfo *found, hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    struct timeval timeout = {.tv_sec = 10};
    int on = 1;

    snprintf(host, sizeof host, "%s", authority);
    char *port = strrchr(host, ':');
    if (port == NULL)
        fail("no port in the endpoint");
    *port++ = '\0';
    if (getaddrinfo(host, port, &hints, &found) != 0)
        fail("no such host");
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen) != 0)
        fail("cannot connect");
    freeaddrinfo(found);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    return fd;
}

connection *open_connection(const char *endpoint)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const char *slashes = strstr(endpoint, "://");
    connection *c = calloc(1, sizeof *c);

    if (c == NULL)
        fail("no memory");
    snprintf(c->authority, sizeof c->authority, "%s",
             slashes != NULL ? slashes + 3 : endpoint);
    c->fd = dial(c->authority);
    pthread_mutex_init(&c->mutex, NULL);
    c->next_stream = 1;
    c->last = &c->waiting;
    c->window = WINDOW_FIRST;

    memcpy(reserve(c, sizeof preface - 1), preface, sizeof preface - 1);
    byte *p = put_frame(reserve(c, 15), 6, SETTINGS, 0, 0);
    p[0] = 0;
    p[1] = 4; /* INITIAL_WINDOW_SIZE */
    put_u32(p + 2, WINDOW_OURS);
    put_u32(put_frame(reserve(c, 13), 4, WINDOW_UPDATE, 0, 0), WINDOW_OURS);
    return c;
}

void close_connection(connection *c)
{
    close(c->fd);
    pthread_mutex_destroy(&c->mutex);
    free(c);
}
