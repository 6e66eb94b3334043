//! Plain values that every layer shares.

use bytes::Bytes;
use std::ops::Bound;

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
    /// The key before, where that was asked for and is known.
    pub prev: Option<KeyValue>,
}

impl Event {
    pub fn put(kv: KeyValue, prev: Option<KeyValue>) -> Self {
        Self { kind: EventKind::Put, kv, prev }
    }

    pub fn delete(key: Bytes, revision: i64, prev: Option<KeyValue>) -> Self {
        let kv = KeyValue { key, mod_revision: revision, ..KeyValue::default() };
        Self { kind: EventKind::Delete, kv, prev }
    }

    pub fn revision(&self) -> i64 {
        self.kv.mod_revision
    }
}

/// Which keys: one, or `[key, end)`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyRange {
    pub key: Bytes,
    pub end: RangeEnd,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RangeEnd {
    /// `key` alone.
    Single,
    /// All keys from `key` to before this one.
    Before(Bytes),
    /// All keys from `key` on.
    Unbounded,
}

/// The lowest key there can be, because none is empty.
const LOWEST: &[u8] = b"\0";

impl KeyRange {
    pub fn single(key: impl Into<Bytes>) -> Self {
        Self { key: key.into(), end: RangeEnd::Single }
    }

    /// All keys from `key` on, to before `end` or to the last.
    pub fn from(key: Bytes, end: RangeEnd) -> Self {
        let key = if key.is_empty() { Bytes::from_static(LOWEST) } else { key };
        if matches!(&end, RangeEnd::Before(end) if *end == LOWEST) {
            return Self::nothing();
        }
        Self { key, end }
    }

    /// Nothing is before the lowest key; but by this end etcd means the last one.
    fn nothing() -> Self {
        let some = Bytes::from_static(b"nothing");
        Self { key: some.clone(), end: RangeEnd::Before(some) }
    }

    /// No key can be in it.
    pub fn is_empty(&self) -> bool {
        matches!(&self.end, RangeEnd::Before(end) if *end <= self.key)
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
        Self::from(Bytes::copy_from_slice(prefix), end)
    }

    /// All keys with `start <= key <= end`; none if that is impossible.
    pub fn inclusive(start: Bytes, end: &[u8]) -> Option<Self> {
        if end.is_empty() || start[..] > *end {
            return None;
        }
        Some(Self::from(start, RangeEnd::Before([end, LOWEST].concat().into())))
    }

    /// For the range of a map.
    pub fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        let from = &self.key[..];
        match &self.end {
            RangeEnd::Single => (Bound::Included(from), Bound::Included(from)),
            // Maps panic where the end is below the start.
            RangeEnd::Before(end) if end[..] <= *from => {
                (Bound::Included(from), Bound::Excluded(from))
            }
            RangeEnd::Before(end) => (Bound::Included(from), Bound::Excluded(&end[..])),
            RangeEnd::Unbounded => (Bound::Included(from), Bound::Unbounded),
        }
    }

    /// Whether all keys of the other one are in this one.
    pub fn covers(&self, other: &Self) -> bool {
        let ends_in_time = match (&self.end, &other.end) {
            (_, RangeEnd::Single) => self.contains(&other.key),
            (RangeEnd::Unbounded, _) => true,
            (RangeEnd::Before(end), RangeEnd::Before(other)) => other <= end,
            _ => false,
        };
        other.is_empty() || (self.key <= other.key && ends_in_time)
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
        assert!(KeyRange::prefix(b"").contains(b"\0") && !KeyRange::prefix(b"").contains(b""));
    }

    #[test]
    fn inclusive_range_holds_its_last_key_and_nothing_after() {
        let range = KeyRange::inclusive(Bytes::from_static(b"a"), b"b").expect("not empty");
        for (key, inside) in [(&b"a"[..], true), (b"ab", true), (b"b", true), (b"b\0", false)] {
            assert_eq!(range.contains(key), inside, "{key:?}");
        }
    }

    #[test]
    fn nothing_is_before_the_lowest_key() {
        let before = |end| KeyRange::from("a".into(), RangeEnd::Before(Bytes::from_static(end)));
        assert!(before(b"\0").is_empty() && before(b"a").is_empty() && before(b"A").is_empty());
        assert!(!before(b"\0").contains(b"a") && !before(b"a\0").is_empty());
        for key in ["", "\0", "a"] {
            let range = KeyRange::from(key.into(), RangeEnd::Before(Bytes::from_static(b"\0")));
            assert!(range.is_empty() && range.end != RangeEnd::Before(Bytes::from_static(b"\0")));
        }
    }

    #[test]
    fn a_range_covers_what_lies_in_it() {
        let (a, all) = (KeyRange::prefix(b"a"), KeyRange::prefix(b""));
        let to = |key: &'static str, end| KeyRange::from(key.into(), RangeEnd::Before(end));
        let from = KeyRange::from("a".into(), RangeEnd::Unbounded);
        for inside in [
            KeyRange::single("a"),
            KeyRange::prefix(b"a\xff"),
            to("ab", "b".into()),
            to("z", "c".into()), // no key
            a.clone(),
        ] {
            assert!(a.covers(&inside) && all.covers(&inside), "{inside:?}");
        }
        for outside in [KeyRange::single("b"), to("a", "b\0".into()), to("A", "b".into()), from] {
            assert!(!a.covers(&outside) && all.covers(&outside), "{outside:?}");
        }
        assert!(!a.covers(&all) && all.covers(&all));
    }

    #[test]
    fn inclusive_range_can_be_empty_or_begin_at_the_first_key() {
        assert_eq!(KeyRange::inclusive(Bytes::from_static(b"a"), b""), None);
        assert_eq!(KeyRange::inclusive(Bytes::from_static(b"b"), b"a"), None);
        let all = KeyRange::inclusive(Bytes::new(), b"a").expect("not empty");
        assert!(all.contains(b"\0") && all.contains(b"A") && all.contains(b"a"));
    }
}
