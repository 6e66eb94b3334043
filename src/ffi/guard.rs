//! The boundary: a failure becomes a status and a text, a panic too.

use super::errmsg;
use super::handle;
use super::request::hmkv_op;
use super::result::hmkv_result;
use super::status::{self, hmkv_status};
use super::types::hmkv;
use crate::error::{Error, Result};
use crate::log::{log, Level};
use crate::op::{Op, Outcome};
use crate::store::Store;
use crate::sys::NoCancel;
use std::cell::Cell;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

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

/// Of a function that returns a number, or a status where that is negative.
pub fn number(call: impl FnOnce() -> Result<i64>) -> i64 {
    let mut number = 0;
    let status = status(|| {
        number = call()?;
        Ok(status::OK)
    });
    if status < 0 {
        status.into()
    } else {
        number
    }
}

/// Of a function that returns an object, which then holds what went wrong.
pub fn pointer<T>(
    call: impl FnOnce() -> Result<*mut T>,
    failed: impl FnOnce(Error) -> *mut T,
) -> *mut T {
    match catch(call) {
        Some(Ok(object)) => object,
        Some(Err(error)) => failed(error),
        None => failed(Error::Internal(errmsg::text())),
    }
}

/// Of a function that submits a request.
pub fn op(call: impl FnOnce() -> Result<Op>) -> *mut hmkv_op {
    let new = |op| Box::into_raw(Box::new(hmkv_op(op)));
    pointer(|| call().map(new), |error| new(Op::failed(error)))
}

/// Likewise, of a store.
pub fn op_of(kv: *mut hmkv, call: impl FnOnce(&Arc<Store>) -> Result<Op>) -> *mut hmkv_op {
    op(|| {
        let store = handle::store(kv)?;
        Ok(call(&store).unwrap_or_else(|error| Op::refused(&store, error)))
    })
}

/// Of a function that returns a result.
pub fn result(call: impl FnOnce() -> Outcome) -> *mut hmkv_result {
    pointer(|| Ok(hmkv_result::of(call())), |error| hmkv_result::of(Err(error)))
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

/// Of a function that changes an object and returns nothing.
///
/// # Safety
/// As of [`borrow`], and nobody else uses the object.
pub unsafe fn change<O>(object: *mut O, change: impl FnOnce(&mut O)) {
    plain((), || {
        if let Some(object) = unsafe { object.as_mut() } {
            change(object);
        }
    });
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
