use super::*;
use crate::backend::etcd::reach::{Reach, Role};
use crate::backend::Notice;
use crate::options::Options;
use crate::types::KeyRange;
use etcd_client::proto::{PbEvent, PbKeyValue, PbResponseHeader, PbWatchResponse};
use std::sync::Weak;

#[derive(Default)]
struct Seen(Mutex<Vec<String>>);

impl WatchSink for Seen {
    fn notice(&self, notice: Notice) -> bool {
        self.0.hold().push(match notice {
            Notice::Events(events) => {
                let revisions: Vec<i64> = events.iter().map(|event| event.revision()).collect();
                format!("{revisions:?}")
            }
            Notice::Failed(Error::Denied(_)) => "denied".into(),
            other => format!("{other:?}"),
        });
        true
    }
}

/// A task with two watches from revision 5 on, which stand on a stream as 1 and 2.
fn task(sinks: [&Arc<Seen>; 2]) -> Task {
    let io = Weak::new();
    let endpoints =
        Endpoints::new(&[], &Options::default(), Role::Watches, Reach::unheard(), None, None, io);
    let endpoints = endpoints.expect("no endpoint");
    let mut task = Task::new(endpoints, Arc::default(), unbounded_channel().1);
    for (id, sink) in sinks.into_iter().enumerate() {
        let keys = KeyRange::single(format!("k{id}"));
        let wanted = Wanted { keys, start: 5, prev: false, era: 0, resumed: false };
        let group = task.groups.add(id as u64, wanted, sink.clone()).expect("a new range");
        assert!(task.creation(group).is_some());
    }
    task
}

fn take(task: &mut Task, answer: PbWatchResponse) {
    let revision = if answer.created { 4 } else { 100 };
    assert!(take_at(task, revision, answer).is_empty());
}

fn take_at(task: &mut Task, revision: i64, answer: PbWatchResponse) -> Unneeded {
    let header = Some(PbResponseHeader { revision, ..Default::default() });
    task.take(WatchResponse(PbWatchResponse { header, ..answer })).expect("a sane answer")
}

fn events(revisions: &[i64]) -> PbWatchResponse {
    let event = |revision: &i64| PbEvent {
        kv: Some(PbKeyValue { key: b"k0".into(), mod_revision: *revision, ..Default::default() }),
        ..Default::default()
    };
    PbWatchResponse {
        watch_id: 1,
        events: revisions.iter().map(event).collect(),
        ..Default::default()
    }
}

#[test]
fn what_is_sent_again_is_dropped_and_is_no_progress() {
    let (one, two) = (Arc::default(), Arc::default());
    let mut task = task([&one, &two]);
    for revisions in [&[5, 6][..], &[5, 6], &[6, 7], &[3, 8, 9]] {
        take(&mut task, events(revisions));
    }
    take(&mut task, events(&[]));
    assert_eq!(*one.0.hold(), ["[5, 6]", "[7]", "[8, 9]", "Progress(100)"]);
    assert!(two.0.hold().is_empty());
}

#[test]
fn a_refusal_without_an_id_is_that_of_the_oldest_creation() {
    let (one, two) = (Arc::default(), Arc::default());
    let mut task = task([&one, &two]);
    take(&mut task, PbWatchResponse { watch_id: 1, created: true, ..Default::default() });
    let reason = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
    take(
        &mut task,
        PbWatchResponse {
            watch_id: -1,
            created: true,
            canceled: true,
            cancel_reason: reason.into(),
            ..Default::default()
        },
    );
    assert_eq!(*one.0.hold(), ["Started"]);
    assert_eq!(*two.0.hold(), ["denied"]);
    assert_eq!(task.groups.ids(), [0]);
}

#[test]
fn a_compacted_watch_ends_and_the_other_stays() {
    let (one, two) = (Arc::default(), Arc::default());
    let mut task = task([&one, &two]);
    take(&mut task, PbWatchResponse { watch_id: 2, created: true, ..Default::default() });
    take(
        &mut task,
        PbWatchResponse { watch_id: 2, canceled: true, compact_revision: 50, ..Default::default() },
    );
    assert_eq!(*two.0.hold(), ["Started", "Compacted"]);
    assert_eq!(task.groups.ids(), [0]);
}

#[test]
fn of_groups_that_ended_nothing_is_sent() {
    let sinks: [Arc<Seen>; 2] = Default::default();
    let mut task = task([&sinks[0], &sinks[1]]);
    let mut creations = task.creations();
    let sent: Vec<_> = creations.iter().map(|it| it.server_id).collect();
    assert_eq!(task.unanswered, sent, "in the order in which they are sent");
    let keys = KeyRange::single("new");
    let wanted = Wanted { keys, start: 5, prev: false, era: 0, resumed: false };
    let new = task.groups.add(9, wanted, sinks[0].clone()).expect("a new range");
    creations.extend(task.creation(new));
    let first = creations.pop_front().expect("one").server_id;
    assert!(task.drop_ended(first, &mut creations).is_empty());
    assert_eq!((creations.len(), task.unanswered.len()), (2, 3));
    for group in [0, 1] {
        task.groups.end(group, Notice::Replaced);
    }
    assert_eq!(task.drop_ended(first, &mut creations), [first], "it was sent before");
    assert_eq!(creations.iter().map(|it| it.server_id).collect::<Vec<_>>(), [first + 2]);
    // Refusals without an id are those of what was sent.
    assert_eq!(task.unanswered, [first, first + 2]);
}

#[test]
fn who_knows_another_store_is_told_so() {
    let sinks: [Arc<Seen>; 2] = Default::default();
    let mut task = task([&sinks[0], &sinks[1]]);
    task.era.fetch_add(1, Ordering::AcqRel);
    let of_era =
        |era| Wanted { keys: KeyRange::single("new"), start: 50, prev: false, era, resumed: false };
    let (before, after) = (Arc::<Seen>::default(), Arc::<Seen>::default());
    assert_eq!(task.add(8, of_era(0), before.clone()), None);
    assert!(task.add(9, of_era(1), after.clone()).is_some());
    assert_eq!(*before.0.hold(), ["Replaced"]);
    assert!(after.0.hold().is_empty());
}

#[test]
fn an_answer_that_makes_no_sense_is_passed_on_to_nobody() {
    let (one, two) = (Arc::default(), Arc::default());
    let mut task = task([&one, &two]);
    let mut another_key = events(&[5]);
    another_key.events[0].kv = Some(PbKeyValue { mod_revision: 5, ..Default::default() });
    for answer in [events(&[6, 5]), events(&[0]), events(&[i64::MAX]), another_key] {
        let header = Some(PbResponseHeader { revision: 100, ..Default::default() });
        assert!(task.take(WatchResponse(PbWatchResponse { header, ..answer })).is_err());
    }
    for revision in [0, -1, i64::MAX] {
        let header = Some(PbResponseHeader { revision, ..Default::default() });
        assert!(task.take(WatchResponse(PbWatchResponse { header, ..events(&[]) })).is_err());
    }
    assert!(one.0.hold().is_empty() && two.0.hold().is_empty());
}

/// Of what is compacted since, the server would say nothing.
#[test]
fn a_watch_that_began_in_the_past_is_begun_again_before_it() {
    let (one, two) = (Arc::default(), Arc::default());
    let mut task = task([&one, &two]);
    let created = |watch_id| PbWatchResponse { watch_id, created: true, ..Default::default() };
    assert!(take_at(&mut task, 4, created(2)).is_empty());
    assert_eq!(take_at(&mut task, 5, created(1)), [1], "it is not needed");
    assert_eq!(task.again, [0]);
    let again = task.creation(0).expect("it stands");
    assert_eq!(again.server_id, 3);
    assert!(one.0.hold().is_empty());
    // Whatever the former one still tells.
    take(&mut task, events(&[5]));
    take(&mut task, PbWatchResponse { watch_id: 1, canceled: true, ..Default::default() });
    assert!(take_at(&mut task, 5, created(3)).is_empty());
    take(&mut task, PbWatchResponse { watch_id: 3, ..events(&[4, 5]) });
    assert_eq!(*one.0.hold(), ["Started", "[5]"]);
    assert_eq!(*two.0.hold(), ["Started"]);
}

#[test]
fn what_is_past_is_asked_for_from_one_revision_before() {
    let (one, two) = (Arc::default(), Arc::default());
    let mut task = task([&one, &two]);
    let start =
        |task: &mut Task, group| task.groups.stand(group, task.highest).expect("it").1.start;
    assert_eq!(start(&mut task, 0), 5, "it is to come");
    take(&mut task, PbWatchResponse { watch_id: 2, created: true, ..Default::default() });
    assert_eq!(start(&mut task, 1), 4, "it is begun anew");
    task.highest = 5;
    assert_eq!(start(&mut task, 0), 4);
}

#[test]
fn a_cut_is_told_that_follows_the_end_of_a_token() {
    let (one, two) = (Arc::default(), Arc::default());
    let mut task = task([&one, &two]);
    take(&mut task, PbWatchResponse { watch_id: 1, created: true, ..Default::default() });
    task.creations();
    for why in ["cut", "still"] {
        task.groups.leave_stream(Some(why));
    }
    assert_eq!(*one.0.hold(), ["Started", "Cut(\"cut\")"]);
    assert!(two.0.hold().is_empty());
}
