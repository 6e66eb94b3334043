//! Which keys are read, and how.

use crate::types::{KeyRange, KeyValue};
use bytes::Bytes;
use std::cmp::Ordering;

#[derive(Clone, Debug)]
pub struct Range {
    pub keys: KeyRange,
    /// 0 for all.
    pub limit: i64,
    /// 0 for the newest.
    pub revision: i64,
    pub sort: Sort,
    pub descending: bool,
    pub keys_only: bool,
    pub count_only: bool,
    /// From the member's own state, which may be behind.
    pub serializable: bool,
    pub filter: Filter,
}

impl Range {
    pub fn new(keys: KeyRange) -> Self {
        Self {
            keys,
            limit: 0,
            revision: 0,
            sort: Sort::Key,
            descending: false,
            keys_only: false,
            count_only: false,
            serializable: false,
            filter: Filter::default(),
        }
    }

    /// The key of `keys` that was created last at or before `revision`.
    pub fn last_created(keys: KeyRange, revision: i64) -> Self {
        let filter = Filter { max_create: revision, ..Filter::default() };
        Self { limit: 1, sort: Sort::Create, descending: true, filter, ..Self::new(keys) }
    }

    /// A cheap linearizable read, which proves that the store can be reached.
    pub fn probe() -> Self {
        Self { keys_only: true, ..Self::new(KeyRange::single("\0")) }
    }

    /// By key, the smallest first.
    pub fn is_in_key_order(&self) -> bool {
        self.sort == Sort::Key && !self.descending
    }

    /// Sorts as asked for; keys that are equal stand in the order of their names.
    pub fn arrange(&self, kvs: &mut [KeyValue]) {
        let order = |a: &KeyValue, b: &KeyValue| match self.sort {
            Sort::Key => a.key.cmp(&b.key),
            Sort::Create => a.create_revision.cmp(&b.create_revision),
            Sort::Mod => a.mod_revision.cmp(&b.mod_revision),
            Sort::Version => a.version.cmp(&b.version),
            Sort::Value => a.value.cmp(&b.value),
        };
        kvs.sort_by(|a, b| {
            let order = if self.descending { order(b, a) } else { order(a, b) };
            match order {
                Ordering::Equal => a.key.cmp(&b.key),
                unequal => unequal,
            }
        });
    }

    /// What it finds, at this revision, among the keys that lie in it, which come by name.
    pub fn select<'a>(&self, kvs: impl Iterator<Item = &'a KeyValue>, revision: i64) -> Found {
        let mut found = Found { revision, ..Found::default() };
        let in_order = self.is_in_key_order();
        let limit = if self.limit > 0 { self.limit as usize } else { usize::MAX };
        for kv in kvs {
            found.total += 1;
            if self.count_only || !self.filter.passes(kv) {
                continue;
            }
            if in_order && found.kvs.len() == limit {
                found.more = true;
                continue;
            }
            found.kvs.push(kv.clone());
        }
        if !in_order {
            self.arrange(&mut found.kvs);
            found.more = found.kvs.len() > limit;
            found.kvs.truncate(limit);
        }
        self.strip_values(&mut found.kvs);
        found
    }

    pub fn strip_values(&self, kvs: &mut [KeyValue]) {
        if self.keys_only {
            kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    Key,
    Create,
    Mod,
    Version,
    Value,
}

/// Leaves out keys by their revisions; 0 for no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub min_mod: i64,
    pub max_mod: i64,
    pub min_create: i64,
    pub max_create: i64,
}

impl Filter {
    pub fn passes(&self, kv: &KeyValue) -> bool {
        let within =
            |revision, min, max| (min == 0 || revision >= min) && (max == 0 || revision <= max);
        within(kv.mod_revision, self.min_mod, self.max_mod)
            && within(kv.create_revision, self.min_create, self.max_create)
    }
}

/// What a range found.
#[derive(Debug, Default)]
pub struct Found {
    pub kvs: Vec<KeyValue>,
    /// Of the store, when it answered.
    pub revision: i64,
    /// Keys in the range, whatever limit and filters.
    pub total: u64,
    /// The limit cut some off.
    pub more: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kv(key: &'static str, value: &'static str, version: i64) -> KeyValue {
        let (key, value) = (key.into(), value.into());
        KeyValue { key, value, version, mod_revision: 9 - version, ..KeyValue::default() }
    }

    #[test]
    fn equal_keys_stand_by_name_in_both_directions() {
        let mut range = Range::new(KeyRange::prefix(b""));
        let mut kvs = vec![kv("b", "x", 1), kv("c", "x", 2), kv("a", "y", 1)];
        let mut names = |sort, descending| {
            (range.sort, range.descending) = (sort, descending);
            range.arrange(&mut kvs);
            kvs.iter().map(|kv| kv.key[0] as char).collect::<String>()
        };
        assert_eq!(names(Sort::Value, false), "bca");
        assert_eq!(names(Sort::Value, true), "abc");
        assert_eq!(names(Sort::Version, false), "abc");
        assert_eq!(names(Sort::Mod, false), "cab");
        assert_eq!(names(Sort::Key, true), "cba");
    }

    #[test]
    fn a_filter_has_inclusive_bounds() {
        let kv = KeyValue { create_revision: 3, mod_revision: 5, ..KeyValue::default() };
        let none = Filter::default();
        assert!(none.passes(&kv));
        assert!(Filter { min_mod: 5, max_mod: 5, min_create: 3, max_create: 3 }.passes(&kv));
        assert!(!Filter { min_mod: 6, ..none }.passes(&kv));
        assert!(!Filter { max_create: 2, ..none }.passes(&kv));
    }
}
