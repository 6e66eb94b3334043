//! Section: event loops.

use super::status::{self, hmkv_status};
use super::types::hmkv;
use super::{guard, handle, out};
use crate::error::Error;

/// # Event loops
/// For a program that lives in an event loop of its own. With option `dispatch=poll` the
/// store's callbacks run in hmkv_dispatch() alone, on the thread that calls it, whenever
/// the descriptor hmkv_fd() tells the loop that some are ready: the program needs no locks
/// for what its callbacks touch. Requests, renewals of leases, watches and losses go on
/// without it; what it delays is that the program hears of them. A store whose callbacks
/// wait for their turn keeps what they are to get: of a watch at most its `queue_max`
/// beside a snapshot, of the state callback 1,024 events.
///
/// Ready-made bindings for libuv, libevent, GLib and sd-event are `hmkv/libuv.h`,
/// `hmkv/libevent.h`, `hmkv/glib.h` and `hmkv/sd-event.h`, which stand beside this header.
///
/// Besides hmkv_dispatch(), hmkv_close() runs the callbacks that are promised: those of
/// hmkv_then() and `acquired`. Where ending leases takes all of `close_timeout`, they have
/// 100 ms more. The callback of hmkv_set_log(), which is the process's, runs where there is
/// something to tell; that of hmkv_then() for an op that a store refused because it was
/// closed, or had no store, runs on a thread of its own; and `userdata_free` as its type says.
/// ---
/// Tell the descriptor that is readable exactly while hmkv_dispatch() has something to do.
///
/// It is for poll(), epoll and their like, level-triggered or edge-triggered, and for
/// nothing else: it is not to be read, written or closed. It stays the same until the
/// store is closed; take it out of the loop before that.
///
/// @param kv A store with option `dispatch=poll`.
/// @return The descriptor, which is the store's; or -1, with the reason in hmkv_errmsg():
///         no such store, or one without that option.
///
/// Blocks: never. Threads: any. Since: 0.1.
#[no_mangle]
pub unsafe extern "C" fn hmkv_fd(kv: *mut hmkv) -> i32 {
    let fd = guard::number(|| Ok(handle::store(kv)?.polled()?.fd().into()));
    i32::try_from(fd.max(-1)).unwrap_or(-1)
}

/// Run callbacks that are ready, on this thread, in the order in which they became so;
/// several of one watch in a row, but others come between before it has had 64.
///
/// It waits for nothing but the callbacks themselves. When it returns because `max` of them
/// have run, or because much of what it looked at needed no callback, and there is more, the
/// descriptor is readable, which is an edge again.
///
/// @param kv  A store with option `dispatch=poll`.
/// @param max How many callbacks to run at most; at least 1.
/// @param ran Gets how many have run. May be NULL.
/// @return HMKV_OK; HMKV_TIMED_OUT: no callback was there to run; HMKV_EINVAL, also for a store
///         without that option; HMKV_EINCALLBACK: called from a callback of this store.
///
/// Blocks: while the callbacks run. Threads: any; several at once share the callbacks, of
/// which those of one watch still run one at a time. Since: 0.1.
#[no_mangle]
pub unsafe extern "C" fn hmkv_dispatch(kv: *mut hmkv, max: usize, ran: *mut usize) -> hmkv_status {
    guard::status(|| {
        let ran = out::optional_number(ran);
        let store = handle::store(kv)?;
        let polled = store.polled()?;
        store.refuse_own_callback("dispatching")?;
        if max == 0 {
            return Err(Error::Invalid("max is 0".into()));
        }
        let called = polled.run(max);
        ran.set(called);
        Ok(if called > 0 { status::OK } else { status::TIMED_OUT })
    })
}
