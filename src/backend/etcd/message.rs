//! Requests as the messages of etcd's KV service, and its answers as ours. What a
//! server sends is not trusted.

use super::convert::{end, found, revision};
use super::transport::PREFIX;
use crate::error::{Error, Result};
use crate::request::{Compare, Comparison, Op, Order, Range, Request, Response, Target};
use crate::request::{Txn, TxnAnswer};
use crate::types::KeyRange;
use bytes::{BufMut, Bytes, BytesMut};
use etcd_client::proto::{
    PbCompare, PbDeleteResponse, PbPutResponse, PbRangeResponse, PbTargetUnion, PbTxnOpRequest,
    PbTxnOpResponse, PbTxnRequest, PbTxnRequestOp, PbTxnResponse,
};
use prost::Message;

/// The methods of etcd's KV service.
#[derive(Clone, Copy)]
pub enum Method {
    Range,
    Put,
    DeleteRange,
    Txn,
}

impl Method {
    pub fn path(self) -> &'static str {
        match self {
            Self::Range => "/etcdserverpb.KV/Range",
            Self::Put => "/etcdserverpb.KV/Put",
            Self::DeleteRange => "/etcdserverpb.KV/DeleteRange",
            Self::Txn => "/etcdserverpb.KV/Txn",
        }
    }
}

/// The method and the message of a request; None for those of other services.
pub fn encode(request: &Request) -> Option<(Method, Bytes)> {
    let op = match request {
        Request::Range(range) => range_op(range),
        Request::Txn(txn) => match single(txn) {
            Some(op) => op_request(op),
            None => PbTxnOpRequest::RequestTxn(txn_request(txn)),
        },
        _ => return None,
    };
    Some(match op {
        PbTxnOpRequest::RequestRange(message) => (Method::Range, framed(&message)),
        PbTxnOpRequest::RequestPut(message) => (Method::Put, framed(&message)),
        PbTxnOpRequest::RequestDeleteRange(message) => (Method::DeleteRange, framed(&message)),
        PbTxnOpRequest::RequestTxn(message) => (Method::Txn, framed(&message)),
    })
}

/// A single unconditional write has a method of its own, smaller and cheaper.
fn single(txn: &Txn) -> Option<&Op> {
    match (&txn.compares[..], &txn.then[..]) {
        ([], [op @ (Op::Put { .. } | Op::Delete(_))]) => Some(op),
        _ => None,
    }
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
        Op::Put { key, value, lease } => {
            let mut op = PbTxnOpRequest::RequestPut(Default::default());
            if let PbTxnOpRequest::RequestPut(put) = &mut op {
                put.key = key.to_vec();
                put.value = value.to_vec();
                put.lease = *lease;
            }
            op
        }
        Op::Delete(keys) => delete_op(keys),
    }
}

// The types of the messages have no public names; that of the operation has.

fn range_op(range: &Range) -> PbTxnOpRequest {
    const CREATE: i32 = 2;
    const DESCEND: i32 = 2;
    let mut op = PbTxnOpRequest::RequestRange(Default::default());
    if let PbTxnOpRequest::RequestRange(message) = &mut op {
        message.key = range.keys.key.to_vec();
        message.range_end = end(&range.keys).unwrap_or_default();
        message.limit = range.limit;
        message.revision = range.revision;
        message.keys_only = range.keys_only;
        message.max_create_revision = range.max_create_revision;
        if range.order == Order::CreateDescending {
            message.sort_target = CREATE;
            message.sort_order = DESCEND;
        }
    }
    op
}

fn delete_op(keys: &KeyRange) -> PbTxnOpRequest {
    let mut op = PbTxnOpRequest::RequestDeleteRange(Default::default());
    if let PbTxnOpRequest::RequestDeleteRange(message) = &mut op {
        message.key = keys.key.to_vec();
        message.range_end = end(keys).unwrap_or_default();
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
        Target::CreateRevision(revision) => (1, PbTargetUnion::CreateRevision(*revision)),
        Target::ModRevision(revision) => (2, PbTargetUnion::ModRevision(*revision)),
        Target::Value(value) => (3, PbTargetUnion::Value(value.to_vec())),
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

pub fn decode(method: Method, message: Bytes) -> Result<Response> {
    let wrong = |e: prost::DecodeError| Error::unexpected(&e.to_string());
    let written = |header: Option<&_>| {
        let revision = revision(header)?;
        Ok(Response::Txn(TxnAnswer { succeeded: true, revision, ranges: Vec::new() }))
    };
    match method {
        Method::Range => {
            let answer = PbRangeResponse::decode(message).map_err(wrong)?;
            let revision = revision(answer.header.as_ref())?;
            Ok(Response::Range(found(answer, revision)))
        }
        Method::Put => written(PbPutResponse::decode(message).map_err(wrong)?.header.as_ref()),
        Method::DeleteRange => {
            written(PbDeleteResponse::decode(message).map_err(wrong)?.header.as_ref())
        }
        Method::Txn => {
            let answer = PbTxnResponse::decode(message).map_err(wrong)?;
            let revision = revision(answer.header.as_ref())?;
            let ranges = answer.responses.into_iter().filter_map(|op| match op.response {
                Some(PbTxnOpResponse::ResponseRange(range)) => Some(found(range, revision)),
                _ => None,
            });
            let ranges = ranges.collect();
            Ok(Response::Txn(TxnAnswer { succeeded: answer.succeeded, revision, ranges }))
        }
    }
}
