//! Section: faults.

use super::status::{self, hmkv_status};
use super::types::hmkv;
use super::{arg, guard, handle};
use std::ffi::c_char;

/// # Faults
/// ---
/// Make faults happen, so that the rare paths of a program can be tested on `mem:`
/// without a server: with the statuses, events and callbacks of the real ones.
///
/// They concern this handle, as if it were a process of its own; others on the same
/// store go on and see what becomes of it. So a test has one handle for the program
/// and one to look with:
///
///     hmkv_lock_acquire(kv, "leader", HMKV_LOCK_OPTS(.ttl_ms = 2000), on_lost, me, &lock);
///     hmkv_mem_fault(kv, "cut=1h");
///     ... wait until on_lost was called ...
///     hmkv_lock_acquire(other, "leader", NULL, NULL, NULL, &theirs);  // HMKV_OK, soon
///     hmkv_lock_set(lock, "late", HMKV_NTS);                          // HMKV_ELOST
///
/// The text, where a separator is any number of `,`, `;` and white space, and TIME is
/// written as in options and at most an hour:
///
///     spec  = [sep] fault *(sep fault) [sep]
///     fault = "expire" / "compact" / "cut=" TIME / "delay=" TIME
///           / "indeterminate" ["=" ("applied" / "dropped")]
///
/// The faults are made in their order; none, where the text is wrong.
///
/// - `expire`: every lease that this handle holds ends at once, as if its process had
///   been cut off for longer than the TTL. Its temporary keys, its lock keys and those
///   of its leases are deleted, the state callback (hmkv_on_state()) and each `lost` tell
///   of the loss, and temporary keys are created again.
/// - `compact`: all revisions before the newest one are gone, for all handles, as after
///   `etcdctl compact`.
/// - `cut=TIME`: for so long this handle reaches nothing. A request waits for the end of
///   the cut; where its timeout comes first it was not sent and answers HMKV_EUNAVAIL,
///   and HMKV_ECANCELED where it is cancelled. One that was under way (see `delay`) is
///   sent again where the library may repeat it; other writes are HMKV_EINDETERMINATE at
///   once. Event watches tell of the cut and of its end by HMKV_EVENT_STATE, the state
///   callback by HMKV_STATE_CUT and HMKV_STATE_CONNECTED. What others changed meanwhile
///   follows after it, or RESYNC where that was compacted. Leases are not renewed: those
///   whose TTL is over by then are lost, which `lost`, HMKV_STATE_LEASE_LOST and
///   HMKV_STATE_LOCK_LOST tell in time, and temporary keys are created again after the
///   cut. Whoever waits for a lock waits on. hmkv_close() takes up to `close_timeout`
///   where there are leases to revoke, which end by themselves. A new cut replaces the
///   one that lasts; `cut=0` ends it.
/// - `delay=TIME`: each request of this handle from now on reaches the store after half of
///   the time, and is answered after the other half, none before the one before it. Where
///   its timeout comes first a read answers HMKV_EUNAVAIL and a write
///   HMKV_EINDETERMINATE: it reaches the store all the same, unless a cut or hmkv_close()
///   comes first. A cancelled write is HMKV_EINDETERMINATE too. Events are not
///   delayed. `delay=0` ends it for later requests, which wait for those under way;
///   `cut=1ms` breaks these.
/// - `indeterminate=applied`, `indeterminate=dropped`: the next write of this handle is
///   applied, or is not, and answers HMKV_EINDETERMINATE, as when the connection breaks
///   between request and answer. Given several times it concerns so many writes.
///   `indeterminate` alone is `indeterminate=applied`. Writes that the library repeats
///   by itself are left out, for they would not show it: making, renewing and revoking a
///   lease, joining the queue of a lock, restoring a temporary key. (With `delay` those
///   come to their timeout.)
///
/// @param kv   A store on `mem:`.
/// @param spec The text.
/// @return HMKV_OK when it is done (callbacks follow);
///         HMKV_EINVAL: the text is wrong; hmkv_errmsg() says where, in bytes from 0, and
///         why;
///         HMKV_EUNSUPPORTED: the store is not on `mem:`.
///
/// Blocks: never. Threads: any. Since: 0.1.
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hmkv_mem_fault(kv: *mut hmkv, spec: *const c_char) -> hmkv_status {
    guard::status(|| {
        handle::store(kv)?.fault(&arg::utf8(spec, "spec")?)?;
        Ok(status::OK)
    })
}
