//! Who wants to know of which changes.

use super::history::History;
use crate::backend::{Notice, WatchSink};
use crate::types::{Event, KeyRange, RangeEnd};
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
    keys: KeyRange,
    sink: Arc<dyn WatchSink>,
}

impl Watches {
    /// Tells of all changes from `start` on: first those in the history, then each
    /// as it is published.
    pub fn add(
        &mut self,
        keys: KeyRange,
        start: i64,
        sink: Arc<dyn WatchSink>,
        history: &History,
    ) -> u64 {
        let id = self.next;
        self.next += 1;
        let Some(log) = history.since(start) else {
            sink.notice(Notice::Compacted);
            return id;
        };
        let mut wanted = sink.notice(Notice::Started);
        for events in log {
            let matching: Vec<Event> =
                events.iter().filter(|event| keys.contains(&event.kv.key)).cloned().collect();
            wanted = wanted && (matching.is_empty() || sink.notice(Notice::Events(matching)));
            if !wanted {
                return id;
            }
        }
        match keys.end {
            RangeEnd::Single => self.by_key.entry(keys.key.clone()).or_default().push(id),
            _ => self.ranges.push(id),
        }
        self.all.insert(id, Watch { keys, sink });
        id
    }

    pub fn remove(&mut self, id: u64) -> Option<Watch> {
        let watch = self.all.remove(&id)?;
        if watch.keys.end == RangeEnd::Single {
            if let Some(ids) = self.by_key.get_mut(&watch.keys.key) {
                ids.retain(|other| *other != id);
                if ids.is_empty() {
                    self.by_key.remove(&watch.keys.key);
                }
            }
        } else {
            self.ranges.retain(|other| *other != id);
        }
        Some(watch)
    }

    /// Tells of the changes of one revision.
    pub fn publish(&mut self, events: &[Event]) {
        let mut told: Vec<u64> = self.ranges.clone();
        for event in events {
            told.extend(self.by_key.get(&event.kv.key).into_iter().flatten());
        }
        told.sort_unstable();
        told.dedup();
        for id in told {
            let Some(watch) = self.all.get(&id) else { continue };
            let matching: Vec<Event> =
                events.iter().filter(|event| watch.keys.contains(&event.kv.key)).cloned().collect();
            if !matching.is_empty() && !watch.sink.notice(Notice::Events(matching)) {
                self.remove(id);
            }
        }
    }
}
