//! What happens to a store outside its calls, told to one listener.

use crate::dispatch::{Pool, Schedule, Strand};
use crate::error::{Error, Result};
use crate::gate::{Callbacks, Gate};
use crate::sync::Lock;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// A listener that never returns must not make the queue grow for ever.
const QUEUE: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    LeaseLost,
    TempKeyRestored,
    TempKeyLost,
    LockLost,
}

pub trait StateConsumer: Send + Sync {
    fn state(&self, what: State, detail: &[u8]);
}

pub struct StateEvents {
    callbacks: Arc<Callbacks>,
    pool: Arc<Pool>,
    schedule: Schedule,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    listener: Option<Arc<Listener>>,
    queue: VecDeque<(State, Bytes)>,
    closed: bool,
}

struct Listener {
    gate: Gate,
    consumer: Box<dyn StateConsumer>,
}

impl StateEvents {
    pub fn new(callbacks: Arc<Callbacks>, pool: Arc<Pool>) -> Arc<Self> {
        let (schedule, inner) = (Schedule::default(), Mutex::default());
        Arc::new(Self { callbacks, pool, schedule, inner })
    }

    /// Replaces the listener, and waits until the former one is not running.
    pub fn listen(&self, consumer: Option<Box<dyn StateConsumer>>) -> Result<()> {
        if consumer.is_some() {
            self.pool.ensure_thread()?;
        }
        let gate = Gate::new(&self.callbacks);
        let listener = consumer.map(|consumer| Arc::new(Listener { gate, consumer }));
        let former = {
            let mut inner = self.inner.hold();
            if inner.closed {
                return Err(Error::Closed);
            }
            // What happened before is not this listener's.
            inner.queue.clear();
            std::mem::replace(&mut inner.listener, listener)
        };
        if let Some(former) = former {
            former.gate.shut();
            former.gate.wait()?;
        }
        Ok(())
    }

    pub fn tell(self: &Arc<Self>, what: State, detail: impl Into<Bytes>) {
        let mut inner = self.inner.hold();
        if inner.listener.is_none() || inner.queue.len() == QUEUE {
            return;
        }
        inner.queue.push_back((what, detail.into()));
        drop(inner);
        self.pool.wake(self.clone());
    }

    /// No call begins any more.
    pub fn close(&self) {
        let mut inner = self.inner.hold();
        inner.closed = true;
        if let Some(listener) = inner.listener.take() {
            listener.gate.shut();
        }
    }
}

impl Strand for StateEvents {
    fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    fn run(self: Arc<Self>) -> bool {
        let next = {
            let mut inner = self.inner.hold();
            let next = inner.queue.pop_front();
            next.zip(inner.listener.clone())
        };
        let Some(((what, detail), listener)) = next else { return false };
        listener.gate.pass(|| listener.consumer.state(what, &detail));
        true
    }
}
