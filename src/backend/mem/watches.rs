//! Who wants to know of which changes.

use super::history::History;
use crate::backend::{Notice, Wanted, WatchSink};
use crate::types::{Event, RangeEnd};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;

#[derive(Default)]
pub struct Watches {
    next: u64,
    all: HashMap<u64, Watch>,
    /// Watches of one key, by it.
    by_key: HashMap<Bytes, Vec<u64>>,
    /// The others.
    ranges: Vec<u64>,
}

pub struct Watch {
    wanted: Wanted,
    sink: Arc<dyn WatchSink>,
}

impl Wanted {
    /// Those of its keys, with the former ones only as far as they are asked for.
    fn matching(&self, events: &[Event]) -> Vec<Event> {
        let mut matching: Vec<Event> =
            events.iter().filter(|event| self.keys.contains(&event.kv.key)).cloned().collect();
        if !self.prev {
            matching.iter_mut().for_each(|event| event.prev = None);
        }
        matching
    }
}

impl Watches {
    /// Tells of all changes from `start` on: first those in the history, then each
    /// as it is published.
    pub fn add(&mut self, wanted: Wanted, sink: Arc<dyn WatchSink>, history: &History) -> u64 {
        let id = self.next;
        self.next += 1;
        let Some(log) = history.since(wanted.start) else {
            sink.notice(Notice::Compacted);
            return id;
        };
        let mut go_on = sink.notice(Notice::Started);
        for events in log {
            let mut matching = wanted.matching(events);
            let former = matching.iter_mut().filter(|it| !history.keeps_before(it.revision()));
            former.for_each(|event| event.prev = None);
            go_on = go_on && (matching.is_empty() || sink.notice(Notice::Events(matching)));
            if !go_on {
                return id;
            }
        }
        match wanted.keys.end {
            RangeEnd::Single => self.by_key.entry(wanted.keys.key.clone()).or_default().push(id),
            _ => self.ranges.push(id),
        }
        self.all.insert(id, Watch { wanted, sink });
        id
    }

    pub fn remove(&mut self, id: u64) -> Option<Watch> {
        let watch = self.all.remove(&id)?;
        let keys = &watch.wanted.keys;
        if keys.end == RangeEnd::Single {
            if let Some(ids) = self.by_key.get_mut(&keys.key) {
                ids.retain(|other| *other != id);
                if ids.is_empty() {
                    self.by_key.remove(&keys.key);
                }
            }
        } else {
            self.ranges.retain(|other| *other != id);
        }
        Some(watch)
    }

    /// Tells of the changes of one revision.
    pub fn publish(&mut self, revision: i64, events: &[Event]) {
        let mut told: Vec<u64> = self.ranges.clone();
        for event in events {
            told.extend(self.by_key.get(&event.kv.key).into_iter().flatten());
        }
        told.sort_unstable();
        told.dedup();
        for id in told {
            let Some(watch) = self.all.get(&id) else { continue };
            // One that is to begin later waits for that.
            if watch.wanted.start > revision {
                continue;
            }
            let matching = watch.wanted.matching(events);
            if !matching.is_empty() && !watch.sink.notice(Notice::Events(matching)) {
                self.remove(id);
            }
        }
    }
}
