//! Watches of both tiers.

use crate::callbacks;
use crate::input::{Fixed, Input, Opts};
use crate::world::{brief, judged, World, OK};
use ::hmkv::fuzz::c::*;
use std::ffi::c_char;
use std::mem::offset_of;
use std::sync::atomic::Ordering::SeqCst;

impl World {
    pub unsafe fn watch(&mut self, input: &mut Input<'_>) {
        let (kv, store) = self.kv(input);
        let key = input.key();
        let key = input.text(key);
        let (mut value, mut op) = (1 as *mut c_char, 7);
        let timeout = brief(input.number());
        let rc = unsafe { hmkv_watch(kv, key.pointer(), timeout, &mut value, &mut op) };
        assert_eq!(op != 0, judged(rc, store.is_some()) == OK);
        unsafe { hmkv_free(value.cast()) };
    }

    pub unsafe fn watch_cb(&mut self, input: &mut Input<'_>) {
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

    pub fn new_watcher(
        &mut self,
        rc: i32,
        store: Option<usize>,
        out: *mut hmkv_watcher,
        given: usize,
    ) {
        assert_eq!(rc == OK, !out.is_null());
        match store.filter(|_| rc == OK) {
            Some(store) => {
                let new = self.new_live(out as usize, store, given);
                self.watchers.push(new);
            }
            None => self.given[given].end(),
        }
    }

    pub unsafe fn watch_open(&mut self, input: &mut Input<'_>) {
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
        if opts.known.userdata_free.is_some() {
            if rc == OK {
                self.to_free.push(given);
            } else if opts.is_readable() && opts.known.reserved == [0; 7] {
                assert_eq!(self.given[given].freed.load(SeqCst), 1);
            }
        }
        self.new_watcher(judged(rc, store.is_some()), store, out, given);
    }

    pub unsafe fn watch_next(&mut self, input: &mut Input<'_>) {
        let (watcher, good) = self.one_of(&self.watchers, input);
        let mut event = 1 as *const hmkv_event;
        let timeout = brief(input.number());
        let rc = unsafe { hmkv_watch_next(watcher as *mut hmkv_watcher, timeout, &mut event) };
        assert_eq!(judged(rc, good.is_some()) == OK, !event.is_null());
        if !event.is_null() {
            unsafe { callbacks::read_event(event) };
        }
    }

    pub unsafe fn close_watcher(&mut self, input: &mut Input<'_>) {
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
                if let Some(given) = gone.given.filter(|given| self.to_free.contains(given)) {
                    assert_eq!(self.given[given].freed.load(SeqCst), 1);
                }
            }
        }
    }
}
