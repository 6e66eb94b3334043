#include "requests.h"

static void check_result(const char *file, int line, const char *what, hmkv_status expected,
                         const hmkv_result *result) {
  if (!result) test_fail(file, line, "%s: no result", what);
  hmkv_status status = hmkv_result_status(result);
  const char *error = hmkv_result_error(result);
  if (status != expected)
    test_fail(file, line, "%s: expected %s, got %s (%s)", what, hmkv_status_name(expected),
              hmkv_status_name(status), error ? error : "no text");
  if (status < 0 && (!error || !*error || strchr(error, '\n')))
    test_fail(file, line, "%s: a failure needs one line of text", what);
  if (status >= 0 && error) test_fail(file, line, "%s: no failure, and yet %s", what, error);
}

hmkv_result *test_await(const char *file, int line, const char *what, hmkv_status expected,
                        hmkv_op *op) {
  if (!op) test_fail(file, line, "%s: no op", what);
  hmkv_result *result = hmkv_await(op);
  check_result(file, line, what, expected, result);
  return result;
}

int64_t put_text(hmkv *kv, const char *key, const char *value) {
  hmkv_result *result = AWAIT(HMKV_OK, hmkv_put(kv, key, HMKV_NTS, value, HMKV_NTS, NULL));
  int64_t revision = hmkv_result_revision(result);
  CHECK(revision > 0);
  hmkv_result_free(result);
  return revision;
}

const char *names_of(const hmkv_result *result, const char *prefix) {
  size_t length = strlen(prefix), room = 1;
  for (size_t i = 0; i < hmkv_result_count(result); i++)
    room += hmkv_result_kv(result, i)->key_len + 1;
  char *list = calloc(1, room), *end = list;
  CHECK(list);
  for (size_t i = 0; i < hmkv_result_count(result); i++) {
    const hmkv_kv *entry = hmkv_result_kv(result, i);
    if (strncmp(entry->key, prefix, length) != 0) FAIL("%s is outside", entry->key);
    end += sprintf(end, "%s ", entry->key + length);
  }
  const char *names = text("%s", list);
  free(list);
  return names;
}

void test_entry(const char *file, int line, const hmkv_kv *entry, const void *key,
                size_t key_len, const void *value, size_t value_len) {
  if (!entry) test_fail(file, line, "no entry");
  test_int(file, line, "key_len", (int64_t)key_len, (int64_t)entry->key_len);
  if (memcmp(key, entry->key, key_len) != 0) test_fail(file, line, "another key: %s", entry->key);
  test_int(file, line, "value_len", (int64_t)value_len, (int64_t)entry->value_len);
  if (value_len && memcmp(value, entry->value, value_len) != 0)
    test_fail(file, line, "another value: %.200s", entry->value);
  if (entry->key[key_len] || entry->value[value_len]) test_fail(file, line, "no NUL at the end");
}

void answer_record(hmkv_result *result, void *userdata) {
  struct answer *answer = userdata;
  CHECK(result);
  answer->result = result;
  answer->thread = thread_id();
  CHECK_INT(0, pthread_getname_np(pthread_self(), answer->thread_name,
                                  sizeof answer->thread_name));
  atomic_fetch_add(&answer->calls, 1);
}

hmkv_result *test_answered(const char *file, int line, hmkv_status expected,
                           struct answer *answer) {
  WAIT_UNTIL(atomic_load(&answer->calls) > 0);
  test_int(file, line, "calls", 1, atomic_load(&answer->calls));
  check_result(file, line, "hmkv_then", expected, answer->result);
  return answer->result;
}

void answer_free(struct answer *answer) {
  hmkv_result_free(answer->result);
  memset(answer, 0, sizeof *answer);
}
