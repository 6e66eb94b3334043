//! Where callbacks run: on threads of the library, as few as do the work, as many as are
//! blocked; or on whichever thread asks for it.

mod polled;

pub use polled::Polled;

use crate::error::{Error, Result};
use crate::sync::{wait_until, AtomicU8, Lock};
use crate::sys;
use crate::timer::Timer;
use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A user's callback may need as much as on a thread of its own.
pub const STACK: usize = 8 << 20;
/// When work has waited this long, all threads count as blocked: one more is started.
const PATIENCE: Duration = Duration::from_millis(5);
/// As many threads as were idle all the time for so long are too many, and end. Which of
/// them are idle changes with every piece of work, so none is judged by its own.
const IDLE: Duration = Duration::from_secs(5);

/// Work that comes in pieces, one piece at a time, in order.
pub trait Strand: Send + Sync {
    fn schedule(&self) -> &Schedule;
    /// Does as much of the work as the turn allows; true if more is there.
    fn run(self: Arc<Self>, turn: &mut Turn) -> bool;
    /// A piece of work panicked.
    fn failed(&self) {}
}

/// Steps in one go, before other strands get the thread.
const BATCH: usize = 64;

/// How much a strand may do in one go, and what it did.
pub struct Turn {
    left: usize,
    steps: usize,
    called: usize,
}

impl Turn {
    fn new(most: usize) -> Self {
        Self { left: most.min(BATCH), steps: 0, called: 0 }
    }

    pub fn is_over(&self) -> bool {
        self.left == 0
    }

    pub fn step(&mut self) {
        self.left = self.left.saturating_sub(1);
        self.steps += 1;
    }

    /// A callback of the user is called.
    pub fn call(&mut self) {
        self.called += 1;
    }

    /// Something, in any case.
    fn done(&self) -> usize {
        self.steps.max(self.called).max(1)
    }
}

impl Default for Turn {
    fn default() -> Self {
        Self::new(BATCH)
    }
}

/// Runs a strand from a queue; true if it is to be queued again.
fn run(strand: &Arc<dyn Strand>, turn: &mut Turn) -> bool {
    strand.schedule().begin();
    let piece = std::panic::AssertUnwindSafe(|| strand.clone().run(turn));
    let more = std::panic::catch_unwind(piece).unwrap_or_else(|_| {
        strand.failed();
        false
    });
    strand.schedule().end(more)
}

/// Where the callbacks of a store run.
#[derive(Clone)]
pub enum Dispatcher {
    Threads(Arc<Pool>),
    Caller(Arc<Polled>),
}

impl Dispatcher {
    /// Before callbacks are promised.
    pub fn ensure_thread(&self) -> Result<()> {
        match self {
            Self::Threads(pool) => pool.ensure_thread(),
            Self::Caller(_) => Ok(()),
        }
    }

    /// Has the strand run soon, or when it is asked for. May be called under any lock but
    /// those of this module.
    pub fn wake(&self, strand: Arc<dyn Strand>) {
        match self {
            Self::Threads(pool) => pool.wake(strand),
            Self::Caller(polled) => polled.wake(strand),
        }
    }
}

/// Whether a strand is waiting for a thread or has one.
#[derive(Default)]
pub struct Schedule(AtomicU8);

const IDLING: u8 = 0;
const QUEUED: u8 = 1;
const RUNNING: u8 = 2;
const RUNNING_AND_WOKEN: u8 = 3;

impl Schedule {
    /// There is something to do; true if it is to be queued.
    fn wake(&self) -> bool {
        loop {
            if self.step(IDLING, QUEUED) {
                return true;
            }
            if self.step(RUNNING, RUNNING_AND_WOKEN) || self.0.load(Ordering::Acquire) & QUEUED != 0
            {
                return false;
            }
        }
    }

    /// It was taken from the queue.
    fn begin(&self) {
        self.0.store(RUNNING, Ordering::Release);
    }

    /// A piece is done; true if it is to be queued again.
    fn end(&self, more: bool) -> bool {
        if !more && self.step(RUNNING, IDLING) {
            return false;
        }
        // A swap, which has its place after each wake, also for loom.
        self.0.swap(QUEUED, Ordering::AcqRel);
        true
    }

    fn step(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

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
    spare: Spare,
    watched: bool,
    stopped: bool,
    handles: Vec<JoinHandle<()>>,
}

/// How many threads were not needed lately.
#[derive(Default)]
struct Spare {
    since: Option<Instant>,
    /// The fewest that were idle since then when work was taken; none was taken: None.
    fewest: Option<usize>,
    /// Are still to end.
    surplus: usize,
}

impl Spare {
    /// `idle` others have nothing to do.
    fn taken(&mut self, idle: usize) {
        self.fewest = Some(self.fewest.map_or(idle, |fewest| fewest.min(idle)));
    }

    /// Whether a thread that finds nothing to do ends, beside `idle` others.
    fn ends_one(&mut self, idle: usize, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        if now.duration_since(since) >= IDLE {
            let surplus = self.fewest.map_or(idle + 1, |fewest| fewest.min(idle + 1));
            *self = Self { since: Some(now), fewest: None, surplus };
        }
        let ends = self.surplus > 0;
        self.surplus = self.surplus.saturating_sub(1);
        ends
    }

    /// One more was needed.
    fn started(&mut self) {
        (self.fewest, self.surplus) = (Some(0), 0);
    }
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
        if strand.schedule().wake() {
            self.push(strand);
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
                if state.idle > 0 {
                    // The machine is slow to run those; it would not run one more sooner.
                    pool.work.notify_one();
                } else {
                    // Without a further thread the work waits for the ones there are.
                    let _ = pool.start_thread(&mut state);
                }
            }
            pool.watch_for_blocked(&mut state);
        });
    }

    fn start_thread(self: &Arc<Self>, state: &mut State) -> Result<()> {
        let pool = self.clone();
        let thread = sys::spawn("hmkv-callback", STACK, move || pool.work())
            .map_err(|e| Error::NoMemory(format!("callback thread: {e}")))?;
        state.threads += 1;
        state.spare.started();
        state.handles.retain(|handle| !handle.is_finished());
        state.handles.push(thread);
        Ok(())
    }

    fn work(self: Arc<Self>) {
        WORKER_OF.set(Arc::as_ptr(&self) as usize);
        let mut state = self.state.hold();
        while !state.stopped {
            let Some(strand) = state.ready.pop_front() else {
                let idle = state.idle;
                if state.threads > 1 && state.spare.ends_one(idle, Instant::now()) {
                    break;
                }
                state.idle += 1;
                let until = (state.threads > 1).then(|| Instant::now() + IDLE);
                state = wait_until(&self.work, state, until).0;
                state.idle -= 1;
                continue;
            };
            state.begun += 1;
            let idle = state.idle;
            state.spare.taken(idle);
            drop(state);
            if run(&strand, &mut Turn::default()) {
                self.push(strand);
            }
            state = self.state.hold();
        }
        state.threads -= 1;
        drop(state);
        self.exited.notify_all();
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

#[cfg(all(test, model))]
mod model {
    use super::*;
    use crate::sync::{AtomicUsize, Mutex};
    use loom::thread;

    /// A strand with its work, and the queue of a pool.
    #[derive(Default)]
    struct Work {
        schedule: Schedule,
        there: Mutex<usize>,
        done: AtomicUsize,
        at_it: AtomicUsize,
        queued: Mutex<usize>,
    }

    impl Work {
        fn add(&self) {
            *self.there.hold() += 1;
            if self.schedule.wake() {
                *self.queued.hold() += 1;
            }
        }

        /// As a thread of the pool: false where nothing is queued. One piece of work at
        /// a time; whatever is there after it is told of by the strand.
        fn run(&self) -> bool {
            {
                let mut queued = self.queued.hold();
                assert!(*queued < 2, "queued twice");
                if *queued == 0 {
                    return false;
                }
                *queued -= 1;
            }
            self.schedule.begin();
            assert_eq!(self.at_it.fetch_add(1, Ordering::AcqRel), 0, "run twice at once");
            let (piece, more) = {
                let mut there = self.there.hold();
                let piece = (*there).min(1);
                *there -= piece;
                (piece, *there > 0)
            };
            self.done.fetch_add(piece, Ordering::Relaxed);
            self.at_it.fetch_sub(1, Ordering::AcqRel);
            if self.schedule.end(more) {
                *self.queued.hold() += 1;
            }
            true
        }
    }

    #[test]
    fn model_all_that_is_added_is_done_and_by_one_at_a_time() {
        loom::model(|| {
            let work = Arc::new(Work::default());
            let adding = work.clone();
            let adding = thread::spawn(move || adding.add());
            let running = work.clone();
            let running = thread::spawn(move || running.run());
            work.add();
            work.run();
            let _ = (adding.join(), running.join());
            while work.run() {}
            assert_eq!(work.done.load(Ordering::Relaxed), 2);
            assert_eq!(work.schedule.0.load(Ordering::Acquire), IDLING);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `idle` end at `now`, each of which finds nothing to do.
    fn ended(spare: &mut Spare, idle: usize, now: Instant) -> usize {
        (0..idle).filter(|&ended| spare.ends_one(idle - 1 - ended, now)).count()
    }

    #[test]
    fn those_end_that_were_idle_all_the_time() {
        let (mut spare, start) = (Spare::default(), Instant::now());
        assert_eq!(ended(&mut spare, 1, start), 0);
        // A little work, each time by another one of ten.
        (0..100).for_each(|_| spare.taken(9));
        assert_eq!(ended(&mut spare, 10, start + IDLE / 2), 0);
        spare.taken(7);
        assert_eq!(ended(&mut spare, 10, start + IDLE), 7);
        assert_eq!(ended(&mut spare, 3, start + IDLE), 0);
    }

    #[test]
    fn without_work_all_end() {
        let (mut spare, start) = (Spare::default(), Instant::now());
        assert_eq!(ended(&mut spare, 4, start), 0);
        assert_eq!(ended(&mut spare, 4, start + IDLE), 4);
    }

    #[test]
    fn when_one_more_was_needed_none_ends_for_a_while() {
        let (mut spare, start) = (Spare::default(), Instant::now());
        assert_eq!(ended(&mut spare, 2, start), 0);
        assert!(spare.ends_one(1, start + IDLE));
        spare.started();
        assert_eq!(ended(&mut spare, 2, start + IDLE), 0);
        assert_eq!(ended(&mut spare, 2, start + 2 * IDLE), 0);
        assert_eq!(ended(&mut spare, 2, start + 3 * IDLE), 2);
    }
}
