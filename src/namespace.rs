//! The option `namespace`: a prefix of all keys that the caller never sees.

use crate::backend::{Notice, Wanted, WatchSink};
use crate::request::{Op, OpAnswer, Range, Request, Response, Txn};
use crate::types::{KeyRange, KeyValue, RangeEnd};
use bytes::Bytes;
use std::sync::Arc;

pub struct Namespace(Bytes);

impl Namespace {
    pub fn new(prefix: &str) -> Self {
        Self(Bytes::copy_from_slice(prefix.as_bytes()))
    }

    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// The request as the backend is to see it.
    pub fn enter(&self, request: &mut Request) {
        if self.is_none() {
            return;
        }
        match request {
            Request::Range(Range { keys, .. }) => self.enter_range(keys),
            Request::Txn(Txn { compares, then, or_else, .. }) => {
                compares.iter_mut().for_each(|compare| self.enter_key(&mut compare.key));
                for op in then.iter_mut().chain(or_else) {
                    match op {
                        Op::Put(put) => self.enter_key(&mut put.key),
                        Op::Delete(delete) => self.enter_range(&mut delete.keys),
                        Op::Range(range) => self.enter_range(&mut range.keys),
                    }
                }
            }
            _ => {}
        }
    }

    fn enter_key(&self, key: &mut Bytes) {
        *key = [&self.0[..], key].concat().into();
    }

    fn enter_range(&self, keys: &mut KeyRange) {
        self.enter_key(&mut keys.key);
        match &mut keys.end {
            RangeEnd::Single => {}
            RangeEnd::Before(end) => self.enter_key(end),
            RangeEnd::Unbounded => keys.end = KeyRange::prefix(&self.0).end,
        }
    }

    /// The answer as the caller is to see it.
    pub fn leave(&self, response: &mut Response) {
        if self.is_none() {
            return;
        }
        let all = |kvs: &mut Vec<KeyValue>| kvs.iter_mut().for_each(|kv| self.leave_key(kv));
        match response {
            Response::Range(found) => all(&mut found.kvs),
            Response::Txn(answer) => answer.ops.iter_mut().for_each(|op| match op {
                OpAnswer::Put(prev) => prev.iter_mut().for_each(|kv| self.leave_key(kv)),
                OpAnswer::Delete { prev, .. } => all(prev),
                OpAnswer::Range(found) => all(&mut found.kvs),
            }),
            Response::Lease => {}
        }
    }

    fn leave_key(&self, kv: &mut KeyValue) {
        kv.key = kv.key.slice(self.0.len().min(kv.key.len())..);
    }

    pub fn watch(
        &self,
        mut wanted: Wanted,
        sink: Arc<dyn WatchSink>,
    ) -> (Wanted, Arc<dyn WatchSink>) {
        if self.is_none() {
            return (wanted, sink);
        }
        self.enter_range(&mut wanted.keys);
        (wanted, Arc::new(Sink { namespace: Self(self.0.clone()), sink }))
    }
}

struct Sink {
    namespace: Namespace,
    sink: Arc<dyn WatchSink>,
}

impl WatchSink for Sink {
    fn notice(&self, mut notice: Notice) -> bool {
        if let Notice::Events(events) = &mut notice {
            for event in events {
                self.namespace.leave_key(&mut event.kv);
                event.prev.iter_mut().for_each(|kv| self.namespace.leave_key(kv));
            }
        }
        self.sink.notice(notice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entered(keys: KeyRange) -> KeyRange {
        let mut request = Range::new(keys).into();
        Namespace::new("n/").enter(&mut request);
        match request {
            Request::Range(range) => range.keys,
            _ => unreachable!(),
        }
    }

    #[test]
    fn a_range_does_not_leave_the_namespace() {
        let all = entered(KeyRange::prefix(b""));
        for (key, inside) in
            [(&b"n/\0"[..], true), (b"n/\xff", true), (b"n/", false), (b"n0", false), (b"a", false)]
        {
            assert_eq!(all.contains(key), inside, "{key:?}");
        }
        assert_eq!(entered(KeyRange::single("k")), KeyRange::single("n/k"));
        let prefix = entered(KeyRange::prefix(b"\xff"));
        assert!(prefix.contains(b"n/\xff\xff") && !prefix.contains(b"n0"));
    }

    #[test]
    fn answers_come_back_without_it() {
        let kv = KeyValue { key: "n/k".into(), ..KeyValue::default() };
        let mut response =
            Response::Range(crate::request::Found { kvs: vec![kv], ..Default::default() });
        Namespace::new("n/").leave(&mut response);
        assert_eq!(response.into_range().expect("a range").kvs[0].key, "k");
    }
}
