//! What came back for a request: its answer, or why there is none. A server is not
//! trusted: what cannot be an answer to the request does not count as one.

use super::message::{self, Method};
use super::outcome::{self, Failure};
use super::transport::Outcome;
use crate::error::{Error, Result};
use crate::request::{Found, Op, OpAnswer, Range, Request, Response, TxnAnswer};
use crate::types::{KeyRange, KeyValue};

pub fn judge(
    request: &Request,
    method: Method,
    outcome: Outcome,
) -> std::result::Result<Response, Failure> {
    let message = outcome.map_err(|error| outcome::of_call(&error))?;
    let answer = message::decode(method, message);
    let answer = answer.and_then(|answer| check(request, &answer).map(|()| answer));
    answer.map_err(|error| match error {
        // An answer that makes no sense does not tell what became of a write.
        Error::Internal(why) if request.writes() => Failure::Unknown(why),
        error => Failure::Final(error),
    })
}

fn check(request: &Request, answer: &Response) -> Result<()> {
    match (request, answer) {
        (Request::Range(range), Response::Range(found)) => check_found(range, found),
        (Request::Txn(txn), Response::Txn(answer)) => {
            if !answer.succeeded && txn.compares.is_empty() {
                return Err(Error::unexpected("a compare failed where there is none"));
            }
            let branch = if answer.succeeded { &txn.then } else { &txn.or_else };
            check_ops(branch, answer)
        }
        _ => Err(Error::unexpected("that of another request")),
    }
}

fn check_ops(branch: &[Op], answer: &TxnAnswer) -> Result<()> {
    if branch.len() != answer.ops.len() {
        return Err(Error::unexpected("not that of these operations"));
    }
    let revision = answer.revision;
    branch.iter().zip(&answer.ops).try_for_each(|asked| match asked {
        (Op::Range(range), OpAnswer::Range(found)) => check_found(range, found),
        (Op::Put(put), OpAnswer::Put(prev)) => {
            let keys = KeyRange::single(put.key.clone());
            prev.iter().try_for_each(|kv| check_key(&keys, kv, revision))
        }
        (Op::Delete(delete), OpAnswer::Delete { deleted, prev }) => {
            if (prev.len() as u64) > *deleted {
                return Err(Error::unexpected("more keys were deleted than it says"));
            }
            prev.iter().try_for_each(|kv| check_key(&delete.keys, kv, revision))
        }
        _ => Err(Error::unexpected("not that of these operations")),
    })
}

fn check_found(range: &Range, found: &Found) -> Result<()> {
    let count = found.kvs.len() as u64;
    if count > found.total || range.limit > 0 && count > range.limit.unsigned_abs() {
        return Err(Error::unexpected("more keys than there are, or were asked for"));
    }
    if found.more && found.kvs.is_empty() {
        return Err(Error::unexpected("more keys, and none of them"));
    }
    found.kvs.iter().try_for_each(|kv| check_key(&range.keys, kv, found.revision))?;
    // The next page begins after the last key.
    if range.is_in_key_order() && !found.kvs.is_sorted_by(|a, b| a.key < b.key) {
        return Err(Error::unexpected("keys out of order"));
    }
    Ok(())
}

fn check_key(keys: &KeyRange, kv: &KeyValue, revision: i64) -> Result<()> {
    if !keys.contains(&kv.key) {
        return Err(Error::unexpected("a key that was not asked for"));
    }
    let (created, changed) = (kv.create_revision, kv.mod_revision);
    if created < 1 || changed < created || revision < changed || kv.version < 1 {
        return Err(Error::unexpected("a key of an impossible revision"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Compare, Put, Target, Txn};
    use etcd_client::proto::{
        PbKeyValue, PbPutResponse, PbRangeResponse, PbResponseHeader, PbTxnResponse,
    };
    use prost::Message;

    fn answered(
        request: &Request,
        message: &impl Message,
    ) -> std::result::Result<Response, Failure> {
        let (method, _) = message::encode(request).expect("of the KV service");
        judge(request, method, Ok(message.encode_to_vec().into()))
    }

    fn header(revision: i64) -> Option<PbResponseHeader> {
        Some(PbResponseHeader { revision, ..Default::default() })
    }

    fn kv(key: &str, create_revision: i64, mod_revision: i64) -> PbKeyValue {
        let key = key.into();
        PbKeyValue { key, create_revision, mod_revision, version: 1, ..Default::default() }
    }

    /// Whether the keys can be what a prefix holds, two at most.
    fn makes_sense(revision: i64, kvs: Vec<PbKeyValue>) -> bool {
        let request = Range { limit: 2, ..Range::new(KeyRange::prefix(b"k")) }.into();
        let count = kvs.len() as i64;
        let header = header(revision);
        let answer = answered(&request, &PbRangeResponse { header, kvs, count, more: false });
        assert!(matches!(answer, Ok(_) | Err(Failure::Final(Error::Internal(_)))), "{answer:?}");
        answer.is_ok()
    }

    #[test]
    fn a_range_has_what_was_asked_for() {
        assert!(makes_sense(9, vec![]));
        assert!(makes_sense(9, vec![kv("k", 2, 2), kv("ka", 3, 9)]));
        assert!(!makes_sense(9, vec![kv("x", 2, 2)]), "another key");
        assert!(!makes_sense(9, vec![kv("ka", 2, 2), kv("k", 2, 2)]), "out of order");
        assert!(!makes_sense(9, vec![kv("k", 2, 2), kv("k", 2, 2)]), "twice");
        assert!(!makes_sense(9, vec![kv("k", 2, 2), kv("ka", 2, 2), kv("kb", 2, 2)]), "too many");
        assert!(!makes_sense(9, vec![kv("k", 2, 10)]), "of a later revision");
        assert!(!makes_sense(9, vec![kv("k", 3, 2)]), "changed before it was created");
        for revision in [0, -1, i64::MIN, i64::MAX] {
            assert!(!makes_sense(revision, vec![]), "{revision}");
        }
    }

    #[test]
    fn nobody_knows_what_a_write_did_whose_answer_makes_no_sense() {
        let put = || Put { prev: true, ..Put::new("k".into(), "v".into()) };
        let put_answer = |prev_kv| PbPutResponse { header: header(9), prev_kv };
        let request = Request::from(Txn::always(put()));
        assert!(answered(&request, &put_answer(None)).is_ok());
        assert!(answered(&request, &put_answer(Some(kv("k", 2, 2)))).is_ok());
        let failure = answered(&request, &put_answer(Some(kv("x", 2, 2))));
        assert!(matches!(failure, Err(Failure::Unknown(_))), "{failure:?}");

        let compares = vec![Compare::equal("k".into(), Target::ModRevision(0))];
        let request = Request::from(Txn { compares, ..Txn::always(put()) });
        let txn = |succeeded| PbTxnResponse { header: header(9), succeeded, responses: vec![] };
        assert!(answered(&request, &txn(false)).is_ok());
        let failure = answered(&request, &txn(true));
        assert!(matches!(failure, Err(Failure::Unknown(_))), "{failure:?}");
    }
}
