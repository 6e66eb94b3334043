/* Option structs: their sizes, their defaults, numbers that they refuse. */
#include "requests.h"
#include "test.h"

#include <stdalign.h>

enum { ROOM = 512, GARBAGE = 0xa5 };

static hmkv *kv;
static const char *key;

static void begin(void) {
  kv = open_store("timeout=20s");
  key = unique("key");
  put_text(kv, key, "value");
}

static void end(void) { close_store(kv); }

/* ---- every call that takes options ---- */

static hmkv_status finish(hmkv_op *op) {
  hmkv_result *result = hmkv_await(op);
  hmkv_status status = hmkv_result_status(result);
  hmkv_result_free(result);
  return status;
}

static hmkv_status call_put(const void *opts) {
  return finish(hmkv_put(kv, key, HMKV_NTS, "value", 5, opts));
}

static hmkv_status call_range(const void *opts) {
  return finish(hmkv_range(kv, key, HMKV_NTS, opts));
}

static hmkv_status call_remove(const void *opts) {
  return finish(hmkv_remove(kv, unique("absent"), HMKV_NTS, opts));
}

static hmkv_status call_txn(const void *opts) {
  hmkv_txn *txn = hmkv_txn_new(kv);
  hmkv_txn_put(txn, HMKV_THEN, key, HMKV_NTS, "value", 5, NULL);
  return finish(hmkv_txn_commit(txn, opts));
}

static hmkv_status call_txn_put(const void *opts) {
  hmkv_txn *txn = hmkv_txn_new(kv);
  hmkv_txn_put(txn, HMKV_THEN, key, HMKV_NTS, "value", 5, opts);
  return finish(hmkv_txn_commit(txn, NULL));
}

static hmkv_status call_txn_range(const void *opts) {
  hmkv_txn *txn = hmkv_txn_new(kv);
  hmkv_txn_range(txn, HMKV_THEN, key, HMKV_NTS, opts);
  return finish(hmkv_txn_commit(txn, NULL));
}

static hmkv_status call_txn_remove(const void *opts) {
  hmkv_txn *txn = hmkv_txn_new(kv);
  hmkv_txn_remove(txn, HMKV_ELSE, key, HMKV_NTS, opts);
  return finish(hmkv_txn_commit(txn, NULL));
}

static hmkv_status call_watch(const void *opts) {
  hmkv_watcher *watcher = (hmkv_watcher *)&watcher;
  hmkv_status status = hmkv_watch_open(kv, key, HMKV_NTS, opts, NULL, NULL, &watcher);
  CHECK((status == HMKV_OK) == (watcher != NULL));
  if (watcher) CHECK_OK(hmkv_watch_close(watcher));
  return status;
}

static hmkv_status call_lock(const void *opts) {
  hmkv_lock *lock = (hmkv_lock *)&lock;
  hmkv_status status = hmkv_lock_acquire(kv, unique("lock"), opts, NULL, NULL, &lock);
  CHECK((status == HMKV_OK) == (lock != NULL));
  if (lock) CHECK_OK(hmkv_lock_release(lock));
  return status;
}

enum { FIELDS_MAX = 18 };
enum kind { POINTER = 1, LENGTH, NUMBER, FROM_MINUS_1, FROM_MINUS_2, ENUM_TO_3, ENUM_TO_4, FLAG, RESERVED };

struct field {
  size_t offset;
  enum kind kind;
};

struct form {
  const char *name;
  hmkv_status (*call)(const void *opts);
  size_t size;
  struct field fields[FIELDS_MAX]; /* all but `size`, in order */
};

#define F(type, member, kind) {offsetof(type, member), kind}
#define PUT_FIELDS                                                                     \
  {F(hmkv_put_opts, timeout_ms, FROM_MINUS_1), F(hmkv_put_opts, lease, NUMBER),        \
   F(hmkv_put_opts, if_mod_revision, FROM_MINUS_1), F(hmkv_put_opts, prev, FLAG),  \
   F(hmkv_put_opts, reserved, RESERVED)}
#define RANGE_FIELDS                                                                   \
  {F(hmkv_range_opts, timeout_ms, FROM_MINUS_1), F(hmkv_range_opts, end, POINTER),     \
   F(hmkv_range_opts, end_len, LENGTH), F(hmkv_range_opts, limit, NUMBER),             \
   F(hmkv_range_opts, revision, NUMBER), F(hmkv_range_opts, min_mod_revision, NUMBER), \
   F(hmkv_range_opts, max_mod_revision, NUMBER),                                       \
   F(hmkv_range_opts, min_create_revision, NUMBER),                                    \
   F(hmkv_range_opts, max_create_revision, NUMBER), F(hmkv_range_opts, sort, ENUM_TO_4), \
   F(hmkv_range_opts, descending, FLAG), F(hmkv_range_opts, prefix, FLAG),             \
   F(hmkv_range_opts, from, FLAG), F(hmkv_range_opts, keys_only, FLAG),                \
   F(hmkv_range_opts, count_only, FLAG), F(hmkv_range_opts, serializable, FLAG),        \
   F(hmkv_range_opts, reserved, RESERVED)}
#define REMOVE_FIELDS                                                                  \
  {F(hmkv_remove_opts, timeout_ms, FROM_MINUS_1), F(hmkv_remove_opts, end, POINTER),   \
   F(hmkv_remove_opts, end_len, LENGTH), F(hmkv_remove_opts, if_mod_revision, NUMBER), \
   F(hmkv_remove_opts, prefix, FLAG), F(hmkv_remove_opts, prev, FLAG),   \
   F(hmkv_remove_opts, reserved, RESERVED)}

static const struct form forms[] = {
    {"put", call_put, sizeof(hmkv_put_opts), PUT_FIELDS},
    {"range", call_range, sizeof(hmkv_range_opts), RANGE_FIELDS},
    {"remove", call_remove, sizeof(hmkv_remove_opts), REMOVE_FIELDS},
    {"txn", call_txn, sizeof(hmkv_txn_opts), {F(hmkv_txn_opts, timeout_ms, FROM_MINUS_1)}},
    {"txn_put", call_txn_put, sizeof(hmkv_put_opts), PUT_FIELDS},
    {"txn_range", call_txn_range, sizeof(hmkv_range_opts), RANGE_FIELDS},
    {"txn_remove", call_txn_remove, sizeof(hmkv_remove_opts), REMOVE_FIELDS},
    {"watch", call_watch, sizeof(hmkv_watch_opts),
     {F(hmkv_watch_opts, end, POINTER), F(hmkv_watch_opts, end_len, LENGTH),
      F(hmkv_watch_opts, start_revision, NUMBER), F(hmkv_watch_opts, queue_max, LENGTH),
      F(hmkv_watch_opts, userdata_free, POINTER), F(hmkv_watch_opts, on_overflow, ENUM_TO_3),
      F(hmkv_watch_opts, prefix, FLAG), F(hmkv_watch_opts, snapshot, FLAG),
      F(hmkv_watch_opts, prev_kv, FLAG), F(hmkv_watch_opts, no_put, FLAG),
      F(hmkv_watch_opts, no_delete, FLAG), F(hmkv_watch_opts, reserved, RESERVED)}},
    {"lock", call_lock, sizeof(hmkv_lock_opts),
     {F(hmkv_lock_opts, wait_ms, FROM_MINUS_2), F(hmkv_lock_opts, ttl_ms, NUMBER),
      F(hmkv_lock_opts, margin_ms, NUMBER), F(hmkv_lock_opts, max_hold_ms, NUMBER),
      F(hmkv_lock_opts, value, POINTER), F(hmkv_lock_opts, value_len, LENGTH),
      F(hmkv_lock_opts, acquired, POINTER)}},
};
enum { FORMS = sizeof forms / sizeof *forms };

/* ---- options in the making ---- */

static alignas(16) unsigned char room[ROOM];

/* A struct that says it has `size` bytes. */
static void *opts_of(size_t size, int filler) {
  memset(room, filler, ROOM);
  memcpy(room, &size, sizeof size);
  return room;
}

static void expect(int line, const struct form *form, size_t size, hmkv_status expected,
                   const void *opts) {
  hmkv_status status = form->call(opts);
  if (status != expected)
    test_fail(__FILE__, line, "%s, %zu bytes: expected %s, got %s", form->name, size,
              hmkv_status_name(expected), hmkv_status_name(status));
}
#define EXPECT(expected, form, size, opts) expect(__LINE__, (form), (size), (expected), (opts))

/* ---- sizes ---- */

static void null_means_all_defaults(void) {
  for (int i = 0; i < FORMS; i++) EXPECT(HMKV_OK, &forms[i], 0, NULL);
}

static void a_zeroed_struct_with_its_size_means_all_defaults(void) {
  for (int i = 0; i < FORMS; i++)
    EXPECT(HMKV_OK, &forms[i], forms[i].size, opts_of(forms[i].size, 0));
}

static void a_size_below_that_of_the_size_itself_is_refused(void) {
  for (int i = 0; i < FORMS; i++)
    for (size_t size = 0; size < sizeof size; size++)
      EXPECT(HMKV_EINVAL, &forms[i], size, opts_of(size, 0));
}

static void a_misaligned_struct_is_refused(void) {
  for (int i = 0; i < FORMS; i++) {
    for (size_t off = 1; off < sizeof(size_t); off++) {
      memset(room, 0, ROOM);
      memcpy(room + off, &forms[i].size, sizeof forms[i].size);
      EXPECT(HMKV_EINVAL, &forms[i], forms[i].size, room + off);
    }
  }
}

/* What lies behind an older, shorter struct is not looked at. */
static void a_shorter_struct_has_the_defaults_for_the_rest(void) {
  for (int i = 0; i < FORMS; i++) {
    for (int j = 0; j < FIELDS_MAX && forms[i].fields[j].kind; j++) {
      size_t size = forms[i].fields[j].offset;
      unsigned char *opts = opts_of(size, 0);
      memset(opts + size, GARBAGE, ROOM - size);
      EXPECT(HMKV_OK, &forms[i], size, opts);
    }
  }
}

/* Where the fields that are known end. */
static size_t known_size(const struct form *form) {
  for (int j = 0; j < FIELDS_MAX && form->fields[j].kind; j++)
    if (form->fields[j].kind == RESERVED) return form->fields[j].offset;
  return form->size;
}

static bool begins_a_field(const struct form *form, size_t offset) {
  for (int j = 0; j < FIELDS_MAX && form->fields[j].kind; j++)
    if (form->fields[j].offset == offset) return true;
  return false;
}

static void a_size_within_a_field_is_refused(void) {
  for (int i = 0; i < FORMS; i++) {
    bool found = false;
    for (size_t size = sizeof size; size < known_size(&forms[i]); size++) {
      if (begins_a_field(&forms[i], size)) continue;
      found = true;
      EXPECT(HMKV_EINVAL, &forms[i], size, opts_of(size, 0));
    }
    CHECK(found);
  }
}

/* There a newer library may have fields. */
static void reserved_bytes_must_be_zero(void) {
  int found = 0;
  for (int i = 0; i < FORMS; i++) {
    const size_t end = forms[i].size;
    for (size_t at = known_size(&forms[i]); at < end; at++) {
      unsigned char *opts = opts_of(end, 0);
      found++;
      opts[at] = 1;
      EXPECT(HMKV_EUNSUPPORTED, &forms[i], end, opts);
      EXPECT(HMKV_EUNSUPPORTED, &forms[i], at + 1, memcpy(opts, &(size_t){at + 1}, sizeof at));
      EXPECT(HMKV_OK, &forms[i], at, memcpy(opts, &at, sizeof at));
    }
  }
  CHECK_INT(7 + 6 + 6 + 7 + 6 + 6 + 7, found);
}

static void the_structs_have_no_hidden_bytes(void) {
  CHECK_INT(sizeof(hmkv_put_opts), offsetof(hmkv_put_opts, reserved) + 7);
  CHECK_INT(sizeof(hmkv_range_opts), offsetof(hmkv_range_opts, reserved) + 6);
  CHECK_INT(sizeof(hmkv_remove_opts), offsetof(hmkv_remove_opts, reserved) + 6);
  CHECK_INT(sizeof(hmkv_txn_opts), 16);
  CHECK_INT(sizeof(hmkv_watch_opts), offsetof(hmkv_watch_opts, reserved) + 7);
  CHECK_INT(sizeof(hmkv_lock_opts), offsetof(hmkv_lock_opts, acquired) + sizeof(hmkv_acquired_fn));
  CHECK_INT(sizeof(hmkv_event), offsetof(hmkv_event, reserved) + 7);
}

static void fields_of_a_shorter_struct_count(void) {
  hmkv_range_opts *range = opts_of(offsetof(hmkv_range_opts, keys_only), GARBAGE);
  memset(room + sizeof(size_t), 0, offsetof(hmkv_range_opts, keys_only) - sizeof(size_t));
  range->prefix = 1;
  range->limit = 1;
  put_text(kv, text("%s2", key), "value");
  hmkv_result *result = AWAIT(HMKV_OK, hmkv_range(kv, key, HMKV_NTS, range));
  CHECK_INT(1, hmkv_result_count(result));
  CHECK_INT(2, hmkv_result_total(result));
  CHECK_STR("value", hmkv_result_kv(result, 0)->value);
  hmkv_result_free(result);
}

static void a_longer_struct_must_be_zero_behind_what_is_known(void) {
  for (int i = 0; i < FORMS; i++) {
    for (size_t more = 1; more <= 64; more += 7) {
      size_t size = forms[i].size + more;
      unsigned char *opts = opts_of(size, 0);
      memset(opts + size, GARBAGE, ROOM - size); /* beyond its end */
      EXPECT(HMKV_OK, &forms[i], size, opts);
      opts[size - 1] = 1;
      EXPECT(HMKV_EUNSUPPORTED, &forms[i], size, opts);
      opts[size - 1] = 0;
      opts[forms[i].size] = 0x80;
      EXPECT(HMKV_EUNSUPPORTED, &forms[i], size, opts);
    }
  }
}

/* ---- values ---- */

static void set(unsigned char *opts, const struct field *field, int64_t value) {
  const int32_t narrow = (int32_t)value;
  if (field->kind == FLAG) {
    opts[field->offset] = (unsigned char)value;
  } else if (field->kind == ENUM_TO_3 || field->kind == ENUM_TO_4) {
    memcpy(opts + field->offset, &narrow, sizeof narrow);
  } else {
    memcpy(opts + field->offset, &value, sizeof value);
  }
}

static void refuses(const struct form *form, const struct field *field, int64_t value) {
  unsigned char *opts = opts_of(form->size, 0);
  set(opts, field, value);
  hmkv_status status = form->call(opts);
  if (status != HMKV_EINVAL)
    FAIL("%s, field at %zu: %" PRId64 " gives %s", form->name, field->offset, value,
         hmkv_status_name(status));
}

static void each_field(enum kind kind, const int64_t *values, size_t count) {
  bool found = false;
  for (int i = 0; i < FORMS; i++) {
    for (int j = 0; j < FIELDS_MAX && forms[i].fields[j].kind; j++) {
      if (forms[i].fields[j].kind != kind) continue;
      found = true;
      for (size_t k = 0; k < count; k++) refuses(&forms[i], &forms[i].fields[j], values[k]);
    }
  }
  CHECK(found);
}
#define EACH_FIELD_REFUSES(kind, ...)                                             \
  each_field((kind), (const int64_t[]){__VA_ARGS__},                              \
             sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t))

static void a_flag_is_0_or_1(void) { EACH_FIELD_REFUSES(FLAG, 2, 3, 0x80, 0xff); }

static void a_negative_number_is_refused(void) {
  EACH_FIELD_REFUSES(NUMBER, -1, -2, INT64_MIN);
}

static void below_hmkv_forever_and_hmkv_absent_there_is_nothing(void) {
  EACH_FIELD_REFUSES(FROM_MINUS_1, -2, -1000, INT64_MIN);
}

static void below_hmkv_try_there_is_nothing(void) {
  EACH_FIELD_REFUSES(FROM_MINUS_2, -3, -1000, INT64_MIN);
}

static void an_unknown_number_of_an_enumeration_is_refused(void) {
  EACH_FIELD_REFUSES(ENUM_TO_3, 4, -1, INT32_MAX, INT32_MIN);
  EACH_FIELD_REFUSES(ENUM_TO_4, 5, -1, INT32_MAX, INT32_MIN);
}

static void what_is_refused_has_no_effect(void) {
  const char *absent = unique("absent");
  FINISH(HMKV_EINVAL, hmkv_put(kv, absent, HMKV_NTS, "v", 1, HMKV_PUT_OPTS(.prev = 2)));
  FINISH(HMKV_EINVAL, hmkv_remove(kv, key, HMKV_NTS, HMKV_REMOVE_OPTS(.prev = 2)));
  CHECK(!has_key(kv, absent));
  CHECK_VALUE(kv, key, "value");
}

static void hmkv_forever_is_a_time_of_a_request(void) {
  FINISH(HMKV_OK, hmkv_put(kv, key, HMKV_NTS, "v", 1, HMKV_PUT_OPTS(.timeout_ms = HMKV_FOREVER)));
  FINISH(HMKV_OK, hmkv_range(kv, key, HMKV_NTS, HMKV_RANGE_OPTS(.timeout_ms = HMKV_FOREVER)));
  FINISH(HMKV_OK, hmkv_remove(kv, key, HMKV_NTS, HMKV_REMOVE_OPTS(.timeout_ms = INT64_MAX)));
}

/* ---- the macros ---- */

static void the_macros_fill_in_the_size_and_what_is_named(void) {
  const hmkv_range_opts *range = HMKV_RANGE_OPTS(.prefix = 1, .limit = 7);
  CHECK_INT(sizeof *range, range->size);
  CHECK_INT(1, range->prefix);
  CHECK_INT(7, range->limit);
  CHECK(range->end == NULL && range->end_len == 0 && range->sort == HMKV_SORT_KEY);
  CHECK_INT(sizeof(hmkv_put_opts), HMKV_PUT_OPTS(.lease = 1)->size);
  CHECK_INT(sizeof(hmkv_remove_opts), HMKV_REMOVE_OPTS(.prev = 1)->size);
  CHECK_INT(sizeof(hmkv_txn_opts), HMKV_TXN_OPTS(.timeout_ms = 1)->size);
  CHECK_INT(sizeof(hmkv_watch_opts), HMKV_WATCH_OPTS(.snapshot = 1)->size);
  CHECK_INT(sizeof(hmkv_lock_opts), HMKV_LOCK_OPTS(.wait_ms = HMKV_TRY)->size);
  CHECK_INT(HMKV_TRY, HMKV_LOCK_OPTS(.wait_ms = HMKV_TRY)->wait_ms);
  CHECK_INT(HMKV_ABSENT, HMKV_PUT_OPTS(.if_mod_revision = HMKV_ABSENT)->if_mod_revision);
}

static const struct test tests[] = {
    BOTH(null_means_all_defaults),
    BOTH(a_zeroed_struct_with_its_size_means_all_defaults),
    BOTH(a_size_below_that_of_the_size_itself_is_refused),
    BOTH(a_misaligned_struct_is_refused),
    BOTH(a_shorter_struct_has_the_defaults_for_the_rest),
    BOTH(a_size_within_a_field_is_refused),
    BOTH(reserved_bytes_must_be_zero),
    BOTH(the_structs_have_no_hidden_bytes),
    BOTH(fields_of_a_shorter_struct_count),
    BOTH(a_longer_struct_must_be_zero_behind_what_is_known),
    BOTH(a_flag_is_0_or_1),
    BOTH(a_negative_number_is_refused),
    BOTH(below_hmkv_forever_and_hmkv_absent_there_is_nothing),
    BOTH(below_hmkv_try_there_is_nothing),
    BOTH(an_unknown_number_of_an_enumeration_is_refused),
    BOTH(what_is_refused_has_no_effect),
    BOTH(hmkv_forever_is_a_time_of_a_request),
    BOTH(the_macros_fill_in_the_size_and_what_is_named),
};
TEST_MAIN(.begin = begin, .end = end)
