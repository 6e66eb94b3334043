//! How many submitted requests are on their way at once. A server that has thousands
//! to answer answers none of them faster, and some no more.

use crate::sync::Lock;
use std::collections::VecDeque;
use std::sync::Mutex;

/// More do not make a server faster.
const WIDTH: usize = 128;

pub struct Window<T>(Mutex<State<T>>);

struct State<T> {
    begun: usize,
    waiting: VecDeque<T>,
}

impl<T> Default for Window<T> {
    fn default() -> Self {
        Self(Mutex::new(State { begun: 0, waiting: VecDeque::new() }))
    }
}

impl<T> Window<T> {
    /// Tells whether it is to begin now; else it waits for others.
    pub fn enter(&self, one: &T) -> bool
    where
        T: Clone,
    {
        let mut state = self.0.hold();
        let now = state.begun < WIDTH;
        if now {
            state.begun += 1;
        } else {
            state.waiting.push_back(one.clone());
        }
        now
    }

    /// One that was begun is done; the next is to begin.
    pub fn leave(&self) -> Option<T> {
        let mut state = self.0.hold();
        let next = state.waiting.pop_front();
        state.begun -= usize::from(next.is_none());
        next
    }

    /// None of those that wait is begun any more.
    pub fn drain(&self) -> VecDeque<T> {
        std::mem::take(&mut self.0.hold().waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_begun_and_the_others_in_turn() {
        let window = Window::default();
        let begun: Vec<usize> = (0..WIDTH + 3).filter(|n| window.enter(n)).collect();
        assert_eq!(begun, (0..WIDTH).collect::<Vec<_>>());
        assert_eq!((window.leave(), window.leave()), (Some(WIDTH), Some(WIDTH + 1)));
        assert_eq!(window.drain(), [WIDTH + 2]);
        assert!((0..WIDTH).all(|_| window.leave().is_none()));
        assert!(window.enter(&0));
    }
}
