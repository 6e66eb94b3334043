//! Mirrors, against what the store had and what it must have.

use crate::callbacks;
use crate::input::{Input, Opts};
use crate::model::{Effect, End};
use crate::requests::range_end;
use crate::world::{brief, found, judged, kept, Live, World, EHANDLE, EINVAL, OK};
use ::hmkv::fuzz::c::*;
use std::ffi::{c_void, CString};
use std::mem::offset_of;
use std::time::{Duration, Instant};

const NOT_FOUND: i32 = hmkv_status_code::HMKV_NOT_FOUND as i32;
const ECOMPACTED: i32 = hmkv_status_code::HMKV_ECOMPACTED as i32;
const EUNAVAIL: i32 = hmkv_status_code::HMKV_EUNAVAIL as i32;
const TIMED_OUT: i32 = hmkv_status_code::HMKV_TIMED_OUT as i32;

impl World {
    pub unsafe fn mirror(&mut self, input: &mut Input<'_>) {
        unsafe {
            match input.byte() % 8 {
                0 | 1 => self.mirror_open(input),
                2 => self.mirror_get(input),
                3 => self.mirror_range(input),
                4 => self.mirror_wait(input),
                5 | 6 => {
                    if let (_, Some(which)) = self.one_of(&self.mirrors, input) {
                        let asks = input.byte() >= 240;
                        self.check_mirror(which, asks);
                    }
                }
                _ => self.mirror_close(input),
            }
        }
    }

    unsafe fn mirror_open(&mut self, input: &mut Input<'_>) {
        let (kv, store) = self.kv(input);
        let prefix = match input.byte() {
            0..=99 => Vec::new(),
            100..=179 => b"m".to_vec(),
            _ => input.key(),
        };
        let prefix = input.data(prefix);
        let given = self.give(kv as usize, input);
        let changed: hmkv_event_fn =
            if input.byte() < 160 { Some(callbacks::changed) } else { None };
        let (mut out, data) = (1 as *mut hmkv_mirror, self.given[given].pointer());
        let place = input.place(&mut out);
        let rc =
            unsafe { hmkv_mirror_open(kv, prefix.pointer(), prefix.len, changed, data, place) };
        judged(rc, store.is_some() && !place.is_null());
        let Some(store) = store.filter(|_| rc == OK) else {
            assert!(out.is_null() || place.is_null());
            let refused = store.is_none() || place.is_null() || prefix.bytes().is_none();
            assert!(refused || self.stores[store.unwrap_or(0)].hasty, "opening answers {rc}");
            return self.given[given].end();
        };
        let mut new = self.new_live(out as usize, store, given);
        new.prefix = prefix.bytes().expect("a prefix").to_vec();
        if changed.is_none() {
            (new.given, new.unsure) = (None, false);
        }
        self.mirrors.push(new);
    }

    unsafe fn mirror_get(&mut self, input: &mut Input<'_>) {
        let (mirror, good) = self.one_of(&self.mirrors, input);
        let key = input.key();
        let key = input.data(key);
        unsafe {
            let result = hmkv_mirror_get(mirror as *mut hmkv_mirror, key.pointer(), key.len);
            let status = judged(hmkv_result_status(result), good.is_some());
            if let Some(live) = good.map(|good| &self.mirrors[good]).filter(|live| !live.unsure) {
                let its = |key: &&[u8]| !key.is_empty() && key.starts_with(&live.prefix);
                match key.bytes().filter(its) {
                    Some(_) => assert!(status == OK || status == NOT_FOUND, "{status}"),
                    None => assert_eq!(status, EINVAL),
                }
            }
            self.read_result(result);
        }
    }

    unsafe fn mirror_range(&mut self, input: &mut Input<'_>) {
        let (mirror, good) = self.one_of(&self.mirrors, input);
        let (key, end) = (input.key(), input.key());
        let (key, end) = (input.data(key), input.data(end));
        let fixed = range_end(offset_of!(hmkv_range_opts, end), &end, input);
        let mut opts = unsafe { Opts::<hmkv_range_opts>::draw(input, &fixed) };
        unsafe {
            let mirror = mirror as *mut hmkv_mirror;
            let result = hmkv_mirror_range(mirror, key.pointer(), key.len, opts.pointer());
            let status = judged(hmkv_result_status(result), good.is_some());
            if let Some(good) = good.filter(|_| status == OK || status == NOT_FOUND) {
                let known = &mut opts.known;
                assert_eq!((known.timeout_ms, known.revision, known.serializable), (0, 0, 0));
                let key = (key.pointer(), key.len);
                check_copy(self.mirrors[good].kv, key, known, result);
            }
            self.read_result(result);
        }
    }

    unsafe fn mirror_wait(&mut self, input: &mut Input<'_>) {
        let (mirror, good) = self.one_of(&self.mirrors, input);
        let mirror = mirror as *mut hmkv_mirror;
        let (revision, timeout) = (input.number(), brief(input.number()));
        unsafe {
            let rc = judged(hmkv_mirror_wait(mirror, revision, timeout), good.is_some());
            if good.is_some_and(|good| !self.mirrors[good].unsure) {
                match revision < 0 || timeout < 0 {
                    true => assert_eq!(rc, EINVAL),
                    false => assert!(rc == OK || rc == TIMED_OUT, "waiting answers {rc}"),
                }
            }
        }
    }

    /// Whether it has all that was done until now, and has told of it.
    pub unsafe fn check_mirror(&mut self, which: usize, asks: bool) {
        let Live { handle, kv, given, unsure, prefix } = &self.mirrors[which];
        if *unsure {
            return;
        }
        let store = self.stores.iter().position(|store| store.handle == *kv);
        let prefix = prefix.clone();
        let (mirror, kv, given) = (*handle as *mut hmkv_mirror, *kv, *given);
        let full = self.full(store, &prefix);
        unsafe {
            // A change of its own comes by itself; otherwise it has to ask.
            if !asks {
                self.put_by_another([&full[..], b"m0"].concat());
            }
            let newest = newest_revision();
            assert_eq!(hmkv_mirror_wait(mirror, newest, 10_000), OK);
            let whole =
                || hmkv_mirror_range(mirror, prefix.as_ptr().cast(), prefix.len(), &of_prefix());
            let copy = whole();
            assert_eq!(hmkv_result_status(copy), OK);
            assert!(hmkv_result_revision(copy) >= newest);
            let key = (prefix.as_ptr().cast(), prefix.len());
            check_copy(kv, key, &mut of_prefix(), copy);
            let namespace = full.len() - prefix.len();
            let there = found(copy).into_iter();
            let there = there.map(|(key, value)| ([&full[..namespace], &key].concat(), value));
            self.model.check(&full, &there.collect());
            hmkv_result_free(copy);
            let Some(given) = given else { return };
            let end = Instant::now() + Duration::from_secs(10);
            loop {
                self.dispatch_if_readable(store.expect("its store"));
                let copy = whole();
                let told = self.given[given].told.lock().expect("no panic").keys == found(copy);
                hmkv_result_free(copy);
                if told {
                    break;
                }
                assert!(Instant::now() < end, "never told");
                std::thread::yield_now();
            }
        }
    }

    /// Stores a value through a handle that no fault concerns.
    pub unsafe fn put_by_another(&mut self, key: Vec<u8>) {
        let value = b"another".to_vec();
        unsafe {
            let (data, len) = (value.as_ptr().cast(), value.len());
            let put = hmkv_put(kept(), key.as_ptr().cast(), key.len(), data, len, std::ptr::null());
            let result = hmkv_await(put);
            assert_eq!(hmkv_result_status(result), OK);
            hmkv_result_free(result);
        }
        self.model.apply(&Effect::Put { key, value, lease: false });
    }

    pub unsafe fn remove_by_another(&mut self, from: Vec<u8>) {
        let key = CString::new(&from[..]).expect("no NUL");
        assert_eq!(unsafe { hmkv_delete(kept(), key.as_ptr()) }, OK);
        self.model.apply(&Effect::Remove { from, end: End::Single });
    }

    unsafe fn mirror_close(&mut self, input: &mut Input<'_>) {
        let (mirror, good) = self.one_of(&self.mirrors, input);
        let rc = judged(unsafe { hmkv_mirror_close(mirror as *mut hmkv_mirror) }, good.is_some());
        if let Some(good) = good {
            let gone = self.mirrors.remove(good);
            assert!(rc == OK || gone.unsure && rc == EHANDLE, "closing answers {rc}");
            self.retired.push(gone.handle);
            if rc == OK {
                self.end_given(gone.given);
            }
        }
    }
}

fn of_prefix() -> hmkv_range_opts {
    let mut opts: hmkv_range_opts = unsafe { std::mem::zeroed() };
    (opts.size, opts.prefix) = (size_of::<hmkv_range_opts>(), 1);
    opts
}

pub unsafe fn newest_revision() -> i64 {
    unsafe {
        let result = hmkv_await(hmkv_ping(kept()));
        assert_eq!(hmkv_result_status(result), OK);
        let revision = hmkv_result_revision(result);
        hmkv_result_free(result);
        revision
    }
}

/// A range of a copy, against that of the store at its revision.
unsafe fn check_copy(
    kv: usize,
    (key, len): (*const c_void, usize),
    opts: &mut hmkv_range_opts,
    copy: *const hmkv_result,
) {
    unsafe {
        opts.size = size_of::<hmkv_range_opts>();
        opts.revision = hmkv_result_revision(copy);
        let range = hmkv_range(kv as *mut hmkv, key, len, opts);
        let range = hmkv_await(range);
        let status = hmkv_result_status(range);
        assert!([OK, NOT_FOUND, ECOMPACTED, EUNAVAIL].contains(&status), "{status}");
        if status >= 0 {
            assert_eq!(hmkv_result_status(copy), status);
            assert_eq!(hmkv_result_total(copy), hmkv_result_total(range));
            assert_eq!(hmkv_result_count(copy), hmkv_result_count(range));
            for i in 0..hmkv_result_count(copy) {
                let (one, other) = (&*hmkv_result_kv(copy, i), &*hmkv_result_kv(range, i));
                assert_eq!(callbacks::read_kv(one), callbacks::read_kv(other));
                let numbers =
                    |kv: &hmkv_kv| (kv.create_revision, kv.mod_revision, kv.version, kv.lease);
                assert_eq!(numbers(one), numbers(other));
            }
        }
        hmkv_result_free(range);
    }
}
