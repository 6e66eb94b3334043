/* A server that asks who one is. Its tokens are good for TOKEN_SECONDS; simple ones for
 * less, counted from their last use: what the library asks by itself, every three seconds
 * at most, is not to keep them for ever. */
#ifndef AUTH_H
#define AUTH_H

#include "server.h"

enum { TOKEN_SECONDS = 4, SIMPLE_SECONDS = 2 };
enum token_kind { SIMPLE_TOKENS, JWT };

/* Starts one with the user root, whose password is "rootpassword"; etcdctl is root from
 * now on. */
void auth_start(struct server *server, enum token_kind kind);
/* The two halves of it: nobody is asked before the second. */
void auth_prepare(struct server *server, enum token_kind kind);
void auth_enable(struct server *server);
/* Ends it, and what etcdctl was told. */
void auth_stop(struct server *server);

/* A new user with a role that covers the keys which begin with `prefix`. */
void auth_add_user(struct server *server, const char *user, const char *password,
                   const char *prefix);
void auth_change_password(struct server *server, const char *user, const char *password);

/* How many authentications it was asked for since it started; etcdctl asks too. */
long auth_count(struct server *server);

/* A file of the test with this text, new or anew. */
const char *auth_file(struct server *server, const char *text);

#endif
