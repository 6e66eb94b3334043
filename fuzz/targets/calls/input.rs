//! What a caller passes, drawn from the fuzzer's bytes. Each buffer is exactly as long
//! as it is said to be: reading past it is seen.

use std::alloc::{alloc, dealloc, Layout};
use std::ffi::{c_char, c_void, CString};
use std::ptr;

pub struct Input<'a>(pub &'a [u8]);

impl Input<'_> {
    pub fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((&byte, rest)) => {
                self.0 = rest;
                byte
            }
            None => 0,
        }
    }

    pub fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound.max(1)
    }

    pub fn word(&mut self) -> u64 {
        (0..8).fold(0, |word, _| word << 8 | u64::from(self.byte()))
    }

    /// Small numbers, the ends of the range, and others.
    pub fn number(&mut self) -> i64 {
        match self.byte() {
            small @ 0..=199 => i64::from(small) - 4,
            200..=209 => i64::MAX,
            210..=219 => i64::MIN,
            220..=229 => i64::from(i32::MAX) + 1,
            _ => self.word() as i64,
        }
    }

    /// Mostly one of a few keys.
    pub fn key(&mut self) -> Vec<u8> {
        match self.byte() {
            0..=127 => format!("m{}", self.below(4)).into_bytes(),
            128..=159 => b"m".to_vec(),
            160..=175 => Vec::new(),
            _ => self.value(),
        }
    }

    pub fn value(&mut self) -> Vec<u8> {
        let length = self.below(24).min(self.0.len());
        let (value, rest) = self.0.split_at(length);
        self.0 = rest;
        value.to_vec()
    }

    /// Where an answer is to go: mostly there.
    pub fn place<T>(&mut self, answer: &mut T) -> *mut T {
        match self.byte() {
            250.. => ptr::null_mut(),
            _ => answer,
        }
    }

    pub fn text(&mut self, bytes: Vec<u8>) -> Text {
        Text(match self.byte() {
            250.. => None,
            _ => CString::new(bytes).ok(),
        })
    }

    pub fn data(&mut self, bytes: Vec<u8>) -> Data {
        match self.byte() {
            0..=199 => Data { len: bytes.len(), buffer: Some(bytes.into()), legal: true },
            200..=229 => {
                let mut bytes: Vec<u8> = bytes.into_iter().take_while(|byte| *byte != 0).collect();
                bytes.push(0);
                Data { len: usize::MAX, buffer: Some(bytes.into()), legal: true }
            }
            230..=239 => Data { len: self.word() as usize, buffer: None, legal: false },
            // Longer than anything in memory can be.
            240..=249 => Data {
                len: (isize::MAX as usize + 1 + self.below(200)).min(usize::MAX - 1),
                buffer: Some(bytes.into()),
                legal: false,
            },
            _ => Data { len: 0, buffer: None, legal: true },
        }
    }
}

pub struct Text(Option<CString>);

impl Text {
    pub fn pointer(&self) -> *const c_char {
        self.0.as_ref().map_or(ptr::null(), |text| text.as_ptr())
    }

    pub fn bytes(&self) -> Option<&[u8]> {
        self.0.as_ref().map(|text| text.to_bytes())
    }
}

pub struct Data {
    buffer: Option<Box<[u8]>>,
    pub len: usize,
    legal: bool,
}

impl Data {
    pub fn pointer(&self) -> *const c_void {
        self.buffer.as_ref().map_or(ptr::null(), |buffer| buffer.as_ptr().cast())
    }

    /// What the library reads of it.
    pub fn bytes(&self) -> Option<&[u8]> {
        let buffer = self.buffer.as_deref().unwrap_or_default();
        let buffer =
            if self.len == usize::MAX { &buffer[..buffer.len().saturating_sub(1)] } else { buffer };
        (self.legal || self.len == 0).then_some(buffer)
    }
}

/// Options as bytes, in memory of their own.
pub struct Opts<T> {
    memory: *mut u8,
    layout: Layout,
    given: Option<*const T>,
    /// What the library can know of them.
    pub known: T,
}

/// A field that must be this, wherever it can be read.
pub struct Fixed {
    pub at: usize,
    pub is: u64,
}

impl<T: Copy> Opts<T> {
    /// # Safety
    /// T is made of numbers, and of pointers that `fixed` names.
    pub unsafe fn draw(input: &mut Input<'_>, fixed: &[Fixed]) -> Self {
        let full = size_of::<T>();
        let how = input.byte();
        let (size, length) = match how {
            180..=199 => (input.below(full + 1), full),
            200..=219 => (full + input.below(64), full + 64),
            220..=229 => (4097 + (input.word() >> 1) as usize, 8),
            _ => (full, full),
        };
        let length = if size <= 4096 { size.max(8) } else { length };
        let start = usize::from((230..=234).contains(&how)); // misaligned
        let layout = Layout::from_size_align(length + start, 16).expect("a layout");
        let memory = unsafe { alloc(layout) };
        let room = unsafe {
            ptr::write_bytes(memory, 0, length + start);
            std::slice::from_raw_parts_mut(memory.add(start), length)
        };
        for _ in 0..input.below(5) {
            let at = 8 * input.below(length / 8);
            let number = match input.byte() % 3 {
                0 => input.number(),
                1 => 1 << (8 * input.below(8)),
                _ => i64::from(input.byte()),
            };
            if let Some(field) = room.get_mut(at..at + 8) {
                field.copy_from_slice(&number.to_ne_bytes());
            }
        }
        for Fixed { at, is } in fixed {
            if let Some(field) = room.get_mut(*at..at + 8) {
                field.copy_from_slice(&is.to_ne_bytes());
            } else if let Some(cut) = room.get_mut(*at..) {
                cut.fill(0);
            }
        }
        room[..8].copy_from_slice(&size.to_ne_bytes());
        let mut known = unsafe { std::mem::zeroed::<T>() };
        let given = (!(235..=254).contains(&how)).then(|| room.as_ptr().cast::<T>());
        if given.is_some() {
            let count = length.min(full);
            unsafe { ptr::copy_nonoverlapping(room.as_ptr(), (&raw mut known).cast(), count) };
        }
        Self { memory, layout, given, known }
    }

    pub fn pointer(&self) -> *const T {
        self.given.unwrap_or(ptr::null())
    }

    /// By their size and their place.
    pub fn is_readable(&self) -> bool {
        let size = unsafe { self.pointer().cast::<usize>().read_unaligned() };
        size == size_of::<T>() && self.pointer().is_aligned()
    }
}

impl<T> Drop for Opts<T> {
    fn drop(&mut self) {
        unsafe { dealloc(self.memory, self.layout) };
    }
}
