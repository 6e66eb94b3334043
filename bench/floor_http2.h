/* One unary gRPC call after the other on a socket that all threads share. */
#ifndef FLOOR_HTTP2_H
#define FLOOR_HTTP2_H

#include <semaphore.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MESSAGE_MAX 512

typedef unsigned char byte;

typedef struct call {
    struct call *next, **place; /* in the list of those that wait */
    uint32_t stream;
    bool done, leads;
    sem_t wake;
    size_t len;
    byte answer[MESSAGE_MAX];
} call;

typedef struct connection connection;

/* What fails here ends the program. */
connection *open_connection(const char *endpoint);
void close_connection(connection *c);

/* True when a message came; it begins at x->answer + 5 and ends at x->len. Any thread. */
bool transact(connection *c, call *x, const char *path, const byte *message, size_t len);

#endif
