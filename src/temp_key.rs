//! Keys that live as long as their handle: one lease, renewed; created again after
//! a loss.

use crate::dispatch::{Schedule, Strand};
use crate::error::{Error, Result};
use crate::feed::{Feed, Known, Seen, Wish};
use crate::lease::{Lease, Terms};
use crate::request::{Compare, Delete, Put, Range, Target, Txn};
use crate::state::State;
use crate::store::Store;
use crate::sync::{wait_until, Lock};
use crate::types::{Event, EventKind, KeyRange};
use crate::watch::{Consumer, Kinds, To, Watcher};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::time::{Duration, Instant};

const VALUE: Bytes = Bytes::from_static(b"1");

/// How long to wait before a restoration that failed is tried again.
const PAUSE: Duration = Duration::from_millis(250);

pub struct TempKeys {
    store: Weak<Store>,
    ttl: Duration,
    schedule: Schedule,
    /// Taken while keys are stored or restored.
    turn: Turn,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    lease: Option<Arc<Lease>>,
    keys: BTreeMap<Bytes, TempKey>,
    /// The lease, and those made since all keys were restored last: a key under one
    /// is ours, maybe stored by an attempt whose answer was lost.
    own: Vec<i64>,
    /// The last lease whose loss was told.
    told: i64,
    closed: bool,
}

struct TempKey {
    /// The lease that it was last stored with, and when.
    lease: i64,
    revision: i64,
    /// Watches for the key's end.
    guard: Arc<Watcher>,
}

impl TempKeys {
    pub fn new(store: Weak<Store>, ttl: Duration) -> Arc<Self> {
        let (schedule, turn, inner) = (Schedule::default(), Turn::default(), Mutex::default());
        Arc::new(Self { store, ttl, schedule, turn, inner })
    }

    pub fn add(self: &Arc<Self>, store: &Arc<Store>, key: Bytes) -> Result<()> {
        store.pool().ensure_thread()?;
        let deadline = store.deadline();
        let _turn = self.turn.take(deadline)?;
        loop {
            let lease = self.lease(store, deadline)?;
            match store.call_until(Txn::always(put(&key, lease.id)).into(), deadline) {
                Ok(answer) => {
                    let revision = answer.into_txn()?.revision;
                    return self.enter(store, key, &lease, revision);
                }
                Err(Error::Lost(why)) => lease.lose(&why),
                Err(error) => return Err(error),
            }
        }
    }

    /// The lease, made where there is none or it was lost.
    fn lease(self: &Arc<Self>, store: &Arc<Store>, deadline: Instant) -> Result<Arc<Lease>> {
        let current = self.inner.hold().lease.clone();
        if let Some(lease) = current.filter(|lease| lease.is_alive()) {
            return Ok(lease);
        }
        let me = Arc::downgrade(self);
        let lease = Lease::grant(store, Terms::of(self.ttl), deadline, move |id, why| {
            if let Some(me) = me.upgrade() {
                me.lost(id, why);
            }
        })?;
        let mut inner = self.inner.hold();
        if inner.closed {
            drop(inner);
            lease.revoke(store.deadline());
            return Err(Error::Closed);
        }
        inner.own.push(lease.id);
        inner.lease = Some(lease.clone());
        Ok(lease)
    }

    /// Notes a key that was stored at `revision`, and watches for its end.
    fn enter(
        self: &Arc<Self>,
        store: &Arc<Store>,
        key: Bytes,
        lease: &Arc<Lease>,
        revision: i64,
    ) -> Result<()> {
        let wish = Wish::changes(KeyRange::single(key.clone()));
        let known = Known::from([(key.clone(), Seen { create: 0, modified: revision })]);
        let feed = Feed::open_at(store, &wish, revision + 1, known)?;
        let consumer = Guard { keys: Arc::downgrade(self), lease: lease.clone(), revision };
        let guard = Watcher::new(store, feed, Kinds::ALL, To::Push(Box::new(consumer)));
        let entered = TempKey { lease: lease.id, revision, guard: guard.clone() };
        let mut inner = self.inner.hold();
        let former = if inner.closed { None } else { inner.keys.insert(key, entered) };
        drop(inner);
        if let Some(former) = former {
            former.guard.end();
        }
        guard.activate();
        // Lost before it was entered, the lease did not concern any key.
        if !lease.is_alive() {
            self.lost(lease.id, "it was lost");
        }
        Ok(())
    }

    fn lost(self: &Arc<Self>, lease: i64, why: &str) {
        let mut inner = self.inner.hold();
        if inner.closed || inner.keys.values().all(|key| key.lease != lease) {
            return;
        }
        let told = std::mem::replace(&mut inner.told, lease) == lease;
        drop(inner);
        let Some(store) = self.store.upgrade() else { return };
        if !told {
            store.state().tell(State::LeaseLost, why.to_owned());
        }
        store.pool().wake(self.clone());
    }

    /// The key is no longer this handle's: forgets it, unless it was stored again.
    fn forget(&self, key: &Bytes, revision: i64) -> Option<TempKey> {
        let mut inner = self.inner.hold();
        inner.keys.get(key).filter(|known| known.revision == revision)?;
        inner.keys.remove(key)
    }

    /// Stores again what the lost lease took along; an error if that is to be
    /// tried once more.
    fn restore(self: &Arc<Self>, store: &Arc<Store>) -> Result<()> {
        let _turn = self.turn.take(store.deadline())?;
        if self.inner.hold().keys.is_empty() {
            return Ok(());
        }
        let lease = self.lease(store, store.deadline())?;
        let (lost, own): (Vec<(Bytes, i64)>, Vec<i64>) = {
            let inner = self.inner.hold();
            let keys = inner.keys.iter().filter(|(_, key)| key.lease != lease.id);
            (keys.map(|(key, known)| (key.clone(), known.revision)).collect(), inner.own.clone())
        };
        for (key, stored) in lost {
            if !self.is_ours(&key, stored) {
                continue;
            }
            let restored = restore_key(store, &key, &own, lease.id).inspect_err(|error| {
                if let Error::Lost(why) = error {
                    lease.lose(why);
                }
            })?;
            match restored {
                Some(revision) if !self.is_ours(&key, stored) => {
                    // Someone ended it meanwhile.
                    store.call(delete_if(&key, revision).into())?;
                }
                Some(revision) => {
                    self.enter(store, key.clone(), &lease, revision)?;
                    store.state().tell(State::TempKeyRestored, key);
                }
                None => {
                    if let Some(gone) = self.forget(&key, stored) {
                        gone.guard.end();
                        self.tell_lost(&key);
                    }
                }
            }
        }
        self.inner.hold().own.retain(|id| *id == lease.id);
        Ok(())
    }

    /// After a loss the key was found to be someone else's.
    fn tell_lost(&self, key: &Bytes) {
        if let Some(store) = self.store.upgrade() {
            store.state().tell(State::TempKeyLost, key.clone());
        }
    }

    /// The key was not stored or deleted by someone since it was stored.
    fn is_ours(&self, key: &Bytes, stored: i64) -> bool {
        self.inner.hold().keys.get(key).is_some_and(|known| known.revision == stored)
    }

    /// Deletes the keys by revoking the lease.
    pub fn close(&self, deadline: Instant) {
        let (lease, keys) = {
            let mut inner = self.inner.hold();
            inner.closed = true;
            (inner.lease.take(), std::mem::take(&mut inner.keys))
        };
        for key in keys.into_values() {
            key.guard.end();
        }
        if let Some(lease) = lease {
            lease.revoke(deadline).take(Some(deadline));
        }
    }
}

fn put(key: &Bytes, lease: i64) -> Put {
    Put { lease, ..Put::new(key.clone(), VALUE) }
}

/// Deletes the key if it is as it was stored at `revision`.
fn delete_if(key: &Bytes, revision: i64) -> Txn {
    Txn {
        compares: vec![Compare::equal(key.clone(), Target::ModRevision(revision))],
        then: vec![Delete::new(KeyRange::single(key.clone())).into()],
        idempotent: true,
        ..Txn::default()
    }
}

/// Stores the key unless it belongs to someone else by now; tells the revision.
fn restore_key(store: &Store, key: &Bytes, own: &[i64], lease: i64) -> Result<Option<i64>> {
    let mut seen = 0;
    loop {
        let target = if seen == 0 { Target::CreateRevision(0) } else { Target::ModRevision(seen) };
        let txn = Txn {
            compares: vec![Compare::equal(key.clone(), target)],
            then: vec![put(key, lease).into()],
            or_else: vec![Range::new(KeyRange::single(key.clone())).into()],
            idempotent: true,
        };
        let answer = store.call(txn.into())?.into_txn()?;
        if answer.succeeded {
            return Ok(Some(answer.revision));
        }
        match answer.found() {
            Some(kv) if kv.lease == lease => return Ok(Some(kv.mod_revision)),
            Some(kv) if own.contains(&kv.lease) => seen = kv.mod_revision,
            Some(_) => return Ok(None),
            None => seen = 0,
        }
    }
}

impl Strand for TempKeys {
    fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    fn run(self: Arc<Self>) -> bool {
        let Some(store) = self.store.upgrade() else { return false };
        match self.restore(&store) {
            Ok(()) | Err(Error::Closed) => {}
            Err(_) => {
                let weak = Arc::downgrade(&self);
                let pool = Arc::downgrade(store.pool());
                store.timer().after(PAUSE, move || {
                    if let (Some(keys), Some(pool)) = (weak.upgrade(), pool.upgrade()) {
                        pool.wake(keys);
                    }
                });
            }
        }
        false
    }
}

/// Notices when a temporary key was deleted or stored by someone.
struct Guard {
    keys: Weak<TempKeys>,
    lease: Arc<Lease>,
    /// At which the key was stored.
    revision: i64,
}

impl Guard {
    /// A key is deleted by someone, or because its lease ended.
    fn was_lease_alive(&self) -> bool {
        while self.lease.is_alive() {
            match self.lease.check() {
                Ok(()) => return true,
                Err(Error::Unavailable(_)) => {}
                Err(_) => return false,
            }
        }
        false
    }
}

impl Consumer for Guard {
    fn change(&mut self, event: &Event) -> bool {
        let Some(keys) = self.keys.upgrade() else { return false };
        let ours = match event.kind {
            EventKind::Put => keys.inner.hold().own.contains(&event.kv.lease),
            EventKind::Delete => !self.was_lease_alive(),
        };
        if ours {
            return true;
        }
        let forgotten = keys.forget(&event.kv.key, self.revision).is_some();
        if forgotten && event.kind == EventKind::Put && !self.lease.is_alive() {
            keys.tell_lost(&event.kv.key);
        }
        false
    }

    fn ended(&mut self, _why: &Error) {}
}

/// One at a time, for callers who wait no longer than they may.
#[derive(Default)]
struct Turn {
    taken: Mutex<bool>,
    free: Condvar,
}

struct Taken<'a>(&'a Turn);

impl Turn {
    fn take(&self, deadline: Instant) -> Result<Taken<'_>> {
        let mut taken = self.taken.hold();
        while *taken {
            let (next, in_time) = wait_until(&self.free, taken, Some(deadline));
            taken = next;
            if !in_time && *taken {
                return Err(Error::Unavailable(
                    "another call for temporary keys took too long".into(),
                ));
            }
        }
        *taken = true;
        Ok(Taken(self))
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        *self.0.taken.hold() = false;
        self.0.free.notify_one();
    }
}
