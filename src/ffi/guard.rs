//! The boundary: a failure becomes a status and a text, a panic too.

use super::errmsg;
use super::status::{self, hmkv_status};
use crate::error::{Error, Result};
use crate::log::{log, Level};
use crate::sys::NoCancel;
use std::cell::Cell;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Of a function that returns a status.
pub fn status(call: impl FnOnce() -> Result<hmkv_status>) -> hmkv_status {
    match catch(call) {
        Some(Ok(code)) => code,
        Some(Err(error)) => {
            errmsg::set(&error);
            status::of(&error)
        }
        None => status::of(&Error::Internal(String::new())),
    }
}

/// Of a function that returns something else.
pub fn plain<T>(default: T, call: impl FnOnce() -> T) -> T {
    catch(call).unwrap_or(default)
}

/// Of an accessor.
///
/// # Safety
/// `object` is NULL or points to a live object of this library.
pub unsafe fn borrow<O, T>(object: *const O, default: T, look: impl FnOnce(&O) -> T) -> T {
    match unsafe { object.as_ref() } {
        None => default,
        Some(object) => plain(default, || look(object)),
    }
}

/// None after a panic, whose text is then this thread's error message.
fn catch<T>(call: impl FnOnce() -> T) -> Option<T> {
    static HOOKED: AtomicBool = AtomicBool::new(false);
    if !HOOKED.swap(true, Ordering::Relaxed) {
        hook_panics();
    }
    let _no_cancel = NoCancel::new();
    let before = INSIDE.replace(true);
    let answer = catch_unwind(AssertUnwindSafe(call)).ok();
    INSIDE.set(before);
    answer
}

/// A panic of the library is told in its log and error text, not on standard error.
/// Those of others, in a Rust program, are none of its business.
fn hook_panics() {
    let others = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        let own = INSIDE.get() || thread.name().is_some_and(|name| name.starts_with("hmkv-"));
        if !own {
            return others(panic);
        }
        errmsg::set(panic);
        log(Level::Error, || panic.to_string());
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    fn message() -> String {
        unsafe { CStr::from_ptr(errmsg::get()) }.to_str().expect("ASCII").to_owned()
    }

    #[test]
    fn a_panic_becomes_a_status_with_its_place() {
        let code = status(|| panic!("broken\ninvariant"));
        assert_eq!(code, super::status::hmkv_status_code::HMKV_EINTERNAL as i32);
        assert!(
            message().contains("guard.rs") && message().contains("broken invariant"),
            "{}",
            message()
        );
    }

    #[test]
    fn text_is_cut_to_the_buffer_and_success_leaves_it() {
        status(|| Err(Error::Invalid("x".repeat(5000))));
        assert_eq!(message(), "x".repeat(1023));
        assert_eq!(status(|| Ok(0)), 0);
        assert_eq!(message().len(), 1023);
        status(|| Err(Error::Invalid("short".into())));
        assert_eq!(message(), "short");
    }
}
