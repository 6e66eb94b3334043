//! Section: watches.

use super::callback::WatchCallback;
use super::event_watch::enter;
use super::status::{self, hmkv_status};
use super::types::{hmkv, hmkv_keychange, hmkv_keychange_code, hmkv_watch_fn, hmkv_watcher};
use super::{arg, guard, handle, out};
use crate::error::Error;
use crate::feed::Wish;
use crate::types::{EventKind, KeyRange};
use crate::watch::{self, Kinds, To};
use std::ffi::{c_char, c_void};

/// # Watches
/// ---
/// Wait for the next change of a key.
///
/// Exactly the first change after the registration is reported, whatever follows
/// it: a delete and then a create report the delete. Storing an equal value is a
/// change. Where the first change cannot be had any more, the final state is reported
/// in its place, as by hmkv_watch_cb(). To see every change use that.
///
/// @param kv         The store.
/// @param key        NUL-terminated, not empty. It need not exist. Copied.
/// @param timeout_ms How long to wait after the registration; 0 does not wait,
///                   HMKV_FOREVER waits without bound.
/// @param value      Gets the new value as text, to be given back with
///                   hmkv_free(); NULL after a delete. May be NULL.
/// @param op         Gets HMKV_KEYCHANGE_PUT or HMKV_KEYCHANGE_DELETE. May be
///                   NULL.
/// @return HMKV_OK; HMKV_TIMED_OUT: no change was seen; the server may have been out of
///         reach, which hmkv_ping() finds out; HMKV_EBINARY: the key was stored, with
///         a NUL byte in the value, and `value` is not NULL; HMKV_EUNAVAIL: the watch
///         could not be registered within the timeout.
///
/// Blocks: up to the timeout for the registration, then up to `timeout_ms`.
/// Threads: any. Since: 0.1.
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hmkv_watch(
    kv: *mut hmkv,
    key: *const c_char,
    timeout_ms: i64,
    value: *mut *mut c_char,
    op: *mut hmkv_keychange,
) -> hmkv_status {
    guard::status(|| {
        let (value, op) = (out::optional_pointer(value), out::optional_number(op));
        let store = handle::store(kv)?;
        let event = watch::next_change(&store, arg::key(key)?, arg::timeout(timeout_ms)?)?;
        let Some(event) = event else {
            return Ok(status::TIMED_OUT);
        };
        match event.kind {
            EventKind::Put => {
                value.set_with(|| out::text(&event.kv.value))?;
                op.set(hmkv_keychange_code::HMKV_KEYCHANGE_PUT as i32);
            }
            EventKind::Delete => op.set(hmkv_keychange_code::HMKV_KEYCHANGE_DELETE as i32),
        }
        Ok(status::OK)
    })
}

/// Have a function called for every change of a key.
///
/// When this returns, the watch is registered: no change after that is missed.
/// Every matching change is delivered, in revision order, none twice, across
/// reconnects, server restarts and changes of the leader. Where the changes of an
/// interruption cannot be had one by one (compacted, left out by the server, or
/// the store was replaced), the final state alone is delivered, and a key deleted
/// and created again counts as deleted. After the store was replaced, a key that
/// is there is told as PUT although nobody stored it.
///
/// While the server cannot be reached the watch waits, and tells nothing:
/// hmkv_watch_open() tells of that. A callback that is slow loses nothing: 4,096
/// changes or 16 MiB wait here, further ones on the server.
///
/// The watch ends when the callback returns false, when the key is deleted, when
/// it is cancelled and when the store is closed. **A watch for HMKV_KEYCHANGE_PUT
/// alone ends silently when the key is deleted: ask for both kinds (3) to see
/// it.** If it must end for another reason, the last call has op
/// HMKV_KEYCHANGE_INVAL.
///
/// @param kv       The store.
/// @param key      NUL-terminated, not empty. It need not exist. Copied.
/// @param op       Which changes to report: HMKV_KEYCHANGE_PUT,
///                 HMKV_KEYCHANGE_DELETE or the sum of both (3).
/// @param cb       The callback. It can run before this call returns.
/// @param userdata Passed to `cb`. May be NULL.
/// @param out      Gets the watcher. It stays valid until hmkv_watch_cb_cancel()
///                 or hmkv_close(), also when the watch ended by itself.
/// @return HMKV_OK; HMKV_EUNAVAIL: the watch could not be registered within the
///         timeout; HMKV_ENOMEM. On failure the callback never runs.
///
/// Blocks: up to the timeout. Threads: any. Since: 0.1.
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hmkv_watch_cb(
    kv: *mut hmkv,
    key: *const c_char,
    op: i32,
    cb: hmkv_watch_fn,
    userdata: *mut c_void,
    out: *mut *mut hmkv_watcher,
) -> hmkv_status {
    guard::status(|| {
        let out = out::pointer(out)?;
        let store = handle::store(kv)?;
        let key = arg::key(key)?;
        let kinds = Kinds::from_mask(op)?;
        let cb = cb.ok_or_else(|| Error::Invalid("cb is NULL".into()))?;
        let consumer = WatchCallback::new(cb, arg::userdata(userdata), &key);
        let wish = Wish::changes(KeyRange::single(key));
        let watcher = watch::open(&store, &wish, kinds, To::Push(Box::new(consumer)))?;
        enter(kv, &watcher, &out)
    })
}

/// Cancel a watch.
///
/// When a call from outside the callback returns, the callback is not running and
/// will not run again. From inside its own callback the watch is marked and ends
/// with that call.
///
/// @param watcher The watcher. Only the first cancel finds it; a later one and a
///                concurrent second one answer HMKV_EHANDLE, harmlessly, the
///                concurrent one after the callback ended.
/// @return HMKV_OK: this call ended the watch, or it had ended by itself;
///         HMKV_EINCALLBACK: called from a callback for which the other one,
///         directly or in a circle, is waiting. The watch is marked and no
///         further callback starts, but the running one has not ended: the watcher
///         stays valid, and a cancel from elsewhere waits for that.
///
/// Blocks: while the callback runs. Do not hold a lock that the callback takes.
/// Threads: any. Since: 0.1.
#[no_mangle]
pub unsafe extern "C" fn hmkv_watch_cb_cancel(watcher: *mut hmkv_watcher) -> hmkv_status {
    guard::status(|| {
        handle::cancel_watcher(watcher)?;
        Ok(status::OK)
    })
}
