//! Section: locks and elections.

use super::callback::{AcquiredCallback, EventCallback, LostCallback, OwnedData};
use super::event_watch::enter;
use super::opts::{self, hmkv_lock_opts};
use super::status::{self, hmkv_status};
use super::types::{hmkv, hmkv_event_fn, hmkv_lock, hmkv_lost_fn, hmkv_watcher};
use super::{arg, guard, handle, keys, out};
use crate::error::Error;
use crate::lock::{observe, Attempt, NamedLock};
use std::ffi::{c_char, c_void};

/// # Locks and elections
/// Any number of named locks, each owned by its hmkv_lock. The queue is that of
/// etcd's Go package concurrency (a key NAME/LEASE for each contender, the lowest
/// create revision owns), so that libhmkv, Go programs, `etcdctl lock` and
/// `etcdctl elect` exclude each other. A lock with a value is an election: the value
/// tells who leads, hmkv_lock_observe() follows it.
///
/// A held lock can be lost: the store is cut off for longer than the TTL, an operator
/// deletes the key, `max_hold_ms` is over. `lost` is told before another can hold it,
/// by `margin_ms`, if the lease or `max_hold_ms` ran out; after the fact if the key was
/// deleted or the process was suspended (SIGSTOP, a machine that is paused). Clocks are
/// trusted to run at one rate. Whatever must never be written by a former holder needs
/// the store's own judgement: hmkv_txn_if_held(), or hmkv_lock_token() as fencing token
/// elsewhere. Who waits and is cut off for longer than the TTL queues anew, at the end.
/// ---
/// Acquire a lock.
///
/// @param kv       The store.
/// @param name     Name of the lock, NUL-terminated, not empty. Copied.
/// @param opts     See hmkv_lock_opts. May be NULL.
/// @param lost     Called once if the held lock is lost. NULL: nobody is told.
/// @param userdata Passed to `lost` and to `acquired`. May be NULL.
/// @param out      Gets the lock, for hmkv_lock_release(). It stays valid until then,
///                 also when the lock was lost.
/// @return HMKV_OK: held, or with `acquired` begun; HMKV_BUSY: another was seen
///         holding it until the end of the wait; HMKV_EUNAVAIL: the queue could not
///         be joined within the timeout, or did not answer. A failure leaves no key
///         behind for longer than the TTL.
///
/// Blocks: up to the timeout to join the queue, then up to `wait_ms`, then up to a
/// second to leave it; ended by hmkv_close(). Never with `acquired`. Threads: any.
/// Since: 0.1.
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hmkv_lock_acquire(
    kv: *mut hmkv,
    name: *const c_char,
    opts: *const hmkv_lock_opts,
    lost: hmkv_lost_fn,
    userdata: *mut c_void,
    out: *mut *mut hmkv_lock,
) -> hmkv_status {
    guard::status(|| {
        let out = out::pointer(out)?;
        let store = handle::store(kv)?;
        let opts = opts::read(opts)?;
        let (spec, wait) = keys::lock(name, &opts, &store)?;
        let userdata = arg::userdata(userdata);
        let lock = NamedLock::new(&store, spec, LostCallback::boxed(lost, userdata))?;
        let entered = handle::insert_lock(kv, &lock)?;
        if let Some(f) = opts.acquired {
            out.set(entered);
            let consumer = AcquiredCallback::new(f, userdata, entered);
            return match lock.begin(wait, Box::new(consumer)) {
                Ok(()) => Ok(status::OK),
                Err(error) => {
                    out.set(std::ptr::null_mut());
                    handle::drop_lock(entered);
                    Err(error)
                }
            };
        }
        match lock.acquire(wait) {
            Ok(Attempt::Held) => {
                out.set(entered);
                Ok(status::OK)
            }
            other => {
                handle::drop_lock(entered);
                other.map(|_| status::BUSY)
            }
        }
    })
}

/// Tell a lock's fencing token: the create revision of its key. It grows from holder
/// to holder, so whoever remembers the highest seen can refuse a former holder.
///
/// @param lock The lock.
/// @return The token, above 0, also when the lock was lost; 0: not acquired yet; a
///         negative number is a status.
///
/// Blocks: never. Threads: any. Since: 0.1.
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hmkv_lock_token(lock: *mut hmkv_lock) -> i64 {
    guard::number(|| Ok(handle::lock(lock)?.token().unwrap_or(0)))
}

/// Tell how long a lock is surely held, should no renewal succeed from now on.
///
/// @param lock The lock.
/// @return Milliseconds, less `margin_ms`; 0 when it is lost or not acquired yet; a
///         negative number is a status.
///
/// Blocks: never. Threads: any. Since: 0.1.
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hmkv_lock_left_ms(lock: *mut hmkv_lock) -> i64 {
    guard::number(|| Ok(arg::ms(handle::lock(lock)?.left())))
}

/// Change the value of a held lock's key, as a leader's new proclamation.
///
/// @param lock      The lock.
/// @param value     `value_len` bytes or HMKV_NTS. Copied.
/// @param value_len Its length.
/// @return HMKV_OK; HMKV_ELOST: the lock is lost, nothing was written; HMKV_BUSY: not
///         acquired yet; failures as of hmkv_store().
///
/// Blocks: up to the timeout. Threads: any. Since: 0.1.
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hmkv_lock_set(
    lock: *mut hmkv_lock,
    value: *const c_void,
    value_len: usize,
) -> hmkv_status {
    guard::status(|| {
        let lock = handle::lock(lock)?;
        match lock.set(arg::data(value, value_len, "value")?)? {
            Attempt::Held => Ok(status::OK),
            Attempt::Busy => Ok(status::BUSY),
        }
    })
}

/// Release a lock, or give up waiting for it.
///
/// When this returns, neither `lost` nor `acquired` is running or will run, unless it
/// was called from inside one.
///
/// @param lock The lock; retired. A second release, also a concurrent one, is
///             HMKV_EHANDLE at once, harmlessly.
/// @return HMKV_OK; HMKV_ELOST: it was found lost before;
///         HMKV_EUNAVAIL, HMKV_EINDETERMINATE: it is held no longer, others get it at
///         the latest when its lease ends;
///         HMKV_EINCALLBACK: as of hmkv_lease_close().
///
/// Blocks: up to the timeout, and while `lost` or `acquired` runs. Threads: any.
/// Since: 0.1.
#[no_mangle]
pub unsafe extern "C" fn hmkv_lock_release(lock: *mut hmkv_lock) -> hmkv_status {
    guard::status(|| {
        handle::retire_lock(lock)?.release()?;
        Ok(status::OK)
    })
}

/// Follow who holds a lock: the leader of an election and its value.
///
/// @param kv       The store.
/// @param name     Name of the lock, NUL-terminated, not empty. Copied.
/// @param fn       Called with PUT and the leader's key and value at once, if there
///                 is one, and whenever the leader or its value changes; with DELETE
///                 and the former leader's key when there is none any more. STATE and
///                 END as of hmkv_watch_open().
/// @param userdata Passed to `fn`. May be NULL.
/// @param out      Gets the watcher, for hmkv_watch_close().
/// @return HMKV_OK; HMKV_EUNAVAIL: not registered within the timeout; HMKV_ENOMEM.
///
/// Blocks: up to the timeout. Threads: any. Since: 0.1.
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hmkv_lock_observe(
    kv: *mut hmkv,
    name: *const c_char,
    r#fn: hmkv_event_fn,
    userdata: *mut c_void,
    out: *mut *mut hmkv_watcher,
) -> hmkv_status {
    guard::status(|| {
        let out = out::pointer(out)?;
        let store = handle::store(kv)?;
        let name = arg::lock_name(name)?;
        let f = r#fn.ok_or_else(|| Error::Invalid("fn is NULL".into()))?;
        let callback = EventCallback::new(f, OwnedData::new(arg::userdata(userdata), None));
        let watcher = observe(&store, &name, Box::new(callback))?;
        enter(kv, &watcher, &out)
    })
}
