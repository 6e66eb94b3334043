//! The members and their health, apart from their connections.

use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a member that failed is left out before it is probed; doubled while it
/// goes on failing.
pub const LEAVE_OUT: Duration = Duration::from_millis(500);
pub const LEAVE_OUT_MOST: Duration = Duration::from_secs(10);

pub struct Choice<M> {
    members: Vec<Candidate<M>>,
    current: usize,
}

struct Candidate<M> {
    member: Arc<M>,
    /// When it failed last, if it is left out.
    failed: Option<Instant>,
}

impl<M> Choice<M> {
    /// Of one at least.
    pub fn new(members: Vec<Arc<M>>) -> Self {
        let candidate = |member| Candidate { member, failed: None };
        Self { members: members.into_iter().map(candidate).collect(), current: 0 }
    }

    pub fn members(&self) -> impl Iterator<Item = &Arc<M>> {
        self.members.iter().map(|candidate| &candidate.member)
    }

    /// From now on these, one at least; what is known of the former ones among them
    /// stays known.
    pub fn replace(&mut self, members: Vec<Arc<M>>) {
        let current = self.members[self.current].member.clone();
        let new = Self::new(members);
        let former = std::mem::replace(self, new);
        for candidate in &mut self.members {
            let known = former.members.iter().find(|it| Arc::ptr_eq(&it.member, &candidate.member));
            candidate.failed = known.and_then(|known| known.failed);
        }
        self.current = self.index(&current).unwrap_or(0);
    }

    fn index(&self, member: &Arc<M>) -> Option<usize> {
        self.members.iter().position(|candidate| Arc::ptr_eq(&candidate.member, member))
    }

    /// False also for one that is no member any more.
    pub fn is_out(&self, member: &Arc<M>) -> bool {
        self.index(member).is_some_and(|index| self.members[index].failed.is_some())
    }

    pub fn has_healthy(&self) -> bool {
        self.members.iter().any(|candidate| candidate.failed.is_none())
    }

    /// The current member; another when that is left out; when all are, the one
    /// that failed longest ago.
    pub fn pick(&mut self) -> &Arc<M> {
        let failed = |index: &usize| self.members[*index].failed;
        if failed(&self.current).is_some() {
            let members = self.members.len();
            let order = (0..members).map(|step| (self.current + step) % members);
            let healthy = order.clone().find(|index| failed(index).is_none());
            let oldest = || order.min_by_key(failed);
            self.current = healthy.or_else(oldest).unwrap_or(self.current);
        }
        &self.members[self.current].member
    }

    /// True where it was not left out before, and is not alone.
    pub fn leave_out(&mut self, member: &Arc<M>, now: Instant) -> bool {
        let alone = self.members.len() == 1;
        let Some(index) = self.index(member) else { return false };
        self.members[index].failed.replace(now).is_none() && !alone
    }

    pub fn back(&mut self, member: &Arc<M>) {
        if let Some(index) = self.index(member) {
            self.members[index].failed = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice<const N: usize>() -> (Choice<usize>, [Arc<usize>; N]) {
        let members = std::array::from_fn(Arc::new);
        (Choice::new(members.to_vec()), members)
    }

    #[test]
    fn sticks_to_one_and_leaves_out_what_failed() {
        let (mut choice, [a, _, _]) = choice();
        let now = Instant::now();
        assert_eq!((**choice.pick(), **choice.pick()), (0, 0));
        assert!(choice.leave_out(&a, now));
        assert_eq!((**choice.pick(), **choice.pick()), (1, 1));
        choice.back(&a);
        assert_eq!(**choice.pick(), 1, "one that works is not left for one that is back");
    }

    #[test]
    fn with_all_left_out_the_one_that_failed_longest_ago_is_tried() {
        let (mut choice, [a, b]) = choice();
        let now = Instant::now();
        choice.leave_out(&b, now);
        choice.leave_out(&a, now + LEAVE_OUT);
        assert!(!choice.has_healthy());
        assert_eq!(**choice.pick(), 1);
        assert!(!choice.leave_out(&b, now + 2 * LEAVE_OUT));
        assert_eq!(**choice.pick(), 0);
    }

    #[test]
    fn success_ends_it() {
        let (mut choice, [a]) = choice();
        choice.leave_out(&a, Instant::now());
        choice.back(&a);
        assert!(choice.has_healthy() && !choice.is_out(&a));
    }

    #[test]
    fn new_members_take_over_what_is_known_of_the_former() {
        let (mut choice, [a, b, c]) = choice();
        choice.leave_out(&a, Instant::now());
        choice.leave_out(&c, Instant::now());
        assert_eq!(**choice.pick(), 1);
        choice.replace(vec![c.clone(), Arc::new(3), b.clone()]);
        assert_eq!(**choice.pick(), 1, "one that works is kept");
        assert!(choice.is_out(&c) && !choice.is_out(&a));
        assert!(!choice.leave_out(&a, Instant::now()), "it is no member any more");
        choice.replace(vec![c, a]);
        assert_eq!(**choice.pick(), 0);
    }
}
