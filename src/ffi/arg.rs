//! Reads of what callers pass.

use crate::error::{Error, Result};
use crate::options;
use bytes::Bytes;
use std::ffi::{c_char, c_void, CStr};
use std::time::Duration;

/// As a length: the bytes end with a NUL. HMKV_NTS of the header.
const NTS: usize = usize::MAX;

fn is_null(name: &str) -> Error {
    Error::Invalid(format!("{name} is NULL"))
}

pub fn wrong(name: &str, value: i64) -> Error {
    Error::Invalid(format!("{name} is {value}"))
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

/// Bytes by pointer and length; NULL where the length is 0.
pub unsafe fn data(data: *const c_void, len: usize, name: &str) -> Result<Bytes> {
    match len {
        0 => Ok(Bytes::new()),
        _ if data.is_null() => Err(is_null(name)),
        NTS => unsafe { bytes(data.cast(), name) },
        _ if len > isize::MAX as usize => Err(Error::Invalid(format!("{name} has length {len}"))),
        _ => {
            let bytes = unsafe { std::slice::from_raw_parts(data.cast::<u8>(), len) };
            Ok(Bytes::copy_from_slice(bytes))
        }
    }
}

/// A key by pointer and length, not empty.
pub unsafe fn key_data(key: *const c_void, len: usize) -> Result<Bytes> {
    non_empty(unsafe { data(key, len, "key") }?, "key")
}

/// The name of a lock.
pub unsafe fn lock_name(name: *const c_char) -> Result<Bytes> {
    non_empty(unsafe { bytes(name, "name") }?, "name")
}

pub fn non_empty(key: Bytes, name: &str) -> Result<Bytes> {
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

/// The option `timeout_ms`: none for the store's.
pub fn opt_timeout(timeout_ms: i64) -> Result<Option<Duration>> {
    match timeout_ms {
        0 => Ok(None),
        _ => Ok(Some(timeout(timeout_ms)?.unwrap_or(Duration::MAX))),
    }
}

/// What an operation inside a transaction cannot have.
pub fn unconditional(timeout_ms: i64, if_mod_revision: i64) -> Result<()> {
    if timeout_ms != 0 {
        return Err(Error::Invalid("timeout_ms of an operation in a transaction".into()));
    }
    if if_mod_revision != 0 {
        return Err(Error::Invalid("if_mod_revision of an operation in a transaction".into()));
    }
    Ok(())
}

/// The time of a lease.
pub fn ttl(ttl_ms: i64, name: &str) -> Result<Duration> {
    const YEAR_MS: i64 = 365 * 24 * 3600 * 1000;
    match ttl_ms {
        1..=YEAR_MS => Ok(options::whole_seconds(Duration::from_millis(ttl_ms.unsigned_abs()))),
        _ => Err(wrong(name, ttl_ms)),
    }
}

pub fn ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
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
