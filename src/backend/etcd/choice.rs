//! The members' health, apart from their connections.

use std::time::{Duration, Instant};

/// How long a member that failed is left out before it is probed; doubled while it
/// goes on failing.
pub const LEAVE_OUT: Duration = Duration::from_millis(500);
pub const LEAVE_OUT_MOST: Duration = Duration::from_secs(10);

pub struct Choice {
    current: usize,
    /// When a member that is left out failed last.
    failed: Vec<Option<Instant>>,
}

impl Choice {
    pub fn new(members: usize) -> Self {
        Self { current: 0, failed: vec![None; members] }
    }

    pub fn is_out(&self, member: usize) -> bool {
        self.failed[member].is_some()
    }

    pub fn has_healthy(&self) -> bool {
        self.failed.iter().any(Option::is_none)
    }

    /// The current member; another when that is left out; when all are, the one
    /// that failed longest ago.
    pub fn pick(&mut self) -> usize {
        if self.failed[self.current].is_some() {
            let members = self.failed.len();
            let order = (0..members).map(|step| (self.current + step) % members);
            let healthy = order.clone().find(|member| !self.is_out(*member));
            let oldest = || order.min_by_key(|member| self.failed[*member]);
            self.current = healthy.or_else(oldest).unwrap_or(self.current);
        }
        self.current
    }

    /// True where it was not left out before.
    pub fn leave_out(&mut self, member: usize, now: Instant) -> bool {
        self.failed[member].replace(now).is_none()
    }

    pub fn back(&mut self, member: usize) {
        self.failed[member] = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sticks_to_one_and_leaves_out_what_failed() {
        let (mut choice, now) = (Choice::new(3), Instant::now());
        assert_eq!((choice.pick(), choice.pick()), (0, 0));
        assert!(choice.leave_out(0, now));
        assert_eq!((choice.pick(), choice.pick()), (1, 1));
        choice.back(0);
        assert_eq!(choice.pick(), 1, "one that works is not left for one that is back");
    }

    #[test]
    fn with_all_left_out_the_one_that_failed_longest_ago_is_tried() {
        let (mut choice, now) = (Choice::new(2), Instant::now());
        choice.leave_out(1, now);
        choice.leave_out(0, now + LEAVE_OUT);
        assert!(!choice.has_healthy());
        assert_eq!(choice.pick(), 1);
        assert!(!choice.leave_out(1, now + 2 * LEAVE_OUT));
        assert_eq!(choice.pick(), 0);
    }

    #[test]
    fn success_ends_it() {
        let mut choice = Choice::new(1);
        choice.leave_out(0, Instant::now());
        choice.back(0);
        assert!(choice.has_healthy() && !choice.is_out(0));
    }
}
