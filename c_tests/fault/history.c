#include "history.h"

#include "control.h"
#include "process.h"

#include <signal.h>

void history_add_op(struct history *history, struct op op) {
  if (history->op_count == history->op_room) {
    history->op_room = history->op_room ? 2 * history->op_room : 1024;
    history->ops = realloc(history->ops, history->op_room * sizeof *history->ops);
    CHECK(history->ops);
  }
  history->ops[history->op_count++] = op;
}

void history_add_change(struct history *history, struct change change) {
  if (history->change_count == history->change_room) {
    history->change_room = history->change_room ? 2 * history->change_room : 1024;
    history->changes = realloc(history->changes, history->change_room * sizeof *history->changes);
    CHECK(history->changes);
  }
  history->changes[history->change_count++] = change;
}

void history_free(struct history *history) {
  free(history->ops);
  free(history->changes);
  memset(history, 0, sizeof *history);
}

const char *key_name(int key) {
  static const char *const names[KEYS] = {"k/0", "k/1", "k/2", "k/3", "k/4",
                                          "k/5", "k/6", "k/7", "k/8", "k/9"};
  CHECK(key >= 0 && key < KEYS);
  return names[key];
}

/* ---- etcdctl's JSON: one line for each answer of the server ---- */

static int digit64(char c) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const char *found = c ? strchr(digits, c) : NULL;
  return found ? (int)(found - digits) : -1;
}

/* The base64 text after `name` within the object that ends at `end`; "" for none. */
static void field_text(const char *object, const char *end, const char *name, char *out,
                       size_t size) {
  const char *at = strstr(object, name);
  size_t length = 0;
  unsigned bits = 0;
  out[0] = '\0';
  if (!at || at > end) return;
  at += strlen(name);
  for (int i = 1; digit64(*at) >= 0; i++, at++) {
    bits = bits << 6 | (unsigned)digit64(*at);
    if (i % 4 == 1) continue;
    CHECK(length + 1 < size);
    out[length++] = (char)(bits >> (8 - 2 * ((i - 1) % 4 + 1)) & 0xff);
  }
  out[length] = '\0';
}

static int64_t field_number(const char *object, const char *end, const char *name) {
  const char *at = strstr(object, name);
  CHECK(at && at < end);
  return strtoll(at + strlen(name), NULL, 10);
}

/* True when the last change was that of `last`. */
static bool read_line(struct history *history, const char *line, const char *prefix,
                      const char *last) {
  static const char head[] = "\"kv\":{", deleted[] = "\"type\":1,";
  for (const char *object = line; (object = strstr(object, head));) {
    char name[64], value[64];
    bool is_deletion = object - line > (long)strlen(deleted) &&
                       strncmp(object - strlen(deleted), deleted, strlen(deleted)) == 0;
    object += strlen(head);
    const char *end = strchr(object, '}');
    CHECK(end);
    field_text(object, end, "\"key\":\"", name, sizeof name);
    if (strcmp(name, last) == 0) return true;
    if (strncmp(name, prefix, strlen(prefix)) != 0) continue;
    field_text(object, end, "\"value\":\"", value, sizeof value);
    history_add_change(history, (struct change){field_number(object, end, "\"mod_revision\":"),
                                                atoi(name + strlen(prefix)),
                                                is_deletion ? ABSENT : atoll(value)});
  }
  return false;
}

void history_read(struct history *history, const char *endpoint, const char *prefix) {
  const char *last = text("end/%" PRId64, now_us());
  etcdctl_at(endpoint, "put", last, "", NULL);
  const char *const argv[] = {"timeout", "900", etcdctl_program(), "--endpoints", endpoint,
                              "watch", "", "--prefix", "--rev=1", "-w", "json", NULL};
  struct process watch = process_start(argv, KEEP_STDERR);
  FILE *file = fdopen(watch.out, "r");
  CHECK(file);
  char *line = NULL;
  size_t size = 0;
  bool ended = false;
  while (!ended && getline(&line, &size, file) > 0) ended = read_line(history, line, prefix, last);
  if (!ended) FAIL("etcdctl ends before it has told the whole history");
  free(line);
  fclose(file);
  watch.out = -1;
  process_kill(&watch, SIGTERM);
  process_wait(&watch);
}
