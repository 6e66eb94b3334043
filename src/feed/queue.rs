//! What waits for the consumer of a feed, and what was consumed.

use super::Item;
use crate::request::Found;
use crate::types::{Event, EventKind, KeyValue};
use bytes::Bytes;
use std::collections::{BTreeMap, HashSet, VecDeque};

/// A full queue by size; one answer of the server may still go over it.
const BYTES: usize = 16 << 20;

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
    entries: VecDeque<Entry>,
    /// Hidden changes after the last entry.
    hidden_last: Changes,
    /// Told ones that wait, and their size, but for those that were listed: they are
    /// in front, and do not make a queue full.
    waiting: usize,
    bytes: usize,
    listed: usize,
    states: usize,
    max: usize,
    hidden: Hidden,
    known: Known,
    /// The first revision of which changes are told.
    floor: i64,
    /// A snapshot was promised whose end was not consumed yet.
    unsynced: bool,
}

enum Entry {
    Told(Item),
    /// What happened between two that are told.
    Hidden(Changes),
}

/// Of each key the last state; none if it was deleted.
type Changes = BTreeMap<Bytes, Option<Seen>>;

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
            entries: VecDeque::new(),
            hidden_last: Changes::new(),
            waiting: 0,
            bytes: 0,
            listed: 0,
            states: 0,
            max,
            hidden,
            known,
            floor,
            unsynced: false,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn is_full(&self) -> bool {
        self.waiting > self.max || self.bytes > BYTES
    }

    pub fn pop(&mut self) -> Option<Item> {
        loop {
            match self.entries.pop_front() {
                Some(Entry::Told(item)) => {
                    self.consumed(&item);
                    return Some(item);
                }
                Some(Entry::Hidden(changes)) => self.note(changes),
                None => {
                    let changes = std::mem::take(&mut self.hidden_last);
                    self.note(changes);
                    return None;
                }
            }
        }
    }

    fn consumed(&mut self, item: &Item) {
        if self.listed > 0 {
            self.listed -= 1;
        } else {
            self.waiting -= 1;
            self.bytes -= size(item);
        }
        match item {
            Item::Change { event, .. } => {
                self.note(Changes::from([(event.kv.key.clone(), state(event))]));
            }
            Item::Synced(_) => self.unsynced = false,
            Item::Cut(_) | Item::Back => self.states -= 1,
            Item::Resync { .. } => {}
        }
    }

    fn note(&mut self, changes: Changes) {
        for (key, state) in changes {
            match state {
                Some(seen) => self.known.insert(key, seen),
                None => self.known.remove(&key),
            };
        }
    }

    fn push(&mut self, item: Item) {
        if !self.hidden_last.is_empty() {
            self.entries.push_back(Entry::Hidden(std::mem::take(&mut self.hidden_last)));
        }
        self.waiting += 1;
        self.bytes += size(&item);
        self.entries.push_back(Entry::Told(item));
    }

    fn hide(&mut self, event: &Event) {
        let change = (event.kv.key.clone(), state(event));
        if self.is_empty() {
            self.note(Changes::from([change]));
        } else {
            self.hidden_last.insert(change.0, change.1);
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
    /// was created anew counts as deleted and stored.
    pub fn difference(&mut self, found: Found, why: &str) {
        let revision = found.revision;
        if revision < self.floor {
            self.floor = 0; // another store
        }
        let mut gone = self.known.clone();
        let mut events = Vec::new();
        for kv in found.kvs {
            let seen = gone.remove(&kv.key);
            if seen.is_some_and(|seen| seen.create != 0 && seen.create != kv.create_revision) {
                events.push(Event::delete(kv.key.clone(), kv.create_revision, None));
            }
            let news = seen.is_none_or(|seen| seen.modified != kv.mod_revision);
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
        let last_is_cut = matches!(self.entries.back(), Some(Entry::Told(Item::Cut(_))));
        if self.states >= STATES && last_is_cut && self.waiting > 0 {
            if let Some(Entry::Told(cut)) = self.entries.pop_back() {
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
        // What was listed is complete as it is.
        let mut listed = self.listed;
        let told = |entry: &Entry| matches!(entry, Entry::Told(_));
        let begin = self.entries.iter().position(|entry| {
            let is_listed = listed > 0;
            listed -= usize::from(is_listed && told(entry));
            !is_listed
        });
        let begin = begin.unwrap_or(self.entries.len());
        let mut later = HashSet::new();
        let mut next_revision = None;
        let mut kept = VecDeque::new();
        (self.waiting, self.bytes) = (0, 0);
        for mut entry in self.entries.drain(begin..).rev() {
            if let Entry::Told(item) = &mut entry {
                if let Item::Change { event, last, revision } = item {
                    if !later.insert(event.kv.key.clone()) {
                        continue;
                    }
                    *last = next_revision.replace(*revision) != Some(*revision);
                }
                self.waiting += 1;
                self.bytes += size(item);
            }
            kept.push_front(entry);
        }
        self.entries.extend(kept);
        self.waiting <= self.max - self.max / 4 && self.bytes <= BYTES - BYTES / 4
    }

    pub fn clear(&mut self) {
        self.entries.clear();
        self.hidden_last.clear();
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
mod tests {
    use super::*;

    fn put(key: &'static str, create: i64, modified: i64) -> Event {
        let kv = KeyValue {
            key: key.into(),
            create_revision: create,
            mod_revision: modified,
            ..KeyValue::default()
        };
        Event::put(kv, None)
    }

    fn delete(key: &'static str, revision: i64) -> Event {
        Event::delete(key.into(), revision, None)
    }

    fn queue(max: usize, hidden: Hidden) -> Queue {
        Queue::new(max, hidden, 1, Known::new())
    }

    /// Everything, as text: `+key@revision`, `-key@revision`, `.` after the last.
    fn drain(queue: &mut Queue) -> String {
        let mut text = Vec::new();
        while let Some(item) = queue.pop() {
            text.push(match item {
                Item::Change { event, last, .. } => {
                    let sign = if event.kind == EventKind::Put { '+' } else { '-' };
                    let key = event.kv.key.escape_ascii();
                    format!("{sign}{key}@{}{}", event.revision(), if last { "." } else { "" })
                }
                Item::Synced(revision) => format!("synced@{revision}"),
                Item::Resync { revision, .. } => format!("resync@{revision}"),
                Item::Cut(_) => "cut".into(),
                Item::Back => "back".into(),
            });
        }
        assert_eq!((queue.waiting, queue.bytes, queue.listed, queue.states), (0, 0, 0, 0));
        text.join(" ")
    }

    fn found(revision: i64, events: &[Event]) -> Found {
        let kvs = events.iter().map(|event| event.kv.clone()).collect();
        Found { kvs, revision, ..Found::default() }
    }

    #[test]
    fn the_last_told_of_a_revision_is_marked() {
        let events = || vec![put("a", 2, 2), delete("b", 2), put("a", 2, 3), delete("c", 4)];
        let mut all = queue(9, Hidden::default());
        all.changes(events());
        assert_eq!(drain(&mut all), "+a@2 -b@2. +a@3. -c@4.");
        let mut puts = queue(9, Hidden { puts: false, deletes: true });
        puts.changes(events());
        assert_eq!(drain(&mut puts), "+a@2. +a@3.");
    }

    #[test]
    fn hidden_changes_take_no_room_and_count_for_what_is_known() {
        let mut queue = queue(2, Hidden { puts: true, deletes: false });
        queue.changes(vec![put("a", 2, 2), delete("b", 3)]);
        queue.changes((4..100).map(|revision| put("a", 2, revision)).collect());
        queue.changes(vec![put("c", 100, 100), delete("a", 101)]);
        assert!(!queue.is_full());
        assert_eq!(drain(&mut queue), "-b@3. -a@101.");
        queue.difference(found(102, &[put("c", 100, 100)]), "");
        assert_eq!(drain(&mut queue), "resync@102");
    }

    #[test]
    fn coalescing_keeps_the_last_of_each_key_and_whole_snapshots() {
        let mut queue = queue(4, Hidden::default());
        queue.snapshot(found(3, &[put("a", 2, 2), put("b", 3, 3)]));
        queue.changes(vec![put("a", 2, 4), put("b", 3, 4), put("a", 2, 5), delete("a", 6)]);
        assert!(queue.coalesce());
        assert_eq!(drain(&mut queue), "+a@2 +b@3 synced@3 +b@4. -a@6.");
    }

    #[test]
    fn what_was_listed_makes_no_queue_full() {
        let mut queue = queue(1, Hidden::default());
        queue.snapshot(found(3, &[put("a", 2, 2), put("b", 3, 3)]));
        queue.changes(vec![put("a", 2, 4)]);
        assert!(!queue.is_full());
        queue.changes(vec![put("a", 2, 5)]);
        assert!(queue.is_full());
        assert_eq!(drain(&mut queue), "+a@2 +b@3 synced@3 +a@4. +a@5.");
    }

    #[test]
    fn the_difference_is_that_to_what_was_consumed() {
        let mut queue = queue(9, Hidden::default());
        queue.changes(vec![put("same", 2, 2), put("new value", 3, 3), put("anew", 4, 4)]);
        queue.changes(vec![put("gone", 5, 5), put("gone and not seen", 6, 6)]);
        for _ in 0..4 {
            queue.pop();
        }
        queue.clear();
        let now =
            [put("anew", 8, 8), put("new value", 3, 9), put("other", 7, 7), put("same", 2, 2)];
        queue.difference(found(10, &now), "");
        let expected = "-anew@8 +anew@8 +new value@9 +other@7 -gone@10 resync@10";
        assert_eq!(drain(&mut queue), expected);
    }

    #[test]
    fn of_another_store_all_is_news() {
        let mut queue = Queue::new(9, Hidden::default(), 100, Known::new());
        queue.changes(vec![put("a", 101, 102), put("b", 103, 103)]);
        drain(&mut queue);
        queue.difference(found(5, &[put("a", 2, 2), put("c", 3, 3)]), "");
        assert_eq!(drain(&mut queue), "-a@2 +a@2 +c@3 -b@5 resync@5");
    }

    #[test]
    fn a_snapshot_that_was_dropped_is_told_as_one() {
        let mut queue = queue(9, Hidden { puts: true, deletes: true });
        queue.snapshot(found(3, &[put("a", 2, 2)]));
        queue.clear();
        queue.difference(found(4, &[put("a", 2, 2)]), "");
        assert_eq!(drain(&mut queue), "+a@2 synced@4");
    }

    #[test]
    fn cuts_that_nobody_takes_are_bounded() {
        let mut queue = queue(9, Hidden::default());
        for _ in 0..1000 {
            queue.cut(String::new());
            queue.back();
        }
        assert!(queue.entries.len() <= STATES + 1);
        drain(&mut queue);
    }
}
