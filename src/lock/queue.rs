//! The queue: joining it, waiting in it, leaving it.

use super::{DistLock, Held, Phase};
use crate::error::{Error, Result};
use crate::feed::Feed;
use crate::lease::Lease;
use crate::request::{Compare, Comparison, Op, Range, Target, Txn};
use crate::signal::Once;
use crate::store::Store;
use crate::sync::{wait_until, Lock as _};
use crate::types::{EventKind, KeyRange, KeyValue};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a contender that gives up waits for its key to be gone.
const LEAVE: Duration = Duration::from_secs(1);

/// How long to wait before the queue is looked at again after a failure.
const PAUSE: Duration = Duration::from_millis(250);

/// A place in the queue.
pub(super) struct Place {
    pub lease: Arc<Lease>,
    pub key: Bytes,
    pub revision: i64,
}

/// How a wait in the queue ended.
enum Turn {
    Mine,
    TimeOver,
    /// The key is gone: join again.
    Gone,
}

/// How long a contender may take: a time to join, and from then on the wait.
#[derive(Clone, Copy)]
struct Patience {
    join_by: Instant,
    until: Option<Instant>,
}

impl Patience {
    /// When a request in the queue must have its answer.
    fn deadline(&self, store: &Store) -> Instant {
        let request = store.deadline();
        self.until.map_or(request, |until| request.min(until.max(self.join_by)))
    }

    fn is_over(&self) -> bool {
        self.until.is_some_and(|until| until <= Instant::now())
    }
}

impl DistLock {
    /// Joins the queue and waits; none when the time was over.
    pub(super) fn queue(
        self: &Arc<Self>,
        store: &Arc<Store>,
        until: impl Fn() -> Option<Instant>,
    ) -> Result<Option<Held>> {
        let join_by = store.deadline();
        let mut joined: Option<Patience> = None;
        loop {
            let by = joined.map_or(join_by, |patience| patience.deadline(store));
            let turn = self.grant(store, by).and_then(|lease| {
                let turn = self.join(store, &lease, by).and_then(|place| {
                    // The wait begins when the queue is joined.
                    let patience =
                        *joined.get_or_insert_with(|| Patience { join_by, until: until() });
                    match self.wait(store, &place, &patience)? {
                        Turn::Mine => self.hold(store, place).map(Some),
                        Turn::TimeOver | Turn::Gone => Ok(None),
                    }
                });
                if !matches!(turn, Ok(Some(_))) {
                    self.leave(&lease);
                }
                turn
            });
            match (turn, &joined) {
                (Ok(Some(held)), _) => return Ok(Some(held)),
                (Ok(None), _) | (Err(Error::Lost(_)), _) => {}
                // The place was lost in an outage; the wait goes on.
                (Err(Error::Unavailable(_)), Some(patience)) => self.pause(patience),
                (Err(error), _) => return Err(error),
            }
            match &joined {
                Some(patience) if !patience.is_over() => {}
                None if Instant::now() < join_by => {}
                _ if self.saw_holder() => return Ok(None),
                _ => return Err(Error::Unavailable("the queue did not answer in time".into())),
            }
        }
    }

    fn grant(self: &Arc<Self>, store: &Store, deadline: Instant) -> Result<Arc<Lease>> {
        let me = Arc::downgrade(self);
        let lease = Lease::grant(store, self.ttl, deadline, move |id, _| {
            if let Some(me) = me.upgrade() {
                me.lost(id);
            }
        })?;
        if let Phase::Queueing(queueing) = &mut self.inner.hold().phase {
            queueing.lease = lease.id;
        }
        Ok(lease)
    }

    fn prefix(&self) -> String {
        format!("{}/", self.name)
    }

    fn contenders(&self) -> KeyRange {
        KeyRange::prefix(self.prefix().as_bytes())
    }

    /// Creates this contender's key, or finds it created.
    fn join(&self, store: &Store, lease: &Arc<Lease>, deadline: Instant) -> Result<Place> {
        let key = Bytes::from(format!("{}{:x}", self.prefix(), lease.id));
        let txn = Txn {
            compares: vec![Compare {
                key: key.clone(),
                target: Target::CreateRevision(0),
                comparison: Comparison::Equal,
            }],
            then: vec![Op::Put { key: key.clone(), value: Bytes::new(), lease: lease.id }],
            or_else: vec![Op::Range(Range::new(KeyRange::single(key.clone())))],
            idempotent: true,
        };
        let answer = store.call_until(txn.into(), deadline).map_err(|error| match error {
            // Whether it was joined or not, the revoked lease takes it back.
            Error::Indeterminate(why) => Error::Unavailable(why),
            other => other,
        })?;
        let answer = answer.into_txn()?;
        let found = answer.ranges.first().and_then(|found| found.kvs.first());
        let revision = match (answer.succeeded, found) {
            (true, _) => answer.revision,
            (false, Some(kv)) => kv.create_revision,
            (false, None) => return Err(Error::unexpected("a key that exists and does not")),
        };
        Ok(Place { lease: lease.clone(), key, revision })
    }

    /// Waits until nobody is ahead.
    fn wait(
        self: &Arc<Self>,
        store: &Arc<Store>,
        place: &Place,
        patience: &Patience,
    ) -> Result<Turn> {
        loop {
            let deadline = patience.deadline(store);
            let turn = match self.look(store, place, deadline) {
                Ok(None) => self.verify(store, place, deadline).map(Some),
                Ok(Some((ahead, revision))) => {
                    self.wait_for_end(store, place, ahead, revision, patience)
                }
                Err(error) => Err(error),
            };
            match turn {
                Ok(Some(turn)) => return Ok(turn),
                Ok(None) => {}
                Err(Error::Unavailable(_)) if self.saw_holder() && !patience.is_over() => {
                    self.pause(patience);
                }
                Err(error) => return Err(error),
            }
            if !place.lease.is_alive() {
                return Ok(Turn::Gone);
            }
        }
    }

    /// Finds the contender right ahead, and the revision at which it was there.
    fn look(
        &self,
        store: &Store,
        place: &Place,
        deadline: Instant,
    ) -> Result<Option<(KeyValue, i64)>> {
        let ahead = Range::last_created(self.contenders(), place.revision - 1);
        let found = store.call_until(ahead.into(), deadline)?.into_range()?;
        let Some(kv) = found.kvs.into_iter().next() else { return Ok(None) };
        if let Phase::Queueing(queueing) = &mut self.inner.hold().phase {
            queueing.saw_holder = true;
        }
        // Callers on the same handle wait differently from now on.
        self.changed.notify_all();
        Ok(Some((kv, found.revision)))
    }

    /// After the wait: the key must be there still, and the lease alive.
    fn verify(&self, store: &Store, place: &Place, deadline: Instant) -> Result<Turn> {
        let own = Range::new(KeyRange::single(place.key.clone()));
        let found = store.call_until(own.into(), deadline)?.into_range()?;
        let mine = found.kvs.first().is_some_and(|kv| kv.create_revision == place.revision);
        Ok(if mine && place.lease.is_alive() { Turn::Mine } else { Turn::Gone })
    }

    /// Waits for the deletion of the key ahead; none when that came.
    fn wait_for_end(
        &self,
        store: &Arc<Store>,
        place: &Place,
        ahead: KeyValue,
        revision: i64,
        patience: &Patience,
    ) -> Result<Option<Turn>> {
        if patience.is_over() {
            return Ok(Some(Turn::TimeOver));
        }
        let known = BTreeMap::from([(ahead.key.clone(), ahead.create_revision)]);
        let feed = Feed::open_at(store, KeyRange::single(ahead.key), revision + 1, known)?;
        if let Phase::Queueing(queueing) = &mut self.inner.hold().phase {
            queueing.ahead = Some(feed.clone());
        }
        let turn = loop {
            // A loss before the feed was known to `lost` is seen here.
            if !place.lease.is_alive() {
                break Ok(Some(Turn::Gone));
            }
            match feed.next(store, patience.until) {
                Ok(Some(event)) if event.kind == EventKind::Delete => break Ok(None),
                Ok(Some(_)) => {}
                Ok(None) => break Ok(Some(Turn::TimeOver)),
                Err(Error::Lost(_)) => break Ok(Some(Turn::Gone)),
                Err(error) => break Err(error),
            }
        };
        feed.close(Error::Closed);
        if let Phase::Queueing(queueing) = &mut self.inner.hold().phase {
            queueing.ahead = None;
        }
        turn
    }

    fn saw_holder(&self) -> bool {
        matches!(&self.inner.hold().phase, Phase::Queueing(queueing) if queueing.saw_holder)
    }

    /// Waits a moment before the store is asked again.
    fn pause(&self, patience: &Patience) {
        let pause = Instant::now() + PAUSE;
        let inner = self.inner.hold();
        if !inner.closed {
            let until = patience.until.map_or(pause, |until| until.min(pause));
            drop(wait_until(&self.changed, inner, Some(until)));
        }
    }

    /// Takes the key back by revoking its lease, also when the store is closing.
    pub(super) fn leave(&self, lease: &Arc<Lease>) {
        let gone = Arc::new(Once::default());
        let done = gone.clone();
        lease.revoke(Instant::now() + self.ttl, move |_| done.set(()));
        gone.take(Some(Instant::now() + LEAVE));
    }
}
