/* Leases that are lost behind the library's back, and what `lost` may do. */
#include "leases.h"
#include "requests.h"
#include "states.h"

static hmkv *kv, *other;

static void begin(void) {
  kv = open_store("close_timeout=10m");
  other = open_store(NULL);
}

static void end(void) {
  if (kv) close_store(kv);
  close_store(other);
}

/* A lease with one key. */
struct subject {
  struct told told;
  const char *key;
  hmkv_lease *lease;
};

static void subject_start(struct subject *subject, hmkv *store) {
  memset(subject, 0, sizeof *subject);
  subject->key = unique("key");
  subject->lease = lease_new(store, 3000, &subject->told);
  lease_put(store, subject->lease, subject->key, HMKV_OK);
}

static void lose(struct subject *subject) {
  lose_lease(kv, subject->key);
  CHECK(!has_key(other, subject->key));
}

static void start_and_lose(struct subject *subject) {
  subject_start(subject, kv);
  lose(subject);
  WAIT_UNTIL(told_once(&subject->told));
}

/* ---- what is told ---- */

static void lost_is_called_once_with_a_reason(void) {
  struct subject subject;
  subject_start(&subject, kv);
  CHECK(told_nothing(&subject.told));
  lose(&subject);
  WAIT_UNTIL(told_once(&subject.told)); /* which checks status and reason */
  CHECK(*subject.told.reason);
  HOLDS_FOR(3500, told_once(&subject.told));
  CHECK_STATUS(HMKV_ELOST, hmkv_lease_close(subject.lease, true));
  CHECK(told_once(&subject.told));
}

static void after_a_loss_nothing_is_left_and_the_id_still_answers(void) {
  struct subject subject;
  subject_start(&subject, kv);
  int64_t id = hmkv_lease_id(subject.lease);
  lose(&subject);
  WAIT_UNTIL(told_once(&subject.told));
  HOLDS_FOR(300, hmkv_lease_left_ms(subject.lease) == 0);
  CHECK_INT(id, hmkv_lease_id(subject.lease));
  lease_put(kv, subject.lease, unique("key"), HMKV_ELOST);
  lease_put(other, subject.lease, unique("key"), HMKV_ELOST);
  CHECK_STATUS(HMKV_ELOST, hmkv_lease_close(subject.lease, true));
}

static void closing_a_lost_lease_answers_lost_once(void) {
  for (int revoke = 0; revoke <= 1; revoke++) {
    struct subject subject;
    start_and_lose(&subject);
    CHECK_STATUS(HMKV_ELOST, hmkv_lease_close(subject.lease, revoke));
    CHECK_STATUS(HMKV_EHANDLE, hmkv_lease_close(subject.lease, revoke));
    CHECK_INT(HMKV_EHANDLE, hmkv_lease_id(subject.lease));
    CHECK_INT(HMKV_EHANDLE, hmkv_lease_left_ms(subject.lease));
  }
}

static void a_lost_lease_does_not_come_back_but_another_can_be_granted(void) {
  struct subject one, two;
  start_and_lose(&one);
  subject_start(&two, kv);
  CHECK(hmkv_lease_id(one.lease) != hmkv_lease_id(two.lease));
  HOLDS_FOR(4500, has_key(other, two.key) && hmkv_lease_left_ms(one.lease) == 0);
  CHECK(told_nothing(&two.told));
  CHECK(!has_key(other, one.key));
  CHECK_STATUS(HMKV_ELOST, hmkv_lease_close(one.lease, true));
  CHECK_OK(hmkv_lease_close(two.lease, true));
}

static void without_a_callback_left_and_close_tell_it(void) {
  const char *key = unique("key");
  hmkv_lease *lease = lease_new(kv, 2000, NULL);
  lease_put(kv, lease, key, HMKV_OK);
  lose_lease(kv, key);
  WAIT_UNTIL(hmkv_lease_left_ms(lease) == 0);
  CHECK_STATUS(HMKV_ELOST, hmkv_lease_close(lease, true));
}

/* Temporary keys have a lease of their own, which is what on_state tells of. */
static void it_is_no_loss_of_temporary_keys_or_of_the_lock(void) {
  struct subject subject;
  struct states states = STATES_NONE;
  hmkv *store = open_store(text("lock=%s", unique("lock")));
  const char *temp = unique("temp");
  CHECK_OK(hmkv_on_state(store, states_record, &states));
  CHECK_OK(hmkv_temp_key(store, temp));
  CHECK_OK(hmkv_dist_lock(store));
  int64_t lease = lease_of(other, temp);
  start_and_lose(&subject);
  HOLDS_FOR(300, states_total(&states) == 0);
  CHECK_INT(lease, lease_of(other, temp));
  CHECK_INT(HMKV_LOCK_GRANTED, hmkv_dist_lock_result(store));
  CHECK_STATUS(HMKV_ELOST, hmkv_lease_close(subject.lease, true));
  close_store(store);
  states_free(&states);
}

static void expire_ends_every_lease_of_the_handle_and_no_other(void) {
  struct subject mine[3], theirs;
  for (int i = 0; i < 3; i++) subject_start(&mine[i], kv);
  subject_start(&theirs, other);
  CHECK_OK(hmkv_mem_fault(kv, "expire"));
  for (int i = 0; i < 3; i++) {
    CHECK(!has_key(other, mine[i].key));
    WAIT_UNTIL(told_once(&mine[i].told));
    CHECK_STATUS(HMKV_ELOST, hmkv_lease_close(mine[i].lease, true));
  }
  CHECK_VALUE(kv, theirs.key, "on a lease");
  CHECK(told_nothing(&theirs.told));
  CHECK_OK(hmkv_lease_close(theirs.lease, true));
}

/* ---- closing while `lost` runs ---- */

struct closer {
  hmkv_lease *lease;
  hmkv_status status;
  atomic_bool returned;
};

static void *close_it(void *arg) {
  struct closer *closer = arg;
  closer->status = hmkv_lease_close(closer->lease, true);
  atomic_store(&closer->returned, true);
  return NULL;
}

static void closing_waits_while_lost_runs(void) {
  struct gate gate = GATE_CLOSED;
  struct subject subject;
  subject_start(&subject, kv);
  subject.told.hold = &gate;
  lose(&subject);
  WAIT_UNTIL(atomic_load(&subject.told.running) == 1);
  CHECK_INT(0, hmkv_lease_left_ms(subject.lease));
  struct closer closer = {.lease = subject.lease};
  pthread_t thread = start_thread(close_it, &closer);
  HOLDS_FOR(300, !atomic_load(&closer.returned));
  /* A concurrent second close is no other than a later one. */
  CHECK_STATUS(HMKV_EHANDLE, hmkv_lease_close(subject.lease, true));
  CHECK(!atomic_load(&closer.returned));
  gate_open(&gate);
  join_thread(thread);
  CHECK(told_once(&subject.told));
  CHECK_STATUS(HMKV_ELOST, closer.status);
  CHECK_STATUS(HMKV_EHANDLE, hmkv_lease_close(subject.lease, true));
}

static void *close_store_it(void *returned) {
  close_store(kv);
  atomic_store((atomic_bool *)returned, true);
  return NULL;
}

static void closing_the_store_waits_while_lost_runs(void) {
  struct gate gate = GATE_CLOSED;
  struct subject subject;
  atomic_bool returned = false;
  subject_start(&subject, kv);
  subject.told.hold = &gate;
  lose(&subject);
  WAIT_UNTIL(atomic_load(&subject.told.running) == 1);
  pthread_t thread = start_thread(close_store_it, &returned);
  HOLDS_FOR(300, !atomic_load(&returned));
  gate_open(&gate);
  join_thread(thread);
  CHECK(told_once(&subject.told));
  CHECK_STATUS(HMKV_EHANDLE, hmkv_lease_close(subject.lease, true));
  kv = NULL;
}

/* Two that block: neither holds up the other, nor a third lease, nor calls. */
static void a_blocked_lost_holds_up_nothing_else(void) {
  struct gate gate = GATE_CLOSED;
  struct subject blocked[2], kept;
  hmkv *second = open_store(NULL);
  subject_start(&blocked[0], kv);
  subject_start(&blocked[1], second);
  for (int i = 0; i < 2; i++) blocked[i].told.hold = &gate;
  lose_lease(kv, blocked[0].key);
  WAIT_UNTIL(atomic_load(&blocked[0].told.running) == 1);
  lose_lease(second, blocked[1].key);
  WAIT_UNTIL(atomic_load(&blocked[1].told.running) == 1);
  subject_start(&kept, kv);
  HOLDS_FOR(4500, has_key(other, kept.key));
  lose(&kept);
  WAIT_UNTIL(told_once(&kept.told)); /* of the store whose callback blocks */
  CHECK_STATUS(HMKV_ELOST, hmkv_lease_close(kept.lease, true));
  gate_open(&gate);
  for (int i = 0; i < 2; i++) {
    CHECK_STATUS(HMKV_ELOST, hmkv_lease_close(blocked[i].lease, true));
    CHECK(told_once(&blocked[i].told));
  }
  close_store(second);
}

/* ---- inside `lost` ---- */

struct inside {
  hmkv_lease *lease, *next;
  const char *key;
  struct told told; /* of the next lease */
  hmkv_status closed, closed_again, store_closed;
  atomic_int calls;
};

static void call_everything(hmkv_status status, const char *detail, void *userdata) {
  struct inside *inside = userdata;
  CHECK_STATUS(HMKV_ELOST, status);
  CHECK(*detail);
  CHECK_INT(0, hmkv_lease_left_ms(inside->lease));
  CHECK(hmkv_lease_id(inside->lease) > 0);
  inside->store_closed = hmkv_close(kv);
  inside->next = lease_new(kv, 3000, &inside->told);
  lease_put(kv, inside->next, inside->key, HMKV_OK);
  inside->closed = hmkv_lease_close(inside->lease, true);
  inside->closed_again = hmkv_lease_close(inside->lease, true);
  atomic_fetch_add(&inside->calls, 1);
}

static void lost_may_close_its_lease_and_grant_another(void) {
  struct inside inside = {.key = unique("key")};
  const char *first = unique("first");
  CHECK_OK(hmkv_lease_grant(kv, 3000, call_everything, &inside, &inside.lease));
  lease_put(kv, inside.lease, first, HMKV_OK);
  lose_lease(kv, first);
  WAIT_UNTIL(atomic_load(&inside.calls) == 1);
  CHECK_STATUS(HMKV_ELOST, inside.closed);
  CHECK_STATUS(HMKV_EHANDLE, inside.closed_again);
  CHECK_STATUS(HMKV_EINCALLBACK, inside.store_closed);
  CHECK_STATUS(HMKV_EHANDLE, hmkv_lease_close(inside.lease, true));
  HOLDS_FOR(4500, has_key(other, inside.key));
  CHECK_INT(1, atomic_load(&inside.calls));
  CHECK(told_nothing(&inside.told));
  CHECK_OK(hmkv_lease_close(inside.next, true));
}

struct member {
  hmkv_lease *victim;
  atomic_int *entered;
  hmkv_status status;
  atomic_bool done;
};

static void close_each_other(hmkv_status status, const char *detail, void *userdata) {
  (void)status, (void)detail;
  struct member *member = userdata;
  atomic_fetch_add(member->entered, 1);
  WAIT_UNTIL(atomic_load(member->entered) == 2);
  member->status = hmkv_lease_close(member->victim, true);
  atomic_store(&member->done, true);
}

static void callbacks_that_close_each_others_leases_do_not_hang(void) {
  atomic_int entered = 0;
  struct member members[2] = {{.entered = &entered}, {.entered = &entered}};
  const char *keys[2];
  hmkv *stores[2] = {kv, open_store(NULL)};
  for (int i = 0; i < 2; i++) {
    keys[i] = unique("key");
    hmkv_lease **lease = &members[1 - i].victim;
    CHECK_OK(hmkv_lease_grant(stores[i], 3000, close_each_other, &members[i], lease));
    lease_put(kv, *lease, keys[i], HMKV_OK);
  }
  for (int i = 0; i < 2; i++) lose_lease(stores[i], keys[i]);
  int refused = 0;
  for (int i = 0; i < 2; i++) {
    WAIT_UNTIL(atomic_load(&members[i].done));
    hmkv_status status = members[i].status;
    if (status != HMKV_ELOST && status != HMKV_EINCALLBACK) FAIL("%s", hmkv_status_name(status));
    refused += status == HMKV_EINCALLBACK;
  }
  CHECK_INT(1, refused); /* where waiting would have closed the circle */
  close_store(stores[1]);
}

/* ---- races ---- */

enum { ALIVE = 0x11223344, LEASES = 40 };

struct data {
  volatile int magic;
  atomic_int calls;
  volatile int work;
};

static atomic_int losses;

static void use_data(hmkv_status status, const char *detail, void *userdata) {
  struct data *data = userdata;
  CHECK_STATUS(HMKV_ELOST, status);
  CHECK_INT(ALIVE, data->magic);
  CHECK_INT(0, atomic_fetch_add(&data->calls, 1));
  atomic_fetch_add(&losses, 1);
  for (int i = 0; i < 10000; i++) data->work++;
  CHECK(*detail);
  CHECK_INT(ALIVE, data->magic);
}

/* All are lost at nearly the same time, while they are closed one after the other. */
static void userdata_is_freed_right_after_close_while_leases_are_lost(void) {
  int told = 0, untold = 0;
  for (int i = 0; i < rounds(12, 3); i++) {
    struct data *data[LEASES];
    hmkv_lease *leases[LEASES];
    for (int j = 0; j < LEASES; j++) {
      data[j] = calloc(1, sizeof *data[j]);
      CHECK(data[j]);
      data[j]->magic = ALIVE;
      CHECK_OK(hmkv_lease_grant(kv, 2000, use_data, data[j], &leases[j]));
    }
    atomic_store(&losses, 0);
    CHECK_OK(hmkv_mem_fault(kv, "expire"));
    WAIT_UNTIL(atomic_load(&losses) > 0);
    for (int j = LEASES - 1; j >= 0; j--) {
      hmkv_status status = hmkv_lease_close(leases[j], j % 2);
      int calls = atomic_load(&data[j]->calls);
      if (status != HMKV_OK && status != HMKV_ELOST) FAIL("%s", hmkv_status_name(status));
      if (status == HMKV_OK) CHECK_INT(0, calls);
      told += calls;
      untold += !calls;
      memset(data[j], 0xdd, sizeof *data[j]);
      free(data[j]);
    }
  }
  printf(" (%d told, %d closed before)", told, untold);
}

static const struct test tests[] = {
    BOTH(lost_is_called_once_with_a_reason),
    BOTH(after_a_loss_nothing_is_left_and_the_id_still_answers),
    BOTH(closing_a_lost_lease_answers_lost_once),
    BOTH(a_lost_lease_does_not_come_back_but_another_can_be_granted),
    BOTH(without_a_callback_left_and_close_tell_it),
    BOTH(it_is_no_loss_of_temporary_keys_or_of_the_lock),
    MEM_ONLY(expire_ends_every_lease_of_the_handle_and_no_other),
    BOTH(closing_waits_while_lost_runs),
    BOTH(closing_the_store_waits_while_lost_runs),
    BOTH(a_blocked_lost_holds_up_nothing_else),
    BOTH(lost_may_close_its_lease_and_grant_another),
    BOTH(callbacks_that_close_each_others_leases_do_not_hang),
    MEM_ONLY(userdata_is_freed_right_after_close_while_leases_are_lost),
};
TEST_MAIN(.begin = begin, .end = end)
