//! The handles that there are, and the next step.

use crate::callbacks::{read_kv, within, Given, Within};
use crate::input::Input;
use crate::model::Model;
use ::hmkv::fuzz::c::*;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::ptr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

pub const OK: i32 = 0;
pub const COMPARE_FAILED: i32 = hmkv_status_code::HMKV_COMPARE_FAILED as i32;
pub const EINVAL: i32 = hmkv_status_code::HMKV_EINVAL as i32;
pub const EHANDLE: i32 = hmkv_status_code::HMKV_EHANDLE as i32;
pub const EUNSUPPORTED: i32 = hmkv_status_code::HMKV_EUNSUPPORTED as i32;

/// A handle of some kind that is good.
pub struct Live {
    pub handle: usize,
    /// Of which store.
    pub kv: usize,
    /// What was given with it, by number.
    pub given: Option<usize>,
    /// A callback may have closed it.
    pub unsure: bool,
    /// Of a mirror, without the namespace.
    pub prefix: Vec<u8>,
}

pub struct Store {
    pub handle: usize,
    pub namespace: &'static [u8],
    pub state: Option<usize>,
    /// With `dispatch=poll`.
    pub fd: Option<i32>,
    /// Its timeout is so short that a request may miss it.
    pub hasty: bool,
    pub counted: BTreeMap<String, f64>,
}

#[derive(Default)]
pub struct World {
    pub stores: Vec<Store>,
    pub watchers: Vec<Live>,
    pub mirrors: Vec<Live>,
    pub leases: Vec<Live>,
    pub locks: Vec<Live>,
    pub retired: Vec<usize>,
    // A pointer to each is with the library.
    #[allow(clippy::vec_box)]
    pub given: Vec<Box<Given>>,
    /// Whose `userdata_free` is to be called.
    pub to_free: Vec<usize>,
    pub model: Model,
    pub names: u32,
}

pub fn open(endpoint: &str, options: &str) -> usize {
    let (endpoint, options) = (CString::new(endpoint), CString::new(options));
    let (endpoint, options) = (endpoint.expect("no NUL"), options.expect("no NUL"));
    let mut kv = ptr::null_mut();
    let rc = unsafe { hmkv_open(endpoint.as_ptr(), options.as_ptr(), &mut kv) };
    assert_eq!(rc, OK, "{:?}", unsafe { CStr::from_ptr(hmkv_errmsg()) });
    kv as usize
}

/// A store that is never closed: as long as it is open, the library's threads stay.
pub fn kept() -> *mut hmkv {
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

unsafe fn close(kv: *mut hmkv) -> i32 {
    within(Within::Close, || unsafe { hmkv_close(kv) })
}

/// The keys of a result with their values.
pub unsafe fn found(result: *const hmkv_result) -> BTreeMap<Vec<u8>, Vec<u8>> {
    unsafe {
        let kvs = (0..hmkv_result_count(result)).map(|i| read_kv(&*hmkv_result_kv(result, i)));
        let found: BTreeMap<_, _> =
            kvs.map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
        assert_eq!(found.len(), hmkv_result_count(result));
        found
    }
}

/// A status that may be anything sane.
pub fn sane(rc: i32) -> i32 {
    assert!((-18..=4).contains(&rc), "status {rc}");
    rc
}

/// That of a call with this handle, which does as much as it says. Of several things that
/// are wrong any may be told.
pub fn judged(rc: i32, good: bool) -> i32 {
    let refused = [EHANDLE, EINVAL, EUNSUPPORTED].contains(&rc);
    assert!(good || refused, "a bad handle is answered with {rc}");
    sane(rc)
}

impl World {
    fn open(&mut self, input: &mut Input<'_>) {
        let (namespace, options): (&'static [u8], _) = match input.byte() {
            240.. => (b"n/", "namespace=n/;dispatch=poll"),
            224.. => (b"", "dispatch=poll"),
            other if other % 4 == 0 => (b"n/", "namespace=n/"),
            other if other % 4 == 1 => (b"", "lock_ttl=2s;temp_ttl=2s,timeout=1ms"),
            _ => (b"", ""),
        };
        let handle = open("mem:", options);
        let fd = unsafe { hmkv_fd(handle as *mut hmkv) };
        let fd = Some(fd).filter(|fd| *fd >= 0);
        assert_eq!(fd.is_some(), options.contains("poll"));
        let (hasty, counted) = (options.contains("timeout"), BTreeMap::new());
        self.stores.push(Store { handle, namespace, state: None, fd, hasty, counted });
    }

    unsafe fn step(&mut self, input: &mut Input<'_>) {
        unsafe {
            let what = input.byte();
            match if what < 224 { what % 32 } else { what } {
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
                224..=239 => self.mirror(input),
                240..=247 => self.event_loop(input),
                248..=251 => self.fault(input),
                252.. => self.report(input),
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
        let lists = [&self.watchers, &self.mirrors, &self.leases, &self.locks];
        let stores = self.stores.iter().map(|store| store.handle);
        stores.chain(lists.into_iter().flatten().map(|live| live.handle))
    }

    /// The handle of a store, and which one it is if it is good.
    pub fn kv(&self, input: &mut Input<'_>) -> (*mut hmkv, Option<usize>) {
        let live: Vec<usize> = self.stores.iter().map(|store| store.handle).collect();
        let handle = match self.draw(&live, input) {
            kept if kept == self::kept() as usize => 0,
            other => other,
        };
        (handle as *mut hmkv, live.iter().position(|other| *other == handle))
    }

    pub fn one_of(&self, lives: &[Live], input: &mut Input<'_>) -> (usize, Option<usize>) {
        let live: Vec<usize> = lives.iter().map(|live| live.handle).collect();
        let handle = self.draw(&live, input);
        (handle, live.iter().position(|other| *other == handle))
    }

    pub fn full(&self, store: Option<usize>, key: &[u8]) -> Vec<u8> {
        let namespace = store.map_or(&b""[..], |store| self.stores[store].namespace);
        [namespace, key].concat()
    }

    pub fn give(&mut self, kv: usize, input: &mut Input<'_>) -> usize {
        let polled = self.stores.iter().any(|store| store.handle == kv && store.fd.is_some());
        self.given.push(Given::new(kv, polled, input.byte()));
        self.given.len() - 1
    }

    pub fn end_given(&self, given: Option<usize>) {
        if let Some(given) = given {
            self.given[given].end();
        }
    }

    pub fn new_live(&self, handle: usize, store: usize, given: usize) -> Live {
        assert!(handle != 0 && self.all().all(|other| other != handle));
        let given_there = &self.given[given];
        given_there.object.store(handle, std::sync::atomic::Ordering::SeqCst);
        let kv = self.stores[store].handle;
        let unsure = given_there.closes_itself;
        Live { handle, kv, given: Some(given), unsure, prefix: Vec::new() }
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
        let rc = judged(unsafe { close(kv) }, which.is_some());
        if let Some(which) = which {
            self.closed(which, rc);
        }
    }

    fn closed(&mut self, which: usize, rc: i32) {
        assert!(rc == OK || rc == 4, "closing answers {rc}");
        let store = self.stores.remove(which);
        self.retired.push(store.handle);
        let mut ended: Vec<Option<usize>> = vec![store.state];
        for mirror in self.mirrors.iter().filter(|live| live.kv == store.handle) {
            let mirror = mirror.handle as *mut hmkv_mirror;
            assert_eq!(unsafe { hmkv_mirror_wait(mirror, 0, 0) }, EHANDLE);
        }
        let lists = [&mut self.watchers, &mut self.mirrors, &mut self.leases, &mut self.locks];
        for list in lists {
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
            unsafe { self.drain(0) };
            let rc = unsafe { close(self.stores[0].handle as *mut hmkv) };
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
            self.model.check(b"", &found(result));
            hmkv_result_free(result);
        }
    }
}

/// A time to wait that is over soon.
pub fn brief(ms: i64) -> i64 {
    match ms {
        1.. => ms % 8 / 7,
        HMKV_FOREVER => 0,
        _ => ms,
    }
}
