//! Locks: a queue of keys `NAME/LEASE`, the lowest create revision owns. The layout is
//! that of etcd's Go package concurrency.

mod dist;
mod held;
mod named;
mod observe;
mod queue;

pub use dist::{DistLock, Outcome};
pub use named::{AcquiredConsumer, NamedLock};
pub use observe::observe;
pub use queue::Acquisition;

use crate::lease::Terms;
use crate::types::KeyRange;
use bytes::Bytes;
use std::time::Duration;

#[derive(Clone)]
pub struct Spec {
    pub name: Bytes,
    pub terms: Terms,
    /// After so long it is given up.
    pub max_hold: Option<Duration>,
    /// Of the key.
    pub value: Bytes,
}

/// Where the contenders of a lock have their keys.
fn prefix(name: &[u8]) -> Vec<u8> {
    [name, b"/"].concat()
}

fn contenders(name: &[u8]) -> KeyRange {
    KeyRange::prefix(&prefix(name))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    Forever,
    For(Duration),
}

#[derive(Debug, PartialEq, Eq)]
pub enum Attempt {
    Held,
    /// Another was seen holding it until the end of the wait.
    Busy,
}
