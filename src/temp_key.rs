//! Keys that live as long as their handle: one lease, renewed; created again after
//! a loss.

use crate::dispatch::{Schedule, Strand};
use crate::error::{Error, Result};
use crate::feed::Feed;
use crate::lease::Lease;
use crate::request::{Compare, Comparison, Op, Range, Target, Txn, TxnAnswer};
use crate::signal::Once;
use crate::state::State;
use crate::store::Store;
use crate::sync::Lock;
use crate::types::{Event, EventKind, KeyRange};
use crate::watch::{Consumer, Kinds, Watcher};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

const VALUE: Bytes = Bytes::from_static(b"1");

/// How long to wait before a restoration that failed is tried again.
const PAUSE: Duration = Duration::from_millis(250);

pub struct TempKeys {
    store: Weak<Store>,
    ttl: Duration,
    schedule: Schedule,
    /// Held while keys are stored or restored; blocks.
    turn: Mutex<()>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    lease: Option<Arc<Lease>>,
    keys: BTreeMap<Bytes, TempKey>,
    closed: bool,
}

struct TempKey {
    /// The lease that it was last stored with.
    lease: i64,
    /// Watches for the key's end.
    guard: Arc<Watcher>,
}

impl TempKeys {
    pub fn new(store: Weak<Store>, ttl: Duration) -> Arc<Self> {
        let (schedule, turn, inner) = (Schedule::default(), Mutex::default(), Mutex::default());
        Arc::new(Self { store, ttl, schedule, turn, inner })
    }

    pub fn add(self: &Arc<Self>, store: &Arc<Store>, key: Bytes) -> Result<()> {
        store.pool().ensure_thread()?;
        let _turn = self.turn.hold();
        loop {
            let lease = self.lease(store)?;
            match store.call(Txn::always(put(&key, lease.id)).into()) {
                Ok(answer) => {
                    let revision = answer.into_txn()?.revision;
                    return self.enter(store, key, lease.id, revision);
                }
                Err(Error::Lost(why)) => lease.lose(&why),
                Err(error) => return Err(error),
            }
        }
    }

    /// The lease, made where there is none or it was lost.
    fn lease(self: &Arc<Self>, store: &Arc<Store>) -> Result<Arc<Lease>> {
        let current = self.inner.hold().lease.clone();
        if let Some(lease) = current.filter(|lease| lease.is_alive()) {
            return Ok(lease);
        }
        let me = Arc::downgrade(self);
        let lease = Lease::grant(store, self.ttl, move |id, why| {
            if let Some(me) = me.upgrade() {
                me.lost(id, why);
            }
        })?;
        let mut inner = self.inner.hold();
        if inner.closed {
            drop(inner);
            lease.revoke(store.deadline(), |_| ());
            return Err(Error::Closed);
        }
        inner.lease = Some(lease.clone());
        Ok(lease)
    }

    /// Notes a key that was stored at `revision`, and watches for its end.
    fn enter(
        self: &Arc<Self>,
        store: &Arc<Store>,
        key: Bytes,
        lease: i64,
        revision: i64,
    ) -> Result<()> {
        let feed = Feed::open_at(
            store,
            KeyRange::single(key.clone()),
            revision + 1,
            BTreeMap::from([(key.clone(), revision)]),
        )?;
        let consumer = Guard { keys: Arc::downgrade(self), lease };
        let guard = Watcher::new(store, feed, Kinds::ALL, Box::new(consumer));
        let entered = TempKey { lease, guard: guard.clone() };
        let mut inner = self.inner.hold();
        let former = if inner.closed { None } else { inner.keys.insert(key, entered) };
        drop(inner);
        if let Some(former) = former {
            former.guard.end();
        }
        guard.activate();
        Ok(())
    }

    fn lost(self: &Arc<Self>, lease: i64, why: &str) {
        let inner = self.inner.hold();
        if inner.closed || inner.keys.values().all(|key| key.lease != lease) {
            return;
        }
        drop(inner);
        let Some(store) = self.store.upgrade() else { return };
        store.state().tell(State::LeaseLost, why.to_owned());
        store.pool().wake(self.clone());
    }

    /// The key is no longer this handle's: forgets it.
    fn forget(&self, key: &Bytes, lease: i64) -> Option<TempKey> {
        let mut inner = self.inner.hold();
        inner.keys.get(key).filter(|known| known.lease == lease)?;
        inner.keys.remove(key)
    }

    /// Stores again what the lost lease took along; an error if that is to be
    /// tried once more.
    fn restore(self: &Arc<Self>, store: &Arc<Store>) -> Result<()> {
        let _turn = self.turn.hold();
        let lost = |inner: &Inner, alive: i64| -> Vec<(Bytes, i64)> {
            let keys = inner.keys.iter().filter(|(_, key)| key.lease != alive);
            keys.map(|(key, known)| (key.clone(), known.lease)).collect()
        };
        if lost(&self.inner.hold(), 0).is_empty() {
            return Ok(());
        }
        let lease = self.lease(store)?;
        let keys = lost(&self.inner.hold(), lease.id);
        for (key, former) in keys {
            match restore_key(store, &key, former, lease.id)? {
                Some(revision) => {
                    self.enter(store, key.clone(), lease.id, revision)?;
                    store.state().tell(State::TempKeyRestored, key);
                }
                None => {
                    if let Some(gone) = self.forget(&key, former) {
                        gone.guard.end();
                    }
                    store.state().tell(State::TempKeyLost, key);
                }
            }
        }
        Ok(())
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
            let revoked = Arc::new(Once::default());
            let done = revoked.clone();
            lease.revoke(deadline, move |_| done.set(()));
            revoked.take(Some(deadline));
        }
    }
}

fn put(key: &Bytes, lease: i64) -> Op {
    Op::Put { key: key.clone(), value: VALUE, lease }
}

/// Stores the key unless it belongs to someone else by now; tells the revision.
fn restore_key(store: &Store, key: &Bytes, former: i64, lease: i64) -> Result<Option<i64>> {
    let mut seen = 0;
    loop {
        let target = if seen == 0 { Target::CreateRevision(0) } else { Target::ModRevision(seen) };
        let txn = Txn {
            compares: vec![Compare { key: key.clone(), target, comparison: Comparison::Equal }],
            then: vec![put(key, lease)],
            or_else: vec![Op::Range(Range::new(KeyRange::single(key.clone())))],
            idempotent: true,
        };
        let TxnAnswer { succeeded, revision, ranges } = store.call(txn.into())?.into_txn()?;
        if succeeded {
            return Ok(Some(revision));
        }
        match ranges.first().and_then(|found| found.kvs.first()) {
            Some(kv) if kv.lease == lease => return Ok(Some(kv.mod_revision)),
            Some(kv) if kv.lease == former => seen = kv.mod_revision,
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
    lease: i64,
}

impl Consumer for Guard {
    fn change(&mut self, event: &Event) -> bool {
        let Some(keys) = self.keys.upgrade() else { return false };
        match event.kind {
            EventKind::Put if event.kv.lease == self.lease => return true,
            EventKind::Put => drop(keys.forget(&event.kv.key, self.lease)),
            // Deleted by someone, or because the lease ended: the lease tells.
            EventKind::Delete => {
                let lease = keys.inner.hold().lease.clone();
                let alive = lease.filter(|lease| lease.id == self.lease).map(|lease| lease.check());
                if alive == Some(Ok(())) {
                    drop(keys.forget(&event.kv.key, self.lease));
                }
            }
        }
        false
    }

    fn ended(&mut self, _why: &Error) {}
}
