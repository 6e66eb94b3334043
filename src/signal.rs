//! Something that happens once and that anyone can wait for.

use crate::sync::{wait_until, Lock};
use std::sync::{Condvar, Mutex};
use std::time::Instant;

/// Holds a value from the moment it is set.
pub struct Once<T> {
    value: Mutex<Option<T>>,
    set: Condvar,
}

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self { value: Mutex::default(), set: Condvar::new() }
    }
}

impl<T> Once<T> {
    pub fn set(&self, value: T) {
        self.value.hold().get_or_insert(value);
        self.set.notify_all();
    }

    /// Takes the value, waiting for it until the deadline.
    pub fn take(&self, deadline: Option<Instant>) -> Option<T> {
        let mut value = self.value.hold();
        loop {
            if value.is_some() {
                return value.take();
            }
            let (next, waited) = wait_until(&self.set, value, deadline);
            value = next;
            if !waited && value.is_none() {
                return None;
            }
        }
    }
}
