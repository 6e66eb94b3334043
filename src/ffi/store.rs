//! Section: open and close.

use super::status::{self, hmkv_status};
use super::types::hmkv;
use super::{arg, guard, handle, out};
use crate::store::{Closed, Store};
use std::ffi::c_char;

/// # Opening and closing
/// ---
/// Open a store.
///
/// Opening does not need the server, so that daemons may start before etcd:
/// without option `wait` it checks its arguments and the certificate files and
/// returns. Each handle has its own connections, temporary keys and lock.
///
/// With the options `user` and `password` or `password_file` the store is a user's. The
/// server is asked for a token when the first request needs one, and again when it no
/// longer accepts that: at most every 300 ms, for all requests at once, and a refusal
/// counts for a second. The time comes out of the request's own timeout. Requests, watches
/// and leases go on over the end of a token; after a wrong password they answer
/// HMKV_EAUTH, while watches and leases that have begun wait for a right one, leases until
/// their time is over. `mem:` has no users: there the options have no effect.
///
/// `srv:DOMAIN` follows etcd's convention for DNS. DOMAIN is a full name, at most 231 bytes
/// long; no search list is applied. The records of type SRV at
/// `_etcd-client-ssl._tcp.DOMAIN` are members reached by https; those at
/// `_etcd-client._tcp.DOMAIN`, by http. The option `srv_name=NAME` appends `-NAME` to
/// `_etcd-client-ssl` and `_etcd-client`, as etcdctl's --discovery-srv-name.
///
/// - Where there are records for https, those for http are not used, also later while the
///   store is open, so that what was encrypted never crosses the network readable. (Other
///   clients of etcd use both.) For the same reason a failure to learn whether there are
///   any is a failure. With the options `cacert`, `cert` or `server_name` the records for
///   http are never used.
/// - The certificate must have the host name of its record, or `server_name`. DNS itself
///   proves nothing: name with `cacert` an authority that signs for this cluster alone.
/// - Members are tried by ascending priority, those of one priority by lot in proportion
///   to their weight (RFC 2782). One that answers is kept, also when one before it is
///   back; when it fails, those after it come next. At most 16 are used.
/// - The records are asked for when the store is opened, which does not wait for that;
///   when their time to live is over, taken as 5 s to 5 min; and soon, at most every
///   250 ms, later 2 s, while requests find no member that answers. An answer that fails
///   or is empty replaces nothing. While no member is known, requests wait for one and
///   answer HMKV_EUNAVAIL at their timeout. With option `sync` the cluster's own list comes
///   first, and the records are what it begins with and goes back to.
///
/// @param endpoint Where the store is, in UTF-8:
///                 `http://host:port`, `https://host:port`, or bare `host:port`
///                 (http), an IPv6 address in brackets, without user or password;
///                 several members of one cluster joined by commas;
///                 `mem:`, the store inside this process, shared by all its
///                 handles and surviving their close; `mem:NAME`, a separate one;
///                 `env:`, what the environment variable HMKV_ENDPOINT names,
///                 else ETCD_HOST with ETCD_PORT (2379), else ETCDCTL_ENDPOINTS;
///                 `srv:DOMAIN`, a cluster whose members a name server tells, see above.
/// @param options  NULL, or items `name=value`, some just `name`, in UTF-8, separated
///                 by any number of `,`, `;` and white space; each name once. A
///                 value that holds one of these is quoted with '...', where a
///                 backslash takes the next character as it is. Times are 500ms,
///                 5s, 2m or 1h, sizes 65536, 512KiB or 2MiB. README lists them.
/// @param out      Gets the handle, to be closed with hmkv_close().
/// @return HMKV_OK;
///         HMKV_EINVAL: bad endpoint or option, named in hmkv_errmsg();
///         HMKV_ETLS: a certificate or key file is unreadable or does not match;
///         HMKV_EAUTH: the password file is unreadable, empty, longer than 4 KiB or not
///         UTF-8; or, with `wait`, the server refused the user or the password;
///         HMKV_EUNAVAIL: `wait` ran out before a linearizable read succeeded;
///         HMKV_ENOMEM: no thread or descriptor to be had, or too many handles.
///
/// Blocks: never without option `wait`, else at most that long. Threads: any.
/// Since: 0.1.
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hmkv_open(
    endpoint: *const c_char,
    options: *const c_char,
    out: *mut *mut hmkv,
) -> hmkv_status {
    guard::status(|| {
        let out = out::pointer(out)?;
        let store = Store::open(
            &arg::utf8(endpoint, "endpoint")?,
            &arg::optional_utf8(options, "options")?,
        )?;
        out.set(handle::insert_store(store)?);
        Ok(status::OK)
    })
}

/// Close a store: end its requests, waits and watches, release its locks, and delete
/// its temporary keys and those of its leases by revoking them.
///
/// The handle is retired at once; its watchers, leases and locks are by the end of the
/// call. What could not be revoked in time ends with its lease. When the last store of
/// a process is closed, the library's threads have ended, but for one in a callback that
/// still runs, and one that waits for a name server, which ends when that answers or the
/// system gives up. What was stored in `mem:` stays.
///
/// @param kv The store. Closing it a second time is HMKV_EHANDLE, harmlessly.
/// @return HMKV_OK;
///         HMKV_TIMED_OUT: the store is closed, but a callback still runs after
///         `close_timeout`. No further callback starts;
///         HMKV_EINCALLBACK: called from a callback of this store, nothing done.
///
/// Blocks: at most for the option `close_timeout` (2 s), while callbacks run or
/// the server does not answer; with `dispatch=poll` up to 100 ms longer, and while a
/// callback runs on this thread. Threads: any, except the store's own callbacks.
/// Since: 0.1.
#[no_mangle]
pub unsafe extern "C" fn hmkv_close(kv: *mut hmkv) -> hmkv_status {
    guard::status(|| {
        handle::store(kv)?.refuse_own_callback("closing a store")?;
        let (store, children) = handle::retire(kv)?;
        let closed = store.close(children);
        handle::retire_children(&store);
        Ok(match closed {
            Closed::Fully => status::OK,
            Closed::CallbackRunning => status::TIMED_OUT,
        })
    })
}
