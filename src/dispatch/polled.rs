//! Callbacks that wait until a thread of the user asks for them, and a descriptor that
//! tells when to ask.

use super::{run, Strand, Turn, BATCH};
use crate::error::{Error, Result};
use crate::gate::Callbacks;
use crate::sync::{Lock, Mutex, Signal};
use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// For what is promised, where closing took all of its time before it came to that.
const GRACE: Duration = Duration::from_millis(100);

pub struct Polled {
    callbacks: Arc<Callbacks>,
    ready: Mutex<Ready>,
    /// Raised exactly while something is ready.
    signal: Signal,
}

#[derive(Default)]
struct Ready {
    strands: VecDeque<Arc<dyn Strand>>,
    /// Nobody asks any more, but who closes the store.
    closing: bool,
    closed: bool,
}

impl Polled {
    pub fn new(callbacks: Arc<Callbacks>) -> Result<Arc<Self>> {
        let signal = Signal::new().map_err(|e| Error::NoMemory(format!("descriptor: {e}")))?;
        Ok(Arc::new(Self { callbacks, ready: Mutex::default(), signal }))
    }

    pub fn fd(&self) -> RawFd {
        self.signal.fd()
    }

    pub fn wake(&self, strand: Arc<dyn Strand>) {
        if strand.schedule().wake() {
            self.push(strand);
        }
    }

    fn push(&self, strand: Arc<dyn Strand>) {
        let mut ready = self.ready.hold();
        if ready.closed {
            return;
        }
        if ready.strands.is_empty() {
            self.signal.raise();
        }
        ready.strands.push_back(strand);
        let closing = ready.closing;
        drop(ready);
        if closing {
            self.callbacks.stir();
        }
    }

    fn take(&self) -> Option<Arc<dyn Strand>> {
        let mut ready = self.ready.hold();
        let strand = ready.strands.pop_front()?;
        if ready.strands.is_empty() {
            self.signal.clear();
        }
        Some(strand)
    }

    fn run_one(&self, strand: Arc<dyn Strand>, turn: &mut Turn) {
        if run(&strand, turn) {
            self.push(strand);
        }
    }

    /// Runs what is ready until `most` callbacks were called; tells how many were. Much
    /// that comes to no callback ends it, too.
    pub fn run(&self, most: usize) -> usize {
        let (mut called, mut left) = (0, most.saturating_add(BATCH));
        while called < most && left > 0 {
            let Some(strand) = self.take() else { break };
            let mut turn = Turn::new((most - called).min(left));
            self.run_one(strand, &mut turn);
            called += turn.called;
            left = left.saturating_sub(turn.done());
        }
        let ready = self.ready.hold();
        if !ready.strands.is_empty() {
            // News, for who waits for an edge. Nobody takes the last one meanwhile.
            self.signal.raise();
        }
        called
    }

    /// Runs what is promised, waits until it has run, and lets nothing run afterwards;
    /// false when the deadline came first.
    pub fn close(&self, deadline: Instant) -> bool {
        self.ready.hold().closing = true;
        let deadline = deadline.max(Instant::now() + GRACE);
        let quiet = self.callbacks.shut(deadline, || {
            while Instant::now() < deadline {
                let Some(strand) = self.take() else { break };
                self.run_one(strand, &mut Turn::new(1));
            }
        });
        let mut ready = self.ready.hold();
        ready.closed = true;
        let dropped = std::mem::take(&mut ready.strands);
        drop(ready);
        drop(dropped);
        quiet
    }
}

#[cfg(all(test, model))]
mod model;
