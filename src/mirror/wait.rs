//! Waiting until a copy has a revision.
//!
//! A change of the prefix brings its revision. Of one that lies elsewhere the watch tells
//! nothing for minutes; etcd can be asked for its progress, but before 3.4.25 and 3.5.8
//! the answer overtakes changes that are still to come. So the keys are asked instead:
//! where as many are there as in the copy, and none was changed since, the copy is the
//! state at the revision of the answer. What was changed and undone in between may come
//! later; the copy has no more use for it.

use super::{Copy, Mirror};
use crate::error::{Error, Result};
use crate::kv;
use crate::request::{Filter, Found, Range};
use crate::sync::{wait_until, Lock};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// How long a change has to come by itself.
const PATIENCE: Duration = Duration::from_millis(10);
/// Between two questions, at most.
const PAUSE_MOST: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct Waits {
    state: Mutex<State>,
    told: Condvar,
}

#[derive(Default)]
struct State {
    /// How many wait.
    waiting: usize,
    asking: bool,
    /// The next question, of whoever: not before this, and then after a pause.
    next: Option<(Instant, Duration)>,
    answer: Option<Unchanged>,
    ended: Option<Error>,
}

/// What changed since a copy, by an answer of the store.
pub struct Unchanged {
    since: Arc<Copy>,
    found: Found,
}

impl Unchanged {
    /// The revision whose state the copy `now` is shown to be; 0 for none.
    pub fn confirmed(&self, now: &Arc<Copy>) -> i64 {
        let same = self.found.kvs.is_empty() && self.found.total == now.count();
        if same && Arc::ptr_eq(&self.since, now) {
            return self.found.revision;
        }
        0
    }
}

impl Waits {
    /// There is a newer copy.
    pub fn tell(&self) {
        let mut state = self.state.hold();
        state.next = None;
        if state.waiting > 0 {
            self.told.notify_all();
        }
    }

    /// There will be none; the first reason counts.
    pub fn end(&self, why: Error) {
        self.state.hold().ended.get_or_insert(why);
        self.told.notify_all();
    }

    pub fn take_answer(&self) -> Option<Unchanged> {
        self.state.hold().answer.take()
    }

    /// What was asked is settled: whoever waits may ask again.
    pub fn asked(&self) {
        let mut state = self.state.hold();
        state.asking = false;
        let pause = state.next.map_or(PATIENCE, |(_, pause)| (pause * 2).min(PAUSE_MOST));
        state.next = Some((Instant::now() + pause, pause));
        self.told.notify_all();
    }
}

impl Mirror {
    /// Waits until the copy has all changes up to this revision; false when the time is
    /// over.
    pub fn wait(self: &Arc<Self>, revision: i64, timeout: Option<Duration>) -> Result<bool> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let patient = Instant::now() + PATIENCE;
        let mut state = self.waits.state.hold();
        loop {
            if self.copy.load().revision >= revision {
                return Ok(true);
            }
            if let Some(why) = &state.ended {
                return Err(why.clone());
            }
            let now = Instant::now();
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Ok(false);
            }
            let ask_at = state.next.map_or(patient, |(next, _)| next.max(patient));
            if ask_at <= now && !state.asking {
                state.asking = true;
                drop(state);
                self.ask();
                state = self.waits.state.hold();
                continue;
            }
            let until = match deadline {
                _ if state.asking => deadline,
                Some(deadline) => Some(deadline.min(ask_at)),
                None => Some(ask_at),
            };
            state.waiting += 1;
            state = wait_until(&self.waits.told, state, until).0;
            state.waiting -= 1;
        }
    }

    /// Which keys were changed since the copy that there is: one of them will do.
    fn ask(self: &Arc<Self>) {
        let Some(store) = self.store.upgrade() else { return };
        let since = self.copy.load_full();
        let filter = Filter { min_mod: since.revision + 1, ..Filter::default() };
        let range = Range { limit: 1, keys_only: true, filter, ..Range::new(self.keys.clone()) };
        let mirror = Arc::downgrade(self);
        kv::list(&store, range, move |found| {
            let Some(mirror) = mirror.upgrade() else { return };
            match found {
                Ok(found) => {
                    mirror.waits.state.hold().answer = Some(Unchanged { since, found });
                    mirror.wake();
                }
                Err(_) => mirror.waits.asked(),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Event, KeyValue};

    #[test]
    fn a_copy_is_confirmed_by_as_many_keys_and_no_change() {
        let kv = KeyValue { key: "a".into(), mod_revision: 2, ..KeyValue::default() };
        let copy =
            |revision| Arc::new(Copy::default().after([Event::put(kv.clone(), None)], revision));
        let (then, later) = (copy(2), copy(3));
        let confirmed = |kvs: &[KeyValue], total, now| {
            let found = Found { kvs: kvs.to_vec(), total, revision: 9, more: false };
            Unchanged { since: then.clone(), found }.confirmed(now)
        };
        assert_eq!(confirmed(&[], 1, &then), 9);
        assert_eq!(confirmed(std::slice::from_ref(&kv), 1, &then), 0, "one was changed");
        assert_eq!(confirmed(&[], 0, &then), 0, "one was deleted");
        assert_eq!(confirmed(&[], 1, &later), 0, "it is about another copy");
    }
}
