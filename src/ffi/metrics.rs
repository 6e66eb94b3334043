//! Section: metrics.

use super::status::{self, hmkv_status};
use super::types::hmkv;
use super::{guard, handle, out};
use std::ffi::c_char;

/// # Metrics
/// ---
/// Tell what a store has counted, as text for Prometheus (its text format, version
/// 0.0.4: `Content-Type: text/plain; version=0.0.4`).
///
/// docs/metrics.md lists names and labels, which stay: later versions may add some.
/// What a store counts begins with hmkv_open() and ends with hmkv_close(); counters
/// never go down. A program with several stores adds a label of its own.
///
/// @param kv   The store.
/// @param text Gets the text, to be given back with hmkv_free().
/// @return HMKV_OK; HMKV_ENOMEM: no memory for the text.
///
/// Blocks: never. Threads: any. Since: 0.1.
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hmkv_metrics(kv: *mut hmkv, text: *mut *mut c_char) -> hmkv_status {
    guard::status(|| {
        let text = out::pointer(text)?;
        text.set(out::text(handle::store(kv)?.metrics_text()?.as_bytes())?);
        Ok(status::OK)
    })
}

/// Ask the members of the cluster how they are. The answer is one object of JSON:
///
/// - `cluster_id`: the cluster's id in hexadecimal, as all ids here: they have 64 bits,
///   which numbers of JSON need not have.
/// - `leader`: the id of the leader; null where no member that answered knows one.
/// - `members`: an array of objects, one for each member:
///   - `id`, `name`: a member that never started has the name "".
///   - `peer_urls`, `client_urls`: arrays of strings.
///   - `is_learner`: true or false.
///   - `reachable`: whether the member answered.
///   - `error`: the reason where it did not; else what it says is wrong with it, such as
///     an exhausted quota, or null.
///   - `endpoint`: the URL at which it answered.
///   - `version`: that of the server, such as "3.5.16".
///   - `db_size`, `db_size_in_use`: bytes that its database takes, and that of these are
///     in use.
///   - `raft_index`, `raft_term`: how far it is in the log of the cluster.
///   - `revision`: the newest revision that it has.
///
/// Those from `endpoint` on are null where the member is not `reachable`. Later versions
/// may add fields.
///
/// All members are asked at once: those of the store and those that are in the list of
/// one that answers, at their client URLs, over connections of their own. No quorum is
/// needed: it is what each member knows by itself. The user needs no rights. Where all URLs
/// of the store are https, those in a list that are not are not asked.
///
/// On `mem:` there is one member, the leader, with the id 0: its name and endpoint are
/// that of the store, its version is that of the library; both sizes are the bytes of all
/// keys and values, and raft has 0.
///
/// @param kv   The store.
/// @param json Gets the text, to be given back with hmkv_free().
/// @return HMKV_OK when at least one member answered; HMKV_EUNAVAIL: none did;
///         HMKV_ENOMEM: no memory for the text.
///
/// Blocks: up to the timeout; without it where every member answers or refuses.
/// Threads: any. Since: 0.1.
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hmkv_cluster_status(kv: *mut hmkv, json: *mut *mut c_char) -> hmkv_status {
    guard::status(|| {
        let json = out::pointer(json)?;
        json.set(out::text(handle::store(kv)?.cluster_status()?.as_bytes())?);
        Ok(status::OK)
    })
}
