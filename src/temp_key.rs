//! Keys that live as long as their handle: one lease, renewed; created again after
//! a loss.

mod restore;
mod turn;

use crate::dispatch::Schedule;
use crate::error::{Error, Result};
use crate::feed::{Feed, Known, Seen, Wish};
use crate::lease::{Lease, Terms};
use crate::request::{Put, Txn};
use crate::state::State;
use crate::store::Store;
use crate::sync::Lock;
use crate::types::{Event, EventKind, KeyRange};
use crate::watch::{Consumer, Kinds, Pause, To, Watcher};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};
use turn::Turn;

const VALUE: Bytes = Bytes::from_static(b"1");

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

/// When a key was stored, in the store of which era.
#[derive(Clone, Copy)]
struct Stored {
    revision: i64,
    /// From before it was stored.
    era: u64,
}

struct TempKey {
    /// The lease that it was last stored with, and when.
    lease: i64,
    stored: Stored,
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
            let era = store.era();
            match store.call_until(Txn::always(put(&key, lease.id)).into(), deadline) {
                Ok(answer) => {
                    let revision = answer.into_txn()?.revision;
                    return self.enter(store, key, &lease, Stored { revision, era });
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

    /// Notes a key that was stored, and watches for its end.
    fn enter(
        self: &Arc<Self>,
        store: &Arc<Store>,
        key: Bytes,
        lease: &Arc<Lease>,
        stored: Stored,
    ) -> Result<()> {
        let guard = self.watch(store, &key, lease, stored, Pause::FIRST)?;
        let entered = TempKey { lease: lease.id, stored, guard: guard.clone() };
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

    /// To be activated: watches for what becomes of the key since it was stored.
    fn watch(
        self: &Arc<Self>,
        store: &Arc<Store>,
        key: &Bytes,
        lease: &Arc<Lease>,
        stored: Stored,
        pause: Pause,
    ) -> Result<Arc<Watcher>> {
        let Stored { revision, era } = stored;
        let wish = Wish::changes(KeyRange::single(key.clone()));
        let known = Known::from([(key.clone(), Seen { create: 0, modified: revision })]);
        let feed = Feed::open_at(store, &wish, revision + 1, known, era)?;
        let (keys, key, lease) = (Arc::downgrade(self), key.clone(), lease.clone());
        let consumer = Guard { keys, key, lease, revision, pause };
        let (dispatcher, to) = (store.internal(), To::Push(Box::new(consumer)));
        Ok(Watcher::new(store, dispatcher, feed, Kinds::ALL, to))
    }

    /// Watches the key again, if it is the one that was stored at `revision`. Where its
    /// lease is lost that is done when it is restored.
    fn watch_again(self: &Arc<Self>, key: &Bytes, revision: i64, pause: Pause) {
        let Some(store) = self.store.upgrade() else { return };
        let (lease, stored) = {
            let inner = self.inner.hold();
            let known = inner.keys.get(key).filter(|known| known.stored.revision == revision);
            let Some(known) = known else { return };
            let lease = inner.lease.clone().filter(|lease| lease.id == known.lease);
            let Some(lease) = lease else { return };
            (lease, known.stored)
        };
        // Fails where the store is closed.
        let Ok(guard) = self.watch(&store, key, &lease, stored, pause) else { return };
        let mut inner = self.inner.hold();
        let known = inner.keys.get_mut(key).filter(|known| known.stored.revision == revision);
        let Some(known) = known else { return };
        let former = std::mem::replace(&mut known.guard, guard.clone());
        drop(inner);
        drop(former);
        guard.activate();
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
        inner.keys.get(key).filter(|known| known.stored.revision == revision)?;
        inner.keys.remove(key)
    }

    /// The key is not created again.
    fn give_up(&self, key: &Bytes, stored: i64) {
        if let Some(gone) = self.forget(key, stored) {
            gone.guard.end();
            self.tell_lost(key);
        }
    }

    /// After a loss the key was found to be someone else's, or denied.
    fn tell_lost(&self, key: &Bytes) {
        if let Some(store) = self.store.upgrade() {
            store.state().tell(State::TempKeyLost, key.clone());
        }
    }

    /// The key was not stored or deleted by someone since it was stored.
    fn is_ours(&self, key: &Bytes, stored: i64) -> bool {
        self.inner.hold().keys.get(key).is_some_and(|known| known.stored.revision == stored)
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

/// Notices when a temporary key was deleted or stored by someone.
struct Guard {
    keys: Weak<TempKeys>,
    key: Bytes,
    lease: Arc<Lease>,
    /// At which the key was stored.
    revision: i64,
    /// Before the next one, should this one have to end.
    pause: Pause,
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

    /// The key is ours still: what others do to it must not stay unseen where a right was
    /// taken away for a moment.
    fn ended(&mut self, _why: &Error) {
        let Some(store) = self.keys.upgrade().and_then(|keys| keys.store.upgrade()) else { return };
        let (keys, key, revision) = (self.keys.clone(), self.key.clone(), self.revision);
        let next = self.pause.next();
        store.timer().after(self.pause.length(), move || {
            if let Some(keys) = keys.upgrade() {
                keys.watch_again(&key, revision, next);
            }
        });
    }
}
