//! Keys and values, in both tiers.

use crate::callbacks::{self, EINTERNAL};
use crate::input::{Data, Fixed, Input, Opts};
use crate::model::{Effect, End};
use crate::world::{judged, sane, World, COMPARE_FAILED, OK};
use ::hmkv::fuzz::c::*;
use std::ffi::{c_char, CStr, CString};
use std::mem::offset_of;
use std::ptr;

impl World {
    pub unsafe fn store(&mut self, input: &mut Input<'_>) {
        let (kv, store) = self.kv(input);
        let (key, value) = (input.key(), input.value());
        let (key, value) = (input.text(key), input.text(value));
        let rc = unsafe { hmkv_store(kv, key.pointer(), value.pointer()) };
        if judged(rc, store.is_some()) == OK {
            let (key, value) = (key.bytes().expect("a key"), value.bytes().expect("a value"));
            let put = Effect::Put { key: self.full(store, key), value: value.into(), lease: false };
            self.model.apply(&put);
            unsafe { self.check(store, key) };
        }
    }

    pub unsafe fn get(&mut self, input: &mut Input<'_>) {
        let (kv, store) = self.kv(input);
        let key = input.key();
        let key = input.text(key);
        let mut value = 1 as *mut c_char;
        let rc = unsafe { hmkv_get(kv, key.pointer(), &mut value) };
        assert_eq!(judged(rc, store.is_some()) == OK, !value.is_null());
        unsafe { hmkv_free(value.cast()) };
        if let Some(key) = key.bytes().filter(|key| store.is_some() && !key.is_empty()) {
            unsafe { self.check(store, key) };
        }
    }

    /// What hmkv_get() answers, against the model.
    pub unsafe fn check(&self, store: Option<usize>, key: &[u8]) {
        let (Some(which), Ok(text)) = (store, CString::new(key)) else { return };
        let Some(expected) = self.model.holds(&self.full(store, key)) else { return };
        let kv = self.stores[which].handle as *mut hmkv;
        let mut value = ptr::null_mut();
        let rc = unsafe { hmkv_get(kv, text.as_ptr(), &mut value) };
        match expected {
            None => assert_eq!(rc, 1, "{} is not there", key.escape_ascii()),
            Some(bytes) if bytes.contains(&0) => assert_eq!(rc, -16),
            Some(bytes) => {
                assert_eq!(rc, OK, "{} is there", key.escape_ascii());
                assert_eq!(unsafe { CStr::from_ptr(value) }.to_bytes(), bytes);
            }
        }
        unsafe { hmkv_free(value.cast()) };
    }

    pub unsafe fn get_range(&mut self, input: &mut Input<'_>) {
        let (kv, store) = self.kv(input);
        let (start, end) = (input.key(), input.key());
        let (start, end) = (input.text(start), input.text(end));
        let mut out = 1 as *mut hmkv_result;
        let rc = unsafe { hmkv_get_range(kv, start.pointer(), end.pointer(), &mut out) };
        assert_eq!(judged(rc, store.is_some()) == OK, !out.is_null());
        unsafe { self.read_result(out) };
    }

    pub unsafe fn delete(&mut self, input: &mut Input<'_>) {
        let (kv, store) = self.kv(input);
        let key = input.key();
        let key = input.text(key);
        if judged(unsafe { hmkv_delete(kv, key.pointer()) }, store.is_some()) == OK {
            let from = self.full(store, key.bytes().expect("a key"));
            self.model.apply(&Effect::Remove { from, end: End::Single });
            unsafe { self.check(store, key.bytes().unwrap_or_default()) };
        }
    }

    pub unsafe fn transaction(&mut self, input: &mut Input<'_>) {
        let (kv, store) = self.kv(input);
        let texts: Vec<_> = (0..6)
            .map(|i| {
                let bytes = if i % 2 == 0 { input.key() } else { input.value() };
                input.text(bytes)
            })
            .collect();
        let [key, value, then_key, then_value, else_key, else_value] = &texts[..] else { return };
        if input.byte() % 2 == 0 {
            let rc = unsafe { hmkv_tas(kv, key.pointer(), value.pointer(), then_value.pointer()) };
            if judged(rc, store.is_some()) == OK {
                let full = self.full(store, key.bytes().expect("a key"));
                if let Some(Some(held)) = self.model.holds(&full) {
                    assert_eq!(Some(&held[..]), value.bytes());
                }
                let value = then_value.bytes().expect("a value").into();
                self.model.apply(&Effect::Put { key: full, value, lease: false });
            }
            return;
        }
        let op = [c"=", c"!=", c"<", c">", c"==", c""][input.below(6)];
        let rc = unsafe {
            hmkv_transaction(
                kv,
                key.pointer(),
                op.as_ptr(),
                value.pointer(),
                then_key.pointer(),
                then_value.pointer(),
                else_key.pointer(),
                else_value.pointer(),
            )
        };
        let pair = match judged(rc, store.is_some()) {
            OK => (then_key, then_value),
            COMPARE_FAILED => (else_key, else_value),
            _ => return,
        };
        if let Some(key) = pair.0.bytes() {
            let value = pair.1.bytes().expect("a value").into();
            self.model.apply(&Effect::Put { key: self.full(store, key), value, lease: false });
            unsafe { self.check(store, key) };
        }
    }

    pub unsafe fn put(&mut self, input: &mut Input<'_>) {
        let (kv, store) = self.kv(input);
        let (key, value) = (input.key(), input.value());
        let (key, value) = (input.data(key), input.data(value));
        let opts = unsafe { Opts::<hmkv_put_opts>::draw(input, &[]) };
        let op = unsafe {
            hmkv_put(kv, key.pointer(), key.len, value.pointer(), value.len, opts.pointer())
        };
        let effect = self.put_effect(store, key.bytes(), value.bytes(), &opts.known);
        unsafe { self.finish(op, store, effect.as_slice(), &[], input) };
        if let Some(key) = key.bytes().filter(|key| !key.is_empty()) {
            unsafe { self.check(store, key) };
        }
    }

    pub fn put_effect(
        &self,
        store: Option<usize>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        opts: &hmkv_put_opts,
    ) -> Option<Effect> {
        let (key, value) = (self.full(store, key?), value?.to_vec());
        Some(Effect::Put { key, value, lease: opts.lease != 0 })
    }

    pub unsafe fn range(&mut self, input: &mut Input<'_>) {
        let (kv, store) = self.kv(input);
        let (key, end) = (input.key(), input.key());
        let (key, end) = (input.data(key), input.data(end));
        let fixed = range_end(offset_of!(hmkv_range_opts, end), &end, input);
        let opts = unsafe { Opts::<hmkv_range_opts>::draw(input, &fixed) };
        let op = unsafe { hmkv_range(kv, key.pointer(), key.len, opts.pointer()) };
        unsafe { self.finish(op, store, &[], &[], input) };
    }

    pub unsafe fn remove(&mut self, input: &mut Input<'_>) {
        let (kv, store) = self.kv(input);
        let (key, end) = (input.key(), input.key());
        let (key, end) = (input.data(key), input.data(end));
        let fixed = range_end(offset_of!(hmkv_remove_opts, end), &end, input);
        let opts = unsafe { Opts::<hmkv_remove_opts>::draw(input, &fixed) };
        let op = unsafe { hmkv_remove(kv, key.pointer(), key.len, opts.pointer()) };
        let effect = self.remove_effect(store, key.bytes(), end.bytes(), &opts.known);
        unsafe { self.finish(op, store, effect.as_slice(), &[], input) };
    }

    pub fn remove_effect(
        &self,
        store: Option<usize>,
        key: Option<&[u8]>,
        end: Option<&[u8]>,
        opts: &hmkv_remove_opts,
    ) -> Option<Effect> {
        let end = match (opts.prefix, opts.end.is_null()) {
            (1, _) => End::Prefix,
            (_, false) => End::Before(self.full(store, end?)),
            _ => End::Single,
        };
        Some(Effect::Remove { from: self.full(store, key?), end })
    }

    /// Ends an operation in one of the three ways.
    pub unsafe fn finish(
        &mut self,
        op: *mut hmkv_op,
        store: Option<usize>,
        then: &[Effect],
        or_else: &[Effect],
        input: &mut Input<'_>,
    ) {
        assert!(!op.is_null());
        let all = || then.iter().chain(or_else);
        unsafe {
            match input.byte() {
                0..=219 => {
                    let result = hmkv_await(op);
                    let done = match judged(hmkv_result_status(result), store.is_some()) {
                        OK => then,
                        COMPARE_FAILED => or_else,
                        _ => &[],
                    };
                    done.iter().for_each(|effect| self.model.apply(effect));
                    self.read_result(result);
                }
                220..=239 => {
                    let polled = store.is_some_and(|store| self.stores[store].fd.is_some());
                    let data = ptr::without_provenance_mut(usize::from(polled));
                    hmkv_then(op, Some(callbacks::done), data);
                    all().for_each(|effect| self.model.blur(effect));
                }
                _ => {
                    assert_ne!(hmkv_cancel(op), EINTERNAL);
                    all().for_each(|effect| self.model.blur(effect));
                }
            }
        }
    }

    /// Reads all there is to it, and frees it.
    pub unsafe fn read_result(&self, result: *mut hmkv_result) {
        unsafe fn read(result: *const hmkv_result, depth: u32) {
            unsafe {
                sane(hmkv_result_status(result));
                let error = hmkv_result_error(result);
                assert!(error.is_null() || CStr::from_ptr(error).to_bytes().len() < 2000);
                assert!(hmkv_result_revision(result) >= 0);
                let _ = hmkv_result_total(result);
                let count = hmkv_result_count(result);
                for i in 0..count {
                    if let Some(kv) = hmkv_result_kv(result, i).as_ref() {
                        callbacks::read_kv(kv);
                    }
                }
                for i in 0..usize::MAX {
                    let sub = hmkv_result_sub(result, i);
                    if sub.is_null() {
                        break;
                    }
                    assert_eq!(depth, 0, "results of results have none");
                    read(sub, depth + 1);
                }
                assert!(hmkv_result_kv(result, count).is_null());
                assert!(hmkv_result_kv(result, usize::MAX).is_null());
                assert!(hmkv_result_sub(result, usize::MAX).is_null());
            }
        }
        if !result.is_null() {
            unsafe {
                read(result, 0);
                hmkv_result_free(result);
            }
        }
    }

    pub unsafe fn txn(&mut self, input: &mut Input<'_>) {
        let (kv, store) = self.kv(input);
        let txn = unsafe { hmkv_txn_new(kv) };
        assert!(!txn.is_null());
        let mut branches = [Vec::new(), Vec::new()];
        for _ in 0..input.below(8) {
            let effect = unsafe { self.txn_part(txn, store, input) };
            if let Some((branch @ 1..=2, effect)) = effect {
                branches[branch as usize - 1].push(effect);
            }
        }
        if input.byte() > 240 {
            return unsafe { hmkv_txn_free(txn) };
        }
        let opts = unsafe { Opts::<hmkv_txn_opts>::draw(input, &[]) };
        let op = unsafe { hmkv_txn_commit(txn, opts.pointer()) };
        unsafe { self.finish(op, store, &branches[0], &branches[1], input) };
    }

    pub unsafe fn txn_part(
        &mut self,
        txn: *mut hmkv_txn,
        store: Option<usize>,
        input: &mut Input<'_>,
    ) -> Option<(i32, Effect)> {
        let (key, value) = (input.key(), input.value());
        let (key, value) = (input.data(key), input.data(value));
        let operators = [c"=".as_ptr(), c"!=".as_ptr(), c"<".as_ptr(), c">".as_ptr(), ptr::null()];
        let branch = match input.byte() {
            few @ 0..=249 => i32::from(few % 2) + 1,
            _ => input.number() as i32,
        };
        unsafe {
            match input.byte() % 8 {
                0 => {
                    let op = operators[input.below(5)];
                    let (value, len) = (value.pointer(), value.len);
                    hmkv_txn_if_value(txn, key.pointer(), key.len, op, value, len);
                    None
                }
                1 => {
                    let (what, op) = (input.byte() as i32 % 7, operators[input.below(5)]);
                    let number = input.number();
                    hmkv_txn_if_number(txn, key.pointer(), key.len, what, op, number);
                    None
                }
                2 => {
                    let (lock, _) = self.one_of(&self.locks, input);
                    hmkv_txn_if_held(txn, lock as *mut hmkv_lock);
                    None
                }
                3 => {
                    let fixed = range_end(offset_of!(hmkv_range_opts, end), &value, input);
                    let opts = Opts::<hmkv_range_opts>::draw(input, &fixed);
                    hmkv_txn_range(txn, branch, key.pointer(), key.len, opts.pointer());
                    None
                }
                4 => {
                    let fixed = range_end(offset_of!(hmkv_remove_opts, end), &value, input);
                    let opts = Opts::<hmkv_remove_opts>::draw(input, &fixed);
                    hmkv_txn_remove(txn, branch, key.pointer(), key.len, opts.pointer());
                    let effect =
                        self.remove_effect(store, key.bytes(), value.bytes(), &opts.known)?;
                    Some((branch, effect))
                }
                _ => {
                    let opts = Opts::<hmkv_put_opts>::draw(input, &[]);
                    let (data, len) = (value.pointer(), value.len);
                    hmkv_txn_put(txn, branch, key.pointer(), key.len, data, len, opts.pointer());
                    let effect = self.put_effect(store, key.bytes(), value.bytes(), &opts.known)?;
                    Some((branch, effect))
                }
            }
        }
    }
}

pub fn range_end(at: usize, end: &Data, input: &mut Input<'_>) -> Vec<Fixed> {
    match input.byte() % 3 {
        0 => vec![Fixed { at, is: end.pointer() as u64 }, Fixed { at: at + 8, is: end.len as u64 }],
        _ => vec![Fixed { at, is: 0 }],
    }
}
