//! The caller's own event loop.

use crate::callbacks::{within, Within};
use crate::input::Input;
use crate::world::{judged, World, OK};
use ::hmkv::fuzz::c::*;
use std::ptr;
use std::time::{Duration, Instant};

const TIMED_OUT: i32 = hmkv_status_code::HMKV_TIMED_OUT as i32;

#[repr(C)]
struct PollFd {
    fd: i32,
    events: i16,
    revents: i16,
}

extern "C" {
    fn poll(fds: *mut PollFd, count: std::ffi::c_ulong, timeout_ms: i32) -> i32;
}

const POLLIN: i16 = 1;

fn is_readable(fd: i32) -> bool {
    let mut one = PollFd { fd, events: POLLIN, revents: 0 };
    let count = unsafe { poll(&mut one, 1, 0) };
    assert!(one.revents == if count == 1 { POLLIN } else { 0 }, "{count} {}", one.revents);
    count == 1
}

impl World {
    pub unsafe fn event_loop(&mut self, input: &mut Input<'_>) {
        let (kv, store) = self.kv(input);
        let fd = store.and_then(|store| self.stores[store].fd);
        assert_eq!(unsafe { hmkv_fd(kv) }, fd.unwrap_or(-1));
        let max = match input.byte() {
            0..=9 => 0,
            10..=29 => usize::MAX,
            other => usize::from(other % 8 + 1),
        };
        let mut ran = usize::MAX;
        let place = input.place(&mut ran);
        let rc = within(Within::Dispatch, || unsafe { hmkv_dispatch(kv, max, place) });
        let good = fd.is_some() && max > 0;
        judged(rc, good);
        assert!(!good || rc == OK || rc == TIMED_OUT, "dispatching answers {rc}");
        if !place.is_null() {
            assert!(ran <= max && (ran > 0) == (rc == OK), "{ran} of {max}: {rc}");
        }
    }

    pub unsafe fn dispatch_if_readable(&self, store: usize) {
        let Some(fd) = self.stores[store].fd.filter(|fd| is_readable(*fd)) else { return };
        let kv = self.stores[store].handle as *mut hmkv;
        let dispatch = || unsafe { hmkv_dispatch(kv, usize::MAX, ptr::null_mut()) };
        let rc = within(Within::Dispatch, dispatch);
        assert!(rc == OK || rc == TIMED_OUT, "dispatching descriptor {fd} answers {rc}");
    }

    /// Until there is nothing to do.
    pub unsafe fn drain(&self, store: usize) {
        let end = Instant::now() + Duration::from_secs(10);
        while self.stores[store].fd.is_some_and(is_readable) {
            assert!(Instant::now() < end, "readable for ever");
            unsafe { self.dispatch_if_readable(store) };
        }
    }
}
