//! The way of a handle's requests to its store, where faults are made: a connection
//! that is slow, that is cut, that breaks before an answer. What becomes of a request
//! is what becomes of it on etcd.

mod flights;

use super::session::Session;
use crate::backend::{Completion, Flight};
use crate::error::Error;
use crate::fault::Fate;
use crate::request::Request;
use crate::state::{State, StateEvents};
use crate::sync::Lock;
use crate::timer::Entry;
use flights::{Ended, Flights, Trip};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

const CUT: &str = "cut off by hmkv_mem_fault";

pub struct Line {
    me: Weak<Self>,
    pub session: Session,
    pub endpoint: String,
    state: Arc<StateEvents>,
    /// Requests may have to go through here.
    faulty: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// What ends the cut.
    cut: Option<Entry>,
    delay: Duration,
    /// Of the next writes, whose answers are lost.
    fates: VecDeque<Fate>,
    flights: Flights,
    closing: bool,
    closed: bool,
}

impl Inner {
    fn is_clear(&self) -> bool {
        self.cut.is_none() && self.delay.is_zero() && self.flights.is_empty()
    }

    fn refuses(&self, request: &Request) -> bool {
        self.closed || (self.closing && !matches!(request, Request::Revoke { .. }))
    }
}

/// Whether its answer can be lost for good: the library repeats the others.
fn can_be_lost(request: &Request) -> bool {
    !request.repeatable()
}

impl Line {
    pub fn new(session: Session, endpoint: String, state: Arc<StateEvents>) -> Arc<Self> {
        let (faulty, inner) = (AtomicBool::new(false), Mutex::default());
        Arc::new_cyclic(|me| Self { me: me.clone(), session, endpoint, state, faulty, inner })
    }

    /// Whoever made a fault sees it in its next request; without, it costs no more.
    pub fn is_faulty(&self) -> bool {
        self.faulty.load(Ordering::Relaxed)
    }

    fn note_whether_faulty(&self, inner: &Inner) {
        let faulty = !inner.is_clear() || !inner.fates.is_empty();
        self.faulty.store(faulty, Ordering::Relaxed);
    }

    pub fn submit(
        &self,
        request: Request,
        deadline: Instant,
        done: Completion,
    ) -> Option<Box<dyn Flight>> {
        let mut inner = self.inner.hold();
        if inner.refuses(&request) {
            drop(inner);
            done.complete(Err(Error::Closed));
            return None;
        }
        if inner.is_clear() && (inner.fates.is_empty() || !can_be_lost(&request)) {
            drop(inner);
            done.complete(self.session.execute(&request));
            return None;
        }
        let writes = request.writes();
        let number = inner.flights.add(request, done);
        let me = self.me.clone();
        let alarm = self.session.timer.at(deadline, move || {
            if let Some(line) = me.upgrade() {
                line.give_up(number, None);
            }
        });
        inner.flights.set_alarm(number, alarm);
        if inner.cut.is_none() {
            self.send(&mut inner, number);
        }
        self.note_whether_faulty(&inner);
        Some(Box::new(Submitted { line: self.me.clone(), number, writes }))
    }

    fn send(&self, inner: &mut Inner, number: u64) {
        let Inner { fates, flights, delay, .. } = inner;
        let next_fate = |request: &Request| match can_be_lost(request) {
            true => fates.pop_front(),
            false => None,
        };
        let Some(trip) = flights.send(number, *delay, next_fate) else { return };
        self.at(trip.arrives, trip, Self::arrived);
    }

    /// Has a trip go on at its time.
    fn at(&self, when: Instant, trip: Trip, go_on: fn(&Self, Trip)) {
        let me = self.me.clone();
        self.session.timer.at(when, move || {
            if let Some(line) = me.upgrade() {
                go_on(&line, trip);
            }
        });
    }

    /// A request reaches the store, whether anybody waits for the answer or not.
    fn arrived(&self, trip: Trip) {
        let mut inner = self.inner.hold();
        if inner.flights.arrive(trip, |request| self.session.execute(request)) {
            self.at(trip.returns, trip, Self::returned);
        }
        self.note_whether_faulty(&inner);
    }

    fn returned(&self, trip: Trip) {
        let mut inner = self.inner.hold();
        let ended = inner.flights.take_answered(trip);
        self.note_whether_faulty(&inner);
        drop(inner);
        self.tell(ended);
    }

    /// Nobody waits for the answer any more: what is known of it; none where it was
    /// answered. Without a reason its time is over.
    fn give_up(&self, number: u64, why: Option<Error>) -> Option<Error> {
        let mut inner = self.inner.hold();
        let why = why.unwrap_or_else(|| {
            let cut = inner.cut.is_some();
            Error::Unavailable(if cut { CUT } else { "no answer in time" }.into())
        });
        let ended = inner.flights.end(number, why);
        self.note_whether_faulty(&inner);
        drop(inner);
        let error = ended.as_ref().and_then(|ended| ended.answer.as_ref().err().cloned());
        self.tell(ended);
        error
    }

    /// Not under the lock: whoever hears of it may make the next request.
    fn tell(&self, ended: impl IntoIterator<Item = Ended>) {
        for Ended { done, alarm, answer } in ended {
            if let Some(alarm) = alarm {
                self.session.timer.call_off(&alarm);
            }
            done.complete(answer);
        }
    }

    pub fn cut(&self, time: Duration) {
        let mut inner = self.inner.hold();
        if time.is_zero() || inner.closed {
            return self.mend(&mut inner);
        }
        let me = self.me.clone();
        let end = self.session.timer.at(Instant::now() + time, move || {
            let Some(line) = me.upgrade() else { return };
            let mut inner = line.inner.hold();
            // A cut that came meanwhile has an end of its own.
            let over = inner.cut.as_ref().is_some_and(Entry::is_due);
            if over {
                line.mend(&mut inner);
            }
        });
        let ended = match inner.cut.replace(end) {
            Some(former) => {
                self.session.timer.call_off(&former);
                Vec::new()
            }
            None => {
                self.session.cut(CUT);
                self.state.tell(State::Cut, CUT);
                inner.flights.break_all()
            }
        };
        self.note_whether_faulty(&inner);
        drop(inner);
        self.tell(ended);
    }

    /// What waited goes on.
    fn mend(&self, inner: &mut Inner) {
        let Some(end) = inner.cut.take() else { return };
        self.session.timer.call_off(&end);
        self.state.tell(State::Connected, self.endpoint.clone());
        self.session.resume();
        for number in inner.flights.numbers() {
            self.send(inner, number);
        }
        self.note_whether_faulty(inner);
    }

    pub fn delay(&self, time: Duration) {
        let mut inner = self.inner.hold();
        inner.delay = time;
        self.note_whether_faulty(&inner);
    }

    pub fn lose_answer(&self, fate: Fate) {
        let mut inner = self.inner.hold();
        inner.fates.push_back(fate);
        self.note_whether_faulty(&inner);
    }

    pub fn abort(&self) {
        let mut inner = self.inner.hold();
        inner.closing = true;
        let ended = inner.flights.end_all(|request| !matches!(request, Request::Revoke { .. }));
        drop(inner);
        self.tell(ended);
    }

    pub fn close(&self) {
        let mut inner = self.inner.hold();
        inner.closed = true;
        let ended = inner.flights.end_all(|_| true);
        inner.flights = Flights::default();
        if let Some(end) = inner.cut.take() {
            self.session.timer.call_off(&end);
            self.session.resume();
        }
        drop(inner);
        self.tell(ended);
    }
}

struct Submitted {
    line: Weak<Line>,
    number: u64,
    writes: bool,
}

impl Flight for Submitted {
    fn drive(&self) {}

    fn leave(&self) {}

    fn cancel(&self) -> Error {
        let line = self.line.upgrade();
        let known = line.and_then(|line| line.give_up(self.number, Some(Error::Canceled)));
        known.unwrap_or_else(|| match self.writes {
            // The answer was on its way to nobody.
            true => Error::Indeterminate(Error::Canceled.to_string()),
            false => Error::Canceled,
        })
    }
}
