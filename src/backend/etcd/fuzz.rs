//! Answers of a hostile server. What is checked is written anew, in the words of a
//! caller.

#![allow(clippy::expect_used)] // a panic is a finding

pub use super::srv::fuzz::srv;
pub use super::watches::fuzz::stream;

use super::answer::judge;
use super::message;
use super::outcome::Failure;
use super::transport::{answer, refused};
use crate::error::Error;
use crate::request::{Compare, Delete, Op, OpAnswer, Put, Range, Request, Response, Sort};
use crate::request::{Found, Target, Txn};
use crate::types::{KeyRange, KeyValue};
use bytes::Bytes;

/// Which request is answered, how, and the bytes.
pub fn answers(data: &[u8]) {
    let Some((&[which, how], bytes)) = data.split_first_chunk() else { return };
    let request = request(which);
    let Some((method, _)) = message::encode(&request) else { return };
    let outcome = match how % 4 {
        0 => Ok(Bytes::copy_from_slice(bytes)),
        1 => answer(bytes.chunks(usize::from(how / 4) + 1)),
        2 => refused(bytes),
        _ => {
            if let Ok((_, revision)) = message::header(Bytes::copy_from_slice(bytes)) {
                assert!(revision > 0 && revision < i64::MAX);
            }
            return;
        }
    };
    let failed = outcome.clone().err().map(|error| error.to_string());
    match judge(&request, method, outcome) {
        Ok(response) => {
            assert!(failed.is_none(), "a refusal is no answer");
            check(&request, response);
        }
        Err(Failure::Final(Error::Internal(_))) => {
            assert!(!request.writes(), "nobody knows whether it was applied");
        }
        Err(Failure::Final(_) | Failure::NotApplied(_) | Failure::Token(_)) => {
            assert!(failed.is_some_and(|words| known(&words)), "only known words tell so much");
        }
        Err(Failure::Unknown(_)) => {}
    }
}

fn known(refusal: &str) -> bool {
    refusal.contains("etcdserver: ") || refusal.contains("grpc: received message larger than max")
}

fn request(which: u8) -> Request {
    let key = || Bytes::from_static(b"k");
    let single = || KeyRange::single(key());
    let prefix = || KeyRange::prefix(b"k");
    let delete = |prev| Delete { keys: prefix(), prev };
    let put = |prev| Put { prev, ..Put::new(key(), Bytes::from_static(b"v")) };
    match which % 8 {
        0 => Range::new(single()).into(),
        1 => Range { limit: 3, ..Range::new(prefix()) }.into(),
        2 => Range { limit: 2, sort: Sort::Mod, descending: true, ..Range::new(prefix()) }.into(),
        3 => Range { count_only: true, serializable: true, ..Range::new(prefix()) }.into(),
        4 => Txn::always(put(true)).into(),
        5 => Txn::always(delete(true)).into(),
        6 => Txn {
            compares: vec![Compare::equal(key(), Target::ModRevision(1))],
            then: vec![put(true).into(), Range::new(single()).into()],
            or_else: vec![delete(false).into()],
            idempotent: false,
        }
        .into(),
        _ => Txn::always(Range::new(prefix())).into(),
    }
}

fn check(request: &Request, response: Response) {
    match request {
        Request::Range(range) => check_found(range, response.into_range().expect("a range")),
        Request::Txn(txn) => {
            let answer = response.into_txn().expect("a transaction");
            assert!(answer.revision > 0);
            assert!(answer.succeeded || !txn.compares.is_empty());
            let branch = if answer.succeeded { &txn.then } else { &txn.or_else };
            assert_eq!(answer.ops.len(), branch.len());
            for asked in branch.iter().zip(answer.ops) {
                match asked {
                    (Op::Range(range), OpAnswer::Range(found)) => check_found(range, found),
                    (Op::Put(put), OpAnswer::Put(prev)) => {
                        assert!(prev.is_none_or(|kv| kv.key == put.key && possible(&kv)));
                    }
                    (Op::Delete(delete), OpAnswer::Delete { deleted, prev }) => {
                        assert!(prev.len() as u64 <= deleted);
                        let asked = |kv: &KeyValue| delete.keys.contains(&kv.key) && possible(kv);
                        assert!(prev.iter().all(asked));
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        other => panic!("{other:?}"),
    }
}

fn check_found(range: &Range, found: Found) {
    let count = found.kvs.len();
    assert!(count as u64 <= found.total && (range.limit == 0 || count as i64 <= range.limit));
    assert!(found.revision > 0 && found.revision.checked_add(1).is_some());
    for kv in &found.kvs {
        assert!(range.keys.contains(&kv.key) && possible(kv) && kv.mod_revision <= found.revision);
    }
    if range.is_in_key_order() {
        assert!(found.kvs.windows(2).all(|pair| pair[0].key < pair[1].key));
    }
}

fn possible(kv: &KeyValue) -> bool {
    0 < kv.create_revision && kv.create_revision <= kv.mod_revision && kv.version > 0
}
