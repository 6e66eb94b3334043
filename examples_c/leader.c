/*
 * leader - one works, the others stand by
 *
 *   leader [ENDPOINT]                 on `mem:` two candidates show it, then end
 *   leader ENDPOINT NAME [PREFIX]     be one candidate, until SIGTERM
 *
 * Who holds the distributed lock leads. The leader ends cleanly, and the next
 * candidate takes over at once; it dies, and the next one takes over when the
 * lease of the lock ends; it is cut off from the store, and it learns of that
 * before another one can lead.
 *
 * The work is a counter, PREFIX/jobs, that goes on where the last leader
 * stopped.
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

enum { JOB_MS = 200, RETRY_MS = 1000, PATIENCE_MS = 30000 };

struct candidate {
    const char *name;
    hmkv *kv;
    pthread_t thread;
    /* Under the mutex: */
    bool stop;
    bool leading;
    unsigned jobs; /* done in this term */
};

static const char *endpoint = "mem:";
static const char *prefix = "leader";
static char jobs_key[256];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;

static void complain(const struct candidate *me, const char *what, hmkv_status rc)
{
    fprintf(stderr, "%s: %s: %s: %s\n", me->name, what, hmkv_strerror(rc), hmkv_errmsg());
}

static struct timespec in_ms(int ms)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += ms % 1000 * 1000000L;
    if (t.tv_nsec >= 1000000000L) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000L;
    }
    return t;
}

/* Runs on a thread of the library. It wakes the leader, which looks for itself. */
static void on_state(hmkv_state state, const char *detail, void *userdata)
{
    const struct candidate *me = userdata;
    if (state != HMKV_STATE_LOCK_LOST)
        return;
    printf("%s: lost the lock %s\n", me->name, detail);
    pthread_mutex_lock(&mutex);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
}

/* Wait, and tell whether to go on leading. */
static bool keep_leading(struct candidate *me)
{
    struct timespec until = in_ms(JOB_MS);
    int rc = 0;
    bool lead;
    pthread_mutex_lock(&mutex);
    while ((lead = !me->stop && hmkv_dist_lock_result(me->kv) == HMKV_LOCK_GRANTED) &&
           rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&changed, &mutex, &until);
    pthread_mutex_unlock(&mutex);
    return lead;
}

/* Do the next job. A leader can lose the lock at any moment, and what it sends
 * before it learns of that arrives all the same. So the store has the last word:
 * the counter moves on only from the number that was read. */
static hmkv_status do_job(struct candidate *me)
{
    char *last = NULL, next[32];
    hmkv_status rc = hmkv_get(me->kv, jobs_key, &last);
    if (rc == HMKV_NOT_FOUND) {
        /* A compare on a missing key is false, so this creates it, unless
         * somebody else was faster. */
        rc = hmkv_transaction(me->kv, jobs_key, "!=", "", NULL, NULL, jobs_key, "0");
        return rc < 0 ? rc : HMKV_COMPARE_FAILED;
    }
    if (rc < 0)
        return rc;

    snprintf(next, sizeof next, "%lu", strtoul(last, NULL, 10) + 1);
    rc = hmkv_tas(me->kv, jobs_key, last, next);
    hmkv_free(last);
    if (rc == HMKV_OK)
        printf("%s: did job %s\n", me->name, next);
    return rc;
}

/* Enter or leave the time of leadership; nobody enters it after a stop. */
static bool set_leading(struct candidate *me, bool leading)
{
    pthread_mutex_lock(&mutex);
    leading = leading && !me->stop;
    me->leading = leading;
    me->jobs = 0;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
    return leading;
}

static void lead(struct candidate *me)
{
    printf("%s: leads\n", me->name);
    do {
        hmkv_status rc = do_job(me);
        if (rc < 0)
            complain(me, "job", rc); /* not done, or maybe done: read again */
        if (rc == HMKV_OK) {
            pthread_mutex_lock(&mutex);
            me->jobs++;
            pthread_cond_broadcast(&changed);
            pthread_mutex_unlock(&mutex);
        }
    } while (keep_leading(me));
}

static bool pause_ms(struct candidate *me, int ms)
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

static void *run(void *arg)
{
    struct candidate *me = arg;
    do {
        printf("%s: stands by\n", me->name);
        /* Waits as long as it takes; after an outage longer than its lease at
         * the end of the queue again. Closing the store ends the wait. */
        hmkv_status rc = hmkv_dist_lock(me->kv);
        if (rc == HMKV_ECLOSED || rc == HMKV_EHANDLE)
            break;
        if (rc < 0) {
            complain(me, "lock", rc);
            continue;
        }
        if (!set_leading(me, true))
            break;
        lead(me);
        printf("%s: stops leading\n", me->name);
        rc = hmkv_dist_unlock(me->kv);
        if (rc < 0 && rc != HMKV_ELOST) /* on_state() told of that one */
            complain(me, "unlock", rc);
        set_leading(me, false);
    } while (pause_ms(me, RETRY_MS));
    return NULL;
}

static bool start(struct candidate *me)
{
    char options[256];
    snprintf(options, sizeof options, "timeout=2s, lock_ttl=3s, lock='%s/lock'", prefix);
    me->stop = false;

    /* No server is needed for this: the daemon may start before etcd. */
    hmkv_status rc = hmkv_open(endpoint, options, &me->kv);
    if (rc == HMKV_OK)
        rc = hmkv_on_state(me->kv, on_state, me);
    if (rc < 0) {
        complain(me, "open", rc);
    } else if (pthread_create(&me->thread, NULL, run, me) != 0) {
        fprintf(stderr, "%s: no thread\n", me->name);
        rc = HMKV_ENOMEM;
    }
    if (rc < 0) {
        hmkv_close(me->kv);
        me->kv = NULL;
    }
    return rc == HMKV_OK;
}

static void stop(struct candidate *me)
{
    if (!me->kv)
        return;
    /* A leader finishes its job before others may lead. */
    pthread_mutex_lock(&mutex);
    me->stop = true;
    pthread_cond_broadcast(&changed);
    while (me->leading)
        pthread_cond_wait(&changed, &mutex);
    pthread_mutex_unlock(&mutex);

    hmkv_close(me->kv);
    pthread_join(me->thread, NULL);
    me->kv = NULL;
    printf("%s: ended\n", me->name);
}

/* ------------------------------------------------------------- the demo */

/* Wait until the candidate leads and has done two jobs. */
static bool await_leader(struct candidate *me)
{
    struct timespec until = in_ms(PATIENCE_MS);
    int rc = 0;
    pthread_mutex_lock(&mutex);
    while (me->jobs < 2 && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&changed, &mutex, &until);
    bool done = me->jobs >= 2;
    pthread_mutex_unlock(&mutex);
    return done;
}

/* Wait until so many candidates queue for the lock, each with a key of its own
 * below the name of the lock. */
static bool await_queue(struct candidate *me, size_t wanted)
{
    char start[256], end[256];
    snprintf(start, sizeof start, "%s/lock/", prefix);
    snprintf(end, sizeof end, "%s/lock/\xff", prefix);
    for (int i = 0; i < PATIENCE_MS / 50; i++) {
        hmkv_result *queue = NULL;
        hmkv_status rc = hmkv_get_range(me->kv, start, end, &queue);
        size_t count = hmkv_result_count(queue);
        hmkv_result_free(queue);
        if (rc < 0)
            return false;
        if (count == wanted)
            return true;
        if (!pause_ms(me, 50))
            return false;
    }
    return false;
}

static bool demonstrate(void)
{
    struct candidate a = { .name = "a" }, b = { .name = "b" };
    bool done = false;

    puts("-- a and b start");
    if (!start(&a) || !await_leader(&a) || !start(&b) || !await_queue(&b, 2))
        goto end;

    puts("-- a ends: the lock goes to b at once");
    stop(&a);
    if (!await_leader(&b))
        goto end;

    puts("-- a returns, and the lease of b expires: b must stop, a leads");
    if (!start(&a) || !await_queue(&a, 2) || hmkv_mem_fault(b.kv, "expire") < 0)
        goto end;
    done = await_leader(&a) && await_queue(&b, 2);

end:
    puts(done ? "-- the end" : "-- something is wrong");
    stop(&b);
    stop(&a);
    return done;
}

int main(int argc, char **argv)
{
    struct candidate me = { .name = argc > 2 ? argv[2] : "" };
    if (argc > 1)
        endpoint = argv[1];
    if (argc > 3)
        prefix = argv[3];
    bool demo = argc < 3;
    if (argc > 4 || strlen(prefix) > 200 || (demo && strncmp(endpoint, "mem:", 4) != 0)) {
        fprintf(stderr, "usage: leader [mem:]\n"
                        "       leader ENDPOINT NAME [PREFIX]\n");
        return 2;
    }
    snprintf(jobs_key, sizeof jobs_key, "%s/jobs", prefix);

    setvbuf(stdout, NULL, _IOLBF, 0); /* each line at once, into a pipe too */
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&changed, &attr);
    pthread_condattr_destroy(&attr);

    if (demo)
        return demonstrate() ? 0 : 1;

    /* Blocked before the first thread starts, so that sigwait() gets them. */
    sigset_t signals;
    int received;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);

    if (!start(&me))
        return 1;
    sigwait(&signals, &received);
    stop(&me);
    return 0;
}
