/* What hmkv_cluster_status() tells, as jq reads it. */
#ifndef STATUS_H
#define STATUS_H

#include "test.h"

/* The text, to be given back with hmkv_free(). */
char *cluster_status(hmkv *kv);
/* Whether jq finds the filter true of it. */
bool json_holds(const char *json, const char *filter);
#define CHECK_JSON(json, filter)     \
  (json_holds(json, filter) ? (void)0 : test_fail(__FILE__, __LINE__, "%s: %s", filter, json))

/* All that is promised of any answer; the URLs begin with `scheme`. */
void check_members(const char *json, const char *scheme);

#endif
