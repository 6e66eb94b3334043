//! The distributed lock: a queue of keys `NAME/LEASE`, the lowest create revision
//! owns. The layout is that of etcd's Go package concurrency.

mod queue;

use crate::error::{Error, Result};
use crate::feed::Feed;
use crate::lease::Lease;
use crate::signal::Once;
use crate::state::State;
use crate::store::Store;
use crate::sync::{wait_until, Lock as _};
use crate::types::{Event, EventKind, KeyRange};
use crate::watch::{Consumer, Kinds, Watcher};
use queue::Place;
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::time::{Duration, Instant};

#[derive(Clone, Copy)]
pub enum Wait {
    Forever,
    For(Duration),
}

#[derive(Debug, PartialEq, Eq)]
pub enum Attempt {
    Held,
    /// Another was seen holding it until the end of the wait.
    Busy,
}

/// How the last call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Never tried, or lost while held.
    None,
    Failed,
    Busy,
    Held,
    ReleaseFailed,
    Released,
}

pub struct DistLock {
    store: Weak<Store>,
    name: String,
    ttl: Duration,
    inner: Mutex<Inner>,
    changed: Condvar,
}

struct Inner {
    phase: Phase,
    outcome: Outcome,
    /// The next release is to tell of a loss.
    lost: bool,
    closed: bool,
}

enum Phase {
    Idle,
    /// One caller is in the queue; others on this handle wait for it.
    Queueing(Queueing),
    Held(Held),
}

#[derive(Default)]
struct Queueing {
    lease: i64,
    saw_holder: bool,
    /// The one ahead in the queue, while it is watched.
    ahead: Option<Arc<Feed>>,
}

struct Held {
    lease: Arc<Lease>,
    guard: Arc<Watcher>,
}

impl DistLock {
    pub fn new(store: Weak<Store>, name: String, ttl: Duration) -> Arc<Self> {
        let inner =
            Inner { phase: Phase::Idle, outcome: Outcome::None, lost: false, closed: false };
        Arc::new(Self { store, name, ttl, inner: Mutex::new(inner), changed: Condvar::new() })
    }

    pub fn acquire(self: &Arc<Self>, wait: Wait) -> Result<Attempt> {
        let store = self.store.upgrade().ok_or(Error::Closed)?;
        store.pool().ensure_thread()?;
        let until = |wait| match wait {
            Wait::Forever => None,
            Wait::For(wait) => Instant::now().checked_add(wait),
        };
        if let Some(attempt) = self.begin(&store, until(wait))? {
            return Ok(attempt);
        }
        let mut result = self.queue(&store, || until(wait));
        let mut inner = self.inner.hold();
        if inner.closed {
            drop(inner);
            if let Ok(Some(held)) = result {
                self.leave(&held.lease);
            }
            result = Err(Error::Closed);
            inner = self.inner.hold();
        }
        inner.phase = Phase::Idle;
        let attempt = match result {
            Ok(Some(held)) => {
                held.guard.activate();
                inner.phase = Phase::Held(held);
                inner.lost = false;
                inner.outcome = Outcome::Held;
                Ok(Attempt::Held)
            }
            Ok(None) => {
                inner.outcome = Outcome::Busy;
                Ok(Attempt::Busy)
            }
            Err(error) => {
                inner.outcome = Outcome::Failed;
                Err(error)
            }
        };
        drop(inner);
        self.changed.notify_all();
        // A loss before the lock counted as held is found here.
        self.notice_loss();
        attempt
    }

    /// Answers at once where this handle holds the lock; else makes this caller the
    /// one that queues, after another on the same handle.
    fn begin(&self, store: &Store, deadline: Option<Instant>) -> Result<Option<Attempt>> {
        loop {
            let mut inner = self.inner.hold();
            if inner.closed {
                return Err(Error::Closed);
            }
            match &inner.phase {
                Phase::Held(held) => {
                    let lease = held.lease.clone();
                    drop(inner);
                    if lease.is_alive() {
                        return Ok(Some(Attempt::Held));
                    }
                    // A loss found by another thread is about to be entered.
                    self.lost(lease.id);
                }
                Phase::Queueing(Queueing { saw_holder, .. }) => {
                    let saw_holder = *saw_holder;
                    // While the other caller joins, this one's wait has not begun.
                    let joining = if saw_holder { Duration::ZERO } else { store.timeout() };
                    let until = deadline.map(|deadline| deadline + joining);
                    let (inner, in_time) = wait_until(&self.changed, inner, until);
                    let mut inner = inner;
                    match (in_time, saw_holder) {
                        (true, _) => {}
                        (false, true) => {
                            inner.outcome = Outcome::Busy;
                            return Ok(Some(Attempt::Busy));
                        }
                        (false, false) => {
                            inner.outcome = Outcome::Failed;
                            return Err(Error::Unavailable(
                                "the queue was not joined in time".into(),
                            ));
                        }
                    }
                }
                Phase::Idle => {
                    inner.phase = Phase::Queueing(Queueing::default());
                    return Ok(None);
                }
            }
        }
    }

    /// From here on a deletion of the key is a loss.
    fn hold(self: &Arc<Self>, store: &Arc<Store>, place: Place) -> Result<Held> {
        let Place { lease, key, revision } = place;
        let known = BTreeMap::from([(key.clone(), revision)]);
        let feed = Feed::open_at(store, KeyRange::single(key), revision + 1, known)?;
        let consumer = Guard { lock: Arc::downgrade(self), lease: lease.id };
        let guard = Watcher::new(store, feed, Kinds::ALL, Box::new(consumer));
        Ok(Held { lease, guard })
    }

    /// The lease or the key is gone.
    fn lost(&self, lease: i64) {
        let mut inner = self.inner.hold();
        let held = match &mut inner.phase {
            Phase::Held(held) if held.lease.id == lease => {
                std::mem::replace(&mut inner.phase, Phase::Idle)
            }
            Phase::Queueing(queueing) if queueing.lease == lease => {
                let ahead = queueing.ahead.clone();
                drop(inner);
                if let Some(feed) = ahead {
                    feed.close(Error::Lost("the lease was lost".into()));
                }
                return;
            }
            _ => return,
        };
        inner.lost = true;
        inner.outcome = Outcome::None;
        drop(inner);
        self.changed.notify_all();
        let Phase::Held(held) = held else { return };
        held.guard.end();
        // Where the key alone was deleted, the lease has no use any more.
        held.lease.revoke(Instant::now() + self.ttl, |_| ());
        if let Some(store) = self.store.upgrade() {
            store.state().tell(State::LockLost, self.name.clone());
        }
    }

    pub fn release(&self) -> Result<()> {
        let store = self.store.upgrade().ok_or(Error::Closed)?;
        let held = self.take_held()?;
        let Some(held) = held else { return Ok(()) };
        held.guard.end();
        let done = Arc::new(Once::default());
        let given = done.clone();
        held.lease.revoke(store.deadline(), move |answer| given.set(answer));
        let answer = done.take(None).unwrap_or(Err(Error::Closed)).map(drop);
        let mut inner = self.inner.hold();
        if matches!(inner.phase, Phase::Idle) {
            inner.outcome = if answer.is_ok() { Outcome::Released } else { Outcome::ReleaseFailed };
        }
        answer
    }

    /// The held lock, which is held no more; tells once of a loss.
    fn take_held(&self) -> Result<Option<Held>> {
        self.notice_loss();
        let mut inner = self.inner.hold();
        if std::mem::take(&mut inner.lost) {
            return Err(Error::Lost(format!("the lock {} was lost", self.name)));
        }
        Ok(match std::mem::replace(&mut inner.phase, Phase::Idle) {
            Phase::Held(held) => Some(held),
            other => {
                inner.phase = other;
                None
            }
        })
    }

    /// Finds that the time of a held lock's lease is over.
    fn notice_loss(&self) {
        let lease = match &self.inner.hold().phase {
            Phase::Held(held) => held.lease.clone(),
            _ => return,
        };
        if !lease.is_alive() {
            self.lost(lease.id);
        }
    }

    pub fn outcome(&self) -> Outcome {
        self.notice_loss();
        self.inner.hold().outcome
    }

    /// Ends waits and releases a held lock.
    pub fn close(&self, deadline: Instant) {
        let mut inner = self.inner.hold();
        inner.closed = true;
        self.changed.notify_all();
        // A caller in the queue was woken and is about to take its key back.
        while matches!(inner.phase, Phase::Queueing(_)) {
            let (next, in_time) = wait_until(&self.changed, inner, Some(deadline));
            inner = next;
            if !in_time {
                return;
            }
        }
        if let Phase::Held(held) = std::mem::replace(&mut inner.phase, Phase::Idle) {
            drop(inner);
            held.guard.end();
            let gone = Arc::new(Once::default());
            let done = gone.clone();
            held.lease.revoke(deadline, move |_| done.set(()));
            gone.take(Some(deadline));
        }
    }
}

/// Notices when the key of a held lock is deleted.
struct Guard {
    lock: Weak<DistLock>,
    lease: i64,
}

impl Consumer for Guard {
    fn change(&mut self, event: &Event) -> bool {
        if event.kind == EventKind::Delete {
            if let Some(lock) = self.lock.upgrade() {
                lock.lost(self.lease);
            }
        }
        true
    }

    fn ended(&mut self, _why: &Error) {}
}
