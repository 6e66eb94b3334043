//! C functions as the core calls them.

use super::arg::Userdata;
use super::errmsg;
use super::types::{hmkv_keychange, hmkv_keychange_code::*, hmkv_state_code};
use crate::error::Error;
use crate::log::{Level, Sink};
use crate::state::{State, StateConsumer};
use crate::sys;
use crate::types::{Event, EventKind};
use crate::watch::Consumer;
use std::ffi::{c_char, c_void};
use std::mem;

type WatchFn =
    unsafe extern "C-unwind" fn(*const c_char, *const c_char, hmkv_keychange, *mut c_void) -> bool;
type StateFn = unsafe extern "C-unwind" fn(i32, *const c_char, *mut c_void);
type LogFn = unsafe extern "C-unwind" fn(i32, *const c_char, *mut c_void);

/// Calls a C function that must return.
fn call<T>(function: impl FnOnce() -> T) -> T {
    struct Left;
    impl Drop for Left {
        fn drop(&mut self) {
            sys::abort_unwinding();
        }
    }
    let left = Left;
    let answer = function();
    mem::forget(left);
    answer
}

/// With a NUL after it, cut at the first one inside.
fn c_string(bytes: &[u8]) -> Vec<u8> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let mut text = Vec::with_capacity(end + 1);
    text.extend_from_slice(&bytes[..end]);
    text.push(0);
    text
}

pub struct WatchCallback {
    function: WatchFn,
    userdata: Userdata,
    key: Vec<u8>,
    /// Reused from event to event.
    value: Vec<u8>,
}

impl WatchCallback {
    pub fn new(function: WatchFn, userdata: Userdata, key: &[u8]) -> Self {
        Self { function, userdata, key: c_string(key), value: Vec::new() }
    }

    fn call(&self, value: Option<&[u8]>, op: i32) -> bool {
        let value = value.map_or(std::ptr::null(), |value| value.as_ptr().cast());
        // SAFETY: the strings end with NUL and live until the function returns.
        call(|| unsafe { (self.function)(self.key.as_ptr().cast(), value, op, self.userdata.0) })
    }
}

impl Consumer for WatchCallback {
    fn change(&mut self, event: &Event) -> bool {
        match event.kind {
            EventKind::Delete => self.call(None, HMKV_KEYCHANGE_DELETE as i32),
            EventKind::Put if event.kv.value.contains(&0) => {
                self.call(None, HMKV_KEYCHANGE_PUT as i32)
            }
            EventKind::Put => {
                let mut value = mem::take(&mut self.value);
                value.clear();
                value.extend_from_slice(&event.kv.value);
                value.push(0);
                let go_on = self.call(Some(&value), HMKV_KEYCHANGE_PUT as i32);
                self.value = value;
                go_on
            }
        }
    }

    fn ended(&mut self, why: &Error) {
        errmsg::set(why);
        self.call(None, HMKV_KEYCHANGE_INVAL as i32);
    }
}

pub struct StateCallback {
    function: StateFn,
    userdata: Userdata,
}

impl StateCallback {
    pub fn new(function: StateFn, userdata: Userdata) -> Self {
        Self { function, userdata }
    }
}

impl StateConsumer for StateCallback {
    fn state(&self, what: State, detail: &[u8]) {
        let code = match what {
            State::LeaseLost => hmkv_state_code::HMKV_STATE_LEASE_LOST,
            State::TempKeyRestored => hmkv_state_code::HMKV_STATE_TEMP_KEY_RESTORED,
            State::TempKeyLost => hmkv_state_code::HMKV_STATE_TEMP_KEY_LOST,
            State::LockLost => hmkv_state_code::HMKV_STATE_LOCK_LOST,
        };
        let detail = c_string(detail);
        // SAFETY: as above.
        call(|| unsafe { (self.function)(code as i32, detail.as_ptr().cast(), self.userdata.0) });
    }
}

pub struct LogCallback {
    function: LogFn,
    userdata: Userdata,
}

impl LogCallback {
    pub fn new(function: LogFn, userdata: Userdata) -> Self {
        Self { function, userdata }
    }
}

impl Sink for LogCallback {
    fn line(&self, level: Level, line: &str) {
        let line = c_string(line.as_bytes());
        // SAFETY: as above.
        call(|| unsafe { (self.function)(level as i32, line.as_ptr().cast(), self.userdata.0) });
    }
}
