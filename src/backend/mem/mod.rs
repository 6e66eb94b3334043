//! `mem:`, a store inside this process with etcd's semantics.

mod history;
mod leases;
mod watches;

use super::{Backend, Completion, WatchSink, WatchToken};
use crate::error::{Error, Result};
use crate::request::{Op, Request, Response, Target, Txn, TxnAnswer};
use crate::sync::{Lock, SharedLock};
use crate::sys::ForkLocal;
use crate::timer::Timer;
use crate::types::{Event, KeyRange, KeyValue};
use bytes::Bytes;
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
    fn submit(&self, request: Request, _deadline: Instant, done: Completion) {
        done.complete(self.execute(&request));
    }

    fn call(&self, request: Request, _deadline: Instant) -> Result<Response> {
        self.execute(&request)
    }

    fn watch(&self, keys: KeyRange, start: i64, sink: Arc<dyn WatchSink>) -> WatchToken {
        let state = &mut *self.mem.state.writing();
        let id = state.watches.add(keys, start, sink, &state.history);
        let mem = self.mem.clone();
        WatchToken::new(move || {
            let removed = mem.state.writing().watches.remove(id);
            drop(removed);
        })
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
            "cut" | "compact" | "delay" | "indeterminate" => {
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
        let succeeded = txn.compares.iter().all(|compare| {
            let kv = self.history.newest(&compare.key);
            match &compare.target {
                Target::Value(given) => {
                    kv.is_some_and(|kv| compare.comparison.holds(&kv.value[..], &given[..]))
                }
                Target::CreateRevision(given) => {
                    compare.comparison.holds(&kv.map_or(0, |kv| kv.create_revision), given)
                }
                Target::ModRevision(given) => {
                    compare.comparison.holds(&kv.map_or(0, |kv| kv.mod_revision), given)
                }
            }
        });
        let ops = if succeeded { &txn.then } else { &txn.or_else };
        for op in ops {
            match op {
                Op::Put { lease, .. } if *lease != 0 => drop(self.leases.check(*lease)?),
                Op::Range(range) => self.history.check_revision(range.revision)?,
                _ => {}
            }
        }
        let revision = self.history.revision() + 1;
        let mut events = Vec::with_capacity(ops.len());
        let mut ranges = Vec::new();
        for op in ops {
            match op {
                Op::Put { key, value, lease } => {
                    events.push(self.put(key.clone(), value.clone(), *lease, revision));
                }
                Op::Delete(keys) => {
                    for key in self.history.live_keys(keys) {
                        events.push(self.delete(key, revision));
                    }
                }
                Op::Range(range) => ranges.push(self.history.range(range)?),
            }
        }
        self.publish(revision, events);
        let revision = self.history.revision();
        for found in &mut ranges {
            found.revision = revision;
        }
        Ok(TxnAnswer { succeeded, revision, ranges })
    }

    fn put(&mut self, key: Bytes, value: Bytes, lease: i64, revision: i64) -> Event {
        let before = self.history.newest(&key);
        let (created, version, former_lease) =
            before.map_or((revision, 0, 0), |kv| (kv.create_revision, kv.version, kv.lease));
        self.leases.detach(former_lease, &key);
        self.leases.attach(lease, &key);
        let kv = KeyValue {
            key,
            value,
            create_revision: created,
            mod_revision: revision,
            version: version + 1,
            lease,
        };
        self.history.put(kv.clone());
        Event::put(kv)
    }

    fn delete(&mut self, key: Bytes, revision: i64) -> Event {
        let lease = self.history.newest(&key).map_or(0, |kv| kv.lease);
        self.leases.detach(lease, &key);
        self.history.delete(key.clone(), revision);
        Event::delete(key, revision)
    }

    fn revoke(&mut self, lease: i64) {
        let revision = self.history.revision() + 1;
        let keys = self.leases.end(lease);
        let events = keys.into_iter().map(|key| self.delete(key, revision)).collect();
        self.publish(revision, events);
    }

    /// Makes the changes of one revision known. No events, no new revision.
    fn publish(&mut self, revision: i64, events: Vec<Event>) {
        if !events.is_empty() {
            self.watches.publish(&events);
            self.history.commit(revision, events);
        }
    }
}

#[cfg(test)]
mod tests;
