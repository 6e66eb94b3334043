//! Reads of what callers pass.

use crate::error::{Error, Result};
use bytes::Bytes;
use std::ffi::{c_char, c_void, CStr};
use std::time::Duration;

fn is_null(name: &str) -> Error {
    Error::Invalid(format!("{name} is NULL"))
}

/// # Safety
/// As all functions here: `text` is NULL or a NUL-terminated string.
pub unsafe fn bytes(text: *const c_char, name: &str) -> Result<Bytes> {
    if text.is_null() {
        return Err(is_null(name));
    }
    Ok(Bytes::copy_from_slice(unsafe { CStr::from_ptr(text) }.to_bytes()))
}

pub unsafe fn key(text: *const c_char) -> Result<Bytes> {
    non_empty(unsafe { bytes(text, "key") }?, "key")
}

fn non_empty(key: Bytes, name: &str) -> Result<Bytes> {
    if key.is_empty() {
        return Err(Error::Invalid(format!("{name} is empty")));
    }
    Ok(key)
}

/// A key that may be NULL, with its value.
pub unsafe fn optional_pair(
    key: *const c_char,
    value: *const c_char,
    names: (&str, &str),
) -> Result<Option<(Bytes, Bytes)>> {
    if key.is_null() {
        return Ok(None);
    }
    let key = non_empty(unsafe { bytes(key, names.0) }?, names.0)?;
    Ok(Some((key, unsafe { bytes(value, names.1) }?)))
}

pub unsafe fn utf8(text: *const c_char, name: &str) -> Result<String> {
    let text = unsafe { bytes(text, name) }?;
    String::from_utf8(text.into()).map_err(|_| Error::Invalid(format!("{name} is not UTF-8")))
}

/// Empty where NULL.
pub unsafe fn optional_utf8(text: *const c_char, name: &str) -> Result<String> {
    if text.is_null() {
        return Ok(String::new());
    }
    unsafe { utf8(text, name) }
}

/// None for ever.
pub fn timeout(timeout_ms: i64) -> Result<Option<Duration>> {
    match timeout_ms {
        super::types::HMKV_FOREVER => Ok(None),
        _ => u64::try_from(timeout_ms)
            .map(|ms| Some(Duration::from_millis(ms)))
            .map_err(|_| Error::Invalid(format!("timeout_ms is {timeout_ms}"))),
    }
}

/// A caller's pointer, kept for its callback.
#[derive(Clone, Copy)]
pub struct Userdata(pub *mut c_void);

// SAFETY: the library only hands it back; what it points to is the caller's affair,
// who knows from the manual that callbacks run on other threads.
unsafe impl Send for Userdata {}
unsafe impl Sync for Userdata {}

pub fn userdata(pointer: *mut c_void) -> Userdata {
    Userdata(pointer)
}
