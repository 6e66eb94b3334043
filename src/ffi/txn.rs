//! Section: transactions.

use super::opts::{self, hmkv_put_opts, hmkv_range_opts, hmkv_remove_opts, hmkv_txn_opts};
use super::request::hmkv_op;
use super::types::{hmkv, hmkv_branch_code, hmkv_lock, hmkv_number_code};
use super::{arg, guard, handle, keys};
use crate::error::{Error, Result};
use crate::kv;
use crate::request::{Compare, Comparison, Op, Target, Txn};
use crate::store::Store;
use crate::sys;
use std::ffi::{c_char, c_void};
use std::sync::Arc;

/// A transaction that is being put together: owned memory, used by one thread at a
/// time, which hmkv_txn_commit() or hmkv_txn_free() takes.
pub struct hmkv_txn {
    store: Result<Arc<Store>>,
    /// The first thing that was wrong.
    wrong: Option<Error>,
    txn: Txn,
    forks: u32,
}

/// # Transactions
/// Compares, and operations for either case, as one atomic step with one revision:
///
///     hmkv_txn *t = hmkv_txn_new(kv);
///     hmkv_txn_if_number(t, "a", 1, HMKV_NUMBER_CREATE, "=", 0);
///     hmkv_txn_put(t, HMKV_THEN, "a", 1, "1", 1, NULL);
///     hmkv_txn_range(t, HMKV_ELSE, "a", 1, NULL);
///     hmkv_result *r = hmkv_await(hmkv_txn_commit(t, NULL));
///
/// The calls that put it together return nothing: the first thing that is wrong with
/// their arguments is the answer of the transaction, which is not sent then. Operators
/// are "=", "!=", "<" and ">". A branch may store each key once, and not remove what it
/// stores; both branches are checked for that. Leases and revisions are checked in the
/// branch that is taken alone.
/// ---
/// Begin a transaction.
///
/// @param kv The store.
/// @return The transaction; never NULL.
///
/// Blocks: never. Threads: any. Since: 0.1.
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hmkv_txn_new(kv: *mut hmkv) -> *mut hmkv_txn {
    let new = |store| {
        let (wrong, txn, forks) = (None, Txn::default(), sys::forks());
        Box::into_raw(Box::new(hmkv_txn { store, wrong, txn, forks }))
    };
    guard::pointer(|| Ok(new(handle::store(kv))), |error| new(Err(error)))
}

impl hmkv_txn {
    /// Adds to it, unless something is wrong already.
    fn add(&mut self, part: impl FnOnce(&Arc<Store>, &mut Txn) -> Result<()>) {
        if let (Ok(store), None) = (&self.store, &self.wrong) {
            self.wrong = part(store, &mut self.txn).err();
        }
    }

    fn add_op(&mut self, branch: i32, op: impl FnOnce() -> Result<Op>) {
        const THEN: i32 = hmkv_branch_code::HMKV_THEN as i32;
        const ELSE: i32 = hmkv_branch_code::HMKV_ELSE as i32;
        self.add(|_, txn| {
            let ops = match branch {
                THEN => &mut txn.then,
                ELSE => &mut txn.or_else,
                _ => return Err(arg::wrong("branch", i64::from(branch))),
            };
            ops.push(op()?);
            Ok(())
        });
    }
}

/// Add a compare on a key's value. One on a key that does not exist is false,
/// whatever the operator.
///
/// @param txn       The transaction. NULL: nothing happens.
/// @param key       `key_len` bytes or HMKV_NTS, not empty. Copied.
/// @param key_len   Its length.
/// @param op        How the stored value must stand to `value`, bytewise.
/// @param value     `value_len` bytes or HMKV_NTS. Copied.
/// @param value_len Its length.
///
/// Blocks: never. Threads: the transaction's. Since: 0.1.
#[no_mangle]
pub unsafe extern "C" fn hmkv_txn_if_value(
    txn: *mut hmkv_txn,
    key: *const c_void,
    key_len: usize,
    op: *const c_char,
    value: *const c_void,
    value_len: usize,
) {
    guard::change(txn, |txn| {
        txn.add(|_, txn| {
            let key = arg::key_data(key, key_len)?;
            let comparison = Comparison::parse(&arg::bytes(op, "op")?)?;
            let target = Target::Value(arg::data(value, value_len, "value")?);
            txn.compares.push(Compare { key, target, comparison });
            Ok(())
        });
    });
}

/// Add a compare on one of a key's numbers, which are 0 for a key that does not
/// exist.
///
/// @param txn     The transaction. NULL: nothing happens.
/// @param key     `key_len` bytes or HMKV_NTS, not empty. Copied.
/// @param key_len Its length.
/// @param what    One of `hmkv_number_code`.
/// @param op      How the stored number must stand to `number`.
/// @param number  What to compare with.
///
/// Blocks: never. Threads: the transaction's. Since: 0.1.
#[no_mangle]
pub unsafe extern "C" fn hmkv_txn_if_number(
    txn: *mut hmkv_txn,
    key: *const c_void,
    key_len: usize,
    what: i32,
    op: *const c_char,
    number: i64,
) {
    guard::change(txn, |txn| {
        txn.add(|_, txn| {
            let key = arg::key_data(key, key_len)?;
            let comparison = Comparison::parse(&arg::bytes(op, "op")?)?;
            let target = target(what, number)?;
            txn.compares.push(Compare { key, target, comparison });
            Ok(())
        });
    });
}

fn target(what: i32, number: i64) -> Result<Target> {
    use hmkv_number_code::*;
    const MOD: i32 = HMKV_NUMBER_MOD as i32;
    const CREATE: i32 = HMKV_NUMBER_CREATE as i32;
    const VERSION: i32 = HMKV_NUMBER_VERSION as i32;
    const LEASE: i32 = HMKV_NUMBER_LEASE as i32;
    Ok(match what {
        MOD => Target::ModRevision(number),
        CREATE => Target::CreateRevision(number),
        VERSION => Target::Version(number),
        LEASE => Target::Lease(number),
        _ => return Err(arg::wrong("what", i64::from(what))),
    })
}

/// Add a compare that is true while a lock is held: its key exists, created at
/// hmkv_lock_token(). With it a write by a former holder fails, always, also when
/// that was stopped between asking and writing.
///
/// @param txn  The transaction. NULL: nothing happens.
/// @param lock A lock of the same store that was acquired; HMKV_EHANDLE is the
///             transaction's answer if it was released, HMKV_EINVAL if it is not
///             held yet or of another store.
///
/// Blocks: never. Threads: the transaction's. Since: 0.1.
#[no_mangle]
pub unsafe extern "C" fn hmkv_txn_if_held(txn: *mut hmkv_txn, lock: *mut hmkv_lock) {
    guard::change(txn, |txn| {
        txn.add(|store, txn| {
            txn.compares.push(handle::lock(lock)?.guard_of(store)?);
            Ok(())
        });
    });
}

/// Add a put. In the result hmkv_result_sub() at its place has the former key if
/// `prev` asks for it.
///
/// @param txn       The transaction. NULL: nothing happens.
/// @param branch    One of `hmkv_branch_code`.
/// @param key       `key_len` bytes or HMKV_NTS, not empty. Copied.
/// @param key_len   Its length.
/// @param value     `value_len` bytes or HMKV_NTS. Copied.
/// @param value_len Its length.
/// @param opts      See hmkv_put_opts. May be NULL.
///
/// Blocks: never. Threads: the transaction's. Since: 0.1.
#[no_mangle]
pub unsafe extern "C" fn hmkv_txn_put(
    txn: *mut hmkv_txn,
    branch: i32,
    key: *const c_void,
    key_len: usize,
    value: *const c_void,
    value_len: usize,
    opts: *const hmkv_put_opts,
) {
    guard::change(txn, |txn| {
        txn.add_op(branch, || {
            let opts = opts::read(opts)?;
            arg::unconditional(opts.timeout_ms, opts.if_mod_revision)?;
            keys::put(key, key_len, value, value_len, &opts).map(Op::Put)
        });
    });
}

/// Add a range. It sees what the operations before it wrote. The answer is read in
/// one piece.
///
/// @param txn     The transaction. NULL: nothing happens.
/// @param branch  One of `hmkv_branch_code`.
/// @param key     As of hmkv_range().
/// @param key_len Its length.
/// @param opts    See hmkv_range_opts; `serializable` has no effect. May be NULL.
///
/// Blocks: never. Threads: the transaction's. Since: 0.1.
#[no_mangle]
pub unsafe extern "C" fn hmkv_txn_range(
    txn: *mut hmkv_txn,
    branch: i32,
    key: *const c_void,
    key_len: usize,
    opts: *const hmkv_range_opts,
) {
    guard::change(txn, |txn| {
        txn.add_op(branch, || {
            let opts = opts::read(opts)?;
            arg::unconditional(opts.timeout_ms, 0)?;
            keys::range(key, key_len, &opts).map(Op::Range)
        });
    });
}

/// Add a removal.
///
/// @param txn     The transaction. NULL: nothing happens.
/// @param branch  One of `hmkv_branch_code`.
/// @param key     As of hmkv_remove().
/// @param key_len Its length.
/// @param opts    See hmkv_remove_opts. May be NULL.
///
/// Blocks: never. Threads: the transaction's. Since: 0.1.
#[no_mangle]
pub unsafe extern "C" fn hmkv_txn_remove(
    txn: *mut hmkv_txn,
    branch: i32,
    key: *const c_void,
    key_len: usize,
    opts: *const hmkv_remove_opts,
) {
    guard::change(txn, |txn| {
        txn.add_op(branch, || {
            let opts = opts::read(opts)?;
            arg::unconditional(opts.timeout_ms, opts.if_mod_revision)?;
            keys::remove(key, key_len, &opts).map(Op::Delete)
        });
    });
}

/// Submit a transaction.
///
/// @param txn  The transaction; taken. NULL gives HMKV_EINVAL.
/// @param opts See hmkv_txn_opts. May be NULL.
/// @return The request. Its result has HMKV_OK: all compares were true, the then
///         branch is done;
///         HMKV_COMPARE_FAILED: one was false, the else branch is done;
///         in both cases at hmkv_result_revision(), with one hmkv_result_sub() for each
///         operation of that branch, in order;
///         HMKV_EINVAL: a wrong argument, or a key that one branch writes twice;
///         HMKV_ETOOLARGE: over 128 compares or operations in a branch, or over
///         `max_request`; HMKV_ELOST: there is no such lease; HMKV_ECOMPACTED: of
///         a range. In all these nothing is written.
///
/// Blocks: never. Threads: the transaction's. Since: 0.1.
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hmkv_txn_commit(
    txn: *mut hmkv_txn,
    opts: *const hmkv_txn_opts,
) -> *mut hmkv_op {
    guard::op(|| {
        let txn = take(txn).ok_or_else(|| Error::Invalid("the transaction is NULL".into()))?;
        if txn.forks != sys::forks() {
            // What is the parent's is not even given back.
            std::mem::forget(txn);
            return Err(Error::Forked);
        }
        let hmkv_txn { store, wrong, txn, .. } = *txn;
        let store = store?;
        let timeout = opts::read(opts).and_then(|opts| arg::opt_timeout(opts.timeout_ms));
        Ok(match wrong.map_or(timeout, Err) {
            Ok(timeout) => kv::commit(&store, txn, timeout),
            Err(error) => crate::op::Op::refused(&store, error),
        })
    })
}

/// Give back a transaction that was not committed.
///
/// @param txn The transaction; taken. NULL: nothing happens.
///
/// Blocks: never. Threads: the transaction's. Since: 0.1.
#[no_mangle]
pub unsafe extern "C" fn hmkv_txn_free(txn: *mut hmkv_txn) {
    guard::plain((), || drop(take(txn)));
}

unsafe fn take(txn: *mut hmkv_txn) -> Option<Box<hmkv_txn>> {
    if txn.is_null() {
        return None;
    }
    Some(unsafe { Box::from_raw(txn) })
}
