//! The types of the C interface.

use std::ffi::{c_char, c_void};

/// An open store. Made by hmkv_open(), retired by hmkv_close().
pub struct hmkv(());

/// A watch with a callback. Made by hmkv_watch_cb(), retired by
/// hmkv_watch_cb_cancel() and by closing its store.
pub struct hmkv_watcher(());

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
    /// else; `detail` is the key.
    HMKV_STATE_TEMP_KEY_LOST = 3,
    /// The held lock was lost; `detail` is the name of the lock.
    HMKV_STATE_LOCK_LOST = 4,
}

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
/// Threads: runs on a library thread, for one watch one call at a time. It may
/// make any call but closing its own store, and may cancel its own watch.
pub type hmkv_watch_fn = Option<
    unsafe extern "C-unwind" fn(
        key: *const c_char,
        value: *const c_char,
        op: hmkv_keychange,
        userdata: *mut c_void,
    ) -> bool,
>;

/// Called when something happened to a store's leases, temporary keys or lock.
///
/// @param state    What happened, one of `hmkv_state_code`; expect new values.
/// @param detail   One line of text, see `hmkv_state_code`. Borrowed until the
///                 callback returns. A key is cut at its first NUL byte.
/// @param userdata The pointer given to hmkv_on_state().
///
/// Threads: runs on a library thread, for one store one call at a time. It may
/// make any call but closing its own store.
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
/// once. It must be quick and must not call the library.
pub type hmkv_log_fn =
    Option<unsafe extern "C-unwind" fn(level: i32, line: *const c_char, userdata: *mut c_void)>;

/// Waits without bound.
pub const HMKV_FOREVER: i64 = -1;
