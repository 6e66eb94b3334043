//! The queue: joining it, waiting in it, leaving it.

use super::{DistLock, Held, Phase};
use crate::error::{Error, Result};
use crate::feed::Feed;
use crate::lease::Lease;
use crate::request::{Compare, Comparison, Op, Range, Target, Txn};
use crate::signal::Once;
use crate::store::Store;
use crate::sync::{wait_until, Lock as _};
use crate::types::{EventKind, KeyRange};
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

impl DistLock {
    /// Joins the queue and waits; none when the time was over.
    pub(super) fn queue(
        self: &Arc<Self>,
        store: &Arc<Store>,
        until: impl Fn() -> Option<Instant>,
    ) -> Result<Option<Held>> {
        let mut deadline: Option<Option<Instant>> = None;
        loop {
            let me = Arc::downgrade(self);
            let lease = Lease::grant(store, self.ttl, move |id, _| {
                if let Some(me) = me.upgrade() {
                    me.lost(id);
                }
            })?;
            let turn = self.join(store, &lease).and_then(|place| {
                // The wait begins when the queue is joined.
                let deadline = *deadline.get_or_insert_with(&until);
                let turn = self.wait(store, &place, deadline)?;
                Ok((turn, place))
            });
            match turn {
                Ok((Turn::Mine, place)) => return self.hold(store, place).map(Some),
                Ok((Turn::TimeOver, _)) => {
                    self.leave(&lease);
                    return Ok(None);
                }
                Ok((Turn::Gone, _)) | Err(Error::Lost(_)) => self.leave(&lease),
                Err(error) => {
                    self.leave(&lease);
                    return Err(error);
                }
            }
            if deadline.flatten().is_some_and(|deadline| deadline <= Instant::now()) {
                return Ok(None);
            }
        }
    }

    fn prefix(&self) -> String {
        format!("{}/", self.name)
    }

    fn contenders(&self) -> KeyRange {
        KeyRange::prefix(self.prefix().as_bytes())
    }

    /// Creates this contender's key, or finds it created.
    fn join(&self, store: &Store, lease: &Arc<Lease>) -> Result<Place> {
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
        let answer = store.call(txn.into()).map_err(|error| match error {
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
        deadline: Option<Instant>,
    ) -> Result<Turn> {
        loop {
            let turn = match self.look(store, place) {
                Ok(None) => self.verify(store, place).map(Some),
                Ok(Some((ahead, revision))) => {
                    self.wait_for_end(store, place, ahead, revision, deadline)
                }
                Err(error) => Err(error),
            };
            match turn {
                Ok(Some(turn)) => return Ok(turn),
                Ok(None) => {}
                Err(Error::Unavailable(_)) if self.in_queue_behind_another() => {
                    if self.pause(deadline) {
                        return Ok(Turn::TimeOver);
                    }
                }
                Err(error) => return Err(error),
            }
            if !place.lease.is_alive() {
                return Ok(Turn::Gone);
            }
        }
    }

    /// Finds the contender right ahead, and the revision at which it was there.
    fn look(&self, store: &Store, place: &Place) -> Result<Option<(Bytes, i64)>> {
        let ahead = Range::last_created(self.contenders(), place.revision - 1);
        let found = store.call(ahead.into())?.into_range()?;
        let Some(kv) = found.kvs.into_iter().next() else { return Ok(None) };
        if let Phase::Queueing(queueing) = &mut self.inner.hold().phase {
            queueing.saw_holder = true;
        }
        Ok(Some((kv.key, found.revision)))
    }

    /// After the wait: the key must be there still, and the lease alive.
    fn verify(&self, store: &Store, place: &Place) -> Result<Turn> {
        let own = Range::new(KeyRange::single(place.key.clone()));
        let found = store.call(own.into())?.into_range()?;
        let mine = found.kvs.first().is_some_and(|kv| kv.create_revision == place.revision);
        Ok(if mine && place.lease.is_alive() { Turn::Mine } else { Turn::Gone })
    }

    /// Waits for the deletion of the key ahead; none when that came.
    fn wait_for_end(
        &self,
        store: &Arc<Store>,
        place: &Place,
        ahead: Bytes,
        revision: i64,
        deadline: Option<Instant>,
    ) -> Result<Option<Turn>> {
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Ok(Some(Turn::TimeOver));
        }
        let known = BTreeMap::from([(ahead.clone(), revision)]);
        let feed = Feed::open_at(store, KeyRange::single(ahead), revision + 1, known)?;
        if let Phase::Queueing(queueing) = &mut self.inner.hold().phase {
            queueing.ahead = Some(feed.clone());
        }
        let turn = loop {
            // A loss before the feed was known to `lost` is seen here.
            if !place.lease.is_alive() {
                break Ok(Some(Turn::Gone));
            }
            match feed.next(store, deadline) {
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

    fn in_queue_behind_another(&self) -> bool {
        matches!(&self.inner.hold().phase, Phase::Queueing(queueing) if queueing.saw_holder)
    }

    /// Waits a moment; true when the deadline came.
    fn pause(&self, deadline: Option<Instant>) -> bool {
        let pause = Instant::now() + PAUSE;
        let inner = self.inner.hold();
        let until = deadline.map_or(pause, |deadline| deadline.min(pause));
        if !inner.closed {
            drop(wait_until(&self.changed, inner, Some(until)));
        }
        deadline.is_some_and(|deadline| deadline <= Instant::now())
    }

    /// Takes the key back by revoking its lease, also when the store is closing.
    pub(super) fn leave(&self, lease: &Arc<Lease>) {
        let gone = Arc::new(Once::default());
        let done = gone.clone();
        lease.revoke(Instant::now() + self.ttl, move |_| done.set(()));
        gone.take(Some(Instant::now() + LEAVE));
    }
}
