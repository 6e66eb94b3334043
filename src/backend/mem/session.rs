//! What one handle has in a store: its leases and its watches.

use super::{Mem, State};
use crate::backend::{Wanted, WatchSink, WatchToken};
use crate::error::Result;
use crate::gate::unique_id;
use crate::request::{Request, Response};
use crate::sync::{Lock, SharedLock};
use crate::timer::Timer;
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub struct Session {
    id: u64,
    mem: Arc<Mem>,
    pub timer: Arc<Timer>,
    /// The leases that this handle made.
    leases: Mutex<HashSet<i64>>,
}

impl Session {
    pub fn new(mem: Arc<Mem>, timer: Arc<Timer>) -> Self {
        // Leases that outlived the timer of former stores end by this one.
        arm(&mem, &timer);
        Self { id: unique_id(), mem, timer, leases: Mutex::default() }
    }

    pub fn execute(&self, request: &Request) -> Result<Response> {
        match request {
            Request::Range(range) => {
                self.mem.state.reading().history.range(range).map(Response::Range)
            }
            Request::Txn(txn) => self.mem.state.writing().txn(txn).map(Response::Txn),
            Request::Grant { lease, ttl_s } => {
                let ttl = Duration::from_secs(ttl_s.unsigned_abs());
                self.mem.state.writing().leases.grant(*lease, ttl);
                self.leases.hold().insert(*lease);
                arm(&self.mem, &self.timer);
                Ok(Response::Lease)
            }
            Request::Renew { lease } => self.mem.state.writing().leases.renew(*lease),
            Request::TimeToLive { lease } => self.mem.state.reading().leases.check(*lease),
            Request::Revoke { lease } => {
                self.mem.state.writing().revoke(*lease);
                self.leases.hold().remove(lease);
                Ok(Response::Lease)
            }
        }
    }

    pub fn watch(&self, wanted: Wanted, sink: Arc<dyn WatchSink>) -> WatchToken {
        let State { watches, history, .. } = &mut *self.mem.state.writing();
        let id = watches.add(self.id, wanted, sink, history);
        let mem = self.mem.clone();
        WatchToken::new(move || {
            let removed = mem.state.writing().watches.remove(id);
            drop(removed);
        })
    }

    /// Ends the leases.
    pub fn expire(&self) {
        let leases = std::mem::take(&mut *self.leases.hold());
        let mut state = self.mem.state.writing();
        for lease in leases {
            state.revoke(lease);
        }
    }

    pub fn compact(&self) {
        self.mem.state.writing().history.compact();
    }

    /// From now on the watches are told nothing.
    pub fn cut(&self, why: &'static str) {
        let State { watches, history, .. } = &mut *self.mem.state.writing();
        watches.cut(self.id, why, history);
    }

    /// They go on where they stood.
    pub fn resume(&self) {
        let State { watches, history, .. } = &mut *self.mem.state.writing();
        watches.resume(self.id, history);
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
