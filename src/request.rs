//! Requests and their answers as data, the same for every backend.

mod range;
mod txn;

pub use range::{Filter, Found, Range, Sort};
pub use txn::{Compare, Comparison, Delete, Op, OpAnswer, Put, Target, Txn, TxnAnswer};

use crate::error::{Error, Result};
use crate::types::{KeyRange, RangeEnd};
use bytes::Bytes;

#[derive(Clone, Debug)]
pub enum Request {
    Range(Range),
    Txn(Txn),
    /// Makes a lease. The caller picks the id, so that a repeated grant is known.
    Grant {
        lease: i64,
        ttl_s: i64,
    },
    /// Starts the lease's time anew; [`Error::Lost`] if there is no such lease.
    Renew {
        lease: i64,
    },
    /// Ends a lease and deletes its keys; one that is gone is a success.
    Revoke {
        lease: i64,
    },
    /// Asks whether a lease is alive; [`Error::Lost`] if not.
    TimeToLive {
        lease: i64,
    },
}

impl From<Range> for Request {
    fn from(range: Range) -> Self {
        Self::Range(range)
    }
}

impl From<Txn> for Request {
    fn from(txn: Txn) -> Self {
        Self::Txn(txn)
    }
}

#[derive(Debug)]
pub enum Response {
    Range(Found),
    Txn(TxnAnswer),
    /// Of the requests that deal with leases.
    Lease,
}

impl Response {
    pub fn into_range(self) -> Result<Found> {
        match self {
            Self::Range(found) => Ok(found),
            _ => Err(Error::unexpected("not a range")),
        }
    }

    pub fn into_txn(self) -> Result<TxnAnswer> {
        match self {
            Self::Txn(answer) => Ok(answer),
            _ => Err(Error::unexpected("not a transaction")),
        }
    }
}

impl Request {
    /// May change what is stored.
    pub fn writes(&self) -> bool {
        match self {
            Self::Range(_) | Self::TimeToLive { .. } => false,
            Self::Txn(txn) => txn.ops().any(|op| !matches!(op, Op::Range(_))),
            Self::Grant { .. } | Self::Renew { .. } | Self::Revoke { .. } => true,
        }
    }

    pub fn is_about_a_lease(&self) -> bool {
        !matches!(self, Self::Range(_) | Self::Txn(_))
    }

    /// What it is about, for a log: its first key, or the id of a lease. Never a value.
    pub fn about(&self) -> Bytes {
        match self {
            Self::Range(range) => range.keys.key.clone(),
            Self::Txn(txn) => match (txn.compares.first(), txn.ops().next()) {
                (Some(compare), _) => compare.key.clone(),
                (None, Some(Op::Put(put))) => put.key.clone(),
                (None, Some(Op::Delete(Delete { keys, .. }) | Op::Range(Range { keys, .. }))) => {
                    keys.key.clone()
                }
                (None, None) => Bytes::new(),
            },
            Self::Grant { lease, .. }
            | Self::Renew { lease }
            | Self::Revoke { lease }
            | Self::TimeToLive { lease } => format!("{lease:x}").into(),
        }
    }

    /// May store a value, which takes space.
    pub fn stores(&self) -> bool {
        let Self::Txn(txn) = self else { return false };
        txn.ops().any(|op| matches!(op, Op::Put(_)))
    }

    /// May be sent again when the outcome of the first time is unknown.
    pub fn repeatable(&self) -> bool {
        match self {
            Self::Txn(txn) => txn.idempotent || !self.writes(),
            _ => true,
        }
    }

    /// Refuses what the server would refuse for its form or size, alike on every
    /// backend.
    pub fn check(&self, max_request: usize) -> Result<()> {
        let size = match self {
            Self::Txn(txn) => {
                txn.check()?;
                txn.encoded_len()
            }
            Self::Range(range) => range.keys.encoded_len(),
            _ => return Ok(()),
        };
        if size > max_request {
            return Err(Error::TooLarge(format!("{size} bytes; max_request is {max_request}")));
        }
        Ok(())
    }
}

/// Tags and lengths around one operation or compare.
const FRAME: usize = 16;

impl KeyRange {
    fn encoded_len(&self) -> usize {
        let end = match &self.end {
            RangeEnd::Before(end) => end.len(),
            RangeEnd::Single | RangeEnd::Unbounded => 0,
        };
        self.key.len() + end + FRAME
    }
}

impl Txn {
    /// Bytes of keys, values and their framing as sent, a little more than exact.
    fn encoded_len(&self) -> usize {
        let compares = self.compares.iter().map(|compare| {
            let value = match &compare.target {
                Target::Value(value) => value.len(),
                _ => 0,
            };
            compare.key.len() + value + FRAME
        });
        let ops = self.ops().map(|op| match op {
            Op::Put(put) => put.key.len() + put.value.len() + FRAME,
            Op::Delete(Delete { keys, .. }) | Op::Range(Range { keys, .. }) => keys.encoded_len(),
        });
        compares.chain(ops).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(value: usize) -> Put {
        Put::new(Bytes::from_static(b"k"), vec![0; value].into())
    }

    #[test]
    fn size_limit_counts_both_branches_and_the_compare() {
        let txn = Txn {
            compares: vec![Compare::equal("k".into(), Target::Value(vec![0; 300].into()))],
            then: vec![put(300).into()],
            or_else: vec![put(300).into()],
            idempotent: false,
        };
        let request = Request::Txn(txn);
        assert!(request.check(1000).is_ok());
        assert!(matches!(request.check(900), Err(Error::TooLarge(_))));
    }

    #[test]
    fn only_what_cannot_harm_twice_is_repeatable() {
        let keys = || KeyRange::single("k");
        assert!(Request::from(Range::new(keys())).repeatable());
        assert!(Request::from(Txn::always(Range::new(keys()))).repeatable());
        assert!(!Request::from(Txn::always(put(1))).repeatable());
        assert!(!Request::from(Txn::always(Delete::new(keys()))).repeatable());
        assert!(Request::from(Txn { idempotent: true, ..Txn::always(put(1)) }).repeatable());
    }
}
