//! A lock with a handle of its own.

use super::held::Held;
use super::{Acquisition, Attempt, Spec, Wait};
use crate::dispatch::{Schedule, Strand, Turn};
use crate::error::{Error, Result};
use crate::gate::{Callbacks, Gate};
use crate::lease::{LostConsumer, LostNotice};
use crate::request::Compare;
use crate::signal::Once;
use crate::store::{Child, Store};
use crate::sync::Lock as _;
use crate::sys;
use bytes::Bytes;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

/// Of a thread that waits for a lock; it runs nothing of the user's.
const STACK: usize = 1 << 20;

/// Hears how an attempt ended, once.
pub trait AcquiredConsumer: Send {
    fn acquired(self: Box<Self>, outcome: Result<Attempt>);
}

pub struct NamedLock {
    store: Weak<Store>,
    spec: Spec,
    lost: Arc<LostNotice>,
    /// That of the attempt's consumer.
    acquired: Gate,
    phase: Mutex<Phase>,
}

enum Phase {
    New,
    Acquiring(Arc<Acquisition>),
    Held(Arc<Held>),
    /// Released, or the attempt failed.
    Over,
}

impl NamedLock {
    pub fn new(
        store: &Arc<Store>,
        spec: Spec,
        lost: Option<Box<dyn LostConsumer>>,
    ) -> Result<Arc<Self>> {
        store.pool().ensure_thread()?; // the watch of the key needs it
        Ok(Arc::new(Self {
            store: Arc::downgrade(store),
            spec,
            lost: LostNotice::new(store, lost)?,
            acquired: Gate::new(store.callbacks()),
            phase: Mutex::new(Phase::New),
        }))
    }

    /// Waits for the lock.
    pub fn acquire(&self, wait: Wait) -> Result<Attempt> {
        let store = self.store.upgrade().ok_or(Error::Closed)?;
        let acquisition = Acquisition::new(self.spec.clone(), || ());
        {
            let mut phase = self.phase.hold();
            match *phase {
                Phase::New => *phase = Phase::Acquiring(acquisition.clone()),
                _ => return Err(Error::Canceled),
            }
        }
        let _over = acquisition.over();
        let _ended_by_closing = store.acquiring(&acquisition)?;
        let lost = self.lost.clone();
        let result = acquisition.run(&store, wait, move || {
            let lost = lost.clone();
            Box::new(move |_: &Held, why: &str| lost.tell(why))
        });
        let mut phase = self.phase.hold();
        match result {
            Ok(Some(held)) => {
                // Released meanwhile, or the store is about to end what is held.
                let unwanted = match &*phase {
                    Phase::Acquiring(_) => store.check_open(),
                    _ => Err(Error::Canceled),
                };
                if let Err(why) = unwanted {
                    *phase = Phase::Over;
                    drop(phase);
                    acquisition.let_go(&held);
                    return Err(why);
                }
                *phase = Phase::Held(held);
                Ok(Attempt::Held)
            }
            Ok(None) => {
                *phase = Phase::Over;
                Ok(Attempt::Busy)
            }
            Err(error) => {
                *phase = Phase::Over;
                Err(error)
            }
        }
    }

    /// Has the waiting done by a thread of its own: those that run callbacks are not
    /// to wait for a lock.
    pub fn begin(self: &Arc<Self>, wait: Wait, consumer: Box<dyn AcquiredConsumer>) -> Result<()> {
        let store = self.store.upgrade().ok_or(Error::Closed)?;
        if !store.callbacks().expect() {
            return Err(Error::Closed);
        }
        let told = Acquired {
            lock: self.clone(),
            schedule: Schedule::default(),
            told: Mutex::default(),
            callbacks: store.callbacks().clone(),
        };
        self.lost.hold_back();
        let (lock, dispatcher) = (self.clone(), store.dispatcher().clone());
        let wait = move || {
            let outcome = lock.acquire(wait);
            *told.told.hold() = Some((consumer, outcome));
            dispatcher.wake(Arc::new(told));
        };
        sys::spawn("hmkv-lock", STACK, wait)
            .map_err(|e| Error::NoMemory(format!("thread that waits for a lock: {e}")))?;
        Ok(())
    }

    fn held(&self) -> Option<Arc<Held>> {
        match &*self.phase.hold() {
            Phase::Held(held) => Some(held.clone()),
            _ => None,
        }
    }

    pub fn token(&self) -> Option<i64> {
        self.held().map(|held| held.token)
    }

    pub fn left(&self) -> Duration {
        self.held().map_or(Duration::ZERO, |held| held.left())
    }

    pub fn set(&self, value: Bytes) -> Result<Attempt> {
        let store = self.store.upgrade().ok_or(Error::Closed)?;
        match self.held() {
            Some(held) => held.set(&store, value).map(|()| Attempt::Held),
            None => Ok(Attempt::Busy),
        }
    }

    /// What a transaction of this store compares.
    pub fn guard_of(&self, store: &Arc<Store>) -> Result<Compare> {
        if store.id() != self.lost.store_id() {
            return Err(Error::Invalid("the lock is of another store".into()));
        }
        let held = self.held();
        held.map(|held| held.compare()).ok_or_else(|| Error::Invalid("the lock is not held".into()))
    }

    /// Gives it up, or the waiting for it; tells of a loss before.
    pub fn release(&self) -> Result<()> {
        let phase = std::mem::replace(&mut *self.phase.hold(), Phase::Over);
        self.acquired.shut();
        let released = match phase {
            Phase::Held(held) => {
                self.lost.shut();
                match self.store.upgrade() {
                    Some(store) => held.release(store.deadline()),
                    None => Err(Error::Closed),
                }
            }
            Phase::Acquiring(acquisition) => {
                self.lost.shut();
                acquisition.end(Error::Canceled);
                match self.store.upgrade() {
                    Some(store) => acquisition.wait_until_over(store.deadline()),
                    None => Ok(()),
                }
            }
            Phase::New | Phase::Over => Ok(()),
        };
        self.acquired.wait().and(self.lost.wait()).and(released)
    }
}

impl Child for NamedLock {
    fn store_id(&self) -> u64 {
        self.lost.store_id()
    }

    fn end(&self, deadline: Instant) -> Option<Arc<Once<Result<()>>>> {
        self.lost.shut();
        // An attempt is ended by the store, and its consumer told.
        self.held().and_then(|held| held.begin_release(deadline))
    }
}

/// How an attempt ended, on its way to the consumer.
struct Acquired {
    lock: Arc<NamedLock>,
    schedule: Schedule,
    told: Mutex<Option<Told>>,
    callbacks: Arc<Callbacks>,
}

type Told = (Box<dyn AcquiredConsumer>, Result<Attempt>);

impl Strand for Acquired {
    fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    fn run(self: Arc<Self>, turn: &mut Turn) -> bool {
        let told = self.told.hold().take();
        if let Some((consumer, outcome)) = told {
            // Closing the store released it meanwhile.
            let outcome = outcome.and_then(|attempt| {
                let store = self.lock.store.upgrade().ok_or(Error::Closed)?;
                store.check_open().map(|()| attempt)
            });
            self.lock.acquired.pass(|| {
                turn.call();
                consumer.acquired(outcome);
            });
        }
        self.lock.lost.let_through();
        false
    }
}

impl Drop for Acquired {
    fn drop(&mut self) {
        self.callbacks.fulfilled();
    }
}
