//! Section: leases.

use super::callback::LostCallback;
use super::status::{self, hmkv_status};
use super::types::{hmkv, hmkv_lease, hmkv_lost_fn};
use super::{arg, guard, handle, out};
use crate::lease::OwnedLease;
use std::ffi::c_void;

/// # Leases
/// Keys stored with a lease are deleted when it ends. The library renews a lease at a
/// third of its TTL until it is closed, and knows when it must count as lost: when no
/// renewal was answered for the TTL, by a clock that counts suspend, a margin (an
/// eighth of the TTL, at most 500 ms) before the server deletes the keys. A lost lease
/// does not come back: grant another. Closing the store revokes its leases.
/// ---
/// Make a lease and keep it alive.
///
/// @param kv       The store.
/// @param ttl_ms   The keys live so long after the last renewal, and again after a
///                 change of etcd's leader. Rounded up to whole seconds, at least 2;
///                 above 0, at most a year.
/// @param lost     Called once if the lease is lost. NULL: nobody is told.
/// @param userdata Passed to `lost`. May be NULL.
/// @param out      Gets the lease, for hmkv_lease_close(). It stays valid until then,
///                 also when it was lost.
/// @return HMKV_OK; HMKV_EUNAVAIL: no lease within the timeout.
///
/// Blocks: up to the timeout. Threads: any. Since: 0.1.
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hmkv_lease_grant(
    kv: *mut hmkv,
    ttl_ms: i64,
    lost: hmkv_lost_fn,
    userdata: *mut c_void,
    out: *mut *mut hmkv_lease,
) -> hmkv_status {
    guard::status(|| {
        let out = out::pointer(out)?;
        let store = handle::store(kv)?;
        let ttl = arg::ttl(ttl_ms, "ttl_ms")?;
        let lost = LostCallback::boxed(lost, arg::userdata(userdata));
        let lease = OwnedLease::grant(&store, ttl, lost)?;
        // The store may have been closed meanwhile.
        out.set(handle::insert_lease(kv, &lease).inspect_err(|_| drop(lease.close(true)))?);
        Ok(status::OK)
    })
}

/// Tell a lease's id, for option `lease` of hmkv_put().
///
/// @param lease The lease.
/// @return The id, above 0, also when the lease was lost; a negative number is a
///         status.
///
/// Blocks: never. Threads: any. Since: 0.1.
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hmkv_lease_id(lease: *mut hmkv_lease) -> i64 {
    guard::number(|| Ok(handle::lease(lease)?.id()))
}

/// Tell how long a lease is surely alive, should no renewal succeed from now on.
///
/// @param lease The lease.
/// @return Milliseconds, less the margin; 0 when it is lost; a negative number is a
///         status.
///
/// Blocks: never. Threads: any. Since: 0.1.
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hmkv_lease_left_ms(lease: *mut hmkv_lease) -> i64 {
    guard::number(|| Ok(arg::ms(handle::lease(lease)?.left())))
}

/// Give up a lease.
///
/// When this returns, `lost` is not running and will not run, unless it was called
/// from inside `lost`.
///
/// @param lease  The lease; retired. A second close, also a concurrent one, is
///               HMKV_EHANDLE at once, harmlessly.
/// @param revoke true: its keys are deleted now; false: it is renewed no longer, and
///               they are deleted when its time is over.
/// @return HMKV_OK; HMKV_ELOST: it was lost before;
///         HMKV_EUNAVAIL, HMKV_EINDETERMINATE: the revocation was not answered; the
///         keys are deleted at the latest when its time is over;
///         HMKV_EINCALLBACK: closed, but called from a callback for which `lost`,
///         directly or in a circle, is waiting: it still runs.
///
/// Blocks: up to the timeout with `revoke`, and while `lost` runs. Threads: any.
/// Since: 0.1.
#[no_mangle]
pub unsafe extern "C" fn hmkv_lease_close(lease: *mut hmkv_lease, revoke: bool) -> hmkv_status {
    guard::status(|| {
        handle::retire_lease(lease)?.close(revoke)?;
        Ok(status::OK)
    })
}
