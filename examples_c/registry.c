/*
 * registry - services announce themselves, clients find them
 *
 *   registry [mem:] [demo]                                   show it all, then end
 *   registry [ENDPOINT] register SERVICE INSTANCE ADDRESS    until SIGTERM
 *   registry [ENDPOINT] discover SERVICE                     until SIGTERM
 *
 * An instance is one key, services/SERVICE/INSTANCE, with a line about itself. On
 * SIGHUP it renews that line; a client lists all instances anew.
 *
 * What to notice first:
 * - The key hangs on a lease. That is all it takes for a crashed instance to
 *   disappear: nobody has to find out and clean up.
 * - A lost lease does not come back; publish() begins with another one. First
 *   registration, update, retry and return after a loss are the same code.
 * - Every write is conditional on what its writer knows. So namesakes do not
 *   overwrite each other, and a write that was not answered is safely repeated.
 * - A client does not list, nor poll: a watch with a snapshot delivers what is
 *   there, and then every change after exactly that.
 */
#define _POSIX_C_SOURCE 200809L
#include <hmkv.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { TTL_MS = 5000, RETRY_S = 1, PATIENCE_S = 30 };

struct instance {
    const char *name, *address;
    char key[512];
    time_t since;
    unsigned reloads;
    hmkv_lease *lease;
    atomic_bool lost; /* the lease is */
    int64_t revision; /* of the key, as this instance knows it */
};

static const char *endpoint = "mem:";
static char prefix[256]; /* of all keys of the service */
static sigset_t signals;

/* How many lines of each kind the client has printed: what the demo waits for. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned printed[3];

static void complain(const char *who, const char *what, hmkv_status rc, const char *detail)
{
    fprintf(stderr, "%s: %s: %s: %s\n", who, what, hmkv_strerror(rc), detail ? detail : "");
}

/* The main thread does all the work, and waits for signals in between. That some
 * work has come up, callbacks tell it by a signal too: SIGUSR1. */
static int wait_for_signal(bool retry)
{
    struct timespec limit = { .tv_sec = RETRY_S };
    int received;
    do
        received = retry ? sigtimedwait(&signals, NULL, &limit) : sigwaitinfo(&signals, NULL);
    while (received < 0 && errno == EINTR);
    return received; /* or -1: time to try again */
}

/* ------------------------------------------------------------- an instance */

/* Runs on a thread of the library. */
static void on_lost(hmkv_status status, const char *detail, void *userdata)
{
    struct instance *me = userdata;
    complain(me->name, "lease", status, detail);
    me->lost = true;
    kill(getpid(), SIGUSR1);
}

static hmkv_status renew_lease(hmkv *kv, struct instance *me)
{
    if (me->lost) {
        hmkv_lease_close(me->lease, false); /* after this on_lost() does not run */
        me->lease = NULL;
        me->lost = false;
    }
    return me->lease ? HMKV_OK : hmkv_lease_grant(kv, TTL_MS, on_lost, me, &me->lease);
}

/* Make the key what it should be, whatever it is now; false: try again soon.
 *
 * The write is applied only if the key is as we know it. So where an attempt was
 * not answered (HMKV_EINDETERMINATE), we may repeat it: of the two at most one
 * is applied, in whatever order they arrive. */
static bool publish(hmkv *kv, struct instance *me)
{
    char line[512], since[32];
    struct tm utc;
    bool again;
    hmkv_status rc = renew_lease(kv, me);
    if (rc < 0) {
        complain(me->name, "lease", rc, hmkv_errmsg());
        return false;
    }
    int64_t lease = hmkv_lease_id(me->lease);
    strftime(since, sizeof since, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&me->since, &utc));
    snprintf(line, sizeof line, "address=%s pid=%ld since=%s reloads=%u", me->address,
             (long)getpid(), since, me->reloads);

    do {
        hmkv_result *r = hmkv_await(
            hmkv_put(kv, me->key, HMKV_NTS, line, HMKV_NTS,
                     HMKV_PUT_OPTS(.lease = lease, .if_mod_revision = me->revision)));
        const hmkv_kv *found = hmkv_result_kv(r, 0); /* what the compare met instead */
        rc = hmkv_result_status(r);
        again = false;
        if (rc == HMKV_OK) {
            printf("%s: %s\n", me->name, me->revision == HMKV_ABSENT ? "registered" : "updated");
            me->revision = hmkv_result_revision(r);
        } else if (rc == HMKV_ELOST) { /* the server knew before on_lost() could */
            me->lost = true;
        } else if (rc < 0) {
            complain(me->name, "publish", rc, hmkv_result_error(r));
        } else if (found && found->lease == lease) { /* ours, by an unanswered attempt */
            me->revision = found->mod_revision;
            again = true;
        } else if (found) { /* a namesake's, or that of a process before us */
            printf("%s: the name is taken, by lease %llx\n", me->name,
                   (unsigned long long)found->lease);
            me->revision = HMKV_ABSENT;
        } else { /* it went with a lost lease, or somebody deleted it: back it comes */
            me->revision = HMKV_ABSENT;
            again = true;
        }
        hmkv_result_free(r);
    } while (again);
    return rc == HMKV_OK;
}

static void leave(struct instance *me)
{
    if (!me->lease)
        return;
    /* Revoked, its key is gone at once; else it would be there for the TTL. */
    hmkv_status rc = hmkv_lease_close(me->lease, true);
    me->lease = NULL;
    if (rc < 0 && rc != HMKV_ELOST) /* that one is as good */
        complain(me->name, "revoke", rc, hmkv_errmsg());
    else
        printf("%s: ended\n", me->name);
}

static void set_up(struct instance *me)
{
    me->since = time(NULL);
    me->revision = HMKV_ABSENT;
    snprintf(me->key, sizeof me->key, "%s%s", prefix, me->name);
}

static void serve(hmkv *kv, struct instance *me)
{
    int received;
    bool current = false;
    set_up(me);
    do {
        if (!current)
            current = publish(kv, me);
        received = wait_for_signal(!current);
        if (received == SIGHUP)
            me->reloads++; /* a real service would read its configuration */
        current = current && received != SIGHUP && received != SIGUSR1;
    } while (received != SIGTERM && received != SIGINT);
    leave(me);
}

/* ------------------------------------------------------------- a client */

static void print_change(char sign, const hmkv_kv *kv)
{
    const char *line = strncmp(kv->value, "address=", 8) == 0 ? kv->value + 8 : kv->value;
    printf("%c %s%s%s\n", sign, kv->key + strlen(prefix), *line ? " " : "", line);
    pthread_mutex_lock(&mutex);
    printed[sign == '+' ? 0 : sign == '~' ? 1 : 2]++;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&mutex);
}

/* Runs on a thread of the library, one call at a time, in order. A client that
 * does more than print keeps a table by name: PUT sets an entry and DELETE
 * removes it, whatever it is that the event stands in. */
static void on_event(const hmkv_event *event, void *userdata)
{
    (void)userdata;
    switch (event->type) {
    case HMKV_EVENT_PUT: /* `prev` is NULL in a snapshot and in a resync */
        print_change(event->prev ? '~' : '+', event->kv);
        break;
    case HMKV_EVENT_DELETE:
        print_change('-', event->kv);
        break;
    case HMKV_EVENT_SYNCED: /* only now "none" can be told from "not yet" */
        printf("-- these are all, at revision %lld\n", (long long)event->revision);
        break;
    case HMKV_EVENT_RESYNC: /* as right as before, only not step by step */
        printf("-- some steps were left out: %s\n", event->detail);
        break;
    case HMKV_EVENT_STATE: /* nothing to do: the watch goes on by itself */
        if (event->status < 0)
            printf("-- cut off, the list may be old: %s\n", event->detail);
        else
            puts("-- connected again");
        break;
    case HMKV_EVENT_END: /* it cannot go on: begin another */
        complain("discover", "the watch ended", event->status, event->detail);
        kill(getpid(), SIGUSR1);
        break;
    }
}

static hmkv_watcher *discover(hmkv *kv)
{
    hmkv_watcher *watcher = NULL;
    hmkv_status rc = hmkv_watch_open(
        kv, prefix, HMKV_NTS, HMKV_WATCH_OPTS(.prefix = 1, .snapshot = 1, .prev_kv = 1),
        on_event, NULL, &watcher);
    if (rc < 0)
        complain("discover", "watch", rc, hmkv_errmsg());
    return watcher;
}

static void follow(hmkv *kv)
{
    int received = 0;
    hmkv_watcher *watcher = NULL;
    do {
        if (watcher && received > 0) {
            hmkv_watch_close(watcher); /* after this on_event() does not run */
            watcher = NULL;
        }
        if (!watcher)
            watcher = discover(kv);
        received = wait_for_signal(!watcher);
    } while (received != SIGTERM && received != SIGINT);
    hmkv_watch_close(watcher); /* NULL is answered, harmlessly */
}

/* ------------------------------------------------------------- the demo */

/* Wait until the client has printed so many of each. */
static bool await(unsigned added, unsigned updated, unsigned removed)
{
    struct timespec until;
    bool seen;
    int rc = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    pthread_mutex_lock(&mutex);
    while (!(seen = printed[0] == added && printed[1] == updated && printed[2] == removed) &&
           rc == 0)
        rc = pthread_cond_timedwait(&changed, &mutex, &until);
    pthread_mutex_unlock(&mutex);
    return seen;
}

static bool demonstrate(hmkv *kv)
{
    /* One thread plays them all, one after the other. */
    struct instance a = { .name = "a", .address = "10.0.0.1:80" };
    struct instance b = { .name = "b", .address = "10.0.0.2:80" };
    bool done = false;
    set_up(&a);
    set_up(&b);

    puts("-- a registers, a client comes, b registers");
    if (!publish(kv, &a) || !discover(kv) || !await(1, 0, 0) || !publish(kv, &b) ||
        !await(2, 0, 0))
        goto end;

    puts("-- a has something new to tell");
    a.reloads++;
    if (!publish(kv, &a) || !await(2, 1, 0))
        goto end;

    puts("-- both leases expire: who notices registers anew");
    if (hmkv_mem_fault(kv, "expire") < 0 || !await(2, 1, 2))
        goto end;
    for (int i = 0; i < PATIENCE_S && !(a.lost && b.lost); i++)
        wait_for_signal(true);
    if (!publish(kv, &a) || !publish(kv, &b) || !await(4, 1, 2))
        goto end;

    puts("-- a ends");
    leave(&a);
    done = await(4, 1, 3);

end:
    puts(done ? "-- the end" : "-- something is wrong");
    leave(&a);
    leave(&b);
    return done;
}

int main(int argc, char **argv)
{
    char **arg = argv + 1, **end = argv + argc;
    if (arg < end && strcmp(*arg, "register") != 0 && strcmp(*arg, "discover") != 0 &&
        strcmp(*arg, "demo") != 0)
        endpoint = *arg++;
    const char *role = arg < end ? *arg++ : "demo", *service = arg < end ? arg[0] : "demo";
    bool registers = strcmp(role, "register") == 0 && end - arg == 3;
    bool discovers = strcmp(role, "discover") == 0 && end - arg == 1;
    bool demo = strcmp(role, "demo") == 0 && end == arg && strncmp(endpoint, "mem:", 4) == 0;
    if (!(registers ? *arg[1] && strlen(arg[1]) + strlen(arg[2]) <= 250 : discovers || demo) ||
        !*service || strlen(service) > 200 || strchr(service, '/')) {
        fprintf(stderr, "usage: registry [mem:] [demo]\n"
                        "       registry [ENDPOINT] register SERVICE INSTANCE ADDRESS\n"
                        "       registry [ENDPOINT] discover SERVICE\n");
        return 2;
    }
    snprintf(prefix, sizeof prefix, "services/%s/", service);
    setvbuf(stdout, NULL, _IOLBF, 0); /* each line at once, into a pipe too */

    /* Blocked before the first thread starts, so that they wait for us. */
    sigemptyset(&signals);
    sigaddset(&signals, SIGUSR1);
    if (!demo) {
        sigaddset(&signals, SIGTERM);
        sigaddset(&signals, SIGINT);
        sigaddset(&signals, SIGHUP);
    }
    pthread_sigmask(SIG_BLOCK, &signals, NULL);

    /* No server is needed for this: the daemon may start before etcd. */
    hmkv *kv = NULL;
    hmkv_status rc = hmkv_open(endpoint, "timeout=2s", &kv);
    if (rc < 0) {
        complain("registry", "open", rc, hmkv_errmsg());
        return 1;
    }
    struct instance me = { .name = registers ? arg[1] : "", .address = registers ? arg[2] : "" };
    bool done = true;
    if (registers)
        serve(kv, &me);
    else if (discovers)
        follow(kv);
    else
        done = demonstrate(kv);
    hmkv_close(kv); /* ends what is left */
    return done ? 0 : 1;
}
