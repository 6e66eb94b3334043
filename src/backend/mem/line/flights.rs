//! Requests that are under way, and what is known of each.

use crate::backend::Completion;
use crate::error::{Error, Result};
use crate::fault::Fate;
use crate::request::{Request, Response};
use crate::timer::Entry;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const BROKEN: &str = "the connection broke before the answer came";

#[derive(Default)]
pub struct Flights {
    /// In the order in which they were begun.
    all: BTreeMap<u64, Flying>,
    next: u64,
    trips: u64,
    /// No request overtakes the one before, nor does an answer.
    last: Option<Trip>,
}

/// One attempt: there in half of the delay, and back in the other.
#[derive(Clone, Copy)]
pub struct Trip {
    flight: u64,
    number: u64,
    pub arrives: Instant,
    pub returns: Instant,
}

struct Flying {
    request: Request,
    /// None when nobody waits for the answer.
    done: Option<Completion>,
    alarm: Option<Entry>,
    leg: Leg,
    /// A former attempt may have been applied.
    unknown: bool,
}

enum Leg {
    /// Not sent.
    Waiting,
    There(u64, Option<Fate>),
    Back(u64, Result<Response>),
}

/// To be told to whoever waits.
pub struct Ended {
    pub done: Completion,
    pub alarm: Option<Entry>,
    pub answer: Result<Response>,
}

impl Flying {
    /// What to answer where there will be no answer of the store.
    fn known(&self, why: Error) -> Error {
        let sent = self.unknown || !matches!(self.leg, Leg::Waiting);
        if sent && self.request.writes() {
            return Error::Indeterminate(why.to_string());
        }
        why
    }

    fn end(&mut self, why: Error) -> Option<Ended> {
        let (done, answer) = (self.done.take()?, Err(self.known(why)));
        Some(Ended { done, alarm: self.alarm.take(), answer })
    }
}

impl Flights {
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub fn numbers(&self) -> Vec<u64> {
        self.all.keys().copied().collect()
    }

    pub fn add(&mut self, request: Request, done: Completion) -> u64 {
        let number = self.next;
        self.next += 1;
        let (done, leg) = (Some(done), Leg::Waiting);
        self.all.insert(number, Flying { request, done, alarm: None, leg, unknown: false });
        number
    }

    pub fn set_alarm(&mut self, number: u64, alarm: Entry) {
        if let Some(flight) = self.all.get_mut(&number) {
            flight.alarm = Some(alarm);
        }
    }

    pub fn send(
        &mut self,
        number: u64,
        delay: Duration,
        fate: impl FnOnce(&Request) -> Option<Fate>,
    ) -> Option<Trip> {
        let flight = self.all.get_mut(&number)?;
        let now = Instant::now();
        let (mut arrives, mut returns) = (now + delay / 2, now + delay);
        if let Some(last) = self.last {
            (arrives, returns) = (arrives.max(last.arrives), returns.max(last.returns));
        }
        self.trips += 1;
        flight.leg = Leg::There(self.trips, fate(&flight.request));
        if let Some(done) = flight.done.as_mut().filter(|_| flight.request.writes()) {
            done.begin_writing();
        }
        let trip = Trip { flight: number, number: self.trips, arrives, returns };
        self.last = Some(trip);
        Some(trip)
    }

    /// Whether the answer is wanted.
    pub fn arrive(
        &mut self,
        trip: Trip,
        execute: impl FnOnce(&Request) -> Result<Response>,
    ) -> bool {
        let Some(flight) = self.all.get_mut(&trip.flight) else { return false };
        let fate = match flight.leg {
            Leg::There(number, fate) if number == trip.number => fate,
            _ => return false,
        };
        let applied = (fate != Some(Fate::Dropped)).then(|| execute(&flight.request));
        if flight.done.is_none() {
            self.all.remove(&trip.flight);
            return false;
        }
        let answer = applied.filter(|_| fate.is_none());
        let lost = || Err(Error::Indeterminate(BROKEN.into()));
        flight.leg = Leg::Back(trip.number, answer.unwrap_or_else(lost));
        true
    }

    pub fn take_answered(&mut self, trip: Trip) -> Option<Ended> {
        let flight = self.all.get(&trip.flight)?;
        if !matches!(flight.leg, Leg::Back(number, _) if number == trip.number) {
            return None;
        }
        let Flying { done, alarm, leg, .. } = self.all.remove(&trip.flight)?;
        match (done, leg) {
            (Some(done), Leg::Back(_, answer)) => Some(Ended { done, alarm, answer }),
            _ => None,
        }
    }

    /// Nobody waits for this one any more; if it is on its way it still arrives.
    pub fn end(&mut self, number: u64, why: Error) -> Option<Ended> {
        let flight = self.all.get_mut(&number)?;
        let ended = flight.end(why);
        if !matches!(flight.leg, Leg::There(..)) {
            self.all.remove(&number);
        }
        ended
    }

    /// Likewise, of all of a kind, because the store is closed.
    pub fn end_all(&mut self, kind: impl Fn(&Request) -> bool) -> Vec<Ended> {
        let of_kind = self.all.iter().filter(|(_, flight)| kind(&flight.request));
        let numbers: Vec<u64> = of_kind.map(|(number, _)| *number).collect();
        numbers.into_iter().filter_map(|number| self.end(number, Error::Closed)).collect()
    }

    /// The connection breaks. What was under way waits to be sent again, where that does
    /// no harm.
    pub fn break_all(&mut self) -> Vec<Ended> {
        self.last = None;
        let mut ended = Vec::new();
        self.all.retain(|_, flight| {
            if flight.request.repeatable() && flight.done.is_some() {
                flight.unknown = true;
                flight.leg = Leg::Waiting;
                return true;
            }
            ended.extend(flight.end(Error::Unavailable(BROKEN.into())));
            false
        });
        ended
    }
}
