#include "recorder.h"

static bool is_change(int32_t type) {
  return type == HMKV_EVENT_PUT || type == HMKV_EVENT_DELETE;
}

/* ---- one event ---- */

static char *keep(const char *bytes, size_t length) {
  CHECK(bytes);
  CHECK_INT(0, bytes[length]);
  char *kept = malloc(length + 1);
  CHECK(kept);
  memcpy(kept, bytes, length + 1);
  return kept;
}

static struct recorded_kv keep_kv(const hmkv_kv *kv) {
  if (!kv) return (struct recorded_kv){0};
  CHECK(kv->key_len >= 1);
  return (struct recorded_kv){.key = keep(kv->key, kv->key_len),
                              .key_len = kv->key_len,
                              .value = keep(kv->value, kv->value_len),
                              .value_len = kv->value_len,
                              .create_revision = kv->create_revision,
                              .mod_revision = kv->mod_revision,
                              .version = kv->version,
                              .lease = kv->lease};
}

static void check_stored(const struct recorded_kv *kv) {
  CHECK(kv->create_revision > 0);
  CHECK(kv->mod_revision >= kv->create_revision);
  CHECK(kv->version >= 1);
  CHECK_INT(kv->version == 1, kv->mod_revision == kv->create_revision);
}

static void check(const struct recorded *event) {
  const struct recorded_kv *kv = &event->kv;
  bool told = event->type == HMKV_EVENT_STATE || event->type == HMKV_EVENT_END;
  CHECK(event->type >= HMKV_EVENT_PUT && event->type <= HMKV_EVENT_END);
  CHECK_INT(is_change(event->type), kv->key != NULL);
  CHECK_INT(told || event->type == HMKV_EVENT_RESYNC, event->detail != NULL);
  if (event->detail) CHECK(!strchr(event->detail, '\n'));
  if (event->type == HMKV_EVENT_END) CHECK(event->status < 0);
  if (event->type == HMKV_EVENT_RESYNC || event->status < 0) CHECK(event->detail[0]);
  if (!told) CHECK_INT(HMKV_OK, event->status);
  if (told) CHECK_INT(0, event->revision);
  if (!told) CHECK(event->revision > 0);
  if (!is_change(event->type)) {
    CHECK(!event->prev.key);
    CHECK(!event->last);
    return;
  }
  CHECK(kv->mod_revision > 0);
  CHECK(kv->mod_revision <= event->revision);
  if (event->type == HMKV_EVENT_PUT) check_stored(kv);
  if (event->type == HMKV_EVENT_DELETE) {
    CHECK_INT(0, kv->value_len);
    CHECK_INT(0, kv->create_revision);
    CHECK_INT(0, kv->version);
    CHECK_INT(0, kv->lease);
  }
  if (event->prev.key) {
    check_stored(&event->prev);
    CHECK(event->prev.mod_revision < kv->mod_revision);
    CHECK_STR(kv->key, event->prev.key);
  }
}

static void append(struct recorded_list *list, const struct recorded *event) {
  if (list->count == list->capacity) {
    list->capacity = list->capacity ? 2 * list->capacity : 16;
    list->items = realloc(list->items, list->capacity * sizeof *list->items);
    CHECK(list->items);
  }
  list->items[list->count++] = *event;
}

void recorder_event(const hmkv_event *event, void *userdata) {
  struct recorder *recorder = userdata;
  atomic_fetch_add(&recorder->entered, 1);
  CHECK_INT(0, atomic_fetch_add(&recorder->running, 1)); /* one call at a time */
  CHECK_INT(0, atomic_load(&recorder->freed));
  if (recorder->hold) gate_pass(recorder->hold);
  struct recorded kept = {.type = event->type,
                          .last = event->last_of_revision,
                          .kv = keep_kv(event->kv),
                          .prev = keep_kv(event->prev),
                          .revision = event->revision,
                          .status = event->status};
  if (event->detail) kept.detail = keep(event->detail, strlen(event->detail));
  check(&kept);
  pthread_mutex_lock(&recorder->mutex);
  struct recorded_list *events = &recorder->events;
  /* Nothing follows the last one. */
  CHECK(events->count == 0 || events->items[events->count - 1].type != HMKV_EVENT_END);
  append(event->type == HMKV_EVENT_STATE ? &recorder->states : events, &kept);
  pthread_mutex_unlock(&recorder->mutex);
  CHECK_INT(0, atomic_load(&recorder->freed));
  atomic_fetch_sub(&recorder->running, 1);
}

void recorder_freed(void *userdata) {
  struct recorder *recorder = userdata;
  CHECK_INT(0, atomic_load(&recorder->running));
  CHECK_INT(0, atomic_fetch_add(&recorder->freed, 1)); /* once */
}

void recorder_pull(struct recorder *recorder, hmkv_watcher *watcher, size_t count) {
  int64_t end = now_ms() + patience_ms();
  while (recorder_count(recorder) < count) {
    const hmkv_event *event = NULL;
    hmkv_status status = hmkv_watch_next(watcher, 100, &event);
    if (status == HMKV_TIMED_OUT && now_ms() > end)
      FAIL("%zu events of %zu", recorder_count(recorder), count);
    if (status == HMKV_TIMED_OUT) continue;
    CHECK_OK(status);
    recorder_event(event, recorder);
  }
}

/* ---- looking ---- */

size_t recorder_count(struct recorder *recorder) {
  pthread_mutex_lock(&recorder->mutex);
  size_t count = recorder->events.count;
  pthread_mutex_unlock(&recorder->mutex);
  return count;
}

size_t recorder_states(struct recorder *recorder) {
  pthread_mutex_lock(&recorder->mutex);
  size_t count = recorder->states.count;
  pthread_mutex_unlock(&recorder->mutex);
  return count;
}

size_t recorder_count_of(struct recorder *recorder, int32_t type) {
  pthread_mutex_lock(&recorder->mutex);
  size_t count = 0;
  for (size_t i = 0; i < recorder->events.count; i++)
    count += recorder->events.items[i].type == type;
  pthread_mutex_unlock(&recorder->mutex);
  return count;
}

void recorder_wait(struct recorder *recorder, size_t count) {
  WAIT_UNTIL(recorder_count(recorder) >= count);
  CHECK_INT(count, recorder_count(recorder));
}

static bool is_put(struct recorder *recorder, const char *key, const char *value) {
  struct recorded put = recorder_last_of(recorder, key);
  if (put.type != HMKV_EVENT_PUT || strcmp(put.kv.value, value) != 0) return false;
  struct recorded end = recorder_at(recorder, recorder_count(recorder) - 1);
  return end.last || !is_change(end.type);
}

void recorder_wait_put(struct recorder *recorder, const char *key, const char *value) {
  WAIT_UNTIL(is_put(recorder, key, value));
}

struct recorded recorder_at(struct recorder *recorder, size_t i) {
  pthread_mutex_lock(&recorder->mutex);
  CHECK(i < recorder->events.count);
  struct recorded event = recorder->events.items[i];
  pthread_mutex_unlock(&recorder->mutex);
  return event;
}

struct recorded recorder_last_of(struct recorder *recorder, const char *key) {
  struct recorded found = {0};
  pthread_mutex_lock(&recorder->mutex);
  for (size_t i = recorder->events.count; i > 0 && !found.type; i--) {
    struct recorded *event = &recorder->events.items[i - 1];
    if (event->kv.key && strcmp(event->kv.key, key) == 0) found = *event;
  }
  pthread_mutex_unlock(&recorder->mutex);
  return found;
}

static void free_list(struct recorded_list *list) {
  for (size_t i = 0; i < list->count; i++) {
    struct recorded *event = &list->items[i];
    free(event->kv.key);
    free(event->kv.value);
    free(event->prev.key);
    free(event->prev.value);
    free(event->detail);
  }
  free(list->items);
  *list = (struct recorded_list){0};
}

void recorder_free(struct recorder *recorder) {
  free_list(&recorder->events);
  free_list(&recorder->states);
}

/* ---- all of them ---- */

static int compare_keys(const struct recorded_kv *a, const struct recorded_kv *b) {
  int order = memcmp(a->key, b->key, a->key_len < b->key_len ? a->key_len : b->key_len);
  return order ? order : (a->key_len > b->key_len) - (a->key_len < b->key_len);
}

static void check_revision(const struct recorded *first, const struct recorded *last) {
  for (const struct recorded *event = first; event <= last; event++) {
    CHECK_INT(last->revision, event->revision);
    CHECK_INT(event->revision, event->kv.mod_revision);
    for (const struct recorded *other = first; other < event; other++)
      CHECK(compare_keys(&other->kv, &event->kv) != 0);
  }
}

static void check_snapshot(const struct recorded *first, const struct recorded *mark) {
  for (const struct recorded *event = first; event < mark; event++) {
    CHECK_INT(HMKV_EVENT_PUT, event->type);
    CHECK_INT(mark->revision, event->revision);
    CHECK(!event->prev.key);
    if (event > first) CHECK(compare_keys(&event[-1].kv, &event->kv) < 0);
  }
}

void recorder_check_order(struct recorder *recorder) {
  pthread_mutex_lock(&recorder->mutex);
  const struct recorded *event = recorder->events.items, *end = event + recorder->events.count;
  for (int64_t before = 0; event < end; event++) {
    const struct recorded *first = event;
    while (is_change(event->type) && !event->last) {
      event++;
      CHECK(event < end); /* the step is whole */
    }
    if (event->type == HMKV_EVENT_SYNCED) {
      check_snapshot(first, event);
    } else if (event->type == HMKV_EVENT_RESYNC) {
      for (const struct recorded *of = first; of < event; of++)
        CHECK(of->revision <= event->revision);
    } else if (event->type == HMKV_EVENT_END) {
      CHECK(first == event);
      continue;
    } else {
      check_revision(first, event);
    }
    CHECK(event->revision > before);
    before = event->revision;
  }
  pthread_mutex_unlock(&recorder->mutex);
}

static int compare_changes(const void *a, const void *b) {
  const struct recorded *one = *(const struct recorded *const *)a;
  const struct recorded *two = *(const struct recorded *const *)b;
  int order = compare_keys(&one->kv, &two->kv);
  return order ? order : (one > two) - (one < two);
}

/* The changes by key, those of a key in their order. */
static const struct recorded **by_key(struct recorder *recorder, size_t *count) {
  const struct recorded **sorted = calloc(recorder->events.count + 1, sizeof *sorted);
  CHECK(sorted);
  *count = 0;
  for (size_t i = 0; i < recorder->events.count; i++)
    if (is_change(recorder->events.items[i].type))
      sorted[(*count)++] = &recorder->events.items[i];
  qsort(sorted, *count, sizeof *sorted, compare_changes);
  return sorted;
}

void recorder_check_versions(struct recorder *recorder) {
  pthread_mutex_lock(&recorder->mutex);
  const struct recorded *synced = NULL;
  for (size_t i = 0; i < recorder->events.count && !synced; i++)
    if (recorder->events.items[i].type == HMKV_EVENT_SYNCED) synced = &recorder->events.items[i];
  size_t count = 0;
  const struct recorded **sorted = by_key(recorder, &count);
  for (size_t i = 0; i < count; i++) {
    const struct recorded *event = sorted[i], *before = i > 0 ? sorted[i - 1] : NULL;
    if (before && compare_keys(&before->kv, &event->kv) != 0) before = NULL;
    if (!before && (!synced || event < synced)) continue;
    bool was_there = before && before->type == HMKV_EVENT_PUT;
    if (event->type == HMKV_EVENT_DELETE) {
      CHECK(was_there);
      continue;
    }
    CHECK_INT(was_there ? before->kv.version + 1 : 1, event->kv.version);
    if (was_there) CHECK_INT(before->kv.create_revision, event->kv.create_revision);
  }
  free(sorted);
  pthread_mutex_unlock(&recorder->mutex);
}

static void check_same(const struct recorded_kv *mine, const hmkv_kv *theirs) {
  CHECK_INT(theirs->key_len, mine->key_len);
  CHECK(memcmp(theirs->key, mine->key, mine->key_len) == 0);
  CHECK_INT(theirs->value_len, mine->value_len);
  CHECK(memcmp(theirs->value, mine->value, mine->value_len) == 0);
  CHECK_INT(theirs->create_revision, mine->create_revision);
  CHECK_INT(theirs->mod_revision, mine->mod_revision);
  CHECK_INT(theirs->version, mine->version);
  CHECK_INT(theirs->lease, mine->lease);
}

void recorder_check_view(struct recorder *recorder, hmkv *kv, const char *prefix) {
  hmkv_result *result =
      hmkv_await(hmkv_range(kv, prefix, HMKV_NTS, HMKV_RANGE_OPTS(.prefix = 1)));
  CHECK_OK(hmkv_result_status(result));
  pthread_mutex_lock(&recorder->mutex);
  size_t count = 0, seen = 0;
  const struct recorded **sorted = by_key(recorder, &count);
  for (size_t i = 0; i < count; i++) {
    if (i + 1 < count && compare_keys(&sorted[i]->kv, &sorted[i + 1]->kv) == 0) continue;
    if (sorted[i]->type == HMKV_EVENT_DELETE) continue;
    CHECK(seen < hmkv_result_count(result));
    check_same(&sorted[i]->kv, hmkv_result_kv(result, seen++));
  }
  free(sorted);
  pthread_mutex_unlock(&recorder->mutex);
  CHECK_INT(hmkv_result_count(result), seen);
  hmkv_result_free(result);
}

static void check_equal_kv(const struct recorded_kv *a, const struct recorded_kv *b) {
  CHECK_INT(a->key != NULL, b->key != NULL);
  if (!a->key) return;
  CHECK_INT(0, compare_keys(a, b));
  CHECK_INT(a->value_len, b->value_len);
  CHECK(memcmp(a->value, b->value, a->value_len) == 0);
  CHECK_INT(a->create_revision, b->create_revision);
  CHECK_INT(a->mod_revision, b->mod_revision);
  CHECK_INT(a->version, b->version);
  CHECK_INT(a->lease, b->lease);
}

void recorder_check_equal(struct recorder *recorder, size_t i, struct recorder *other, size_t j,
                          size_t count) {
  for (size_t at = 0; at < count; at++) {
    struct recorded a = recorder_at(recorder, i + at), b = recorder_at(other, j + at);
    CHECK_INT(a.type, b.type);
    CHECK_INT(a.last, b.last);
    CHECK_INT(a.revision, b.revision);
    check_equal_kv(&a.kv, &b.kv);
    check_equal_kv(&a.prev, &b.prev);
  }
}
