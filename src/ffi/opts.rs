//! Option structs, as callers fill them. In all of them 0 means the default, and
//! `size` tells which fields the caller knows.

use super::arg;
use super::types::{hmkv_acquired_fn, hmkv_free_fn};
use crate::error::{Error, Result};
use std::ffi::c_void;
use std::mem::{self, offset_of};

/// Options of hmkv_put() and hmkv_txn_put().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hmkv_put_opts {
    /// sizeof(hmkv_put_opts), which HMKV_PUT_OPTS() fills in.
    pub size: usize,
    /// Time for the request; 0: the store's; HMKV_FOREVER: no end. In a transaction it
    /// must be 0.
    pub timeout_ms: i64,
    /// Id of the lease that the key is to hang on; 0: none.
    pub lease: i64,
    /// Store only if the key's last change has this revision; HMKV_ABSENT: only if
    /// the key does not exist; 0: whatever is there, so take care not to pass the 0 of a
    /// key that was not found. In a transaction it must be 0.
    pub if_mod_revision: i64,
    /// 1: the result has the key as it was before.
    pub prev: u8,
    /// Room for later fields; 0.
    pub reserved: [u8; 7],
}

/// Options of hmkv_range(), hmkv_txn_range() and hmkv_mirror_range(). At most one of
/// `prefix`, `end` and `from` may be given; without one the range is the one key.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hmkv_range_opts {
    /// sizeof(hmkv_range_opts), which HMKV_RANGE_OPTS() fills in.
    pub size: usize,
    /// As of hmkv_put_opts; for each page of a large range.
    pub timeout_ms: i64,
    /// The range ends before this key; not empty, copied. NULL: no such end.
    pub end: *const c_void,
    /// Length of `end` in bytes, or HMKV_NTS.
    pub end_len: usize,
    /// At most so many keys, the first in the order asked for; 0: all.
    pub limit: i64,
    /// Read the state at this revision; 0: the newest.
    pub revision: i64,
    /// Leave out keys last changed before, or after, this revision; 0: none.
    pub min_mod_revision: i64,
    pub max_mod_revision: i64,
    /// Leave out keys created before, or after, this revision; 0: none.
    pub min_create_revision: i64,
    pub max_create_revision: i64,
    /// One of `hmkv_sort_code`; keys that are equal by it stand in the order of
    /// their names.
    pub sort: i32,
    /// 1: the largest first.
    pub descending: u8,
    /// 1: all keys that begin with the key; the empty key: all keys.
    pub prefix: u8,
    /// 1: all keys from the key on; the empty key: all keys.
    pub from: u8,
    /// 1: without the values.
    pub keys_only: u8,
    /// 1: only hmkv_result_total().
    pub count_only: u8,
    /// 1: from the endpoint's own state, without asking the others: faster, works
    /// without a quorum, and may be behind.
    pub serializable: u8,
    /// Room for later fields; 0.
    pub reserved: [u8; 6],
}

/// Options of hmkv_remove() and hmkv_txn_remove(). At most one of `prefix` and `end`
/// may be given; without one it is the one key.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hmkv_remove_opts {
    /// sizeof(hmkv_remove_opts), which HMKV_REMOVE_OPTS() fills in.
    pub size: usize,
    /// As of hmkv_put_opts.
    pub timeout_ms: i64,
    /// The range ends before this key; not empty, copied. NULL: no such end.
    pub end: *const c_void,
    /// Length of `end` in bytes, or HMKV_NTS.
    pub end_len: usize,
    /// Remove only if the key's last change has this revision; 0: whatever is there.
    /// Of one key only; in a transaction it must be 0.
    pub if_mod_revision: i64,
    /// 1: all keys that begin with the key; the empty key: all keys.
    pub prefix: u8,
    /// 1: the result has the keys that were removed.
    pub prev: u8,
    /// Room for later fields; 0.
    pub reserved: [u8; 6],
}

/// Options of hmkv_txn_commit().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hmkv_txn_opts {
    /// sizeof(hmkv_txn_opts), which HMKV_TXN_OPTS() fills in.
    pub size: usize,
    /// As of hmkv_put_opts.
    pub timeout_ms: i64,
}

/// Options of hmkv_watch_open(). At most one of `prefix` and `end` may be given;
/// without one the watch is of the one key.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hmkv_watch_opts {
    /// sizeof(hmkv_watch_opts), which HMKV_WATCH_OPTS() fills in.
    pub size: usize,
    /// The range ends before this key; above the key, copied. NULL: no such end.
    pub end: *const c_void,
    /// Length of `end` in bytes, or HMKV_NTS.
    pub end_len: usize,
    /// Deliver every change from this revision on; 0: every change after the call.
    /// Excludes `snapshot`.
    pub start_revision: i64,
    /// How many events may wait for the consumer; 0: 4,096. Those of a snapshot or resync
    /// do not count, and one answer of the server may go over it.
    pub queue_max: usize,
    /// Called once with the userdata when the library is done with it, also when
    /// hmkv_watch_open() fails, unless these options cannot be read. NULL: nothing is
    /// called.
    pub userdata_free: hmkv_free_fn,
    /// One of `hmkv_overflow_code`.
    pub on_overflow: i32,
    /// 1: all keys that begin with the key; the empty key: all keys.
    pub prefix: u8,
    /// 1: first what is there, as PUT events sorted by key and a SYNCED; then every
    /// change after it.
    pub snapshot: u8,
    /// 1: events have the key as it was before.
    pub prev_kv: u8,
    /// 1: no PUT events of changes; a snapshot is delivered all the same.
    pub no_put: u8,
    /// 1: no DELETE events, but those that correct a snapshot which `on_overflow` cut
    /// short.
    pub no_delete: u8,
    /// Room for later fields; 0.
    pub reserved: [u8; 7],
}

/// Options of hmkv_lock_acquire().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hmkv_lock_opts {
    /// sizeof(hmkv_lock_opts), which HMKV_LOCK_OPTS() fills in.
    pub size: usize,
    /// How long to wait while another holds the lock; 0 and HMKV_FOREVER: for ever. To
    /// try once it must be HMKV_TRY.
    pub wait_ms: i64,
    /// The lease of the lock, rounded up to whole seconds, at least 2; 0: the
    /// option `lock_ttl`.
    pub ttl_ms: i64,
    /// How long before the server can give the lock away it counts as lost here;
    /// less than half of `ttl_ms`; 0: an eighth of it, at most 500.
    pub margin_ms: i64,
    /// The lock is given up after so long, as a loss; more than `margin_ms`; 0:
    /// never.
    pub max_hold_ms: i64,
    /// Value of the lock's key, for those who observe it; copied. NULL: empty.
    pub value: *const c_void,
    /// Length of `value` in bytes, or HMKV_NTS; 0 only with NULL.
    pub value_len: usize,
    /// hmkv_lock_acquire() returns without waiting, and this is called when the
    /// attempt is over, with the userdata of the call. NULL: it waits.
    pub acquired: hmkv_acquired_fn,
}

/// A struct made of numbers and pointers, for which all zeroes are a legal value.
///
/// # Safety
/// So it must be, and `size` its first field.
pub unsafe trait Opts: Copy {
    /// Where its fields begin, and where the last one ends.
    const BOUNDS: &'static [usize];
}

/// Names the fields of a struct but `reserved`, in order.
macro_rules! opts {
    ($opts:ident: $($field:ident),+; $reserved:expr) => {
        unsafe impl Opts for $opts {
            const BOUNDS: &'static [usize] =
                &[$(offset_of!($opts, $field)),+, size_of::<$opts>() - $reserved];
        }
        // All of them, with nothing between them.
        const _: () = assert!(
            0 $(+ field_size::<$opts, _>(|opts| &opts.$field))+ + $reserved == size_of::<$opts>()
        );
    };
}

const fn field_size<T, F>(_: fn(&T) -> &F) -> usize {
    size_of::<F>()
}

opts!(hmkv_put_opts: size, timeout_ms, lease, if_mod_revision, prev; 7);
opts!(hmkv_range_opts: size, timeout_ms, end, end_len, limit, revision, min_mod_revision,
    max_mod_revision, min_create_revision, max_create_revision, sort, descending, prefix, from,
    keys_only, count_only, serializable; 6);
opts!(hmkv_remove_opts: size, timeout_ms, end, end_len, if_mod_revision, prefix, prev; 6);
opts!(hmkv_txn_opts: size, timeout_ms; 0);
opts!(hmkv_watch_opts: size, end, end_len, start_revision, queue_max, userdata_free, on_overflow,
    prefix, snapshot, prev_kv, no_put, no_delete; 7);
opts!(hmkv_lock_opts: size, wait_ms, ttl_ms, margin_ms, max_hold_ms, value, value_len,
    acquired; 0);

/// No struct will ever be larger: what says so is not a struct of ours.
const LARGEST: usize = 4096;

/// Reads what the caller knows of the options; the rest are the defaults.
///
/// # Safety
/// `opts` is NULL or points to `size` bytes that can be read.
pub unsafe fn read<T: Opts>(opts: *const T) -> Result<T> {
    // SAFETY: all zeroes are a legal T; what is read was checked against `size`.
    unsafe {
        let mut known: T = mem::zeroed();
        if opts.is_null() {
            return Ok(known);
        }
        if !opts.is_aligned() {
            return Err(Error::Invalid("the options are misaligned".into()));
        }
        let size = opts.cast::<usize>().read();
        let known_size = T::BOUNDS.last().copied().unwrap_or(0);
        let cut = size < known_size && !T::BOUNDS.contains(&size);
        if cut || !(size_of::<usize>()..=LARGEST).contains(&size) {
            return Err(Error::Invalid(format!("the options have size {size}")));
        }
        let bytes = std::slice::from_raw_parts(opts.cast::<u8>(), size);
        let (ours, tail) = bytes.split_at(size.min(known_size));
        if tail.iter().any(|byte| *byte != 0) {
            return Err(Error::Unsupported(
                "the options have a field that this version does not know".into(),
            ));
        }
        std::ptr::copy_nonoverlapping(ours.as_ptr(), (&raw mut known).cast(), ours.len());
        Ok(known)
    }
}

/// One of the options that are 0 or 1.
pub fn flag(value: u8, name: &str) -> Result<bool> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(arg::wrong(name, i64::from(value))),
    }
}

/// A number that is not negative.
pub fn count(value: i64, name: &str) -> Result<i64> {
    if value < 0 {
        return Err(arg::wrong(name, value));
    }
    Ok(value)
}
