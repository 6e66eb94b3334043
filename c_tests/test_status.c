/* The constants and macros of the header, by value, and the texts of statuses. */
#include "test.h"

#define CONSTANT(name, value) {#name, name, value}
struct constant {
  const char *name;
  int64_t is;
  int64_t must_be;
};

static const struct constant statuses[] = {
    CONSTANT(HMKV_OK, 0),
    CONSTANT(HMKV_NOT_FOUND, 1),
    CONSTANT(HMKV_COMPARE_FAILED, 2),
    CONSTANT(HMKV_BUSY, 3),
    CONSTANT(HMKV_TIMED_OUT, 4),
    CONSTANT(HMKV_EINVAL, -1),
    CONSTANT(HMKV_EHANDLE, -2),
    CONSTANT(HMKV_ECLOSED, -3),
    CONSTANT(HMKV_EFORKED, -4),
    CONSTANT(HMKV_EINCALLBACK, -5),
    CONSTANT(HMKV_ECANCELED, -6),
    CONSTANT(HMKV_EUNAVAIL, -7),
    CONSTANT(HMKV_EINDETERMINATE, -8),
    CONSTANT(HMKV_EAUTH, -9),
    CONSTANT(HMKV_EDENIED, -10),
    CONSTANT(HMKV_ETLS, -11),
    CONSTANT(HMKV_ETOOLARGE, -12),
    CONSTANT(HMKV_ENOSPACE, -13),
    CONSTANT(HMKV_ECOMPACTED, -14),
    CONSTANT(HMKV_ELOST, -15),
    CONSTANT(HMKV_EBINARY, -16),
    CONSTANT(HMKV_ENOMEM, -17),
    CONSTANT(HMKV_EUNSUPPORTED, -18),
    CONSTANT(HMKV_EINTERNAL, -19),
};

static const struct constant others[] = {
    CONSTANT(HMKV_KEYCHANGE_INVAL, 0),
    CONSTANT(HMKV_KEYCHANGE_PUT, 1),
    CONSTANT(HMKV_KEYCHANGE_DELETE, 2),
    CONSTANT(HMKV_LOCK_RSLT_INVALID, 0),
    CONSTANT(HMKV_LOCK_SET_FAIL, 1),
    CONSTANT(HMKV_LOCK_OCCUPIED, 2),
    CONSTANT(HMKV_LOCK_GRANTED, 3),
    CONSTANT(HMKV_LOCK_RELEASE_FAIL, 4),
    CONSTANT(HMKV_LOCK_RELEASED, 5),
    CONSTANT(HMKV_STATE_LEASE_LOST, 1),
    CONSTANT(HMKV_STATE_TEMP_KEY_RESTORED, 2),
    CONSTANT(HMKV_STATE_TEMP_KEY_LOST, 3),
    CONSTANT(HMKV_STATE_LOCK_LOST, 4),
    CONSTANT(HMKV_STATE_CONNECTED, 5),
    CONSTANT(HMKV_STATE_CUT, 6),
    CONSTANT(HMKV_STATE_ENDPOINT, 7),
    CONSTANT(HMKV_LOG_OFF, 0),
    CONSTANT(HMKV_LOG_ERROR, 1),
    CONSTANT(HMKV_LOG_WARN, 2),
    CONSTANT(HMKV_LOG_INFO, 3),
    CONSTANT(HMKV_LOG_DEBUG, 4),
    CONSTANT(HMKV_EVENT_PUT, 1),
    CONSTANT(HMKV_EVENT_DELETE, 2),
    CONSTANT(HMKV_EVENT_SYNCED, 3),
    CONSTANT(HMKV_EVENT_RESYNC, 4),
    CONSTANT(HMKV_EVENT_STATE, 5),
    CONSTANT(HMKV_EVENT_END, 6),
    CONSTANT(HMKV_NUMBER_MOD, 1),
    CONSTANT(HMKV_NUMBER_CREATE, 2),
    CONSTANT(HMKV_NUMBER_VERSION, 3),
    CONSTANT(HMKV_NUMBER_LEASE, 4),
    CONSTANT(HMKV_THEN, 1),
    CONSTANT(HMKV_ELSE, 2),
    CONSTANT(HMKV_SORT_KEY, 0),
    CONSTANT(HMKV_SORT_CREATE, 1),
    CONSTANT(HMKV_SORT_MOD, 2),
    CONSTANT(HMKV_SORT_VERSION, 3),
    CONSTANT(HMKV_SORT_VALUE, 4),
    CONSTANT(HMKV_OVERFLOW_RESUME, 0),
    CONSTANT(HMKV_OVERFLOW_COALESCE, 1),
    CONSTANT(HMKV_OVERFLOW_RESYNC, 2),
    CONSTANT(HMKV_OVERFLOW_END, 3),
    CONSTANT(HMKV_FOREVER, -1),
    CONSTANT(HMKV_TRY, -2),
    CONSTANT(HMKV_ABSENT, -1),
    CONSTANT(HMKV_ABI, 0),
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

static void constants_have_their_values(void) {
  for (size_t i = 0; i < COUNT(statuses); i++)
    if (statuses[i].is != statuses[i].must_be) FAIL("%s", statuses[i].name);
  for (size_t i = 0; i < COUNT(others); i++)
    if (others[i].is != others[i].must_be) FAIL("%s", others[i].name);
  CHECK_STR("hbtd_dist_lock", HMKV_DIST_LOCK_KEY);
  CHECK(HMKV_NTS == SIZE_MAX);
  CHECK_INT(sizeof(size_t), sizeof HMKV_NTS);
}

/* Each `HMKV_NAME = value` line and each macro of the header stands above. */
static void no_constant_of_the_header_is_missing_here(void) {
  static const char *const macros[] = {"HMKV_H", "HMKV_VERSION", "HMKV_VERSION_MAJOR",
                                       "HMKV_VERSION_MINOR", "HMKV_VERSION_PATCH",
                                       "HMKV_DIST_LOCK_KEY", "HMKV_MUST_USE",
                                       "HMKV_NTS",
                                       /* these are in test_opts.c */
                                       "HMKV_PUT_OPTS", "HMKV_RANGE_OPTS", "HMKV_REMOVE_OPTS",
                                       "HMKV_TXN_OPTS", "HMKV_WATCH_OPTS", "HMKV_LOCK_OPTS"};
  FILE *header = fopen(TEST_HEADER, "r");
  CHECK(header);
  char line[512], name[128];
  int seen = 0;
  while (fgets(line, sizeof line, header)) {
    long long value;
    bool known = false;
    if (sscanf(line, " HMKV_%100[A-Z_] = %lld", name, &value) != 2 &&
        sscanf(line, "#define HMKV_%100[A-Z_]", name) != 1)
      continue;
    const char *full = text("HMKV_%s", name);
    for (size_t i = 0; i < COUNT(statuses); i++) known |= strcmp(full, statuses[i].name) == 0;
    for (size_t i = 0; i < COUNT(others); i++) known |= strcmp(full, others[i].name) == 0;
    for (size_t i = 0; i < COUNT(macros); i++) known |= strcmp(full, macros[i]) == 0;
    if (!known) FAIL("%s is not checked", full);
    seen++;
  }
  fclose(header);
  CHECK(seen >= (int)(COUNT(statuses) + COUNT(others) + COUNT(macros)));
}

static void statuses_and_numbers_of_enumerations_are_32_bits_wide(void) {
  CHECK_INT(4, sizeof(hmkv_status));
  CHECK_INT(4, sizeof(hmkv_keychange));
  CHECK_INT(4, sizeof(hmkv_state));
  CHECK_INT(4, sizeof ((hmkv_event *)0)->type);
  CHECK_INT(4, sizeof ((hmkv_range_opts *)0)->sort);
  CHECK_INT(4, sizeof ((hmkv_watch_opts *)0)->on_overflow);
  CHECK((hmkv_status)-1 < 0 && (hmkv_keychange)-1 < 0);
}

static void status_name_is_the_name_of_the_constant(void) {
  for (size_t i = 0; i < COUNT(statuses); i++)
    CHECK_STR(statuses[i].name, hmkv_status_name((hmkv_status)statuses[i].is));
  static const hmkv_status unknown[] = {5, 100, -20, -100, INT32_MAX, INT32_MIN};
  for (size_t i = 0; i < COUNT(unknown); i++) {
    CHECK_STR("HMKV_UNKNOWN", hmkv_status_name(unknown[i]));
    CHECK_STR("unknown status", hmkv_strerror(unknown[i]));
  }
}

static void strerror_is_a_sentence_without_a_full_stop(void) {
  for (size_t i = 0; i < COUNT(statuses); i++) {
    const char *sentence = hmkv_strerror((hmkv_status)statuses[i].is);
    CHECK(sentence);
    size_t length = strlen(sentence);
    if (length < 2 || sentence[length - 1] == '.' || strchr(sentence, '\n'))
      FAIL("%s: \"%s\"", statuses[i].name, sentence);
    CHECK(strcmp(sentence, "unknown status") != 0);
    for (size_t j = 0; j < i; j++)
      CHECK(strcmp(sentence, hmkv_strerror((hmkv_status)statuses[j].is)) != 0);
  }
}

static void version_is_that_of_the_header(void) {
  CHECK_STR(HMKV_VERSION, hmkv_version());
  CHECK_STR(HMKV_VERSION, text("%d.%d.%d", HMKV_VERSION_MAJOR, HMKV_VERSION_MINOR,
                               HMKV_VERSION_PATCH));
}

static void free_accepts_null_and_what_calls_hand_out(void) {
  hmkv_free(NULL);
  hmkv *kv = open_store(NULL);
  const char *key = unique("key");
  CHECK_OK(hmkv_store(kv, key, "value"));
  char *value = NULL;
  CHECK_OK(hmkv_get(kv, key, &value));
  hmkv_free(value);
  /* On the default allocator free(3) works too. */
  CHECK_OK(hmkv_get(kv, key, &value));
  free(value);
  CHECK_OK(hmkv_delete(kv, key));
  close_store(kv);
}

static const struct test tests[] = {
    BOTH(constants_have_their_values),
    BOTH(no_constant_of_the_header_is_missing_here),
    BOTH(statuses_and_numbers_of_enumerations_are_32_bits_wide),
    BOTH(status_name_is_the_name_of_the_constant),
    BOTH(strerror_is_a_sentence_without_a_full_stop),
    BOTH(version_is_that_of_the_header),
    BOTH(free_accepts_null_and_what_calls_hand_out),
};
TEST_MAIN()
