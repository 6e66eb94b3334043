#include "metrics.h"

char *metrics_text(hmkv *kv) {
  char *text = NULL;
  CHECK_OK(hmkv_metrics(kv, &text));
  CHECK(text && *text);
  return text;
}

int64_t metric(hmkv *kv, const char *series) {
  char *text = metrics_text(kv), *rest = text;
  size_t length = strlen(series);
  int64_t value = -1;
  for (char *line; (line = strtok_r(rest, "\n", &rest));)
    if (strncmp(line, series, length) == 0 && line[length] == ' ')
      value = strtoll(line + length + 1, NULL, 10);
  hmkv_free(text);
  return value;
}

int64_t requests_ended(hmkv *kv, const char *kind, const char *status) {
  char series[128];
  snprintf(series, sizeof series, "hmkv_requests_total{kind=\"%s\",status=\"%s\"}", kind, status);
  return metric(kv, series);
}
