//! Keys and values, for both backends.

use crate::error::{Error, Result};
use crate::request::{Compare, Comparison, Found, Op, Range, Target, Txn};
use crate::store::Store;
use crate::types::{KeyRange, KeyValue};
use bytes::Bytes;

/// Keys in the first page of a range, before their size is known; the size that
/// later pages aim at; and how much larger than all before one may be.
const FIRST_PAGE: i64 = 8;
const PAGE_BYTES: usize = 4 << 20;
const GROWTH: i64 = 64;

pub fn put(store: &Store, key: Bytes, value: Bytes) -> Result<()> {
    store.call(Txn::always(Op::Put { key, value, lease: 0 }).into()).map(drop)
}

pub fn get(store: &Store, key: Bytes) -> Result<Option<KeyValue>> {
    let found = store.call(Range::new(KeyRange::single(key)).into())?.into_range()?;
    Ok(found.kvs.into_iter().next())
}

pub fn delete(store: &Store, key: Bytes) -> Result<()> {
    store.call(Txn::always(Op::Delete(KeyRange::single(key))).into()).map(drop)
}

/// Compares, stores one of the pairs, and tells whether the compare was true.
pub fn transaction(
    store: &Store,
    key: Bytes,
    comparison: Comparison,
    value: Bytes,
    then: Option<(Bytes, Bytes)>,
    or_else: Option<(Bytes, Bytes)>,
) -> Result<bool> {
    let put = |pair: Option<(Bytes, Bytes)>| {
        pair.map(|(key, value)| Op::Put { key, value, lease: 0 }).into_iter().collect()
    };
    let txn = Txn {
        compares: vec![Compare { key, target: Target::Value(value), comparison }],
        then: put(then),
        or_else: put(or_else),
        idempotent: false,
    };
    Ok(store.call(txn.into())?.into_txn()?.succeeded)
}

/// All keys from `start` to `end`, both inclusive.
pub fn range_inclusive(store: &Store, start: Bytes, end: Bytes) -> Result<Found> {
    match KeyRange::inclusive(start, &end) {
        Some(keys) => range(store, keys),
        None => store.check_open().map(|()| Found::default()),
    }
}

/// Reads a range of any size at one revision, page by page.
fn range(store: &Store, keys: KeyRange) -> Result<Found> {
    'anew: loop {
        let first = Range { limit: FIRST_PAGE, ..Range::new(keys.clone()) };
        let mut all = store.call(first.into())?.into_range()?;
        let mut more = all.more;
        while more {
            let Some(last) = all.kvs.last() else { break };
            let key = Bytes::from([&last.key[..], b"\0"].concat());
            let page = Range {
                limit: next_page(&all),
                revision: all.revision,
                ..Range::new(KeyRange { key, end: keys.end.clone() })
            };
            match store.call(page.into()).and_then(|answer| answer.into_range()) {
                Ok(page) => {
                    more = page.more && !page.kvs.is_empty();
                    all.kvs
                        .try_reserve(page.kvs.len())
                        .map_err(|_| Error::NoMemory("for the answer".into()))?;
                    all.kvs.extend(page.kvs);
                }
                // The revision of the first page is gone: begin at a newer one.
                Err(Error::Compacted(_)) => continue 'anew,
                Err(error) => return Err(error),
            }
        }
        all.more = false;
        return Ok(all);
    }
}

/// How many keys make about [`PAGE_BYTES`], going by those that were read.
fn next_page(read: &Found) -> i64 {
    let bytes: usize = read.kvs.iter().map(|kv| kv.key.len() + kv.value.len() + 64).sum();
    let average = bytes / read.kvs.len().max(1);
    ((PAGE_BYTES / average.max(1)) as i64).clamp(1, GROWTH * read.kvs.len() as i64)
}
