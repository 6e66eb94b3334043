//! What hangs on leases: temporary keys, and locks.

use crate::callbacks::{self, EINTERNAL};
use crate::input::{Fixed, Input, Opts};
use crate::world::{judged, World, EHANDLE, EINVAL, OK};
use ::hmkv::fuzz::c::*;
use std::mem::offset_of;

impl World {
    pub unsafe fn temp_key(&mut self, input: &mut Input<'_>) {
        let (kv, store) = self.kv(input);
        let key = [&b"t"[..], &input.key()].concat();
        let key = input.text(key);
        let rc = judged(unsafe { hmkv_temp_key(kv, key.pointer()) }, store.is_some());
        if let Some(key) = key.bytes().filter(|_| rc == OK) {
            let full = self.full(store, key);
            self.model.loosen(&full);
        }
    }

    pub unsafe fn dist_lock(&mut self, input: &mut Input<'_>) {
        let (kv, store) = self.kv(input);
        let rc = match input.byte() % 4 {
            // Longer waits would be.
            0 => unsafe { hmkv_dist_timed_lock(kv, (input.number() as i32).min(0)) },
            1 if store.is_none() => unsafe { hmkv_dist_lock(kv) },
            2 => unsafe { hmkv_dist_lock_result(kv) },
            _ => unsafe { hmkv_dist_unlock(kv) },
        };
        assert!(store.is_some() || rc == EHANDLE || rc == EINVAL, "{rc}");
        assert_ne!(rc, EINTERNAL);
    }

    pub unsafe fn lease(&mut self, input: &mut Input<'_>) {
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

    pub unsafe fn lock(&mut self, input: &mut Input<'_>) {
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

    pub unsafe fn use_lock(&mut self, input: &mut Input<'_>) {
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

    pub unsafe fn observe(&mut self, input: &mut Input<'_>) {
        let (kv, store) = self.kv(input);
        let given = self.give(kv as usize, input);
        let name = input.text(b"l".to_vec());
        let (mut out, data) = (1 as *mut hmkv_watcher, self.given[given].pointer());
        let function: hmkv_event_fn =
            if input.byte() < 250 { Some(callbacks::event) } else { None };
        let rc = unsafe { hmkv_lock_observe(kv, name.pointer(), function, data, &mut out) };
        self.new_watcher(judged(rc, store.is_some()), store, out, given);
    }

    pub unsafe fn close_lease_or_lock(&mut self, input: &mut Input<'_>) {
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
}
