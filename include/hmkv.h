/*
 * hmkv.h - libhmkv, the C library for etcd
 *
 * One key/value interface over two backends: an etcd v3 cluster (3.4 and
 * later) and `mem:`, a store inside this process that keeps the same contract.
 *
 * THIS HEADER IS THE MANUAL. It is generated from the library's sources. What
 * holds everywhere stands once, here:
 *
 * Status     Every call that can fail returns an hmkv_status. The sign is the
 *            interface: 0 is done; positive is done, and the answer is "no"
 *            (not found, compare false, busy, timed out); negative is failed.
 *            `if (rc < 0) goto fail;` is right everywhere.
 *            A failed write was not applied and never will be, with one
 *            exception: HMKV_EINDETERMINATE, which may have been applied, or
 *            may be later. Repair that one by a conditional write
 *            (hmkv_tas, hmkv_transaction), never by reading back alone.
 *            hmkv_errmsg() tells the details of this thread's last failure.
 *            Expect values that you do not know: enumerations grow.
 * Handles    hmkv and hmkv_watcher are opaque values, looked up and never
 *            dereferenced by the library. A NULL, closed, stale, forged or
 *            foreign one is answered with HMKV_EHANDLE, harmlessly; one
 *            inherited through fork() with HMKV_EFORKED.
 * Arguments  A NULL where none is allowed is HMKV_EINVAL. Inputs are copied
 *            before the call returns. Strings are NUL-terminated bytes; no
 *            encoding is imposed. Keys compare bytewise, shorter first; an
 *            empty key is HMKV_EINVAL; an empty value is legal and is not the
 *            same as an absent key.
 * Outputs    What arrives through a pointer-to-pointer belongs to the caller:
 *            text goes back with hmkv_free(), a result with
 *            hmkv_result_free(). What an accessor returns is borrowed from the
 *            object it was asked of. On any status but success outputs are
 *            NULL or 0. Whatever is handed out has a length and a NUL after it.
 * Times      In milliseconds, unless the name says otherwise. 0 tries once,
 *            HMKV_FOREVER waits without bound, less is HMKV_EINVAL. Closing
 *            the store ends every wait with HMKV_ECLOSED.
 * Blocking   "Up to the timeout" means the store's option `timeout` (5 s). On
 *            `mem:` such calls do not wait.
 * Threads    Every call may be made from any thread at any time, and from
 *            callbacks (only closing the callback's own store is refused). No
 *            call is async-signal-safe. Results belong to one thread at a time.
 *            A request does its I/O on the calling thread, or on the library's
 *            where that one's stack is short: 64 KiB are enough for any call.
 * Callbacks  Run on library threads whose signals are all blocked; those of
 *            one watch one at a time and in order. A callback that blocks
 *            delays only its own watch. A C++ exception or pthread_exit() that
 *            leaves a callback ends the process with one line on standard
 *            error; longjmp() out of one is undefined.
 * Processes  fork() leaves the parent's handles untouched; the child opens its
 *            own. Daemonise, then open. The library prints nothing, installs
 *            no signal handler, and has no thread before the first open or
 *            after the last close.
 * Failures   Beside the statuses that a function names, any call can answer
 *            HMKV_EHANDLE, HMKV_EFORKED, HMKV_EINTERNAL (a bug in libhmkv; the
 *            store stays usable) and, where it takes arguments, HMKV_EINVAL. A
 *            call that talks to the store can further answer HMKV_ECLOSED (the
 *            store was closed meanwhile) and, on etcd, HMKV_EUNAVAIL,
 *            HMKV_EAUTH, HMKV_EDENIED and HMKV_ETLS; one that writes also
 *            HMKV_EINDETERMINATE, HMKV_ETOOLARGE and HMKV_ENOSPACE.
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

/** The compiler warns where the result of such a function is ignored. */
#if defined(__GNUC__) || defined(__clang__)
#define HMKV_MUST_USE __attribute__((warn_unused_result))
#else
#define HMKV_MUST_USE
#endif

/** Waits without bound. */
#define HMKV_FOREVER -1

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
  /** The lock was seen held by another. */
  HMKV_BUSY = 3,
  /** A wait ended with nothing to report. */
  HMKV_TIMED_OUT = 4,
  /** An argument: NULL, empty key, unknown operator, option or flag. */
  HMKV_EINVAL = -1,
  /** A stale, closed, foreign or NULL handle. */
  HMKV_EHANDLE = -2,
  /** The store was closed while this call was in flight; not applied. */
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
  /** The cluster's space quota is exhausted; not applied. */
  HMKV_ENOSPACE = -13,
  /** The revision asked for is compacted. */
  HMKV_ECOMPACTED = -14,
  /** The lease behind a lock or key was lost. */
  HMKV_ELOST = -15,
  /** A read of text met a NUL byte inside a value. */
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
   * else; `detail` is the key.
   */
  HMKV_STATE_TEMP_KEY_LOST = 3,
  /** The held lock was lost; `detail` is the name of the lock. */
  HMKV_STATE_LOCK_LOST = 4,
} hmkv_state_code;

/** How much is logged; each level includes those before it. */
typedef enum {
  HMKV_LOG_OFF = 0,
  HMKV_LOG_ERROR = 1,
  HMKV_LOG_WARN = 2,
  HMKV_LOG_INFO = 3,
  HMKV_LOG_DEBUG = 4,
} hmkv_log_level;

/** An open store. Made by hmkv_open(), retired by hmkv_close(). */
typedef struct hmkv hmkv;

/**
 * The answer of a request: an owned list of keys and values, used by one thread
 * at a time, given back with hmkv_result_free().
 */
typedef struct hmkv_result hmkv_result;

/**
 * A watch with a callback. Made by hmkv_watch_cb(), retired by
 * hmkv_watch_cb_cancel() and by closing its store.
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
 * once. It must be quick and must not call the library.
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
 * Threads: runs on a library thread, for one watch one call at a time. It may
 * make any call but closing its own store, and may cancel its own watch.
 */
typedef bool (*hmkv_watch_fn)(const char *key,
                              const char *value,
                              hmkv_keychange op,
                              void *userdata);

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

/** What happened to a store; values stand in `hmkv_state_code`. */
typedef int32_t hmkv_state;

/**
 * Called when something happened to a store's leases, temporary keys or lock.
 *
 * @param state    What happened, one of `hmkv_state_code`; expect new values.
 * @param detail   One line of text, see `hmkv_state_code`. Borrowed until the
 *                 callback returns. A key is cut at its first NUL byte.
 * @param userdata The pointer given to hmkv_on_state().
 *
 * Threads: runs on a library thread, for one store one call at a time. It may
 * make any call but closing its own store.
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
 * A success and a positive status leave it alone. Inside the last call of a
 * watch that had to end it holds the reason.
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
 * @param userdata Passed to `fn`; borrowed until the log is turned off or
 *                 replaced. May be NULL.
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
 * @param endpoint Where the store is:
 *                 `http://host:port`, `https://host:port`, or bare `host:port`
 *                 (http); several members of one cluster joined by commas;
 *                 `mem:`, the store inside this process, shared by all its
 *                 handles and surviving their close; `mem:NAME`, a separate one;
 *                 `env:`, what the environment variable HMKV_ENDPOINT names,
 *                 else ETCD_HOST and ETCD_PORT, else ETCDCTL_ENDPOINTS.
 * @param options  NULL, "", or items `key=value` separated by `,` or `;` or
 *                 spaces; a value may be quoted with '...', with backslash
 *                 escapes. README and option table list them. NULL is allowed.
 * @param out      Gets the handle, to be closed with hmkv_close().
 * @return HMKV_OK;
 *         HMKV_EINVAL: bad endpoint or option, named in hmkv_errmsg();
 *         HMKV_EUNSUPPORTED: an option that is known but not built yet;
 *         HMKV_ETLS: a certificate or key file is unreadable or does not match;
 *         HMKV_EUNAVAIL: `wait` ran out before a linearizable read succeeded;
 *         HMKV_ENOMEM: no thread or descriptor to be had.
 *
 * Blocks: never without option `wait`, else at most that long. Threads: any.
 * Since: 0.1.
 */
HMKV_MUST_USE hmkv_status hmkv_open(const char *endpoint, const char *options, hmkv **out);

/**
 * Close a store: end its requests and waits with HMKV_ECLOSED, end its watches,
 * release its lock and delete its temporary keys by revoking their leases.
 *
 * The handle is retired at once, its watchers by the end of the call. What could
 * not be revoked in time ends with its lease. When the last store of a process is closed, the
 * library's threads have ended. What was stored in `mem:` stays.
 *
 * @param kv The store. Closing it a second time is HMKV_EHANDLE, harmlessly.
 * @return HMKV_OK;
 *         HMKV_TIMED_OUT: the store is closed, but a callback still runs after
 *         `close_timeout`: its userdata stays in use until it returns. No
 *         further callback starts;
 *         HMKV_EINCALLBACK: called from a callback of this store, nothing done.
 *
 * Blocks: at most for the option `close_timeout` (2 s), while callbacks run or
 * the server does not answer. Threads: any, except the store's own callbacks.
 * Since: 0.1.
 */
hmkv_status hmkv_close(hmkv *kv);

/**
 * Make a fault happen, so that the rare paths of a program can be tested on
 * `mem:` without a server.
 *
 * @param kv   A store on `mem:`.
 * @param spec `expire`: every lease that this handle holds ends at once, as if
 *             its process had been cut off for longer than the TTL. Its
 *             temporary keys and its lock key are deleted, the state callback
 *             (hmkv_on_state()) tells of the loss, and temporary keys are
 *             created again.
 * @return HMKV_OK when the keys are deleted (the callbacks follow);
 *         HMKV_EUNSUPPORTED: the store is not on `mem:`, or the fault (`cut`,
 *         `compact`, `delay`, `indeterminate`) is not built yet;
 *         HMKV_EINVAL: any other text.
 *
 * Blocks: never. Threads: any. Since: 0.1.
 */
HMKV_MUST_USE hmkv_status hmkv_mem_fault(hmkv *kv, const char *spec);

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
 * to someone else by then; hmkv_on_state() tells of both. Deleting the key, or
 * storing it by anyone, ends its renewal.
 *
 * @param kv  The store.
 * @param key NUL-terminated, not empty. Copied. Making the same key temporary
 *            again succeeds.
 * @return HMKV_OK; failures as of hmkv_store().
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
 * A lease lost under a held lock, because the store could not be reached or an
 * operator deleted the key, is reported by hmkv_on_state() before the server
 * can give the lock to another, and once by hmkv_dist_unlock(). What must never
 * be written by a former holder needs a guard in the store itself.
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
 *         the store could not be asked. A wait that gives up leaves no key
 *         behind.
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
 * change. To see every change use hmkv_watch_cb().
 *
 * @param kv         The store.
 * @param key        NUL-terminated, not empty. It need not exist. Copied.
 * @param timeout_ms How long to wait after the registration; 0 does not wait,
 *                   HMKV_FOREVER waits without bound.
 * @param value      Gets the new value as text, to be given back with
 *                   hmkv_free(); NULL after a delete. May be NULL.
 * @param op         Gets HMKV_KEYCHANGE_PUT or HMKV_KEYCHANGE_DELETE. May be
 *                   NULL.
 * @return HMKV_OK; HMKV_TIMED_OUT: no change; HMKV_EBINARY: stored, but the value
 *         contains a NUL byte; HMKV_EUNAVAIL: the watch could not be registered
 *         within the timeout.
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
 * reconnects, server restarts and changes of the leader. Only if the changes of
 * an interruption are compacted away meanwhile, the final state alone is
 * delivered; a key deleted and created again then counts as deleted.
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
 * @param userdata Passed to `cb`; borrowed until the watch is cancelled or its
 *                 store closed. May be NULL.
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
 * will not run again: then `userdata` may be freed. From inside its own callback
 * the watch is marked and ends with that call.
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
 * Results
 */

/**
 * Tell the status of the request.
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
 * Tell how many keys lie in the range that was asked for, limits aside.
 *
 * @param result A result, or NULL.
 * @return The number of keys; 0 for NULL.
 *
 * Blocks: never. Threads: the result's. Since: 0.1.
 */
uint64_t hmkv_result_total(const hmkv_result *result);

/**
 * Give back a result with all that was borrowed from it.
 *
 * @param result A result, or NULL, which does nothing.
 *
 * Blocks: never. Threads: the result's. Since: 0.1.
 */
void hmkv_result_free(hmkv_result *result);

/* ============================================================================
 * State
 */

/**
 * Have a function called when a store loses a lease, a temporary key or its
 * lock, and when a temporary key is restored.
 *
 * There is one such callback per store; a new call replaces the last. When it
 * returns, the former callback is not running and will not run again, except
 * when it was called from inside that callback.
 *
 * @param kv       The store.
 * @param fn       The callback; NULL for none.
 * @param userdata Passed to `fn`; borrowed until the callback is replaced or the
 *                 store closed. May be NULL.
 * @return HMKV_OK; HMKV_EINCALLBACK: replaced, but called from a callback for
 *         which the former one, directly or in a circle, is waiting: it still
 *         runs.
 *
 * Blocks: while the former callback runs. Threads: any. Since: 0.1.
 */
HMKV_MUST_USE hmkv_status hmkv_on_state(hmkv *kv, hmkv_state_fn fn, void *userdata);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* HMKV_H */
