//! Section: temporary keys.

use super::status::{self, hmkv_status};
use super::types::hmkv;
use super::{arg, guard, handle};
use std::ffi::c_char;

/// # Temporary keys
/// ---
/// Store a key that lives as long as this handle: presence of a daemon, an
/// instance, a node.
///
/// Its value is "1". All temporary keys of a handle hang on one lease, which the
/// library renews at a third of the option `temp_ttl` (10 s). The key replaces
/// what is there and takes it over. It is gone when the store is closed, and
/// within `temp_ttl` and a second after the process died or was cut off (etcd
/// starts the TTL anew at each change of its leader). When the lease was lost,
/// by an outage longer than the TTL, the key is created again unless it belongs
/// to someone else by then, or the user may not store and read it any more;
/// hmkv_on_state() tells of both. Deleting the key, or storing it by anyone, ends
/// its renewal; nobody is told, watch the key for that.
///
/// @param kv  The store.
/// @param key NUL-terminated, not empty. Copied. Making the same key temporary
///            again succeeds.
/// @return HMKV_OK; failures as of hmkv_store(). After HMKV_EINDETERMINATE the key
///         may be there until the store is closed, and is not created again after
///         a loss: call again until it succeeds.
///
/// Blocks: up to the timeout. Threads: any. Since: 0.1.
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hmkv_temp_key(kv: *mut hmkv, key: *const c_char) -> hmkv_status {
    guard::status(|| {
        handle::store(kv)?.temp_key(arg::key(key)?)?;
        Ok(status::OK)
    })
}
