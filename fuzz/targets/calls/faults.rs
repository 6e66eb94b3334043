//! Faults of `mem:`, each of which ends with the step that made it.

use crate::input::Input;
use crate::mirror::newest_revision;
use crate::model::Effect;
use crate::world::{judged, kept, open, World, OK};
use ::hmkv::fuzz::c::*;
use std::ffi::CStr;
use std::ptr;

const NOT_FOUND: i32 = hmkv_status_code::HMKV_NOT_FOUND as i32;
const TIMED_OUT: i32 = hmkv_status_code::HMKV_TIMED_OUT as i32;
const EUNAVAIL: i32 = hmkv_status_code::HMKV_EUNAVAIL as i32;
const EINDETERMINATE: i32 = hmkv_status_code::HMKV_EINDETERMINATE as i32;

impl World {
    pub unsafe fn fault(&mut self, input: &mut Input<'_>) {
        let (kv, store) = self.kv(input);
        let Some(store) = store.filter(|store| !self.stores[*store].hasty) else {
            judged(unsafe { hmkv_mem_fault(kv, c"cut=0".as_ptr()) }, store.is_some());
            return;
        };
        unsafe {
            match input.byte() % 4 {
                0 => self.answer_is_lost(kv, store, input),
                1 => self.cut(kv, store, input),
                2 => self.delay(kv, store, input),
                _ => self.closed_in_a_fault(input),
            }
        }
    }

    unsafe fn answer_is_lost(&mut self, kv: *mut hmkv, store: usize, input: &mut Input<'_>) {
        let (fault, applied) = match input.byte() % 3 {
            0 => (c"indeterminate", true),
            1 => (c"indeterminate=applied", true),
            _ => (c"indeterminate=dropped", false),
        };
        unsafe {
            make(kv, fault);
            self.put_in_a_fault(kv, store, 0, (EINDETERMINATE, applied), input);
        }
    }

    unsafe fn cut(&mut self, kv: *mut hmkv, store: usize, input: &mut Input<'_>) {
        unsafe {
            make(kv, c"cut=1h");
            self.remove_by_another(self.full(Some(store), b"m0"));
            self.put_by_another(self.full(Some(store), b"m1"));
            self.put_by_another(self.full(Some(store), b"m3"));
            if input.byte() % 2 == 0 {
                make(kept(), c"compact");
            }
            let newest = newest_revision();
            let its = |which: &usize| self.mirrors[*which].kv == kv as usize;
            let mirrors: Vec<usize> = (0..self.mirrors.len()).filter(its).collect();
            for mirror in mirrors.iter().map(|which| &self.mirrors[*which]) {
                let rc = hmkv_mirror_wait(mirror.handle as *mut hmkv_mirror, newest, 0);
                assert!(rc == TIMED_OUT || mirror.unsure, "a copy that is cut off answers {rc}");
            }
            self.put_in_a_fault(kv, store, 1, (EUNAVAIL, false), input);
            mirrors.into_iter().for_each(|which| self.check_mirror(which, false));
        }
    }

    unsafe fn delay(&mut self, kv: *mut hmkv, store: usize, input: &mut Input<'_>) {
        unsafe {
            make(kv, c"delay=4ms");
            let (timeout, status) = [(0, OK), (1, EINDETERMINATE)][input.below(2)];
            self.put_in_a_fault(kv, store, timeout, (status, true), input);
        }
    }

    /// Stores what is applied or not, and ends the fault.
    unsafe fn put_in_a_fault(
        &mut self,
        kv: *mut hmkv,
        store: usize,
        timeout: i64,
        (status, applied): (i32, bool),
        input: &mut Input<'_>,
    ) {
        let (key, value) = (format!("m{}", input.below(4)).into_bytes(), input.value());
        unsafe {
            assert_eq!(put(kv, &key, &value, timeout), status);
            settle(kv);
            if applied {
                let full = self.full(Some(store), &key);
                self.model.apply(&Effect::Put { key: full, value, lease: false });
            }
            self.check(Some(store), &key);
        }
    }

    /// With a handle of its own, in any of them.
    unsafe fn closed_in_a_fault(&mut self, input: &mut Input<'_>) {
        const FAULTS: [&CStr; 8] = [
            c"cut=1h",
            c"cut=1ms",
            c"delay=1h",
            c"delay=1ms;indeterminate",
            c"indeterminate=dropped",
            c" cut=0 delay=0,",
            c"compact",
            c"expire",
        ];
        let kv = open("mem:", "timeout=1ms;close_timeout=1ms") as *mut hmkv;
        self.model.loosen(b"x");
        unsafe {
            for _ in 0..6 {
                let rc = match input.byte() % 6 {
                    0 => put(kv, b"x", b"1", 0),
                    1 => {
                        let (mut mirror, data) = (ptr::null_mut(), ptr::null_mut());
                        hmkv_mirror_open(kv, ptr::null(), 0, None, data, &mut mirror)
                    }
                    2 => {
                        let mut json = ptr::null_mut();
                        let rc = hmkv_cluster_status(kv, &mut json);
                        hmkv_free(json.cast());
                        rc
                    }
                    _ => hmkv_mem_fault(kv, FAULTS[input.below(FAULTS.len())].as_ptr()),
                };
                assert!([OK, EUNAVAIL, EINDETERMINATE].contains(&rc), "in a fault: {rc}");
            }
            let rc = hmkv_close(kv);
            assert!(rc == OK || rc == TIMED_OUT, "closing answers {rc}");
        }
    }
}

unsafe fn make(kv: *mut hmkv, fault: &CStr) {
    assert_eq!(unsafe { hmkv_mem_fault(kv, fault.as_ptr()) }, OK);
}

unsafe fn put(kv: *mut hmkv, key: &[u8], value: &[u8], timeout_ms: i64) -> i32 {
    unsafe {
        let mut opts: hmkv_put_opts = std::mem::zeroed();
        (opts.size, opts.timeout_ms) = (size_of::<hmkv_put_opts>(), timeout_ms);
        let (data, len) = (value.as_ptr().cast(), value.len());
        let result = hmkv_await(hmkv_put(kv, key.as_ptr().cast(), key.len(), data, len, &opts));
        let status = hmkv_result_status(result);
        hmkv_result_free(result);
        status
    }
}

/// Ends the fault, and waits for what is under way.
unsafe fn settle(kv: *mut hmkv) {
    unsafe {
        make(kv, c"cut=0;delay=0");
        let result = hmkv_await(hmkv_range(kv, c"m".as_ptr().cast(), 1, ptr::null()));
        let status = hmkv_result_status(result);
        assert!(status == OK || status == NOT_FOUND, "after a fault: {status}");
        hmkv_result_free(result);
    }
}
