//! Section: requests.

use super::callback::DoneCallback;
use super::opts::{self, hmkv_put_opts, hmkv_range_opts, hmkv_remove_opts};
use super::result::hmkv_result;
use super::status::{self, hmkv_status};
use super::types::{hmkv, hmkv_done_fn, HMKV_ABSENT};
use super::{arg, guard, keys};
use crate::error::{Error, Result};
use crate::kv::{self, Condition};
use crate::op::Op;
use std::ffi::c_void;

/// A request that was submitted: owned memory, used by one thread at a time, which
/// exactly one of hmkv_await(), hmkv_then() and hmkv_cancel() takes.
pub struct hmkv_op(pub(super) Op);

/// # Requests
/// The full interface: keys and values of any bytes, every option of etcd, any
/// number of requests in flight. A call that returns an hmkv_op submits a request
/// and does not wait: it never returns NULL, and what is wrong with its arguments is
/// told by the result as everything else. Exactly one of hmkv_await(), hmkv_then()
/// and hmkv_cancel() finishes it:
///
///     hmkv_result *r = hmkv_await(hmkv_put(kv, "a", 1, "1", HMKV_NTS, NULL));
///     if (hmkv_result_status(r) < 0) ...
///     hmkv_result_free(r);
///
/// Requests in flight cost no thread each, and are not ordered among each other:
/// await one before the next where that matters. Keys and values are pointer and
/// length; the length HMKV_NTS means NUL-terminated, a length of 0 permits NULL.
/// Options are structs, passed by pointer; NULL means all defaults. HMKV_PUT_OPTS() and
/// alike make one in C; elsewhere fill it with zeroes and set `size`. An option struct
/// may be shorter (an older header's) or longer (a newer one's) than this library's. In a
/// shorter one the fields that are missing have their defaults; a `size` that ends
/// within a field is HMKV_EINVAL. In a longer one what this library does not know must
/// be zero, and `reserved` in any, or it is HMKV_EUNSUPPORTED. HMKV_EINVAL is also a flag
/// that is not 0 or 1, an unknown number of an enumeration, and a negative number but for
/// HMKV_FOREVER, HMKV_TRY and HMKV_ABSENT where they are named.
/// ---
/// Wait for a request and take its result.
///
/// @param op The request; taken. NULL gives a result with HMKV_EINVAL.
/// @return   The result, for hmkv_result_free(); never NULL. Its status is that of
///           the request: see the function that submitted it. HMKV_EFORKED in a
///           forked child.
///
/// Blocks: up to the request's timeout; of a large range, as long for each page.
/// Threads: the op's. Since: 0.1.
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hmkv_await(op: *mut hmkv_op) -> *mut hmkv_result {
    guard::result(|| match take(op) {
        Some(op) => op.wait(),
        None => Err(no_op()),
    })
}

/// Have a function called with the result of a request.
///
/// It is called exactly once, also when closing the store ended the request; only if
/// hmkv_close() answers HMKV_TIMED_OUT it may not have been called by then, and will
/// not be. Never inside this call.
///
/// @param op       The request; taken. NULL: `fn` gets a result with HMKV_EINVAL.
/// @param fn       Gets the result and owns it. NULL: the result is thrown away.
/// @param userdata Passed to `fn`. May be NULL.
///
/// Blocks: never. Threads: the op's. Since: 0.1.
#[no_mangle]
pub unsafe extern "C" fn hmkv_then(op: *mut hmkv_op, r#fn: hmkv_done_fn, userdata: *mut c_void) {
    guard::plain((), || {
        let op = take(op).unwrap_or_else(|| Op::failed(no_op()));
        if let Some(f) = r#fn {
            op.then(Box::new(DoneCallback::new(f, arg::userdata(userdata))));
        }
    });
}

/// Give up a request.
///
/// @param op The request; taken. NULL is HMKV_EINVAL.
/// @return   The status of the result if the request is finished, which is thrown
///           away;
///           HMKV_ECANCELED: it was not applied and never will be;
///           HMKV_EINDETERMINATE: a write was on its way and may be applied.
///
/// Blocks: never. Threads: the op's. Since: 0.1.
#[no_mangle]
pub unsafe extern "C" fn hmkv_cancel(op: *mut hmkv_op) -> hmkv_status {
    guard::status(|| take(op).ok_or_else(no_op)?.cancel().map(status::of_verdict))
}

fn no_op() -> Error {
    Error::Invalid("the op is NULL".into())
}

unsafe fn take(op: *mut hmkv_op) -> Option<Op> {
    if op.is_null() {
        return None;
    }
    let hmkv_op(op) = *unsafe { Box::from_raw(op) };
    Some(op)
}

fn condition(if_mod_revision: i64) -> Result<Condition> {
    match if_mod_revision {
        0 => Ok(Condition::None),
        HMKV_ABSENT => Ok(Condition::Absent),
        revision => Ok(Condition::Unchanged(opts::count(revision, "if_mod_revision")?)),
    }
}

/// Store a value.
///
/// etcd's Put, or with `if_mod_revision` a Txn with one compare.
///
/// @param kv        The store.
/// @param key       `key_len` bytes or HMKV_NTS, not empty. Copied.
/// @param key_len   Its length.
/// @param value     `value_len` bytes or HMKV_NTS. Copied.
/// @param value_len Its length.
/// @param opts      See hmkv_put_opts. May be NULL.
/// @return The request. Its result has HMKV_OK: stored, at
///         hmkv_result_revision(), with the former key as hmkv_result_kv(0) if
///         `prev` asks for it and there was one;
///         HMKV_COMPARE_FAILED: `if_mod_revision` does not hold, nothing is written,
///         and hmkv_result_kv(0) is the key as it is, if it exists;
///         HMKV_ELOST: there is no such lease, nothing is written.
///
/// Blocks: never. Threads: any. Since: 0.1.
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hmkv_put(
    kv: *mut hmkv,
    key: *const c_void,
    key_len: usize,
    value: *const c_void,
    value_len: usize,
    opts: *const hmkv_put_opts,
) -> *mut hmkv_op {
    guard::op_of(kv, |store| {
        let opts = opts::read(opts)?;
        let condition = condition(opts.if_mod_revision)?;
        let put = keys::put(key, key_len, value, value_len, &opts)?;
        Ok(kv::put_if(store, put, condition, arg::opt_timeout(opts.timeout_ms)?))
    })
}

/// Read a key or a range of keys.
///
/// etcd's Range. Linearizable unless `serializable`. All of a range is one
/// consistent state, that of one revision; large ones are read in pages.
///
/// @param kv      The store.
/// @param key     `key_len` bytes or HMKV_NTS. Copied. Empty only with `prefix`,
///                `from` or `end`, where it stands for the first key there is.
/// @param key_len Its length.
/// @param opts    See hmkv_range_opts. May be NULL.
/// @return The request. Its result has HMKV_OK, also for a range without keys: the
///         keys as hmkv_result_kv(), their number without limit and filters as
///         hmkv_result_total();
///         HMKV_NOT_FOUND: the one key asked for does not exist;
///         HMKV_ECOMPACTED: `revision` is gone;
///         HMKV_EINVAL, also for a `revision` that is yet to come;
///         HMKV_ENOMEM: no memory for the answer.
///
/// Blocks: never. Threads: any. Since: 0.1.
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hmkv_range(
    kv: *mut hmkv,
    key: *const c_void,
    key_len: usize,
    opts: *const hmkv_range_opts,
) -> *mut hmkv_op {
    guard::op_of(kv, |store| {
        let opts = opts::read(opts)?;
        let range = keys::range(key, key_len, &opts)?;
        Ok(kv::range(store, range, arg::opt_timeout(opts.timeout_ms)?))
    })
}

/// Remove a key or a range of keys.
///
/// etcd's DeleteRange, or with `if_mod_revision` a Txn with one compare.
///
/// @param kv      The store.
/// @param key     `key_len` bytes or HMKV_NTS. Copied. Empty only with `prefix` or
///                `end`, where it stands for the first key there is.
/// @param key_len Its length.
/// @param opts    See hmkv_remove_opts. May be NULL.
/// @return The request. Its result has HMKV_OK, also when there was nothing to
///         remove: the number of keys removed as hmkv_result_total(), and with
///         `prev` the keys as they were;
///         HMKV_COMPARE_FAILED: as of hmkv_put().
///
/// Blocks: never. Threads: any. Since: 0.1.
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hmkv_remove(
    kv: *mut hmkv,
    key: *const c_void,
    key_len: usize,
    opts: *const hmkv_remove_opts,
) -> *mut hmkv_op {
    guard::op_of(kv, |store| {
        let opts = opts::read(opts)?;
        let condition = match condition(opts.if_mod_revision)? {
            Condition::Absent => return Err(arg::wrong("if_mod_revision", HMKV_ABSENT)),
            condition => condition,
        };
        let remove = keys::remove(key, key_len, &opts)?;
        kv::remove_if(store, remove, condition, arg::opt_timeout(opts.timeout_ms)?)
    })
}

/// Prove that the store can be reached, by a linearizable read.
///
/// @param kv The store.
/// @return The request. Its result has HMKV_OK and the store's revision, or 0 for a
///         user whose role does not cover the one key that is read.
///
/// Blocks: never. Threads: any. Since: 0.1.
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hmkv_ping(kv: *mut hmkv) -> *mut hmkv_op {
    guard::op_of(kv, |store| Ok(kv::ping(store)))
}
