//! One at a time, for callers who wait no longer than they may.

use crate::error::{Error, Result};
use crate::sync::{wait_until, Lock};
use std::sync::{Condvar, Mutex};
use std::time::Instant;

#[derive(Default)]
pub struct Turn {
    taken: Mutex<bool>,
    free: Condvar,
}

pub struct Taken<'a>(&'a Turn);

impl Turn {
    pub fn take(&self, deadline: Instant) -> Result<Taken<'_>> {
        let mut taken = self.taken.hold();
        while *taken {
            let (next, in_time) = wait_until(&self.free, taken, Some(deadline));
            taken = next;
            if !in_time && *taken {
                return Err(Error::Unavailable(
                    "another call for temporary keys took too long".into(),
                ));
            }
        }
        *taken = true;
        Ok(Taken(self))
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        *self.0.taken.hold() = false;
        self.0.free.notify_one();
    }
}
