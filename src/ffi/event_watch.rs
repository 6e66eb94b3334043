//! Section: watches of ranges, with all that happens as events.

use super::callback::{EventCallback, OwnedData};
use super::event::EventOut;
use super::opts::{self, hmkv_watch_opts};
use super::status::{self, hmkv_status};
use super::types::{hmkv, hmkv_event, hmkv_event_fn, hmkv_watcher};
use super::{arg, guard, handle, keys, out};
use crate::watch::{self, Kinds, To, Watcher};
use std::ffi::c_void;
use std::sync::Arc;

/// # Event watches
/// The full watch: of a key, a prefix or a range, from any revision that is kept, with
/// previous values, with a snapshot first. Everything is an hmkv_event, in order:
/// whole revisions, none lost, none twice, across reconnects, server restarts and
/// changes of the leader, but for what a RESYNC stands for and `on_overflow` drops. It
/// does not end with a deletion. Watchers of the same range
/// of one store share one watch of the server; idle ones cost no thread.
///
/// With a callback events are pushed, on library threads. Without, hmkv_watch_next()
/// pulls them. A consumer that is slow has bounded memory here; `on_overflow` says
/// what gives way. A watch keeps the names of its range's keys, so that it can tell which
/// are gone when changes were compacted; to begin it lists them. `mem:` keeps the last
/// 100,000 revisions, as far as they fit in 64 MiB.
/// ---
/// Begin a watch.
///
/// When this returns, the watch is registered: no change after that is missed. With
/// `snapshot` nothing is missed or doubled between the snapshot and the changes.
///
/// @param kv       The store.
/// @param key      `key_len` bytes or HMKV_NTS. It need not exist. Copied. Empty only
///                 with `prefix` or `end`, where it stands for the first key there
///                 is.
/// @param key_len  Its length.
/// @param opts     See hmkv_watch_opts. May be NULL.
/// @param fn       Called for each event; it can run before this call returns. NULL:
///                 hmkv_watch_next() is used.
/// @param userdata Passed to `fn` and to `userdata_free`. May be NULL.
/// @param out      Gets the watcher, for hmkv_watch_close(). It stays valid until
///                 then, or until the store is closed, also when the watch ended.
/// @return HMKV_OK; HMKV_EUNAVAIL: not registered within the timeout;
///         HMKV_ECOMPACTED: `start_revision` or the one before it is compacted (a
///         server may have dropped a deletion of the oldest revision that it keeps);
///         HMKV_ENOMEM. On failure `fn` never runs.
///
/// Blocks: up to the timeout for each page of a large range, and for the watch.
/// Threads: any. Since: 0.1.
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hmkv_watch_open(
    kv: *mut hmkv,
    key: *const c_void,
    key_len: usize,
    opts: *const hmkv_watch_opts,
    r#fn: hmkv_event_fn,
    userdata: *mut c_void,
    out: *mut *mut hmkv_watcher,
) -> hmkv_status {
    guard::status(|| {
        let out = out::pointer(out);
        let opts = opts::read(opts)?;
        let data = OwnedData::new(arg::userdata(userdata), opts.userdata_free);
        let out = out?;
        let store = handle::store(kv)?;
        let wish = keys::watch(key, key_len, &opts)?;
        let to = match r#fn {
            Some(f) => To::Push(Box::new(EventCallback::new(f, data))),
            None => To::Pull(Box::new(EventOut::new(data))),
        };
        let watcher = watch::open(&store, &wish, Kinds::ALL, to)?;
        enter(kv, &watcher, &out)
    })
}

/// Hands out a watcher, which begins then.
pub(super) fn enter(
    kv: *mut hmkv,
    watcher: &Arc<Watcher>,
    out: &out::Out<*mut hmkv_watcher>,
) -> crate::error::Result<hmkv_status> {
    out.set(handle::insert_watcher(kv, watcher)?);
    watcher.activate();
    Ok(status::OK)
}

/// Wait for the next event of a watch without callback.
///
/// @param watcher    The watcher.
/// @param timeout_ms How long to wait; 0 does not wait, HMKV_FOREVER waits without
///                   bound.
/// @param event      Gets the event with all that it points to; borrowed until the
///                   next hmkv_watch_next() of this watcher, or until it or its
///                   store is closed.
/// @return HMKV_OK; HMKV_TIMED_OUT: no event; HMKV_EINVAL, also where the watcher has
///         a callback or another thread is waiting in this call;
///         HMKV_ECLOSED, HMKV_ECANCELED: the store, the watch was closed meanwhile.
///         After HMKV_EVENT_END the status of that event.
///
/// Blocks: up to `timeout_ms`. Threads: any, one at a time for one watcher.
/// Since: 0.1.
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hmkv_watch_next(
    watcher: *mut hmkv_watcher,
    timeout_ms: i64,
    event: *mut *const hmkv_event,
) -> hmkv_status {
    guard::status(|| {
        let out = out::borrowed(event)?;
        let watcher = handle::watcher(watcher)?;
        let timeout = arg::timeout(timeout_ms)?;
        match watcher.next(timeout)? {
            None => Ok(status::TIMED_OUT),
            Some(at) => {
                out.set(at.0.cast());
                Ok(status::OK)
            }
        }
    })
}

/// End a watch, of whatever kind: the same as hmkv_watch_cb_cancel().
///
/// @param watcher The watcher.
/// @return As of hmkv_watch_cb_cancel(). When a call from outside the callback returns
///         HMKV_OK, `userdata_free` has been called.
///
/// Blocks: while the callback runs, or another thread is in hmkv_watch_next(), which
/// ends at once. Do not hold a lock that the callback takes. Threads: any.
/// Since: 0.1.
#[no_mangle]
pub unsafe extern "C" fn hmkv_watch_close(watcher: *mut hmkv_watcher) -> hmkv_status {
    guard::status(|| {
        handle::cancel_watcher(watcher)?;
        Ok(status::OK)
    })
}
