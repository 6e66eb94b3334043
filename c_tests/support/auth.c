#include "auth.h"

#include "process.h"

static const char *jwt_option(struct server *server) {
  const char *d = server->directory;
  const char *make = text("openssl genrsa -out '%s/jwt.key' 2048 2>'%s/jwt.log' && "
                          "openssl rsa -in '%s/jwt.key' -pubout -out '%s/jwt.pub' 2>>'%s/jwt.log'",
                          d, d, d, d, d);
  CHECK_INT(0, system(make));
  return text("--auth-token=jwt,pub-key=%s/jwt.pub,priv-key=%s/jwt.key,sign-method=RS256,ttl=%ds",
              d, d, TOKEN_SECONDS);
}

void auth_prepare(struct server *server, enum token_kind kind) {
  server_prepare(server, "own");
  server->option = kind == JWT ? jwt_option(server) : text("--auth-token-ttl=%d", SIMPLE_SECONDS);
  server_begin(server);
}

static void be_root(const struct server *server) {
  setenv("ETCDCTL_USER", "root:rootpassword", 1);
  const char *d = server->certificates;
  if (!d) return;
  setenv("ETCDCTL_CACERT", text("%s/ca.pem", d), 1);
  setenv("ETCDCTL_CERT", text("%s/client.pem", d), 1);
  setenv("ETCDCTL_KEY", text("%s/client.key", d), 1);
}

void auth_enable(struct server *server) {
  be_root(server);
  unsetenv("ETCDCTL_USER");
  etcdctl_at(server->endpoint, "user", "add", "root:rootpassword", NULL);
  etcdctl_at(server->endpoint, "user", "grant-role", "root", "root", NULL);
  etcdctl_at(server->endpoint, "auth", "enable", NULL);
  be_root(server);
}

void auth_start(struct server *server, enum token_kind kind) {
  auth_prepare(server, kind);
  auth_enable(server);
}

void auth_stop(struct server *server) {
  unsetenv("ETCDCTL_USER");
  unsetenv("ETCDCTL_CACERT");
  unsetenv("ETCDCTL_CERT");
  unsetenv("ETCDCTL_KEY");
  server_stop(server);
}

void auth_add_user(struct server *server, const char *user, const char *password,
                   const char *prefix) {
  const char *at = server->endpoint, *role = text("role of %s", user);
  etcdctl_at(at, "user", "add", user, "--new-user-password", password, NULL);
  etcdctl_at(at, "role", "add", role, NULL);
  etcdctl_at(at, "role", "grant-permission", role, "--prefix=true", "readwrite", prefix, NULL);
  etcdctl_at(at, "user", "grant-role", user, role, NULL);
}

void auth_change_password(struct server *server, const char *user, const char *password) {
  const char *const argv[] = {
      "sh", "-c", "printf '%s\\n' \"$2\" | \"$3\" --endpoints=\"$0\" --command-timeout=30s "
      "--dial-timeout=30s user passwd \"$1\" --interactive=false", server->endpoint, user,
      password, etcdctl_program(), NULL};
  struct process process = process_start(argv, JOIN_STDERR);
  static char output[4096];
  process_read(&process, output, sizeof output, NULL);
  if (process_wait(&process) != 0) FAIL("user passwd failed: %s", output);
}

long auth_count(struct server *server) {
  return server_metric(server, "grpc_server_started_total{grpc_method=\"Authenticate\","
                               "grpc_service=\"etcdserverpb.Auth\",grpc_type=\"unary\"}");
}

const char *auth_file(struct server *server, const char *contents) {
  const char *path = text("%s/password", server->directory), *fresh = text("%s.new", path);
  FILE *file = fopen(fresh, "w");
  CHECK(file);
  fputs(contents, file);
  CHECK_INT(0, fclose(file));
  CHECK_INT(0, rename(fresh, path));
  return path;
}
