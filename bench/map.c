/* A hash map under one mutex: what a program would write in place of "mem:".
 * It has no revisions, no leases and no watches. */
#include "bench.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 16384

typedef struct entry {
    struct entry *next;
    char *key, *value;
} entry;

typedef struct {
    pthread_mutex_t mutex;
    entry *buckets[BUCKETS];
} map;

static char *copy(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copied = malloc(size);
    if (copied == NULL)
        abort();
    return memcpy(copied, text, size);
}

static entry **find(map *m, const char *key)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    for (const char *c = key; *c != '\0'; c++)
        hash = (hash ^ (unsigned char)*c) * 1099511628211u;
    entry **place = &m->buckets[(hash ^ hash >> 32) % BUCKETS];
    while (*place != NULL && strcmp((*place)->key, key) != 0)
        place = &(*place)->next;
    return place;
}

static void *open_map(const char *endpoint)
{
    (void)endpoint;
    map *m = calloc(1, sizeof *m);
    if (m != NULL)
        pthread_mutex_init(&m->mutex, NULL);
    return m;
}

static void close_map(void *opened)
{
    map *m = opened;
    for (size_t i = 0; i < BUCKETS; i++)
        for (entry *e = m->buckets[i], *next; e != NULL; e = next) {
            next = e->next;
            free(e->key);
            free(e->value);
            free(e);
        }
    pthread_mutex_destroy(&m->mutex);
    free(m);
}

static bool get(void *opened, const char *key, char first)
{
    map *m = opened;
    pthread_mutex_lock(&m->mutex);
    entry *e = *find(m, key);
    char *value = e != NULL ? copy(e->value) : NULL;
    pthread_mutex_unlock(&m->mutex);
    bool right = value != NULL && strlen(value) == VALUE_LEN && (first == 0 || value[0] == first);
    free(value);
    return right;
}

static bool put(void *opened, const char *key, const char *value)
{
    map *m = opened;
    char *stored = copy(value);
    pthread_mutex_lock(&m->mutex);
    entry **place = find(m, key);
    if (*place == NULL) {
        *place = calloc(1, sizeof **place);
        if (*place == NULL)
            abort();
        (*place)->key = copy(key);
    }
    char *former = (*place)->value;
    (*place)->value = stored;
    pthread_mutex_unlock(&m->mutex);
    free(former);
    return true;
}

static bool tas(void *opened, const char *key, const char *test, const char *set)
{
    map *m = opened;
    char *other = copy(set);
    pthread_mutex_lock(&m->mutex);
    entry *e = *find(m, key);
    bool equal = e != NULL && strcmp(e->value, test) == 0;
    if (equal) {
        char *former = e->value;
        e->value = other;
        other = former;
    }
    pthread_mutex_unlock(&m->mutex);
    free(other);
    return equal;
}

const bench_client client = {
    .name = "map",
    .open = open_map,
    .close = close_map,
    .get = get,
    .put = put,
    .tas = tas,
};
