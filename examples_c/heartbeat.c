/*
 * heartbeat - a tracker that finds out which nodes have fallen silent
 *
 *   heartbeat [ENDPOINT]                        simulate it all, then end
 *   heartbeat ENDPOINT node NAME [PREFIX]       be one node, until SIGTERM
 *   heartbeat ENDPOINT instance NAME [PREFIX]   be one instance, until SIGTERM
 *
 * Every node stores a heartbeat under its own key, PREFIX/hb/NODE, again and
 * again. Several instances of the tracker run, for safety; each shows with a
 * temporary key, PREFIX/instance/NAME, that it is there. The one that holds the
 * distributed lock audits the heartbeats and reports who is late. When it ends,
 * or dies, its lock and its presence end too, and another one carries on.
 */
#define _POSIX_C_SOURCE 200809L
#include <hmkv.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Brisk, so that there is something to see; a real tracker takes its time. */
enum { BEAT_MS = 200, AUDIT_MS = 400, LATE_MS = 1500, PATIENCE_MS = 30000 };

/* The clocks of two machines are never compared: a node is late when the
 * revision of its key has not moved for LATE_MS on the auditor's own clock. So
 * the last answer is kept, and when each of its keys was first seen like this. */
struct ledger {
    hmkv_result *beats;
    int64_t *since;
    char *report;
};

struct worker {
    const char *name;
    void *(*run)(void *worker);
    hmkv *kv;
    pthread_t thread;
    /* Under the mutex: */
    bool stop;
    size_t nodes, late; /* what the last audit found */
};

static const char *endpoint = "mem:";
static const char *prefix = "heartbeat";
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;

static void complain(const struct worker *me, const char *what, hmkv_status rc)
{
    fprintf(stderr, "%s: %s: %s: %s\n", me->name, what, hmkv_strerror(rc), hmkv_errmsg());
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

static struct timespec in_ms(int64_t ms)
{
    ms += now_ms();
    return (struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };
}

/* Wait, at most until the worker is told to stop: then the answer is false. */
static bool pause_ms(struct worker *me, int ms)
{
    struct timespec until = in_ms(ms);
    int rc = 0;
    pthread_mutex_lock(&mutex);
    while (!me->stop && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&changed, &mutex, &until);
    bool go_on = !me->stop;
    pthread_mutex_unlock(&mutex);
    return go_on;
}

/* ------------------------------------------------------------- a node */

static void *node(void *arg)
{
    struct worker *me = arg;
    char key[512], value[32];
    unsigned long beat = 0;

    snprintf(key, sizeof key, "%s/hb/%s", prefix, me->name);
    do {
        snprintf(value, sizeof value, "%lu", ++beat);
        /* If this one is lost, the next one will do. */
        hmkv_status rc = hmkv_store(me->kv, key, value);
        if (rc < 0)
            complain(me, "heartbeat", rc);
    } while (pause_ms(me, BEAT_MS));
    return NULL;
}

/* ------------------------------------------------------------- an instance */

/* All keys below PREFIX/KIND/. Both ends of a range are inclusive, and no name
 * in UTF-8 contains the byte 0xff. */
static hmkv_status list(hmkv *kv, const char *kind, hmkv_result **out)
{
    char start[512], end[512];
    snprintf(start, sizeof start, "%s/%s/", prefix, kind);
    snprintf(end, sizeof end, "%s/%s/\xff", prefix, kind);
    return hmkv_get_range(kv, start, end, out);
}

static const char *base(const char *key)
{
    return strrchr(key, '/') + 1;
}

static void audit(struct worker *me, struct ledger *ledger)
{
    hmkv_result *beats = NULL, *instances = NULL;
    hmkv_status rc = list(me->kv, "hb", &beats);
    if (rc == HMKV_OK)
        rc = list(me->kv, "instance", &instances);

    size_t count = hmkv_result_count(beats), late = 0, size;
    int64_t now = now_ms(), *since = malloc((count + 1) * sizeof *since);
    char *report = NULL;
    FILE *text = open_memstream(&report, &size);
    if (rc < 0 || !since || !text) {
        if (rc < 0)
            complain(me, "audit", rc);
        else
            fprintf(stderr, "%s: audit: out of memory\n", me->name);
        if (text)
            fclose(text);
        goto done;
    }

    fprintf(text, "%s audits: instances", me->name);
    for (size_t i = 0; i < hmkv_result_count(instances); i++)
        fprintf(text, " %s", base(hmkv_result_kv(instances, i)->key));
    fputs("; nodes", text);

    /* Both answers are sorted, so one pass finds what was there before. */
    for (size_t i = 0, j = 0; i < count; i++) {
        const hmkv_kv *beat = hmkv_result_kv(beats, i), *last;
        while ((last = hmkv_result_kv(ledger->beats, j)) && strcmp(last->key, beat->key) < 0)
            j++;
        bool silent = last && strcmp(last->key, beat->key) == 0 &&
                      last->mod_revision == beat->mod_revision;
        since[i] = silent ? ledger->since[j] : now;
        bool is_late = now - since[i] > LATE_MS;
        late += is_late;
        fprintf(text, " %s%s", base(beat->key), is_late ? ":LATE" : "");
    }
    fclose(text);

    if (!ledger->report || strcmp(ledger->report, report) != 0)
        puts(report);

    hmkv_result_free(ledger->beats);
    free(ledger->since);
    free(ledger->report);
    *ledger = (struct ledger){ beats, since, report };
    beats = NULL, since = NULL, report = NULL;

    pthread_mutex_lock(&mutex);
    me->nodes = count;
    me->late = late;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);

done:
    hmkv_result_free(instances);
    hmkv_result_free(beats);
    free(since);
    free(report);
}

static void *instance(void *arg)
{
    struct worker *me = arg;
    struct ledger ledger = { NULL, NULL, NULL };
    bool present = false, standby = false;
    hmkv_status rc;
    char key[512];

    snprintf(key, sizeof key, "%s/instance/%s", prefix, me->name);
    do {
        /* Try until it is stored; from then on the library keeps it alive. */
        if (!present) {
            rc = hmkv_temp_key(me->kv, key);
            present = rc == HMKV_OK;
            if (rc < 0)
                complain(me, "presence", rc);
        }

        /* Succeeds at once while this handle holds the lock, and queues anew
         * if it was lost. */
        rc = hmkv_dist_timed_lock(me->kv, 0);
        if (rc == HMKV_OK) {
            audit(me, &ledger);
            standby = false;
        } else if (rc < 0) {
            complain(me, "lock", rc);
        } else if (!standby) {
            printf("%s stands by: another one audits\n", me->name);
            standby = true;
            free(ledger.report); /* tell it anew after a take-over */
            ledger.report = NULL;
        }
    } while (pause_ms(me, AUDIT_MS));

    hmkv_result_free(ledger.beats);
    free(ledger.since);
    free(ledger.report);
    return NULL;
}

/* ------------------------------------------------------------- both */

static bool start(struct worker *me)
{
    char options[512];
    snprintf(options, sizeof options, "timeout=2s, temp_ttl=5s, lock_ttl=5s, lock='%s/lock'",
             prefix);

    /* No server is needed for this: the daemon may start before etcd. */
    hmkv_status rc = hmkv_open(endpoint, options, &me->kv);
    if (rc < 0) {
        complain(me, "open", rc);
        return false;
    }
    int error = pthread_create(&me->thread, NULL, me->run, me);
    if (error) {
        fprintf(stderr, "%s: thread: %s\n", me->name, strerror(error));
        hmkv_close(me->kv);
        me->kv = NULL;
    }
    return !error;
}

static void stop(struct worker *me)
{
    if (!me->kv)
        return;
    pthread_mutex_lock(&mutex);
    me->stop = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
    pthread_join(me->thread, NULL);

    /* Releases the lock and deletes the presence key. */
    hmkv_close(me->kv);
    me->kv = NULL;
}

/* Wait until a running worker's audit finds so much, and tell whose. */
static struct worker *await(struct worker *workers, size_t n, size_t nodes, size_t late)
{
    struct timespec until = in_ms(PATIENCE_MS);
    struct worker *found = NULL;
    int rc = 0;
    pthread_mutex_lock(&mutex);
    while (rc != ETIMEDOUT) {
        for (size_t i = 0; i < n && !found; i++)
            if (!workers[i].stop && workers[i].nodes == nodes && workers[i].late == late)
                found = &workers[i];
        if (found)
            break;
        rc = pthread_cond_timedwait(&changed, &mutex, &until);
    }
    pthread_mutex_unlock(&mutex);
    return found;
}

static bool simulate(void)
{
    struct worker crew[] = {
        { .name = "n1", .run = node },    { .name = "n2", .run = node },
        { .name = "n3", .run = node },    { .name = "a", .run = instance },
        { .name = "b", .run = instance },
    };
    size_t n = sizeof crew / sizeof *crew;
    struct worker *auditor;
    bool done = false;

    for (size_t i = 0; i < n; i++)
        if (!start(&crew[i]))
            goto end;
    if (!await(crew, n, 3, 0))
        goto end;

    puts("-- node n3 falls silent");
    stop(&crew[2]);
    auditor = await(crew, n, 3, 1);
    if (!auditor)
        goto end;

    printf("-- instance %s ends\n", auditor->name);
    stop(auditor);
    done = await(crew, n, 3, 1) != NULL;

end:
    for (size_t i = 0; i < n; i++)
        stop(&crew[i]);
    puts(done ? "-- the end" : "-- something is wrong");
    return done;
}

int main(int argc, char **argv)
{
    struct worker me = { .name = argc > 3 ? argv[3] : "" };
    if (argc > 3 && strcmp(argv[2], "node") == 0)
        me.run = node;
    else if (argc > 3 && strcmp(argv[2], "instance") == 0)
        me.run = instance;
    if (argc > 1)
        endpoint = argv[1];
    if (argc > 4)
        prefix = argv[4];
    if (argc > 5 || (argc > 2 && !me.run) || strlen(me.name) + strlen(prefix) > 400) {
        fprintf(stderr, "usage: heartbeat [ENDPOINT [node|instance NAME [PREFIX]]]\n");
        return 2;
    }

    setvbuf(stdout, NULL, _IOLBF, 0); /* each line at once, into a pipe too */
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&changed, &attr);
    pthread_condattr_destroy(&attr);

    if (!me.run)
        return simulate() ? 0 : 1;

    /* Blocked before the first thread starts, so that sigwait() gets them. */
    sigset_t signals;
    int received;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);

    if (!start(&me))
        return 1;
    printf("%s %s runs\n", argv[2], me.name);
    sigwait(&signals, &received);
    stop(&me);
    printf("%s %s ended\n", argv[2], me.name);
    return 0;
}
