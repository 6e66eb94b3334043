//! Threads that run callbacks: as few as do the work, as many as are blocked.

use crate::error::{Error, Result};
use crate::sync::{wait_until, Lock};
use crate::sys;
use crate::timer::Timer;
use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A user's callback may need as much as on a thread of its own.
pub const STACK: usize = 8 << 20;
/// When work has waited this long, all threads count as blocked: one more is started.
const PATIENCE: Duration = Duration::from_millis(5);
/// A thread too many ends when it had nothing to do for so long.
const IDLE: Duration = Duration::from_secs(5);

/// Work that comes in pieces, one piece at a time, in order.
pub trait Strand: Send + Sync {
    fn schedule(&self) -> &Schedule;
    /// Does a bounded piece of the work; true if more is there.
    fn run(self: Arc<Self>) -> bool;
    /// A piece of work panicked.
    fn failed(&self) {}
}

/// Whether a strand is waiting for a thread or has one.
#[derive(Default)]
pub struct Schedule(AtomicU8);

const IDLING: u8 = 0;
const QUEUED: u8 = 1;
const RUNNING: u8 = 2;
const RUNNING_AND_WOKEN: u8 = 3;

#[derive(Default)]
pub struct Pool {
    state: Mutex<State>,
    work: Condvar,
    exited: Condvar,
    timer: Arc<Timer>,
}

#[derive(Default)]
struct State {
    ready: VecDeque<Arc<dyn Strand>>,
    /// Counts pieces of work that were begun.
    begun: u64,
    threads: usize,
    idle: usize,
    watched: bool,
    stopped: bool,
    handles: Vec<JoinHandle<()>>,
}

thread_local! {
    /// The pool that this thread belongs to; 0 for none.
    static WORKER_OF: Cell<usize> = const { Cell::new(0) };
}

impl Pool {
    pub fn new(timer: Arc<Timer>) -> Arc<Self> {
        Arc::new(Self { timer, ..Self::default() })
    }

    /// Makes sure that there is a thread at all, before callbacks are promised.
    pub fn ensure_thread(self: &Arc<Self>) -> Result<()> {
        let mut state = self.state.hold();
        if state.threads == 0 {
            self.start_thread(&mut state)?;
        }
        Ok(())
    }

    /// Has the strand run soon. May be called under any lock but the pool's own.
    pub fn wake(self: &Arc<Self>, strand: Arc<dyn Strand>) {
        let state = &strand.schedule().0;
        let woken = |from, to| {
            state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
        };
        loop {
            if woken(IDLING, QUEUED) {
                return self.push(strand);
            }
            if woken(RUNNING, RUNNING_AND_WOKEN) || state.load(Ordering::Acquire) & QUEUED != 0 {
                return;
            }
        }
    }

    fn push(self: &Arc<Self>, strand: Arc<dyn Strand>) {
        let mut state = self.state.hold();
        if state.stopped {
            return;
        }
        state.ready.push_back(strand);
        if state.idle > 0 {
            self.work.notify_one();
        }
        self.watch_for_blocked(&mut state);
    }

    /// Looks again after a moment; if nothing was begun meanwhile, starts a thread.
    fn watch_for_blocked(self: &Arc<Self>, state: &mut State) {
        if state.watched || state.ready.is_empty() || state.stopped {
            return;
        }
        state.watched = true;
        let (pool, begun) = (Arc::downgrade(self), state.begun);
        self.timer.after(PATIENCE, move || {
            let Some(pool) = pool.upgrade() else { return };
            let mut state = pool.state.hold();
            state.watched = false;
            if state.begun == begun && !state.ready.is_empty() && !state.stopped {
                // Without a further thread the work waits for the ones there are.
                let _ = pool.start_thread(&mut state);
            }
            pool.watch_for_blocked(&mut state);
        });
    }

    fn start_thread(self: &Arc<Self>, state: &mut State) -> Result<()> {
        let pool = self.clone();
        let thread = sys::spawn("hmkv-callback", STACK, move || pool.work())
            .map_err(|e| Error::NoMemory(format!("callback thread: {e}")))?;
        state.threads += 1;
        state.handles.retain(|handle| !handle.is_finished());
        state.handles.push(thread);
        Ok(())
    }

    fn work(self: Arc<Self>) {
        WORKER_OF.set(Arc::as_ptr(&self) as usize);
        let mut state = self.state.hold();
        let mut idle_since = Instant::now();
        while !state.stopped {
            let Some(strand) = state.ready.pop_front() else {
                if state.threads > 1 && idle_since.elapsed() >= IDLE {
                    break;
                }
                state.idle += 1;
                let until = (state.threads > 1).then(|| idle_since + IDLE);
                state = wait_until(&self.work, state, until).0;
                state.idle -= 1;
                continue;
            };
            state.begun += 1;
            drop(state);
            self.run(strand);
            idle_since = Instant::now();
            state = self.state.hold();
        }
        state.threads -= 1;
        drop(state);
        self.exited.notify_all();
    }

    fn run(self: &Arc<Self>, strand: Arc<dyn Strand>) {
        strand.schedule().0.store(RUNNING, Ordering::Release);
        let piece = std::panic::AssertUnwindSafe(|| strand.clone().run());
        let more = std::panic::catch_unwind(piece).unwrap_or_else(|_| {
            strand.failed();
            false
        });
        let state = &strand.schedule().0;
        let done = !more
            && state.compare_exchange(RUNNING, IDLING, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if !done {
            state.store(QUEUED, Ordering::Release);
            self.push(strand);
        }
    }

    /// Ends the threads. Those that are inside a callback at the deadline, and the
    /// calling one, end by themselves when they can.
    pub fn stop(&self, deadline: Instant) {
        let mut state = self.state.hold();
        state.stopped = true;
        let dropped = std::mem::take(&mut state.ready);
        self.work.notify_all();
        let own = usize::from(WORKER_OF.get() == std::ptr::from_ref(self) as usize);
        while state.threads > own {
            let (next, in_time) = wait_until(&self.exited, state, Some(deadline));
            state = next;
            if !in_time {
                break;
            }
        }
        let all_exited = state.threads <= own;
        let handles = std::mem::take(&mut state.handles);
        drop(state);
        drop(dropped);
        let me = std::thread::current().id();
        for handle in handles {
            if handle.thread().id() != me && (all_exited || handle.is_finished()) {
                let _ = handle.join();
            }
        }
    }
}
