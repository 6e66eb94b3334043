//! Section: state.

use super::callback::StateCallback;
use super::status::{self, hmkv_status};
use super::types::{hmkv, hmkv_state_fn};
use super::{arg, guard, handle};
use crate::state::StateConsumer;
use std::ffi::c_void;

/// # State
/// ---
/// Have a function called when the server can be reached, when it cannot any more, and
/// when another member of the cluster is used; when the lease of a store's temporary
/// keys, or its lock of hmkv_dist_lock(), was lost, and when a temporary key was restored
/// or, after a loss, found to be someone else's or denied. Leases and named locks have a
/// `lost` of their own. At most 1,024 events wait for the callback, further ones are
/// dropped; of how the server can be reached it hears the newest as soon as there is room.
///
/// What happened before the call is not told. hmkv_open() does not connect, except with
/// option `wait`: a callback that is set right after it hears of the first connection too,
/// which the first request makes. How it stands at any moment, hmkv_metrics() has in
/// `hmkv_connected`.
///
/// HMKV_STATE_CONNECTED and HMKV_STATE_CUT alternate. A store has up to three connections,
/// of its requests, leases and watches. It is cut when one of them is lost and no member
/// accepts another one in its place, and connected again when all of them are; a connection
/// that is made anew at once is no cut. This is noticed while nothing is asked, too: what
/// is lost is tried again, one member about every second or two, until it is there. A host
/// that is gone without a word is noticed by the next request, or after the time of
/// `keepalive`. A member that accepts connections and cannot serve, as without a leader,
/// is no cut.
/// On `mem:` the store is connected from the beginning, which is not told.
///
/// There is one such callback per store; a new call replaces the last. When it
/// returns, the former callback is not running and will not run again, except
/// when it was called from inside that callback.
///
/// @param kv       The store.
/// @param fn       The callback; NULL for none.
/// @param userdata Passed to `fn`. May be NULL.
/// @return HMKV_OK; HMKV_EINCALLBACK: replaced, but called from a callback for
///         which the former one, directly or in a circle, is waiting: it still
///         runs.
///
/// Blocks: while the former callback runs. Threads: any. Since: 0.1.
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hmkv_on_state(
    kv: *mut hmkv,
    r#fn: hmkv_state_fn,
    userdata: *mut c_void,
) -> hmkv_status {
    guard::status(|| {
        let consumer = r#fn.map(|f| {
            Box::new(StateCallback::new(f, arg::userdata(userdata))) as Box<dyn StateConsumer>
        });
        handle::store(kv)?.on_state(consumer)?;
        Ok(status::OK)
    })
}
