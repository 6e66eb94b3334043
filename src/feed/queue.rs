//! What waits for the consumer of a feed, and what was consumed.

use super::Item;
use crate::request::Found;
use crate::types::{Event, EventKind, KeyValue};
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

/// A full queue by size; one answer of the server may still go over it.
const BYTES: usize = 16 << 20;

/// Places that an empty queue keeps: after a burst it would keep those of the burst for
/// good, and there are thousands of queues.
const ROOM: usize = 32;

/// Cuts and returns that nobody took; beyond, a return cancels its cut.
const STATES: usize = 64;

/// What was last consumed of a key; 0 where it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub create: i64,
    pub modified: i64,
}

impl Seen {
    pub fn of(kv: &KeyValue) -> Self {
        Self { create: kv.create_revision, modified: kv.mod_revision }
    }
}

/// The keys that exist, as far as was consumed.
pub type Known = BTreeMap<Bytes, Seen>;

pub struct Queue {
    items: VecDeque<Item>,
    /// The keys that items are about, where some kinds are hidden.
    told: HashMap<Bytes, Told>,
    /// Those that wait, and their size, but for those that were listed: they are in
    /// front, and do not make a queue full.
    waiting: usize,
    bytes: usize,
    listed: usize,
    states: usize,
    /// The last state that was consumed.
    is_cut: bool,
    max: usize,
    hidden: Hidden,
    known: Known,
    /// The first revision of which changes are told.
    floor: i64,
    /// A snapshot was promised whose end was not consumed yet.
    unsynced: bool,
}

/// What waits of one key. A hidden change is noted when the last of it is consumed, and
/// at once where nothing of its key waits: it takes no room of its own.
#[derive(Default)]
struct Told {
    count: usize,
    /// The state that a hidden change left after them; none if it deleted the key.
    hidden_after: Option<Option<Seen>>,
}

/// Changes that are not told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hidden {
    pub puts: bool,
    pub deletes: bool,
}

impl Hidden {
    fn has(self, kind: EventKind) -> bool {
        match kind {
            EventKind::Put => self.puts,
            EventKind::Delete => self.deletes,
        }
    }
}

impl Queue {
    pub fn new(max: usize, hidden: Hidden, floor: i64, known: Known) -> Self {
        Self {
            items: VecDeque::new(),
            told: HashMap::new(),
            waiting: 0,
            bytes: 0,
            listed: 0,
            states: 0,
            is_cut: false,
            max,
            hidden,
            known,
            floor,
            unsynced: false,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn is_full(&self) -> bool {
        self.waiting > self.max || self.bytes > BYTES
    }

    pub fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        if self.items.is_empty() && self.items.capacity() > ROOM {
            self.items = VecDeque::new();
        }
        if self.listed > 0 {
            self.listed -= 1;
        } else {
            self.waiting -= 1;
            self.bytes -= size(&item);
        }
        match &item {
            Item::Change { event, .. } => {
                self.note(&event.kv.key, state(event));
                if let Some(state) = self.leave(&event.kv.key) {
                    self.note(&event.kv.key, state);
                }
            }
            Item::Synced(_) => self.unsynced = false,
            Item::Cut(_) | Item::Back => {
                self.states -= 1;
                self.is_cut = matches!(item, Item::Cut(_));
            }
            Item::Resync { .. } => {}
        }
        Some(item)
    }

    fn note(&mut self, key: &Bytes, state: Option<Seen>) {
        match state {
            Some(seen) => self.known.insert(key.clone(), seen),
            None => self.known.remove(key),
        };
    }

    /// One less waits of this key; tells what hidden changes left after the last.
    fn leave(&mut self, key: &Bytes) -> Option<Option<Seen>> {
        let told = self.told.get_mut(key)?;
        told.count -= 1;
        let none_left = told.count == 0;
        none_left.then(|| self.told.remove(key)).flatten()?.hidden_after
    }

    fn push(&mut self, item: Item) {
        if let Item::Change { event, .. } = &item {
            if self.hidden.puts || self.hidden.deletes {
                let told = self.told.entry(event.kv.key.clone()).or_default();
                told.count += 1;
                told.hidden_after = None; // it is told later anyway
            }
        }
        self.waiting += 1;
        self.bytes += size(&item);
        self.items.push_back(item);
    }

    fn hide(&mut self, event: &Event) {
        match self.told.get_mut(&event.kv.key) {
            Some(told) => told.hidden_after = Some(state(event)),
            None => self.note(&event.kv.key, state(event)),
        }
    }

    /// All that waits is a list, which does not make the queue full.
    fn list(&mut self) {
        self.listed += self.waiting;
        (self.waiting, self.bytes) = (0, 0);
    }

    /// Queues whole revisions; the last that is told of each is marked.
    pub fn changes(&mut self, events: Vec<Event>) {
        let told = events.iter().enumerate().filter(|(_, event)| !self.hidden.has(event.kind));
        let last: BTreeMap<i64, usize> = told.map(|(at, event)| (event.revision(), at)).collect();
        for (at, event) in events.into_iter().enumerate() {
            if self.hidden.has(event.kind) {
                self.hide(&event);
                continue;
            }
            let revision = event.revision();
            let last = last.get(&revision) == Some(&at);
            self.push(Item::Change { event, last, revision });
        }
    }

    /// Queues the present state, as the beginning.
    pub fn snapshot(&mut self, found: Found) {
        self.unsynced = true;
        let revision = found.revision;
        for kv in found.kvs {
            self.push(Item::Change { event: Event::put(kv, None), last: false, revision });
        }
        self.push(Item::Synced(revision));
        self.list();
    }

    /// Queues the difference of the present state to what was consumed. A key that
    /// was created anew counts as deleted and stored. In another store all keys are news:
    /// its revisions have nothing to do with those that were consumed.
    pub fn difference(&mut self, found: Found, why: &str, another: bool) {
        let revision = found.revision;
        let another = another || revision < self.floor;
        if another {
            self.floor = 0;
        }
        let mut gone = self.known.clone();
        let mut events = Vec::new();
        for kv in found.kvs {
            let seen = gone.remove(&kv.key);
            if seen.is_some_and(|seen| seen.create != 0 && seen.create != kv.create_revision) {
                events.push(Event::delete(kv.key.clone(), kv.create_revision, None));
            }
            let news = another || seen.is_none_or(|seen| seen.modified != kv.mod_revision);
            if news && (kv.mod_revision >= self.floor || self.unsynced) {
                events.push(Event::put(kv, None));
            }
        }
        events.extend(gone.into_keys().map(|key| Event::delete(key, revision, None)));
        for event in events {
            // A snapshot is told whatever is hidden of the changes.
            if self.hidden.has(event.kind) && !self.unsynced {
                self.hide(&event);
            } else {
                self.push(Item::Change { event, last: false, revision });
            }
        }
        self.push(if self.unsynced {
            Item::Synced(revision)
        } else {
            Item::Resync { revision, why: why.to_owned() }
        });
        self.list();
    }

    pub fn cut(&mut self, why: String) {
        self.states += 1;
        self.push(Item::Cut(why));
    }

    pub fn back(&mut self) {
        let last_is_cut = matches!(self.items.back(), Some(Item::Cut(_)));
        if self.states >= STATES && last_is_cut && self.waiting > 0 {
            if let Some(cut) = self.items.pop_back() {
                self.states -= 1;
                self.waiting -= 1;
                self.bytes -= size(&cut);
            }
            return;
        }
        self.states += 1;
        self.push(Item::Back);
    }

    /// Keeps of each key the last change. True if that made room.
    pub fn coalesce(&mut self) -> bool {
        let mut later = HashSet::new();
        let mut next_revision = None;
        let mut kept = VecDeque::new();
        (self.waiting, self.bytes) = (0, 0);
        // What was listed is complete as it is.
        let waiting: Vec<Item> = self.items.drain(self.listed..).collect();
        for mut item in waiting.into_iter().rev() {
            if let Item::Change { event, last, revision } = &mut item {
                if !later.insert(event.kv.key.clone()) {
                    self.leave(&event.kv.key); // it is not the last one
                    continue;
                }
                *last = next_revision.replace(*revision) != Some(*revision);
            }
            self.waiting += 1;
            self.bytes += size(&item);
            kept.push_front(item);
        }
        self.items.extend(kept);
        self.waiting <= self.max - self.max / 4 && self.bytes <= BYTES - BYTES / 4
    }

    /// Drops all but the last state, where that is another than the consumer knows: it
    /// is not told of again.
    pub fn drop_changes(&mut self) {
        let is_state = |item: &Item| matches!(item, Item::Cut(_) | Item::Back);
        let last = std::mem::take(&mut self.items).into_iter().rfind(is_state);
        self.clear();
        if let Some(state) = last.filter(|state| matches!(state, Item::Cut(_)) != self.is_cut) {
            self.states += 1;
            self.push(state);
        }
    }

    pub fn clear(&mut self) {
        self.items.clear();
        self.told.clear();
        (self.waiting, self.bytes, self.listed, self.states) = (0, 0, 0, 0);
    }
}

fn state(event: &Event) -> Option<Seen> {
    match event.kind {
        EventKind::Put => Some(Seen::of(&event.kv)),
        EventKind::Delete => None,
    }
}

fn size(item: &Item) -> usize {
    let of = |kv: &KeyValue| kv.key.len() + kv.value.len();
    match item {
        Item::Change { event, .. } => of(&event.kv) + event.prev.as_ref().map_or(0, of),
        Item::Resync { why, .. } | Item::Cut(why) => why.len(),
        Item::Synced(_) | Item::Back => 0,
    }
}

#[cfg(test)]
mod tests;
