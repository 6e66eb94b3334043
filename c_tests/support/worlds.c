#include "worlds.h"

#include "server.h"

#include <stdarg.h>

struct world worlds[WORLDS];
int step;

static struct server server;
static const char *handle_options;
static unsigned seed;
static struct shown doing;

unsigned draw(size_t below) { return (unsigned)rand_r(&seed) % (unsigned)below; }

/* ---- opening and closing ---- */

void worlds_open(int handle) {
  for (int w = 0; w < WORLDS; w++)
    worlds[w].kv[handle] = open_at(worlds[w].endpoint, handle_options);
}

int worlds_start(int steps, const char *options) {
  steps = (int)test_number("--steps", steps);
  seed = (unsigned)test_number("--seed", now_ms() ^ (int64_t)getpid() << 20);
  printf(" --seed %u --steps %d", seed, steps);
  fflush(stdout);
  server_start(&server, NULL);
  handle_options = options;
  worlds[MEM].endpoint = text("mem:%s", unique("differential"));
  worlds[ETCD].endpoint = server.endpoint;
  for (int handle = 0; handle < HANDLES; handle++) worlds_open(handle);
  for (int w = 0; w < WORLDS; w++) {
    worlds[w].watching = open_at(worlds[w].endpoint, "timeout=60s");
    hmkv_result *result = list_keys(worlds[w].watching, "a");
    worlds[w].base = hmkv_result_revision(result);
    CHECK_INT(0, hmkv_result_count(result));
    hmkv_result_free(result);
  }
  step = 0;
  return steps;
}

void worlds_stop(void) {
  for (int w = 0; w < WORLDS; w++) {
    for (int handle = 0; handle < HANDLES; handle++) close_store(worlds[w].kv[handle]);
    close_store(worlds[w].watching);
  }
  shown_end(&doing);
  free(doing.text);
  doing = (struct shown){0};
  server_stop(&server);
}

/* ---- comparing ---- */

FILE *describing(void) {
  shown_end(&doing);
  free(doing.text);
  shown_begin(&doing);
  return doing.file;
}

void describe(const char *format, ...) {
  va_list list;
  va_start(list, format);
  vfprintf(describing(), format, list);
  va_end(list);
}

static const char *words(void) {
  fflush(doing.file);
  return doing.text;
}

void same_number(const char *what, int64_t mem, int64_t etcd) {
  if (mem != etcd)
    FAIL("step %d: %s: %s: %" PRId64 " on mem:, %" PRId64 " on etcd", step, words(), what, mem, etcd);
}

void same_status(hmkv_status mem, hmkv_status etcd) {
  if (mem != etcd)
    FAIL("step %d: %s: %s on mem:, %s on etcd", step, words(), hmkv_status_name(mem),
         hmkv_status_name(etcd));
}

void same_text(const char *what, const char *mem, const char *etcd) {
  if (mem == etcd || (mem && etcd && strcmp(mem, etcd) == 0)) return;
  FAIL("step %d: %s: %s: \"%s\" on mem:, \"%s\" on etcd", step, words(), what, mem ? mem : "(null)",
       etcd ? etcd : "(null)");
}

void same_results(hmkv_result *result[WORLDS]) {
  struct shown shown[WORLDS];
  for (int w = 0; w < WORLDS; w++) {
    shown_begin(&shown[w]);
    show_result(shown[w].file, w, result[w], SIZE_MAX);
    hmkv_result_free(result[w]);
  }
  same_shown(shown);
}

void shown_begin(struct shown *shown) {
  shown->text = NULL;
  shown->file = open_memstream(&shown->text, &shown->length);
  CHECK(shown->file);
}

void shown_end(struct shown *shown) {
  if (!shown->file) return;
  CHECK_INT(0, fclose(shown->file));
  shown->file = NULL;
}

/* The first line, which has the status, and what follows from `at` on. */
static const char *extract(const char *shown, size_t at) {
  enum { ENOUGH = 3000 };
  int first = (int)strcspn(shown, "\n") + 1;
  if ((size_t)first >= at) return text("%.*s", ENOUGH, shown);
  return text("%.*s...\n%.*s", first, shown, ENOUGH, shown + at);
}

void same_shown(struct shown shown[WORLDS]) {
  for (int w = 0; w < WORLDS; w++) shown_end(&shown[w]);
  const char *mem = shown[MEM].text, *etcd = shown[ETCD].text;
  if (strcmp(mem, etcd) != 0) {
    size_t line = 0;
    for (size_t i = 0; mem[i] == etcd[i]; i++)
      if (mem[i] == '\n') line = i + 1;
    FAIL("step %d: %s\n-- on mem:\n%s\n-- on etcd:\n%s", step, words(), extract(mem, line),
         extract(etcd, line));
  }
  for (int w = 0; w < WORLDS; w++) free(shown[w].text);
}

/* ---- showing ---- */

void show_bytes(FILE *file, const void *data, size_t length) {
  enum { SHORT = 60 };
  const unsigned char *bytes = data;
  fputc('"', file);
  for (size_t i = 0; i < length && i < SHORT; i++) {
    if (bytes[i] >= ' ' && bytes[i] < 0x7f && bytes[i] != '"' && bytes[i] != '\\')
      fputc(bytes[i], file);
    else
      fprintf(file, "\\x%02x", bytes[i]);
  }
  fputc('"', file);
  if (length <= SHORT) return;
  uint32_t sum = 0;
  for (size_t i = SHORT; i < length; i++) sum = sum * 31 + bytes[i];
  fprintf(file, "... (%zu bytes, %08" PRIx32 ")", length, sum);
}

void show_kv(FILE *file, int w, const hmkv_kv *kv) {
  show_bytes(file, kv->key, kv->key_len);
  fputc('=', file);
  show_bytes(file, kv->value, kv->value_len);
  fprintf(file, " create %" PRId64 " mod %" PRId64 " version %" PRId64 " lease %" PRId64 "%s\n",
          revision_from(w, kv->create_revision), revision_from(w, kv->mod_revision), kv->version,
          lease_from(w, kv->lease),
          kv->key[kv->key_len] || kv->value[kv->value_len] ? " without a NUL" : "");
}

void show_result(FILE *file, int w, const hmkv_result *result, size_t most) {
  size_t count = hmkv_result_count(result);
  fprintf(file, "%s%s, %zu of %" PRIu64 " keys, revision %" PRId64 "\n",
          hmkv_status_name(hmkv_result_status(result)),
          hmkv_result_error(result) ? " with its error" : "", count, hmkv_result_total(result),
          revision_from(w, hmkv_result_revision(result)));
  for (size_t i = 0; i < count && i < most; i++) show_kv(file, w, hmkv_result_kv(result, i));
  if (hmkv_result_kv(result, count)) fputs("one more than there are\n", file);
  const hmkv_result *sub;
  for (size_t i = 0; (sub = hmkv_result_sub(result, i)); i++) {
    fprintf(file, "sub %zu: ", i);
    show_result(file, w, sub, most);
  }
}

/* ---- revisions and leases ---- */

int64_t revision_in(int w, int64_t revision) {
  return revision > 0 ? worlds[w].base + revision : revision;
}

int64_t revision_from(int w, int64_t revision) {
  return revision > 0 ? revision - worlds[w].base : revision;
}

/* Callbacks of watches look here too. */
static pthread_mutex_t leases_mutex = PTHREAD_MUTEX_INITIALIZER;
static int64_t (*leases)[WORLDS];
static int leases_count;

int lease_count(void) { return leases_count; }

void lease_add(const int64_t id[WORLDS]) {
  pthread_mutex_lock(&leases_mutex);
  leases = realloc(leases, (size_t)(leases_count + 1) * sizeof *leases);
  CHECK(leases);
  memcpy(leases[leases_count++], id, sizeof *leases);
  pthread_mutex_unlock(&leases_mutex);
}

int64_t lease_in(int w, int64_t number) {
  if (number == LEASE_NEVER) return 0x123456789;
  return number > 0 ? leases[number - 1][w] : number;
}

int64_t lease_from(int w, int64_t id) {
  if (id <= 0) return id;
  pthread_mutex_lock(&leases_mutex);
  int number = leases_count;
  while (number > 0 && leases[number - 1][w] != id) number--;
  pthread_mutex_unlock(&leases_mutex);
  return number ? number : LEASE_OTHER;
}
