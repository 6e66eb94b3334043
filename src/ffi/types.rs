//! The types of the C interface.

use super::result::hmkv_result;
use super::status::hmkv_status;
use std::ffi::{c_char, c_void};

/// An open store. Made by hmkv_open(), retired by hmkv_close().
pub struct hmkv(());

/// A watch. Made by hmkv_watch_cb(), hmkv_watch_open() and hmkv_lock_observe(),
/// retired by hmkv_watch_close() or hmkv_watch_cb_cancel(), which do the same, and
/// by closing its store.
pub struct hmkv_watcher(());

/// A lease that is kept alive. Made by hmkv_lease_grant(), retired by
/// hmkv_lease_close() and by closing its store.
pub struct hmkv_lease(());

/// A lock that is held or waited for. Made by hmkv_lock_acquire(), retired by
/// hmkv_lock_release() and by closing its store.
pub struct hmkv_lock(());

/// A local copy of a prefix. Made by hmkv_mirror_open(), retired by
/// hmkv_mirror_close() and by closing its store.
pub struct hmkv_mirror(());

/// One key with its value, borrowed from the object that it was asked of. Reached
/// by pointer only: the struct may grow at its end.
#[repr(C)]
pub struct hmkv_kv {
    /// The key, `key_len` bytes and a NUL after them.
    pub key: *const c_char,
    /// Length of the key in bytes, at least 1.
    pub key_len: usize,
    /// The value, `value_len` bytes and a NUL after them; never NULL.
    pub value: *const c_char,
    /// Length of the value in bytes; the value may contain NUL bytes.
    pub value_len: usize,
    /// Revision of the key's creation.
    pub create_revision: i64,
    /// Revision of the key's last change.
    pub mod_revision: i64,
    /// How often the key was stored since its creation, at least 1.
    pub version: i64,
    /// Id of the lease that the key is attached to; 0 for none.
    pub lease: i64,
}

/// The kind of a change, and, added up, which kinds a watch is to report. Values
/// stand in `hmkv_keychange_code`.
pub type hmkv_keychange = i32;

/// The values of `hmkv_keychange`; `HMKV_KEYCHANGE_PUT | HMKV_KEYCHANGE_DELETE`
/// (3) asks for both.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum hmkv_keychange_code {
    /// No change: the last call of a watch that had to end.
    HMKV_KEYCHANGE_INVAL = 0,
    /// The key was stored; storing an equal value counts.
    HMKV_KEYCHANGE_PUT = 1,
    /// The key was deleted, or its lease ended.
    HMKV_KEYCHANGE_DELETE = 2,
}

/// What hmkv_dist_lock_result() answers. Negative answers are statuses.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum hmkv_lock_code {
    /// Never tried, or lost while held.
    HMKV_LOCK_RSLT_INVALID = 0,
    /// The last attempt failed.
    HMKV_LOCK_SET_FAIL = 1,
    /// The last attempt found the lock held by another.
    HMKV_LOCK_OCCUPIED = 2,
    /// This handle holds the lock.
    HMKV_LOCK_GRANTED = 3,
    /// Unlocking failed; the lock ends with its lease at the latest.
    HMKV_LOCK_RELEASE_FAIL = 4,
    /// This handle released the lock.
    HMKV_LOCK_RELEASED = 5,
}

/// What happened to a store; values stand in `hmkv_state_code`.
pub type hmkv_state = i32;

/// The values of `hmkv_state`, and what the callback's `detail` names.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum hmkv_state_code {
    /// The lease of the temporary keys was lost; `detail` is the reason. The keys
    /// are created again as soon as the store can be reached.
    HMKV_STATE_LEASE_LOST = 1,
    /// A temporary key was created again after a loss; `detail` is the key.
    HMKV_STATE_TEMP_KEY_RESTORED = 2,
    /// A temporary key was not created again, because it now belongs to someone
    /// else or the user may not store and read it any more; `detail` is the key.
    /// The library does not try again.
    HMKV_STATE_TEMP_KEY_LOST = 3,
    /// The held lock was lost; `detail` is the name of the lock.
    HMKV_STATE_LOCK_LOST = 4,
    /// The server can be reached, for the first time or again; `detail` is its endpoint,
    /// as in `http://host:2379`.
    HMKV_STATE_CONNECTED = 5,
    /// The server could be reached, and cannot any more; `detail` is the reason. The
    /// library goes on trying.
    HMKV_STATE_CUT = 6,
    /// Another member of the cluster is used from now on, without a cut in between;
    /// `detail` is its endpoint.
    HMKV_STATE_ENDPOINT = 7,
}

/// What an event tells.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum hmkv_event_code {
    /// `kv` was stored. In a snapshot: it is there.
    HMKV_EVENT_PUT = 1,
    /// The key `kv->key` was deleted, or its lease ended.
    HMKV_EVENT_DELETE = 2,
    /// The snapshot is complete: what was delivered is the state at `revision`, and
    /// every change after it follows.
    HMKV_EVENT_SYNCED = 3,
    /// The changes up to `revision` could not be had one by one: they were compacted, the
    /// server left one out, those of one revision took more than 256 MiB, the consumer was
    /// too slow for its policy, or the store is another one. The difference was delivered
    /// before this, as PUT and DELETE; a key that was created anew as both. Of another
    /// store every key is told again, changed or not. `detail` has the reason.
    HMKV_EVENT_RESYNC = 4,
    /// The watch was cut off from the server (`status` negative, `detail` the
    /// reason), or is on it again (`status` HMKV_OK). Nothing is lost by it.
    HMKV_EVENT_STATE = 5,
    /// The watch had to end, for the reason in `status` and `detail`; the last event.
    HMKV_EVENT_END = 6,
}

/// What a watch tells. Reached by pointer only: the struct may grow at its end.
#[repr(C)]
pub struct hmkv_event {
    /// One of `hmkv_event_code`; skip what you do not know.
    pub r#type: i32,
    /// Of STATE and END; else HMKV_OK.
    pub status: hmkv_status,
    /// The key with its value. Of a deleted key only `key`, `key_len` and
    /// `mod_revision` are set, and the value is empty; in a resync `mod_revision` is not
    /// that of the deletion. NULL where the event is not about a key.
    pub kv: *const hmkv_kv,
    /// With option `prev_kv`: the key before the change; NULL where it did not exist
    /// or that revision is compacted, and in a snapshot and a resync.
    pub prev: *const hmkv_kv,
    /// The store's revision after the change, or that which the snapshot or resync
    /// shows; 0 for STATE and END.
    pub revision: i64,
    /// One line of text, of RESYNC, STATE and END; else NULL.
    pub detail: *const c_char,
    /// Of a change: no further one of its revision follows. Together, the changes
    /// of one revision are one atomic step. Those of a snapshot and of a resync have
    /// false; SYNCED or RESYNC ends them.
    pub last_of_revision: bool,
    /// Room for later fields; 0.
    pub reserved: [u8; 7],
}

/// Which number of a key a transaction compares.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum hmkv_number_code {
    /// Revision of the last change; 0 for a key that does not exist.
    HMKV_NUMBER_MOD = 1,
    /// Revision of the creation; 0 for a key that does not exist.
    HMKV_NUMBER_CREATE = 2,
    /// How often the key was stored since its creation; 0 where it does not exist.
    HMKV_NUMBER_VERSION = 3,
    /// Id of the key's lease; 0 for none and for a key that does not exist.
    HMKV_NUMBER_LEASE = 4,
}

/// The branches of a transaction.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum hmkv_branch_code {
    /// Done when all compares are true; also when there is none.
    HMKV_THEN = 1,
    /// Done when a compare is false.
    HMKV_ELSE = 2,
}

/// What a range is sorted by.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum hmkv_sort_code {
    HMKV_SORT_KEY = 0,
    HMKV_SORT_CREATE = 1,
    HMKV_SORT_MOD = 2,
    HMKV_SORT_VERSION = 3,
    HMKV_SORT_VALUE = 4,
}

/// What becomes of events that a slow consumer has not taken when `queue_max` of
/// them, or 16 MiB, are waiting.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum hmkv_overflow_code {
    /// Nothing is lost: the rest stays on the server and is fetched by revision when
    /// the queue is empty. Only what is compacted by then costs a RESYNC.
    HMKV_OVERFLOW_RESUME = 0,
    /// Of each key the last change is kept. Where that does not make room, the rest
    /// stays on the server as above.
    HMKV_OVERFLOW_COALESCE = 1,
    /// What waits is dropped, the keys are listed when the consumer is ready, and
    /// the difference to what it has seen is delivered, ended by RESYNC.
    HMKV_OVERFLOW_RESYNC = 2,
    /// The watch ends with HMKV_ETOOLARGE after what waits was delivered.
    HMKV_OVERFLOW_END = 3,
}

/// Called with the result of a request.
///
/// @param result   The result; the callback owns it: hmkv_result_free().
/// @param userdata The pointer given to hmkv_then().
///
/// Calls for several requests may overlap, in any order.
pub type hmkv_done_fn =
    Option<unsafe extern "C-unwind" fn(result: *mut hmkv_result, userdata: *mut c_void)>;

/// Called for each event of a watch or mirror.
///
/// @param event    The event with all that it points to; borrowed until the
///                 callback returns.
/// @param userdata The pointer given with the callback.
///
/// It may close its own watch or mirror.
pub type hmkv_event_fn =
    Option<unsafe extern "C-unwind" fn(event: *const hmkv_event, userdata: *mut c_void)>;

/// Gives back the userdata of a watch.
///
/// @param userdata The pointer given with the callback of the watch.
///
/// Threads: a library thread, or the one whose call closes the watch or its store,
/// fails to open it, or was in hmkv_watch_next() meanwhile. It may make any call but
/// closing the store of the watch.
pub type hmkv_free_fn = Option<unsafe extern "C-unwind" fn(userdata: *mut c_void)>;

/// Called once when a lease or lock is lost; not when it is closed or released, and of
/// a lock not before `acquired` returned.
///
/// @param status   HMKV_ELOST.
/// @param detail   The reason, one line. Borrowed until the callback returns.
/// @param userdata The pointer given with the callback.
pub type hmkv_lost_fn = Option<
    unsafe extern "C-unwind" fn(status: hmkv_status, detail: *const c_char, userdata: *mut c_void),
>;

/// Called once when an attempt to get a lock is over, with HMKV_ECLOSED where closing the
/// store ended it; not when hmkv_lock_release() ended it, nor after hmkv_close() answered
/// HMKV_TIMED_OUT.
///
/// @param status   HMKV_OK: the lock is held; else as hmkv_lock_acquire() answers
///                 where it waits, with the details in hmkv_errmsg(), and `lock` is
///                 retired.
/// @param lock     The lock.
/// @param userdata The pointer given to hmkv_lock_acquire().
pub type hmkv_acquired_fn = Option<
    unsafe extern "C-unwind" fn(status: hmkv_status, lock: *mut hmkv_lock, userdata: *mut c_void),
>;

/// Called for each change that a watch reports.
///
/// @param key      The watched key. Borrowed until the callback returns.
/// @param value    The new value, NUL-terminated, borrowed until the callback
///                 returns. NULL on HMKV_KEYCHANGE_DELETE and
///                 HMKV_KEYCHANGE_INVAL, and on HMKV_KEYCHANGE_PUT when the
///                 value contains a NUL byte.
/// @param op       What happened. HMKV_KEYCHANGE_INVAL: the watch had to end;
///                 this is its last call, and hmkv_errmsg() has the reason.
/// @param userdata The pointer given to hmkv_watch_cb().
/// @return         true to go on; false ends the watch.
///
/// It may cancel its own watch.
pub type hmkv_watch_fn = Option<
    unsafe extern "C-unwind" fn(
        key: *const c_char,
        value: *const c_char,
        op: hmkv_keychange,
        userdata: *mut c_void,
    ) -> bool,
>;

/// Called when something happened to a store's connections, leases, temporary keys or
/// lock.
///
/// @param state    What happened, one of `hmkv_state_code`; expect new values.
/// @param detail   One line of text, see `hmkv_state_code`. Borrowed until the
///                 callback returns. A key is cut at its first NUL byte.
/// @param userdata The pointer given to hmkv_on_state().
///
/// For one store there is one call at a time.
pub type hmkv_state_fn = Option<
    unsafe extern "C-unwind" fn(state: hmkv_state, detail: *const c_char, userdata: *mut c_void),
>;

/// How much is logged; each level includes those before it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code)] // levels cross the boundary as numbers
pub enum hmkv_log_level {
    HMKV_LOG_OFF = 0,
    HMKV_LOG_ERROR = 1,
    HMKV_LOG_WARN = 2,
    HMKV_LOG_INFO = 3,
    HMKV_LOG_DEBUG = 4,
}

/// Called with one line of the library's log, without a newline.
///
/// @param level    From HMKV_LOG_ERROR to HMKV_LOG_DEBUG.
/// @param line     Borrowed until the callback returns; never holds a secret.
/// @param userdata The pointer given to hmkv_set_log().
///
/// Threads: runs on whichever thread has something to tell, also on several at
/// once. It must be quick, and of this library it may call hmkv_set_log() alone.
pub type hmkv_log_fn =
    Option<unsafe extern "C-unwind" fn(level: i32, line: *const c_char, userdata: *mut c_void)>;

/// Waits without bound.
pub const HMKV_FOREVER: i64 = -1;

/// As `wait_ms` of a lock: tries once.
pub const HMKV_TRY: i64 = -2;

/// As `if_mod_revision`: the key must not exist.
pub const HMKV_ABSENT: i64 = -1;
