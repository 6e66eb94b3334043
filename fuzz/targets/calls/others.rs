//! The state callback, what a store tells of itself, and what is asked of none.

use crate::callbacks;
use crate::input::Input;
use crate::mirror::newest_revision;
use crate::world::{judged, open, sane, World, EINVAL, OK};
use ::hmkv::fuzz::c::*;
use std::collections::BTreeMap;
use std::ffi::{c_char, CStr};
use std::ptr;

impl World {
    pub unsafe fn on_state(&mut self, input: &mut Input<'_>) {
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

    pub unsafe fn others(&mut self, input: &mut Input<'_>) {
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
                    judged(hmkv_mem_fault(kv, c"cut=0;delay=0".as_ptr()), store.is_some());
                    // A handle that the model does not follow: it may be cut off by this.
                    let faulty = open("mem:", "timeout=1ms") as *mut hmkv;
                    let spec = input.value();
                    let spec = input.text(spec);
                    sane(hmkv_mem_fault(faulty, spec.pointer()));
                    let result = hmkv_await(hmkv_ping(faulty));
                    sane(hmkv_result_status(result));
                    hmkv_result_free(result);
                    assert_eq!(hmkv_close(faulty), OK);
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

    /// What a store tells of itself.
    pub unsafe fn report(&mut self, input: &mut Input<'_>) {
        let (kv, store) = self.kv(input);
        let is_metrics = input.byte() % 2 == 0;
        let mut out = 1 as *mut c_char;
        let place = input.place(&mut out);
        let good = store.is_some() && !place.is_null();
        let before = unsafe { newest_revision() };
        let rc = match is_metrics {
            true => unsafe { hmkv_metrics(kv, place) },
            false => unsafe { hmkv_cluster_status(kv, place) },
        };
        assert_eq!(judged(rc, good) == OK, good);
        if !good {
            assert!(out.is_null() || place.is_null());
            return;
        }
        let text = unsafe { CStr::from_ptr(out) }.to_str().expect("UTF-8").to_owned();
        unsafe { hmkv_free(out.cast()) };
        if let Some(store) = store.filter(|_| is_metrics) {
            return count(&mut self.stores[store].counted, &text);
        }
        let revision = text.rsplit_once("\"revision\":").expect("a revision").1;
        let revision = revision.strip_suffix("}]}").expect("the last of one member");
        let now = unsafe { newest_revision() };
        assert!((before..=now).contains(&revision.parse().expect("a number")), "{text}");
    }
}

/// Metrics, against those of before.
fn count(counted: &mut BTreeMap<String, f64>, text: &str) {
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').expect("a value");
        let value = value.parse().expect("a number");
        let before = counted.insert(name.to_owned(), value).unwrap_or(0.0);
        assert!(before <= value || name.ends_with("_depth"), "{line}, and was {before}");
    }
    assert_eq!(counted["hmkv_connected"], 1.0);
}
