//! What etcd keeps: keys and their revisions, changes, leases; and its answers.

use etcd_client::proto::{
    PbAlarmResponse, PbAuthenticateResponse, PbCompare, PbDeleteResponse, PbEvent, PbKeyValue,
    PbLeaseGrantResponse, PbLeaseKeepAliveResponse, PbLeaseRevokeResponse,
    PbLeaseTimeToLiveResponse, PbMemberListResponse, PbPutResponse, PbRangeResponse,
    PbResponseHeader, PbResponseOp, PbStatusResponse, PbTargetUnion, PbTxnOpRequest,
    PbTxnOpResponse, PbTxnRequest, PbTxnResponse,
};
use prost::Message;
use std::collections::BTreeMap;

pub const RANGE: &str = "/etcdserverpb.KV/Range";
pub const PUT: &str = "/etcdserverpb.KV/Put";
pub const DELETE: &str = "/etcdserverpb.KV/DeleteRange";
pub const TXN: &str = "/etcdserverpb.KV/Txn";
pub const WATCH: &str = "/etcdserverpb.Watch/Watch";
pub const GRANT: &str = "/etcdserverpb.Lease/LeaseGrant";
pub const REVOKE: &str = "/etcdserverpb.Lease/LeaseRevoke";
pub const KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";
pub const AUTHENTICATE: &str = "/etcdserverpb.Auth/Authenticate";
pub const MEMBER_LIST: &str = "/etcdserverpb.Cluster/MemberList";
pub const ALARM: &str = "/etcdserverpb.Maintenance/Alarm";
pub const STATUS: &str = "/etcdserverpb.Maintenance/Status";
pub const TIME_TO_LIVE: &str = "/etcdserverpb.Lease/LeaseTimeToLive";

const BY_CREATION: i32 = 2;
const DESCENDING: i32 = 2;
const PUT_KIND: i32 = 0;
const DELETE_KIND: i32 = 1;

pub struct World {
    kvs: BTreeMap<Vec<u8>, PbKeyValue>,
    pub revision: i64,
    pub events: Vec<PbEvent>,
    leases: BTreeMap<i64, i64>,
}

impl Default for World {
    fn default() -> Self {
        Self { kvs: BTreeMap::new(), revision: 1, events: Vec::new(), leases: BTreeMap::new() }
    }
}

impl World {
    pub fn header(&self) -> Option<PbResponseHeader> {
        Some(PbResponseHeader {
            cluster_id: 1,
            member_id: 2,
            revision: self.revision,
            raft_term: 3,
        })
    }

    /// The answer to a message, as a message.
    pub fn answer(&mut self, method: &str, message: &[u8]) -> Vec<u8> {
        let header = self.header();
        let lease = |field| number(&fields(message), field);
        match method {
            // The types of these messages have no public names.
            RANGE => self.alone(PbTxnOpRequest::RequestRange(Default::default()), message),
            PUT => self.alone(PbTxnOpRequest::RequestPut(Default::default()), message),
            DELETE => self.alone(PbTxnOpRequest::RequestDeleteRange(Default::default()), message),
            TXN => self.txn(PbTxnRequest::decode(message).expect("a transaction")).encode_to_vec(),
            GRANT => {
                let (ttl, id) = (lease(1), lease(2));
                self.leases.insert(id, ttl);
                PbLeaseGrantResponse { header, id, ttl, ..Default::default() }.encode_to_vec()
            }
            REVOKE => {
                self.end_lease(lease(1));
                PbLeaseRevokeResponse { header: self.header() }.encode_to_vec()
            }
            KEEP_ALIVE => {
                let id = lease(1);
                let ttl = self.leases.get(&id).copied().unwrap_or(0);
                PbLeaseKeepAliveResponse { header, id, ttl }.encode_to_vec()
            }
            TIME_TO_LIVE => {
                let id = lease(1);
                let ttl = self.leases.get(&id).copied().unwrap_or(-1);
                let granted_ttl = ttl.max(0);
                PbLeaseTimeToLiveResponse { header, id, ttl, granted_ttl, keys: Vec::new() }
                    .encode_to_vec()
            }
            AUTHENTICATE => {
                PbAuthenticateResponse { header, token: "token".into() }.encode_to_vec()
            }
            MEMBER_LIST => PbMemberListResponse { header, ..Default::default() }.encode_to_vec(),
            ALARM => PbAlarmResponse { header, alarms: Vec::new() }.encode_to_vec(),
            STATUS => {
                let version = "3.5.0".into();
                PbStatusResponse { header, version, leader: 2, ..Default::default() }
                    .encode_to_vec()
            }
            other => panic!("not a method of this server: {other}"),
        }
    }

    fn alone(&mut self, mut request: PbTxnOpRequest, message: &[u8]) -> Vec<u8> {
        let read = match &mut request {
            PbTxnOpRequest::RequestRange(range) => range.merge(message),
            PbTxnOpRequest::RequestPut(put) => put.merge(message),
            PbTxnOpRequest::RequestDeleteRange(delete) => delete.merge(message),
            PbTxnOpRequest::RequestTxn(txn) => txn.merge(message),
        };
        read.expect("a request");
        let revision = self.revision + 1;
        let answer = self.operation(request, revision);
        let header = self.header();
        match answer {
            PbTxnOpResponse::ResponseRange(it) => PbRangeResponse { header, ..it }.encode_to_vec(),
            PbTxnOpResponse::ResponsePut(it) => PbPutResponse { header, ..it }.encode_to_vec(),
            PbTxnOpResponse::ResponseDeleteRange(it) => {
                PbDeleteResponse { header, ..it }.encode_to_vec()
            }
            PbTxnOpResponse::ResponseTxn(it) => it.encode_to_vec(),
        }
    }

    fn txn(&mut self, txn: PbTxnRequest) -> PbTxnResponse {
        let succeeded = txn.compare.iter().all(|compare| self.holds(compare));
        let branch = if succeeded { txn.success } else { txn.failure };
        let revision = self.revision + 1;
        let requests = branch.into_iter().filter_map(|op| op.request);
        let responses = requests
            .map(|request| PbResponseOp { response: Some(self.operation(request, revision)) })
            .collect();
        PbTxnResponse { header: self.header(), succeeded, responses }
    }

    fn holds(&self, compare: &PbCompare) -> bool {
        let kv = self.kvs.get(&compare.key);
        let of = |what: fn(&PbKeyValue) -> i64| kv.map_or(0, what);
        let order = match compare.target_union.as_ref().expect("a target") {
            PbTargetUnion::Version(number) => of(|kv| kv.version).cmp(number),
            PbTargetUnion::CreateRevision(number) => of(|kv| kv.create_revision).cmp(number),
            PbTargetUnion::ModRevision(number) => of(|kv| kv.mod_revision).cmp(number),
            PbTargetUnion::Lease(number) => of(|kv| kv.lease).cmp(number),
            PbTargetUnion::Value(value) => match kv {
                Some(kv) => kv.value.cmp(value),
                None => return false,
            },
        };
        match compare.result {
            0 => order.is_eq(),
            1 => order.is_gt(),
            2 => order.is_lt(),
            _ => order.is_ne(),
        }
    }

    fn operation(&mut self, request: PbTxnOpRequest, revision: i64) -> PbTxnOpResponse {
        match request {
            PbTxnOpRequest::RequestRange(range) => {
                let in_range = self.keys(&range.key, &range.range_end);
                let count = in_range.len() as i64;
                let limit = if range.limit > 0 { range.limit as usize } else { usize::MAX };
                let most = match range.max_create_revision {
                    0 => i64::MAX,
                    most => most,
                };
                let found = in_range.iter().map(|key| self.kvs[key].clone());
                let mut found: Vec<_> = found.filter(|kv| kv.create_revision <= most).collect();
                match (range.sort_target, range.sort_order) {
                    (BY_CREATION, DESCENDING) => {
                        found.sort_by_key(|kv| -kv.create_revision);
                    }
                    (BY_CREATION, _) => found.sort_by_key(|kv| kv.create_revision),
                    _ => {}
                }
                let mut kvs: Vec<_> = found.iter().take(limit).cloned().collect();
                if range.keys_only {
                    kvs.iter_mut().for_each(|kv| kv.value.clear());
                }
                let more = kvs.len() < found.len();
                PbTxnOpResponse::ResponseRange(PbRangeResponse { header: None, kvs, more, count })
            }
            PbTxnOpRequest::RequestPut(put) => {
                self.revision = revision;
                let former = self.kvs.get(&put.key).cloned();
                let kv = PbKeyValue {
                    create_revision: former.as_ref().map_or(revision, |kv| kv.create_revision),
                    version: former.as_ref().map_or(0, |kv| kv.version) + 1,
                    mod_revision: revision,
                    key: put.key.clone(),
                    value: put.value,
                    lease: put.lease,
                };
                self.note(PUT_KIND, kv.clone());
                self.kvs.insert(put.key, kv);
                let prev_kv = former.filter(|_| put.prev_kv);
                PbTxnOpResponse::ResponsePut(PbPutResponse { header: None, prev_kv })
            }
            PbTxnOpRequest::RequestDeleteRange(delete) => {
                let gone = self.keys(&delete.key, &delete.range_end);
                let former = self.remove(&gone, revision);
                let deleted = former.len() as i64;
                let prev_kvs = if delete.prev_kv { former } else { Vec::new() };
                let answer = PbDeleteResponse { header: None, deleted, prev_kvs };
                PbTxnOpResponse::ResponseDeleteRange(answer)
            }
            PbTxnOpRequest::RequestTxn(txn) => PbTxnOpResponse::ResponseTxn(self.txn(txn)),
        }
    }

    fn keys(&self, key: &[u8], end: &[u8]) -> Vec<Vec<u8>> {
        self.kvs.keys().filter(|it| is_in(it, key, end)).cloned().collect()
    }

    fn remove(&mut self, keys: &[Vec<u8>], revision: i64) -> Vec<PbKeyValue> {
        let former: Vec<_> = keys.iter().filter_map(|key| self.kvs.remove(key)).collect();
        for kv in &former {
            self.revision = revision;
            let gone =
                PbKeyValue { key: kv.key.clone(), mod_revision: revision, ..Default::default() };
            self.note(DELETE_KIND, gone);
        }
        former
    }

    fn end_lease(&mut self, lease: i64) {
        self.leases.remove(&lease);
        let its = self.kvs.values().filter(|kv| kv.lease == lease && lease != 0);
        let keys: Vec<_> = its.map(|kv| kv.key.clone()).collect();
        self.remove(&keys, self.revision + 1);
    }

    fn note(&mut self, kind: i32, kv: PbKeyValue) {
        self.events.push(PbEvent { r#type: kind, kv: Some(kv), prev_kv: None });
    }
}

pub fn is_in(it: &[u8], key: &[u8], end: &[u8]) -> bool {
    match end {
        b"" => it == key,
        b"\0" => it >= key,
        end => it >= key && it < end,
    }
}

/// The fields of a message whose type has no public name.
pub fn fields(mut message: &[u8]) -> Vec<(u64, Field)> {
    fn varint(message: &mut &[u8]) -> u64 {
        let (mut value, mut shift) = (0, 0);
        while let Some((byte, rest)) = message.split_first() {
            *message = rest;
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        value
    }
    let mut all = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message);
        let value = varint(&mut message);
        all.push(match tag & 7 {
            0 => (tag >> 3, Field::Number(value as i64)),
            2 => {
                let (bytes, rest) = message.split_at(value as usize);
                message = rest;
                (tag >> 3, Field::Bytes(bytes.to_vec()))
            }
            other => panic!("a field of wire type {other}"),
        });
    }
    all
}

#[derive(Clone, Debug)]
pub enum Field {
    Number(i64),
    Bytes(Vec<u8>),
}

pub fn number(fields: &[(u64, Field)], wanted: u64) -> i64 {
    let mut all = fields.iter().filter(|(field, _)| *field == wanted);
    match all.next() {
        Some((_, Field::Number(number))) => *number,
        _ => 0,
    }
}

pub fn bytes(fields: &[(u64, Field)], wanted: u64) -> Option<Vec<u8>> {
    let mut all = fields.iter().filter(|(field, _)| *field == wanted);
    match all.next() {
        Some((_, Field::Bytes(bytes))) => Some(bytes.clone()),
        _ => None,
    }
}
