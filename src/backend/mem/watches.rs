//! Who wants to know of which changes.

use super::history::History;
use crate::backend::{Notice, Wanted, WatchSink};
use crate::types::{Event, RangeEnd};
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

#[derive(Default)]
pub struct Watches {
    next: u64,
    all: HashMap<u64, Watch>,
    /// Watches of one key, by it.
    by_key: HashMap<Bytes, Vec<u64>>,
    /// The others.
    ranges: Vec<u64>,
    /// Handles that are cut off, for this reason, and their watches.
    cut: HashMap<u64, &'static str>,
    waiting: BTreeMap<u64, Watch>,
}

pub struct Watch {
    handle: u64,
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
    /// as it is published. Of a handle that is cut off it waits.
    pub fn add(
        &mut self,
        handle: u64,
        wanted: Wanted,
        sink: Arc<dyn WatchSink>,
        history: &History,
    ) -> u64 {
        let id = self.next;
        self.next += 1;
        let watch = Watch { handle, wanted, sink };
        match self.cut.get(&handle) {
            Some(why) => self.wait(id, watch, why),
            None => self.begin(id, watch, history),
        }
        id
    }

    fn begin(&mut self, id: u64, watch: Watch, history: &History) {
        let Watch { wanted, sink, .. } = &watch;
        let mut go_on = sink.notice(Notice::Started);
        let Some(log) = history.since(wanted.start) else {
            sink.notice(Notice::Compacted);
            return;
        };
        for events in log {
            let mut matching = wanted.matching(events);
            let former = matching.iter_mut().filter(|it| !history.keeps_before(it.revision()));
            former.for_each(|event| event.prev = None);
            go_on = go_on && (matching.is_empty() || sink.notice(Notice::Events(matching)));
            if !go_on {
                return;
            }
        }
        match wanted.keys.end {
            RangeEnd::Single => self.by_key.entry(wanted.keys.key.clone()).or_default().push(id),
            _ => self.ranges.push(id),
        }
        self.all.insert(id, watch);
    }

    fn wait(&mut self, id: u64, watch: Watch, why: &str) {
        if watch.sink.notice(Notice::Cut(why.to_owned())) {
            self.waiting.insert(id, watch);
        }
    }

    /// Has the watches of a handle wait for [`Watches::resume`].
    pub fn cut(&mut self, handle: u64, why: &'static str, history: &History) {
        self.cut.insert(handle, why);
        let theirs = self.all.iter().filter(|(_, watch)| watch.handle == handle);
        let theirs: Vec<u64> = theirs.map(|(id, _)| *id).collect();
        for id in theirs {
            let Some(mut watch) = self.remove(id) else { continue };
            watch.wanted.start = watch.wanted.start.max(history.revision() + 1);
            self.wait(id, watch, why);
        }
    }

    pub fn resume(&mut self, handle: u64, history: &History) {
        self.cut.remove(&handle);
        let waiting = std::mem::take(&mut self.waiting);
        for (id, watch) in waiting {
            if watch.handle == handle {
                self.begin(id, watch, history);
            } else {
                self.waiting.insert(id, watch);
            }
        }
    }

    pub fn remove(&mut self, id: u64) -> Option<Watch> {
        if let waiting @ Some(_) = self.waiting.remove(&id) {
            return waiting;
        }
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
