//! A request that was submitted, until its maker takes the outcome.

use crate::backend::{Completion, Flight};
use crate::dispatch::{self, Dispatcher, Schedule, Strand, Turn};
use crate::error::{Error, Result};
use crate::gate::{Callbacks, Gate};
use crate::pager;
use crate::request::{Found, Range, Request, Response};
use crate::store::Store;
use crate::sync::{wait_until, Lock};
use crate::sys;
use crate::types::KeyValue;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Yes,
    NotFound,
    CompareFailed,
}

/// The answer to a request, or to one operation of a transaction.
#[derive(Debug)]
pub struct Answer {
    pub verdict: Verdict,
    pub revision: i64,
    pub kvs: Vec<KeyValue>,
    pub total: u64,
    pub subs: Vec<Answer>,
    /// What was asked for, where `kvs` has yet to be made that.
    pub asked: Option<Range>,
}

impl Answer {
    pub fn new(verdict: Verdict, revision: i64) -> Self {
        Self { verdict, revision, kvs: Vec::new(), total: 0, subs: Vec::new(), asked: None }
    }

    pub fn of_range(found: Found) -> Self {
        let Found { kvs, revision, total, .. } = found;
        Self { kvs, total, ..Self::new(Verdict::Yes, revision) }
    }

    /// The sorting is left to whoever takes the answer: a large one would hold up the
    /// thread that reads those of others.
    pub fn not_arranged(self, asked: Range) -> Self {
        Self { asked: Some(asked), ..self }
    }

    pub fn arranged(mut self) -> Self {
        if let Some(asked) = self.asked.take() {
            pager::arrange(&asked, &mut self.kvs);
        }
        self
    }
}

pub type Outcome = Result<Answer>;

/// Takes an outcome, once.
pub trait DoneConsumer: Send {
    fn done(self: Box<Self>, outcome: Outcome);
}

pub struct Op(Arc<Submitted>);

/// The part that the request's completions see.
pub struct Submitted {
    state: Mutex<State>,
    /// A thread sleeps on it: telling nobody would be a system call too.
    waiting: AtomicBool,
    changed: Condvar,
    forks: u32,
    /// Where its callback runs; none without a store.
    home: Option<Home>,
}

type Home = (Dispatcher, Arc<Callbacks>);

fn home(store: &Store) -> Home {
    (store.dispatcher().clone(), store.callbacks().clone())
}

enum State {
    Running(Option<Box<dyn Flight>>),
    Finished(Outcome),
    /// To be called; closing the store waits for it if it is expected.
    Then {
        consumer: Box<dyn DoneConsumer>,
        expected: bool,
    },
    Taken,
}

impl Op {
    /// Without a store.
    pub fn failed(error: Error) -> Self {
        Self(Submitted::new(State::Finished(Err(error)), None))
    }

    /// Not even submitted.
    pub fn refused(store: &Store, error: Error) -> Self {
        Self(Submitted::new(State::Finished(Err(error)), Some(home(store))))
    }

    /// Submits what one answer settles.
    pub fn single(
        store: &Store,
        request: Request,
        timeout: Option<Duration>,
        read: impl FnOnce(Response) -> Outcome + Send + 'static,
    ) -> Self {
        let writes = request.writes();
        let understood = move |answer| {
            read(answer).map_err(|error| match error {
                // An answer that makes no sense does not tell what became of a write.
                Error::Internal(why) if writes => Error::Indeterminate(why),
                error => error,
            })
        };
        Self::of_answer(store, request, timeout, |answer| answer.and_then(understood))
    }

    /// Likewise; a failure may be as good as an answer.
    pub fn of_answer(
        store: &Store,
        request: Request,
        timeout: Option<Duration>,
        read: impl FnOnce(Result<Response>) -> Outcome + Send + 'static,
    ) -> Self {
        let op = Submitted::begin(store);
        let given = op.clone();
        let done = Completion::new(move |answer| given.finish(read(answer)));
        op.under_way(store.submit(request, timeout, done));
        Self(op)
    }

    pub fn of(submitted: Arc<Submitted>) -> Self {
        Self(submitted)
    }

    pub fn wait(self) -> Outcome {
        self.check_process()?;
        let mut state = self.0.state.hold();
        while let State::Running(flight) = &mut *state {
            if let Some(flight) = flight.take() {
                drop(state);
                flight.drive();
                state = self.0.state.hold();
            } else {
                self.0.waiting.store(true, Ordering::Relaxed);
                state = wait_until(&self.0.changed, state, None).0;
            }
        }
        match std::mem::replace(&mut *state, State::Taken) {
            State::Finished(outcome) => outcome,
            _ => Err(Error::Internal("the outcome was taken".into())),
        }
    }

    /// Gives it up; or what its outcome is.
    pub fn cancel(self) -> Result<Verdict> {
        self.check_process()?;
        let state = std::mem::replace(&mut *self.0.state.hold(), State::Taken);
        match state {
            State::Finished(outcome) => outcome.map(|answer| answer.verdict),
            State::Running(Some(flight)) => Err(flight.cancel()),
            _ => Err(Error::Canceled),
        }
    }

    pub fn then(self, consumer: Box<dyn DoneConsumer>) {
        if self.check_process().is_err() {
            return alone(consumer, Err(Error::Forked));
        }
        let expected = self.0.home.as_ref().is_some_and(|(_, callbacks)| callbacks.expect());
        let mut state = self.0.state.hold();
        match std::mem::replace(&mut *state, State::Taken) {
            State::Running(flight) => {
                *state = State::Then { consumer, expected };
                drop(state);
                if let Some(flight) = flight {
                    flight.leave();
                }
            }
            State::Finished(outcome) => {
                drop(state);
                self.0.deliver(consumer, expected, outcome);
            }
            // Never: an op is taken once.
            State::Then { .. } | State::Taken => {}
        }
    }

    /// What a forked child inherited has nobody who would finish it.
    fn check_process(&self) -> Result<()> {
        if self.0.forks != sys::forks() {
            return Err(Error::Forked);
        }
        Ok(())
    }
}

impl Submitted {
    fn new(state: State, home: Option<Home>) -> Arc<Self> {
        let (state, changed) = (Mutex::new(state), Condvar::new());
        let waiting = AtomicBool::new(false);
        Arc::new(Self { state, waiting, changed, forks: sys::forks(), home })
    }

    pub fn begin(store: &Store) -> Arc<Self> {
        Self::new(State::Running(None), Some(home(store)))
    }

    /// How to give it up from now on. False when nobody wants it any more.
    pub fn under_way(&self, flight: Option<Box<dyn Flight>>) -> bool {
        let mut state = self.state.hold();
        match &mut *state {
            State::Running(current) => {
                *current = flight;
                self.tell(state);
                true
            }
            State::Taken => {
                drop(state);
                if let Some(flight) = flight {
                    flight.cancel();
                }
                false
            }
            State::Finished(_) => true,
            State::Then { .. } => {
                drop(state);
                if let Some(flight) = flight {
                    flight.leave();
                }
                true
            }
        }
    }

    pub fn finish(&self, outcome: Outcome) {
        let mut state = self.state.hold();
        match std::mem::replace(&mut *state, State::Taken) {
            State::Running(_) => {
                *state = State::Finished(outcome);
                self.tell(state);
            }
            State::Then { consumer, expected } => {
                drop(state);
                self.deliver(consumer, expected, outcome);
            }
            State::Finished(_) | State::Taken => {}
        }
    }

    /// Wakes the thread that waits for it.
    fn tell(&self, state: MutexGuard<'_, State>) {
        let waiting = self.waiting.load(Ordering::Relaxed);
        drop(state);
        if waiting {
            self.changed.notify_one();
        }
    }

    fn deliver(&self, consumer: Box<dyn DoneConsumer>, expected: bool, outcome: Outcome) {
        match &self.home {
            Some((dispatcher, callbacks)) if expected => {
                callbacks.result_waits();
                let delivery = Delivery {
                    schedule: Schedule::default(),
                    gate: Gate::new(callbacks),
                    callbacks: callbacks.clone(),
                    work: Mutex::new(Some((consumer, outcome))),
                };
                dispatcher.wake(Arc::new(delivery));
            }
            _ => alone(consumer, outcome),
        }
    }
}

/// Without a store that is open there are no threads to call it on.
fn alone(consumer: Box<dyn DoneConsumer>, outcome: Outcome) {
    let work = Arc::new(Mutex::new(Some((consumer, outcome))));
    let its = work.clone();
    let run = move || {
        let work = its.hold().take();
        if let Some((consumer, outcome)) = work.filter(|_| !sys::exiting()) {
            consumer.done(outcome);
        }
    };
    if sys::spawn("hmkv-callback", dispatch::STACK, run.clone()).is_err() {
        run();
    }
}

/// An outcome on its way to its callback.
struct Delivery {
    schedule: Schedule,
    gate: Gate,
    callbacks: Arc<Callbacks>,
    work: Mutex<Option<(Box<dyn DoneConsumer>, Outcome)>>,
}

impl Strand for Delivery {
    fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    fn run(self: Arc<Self>, turn: &mut Turn) -> bool {
        let work = self.take();
        if let Some((consumer, outcome)) = work {
            self.gate.pass(|| {
                turn.call();
                consumer.done(outcome);
            });
        }
        false
    }
}

impl Delivery {
    fn take(&self) -> Option<(Box<dyn DoneConsumer>, Outcome)> {
        let work = self.work.hold().take();
        if work.is_some() {
            self.callbacks.result_is_taken();
        }
        work
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        drop(self.take());
        self.callbacks.fulfilled();
    }
}
