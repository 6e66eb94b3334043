//! The descriptor in every order that those who post and those who dispatch can take.

use super::super::Schedule;
use super::*;
use crate::sync::AtomicUsize;
use loom::thread;
use std::sync::atomic::Ordering;

const STORE: u64 = 7;

/// Callbacks that wait, one piece of work each.
struct Work {
    schedule: Schedule,
    waiting: AtomicUsize,
    called: AtomicUsize,
    /// Closing the store runs it.
    promised: Option<Arc<Callbacks>>,
}

impl Work {
    fn new(promised: Option<&Arc<Callbacks>>) -> Arc<Self> {
        Arc::new(Self {
            schedule: Schedule::default(),
            waiting: AtomicUsize::new(0),
            called: AtomicUsize::new(0),
            promised: promised.cloned(),
        })
    }

    fn called(&self) -> usize {
        self.called.load(Ordering::Acquire)
    }
}

impl Strand for Work {
    fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    fn run(self: Arc<Self>, turn: &mut Turn) -> bool {
        turn.step();
        let before = self
            .waiting
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |waiting| waiting.checked_sub(1));
        if before.is_ok() {
            turn.call();
            self.called.fetch_add(1, Ordering::AcqRel);
            if let Some(callbacks) = &self.promised {
                callbacks.fulfilled();
            }
        }
        before.is_ok_and(|before| before > 1)
    }
}

fn polled() -> Arc<Polled> {
    Polled::new(Callbacks::new(STORE)).expect("a stand-in")
}

impl Polled {
    fn post(&self, work: &Arc<Work>) {
        work.waiting.fetch_add(1, Ordering::AcqRel);
        self.wake(work.clone());
    }

    /// At any time, not only at rest: the lock is what makes the two one.
    fn check(&self) {
        let ready = self.ready.hold();
        assert_eq!(self.signal.is_readable(), !ready.strands.is_empty());
    }

    /// As a loop that asks the descriptor and nothing else; by the end of it all is done.
    fn run_while_readable(&self) -> usize {
        let mut called = 0;
        while self.signal.is_readable() {
            called += self.run(1);
            self.check();
        }
        called
    }
}

#[test]
fn model_at_rest_the_descriptor_is_readable_exactly_if_something_is_ready() {
    loom::model(|| {
        let (polled, one, other) = (polled(), Work::new(None), Work::new(None));
        let (its, posted) = (polled.clone(), [one.clone(), other.clone()]);
        let posting = thread::spawn(move || posted.iter().for_each(|work| its.post(work)));
        let its = polled.clone();
        let dispatching = thread::spawn(move || its.run(1));
        let mut called = polled.run(1);
        posting.join().expect("it ends");
        called += dispatching.join().expect("it ends");
        polled.check();
        assert_eq!(called, one.called() + other.called());
        called += polled.run_while_readable();
        assert_eq!((called, one.called(), other.called()), (2, 1, 1));
    });
}

#[test]
fn model_at_any_time_the_descriptor_fits_what_is_ready() {
    loom::model(|| {
        let (polled, work) = (polled(), Work::new(None));
        let (its, posted) = (polled.clone(), work.clone());
        let posting = thread::spawn(move || its.post(&posted));
        let its = polled.clone();
        let dispatching = thread::spawn(move || its.run(2));
        polled.check();
        polled.post(&work);
        polled.check();
        posting.join().expect("it ends");
        let called = dispatching.join().expect("it ends");
        polled.check();
        assert_eq!(called + polled.run_while_readable(), 2);
    });
}

#[test]
fn model_of_one_strand_nothing_stays_behind_an_unreadable_descriptor() {
    loom::model(|| {
        let (polled, work) = (polled(), Work::new(None));
        polled.post(&work);
        let (its, posted) = (polled.clone(), work.clone());
        let posting = thread::spawn(move || its.post(&posted));
        let its = polled.clone();
        let dispatching = thread::spawn(move || its.run_while_readable());
        let called = polled.run(1);
        posting.join().expect("it ends");
        let called = called + dispatching.join().expect("it ends");
        assert_eq!(called + polled.run_while_readable(), 2);
        assert_eq!(work.called(), 2);
    });
}

#[test]
fn model_closing_runs_what_is_promised() {
    loom::model(|| {
        let polled = polled();
        let work = Work::new(Some(&polled.callbacks));
        assert!(polled.callbacks.expect());
        let (its, posted) = (polled.clone(), work.clone());
        let posting = thread::spawn(move || its.post(&posted));
        assert!(polled.close(Instant::now() + Duration::from_secs(3600)));
        assert_eq!(work.called(), 1);
        posting.join().expect("it ends");
        assert_eq!(polled.run(1), 0);
    });
}
