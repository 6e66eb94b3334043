//! Statuses of the C interface and their one mapping from [`Error`].

use crate::error::Error;
use crate::op::Verdict;

/// What a call answers: 0 done, positive "no", negative failed. Values stand in
/// `hmkv_status_code`.
pub type hmkv_status = i32;

/// # Statuses and types
/// ---
/// The values of `hmkv_status`. Explicit, append-only, never reused.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum hmkv_status_code {
    /// Done; or: yes.
    HMKV_OK = 0,
    /// The key does not exist.
    HMKV_NOT_FOUND = 1,
    /// The compare was false: not set, or the else branch was taken.
    HMKV_COMPARE_FAILED = 2,
    /// The lock was seen held by another; of hmkv_lock_set(): it is not held yet.
    HMKV_BUSY = 3,
    /// A wait ended with nothing to report.
    HMKV_TIMED_OUT = 4,
    /// An argument: NULL, empty key, unknown operator, option or flag.
    HMKV_EINVAL = -1,
    /// A stale, closed, foreign or NULL handle.
    HMKV_EHANDLE = -2,
    /// The store was closed while this call was in flight; not applied (a write that
    /// was sent by then is HMKV_EINDETERMINATE).
    HMKV_ECLOSED = -3,
    /// A handle inherited through fork(); not applied.
    HMKV_EFORKED = -4,
    /// Would deadlock: closing a store from its own callback, or callbacks that
    /// cancel each other in a circle.
    HMKV_EINCALLBACK = -5,
    /// The request was cancelled; not applied.
    HMKV_ECANCELED = -6,
    /// No endpoint answered in time; surely not applied.
    HMKV_EUNAVAIL = -7,
    /// A write was sent and no answer came: it may or may not have been applied,
    /// or may be later.
    HMKV_EINDETERMINATE = -8,
    /// Wrong or missing credentials; not applied.
    HMKV_EAUTH = -9,
    /// Authenticated, but not permitted; not applied.
    HMKV_EDENIED = -10,
    /// Certificate or handshake; not applied.
    HMKV_ETLS = -11,
    /// Over the size or operation limit; not applied.
    HMKV_ETOOLARGE = -12,
    /// The cluster's space quota is exhausted; not applied. The first write that goes
    /// over it is HMKV_EINDETERMINATE: etcd applies and refuses it in one.
    HMKV_ENOSPACE = -13,
    /// The revision asked for is compacted.
    HMKV_ECOMPACTED = -14,
    /// The lease behind a lock or key was lost.
    HMKV_ELOST = -15,
    /// hmkv_get() or hmkv_watch() met a NUL byte inside the value.
    HMKV_EBINARY = -16,
    /// Out of threads, descriptors, or memory for a large buffer.
    HMKV_ENOMEM = -17,
    /// Not on this backend or server version, or not yet.
    HMKV_EUNSUPPORTED = -18,
    /// A bug in libhmkv; the store stays usable.
    HMKV_EINTERNAL = -19,
}

use hmkv_status_code::*;

pub(super) const OK: hmkv_status = HMKV_OK as i32;
pub(super) const NOT_FOUND: hmkv_status = HMKV_NOT_FOUND as i32;
pub(super) const COMPARE_FAILED: hmkv_status = HMKV_COMPARE_FAILED as i32;
pub(super) const BUSY: hmkv_status = HMKV_BUSY as i32;
pub(super) const TIMED_OUT: hmkv_status = HMKV_TIMED_OUT as i32;

pub(super) fn of(error: &Error) -> hmkv_status {
    let code = match error {
        Error::Invalid(_) => HMKV_EINVAL,
        Error::Handle => HMKV_EHANDLE,
        Error::Closed => HMKV_ECLOSED,
        Error::Forked => HMKV_EFORKED,
        Error::InCallback(_) => HMKV_EINCALLBACK,
        Error::Canceled => HMKV_ECANCELED,
        Error::Unavailable(_) => HMKV_EUNAVAIL,
        Error::Indeterminate(_) => HMKV_EINDETERMINATE,
        Error::Auth(_) => HMKV_EAUTH,
        Error::Denied(_) => HMKV_EDENIED,
        Error::Tls(_) => HMKV_ETLS,
        Error::TooLarge(_) => HMKV_ETOOLARGE,
        Error::NoSpace(_) => HMKV_ENOSPACE,
        Error::Compacted(_) => HMKV_ECOMPACTED,
        Error::Lost(_) => HMKV_ELOST,
        Error::Binary => HMKV_EBINARY,
        Error::NoMemory(_) => HMKV_ENOMEM,
        Error::Unsupported(_) => HMKV_EUNSUPPORTED,
        Error::Internal(_) => HMKV_EINTERNAL,
    };
    code as i32
}

pub(super) fn of_verdict(verdict: Verdict) -> hmkv_status {
    match verdict {
        Verdict::Yes => OK,
        Verdict::NotFound => NOT_FOUND,
        Verdict::CompareFailed => COMPARE_FAILED,
    }
}

/// Every status with its name and its sentence, in order of value.
pub(super) const TABLE: &[(hmkv_status_code, &std::ffi::CStr, &std::ffi::CStr)] = &[
    (HMKV_OK, c"HMKV_OK", c"done"),
    (HMKV_NOT_FOUND, c"HMKV_NOT_FOUND", c"the key does not exist"),
    (HMKV_COMPARE_FAILED, c"HMKV_COMPARE_FAILED", c"the compare was false"),
    (HMKV_BUSY, c"HMKV_BUSY", c"the lock is held by another"),
    (HMKV_TIMED_OUT, c"HMKV_TIMED_OUT", c"the wait ended with nothing to report"),
    (HMKV_EINVAL, c"HMKV_EINVAL", c"invalid argument"),
    (HMKV_EHANDLE, c"HMKV_EHANDLE", c"stale, closed, foreign or NULL handle"),
    (HMKV_ECLOSED, c"HMKV_ECLOSED", c"the store was closed during the call; not applied"),
    (HMKV_EFORKED, c"HMKV_EFORKED", c"the handle was inherited through fork"),
    (HMKV_EINCALLBACK, c"HMKV_EINCALLBACK", c"the call would deadlock in this callback"),
    (HMKV_ECANCELED, c"HMKV_ECANCELED", c"the request was cancelled; not applied"),
    (HMKV_EUNAVAIL, c"HMKV_EUNAVAIL", c"no endpoint answered in time; not applied"),
    (
        HMKV_EINDETERMINATE,
        c"HMKV_EINDETERMINATE",
        c"no answer to a write that was sent; it may or may not be applied",
    ),
    (HMKV_EAUTH, c"HMKV_EAUTH", c"wrong or missing credentials"),
    (HMKV_EDENIED, c"HMKV_EDENIED", c"permission denied"),
    (HMKV_ETLS, c"HMKV_ETLS", c"TLS certificate or handshake failed"),
    (HMKV_ETOOLARGE, c"HMKV_ETOOLARGE", c"the request is over the size limit"),
    (HMKV_ENOSPACE, c"HMKV_ENOSPACE", c"the cluster's space quota is exhausted"),
    (HMKV_ECOMPACTED, c"HMKV_ECOMPACTED", c"the revision is compacted"),
    (HMKV_ELOST, c"HMKV_ELOST", c"the lease was lost"),
    (HMKV_EBINARY, c"HMKV_EBINARY", c"the value contains a NUL byte"),
    (HMKV_ENOMEM, c"HMKV_ENOMEM", c"out of threads, descriptors or memory"),
    (HMKV_EUNSUPPORTED, c"HMKV_EUNSUPPORTED", c"not supported here"),
    (HMKV_EINTERNAL, c"HMKV_EINTERNAL", c"internal error in libhmkv"),
];
