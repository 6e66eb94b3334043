/* A name server on 127.0.0.1, which this process asks instead of the system's for what
 * it asks the resolver of the C library; names of hosts are looked up as ever. */
#ifndef DNS_H
#define DNS_H

#include "test.h"

struct srv {
  const char *name; /* in full */
  int priority, weight, port;
  const char *target;
};

/* Of the cluster that the tests look for, and what names it. */
#define PLAIN "_etcd-client._tcp.cluster.test"
#define TLS "_etcd-client-ssl._tcp.cluster.test"
#define DOMAIN "srv:cluster.test"

enum { DNS_RECORDS = 32, DNS_TTL = 3600 };

struct dns {
  int socket, port;
  pthread_t thread;
  pthread_mutex_t mutex; /* of all that follows */
  struct srv records[DNS_RECORDS];
  size_t count;
  int ttl;
  bool silent, refusing;
  unsigned char raw[4096]; /* see dns_answer_with() */
  size_t raw_length;
  int raw_answers;
  long asked;
};

/* With no record: no name exists. One server at a time. */
void dns_start(struct dns *dns);
void dns_add(struct dns *dns, const char *name, int priority, int port, const char *target);
void dns_clear(struct dns *dns);
/* It hears questions and says nothing, or answers again. */
void dns_be_silent(struct dns *dns, bool silent);
/* It answers that it cannot answer. */
void dns_refuse(struct dns *dns, bool refuse);
/* For how many seconds its records are good; DNS_TTL from the start. */
void dns_set_ttl(struct dns *dns, int ttl);
/* It answers what is asked of TLS with these bytes, said to be so many records; none:
 * properly again. */
void dns_answer_with(struct dns *dns, const void *bytes, size_t length, int answers);
/* Questions so far. */
long dns_asked(struct dns *dns);
void dns_stop(struct dns *dns);

#endif
