//! Gates in every order that two or three threads can take.

use super::*;
use crate::sync::AtomicUsize;
use loom::thread;
use std::time::Duration;

const STORE: u64 = 7;

fn later() -> Option<Instant> {
    Some(Instant::now() + Duration::from_secs(3600))
}

/// A callback and its userdata.
struct Watch {
    gate: Gate,
    /// Given back by whoever cancelled.
    freed: AtomicUsize,
    calls: AtomicUsize,
}

impl Watch {
    fn new() -> (Arc<Callbacks>, Arc<Self>) {
        let callbacks = Callbacks::new(STORE);
        let watch = Self {
            gate: Gate::new(&callbacks),
            freed: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
        };
        (callbacks, Arc::new(watch))
    }

    fn deliver(&self) -> Option<()> {
        self.gate.pass(|| {
            self.calls.fetch_add(1, Ordering::Relaxed);
            assert_eq!(self.freed.load(Ordering::Acquire), 0, "its userdata is gone");
            thread::yield_now();
            assert_eq!(self.freed.load(Ordering::Acquire), 0, "its userdata is gone");
        })
    }

    fn cancel(&self) {
        self.gate.shut();
        self.gate.wait().expect("no circle");
        self.freed.fetch_add(1, Ordering::AcqRel);
    }
}

#[test]
fn model_after_a_cancel_the_callback_does_not_run() {
    loom::model(|| {
        let (_, watch) = Watch::new();
        let delivering = watch.clone();
        let delivering = thread::spawn(move || {
            delivering.deliver();
            delivering.deliver();
        });
        watch.cancel();
        assert_eq!(watch.deliver(), None);
        delivering.join().expect("it ends");
    });
}

#[test]
fn model_of_two_cancels_none_returns_while_the_callback_runs() {
    loom::model(|| {
        let (_, watch) = Watch::new();
        let delivering = watch.clone();
        let delivering = thread::spawn(move || delivering.deliver());
        let cancelling = watch.clone();
        let cancelling = thread::spawn(move || cancelling.cancel());
        watch.cancel();
        delivering.join().expect("it ends");
        cancelling.join().expect("it ends");
        assert_eq!(watch.freed.load(Ordering::Relaxed), 2);
    });
}

#[test]
fn model_a_cancel_from_inside_does_not_wait_and_one_from_outside_does() {
    loom::model(|| {
        let (_, watch) = Watch::new();
        let inside = watch.clone();
        let inside = thread::spawn(move || {
            inside.gate.pass(|| {
                inside.gate.shut();
                inside.gate.wait().expect("from inside");
                assert_eq!(inside.freed.load(Ordering::Acquire), 0);
            });
            assert_eq!(inside.deliver(), None);
        });
        watch.cancel();
        inside.join().expect("it ends");
    });
}

#[test]
fn model_a_closed_store_runs_no_callback() {
    loom::model(|| {
        let (callbacks, watch) = Watch::new();
        let delivering = watch.clone();
        let delivering = thread::spawn(move || {
            delivering.deliver();
            delivering.deliver();
        });
        let deadline = later().expect("a time");
        assert!(callbacks.shut(deadline, || ()), "none runs");
        watch.freed.fetch_add(1, Ordering::AcqRel);
        assert_eq!(watch.deliver(), None);
        delivering.join().expect("it ends");
    });
}

#[test]
fn model_closing_waits_for_what_was_promised() {
    loom::model(|| {
        let (callbacks, watch) = Watch::new();
        let promising = watch.clone();
        let its = callbacks.clone();
        let promising = thread::spawn(move || {
            if its.expect() {
                assert!(promising.deliver().is_some(), "it was promised");
                its.fulfilled();
            }
        });
        let deadline = later().expect("a time");
        assert!(callbacks.shut(deadline, || ()));
        watch.freed.fetch_add(1, Ordering::AcqRel);
        promising.join().expect("it ends");
    });
}

#[test]
fn model_the_last_thing_happens_alone() {
    loom::model(|| {
        let (callbacks, watch) = Watch::new();
        let delivering = watch.clone();
        let delivering = thread::spawn(move || delivering.deliver());
        let ending = watch.clone();
        let ending = thread::spawn(move || {
            ending.gate.shut();
            let mut ended = false;
            ending.gate.last(later(), || {
                ending.freed.fetch_add(1, Ordering::AcqRel);
                ended = true;
            });
            assert!(ended);
        });
        let deadline = later().expect("a time");
        assert!(callbacks.shut(deadline, || ()));
        delivering.join().expect("it ends");
        ending.join().expect("it ends");
    });
}

#[test]
fn model_callbacks_that_wait_for_each_other_are_told_so() {
    loom::model(|| {
        let callbacks = Callbacks::new(STORE);
        let gates = Arc::new([Gate::new(&callbacks), Gate::new(&callbacks)]);
        let theirs = gates.clone();
        let cancel_other = |gates: &[Gate; 2], own: usize| {
            let other = &gates[1 - own];
            gates[own].pass(|| {
                other.shut();
                other.wait()
            })
        };
        let other = thread::spawn(move || cancel_other(&theirs, 1));
        let own = cancel_other(&gates, 0);
        let other = other.join().expect("neither waits for ever");
        assert!(!matches!((&own, &other), (Some(Err(_)), Some(Err(_)))), "one goes on");
        assert!(gates.iter().all(|gate| gate.wait().is_ok()));
    });
}
