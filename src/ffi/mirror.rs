//! Section: mirrors.

use super::callback::{EventCallback, OwnedData};
use super::opts::{self, hmkv_range_opts};
use super::result::hmkv_result;
use super::status::{self, hmkv_status};
use super::types::{hmkv, hmkv_event_fn, hmkv_mirror};
use super::{arg, guard, handle, keys, out};
use crate::mirror::Mirror;
use crate::watch::Consumer;
use std::ffi::c_void;

/// # Mirrors
/// A copy of all keys that begin with a prefix, in the memory of this process, kept up
/// to date by a watch. Reading it takes no network and waits for nobody, on any number
/// of threads, also while the copy changes. Each read shows the store as it was at one
/// revision, hmkv_result_revision(): never half of a transaction, nor half of a resync,
/// nor an older state than one that was read before, but of another store.
///
/// A copy is behind the store by what is on its way. hmkv_mirror_wait() gives
/// read-your-writes: write, wait for the write's revision, read. While the server cannot
/// be reached the copy stays as it is. What it missed then, it gets one by one; where
/// that is compacted, or the store is another one, it becomes the newest state in one
/// step.
/// ---
/// Make a copy of a prefix and keep it up to date.
///
/// When this returns, the copy is there. `changed` is told first what was there then, as
/// PUT events sorted by key and a SYNCED, and then every change, as by hmkv_watch_open()
/// with `snapshot`, STATE and END included. When it is called, the copy has the change
/// already, and may have later ones. A `changed` that is slow delays no reader,
/// and the copy but for a moment: when 4,096 events or 16 MiB wait for it they are dropped,
/// and it is told the difference of what it knows to the copy, ended by RESYNC.
///
/// @param kv         The store.
/// @param prefix     `prefix_len` bytes or HMKV_NTS. Empty: all keys. Copied.
/// @param prefix_len Its length.
/// @param changed    Called for each event; it can run before this call returns. NULL:
///                   nobody is told.
/// @param userdata   Passed to `changed`. May be NULL.
/// @param out        Gets the mirror, for hmkv_mirror_close(). It stays valid until
///                   then, or until the store is closed, also when its watch ended.
/// @return HMKV_OK; HMKV_EUNAVAIL: the keys could not be read, or the watch not
///         registered, within the timeout; HMKV_ENOMEM. On failure `changed` never runs.
///
/// Blocks: up to the timeout for each page of a large copy, and for the watch.
/// Threads: any. Since: 0.1.
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hmkv_mirror_open(
    kv: *mut hmkv,
    prefix: *const c_void,
    prefix_len: usize,
    changed: hmkv_event_fn,
    userdata: *mut c_void,
    out: *mut *mut hmkv_mirror,
) -> hmkv_status {
    guard::status(|| {
        let out = out::pointer(out)?;
        let store = handle::store(kv)?;
        let prefix = arg::data(prefix, prefix_len, "prefix")?;
        let consumer = changed.map(|changed| -> Box<dyn Consumer> {
            let data = OwnedData::new(arg::userdata(userdata), None);
            Box::new(EventCallback::new(changed, data))
        });
        let mirror = Mirror::open(&store, &prefix, consumer)?;
        out.set(handle::insert_mirror(kv, &mirror)?);
        mirror.activate();
        Ok(status::OK)
    })
}

/// Read one key of the copy.
///
/// @param mirror  The mirror.
/// @param key     `key_len` bytes or HMKV_NTS, not empty.
/// @param key_len Its length.
/// @return A result, for hmkv_result_free(): HMKV_OK with the one key;
///         HMKV_NOT_FOUND: the copy has no such key; HMKV_EINVAL, also where the key does
///         not begin with the prefix; HMKV_EHANDLE; HMKV_ENOMEM.
///
/// Blocks: never. Threads: any. Since: 0.1.
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hmkv_mirror_get(
    mirror: *mut hmkv_mirror,
    key: *const c_void,
    key_len: usize,
) -> *mut hmkv_result {
    guard::result(|| handle::mirror(mirror)?.get(arg::key_data(key, key_len)?))
}

/// Read a range of the copy, as hmkv_range() reads one of the store.
///
/// @param mirror  The mirror.
/// @param key     As of hmkv_range().
/// @param key_len Its length.
/// @param opts    See hmkv_range_opts. `revision`, `timeout_ms` and `serializable` must
///                be 0: a copy has one state, which is there. May be NULL.
/// @return A result, for hmkv_result_free(): as of hmkv_range(); HMKV_EINVAL, also where
///         a key of the range need not begin with the prefix; HMKV_EHANDLE; HMKV_ENOMEM.
///
/// Blocks: never. Threads: any. Since: 0.1.
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hmkv_mirror_range(
    mirror: *mut hmkv_mirror,
    key: *const c_void,
    key_len: usize,
    opts: *const hmkv_range_opts,
) -> *mut hmkv_result {
    guard::result(|| {
        let mirror = handle::mirror(mirror)?;
        mirror.range(&keys::local_range(key, key_len, &opts::read(opts)?)?)
    })
}

/// Wait until the copy has every change up to a revision, as hmkv_result_revision() tells
/// one of a write. The change may be of any key. Where it is not of the prefix, or is long
/// in coming, the store is asked whether the copy is up to date, which takes it as long as
/// reading the prefix, although it sends no more than one key.
///
/// @param mirror     The mirror.
/// @param revision   The revision, 0 or more. It may be one that is yet to come.
/// @param timeout_ms How long to wait; 0 only looks, HMKV_FOREVER waits without bound.
/// @return HMKV_OK: what is read from now on is of this revision or a later one;
///         HMKV_TIMED_OUT: not in time; HMKV_ECLOSED, HMKV_ECANCELED: the store, the
///         mirror was closed meanwhile. After HMKV_EVENT_END the status of that event,
///         unless the copy has the revision.
///
/// Blocks: up to `timeout_ms`. Threads: any. Since: 0.1.
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hmkv_mirror_wait(
    mirror: *mut hmkv_mirror,
    revision: i64,
    timeout_ms: i64,
) -> hmkv_status {
    guard::status(|| {
        let mirror = handle::mirror(mirror)?;
        let revision = opts::count(revision, "revision")?;
        match mirror.wait(revision, arg::timeout(timeout_ms)?)? {
            true => Ok(status::OK),
            false => Ok(status::TIMED_OUT),
        }
    })
}

/// Give up a copy.
///
/// When this returns, `changed` is not running and will not run, unless it was called
/// from inside `changed`.
///
/// @param mirror The mirror; retired. A second close, also a concurrent one, is
///               HMKV_EHANDLE at once, harmlessly.
/// @return HMKV_OK; HMKV_EINCALLBACK: as of hmkv_lease_close().
///
/// Blocks: while `changed` runs. Do not hold a lock that it takes. Threads: any.
/// Since: 0.1.
#[no_mangle]
pub unsafe extern "C" fn hmkv_mirror_close(mirror: *mut hmkv_mirror) -> hmkv_status {
    guard::status(|| {
        handle::retire_mirror(mirror)?.close()?;
        Ok(status::OK)
    })
}
