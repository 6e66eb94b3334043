/*
 * config_watch - a daemon whose configuration lives in the store
 *
 *   config_watch [ENDPOINT [KEY]] [--demo]
 *
 * It reads KEY, follows every change, and ends cleanly on SIGTERM or SIGINT.
 * A value looks like `interval=5 level=debug`. A bad one is refused and the
 * former stays in force; without the key the defaults hold. What is in force is
 * published under KEY.status, for the operator.
 *
 * With --demo, the default on `mem:` where no other process can change the key,
 * a thread plays the operator and asks for the shutdown at last.
 */
#define _POSIX_C_SOURCE 200809L
#include <hmkv.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { RETRY_MS = 1000 };

struct config {
    int interval;
    char level[16];
};

static const struct config defaults = { 10, "info" };
static const char *endpoint = "mem:";
static const char *key = "config_watch/config";
static char status_key[512];

/* Between the watch and the main thread. */
static int bell = -1;
static atomic_bool watch_ended;

static void complain(const char *what, hmkv_status rc)
{
    fprintf(stderr, "config_watch: %s: %s: %s\n", what, hmkv_strerror(rc), hmkv_errmsg());
}

/* Runs on a thread of the library. It only rings: the main thread reads the
 * value for itself, so configurations need no lock and are applied in order. */
static bool on_change(const char *changed, const char *value, hmkv_keychange op, void *userdata)
{
    (void)changed, (void)value, (void)userdata;
    if (op == HMKV_KEYCHANGE_INVAL)
        fprintf(stderr, "config_watch: the watch had to end: %s\n", hmkv_errmsg());
    if (op != HMKV_KEYCHANGE_PUT) /* a watch ends when its key is deleted, too */
        watch_ended = true;
    eventfd_write(bell, 1);
    return true;
}

static bool parse(const char *text, struct config *out)
{
    struct config read;
    int end = -1;
    if (sscanf(text, "interval=%d level=%15s%n", &read.interval, read.level, &end) != 2 ||
        text[end] != '\0' || read.interval < 1)
        return false;
    *out = read;
    return true;
}

/* Read the key and bring its value into force. */
static hmkv_status reload(hmkv *kv, struct config *config)
{
    const char *verdict = "ok";
    char *value = NULL, status[64];
    hmkv_status rc = hmkv_get(kv, key, &value);
    if (rc == HMKV_NOT_FOUND) {
        verdict = "default";
        *config = defaults;
    } else if (rc == HMKV_EBINARY || (rc == HMKV_OK && !parse(value, config))) {
        verdict = "refused, still";
    } else if (rc < 0) {
        return rc;
    }
    hmkv_free(value);

    snprintf(status, sizeof status, "%s: interval=%d level=%s", verdict, config->interval,
             config->level);
    puts(status);
    return hmkv_store(kv, status_key, status);
}

static int serve(hmkv *kv, int signals)
{
    struct config config = defaults;
    hmkv_watcher *watcher = NULL;
    bool loaded = false;
    struct signalfd_siginfo info;
    struct pollfd fds[] = { { .fd = signals, .events = POLLIN }, { .fd = bell, .events = POLLIN } };
    hmkv_status rc;

    for (;;) {
        /* First watch, then read: so no change falls between the two. */
        if (!watcher) {
            loaded = false;
            watch_ended = false;
            rc = hmkv_watch_cb(kv, key, HMKV_KEYCHANGE_PUT | HMKV_KEYCHANGE_DELETE, on_change,
                               NULL, &watcher);
            if (rc < 0)
                complain("watch", rc);
        }
        if (watcher && !loaded) {
            rc = reload(kv, &config);
            if (rc < 0)
                complain("reload", rc);
            loaded = rc == HMKV_OK;
        }

        /* Without the server the last configuration holds; try again soon. A
         * real daemon would do its work here, every config.interval. */
        if (poll(fds, 2, loaded ? -1 : RETRY_MS) < 0) {
            if (errno == EINTR)
                continue;
            perror("config_watch: poll");
            return 1;
        }
        if (fds[0].revents) {
            if (read(signals, &info, sizeof info) == (ssize_t)sizeof info)
                printf("signal %d: shutting down\n", (int)info.ssi_signo);
            return 0; /* closing the store ends the watch */
        }
        if (fds[1].revents) {
            eventfd_t rings;
            eventfd_read(bell, &rings);
            loaded = false;
            if (watch_ended) {
                hmkv_watch_cb_cancel(watcher);
                watcher = NULL;
            }
        }
    }
}

/* ------------------------------------------------------------- the demo */

/* Wait until the daemon has published this status. */
static bool await_status(hmkv *kv, const char *wanted)
{
    for (int i = 0; i < 300; i++) {
        char *status = NULL;
        hmkv_status rc = hmkv_get(kv, status_key, &status);
        bool seen = rc == HMKV_OK && strcmp(status, wanted) == 0;
        hmkv_free(status);
        if (seen)
            return true;
        /* Wakes on a change; the time limit covers one just before it. */
        if (rc >= 0)
            rc = hmkv_watch(kv, status_key, 100, NULL, NULL);
        if (rc < 0) {
            complain("demo", rc);
            return false;
        }
    }
    fprintf(stderr, "config_watch: demo: never saw \"%s\"\n", wanted);
    return false;
}

/* Answers NULL when all went well. */
static void *operate(void *arg)
{
    static const struct {
        const char *value, *status;
    } steps[] = {
        { NULL, "default: interval=10 level=info" },
        { "interval=5 level=debug", "ok: interval=5 level=debug" },
        { "interval=often", "refused, still: interval=5 level=debug" },
        { NULL, "default: interval=10 level=info" },
        { "interval=1 level=warn", "ok: interval=1 level=warn" },
    };
    hmkv *kv = arg;
    void *failed = NULL;
    for (size_t i = 0; i < sizeof steps / sizeof *steps && !failed; i++) {
        printf("-- operator: %s %s\n", steps[i].value ? "store" : "delete",
               steps[i].value ? steps[i].value : key);
        hmkv_status rc = steps[i].value ? hmkv_store(kv, key, steps[i].value)
                                        : hmkv_delete(kv, key);
        if (rc < 0)
            complain("demo", rc);
        if (rc < 0 || !await_status(kv, steps[i].status))
            failed = arg;
    }
    puts("-- operator: shut down");
    kill(getpid(), SIGTERM);
    return failed;
}

/* ------------------------------------------------------------- main */

int main(int argc, char **argv)
{
    bool demo = false;
    int arguments = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--demo") == 0)
            demo = true;
        else if (++arguments == 1)
            endpoint = argv[i];
        else
            key = argv[i];
    }
    if (arguments > 2 || (size_t)snprintf(status_key, sizeof status_key, "%s.status", key) >=
                             sizeof status_key) {
        fprintf(stderr, "usage: config_watch [ENDPOINT [KEY]] [--demo]\n");
        return 2;
    }
    if (strncmp(endpoint, "mem:", 4) == 0)
        demo = true;
    setvbuf(stdout, NULL, _IOLBF, 0); /* each line at once, into a pipe too */

    /* Blocked before the first thread starts, so that all of ours inherit it;
     * those of the library block every signal anyway. */
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGINT);
    pthread_sigmask(SIG_BLOCK, &mask, NULL);
    int signals = signalfd(-1, &mask, SFD_CLOEXEC);
    bell = eventfd(0, EFD_CLOEXEC);
    if (signals < 0 || bell < 0) {
        perror("config_watch");
        return 1;
    }

    hmkv *kv = NULL;
    hmkv_status rc = hmkv_open(endpoint, "timeout=2s", &kv);
    if (rc < 0) {
        complain("open", rc);
        return 1;
    }

    pthread_t operator_thread;
    if (demo && pthread_create(&operator_thread, NULL, operate, kv) != 0) {
        fprintf(stderr, "config_watch: no thread for the demo\n");
        hmkv_close(kv);
        return 1;
    }

    int status = serve(kv, signals);

    void *failed;
    if (demo && (pthread_join(operator_thread, &failed) != 0 || failed))
        status = 1;
    hmkv_close(kv); /* from here on the callback does not run */
    close(bell);
    close(signals);
    return status;
}
