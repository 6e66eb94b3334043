use crate::callbacks::{self, Given, EINTERNAL};
use crate::input::{Fixed, Input, Opts};
use crate::model::{Effect, End, Model};
use ::hmkv::fuzz::c::*;
use std::ffi::{c_char, CStr, CString};
use std::mem::offset_of;
use std::ptr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

const OK: i32 = 0;
const COMPARE_FAILED: i32 = hmkv_status_code::HMKV_COMPARE_FAILED as i32;
const EINVAL: i32 = hmkv_status_code::HMKV_EINVAL as i32;
const EHANDLE: i32 = hmkv_status_code::HMKV_EHANDLE as i32;

/// A handle of some kind that is good.
struct Live {
    handle: usize,
    /// Of which store.
    kv: usize,
    /// What was given with it, by number.
    given: Option<usize>,
    /// A callback may have closed it.
    unsure: bool,
}

struct Store {
    handle: usize,
    namespace: &'static [u8],
    state: Option<usize>,
}

#[derive(Default)]
struct World {
    stores: Vec<Store>,
    watchers: Vec<Live>,
    leases: Vec<Live>,
    locks: Vec<Live>,
    retired: Vec<usize>,
    // A pointer to each is with the library.
    #[allow(clippy::vec_box)]
    given: Vec<Box<Given>>,
    /// Whose `userdata_free` is to be called.
    to_free: Vec<usize>,
    model: Model,
    names: u32,
}

fn open(endpoint: &str, options: &str) -> usize {
    let (endpoint, options) = (CString::new(endpoint), CString::new(options));
    let (endpoint, options) = (endpoint.expect("no NUL"), options.expect("no NUL"));
    let mut kv = ptr::null_mut();
    let rc = unsafe { hmkv_open(endpoint.as_ptr(), options.as_ptr(), &mut kv) };
    assert_eq!(rc, OK, "{:?}", unsafe { CStr::from_ptr(hmkv_errmsg()) });
    kv as usize
}

/// A store that is never closed: as long as it is open, the library's threads stay.
fn kept() -> *mut hmkv {
    static KEPT: OnceLock<usize> = OnceLock::new();
    *KEPT.get_or_init(|| open("mem:", "")) as *mut hmkv
}

pub fn run(data: &[u8]) {
    kept();
    let mut input = Input(data);
    let mut world = World::default();
    world.open(&mut input);
    for _ in 0..100 {
        if input.0.is_empty() {
            break;
        }
        unsafe { world.step(&mut input) };
    }
    unsafe { world.end() };
}

/// A status that may be anything sane.
fn sane(rc: i32) -> i32 {
    assert!((-18..=4).contains(&rc), "status {rc}");
    rc
}

/// That of a call with this handle, which does as much as it says.
fn judged(rc: i32, good: bool) -> i32 {
    assert!(good || rc == EHANDLE || rc == EINVAL, "a bad handle is answered with {rc}");
    sane(rc)
}

impl World {
    fn open(&mut self, input: &mut Input<'_>) {
        let (namespace, options): (&'static [u8], _) = match input.byte() % 4 {
            0 => (b"n/", "namespace=n/"),
            1 => (b"", "lock_ttl=2s;temp_ttl=2s,timeout=1ms"),
            _ => (b"", ""),
        };
        let handle = open("mem:", options);
        self.stores.push(Store { handle, namespace, state: None });
    }

    unsafe fn step(&mut self, input: &mut Input<'_>) {
        unsafe {
            match input.byte() % 32 {
                0 => self.open_or_close(input),
                1..=3 => self.store(input),
                4..=6 => self.get(input),
                7 => self.get_range(input),
                8 => self.delete(input),
                9 | 10 => self.transaction(input),
                11 => self.temp_key(input),
                12 => self.dist_lock(input),
                13 => self.watch(input),
                14 => self.watch_cb(input),
                15..=18 => self.put(input),
                19 => self.range(input),
                20 => self.remove(input),
                21..=23 => self.txn(input),
                24 => self.watch_open(input),
                25 => self.watch_next(input),
                26 => self.close_watcher(input),
                27 => self.lease(input),
                28 => self.lock(input),
                29 => self.close_lease_or_lock(input),
                30 => self.on_state(input),
                _ => self.others(input),
            }
        }
    }

    // --- Handles ------------------------------------------------------------

    fn draw(&self, live: &[usize], input: &mut Input<'_>) -> usize {
        let at = |list: &[usize], input: &mut Input<'_>| {
            list.get(input.below(list.len())).copied().unwrap_or(0)
        };
        match input.byte() {
            0..=219 => at(live, input),
            220..=227 => at(&self.retired, input),
            228..=239 => {
                let all: Vec<usize> = self.all().collect();
                at(&all, input)
            }
            240..=247 => at(live, input) ^ 1 << input.below(usize::BITS as usize),
            _ => input.word() as usize,
        }
    }

    fn all(&self) -> impl Iterator<Item = usize> + '_ {
        let lists = [&self.watchers, &self.leases, &self.locks];
        let stores = self.stores.iter().map(|store| store.handle);
        stores.chain(lists.into_iter().flatten().map(|live| live.handle))
    }

    /// The handle of a store, and which one it is if it is good.
    fn kv(&self, input: &mut Input<'_>) -> (*mut hmkv, Option<usize>) {
        let live: Vec<usize> = self.stores.iter().map(|store| store.handle).collect();
        let handle = match self.draw(&live, input) {
            kept if kept == self::kept() as usize => 0,
            other => other,
        };
        (handle as *mut hmkv, live.iter().position(|other| *other == handle))
    }

    fn one_of(&self, lives: &[Live], input: &mut Input<'_>) -> (usize, Option<usize>) {
        let live: Vec<usize> = lives.iter().map(|live| live.handle).collect();
        let handle = self.draw(&live, input);
        (handle, live.iter().position(|other| *other == handle))
    }

    fn full(&self, store: Option<usize>, key: &[u8]) -> Vec<u8> {
        let namespace = store.map_or(&b""[..], |store| self.stores[store].namespace);
        [namespace, key].concat()
    }

    fn give(&mut self, kv: usize, input: &mut Input<'_>) -> usize {
        self.given.push(Given::new(kv, input.byte()));
        self.given.len() - 1
    }

    fn end_given(&self, given: Option<usize>) {
        if let Some(given) = given {
            self.given[given].end();
        }
    }

    fn new_live(&self, handle: usize, store: usize, given: usize) -> Live {
        assert!(handle != 0 && self.all().all(|other| other != handle));
        let given_there = &self.given[given];
        given_there.object.store(handle, std::sync::atomic::Ordering::SeqCst);
        let kv = self.stores[store].handle;
        Live { handle, kv, given: Some(given), unsure: given_there.closes_itself }
    }

    // --- Stores -------------------------------------------------------------

    unsafe fn open_or_close(&mut self, input: &mut Input<'_>) {
        let how = input.byte();
        if how < 100 && self.stores.len() < 3 {
            return self.open(input);
        }
        if how < 150 {
            let mut out = 1 as *mut hmkv;
            let (endpoint, options) = ([b"mem:", &input.value()[..]].concat(), input.value());
            let (endpoint, options) = (input.text(endpoint), input.text(options));
            // Each name is a store that stays.
            if endpoint.bytes().is_none_or(|text| text == b"mem:") {
                let rc = unsafe { hmkv_open(endpoint.pointer(), options.pointer(), &mut out) };
                assert_eq!(sane(rc) == OK, !out.is_null());
                if rc == OK {
                    assert_eq!(unsafe { hmkv_close(out) }, OK);
                }
            }
            return;
        }
        let (kv, which) = self.kv(input);
        if which.is_some() && self.stores.len() < 2 {
            return;
        }
        let rc = judged(unsafe { hmkv_close(kv) }, which.is_some());
        if let Some(which) = which {
            self.closed(which, rc);
        }
    }

    fn closed(&mut self, which: usize, rc: i32) {
        assert!(rc == OK || rc == 4, "closing answers {rc}");
        let store = self.stores.remove(which);
        self.retired.push(store.handle);
        let mut ended: Vec<Option<usize>> = vec![store.state];
        for list in [&mut self.watchers, &mut self.leases, &mut self.locks] {
            for gone in list.extract_if(.., |live| live.kv == store.handle) {
                self.retired.push(gone.handle);
                ended.push(gone.given);
            }
        }
        if rc == OK {
            ended.into_iter().for_each(|given| self.end_given(given));
        }
    }

    unsafe fn end(mut self) {
        unsafe { self.check_all() };
        while !self.stores.is_empty() {
            let rc = unsafe { hmkv_close(self.stores[0].handle as *mut hmkv) };
            self.closed(0, rc);
        }
        for given in &self.to_free {
            let freed = &self.given[*given].freed;
            let end = Instant::now() + Duration::from_secs(10);
            while freed.load(std::sync::atomic::Ordering::SeqCst) == 0 {
                assert!(Instant::now() < end, "never freed");
                std::thread::yield_now();
            }
        }
        unsafe { self.clear() };
    }

    /// `mem:` outlives its handles: it is left empty, and without a history.
    unsafe fn clear(&mut self) {
        let kv = kept();
        unsafe {
            hmkv_set_log(0, None, ptr::null_mut());
            let mut opts: hmkv_remove_opts = std::mem::zeroed();
            (opts.size, opts.prefix) = (size_of::<hmkv_remove_opts>(), 1);
            let result = hmkv_await(hmkv_remove(kv, ptr::null(), 0, &opts));
            assert_eq!(hmkv_result_status(result), OK);
            hmkv_result_free(result);
            assert_eq!(hmkv_mem_fault(kv, c"compact".as_ptr()), OK);
        }
    }

    /// Everything that is there, against the model.
    unsafe fn check_all(&self) {
        let kv = kept();
        let mut opts: hmkv_range_opts = unsafe { std::mem::zeroed() };
        (opts.size, opts.prefix) = (size_of::<hmkv_range_opts>(), 1);
        unsafe {
            let result = hmkv_await(hmkv_range(kv, ptr::null(), 0, &opts));
            assert_eq!(hmkv_result_status(result), OK);
            let mut there = std::collections::BTreeMap::new();
            for i in 0..hmkv_result_count(result) {
                let (key, value) = callbacks::read_kv(&*hmkv_result_kv(result, i));
                assert!(there.insert(key.to_vec(), value.to_vec()).is_none());
            }
            if self.model.is_certain() {
                for (key, value) in &self.model.keys {
                    assert_eq!(there.get(key), Some(value), "{}", key.escape_ascii());
                }
                for key in there.keys().filter(|key| key.starts_with(b"m")) {
                    assert_ne!(self.model.holds(key), Some(None), "{}", key.escape_ascii());
                }
            }
            hmkv_result_free(result);
        }
    }

    // --- Keys and values ----------------------------------------------------

    unsafe fn store(&mut self, input: &mut Input<'_>) {
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

    unsafe fn get(&mut self, input: &mut Input<'_>) {
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
    unsafe fn check(&self, store: Option<usize>, key: &[u8]) {
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

    unsafe fn get_range(&mut self, input: &mut Input<'_>) {
        let (kv, store) = self.kv(input);
        let (start, end) = (input.key(), input.key());
        let (start, end) = (input.text(start), input.text(end));
        let mut out = 1 as *mut hmkv_result;
        let rc = unsafe { hmkv_get_range(kv, start.pointer(), end.pointer(), &mut out) };
        assert_eq!(judged(rc, store.is_some()) == OK, !out.is_null());
        unsafe { self.read_result(out) };
    }

    unsafe fn delete(&mut self, input: &mut Input<'_>) {
        let (kv, store) = self.kv(input);
        let key = input.key();
        let key = input.text(key);
        if judged(unsafe { hmkv_delete(kv, key.pointer()) }, store.is_some()) == OK {
            let from = self.full(store, key.bytes().expect("a key"));
            self.model.apply(&Effect::Remove { from, end: End::Single });
            unsafe { self.check(store, key.bytes().unwrap_or_default()) };
        }
    }

    unsafe fn transaction(&mut self, input: &mut Input<'_>) {
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

    unsafe fn temp_key(&mut self, input: &mut Input<'_>) {
        let (kv, store) = self.kv(input);
        let key = [&b"t"[..], &input.key()].concat();
        let key = input.text(key);
        let rc = judged(unsafe { hmkv_temp_key(kv, key.pointer()) }, store.is_some());
        if let Some(key) = key.bytes().filter(|_| rc == OK) {
            let full = self.full(store, key);
            self.model.loosen(&full);
        }
    }

    unsafe fn dist_lock(&mut self, input: &mut Input<'_>) {
        let (kv, store) = self.kv(input);
        let rc = match input.byte() % 4 {
            // Longer waits would be.
            0 => unsafe { hmkv_dist_timed_lock(kv, input.number().min(0) as i32) },
            1 if store.is_none() => unsafe { hmkv_dist_lock(kv) },
            2 => unsafe { hmkv_dist_lock_result(kv) },
            _ => unsafe { hmkv_dist_unlock(kv) },
        };
        assert!(store.is_some() || rc == EHANDLE || rc == EINVAL, "{rc}");
        assert_ne!(rc, EINTERNAL);
    }

    // --- Watches ------------------------------------------------------------

    unsafe fn watch(&mut self, input: &mut Input<'_>) {
        let (kv, store) = self.kv(input);
        let key = input.key();
        let key = input.text(key);
        let (mut value, mut op) = (1 as *mut c_char, 7);
        let timeout = brief(input.number());
        let rc = unsafe { hmkv_watch(kv, key.pointer(), timeout, &mut value, &mut op) };
        assert_eq!(op != 0, judged(rc, store.is_some()) == OK);
        unsafe { hmkv_free(value.cast()) };
    }

    unsafe fn watch_cb(&mut self, input: &mut Input<'_>) {
        let (kv, store) = self.kv(input);
        let key = input.key();
        let key = input.text(key);
        let given = self.give(kv as usize, input);
        let (mut out, data) = (1 as *mut hmkv_watcher, self.given[given].pointer());
        let function: hmkv_watch_fn =
            if input.byte() < 250 { Some(callbacks::watched) } else { None };
        let op = (input.number() as i32).clamp(-1, 4);
        let rc = unsafe { hmkv_watch_cb(kv, key.pointer(), op, function, data, &mut out) };
        self.new_watcher(judged(rc, store.is_some()), store, out, given);
    }

    fn new_watcher(&mut self, rc: i32, store: Option<usize>, out: *mut hmkv_watcher, given: usize) {
        assert_eq!(rc == OK, !out.is_null());
        match store.filter(|_| rc == OK) {
            Some(store) => {
                let new = self.new_live(out as usize, store, given);
                self.watchers.push(new);
            }
            None => self.given[given].end(),
        }
    }

    unsafe fn watch_open(&mut self, input: &mut Input<'_>) {
        let (kv, store) = self.kv(input);
        let key = input.key();
        let (key, end) = (input.data(key), input.key());
        let end = input.data(end);
        let given = self.give(kv as usize, input);
        let frees = input.byte() % 2 == 0;
        let mut fixed = vec![
            Fixed { at: offset_of!(hmkv_watch_opts, userdata_free), is: 0 },
            Fixed { at: offset_of!(hmkv_watch_opts, end), is: 0 },
        ];
        if frees {
            let free: unsafe extern "C-unwind" fn(_) = callbacks::free;
            fixed[0].is = free as usize as u64;
        }
        if input.byte() % 4 == 0 {
            fixed[1].is = end.pointer() as u64;
            let at = offset_of!(hmkv_watch_opts, end_len);
            fixed.push(Fixed { at, is: end.len as u64 });
        }
        let opts = unsafe { Opts::<hmkv_watch_opts>::draw(input, &fixed) };
        let function: hmkv_event_fn =
            if input.byte() < 160 { Some(callbacks::event) } else { None };
        let (mut out, data) = (1 as *mut hmkv_watcher, self.given[given].pointer());
        let rc = unsafe {
            hmkv_watch_open(kv, key.pointer(), key.len, opts.pointer(), function, data, &mut out)
        };
        if rc == OK && opts.known.userdata_free.is_some() {
            self.to_free.push(given);
        }
        self.new_watcher(judged(rc, store.is_some()), store, out, given);
    }

    unsafe fn watch_next(&mut self, input: &mut Input<'_>) {
        let (watcher, good) = self.one_of(&self.watchers, input);
        let mut event = 1 as *const hmkv_event;
        let timeout = brief(input.number());
        let rc = unsafe { hmkv_watch_next(watcher as *mut hmkv_watcher, timeout, &mut event) };
        assert_eq!(judged(rc, good.is_some()) == OK, !event.is_null());
        if !event.is_null() {
            unsafe { callbacks::read_event(event) };
        }
    }

    unsafe fn close_watcher(&mut self, input: &mut Input<'_>) {
        let (watcher, good) = self.one_of(&self.watchers, input);
        let watcher = watcher as *mut hmkv_watcher;
        let rc = match input.byte() % 2 {
            0 => unsafe { hmkv_watch_close(watcher) },
            _ => unsafe { hmkv_watch_cb_cancel(watcher) },
        };
        judged(rc, good.is_some());
        if let Some(good) = good {
            let gone = self.watchers.remove(good);
            assert!(rc == OK || gone.unsure, "closing answers {rc}");
            self.retired.push(gone.handle);
            if rc == OK {
                self.end_given(gone.given);
            }
        }
    }

    // --- Requests -----------------------------------------------------------

    unsafe fn put(&mut self, input: &mut Input<'_>) {
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

    fn put_effect(
        &self,
        store: Option<usize>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        opts: &hmkv_put_opts,
    ) -> Option<Effect> {
        let (key, value) = (self.full(store, key?), value?.to_vec());
        Some(Effect::Put { key, value, lease: opts.lease != 0 })
    }

    unsafe fn range(&mut self, input: &mut Input<'_>) {
        let (kv, store) = self.kv(input);
        let (key, end) = (input.key(), input.key());
        let (key, end) = (input.data(key), input.data(end));
        let fixed = range_end(offset_of!(hmkv_range_opts, end), &end, input);
        let opts = unsafe { Opts::<hmkv_range_opts>::draw(input, &fixed) };
        let op = unsafe { hmkv_range(kv, key.pointer(), key.len, opts.pointer()) };
        unsafe { self.finish(op, store, &[], &[], input) };
    }

    unsafe fn remove(&mut self, input: &mut Input<'_>) {
        let (kv, store) = self.kv(input);
        let (key, end) = (input.key(), input.key());
        let (key, end) = (input.data(key), input.data(end));
        let fixed = range_end(offset_of!(hmkv_remove_opts, end), &end, input);
        let opts = unsafe { Opts::<hmkv_remove_opts>::draw(input, &fixed) };
        let op = unsafe { hmkv_remove(kv, key.pointer(), key.len, opts.pointer()) };
        let effect = self.remove_effect(store, key.bytes(), end.bytes(), &opts.known);
        unsafe { self.finish(op, store, effect.as_slice(), &[], input) };
    }

    fn remove_effect(
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
    unsafe fn finish(
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
                    hmkv_then(op, Some(callbacks::done), ptr::null_mut());
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
    unsafe fn read_result(&self, result: *mut hmkv_result) {
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

    unsafe fn txn(&mut self, input: &mut Input<'_>) {
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

    unsafe fn txn_part(
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

    // --- Leases and locks ---------------------------------------------------

    unsafe fn lease(&mut self, input: &mut Input<'_>) {
        if input.byte() % 2 == 0 {
            let (lease, good) = self.one_of(&self.leases, input);
            let lease = lease as *mut hmkv_lease;
            let numbers = unsafe { [hmkv_lease_id(lease), hmkv_lease_left_ms(lease)] };
            for number in numbers {
                assert!(if good.is_some() { number >= 0 } else { number == i64::from(EHANDLE) });
            }
            return;
        }
        let (kv, store) = self.kv(input);
        let given = self.give(kv as usize, input);
        let (mut out, data) = (1 as *mut hmkv_lease, self.given[given].pointer());
        let lost: hmkv_lost_fn = if input.byte() % 4 > 0 { Some(callbacks::lost) } else { None };
        let rc = unsafe { hmkv_lease_grant(kv, input.number(), lost, data, &mut out) };
        assert_eq!(judged(rc, store.is_some()) == OK, !out.is_null());
        match store.filter(|_| rc == OK) {
            Some(store) => {
                let new = self.new_live(out as usize, store, given);
                self.leases.push(new);
            }
            None => self.given[given].end(),
        }
    }

    unsafe fn lock(&mut self, input: &mut Input<'_>) {
        match input.byte() % 4 {
            0 => return unsafe { self.use_lock(input) },
            1 => return unsafe { self.observe(input) },
            _ => {}
        }
        let (kv, store) = self.kv(input);
        let given = self.give(kv as usize, input);
        let value = input.value();
        let value = input.data(value);
        // Who waits for ever must have a lock of its own, or a callback.
        let later = input.byte() % 2 == 0;
        let wait = match input.number() {
            number if later => number,
            1.. => 1,
            0 | HMKV_FOREVER => HMKV_TRY,
            wrong => wrong,
        };
        let acquired: unsafe extern "C-unwind" fn(_, _, _) = callbacks::acquired;
        let fixed = [
            Fixed { at: offset_of!(hmkv_lock_opts, wait_ms), is: wait as u64 },
            Fixed {
                at: offset_of!(hmkv_lock_opts, acquired),
                is: if later { acquired as usize as u64 } else { 0 },
            },
            Fixed { at: offset_of!(hmkv_lock_opts, value), is: value.pointer() as u64 },
            Fixed { at: offset_of!(hmkv_lock_opts, value_len), is: value.len as u64 },
        ];
        let opts = unsafe { Opts::<hmkv_lock_opts>::draw(input, &fixed) };
        let waits = opts.known.acquired.is_none() && matches!(opts.known.wait_ms, 0 | HMKV_FOREVER);
        self.names += 1;
        let name = if waits { format!("l{}", self.names) } else { "l".into() };
        let name = input.text(name.into());
        let (mut out, data) = (1 as *mut hmkv_lock, self.given[given].pointer());
        let lost: hmkv_lost_fn = if input.byte() % 4 > 0 { Some(callbacks::lost) } else { None };
        let rc =
            unsafe { hmkv_lock_acquire(kv, name.pointer(), opts.pointer(), lost, data, &mut out) };
        assert_eq!(judged(rc, store.is_some()) == OK, !out.is_null());
        match store.filter(|_| rc == OK) {
            Some(store) => {
                let new = self.new_live(out as usize, store, given);
                self.locks.push(new);
            }
            None => self.given[given].end(),
        }
    }

    unsafe fn use_lock(&mut self, input: &mut Input<'_>) {
        let (lock, good) = self.one_of(&self.locks, input);
        let lock = lock as *mut hmkv_lock;
        let value = input.value();
        let value = input.data(value);
        unsafe {
            for number in [hmkv_lock_token(lock), hmkv_lock_left_ms(lock)] {
                assert!(if good.is_some() { number >= 0 } else { number == i64::from(EHANDLE) });
            }
            judged(hmkv_lock_set(lock, value.pointer(), value.len), good.is_some());
        }
    }

    unsafe fn observe(&mut self, input: &mut Input<'_>) {
        let (kv, store) = self.kv(input);
        let given = self.give(kv as usize, input);
        let name = input.text(b"l".to_vec());
        let (mut out, data) = (1 as *mut hmkv_watcher, self.given[given].pointer());
        let function: hmkv_event_fn =
            if input.byte() < 250 { Some(callbacks::event) } else { None };
        let rc = unsafe { hmkv_lock_observe(kv, name.pointer(), function, data, &mut out) };
        self.new_watcher(judged(rc, store.is_some()), store, out, given);
    }

    unsafe fn close_lease_or_lock(&mut self, input: &mut Input<'_>) {
        let lease = input.byte() % 2 == 0;
        let list = if lease { &self.leases } else { &self.locks };
        let (handle, good) = self.one_of(list, input);
        let rc = match lease {
            true => unsafe { hmkv_lease_close(handle as *mut hmkv_lease, input.byte() % 2 == 0) },
            false => unsafe { hmkv_lock_release(handle as *mut hmkv_lock) },
        };
        judged(rc, good.is_some());
        if let Some(good) = good {
            let list = if lease { &mut self.leases } else { &mut self.locks };
            let gone = list.remove(good);
            assert_ne!(rc, EHANDLE);
            self.retired.push(gone.handle);
            self.end_given(gone.given);
        }
    }

    // --- The rest -----------------------------------------------------------

    unsafe fn on_state(&mut self, input: &mut Input<'_>) {
        let (kv, store) = self.kv(input);
        let given = self.give(kv as usize, input);
        let function: hmkv_state_fn =
            if input.byte() % 4 > 0 { Some(callbacks::state) } else { None };
        let data = self.given[given].pointer();
        let rc = judged(unsafe { hmkv_on_state(kv, function, data) }, store.is_some());
        match store.filter(|_| rc == OK) {
            Some(store) => {
                let former = self.stores[store].state.replace(given);
                self.end_given(former);
            }
            None => self.given[given].end(),
        }
    }

    unsafe fn others(&mut self, input: &mut Input<'_>) {
        let (kv, store) = self.kv(input);
        unsafe {
            match input.byte() % 8 {
                0 => {
                    judged(hmkv_mem_fault(kv, c"expire".as_ptr()), store.is_some());
                }
                1 => {
                    judged(hmkv_mem_fault(kv, c"compact".as_ptr()), store.is_some());
                }
                2 => {
                    let spec = input.value();
                    let spec = input.text(spec);
                    judged(hmkv_mem_fault(kv, spec.pointer()), store.is_some());
                }
                3 => {
                    let level = input.number() as i32;
                    hmkv_set_log(level, Some(callbacks::line), ptr::null_mut());
                }
                4 => {
                    let status = input.number() as i32;
                    for text in [hmkv_status_name(status), hmkv_strerror(status), hmkv_errmsg()] {
                        assert!(!CStr::from_ptr(text).to_bytes().contains(&b'\n'));
                    }
                }
                5 => {
                    let result = hmkv_await(ptr::null_mut());
                    assert!(hmkv_result_status(result) < 0);
                    self.read_result(result);
                }
                6 => {
                    assert_eq!(hmkv_cancel(ptr::null_mut()), EINVAL);
                    hmkv_then(ptr::null_mut(), None, ptr::null_mut());
                    hmkv_txn_free(ptr::null_mut());
                    hmkv_result_free(ptr::null_mut());
                    hmkv_free(ptr::null_mut());
                }
                _ => self.finish(hmkv_ping(kv), store, &[], &[], input),
            }
        }
    }
}

/// A time to wait that is over soon.
fn brief(ms: i64) -> i64 {
    match ms {
        1.. => ms % 8 / 7,
        HMKV_FOREVER => 0,
        _ => ms,
    }
}

fn range_end(at: usize, end: &crate::input::Data, input: &mut Input<'_>) -> Vec<Fixed> {
    match input.byte() % 3 {
        0 => vec![Fixed { at, is: end.pointer() as u64 }, Fixed { at: at + 8, is: end.len as u64 }],
        _ => vec![Fixed { at, is: 0 }],
    }
}
