/*
 * fenced_leader - an election whose former leaders cannot write
 *
 *   fenced_leader [mem:]                    two candidates show it, then end
 *   fenced_leader ENDPOINT NAME [PREFIX]    be one candidate, until SIGTERM
 *
 * Who holds the lock PREFIX/leader leads, and counts in PREFIX/counter. The others
 * follow who leads. Try it: `kill -STOP` the leader for longer than the TTL, see
 * another one lead, and `kill -CONT` it.
 *
 * What to notice first:
 * - No leader can know for sure that it still leads. Between looking and writing
 *   it may be stopped for a minute: by a debugger, a full machine, a migration.
 *   hmkv_lock_left_ms() before a write is therefore no protection.
 * - So the store decides: hmkv_txn_if_held() makes the write itself depend on the
 *   lock. A former leader's write is refused, and that is how it learns of it.
 * - `lost` tells earlier, but only a process that runs. Stop then what the store
 *   cannot guard: motors, mails, writes elsewhere (those take hmkv_lock_token()).
 * - An unanswered write is repeated, not guessed about; see count().
 *
 * A name belongs to one candidate.
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

enum { TTL_MS = 3000, WRITE_MS = 200, RETRY_MS = 1000, PATIENCE_MS = 30000 };

struct candidate {
    const char *name;
    hmkv *kv;
    pthread_t thread;
    hmkv_lock *lock;
    unsigned long next; /* the number that is to be written */
    int64_t revision;   /* of the counter with the number before it */
    /* Under the mutex: */
    bool stop, leading, lost;
    char follows[64];
    unsigned long writes; /* accepted, in all */
};

static const char *endpoint = "mem:";
static const char *prefix = "fenced_leader";
static char lock_name[256], counter[256];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;

static void complain(const struct candidate *me, const char *what, hmkv_status rc,
                     const char *detail)
{
    fprintf(stderr, "%s: %s: %s: %s\n", me->name, what, hmkv_strerror(rc), detail ? detail : "");
}

static struct timespec in_ms(int64_t ms)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    ms += now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
    return (struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };
}

/* Wait, less long if the lock gets lost; false: the candidate is to stop. */
static bool pause_ms(struct candidate *me, int ms)
{
    struct timespec until = in_ms(ms);
    int rc = 0;
    pthread_mutex_lock(&mutex);
    while (!me->stop && !me->lost && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&changed, &mutex, &until);
    bool go_on = !me->stop;
    me->lost = false;
    pthread_mutex_unlock(&mutex);
    return go_on;
}

/* ------------------------------------------------------------- the leader */

/* Runs on a thread of the library. The next write is due at once, and refused. */
static void on_lost(hmkv_status status, const char *detail, void *userdata)
{
    struct candidate *me = userdata;
    (void)status; /* HMKV_ELOST */
    printf("%s: lost the lock: %s\n", me->name, detail);
    pthread_mutex_lock(&mutex);
    me->lost = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
}

static unsigned long number(const hmkv_result *r)
{
    const hmkv_kv *kv = hmkv_result_kv(r, 0);
    return kv ? strtoul(kv->value, NULL, 10) : 0;
}

/* Only now, with the lock held: what a former leader wrote before is in it, and
 * nothing can follow. */
static hmkv_status read_counter(struct candidate *me)
{
    hmkv_result *r = hmkv_await(hmkv_range(me->kv, counter, HMKV_NTS, NULL));
    hmkv_status rc = hmkv_result_status(r);
    const hmkv_kv *kv = hmkv_result_kv(r, 0);
    if (rc < 0)
        complain(me, "read", rc, hmkv_result_error(r));
    me->next = number(r) + 1;
    me->revision = kv ? kv->mod_revision : 0;
    hmkv_result_free(r);
    return rc;
}

/* Count on by one, if we lead; HMKV_COMPARE_FAILED: this term is over.
 *
 * With the number goes a receipt, PREFIX/receipt/NAME, in the same step. After
 * HMKV_EINDETERMINATE nobody knows whether the write is done or still coming. The
 * very same one again settles it: the counter has moved on from `revision` after
 * the first of the two, so the second is refused, and then the receipt tells. */
static hmkv_status count(struct candidate *me)
{
    char receipt[512], value[32];
    snprintf(receipt, sizeof receipt, "%s/receipt/%s", prefix, me->name);
    snprintf(value, sizeof value, "%lu", me->next);

    hmkv_txn *t = hmkv_txn_new(me->kv);
    hmkv_txn_if_held(t, me->lock);
    hmkv_txn_if_number(t, counter, HMKV_NTS, HMKV_NUMBER_MOD, "=", me->revision);
    hmkv_txn_put(t, HMKV_THEN, counter, HMKV_NTS, value, HMKV_NTS, NULL);
    hmkv_txn_put(t, HMKV_THEN, receipt, HMKV_NTS, value, HMKV_NTS, NULL);
    hmkv_txn_range(t, HMKV_ELSE, receipt, HMKV_NTS, NULL);
    hmkv_result *r = hmkv_await(hmkv_txn_commit(t, NULL));
    hmkv_status rc = hmkv_result_status(r);

    bool late = rc == HMKV_COMPARE_FAILED && number(hmkv_result_sub(r, 0)) == me->next;
    if (rc < 0) {
        complain(me, "write", rc, hmkv_result_error(r));
    } else if (rc == HMKV_COMPARE_FAILED && !late) {
        printf("%s: write %lu is refused\n", me->name, me->next);
    } else {
        printf("%s: wrote %lu with token %lld%s\n", me->name, me->next,
               (long long)hmkv_lock_token(me->lock), late ? ", as the receipt tells" : "");
        pthread_mutex_lock(&mutex);
        me->writes++;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&mutex);
        me->next++;
        me->revision = hmkv_result_revision(r);
    }
    hmkv_result_free(r);
    return rc;
}

/* Enter or leave the time of leadership; nobody enters it after a stop. */
static bool set_leading(struct candidate *me, bool leading)
{
    pthread_mutex_lock(&mutex);
    leading = leading && !me->stop;
    me->leading = leading;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
    return leading;
}

static void lead(struct candidate *me)
{
    hmkv_status rc = read_counter(me);
    if (rc < 0) /* others may have more luck */
        return;
    printf("%s: leads with token %lld\n", me->name, (long long)hmkv_lock_token(me->lock));
    /* No question before each write whether we still lead. */
    do
        rc = count(me);
    while (rc != HMKV_COMPARE_FAILED && pause_ms(me, rc < 0 ? RETRY_MS : WRITE_MS));
    if (rc < 0) /* told to stop before the store had the last word */
        fprintf(stderr, "%s: stops with write %lu unsettled\n", me->name, me->next);
    printf("%s: leads no more\n", me->name);
}

/* ------------------------------------------------------------- a candidate */

/* Runs on a thread of the library. For information: nothing is decided by it. */
static void on_leader(const hmkv_event *event, void *userdata)
{
    struct candidate *me = userdata;
    const char *leader = event->type == HMKV_EVENT_PUT ? event->kv->value : "";
    if (event->type == HMKV_EVENT_STATE || event->type == HMKV_EVENT_END) {
        if (event->status < 0)
            complain(me, "follow", event->status, event->detail);
        return;
    }
    if (strcmp(leader, me->name) != 0)
        printf("%s: %s%s\n", me->name, *leader ? "follows " : "sees no leader", leader);
    pthread_mutex_lock(&mutex);
    snprintf(me->follows, sizeof me->follows, "%s", leader);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
}

static void *run(void *arg)
{
    struct candidate *me = arg;
    hmkv_watcher *observer = NULL;
    do {
        hmkv_status rc = HMKV_OK;
        if (!observer)
            rc = hmkv_lock_observe(me->kv, lock_name, on_leader, me, &observer);
        if (rc < 0)
            complain(me, "follow", rc, hmkv_errmsg());

        /* Waits in the queue, for ever; closing the store ends it. The value
         * is what the others see of the leader. */
        printf("%s: campaigns\n", me->name);
        rc = hmkv_lock_acquire(
            me->kv, lock_name,
            HMKV_LOCK_OPTS(.ttl_ms = TTL_MS, .value = me->name, .value_len = HMKV_NTS),
            on_lost, me, &me->lock);
        if (rc == HMKV_ECLOSED || rc == HMKV_EHANDLE)
            break;
        if (rc < 0) {
            complain(me, "campaign", rc, hmkv_errmsg());
            continue;
        }
        if (!set_leading(me, true))
            break;
        lead(me);
        rc = hmkv_lock_release(me->lock); /* after this on_lost() does not run */
        if (rc < 0 && rc != HMKV_ELOST)
            complain(me, "release", rc, hmkv_errmsg());
        set_leading(me, false);
    } while (pause_ms(me, RETRY_MS));
    return NULL;
}

static bool start(struct candidate *me)
{
    me->stop = false;
    /* No server is needed for this: the daemon may start before etcd. */
    hmkv_status rc = hmkv_open(endpoint, "timeout=2s", &me->kv);
    if (rc < 0) {
        complain(me, "open", rc, hmkv_errmsg());
    } else if (pthread_create(&me->thread, NULL, run, me) != 0) {
        fprintf(stderr, "%s: no thread\n", me->name);
        hmkv_close(me->kv);
        me->kv = NULL;
    }
    return me->kv != NULL;
}

static void stop(struct candidate *me)
{
    if (!me->kv)
        return;
    /* A leader finishes its write and steps down by itself. */
    pthread_mutex_lock(&mutex);
    me->stop = true;
    pthread_cond_broadcast(&changed);
    while (me->leading)
        pthread_cond_wait(&changed, &mutex);
    pthread_mutex_unlock(&mutex);

    hmkv_close(me->kv);
    pthread_join(me->thread, NULL);
    me->kv = NULL;
    printf("%s: ended after %lu writes\n", me->name, me->writes);
}

/* ------------------------------------------------------------- the demo */

/* Wait until one leads and has written twice more, and the other follows it. */
static bool await(struct candidate *leader, struct candidate *follower)
{
    struct timespec until = in_ms(PATIENCE_MS);
    int rc = 0;
    bool seen;
    pthread_mutex_lock(&mutex);
    unsigned long writes = leader->writes + 2;
    while (!(seen = leader->leading && leader->writes >= writes &&
                    (!follower || strcmp(follower->follows, leader->name) == 0)) &&
           rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&changed, &mutex, &until);
    pthread_mutex_unlock(&mutex);
    return seen;
}

static bool demonstrate(void)
{
    struct candidate a = { .name = "a" }, b = { .name = "b" }, judge = { .name = "judge" };
    bool done = false;

    puts("-- a and b start");
    if (!start(&a) || !await(&a, NULL) || !start(&b) || !await(&a, &b))
        goto end;

    puts("-- the lease of a expires, as if a had been stopped: b leads");
    if (hmkv_mem_fault(a.kv, "expire") < 0 || !await(&b, &a))
        goto end;

    puts("-- b ends: a leads again");
    stop(&b);
    done = await(&a, NULL);

end:
    stop(&b);
    stop(&a);
    if (done) { /* `mem:` outlives its handles */
        done = hmkv_open(endpoint, NULL, &judge.kv) == HMKV_OK &&
               read_counter(&judge) == HMKV_OK && judge.next - 1 == a.writes + b.writes;
        hmkv_close(judge.kv);
    }
    puts(done ? "-- the counter is the number of writes: the end" : "-- something is wrong");
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
    if (argc > 4 || strlen(prefix) > 200 || strlen(me.name) >= sizeof me.follows ||
        (demo ? strncmp(endpoint, "mem:", 4) != 0 : !*me.name)) {
        fprintf(stderr, "usage: fenced_leader [mem:]\n"
                        "       fenced_leader ENDPOINT NAME [PREFIX]\n");
        return 2;
    }
    snprintf(lock_name, sizeof lock_name, "%s/leader", prefix);
    snprintf(counter, sizeof counter, "%s/counter", prefix);

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
