//! When the calls of a connection were answered: what tells a member that is busy from
//! one that says nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub struct Answers {
    born: Instant,
    /// When a call was answered last, since its birth.
    last_us: AtomicU64,
    /// When the first call was begun that was given up since then, likewise.
    unanswered_us: AtomicU64,
}

impl Answers {
    pub fn none_yet() -> Self {
        Self { born: Instant::now(), last_us: AtomicU64::new(0), unanswered_us: AtomicU64::new(0) }
    }

    /// A call is answered.
    pub fn note(&self) {
        self.last_us.store(self.since_birth(Instant::now()), Ordering::Relaxed);
    }

    pub fn last(&self) -> Instant {
        self.at(self.last_us.load(Ordering::Relaxed))
    }

    /// A call begun then is given up: since when no call was answered, as far as those
    /// that were given up tell.
    pub fn missing_since(&self, begun: Instant) -> Instant {
        let first_us = self.unanswered_us.load(Ordering::Relaxed);
        if first_us > self.last_us.load(Ordering::Relaxed) {
            return begun.min(self.at(first_us));
        }
        self.unanswered_us.store(self.since_birth(begun), Ordering::Relaxed);
        begun
    }

    fn at(&self, since_birth_us: u64) -> Instant {
        self.born + Duration::from_micros(since_birth_us)
    }

    fn since_birth(&self, then: Instant) -> u64 {
        then.saturating_duration_since(self.born).as_micros() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_missing_since_the_first_call_that_was_given_up() {
        let answers = Answers::none_yet();
        let at = |ms| answers.born + Duration::from_millis(ms);
        assert_eq!(answers.missing_since(at(100)), at(100));
        assert_eq!(answers.missing_since(at(200)), at(100));
        assert_eq!(answers.missing_since(at(50)), at(50), "one that waits longer than that");
    }

    #[test]
    fn an_answer_begins_it_anew() {
        let answers = Answers::none_yet();
        let at = |ms| answers.born + Duration::from_millis(ms);
        answers.missing_since(at(100));
        answers.last_us.store(150_000, Ordering::Relaxed);
        assert_eq!(
            answers.missing_since(at(120)),
            at(120),
            "while it waited, another was answered"
        );
        assert_eq!(answers.missing_since(at(200)), at(200));
        assert_eq!(answers.missing_since(at(300)), at(200));
    }
}
