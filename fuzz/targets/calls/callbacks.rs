//! Callbacks, and the data given with them.

use ::hmkv::fuzz::c::*;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::{c_char, c_void, CStr};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::sync::Mutex;

thread_local! {
    static WITHIN: Cell<Within> = const { Cell::new(Within::Nothing) };
}

/// The call of this thread that may run callbacks of a store with `dispatch=poll`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Within {
    Nothing,
    Dispatch,
    Close,
}

pub fn within<T>(what: Within, call: impl FnOnce() -> T) -> T {
    let before = WITHIN.replace(what);
    let answer = call();
    WITHIN.set(before);
    answer
}

/// Given as userdata. It lives until the end of the input, so that a late callback is
/// seen as one.
pub struct Given {
    pub kv: usize,
    /// The store has `dispatch=poll`.
    polled: bool,
    pub object: AtomicUsize,
    pub closes_itself: bool,
    pub calls_back: bool,
    /// Nothing may be called from now on.
    over: AtomicBool,
    pub freed: AtomicU32,
    pub told: Mutex<Told>,
}

/// What a mirror has told.
#[derive(Default)]
pub struct Told {
    pub keys: BTreeMap<Vec<u8>, Vec<u8>>,
    revision: i64,
}

impl Told {
    unsafe fn note(&mut self, event: &hmkv_event) {
        const PUT: i32 = hmkv_event_code::HMKV_EVENT_PUT as i32;
        const DELETE: i32 = hmkv_event_code::HMKV_EVENT_DELETE as i32;
        if event.revision != 0 {
            assert!(event.revision >= self.revision, "told of the past");
            self.revision = event.revision;
        }
        if let Some(kv) = unsafe { event.kv.as_ref() } {
            let (key, value) = unsafe { read_kv(kv) };
            match event.r#type {
                PUT => drop(self.keys.insert(key.to_vec(), value.to_vec())),
                DELETE => assert!(self.keys.remove(key).is_some(), "deleted, and was not there"),
                other => panic!("a key in an event {other}"),
            }
        }
    }
}

impl Given {
    pub fn new(kv: usize, polled: bool, manner: u8) -> Box<Self> {
        Box::new(Self {
            kv,
            polled,
            object: AtomicUsize::new(0),
            closes_itself: manner % 8 == 1,
            calls_back: manner % 8 > 5,
            over: AtomicBool::new(false),
            freed: AtomicU32::new(0),
            told: Mutex::default(),
        })
    }

    pub fn pointer(&self) -> *mut c_void {
        ptr::from_ref(self).cast_mut().cast()
    }

    pub fn end(&self) {
        self.over.store(true, SeqCst);
    }

    unsafe fn called<'a>(userdata: *mut c_void) -> &'a Self {
        unsafe { Self::called_in(&[Within::Dispatch], userdata) }
    }

    unsafe fn called_in<'a>(calls: &[Within], userdata: *mut c_void) -> &'a Self {
        let given = unsafe { &*userdata.cast::<Self>() };
        let within = WITHIN.get();
        assert!(!given.polled || calls.contains(&within), "called in {within:?}");
        assert!(!given.over.load(SeqCst), "called after the end");
        assert_eq!(given.freed.load(SeqCst), 0, "called after userdata_free");
        if given.calls_back {
            let mut value = ptr::null_mut();
            let rc = unsafe { hmkv_get(given.kv as *mut hmkv, c"m0".as_ptr(), &mut value) };
            assert_ne!(rc, EINTERNAL);
            unsafe { hmkv_free(value.cast()) };
            if given.polled {
                let rc = unsafe { hmkv_dispatch(given.kv as *mut hmkv, 1, ptr::null_mut()) };
                assert!(rc == EINCALLBACK || rc == EHANDLE, "dispatching inside: {rc}");
            }
        }
        given
    }
}

pub const EINTERNAL: i32 = hmkv_status_code::HMKV_EINTERNAL as i32;
const EINCALLBACK: i32 = hmkv_status_code::HMKV_EINCALLBACK as i32;
const EHANDLE: i32 = hmkv_status_code::HMKV_EHANDLE as i32;

unsafe fn read_text(text: *const c_char) {
    if !text.is_null() {
        let text = unsafe { CStr::from_ptr(text) };
        assert!(!text.to_bytes().contains(&b'\n'), "{text:?}");
    }
}

pub unsafe extern "C-unwind" fn watched(
    key: *const c_char,
    value: *const c_char,
    _op: hmkv_keychange,
    userdata: *mut c_void,
) -> bool {
    unsafe {
        let given = Given::called(userdata);
        read_key(key);
        if !value.is_null() {
            read_key(value);
        }
        !given.closes_itself
    }
}

unsafe fn read_key(key: *const c_char) {
    std::hint::black_box(unsafe { CStr::from_ptr(key) }.to_bytes().to_vec());
}

pub unsafe extern "C-unwind" fn event(event: *const hmkv_event, userdata: *mut c_void) {
    unsafe {
        let given = Given::called(userdata);
        read_event(event);
        let watcher = given.object.load(SeqCst);
        if given.closes_itself && watcher != 0 {
            let _ = hmkv_watch_close(watcher as *mut hmkv_watcher);
        }
    }
}

/// Of a mirror.
pub unsafe extern "C-unwind" fn changed(event: *const hmkv_event, userdata: *mut c_void) {
    unsafe {
        let given = Given::called(userdata);
        read_event(event);
        given.told.lock().expect("no panic").note(&*event);
        let mirror = given.object.load(SeqCst) as *mut hmkv_mirror;
        if mirror.is_null() {
            return;
        }
        let rc = hmkv_mirror_wait(mirror, (*event).revision, 0);
        assert!(rc == 0 || rc == EHANDLE, "told of what the copy has not: {rc}");
        if given.closes_itself && hmkv_mirror_close(mirror) == 0 {
            given.end();
        }
    }
}

pub unsafe fn read_event(event: *const hmkv_event) {
    let event = unsafe { &*event };
    assert!((1..=6).contains(&event.r#type));
    assert_ne!(event.status, EINTERNAL);
    unsafe {
        for kv in [event.kv, event.prev] {
            if let Some(kv) = kv.as_ref() {
                read_kv(kv);
            }
        }
        read_text(event.detail);
    }
}

/// The key and the value, which have a NUL behind them.
pub unsafe fn read_kv(kv: &hmkv_kv) -> (&[u8], &[u8]) {
    unsafe {
        let with_nul = |data: *const c_char, len: usize| {
            let data = std::slice::from_raw_parts(data.cast::<u8>(), len + 1);
            assert_eq!(data[len], 0);
            &data[..len]
        };
        assert!(kv.key_len > 0);
        (with_nul(kv.key, kv.key_len), with_nul(kv.value, kv.value_len))
    }
}

pub unsafe extern "C-unwind" fn free(userdata: *mut c_void) {
    let given = unsafe { &*userdata.cast::<Given>() };
    assert_eq!(given.freed.fetch_add(1, SeqCst), 0, "freed twice");
}

pub unsafe extern "C-unwind" fn lost(
    status: hmkv_status,
    detail: *const c_char,
    userdata: *mut c_void,
) {
    unsafe {
        Given::called(userdata);
        read_text(detail);
    }
    assert!(status < 0 && status != EINTERNAL);
}

pub unsafe extern "C-unwind" fn acquired(
    status: hmkv_status,
    _lock: *mut hmkv_lock,
    userdata: *mut c_void,
) {
    unsafe { Given::called_in(&[Within::Dispatch, Within::Close], userdata) };
    assert_ne!(status, EINTERNAL);
}

pub unsafe extern "C-unwind" fn state(
    _state: hmkv_state,
    detail: *const c_char,
    userdata: *mut c_void,
) {
    unsafe {
        Given::called(userdata);
        read_text(detail);
    }
}

/// Of a store with `dispatch=poll` the userdata is not NULL.
pub unsafe extern "C-unwind" fn done(result: *mut hmkv_result, userdata: *mut c_void) {
    let within = WITHIN.get();
    assert!(userdata.is_null() || within != Within::Nothing, "called in {within:?}");
    unsafe {
        assert_ne!(hmkv_result_status(result), EINTERNAL);
        hmkv_result_free(result);
    }
}

pub unsafe extern "C-unwind" fn line(_level: i32, line: *const c_char, _userdata: *mut c_void) {
    unsafe { read_text(line) };
}
