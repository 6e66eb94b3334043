//! Writes to where callers want their answers: nothing but NULL or 0 before
//! success.

use crate::error::{Error, Result};
use std::ffi::c_char;
use std::ptr;

/// A place for an answer, which may be nowhere.
pub struct Out<T>(*mut T);

impl<T> Out<T> {
    pub fn set(&self, value: T) {
        if !self.0.is_null() {
            // SAFETY: the caller's place, checked when this was made.
            unsafe { self.0.write(value) };
        }
    }

    /// For an answer that costs something to make.
    pub fn set_with(&self, make: impl FnOnce() -> Result<T>) -> Result<()> {
        if !self.0.is_null() {
            self.set(make()?);
        }
        Ok(())
    }
}

/// # Safety
/// As of the other two: `out` is NULL or a place that can be written.
pub unsafe fn pointer<T>(out: *mut *mut T) -> Result<Out<*mut T>> {
    if out.is_null() {
        return Err(Error::Invalid("the output is NULL".into()));
    }
    Ok(unsafe { optional_pointer(out) })
}

pub unsafe fn optional_pointer<T>(out: *mut *mut T) -> Out<*mut T> {
    let out = Out(out);
    out.set(ptr::null_mut());
    out
}

/// For what stays the library's.
pub unsafe fn borrowed<T>(out: *mut *const T) -> Result<Out<*const T>> {
    if out.is_null() {
        return Err(Error::Invalid("the output is NULL".into()));
    }
    let out = Out(out);
    out.set(ptr::null());
    Ok(out)
}

pub unsafe fn optional_number<T: Default>(out: *mut T) -> Out<T> {
    let out = Out(out);
    out.set(T::default());
    out
}

/// Text for the caller to free.
pub fn text(bytes: &[u8]) -> Result<*mut c_char> {
    if bytes.contains(&0) {
        return Err(Error::Binary);
    }
    // SAFETY: writes within the block that was just allocated.
    unsafe {
        let block = libc::malloc(bytes.len() + 1).cast::<u8>();
        if block.is_null() {
            return Err(Error::NoMemory("for the value".into()));
        }
        ptr::copy_nonoverlapping(bytes.as_ptr(), block, bytes.len());
        block.add(bytes.len()).write(0);
        Ok(block.cast())
    }
}
