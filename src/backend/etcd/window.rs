//! How many submitted requests are on their way at once. A server that has thousands
//! to answer answers none of them faster, and some no more.

use super::submission::Submission;
use crate::sync::Lock;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// More do not make a server faster.
const WIDTH: usize = 128;

#[derive(Default)]
pub struct Window(Mutex<State>);

#[derive(Default)]
struct State {
    begun: usize,
    waiting: VecDeque<Arc<Submission>>,
}

impl Window {
    /// Begins it now, or when others are done; false then.
    pub fn enter(&self, submission: &Arc<Submission>) -> bool {
        {
            let mut state = self.0.hold();
            if state.begun >= WIDTH {
                state.waiting.push_back(submission.clone());
                return false;
            }
            state.begun += 1;
        }
        submission.start();
        true
    }

    /// One that was begun is done.
    pub fn leave(&self) {
        let next = {
            let mut state = self.0.hold();
            let next = state.waiting.pop_front();
            state.begun -= usize::from(next.is_none());
            next
        };
        if let Some(next) = next {
            next.start();
        }
    }

    /// None of those that wait is begun any more; they are for the caller to end.
    pub fn drain(&self) -> VecDeque<Arc<Submission>> {
        std::mem::take(&mut self.0.hold().waiting)
    }
}
