//! Keys and values, for both backends.

use crate::backend::Completion;
use crate::error::{Error, Result};
use crate::op::{Answer, Op as Submission, Submitted, Verdict};
use crate::pager::{self, Pager};
use crate::request::{Compare, Comparison, Delete, Found, Op, OpAnswer, Put, Range, Response};
use crate::request::{Target, Txn, TxnAnswer};
use crate::store::Store;
use crate::sync::Lock;
use crate::types::{KeyRange, KeyValue, RangeEnd};
use bytes::Bytes;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

// --- Waiting for the answer -------------------------------------------------

pub fn put(store: &Store, key: Bytes, value: Bytes) -> Result<()> {
    store.call(Txn::always(Put::new(key, value)).into()).map(drop)
}

pub fn get(store: &Store, key: Bytes) -> Result<Option<KeyValue>> {
    let found = store.call(Range::new(KeyRange::single(key)).into())?.into_range()?;
    Ok(found.kvs.into_iter().next())
}

pub fn delete(store: &Store, key: Bytes) -> Result<()> {
    store.call(Txn::always(Delete::new(KeyRange::single(key))).into()).map(drop)
}

/// Compares, stores one of the pairs, and tells whether the compare was true.
pub fn transaction(
    store: &Store,
    key: Bytes,
    comparison: Comparison,
    value: Bytes,
    then: Option<(Bytes, Bytes)>,
    or_else: Option<(Bytes, Bytes)>,
) -> Result<bool> {
    let put = |pair: Option<(Bytes, Bytes)>| {
        pair.map(|(key, value)| Put::new(key, value).into()).into_iter().collect()
    };
    let txn = Txn {
        compares: vec![Compare { key, target: Target::Value(value), comparison }],
        then: put(then),
        or_else: put(or_else),
        idempotent: false,
    };
    Ok(store.call(txn.into())?.into_txn()?.succeeded)
}

/// All keys from `start` to `end`, both inclusive.
pub fn range_inclusive(store: &Store, start: Bytes, end: Bytes) -> Result<Found> {
    match KeyRange::inclusive(start, &end) {
        Some(keys) => read(store, Range::new(keys), || store.deadline()),
        None => store.check_open().map(|()| Found::default()),
    }
}

/// Reads a range of any size; each page has a deadline.
pub fn read(store: &Store, range: Range, deadline: impl Fn() -> Instant) -> Result<Found> {
    let mut pager = Pager::new(range, store.wants_pages());
    while let Some(page) = pager.next() {
        let answer = store.call_until(page.into(), deadline());
        pager.take(answer.and_then(Response::into_range))?;
    }
    let (asked, mut found) = pager.finish();
    pager::arrange(&asked, &mut found.kvs);
    Ok(found)
}

// --- Submitting -------------------------------------------------------------

/// What must hold of a key before it is written.
#[derive(Clone, Copy)]
pub enum Condition {
    None,
    Absent,
    Unchanged(i64),
}

impl Condition {
    fn compare(self, key: &Bytes) -> Option<Compare> {
        Some(match self {
            Self::None => return None,
            Self::Absent => Compare::equal(key.clone(), Target::CreateRevision(0)),
            Self::Unchanged(revision) => Compare::equal(key.clone(), Target::ModRevision(revision)),
        })
    }
}

pub fn put_if(
    store: &Store,
    put: Put,
    condition: Condition,
    timeout: Option<Duration>,
) -> Submission {
    let key = put.key.clone();
    write_if(store, key, put.into(), condition, timeout)
}

pub fn remove_if(
    store: &Store,
    remove: Delete,
    condition: Condition,
    timeout: Option<Duration>,
) -> Result<Submission> {
    if remove.keys.end != RangeEnd::Single && !matches!(condition, Condition::None) {
        return Err(Error::Invalid("if_mod_revision is for one key".into()));
    }
    let key = remove.keys.key.clone();
    Ok(write_if(store, key, remove.into(), condition, timeout))
}

/// Where the condition does not hold the answer is the key as it is.
fn write_if(
    store: &Store,
    key: Bytes,
    write: Op,
    condition: Condition,
    timeout: Option<Duration>,
) -> Submission {
    let compare = condition.compare(&key);
    let read = Range::new(KeyRange::single(key));
    let txn = Txn {
        or_else: compare.iter().map(|_| read.clone().into()).collect(),
        compares: compare.into_iter().collect(),
        then: vec![write],
        idempotent: false,
    };
    Submission::single(store, txn.into(), timeout, |response| {
        let TxnAnswer { succeeded, revision, ops } = response.into_txn()?;
        Ok(match ops.into_iter().next() {
            Some(OpAnswer::Range(found)) if !succeeded => {
                Answer { kvs: found.kvs, ..Answer::new(Verdict::CompareFailed, revision) }
            }
            Some(op) if succeeded => op_answer(op, revision, None),
            _ => return Err(Error::unexpected("not that of a write")),
        })
    })
}

pub fn range(store: &Arc<Store>, range: Range, timeout: Option<Duration>) -> Submission {
    let op = Submitted::begin(store);
    let (given, single) = (op.clone(), range.keys.end == RangeEnd::Single);
    let done = move |found: Result<(Range, Found)>| {
        given.finish(found.map(|(asked, found)| found_answer(found, single).not_arranged(asked)));
    };
    Reading::begin(store, range, timeout, Some(op.clone()), Box::new(done));
    Submission::of(op)
}

/// Begins to read a range of any size, in the order of the keys, and returns. `done`
/// runs on any thread, also on this one before the return; it must not block.
pub fn list(store: &Arc<Store>, range: Range, done: impl FnOnce(Result<Found>) + Send + 'static) {
    let done = |found: Result<(Range, Found)>| done(found.map(|(_, found)| found));
    Reading::begin(store, range, None, None, Box::new(done));
}

pub fn ping(store: &Store) -> Submission {
    let probe = Range::probe();
    Submission::of_answer(store, probe.into(), None, |answer| {
        let revision = match answer {
            Ok(response) => response.into_range()?.revision,
            // A quorum was asked before the user's permissions were looked at.
            Err(Error::Denied(_)) => 0,
            Err(error) => return Err(error),
        };
        Ok(Answer::new(Verdict::Yes, revision))
    })
}

pub fn commit(store: &Store, mut txn: Txn, timeout: Option<Duration>) -> Submission {
    let then = ranges_of(&mut txn.then);
    let or_else = ranges_of(&mut txn.or_else);
    Submission::single(store, txn.into(), timeout, move |response| {
        let answer = response.into_txn()?;
        let (verdict, asked) = match answer.succeeded {
            true => (Verdict::Yes, then),
            false => (Verdict::CompareFailed, or_else),
        };
        let revision = answer.revision;
        if answer.ops.len() != asked.len() {
            return Err(Error::unexpected("not that of these operations"));
        }
        let subs = answer.ops.into_iter().zip(&asked);
        let subs = subs.map(|(op, asked)| op_answer(op, revision, asked.as_ref())).collect();
        Ok(Answer { subs, ..Answer::new(verdict, revision) })
    })
}

/// The ranges of a branch as they were asked for; the branch gets them as they are
/// sent.
fn ranges_of(ops: &mut [Op]) -> Vec<Option<Range>> {
    let of = |op: &mut Op| match op {
        Op::Range(range) => {
            let sent = pager::sent(range);
            Some(std::mem::replace(range, sent))
        }
        _ => None,
    };
    ops.iter_mut().map(of).collect()
}

fn op_answer(op: OpAnswer, revision: i64, asked: Option<&Range>) -> Answer {
    match op {
        OpAnswer::Put(prev) => {
            Answer { kvs: prev.into_iter().collect(), ..Answer::new(Verdict::Yes, revision) }
        }
        OpAnswer::Delete { deleted, prev } => {
            Answer { kvs: prev, total: deleted, ..Answer::new(Verdict::Yes, revision) }
        }
        OpAnswer::Range(found) => {
            let single = asked.is_some_and(|asked| asked.keys.end == RangeEnd::Single);
            let answer = Answer { revision, ..found_answer(found, single) };
            match asked {
                Some(asked) => answer.not_arranged(asked.clone()),
                None => answer,
            }
        }
    }
}

pub fn found_answer(found: Found, single: bool) -> Answer {
    let none = single && found.total == 0;
    let verdict = if none { Verdict::NotFound } else { Verdict::Yes };
    Answer { verdict, ..Answer::of_range(found) }
}

/// A range on its way, page by page.
struct Reading {
    store: Arc<Store>,
    timeout: Option<Duration>,
    /// Who can give it up; without, nobody waits for the pages.
    op: Option<Arc<Submitted>>,
    /// None when it is finished.
    unfinished: Mutex<Option<(Pager, OnFound)>>,
}

type OnFound = Box<dyn FnOnce(Result<(Range, Found)>) + Send>;

/// Where the answer to a page goes.
enum Page {
    Asking,
    /// It came before asking was over.
    Answered(Result<Found>),
    /// Whoever answers goes on.
    Left,
}

impl Reading {
    fn begin(
        store: &Arc<Store>,
        range: Range,
        timeout: Option<Duration>,
        op: Option<Arc<Submitted>>,
        done: OnFound,
    ) {
        let pager = Pager::new(range, store.wants_pages());
        let unfinished = Mutex::new(Some((pager, done)));
        Arc::new(Self { store: store.clone(), timeout, op, unfinished }).go();
    }

    /// Asks for pages until one is not answered at once, or all are.
    fn go(self: Arc<Self>) {
        while let Some(page) = self.next() {
            let slot = Arc::new(Mutex::new(Page::Asking));
            let (me, given) = (self.clone(), slot.clone());
            let done = Completion::new(move |answer| {
                let answer = answer.and_then(Response::into_range);
                {
                    let mut slot = given.hold();
                    if matches!(*slot, Page::Asking) {
                        *slot = Page::Answered(answer);
                        return;
                    }
                }
                me.take(answer);
                me.go();
            });
            let flight = self.store.submit(page.into(), self.timeout, done);
            let wanted = match (&self.op, flight) {
                (Some(op), flight) => op.under_way(flight),
                (None, Some(flight)) => {
                    flight.leave();
                    true
                }
                (None, None) => true,
            };
            let answered = std::mem::replace(&mut *slot.hold(), Page::Left);
            match answered {
                Page::Answered(answer) if wanted => self.take(answer),
                _ => return,
            }
        }
    }

    fn next(&self) -> Option<Range> {
        self.unfinished.hold().as_ref()?.0.next()
    }

    fn take(&self, answer: Result<Found>) {
        let mut unfinished = self.unfinished.hold();
        let Some((pager, _)) = &mut *unfinished else { return };
        let taken = pager.take(answer);
        if taken.is_ok() && pager.next().is_some() {
            return;
        }
        let Some((pager, done)) = unfinished.take() else { return };
        drop(unfinished);
        done(taken.map(|()| pager.finish()));
    }
}
