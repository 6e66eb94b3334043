//! Section: the distributed lock.

use super::status::{self, hmkv_status};
use super::types::{hmkv, hmkv_lock_code};
use super::{guard, handle};
use crate::error::Error;
use crate::lock::{Attempt, Outcome, Wait};
use std::time::Duration;

/// # The distributed lock
/// ---
/// Acquire the lock of this handle, waiting as long as it takes.
///
/// One lock, named by the option `lock` (HMKV_DIST_LOCK_KEY), excludes all
/// handles of all processes, two handles of one process too; the owner is the
/// handle, not the thread. The queue is that of etcd's Go package concurrency
/// and of `etcdctl lock`: a key NAME/LEASE for each contender, the lowest create
/// revision owns. The lock hangs on a lease of `lock_ttl` (10 s), renewed by the
/// library.
///
/// A held lock can be lost, as said under Locks and elections. hmkv_on_state() tells
/// of it, when `lost` would be told there, and hmkv_dist_unlock() does once.
///
/// @param kv The store. If this handle holds the lock already the call succeeds;
///           it is not counted, one unlock releases it. After a loss it queues
///           anew.
/// @return HMKV_OK: held; HMKV_EUNAVAIL: the queue could not be joined within the
///         timeout. No failure leaves a key behind for longer than `lock_ttl`.
///
/// Blocks: until held; ended by hmkv_close(). Threads: any; of several callers on
/// one handle one queues and all succeed with it. Since: 0.1.
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hmkv_dist_lock(kv: *mut hmkv) -> hmkv_status {
    guard::status(|| match handle::store(kv)?.lock().acquire(Wait::Forever)? {
        Attempt::Held => Ok(status::OK),
        Attempt::Busy => Err(Error::Internal("an endless wait ended".into())),
    })
}

/// Acquire the lock of this handle, waiting a limited time. See hmkv_dist_lock().
///
/// @param kv      The store.
/// @param seconds How long to wait for another holder; 0 tries once, a negative
///                number is HMKV_EINVAL. It is the wait alone: the lease's time
///                is the option `lock_ttl`.
/// @return HMKV_OK: held; HMKV_BUSY: another was seen holding it; HMKV_EUNAVAIL:
///         the store could not be asked. A wait that gives up takes its key out
///         of the queue; where the server does not answer that within a second,
///         the key is gone at the latest when its lease ends.
///
/// Blocks: up to the timeout to join the queue, then up to `seconds`, then up to
/// a second to leave it; ended by hmkv_close(). Threads: any. Since: 0.1.
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hmkv_dist_timed_lock(kv: *mut hmkv, seconds: i32) -> hmkv_status {
    guard::status(|| {
        let seconds = u64::try_from(seconds)
            .map_err(|_| Error::Invalid(format!("seconds is negative: {seconds}")))?;
        match handle::store(kv)?.lock().acquire(Wait::For(Duration::from_secs(seconds)))? {
            Attempt::Held => Ok(status::OK),
            Attempt::Busy => Ok(status::BUSY),
        }
    })
}

/// Release the lock of this handle, so that the next in the queue gets it.
///
/// @param kv The store. Without a held lock the call does nothing and succeeds.
/// @return HMKV_OK;
///         HMKV_ELOST: the lock had been lost since it was acquired. Answered
///         once per loss;
///         HMKV_EUNAVAIL, HMKV_EINDETERMINATE: this handle holds the lock no
///         longer, others get it at the latest when the lease ends.
///
/// Blocks: up to the timeout. Threads: any. Since: 0.1.
#[no_mangle]
pub unsafe extern "C" fn hmkv_dist_unlock(kv: *mut hmkv) -> hmkv_status {
    guard::status(|| {
        handle::store(kv)?.lock().release()?;
        Ok(status::OK)
    })
}

/// Tell how the lock of this handle stands. A held lock whose lease's time is
/// over answers HMKV_LOCK_RSLT_INVALID.
///
/// @param kv The store.
/// @return One of `hmkv_lock_code`; a negative number is a status.
///
/// Blocks: never. Threads: any. Since: 0.1.
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hmkv_dist_lock_result(kv: *mut hmkv) -> i32 {
    guard::status(|| {
        let code = match handle::store(kv)?.lock().outcome() {
            Outcome::None => hmkv_lock_code::HMKV_LOCK_RSLT_INVALID,
            Outcome::Failed => hmkv_lock_code::HMKV_LOCK_SET_FAIL,
            Outcome::Busy => hmkv_lock_code::HMKV_LOCK_OCCUPIED,
            Outcome::Held => hmkv_lock_code::HMKV_LOCK_GRANTED,
            Outcome::ReleaseFailed => hmkv_lock_code::HMKV_LOCK_RELEASE_FAIL,
            Outcome::Released => hmkv_lock_code::HMKV_LOCK_RELEASED,
        };
        Ok(code as i32)
    })
}
