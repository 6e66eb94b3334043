//! What becomes of temporary keys after a loss of their lease.

use super::{put, Stored, TempKeys};
use crate::dispatch::{Schedule, Strand, Turn};
use crate::error::{Error, Result};
use crate::lease::Lease;
use crate::request::{Compare, Delete, Range, Target, Txn};
use crate::state::State;
use crate::store::Store;
use crate::sync::Lock;
use crate::types::KeyRange;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// How long to wait before a restoration that failed is tried again.
const PAUSE: Duration = Duration::from_millis(250);

impl TempKeys {
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
            (
                keys.map(|(key, known)| (key.clone(), known.stored.revision)).collect(),
                inner.own.clone(),
            )
        };
        let mut failed = None;
        for (key, stored) in lost {
            match self.restore_one(store, &key, stored, &own, &lease) {
                Ok(()) => {}
                // The right to it was taken away.
                Err(Error::Denied(_)) => self.give_up(&key, stored),
                Err(error) if concerns_all(&error) => return Err(error),
                Err(error) => {
                    failed.get_or_insert(error);
                }
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        self.inner.hold().own.retain(|id| *id == lease.id);
        Ok(())
    }

    fn restore_one(
        self: &Arc<Self>,
        store: &Arc<Store>,
        key: &Bytes,
        stored: i64,
        own: &[i64],
        lease: &Arc<Lease>,
    ) -> Result<()> {
        if !self.is_ours(key, stored) {
            return Ok(());
        }
        let restored = restore_key(store, key, own, lease.id).inspect_err(|error| {
            if let Error::Lost(why) = error {
                lease.lose(why);
            }
        })?;
        match restored {
            Some(again) if !self.is_ours(key, stored) => {
                // Someone ended it meanwhile.
                store.call(delete_if(key, again.revision).into())?;
            }
            Some(again) => {
                self.enter(store, key.clone(), lease, again)?;
                store.state().tell(State::TempKeyRestored, key.clone());
            }
            None => self.give_up(key, stored),
        }
        Ok(())
    }
}

impl Strand for TempKeys {
    fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    fn run(self: Arc<Self>, _turn: &mut Turn) -> bool {
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

/// Whether other keys would fare no better.
fn concerns_all(error: &Error) -> bool {
    use Error::{Auth, Closed, Lost, NoSpace, Tls, Unavailable};
    matches!(error, Auth(_) | Closed | Lost(_) | NoSpace(_) | Tls(_) | Unavailable(_))
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

/// Stores the key unless it belongs to someone else by now; tells when.
fn restore_key(store: &Store, key: &Bytes, own: &[i64], lease: i64) -> Result<Option<Stored>> {
    let mut seen = 0;
    loop {
        let target = if seen == 0 { Target::CreateRevision(0) } else { Target::ModRevision(seen) };
        let txn = Txn {
            compares: vec![Compare::equal(key.clone(), target)],
            then: vec![put(key, lease).into()],
            or_else: vec![Range::new(KeyRange::single(key.clone())).into()],
            idempotent: true,
        };
        let era = store.era();
        let answer = store.call(txn.into())?.into_txn()?;
        if answer.succeeded {
            return Ok(Some(Stored { revision: answer.revision, era }));
        }
        match answer.found() {
            Some(kv) if kv.lease == lease => {
                return Ok(Some(Stored { revision: kv.mod_revision, era }));
            }
            Some(kv) if own.contains(&kv.lease) => seen = kv.mod_revision,
            Some(_) => return Ok(None),
            None => seen = 0,
        }
    }
}
