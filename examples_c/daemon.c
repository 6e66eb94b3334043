/*
 * daemon - a whole daemon in one thread: configuration, presence, leadership, metrics
 *
 *   daemon ENDPOINT NAME [PORT [PREFIX]]
 *
 * It runs until SIGTERM or SIGINT and serves HTTP on 127.0.0.1:PORT (0, the default: one
 * that the kernel chooses; it is printed):
 *
 *   GET /config/KEY     what is configured, from the local copy
 *   PUT /config/KEY     configures it, for all daemons; 204 when the store has it
 *   GET /metrics        for Prometheus
 *   GET /leader         who leads, and how often it has worked
 *
 * The store has PREFIX/config/..., PREFIX/alive/NAME while the daemon lives, the lock
 * PREFIX/leader, and PREFIX/work, what the leader last did.
 *
 * What to notice first:
 * - `dispatch=poll`: all callbacks run inside hmkv_dispatch() below, so that nothing here
 *   needs a lock. One epoll set has the store's descriptor beside the daemon's own.
 * - Nothing in the loop waits for the network: requests are submitted with a callback, the
 *   configuration is read from a mirror, the lock is waited for in the background.
 * - The work of the leader is one transaction with hmkv_txn_if_held(): a daemon that was
 *   stopped for a minute and believes that it leads is refused.
 * - Before the loop it does wait: the store may start up to a minute after it.
 *
 * docs/daemon.md walks through it.
 */
#define _GNU_SOURCE
#include <hmkv.h>

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { RETRY_MS = 1000, CLIENTS = 64, CLIENT_MS = 5000, REQUEST_MAX = 4095 };
enum { NAME_LENGTH = 63, PREFIX_LENGTH = 180 }; /* of NAME and PREFIX, at most */

/* Of a path, as scanf() wants it. */
#define PATH_LENGTH 255
#define TEXT(number) TEXT_OF(number)
#define TEXT_OF(number) #number

static hmkv *kv;
static hmkv_mirror *config;
static const char *name, *prefix = "daemon";
static char config_prefix[256], lock_name[256], work_key[256];
static int epoll, timer, listener;
static bool stop;

static void die(const char *what, hmkv_status rc)
{
    fprintf(stderr, "%s: %s: %s: %s\n", name, what, hmkv_strerror(rc), hmkv_errmsg());
    exit(1);
}

static void die_of(const char *what)
{
    perror(what);
    exit(1);
}

static void say(const char *what, const char *detail)
{
    printf("%s: %s%s%s\n", name, what, *detail ? ": " : "", detail);
}

/* Calls back when the timer has run out; 0 stops it. */
static void set_timer(long ms)
{
    struct itimerspec in = {.it_value = {ms / 1000, ms % 1000 * 1000000}};
    timerfd_settime(timer, 0, &in, NULL);
}

/* ------------------------------------------------------------------ the configuration */

/* A value of the local copy as a string for free(), or NULL. It never waits. */
static char *configured(const char *key)
{
    char path[512];
    snprintf(path, sizeof path, "%s%s", config_prefix, key);
    hmkv_result *r = hmkv_mirror_get(config, path, HMKV_NTS);
    const hmkv_kv *found = hmkv_result_kv(r, 0);
    char *value = found ? strdup(found->value) : NULL;
    hmkv_result_free(r);
    return value;
}

static long work_ms(void)
{
    char *value = configured("interval_ms");
    long ms = value ? atol(value) : 0;
    free(value);
    return ms > 0 ? ms : 1000;
}

static void on_config(const hmkv_event *event, void *userdata)
{
    (void)userdata;
    if (event->type == HMKV_EVENT_PUT)
        say("configured", event->kv->key + strlen(config_prefix));
    else if (event->type == HMKV_EVENT_DELETE)
        say("no longer configured", event->kv->key + strlen(config_prefix));
    else if (event->type == HMKV_EVENT_END)
        die("the configuration ended", event->status);
}

/* ---------------------------------------------------------------------- the leadership */

static enum { WAITING, LEADING, RETRYING } role;
static hmkv_lock *lock;
static unsigned long worked;
static char leader[NAME_LENGTH + 1] = "nobody";

static void try_to_lead(void);

static void on_lost(hmkv_status status, const char *detail, void *userdata)
{
    (void)status, (void)userdata;
    say("stops leading", detail);
    (void)hmkv_lock_release(lock); /* it is lost: this waits for nothing */
    try_to_lead();
}

static void on_acquired(hmkv_status status, hmkv_lock *acquired, void *userdata)
{
    (void)acquired, (void)userdata;
    if (status == HMKV_OK) {
        role = LEADING;
        say("leads", "");
        set_timer(1);
    } else if (status != HMKV_ECLOSED) {
        role = RETRYING;
        say("cannot wait for the lock", hmkv_errmsg());
        set_timer(RETRY_MS);
    }
}

static void try_to_lead(void)
{
    role = WAITING;
    set_timer(0);
    hmkv_status rc = hmkv_lock_acquire(
        kv, lock_name,
        HMKV_LOCK_OPTS(.wait_ms = HMKV_FOREVER, .ttl_ms = 3000, .value = name,
                       .value_len = strlen(name), .acquired = on_acquired),
        on_lost, NULL, &lock);
    if (rc < 0)
        on_acquired(rc, NULL, NULL);
}

static void on_leader(const hmkv_event *event, void *userdata)
{
    (void)userdata;
    if (event->type == HMKV_EVENT_PUT) {
        snprintf(leader, sizeof leader, "%s", event->kv->value);
    } else if (event->type == HMKV_EVENT_DELETE) {
        snprintf(leader, sizeof leader, "nobody");
    } else if (event->type == HMKV_EVENT_END) {
        snprintf(leader, sizeof leader, "unknown");
        say("cannot tell any more who leads", event->detail);
    }
}

static void on_worked(hmkv_result *r, void *term)
{
    hmkv_status rc = hmkv_result_status(r);
    if (rc == HMKV_OK)
        worked++;
    else if (rc == HMKV_COMPARE_FAILED)
        say("its work was refused", "");
    else if (rc != HMKV_ECLOSED)
        say("did not work", hmkv_result_error(r));
    /* Where it was refused, on_lost() follows. A later term has a lock of its own. */
    if (role == LEADING && term == lock && rc != HMKV_COMPARE_FAILED)
        set_timer(work_ms());
    hmkv_result_free(r);
}

static void work(void)
{
    char value[128];
    int length = snprintf(value, sizeof value, "%s %lu", name, worked + 1);
    hmkv_txn *t = hmkv_txn_new(kv);
    hmkv_txn_if_held(t, lock);
    hmkv_txn_put(t, HMKV_THEN, work_key, HMKV_NTS, value, (size_t)length, NULL);
    hmkv_then(hmkv_txn_commit(t, NULL), on_worked, lock);
}

static void on_state(hmkv_state state, const char *detail, void *userdata)
{
    (void)userdata;
    if (state == HMKV_STATE_CONNECTED)
        say("connected", detail);
    else if (state == HMKV_STATE_CUT)
        say("cut", detail);
    else if (state == HMKV_STATE_TEMP_KEY_RESTORED)
        say("presence restored", detail);
    else if (state == HMKV_STATE_TEMP_KEY_LOST)
        say("someone else has this name", detail);
}

/* --------------------------------------------------------------------------- the clients */

struct client {
    int fd; /* -1: none */
    bool waits; /* for a request to the store */
    long until; /* then its time is over: for the request, and anew for the answer */
    char request[REQUEST_MAX + 1];
    size_t got;
    char *answer;
    size_t length, sent;
};

static struct client clients[CLIENTS];
static long accept_at; /* no client is accepted before */

static long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* An answer of the store may still come: its place stays taken until then. */
static void hang_up(struct client *c)
{
    close(c->fd);
    free(c->answer);
    c->answer = NULL;
    c->fd = -1;
    accept_at = 0;
}

/* Epoll knows a client by the address of its descriptor, too. */
static void listen_to(int *fd, uint32_t events)
{
    struct epoll_event wanted = {.events = events, .data.ptr = fd};
    epoll_ctl(epoll, EPOLL_CTL_MOD, *fd, &wanted);
}

static void send_more(struct client *c)
{
    ssize_t n = send(c->fd, c->answer + c->sent, c->length - c->sent, MSG_NOSIGNAL);
    if (n > 0)
        c->sent += (size_t)n;
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        hang_up(c);
    } else if (c->sent < c->length) {
        listen_to(&c->fd, EPOLLOUT);
    } else { /* the client hangs up: see read_more() */
        shutdown(c->fd, SHUT_WR);
        listen_to(&c->fd, EPOLLIN);
    }
}

static void answer(struct client *c, const char *status, const char *body)
{
    int length = asprintf(&c->answer,
                          "HTTP/1.0 %s\r\nContent-Type: text/plain; version=0.0.4\r\n"
                          "Content-Length: %zu\r\n\r\n%s",
                          status, strlen(body), body);
    if (length < 0) {
        c->answer = NULL;
        hang_up(c);
        return;
    }
    c->length = (size_t)length;
    c->sent = c->got = 0;
    c->until = now_ms() + CLIENT_MS;
    send_more(c);
}

static void on_configured(hmkv_result *r, void *userdata)
{
    struct client *c = userdata;
    hmkv_status rc = hmkv_result_status(r);
    c->waits = false;
    accept_at = 0; /* its place may be free now */
    if (c->fd >= 0 && rc == HMKV_OK)
        answer(c, "204 No Content", "");
    else if (c->fd >= 0) /* 504: nobody knows whether it was done */
        answer(c, rc == HMKV_EINDETERMINATE ? "504 Gateway Timeout" : "503 Service Unavailable",
               hmkv_result_error(r));
    hmkv_result_free(r);
}

static void respond(struct client *c, const char *method, const char *path, const char *body,
                    size_t length)
{
    char key[512], *text = NULL;
    bool get = strcmp(method, "GET") == 0;
    if (get && strncmp(path, "/config/", 8) == 0) {
        text = configured(path + 8);
        answer(c, text ? "200 OK" : "404 Not Found", text ? text : "");
        free(text);
    } else if (strcmp(method, "PUT") == 0 && strncmp(path, "/config/", 8) == 0) {
        snprintf(key, sizeof key, "%s%s", config_prefix, path + 8);
        c->waits = true;
        listen_to(&c->fd, 0);
        hmkv_then(hmkv_put(kv, key, HMKV_NTS, body, length, NULL), on_configured, c);
    } else if (get && strcmp(path, "/leader") == 0) {
        snprintf(key, sizeof key, "%s %lu\n", leader, worked);
        answer(c, "200 OK", key);
    } else if (get && strcmp(path, "/metrics") == 0) {
        if (hmkv_metrics(kv, &text) == HMKV_OK)
            answer(c, "200 OK", text);
        else
            answer(c, "500 Internal Server Error", hmkv_errmsg());
        hmkv_free(text);
    } else {
        answer(c, "404 Not Found", "");
    }
}

/*
 * Reads what is there; answers when the request is complete. After the answer it reads on,
 * for nothing, until the client hangs up: to close a connection with unread input resets
 * it, and the client may not get to see the answer.
 */
static void read_more(struct client *c)
{
    ssize_t n = recv(c->fd, c->request + c->got, REQUEST_MAX - c->got, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        hang_up(c);
        return;
    }
    if (c->answer)
        return;
    c->got += (size_t)n;
    c->request[c->got] = '\0';
    char method[8], path[PATH_LENGTH + 1], more[2];
    char *end = memmem(c->request, c->got, "\r\n\r\n", 4);
    if (end == NULL) {
        if (c->got == REQUEST_MAX)
            answer(c, "413 Content Too Large", "");
        return;
    }
    char *body = end + 4;
    char *length = strcasestr(c->request, "\r\nContent-Length:");
    if (length && length > end)
        length = NULL; /* it stands in the body */
    size_t wanted = length ? strtoul(length + 17, NULL, 10) : 0;
    size_t room = REQUEST_MAX - (size_t)(body - c->request);
    if (memchr(c->request, '\0', (size_t)(end - c->request)))
        answer(c, "400 Bad Request", "");
    else if (wanted > room)
        answer(c, "413 Content Too Large", "");
    else if (c->got - (size_t)(body - c->request) < wanted)
        return; /* the rest is on its way */
    else if (sscanf(c->request, "%7s %" TEXT(PATH_LENGTH) "[^ \r\n]%1[^ ]", method, path, more) != 2)
        answer(c, "400 Bad Request", "");
    else if (strcmp(method, "PUT") == 0 && length == NULL)
        answer(c, "411 Length Required", "");
    else
        respond(c, method, path, body, wanted);
}

/* Where all places or descriptors are taken clients wait in the kernel until one is free. */
static void welcome(void)
{
    struct client *c = clients;
    while (c < clients + CLIENTS && (c->fd >= 0 || c->waits))
        c++;
    int fd = -1;
    if (c < clients + CLIENTS)
        fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        *c = (struct client){.fd = fd, .until = now_ms() + CLIENT_MS};
        struct epoll_event readable = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &readable);
    } else if (c == clients + CLIENTS || (errno != EAGAIN && errno != ECONNABORTED)) {
        accept_at = now_ms() + RETRY_MS; /* or when somebody hangs up */
    }
}

/* Hangs up on those whose time is over; how many ms later there is more to do, or -1. */
static int look_after_clients(void)
{
    long now = now_ms(), next = LONG_MAX;
    for (struct client *c = clients; c < clients + CLIENTS; c++) {
        if (c->fd < 0 || c->waits) /* the store answers in time, or the library does */
            continue;
        if (c->until <= now)
            hang_up(c);
        else if (c->until < next)
            next = c->until;
    }
    listen_to(&listener, accept_at <= now ? EPOLLIN : 0);
    if (accept_at > now && accept_at < next)
        next = accept_at;
    return next == LONG_MAX ? -1 : (int)(next - now);
}

/* ------------------------------------------------------------------------------ the loop */

static int listen_on(const char *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    socklen_t length = sizeof at;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, length) < 0 || listen(fd, 16) < 0 ||
        getsockname(fd, (struct sockaddr *)&at, &length) < 0)
        die_of("listen");
    printf("%s: http://127.0.0.1:%d\n", name, ntohs(at.sin_port));
    return fd;
}

static void add(int *fd)
{
    struct epoll_event readable = {.events = EPOLLIN, .data.ptr = fd};
    if (*fd < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, *fd, &readable) < 0)
        die_of("epoll");
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: %s ENDPOINT NAME [PORT [PREFIX]]\n", argv[0]);
        return 2;
    }
    name = argv[2];
    if (argc > 4)
        prefix = argv[4];
    if (strlen(name) > NAME_LENGTH || strlen(prefix) > PREFIX_LENGTH) {
        fprintf(stderr, "%s: NAME has at most %d bytes, PREFIX at most %d\n", argv[0],
                NAME_LENGTH, PREFIX_LENGTH);
        return 2;
    }
    snprintf(config_prefix, sizeof config_prefix, "%s/config/", prefix);
    snprintf(lock_name, sizeof lock_name, "%s/leader", prefix);
    snprintf(work_key, sizeof work_key, "%s/work", prefix);
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 0; i < CLIENTS; i++)
        clients[i].fd = -1;

    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    epoll = epoll_create1(EPOLL_CLOEXEC);

    hmkv_watcher *leaders;
    char presence[256];
    hmkv_status rc;
    snprintf(presence, sizeof presence, "%s/alive/%s", prefix, name);
    if ((rc = hmkv_open(argv[1], "dispatch=poll,wait=1m,temp_ttl=5s", &kv)) < 0)
        die("open", rc);

    /* From here on a signal waits for the loop: what is in the store by then is taken back. */
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    int signals = signalfd(-1, &ends, SFD_NONBLOCK | SFD_CLOEXEC);

    if ((rc = hmkv_on_state(kv, on_state, NULL)) < 0 ||
        (rc = hmkv_mirror_open(kv, config_prefix, HMKV_NTS, on_config, NULL, &config)) < 0 ||
        (rc = hmkv_temp_key(kv, presence)) < 0 ||
        (rc = hmkv_lock_observe(kv, lock_name, on_leader, NULL, &leaders)) < 0)
        die("start", rc);
    int store = hmkv_fd(kv);
    listener = listen_on(argc > 3 ? argv[3] : "0");
    add(&signals);
    add(&timer);
    add(&store);
    add(&listener);
    try_to_lead();
    say("ready", "");

    while (!stop) {
        struct epoll_event ready[16];
        int n = epoll_wait(epoll, ready, 16, look_after_clients());
        for (int i = 0; i < n; i++) {
            void *what = ready[i].data.ptr;
            if (what == &store) {
                hmkv_dispatch(kv, 64, NULL);
            } else if (what == &timer) {
                uint64_t times;
                if (read(timer, &times, sizeof times) != sizeof times)
                    continue;
                if (role == LEADING)
                    work();
                else if (role == RETRYING)
                    try_to_lead();
            } else if (what == &signals) {
                stop = true;
            } else if (what == &listener) {
                welcome();
            } else {
                struct client *c = what;
                if (c->fd >= 0 && c->answer && c->sent < c->length)
                    send_more(c);
                else if (c->fd >= 0 && c->waits)
                    hang_up(c); /* nobody is there any more */
                else if (c->fd >= 0)
                    read_more(c);
            }
        }
    }

    /* Gives the lock to the next one and the name free at once, where the store is there. */
    say("ends", "");
    epoll_ctl(epoll, EPOLL_CTL_DEL, store, NULL);
    rc = hmkv_close(kv);
    for (int i = 0; i < CLIENTS; i++)
        if (clients[i].fd >= 0)
            hang_up(&clients[i]);
    close(listener);
    close(epoll);
    close(timer);
    close(signals);
    return rc == HMKV_OK ? 0 : 1;
}
