//! Section: results.

use super::guard;
use super::status::{self, hmkv_status};
use super::types::hmkv_kv;
use crate::error::{Error, Result};
use crate::request::Found;
use std::ffi::c_char;
use std::ptr;

/// The answer of a request: an owned list of keys and values, used by one thread
/// at a time, given back with hmkv_result_free().
pub struct hmkv_result {
    kvs: Vec<hmkv_kv>,
    /// What the pointers in `kvs` point into.
    _arena: Vec<u8>,
    revision: i64,
    total: u64,
}

impl hmkv_result {
    pub(super) fn new(found: Found) -> Result<*mut Self> {
        let no_memory = |_| Error::NoMemory("for the answer".into());
        let size = found.kvs.iter().map(|kv| kv.key.len() + kv.value.len() + 2).sum();
        let (mut arena, mut kvs) = (Vec::new(), Vec::new());
        arena.try_reserve_exact(size).map_err(no_memory)?;
        kvs.try_reserve_exact(found.kvs.len()).map_err(no_memory)?;
        for kv in &found.kvs {
            let mut put = |bytes: &[u8]| {
                let at = arena.len();
                arena.extend_from_slice(bytes);
                arena.push(0);
                arena[at..].as_ptr().cast::<c_char>()
            };
            kvs.push(hmkv_kv {
                key: put(&kv.key),
                key_len: kv.key.len(),
                value: put(&kv.value),
                value_len: kv.value.len(),
                create_revision: kv.create_revision,
                mod_revision: kv.mod_revision,
                version: kv.version,
                lease: kv.lease,
            });
        }
        let result = Self { kvs, _arena: arena, revision: found.revision, total: found.total };
        Ok(Box::into_raw(Box::new(result)))
    }
}

/// # Results
/// ---
/// Tell the status of the request.
///
/// @param result A result, or NULL.
/// @return The status; HMKV_EINVAL for NULL.
///
/// Blocks: never. Threads: the result's. Since: 0.1.
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hmkv_result_status(result: *const hmkv_result) -> hmkv_status {
    if result.is_null() {
        super::status::of(&Error::Invalid(String::new()))
    } else {
        status::OK
    }
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
    let _ = result; // only results of requests that failed have one, and those are yet to come
    ptr::null()
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

/// Tell how many keys lie in the range that was asked for, limits aside.
///
/// @param result A result, or NULL.
/// @return The number of keys; 0 for NULL.
///
/// Blocks: never. Threads: the result's. Since: 0.1.
#[no_mangle]
pub unsafe extern "C" fn hmkv_result_total(result: *const hmkv_result) -> u64 {
    guard::borrow(result, 0, |result| result.total)
}

/// Give back a result with all that was borrowed from it.
///
/// @param result A result, or NULL, which does nothing.
///
/// Blocks: never. Threads: the result's. Since: 0.1.
#[no_mangle]
pub unsafe extern "C" fn hmkv_result_free(result: *mut hmkv_result) {
    if !result.is_null() {
        drop(Box::from_raw(result));
    }
}
