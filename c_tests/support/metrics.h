/* What hmkv_metrics() tells. */
#ifndef METRICS_H
#define METRICS_H

#include "test.h"

/* The text, to be given back with hmkv_free(). */
char *metrics_text(hmkv *kv);
/* The value of a series, named as it stands in the text; -1 where there is none. */
int64_t metric(hmkv *kv, const char *series);
/* Of hmkv_requests_total. */
int64_t requests_ended(hmkv *kv, const char *kind, const char *status);

#endif
