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
    /// The one that [`Choice::moves_to`] told last.
    used: Option<Arc<M>>,
}

struct Candidate<M> {
    member: Arc<M>,
    /// When it failed last, if it is left out.
    failed: Option<Instant>,
    /// A probe is under way. It may outlast what it was begun for.
    probed: bool,
}

impl<M> Choice<M> {
    pub fn new(members: Vec<Arc<M>>) -> Self {
        let candidate = |member| Candidate { member, failed: None, probed: false };
        Self { members: members.into_iter().map(candidate).collect(), current: 0, used: None }
    }

    pub fn members(&self) -> impl Iterator<Item = &Arc<M>> {
        self.members.iter().map(|candidate| &candidate.member)
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// From now on these; what is known of the former ones among them stays known.
    pub fn replace(&mut self, members: Vec<Arc<M>>) {
        let current = self.members.get(self.current).map(|current| current.member.clone());
        let new = Self::new(members);
        let former = std::mem::replace(self, new);
        for candidate in &mut self.members {
            let known = former.members.iter().find(|it| Arc::ptr_eq(&it.member, &candidate.member));
            if let Some(known) = known {
                (candidate.failed, candidate.probed) = (known.failed, known.probed);
            }
        }
        self.current = current.and_then(|current| self.index(&current)).unwrap_or(0);
        self.used = former.used;
    }

    fn index(&self, member: &Arc<M>) -> Option<usize> {
        self.members.iter().position(|candidate| Arc::ptr_eq(&candidate.member, member))
    }

    pub fn has_healthy(&self) -> bool {
        self.members.iter().any(|candidate| candidate.failed.is_none())
    }

    /// The current member; another when that is left out; when all are, the one
    /// that failed longest ago. None where there is no member.
    pub fn pick(&mut self) -> Option<&Arc<M>> {
        let failed = |index: &usize| self.members[*index].failed;
        if !self.is_empty() && failed(&self.current).is_some() {
            let members = self.members.len();
            let order = (0..members).map(|step| (self.current + step) % members);
            let healthy = order.clone().find(|index| failed(index).is_none());
            let oldest = || order.min_by_key(failed);
            self.current = healthy.or_else(oldest).unwrap_or(self.current);
        }
        self.members.get(self.current).map(|current| &current.member)
    }

    /// True where a probe is to begin: it is not alone, and there is none.
    pub fn leave_out(&mut self, member: &Arc<M>, now: Instant) -> bool {
        let alone = self.members.len() == 1;
        let Some(index) = self.index(member) else { return false };
        let candidate = &mut self.members[index];
        candidate.failed = Some(now);
        !alone && !std::mem::replace(&mut candidate.probed, true)
    }

    /// Whether its probe is to go on. If not, the next one may begin.
    pub fn needs_probe(&mut self, member: &Arc<M>) -> bool {
        let Some(index) = self.index(member) else { return false };
        let candidate = &mut self.members[index];
        candidate.probed = candidate.failed.is_some();
        candidate.probed
    }

    /// This one, which answers, is the current one; whether another one was before. An
    /// answer of one that was left tells nothing.
    pub fn moves_to(&mut self, member: &Arc<M>) -> bool {
        let is = |it: Option<&Arc<M>>| it.is_some_and(|it| Arc::ptr_eq(it, member));
        let current = self.members.get(self.current).map(|current| &current.member);
        let moves = is(current) && !is(self.used.as_ref());
        if moves {
            self.used = Some(member.clone());
        }
        moves
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

    fn is_out(choice: &Choice<usize>, member: &Arc<usize>) -> bool {
        choice.index(member).is_some_and(|index| choice.members[index].failed.is_some())
    }

    fn picked(choice: &mut Choice<usize>) -> usize {
        **choice.pick().expect("a member")
    }

    #[test]
    fn without_members_there_is_none_to_pick() {
        let mut choice = Choice::<usize>::new(Vec::new());
        assert!(choice.pick().is_none() && choice.is_empty() && !choice.has_healthy());
        choice.replace(vec![Arc::new(7)]);
        assert_eq!(picked(&mut choice), 7);
    }

    #[test]
    fn sticks_to_one_and_leaves_out_what_failed() {
        let (mut choice, [a, _, _]) = choice();
        let now = Instant::now();
        assert_eq!((picked(&mut choice), picked(&mut choice)), (0, 0));
        assert!(choice.leave_out(&a, now));
        assert_eq!((picked(&mut choice), picked(&mut choice)), (1, 1));
        choice.back(&a);
        assert_eq!(picked(&mut choice), 1, "one that works is not left for one that is back");
    }

    #[test]
    fn with_all_left_out_the_one_that_failed_longest_ago_is_tried() {
        let (mut choice, [a, b]) = choice();
        let now = Instant::now();
        choice.leave_out(&b, now);
        choice.leave_out(&a, now + LEAVE_OUT);
        assert!(!choice.has_healthy());
        assert_eq!(picked(&mut choice), 1);
        assert!(!choice.leave_out(&b, now + 2 * LEAVE_OUT));
        assert_eq!(picked(&mut choice), 0);
    }

    #[test]
    fn one_probe_at_a_time() {
        let (mut choice, [a, _]) = choice();
        let now = Instant::now();
        assert!(choice.leave_out(&a, now));
        choice.back(&a);
        assert!(!choice.leave_out(&a, now), "the first one still sleeps");
        assert!(choice.needs_probe(&a), "and goes on for this failure");
        choice.back(&a);
        choice.replace(vec![a.clone(), Arc::new(2)]);
        assert!(!choice.leave_out(&a, now), "it is known of new members too");
        choice.back(&a);
        assert!(!choice.needs_probe(&a));
        assert!(choice.leave_out(&a, now), "it has ended");
    }

    #[test]
    fn a_move_is_told_once_and_not_undone_by_late_answers() {
        let (mut choice, [a, b]) = choice();
        assert!(choice.moves_to(&a) && !choice.moves_to(&a));
        choice.leave_out(&a, Instant::now());
        assert_eq!(picked(&mut choice), 1);
        assert!(!choice.moves_to(&a));
        assert!(choice.moves_to(&b) && !choice.moves_to(&b) && !choice.moves_to(&a));
        choice.replace(vec![b.clone(), a]);
        assert!(!choice.moves_to(&b));
    }

    #[test]
    fn success_ends_it() {
        let (mut choice, [a]) = choice();
        choice.leave_out(&a, Instant::now());
        choice.back(&a);
        assert!(choice.has_healthy() && !is_out(&choice, &a));
    }

    #[test]
    fn new_members_take_over_what_is_known_of_the_former() {
        let (mut choice, [a, b, c]) = choice();
        choice.leave_out(&a, Instant::now());
        choice.leave_out(&c, Instant::now());
        assert_eq!(picked(&mut choice), 1);
        choice.replace(vec![c.clone(), Arc::new(3), b.clone()]);
        assert_eq!(picked(&mut choice), 1, "one that works is kept");
        assert!(is_out(&choice, &c) && !is_out(&choice, &a));
        assert!(!choice.leave_out(&a, Instant::now()), "it is no member any more");
        choice.replace(vec![c, a]);
        assert_eq!(picked(&mut choice), 0);
    }
}
