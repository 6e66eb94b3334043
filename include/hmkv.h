/*
 * hmkv.h - libhmkv, the C library for etcd
 *
 * One key/value interface over two backends: an etcd v3 cluster (3.4 and
 * later) and `mem:`, a store inside this process that keeps the same contract.
 *
 * THIS HEADER IS THE MANUAL. It is generated from the library's sources. There
 * are two tiers on one core. The first, for text, are the sections Keys and
 * values, Temporary keys, The distributed lock and Watches: calls that wait for
 * their answer. The second, for everything, are Requests, Results, Transactions,
 * Event watches, Mirrors, Leases, Locks and elections. They mix freely. What holds
 * everywhere stands once, here:
 *
 * Status     Every call that can fail returns an hmkv_status. The sign is the
 *            interface: 0 is done; positive is done, and the answer is "no"
 *            (not found, compare false, busy, timed out); negative is failed.
 *            `if (rc < 0) goto fail;` is right everywhere.
 *            A failed write was not applied and never will be, with one
 *            exception: HMKV_EINDETERMINATE, which may have been applied, or
 *            may be later. Repair that one by a conditional write
 *            (hmkv_tas, hmkv_transaction, `if_mod_revision`), never by reading
 *            back alone.
 *            hmkv_errmsg() tells the details of the last failure that a call of
 *            this thread returned; results and events carry theirs.
 *            Expect values that you do not know: enumerations grow.
 * Handles    hmkv, hmkv_watcher, hmkv_mirror, hmkv_lease and hmkv_lock are opaque
 *            values, looked up and never dereferenced by the library. A NULL,
 *            closed, stale, forged or foreign one is answered with HMKV_EHANDLE,
 *            harmlessly; one inherited through fork() with HMKV_EFORKED.
 *            hmkv_op, hmkv_txn and hmkv_result are plain memory with one owner.
 * Arguments  A NULL where none is allowed is HMKV_EINVAL. Inputs are copied
 *            before the call returns. Strings are NUL-terminated bytes, data is
 *            a pointer and a length; no encoding is imposed. Keys compare
 *            bytewise, shorter first; an empty key is HMKV_EINVAL; an empty value
 *            is legal and is not the same as an absent key.
 * Outputs    What arrives through a pointer-to-pointer belongs to the caller:
 *            text goes back with hmkv_free(), a result with
 *            hmkv_result_free(). What an accessor returns is borrowed from the
 *            object it was asked of. On any status but success outputs are
 *            NULL or 0. Whatever is handed out has a length and a NUL after it.
 * Times      In milliseconds, unless the name says otherwise. 0 tries once,
 *            HMKV_FOREVER waits without bound, less is HMKV_EINVAL; in option
 *            structs 0 is the default. Closing the store ends every wait with
 *            HMKV_ECLOSED; a call that waits for the answer to a write which was
 *            sent gets HMKV_EINDETERMINATE. A signal does not end a call, and
 *            pthread_cancel() acts after it.
 * Blocking   "Up to the timeout" means the store's option `timeout` (5 s). On
 *            `mem:` such calls do not wait, but for faults (hmkv_mem_fault()).
 * Threads    Every call may be made from any thread at any time, and from
 *            callbacks (only closing or dispatching the callback's own store is
 *            refused, and hmkv_log_fn may do less). No call is async-signal-safe. Ops,
 *            transactions and results belong to one thread at a time.
 *            A request does its I/O on the calling thread, or on the library's
 *            where that one's stack is short: 64 KiB are enough for any call.
 * Callbacks  Run on library threads, on which all signals but those of a thread's
 *            own faults (SIGSEGV, SIGABRT and alike) are blocked; with option
 *            `dispatch=poll` in hmkv_dispatch(), on the thread that calls it.
 *            hmkv_log_fn and hmkv_free_fn may run on the caller's. Those of one
 *            watch run one at a time and in order, others may overlap. A callback
 *            that blocks delays only its own watch, or with `dispatch=poll` its
 *            thread. None begins once exit() has come to the library, that of
 *            hmkv_then() neither. A C++ exception or pthread_exit() that leaves a
 *            callback ends the process with one line on standard error; longjmp()
 *            out of one is undefined.
 * Userdata   Stays the caller's. It may be freed when a call from outside its
 *            callback has closed, cancelled, released or replaced what it was
 *            given for, or has closed the store: such a call waits for the
 *            callback. Also when the call that took it failed, and when a
 *            callback that comes only once (of hmkv_then(), or `acquired` with a
 *            failure) has returned. With `userdata_free` of a watch the library
 *            says when. It is still in use after HMKV_EINCALLBACK; while a
 *            callback runs on after hmkv_close() answered HMKV_TIMED_OUT; and
 *            after the HMKV_EHANDLE of a second, concurrent close of a store,
 *            mirror, lease or lock, which does not wait.
 * Processes  fork() leaves the parent's handles untouched; the child opens its
 *            own. There `mem:` is empty and the log is off; an op or transaction
 *            of the parent's gives HMKV_EFORKED. Daemonise, then open. The
 *            library prints nothing, installs no signal handler, and has no
 *            thread before the first open or after the last close.
 * Failures   Beside the statuses that a function names, any call can answer
 *            HMKV_EHANDLE, HMKV_EFORKED, HMKV_EINTERNAL (a bug in libhmkv; the
 *            store stays usable) and, where it takes arguments, HMKV_EINVAL. A
 *            call that talks to the store or begins a callback's thread can
 *            further answer HMKV_ECLOSED (the store was closed meanwhile),
 *            HMKV_ENOMEM and, on etcd, HMKV_EUNAVAIL,
 *            HMKV_EAUTH, HMKV_EDENIED and HMKV_ETLS; one that writes also
 *            HMKV_EINDETERMINATE, HMKV_ETOOLARGE and HMKV_ENOSPACE. On `mem:`
 *            HMKV_EUNAVAIL and HMKV_EINDETERMINATE come of hmkv_mem_fault().
 *
 * SPDX-License-Identifier: MIT
 */


#ifndef HMKV_H
#define HMKV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Version of this header; `hmkv_version()` tells that of the loaded library. */
#define HMKV_VERSION "0.1.0"
#define HMKV_VERSION_MAJOR 0
#define HMKV_VERSION_MINOR 1
#define HMKV_VERSION_PATCH 0
/** Number in the library's SONAME; moves only when a symbol or a meaning goes away. */
#define HMKV_ABI 0

/** Default name of the distributed lock; option `lock` gives another. */
#define HMKV_DIST_LOCK_KEY "hbtd_dist_lock"

/** As a length: the bytes end with a NUL, which does not count. What may itself hold
 *  NUL bytes needs its length: it would be cut at the first. */
#define HMKV_NTS ((size_t)-1)

#ifndef __cplusplus
/** A pointer to options, as in HMKV_RANGE_OPTS(.prefix = 1), for use as an argument
 *  and with named fields; those not named have their defaults. C99 and later. In
 *  C++: hmkv_range_opts o = {}; o.size = sizeof o; o.prefix = 1; and &o. */
#define HMKV_PUT_OPTS(...) \
  (&(hmkv_put_opts){ .size = sizeof(hmkv_put_opts), __VA_ARGS__ })
#define HMKV_RANGE_OPTS(...) \
  (&(hmkv_range_opts){ .size = sizeof(hmkv_range_opts), __VA_ARGS__ })
#define HMKV_REMOVE_OPTS(...) \
  (&(hmkv_remove_opts){ .size = sizeof(hmkv_remove_opts), __VA_ARGS__ })
#define HMKV_TXN_OPTS(...) \
  (&(hmkv_txn_opts){ .size = sizeof(hmkv_txn_opts), __VA_ARGS__ })
#define HMKV_WATCH_OPTS(...) \
  (&(hmkv_watch_opts){ .size = sizeof(hmkv_watch_opts), __VA_ARGS__ })
#define HMKV_LOCK_OPTS(...) \
  (&(hmkv_lock_opts){ .size = sizeof(hmkv_lock_opts), __VA_ARGS__ })
#endif

/** The compiler warns where the result of such a function is ignored. */
#if defined(__GNUC__) || defined(__clang__)
#define HMKV_MUST_USE __attribute__((warn_unused_result))
#else
#define HMKV_MUST_USE
#endif

/** Waits without bound. */
#define HMKV_FOREVER -1

/** As `wait_ms` of a lock: tries once. */
#define HMKV_TRY -2

/** As `if_mod_revision`: the key must not exist. */
#define HMKV_ABSENT -1

/* ============================================================================
 * Statuses and types
 */

/** The values of `hmkv_status`. Explicit, append-only, never reused. */
typedef enum {
  /** Done; or: yes. */
  HMKV_OK = 0,
  /** The key does not exist. */
  HMKV_NOT_FOUND = 1,
  /** The compare was false: not set, or the else branch was taken. */
  HMKV_COMPARE_FAILED = 2,
  /** The lock was seen held by another; of hmkv_lock_set(): it is not held yet. */
  HMKV_BUSY = 3,
  /** A wait ended with nothing to report. */
  HMKV_TIMED_OUT = 4,
  /** An argument: NULL, empty key, unknown operator, option or flag. */
  HMKV_EINVAL = -1,
  /** A stale, closed, foreign or NULL handle. */
  HMKV_EHANDLE = -2,
  /**
   * The store was closed while this call was in flight; not applied (a write that
   * was sent by then is HMKV_EINDETERMINATE).
   */
  HMKV_ECLOSED = -3,
  /** A handle inherited through fork(); not applied. */
  HMKV_EFORKED = -4,
  /**
   * Would deadlock: closing a store from its own callback, or callbacks that
   * cancel each other in a circle.
   */
  HMKV_EINCALLBACK = -5,
  /** The request was cancelled; not applied. */
  HMKV_ECANCELED = -6,
  /** No endpoint answered in time; surely not applied. */
  HMKV_EUNAVAIL = -7,
  /**
   * A write was sent and no answer came: it may or may not have been applied,
   * or may be later.
   */
  HMKV_EINDETERMINATE = -8,
  /** Wrong or missing credentials; not applied. */
  HMKV_EAUTH = -9,
  /** Authenticated, but not permitted; not applied. */
  HMKV_EDENIED = -10,
  /** Certificate or handshake; not applied. */
  HMKV_ETLS = -11,
  /** Over the size or operation limit; not applied. */
  HMKV_ETOOLARGE = -12,
  /**
   * The cluster's space quota is exhausted; not applied. The first write that goes
   * over it is HMKV_EINDETERMINATE: etcd applies and refuses it in one.
   */
  HMKV_ENOSPACE = -13,
  /** The revision asked for is compacted. */
  HMKV_ECOMPACTED = -14,
  /** The lease behind a lock or key was lost. */
  HMKV_ELOST = -15,
  /** hmkv_get() or hmkv_watch() met a NUL byte inside the value. */
  HMKV_EBINARY = -16,
  /** Out of threads, descriptors, or memory for a large buffer. */
  HMKV_ENOMEM = -17,
  /** Not on this backend or server version, or not yet. */
  HMKV_EUNSUPPORTED = -18,
  /** A bug in libhmkv; the store stays usable. */
  HMKV_EINTERNAL = -19,
} hmkv_status_code;

/**
 * The values of `hmkv_keychange`; `HMKV_KEYCHANGE_PUT | HMKV_KEYCHANGE_DELETE`
 * (3) asks for both.
 */
typedef enum {
  /** No change: the last call of a watch that had to end. */
  HMKV_KEYCHANGE_INVAL = 0,
  /** The key was stored; storing an equal value counts. */
  HMKV_KEYCHANGE_PUT = 1,
  /** The key was deleted, or its lease ended. */
  HMKV_KEYCHANGE_DELETE = 2,
} hmkv_keychange_code;

/** What hmkv_dist_lock_result() answers. Negative answers are statuses. */
typedef enum {
  /** Never tried, or lost while held. */
  HMKV_LOCK_RSLT_INVALID = 0,
  /** The last attempt failed. */
  HMKV_LOCK_SET_FAIL = 1,
  /** The last attempt found the lock held by another. */
  HMKV_LOCK_OCCUPIED = 2,
  /** This handle holds the lock. */
  HMKV_LOCK_GRANTED = 3,
  /** Unlocking failed; the lock ends with its lease at the latest. */
  HMKV_LOCK_RELEASE_FAIL = 4,
  /** This handle released the lock. */
  HMKV_LOCK_RELEASED = 5,
} hmkv_lock_code;

/** The values of `hmkv_state`, and what the callback's `detail` names. */
typedef enum {
  /**
   * The lease of the temporary keys was lost; `detail` is the reason. The keys
   * are created again as soon as the store can be reached.
   */
  HMKV_STATE_LEASE_LOST = 1,
  /** A temporary key was created again after a loss; `detail` is the key. */
  HMKV_STATE_TEMP_KEY_RESTORED = 2,
  /**
   * A temporary key was not created again, because it now belongs to someone
   * else or the user may not store and read it any more; `detail` is the key.
   * The library does not try again.
   */
  HMKV_STATE_TEMP_KEY_LOST = 3,
  /** The held lock was lost; `detail` is the name of the lock. */
  HMKV_STATE_LOCK_LOST = 4,
  /**
   * The server can be reached, for the first time or again; `detail` is its endpoint,
   * as in `http://host:2379`.
   */
  HMKV_STATE_CONNECTED = 5,
  /**
   * The server could be reached, and cannot any more; `detail` is the reason. The
   * library goes on trying.
   */
  HMKV_STATE_CUT = 6,
  /**
   * Another member of the cluster is used from now on, without a cut in between;
   * `detail` is its endpoint.
   */
  HMKV_STATE_ENDPOINT = 7,
} hmkv_state_code;

/** How much is logged; each level includes those before it. */
typedef enum {
  HMKV_LOG_OFF = 0,
  HMKV_LOG_ERROR = 1,
  HMKV_LOG_WARN = 2,
  HMKV_LOG_INFO = 3,
  HMKV_LOG_DEBUG = 4,
} hmkv_log_level;

/** What an event tells. */
typedef enum {
  /** `kv` was stored. In a snapshot: it is there. */
  HMKV_EVENT_PUT = 1,
  /** The key `kv->key` was deleted, or its lease ended. */
  HMKV_EVENT_DELETE = 2,
  /**
   * The snapshot is complete: what was delivered is the state at `revision`, and
   * every change after it follows.
   */
  HMKV_EVENT_SYNCED = 3,
  /**
   * The changes up to `revision` could not be had one by one: they were compacted, the
   * server left one out, those of one revision took more than 256 MiB, the consumer was
   * too slow for its policy, or the store is another one. The difference was delivered
   * before this, as PUT and DELETE; a key that was created anew as both. Of another
   * store every key is told again, changed or not. `detail` has the reason.
   */
  HMKV_EVENT_RESYNC = 4,
  /**
   * The watch was cut off from the server (`status` negative, `detail` the
   * reason), or is on it again (`status` HMKV_OK). Nothing is lost by it.
   */
  HMKV_EVENT_STATE = 5,
  /** The watch had to end, for the reason in `status` and `detail`; the last event. */
  HMKV_EVENT_END = 6,
} hmkv_event_code;

/** Which number of a key a transaction compares. */
typedef enum {
  /** Revision of the last change; 0 for a key that does not exist. */
  HMKV_NUMBER_MOD = 1,
  /** Revision of the creation; 0 for a key that does not exist. */
  HMKV_NUMBER_CREATE = 2,
  /** How often the key was stored since its creation; 0 where it does not exist. */
  HMKV_NUMBER_VERSION = 3,
  /** Id of the key's lease; 0 for none and for a key that does not exist. */
  HMKV_NUMBER_LEASE = 4,
} hmkv_number_code;

/** The branches of a transaction. */
typedef enum {
  /** Done when all compares are true; also when there is none. */
  HMKV_THEN = 1,
  /** Done when a compare is false. */
  HMKV_ELSE = 2,
} hmkv_branch_code;

/** What a range is sorted by. */
typedef enum {
  HMKV_SORT_KEY = 0,
  HMKV_SORT_CREATE = 1,
  HMKV_SORT_MOD = 2,
  HMKV_SORT_VERSION = 3,
  HMKV_SORT_VALUE = 4,
} hmkv_sort_code;

/**
 * What becomes of events that a slow consumer has not taken when `queue_max` of
 * them, or 16 MiB, are waiting.
 */
typedef enum {
  /**
   * Nothing is lost: the rest stays on the server and is fetched by revision when
   * the queue is empty. Only what is compacted by then costs a RESYNC.
   */
  HMKV_OVERFLOW_RESUME = 0,
  /**
   * Of each key the last change is kept. Where that does not make room, the rest
   * stays on the server as above.
   */
  HMKV_OVERFLOW_COALESCE = 1,
  /**
   * What waits is dropped, the keys are listed when the consumer is ready, and
   * the difference to what it has seen is delivered, ended by RESYNC.
   */
  HMKV_OVERFLOW_RESYNC = 2,
  /** The watch ends with HMKV_ETOOLARGE after what waits was delivered. */
  HMKV_OVERFLOW_END = 3,
} hmkv_overflow_code;

/** An open store. Made by hmkv_open(), retired by hmkv_close(). */
typedef struct hmkv hmkv;

/**
 * A lease that is kept alive. Made by hmkv_lease_grant(), retired by
 * hmkv_lease_close() and by closing its store.
 */
typedef struct hmkv_lease hmkv_lease;

/**
 * A lock that is held or waited for. Made by hmkv_lock_acquire(), retired by
 * hmkv_lock_release() and by closing its store.
 */
typedef struct hmkv_lock hmkv_lock;

/**
 * A local copy of a prefix. Made by hmkv_mirror_open(), retired by
 * hmkv_mirror_close() and by closing its store.
 */
typedef struct hmkv_mirror hmkv_mirror;

/**
 * A request that was submitted: owned memory, used by one thread at a time, which
 * exactly one of hmkv_await(), hmkv_then() and hmkv_cancel() takes.
 */
typedef struct hmkv_op hmkv_op;

/**
 * The answer of a request: owned memory, used by one thread at a time, given back
 * with hmkv_result_free().
 */
typedef struct hmkv_result hmkv_result;

/**
 * A transaction that is being put together: owned memory, used by one thread at a
 * time, which hmkv_txn_commit() or hmkv_txn_free() takes.
 */
typedef struct hmkv_txn hmkv_txn;

/**
 * A watch. Made by hmkv_watch_cb(), hmkv_watch_open() and hmkv_lock_observe(),
 * retired by hmkv_watch_close() or hmkv_watch_cb_cancel(), which do the same, and
 * by closing its store.
 */
typedef struct hmkv_watcher hmkv_watcher;

/**
 * What a call answers: 0 done, positive "no", negative failed. Values stand in
 * `hmkv_status_code`.
 */
typedef int32_t hmkv_status;

/**
 * Called with one line of the library's log, without a newline.
 *
 * @param level    From HMKV_LOG_ERROR to HMKV_LOG_DEBUG.
 * @param line     Borrowed until the callback returns; never holds a secret.
 * @param userdata The pointer given to hmkv_set_log().
 *
 * Threads: runs on whichever thread has something to tell, also on several at
 * once. It must be quick, and of this library it may call hmkv_set_log() alone.
 */
typedef void (*hmkv_log_fn)(int32_t level, const char *line, void *userdata);

/**
 * The kind of a change, and, added up, which kinds a watch is to report. Values
 * stand in `hmkv_keychange_code`.
 */
typedef int32_t hmkv_keychange;

/**
 * Called for each change that a watch reports.
 *
 * @param key      The watched key. Borrowed until the callback returns.
 * @param value    The new value, NUL-terminated, borrowed until the callback
 *                 returns. NULL on HMKV_KEYCHANGE_DELETE and
 *                 HMKV_KEYCHANGE_INVAL, and on HMKV_KEYCHANGE_PUT when the
 *                 value contains a NUL byte.
 * @param op       What happened. HMKV_KEYCHANGE_INVAL: the watch had to end;
 *                 this is its last call, and hmkv_errmsg() has the reason.
 * @param userdata The pointer given to hmkv_watch_cb().
 * @return         true to go on; false ends the watch.
 *
 * It may cancel its own watch.
 */
typedef bool (*hmkv_watch_fn)(const char *key,
                              const char *value,
                              hmkv_keychange op,
                              void *userdata);

/**
 * Called with the result of a request.
 *
 * @param result   The result; the callback owns it: hmkv_result_free().
 * @param userdata The pointer given to hmkv_then().
 *
 * Calls for several requests may overlap, in any order.
 */
typedef void (*hmkv_done_fn)(hmkv_result *result, void *userdata);

/** Options of hmkv_put() and hmkv_txn_put(). */
typedef struct {
  /** sizeof(hmkv_put_opts), which HMKV_PUT_OPTS() fills in. */
  size_t size;
  /**
   * Time for the request; 0: the store's; HMKV_FOREVER: no end. In a transaction it
   * must be 0.
   */
  int64_t timeout_ms;
  /** Id of the lease that the key is to hang on; 0: none. */
  int64_t lease;
  /**
   * Store only if the key's last change has this revision; HMKV_ABSENT: only if
   * the key does not exist; 0: whatever is there, so take care not to pass the 0 of a
   * key that was not found. In a transaction it must be 0.
   */
  int64_t if_mod_revision;
  /** 1: the result has the key as it was before. */
  uint8_t prev;
  /** Room for later fields; 0. */
  uint8_t reserved[7];
} hmkv_put_opts;

/**
 * Options of hmkv_range(), hmkv_txn_range() and hmkv_mirror_range(). At most one of
 * `prefix`, `end` and `from` may be given; without one the range is the one key.
 */
typedef struct {
  /** sizeof(hmkv_range_opts), which HMKV_RANGE_OPTS() fills in. */
  size_t size;
  /** As of hmkv_put_opts; for each page of a large range. */
  int64_t timeout_ms;
  /** The range ends before this key; not empty, copied. NULL: no such end. */
  const void *end;
  /** Length of `end` in bytes, or HMKV_NTS. */
  size_t end_len;
  /** At most so many keys, the first in the order asked for; 0: all. */
  int64_t limit;
  /** Read the state at this revision; 0: the newest. */
  int64_t revision;
  /** Leave out keys last changed before, or after, this revision; 0: none. */
  int64_t min_mod_revision;
  int64_t max_mod_revision;
  /** Leave out keys created before, or after, this revision; 0: none. */
  int64_t min_create_revision;
  int64_t max_create_revision;
  /**
   * One of `hmkv_sort_code`; keys that are equal by it stand in the order of
   * their names.
   */
  int32_t sort;
  /** 1: the largest first. */
  uint8_t descending;
  /** 1: all keys that begin with the key; the empty key: all keys. */
  uint8_t prefix;
  /** 1: all keys from the key on; the empty key: all keys. */
  uint8_t from;
  /** 1: without the values. */
  uint8_t keys_only;
  /** 1: only hmkv_result_total(). */
  uint8_t count_only;
  /**
   * 1: from the endpoint's own state, without asking the others: faster, works
   * without a quorum, and may be behind.
   */
  uint8_t serializable;
  /** Room for later fields; 0. */
  uint8_t reserved[6];
} hmkv_range_opts;

/**
 * Options of hmkv_remove() and hmkv_txn_remove(). At most one of `prefix` and `end`
 * may be given; without one it is the one key.
 */
typedef struct {
  /** sizeof(hmkv_remove_opts), which HMKV_REMOVE_OPTS() fills in. */
  size_t size;
  /** As of hmkv_put_opts. */
  int64_t timeout_ms;
  /** The range ends before this key; not empty, copied. NULL: no such end. */
  const void *end;
  /** Length of `end` in bytes, or HMKV_NTS. */
  size_t end_len;
  /**
   * Remove only if the key's last change has this revision; 0: whatever is there.
   * Of one key only; in a transaction it must be 0.
   */
  int64_t if_mod_revision;
  /** 1: all keys that begin with the key; the empty key: all keys. */
  uint8_t prefix;
  /** 1: the result has the keys that were removed. */
  uint8_t prev;
  /** Room for later fields; 0. */
  uint8_t reserved[6];
} hmkv_remove_opts;

/**
 * One key with its value, borrowed from the object that it was asked of. Reached
 * by pointer only: the struct may grow at its end.
 */
typedef struct {
  /** The key, `key_len` bytes and a NUL after them. */
  const char *key;
  /** Length of the key in bytes, at least 1. */
  size_t key_len;
  /** The value, `value_len` bytes and a NUL after them; never NULL. */
  const char *value;
  /** Length of the value in bytes; the value may contain NUL bytes. */
  size_t value_len;
  /** Revision of the key's creation. */
  int64_t create_revision;
  /** Revision of the key's last change. */
  int64_t mod_revision;
  /** How often the key was stored since its creation, at least 1. */
  int64_t version;
  /** Id of the lease that the key is attached to; 0 for none. */
  int64_t lease;
} hmkv_kv;

/** Options of hmkv_txn_commit(). */
typedef struct {
  /** sizeof(hmkv_txn_opts), which HMKV_TXN_OPTS() fills in. */
  size_t size;
  /** As of hmkv_put_opts. */
  int64_t timeout_ms;
} hmkv_txn_opts;

/**
 * Gives back the userdata of a watch.
 *
 * @param userdata The pointer given with the callback of the watch.
 *
 * Threads: a library thread, or the one whose call closes the watch or its store,
 * fails to open it, or was in hmkv_watch_next() meanwhile. It may make any call but
 * closing the store of the watch.
 */
typedef void (*hmkv_free_fn)(void *userdata);

/**
 * Options of hmkv_watch_open(). At most one of `prefix` and `end` may be given;
 * without one the watch is of the one key.
 */
typedef struct {
  /** sizeof(hmkv_watch_opts), which HMKV_WATCH_OPTS() fills in. */
  size_t size;
  /** The range ends before this key; above the key, copied. NULL: no such end. */
  const void *end;
  /** Length of `end` in bytes, or HMKV_NTS. */
  size_t end_len;
  /**
   * Deliver every change from this revision on; 0: every change after the call.
   * Excludes `snapshot`.
   */
  int64_t start_revision;
  /**
   * How many events may wait for the consumer; 0: 4,096. Those of a snapshot or resync
   * do not count, and one answer of the server may go over it.
   */
  size_t queue_max;
  /**
   * Called once with the userdata when the library is done with it, also when
   * hmkv_watch_open() fails, unless these options cannot be read. NULL: nothing is
   * called.
   */
  hmkv_free_fn userdata_free;
  /** One of `hmkv_overflow_code`. */
  int32_t on_overflow;
  /** 1: all keys that begin with the key; the empty key: all keys. */
  uint8_t prefix;
  /**
   * 1: first what is there, as PUT events sorted by key and a SYNCED; then every
   * change after it.
   */
  uint8_t snapshot;
  /** 1: events have the key as it was before. */
  uint8_t prev_kv;
  /** 1: no PUT events of changes; a snapshot is delivered all the same. */
  uint8_t no_put;
  /**
   * 1: no DELETE events, but those that correct a snapshot which `on_overflow` cut
   * short.
   */
  uint8_t no_delete;
  /** Room for later fields; 0. */
  uint8_t reserved[7];
} hmkv_watch_opts;

/** What a watch tells. Reached by pointer only: the struct may grow at its end. */
typedef struct {
  /** One of `hmkv_event_code`; skip what you do not know. */
  int32_t type;
  /** Of STATE and END; else HMKV_OK. */
  hmkv_status status;
  /**
   * The key with its value. Of a deleted key only `key`, `key_len` and
   * `mod_revision` are set, and the value is empty; in a resync `mod_revision` is not
   * that of the deletion. NULL where the event is not about a key.
   */
  const hmkv_kv *kv;
  /**
   * With option `prev_kv`: the key before the change; NULL where it did not exist
   * or that revision is compacted, and in a snapshot and a resync.
   */
  const hmkv_kv *prev;
  /**
   * The store's revision after the change, or that which the snapshot or resync
   * shows; 0 for STATE and END.
   */
  int64_t revision;
  /** One line of text, of RESYNC, STATE and END; else NULL. */
  const char *detail;
  /**
   * Of a change: no further one of its revision follows. Together, the changes
   * of one revision are one atomic step. Those of a snapshot and of a resync have
   * false; SYNCED or RESYNC ends them.
   */
  bool last_of_revision;
  /** Room for later fields; 0. */
  uint8_t reserved[7];
} hmkv_event;

/**
 * Called for each event of a watch or mirror.
 *
 * @param event    The event with all that it points to; borrowed until the
 *                 callback returns.
 * @param userdata The pointer given with the callback.
 *
 * It may close its own watch or mirror.
 */
typedef void (*hmkv_event_fn)(const hmkv_event *event, void *userdata);

/**
 * Called once when a lease or lock is lost; not when it is closed or released, and of
 * a lock not before `acquired` returned.
 *
 * @param status   HMKV_ELOST.
 * @param detail   The reason, one line. Borrowed until the callback returns.
 * @param userdata The pointer given with the callback.
 */
typedef void (*hmkv_lost_fn)(hmkv_status status, const char *detail, void *userdata);

/**
 * Called once when an attempt to get a lock is over, with HMKV_ECLOSED where closing the
 * store ended it; not when hmkv_lock_release() ended it, nor after hmkv_close() answered
 * HMKV_TIMED_OUT.
 *
 * @param status   HMKV_OK: the lock is held; else as hmkv_lock_acquire() answers
 *                 where it waits, with the details in hmkv_errmsg(), and `lock` is
 *                 retired.
 * @param lock     The lock.
 * @param userdata The pointer given to hmkv_lock_acquire().
 */
typedef void (*hmkv_acquired_fn)(hmkv_status status, hmkv_lock *lock, void *userdata);

/** Options of hmkv_lock_acquire(). */
typedef struct {
  /** sizeof(hmkv_lock_opts), which HMKV_LOCK_OPTS() fills in. */
  size_t size;
  /**
   * How long to wait while another holds the lock; 0 and HMKV_FOREVER: for ever. To
   * try once it must be HMKV_TRY.
   */
  int64_t wait_ms;
  /**
   * The lease of the lock, rounded up to whole seconds, at least 2; 0: the
   * option `lock_ttl`.
   */
  int64_t ttl_ms;
  /**
   * How long before the server can give the lock away it counts as lost here;
   * less than half of `ttl_ms`; 0: an eighth of it, at most 500.
   */
  int64_t margin_ms;
  /**
   * The lock is given up after so long, as a loss; more than `margin_ms`; 0:
   * never.
   */
  int64_t max_hold_ms;
  /** Value of the lock's key, for those who observe it; copied. NULL: empty. */
  const void *value;
  /** Length of `value` in bytes, or HMKV_NTS; 0 only with NULL. */
  size_t value_len;
  /**
   * hmkv_lock_acquire() returns without waiting, and this is called when the
   * attempt is over, with the userdata of the call. NULL: it waits.
   */
  hmkv_acquired_fn acquired;
} hmkv_lock_opts;

/** What happened to a store; values stand in `hmkv_state_code`. */
typedef int32_t hmkv_state;

/**
 * Called when something happened to a store's connections, leases, temporary keys or
 * lock.
 *
 * @param state    What happened, one of `hmkv_state_code`; expect new values.
 * @param detail   One line of text, see `hmkv_state_code`. Borrowed until the
 *                 callback returns. A key is cut at its first NUL byte.
 * @param userdata The pointer given to hmkv_on_state().
 *
 * For one store there is one call at a time.
 */
typedef void (*hmkv_state_fn)(hmkv_state state, const char *detail, void *userdata);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/* ============================================================================
 * Common
 */

/**
 * Tell the name of a status, as it stands in this header.
 *
 * @param status Any number.
 * @return       A static string; "HMKV_UNKNOWN" for a number that is no status.
 *
 * Blocks: never. Threads: any. Since: 0.1.
 */
const char *hmkv_status_name(hmkv_status status);

/**
 * Tell what a status means, as one English sentence without a full stop.
 *
 * @param status Any number.
 * @return       A static string; "unknown status" for a number that is no status.
 *
 * Blocks: never. Threads: any. Since: 0.1.
 */
const char *hmkv_strerror(hmkv_status status);

/**
 * Tell the details of this thread's last negative status: one line, causes
 * joined by ": ", at most 1,023 bytes, never a secret.
 *
 * It is set by the call that returns the status. A success and a positive status
 * leave it alone, and so do hmkv_await() and all that tells of a result, which has
 * its own text (hmkv_result_error()), as an event has. Inside the last call of a
 * hmkv_watch_cb() that had to end, and inside `acquired`, it holds the reason.
 *
 * @return A string, empty before the first failure. It belongs to the library
 *         and changes with the thread's next negative status.
 *
 * Blocks: never. Threads: any; each has its own text. Since: 0.1.
 */
const char *hmkv_errmsg(void);

/**
 * Give back memory that the library handed out as `char *` or `void *`.
 *
 * It is the C library's free(); the function exists for programs whose own
 * allocator differs.
 *
 * @param memory What a call handed out, or NULL, which does nothing.
 *
 * Blocks: never. Threads: any. Since: 0.1.
 */
void hmkv_free(void *memory);

/**
 * Tell the version of the loaded library, such as "0.1.0".
 *
 * Compare with HMKV_VERSION, that of the header a program was built with.
 *
 * @return A static string.
 *
 * Blocks: never. Threads: any. Since: 0.1.
 */
const char *hmkv_version(void);

/**
 * Choose where the library's log goes, for the whole process.
 *
 * There is no log until this is called. A new call replaces the last; when it
 * returns, the former callback is not running and will not run again, except
 * when it was called from inside that callback.
 *
 * @param level    One of `hmkv_log_level`; above HMKV_LOG_DEBUG counts as it,
 *                 below HMKV_LOG_OFF as that. The option `debug` of a store
 *                 raises it to HMKV_LOG_DEBUG.
 * @param fn       Gets each line; NULL turns the log off.
 * @param userdata Passed to `fn`. May be NULL.
 *
 * Blocks: while the former callback runs. Threads: any. Since: 0.1.
 */
void hmkv_set_log(int32_t level, hmkv_log_fn fn, void *userdata);

/* ============================================================================
 * Opening and closing
 */

/**
 * Open a store.
 *
 * Opening does not need the server, so that daemons may start before etcd:
 * without option `wait` it checks its arguments and the certificate files and
 * returns. Each handle has its own connections, temporary keys and lock.
 *
 * With the options `user` and `password` or `password_file` the store is a user's. The
 * server is asked for a token when the first request needs one, and again when it no
 * longer accepts that: at most every 300 ms, for all requests at once, and a refusal
 * counts for a second. The time comes out of the request's own timeout. Requests, watches
 * and leases go on over the end of a token; after a wrong password they answer
 * HMKV_EAUTH, while watches and leases that have begun wait for a right one, leases until
 * their time is over. `mem:` has no users: there the options have no effect.
 *
 * `srv:DOMAIN` follows etcd's convention for DNS. DOMAIN is a full name, at most 231 bytes
 * long; no search list is applied. The records of type SRV at
 * `_etcd-client-ssl._tcp.DOMAIN` are members reached by https; those at
 * `_etcd-client._tcp.DOMAIN`, by http. The option `srv_name=NAME` appends `-NAME` to
 * `_etcd-client-ssl` and `_etcd-client`, as etcdctl's --discovery-srv-name.
 *
 * - Where there are records for https, those for http are not used, also later while the
 *   store is open, so that what was encrypted never crosses the network readable. (Other
 *   clients of etcd use both.) For the same reason a failure to learn whether there are
 *   any is a failure. With the options `cacert`, `cert` or `server_name` the records for
 *   http are never used.
 * - The certificate must have the host name of its record, or `server_name`. DNS itself
 *   proves nothing: name with `cacert` an authority that signs for this cluster alone.
 * - Members are tried by ascending priority, those of one priority by lot in proportion
 *   to their weight (RFC 2782). One that answers is kept, also when one before it is
 *   back; when it fails, those after it come next. At most 16 are used.
 * - The records are asked for when the store is opened, which does not wait for that;
 *   when their time to live is over, taken as 5 s to 5 min; and soon, at most every
 *   250 ms, later 2 s, while requests find no member that answers. An answer that fails
 *   or is empty replaces nothing. While no member is known, requests wait for one and
 *   answer HMKV_EUNAVAIL at their timeout. With option `sync` the cluster's own list comes
 *   first, and the records are what it begins with and goes back to.
 *
 * @param endpoint Where the store is, in UTF-8:
 *                 `http://host:port`, `https://host:port`, or bare `host:port`
 *                 (http), an IPv6 address in brackets, without user or password;
 *                 several members of one cluster joined by commas;
 *                 `mem:`, the store inside this process, shared by all its
 *                 handles and surviving their close; `mem:NAME`, a separate one;
 *                 `env:`, what the environment variable HMKV_ENDPOINT names,
 *                 else ETCD_HOST with ETCD_PORT (2379), else ETCDCTL_ENDPOINTS;
 *                 `srv:DOMAIN`, a cluster whose members a name server tells, see above.
 * @param options  NULL, or items `name=value`, some just `name`, in UTF-8, separated
 *                 by any number of `,`, `;` and white space; each name once. A
 *                 value that holds one of these is quoted with '...', where a
 *                 backslash takes the next character as it is. Times are 500ms,
 *                 5s, 2m or 1h, sizes 65536, 512KiB or 2MiB. README lists them.
 * @param out      Gets the handle, to be closed with hmkv_close().
 * @return HMKV_OK;
 *         HMKV_EINVAL: bad endpoint or option, named in hmkv_errmsg();
 *         HMKV_ETLS: a certificate or key file is unreadable or does not match;
 *         HMKV_EAUTH: the password file is unreadable, empty, longer than 4 KiB or not
 *         UTF-8; or, with `wait`, the server refused the user or the password;
 *         HMKV_EUNAVAIL: `wait` ran out before a linearizable read succeeded;
 *         HMKV_ENOMEM: no thread or descriptor to be had, or too many handles.
 *
 * Blocks: never without option `wait`, else at most that long. Threads: any.
 * Since: 0.1.
 */
HMKV_MUST_USE hmkv_status hmkv_open(const char *endpoint, const char *options, hmkv **out);

/**
 * Close a store: end its requests, waits and watches, release its locks, and delete
 * its temporary keys and those of its leases by revoking them.
 *
 * The handle is retired at once; its watchers, leases and locks are by the end of the
 * call. What could not be revoked in time ends with its lease. When the last store of
 * a process is closed, the library's threads have ended, but for one in a callback that
 * still runs, and one that waits for a name server, which ends when that answers or the
 * system gives up. What was stored in `mem:` stays.
 *
 * @param kv The store. Closing it a second time is HMKV_EHANDLE, harmlessly.
 * @return HMKV_OK;
 *         HMKV_TIMED_OUT: the store is closed, but a callback still runs after
 *         `close_timeout`. No further callback starts;
 *         HMKV_EINCALLBACK: called from a callback of this store, nothing done.
 *
 * Blocks: at most for the option `close_timeout` (2 s), while callbacks run or
 * the server does not answer; with `dispatch=poll` up to 100 ms longer, and while a
 * callback runs on this thread. Threads: any, except the store's own callbacks.
 * Since: 0.1.
 */
hmkv_status hmkv_close(hmkv *kv);

/* ============================================================================
 * Keys and values
 */

/**
 * Store a value under a key, whatever was there before.
 *
 * etcd's Put: one new revision, also when the value is the same. The key is
 * detached from a lease that it had.
 *
 * @param kv    The store.
 * @param key   NUL-terminated, not empty. Copied.
 * @param value NUL-terminated, may be empty. Copied.
 * @return HMKV_OK; failures as said at the top. After HMKV_EINDETERMINATE the
 *         write may have happened or may happen later.
 *
 * Blocks: up to the timeout. Threads: any. Since: 0.1.
 */
HMKV_MUST_USE hmkv_status hmkv_store(hmkv *kv, const char *key, const char *value);

/**
 * Read the value of a key: linearizable, so it shows every write that was
 * acknowledged to anyone before the call.
 *
 * @param kv    The store.
 * @param key   NUL-terminated, not empty. Copied.
 * @param value Gets the value as text, to be given back with hmkv_free().
 * @return HMKV_OK; HMKV_NOT_FOUND: the key does not exist; HMKV_EBINARY: the
 *         value contains a NUL byte (hmkv_get_range() reads it).
 *
 * Blocks: up to the timeout. Threads: any. Since: 0.1.
 */
HMKV_MUST_USE hmkv_status hmkv_get(hmkv *kv, const char *key, char **value);

/**
 * Read all keys from `start` to `end`, both inclusive, sorted by key.
 *
 * The answer is one consistent state, that of a single revision
 * (hmkv_result_revision()), of any size: large answers are read in pages of one
 * revision. Linearizable. Values may contain NUL bytes.
 *
 * @param kv    The store.
 * @param start First key; "" begins at the first key there is. Copied.
 * @param end   Last key; "" or a key below `start` makes the range empty.
 *              Copied.
 * @param out   Gets the keys and values, to be given back with
 *              hmkv_result_free(). An empty range is a result of count 0; one
 *              that is empty by its bounds is not asked of the server and has
 *              revision 0.
 * @return HMKV_OK, also when the range is empty; HMKV_ENOMEM: no memory for the
 *         answer.
 *
 * Blocks: up to the timeout for each page. Threads: any. Since: 0.1.
 */
HMKV_MUST_USE
hmkv_status hmkv_get_range(hmkv *kv,
                           const char *start,
                           const char *end,
                           hmkv_result **out);

/**
 * Delete a key.
 *
 * @param kv  The store.
 * @param key NUL-terminated, not empty. Copied.
 * @return HMKV_OK, also when the key did not exist; failures as of
 *         hmkv_store().
 *
 * Blocks: up to the timeout. Threads: any. Since: 0.1.
 */
HMKV_MUST_USE hmkv_status hmkv_delete(hmkv *kv, const char *key);

/**
 * Compare the value of a key, and store one of two pairs, as one atomic step.
 *
 * etcd's Txn with one compare on the value. Values compare bytewise. A compare
 * on a key that does not exist is false, whatever the operator.
 *
 * @param kv         The store.
 * @param key        The key to compare, not empty. Copied.
 * @param op         "=", "!=", "<" or ">": how the stored value must stand to
 *                   `value`.
 * @param value      The value to compare with. Copied.
 * @param then_key   Stored when the compare is true; NULL stores nothing.
 * @param then_value Its value; not NULL unless `then_key` is. Copied.
 * @param else_key   Stored when the compare is false; NULL stores nothing.
 * @param else_value Its value; not NULL unless `else_key` is. Copied.
 * @return HMKV_OK: the compare was true, the then branch is done;
 *         HMKV_COMPARE_FAILED: it was false, the else branch is done;
 *         HMKV_EINVAL, also for any other operator: nothing was written;
 *         failures as of hmkv_store().
 *
 * Blocks: up to the timeout. Threads: any. Since: 0.1.
 */
HMKV_MUST_USE
hmkv_status hmkv_transaction(hmkv *kv,
                             const char *key,
                             const char *op,
                             const char *value,
                             const char *then_key,
                             const char *then_value,
                             const char *else_key,
                             const char *else_value);

/**
 * Test and set: store `set_value` if the key's value is `test_value`, as one
 * atomic step.
 *
 * @param kv         The store.
 * @param key        The key, not empty. Copied.
 * @param test_value What must be there. A key that does not exist is never set;
 *                   "" matches only an existing, empty value. Copied.
 * @param set_value  What is stored then. Copied.
 * @return HMKV_OK: set; HMKV_COMPARE_FAILED: another value or no key, nothing
 *         written; failures as of hmkv_store().
 *
 * Blocks: up to the timeout. Threads: any. Since: 0.1.
 */
HMKV_MUST_USE
hmkv_status hmkv_tas(hmkv *kv,
                     const char *key,
                     const char *test_value,
                     const char *set_value);

/* ============================================================================
 * Temporary keys
 */

/**
 * Store a key that lives as long as this handle: presence of a daemon, an
 * instance, a node.
 *
 * Its value is "1". All temporary keys of a handle hang on one lease, which the
 * library renews at a third of the option `temp_ttl` (10 s). The key replaces
 * what is there and takes it over. It is gone when the store is closed, and
 * within `temp_ttl` and a second after the process died or was cut off (etcd
 * starts the TTL anew at each change of its leader). When the lease was lost,
 * by an outage longer than the TTL, the key is created again unless it belongs
 * to someone else by then, or the user may not store and read it any more;
 * hmkv_on_state() tells of both. Deleting the key, or storing it by anyone, ends
 * its renewal; nobody is told, watch the key for that.
 *
 * @param kv  The store.
 * @param key NUL-terminated, not empty. Copied. Making the same key temporary
 *            again succeeds.
 * @return HMKV_OK; failures as of hmkv_store(). After HMKV_EINDETERMINATE the key
 *         may be there until the store is closed, and is not created again after
 *         a loss: call again until it succeeds.
 *
 * Blocks: up to the timeout. Threads: any. Since: 0.1.
 */
HMKV_MUST_USE hmkv_status hmkv_temp_key(hmkv *kv, const char *key);

/* ============================================================================
 * The distributed lock
 */

/**
 * Acquire the lock of this handle, waiting as long as it takes.
 *
 * One lock, named by the option `lock` (HMKV_DIST_LOCK_KEY), excludes all
 * handles of all processes, two handles of one process too; the owner is the
 * handle, not the thread. The queue is that of etcd's Go package concurrency
 * and of `etcdctl lock`: a key NAME/LEASE for each contender, the lowest create
 * revision owns. The lock hangs on a lease of `lock_ttl` (10 s), renewed by the
 * library.
 *
 * A held lock can be lost, as said under Locks and elections. hmkv_on_state() tells
 * of it, when `lost` would be told there, and hmkv_dist_unlock() does once.
 *
 * @param kv The store. If this handle holds the lock already the call succeeds;
 *           it is not counted, one unlock releases it. After a loss it queues
 *           anew.
 * @return HMKV_OK: held; HMKV_EUNAVAIL: the queue could not be joined within the
 *         timeout. No failure leaves a key behind for longer than `lock_ttl`.
 *
 * Blocks: until held; ended by hmkv_close(). Threads: any; of several callers on
 * one handle one queues and all succeed with it. Since: 0.1.
 */
HMKV_MUST_USE hmkv_status hmkv_dist_lock(hmkv *kv);

/**
 * Acquire the lock of this handle, waiting a limited time. See hmkv_dist_lock().
 *
 * @param kv      The store.
 * @param seconds How long to wait for another holder; 0 tries once, a negative
 *                number is HMKV_EINVAL. It is the wait alone: the lease's time
 *                is the option `lock_ttl`.
 * @return HMKV_OK: held; HMKV_BUSY: another was seen holding it; HMKV_EUNAVAIL:
 *         the store could not be asked. A wait that gives up takes its key out
 *         of the queue; where the server does not answer that within a second,
 *         the key is gone at the latest when its lease ends.
 *
 * Blocks: up to the timeout to join the queue, then up to `seconds`, then up to
 * a second to leave it; ended by hmkv_close(). Threads: any. Since: 0.1.
 */
HMKV_MUST_USE hmkv_status hmkv_dist_timed_lock(hmkv *kv, int32_t seconds);

/**
 * Release the lock of this handle, so that the next in the queue gets it.
 *
 * @param kv The store. Without a held lock the call does nothing and succeeds.
 * @return HMKV_OK;
 *         HMKV_ELOST: the lock had been lost since it was acquired. Answered
 *         once per loss;
 *         HMKV_EUNAVAIL, HMKV_EINDETERMINATE: this handle holds the lock no
 *         longer, others get it at the latest when the lease ends.
 *
 * Blocks: up to the timeout. Threads: any. Since: 0.1.
 */
hmkv_status hmkv_dist_unlock(hmkv *kv);

/**
 * Tell how the lock of this handle stands. A held lock whose lease's time is
 * over answers HMKV_LOCK_RSLT_INVALID.
 *
 * @param kv The store.
 * @return One of `hmkv_lock_code`; a negative number is a status.
 *
 * Blocks: never. Threads: any. Since: 0.1.
 */
HMKV_MUST_USE int32_t hmkv_dist_lock_result(hmkv *kv);

/* ============================================================================
 * Watches
 */

/**
 * Wait for the next change of a key.
 *
 * Exactly the first change after the registration is reported, whatever follows
 * it: a delete and then a create report the delete. Storing an equal value is a
 * change. Where the first change cannot be had any more, the final state is reported
 * in its place, as by hmkv_watch_cb(). To see every change use that.
 *
 * @param kv         The store.
 * @param key        NUL-terminated, not empty. It need not exist. Copied.
 * @param timeout_ms How long to wait after the registration; 0 does not wait,
 *                   HMKV_FOREVER waits without bound.
 * @param value      Gets the new value as text, to be given back with
 *                   hmkv_free(); NULL after a delete. May be NULL.
 * @param op         Gets HMKV_KEYCHANGE_PUT or HMKV_KEYCHANGE_DELETE. May be
 *                   NULL.
 * @return HMKV_OK; HMKV_TIMED_OUT: no change was seen; the server may have been out of
 *         reach, which hmkv_ping() finds out; HMKV_EBINARY: the key was stored, with
 *         a NUL byte in the value, and `value` is not NULL; HMKV_EUNAVAIL: the watch
 *         could not be registered within the timeout.
 *
 * Blocks: up to the timeout for the registration, then up to `timeout_ms`.
 * Threads: any. Since: 0.1.
 */
HMKV_MUST_USE
hmkv_status hmkv_watch(hmkv *kv,
                       const char *key,
                       int64_t timeout_ms,
                       char **value,
                       hmkv_keychange *op);

/**
 * Have a function called for every change of a key.
 *
 * When this returns, the watch is registered: no change after that is missed.
 * Every matching change is delivered, in revision order, none twice, across
 * reconnects, server restarts and changes of the leader. Where the changes of an
 * interruption cannot be had one by one (compacted, left out by the server, or
 * the store was replaced), the final state alone is delivered, and a key deleted
 * and created again counts as deleted. After the store was replaced, a key that
 * is there is told as PUT although nobody stored it.
 *
 * While the server cannot be reached the watch waits, and tells nothing:
 * hmkv_watch_open() tells of that. A callback that is slow loses nothing: 4,096
 * changes or 16 MiB wait here, further ones on the server.
 *
 * The watch ends when the callback returns false, when the key is deleted, when
 * it is cancelled and when the store is closed. **A watch for HMKV_KEYCHANGE_PUT
 * alone ends silently when the key is deleted: ask for both kinds (3) to see
 * it.** If it must end for another reason, the last call has op
 * HMKV_KEYCHANGE_INVAL.
 *
 * @param kv       The store.
 * @param key      NUL-terminated, not empty. It need not exist. Copied.
 * @param op       Which changes to report: HMKV_KEYCHANGE_PUT,
 *                 HMKV_KEYCHANGE_DELETE or the sum of both (3).
 * @param cb       The callback. It can run before this call returns.
 * @param userdata Passed to `cb`. May be NULL.
 * @param out      Gets the watcher. It stays valid until hmkv_watch_cb_cancel()
 *                 or hmkv_close(), also when the watch ended by itself.
 * @return HMKV_OK; HMKV_EUNAVAIL: the watch could not be registered within the
 *         timeout; HMKV_ENOMEM. On failure the callback never runs.
 *
 * Blocks: up to the timeout. Threads: any. Since: 0.1.
 */
HMKV_MUST_USE
hmkv_status hmkv_watch_cb(hmkv *kv,
                          const char *key,
                          int32_t op,
                          hmkv_watch_fn cb,
                          void *userdata,
                          hmkv_watcher **out);

/**
 * Cancel a watch.
 *
 * When a call from outside the callback returns, the callback is not running and
 * will not run again. From inside its own callback the watch is marked and ends
 * with that call.
 *
 * @param watcher The watcher. Only the first cancel finds it; a later one and a
 *                concurrent second one answer HMKV_EHANDLE, harmlessly, the
 *                concurrent one after the callback ended.
 * @return HMKV_OK: this call ended the watch, or it had ended by itself;
 *         HMKV_EINCALLBACK: called from a callback for which the other one,
 *         directly or in a circle, is waiting. The watch is marked and no
 *         further callback starts, but the running one has not ended: the watcher
 *         stays valid, and a cancel from elsewhere waits for that.
 *
 * Blocks: while the callback runs. Do not hold a lock that the callback takes.
 * Threads: any. Since: 0.1.
 */
hmkv_status hmkv_watch_cb_cancel(hmkv_watcher *watcher);

/* ============================================================================
 * Requests
 * The full interface: keys and values of any bytes, every option of etcd, any
 * number of requests in flight. A call that returns an hmkv_op submits a request
 * and does not wait: it never returns NULL, and what is wrong with its arguments is
 * told by the result as everything else. Exactly one of hmkv_await(), hmkv_then()
 * and hmkv_cancel() finishes it:
 *
 *     hmkv_result *r = hmkv_await(hmkv_put(kv, "a", 1, "1", HMKV_NTS, NULL));
 *     if (hmkv_result_status(r) < 0) ...
 *     hmkv_result_free(r);
 *
 * Requests in flight cost no thread each, and are not ordered among each other:
 * await one before the next where that matters. Keys and values are pointer and
 * length; the length HMKV_NTS means NUL-terminated, a length of 0 permits NULL.
 * Options are structs, passed by pointer; NULL means all defaults. HMKV_PUT_OPTS() and
 * alike make one in C; elsewhere fill it with zeroes and set `size`. An option struct
 * may be shorter (an older header's) or longer (a newer one's) than this library's. In a
 * shorter one the fields that are missing have their defaults; a `size` that ends
 * within a field is HMKV_EINVAL. In a longer one what this library does not know must
 * be zero, and `reserved` in any, or it is HMKV_EUNSUPPORTED. HMKV_EINVAL is also a flag
 * that is not 0 or 1, an unknown number of an enumeration, and a negative number but for
 * HMKV_FOREVER, HMKV_TRY and HMKV_ABSENT where they are named.
 */

/**
 * Wait for a request and take its result.
 *
 * @param op The request; taken. NULL gives a result with HMKV_EINVAL.
 * @return   The result, for hmkv_result_free(); never NULL. Its status is that of
 *           the request: see the function that submitted it. HMKV_EFORKED in a
 *           forked child.
 *
 * Blocks: up to the request's timeout; of a large range, as long for each page.
 * Threads: the op's. Since: 0.1.
 */
HMKV_MUST_USE hmkv_result *hmkv_await(hmkv_op *op);

/**
 * Have a function called with the result of a request.
 *
 * It is called exactly once, also when closing the store ended the request; only if
 * hmkv_close() answers HMKV_TIMED_OUT it may not have been called by then, and will
 * not be. Never inside this call.
 *
 * @param op       The request; taken. NULL: `fn` gets a result with HMKV_EINVAL.
 * @param fn       Gets the result and owns it. NULL: the result is thrown away.
 * @param userdata Passed to `fn`. May be NULL.
 *
 * Blocks: never. Threads: the op's. Since: 0.1.
 */
void hmkv_then(hmkv_op *op, hmkv_done_fn fn, void *userdata);

/**
 * Give up a request.
 *
 * @param op The request; taken. NULL is HMKV_EINVAL.
 * @return   The status of the result if the request is finished, which is thrown
 *           away;
 *           HMKV_ECANCELED: it was not applied and never will be;
 *           HMKV_EINDETERMINATE: a write was on its way and may be applied.
 *
 * Blocks: never. Threads: the op's. Since: 0.1.
 */
hmkv_status hmkv_cancel(hmkv_op *op);

/**
 * Store a value.
 *
 * etcd's Put, or with `if_mod_revision` a Txn with one compare.
 *
 * @param kv        The store.
 * @param key       `key_len` bytes or HMKV_NTS, not empty. Copied.
 * @param key_len   Its length.
 * @param value     `value_len` bytes or HMKV_NTS. Copied.
 * @param value_len Its length.
 * @param opts      See hmkv_put_opts. May be NULL.
 * @return The request. Its result has HMKV_OK: stored, at
 *         hmkv_result_revision(), with the former key as hmkv_result_kv(0) if
 *         `prev` asks for it and there was one;
 *         HMKV_COMPARE_FAILED: `if_mod_revision` does not hold, nothing is written,
 *         and hmkv_result_kv(0) is the key as it is, if it exists;
 *         HMKV_ELOST: there is no such lease, nothing is written.
 *
 * Blocks: never. Threads: any. Since: 0.1.
 */
HMKV_MUST_USE
hmkv_op *hmkv_put(hmkv *kv,
                  const void *key,
                  size_t key_len,
                  const void *value,
                  size_t value_len,
                  const hmkv_put_opts *opts);

/**
 * Read a key or a range of keys.
 *
 * etcd's Range. Linearizable unless `serializable`. All of a range is one
 * consistent state, that of one revision; large ones are read in pages.
 *
 * @param kv      The store.
 * @param key     `key_len` bytes or HMKV_NTS. Copied. Empty only with `prefix`,
 *                `from` or `end`, where it stands for the first key there is.
 * @param key_len Its length.
 * @param opts    See hmkv_range_opts. May be NULL.
 * @return The request. Its result has HMKV_OK, also for a range without keys: the
 *         keys as hmkv_result_kv(), their number without limit and filters as
 *         hmkv_result_total();
 *         HMKV_NOT_FOUND: the one key asked for does not exist;
 *         HMKV_ECOMPACTED: `revision` is gone;
 *         HMKV_EINVAL, also for a `revision` that is yet to come;
 *         HMKV_ENOMEM: no memory for the answer.
 *
 * Blocks: never. Threads: any. Since: 0.1.
 */
HMKV_MUST_USE
hmkv_op *hmkv_range(hmkv *kv,
                    const void *key,
                    size_t key_len,
                    const hmkv_range_opts *opts);

/**
 * Remove a key or a range of keys.
 *
 * etcd's DeleteRange, or with `if_mod_revision` a Txn with one compare.
 *
 * @param kv      The store.
 * @param key     `key_len` bytes or HMKV_NTS. Copied. Empty only with `prefix` or
 *                `end`, where it stands for the first key there is.
 * @param key_len Its length.
 * @param opts    See hmkv_remove_opts. May be NULL.
 * @return The request. Its result has HMKV_OK, also when there was nothing to
 *         remove: the number of keys removed as hmkv_result_total(), and with
 *         `prev` the keys as they were;
 *         HMKV_COMPARE_FAILED: as of hmkv_put().
 *
 * Blocks: never. Threads: any. Since: 0.1.
 */
HMKV_MUST_USE
hmkv_op *hmkv_remove(hmkv *kv,
                     const void *key,
                     size_t key_len,
                     const hmkv_remove_opts *opts);

/**
 * Prove that the store can be reached, by a linearizable read.
 *
 * @param kv The store.
 * @return The request. Its result has HMKV_OK and the store's revision, or 0 for a
 *         user whose role does not cover the one key that is read.
 *
 * Blocks: never. Threads: any. Since: 0.1.
 */
HMKV_MUST_USE hmkv_op *hmkv_ping(hmkv *kv);

/* ============================================================================
 * Results
 */

/**
 * Tell the status of the request: see the function that submitted it.
 *
 * @param result A result, or NULL.
 * @return The status; HMKV_EINVAL for NULL.
 *
 * Blocks: never. Threads: the result's. Since: 0.1.
 */
HMKV_MUST_USE hmkv_status hmkv_result_status(const hmkv_result *result);

/**
 * Tell the details of a failed request, as hmkv_errmsg() does.
 *
 * @param result A result, or NULL.
 * @return A string that lives as long as the result; NULL where the status is not
 *         negative, and for NULL.
 *
 * Blocks: never. Threads: the result's. Since: 0.1.
 */
const char *hmkv_result_error(const hmkv_result *result);

/**
 * Tell how many keys the result holds.
 *
 * @param result A result, or NULL.
 * @return The count; 0 for NULL.
 *
 * Blocks: never. Threads: the result's. Since: 0.1.
 */
size_t hmkv_result_count(const hmkv_result *result);

/**
 * Look at one key of the result.
 *
 * @param result A result, or NULL.
 * @param i      From 0 to hmkv_result_count() - 1.
 * @return The key and its value, which live as long as the result; NULL for an
 *         `i` beyond the last and for NULL.
 *
 * Blocks: never. Threads: the result's. Since: 0.1.
 */
const hmkv_kv *hmkv_result_kv(const hmkv_result *result, size_t i);

/**
 * Tell the store's revision that the result shows.
 *
 * @param result A result, or NULL.
 * @return The revision; 0 for NULL and where the server was not asked.
 *
 * Blocks: never. Threads: the result's. Since: 0.1.
 */
int64_t hmkv_result_revision(const hmkv_result *result);

/**
 * Tell how many keys lie in the range that was asked for, limit and filters aside;
 * of a removal, how many keys were removed.
 *
 * @param result A result, or NULL.
 * @return The number of keys; 0 for other requests and for NULL.
 *
 * Blocks: never. Threads: the result's. Since: 0.1.
 */
uint64_t hmkv_result_total(const hmkv_result *result);

/**
 * Look at the result of one operation of a transaction.
 *
 * Each has its own keys, total and status: HMKV_OK, or HMKV_NOT_FOUND of a range
 * of one key that does not exist.
 *
 * @param result The result of hmkv_txn_commit(), or NULL.
 * @param i      From 0 on, in the order in which the operations of the branch that
 *               was taken were added.
 * @return The result, which lives as long as the transaction's and is given back
 *         with it; NULL for an `i` beyond the last, for the results of other
 *         requests and for NULL.
 *
 * Blocks: never. Threads: the result's. Since: 0.1.
 */
const hmkv_result *hmkv_result_sub(const hmkv_result *result, size_t i);

/**
 * Give back a result with all that was borrowed from it.
 *
 * @param result A result; NULL and what hmkv_result_sub() gave do nothing.
 *
 * Blocks: never. Threads: the result's. Since: 0.1.
 */
void hmkv_result_free(hmkv_result *result);

/* ============================================================================
 * Transactions
 * Compares, and operations for either case, as one atomic step with one revision:
 *
 *     hmkv_txn *t = hmkv_txn_new(kv);
 *     hmkv_txn_if_number(t, "a", 1, HMKV_NUMBER_CREATE, "=", 0);
 *     hmkv_txn_put(t, HMKV_THEN, "a", 1, "1", 1, NULL);
 *     hmkv_txn_range(t, HMKV_ELSE, "a", 1, NULL);
 *     hmkv_result *r = hmkv_await(hmkv_txn_commit(t, NULL));
 *
 * The calls that put it together return nothing: the first thing that is wrong with
 * their arguments is the answer of the transaction, which is not sent then. Operators
 * are "=", "!=", "<" and ">". A branch may store each key once, and not remove what it
 * stores; both branches are checked for that. Leases and revisions are checked in the
 * branch that is taken alone.
 */

/**
 * Begin a transaction.
 *
 * @param kv The store.
 * @return The transaction; never NULL.
 *
 * Blocks: never. Threads: any. Since: 0.1.
 */
HMKV_MUST_USE hmkv_txn *hmkv_txn_new(hmkv *kv);

/**
 * Add a compare on a key's value. One on a key that does not exist is false,
 * whatever the operator.
 *
 * @param txn       The transaction. NULL: nothing happens.
 * @param key       `key_len` bytes or HMKV_NTS, not empty. Copied.
 * @param key_len   Its length.
 * @param op        How the stored value must stand to `value`, bytewise.
 * @param value     `value_len` bytes or HMKV_NTS. Copied.
 * @param value_len Its length.
 *
 * Blocks: never. Threads: the transaction's. Since: 0.1.
 */
void hmkv_txn_if_value(hmkv_txn *txn,
                       const void *key,
                       size_t key_len,
                       const char *op,
                       const void *value,
                       size_t value_len);

/**
 * Add a compare on one of a key's numbers, which are 0 for a key that does not
 * exist.
 *
 * @param txn     The transaction. NULL: nothing happens.
 * @param key     `key_len` bytes or HMKV_NTS, not empty. Copied.
 * @param key_len Its length.
 * @param what    One of `hmkv_number_code`.
 * @param op      How the stored number must stand to `number`.
 * @param number  What to compare with.
 *
 * Blocks: never. Threads: the transaction's. Since: 0.1.
 */
void hmkv_txn_if_number(hmkv_txn *txn,
                        const void *key,
                        size_t key_len,
                        int32_t what,
                        const char *op,
                        int64_t number);

/**
 * Add a compare that is true while a lock is held: its key exists, created at
 * hmkv_lock_token(). With it a write by a former holder fails, always, also when
 * that was stopped between asking and writing.
 *
 * @param txn  The transaction. NULL: nothing happens.
 * @param lock A lock of the same store that was acquired; HMKV_EHANDLE is the
 *             transaction's answer if it was released, HMKV_EINVAL if it is not
 *             held yet or of another store.
 *
 * Blocks: never. Threads: the transaction's. Since: 0.1.
 */
void hmkv_txn_if_held(hmkv_txn *txn, hmkv_lock *lock);

/**
 * Add a put. In the result hmkv_result_sub() at its place has the former key if
 * `prev` asks for it.
 *
 * @param txn       The transaction. NULL: nothing happens.
 * @param branch    One of `hmkv_branch_code`.
 * @param key       `key_len` bytes or HMKV_NTS, not empty. Copied.
 * @param key_len   Its length.
 * @param value     `value_len` bytes or HMKV_NTS. Copied.
 * @param value_len Its length.
 * @param opts      See hmkv_put_opts. May be NULL.
 *
 * Blocks: never. Threads: the transaction's. Since: 0.1.
 */
void hmkv_txn_put(hmkv_txn *txn,
                  int32_t branch,
                  const void *key,
                  size_t key_len,
                  const void *value,
                  size_t value_len,
                  const hmkv_put_opts *opts);

/**
 * Add a range. It sees what the operations before it wrote. The answer is read in
 * one piece.
 *
 * @param txn     The transaction. NULL: nothing happens.
 * @param branch  One of `hmkv_branch_code`.
 * @param key     As of hmkv_range().
 * @param key_len Its length.
 * @param opts    See hmkv_range_opts; `serializable` has no effect. May be NULL.
 *
 * Blocks: never. Threads: the transaction's. Since: 0.1.
 */
void hmkv_txn_range(hmkv_txn *txn,
                    int32_t branch,
                    const void *key,
                    size_t key_len,
                    const hmkv_range_opts *opts);

/**
 * Add a removal.
 *
 * @param txn     The transaction. NULL: nothing happens.
 * @param branch  One of `hmkv_branch_code`.
 * @param key     As of hmkv_remove().
 * @param key_len Its length.
 * @param opts    See hmkv_remove_opts. May be NULL.
 *
 * Blocks: never. Threads: the transaction's. Since: 0.1.
 */
void hmkv_txn_remove(hmkv_txn *txn,
                     int32_t branch,
                     const void *key,
                     size_t key_len,
                     const hmkv_remove_opts *opts);

/**
 * Submit a transaction.
 *
 * @param txn  The transaction; taken. NULL gives HMKV_EINVAL.
 * @param opts See hmkv_txn_opts. May be NULL.
 * @return The request. Its result has HMKV_OK: all compares were true, the then
 *         branch is done;
 *         HMKV_COMPARE_FAILED: one was false, the else branch is done;
 *         in both cases at hmkv_result_revision(), with one hmkv_result_sub() for each
 *         operation of that branch, in order;
 *         HMKV_EINVAL: a wrong argument, or a key that one branch writes twice;
 *         HMKV_ETOOLARGE: over 128 compares or operations in a branch, or over
 *         `max_request`; HMKV_ELOST: there is no such lease; HMKV_ECOMPACTED: of
 *         a range. In all these nothing is written.
 *
 * Blocks: never. Threads: the transaction's. Since: 0.1.
 */
HMKV_MUST_USE hmkv_op *hmkv_txn_commit(hmkv_txn *txn, const hmkv_txn_opts *opts);

/**
 * Give back a transaction that was not committed.
 *
 * @param txn The transaction; taken. NULL: nothing happens.
 *
 * Blocks: never. Threads: the transaction's. Since: 0.1.
 */
void hmkv_txn_free(hmkv_txn *txn);

/* ============================================================================
 * Event watches
 * The full watch: of a key, a prefix or a range, from any revision that is kept, with
 * previous values, with a snapshot first. Everything is an hmkv_event, in order:
 * whole revisions, none lost, none twice, across reconnects, server restarts and
 * changes of the leader, but for what a RESYNC stands for and `on_overflow` drops. It
 * does not end with a deletion. Watchers of the same range
 * of one store share one watch of the server; idle ones cost no thread.
 *
 * With a callback events are pushed, on library threads. Without, hmkv_watch_next()
 * pulls them. A consumer that is slow has bounded memory here; `on_overflow` says
 * what gives way. A watch keeps the names of its range's keys, so that it can tell which
 * are gone when changes were compacted; to begin it lists them. `mem:` keeps the last
 * 100,000 revisions, as far as they fit in 64 MiB.
 */

/**
 * Begin a watch.
 *
 * When this returns, the watch is registered: no change after that is missed. With
 * `snapshot` nothing is missed or doubled between the snapshot and the changes.
 *
 * @param kv       The store.
 * @param key      `key_len` bytes or HMKV_NTS. It need not exist. Copied. Empty only
 *                 with `prefix` or `end`, where it stands for the first key there
 *                 is.
 * @param key_len  Its length.
 * @param opts     See hmkv_watch_opts. May be NULL.
 * @param fn       Called for each event; it can run before this call returns. NULL:
 *                 hmkv_watch_next() is used.
 * @param userdata Passed to `fn` and to `userdata_free`. May be NULL.
 * @param out      Gets the watcher, for hmkv_watch_close(). It stays valid until
 *                 then, or until the store is closed, also when the watch ended.
 * @return HMKV_OK; HMKV_EUNAVAIL: not registered within the timeout;
 *         HMKV_ECOMPACTED: `start_revision` or the one before it is compacted (a
 *         server may have dropped a deletion of the oldest revision that it keeps);
 *         HMKV_ENOMEM. On failure `fn` never runs.
 *
 * Blocks: up to the timeout for each page of a large range, and for the watch.
 * Threads: any. Since: 0.1.
 */
HMKV_MUST_USE
hmkv_status hmkv_watch_open(hmkv *kv,
                            const void *key,
                            size_t key_len,
                            const hmkv_watch_opts *opts,
                            hmkv_event_fn fn,
                            void *userdata,
                            hmkv_watcher **out);

/**
 * Wait for the next event of a watch without callback.
 *
 * @param watcher    The watcher.
 * @param timeout_ms How long to wait; 0 does not wait, HMKV_FOREVER waits without
 *                   bound.
 * @param event      Gets the event with all that it points to; borrowed until the
 *                   next hmkv_watch_next() of this watcher, or until it or its
 *                   store is closed.
 * @return HMKV_OK; HMKV_TIMED_OUT: no event; HMKV_EINVAL, also where the watcher has
 *         a callback or another thread is waiting in this call;
 *         HMKV_ECLOSED, HMKV_ECANCELED: the store, the watch was closed meanwhile.
 *         After HMKV_EVENT_END the status of that event.
 *
 * Blocks: up to `timeout_ms`. Threads: any, one at a time for one watcher.
 * Since: 0.1.
 */
HMKV_MUST_USE
hmkv_status hmkv_watch_next(hmkv_watcher *watcher,
                            int64_t timeout_ms,
                            const hmkv_event **event);

/**
 * End a watch, of whatever kind: the same as hmkv_watch_cb_cancel().
 *
 * @param watcher The watcher.
 * @return As of hmkv_watch_cb_cancel(). When a call from outside the callback returns
 *         HMKV_OK, `userdata_free` has been called.
 *
 * Blocks: while the callback runs, or another thread is in hmkv_watch_next(), which
 * ends at once. Do not hold a lock that the callback takes. Threads: any.
 * Since: 0.1.
 */
hmkv_status hmkv_watch_close(hmkv_watcher *watcher);

/* ============================================================================
 * Mirrors
 * A copy of all keys that begin with a prefix, in the memory of this process, kept up
 * to date by a watch. Reading it takes no network and waits for nobody, on any number
 * of threads, also while the copy changes. Each read shows the store as it was at one
 * revision, hmkv_result_revision(): never half of a transaction, nor half of a resync,
 * nor an older state than one that was read before, but of another store.
 *
 * A copy is behind the store by what is on its way. hmkv_mirror_wait() gives
 * read-your-writes: write, wait for the write's revision, read. While the server cannot
 * be reached the copy stays as it is. What it missed then, it gets one by one; where
 * that is compacted, or the store is another one, it becomes the newest state in one
 * step.
 */

/**
 * Make a copy of a prefix and keep it up to date.
 *
 * When this returns, the copy is there. `changed` is told first what was there then, as
 * PUT events sorted by key and a SYNCED, and then every change, as by hmkv_watch_open()
 * with `snapshot`, STATE and END included. When it is called, the copy has the change
 * already, and may have later ones. A `changed` that is slow delays no reader,
 * and the copy but for a moment: when 4,096 events or 16 MiB wait for it they are dropped,
 * and it is told the difference of what it knows to the copy, ended by RESYNC.
 *
 * @param kv         The store.
 * @param prefix     `prefix_len` bytes or HMKV_NTS. Empty: all keys. Copied.
 * @param prefix_len Its length.
 * @param changed    Called for each event; it can run before this call returns. NULL:
 *                   nobody is told.
 * @param userdata   Passed to `changed`. May be NULL.
 * @param out        Gets the mirror, for hmkv_mirror_close(). It stays valid until
 *                   then, or until the store is closed, also when its watch ended.
 * @return HMKV_OK; HMKV_EUNAVAIL: the keys could not be read, or the watch not
 *         registered, within the timeout; HMKV_ENOMEM. On failure `changed` never runs.
 *
 * Blocks: up to the timeout for each page of a large copy, and for the watch.
 * Threads: any. Since: 0.1.
 */
HMKV_MUST_USE
hmkv_status hmkv_mirror_open(hmkv *kv,
                             const void *prefix,
                             size_t prefix_len,
                             hmkv_event_fn changed,
                             void *userdata,
                             hmkv_mirror **out);

/**
 * Read one key of the copy.
 *
 * @param mirror  The mirror.
 * @param key     `key_len` bytes or HMKV_NTS, not empty.
 * @param key_len Its length.
 * @return A result, for hmkv_result_free(): HMKV_OK with the one key;
 *         HMKV_NOT_FOUND: the copy has no such key; HMKV_EINVAL, also where the key does
 *         not begin with the prefix; HMKV_EHANDLE; HMKV_ENOMEM.
 *
 * Blocks: never. Threads: any. Since: 0.1.
 */
HMKV_MUST_USE
hmkv_result *hmkv_mirror_get(hmkv_mirror *mirror,
                             const void *key,
                             size_t key_len);

/**
 * Read a range of the copy, as hmkv_range() reads one of the store.
 *
 * @param mirror  The mirror.
 * @param key     As of hmkv_range().
 * @param key_len Its length.
 * @param opts    See hmkv_range_opts. `revision`, `timeout_ms` and `serializable` must
 *                be 0: a copy has one state, which is there. May be NULL.
 * @return A result, for hmkv_result_free(): as of hmkv_range(); HMKV_EINVAL, also where
 *         a key of the range need not begin with the prefix; HMKV_EHANDLE; HMKV_ENOMEM.
 *
 * Blocks: never. Threads: any. Since: 0.1.
 */
HMKV_MUST_USE
hmkv_result *hmkv_mirror_range(hmkv_mirror *mirror,
                               const void *key,
                               size_t key_len,
                               const hmkv_range_opts *opts);

/**
 * Wait until the copy has every change up to a revision, as hmkv_result_revision() tells
 * one of a write. The change may be of any key. Where it is not of the prefix, or is long
 * in coming, the store is asked whether the copy is up to date, which takes it as long as
 * reading the prefix, although it sends no more than one key.
 *
 * @param mirror     The mirror.
 * @param revision   The revision, 0 or more. It may be one that is yet to come.
 * @param timeout_ms How long to wait; 0 only looks, HMKV_FOREVER waits without bound.
 * @return HMKV_OK: what is read from now on is of this revision or a later one;
 *         HMKV_TIMED_OUT: not in time; HMKV_ECLOSED, HMKV_ECANCELED: the store, the
 *         mirror was closed meanwhile. After HMKV_EVENT_END the status of that event,
 *         unless the copy has the revision.
 *
 * Blocks: up to `timeout_ms`. Threads: any. Since: 0.1.
 */
HMKV_MUST_USE
hmkv_status hmkv_mirror_wait(hmkv_mirror *mirror,
                             int64_t revision,
                             int64_t timeout_ms);

/**
 * Give up a copy.
 *
 * When this returns, `changed` is not running and will not run, unless it was called
 * from inside `changed`.
 *
 * @param mirror The mirror; retired. A second close, also a concurrent one, is
 *               HMKV_EHANDLE at once, harmlessly.
 * @return HMKV_OK; HMKV_EINCALLBACK: as of hmkv_lease_close().
 *
 * Blocks: while `changed` runs. Do not hold a lock that it takes. Threads: any.
 * Since: 0.1.
 */
hmkv_status hmkv_mirror_close(hmkv_mirror *mirror);

/* ============================================================================
 * Leases
 * Keys stored with a lease are deleted when it ends. The library renews a lease at a
 * third of its TTL until it is closed, and knows when it must count as lost: when no
 * renewal was answered for the TTL, by a clock that counts suspend, a margin (an
 * eighth of the TTL, at most 500 ms) before the server deletes the keys. A lost lease
 * does not come back: grant another. Closing the store revokes its leases.
 */

/**
 * Make a lease and keep it alive.
 *
 * @param kv       The store.
 * @param ttl_ms   The keys live so long after the last renewal, and again after a
 *                 change of etcd's leader. Rounded up to whole seconds, at least 2;
 *                 above 0, at most a year.
 * @param lost     Called once if the lease is lost. NULL: nobody is told.
 * @param userdata Passed to `lost`. May be NULL.
 * @param out      Gets the lease, for hmkv_lease_close(). It stays valid until then,
 *                 also when it was lost.
 * @return HMKV_OK; HMKV_EUNAVAIL: no lease within the timeout.
 *
 * Blocks: up to the timeout. Threads: any. Since: 0.1.
 */
HMKV_MUST_USE
hmkv_status hmkv_lease_grant(hmkv *kv,
                             int64_t ttl_ms,
                             hmkv_lost_fn lost,
                             void *userdata,
                             hmkv_lease **out);

/**
 * Tell a lease's id, for option `lease` of hmkv_put().
 *
 * @param lease The lease.
 * @return The id, above 0, also when the lease was lost; a negative number is a
 *         status.
 *
 * Blocks: never. Threads: any. Since: 0.1.
 */
HMKV_MUST_USE int64_t hmkv_lease_id(hmkv_lease *lease);

/**
 * Tell how long a lease is surely alive, should no renewal succeed from now on.
 *
 * @param lease The lease.
 * @return Milliseconds, less the margin; 0 when it is lost; a negative number is a
 *         status.
 *
 * Blocks: never. Threads: any. Since: 0.1.
 */
HMKV_MUST_USE int64_t hmkv_lease_left_ms(hmkv_lease *lease);

/**
 * Give up a lease.
 *
 * When this returns, `lost` is not running and will not run, unless it was called
 * from inside `lost`.
 *
 * @param lease  The lease; retired. A second close, also a concurrent one, is
 *               HMKV_EHANDLE at once, harmlessly.
 * @param revoke true: its keys are deleted now; false: it is renewed no longer, and
 *               they are deleted when its time is over.
 * @return HMKV_OK; HMKV_ELOST: it was lost before;
 *         HMKV_EUNAVAIL, HMKV_EINDETERMINATE: the revocation was not answered; the
 *         keys are deleted at the latest when its time is over;
 *         HMKV_EINCALLBACK: closed, but called from a callback for which `lost`,
 *         directly or in a circle, is waiting: it still runs.
 *
 * Blocks: up to the timeout with `revoke`, and while `lost` runs. Threads: any.
 * Since: 0.1.
 */
hmkv_status hmkv_lease_close(hmkv_lease *lease, bool revoke);

/* ============================================================================
 * Locks and elections
 * Any number of named locks, each owned by its hmkv_lock. The queue is that of
 * etcd's Go package concurrency (a key NAME/LEASE for each contender, the lowest
 * create revision owns), so that libhmkv, Go programs, `etcdctl lock` and
 * `etcdctl elect` exclude each other. A lock with a value is an election: the value
 * tells who leads, hmkv_lock_observe() follows it.
 *
 * A held lock can be lost: the store is cut off for longer than the TTL, an operator
 * deletes the key, `max_hold_ms` is over. `lost` is told before another can hold it,
 * by `margin_ms`, if the lease or `max_hold_ms` ran out; after the fact if the key was
 * deleted or the process was suspended (SIGSTOP, a machine that is paused). Clocks are
 * trusted to run at one rate. Whatever must never be written by a former holder needs
 * the store's own judgement: hmkv_txn_if_held(), or hmkv_lock_token() as fencing token
 * elsewhere. Who waits and is cut off for longer than the TTL queues anew, at the end.
 */

/**
 * Acquire a lock.
 *
 * @param kv       The store.
 * @param name     Name of the lock, NUL-terminated, not empty. Copied.
 * @param opts     See hmkv_lock_opts. May be NULL.
 * @param lost     Called once if the held lock is lost. NULL: nobody is told.
 * @param userdata Passed to `lost` and to `acquired`. May be NULL.
 * @param out      Gets the lock, for hmkv_lock_release(). It stays valid until then,
 *                 also when the lock was lost.
 * @return HMKV_OK: held, or with `acquired` begun; HMKV_BUSY: another was seen
 *         holding it until the end of the wait; HMKV_EUNAVAIL: the queue could not
 *         be joined within the timeout, or did not answer. A failure leaves no key
 *         behind for longer than the TTL.
 *
 * Blocks: up to the timeout to join the queue, then up to `wait_ms`, then up to a
 * second to leave it; ended by hmkv_close(). Never with `acquired`. Threads: any.
 * Since: 0.1.
 */
HMKV_MUST_USE
hmkv_status hmkv_lock_acquire(hmkv *kv,
                              const char *name,
                              const hmkv_lock_opts *opts,
                              hmkv_lost_fn lost,
                              void *userdata,
                              hmkv_lock **out);

/**
 * Tell a lock's fencing token: the create revision of its key. It grows from holder
 * to holder, so whoever remembers the highest seen can refuse a former holder.
 *
 * @param lock The lock.
 * @return The token, above 0, also when the lock was lost; 0: not acquired yet; a
 *         negative number is a status.
 *
 * Blocks: never. Threads: any. Since: 0.1.
 */
HMKV_MUST_USE int64_t hmkv_lock_token(hmkv_lock *lock);

/**
 * Tell how long a lock is surely held, should no renewal succeed from now on.
 *
 * @param lock The lock.
 * @return Milliseconds, less `margin_ms`; 0 when it is lost or not acquired yet; a
 *         negative number is a status.
 *
 * Blocks: never. Threads: any. Since: 0.1.
 */
HMKV_MUST_USE int64_t hmkv_lock_left_ms(hmkv_lock *lock);

/**
 * Change the value of a held lock's key, as a leader's new proclamation.
 *
 * @param lock      The lock.
 * @param value     `value_len` bytes or HMKV_NTS. Copied.
 * @param value_len Its length.
 * @return HMKV_OK; HMKV_ELOST: the lock is lost, nothing was written; HMKV_BUSY: not
 *         acquired yet; failures as of hmkv_store().
 *
 * Blocks: up to the timeout. Threads: any. Since: 0.1.
 */
HMKV_MUST_USE hmkv_status hmkv_lock_set(hmkv_lock *lock, const void *value, size_t value_len);

/**
 * Release a lock, or give up waiting for it.
 *
 * When this returns, neither `lost` nor `acquired` is running or will run, unless it
 * was called from inside one.
 *
 * @param lock The lock; retired. A second release, also a concurrent one, is
 *             HMKV_EHANDLE at once, harmlessly.
 * @return HMKV_OK; HMKV_ELOST: it was found lost before;
 *         HMKV_EUNAVAIL, HMKV_EINDETERMINATE: it is held no longer, others get it at
 *         the latest when its lease ends;
 *         HMKV_EINCALLBACK: as of hmkv_lease_close().
 *
 * Blocks: up to the timeout, and while `lost` or `acquired` runs. Threads: any.
 * Since: 0.1.
 */
hmkv_status hmkv_lock_release(hmkv_lock *lock);

/**
 * Follow who holds a lock: the leader of an election and its value.
 *
 * @param kv       The store.
 * @param name     Name of the lock, NUL-terminated, not empty. Copied.
 * @param fn       Called with PUT and the leader's key and value at once, if there
 *                 is one, and whenever the leader or its value changes; with DELETE
 *                 and the former leader's key when there is none any more. STATE and
 *                 END as of hmkv_watch_open().
 * @param userdata Passed to `fn`. May be NULL.
 * @param out      Gets the watcher, for hmkv_watch_close().
 * @return HMKV_OK; HMKV_EUNAVAIL: not registered within the timeout; HMKV_ENOMEM.
 *
 * Blocks: up to the timeout. Threads: any. Since: 0.1.
 */
HMKV_MUST_USE
hmkv_status hmkv_lock_observe(hmkv *kv,
                              const char *name,
                              hmkv_event_fn fn,
                              void *userdata,
                              hmkv_watcher **out);

/* ============================================================================
 * State
 */

/**
 * Have a function called when the server can be reached, when it cannot any more, and
 * when another member of the cluster is used; when the lease of a store's temporary
 * keys, or its lock of hmkv_dist_lock(), was lost, and when a temporary key was restored
 * or, after a loss, found to be someone else's or denied. Leases and named locks have a
 * `lost` of their own. At most 1,024 events wait for the callback, further ones are
 * dropped; of how the server can be reached it hears the newest as soon as there is room.
 *
 * What happened before the call is not told. hmkv_open() does not connect, except with
 * option `wait`: a callback that is set right after it hears of the first connection too,
 * which the first request makes. How it stands at any moment, hmkv_metrics() has in
 * `hmkv_connected`.
 *
 * HMKV_STATE_CONNECTED and HMKV_STATE_CUT alternate. A store has up to three connections,
 * of its requests, leases and watches. It is cut when one of them is lost and no member
 * accepts another one in its place, and connected again when all of them are; a connection
 * that is made anew at once is no cut. This is noticed while nothing is asked, too: what
 * is lost is tried again, one member about every second or two, until it is there. A host
 * that is gone without a word is noticed by the next request, or after the time of
 * `keepalive`. A member that accepts connections and cannot serve, as without a leader,
 * is no cut.
 * On `mem:` the store is connected from the beginning, which is not told.
 *
 * There is one such callback per store; a new call replaces the last. When it
 * returns, the former callback is not running and will not run again, except
 * when it was called from inside that callback.
 *
 * @param kv       The store.
 * @param fn       The callback; NULL for none.
 * @param userdata Passed to `fn`. May be NULL.
 * @return HMKV_OK; HMKV_EINCALLBACK: replaced, but called from a callback for
 *         which the former one, directly or in a circle, is waiting: it still
 *         runs.
 *
 * Blocks: while the former callback runs. Threads: any. Since: 0.1.
 */
HMKV_MUST_USE hmkv_status hmkv_on_state(hmkv *kv, hmkv_state_fn fn, void *userdata);

/* ============================================================================
 * Metrics
 */

/**
 * Tell what a store has counted, as text for Prometheus (its text format, version
 * 0.0.4: `Content-Type: text/plain; version=0.0.4`).
 *
 * docs/metrics.md lists names and labels, which stay: later versions may add some.
 * What a store counts begins with hmkv_open() and ends with hmkv_close(); counters
 * never go down. A program with several stores adds a label of its own.
 *
 * @param kv   The store.
 * @param text Gets the text, to be given back with hmkv_free().
 * @return HMKV_OK; HMKV_ENOMEM: no memory for the text.
 *
 * Blocks: never. Threads: any. Since: 0.1.
 */
HMKV_MUST_USE hmkv_status hmkv_metrics(hmkv *kv, char **text);

/**
 * Ask the members of the cluster how they are. The answer is one object of JSON:
 *
 * - `cluster_id`: the cluster's id in hexadecimal, as all ids here: they have 64 bits,
 *   which numbers of JSON need not have.
 * - `leader`: the id of the leader; null where no member that answered knows one.
 * - `members`: an array of objects, one for each member:
 *   - `id`, `name`: a member that never started has the name "".
 *   - `peer_urls`, `client_urls`: arrays of strings.
 *   - `is_learner`: true or false.
 *   - `reachable`: whether the member answered.
 *   - `error`: the reason where it did not; else what it says is wrong with it, such as
 *     an exhausted quota, or null.
 *   - `endpoint`: the URL at which it answered.
 *   - `version`: that of the server, such as "3.5.16".
 *   - `db_size`, `db_size_in_use`: bytes that its database takes, and that of these are
 *     in use.
 *   - `raft_index`, `raft_term`: how far it is in the log of the cluster.
 *   - `revision`: the newest revision that it has.
 *
 * Those from `endpoint` on are null where the member is not `reachable`. Later versions
 * may add fields.
 *
 * All members are asked at once: those of the store and those that are in the list of
 * one that answers, at their client URLs, over connections of their own. No quorum is
 * needed: it is what each member knows by itself. The user needs no rights. Where all URLs
 * of the store are https, those in a list that are not are not asked.
 *
 * On `mem:` there is one member, the leader, with the id 0: its name and endpoint are
 * that of the store, its version is that of the library; both sizes are the bytes of all
 * keys and values, and raft has 0.
 *
 * @param kv   The store.
 * @param json Gets the text, to be given back with hmkv_free().
 * @return HMKV_OK when at least one member answered; HMKV_EUNAVAIL: none did;
 *         HMKV_ENOMEM: no memory for the text.
 *
 * Blocks: up to the timeout; without it where every member answers or refuses.
 * Threads: any. Since: 0.1.
 */
HMKV_MUST_USE hmkv_status hmkv_cluster_status(hmkv *kv, char **json);

/* ============================================================================
 * Event loops
 * For a program that lives in an event loop of its own. With option `dispatch=poll` the
 * store's callbacks run in hmkv_dispatch() alone, on the thread that calls it, whenever
 * the descriptor hmkv_fd() tells the loop that some are ready: the program needs no locks
 * for what its callbacks touch. Requests, renewals of leases, watches and losses go on
 * without it; what it delays is that the program hears of them. A store whose callbacks
 * wait for their turn keeps what they are to get: of a watch at most its `queue_max`
 * beside a snapshot, of the state callback 1,024 events.
 *
 * Ready-made bindings for libuv, libevent, GLib and sd-event are `hmkv/libuv.h`,
 * `hmkv/libevent.h`, `hmkv/glib.h` and `hmkv/sd-event.h`, which stand beside this header.
 *
 * Besides hmkv_dispatch(), hmkv_close() runs the callbacks that are promised: those of
 * hmkv_then() and `acquired`. Where ending leases takes all of `close_timeout`, they have
 * 100 ms more. The callback of hmkv_set_log(), which is the process's, runs where there is
 * something to tell; that of hmkv_then() for an op that a store refused because it was
 * closed, or had no store, runs on a thread of its own; and `userdata_free` as its type says.
 */

/**
 * Tell the descriptor that is readable exactly while hmkv_dispatch() has something to do.
 *
 * It is for poll(), epoll and their like, level-triggered or edge-triggered, and for
 * nothing else: it is not to be read, written or closed. It stays the same until the
 * store is closed; take it out of the loop before that.
 *
 * @param kv A store with option `dispatch=poll`.
 * @return The descriptor, which is the store's; or -1, with the reason in hmkv_errmsg():
 *         no such store, or one without that option.
 *
 * Blocks: never. Threads: any. Since: 0.1.
 */
int32_t hmkv_fd(hmkv *kv);

/**
 * Run callbacks that are ready, on this thread, in the order in which they became so;
 * several of one watch in a row, but others come between before it has had 64.
 *
 * It waits for nothing but the callbacks themselves. When it returns because `max` of them
 * have run, or because much of what it looked at needed no callback, and there is more, the
 * descriptor is readable, which is an edge again.
 *
 * @param kv  A store with option `dispatch=poll`.
 * @param max How many callbacks to run at most; at least 1.
 * @param ran Gets how many have run. May be NULL.
 * @return HMKV_OK; HMKV_TIMED_OUT: no callback was there to run; HMKV_EINVAL, also for a store
 *         without that option; HMKV_EINCALLBACK: called from a callback of this store.
 *
 * Blocks: while the callbacks run. Threads: any; several at once share the callbacks, of
 * which those of one watch still run one at a time. Since: 0.1.
 */
hmkv_status hmkv_dispatch(hmkv *kv, size_t max, size_t *ran);

/* ============================================================================
 * Faults
 */

/**
 * Make faults happen, so that the rare paths of a program can be tested on `mem:`
 * without a server: with the statuses, events and callbacks of the real ones.
 *
 * They concern this handle, as if it were a process of its own; others on the same
 * store go on and see what becomes of it. So a test has one handle for the program
 * and one to look with:
 *
 *     hmkv_lock_acquire(kv, "leader", HMKV_LOCK_OPTS(.ttl_ms = 2000), on_lost, me, &lock);
 *     hmkv_mem_fault(kv, "cut=1h");
 *     ... wait until on_lost was called ...
 *     hmkv_lock_acquire(other, "leader", NULL, NULL, NULL, &theirs);  // HMKV_OK, soon
 *     hmkv_lock_set(lock, "late", HMKV_NTS);                          // HMKV_ELOST
 *
 * The text, where a separator is any number of `,`, `;` and white space, and TIME is
 * written as in options and at most an hour:
 *
 *     spec  = [sep] fault *(sep fault) [sep]
 *     fault = "expire" / "compact" / "cut=" TIME / "delay=" TIME
 *           / "indeterminate" ["=" ("applied" / "dropped")]
 *
 * The faults are made in their order; none, where the text is wrong.
 *
 * - `expire`: every lease that this handle holds ends at once, as if its process had
 *   been cut off for longer than the TTL. Its temporary keys, its lock keys and those
 *   of its leases are deleted, the state callback (hmkv_on_state()) and each `lost` tell
 *   of the loss, and temporary keys are created again.
 * - `compact`: all revisions before the newest one are gone, for all handles, as after
 *   `etcdctl compact`.
 * - `cut=TIME`: for so long this handle reaches nothing. A request waits for the end of
 *   the cut; where its timeout comes first it was not sent and answers HMKV_EUNAVAIL,
 *   and HMKV_ECANCELED where it is cancelled. One that was under way (see `delay`) is
 *   sent again where the library may repeat it; other writes are HMKV_EINDETERMINATE at
 *   once. Event watches tell of the cut and of its end by HMKV_EVENT_STATE, the state
 *   callback by HMKV_STATE_CUT and HMKV_STATE_CONNECTED. What others changed meanwhile
 *   follows after it, or RESYNC where that was compacted. Leases are not renewed: those
 *   whose TTL is over by then are lost, which `lost`, HMKV_STATE_LEASE_LOST and
 *   HMKV_STATE_LOCK_LOST tell in time, and temporary keys are created again after the
 *   cut. Whoever waits for a lock waits on. hmkv_close() takes up to `close_timeout`
 *   where there are leases to revoke, which end by themselves. A new cut replaces the
 *   one that lasts; `cut=0` ends it.
 * - `delay=TIME`: each request of this handle from now on reaches the store after half of
 *   the time, and is answered after the other half, none before the one before it. Where
 *   its timeout comes first a read answers HMKV_EUNAVAIL and a write
 *   HMKV_EINDETERMINATE: it reaches the store all the same, unless a cut or hmkv_close()
 *   comes first. A cancelled write is HMKV_EINDETERMINATE too. Events are not
 *   delayed. `delay=0` ends it for later requests, which wait for those under way;
 *   `cut=1ms` breaks these.
 * - `indeterminate=applied`, `indeterminate=dropped`: the next write of this handle is
 *   applied, or is not, and answers HMKV_EINDETERMINATE, as when the connection breaks
 *   between request and answer. Given several times it concerns so many writes.
 *   `indeterminate` alone is `indeterminate=applied`. Writes that the library repeats
 *   by itself are left out, for they would not show it: making, renewing and revoking a
 *   lease, joining the queue of a lock, restoring a temporary key. (With `delay` those
 *   come to their timeout.)
 *
 * @param kv   A store on `mem:`.
 * @param spec The text.
 * @return HMKV_OK when it is done (callbacks follow);
 *         HMKV_EINVAL: the text is wrong; hmkv_errmsg() says where, in bytes from 0, and
 *         why;
 *         HMKV_EUNSUPPORTED: the store is not on `mem:`.
 *
 * Blocks: never. Threads: any. Since: 0.1.
 */
HMKV_MUST_USE hmkv_status hmkv_mem_fault(hmkv *kv, const char *spec);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* HMKV_H */
