//! What the messages of several services share. What a server sends is not trusted.

use crate::backend::Wanted;
use crate::error::{Error, Result};
use crate::request::Found;
use crate::types::{Event, KeyRange, KeyValue, RangeEnd};
use etcd_client::proto::{PbEvent, PbKeyValue, PbRangeResponse, PbResponseHeader};
use etcd_client::WatchOptions;

/// etcd's end for "all keys from here on".
const UNBOUNDED: &[u8] = b"\0";

pub fn end(keys: &KeyRange) -> Option<Vec<u8>> {
    match &keys.end {
        RangeEnd::Single => None,
        RangeEnd::Before(end) => Some(end.to_vec()),
        RangeEnd::Unbounded => Some(UNBOUNDED.to_vec()),
    }
}

pub fn watch_options(wanted: &Wanted, id: i64) -> WatchOptions {
    let mut options = WatchOptions::new().with_watch_id(id).with_progress_notify();
    // Large answers in pieces: what waits here is bounded.
    options = options.with_fragment();
    options = options.with_start_revision(wanted.start);
    if wanted.prev {
        options = options.with_prev_key();
    }
    match end(&wanted.keys) {
        None => options,
        Some(end) => options.with_range(end),
    }
}

pub fn revision(header: Option<&PbResponseHeader>) -> Result<i64> {
    possible(header.ok_or_else(|| Error::unexpected("no header"))?.revision)
}

/// The first revision is 1, and each has one after it.
fn possible(revision: i64) -> Result<i64> {
    if (1..i64::MAX).contains(&revision) {
        return Ok(revision);
    }
    Err(Error::unexpected(&format!("revision {revision}")))
}

pub fn found(answer: PbRangeResponse, revision: i64) -> Found {
    Found {
        kvs: answer.kvs.into_iter().map(key_value).collect(),
        revision,
        total: answer.count.unsigned_abs(),
        more: answer.more,
    }
}

pub fn key_value(kv: PbKeyValue) -> KeyValue {
    KeyValue {
        key: kv.key.into(),
        value: kv.value.into(),
        create_revision: kv.create_revision,
        mod_revision: kv.mod_revision,
        version: kv.version,
        lease: kv.lease,
    }
}

pub fn event(event: PbEvent) -> Result<Event> {
    let kv = event.kv.ok_or_else(|| Error::unexpected("an event without a key"))?;
    possible(kv.mod_revision)?;
    let prev = event.prev_kv.map(key_value);
    match event.r#type {
        0 => Ok(Event::put(key_value(kv), prev)),
        1 => Ok(Event::delete(kv.key.into(), kv.mod_revision, prev)),
        kind => Err(Error::unexpected(&format!("an event of kind {kind}"))),
    }
}
