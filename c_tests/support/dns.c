#include "dns.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <resolv.h>
#include <strings.h>
#include <sys/socket.h>

enum { QUESTION = 12, SRV = 33, NAME_ERROR = 3, SERVER_FAILURE = 2 };

static atomic_int redirected; /* to this port; 0: to nowhere */

/* In the place of the C library's own: its real resolver, with another address. */
int res_ninit(res_state state) {
  int (*real)(res_state);
  *(void **)&real = dlsym(RTLD_NEXT, "__res_ninit");
  int result = real(state);
  int port = atomic_load(&redirected);
  if (result == 0 && port != 0) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    state->nsaddr_list[0] = address;
    state->nscount = 1;
  }
  return result;
}

static size_t put16(unsigned char *at, int value) {
  at[0] = (unsigned char)(value >> 8);
  at[1] = (unsigned char)value;
  return 2;
}

static size_t put_name(unsigned char *at, const char *name) {
  unsigned char *begin = at;
  while (*name && strcmp(name, ".") != 0) {
    size_t length = strcspn(name, ".");
    *at++ = (unsigned char)length;
    memcpy(at, name, length);
    at += length;
    name += length + (name[length] == '.');
  }
  *at++ = 0;
  return (size_t)(at - begin);
}

static size_t put_record(unsigned char *at, const struct srv *srv, int ttl) {
  unsigned char *begin = at;
  at += put16(at, 0xc000 | QUESTION); /* the name of the question */
  at += put16(at, SRV);
  at += put16(at, 1);
  at += put16(at, 0);
  at += put16(at, ttl);
  unsigned char *length = at;
  at += 2;
  at += put16(at, srv->priority);
  at += put16(at, srv->weight);
  at += put16(at, srv->port);
  at += put_name(at, srv->target);
  put16(length, (int)(at - length - 2));
  return (size_t)(at - begin);
}

/* The answer to the question in `message`; its length, or 0 for none. */
static size_t answer(struct dns *dns, unsigned char *message, size_t length) {
  char name[256] = "";
  size_t at = QUESTION;
  while (at < length && message[at] != 0 && message[at] < 64) {
    strncat(name, (const char *)message + at + 1, message[at]);
    at += 1 + message[at];
    if (message[at] != 0) strcat(name, ".");
  }
  if (at + 5 > length) return 0;
  at += 5;
  int answers = 0;
  pthread_mutex_lock(&dns->mutex);
  dns->asked++;
  bool silent = dns->silent, refusing = dns->refusing;
  bool raw = dns->raw_answers > 0 && strstr(name, "-ssl");
  if (raw) {
    memcpy(message + at, dns->raw, dns->raw_length);
    at += dns->raw_length;
    answers = dns->raw_answers;
  }
  for (size_t i = 0; i < dns->count && !raw && !refusing; i++) {
    if (strcasecmp(dns->records[i].name, name) != 0) continue;
    at += put_record(message + at, &dns->records[i], dns->ttl);
    answers++;
  }
  pthread_mutex_unlock(&dns->mutex);
  int code = refusing ? SERVER_FAILURE : answers == 0 ? NAME_ERROR : 0;
  put16(message + 2, 0x8180 | code); /* an answer, recursion and all */
  put16(message + 6, answers);
  put16(message + 8, 0);
  put16(message + 10, 0);
  return silent ? 0 : at;
}

static void *serve(void *arg) {
  struct dns *dns = arg;
  unsigned char message[16384];
  for (;;) {
    struct sockaddr_in from;
    socklen_t from_length = sizeof from;
    ssize_t got =
        recvfrom(dns->socket, message, 512, 0, (struct sockaddr *)&from, &from_length);
    if (got == 0) return NULL; /* see dns_stop() */
    if (got < QUESTION) continue;
    size_t length = answer(dns, message, (size_t)got);
    if (length > 0)
      sendto(dns->socket, message, length, 0, (struct sockaddr *)&from, from_length);
  }
}

void dns_start(struct dns *dns) {
  memset(dns, 0, sizeof *dns);
  dns->ttl = DNS_TTL;
  pthread_mutex_init(&dns->mutex, NULL);
  dns->socket = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  CHECK(dns->socket >= 0);
  struct sockaddr_in address = {.sin_family = AF_INET};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  CHECK_INT(0, bind(dns->socket, (struct sockaddr *)&address, sizeof address));
  CHECK_INT(0, getsockname(dns->socket, (struct sockaddr *)&address, &length));
  dns->port = ntohs(address.sin_port);
  dns->thread = start_thread(serve, dns);
  CHECK_INT(0, atomic_exchange(&redirected, dns->port));
}

void dns_add(struct dns *dns, const char *name, int priority, int port, const char *target) {
  pthread_mutex_lock(&dns->mutex);
  CHECK(dns->count < DNS_RECORDS);
  dns->records[dns->count++] =
      (struct srv){.name = name, .priority = priority, .weight = 1, .port = port, .target = target};
  pthread_mutex_unlock(&dns->mutex);
}

void dns_clear(struct dns *dns) {
  pthread_mutex_lock(&dns->mutex);
  dns->count = 0;
  pthread_mutex_unlock(&dns->mutex);
}

void dns_set_ttl(struct dns *dns, int ttl) {
  pthread_mutex_lock(&dns->mutex);
  dns->ttl = ttl;
  pthread_mutex_unlock(&dns->mutex);
}

void dns_be_silent(struct dns *dns, bool silent) {
  pthread_mutex_lock(&dns->mutex);
  dns->silent = silent;
  pthread_mutex_unlock(&dns->mutex);
}

void dns_refuse(struct dns *dns, bool refuse) {
  pthread_mutex_lock(&dns->mutex);
  dns->refusing = refuse;
  pthread_mutex_unlock(&dns->mutex);
}

void dns_answer_with(struct dns *dns, const void *bytes, size_t length, int answers) {
  pthread_mutex_lock(&dns->mutex);
  CHECK(length <= sizeof dns->raw);
  if (length > 0) memcpy(dns->raw, bytes, length);
  dns->raw_length = length;
  dns->raw_answers = answers;
  pthread_mutex_unlock(&dns->mutex);
}

long dns_asked(struct dns *dns) {
  pthread_mutex_lock(&dns->mutex);
  long asked = dns->asked;
  pthread_mutex_unlock(&dns->mutex);
  return asked;
}

void dns_stop(struct dns *dns) {
  atomic_store(&redirected, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)dns->port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK_INT(0, sendto(dns->socket, "", 0, 0, (struct sockaddr *)&address, sizeof address));
  join_thread(dns->thread);
  close(dns->socket);
  pthread_mutex_destroy(&dns->mutex);
}
