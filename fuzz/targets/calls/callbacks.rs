//! Callbacks, and the data given with them.

use ::hmkv::fuzz::c::*;
use std::ffi::{c_char, c_void, CStr};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::SeqCst};

/// Given as userdata. It lives until the end of the input, so that a late callback is
/// seen as one.
pub struct Given {
    pub kv: usize,
    pub object: AtomicUsize,
    pub closes_itself: bool,
    pub calls_back: bool,
    /// Nothing may be called from now on.
    over: AtomicBool,
    pub freed: AtomicU32,
}

impl Given {
    pub fn new(kv: usize, manner: u8) -> Box<Self> {
        Box::new(Self {
            kv,
            object: AtomicUsize::new(0),
            closes_itself: manner % 8 == 1,
            calls_back: manner % 8 > 5,
            over: AtomicBool::new(false),
            freed: AtomicU32::new(0),
        })
    }

    pub fn pointer(&self) -> *mut c_void {
        ptr::from_ref(self).cast_mut().cast()
    }

    pub fn end(&self) {
        self.over.store(true, SeqCst);
    }

    unsafe fn called<'a>(userdata: *mut c_void) -> &'a Self {
        let given = unsafe { &*userdata.cast::<Self>() };
        assert!(!given.over.load(SeqCst), "called after the end");
        assert_eq!(given.freed.load(SeqCst), 0, "called after userdata_free");
        if given.calls_back {
            let mut value = ptr::null_mut();
            let rc = unsafe { hmkv_get(given.kv as *mut hmkv, c"m0".as_ptr(), &mut value) };
            assert_ne!(rc, EINTERNAL);
            unsafe { hmkv_free(value.cast()) };
        }
        given
    }
}

pub const EINTERNAL: i32 = hmkv_status_code::HMKV_EINTERNAL as i32;

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
    unsafe { Given::called(userdata) };
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

pub unsafe extern "C-unwind" fn done(result: *mut hmkv_result, _userdata: *mut c_void) {
    unsafe {
        assert_ne!(hmkv_result_status(result), EINTERNAL);
        hmkv_result_free(result);
    }
}

pub unsafe extern "C-unwind" fn line(_level: i32, line: *const c_char, _userdata: *mut c_void) {
    unsafe { read_text(line) };
}
