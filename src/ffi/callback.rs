//! C functions as the core calls them.

use super::arg::Userdata;
use super::event::EventMemory;
use super::result::hmkv_result;
use super::status::{self, hmkv_status};
use super::types::{hmkv_event, hmkv_free_fn, hmkv_lock, hmkv_lost_fn};
use super::types::{hmkv_keychange, hmkv_keychange_code::*, hmkv_state_code};
use super::{errmsg, handle};
use crate::error::{Error, Result};
use crate::feed::Item;
use crate::lease::LostConsumer;
use crate::lock::{AcquiredConsumer, Attempt};
use crate::log::{Level, Sink};
use crate::op::{DoneConsumer, Outcome};
use crate::state::{State, StateConsumer};
use crate::sys;
use crate::types::{Event, EventKind};
use crate::watch::{Consumer, Taken};
use std::ffi::{c_char, c_void};
use std::mem;

type WatchFn =
    unsafe extern "C-unwind" fn(*const c_char, *const c_char, hmkv_keychange, *mut c_void) -> bool;
type EventFn = unsafe extern "C-unwind" fn(*const hmkv_event, *mut c_void);
type FreeFn = unsafe extern "C-unwind" fn(*mut c_void);
type DoneFn = unsafe extern "C-unwind" fn(*mut hmkv_result, *mut c_void);
type LostFn = unsafe extern "C-unwind" fn(hmkv_status, *const c_char, *mut c_void);
type AcquiredFn = unsafe extern "C-unwind" fn(hmkv_status, *mut hmkv_lock, *mut c_void);
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

/// Userdata that is given back when nobody uses it any more.
pub struct OwnedData {
    data: Userdata,
    free: Option<FreeFn>,
}

impl OwnedData {
    pub fn new(data: Userdata, free: hmkv_free_fn) -> Self {
        Self { data, free }
    }
}

impl Drop for OwnedData {
    fn drop(&mut self) {
        if let Some(free) = self.free {
            // SAFETY: the caller's own function for it.
            call(|| unsafe { free(self.data.0) });
        }
    }
}

pub struct EventCallback {
    function: EventFn,
    data: OwnedData,
}

impl EventCallback {
    pub fn new(function: EventFn, data: OwnedData) -> Self {
        Self { function, data }
    }

    fn call(&self, memory: Result<Box<EventMemory>>) -> Result<()> {
        let memory = memory?;
        // SAFETY: the event lives until the function returns.
        call(|| unsafe { (self.function)(memory.event(), self.data.data.0) });
        Ok(())
    }
}

impl Consumer for EventCallback {
    fn change(&mut self, _event: &Event) -> bool {
        true // it takes items
    }

    fn item(&mut self, item: &Item) -> Taken {
        let called = self.call(EventMemory::of_item(item));
        if let Err(error) = &called {
            self.ended(error);
        }
        Taken::Called(called.is_ok())
    }

    fn ended(&mut self, why: &Error) {
        let _ = self.call(EventMemory::of_end(why)); // it needs no large memory
    }
}

pub struct DoneCallback {
    function: DoneFn,
    userdata: Userdata,
}

impl DoneCallback {
    pub fn new(function: DoneFn, userdata: Userdata) -> Self {
        Self { function, userdata }
    }
}

impl DoneConsumer for DoneCallback {
    fn done(self: Box<Self>, outcome: Outcome) {
        let result = hmkv_result::of(outcome);
        // SAFETY: the result is the function's from now on.
        call(|| unsafe { (self.function)(result, self.userdata.0) });
    }
}

pub struct LostCallback {
    function: LostFn,
    userdata: Userdata,
}

impl LostCallback {
    pub fn boxed(function: hmkv_lost_fn, userdata: Userdata) -> Option<Box<dyn LostConsumer>> {
        function.map(|function| -> Box<dyn LostConsumer> { Box::new(Self { function, userdata }) })
    }
}

impl LostConsumer for LostCallback {
    fn lost(self: Box<Self>, why: &Error) {
        let detail = errmsg::line(why);
        // SAFETY: as above.
        call(|| unsafe { (self.function)(status::of(why), detail.as_ptr(), self.userdata.0) });
    }
}

pub struct AcquiredCallback {
    function: AcquiredFn,
    userdata: Userdata,
    /// The bits of the lock's handle.
    lock: u64,
}

impl AcquiredCallback {
    pub fn new(function: AcquiredFn, userdata: Userdata, lock: *mut hmkv_lock) -> Self {
        Self { function, userdata, lock: lock as u64 }
    }
}

impl AcquiredConsumer for AcquiredCallback {
    fn acquired(self: Box<Self>, outcome: Result<Attempt>) {
        let lock = self.lock as *mut hmkv_lock;
        let status = match &outcome {
            Ok(Attempt::Held) => status::OK,
            Ok(Attempt::Busy) => status::BUSY,
            Err(error) => status::of(error),
        };
        if status != status::OK {
            handle::drop_lock(lock);
        }
        if let Err(error) = &outcome {
            errmsg::set(error);
        }
        // SAFETY: as above.
        call(|| unsafe { (self.function)(status, lock, self.userdata.0) });
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
            State::Connected => hmkv_state_code::HMKV_STATE_CONNECTED,
            State::Cut => hmkv_state_code::HMKV_STATE_CUT,
            State::Endpoint => hmkv_state_code::HMKV_STATE_ENDPOINT,
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
        // What a server says may be in it.
        let line = line.replace(char::is_control, " ");
        let line = c_string(line.as_bytes());
        // SAFETY: as above.
        call(|| unsafe { (self.function)(level as i32, line.as_ptr().cast(), self.userdata.0) });
    }
}
