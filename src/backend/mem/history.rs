//! Keys and values at every revision that is kept.

use crate::error::{Error, Result};
use crate::request::{Found, Range};
use crate::types::{Event, KeyRange, KeyValue, RangeEnd};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

/// How much history is kept at least, for watches that lag behind.
const KEPT_REVISIONS: usize = 100_000;
const KEPT_BYTES: usize = 64 << 20;

/// What an entry of the log costs beside its keys and values.
const ENTRY: usize = 256;

pub struct History {
    revision: i64,
    /// Revisions below this one are gone.
    compacted: i64,
    keys: BTreeMap<Bytes, Versions>,
    log: VecDeque<(i64, Vec<Event>)>,
    log_bytes: usize,
}

/// A key's versions, oldest first; a deletion is a version without a value.
type Versions = VecDeque<Version>;

struct Version {
    kv: KeyValue,
    deleted: bool,
}

impl Version {
    fn live(&self) -> Option<&KeyValue> {
        (!self.deleted).then_some(&self.kv)
    }
}

impl Default for History {
    fn default() -> Self {
        // etcd begins at revision 1.
        Self {
            revision: 1,
            compacted: 0,
            keys: BTreeMap::new(),
            log: VecDeque::new(),
            log_bytes: 0,
        }
    }
}

impl History {
    pub fn revision(&self) -> i64 {
        self.revision
    }

    pub fn newest(&self, key: &[u8]) -> Option<&KeyValue> {
        self.keys.get(key)?.back()?.live()
    }

    pub fn check_revision(&self, revision: i64) -> Result<()> {
        if revision > self.revision {
            return Err(Error::Invalid("required revision is a future revision".into()));
        }
        if revision > 0 && revision < self.compacted {
            return Err(Error::Compacted("required revision has been compacted".into()));
        }
        Ok(())
    }

    pub fn range(&self, range: &Range) -> Result<Found> {
        self.check_revision(range.revision)?;
        let mut found = Found { revision: self.revision, ..Found::default() };
        let in_order = range.is_in_key_order();
        let limit = if range.limit > 0 { range.limit as usize } else { usize::MAX };
        for kv in self.at(&range.keys, range.revision) {
            found.total += 1;
            if range.count_only || !range.filter.passes(kv) {
                continue;
            }
            if in_order && found.kvs.len() == limit {
                found.more = true;
                continue;
            }
            found.kvs.push(kv.clone());
        }
        if !in_order {
            range.arrange(&mut found.kvs);
            found.more = found.kvs.len() > limit;
            found.kvs.truncate(limit);
        }
        range.strip_values(&mut found.kvs);
        Ok(found)
    }

    /// What was live in a range at a revision; 0 for now.
    fn at<'a>(&'a self, keys: &KeyRange, revision: i64) -> impl Iterator<Item = &'a KeyValue> {
        let revision = if revision > 0 { revision } else { i64::MAX };
        self.versions(keys).filter_map(move |(_, versions)| {
            let newer = versions.partition_point(|version| version.kv.mod_revision <= revision);
            versions.get(newer.checked_sub(1)?)?.live()
        })
    }

    fn versions<'a>(&'a self, keys: &KeyRange) -> impl Iterator<Item = (&'a Bytes, &'a Versions)> {
        let from = &keys.key[..];
        let (first, last) = match &keys.end {
            RangeEnd::Single => (Bound::Included(from), Bound::Included(from)),
            // BTreeMap panics where the end is below the start.
            RangeEnd::Before(end) if end[..] <= *from => {
                (Bound::Included(from), Bound::Excluded(from))
            }
            RangeEnd::Before(end) => (Bound::Included(from), Bound::Excluded(&end[..])),
            RangeEnd::Unbounded => (Bound::Included(from), Bound::Unbounded),
        };
        self.keys.range::<[u8], _>((first, last))
    }

    pub fn live(&self, keys: &KeyRange) -> Vec<KeyValue> {
        self.at(keys, 0).cloned().collect()
    }

    pub fn put(&mut self, kv: KeyValue) {
        self.keys.entry(kv.key.clone()).or_default().push_back(Version { kv, deleted: false });
    }

    pub fn delete(&mut self, key: Bytes, revision: i64) {
        let kv = KeyValue { key: key.clone(), mod_revision: revision, ..KeyValue::default() };
        self.keys.entry(key).or_default().push_back(Version { kv, deleted: true });
    }

    /// Enters the changes of one revision, made by `put` and `delete`, in the log.
    pub fn commit(&mut self, revision: i64, events: Vec<Event>) {
        self.revision = revision;
        self.log_bytes += size(&events);
        self.log.push_back((revision, events));
        while self.log.len() > KEPT_REVISIONS || self.log_bytes > KEPT_BYTES {
            self.forget_oldest();
        }
    }

    /// Forgets all revisions before the newest one.
    pub fn compact(&mut self) {
        while self.log.front().is_some_and(|(revision, _)| *revision < self.revision) {
            self.forget_oldest();
        }
        self.compacted = self.revision;
    }

    fn forget_oldest(&mut self) {
        let Some((revision, events)) = self.log.pop_front() else { return };
        self.log_bytes -= size(&events);
        self.compacted = revision + 1;
        for event in events {
            let Some(versions) = self.keys.get_mut(&event.kv.key) else { continue };
            // The newest version at or below the compacted revision is still read.
            while versions.get(1).is_some_and(|next| next.kv.mod_revision <= self.compacted) {
                versions.pop_front();
            }
            if versions.len() == 1 && versions[0].deleted {
                self.keys.remove(&event.kv.key);
            }
        }
    }

    /// The log from revision `start` on; none if some of it is compacted.
    pub fn since(&self, start: i64) -> Option<impl Iterator<Item = &[Event]>> {
        if start < self.compacted {
            return None;
        }
        let first = self.log.partition_point(|(revision, _)| *revision < start);
        Some(self.log.range(first..).map(|(_, events)| &events[..]))
    }

    /// Whether the state before this revision can still be read.
    pub fn keeps_before(&self, revision: i64) -> bool {
        revision > self.compacted
    }
}

fn size(events: &[Event]) -> usize {
    let of = |event: &Event| {
        let prev = event.prev.as_ref().map_or(0, |prev| prev.value.len());
        event.kv.key.len() + event.kv.value.len() + prev + ENTRY
    };
    events.iter().map(of).sum()
}
