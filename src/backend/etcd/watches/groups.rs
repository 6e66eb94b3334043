//! Who wants which changes. Watchers of one range share one watch of the server.

use crate::backend::{Notice, Wanted, WatchSink};
use crate::error::Error;
use crate::log::{log, Level};
use crate::types::{Event, EventKind, KeyRange, KeyValue, RangeEnd};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;

#[derive(Default)]
pub struct Groups {
    all: HashMap<u64, Group>,
    /// Those of one range; the first takes new members. Others stand at another
    /// revision, until they have caught up.
    by_range: HashMap<(KeyRange, bool), Vec<u64>>,
    of_member: HashMap<u64, u64>,
    /// Which the server means by its ids, on the present stream.
    by_server_id: HashMap<i64, u64>,
    next: u64,
    next_server_id: i64,
    partial: Option<Partial>,
}

/// A revision whose last events are still to come. There is one at most: what the server
/// sends in pieces it sends with nothing in between.
struct Partial {
    group: u64,
    events: Vec<Event>,
    bytes: usize,
}

const LEFT_OUT: &str = "the server left a change out";
const TOO_LARGE: &str = "the events of one revision take too much memory";

/// A larger revision is not collected: those who watch get the difference that it makes.
const PARTIAL_MOST: usize = 256 << 20;

/// One watch of the server.
struct Group {
    /// From the first revision that the members have not got.
    wanted: Wanted,
    server_id: i64,
    /// By the server, on the present stream.
    confirmed: bool,
    /// Likewise, on this stream or an earlier one.
    begun: bool,
    /// Started was told, and no Cut since.
    told: bool,
    /// What the server watches from.
    asked: i64,
    members: Vec<Member>,
    /// That of the last change, of a single key; 0 after a deletion.
    version: Option<i64>,
}

struct Member {
    id: u64,
    start: i64,
    sink: Arc<dyn WatchSink>,
}

/// The server's ids of watches that nobody needs any more.
pub type Unneeded = Vec<i64>;

impl Partial {
    fn new(group: u64, events: Vec<Event>) -> Self {
        Self { group, bytes: bytes(&events), events }
    }

    fn append(&mut self, mut events: Vec<Event>) {
        self.bytes += bytes(&events);
        self.events.append(&mut events);
    }

    /// The whole revisions, and the last one if it may go on.
    fn split(mut self, more: bool) -> (Vec<Event>, Option<Self>) {
        let Some(last) = self.events.last().filter(|_| more).map(Event::revision) else {
            return (self.events, None);
        };
        match self.events.partition_point(|event| event.revision() < last) {
            0 => (Vec::new(), Some(self)),
            whole => {
                let rest = self.events.split_off(whole);
                (self.events, Some(Self::new(self.group, rest)))
            }
        }
    }
}

fn bytes(events: &[Event]) -> usize {
    let of = |kv: &KeyValue| kv.key.len() + kv.value.len();
    let all = events.iter().map(|event| of(&event.kv) + event.prev.as_ref().map_or(0, of));
    all.sum::<usize>() + size_of_val(events)
}

impl Group {
    /// Which of the changes of a single key cannot be the one after that before it, by
    /// its version.
    fn first_gap(&mut self, events: &[Event]) -> Option<usize> {
        if self.wanted.keys.end != RangeEnd::Single {
            return None;
        }
        events.iter().position(|event| {
            let next = match event.kind {
                EventKind::Delete => Some(0),
                EventKind::Put => Some(event.kv.version).filter(|version| *version > 0),
            };
            let before = std::mem::replace(&mut self.version, next);
            let Some((before, next)) = before.zip(next) else { return false };
            let follows = if next == 0 { before > 0 } else { next == before + 1 };
            !follows
        })
    }
}

impl Groups {
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub fn ids(&self) -> Vec<u64> {
        self.all.keys().copied().collect()
    }

    /// Adds a watcher; what is returned is to be put on the stream.
    pub fn add(&mut self, id: u64, wanted: Wanted, sink: Arc<dyn WatchSink>) -> Option<u64> {
        let member = Member { id, start: wanted.start, sink };
        let same = self.by_range.entry((wanted.keys.clone(), wanted.prev)).or_default();
        let first = same.first().and_then(|first| self.all.get_mut(first).map(|it| (*first, it)));
        if let Some((at, group)) = first.filter(|(_, group)| group.wanted.start <= wanted.start) {
            if group.confirmed && !member.sink.notice(Notice::Started) {
                return None;
            }
            group.members.push(member);
            self.of_member.insert(id, at);
            return None;
        }
        let at = self.next;
        self.next += 1;
        same.push(at);
        self.of_member.insert(id, at);
        let group = Group {
            begun: wanted.resumed,
            wanted,
            server_id: 0,
            confirmed: false,
            told: false,
            asked: 0,
            members: vec![member],
            version: None,
        };
        self.all.insert(at, group);
        Some(at)
    }

    /// A key of each.
    pub fn keys(&self) -> impl Iterator<Item = Bytes> + '_ {
        self.all.values().map(|group| group.wanted.keys.key.clone())
    }

    /// The server lets the user begin no watch. Those that it let before go on when it
    /// does again.
    pub fn refuse(&mut self, why: &Error) {
        let unbegun = self.all.iter().filter(|(_, group)| !group.begun);
        for group in unbegun.map(|(group, _)| *group).collect::<Vec<_>>() {
            self.end(group, Notice::Failed(why.clone()));
        }
    }

    /// What the server is to watch for a group, and by which id, when its store was seen
    /// at revision `highest`.
    ///
    /// What begins in the past begins one revision before that, of which nothing is
    /// delivered: a server that has compacted a deletion at the very start says neither
    /// that it is gone nor that it was. What is to come is asked for as it is, because
    /// of the past the server may tell only 100 ms later.
    pub fn stand(&mut self, group: u64, highest: i64) -> Option<(i64, Wanted)> {
        let standing = self.all.get_mut(&group)?;
        self.by_server_id.remove(&standing.server_id);
        self.next_server_id += 1;
        standing.server_id = self.next_server_id;
        self.by_server_id.insert(standing.server_id, group);
        let start = standing.wanted.start;
        let is_past = standing.begun || start <= highest;
        standing.asked = if is_past { (start - 1).max(1) } else { start };
        Some((standing.server_id, Wanted { start: standing.asked, ..standing.wanted.clone() }))
    }

    /// Whether the server, whose store had this revision, began with one that was in the
    /// past already.
    pub fn may_have_missed(&self, group: u64, revision: i64) -> bool {
        let missed = |it: &Group| it.asked == it.wanted.start && (2..=revision).contains(&it.asked);
        self.all.get(&group).is_some_and(missed)
    }

    pub fn of_server_id(&self, server_id: i64) -> Option<u64> {
        self.by_server_id.get(&server_id).copied()
    }

    /// Whether it is, or was, the id of a watch.
    pub fn has_given(&self, server_id: i64) -> bool {
        (1..=self.next_server_id).contains(&server_id)
    }

    /// The stream is gone, for this reason; none where it is to be made.
    pub fn leave_stream(&mut self, why: Option<&str>) {
        self.by_server_id.clear();
        self.partial = None;
        for group in self.all.values_mut() {
            group.confirmed = false;
            let Some(why) = why else { continue };
            if std::mem::take(&mut group.told) {
                for member in &group.members {
                    member.sink.notice(Notice::Cut(why.to_owned()));
                }
            }
        }
    }

    pub fn remove(&mut self, member: u64) -> Unneeded {
        let Some(group) = self.of_member.remove(&member) else { return Vec::new() };
        if let Some(group) = self.all.get_mut(&group) {
            group.members.retain(|other| other.id != member);
        }
        self.drop_if_empty(group)
    }

    pub fn confirm(&mut self, group: u64) -> Unneeded {
        if let Some(group) = self.all.get_mut(&group) {
            group.confirmed = true;
            group.begun = true;
            group.told = true;
        }
        self.tell(group, |_| Some(Notice::Started))
    }

    /// All changes up to this revision were given.
    pub fn progress(&mut self, group: u64, revision: i64) -> Unneeded {
        self.advance(group, revision + 1);
        let mut unneeded = self.tell(group, |_| Some(Notice::Progress(revision)));
        unneeded.extend(self.merge(group));
        unneeded
    }

    /// Whose next answer must go on with a revision, before anything else is said.
    pub fn collecting(&self) -> Option<u64> {
        self.partial.as_ref().map(|partial| partial.group)
    }

    /// Whether these can be the next events of a group: of its keys, in order.
    pub fn expects(&self, group: u64, events: &[Event]) -> bool {
        let Some(standing) = self.all.get(&group) else { return true };
        let partial = self.partial.as_ref().filter(|partial| partial.group == group);
        let last = partial.and_then(|partial| partial.events.last());
        let new = events.iter().filter(|event| event.revision() >= standing.wanted.start);
        events.iter().all(|event| standing.wanted.keys.contains(&event.kv.key))
            && last.into_iter().chain(new).is_sorted_by_key(|event| event.revision())
    }

    /// `more`: the answer goes on in the next one, which may be in the same revision.
    pub fn events(&mut self, group: u64, mut events: Vec<Event>, more: bool) -> Unneeded {
        let Some(standing) = self.all.get_mut(&group) else { return Vec::new() };
        let next = standing.wanted.start;
        // Servers are known to send again what was sent.
        events.retain(|event| event.revision() >= next);
        let collected = match self.partial.take() {
            Some(mut partial) if partial.group == group => {
                partial.append(events);
                partial
            }
            _ => Partial::new(group, events),
        };
        let (mut events, rest) = collected.split(more);
        if rest.as_ref().is_some_and(|rest| rest.bytes > PARTIAL_MOST) {
            return self.lose(group, TOO_LARGE).into_iter().collect();
        }
        self.partial = rest;
        let gap = standing.first_gap(&events);
        events.truncate(gap.unwrap_or(events.len()));
        let mut unneeded = self.deliver(group, &events);
        if gap.is_some() {
            unneeded.extend(self.lose(group, LEFT_OUT));
        }
        unneeded
    }

    /// Ends a watch after which there is a gap.
    fn lose(&mut self, group: u64, why: &'static str) -> Option<i64> {
        let server_id = self.all.get(&group)?.server_id;
        log(Level::Warn, || format!("watch is begun anew: {why}"));
        self.end(group, Notice::Gap(why));
        Some(server_id)
    }

    fn deliver(&mut self, group: u64, events: &[Event]) -> Unneeded {
        let Some(last) = events.last() else { return Vec::new() };
        self.advance(group, last.revision() + 1);
        let mut unneeded = self.tell(group, |start| {
            let wanted = events.iter().filter(|event| event.revision() >= start);
            let events: Vec<Event> = wanted.cloned().collect();
            (!events.is_empty()).then_some(Notice::Events(events))
        });
        unneeded.extend(self.merge(group));
        unneeded
    }

    /// A watch has ended, for the reason in the notice.
    pub fn end(&mut self, group: u64, notice: Notice) {
        let Some(ended) = self.all.remove(&group) else { return };
        self.forget(group, &ended);
        for member in ended.members {
            self.of_member.remove(&member.id);
            member.sink.notice(notice.clone());
        }
    }

    fn advance(&mut self, group: u64, next: i64) {
        if let Some(group) = self.all.get_mut(&group) {
            group.wanted.start = group.wanted.start.max(next);
        }
    }

    /// Gives each member what there is for one that began at its revision.
    fn tell(&mut self, group: u64, notice: impl Fn(i64) -> Option<Notice>) -> Unneeded {
        let Some(told) = self.all.get_mut(&group) else { return Vec::new() };
        let of_member = &mut self.of_member;
        told.members.retain(|member| {
            let wanted = notice(member.start).is_none_or(|notice| member.sink.notice(notice));
            if !wanted {
                of_member.remove(&member.id);
            }
            wanted
        });
        self.drop_if_empty(group)
    }

    /// Puts groups of the same range together that stand at the same revision.
    fn merge(&mut self, group: u64) -> Unneeded {
        let Some(moved) = self.all.get(&group) else { return Vec::new() };
        let key = (moved.wanted.keys.clone(), moved.wanted.prev);
        let same = self.by_range.get(&key).cloned().unwrap_or_default();
        let mut unneeded = Vec::new();
        let Some((first, others)) = same.split_first() else { return unneeded };
        for other in others {
            let confirmed = |it: &&Group| it.confirmed;
            let stands = |at| self.all.get(at).filter(confirmed).map(|it| it.wanted.start);
            if stands(first).is_none() || stands(first) != stands(other) {
                continue;
            }
            let Some(group) = self.all.get_mut(other) else { continue };
            let members = std::mem::take(&mut group.members);
            for member in &members {
                self.of_member.insert(member.id, *first);
            }
            if let Some(group) = self.all.get_mut(first) {
                group.members.extend(members);
            }
            unneeded.extend(self.drop_if_empty(*other));
        }
        unneeded
    }

    fn drop_if_empty(&mut self, group: u64) -> Unneeded {
        if !self.all.get(&group).is_some_and(|group| group.members.is_empty()) {
            return Vec::new();
        }
        let Some(dropped) = self.all.remove(&group) else { return Vec::new() };
        let stood = self.by_server_id.contains_key(&dropped.server_id);
        self.forget(group, &dropped);
        if stood {
            vec![dropped.server_id]
        } else {
            Vec::new()
        }
    }

    fn forget(&mut self, group: u64, gone: &Group) {
        if self.collecting() == Some(group) {
            self.partial = None;
        }
        self.by_server_id.remove(&gone.server_id);
        let key = (gone.wanted.keys.clone(), gone.wanted.prev);
        if let Some(same) = self.by_range.get_mut(&key) {
            same.retain(|other| *other != group);
            if same.is_empty() {
                self.by_range.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests;
