//! What happens to a store outside its calls, told to one listener.

use crate::dispatch::{Dispatcher, Schedule, Strand, Turn};
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
    Connected,
    Cut,
    Endpoint,
}

pub trait StateConsumer: Send + Sync {
    fn state(&self, what: State, detail: &[u8]);
}

pub struct StateEvents {
    callbacks: Arc<Callbacks>,
    dispatcher: Dispatcher,
    schedule: Schedule,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    listener: Option<Arc<Listener>>,
    queue: VecDeque<(State, Bytes)>,
    closed: bool,
    link: Link,
    /// Why it was cut last; none where the listener heard of that, or of what came after.
    cut: Option<Bytes>,
    /// The way as the listener knows it by the end of the queue.
    told: Link,
}

impl Inner {
    /// Queues what the listener has yet to hear of the way to the server, as far as there
    /// is room. What changed to and fro while there was none is left out in pairs, so that
    /// the rest alternates still, and ends with what is true.
    fn catch_up(&mut self) {
        while self.queue.len() < QUEUE {
            let Some((what, detail)) = self.untold() else { return };
            self.told.take(what, &detail);
            self.queue.push_back((what, detail));
        }
    }

    fn untold(&mut self) -> Option<(State, Bytes)> {
        if !self.told.connected {
            self.cut = None;
            return self.link.connected.then(|| (State::Connected, self.link.endpoint.clone()));
        }
        match self.cut.take() {
            Some(why) => Some((State::Cut, why)),
            None if self.link.endpoint == self.told.endpoint => None,
            None => Some((State::Endpoint, self.link.endpoint.clone())),
        }
    }
}

/// The way to the server, as far as it was told.
#[derive(Clone, Default)]
struct Link {
    connected: bool,
    endpoint: Bytes,
}

impl Link {
    /// Whether this is news.
    fn take(&mut self, what: State, detail: &Bytes) -> bool {
        match what {
            State::Connected if self.connected => return false,
            State::Cut => return std::mem::take(&mut self.connected),
            State::Endpoint if !self.connected || self.endpoint == *detail => return false,
            State::Connected | State::Endpoint => {}
            _ => return true,
        }
        self.connected = true;
        self.endpoint = detail.clone();
        true
    }
}

struct Listener {
    gate: Gate,
    consumer: Box<dyn StateConsumer>,
}

impl StateEvents {
    pub fn new(callbacks: Arc<Callbacks>, dispatcher: Dispatcher) -> Arc<Self> {
        let (schedule, inner) = (Schedule::default(), Mutex::default());
        Arc::new(Self { callbacks, dispatcher, schedule, inner })
    }

    /// Replaces the listener, and waits until the former one is not running.
    pub fn listen(&self, consumer: Option<Box<dyn StateConsumer>>) -> Result<()> {
        if consumer.is_some() {
            self.dispatcher.ensure_thread()?;
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
            (inner.told, inner.cut) = (inner.link.clone(), None);
            std::mem::replace(&mut inner.listener, listener)
        };
        if let Some(former) = former {
            former.gate.shut();
            former.gate.wait()?;
        }
        Ok(())
    }

    /// May be called under any lock but the pool's.
    pub fn tell(self: &Arc<Self>, what: State, detail: impl Into<Bytes>) {
        let detail = detail.into();
        let mut inner = self.inner.hold();
        let is_news = inner.link.take(what, &detail);
        if !is_news || inner.listener.is_none() {
            return;
        }
        match what {
            State::Connected | State::Endpoint => {}
            State::Cut => inner.cut = Some(detail),
            _ if inner.queue.len() == QUEUE => return,
            _ => inner.queue.push_back((what, detail)),
        }
        inner.catch_up();
        drop(inner);
        self.dispatcher.wake(self.clone());
    }

    pub fn is_connected(&self) -> bool {
        self.inner.hold().link.connected
    }

    /// That which is used, or was last; empty before the first one.
    pub fn endpoint(&self) -> String {
        String::from_utf8_lossy(&self.inner.hold().link.endpoint).into_owned()
    }

    /// How many events wait for the listener.
    pub fn waiting(&self) -> usize {
        self.inner.hold().queue.len()
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

    fn run(self: Arc<Self>, turn: &mut Turn) -> bool {
        let (next, more) = {
            let mut inner = self.inner.hold();
            let next = inner.queue.pop_front();
            inner.catch_up();
            (next.zip(inner.listener.clone()), !inner.queue.is_empty())
        };
        let Some(((what, detail), listener)) = next else { return false };
        turn.step();
        listener.gate.pass(|| {
            turn.call();
            listener.consumer.state(what, &detail);
        });
        more
    }
}

#[cfg(test)]
mod tests;
