/* The same workloads for every client written in C. */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stdint.h>

#define KEY_COUNT 10000
#define KEY_LEN 24
#define VALUE_LEN 100

/* Called by a watch for each change; the clock is read inside. */
void bench_changed(void);

/* Tell, once, why an operation failed. */
void bench_complain(const char *what, const char *why);

/* A client. Operations return true when they did what they were asked for;
 * those that a client lacks are NULL. */
typedef struct {
    const char *name;
    void *(*open)(const char *endpoint);
    void (*close)(void *client);
    /* The value has VALUE_LEN bytes and, unless `first` is 0, begins with it. */
    bool (*get)(void *client, const char *key, char first);
    bool (*put)(void *client, const char *key, const char *value);
    /* Compare the value, and put: true when it was equal and is replaced. */
    bool (*tas)(void *client, const char *key, const char *test, const char *set);
    /* `first` to `last`, both included: KEY_COUNT keys and their values were read. */
    bool (*range)(void *client, const char *first, const char *last);
    /* When this returns, each put of the key calls bench_changed() until close. */
    bool (*watch)(void *client, const char *key);
    /* From one thread gets n keys, `width` of them in flight at any time; answers how
     * many failed. */
    long (*flight)(void *client, int width, long n, const char *(*next_key)(void));
} bench_client;

extern const bench_client client;

#endif
