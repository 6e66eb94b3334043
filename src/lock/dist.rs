//! The one lock of a store's handle: several callers share it.

use super::held::Held;
use super::{Acquisition, Attempt, Spec, Wait};
use crate::error::{Error, Result};
use crate::lease::Terms;
use crate::signal::Once;
use crate::state::State;
use crate::store::Store;
use crate::sync::{wait_until, Lock as _};
use bytes::Bytes;
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::time::{Duration, Instant};

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
    spec: Spec,
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
    Queueing(Arc<Acquisition>),
    Held(Arc<Held>),
}

impl DistLock {
    pub fn new(store: Weak<Store>, name: &str, ttl: Duration) -> Arc<Self> {
        let inner =
            Inner { phase: Phase::Idle, outcome: Outcome::None, lost: false, closed: false };
        let spec = Spec {
            name: Bytes::copy_from_slice(name.as_bytes()),
            terms: Terms::of(ttl),
            max_hold: None,
            value: Bytes::new(),
        };
        Arc::new(Self { store, spec, inner: Mutex::new(inner), changed: Condvar::new() })
    }

    pub fn acquire(self: &Arc<Self>, wait: Wait) -> Result<Attempt> {
        let store = self.store.upgrade().ok_or(Error::Closed)?;
        store.pool().ensure_thread()?;
        let acquisition = match self.begin(&store, wait)? {
            Turn::Attempt(attempt) => return Ok(attempt),
            Turn::Queue(acquisition) => acquisition,
        };
        let _ended_by_closing = store.acquiring(&acquisition).inspect_err(|_| {
            self.inner.hold().phase = Phase::Idle;
            self.changed.notify_all();
        })?;
        let me = Arc::downgrade(self);
        let mut result = acquisition.run(&store, wait, move || {
            let me = me.clone();
            Box::new(move |held: &Held, _: &str| {
                if let Some(me) = me.upgrade() {
                    me.lost(held.token);
                }
            })
        });
        let mut inner = self.inner.hold();
        let unwanted = match &result {
            Ok(Some(held)) if inner.closed => Some(held.clone()),
            _ => None,
        };
        if let Some(held) = unwanted {
            drop(inner);
            acquisition.let_go(&held);
            result = Err(Error::Closed);
            inner = self.inner.hold();
        }
        inner.phase = Phase::Idle;
        let attempt = match result {
            Ok(Some(held)) => {
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
    fn begin(self: &Arc<Self>, store: &Store, wait: Wait) -> Result<Turn> {
        let deadline = match wait {
            Wait::Forever => None,
            Wait::For(wait) => Instant::now().checked_add(wait),
        };
        loop {
            let mut inner = self.inner.hold();
            if inner.closed {
                return Err(Error::Closed);
            }
            match &inner.phase {
                Phase::Held(held) => {
                    let held = held.clone();
                    drop(inner);
                    if held.is_held() {
                        return Ok(Turn::Attempt(Attempt::Held));
                    }
                    // A loss found by another thread is about to be entered.
                    self.lost(held.token);
                }
                Phase::Queueing(acquisition) => {
                    let saw_holder = acquisition.saw_holder();
                    // While the other caller joins, this one's wait has not begun.
                    let joining = if saw_holder { Duration::ZERO } else { store.timeout() };
                    let until = deadline.map(|deadline| deadline + joining);
                    let (next, in_time) = wait_until(&self.changed, inner, until);
                    inner = next;
                    match (in_time, saw_holder) {
                        (true, _) => {}
                        (false, true) => {
                            inner.outcome = Outcome::Busy;
                            return Ok(Turn::Attempt(Attempt::Busy));
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
                    let me = Arc::downgrade(self);
                    let acquisition = Acquisition::new(self.spec.clone(), move || {
                        if let Some(me) = me.upgrade() {
                            // Callers on the same handle wait differently from now on.
                            drop(me.inner.hold());
                            me.changed.notify_all();
                        }
                    });
                    inner.phase = Phase::Queueing(acquisition.clone());
                    return Ok(Turn::Queue(acquisition));
                }
            }
        }
    }

    /// The lease or the key is gone.
    fn lost(&self, token: i64) {
        let mut inner = self.inner.hold();
        match &inner.phase {
            Phase::Held(held) if held.token == token => {}
            _ => return,
        }
        inner.phase = Phase::Idle;
        inner.lost = true;
        inner.outcome = Outcome::None;
        drop(inner);
        self.changed.notify_all();
        if let Some(store) = self.store.upgrade() {
            store.state().tell(State::LockLost, self.spec.name.clone());
        }
    }

    pub fn release(&self) -> Result<()> {
        let store = self.store.upgrade().ok_or(Error::Closed)?;
        let held = self.take_held()?;
        let Some(held) = held else { return Ok(()) };
        let answer = held.release(store.deadline());
        let mut inner = self.inner.hold();
        if matches!(inner.phase, Phase::Idle) {
            inner.outcome = if answer.is_ok() { Outcome::Released } else { Outcome::ReleaseFailed };
        }
        answer
    }

    /// The held lock, which is held no more; tells once of a loss.
    fn take_held(&self) -> Result<Option<Arc<Held>>> {
        self.notice_loss();
        let mut inner = self.inner.hold();
        if std::mem::take(&mut inner.lost) {
            let name = self.spec.name.escape_ascii();
            return Err(Error::Lost(format!("the lock {name} was lost")));
        }
        Ok(match std::mem::replace(&mut inner.phase, Phase::Idle) {
            Phase::Held(held) => Some(held),
            other => {
                inner.phase = other;
                None
            }
        })
    }

    /// Finds that a held lock is lost.
    fn notice_loss(&self) {
        let held = match &self.inner.hold().phase {
            Phase::Held(held) => held.clone(),
            _ => return,
        };
        if !held.is_held() {
            self.lost(held.token);
        }
    }

    pub fn outcome(&self) -> Outcome {
        self.notice_loss();
        self.inner.hold().outcome
    }

    /// Begins to end waits and to release a held lock. What is returned is set when
    /// that is done.
    pub fn close(&self, deadline: Instant) -> Option<Arc<Once<Result<()>>>> {
        let mut inner = self.inner.hold();
        inner.closed = true;
        let phase = std::mem::replace(&mut inner.phase, Phase::Idle);
        drop(inner);
        self.changed.notify_all();
        match phase {
            Phase::Held(held) => held.begin_release(deadline),
            // The store ends it.
            Phase::Queueing(_) | Phase::Idle => None,
        }
    }
}

enum Turn {
    Attempt(Attempt),
    Queue(Arc<Acquisition>),
}
