//! `mem:`, a store inside this process with etcd's semantics.

mod history;
mod leases;
mod watches;

use super::{Backend, Completion, Flight, Wanted, WatchSink, WatchToken};
use crate::error::{Error, Result};
use crate::request::{Delete, Op, OpAnswer, Put, Request, Response, Txn, TxnAnswer};
use crate::sync::{Lock, SharedLock};
use crate::sys::ForkLocal;
use crate::timer::Timer;
use crate::types::{Event, KeyValue};
use history::History;
use leases::Leases;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};
use watches::Watches;

/// One named store, shared by all its handles.
#[derive(Default)]
pub struct Mem {
    state: RwLock<State>,
}

/// The stores of this process by name. They live as long as it does.
static NAMED: ForkLocal<Mutex<HashMap<String, Arc<Mem>>>> = ForkLocal::new();

impl Mem {
    pub fn named(name: String) -> Arc<Self> {
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
    mem: Arc<Mem>,
    timer: Arc<Timer>,
    /// The leases that this handle made.
    own_leases: Mutex<HashSet<i64>>,
}

impl MemBackend {
    pub fn new(mem: Arc<Mem>, timer: Arc<Timer>) -> Self {
        // Leases that outlived the timer of former stores end by this one.
        arm(&mem, &timer);
        Self { mem, timer, own_leases: Mutex::default() }
    }

    fn execute(&self, request: &Request) -> Result<Response> {
        match request {
            Request::Range(range) => {
                self.mem.state.reading().history.range(range).map(Response::Range)
            }
            Request::Txn(txn) => self.mem.state.writing().txn(txn).map(Response::Txn),
            Request::Grant { lease, ttl_s } => {
                let ttl = Duration::from_secs(ttl_s.unsigned_abs());
                self.mem.state.writing().leases.grant(*lease, ttl);
                self.own_leases.hold().insert(*lease);
                arm(&self.mem, &self.timer);
                Ok(Response::Lease)
            }
            Request::Renew { lease } => self.mem.state.writing().leases.renew(*lease),
            Request::TimeToLive { lease } => self.mem.state.reading().leases.check(*lease),
            Request::Revoke { lease } => {
                self.mem.state.writing().revoke(*lease);
                self.own_leases.hold().remove(lease);
                Ok(Response::Lease)
            }
        }
    }
}

impl Backend for MemBackend {
    fn submit(
        &self,
        request: Request,
        _deadline: Instant,
        done: Completion,
    ) -> Option<Box<dyn Flight>> {
        done.complete(self.execute(&request));
        None
    }

    fn call(&self, request: Request, _deadline: Instant) -> Result<Response> {
        self.execute(&request)
    }

    fn watch(&self, wanted: Wanted, sink: Arc<dyn WatchSink>) -> WatchToken {
        let state = &mut *self.mem.state.writing();
        let id = state.watches.add(wanted, sink, &state.history);
        let mem = self.mem.clone();
        WatchToken::new(move || {
            let removed = mem.state.writing().watches.remove(id);
            drop(removed);
        })
    }

    fn era(&self) -> u64 {
        0
    }

    /// Values are shared with the answer, not copied.
    fn wants_pages(&self) -> bool {
        false
    }

    fn abort(&self) {}

    fn close(&self) {}

    fn fault(&self, spec: &str) -> Result<()> {
        match spec {
            "expire" => {
                let leases = std::mem::take(&mut *self.own_leases.hold());
                let mut state = self.mem.state.writing();
                for lease in leases {
                    state.revoke(lease);
                }
                Ok(())
            }
            "compact" => {
                self.mem.state.writing().history.compact();
                Ok(())
            }
            "cut" | "delay" | "indeterminate" => {
                Err(Error::Unsupported(format!("fault \"{spec}\" is not built yet")))
            }
            _ => Err(Error::Invalid(format!("unknown fault \"{spec}\""))),
        }
    }
}

/// Has the timer end the leases that it does not know yet.
fn arm(mem: &Arc<Mem>, timer: &Arc<Timer>) {
    let leases = mem.state.writing().leases.adopt(timer);
    for (lease, ends) in leases {
        expire_at(mem, timer, lease, ends);
    }
}

/// Ends a lease when its time is over, however often that was put off.
fn expire_at(mem: &Arc<Mem>, timer: &Arc<Timer>, lease: i64, when: Instant) {
    let (mem, again) = (Arc::downgrade(mem), Arc::downgrade(timer));
    timer.at(when, move || {
        let (Some(mem), Some(timer)) = (mem.upgrade(), again.upgrade()) else { return };
        let mut state = mem.state.writing();
        match state.leases.ends(lease) {
            Some(ends) if ends > Instant::now() => {
                drop(state);
                expire_at(&mem, &timer, lease, ends);
            }
            Some(_) => state.revoke(lease),
            None => {}
        }
    });
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
