//! Who wants which changes. Watchers of one range share one watch of the server.

use crate::backend::{Notice, Wanted, WatchSink};
use crate::error::Error;
use crate::log::{log, Level};
use crate::types::{Event, EventKind, KeyRange, RangeEnd};
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
}

/// One watch of the server.
struct Group {
    /// From the first revision that the members have not got.
    wanted: Wanted,
    server_id: i64,
    /// By the server, on the present stream.
    confirmed: bool,
    /// Likewise, on this stream or an earlier one.
    begun: bool,
    /// A revision that it began with and that may be compacted, which the server would
    /// not say; until that is found out.
    doubt: Option<i64>,
    members: Vec<Member>,
    /// Of a revision whose last events are still to come.
    partial: Vec<Event>,
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
            wanted,
            server_id: 0,
            confirmed: false,
            begun: false,
            doubt: None,
            members: vec![member],
            partial: Vec::new(),
            version: None,
        };
        self.all.insert(at, group);
        Some(at)
    }

    /// The first revision that any of them may have missed, and a key of that one.
    pub fn oldest_start(&self) -> Option<(Bytes, i64)> {
        let start = |group: &&Group| group.doubt.unwrap_or(group.wanted.start);
        let oldest = self.all.values().min_by_key(start)?;
        Some((oldest.wanted.keys.key.clone(), start(&oldest)))
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

    pub fn doubt(&mut self, group: u64) {
        if let Some(group) = self.all.get_mut(&group) {
            group.doubt.get_or_insert(group.wanted.start);
        }
    }

    /// The revision of a group that is in doubt. Whatever came since, it may have missed
    /// that one.
    pub fn doubted(&self, group: u64) -> Option<(Bytes, i64)> {
        let group = self.all.get(&group)?;
        Some((group.wanted.keys.key.clone(), group.doubt?))
    }

    /// Nothing was missed.
    pub fn clear_doubt(&mut self, group: u64) -> Unneeded {
        let Some(cleared) = self.all.get_mut(&group) else { return Vec::new() };
        cleared.doubt = None;
        self.merge(group)
    }

    pub fn start(&self, group: u64) -> Option<i64> {
        self.all.get(&group).map(|group| group.wanted.start)
    }

    /// What the server is to watch for a group, and by which id.
    pub fn stand(&mut self, group: u64) -> Option<(i64, Wanted)> {
        let standing = self.all.get_mut(&group)?;
        self.next_server_id += 1;
        standing.server_id = self.next_server_id;
        self.by_server_id.insert(standing.server_id, group);
        Some((standing.server_id, standing.wanted.clone()))
    }

    pub fn of_server_id(&self, server_id: i64) -> Option<u64> {
        self.by_server_id.get(&server_id).copied()
    }

    /// The stream is gone, for this reason; none where it is to be made.
    pub fn leave_stream(&mut self, why: Option<&str>) {
        self.by_server_id.clear();
        for group in self.all.values_mut() {
            group.partial.clear();
            let was_confirmed = std::mem::take(&mut group.confirmed);
            if let Some(why) = why.filter(|_| was_confirmed) {
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

    /// Whether these can be the next events of a group: of its keys, in order.
    pub fn expects(&self, group: u64, events: &[Event]) -> bool {
        let Some(group) = self.all.get(&group) else { return true };
        let new = events.iter().filter(|event| event.revision() >= group.wanted.start);
        events.iter().all(|event| group.wanted.keys.contains(&event.kv.key))
            && group.partial.iter().chain(new).is_sorted_by_key(|event| event.revision())
    }

    /// `more`: the answer goes on in the next one, which may be in the same revision.
    pub fn events(&mut self, group: u64, mut events: Vec<Event>, more: bool) -> Unneeded {
        let Some(standing) = self.all.get_mut(&group) else { return Vec::new() };
        let next = standing.wanted.start;
        // Servers are known to send again what was sent.
        events.retain(|event| event.revision() >= next);
        if !standing.partial.is_empty() {
            events.splice(0..0, standing.partial.drain(..));
        }
        if let Some(last) = events.last().filter(|_| more) {
            let last = last.revision();
            let whole = events.partition_point(|event| event.revision() < last);
            standing.partial = events.split_off(whole);
        }
        let gap = standing.first_gap(&events);
        let server_id = standing.server_id;
        events.truncate(gap.unwrap_or(events.len()));
        let mut unneeded = self.deliver(group, &events);
        if gap.is_some() && self.all.contains_key(&group) {
            log(Level::Warn, || "a change was not told by the server".into());
            unneeded.push(server_id);
            self.end(group, Notice::Gap);
        }
        unneeded
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
            let settled = |it: &&Group| it.confirmed && it.doubt.is_none();
            let stands = |at| self.all.get(at).filter(settled).map(|it| it.wanted.start);
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
