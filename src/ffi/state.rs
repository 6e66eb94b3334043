//! Section: state.

use super::callback::StateCallback;
use super::status::{self, hmkv_status};
use super::types::{hmkv, hmkv_state_fn};
use super::{arg, guard, handle};
use crate::state::StateConsumer;
use std::ffi::c_void;

/// # State
/// ---
/// Have a function called when a store loses a lease, a temporary key or its
/// lock, and when a temporary key is restored.
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
