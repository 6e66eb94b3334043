//! Our requests as etcd-client's, and its answers as ours. What a server sends is
//! not trusted.

use crate::error::{Error, Result};
use crate::request::{Comparison, Found, Op, Order, Range, Target, Txn, TxnAnswer};
use crate::types::{Event, KeyRange, KeyValue, RangeEnd};
use etcd_client::proto::{PbEvent, PbKeyValue, PbRangeResponse, PbTxnOpResponse};
use etcd_client::{
    Compare, CompareOp, DeleteOptions, GetOptions, PutOptions, SortOrder, SortTarget, TxnOp,
    TxnResponse, WatchOptions,
};

/// etcd's end for "all keys from here on".
const UNBOUNDED: &[u8] = b"\0";

fn end(keys: &KeyRange) -> Option<Vec<u8>> {
    match &keys.end {
        RangeEnd::Single => None,
        RangeEnd::Before(end) => Some(end.to_vec()),
        RangeEnd::Unbounded => Some(UNBOUNDED.to_vec()),
    }
}

pub fn get_options(range: &Range) -> GetOptions {
    let mut options = GetOptions::new().with_limit(range.limit).with_revision(range.revision);
    if let Some(end) = end(&range.keys) {
        options = options.with_range(end);
    }
    if range.keys_only {
        options = options.with_keys_only();
    }
    if range.max_create_revision > 0 {
        options = options.with_max_create_revision(range.max_create_revision);
    }
    match range.order {
        Order::Key => options,
        Order::CreateDescending => options.with_sort(SortTarget::Create, SortOrder::Descend),
    }
}

pub fn delete_options(keys: &KeyRange) -> DeleteOptions {
    match end(keys) {
        None => DeleteOptions::new(),
        Some(end) => DeleteOptions::new().with_range(end),
    }
}

pub fn watch_options(keys: &KeyRange, id: i64, start: i64) -> WatchOptions {
    let options =
        WatchOptions::new().with_watch_id(id).with_start_revision(start).with_progress_notify();
    match end(keys) {
        None => options,
        Some(end) => options.with_range(end),
    }
}

pub fn txn(txn: Txn) -> etcd_client::Txn {
    let compares: Vec<Compare> = txn.compares.into_iter().map(compare).collect();
    let ops = |ops: Vec<Op>| -> Vec<TxnOp> { ops.into_iter().map(op).collect() };
    etcd_client::Txn::new().when(compares).and_then(ops(txn.then)).or_else(ops(txn.or_else))
}

fn compare(compare: crate::request::Compare) -> Compare {
    let how = match compare.comparison {
        Comparison::Equal => CompareOp::Equal,
        Comparison::NotEqual => CompareOp::NotEqual,
        Comparison::Less => CompareOp::Less,
        Comparison::Greater => CompareOp::Greater,
    };
    match compare.target {
        Target::Value(value) => Compare::value(compare.key, how, value),
        Target::CreateRevision(revision) => Compare::create_revision(compare.key, how, revision),
        Target::ModRevision(revision) => Compare::mod_revision(compare.key, how, revision),
    }
}

fn op(op: Op) -> TxnOp {
    match op {
        Op::Put { key, value, lease } => {
            TxnOp::put(key, value, Some(PutOptions::new().with_lease(lease)))
        }
        Op::Delete(keys) => TxnOp::delete(keys.key.clone(), Some(delete_options(&keys))),
        Op::Range(range) => TxnOp::get(range.keys.key.clone(), Some(get_options(&range))),
    }
}

pub fn revision(header: Option<&etcd_client::ResponseHeader>) -> Result<i64> {
    header.map(etcd_client::ResponseHeader::revision).ok_or_else(|| Error::unexpected("no header"))
}

pub fn found(answer: PbRangeResponse, revision: i64) -> Found {
    Found {
        kvs: answer.kvs.into_iter().map(key_value).collect(),
        revision,
        total: answer.count.unsigned_abs(),
        more: answer.more,
    }
}

pub fn txn_answer(answer: TxnResponse) -> Result<TxnAnswer> {
    let revision = revision(answer.header())?;
    let succeeded = answer.succeeded();
    let ranges = answer.0.responses.into_iter().filter_map(|op| match op.response {
        Some(PbTxnOpResponse::ResponseRange(range)) => Some(found(range, revision)),
        _ => None,
    });
    Ok(TxnAnswer { succeeded, revision, ranges: ranges.collect() })
}

fn key_value(kv: PbKeyValue) -> KeyValue {
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
    match event.r#type {
        0 => Ok(Event::put(key_value(kv))),
        1 => Ok(Event::delete(kv.key.into(), kv.mod_revision)),
        kind => Err(Error::unexpected(&format!("an event of kind {kind}"))),
    }
}
