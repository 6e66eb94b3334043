//! Section: statuses as text, memory, version, log.

use super::callback::LogCallback;
use super::status::{self, hmkv_status};
use super::types::hmkv_log_fn;
use super::{arg, errmsg, guard};
use crate::log::{Sink, LOG};
use std::ffi::{c_char, c_void, CStr};

/// # Common
/// ---
/// Tell the name of a status, as it stands in this header.
///
/// @param status Any number.
/// @return       A static string; "HMKV_UNKNOWN" for a number that is no status.
///
/// Blocks: never. Threads: any. Since: 0.1.
#[no_mangle]
pub extern "C" fn hmkv_status_name(status: hmkv_status) -> *const c_char {
    text(status, c"HMKV_UNKNOWN", |name, _| name)
}

/// Tell what a status means, as one English sentence without a full stop.
///
/// @param status Any number.
/// @return       A static string; "unknown status" for a number that is no status.
///
/// Blocks: never. Threads: any. Since: 0.1.
#[no_mangle]
pub extern "C" fn hmkv_strerror(status: hmkv_status) -> *const c_char {
    text(status, c"unknown status", |_, sentence| sentence)
}

fn text(
    status: hmkv_status,
    unknown: &'static CStr,
    pick: fn(&'static CStr, &'static CStr) -> &'static CStr,
) -> *const c_char {
    status::TABLE
        .iter()
        .find(|(code, ..)| *code as i32 == status)
        .map_or(unknown, |(_, name, sentence)| pick(name, sentence))
        .as_ptr()
}

/// Tell the details of this thread's last negative status: one line, causes
/// joined by ": ", at most 1,023 bytes, never a secret.
///
/// It is set by the call that returns the status. A success and a positive status
/// leave it alone, and so do hmkv_await() and all that tells of a result, which has
/// its own text (hmkv_result_error()), as an event has. Inside the last call of a
/// hmkv_watch_cb() that had to end, and inside `acquired`, it holds the reason.
///
/// @return A string, empty before the first failure. It belongs to the library
///         and changes with the thread's next negative status.
///
/// Blocks: never. Threads: any; each has its own text. Since: 0.1.
#[no_mangle]
pub extern "C" fn hmkv_errmsg() -> *const c_char {
    errmsg::get()
}

/// Give back memory that the library handed out as `char *` or `void *`.
///
/// It is the C library's free(); the function exists for programs whose own
/// allocator differs.
///
/// @param memory What a call handed out, or NULL, which does nothing.
///
/// Blocks: never. Threads: any. Since: 0.1.
#[no_mangle]
pub unsafe extern "C" fn hmkv_free(memory: *mut c_void) {
    libc::free(memory);
}

/// Tell the version of the loaded library, such as "0.1.0".
///
/// Compare with HMKV_VERSION, that of the header a program was built with.
///
/// @return A static string.
///
/// Blocks: never. Threads: any. Since: 0.1.
#[no_mangle]
pub extern "C" fn hmkv_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

/// Choose where the library's log goes, for the whole process.
///
/// There is no log until this is called. A new call replaces the last; when it
/// returns, the former callback is not running and will not run again, except
/// when it was called from inside that callback.
///
/// @param level    One of `hmkv_log_level`; above HMKV_LOG_DEBUG counts as it,
///                 below HMKV_LOG_OFF as that. The option `debug` of a store
///                 raises it to HMKV_LOG_DEBUG.
/// @param fn       Gets each line; NULL turns the log off.
/// @param userdata Passed to `fn`. May be NULL.
///
/// Blocks: while the former callback runs. Threads: any. Since: 0.1.
#[no_mangle]
pub extern "C" fn hmkv_set_log(level: i32, r#fn: hmkv_log_fn, userdata: *mut c_void) {
    guard::plain((), || {
        let sink =
            r#fn.map(|f| Box::new(LogCallback::new(f, arg::userdata(userdata))) as Box<dyn Sink>);
        LOG.get().set(level, sink);
    });
}
