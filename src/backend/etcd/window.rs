//! How many submitted requests are on their way at once. A server that has thousands
//! to answer answers none of them faster, and some no more.

use crate::sync::{AtomicUsize, Lock, Mutex};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;

/// More do not make a server faster.
const WIDTH: usize = 128;

pub struct Window<T> {
    width: usize,
    state: Mutex<State<T>>,
    /// How many places are to be given to others.
    rooms: AtomicUsize,
}

struct State<T> {
    begun: usize,
    waiting: VecDeque<T>,
}

impl<T> Default for Window<T> {
    fn default() -> Self {
        Self::of(WIDTH)
    }
}

impl<T> Window<T> {
    fn of(width: usize) -> Self {
        let state = Mutex::new(State { begun: 0, waiting: VecDeque::new() });
        Self { width, state, rooms: AtomicUsize::new(0) }
    }

    /// Tells whether it is to begin now; else it waits for others.
    pub fn enter(&self, one: &T) -> bool
    where
        T: Clone,
    {
        let mut state = self.state.hold();
        let now = state.begun < self.width;
        if now {
            state.begun += 1;
        } else {
            state.waiting.push_back(one.clone());
        }
        now
    }

    /// One that was begun is done: begins those that wait, as far as there is room;
    /// `start` is false of one that has ended already. One that ends within its start
    /// makes room itself; that is seen here, by the one thread that is at it, and not
    /// from within.
    pub fn make_room(&self, start: impl Fn(T) -> bool) {
        if self.rooms.fetch_add(1, Ordering::AcqRel) > 0 {
            return;
        }
        loop {
            while self.leave().is_some_and(|next| !start(next)) {}
            if self.rooms.fetch_sub(1, Ordering::AcqRel) == 1 {
                return;
            }
        }
    }

    /// One that was begun is done; the next is to begin.
    fn leave(&self) -> Option<T> {
        let mut state = self.state.hold();
        let next = state.waiting.pop_front();
        state.begun -= usize::from(next.is_none());
        next
    }

    /// None of those that wait is begun any more.
    pub fn drain(&self) -> VecDeque<T> {
        std::mem::take(&mut self.state.hold().waiting)
    }
}

#[cfg(all(test, not(model)))]
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

#[cfg(all(test, model))]
mod model {
    use super::*;
    use loom::thread;
    use std::sync::Arc;

    struct Requests {
        window: Window<usize>,
        begun: AtomicUsize,
        /// Answered within its start, or later by another thread.
        at_once: bool,
        under_way: Mutex<Vec<usize>>,
    }

    impl Requests {
        fn submit(&self, one: usize) {
            if self.window.enter(&one) {
                self.start(one);
            }
        }

        fn start(&self, one: usize) -> bool {
            self.begun.fetch_add(1, Ordering::Relaxed);
            if self.at_once {
                self.make_room();
            } else {
                let mut under_way = self.under_way.hold();
                under_way.push(one);
                assert!(under_way.len() <= self.window.width, "beyond the width");
            }
            true
        }

        /// The answer to one, if one is under way.
        fn answer(&self) -> bool {
            let answered = self.under_way.hold().pop().is_some();
            if answered {
                self.make_room();
            }
            answered
        }

        fn make_room(&self) {
            self.window.make_room(|next| self.start(next));
        }
    }

    fn each_begins(at_once: bool) {
        loom::model(move || {
            let requests = Arc::new(Requests {
                window: Window::of(1),
                begun: AtomicUsize::new(0),
                at_once,
                under_way: Mutex::new(Vec::new()),
            });
            let threads = [1, 2].map(|one| {
                let requests = requests.clone();
                thread::spawn(move || {
                    requests.submit(one);
                    requests.answer();
                })
            });
            requests.submit(0);
            let _ = threads.map(|thread| thread.join());
            while requests.answer() {}
            assert_eq!(requests.begun.load(Ordering::Relaxed), 3);
            let state = requests.window.state.hold();
            assert_eq!((state.begun, state.waiting.len()), (0, 0));
        });
    }

    #[test]
    fn model_each_request_begins_where_answers_come_later() {
        each_begins(false);
    }

    #[test]
    fn model_each_request_begins_where_answers_come_at_once() {
        each_begins(true);
    }
}
