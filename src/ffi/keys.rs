//! Keys, ranges and what is to be done with them, from arguments and options.

use super::arg;
use super::opts::hmkv_watch_opts;
use super::opts::{count, flag};
use super::opts::{hmkv_lock_opts, hmkv_put_opts, hmkv_range_opts, hmkv_remove_opts};
use super::types::{hmkv_overflow_code::*, hmkv_sort_code::*, HMKV_FOREVER, HMKV_TRY};
use crate::error::{Error, Result};
use crate::feed::{From, Hidden, Overflow, Wish};
use crate::lease::Terms;
use crate::lock::{Spec, Wait};
use crate::request::{Delete, Filter, Put, Range, Sort};
use crate::store::Store;
use crate::types::{KeyRange, RangeEnd};
use bytes::Bytes;
use std::ffi::{c_char, c_void};
use std::time::Duration;

/// # Safety
/// As of all here: pointers with a length lead to so many bytes.
pub unsafe fn put(
    key: *const c_void,
    key_len: usize,
    value: *const c_void,
    value_len: usize,
    opts: &hmkv_put_opts,
) -> Result<Put> {
    Ok(Put {
        key: unsafe { arg::key_data(key, key_len) }?,
        value: unsafe { arg::data(value, value_len, "value") }?,
        lease: count(opts.lease, "lease")?,
        prev: flag(opts.prev, "prev")?,
    })
}

/// Which keys: at most one of the ways to name more than the one is given.
unsafe fn keys(
    key: *const c_void,
    key_len: usize,
    end: (*const c_void, usize),
    prefix: bool,
    from: bool,
) -> Result<KeyRange> {
    let key = unsafe { arg::data(key, key_len, "key") }?;
    match (end.0.is_null(), prefix, from) {
        (true, false, false) => Ok(KeyRange::single(arg::non_empty(key, "key")?)),
        (true, true, false) => Ok(KeyRange::prefix(&key)),
        (true, false, true) => Ok(KeyRange::from(key, RangeEnd::Unbounded)),
        (false, false, false) => {
            let end = arg::non_empty(unsafe { arg::data(end.0, end.1, "end") }?, "end")?;
            Ok(KeyRange::from(key, RangeEnd::Before(end)))
        }
        _ => Err(Error::Invalid("more than one of prefix, end and from".into())),
    }
}

pub unsafe fn range(key: *const c_void, key_len: usize, opts: &hmkv_range_opts) -> Result<Range> {
    const KEY: i32 = HMKV_SORT_KEY as i32;
    const CREATE: i32 = HMKV_SORT_CREATE as i32;
    const MOD: i32 = HMKV_SORT_MOD as i32;
    const VERSION: i32 = HMKV_SORT_VERSION as i32;
    const VALUE: i32 = HMKV_SORT_VALUE as i32;
    let (prefix, from) = (flag(opts.prefix, "prefix")?, flag(opts.from, "from")?);
    Ok(Range {
        keys: unsafe { keys(key, key_len, (opts.end, opts.end_len), prefix, from) }?,
        limit: count(opts.limit, "limit")?,
        revision: count(opts.revision, "revision")?,
        sort: match opts.sort {
            KEY => Sort::Key,
            CREATE => Sort::Create,
            MOD => Sort::Mod,
            VERSION => Sort::Version,
            VALUE => Sort::Value,
            other => return Err(arg::wrong("sort", other.into())),
        },
        descending: flag(opts.descending, "descending")?,
        keys_only: flag(opts.keys_only, "keys_only")?,
        count_only: flag(opts.count_only, "count_only")?,
        serializable: flag(opts.serializable, "serializable")?,
        filter: Filter {
            min_mod: count(opts.min_mod_revision, "min_mod_revision")?,
            max_mod: count(opts.max_mod_revision, "max_mod_revision")?,
            min_create: count(opts.min_create_revision, "min_create_revision")?,
            max_create: count(opts.max_create_revision, "max_create_revision")?,
        },
    })
}

/// A range that is read from a copy.
pub unsafe fn local_range(
    key: *const c_void,
    key_len: usize,
    opts: &hmkv_range_opts,
) -> Result<Range> {
    let range = unsafe { range(key, key_len, opts) }?;
    let not_of_a_copy = [
        (range.revision != 0, "revision"),
        (opts.timeout_ms != 0, "timeout_ms"),
        (range.serializable, "serializable"),
    ];
    match not_of_a_copy.iter().find(|(given, _)| *given) {
        Some((_, name)) => Err(Error::Invalid(format!("{name} of a range of a mirror"))),
        None => Ok(range),
    }
}

pub unsafe fn remove(
    key: *const c_void,
    key_len: usize,
    opts: &hmkv_remove_opts,
) -> Result<Delete> {
    let prefix = flag(opts.prefix, "prefix")?;
    Ok(Delete {
        keys: unsafe { keys(key, key_len, (opts.end, opts.end_len), prefix, false) }?,
        prev: flag(opts.prev, "prev")?,
    })
}

pub unsafe fn watch(key: *const c_void, key_len: usize, opts: &hmkv_watch_opts) -> Result<Wish> {
    const RESUME: i32 = HMKV_OVERFLOW_RESUME as i32;
    const COALESCE: i32 = HMKV_OVERFLOW_COALESCE as i32;
    const RESYNC: i32 = HMKV_OVERFLOW_RESYNC as i32;
    const END: i32 = HMKV_OVERFLOW_END as i32;
    let prefix = flag(opts.prefix, "prefix")?;
    let keys = unsafe { keys(key, key_len, (opts.end, opts.end_len), prefix, false) }?;
    if keys.is_empty() {
        return Err(Error::Invalid("no key is before the end".into()));
    }
    let defaults = Wish::changes(keys);
    let start = count(opts.start_revision, "start_revision")?;
    Ok(Wish {
        from: match (start, flag(opts.snapshot, "snapshot")?) {
            (0, false) => From::Now,
            (0, true) => From::Snapshot,
            (start, false) => From::Revision(start),
            _ => return Err(Error::Invalid("both snapshot and start_revision".into())),
        },
        prev: flag(opts.prev_kv, "prev_kv")?,
        hidden: Hidden {
            puts: flag(opts.no_put, "no_put")?,
            deletes: flag(opts.no_delete, "no_delete")?,
        },
        states: true,
        queue_max: match opts.queue_max {
            0 => defaults.queue_max,
            max => max,
        },
        overflow: match opts.on_overflow {
            RESUME => Overflow::Resume,
            COALESCE => Overflow::Coalesce,
            RESYNC => Overflow::Resync,
            END => Overflow::End,
            other => return Err(arg::wrong("on_overflow", other.into())),
        },
        ..defaults
    })
}

pub unsafe fn lock(
    name: *const c_char,
    opts: &hmkv_lock_opts,
    store: &Store,
) -> Result<(Spec, Wait)> {
    let wait = match opts.wait_ms {
        0 | HMKV_FOREVER => Wait::Forever,
        HMKV_TRY => Wait::For(Duration::ZERO),
        wait => Wait::For(ms(wait, "wait_ms")?),
    };
    let ttl = match opts.ttl_ms {
        0 => store.lock_ttl(),
        ttl => arg::ttl(ttl, "ttl_ms")?,
    };
    let mut terms = Terms::of(ttl);
    if opts.margin_ms != 0 {
        terms.margin = ms(opts.margin_ms, "margin_ms")?;
    }
    if terms.margin >= ttl / 2 {
        return Err(arg::wrong("margin_ms", opts.margin_ms));
    }
    let max_hold = match opts.max_hold_ms {
        0 => None,
        most => Some(ms(most, "max_hold_ms")?),
    };
    if max_hold.is_some_and(|most| most <= terms.margin) {
        return Err(arg::wrong("max_hold_ms", opts.max_hold_ms));
    }
    let spec = Spec {
        name: unsafe { arg::lock_name(name) }?,
        terms,
        max_hold,
        value: unsafe { lock_value(opts) }?,
    };
    Ok((spec, wait))
}

/// A value without a length is one whose length was forgotten.
unsafe fn lock_value(opts: &hmkv_lock_opts) -> Result<Bytes> {
    if opts.value_len == 0 && !opts.value.is_null() {
        return Err(arg::wrong("value_len", 0));
    }
    unsafe { arg::data(opts.value, opts.value_len, "value") }
}

/// At most ten years: an instant can be added to another.
fn ms(ms: i64, name: &str) -> Result<Duration> {
    const MOST: u64 = 10 * 365 * 24 * 3600 * 1000;
    Ok(Duration::from_millis(count(ms, name)?.unsigned_abs().min(MOST)))
}
