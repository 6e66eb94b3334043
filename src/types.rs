//! Plain values that every layer shares.

use bytes::Bytes;

/// A key with its value at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyValue {
    pub key: Bytes,
    pub value: Bytes,
    pub create_revision: i64,
    pub mod_revision: i64,
    pub version: i64,
    pub lease: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    Put,
    Delete,
}

/// One change. Of a deleted key only the key and the revision are set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub kind: EventKind,
    pub kv: KeyValue,
}

impl Event {
    pub fn put(kv: KeyValue) -> Self {
        Self { kind: EventKind::Put, kv }
    }

    pub fn delete(key: Bytes, revision: i64) -> Self {
        let kv = KeyValue { key, mod_revision: revision, ..KeyValue::default() };
        Self { kind: EventKind::Delete, kv }
    }

    pub fn revision(&self) -> i64 {
        self.kv.mod_revision
    }
}

/// Which keys: one, or `[key, end)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    pub key: Bytes,
    pub end: RangeEnd,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RangeEnd {
    /// `key` alone.
    Single,
    /// All keys from `key` to before this one.
    Before(Bytes),
    /// All keys from `key` on.
    Unbounded,
}

impl KeyRange {
    pub fn single(key: impl Into<Bytes>) -> Self {
        Self { key: key.into(), end: RangeEnd::Single }
    }

    /// All keys that begin with `prefix`.
    pub fn prefix(prefix: &[u8]) -> Self {
        let end = match prefix.iter().rposition(|byte| *byte < 0xff) {
            None => RangeEnd::Unbounded,
            Some(at) => {
                let mut end = prefix[..=at].to_vec();
                end[at] += 1;
                RangeEnd::Before(end.into())
            }
        };
        Self { key: Bytes::copy_from_slice(prefix), end }
    }

    /// All keys with `start <= key <= end`; none if that is impossible.
    pub fn inclusive(start: Bytes, end: &[u8]) -> Option<Self> {
        if end.is_empty() || start[..] > *end {
            return None;
        }
        // The lowest key there can be, because none is empty.
        let key = if start.is_empty() { Bytes::from_static(b"\0") } else { start };
        Some(Self { key, end: RangeEnd::Before([end, b"\0"].concat().into()) })
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        match &self.end {
            RangeEnd::Single => self.key == key,
            RangeEnd::Before(end) => self.key[..] <= *key && *key < end[..],
            RangeEnd::Unbounded => self.key[..] <= *key,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_ends_at_the_next_prefix() {
        assert_eq!(KeyRange::prefix(b"a").end, RangeEnd::Before(Bytes::from_static(b"b")));
        assert_eq!(KeyRange::prefix(b"a\xff").end, RangeEnd::Before(Bytes::from_static(b"b")));
        assert_eq!(KeyRange::prefix(b"\xff\xff").end, RangeEnd::Unbounded);
    }

    #[test]
    fn inclusive_range_holds_its_last_key_and_nothing_after() {
        let range = KeyRange::inclusive(Bytes::from_static(b"a"), b"b").expect("not empty");
        for (key, inside) in [(&b"a"[..], true), (b"ab", true), (b"b", true), (b"b\0", false)] {
            assert_eq!(range.contains(key), inside, "{key:?}");
        }
    }

    #[test]
    fn inclusive_range_can_be_empty_or_begin_at_the_first_key() {
        assert_eq!(KeyRange::inclusive(Bytes::from_static(b"a"), b""), None);
        assert_eq!(KeyRange::inclusive(Bytes::from_static(b"b"), b"a"), None);
        let all = KeyRange::inclusive(Bytes::new(), b"a").expect("not empty");
        assert!(all.contains(b"\0") && all.contains(b"A") && all.contains(b"a"));
    }
}
