//! A lease with an owner, who is told when it is lost.

use super::{Lease, Terms};
use crate::dispatch::{Dispatcher, Schedule, Strand, Turn};
use crate::error::{Error, Result};
use crate::gate::Gate;
use crate::signal::Once;
use crate::store::{Child, Store};
use crate::sync::Lock;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

/// Hears of a loss, once.
pub trait LostConsumer: Send {
    fn lost(self: Box<Self>, why: &Error);
}

/// The way of a loss to its consumer.
pub struct LostNotice {
    dispatcher: Dispatcher,
    gate: Gate,
    schedule: Schedule,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    consumer: Option<Box<dyn LostConsumer>>,
    why: Option<Error>,
    /// Its consumer is to hear of something else first.
    held_back: bool,
}

impl LostNotice {
    pub fn new(store: &Store, consumer: Option<Box<dyn LostConsumer>>) -> Result<Arc<Self>> {
        if consumer.is_some() {
            store.dispatcher().ensure_thread()?;
        }
        Ok(Arc::new(Self {
            dispatcher: store.dispatcher().clone(),
            gate: Gate::new(store.callbacks()),
            schedule: Schedule::default(),
            state: Mutex::new(State { consumer, why: None, held_back: false }),
        }))
    }

    /// The first loss counts.
    pub fn tell(self: &Arc<Self>, why: &str) {
        let mut state = self.state.hold();
        if state.why.is_some() {
            return;
        }
        state.why = Some(Error::Lost(why.to_owned()));
        let wanted = state.consumer.is_some() && !state.held_back;
        drop(state);
        if wanted {
            self.dispatcher.wake(self.clone());
        }
    }

    pub fn hold_back(&self) {
        self.state.hold().held_back = true;
    }

    pub fn let_through(self: &Arc<Self>) {
        let mut state = self.state.hold();
        state.held_back = false;
        let wanted = state.consumer.is_some() && state.why.is_some();
        drop(state);
        if wanted {
            self.dispatcher.wake(self.clone());
        }
    }

    pub fn loss(&self) -> Option<Error> {
        self.state.hold().why.clone()
    }

    pub fn store_id(&self) -> u64 {
        self.gate.store()
    }

    /// No call begins any more.
    pub fn shut(&self) {
        self.gate.shut();
    }

    /// Waits until the consumer is not running. From inside it does not wait.
    pub fn wait(&self) -> Result<()> {
        self.gate.wait()
    }
}

impl Strand for LostNotice {
    fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    fn run(self: Arc<Self>, turn: &mut Turn) -> bool {
        let told = {
            let mut state = self.state.hold();
            state.consumer.take().zip(state.why.clone())
        };
        if let Some((consumer, why)) = told {
            self.gate.pass(|| {
                turn.call();
                consumer.lost(&why);
            });
        }
        false
    }
}

pub struct OwnedLease {
    store: Weak<Store>,
    lease: Arc<Lease>,
    notice: Arc<LostNotice>,
}

impl OwnedLease {
    pub fn grant(
        store: &Arc<Store>,
        ttl: Duration,
        lost: Option<Box<dyn LostConsumer>>,
    ) -> Result<Arc<Self>> {
        let notice = LostNotice::new(store, lost)?;
        let told = notice.clone();
        let lease = Lease::grant(store, Terms::of(ttl), store.deadline(), move |_, why| {
            told.tell(why);
        })?;
        Ok(Arc::new(Self { store: Arc::downgrade(store), lease, notice }))
    }

    pub fn id(&self) -> i64 {
        self.lease.id
    }

    pub fn left(&self) -> Duration {
        self.lease.left()
    }

    /// Ends the renewals, or also the lease; tells of a loss before.
    pub fn close(&self, revoke: bool) -> Result<()> {
        self.lease.is_alive();
        self.notice.shut();
        let ended = match (self.notice.loss(), revoke) {
            (Some(loss), _) => Err(loss),
            (None, false) => {
                self.lease.stop();
                Ok(())
            }
            (None, true) => match self.store.upgrade() {
                Some(store) => self.lease.revoke(store.deadline()).take(None),
                None => None,
            }
            .unwrap_or(Err(Error::Closed)),
        };
        self.notice.wait().and(ended)
    }
}

impl Child for OwnedLease {
    fn store_id(&self) -> u64 {
        self.notice.store_id()
    }

    fn end(&self, deadline: Instant) -> Option<Arc<Once<Result<()>>>> {
        self.notice.shut();
        Some(self.lease.revoke(deadline))
    }
}
