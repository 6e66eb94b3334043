//! The keys of a prefix at one revision. A copy never changes: the next one shares with
//! it what is equal, so making one costs no more than the changes do.

use crate::request::{Found, Range};
use crate::types::{Event, EventKind, KeyRange, KeyValue};
use bytes::Bytes;
use rpds::RedBlackTreeMapSync;

#[derive(Clone, Default)]
pub struct Copy {
    keys: RedBlackTreeMapSync<Bytes, KeyValue>,
    pub revision: i64,
}

impl Copy {
    /// The one after these changes, at this revision.
    pub fn after(&self, events: impl IntoIterator<Item = Event>, revision: i64) -> Self {
        let mut keys = self.keys.clone();
        for Event { kind, kv, .. } in events {
            match kind {
                EventKind::Put => keys.insert_mut(kv.key.clone(), kv),
                EventKind::Delete => {
                    keys.remove_mut(&kv.key);
                }
            }
        }
        Self { keys, revision }
    }

    pub fn count(&self) -> u64 {
        self.keys.size() as u64
    }

    /// What a range of the store would find.
    pub fn read(&self, range: &Range) -> Found {
        let found = self.keys.range::<[u8], _>(range.keys.bounds());
        range.select(found.map(|(_, kv)| kv), self.revision)
    }

    pub fn all(&self) -> Found {
        self.read(&Range::new(KeyRange::prefix(b"")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Sort;

    fn put(key: &'static str, revision: i64) -> Event {
        let kv = KeyValue { key: key.into(), mod_revision: revision, ..KeyValue::default() };
        Event::put(kv, None)
    }

    fn keys(copy: &Copy, range: &Range) -> Vec<Bytes> {
        copy.read(range).kvs.into_iter().map(|kv| kv.key).collect()
    }

    #[test]
    fn a_copy_stays_as_it_is_when_the_next_is_made() {
        let all = Range::new(KeyRange::prefix(b""));
        let one = Copy::default().after([put("a", 2), put("b", 2)], 2);
        let two = one.after([Event::delete("a".into(), 3, None), put("c", 3)], 3);
        assert_eq!(keys(&one, &all), ["a", "b"]);
        assert_eq!(keys(&two, &all), ["b", "c"]);
        assert_eq!((one.revision, one.count(), two.revision, two.count()), (2, 2, 3, 2));
    }

    #[test]
    fn it_is_read_as_the_store_is() {
        let copy = Copy::default().after([put("a", 4), put("aa", 2), put("b", 3), put("c", 5)], 5);
        let range = Range::new(KeyRange::prefix(b""));
        let newest = Range { sort: Sort::Mod, descending: true, limit: 2, ..range.clone() };
        assert_eq!(keys(&copy, &newest), ["c", "a"]);
        let found = copy.read(&Range { limit: 1, ..Range::new(KeyRange::prefix(b"a")) });
        assert_eq!((found.kvs.len(), found.total, found.more, found.revision), (1, 2, true, 5));
        let before = |end: &'static [u8]| KeyRange {
            key: "b".into(),
            end: crate::types::RangeEnd::Before(end.into()),
        };
        assert_eq!(keys(&copy, &Range::new(before(b"c"))), ["b"]);
        assert!(keys(&copy, &Range::new(before(b"a"))).is_empty());
        assert_eq!(keys(&copy, &Range::new(KeyRange::single("aa"))), ["aa"]);
    }
}
