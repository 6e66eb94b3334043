//! Compares, and operations for either case, as one atomic step.

use super::range::{Found, Range};
use crate::error::{Error, Result};
use crate::types::{KeyRange, KeyValue};
use bytes::Bytes;
use std::collections::HashSet;

/// etcd's default limit of operations in one transaction.
const MAX_OPS: usize = 128;

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
    pub fn always(op: impl Into<Op>) -> Self {
        Self { then: vec![op.into()], ..Self::default() }
    }

    /// A single unconditional write.
    pub fn single(&self) -> Option<&Op> {
        match (&self.compares[..], &self.then[..]) {
            ([], [op @ (Op::Put(_) | Op::Delete(_))]) => Some(op),
            _ => None,
        }
    }

    pub fn ops(&self) -> impl Iterator<Item = &Op> {
        self.then.iter().chain(&self.or_else)
    }

    /// Refuses what the server would refuse before it looks at a key, alike on every
    /// backend.
    pub fn check(&self) -> Result<()> {
        if self.compares.len().max(self.then.len()).max(self.or_else.len()) > MAX_OPS {
            return Err(Error::TooLarge(format!("over {MAX_OPS} operations or compares")));
        }
        check_branch(&self.then)?;
        check_branch(&self.or_else)
    }
}

/// No key may be stored twice, or stored and deleted, by one branch.
fn check_branch(ops: &[Op]) -> Result<()> {
    if ops.len() < 2 {
        return Ok(());
    }
    let mut stored = HashSet::new();
    for op in ops {
        let Op::Put(put) = op else { continue };
        let deleted = ops
            .iter()
            .any(|other| matches!(other, Op::Delete(delete) if delete.keys.contains(&put.key)));
        if deleted || !stored.insert(&put.key[..]) {
            let key = put.key.escape_ascii();
            return Err(Error::Invalid(format!("one branch writes \"{key}\" twice")));
        }
    }
    Ok(())
}

#[derive(Clone, Debug)]
pub struct Compare {
    pub key: Bytes,
    pub target: Target,
    pub comparison: Comparison,
}

impl Compare {
    pub fn equal(key: Bytes, target: Target) -> Self {
        Self { key, target, comparison: Comparison::Equal }
    }

    pub fn holds(&self, kv: Option<&KeyValue>) -> bool {
        let number =
            |pick: fn(&KeyValue) -> i64, given| self.comparison.holds(&kv.map_or(0, pick), given);
        match &self.target {
            Target::Value(given) => {
                kv.is_some_and(|kv| self.comparison.holds(&kv.value[..], &given[..]))
            }
            Target::CreateRevision(given) => number(|kv| kv.create_revision, given),
            Target::ModRevision(given) => number(|kv| kv.mod_revision, given),
            Target::Version(given) => number(|kv| kv.version, given),
            Target::Lease(given) => number(|kv| kv.lease, given),
        }
    }
}

/// What of a key is compared. The numbers are 0 for a key that does not exist.
#[derive(Clone, Debug)]
pub enum Target {
    /// A key that does not exist compares false, whatever the comparison.
    Value(Bytes),
    CreateRevision(i64),
    ModRevision(i64),
    Version(i64),
    Lease(i64),
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

    fn holds<T: Ord + ?Sized>(self, stored: &T, given: &T) -> bool {
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
    Put(Put),
    Delete(Delete),
    Range(Range),
}

#[derive(Clone, Debug)]
pub struct Put {
    pub key: Bytes,
    pub value: Bytes,
    /// 0 for none.
    pub lease: i64,
    /// Answer with what was there.
    pub prev: bool,
}

impl Put {
    pub fn new(key: Bytes, value: Bytes) -> Self {
        Self { key, value, lease: 0, prev: false }
    }
}

#[derive(Clone, Debug)]
pub struct Delete {
    pub keys: KeyRange,
    /// Answer with what was there.
    pub prev: bool,
}

impl Delete {
    pub fn new(keys: KeyRange) -> Self {
        Self { keys, prev: false }
    }
}

impl From<Put> for Op {
    fn from(put: Put) -> Self {
        Self::Put(put)
    }
}

impl From<Delete> for Op {
    fn from(delete: Delete) -> Self {
        Self::Delete(delete)
    }
}

impl From<Range> for Op {
    fn from(range: Range) -> Self {
        Self::Range(range)
    }
}

#[derive(Debug)]
pub struct TxnAnswer {
    pub succeeded: bool,
    pub revision: i64,
    /// One for each operation in the branch taken.
    pub ops: Vec<OpAnswer>,
}

impl TxnAnswer {
    /// What the first operation found, if that is a range.
    pub fn found(&self) -> Option<&KeyValue> {
        match self.ops.first() {
            Some(OpAnswer::Range(found)) => found.kvs.first(),
            _ => None,
        }
    }
}

#[derive(Debug)]
pub enum OpAnswer {
    /// What was there, if that was asked for.
    Put(Option<KeyValue>),
    Delete {
        deleted: u64,
        prev: Vec<KeyValue>,
    },
    Range(Found),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &'static str) -> Op {
        Put::new(key.into(), Bytes::new()).into()
    }

    fn check(then: Vec<Op>, or_else: Vec<Op>) -> bool {
        Txn { then, or_else, ..Txn::default() }.check().is_ok()
    }

    #[test]
    fn a_branch_writes_a_key_once() {
        let delete = |prefix: &[u8]| Op::from(Delete::new(KeyRange::prefix(prefix)));
        assert!(check(vec![put("a"), put("b")], vec![put("a")]));
        assert!(check(vec![put("a"), delete(b"b"), delete(b"b")], vec![]));
        assert!(!check(vec![put("a"), put("a")], vec![]));
        assert!(!check(vec![], vec![put("a"), put("b"), put("a")]));
        assert!(!check(vec![put("ab"), delete(b"a")], vec![]));
        assert!(!check(vec![delete(b""), put("ab")], vec![]));
    }

    #[test]
    fn a_transaction_has_a_limit_of_operations() {
        let puts = |n: usize| -> Vec<Op> {
            (0..n).map(|n| Put::new(n.to_string().into(), Bytes::new()).into()).collect()
        };
        assert!(check(puts(MAX_OPS), puts(MAX_OPS)));
        assert!(!check(puts(MAX_OPS + 1), vec![]));
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

    #[test]
    fn a_key_that_does_not_exist_has_numbers_of_0_and_no_value() {
        let holds =
            |target, comparison| Compare { key: "k".into(), target, comparison }.holds(None);
        assert!(holds(Target::Version(0), Comparison::Equal));
        assert!(holds(Target::Lease(1), Comparison::Less));
        assert!(!holds(Target::Value(Bytes::new()), Comparison::Equal));
        assert!(!holds(Target::Value(Bytes::new()), Comparison::NotEqual));
    }
}
