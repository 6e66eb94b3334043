/* bench WORKLOAD ENDPOINT THREADS N: run one workload, print one line of JSON.
 * Exits with 1 when an operation failed or did not do what it should. */
#define _GNU_SOURCE
#include "bench.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static char keys[KEY_COUNT][KEY_LEN + 1];
static char values[2][VALUE_LEN + 1];

typedef struct {
    const char *workload;
    int threads;
    long n;
    long calls; /* with those before the clock started */
    long errors;
    double *latency; /* microseconds; NULL where a clock would cost more than the call */
    double wall;
    double cpu;
    long switches;
} result;

static void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (memory == NULL) {
        fprintf(stderr, "%s: no memory\n", client.name);
        exit(2);
    }
    return memory;
}

void bench_complain(const char *what, const char *why)
{
    static atomic_flag said = ATOMIC_FLAG_INIT;
    if (!atomic_flag_test_and_set(&said))
        fprintf(stderr, "%s: %s: %s\n", client.name, what, why);
}

/* --- Measuring ---------------------------------------------------------- */

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void add_usage(result *r, int sign)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    double cpu = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 +
                 (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
    r->cpu += sign * cpu;
    r->switches += sign * u.ru_nvcsw;
    r->wall += sign * now_us();
}

static void clock_start(result *r) { add_usage(r, -1); }
static void clock_stop(result *r) { add_usage(r, 1); }

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print(result *r)
{
    double n = (double)r->n;
    printf("{\"client\":\"%s\",\"workload\":\"%s\",\"threads\":%d,\"n\":%ld,\"calls\":%ld,"
           "\"errors\":%ld,\"ops_s\":%.1f,\"cpu_us\":%.3f,\"switches\":%.3f",
           client.name, r->workload, r->threads, r->n, r->calls, r->errors,
           n * 1e6 / r->wall, r->cpu / n, (double)r->switches / n);
    if (r->latency != NULL) {
        qsort(r->latency, (size_t)r->n, sizeof *r->latency, compare);
        printf(",\"p50_us\":%.2f,\"p99_us\":%.2f", r->latency[(r->n - 1) / 2],
               r->latency[(r->n - 1) * 99 / 100]);
    }
    puts("}");
}

static void *open_client(const char *endpoint)
{
    void *opened = client.open(endpoint);
    if (opened == NULL)
        exit(1);
    return opened;
}

/* --- get, put, tas on threads ------------------------------------------- */

typedef enum { GET, PUT, TAS, PRELOAD } operation;

typedef struct {
    pthread_t thread;
    void *client;
    operation op;
    int id, threads;
    long warm, n, errors;
    double *latency;
    pthread_barrier_t *barrier;
    uint32_t random;
    char own_key[KEY_LEN + 1];
} worker;

static const char *random_key(worker *w)
{
    w->random = w->random * 1664525u + 1013904223u;
    return keys[(w->random >> 8) % KEY_COUNT];
}

static bool step(worker *w, long i)
{
    switch (w->op) {
    case GET:
        return client.get(w->client, random_key(w), 0);
    case PUT:
        return client.put(w->client, random_key(w), values[i & 1]);
    case TAS: /* succeeds only after the last one took effect */
        return client.tas(w->client, w->own_key, values[i & 1], values[~i & 1]);
    default:
        return client.put(w->client, keys[i * w->threads + w->id], values[0]);
    }
}

static void *work(void *argument)
{
    worker *w = argument;
    long i = 0;

    if (w->op == TAS && !client.put(w->client, w->own_key, values[0]))
        w->errors++;
    for (; i < w->warm; i++)
        w->errors += !step(w, i);
    pthread_barrier_wait(w->barrier);
    pthread_barrier_wait(w->barrier);
    for (; i < w->warm + w->n; i++) {
        double start = w->latency != NULL ? now_us() : 0;
        w->errors += !step(w, i);
        if (w->latency != NULL)
            w->latency[i - w->warm] = now_us() - start;
    }
    return NULL;
}

/* What was put is what is got. */
static long check_put(void *opened)
{
    long errors = 0;
    for (int i = 1; i >= 0; i--) {
        errors += !client.put(opened, keys[0], values[i]);
        errors += !client.get(opened, keys[0], values[i][0]);
    }
    return errors;
}

static void run_threads(result *r, operation op, const char *endpoint)
{
    bool memory = strncmp(endpoint, "mem:", 4) == 0;
    long each = r->n / r->threads;
    long warm = op == PRELOAD ? 0 : each / 10;
    worker *workers = allocate((size_t)r->threads, sizeof *workers);
    pthread_barrier_t barrier;
    void *opened = open_client(endpoint);

    r->n = each * r->threads;
    if (!memory)
        r->latency = allocate((size_t)r->n, sizeof *r->latency);
    for (int i = 0; memory && i < KEY_COUNT; i++)
        r->errors += !client.put(opened, keys[i], values[0]);

    pthread_barrier_init(&barrier, NULL, (unsigned)r->threads + 1);
    for (int i = 0; i < r->threads; i++) {
        worker *w = &workers[i];
        *w = (worker){.client = opened, .op = op, .id = i, .threads = r->threads,
                      .warm = warm, .n = each, .barrier = &barrier,
                      .random = 12345u + 977u * (uint32_t)i};
        if (r->latency != NULL)
            w->latency = r->latency + each * i;
        snprintf(w->own_key, sizeof w->own_key, "bench/tas/%014d", i);
        if (pthread_create(&w->thread, NULL, work, w) != 0) {
            fprintf(stderr, "%s: no thread\n", client.name);
            exit(2);
        }
    }
    pthread_barrier_wait(&barrier);
    clock_start(r);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < r->threads; i++) {
        pthread_join(workers[i].thread, NULL);
        r->errors += workers[i].errors;
    }
    clock_stop(r);
    r->calls = (warm + each) * r->threads;
    r->errors += check_put(opened);
    client.close(opened);
    free(workers);
}

/* --- open, range -------------------------------------------------------- */

static bool open_get_close(const char *endpoint, long i)
{
    void *opened = open_client(endpoint);
    bool ok = client.get(opened, keys[i % KEY_COUNT], 0);
    client.close(opened);
    return ok;
}

static void run_open(result *r, const char *endpoint)
{
    r->latency = allocate((size_t)r->n, sizeof *r->latency);
    r->errors += !open_get_close(endpoint, 0);
    clock_start(r);
    for (long i = 0; i < r->n; i++) {
        double start = now_us();
        r->errors += !open_get_close(endpoint, i);
        r->latency[i] = now_us() - start;
    }
    clock_stop(r);
    r->calls = r->n + 1;
}

static void run_range(result *r, const char *endpoint)
{
    void *opened = open_client(endpoint);
    const char *first = keys[0], *last = keys[KEY_COUNT - 1];

    r->latency = allocate((size_t)r->n, sizeof *r->latency);
    r->errors += !client.range(opened, first, last);
    clock_start(r);
    for (long i = 0; i < r->n; i++) {
        double start = now_us();
        r->errors += !client.range(opened, first, last);
        r->latency[i] = now_us() - start;
    }
    clock_stop(r);
    r->calls = r->n + 1;
    client.close(opened);
}

/* --- many in flight from one thread -------------------------------------- */

static const char *any_key(void)
{
    static worker w = {.random = 12345u};
    return random_key(&w);
}

static void run_flight(result *r, const char *endpoint)
{
    void *opened = open_client(endpoint);
    long warm = r->n / 10;

    r->errors += client.flight(opened, r->threads, warm, any_key);
    clock_start(r);
    r->errors += client.flight(opened, r->threads, r->n, any_key);
    clock_stop(r);
    r->calls = warm + r->n;
    client.close(opened);
}

/* --- watch -------------------------------------------------------------- */

static sem_t changed;
static _Atomic double changed_at;

void bench_changed(void)
{
    atomic_store(&changed_at, now_us());
    sem_post(&changed);
}

/* From the put to the callback, in microseconds; negative: it did not come. */
static double put_and_hear(void *opened, const char *key, long i)
{
    struct timespec deadline;
    double start = now_us();

    if (!client.put(opened, key, values[i & 1]))
        return -1;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += 5;
    if (sem_timedwait(&changed, &deadline) != 0) {
        bench_complain("watch", "a change was not reported within 5 s");
        return -1;
    }
    return atomic_load(&changed_at) - start;
}

static void run_watch(result *r, const char *endpoint)
{
    const char *key = "bench/wch/00000000000000";
    void *opened = open_client(endpoint);
    long warm = r->n / 10;

    sem_init(&changed, 0, 0);
    r->latency = allocate((size_t)r->n, sizeof *r->latency);
    r->errors += !client.watch(opened, key);
    for (long i = 0; i < warm; i++)
        r->errors += put_and_hear(opened, key, i) < 0;
    clock_start(r);
    for (long i = 0; i < r->n && r->errors == 0; i++) {
        r->latency[i] = put_and_hear(opened, key, i);
        r->errors += r->latency[i] < 0;
    }
    clock_stop(r);
    r->calls = warm + r->n;
    r->errors += sem_trywait(&changed) == 0; /* one too many */
    client.close(opened);
}

/* --- Which -------------------------------------------------------------- */

static bool run(result *r, const char *endpoint)
{
    static const char *const names[] = {"get", "put", "tas", "preload"};
    for (int op = GET; op <= PRELOAD; op++)
        if (strcmp(r->workload, names[op]) == 0) {
            run_threads(r, (operation)op, endpoint);
            return true;
        }
    if (strcmp(r->workload, "open") == 0)
        run_open(r, endpoint);
    else if (strcmp(r->workload, "range") == 0 && client.range != NULL)
        run_range(r, endpoint);
    else if (strcmp(r->workload, "watch") == 0 && client.watch != NULL)
        run_watch(r, endpoint);
    else if (strcmp(r->workload, "flight") == 0 && client.flight != NULL)
        run_flight(r, endpoint);
    else
        return false;
    return true;
}

int main(int argc, char **argv)
{
    result r = {0};

    if (argc == 5)
        r = (result){.workload = argv[1], .threads = atoi(argv[3]), .n = atol(argv[4])};
    if (r.threads < 1 || r.n < r.threads) {
        fprintf(stderr, "usage: %s WORKLOAD ENDPOINT THREADS N\n", argv[0]);
        return 2;
    }
    for (int i = 0; i < KEY_COUNT; i++)
        snprintf(keys[i], sizeof keys[i], "bench/key/%014d", i);
    memset(values[0], 'a', VALUE_LEN);
    memset(values[1], 'b', VALUE_LEN);

    if (!run(&r, argv[2])) {
        fprintf(stderr, "%s: no workload %s here\n", client.name, argv[1]);
        return 2;
    }
    print(&r);
    free(r.latency);
    if (r.errors > 0)
        fprintf(stderr, "%s: %s: %ld errors\n", client.name, r.workload, r.errors);
    return r.errors > 0;
}
