//! Keys and values at every revision that is kept.

use crate::error::{Error, Result};
use crate::request::{Found, Range};
use crate::types::{Event, KeyRange, KeyValue};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};

/// How much history is kept at least, for watches that lag behind.
const KEPT_REVISIONS: usize = 100_000;
const KEPT_BYTES: usize = 64 << 20;

/// What an entry of the log costs beside its keys and values.
const ENTRY: usize = 256;

pub struct History {
    revision: i64,
    /// Revisions below this one are gone.
    compacted: i64,
    /// The keys that are there, and those that only were: reading what is there must
    /// not take longer for all that was.
    there: BTreeMap<Bytes, Versions>,
    gone: BTreeMap<Bytes, Versions>,
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
            there: BTreeMap::new(),
            gone: BTreeMap::new(),
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
        self.there.get(key)?.back()?.live()
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
        Ok(range.select(self.at(&range.keys, range.revision), self.revision))
    }

    /// What was there in a range at a revision; 0 for now.
    fn at<'a>(
        &'a self,
        keys: &KeyRange,
        revision: i64,
    ) -> Box<dyn Iterator<Item = &'a KeyValue> + 'a> {
        let there = self.there.range::<[u8], _>(keys.bounds());
        if revision <= 0 {
            return Box::new(there.filter_map(|(_, versions)| versions.back()?.live()));
        }
        let mut all: Vec<_> = there.chain(self.gone.range::<[u8], _>(keys.bounds())).collect();
        all.sort_unstable_by_key(|(key, _)| *key);
        Box::new(all.into_iter().filter_map(move |(_, versions)| {
            let newer = versions.partition_point(|version| version.kv.mod_revision <= revision);
            versions.get(newer.checked_sub(1)?)?.live()
        }))
    }

    pub fn live(&self, keys: &KeyRange) -> Vec<KeyValue> {
        self.at(keys, 0).cloned().collect()
    }

    pub fn put(&mut self, kv: KeyValue) {
        let key = kv.key.clone();
        let version = Version { kv, deleted: false };
        if let Some(versions) = self.there.get_mut(&key) {
            return versions.push_back(version);
        }
        let mut versions = self.gone.remove(&key).unwrap_or_default();
        versions.push_back(version);
        self.there.insert(key, versions);
    }

    pub fn delete(&mut self, key: Bytes, revision: i64) {
        let kv = KeyValue { key: key.clone(), mod_revision: revision, ..KeyValue::default() };
        let mut versions = self.there.remove(&key).unwrap_or_default();
        versions.push_back(Version { kv, deleted: true });
        self.gone.insert(key, versions);
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
            let key = &event.kv.key;
            let versions = self.there.get_mut(key).or_else(|| self.gone.get_mut(key));
            let Some(versions) = versions else { continue };
            // The newest version at or below the compacted revision is still read.
            while versions.get(1).is_some_and(|next| next.kv.mod_revision <= self.compacted) {
                versions.pop_front();
            }
            if versions.len() == 1 && versions[0].deleted {
                self.gone.remove(key);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::EventKind;

    #[test]
    fn keys_that_are_gone_are_apart_and_forgotten_by_compaction() {
        let (mut history, all) = (History::default(), KeyRange::prefix(b""));
        let kv =
            |revision| KeyValue { key: "a".into(), mod_revision: revision, ..Default::default() };
        let event = |kv: KeyValue, kind| vec![Event { kind, kv, prev: None }];
        let at = |history: &History, revision| history.at(&all, revision).count();
        history.put(kv(2));
        history.commit(2, event(kv(2), EventKind::Put));
        history.delete("a".into(), 3);
        history.commit(3, event(kv(3), EventKind::Delete));
        assert_eq!((history.there.len(), history.gone.len()), (0, 1));
        assert_eq!((at(&history, 0), at(&history, 2), at(&history, 3)), (0, 1, 0));
        history.put(kv(4));
        history.commit(4, event(kv(4), EventKind::Put));
        assert_eq!((history.there.len(), history.gone.len()), (1, 0));
        assert_eq!((at(&history, 0), at(&history, 2), at(&history, 3)), (1, 1, 0));
        history.delete("a".into(), 5);
        history.commit(5, event(kv(5), EventKind::Delete));
        history.compact();
        history.put(KeyValue { key: "b".into(), mod_revision: 6, ..Default::default() });
        history.commit(6, Vec::new());
        history.compact();
        assert_eq!((history.there.len(), history.gone.len()), (1, 0));
    }
}
