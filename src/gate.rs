//! The door to one user callback: who is inside, and how to wait until nobody is.

use crate::error::{Error, Result};
use crate::sync::{wait_until, Condvar, Lock, Mutex};
use crate::sys::{self, ForkLocal};
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Instant;

static NEXT: AtomicU64 = AtomicU64::new(1);

/// A number that nothing else in this process has.
pub fn unique_id() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// So many are kept account of.
const DEEP: usize = 16;

/// Gates and stores of the callbacks that a thread is in. One that dispatches or closes
/// another store runs callbacks of that inside itself.
struct Nest {
    depth: Cell<usize>,
    of: [Cell<(u64, u64)>; DEEP],
}

impl Nest {
    const fn new() -> Self {
        Self { depth: Cell::new(0), of: [const { Cell::new((0, 0)) }; DEEP] }
    }

    fn has(&self, is: impl Fn((u64, u64)) -> bool) -> bool {
        self.of[..self.depth.get().min(DEEP)].iter().any(|it| is(it.get()))
    }

    /// The gate of the innermost; 0 for none.
    fn innermost(&self) -> u64 {
        self.of[..self.depth.get().min(DEEP)].last().map_or(0, |it| it.get().0)
    }

    fn enter(&self, gate: u64, store: u64) {
        let depth = self.depth.get();
        if let Some(place) = self.of.get(depth) {
            place.set((gate, store));
        }
        self.depth.set(depth + 1);
    }

    fn leave(&self) {
        self.depth.set(self.depth.get() - 1);
    }
}

#[cfg(not(model))]
thread_local! {
    static INSIDE: Nest = const { Nest::new() };
}

#[cfg(model)]
loom::thread_local! {
    static INSIDE: Nest = Nest::new();
}

/// Refuses what would wait for the very callback that asks for it.
pub fn refuse_inside(store: u64, what: &str) -> Result<()> {
    if INSIDE.with(|inside| inside.has(|(_, its)| its == store)) {
        return Err(Error::InCallback(format!("{what} from its own callback")));
    }
    Ok(())
}

/// The callbacks of one store.
pub struct Callbacks {
    store: u64,
    counts: Mutex<Counts>,
    none: Condvar,
    /// Results that wait for their callback.
    results: std::sync::atomic::AtomicUsize,
}

#[derive(Default)]
struct Counts {
    running: usize,
    /// Promised: closing waits for them.
    expected: usize,
    /// Whoever shuts has to look for some to run.
    stirred: bool,
    /// None begins any more.
    shut: bool,
}

impl Callbacks {
    pub fn new(store: u64) -> Arc<Self> {
        let (counts, none) = (Mutex::default(), Condvar::new());
        Arc::new(Self { store, counts, none, results: Default::default() })
    }

    pub fn store(&self) -> u64 {
        self.store
    }

    /// A result begins to wait for its callback.
    pub fn result_waits(&self) {
        self.results.fetch_add(1, Ordering::Relaxed);
    }

    pub fn result_is_taken(&self) {
        self.results.fetch_sub(1, Ordering::Relaxed);
    }

    pub fn results_waiting(&self) -> usize {
        self.results.load(Ordering::Relaxed)
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

    /// There may be something to run for whoever shuts.
    pub fn stir(&self) {
        self.counts.hold().stirred = true;
        self.none.notify_all();
    }

    /// Waits until none is running or promised, and lets none begin afterwards; false
    /// when the deadline came first. Each time that it is stirred up it runs what is there.
    pub fn shut(&self, deadline: Instant, run: impl Fn()) -> bool {
        let mut counts = self.counts.hold();
        counts.stirred = true;
        while counts.running + counts.expected > 0 {
            if std::mem::take(&mut counts.stirred) {
                drop(counts);
                run();
                counts = self.counts.hold();
                continue;
            }
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
static WAITS: ForkLocal<std::sync::Mutex<HashMap<u64, u64>>> = ForkLocal::new();

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
        INSIDE.with(|inside| inside.has(|(gate, _)| gate == self.id))
    }

    pub fn is_shut(&self) -> bool {
        self.state.hold().shut
    }

    /// Waits until the callback is not running. From inside it does not wait.
    ///
    /// Where waiting would close a circle of callbacks that wait for each other the
    /// answer is [`Error::InCallback`].
    pub fn wait(&self) -> Result<()> {
        if self.is_inside() {
            return Ok(());
        }
        let me = INSIDE.with(Nest::innermost);
        let mut state = self.state.hold();
        if !state.inside {
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
    /// That of the callback which goes on after this one; 0 for none.
    outer: u64,
    /// Closing the store waits for it.
    counts: bool,
}

impl<'a> Inside<'a> {
    fn new(gate: &'a Gate, counts: bool) -> Self {
        let outer = INSIDE.with(|inside| {
            let outer = inside.innermost();
            inside.enter(gate.id, gate.callbacks.store);
            outer
        });
        if outer != 0 {
            WAITS.get().hold().insert(outer, gate.id);
        }
        Self { gate, outer, counts }
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        INSIDE.with(Nest::leave);
        if self.outer != 0 {
            WAITS.get().hold().remove(&self.outer);
        }
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

#[cfg(all(test, model))]
mod model;
