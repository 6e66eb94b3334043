//! One thread that runs short, non-blocking tasks at their time.

use crate::error::{Error, Result};
use crate::sync::{wait_until, Lock};
use crate::sys;
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

type Task = Box<dyn FnOnce() + Send>;

/// A task that is not due yet.
pub struct Entry((Instant, u64));

impl Entry {
    pub fn is_due(&self) -> bool {
        self.0 .0 <= Instant::now()
    }
}

#[derive(Default)]
pub struct Timer {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// By time; the number keeps tasks of one instant apart and in order.
    tasks: BTreeMap<(Instant, u64), Task>,
    next: u64,
    /// When the thread looks around next; none: when it is told.
    sleeps_until: Option<Instant>,
    stopped: bool,
}

impl Timer {
    pub fn start() -> Result<(Arc<Self>, JoinHandle<()>)> {
        let timer = Arc::new(Self::default());
        let run = timer.clone();
        let thread = sys::spawn("hmkv-timer", 256 << 10, move || run.run())
            .map_err(|e| Error::NoMemory(format!("timer thread: {e}")))?;
        Ok((timer, thread))
    }

    /// What is returned can call it off.
    pub fn at(&self, when: Instant, task: impl FnOnce() + Send + 'static) -> Entry {
        let mut state = self.state.hold();
        let entry = (when, state.next);
        state.next += 1;
        state.tasks.insert(entry, Box::new(task));
        // Waking a thread costs more than its looking around in vain later.
        let oversleeps = state.sleeps_until.is_none_or(|until| when < until);
        drop(state);
        if oversleeps {
            self.changed.notify_one();
        }
        Entry(entry)
    }

    pub fn call_off(&self, entry: &Entry) {
        let task = self.state.hold().tasks.remove(&entry.0);
        drop(task);
    }

    pub fn after(&self, delay: Duration, task: impl FnOnce() + Send + 'static) {
        let _never_called_off = self.at(Instant::now() + delay, task);
    }

    /// Ends the thread; tasks that are not due are dropped.
    pub fn stop(&self) {
        self.state.hold().stopped = true;
        self.changed.notify_one();
    }

    fn run(&self) {
        let mut state = self.state.hold();
        while !state.stopped {
            let due = match state.tasks.first_entry() {
                Some(entry) if entry.key().0 <= Instant::now() => entry.remove(),
                first => {
                    let when = first.map(|entry| entry.key().0);
                    state.sleeps_until = when;
                    state = wait_until(&self.changed, state, when).0;
                    continue;
                }
            };
            drop(state);
            // A task that panics is a bug in it, and no reason to stop the others.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(due));
            state = self.state.hold();
        }
        let left = std::mem::take(&mut state.tasks);
        drop(state);
        drop(left);
    }
}
