//! What a store counts. Names and labels are part of the interface: `docs/metrics.md`.

mod text;

pub use text::Gauges;

use crate::error::{Error, Result};
use crate::request::{Op, Request, Response};
use std::array;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::OnceLock;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Range,
    Put,
    Delete,
    Txn,
    LeaseGrant,
    LeaseRenew,
    LeaseRevoke,
    LeaseTimeToLive,
}

const KINDS: [Kind; 8] = [
    Kind::Range,
    Kind::Put,
    Kind::Delete,
    Kind::Txn,
    Kind::LeaseGrant,
    Kind::LeaseRenew,
    Kind::LeaseRevoke,
    Kind::LeaseTimeToLive,
];

impl Kind {
    /// Named as what the server is asked for.
    #[inline]
    pub fn of(request: &Request) -> Self {
        match request {
            Request::Range(_) => Self::Range,
            Request::Txn(txn) => match txn.single() {
                Some(Op::Range(_)) => Self::Range,
                Some(Op::Put(_)) => Self::Put,
                Some(Op::Delete(_)) => Self::Delete,
                None => Self::Txn,
            },
            Request::Grant { .. } => Self::LeaseGrant,
            Request::Renew { .. } => Self::LeaseRenew,
            Request::Revoke { .. } => Self::LeaseRevoke,
            Request::TimeToLive { .. } => Self::LeaseTimeToLive,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::Put => "put",
            Self::Delete => "delete",
            Self::Txn => "txn",
            Self::LeaseGrant => "lease_grant",
            Self::LeaseRenew => "lease_renew",
            Self::LeaseRevoke => "lease_revoke",
            Self::LeaseTimeToLive => "lease_time_to_live",
        }
    }
}

/// How requests end; a place in this list is a status.
const STATUSES: [&str; 17] = [
    "ok",
    "compare_failed",
    "unavailable",
    "indeterminate",
    "canceled",
    "closed",
    "auth",
    "denied",
    "tls",
    "too_large",
    "no_space",
    "compacted",
    "lost",
    "invalid",
    "no_memory",
    "unsupported",
    "internal",
];

const OK: usize = 0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(usize);

impl Status {
    #[inline]
    pub fn of(answer: &Result<Response>) -> Self {
        Self(match answer {
            Ok(Response::Txn(answer)) if !answer.succeeded => 1,
            Ok(_) => OK,
            Err(Error::Unavailable(_)) => 2,
            Err(Error::Indeterminate(_)) => 3,
            Err(Error::Canceled) => 4,
            Err(Error::Closed) => 5,
            Err(Error::Auth(_)) => 6,
            Err(Error::Denied(_)) => 7,
            Err(Error::Tls(_)) => 8,
            Err(Error::TooLarge(_)) => 9,
            Err(Error::NoSpace(_)) => 10,
            Err(Error::Compacted(_)) => 11,
            Err(Error::Lost(_)) => 12,
            Err(Error::Invalid(_)) => 13,
            Err(Error::NoMemory(_)) => 14,
            Err(Error::Unsupported(_)) => 15,
            Err(
                Error::Internal(_)
                | Error::Handle
                | Error::Forked
                | Error::InCallback(_)
                | Error::Binary,
            ) => 16,
        })
    }

    pub fn name(self) -> &'static str {
        STATUSES[self.0]
    }
}

/// Upper bounds of the histogram's buckets, and how the text has them.
const BOUNDS: [(Duration, &str); 17] = [
    (Duration::from_micros(10), "0.00001"),
    (Duration::from_micros(100), "0.0001"),
    (Duration::from_micros(250), "0.00025"),
    (Duration::from_micros(500), "0.0005"),
    (Duration::from_millis(1), "0.001"),
    (Duration::from_micros(2500), "0.0025"),
    (Duration::from_millis(5), "0.005"),
    (Duration::from_millis(10), "0.01"),
    (Duration::from_millis(25), "0.025"),
    (Duration::from_millis(50), "0.05"),
    (Duration::from_millis(100), "0.1"),
    (Duration::from_millis(250), "0.25"),
    (Duration::from_millis(500), "0.5"),
    (Duration::from_secs(1), "1"),
    (Duration::from_millis(2500), "2.5"),
    (Duration::from_secs(5), "5"),
    (Duration::from_secs(10), "10"),
];

const BUCKETS: usize = BOUNDS.len() + 1;

fn bucket_of(took: Duration) -> usize {
    BOUNDS.iter().position(|(bound, _)| took <= *bound).unwrap_or(BOUNDS.len())
}

/// Where looking at the clock costs too much, one of so many requests is timed.
const SAMPLED: u64 = 16;
const NONE_YET: usize = usize::MAX;

/// The requests of one kind: one count serves the total and the histogram, so that
/// these agree at any moment.
struct Tally {
    counts: [[AtomicU64; BUCKETS]; STATUSES.len()],
    nanoseconds: AtomicU64,
    /// The bucket of the one that was timed last, of those that are sampled.
    sample: AtomicUsize,
}

impl Tally {
    fn new() -> Box<Self> {
        let counts = array::from_fn(|_| array::from_fn(|_| AtomicU64::new(0)));
        let (nanoseconds, sample) = (AtomicU64::new(0), AtomicUsize::new(NONE_YET));
        Box::new(Self { counts, nanoseconds, sample })
    }
}

#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Default)]
pub struct Metrics {
    requests: [OnceLock<Box<Tally>>; KINDS.len()],
    pub watch_events: Counter,
    pub resyncs: Counter,
    pub reconnects: Counter,
    pub leases_lost: Counter,
    pub locks_lost: Counter,
}

impl Metrics {
    #[inline]
    pub fn note(&self, kind: Kind, status: Status, took: Duration) {
        let tally = self.requests[kind as usize].get_or_init(Tally::new);
        tally.counts[status.0][bucket_of(took)].fetch_add(1, Ordering::Relaxed);
        tally.nanoseconds.fetch_add(took.as_nanos() as u64, Ordering::Relaxed);
    }

    /// Likewise; but one that is timed stands for those that come after it.
    #[inline]
    pub fn note_sample(&self, kind: Kind, status: Status, took: impl FnOnce() -> Duration) {
        let tally = self.requests[kind as usize].get_or_init(Tally::new);
        let bucket = tally.sample.load(Ordering::Relaxed);
        let Some(count) = tally.counts[status.0].get(bucket) else {
            let took = took();
            tally.sample.store(bucket_of(took), Ordering::Relaxed);
            return self.note(kind, status, took);
        };
        let before = count.fetch_add(1, Ordering::Relaxed);
        if before % SAMPLED == 0 {
            let took = took();
            let weight = if before == 0 { 1 } else { SAMPLED };
            tally.nanoseconds.fetch_add(took.as_nanos() as u64 * weight, Ordering::Relaxed);
            tally.sample.store(bucket_of(took), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_stand_where_their_numbers_say() {
        for (at, kind) in KINDS.into_iter().enumerate() {
            assert_eq!(kind as usize, at);
        }
    }

    #[test]
    fn statuses_stand_where_their_numbers_say() {
        let why = String::new;
        for (error, name) in [
            (Error::Unavailable(why()), "unavailable"),
            (Error::Indeterminate(why()), "indeterminate"),
            (Error::Canceled, "canceled"),
            (Error::Closed, "closed"),
            (Error::Auth(why()), "auth"),
            (Error::Denied(why()), "denied"),
            (Error::Tls(why()), "tls"),
            (Error::TooLarge(why()), "too_large"),
            (Error::NoSpace(why()), "no_space"),
            (Error::Compacted(why()), "compacted"),
            (Error::Lost(why()), "lost"),
            (Error::Invalid(why()), "invalid"),
            (Error::NoMemory(why()), "no_memory"),
            (Error::Unsupported(why()), "unsupported"),
            (Error::Internal(why()), "internal"),
        ] {
            assert_eq!(Status::of(&Err(error)).name(), name);
        }
        assert_eq!(Status::of(&Ok(Response::Lease)).name(), "ok");
    }

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let metrics = Metrics::default();
        for (bound, _) in BOUNDS {
            metrics.note(Kind::Put, Status(OK), bound);
        }
        metrics.note(Kind::Put, Status(OK), Duration::from_secs(11));
        let tally = metrics.requests[Kind::Put as usize].get().expect("it was noted");
        let counts = tally.counts[OK].iter().map(|count| count.load(Ordering::Relaxed));
        assert_eq!(counts.collect::<Vec<_>>(), [1; BUCKETS]);
    }

    #[test]
    fn of_a_sample_one_in_so_many_is_timed_and_all_are_counted() {
        let (metrics, mut timed) = (Metrics::default(), 0);
        let ms = Duration::from_millis(1);
        for _ in 0..10 * SAMPLED {
            metrics.note_sample(Kind::Put, Status(OK), || {
                timed += 1;
                ms
            });
        }
        assert_eq!(timed, 10);
        let tally = metrics.requests[Kind::Put as usize].get().expect("it was noted");
        let count = tally.counts[OK][bucket_of(ms)].load(Ordering::Relaxed);
        assert_eq!(count, 10 * SAMPLED);
        let sum = Duration::from_nanos(tally.nanoseconds.load(Ordering::Relaxed));
        assert_eq!(sum, ms * (1 + 9 * SAMPLED as u32));
    }

    #[test]
    fn bounds_ascend_and_are_what_the_text_says() {
        assert!(BOUNDS.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (bound, text) in BOUNDS {
            assert_eq!(Ok(bound.as_secs_f64()), text.parse());
        }
    }
}
