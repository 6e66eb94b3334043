//! Section: keys and values.

use super::result::hmkv_result;
use super::status::{self, hmkv_status};
use super::types::hmkv;
use super::{arg, guard, handle, out};
use crate::kv;
use crate::request::Comparison;
use std::ffi::c_char;

/// # Keys and values
/// ---
/// Store a value under a key, whatever was there before.
///
/// etcd's Put: one new revision, also when the value is the same. The key is
/// detached from a lease that it had.
///
/// @param kv    The store.
/// @param key   NUL-terminated, not empty. Copied.
/// @param value NUL-terminated, may be empty. Copied.
/// @return HMKV_OK; failures as said at the top. After HMKV_EINDETERMINATE the
///         write may have happened or may happen later.
///
/// Blocks: up to the timeout. Threads: any. Since: 0.1.
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hmkv_store(
    kv: *mut hmkv,
    key: *const c_char,
    value: *const c_char,
) -> hmkv_status {
    guard::status(|| {
        let store = handle::store(kv)?;
        kv::put(&store, arg::key(key)?, arg::bytes(value, "value")?)?;
        Ok(status::OK)
    })
}

/// Read the value of a key: linearizable, so it shows every write that was
/// acknowledged to anyone before the call.
///
/// @param kv    The store.
/// @param key   NUL-terminated, not empty. Copied.
/// @param value Gets the value as text, to be given back with hmkv_free().
/// @return HMKV_OK; HMKV_NOT_FOUND: the key does not exist; HMKV_EBINARY: the
///         value contains a NUL byte (hmkv_get_range() reads it).
///
/// Blocks: up to the timeout. Threads: any. Since: 0.1.
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hmkv_get(
    kv: *mut hmkv,
    key: *const c_char,
    value: *mut *mut c_char,
) -> hmkv_status {
    guard::status(|| {
        let out = out::pointer(value)?;
        let store = handle::store(kv)?;
        match kv::get(&store, arg::key(key)?)? {
            None => Ok(status::NOT_FOUND),
            Some(found) => {
                out.set(out::text(&found.value)?);
                Ok(status::OK)
            }
        }
    })
}

/// Read all keys from `start` to `end`, both inclusive, sorted by key.
///
/// The answer is one consistent state, that of a single revision
/// (hmkv_result_revision()), of any size: large answers are read in pages of one
/// revision. Linearizable. Values may contain NUL bytes.
///
/// @param kv    The store.
/// @param start First key; "" begins at the first key there is. Copied.
/// @param end   Last key; "" or a key below `start` makes the range empty.
///              Copied.
/// @param out   Gets the keys and values, to be given back with
///              hmkv_result_free(). An empty range is a result of count 0; one
///              that is empty by its bounds is not asked of the server and has
///              revision 0.
/// @return HMKV_OK, also when the range is empty; HMKV_ENOMEM: no memory for the
///         answer.
///
/// Blocks: up to the timeout for each page. Threads: any. Since: 0.1.
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hmkv_get_range(
    kv: *mut hmkv,
    start: *const c_char,
    end: *const c_char,
    out: *mut *mut hmkv_result,
) -> hmkv_status {
    guard::status(|| {
        let out = out::pointer(out)?;
        let store = handle::store(kv)?;
        let found =
            kv::range_inclusive(&store, arg::bytes(start, "start")?, arg::bytes(end, "end")?)?;
        out.set(hmkv_result::of_range(found)?);
        Ok(status::OK)
    })
}

/// Delete a key.
///
/// @param kv  The store.
/// @param key NUL-terminated, not empty. Copied.
/// @return HMKV_OK, also when the key did not exist; failures as of
///         hmkv_store().
///
/// Blocks: up to the timeout. Threads: any. Since: 0.1.
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hmkv_delete(kv: *mut hmkv, key: *const c_char) -> hmkv_status {
    guard::status(|| {
        let store = handle::store(kv)?;
        kv::delete(&store, arg::key(key)?)?;
        Ok(status::OK)
    })
}

/// Compare the value of a key, and store one of two pairs, as one atomic step.
///
/// etcd's Txn with one compare on the value. Values compare bytewise. A compare
/// on a key that does not exist is false, whatever the operator.
///
/// @param kv         The store.
/// @param key        The key to compare, not empty. Copied.
/// @param op         "=", "!=", "<" or ">": how the stored value must stand to
///                   `value`.
/// @param value      The value to compare with. Copied.
/// @param then_key   Stored when the compare is true; NULL stores nothing.
/// @param then_value Its value; not NULL unless `then_key` is. Copied.
/// @param else_key   Stored when the compare is false; NULL stores nothing.
/// @param else_value Its value; not NULL unless `else_key` is. Copied.
/// @return HMKV_OK: the compare was true, the then branch is done;
///         HMKV_COMPARE_FAILED: it was false, the else branch is done;
///         HMKV_EINVAL, also for any other operator: nothing was written;
///         failures as of hmkv_store().
///
/// Blocks: up to the timeout. Threads: any. Since: 0.1.
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hmkv_transaction(
    kv: *mut hmkv,
    key: *const c_char,
    op: *const c_char,
    value: *const c_char,
    then_key: *const c_char,
    then_value: *const c_char,
    else_key: *const c_char,
    else_value: *const c_char,
) -> hmkv_status {
    guard::status(|| {
        let store = handle::store(kv)?;
        let holds = kv::transaction(
            &store,
            arg::key(key)?,
            Comparison::parse(&arg::bytes(op, "op")?)?,
            arg::bytes(value, "value")?,
            arg::optional_pair(then_key, then_value, ("then_key", "then_value"))?,
            arg::optional_pair(else_key, else_value, ("else_key", "else_value"))?,
        )?;
        Ok(if holds { status::OK } else { status::COMPARE_FAILED })
    })
}

/// Test and set: store `set_value` if the key's value is `test_value`, as one
/// atomic step.
///
/// @param kv         The store.
/// @param key        The key, not empty. Copied.
/// @param test_value What must be there. A key that does not exist is never set;
///                   "" matches only an existing, empty value. Copied.
/// @param set_value  What is stored then. Copied.
/// @return HMKV_OK: set; HMKV_COMPARE_FAILED: another value or no key, nothing
///         written; failures as of hmkv_store().
///
/// Blocks: up to the timeout. Threads: any. Since: 0.1.
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hmkv_tas(
    kv: *mut hmkv,
    key: *const c_char,
    test_value: *const c_char,
    set_value: *const c_char,
) -> hmkv_status {
    guard::status(|| {
        let store = handle::store(kv)?;
        let key = arg::key(key)?;
        let test = arg::bytes(test_value, "test_value")?;
        let set = arg::bytes(set_value, "set_value")?;
        let holds =
            kv::transaction(&store, key.clone(), Comparison::Equal, test, Some((key, set)), None)?;
        Ok(if holds { status::OK } else { status::COMPARE_FAILED })
    })
}
