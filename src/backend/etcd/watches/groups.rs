//! Who wants which changes. Watchers of one range share one watch of the server.

use crate::backend::{Notice, Wanted, WatchSink};
use crate::error::Error;
use crate::types::{Event, KeyRange};
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
    /// What it begins with may be compacted, and the server would not say so.
    unsure: bool,
    members: Vec<Member>,
    /// Of a revision whose last events are still to come.
    partial: Vec<Event>,
}

struct Member {
    id: u64,
    start: i64,
    sink: Arc<dyn WatchSink>,
}

/// The server's ids of watches that nobody needs any more.
pub type Unneeded = Vec<i64>;

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
            unsure: false,
            members: vec![member],
            partial: Vec::new(),
        };
        self.all.insert(at, group);
        Some(at)
    }

    /// The first revision that any of them has not got.
    pub fn oldest_start(&self) -> Option<(Bytes, i64)> {
        let oldest = self.all.values().min_by_key(|group| group.wanted.start)?;
        Some((oldest.wanted.keys.key.clone(), oldest.wanted.start))
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
            group.unsure = true;
        }
    }

    /// Where a group begins that was doubted; once.
    pub fn doubted_start(&mut self, group: u64) -> Option<(Bytes, i64)> {
        let group = self.all.get_mut(&group)?;
        let at = || (group.wanted.keys.key.clone(), group.wanted.start);
        std::mem::take(&mut group.unsure).then(at)
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
            let stands = |at| self.all.get(at).map(|it| (it.confirmed, it.wanted.start));
            if stands(first) != stands(other)
                || stands(first).is_none_or(|(confirmed, _)| !confirmed)
            {
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
mod tests {
    use super::*;
    use crate::sync::Lock;
    use crate::types::KeyValue;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Seen(Mutex<Vec<String>>);

    impl WatchSink for Seen {
        fn notice(&self, notice: Notice) -> bool {
            self.0.hold().push(match notice {
                Notice::Events(events) => {
                    let revisions: Vec<i64> = events.iter().map(Event::revision).collect();
                    format!("{revisions:?}")
                }
                other => format!("{other:?}"),
            });
            true
        }
    }

    impl Seen {
        fn all(&self) -> String {
            self.0.hold().join(" ")
        }
    }

    fn wanted(start: i64) -> Wanted {
        Wanted { keys: KeyRange::single("k"), start, prev: false }
    }

    fn events(revisions: &[i64]) -> Vec<Event> {
        let put = |revision: &i64| {
            Event::put(KeyValue { mod_revision: *revision, ..Default::default() }, None)
        };
        revisions.iter().map(put).collect()
    }

    #[test]
    fn an_answer_in_pieces_gives_whole_revisions() {
        let (mut groups, seen) = (Groups::default(), Arc::<Seen>::default());
        let group = groups.add(1, wanted(5), seen.clone()).expect("a watch of the server");
        for (sent, more) in
            [(&[5, 6, 6][..], true), (&[6, 6], true), (&[6, 7], true), (&[7, 8], false)]
        {
            groups.events(group, events(sent), more);
        }
        assert_eq!(seen.all(), "[5] [6, 6, 6, 6, 6] [7, 7, 8]");
        groups.events(group, events(&[9, 9]), true);
        groups.leave_stream(None);
        groups.events(group, events(&[9, 9, 9]), false);
        assert_eq!(seen.all(), "[5] [6, 6, 6, 6, 6] [7, 7, 8] [9, 9, 9]");
    }

    #[test]
    fn watchers_of_one_range_share_a_watch_and_get_what_they_asked_for() {
        let (mut groups, a, b) =
            (Groups::default(), Arc::<Seen>::default(), Arc::<Seen>::default());
        let group = groups.add(1, wanted(5), a.clone()).expect("a watch of the server");
        let (server_id, _) = groups.stand(group).expect("it stands");
        groups.confirm(group);
        assert_eq!(groups.add(2, wanted(7), b.clone()), None);
        groups.events(group, events(&[5, 6, 7]), false);
        assert_eq!((a.all(), b.all()), ("Started [5, 6, 7]".into(), "Started [7]".into()));
        assert!(groups.remove(1).is_empty());
        assert_eq!(groups.remove(2), [server_id]);
        assert!(groups.is_empty());
    }

    #[test]
    fn one_that_wants_the_past_catches_up_and_joins() {
        let (mut groups, a, b) =
            (Groups::default(), Arc::<Seen>::default(), Arc::<Seen>::default());
        let first = groups.add(1, wanted(5), a.clone()).expect("a watch of the server");
        groups.stand(first);
        groups.confirm(first);
        groups.events(first, events(&[5, 6]), false);
        let late = groups.add(2, wanted(5), b.clone()).expect("another one");
        let (late_id, _) = groups.stand(late).expect("it stands");
        groups.confirm(late);
        assert!(groups.events(late, events(&[5]), false).is_empty());
        assert_eq!(groups.events(late, events(&[6]), false), [late_id], "its own is not needed");
        groups.events(first, events(&[8]), false);
        assert_eq!(a.all(), "Started [5, 6] [8]");
        assert_eq!(b.all(), "Started [5] [6] [8]");
    }

    #[test]
    fn what_is_sent_again_is_dropped() {
        let (mut groups, seen) = (Groups::default(), Arc::<Seen>::default());
        let group = groups.add(1, wanted(5), seen.clone()).expect("a watch of the server");
        for sent in [&[5, 6][..], &[5, 6], &[6, 7], &[3, 8, 9]] {
            groups.events(group, events(sent), false);
        }
        assert_eq!(seen.all(), "[5, 6] [7] [8, 9]");
    }

    #[test]
    fn a_cut_is_told_once_and_a_return_too() {
        let (mut groups, seen) = (Groups::default(), Arc::<Seen>::default());
        let group = groups.add(1, wanted(5), seen.clone()).expect("a watch of the server");
        groups.leave_stream(Some("not yet on it"));
        groups.stand(group);
        groups.confirm(group);
        groups.leave_stream(Some("a"));
        groups.leave_stream(Some("b"));
        groups.stand(group);
        groups.confirm(group);
        assert_eq!(seen.all(), "Started Cut(\"a\") Started");
    }
}
