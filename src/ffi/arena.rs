//! Keys and values as C sees them, in one block.

use super::types::hmkv_kv;
use crate::error::{Error, Result};
use crate::types::KeyValue;
use std::ffi::c_char;

/// A block that never moves, because it never grows.
#[derive(Default)]
pub struct Arena(Vec<u8>);

impl Arena {
    /// With room for these and a NUL after each of their parts.
    pub fn for_kvs(kvs: &[KeyValue]) -> Result<Self> {
        let size = kvs.iter().map(|kv| kv.key.len() + kv.value.len() + 2).sum();
        let mut block = Vec::new();
        block.try_reserve_exact(size).map_err(|_| Error::NoMemory("for the answer".into()))?;
        Ok(Self(block))
    }

    fn put(&mut self, bytes: &[u8]) -> *const c_char {
        let at = self.0.len();
        debug_assert!(at + bytes.len() < self.0.capacity());
        self.0.extend_from_slice(bytes);
        self.0.push(0);
        self.0[at..].as_ptr().cast()
    }

    pub fn kv(&mut self, kv: &KeyValue) -> hmkv_kv {
        hmkv_kv {
            key: self.put(&kv.key),
            key_len: kv.key.len(),
            value: self.put(&kv.value),
            value_len: kv.value.len(),
            create_revision: kv.create_revision,
            mod_revision: kv.mod_revision,
            version: kv.version,
            lease: kv.lease,
        }
    }
}
