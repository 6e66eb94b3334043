/* Requests that are awaited, and what their results show. */
#ifndef REQUESTS_H
#define REQUESTS_H

#include "test.h"

/* The result of a request whose status must be `expected`. A negative one must have a
 * text, any other none. */
#define AWAIT(expected, op) test_await(__FILE__, __LINE__, #op, (expected), (op))
/* The same, given back at once. */
#define FINISH(expected, op) hmkv_result_free(AWAIT(expected, op))
hmkv_result *test_await(const char *file, int line, const char *what, hmkv_status expected,
                        hmkv_op *op);

/* Puts a text; gives the revision of that. */
int64_t put_text(hmkv *kv, const char *key, const char *value);

/* The keys of a result in its order, without what they all must begin with, each
 * followed by a blank. */
const char *names_of(const hmkv_result *result, const char *prefix);

/* The key and the value of a result's entry, of any bytes. */
#define CHECK_ENTRY(entry, key, key_len, value, value_len) \
  test_entry(__FILE__, __LINE__, (entry), (key), (key_len), (value), (value_len))
void test_entry(const char *file, int line, const hmkv_kv *entry, const void *key,
                size_t key_len, const void *value, size_t value_len);

/* What hmkv_then() brought. */
struct answer {
  atomic_int calls;
  hmkv_result *result;
  pid_t thread;
  char thread_name[32];
};

/* The callback; its userdata is a struct answer. */
void answer_record(hmkv_result *result, void *userdata);
/* Waits for it; the status must be `expected`. The answer owns the result. */
#define ANSWERED(expected, answer) test_answered(__FILE__, __LINE__, (expected), (answer))
hmkv_result *test_answered(const char *file, int line, hmkv_status expected,
                           struct answer *answer);
/* Gives the result back; the answer can be used again. */
void answer_free(struct answer *answer);

#endif
