/* Mirrors, and what they show. */
#ifndef MIRRORS_H
#define MIRRORS_H

#include "recorder.h"

/* Opens one; `told` may be NULL. */
hmkv_mirror *mirror_of(hmkv *kv, const char *prefix, struct recorder *told);
/* A result, whose status must be `expected`. A negative one must have a text. */
hmkv_result *mirror_result(hmkv_status expected, hmkv_result *result);
/* The same, given back at once. */
#define CHECK_RESULT(expected, call) hmkv_result_free(mirror_result(expected, call))
/* The revision of the copy. */
int64_t mirror_revision(hmkv_mirror *mirror, const char *prefix);
/* The value of a key, or NULL; lives as long as the process. */
const char *mirror_value(hmkv_mirror *mirror, const char *key);
/* The copy is brought to the newest revision, and is what the store was at its own. */
void mirror_check(hmkv_mirror *mirror, hmkv *kv, const char *prefix);
/* Both results hold the same. */
void check_same_result(const hmkv_result *a, const hmkv_result *b);

#endif
