//! Section: results.

use super::arena::Arena;
use super::status::{self, hmkv_status};
use super::types::hmkv_kv;
use super::{errmsg, guard};
use crate::error::{Error, Result};
use crate::op::{Answer, Outcome};
use crate::request::Found;
use std::ffi::{c_char, CString};
use std::ptr;

/// The answer of a request: owned memory, used by one thread at a time, given back
/// with hmkv_result_free().
pub struct hmkv_result {
    status: hmkv_status,
    error: Option<CString>,
    kvs: Vec<hmkv_kv>,
    /// What the pointers in `kvs` point into.
    _arena: Arena,
    revision: i64,
    total: u64,
    subs: Vec<hmkv_result>,
    /// Part of another one, and given back with it.
    is_sub: bool,
}

impl hmkv_result {
    /// For the caller to give back.
    pub(super) fn of(outcome: Outcome) -> *mut Self {
        let result = outcome.and_then(|answer| Self::new(answer, false));
        Box::into_raw(Box::new(result.unwrap_or_else(|error| Self::failed(&error))))
    }

    /// The same, but a failure is the call's.
    pub(super) fn of_range(found: Found) -> Result<*mut Self> {
        Ok(Box::into_raw(Box::new(Self::new(Answer::of_range(found), false)?)))
    }

    fn new(answer: Answer, is_sub: bool) -> Result<Self> {
        let answer = answer.arranged();
        let mut arena = Arena::for_kvs(&answer.kvs)?;
        let mut kvs = Vec::new();
        kvs.try_reserve_exact(answer.kvs.len())
            .map_err(|_| Error::NoMemory("for the answer".into()))?;
        kvs.extend(answer.kvs.iter().map(|kv| arena.kv(kv)));
        let subs = answer.subs.into_iter().map(|sub| Self::new(sub, true));
        Ok(Self {
            status: status::of_verdict(answer.verdict),
            error: None,
            kvs,
            _arena: arena,
            revision: answer.revision,
            total: answer.total,
            subs: subs.collect::<Result<_>>()?,
            is_sub,
        })
    }

    fn failed(error: &Error) -> Self {
        Self {
            status: status::of(error),
            error: Some(errmsg::line(error)),
            kvs: Vec::new(),
            _arena: Arena::default(),
            revision: 0,
            total: 0,
            subs: Vec::new(),
            is_sub: false,
        }
    }
}

/// # Results
/// ---
/// Tell the status of the request: see the function that submitted it.
///
/// @param result A result, or NULL.
/// @return The status; HMKV_EINVAL for NULL.
///
/// Blocks: never. Threads: the result's. Since: 0.1.
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hmkv_result_status(result: *const hmkv_result) -> hmkv_status {
    guard::borrow(result, status::of(&Error::Invalid(String::new())), |result| result.status)
}

/// Tell the details of a failed request, as hmkv_errmsg() does.
///
/// @param result A result, or NULL.
/// @return A string that lives as long as the result; NULL where the status is not
///         negative, and for NULL.
///
/// Blocks: never. Threads: the result's. Since: 0.1.
#[no_mangle]
pub unsafe extern "C" fn hmkv_result_error(result: *const hmkv_result) -> *const c_char {
    guard::borrow(result, ptr::null(), |result| {
        result.error.as_ref().map_or(ptr::null(), |error| error.as_ptr())
    })
}

/// Tell how many keys the result holds.
///
/// @param result A result, or NULL.
/// @return The count; 0 for NULL.
///
/// Blocks: never. Threads: the result's. Since: 0.1.
#[no_mangle]
pub unsafe extern "C" fn hmkv_result_count(result: *const hmkv_result) -> usize {
    guard::borrow(result, 0, |result| result.kvs.len())
}

/// Look at one key of the result.
///
/// @param result A result, or NULL.
/// @param i      From 0 to hmkv_result_count() - 1.
/// @return The key and its value, which live as long as the result; NULL for an
///         `i` beyond the last and for NULL.
///
/// Blocks: never. Threads: the result's. Since: 0.1.
#[no_mangle]
pub unsafe extern "C" fn hmkv_result_kv(result: *const hmkv_result, i: usize) -> *const hmkv_kv {
    guard::borrow(result, ptr::null(), |result| {
        result.kvs.get(i).map_or(ptr::null(), ptr::from_ref)
    })
}

/// Tell the store's revision that the result shows.
///
/// @param result A result, or NULL.
/// @return The revision; 0 for NULL and where the server was not asked.
///
/// Blocks: never. Threads: the result's. Since: 0.1.
#[no_mangle]
pub unsafe extern "C" fn hmkv_result_revision(result: *const hmkv_result) -> i64 {
    guard::borrow(result, 0, |result| result.revision)
}

/// Tell how many keys lie in the range that was asked for, limit and filters aside;
/// of a removal, how many keys were removed.
///
/// @param result A result, or NULL.
/// @return The number of keys; 0 for other requests and for NULL.
///
/// Blocks: never. Threads: the result's. Since: 0.1.
#[no_mangle]
pub unsafe extern "C" fn hmkv_result_total(result: *const hmkv_result) -> u64 {
    guard::borrow(result, 0, |result| result.total)
}

/// Look at the result of one operation of a transaction.
///
/// Each has its own keys, total and status: HMKV_OK, or HMKV_NOT_FOUND of a range
/// of one key that does not exist.
///
/// @param result The result of hmkv_txn_commit(), or NULL.
/// @param i      From 0 on, in the order in which the operations of the branch that
///               was taken were added.
/// @return The result, which lives as long as the transaction's and is given back
///         with it; NULL for an `i` beyond the last, for the results of other
///         requests and for NULL.
///
/// Blocks: never. Threads: the result's. Since: 0.1.
#[no_mangle]
pub unsafe extern "C" fn hmkv_result_sub(
    result: *const hmkv_result,
    i: usize,
) -> *const hmkv_result {
    guard::borrow(result, ptr::null(), |result| {
        result.subs.get(i).map_or(ptr::null(), ptr::from_ref)
    })
}

/// Give back a result with all that was borrowed from it.
///
/// @param result A result; NULL and what hmkv_result_sub() gave do nothing.
///
/// Blocks: never. Threads: the result's. Since: 0.1.
#[no_mangle]
pub unsafe extern "C" fn hmkv_result_free(result: *mut hmkv_result) {
    guard::plain((), || {
        if !result.is_null() && !(*result).is_sub {
            drop(Box::from_raw(result));
        }
    });
}
