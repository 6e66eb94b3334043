//! The text of a thread's last negative status. The buffer has no destructor, so
//! it can be read and written in every phase of a thread's life.

use std::cell::UnsafeCell;
use std::ffi::{c_char, CString};
use std::io::Write;

const SIZE: usize = 1024;

thread_local! {
    static TEXT: UnsafeCell<[u8; SIZE]> = const { UnsafeCell::new([0; SIZE]) };
}

pub fn get() -> *const c_char {
    TEXT.with(|text| text.get().cast_const().cast())
}

/// One line of text, as it would be set.
pub fn line(text: &dyn std::fmt::Display) -> CString {
    let mut bytes = text.to_string().into_bytes();
    bytes.truncate(SIZE - 1);
    for byte in &mut bytes {
        if byte.is_ascii_control() {
            *byte = b' ';
        }
    }
    CString::new(bytes).unwrap_or_default()
}

pub fn text() -> String {
    // SAFETY: the buffer ends with NUL, and nobody writes to it meanwhile.
    unsafe { std::ffi::CStr::from_ptr(get()) }.to_string_lossy().into_owned()
}

pub fn set(text: &dyn std::fmt::Display) {
    TEXT.with(|buffer| {
        // SAFETY: only this thread has access, and nobody holds a reference here.
        let buffer = unsafe { &mut *buffer.get() };
        let mut room = &mut buffer[..SIZE - 1];
        // Fails where the text is longer than the room, which cuts it.
        let _ = write!(room, "{text}");
        let left = room.len();
        let end = SIZE - 1 - left;
        for byte in &mut buffer[..end] {
            if byte.is_ascii_control() {
                *byte = b' ';
            }
        }
        buffer[end] = 0;
    });
}
