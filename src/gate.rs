//! The door to one user callback: who is inside, and how to wait until nobody is.

use crate::error::{Error, Result};
use crate::sync::{wait_until, Lock};
use crate::sys::{self, ForkLocal};
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

static NEXT: AtomicU64 = AtomicU64::new(1);

/// A number that nothing else in this process has.
pub fn unique_id() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

thread_local! {
    /// Gate and store of the callback that this thread is in; 0 for none.
    static INSIDE: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// Refuses what would wait for the very callback that asks for it.
pub fn refuse_inside(store: u64, what: &str) -> Result<()> {
    if INSIDE.get().1 == store {
        return Err(Error::InCallback(format!("{what} from its own callback")));
    }
    Ok(())
}

/// The callbacks of one store.
pub struct Callbacks {
    store: u64,
    counts: Mutex<Counts>,
    none: Condvar,
}

#[derive(Default)]
struct Counts {
    running: usize,
    /// Promised: closing waits for them.
    expected: usize,
    /// None begins any more.
    shut: bool,
}

impl Callbacks {
    pub fn new(store: u64) -> Arc<Self> {
        Arc::new(Self { store, counts: Mutex::default(), none: Condvar::new() })
    }

    pub fn store(&self) -> u64 {
        self.store
    }

    /// Promises a callback; false when none begins any more.
    pub fn expect(&self) -> bool {
        let mut counts = self.counts.hold();
        counts.expected += usize::from(!counts.shut);
        !counts.shut
    }

    /// A promised callback has run, or never will.
    pub fn fulfilled(&self) {
        self.counts.hold().expected -= 1;
        self.none.notify_all();
    }

    /// Waits until none is running or promised, and lets none begin afterwards; false
    /// when the deadline came first.
    pub fn shut(&self, deadline: Instant) -> bool {
        let mut counts = self.counts.hold();
        while counts.running + counts.expected > 0 {
            let (next, in_time) = wait_until(&self.none, counts, Some(deadline));
            counts = next;
            if !in_time {
                break;
            }
        }
        counts.shut = true;
        counts.running + counts.expected == 0
    }

    fn enter(&self) -> bool {
        let mut counts = self.counts.hold();
        counts.running += usize::from(!counts.shut);
        !counts.shut
    }

    fn leave(&self) {
        self.counts.hold().running -= 1;
        self.none.notify_all();
    }
}

pub struct Gate {
    id: u64,
    callbacks: Arc<Callbacks>,
    state: Mutex<State>,
    left: Condvar,
}

#[derive(Default)]
struct State {
    inside: bool,
    shut: bool,
}

/// Which callback waits for which: from the gate that a thread is inside to the
/// gate that it waits for.
static WAITS: ForkLocal<Mutex<HashMap<u64, u64>>> = ForkLocal::new();

impl Gate {
    pub fn new(callbacks: &Arc<Callbacks>) -> Self {
        let callbacks = callbacks.clone();
        Self { id: unique_id(), callbacks, state: Mutex::default(), left: Condvar::new() }
    }

    /// Runs the callback unless the gate is shut. One at a time: the caller sees
    /// to that.
    pub fn pass<T>(&self, callback: impl FnOnce() -> T) -> Option<T> {
        {
            let mut state = self.state.hold();
            if state.shut || sys::exiting() || !self.callbacks.enter() {
                return None;
            }
            state.inside = true;
        }
        let _inside = Inside::new(self, true);
        Some(callback())
    }

    /// Does the last thing, alone, when nobody is inside, by the deadline; whether the
    /// gate is shut or not. From inside it does nothing.
    pub fn last(&self, deadline: Option<Instant>, work: impl FnOnce()) {
        if self.is_inside() {
            return;
        }
        let mut state = self.state.hold();
        while state.inside {
            let (next, in_time) = wait_until(&self.left, state, deadline);
            state = next;
            if !in_time {
                return;
            }
        }
        state.inside = true;
        drop(state);
        let _inside = Inside::new(self, self.callbacks.enter());
        work();
    }

    /// From now on nobody passes.
    pub fn shut(&self) {
        self.state.hold().shut = true;
    }

    pub fn store(&self) -> u64 {
        self.callbacks.store
    }

    /// Whether this thread is inside.
    pub fn is_inside(&self) -> bool {
        INSIDE.get().0 == self.id
    }

    pub fn is_shut(&self) -> bool {
        self.state.hold().shut
    }

    /// Waits until the callback is not running. From inside it does not wait.
    ///
    /// Where waiting would close a circle of callbacks that wait for each other the
    /// answer is [`Error::InCallback`].
    pub fn wait(&self) -> Result<()> {
        let (me, _) = INSIDE.get();
        let mut state = self.state.hold();
        if me == self.id || !state.inside {
            return Ok(());
        }
        let _edge = if me != 0 { Some(Edge::new(me, self.id)?) } else { None };
        while state.inside {
            state = wait_until(&self.left, state, None).0;
        }
        Ok(())
    }
}

/// A thread inside a gate; leaves it by a panic too.
struct Inside<'a> {
    gate: &'a Gate,
    before: (u64, u64),
    /// Closing the store waits for it.
    counts: bool,
}

impl<'a> Inside<'a> {
    fn new(gate: &'a Gate, counts: bool) -> Self {
        let before = INSIDE.replace((gate.id, gate.callbacks.store));
        Self { gate, before, counts }
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        INSIDE.set(self.before);
        self.gate.state.hold().inside = false;
        self.gate.left.notify_all();
        if self.counts {
            self.gate.callbacks.leave();
        }
    }
}

struct Edge(u64);

impl Edge {
    fn new(from: u64, to: u64) -> Result<Self> {
        let mut waits = WAITS.get().hold();
        let mut at = to;
        while let Some(next) = waits.get(&at) {
            if *next == from {
                return Err(Error::InCallback("callbacks wait for each other in a circle".into()));
            }
            at = *next;
        }
        waits.insert(from, to);
        Ok(Self(from))
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        WAITS.get().hold().remove(&self.0);
    }
}
