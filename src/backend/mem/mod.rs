//! `mem:`, a store inside this process with etcd's semantics.

mod history;
mod leases;
mod line;
mod session;
mod watches;

use super::{answer_to, Backend, Completion, Flight, Wanted, WatchSink, WatchToken};
use crate::cluster::{Cluster, Member, Report};
use crate::error::Result;
use crate::fault::Fault;
use crate::request::{Delete, Op, OpAnswer, Put, Range, Request, Response, Txn, TxnAnswer};
use crate::state::{self, StateEvents};
use crate::sync::Lock;
use crate::sys::ForkLocal;
use crate::timer::Timer;
use crate::types::{Event, KeyRange, KeyValue};
use history::History;
use leases::Leases;
use line::Line;
use session::Session;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Instant;
use watches::Watches;

/// One named store, shared by all its handles.
#[derive(Default)]
struct Mem {
    state: RwLock<State>,
}

/// The stores of this process by name. They live as long as it does.
static NAMED: ForkLocal<Mutex<HashMap<String, Arc<Mem>>>> = ForkLocal::new();

impl Mem {
    fn named(name: String) -> Arc<Self> {
        NAMED.get().hold().entry(name).or_default().clone()
    }
}

#[derive(Default)]
struct State {
    history: History,
    leases: Leases,
    watches: Watches,
}

/// One handle's way to a store.
pub struct MemBackend {
    line: Arc<Line>,
}

impl MemBackend {
    pub fn new(name: String, timer: Arc<Timer>, state: Arc<StateEvents>) -> Self {
        let endpoint = format!("mem:{name}");
        state.tell(state::State::Connected, endpoint.clone());
        let session = Session::new(Mem::named(name), timer);
        Self { line: Line::new(session, endpoint, state) }
    }
}

impl Backend for MemBackend {
    fn submit(
        &self,
        request: Request,
        deadline: Instant,
        done: Completion,
    ) -> Option<Box<dyn Flight>> {
        if self.line.is_faulty() {
            return self.line.submit(request, deadline, done);
        }
        done.complete(self.line.session.execute(&request));
        None
    }

    fn call(&self, request: Request, deadline: Instant) -> Result<Response> {
        if self.line.is_faulty() {
            return answer_to(|done| drop(self.line.submit(request, deadline, done)));
        }
        self.line.session.execute(&request)
    }

    fn watch(&self, wanted: Wanted, sink: Arc<dyn WatchSink>) -> WatchToken {
        self.line.session.watch(wanted, sink)
    }

    fn era(&self) -> u64 {
        0
    }

    /// Values are shared with the answer, not copied.
    fn wants_pages(&self) -> bool {
        false
    }

    fn abort(&self) {
        self.line.abort();
    }

    fn close(&self) {
        self.line.close();
    }

    fn cluster(&self, deadline: Instant) -> Result<Cluster> {
        let all = Range::new(KeyRange::prefix(b""));
        let found = self.call(all.into(), deadline)?.into_range()?;
        let size = |kv: &KeyValue| kv.key.len() + kv.value.len();
        let bytes = found.kvs.iter().map(size).sum::<usize>() as i64;
        let report = Report {
            endpoint: self.line.endpoint.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            db_size: bytes,
            db_size_in_use: bytes,
            revision: found.revision,
            ..Report::default()
        };
        let name = report.endpoint.clone();
        let member = Member { name, report: Ok(report), ..Member::default() };
        Ok(Cluster { id: 0, leader: Some(member.id), members: vec![member] })
    }

    fn fault(&self, fault: Fault) -> Result<()> {
        match fault {
            Fault::Expire => self.line.session.expire(),
            Fault::Compact => self.line.session.compact(),
            Fault::Cut(time) => self.line.cut(time),
            Fault::Delay(time) => self.line.delay(time),
            Fault::Indeterminate(fate) => self.line.lose_answer(fate),
        }
        Ok(())
    }
}

impl State {
    fn txn(&mut self, txn: &Txn) -> Result<TxnAnswer> {
        let succeeded =
            txn.compares.iter().all(|compare| compare.holds(self.history.newest(&compare.key)));
        let ops = if succeeded { &txn.then } else { &txn.or_else };
        // As etcd: first all leases, then all revisions.
        for op in ops {
            if let Op::Put(Put { lease: lease @ 1.., .. }) = op {
                self.leases.check(*lease)?;
            }
        }
        for op in ops {
            if let Op::Range(range) = op {
                self.history.check_revision(range.revision)?;
            }
        }
        let revision = self.history.revision() + 1;
        let mut events = Vec::with_capacity(ops.len());
        let mut answers = Vec::with_capacity(ops.len());
        for op in ops {
            answers.push(match op {
                Op::Put(put) => {
                    let event = self.put(put, revision);
                    let prev = event.prev.clone().filter(|_| put.prev);
                    events.push(event);
                    OpAnswer::Put(prev)
                }
                Op::Delete(Delete { keys, prev }) => {
                    let found = self.history.live(keys);
                    let deleted = found.len() as u64;
                    events.extend(found.iter().cloned().map(|kv| self.delete(kv, revision)));
                    OpAnswer::Delete { deleted, prev: if *prev { found } else { Vec::new() } }
                }
                Op::Range(range) => OpAnswer::Range(self.history.range(range)?),
            });
        }
        self.publish(revision, events);
        let revision = self.history.revision();
        Ok(TxnAnswer { succeeded, revision, ops: answers })
    }

    fn put(&mut self, put: &Put, revision: i64) -> Event {
        let Put { key, value, lease, .. } = put.clone();
        let prev = self.history.newest(&key).cloned();
        let (create_revision, version, former_lease) =
            prev.as_ref().map_or((revision, 0, 0), |kv| (kv.create_revision, kv.version, kv.lease));
        self.leases.detach(former_lease, &key);
        self.leases.attach(lease, &key);
        let version = version + 1;
        let kv = KeyValue { key, value, create_revision, mod_revision: revision, version, lease };
        self.history.put(kv.clone());
        Event::put(kv, prev)
    }

    fn delete(&mut self, kv: KeyValue, revision: i64) -> Event {
        self.leases.detach(kv.lease, &kv.key);
        self.history.delete(kv.key.clone(), revision);
        Event::delete(kv.key.clone(), revision, Some(kv))
    }

    fn revoke(&mut self, lease: i64) {
        let revision = self.history.revision() + 1;
        let keys = self.leases.end(lease);
        let live = keys.iter().filter_map(|key| self.history.newest(key).cloned());
        let live: Vec<KeyValue> = live.collect();
        let events = live.into_iter().map(|kv| self.delete(kv, revision)).collect();
        self.publish(revision, events);
    }

    /// Makes the changes of one revision known. No events, no new revision.
    fn publish(&mut self, revision: i64, events: Vec<Event>) {
        if !events.is_empty() {
            self.watches.publish(revision, &events);
            self.history.commit(revision, events);
        }
    }
}

#[cfg(test)]
mod tests;
