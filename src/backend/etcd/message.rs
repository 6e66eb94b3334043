//! Requests as the messages of etcd's KV service, and its answers as ours. What a
//! server sends is not trusted.

use super::convert::{end, found, key_value, revision};
use super::transport::PREFIX;
use crate::error::{Error, Result};
use crate::request::{Compare, Comparison, Delete, Op, OpAnswer, Put, Range, Request, Response};
use crate::request::{Sort, Target, Txn, TxnAnswer};
use bytes::{BufMut, Bytes, BytesMut};
use etcd_client::proto::{
    PbAuthenticateResponse, PbCompare, PbDeleteResponse, PbPutResponse, PbRangeResponse,
    PbTargetUnion, PbTxnOpRequest, PbTxnOpResponse, PbTxnRequest, PbTxnRequestOp, PbTxnResponse,
};
use prost::encoding::{encode_key, encode_varint, WireType};
use prost::Message;

/// The methods of etcd's KV service.
#[derive(Clone, Copy)]
pub enum Method {
    Range,
    /// A range that the member answers alone, with or without a leader.
    LocalRange,
    Put,
    DeleteRange,
    Txn,
}

impl Method {
    pub fn path(self) -> &'static str {
        match self {
            Self::Range | Self::LocalRange => "/etcdserverpb.KV/Range",
            Self::Put => "/etcdserverpb.KV/Put",
            Self::DeleteRange => "/etcdserverpb.KV/DeleteRange",
            Self::Txn => "/etcdserverpb.KV/Txn",
        }
    }

    pub fn requires_leader(self) -> bool {
        !matches!(self, Self::LocalRange)
    }
}

/// The method and the message of a request; None for those of other services.
pub fn encode(request: &Request) -> Option<(Method, Bytes)> {
    let op = match request {
        Request::Range(range) => range_op(range),
        // A single unconditional write has a method of its own, smaller and cheaper.
        Request::Txn(txn) => match txn.single() {
            Some(op) => op_request(op),
            None => PbTxnOpRequest::RequestTxn(txn_request(txn)),
        },
        _ => return None,
    };
    Some(match op {
        PbTxnOpRequest::RequestRange(message) => {
            let method = if message.serializable { Method::LocalRange } else { Method::Range };
            (method, framed(&message))
        }
        PbTxnOpRequest::RequestPut(message) => (Method::Put, framed(&message)),
        PbTxnOpRequest::RequestDeleteRange(message) => (Method::DeleteRange, framed(&message)),
        PbTxnOpRequest::RequestTxn(message) => (Method::Txn, framed(&message)),
    })
}

fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(PREFIX + length);
    bytes.put_u8(0);
    bytes.put_u32(length as u32);
    let _ = message.encode(&mut bytes); // the buffer grows: it cannot fail
    bytes.freeze()
}

fn op_request(op: &Op) -> PbTxnOpRequest {
    match op {
        Op::Range(range) => range_op(range),
        Op::Put(put) => put_op(put),
        Op::Delete(delete) => delete_op(delete),
    }
}

// The types of the messages have no public names; that of the operation has.

fn range_op(range: &Range) -> PbTxnOpRequest {
    const ASCEND: i32 = 1;
    const DESCEND: i32 = 2;
    let mut op = PbTxnOpRequest::RequestRange(Default::default());
    if let PbTxnOpRequest::RequestRange(message) = &mut op {
        message.key = range.keys.key.to_vec();
        message.range_end = end(&range.keys).unwrap_or_default();
        message.limit = range.limit;
        message.revision = range.revision;
        message.keys_only = range.keys_only;
        message.count_only = range.count_only;
        message.serializable = range.serializable;
        message.min_mod_revision = range.filter.min_mod;
        message.max_mod_revision = range.filter.max_mod;
        message.min_create_revision = range.filter.min_create;
        message.max_create_revision = range.filter.max_create;
        // Without an order the server need not read everything.
        if !range.is_in_key_order() {
            message.sort_order = if range.descending { DESCEND } else { ASCEND };
            message.sort_target = match range.sort {
                Sort::Key => 0,
                Sort::Version => 1,
                Sort::Create => 2,
                Sort::Mod => 3,
                Sort::Value => 4,
            };
        }
    }
    op
}

fn put_op(put: &Put) -> PbTxnOpRequest {
    let mut op = PbTxnOpRequest::RequestPut(Default::default());
    if let PbTxnOpRequest::RequestPut(message) = &mut op {
        message.key = put.key.to_vec();
        message.value = put.value.to_vec();
        message.lease = put.lease;
        message.prev_kv = put.prev;
    }
    op
}

fn delete_op(delete: &Delete) -> PbTxnOpRequest {
    let mut op = PbTxnOpRequest::RequestDeleteRange(Default::default());
    if let PbTxnOpRequest::RequestDeleteRange(message) = &mut op {
        message.key = delete.keys.key.to_vec();
        message.range_end = end(&delete.keys).unwrap_or_default();
        message.prev_kv = delete.prev;
    }
    op
}

fn txn_request(txn: &Txn) -> PbTxnRequest {
    let ops = |ops: &[Op]| {
        ops.iter().map(|op| PbTxnRequestOp { request: Some(op_request(op)) }).collect()
    };
    PbTxnRequest {
        compare: txn.compares.iter().map(compare).collect(),
        success: ops(&txn.then),
        failure: ops(&txn.or_else),
    }
}

fn compare(compare: &Compare) -> PbCompare {
    let (target, union) = match &compare.target {
        Target::Version(version) => (0, PbTargetUnion::Version(*version)),
        Target::CreateRevision(revision) => (1, PbTargetUnion::CreateRevision(*revision)),
        Target::ModRevision(revision) => (2, PbTargetUnion::ModRevision(*revision)),
        Target::Value(value) => (3, PbTargetUnion::Value(value.to_vec())),
        Target::Lease(lease) => (4, PbTargetUnion::Lease(*lease)),
    };
    let result = match compare.comparison {
        Comparison::Equal => 0,
        Comparison::Greater => 1,
        Comparison::Less => 2,
        Comparison::NotEqual => 3,
    };
    PbCompare {
        result,
        target,
        key: compare.key.to_vec(),
        range_end: Vec::new(),
        target_union: Some(union),
    }
}

/// What asks for a token. Its type has no public name.
pub fn encoded_login(user: &str, password: &str) -> Bytes {
    let mut message = BytesMut::new();
    for (tag, text) in [(1, user), (2, password)] {
        encode_key(tag, WireType::LengthDelimited, &mut message);
        encode_varint(text.len() as u64, &mut message);
        message.put_slice(text.as_bytes());
    }
    let mut bytes = BytesMut::with_capacity(PREFIX + message.len());
    bytes.put_u8(0);
    bytes.put_u32(message.len() as u32);
    bytes.put_slice(&message);
    bytes.freeze()
}

/// Of the answer to that.
pub fn token(message: Bytes) -> Result<String> {
    let wrong = |e: prost::DecodeError| Error::unexpected(&e.to_string());
    PbAuthenticateResponse::decode(message).map(|answer| answer.token).map_err(wrong)
}

/// Of the answer to a range: the cluster's id and its revision.
pub fn header(message: Bytes) -> Result<(u64, i64)> {
    let answer = PbRangeResponse::decode(message).map_err(|e| Error::unexpected(&e.to_string()))?;
    let revision = revision(answer.header.as_ref())?;
    Ok((answer.header.unwrap_or_default().cluster_id, revision))
}

pub fn decode(method: Method, message: Bytes) -> Result<Response> {
    let wrong = |e: prost::DecodeError| Error::unexpected(&e.to_string());
    let written = |header: Option<&_>, answer| {
        let revision = revision(header)?;
        Ok(Response::Txn(TxnAnswer { succeeded: true, revision, ops: vec![answer] }))
    };
    match method {
        Method::Range | Method::LocalRange => {
            let answer = PbRangeResponse::decode(message).map_err(wrong)?;
            let revision = revision(answer.header.as_ref())?;
            Ok(Response::Range(found(answer, revision)))
        }
        Method::Put => {
            let mut answer = PbPutResponse::decode(message).map_err(wrong)?;
            let header = answer.header.take();
            written(header.as_ref(), put_answer(answer))
        }
        Method::DeleteRange => {
            let mut answer = PbDeleteResponse::decode(message).map_err(wrong)?;
            let header = answer.header.take();
            written(header.as_ref(), delete_answer(answer))
        }
        Method::Txn => {
            let answer = PbTxnResponse::decode(message).map_err(wrong)?;
            let revision = revision(answer.header.as_ref())?;
            let ops = answer.responses.into_iter().map(|op| match op.response {
                Some(PbTxnOpResponse::ResponsePut(put)) => Ok(put_answer(put)),
                Some(PbTxnOpResponse::ResponseDeleteRange(delete)) => Ok(delete_answer(delete)),
                Some(PbTxnOpResponse::ResponseRange(range)) => {
                    Ok(OpAnswer::Range(found(range, revision)))
                }
                _ => Err(Error::unexpected("of an operation that was not asked for")),
            });
            let ops = ops.collect::<Result<_>>()?;
            Ok(Response::Txn(TxnAnswer { succeeded: answer.succeeded, revision, ops }))
        }
    }
}

fn put_answer(answer: PbPutResponse) -> OpAnswer {
    OpAnswer::Put(answer.prev_kv.map(key_value))
}

fn delete_answer(answer: PbDeleteResponse) -> OpAnswer {
    let prev = answer.prev_kvs.into_iter().map(key_value).collect();
    OpAnswer::Delete { deleted: answer.deleted.unsigned_abs(), prev }
}
