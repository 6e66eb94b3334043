//! Requests and their answers as data, the same for every backend.

use crate::error::{Error, Result};
use crate::types::{KeyRange, KeyValue, RangeEnd};
use bytes::Bytes;

/// etcd's default limit of operations in one transaction.
const MAX_TXN_OPS: usize = 128;

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

#[derive(Clone, Debug)]
pub struct Range {
    pub keys: KeyRange,
    /// 0 for all.
    pub limit: i64,
    /// 0 for the newest.
    pub revision: i64,
    pub order: Order,
    pub keys_only: bool,
    /// Leaves out keys created later; 0 for none.
    pub max_create_revision: i64,
}

impl Range {
    pub fn new(keys: KeyRange) -> Self {
        Self {
            keys,
            limit: 0,
            revision: 0,
            order: Order::Key,
            keys_only: false,
            max_create_revision: 0,
        }
    }

    /// The key of `keys` that was created last at or before `revision`.
    pub fn last_created(keys: KeyRange, revision: i64) -> Self {
        let order = Order::CreateDescending;
        Self { limit: 1, order, max_create_revision: revision, ..Self::new(keys) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Key,
    CreateDescending,
}

/// Compares, and operations for either case, as one atomic step.
#[derive(Clone, Debug, Default)]
pub struct Txn {
    pub compares: Vec<Compare>,
    pub then: Vec<Op>,
    pub or_else: Vec<Op>,
    /// Applying it twice equals applying it once, so it may be sent again when
    /// its outcome is unknown.
    pub idempotent: bool,
}

impl Txn {
    pub fn always(op: Op) -> Self {
        Self { then: vec![op], ..Self::default() }
    }
}

#[derive(Clone, Debug)]
pub struct Compare {
    pub key: Bytes,
    pub target: Target,
    pub comparison: Comparison,
}

#[derive(Clone, Debug)]
pub enum Target {
    /// A key that does not exist compares false, whatever the comparison.
    Value(Bytes),
    /// 0 for a key that does not exist.
    CreateRevision(i64),
    /// 0 for a key that does not exist.
    ModRevision(i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    Greater,
}

impl Comparison {
    pub fn parse(text: &[u8]) -> Result<Self> {
        match text {
            b"=" => Ok(Self::Equal),
            b"!=" => Ok(Self::NotEqual),
            b"<" => Ok(Self::Less),
            b">" => Ok(Self::Greater),
            _ => Err(Error::Invalid(format!(
                "op is \"{}\", not one of = != < >",
                text.escape_ascii()
            ))),
        }
    }

    pub fn holds<T: Ord + ?Sized>(self, stored: &T, given: &T) -> bool {
        match self {
            Self::Equal => stored == given,
            Self::NotEqual => stored != given,
            Self::Less => stored < given,
            Self::Greater => stored > given,
        }
    }
}

#[derive(Clone, Debug)]
pub enum Op {
    /// `lease` 0 for none.
    Put {
        key: Bytes,
        value: Bytes,
        lease: i64,
    },
    Delete(KeyRange),
    Range(Range),
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

/// What a range found.
#[derive(Debug, Default)]
pub struct Found {
    pub kvs: Vec<KeyValue>,
    /// Of the store, when it answered.
    pub revision: i64,
    /// Keys in the range, whatever the limit.
    pub total: u64,
    /// The limit cut some off.
    pub more: bool,
}

#[derive(Debug)]
pub struct TxnAnswer {
    pub succeeded: bool,
    pub revision: i64,
    /// Of the operations in the branch taken, the ranges.
    pub ranges: Vec<Found>,
}

impl Request {
    /// May change what is stored.
    pub fn writes(&self) -> bool {
        match self {
            Self::Range(_) | Self::TimeToLive { .. } => false,
            Self::Txn(txn) => {
                txn.then.iter().chain(&txn.or_else).any(|op| !matches!(op, Op::Range(_)))
            }
            Self::Grant { .. } | Self::Renew { .. } | Self::Revoke { .. } => true,
        }
    }

    /// May store a value, which takes space.
    pub fn stores(&self) -> bool {
        let Self::Txn(txn) = self else { return false };
        txn.then.iter().chain(&txn.or_else).any(|op| matches!(op, Op::Put { .. }))
    }

    /// May be sent again when the outcome of the first time is unknown.
    pub fn repeatable(&self) -> bool {
        match self {
            Self::Txn(txn) => txn.idempotent || !self.writes(),
            _ => true,
        }
    }

    /// Refuses what the server would refuse for its size, alike on every backend.
    pub fn check_size(&self, max_request: usize) -> Result<()> {
        let txn = match self {
            Self::Txn(txn) => txn,
            Self::Range(range) => return limit(range.keys.encoded_len(), max_request),
            _ => return Ok(()),
        };
        if txn.compares.len().max(txn.then.len()).max(txn.or_else.len()) > MAX_TXN_OPS {
            return Err(Error::TooLarge(format!("over {MAX_TXN_OPS} operations")));
        }
        limit(txn.encoded_len(), max_request)
    }
}

fn limit(size: usize, max_request: usize) -> Result<()> {
    if size > max_request {
        return Err(Error::TooLarge(format!("{size} bytes; max_request is {max_request}")));
    }
    Ok(())
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
                Target::CreateRevision(_) | Target::ModRevision(_) => 0,
            };
            compare.key.len() + value + FRAME
        });
        let ops = self.then.iter().chain(&self.or_else).map(|op| match op {
            Op::Put { key, value, .. } => key.len() + value.len() + FRAME,
            Op::Delete(keys) | Op::Range(Range { keys, .. }) => keys.encoded_len(),
        });
        compares.chain(ops).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(value: usize) -> Op {
        Op::Put { key: Bytes::from_static(b"k"), value: vec![0; value].into(), lease: 0 }
    }

    #[test]
    fn size_limit_counts_both_branches_and_the_compare() {
        let compare = Compare {
            key: Bytes::from_static(b"k"),
            target: Target::Value(vec![0; 300].into()),
            comparison: Comparison::Equal,
        };
        let txn = Txn {
            compares: vec![compare],
            then: vec![put(300)],
            or_else: vec![put(300)],
            idempotent: false,
        };
        let request = Request::Txn(txn);
        assert!(request.check_size(1000).is_ok());
        assert!(matches!(request.check_size(900), Err(Error::TooLarge(_))));
    }

    #[test]
    fn a_transaction_has_a_limit_of_operations() {
        let txn = |n| Request::Txn(Txn { then: vec![put(1); n], ..Txn::default() });
        assert!(txn(MAX_TXN_OPS).check_size(usize::MAX).is_ok());
        assert!(txn(MAX_TXN_OPS + 1).check_size(usize::MAX).is_err());
    }

    #[test]
    fn only_what_cannot_harm_twice_is_repeatable() {
        let keys = || KeyRange::single("k");
        assert!(Request::from(Range::new(keys())).repeatable());
        assert!(Request::from(Txn::always(Op::Range(Range::new(keys())))).repeatable());
        assert!(!Request::from(Txn::always(put(1))).repeatable());
        assert!(!Request::from(Txn::always(Op::Delete(keys()))).repeatable());
        assert!(Request::from(Txn { idempotent: true, ..Txn::always(put(1)) }).repeatable());
    }

    #[test]
    fn operators_compare_as_they_read() {
        for (op, less, equal, greater) in [
            (&b"="[..], false, true, false),
            (b"!=", true, false, true),
            (b"<", true, false, false),
            (b">", false, false, true),
        ] {
            let op = Comparison::parse(op).expect("an operator");
            assert_eq!(
                (op.holds(&1, &2), op.holds(&2, &2), op.holds(&3, &2)),
                (less, equal, greater)
            );
        }
        assert!(Comparison::parse(b"==").is_err() && Comparison::parse(b"").is_err());
    }
}
