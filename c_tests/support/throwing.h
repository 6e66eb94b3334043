/* Callbacks in C++ that throw; userdata is ignored. */
#ifndef THROWING_H
#define THROWING_H

#include <hmkv.h>

#ifdef __cplusplus
extern "C" {
#endif

bool throw_from_watch(const char *key, const char *value, hmkv_keychange op, void *userdata);
void throw_from_state(hmkv_state state, const char *detail, void *userdata);
void throw_from_log(int32_t level, const char *line, void *userdata);

#ifdef __cplusplus
}
#endif

#endif
