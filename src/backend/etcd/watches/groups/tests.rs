use super::*;
use crate::sync::Lock;
use crate::types::{EventKind, KeyValue};
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
            Notice::Gap(why) => format!("Gap({why})"),
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
    Wanted { keys: KeyRange::single("k"), start, prev: false, era: 0, resumed: false }
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
    for (sent, more) in [(&[5, 6, 6][..], true), (&[6, 6], true), (&[6, 7], true), (&[7, 8], false)]
    {
        groups.events(group, events(sent), more);
    }
    assert_eq!(seen.all(), "[5] [6, 6, 6, 6, 6] [7, 7, 8]");
    groups.events(group, events(&[9, 9]), true);
    groups.leave_stream(None);
    groups.events(group, events(&[9, 9, 9]), false);
    assert_eq!(seen.all(), "[5] [6, 6, 6, 6, 6] [7, 7, 8] [9, 9, 9]");
}

fn large(group: u64, groups: &mut Groups) -> Unneeded {
    let value = Bytes::from(vec![b'x'; 1 << 20]);
    let kv = KeyValue { mod_revision: 6, value, ..Default::default() };
    groups.events(group, vec![Event::put(kv, None)], true)
}

#[test]
fn a_revision_without_end_is_not_collected() {
    let (mut groups, seen) = (Groups::default(), Arc::<Seen>::default());
    let group = groups.add(1, wanted(5), seen.clone()).expect("a watch of the server");
    let (server_id, _) = groups.stand(group, 0).expect("it stands");
    groups.events(group, events(&[5, 6]), true);
    let most = PARTIAL_MOST >> 20;
    for _ in 1..most {
        assert!(large(group, &mut groups).is_empty());
    }
    assert_eq!(seen.all(), "[5]");
    assert_eq!(large(group, &mut groups), [server_id]);
    assert_eq!(seen.all(), format!("[5] Gap({TOO_LARGE})"));
    assert!(groups.is_empty() && groups.partial.is_none());
}

#[test]
fn what_is_collected_goes_with_its_watch() {
    let (mut groups, seen) = (Groups::default(), Arc::<Seen>::default());
    let group = groups.add(1, wanted(5), seen.clone()).expect("a watch of the server");
    groups.events(group, events(&[5, 6]), true);
    assert_eq!(groups.collecting(), Some(group));
    groups.remove(1);
    assert_eq!(groups.collecting(), None);
    assert_eq!(seen.all(), "[5]");
}

#[test]
fn watchers_of_one_range_share_a_watch_and_get_what_they_asked_for() {
    let (mut groups, a, b) = (Groups::default(), Arc::<Seen>::default(), Arc::<Seen>::default());
    let group = groups.add(1, wanted(5), a.clone()).expect("a watch of the server");
    let (server_id, _) = groups.stand(group, 0).expect("it stands");
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
    let (mut groups, a, b) = (Groups::default(), Arc::<Seen>::default(), Arc::<Seen>::default());
    let first = groups.add(1, wanted(5), a.clone()).expect("a watch of the server");
    groups.stand(first, 0);
    groups.confirm(first);
    groups.events(first, events(&[5, 6]), false);
    let late = groups.add(2, wanted(5), b.clone()).expect("another one");
    let (late_id, _) = groups.stand(late, 0).expect("it stands");
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
    groups.stand(group, 0);
    groups.confirm(group);
    groups.leave_stream(Some("a"));
    groups.leave_stream(Some("b"));
    groups.stand(group, 0);
    groups.confirm(group);
    assert_eq!(seen.all(), "Started Cut(\"a\") Started");
}

#[test]
fn a_change_that_the_server_left_out_is_noticed() {
    let version = |revision: i64, version: i64| {
        let kv = KeyValue { mod_revision: revision, version, ..Default::default() };
        match version {
            0 => Event { kind: EventKind::Delete, kv, prev: None },
            _ => Event::put(kv, None),
        }
    };
    let gap = format!("[5] Gap({LEFT_OUT})");
    let told = |changes: &[(i64, i64)]| {
        let (mut groups, seen) = (Groups::default(), Arc::<Seen>::default());
        let group = groups.add(1, wanted(5), seen.clone()).expect("a watch of the server");
        let (server_id, _) = groups.stand(group, 0).expect("it stands");
        let sent = changes.iter().map(|(revision, of)| vec![version(*revision, *of)]);
        let unneeded: Vec<_> = sent.flat_map(|sent| groups.events(group, sent, false)).collect();
        assert_eq!(unneeded, if seen.all().ends_with(&gap) { vec![server_id] } else { vec![] });
        seen.all()
    };
    assert_eq!(told(&[(5, 7), (6, 8), (7, 0), (8, 1), (9, 2)]), "[5] [6] [7] [8] [9]");
    assert_eq!(told(&[(5, 7), (6, 9), (7, 10)]), gap);
    assert_eq!(told(&[(5, 7), (6, 1)]), gap, "a deletion is missing");
    assert_eq!(told(&[(5, 0), (6, 0)]), gap, "a creation is missing");
    assert_eq!(told(&[(5, 0), (6, 2)]), gap);
    assert_eq!(told(&[(5, 7), (5, 7), (6, 8)]), "[5] [6]", "sent again");
}
