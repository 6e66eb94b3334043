//! Locks that survive a panic of their holder: the data they guard is changed in
//! steps that are each complete.
//!
//! What a model explores (CONTRIBUTING.md) takes its locks and atomics from here: under
//! `cfg(model)` they are those of loom.

#[cfg(model)]
use std::sync::atomic::Ordering;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

#[cfg(not(model))]
pub use crate::sys::Signal;
#[cfg(not(model))]
pub use std::sync::{
    atomic::{AtomicU8, AtomicUsize},
    Condvar, Mutex, RwLock,
};

#[cfg(model)]
pub use loom::sync::{
    atomic::{AtomicU8, AtomicUsize},
    Condvar, Mutex, RwLock,
};

/// In place of a descriptor, which the kernel keeps and loom knows nothing of.
#[cfg(model)]
pub struct Signal(AtomicUsize);

#[cfg(model)]
impl Signal {
    pub fn new() -> std::io::Result<Self> {
        Ok(Self(AtomicUsize::new(0)))
    }

    pub fn fd(&self) -> std::os::fd::RawFd {
        -1
    }

    pub fn raise(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }

    pub fn clear(&self) {
        self.0.swap(0, Ordering::AcqRel);
    }

    /// As poll() would tell.
    #[cfg(test)]
    pub fn is_readable(&self) -> bool {
        // Changes nothing, but sees the newest, as a system call does.
        self.0.fetch_add(0, Ordering::AcqRel) > 0
    }
}

pub trait Lock {
    type Guard<'a>
    where
        Self: 'a;
    fn hold(&self) -> Self::Guard<'_>;
}

pub trait SharedLock {
    type Reading<'a>
    where
        Self: 'a;
    type Writing<'a>
    where
        Self: 'a;
    fn reading(&self) -> Self::Reading<'_>;
    fn writing(&self) -> Self::Writing<'_>;
}

/// A condition variable, by what it gives back.
pub trait Condition<Guard> {
    fn wait_for(&self, guard: Guard, time: Option<Duration>) -> Guard;
}

macro_rules! of_library {
    ($sync:path) => {
        const _: () = {
            use $sync::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

            impl<T> Lock for Mutex<T> {
                type Guard<'a>
                    = MutexGuard<'a, T>
                where
                    Self: 'a;

                fn hold(&self) -> MutexGuard<'_, T> {
                    self.lock().unwrap_or_else(PoisonError::into_inner)
                }
            }

            impl<T> SharedLock for RwLock<T> {
                type Reading<'a>
                    = RwLockReadGuard<'a, T>
                where
                    Self: 'a;
                type Writing<'a>
                    = RwLockWriteGuard<'a, T>
                where
                    Self: 'a;

                fn reading(&self) -> RwLockReadGuard<'_, T> {
                    self.read().unwrap_or_else(PoisonError::into_inner)
                }

                fn writing(&self) -> RwLockWriteGuard<'_, T> {
                    self.write().unwrap_or_else(PoisonError::into_inner)
                }
            }

            impl<'a, T> Condition<MutexGuard<'a, T>> for Condvar {
                fn wait_for(
                    &self,
                    guard: MutexGuard<'a, T>,
                    time: Option<Duration>,
                ) -> MutexGuard<'a, T> {
                    match time {
                        None => self.wait(guard).unwrap_or_else(PoisonError::into_inner),
                        Some(time) => {
                            let waited = self.wait_timeout(guard, time);
                            waited.unwrap_or_else(PoisonError::into_inner).0
                        }
                    }
                }
            }
        };
    };
}

of_library!(std::sync);
#[cfg(model)]
of_library!(loom::sync);

/// Waits for a notification, at most until `deadline`; false when it has passed.
pub fn wait_until<Guard>(
    condition: &impl Condition<Guard>,
    guard: Guard,
    deadline: Option<Instant>,
) -> (Guard, bool) {
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    if left.is_some_and(|left| left.is_zero()) {
        return (guard, false);
    }
    (condition.wait_for(guard, left), true)
}
