//! A watch stream whose answers make no sense: it is made anew, and nothing is lost.

use crate::client::{errmsg, Use, Watcher, EVENT_PUT, EVENT_RESYNC, EVENT_STATE, OK};
use crate::server::{framed, Reply};
use crate::world::{RANGE, WATCH};
use crate::{Scene, KEY, MEMORY};
use etcd_client::proto::{PbEvent, PbKeyValue, PbRangeResponse, PbWatchResponse};
use std::time::{Duration, Instant};

/// How long the server lies.
const WHILE: Duration = Duration::from_millis(400);

const LATEST: Duration = Duration::from_secs(6);

/// The revisions of what is told until that of the `last` put.
fn puts_until(watcher: &Watcher, last: i64) -> Vec<i64> {
    let mut puts = Vec::new();
    let end = Instant::now() + LATEST;
    while puts.last() != Some(&last) {
        assert!(Instant::now() < end, "{puts:?} up to {last}: {}", errmsg());
        let Some(told) = watcher.next(Duration::from_millis(100)) else { continue };
        match told.kind {
            EVENT_STATE => {}
            kind => {
                assert_eq!((kind, &*told.key), (EVENT_PUT, KEY));
                puts.push(told.revision);
            }
        }
    }
    puts
}

/// The watch was begun anew, and told so.
fn resyncs(watcher: &Watcher) {
    let end = Instant::now() + LATEST;
    while watcher.next(Duration::from_millis(100)).is_none_or(|told| told.kind != EVENT_RESYNC) {
        assert!(Instant::now() < end, "no resync");
    }
}

/// A watch under way, lies for a while, then the truth.
struct Watching {
    scene: Scene,
    watcher: Watcher,
}

impl Watching {
    fn begin() -> Self {
        // None of its calls is to fail.
        let scene = Scene::with_timeout(Duration::from_secs(3));
        let watcher = scene.kv.watch(KEY).unwrap_or_else(|_| panic!("{}", errmsg()));
        let watching = Self { scene, watcher };
        let first = watching.put();
        assert_eq!(puts_until(&watching.watcher, first), [first]);
        watching
    }

    fn put(&self) -> i64 {
        assert_eq!(self.scene.kv.store(KEY, "v"), OK, "{}", errmsg());
        self.scene.server.revision()
    }

    fn while_lying(&self) -> i64 {
        let used = Use::now();
        let streams = self.scene.server.streams();
        let told = self.put();
        std::thread::sleep(WHILE);
        used.check_idle();
        used.check_memory(MEMORY);
        let streams = self.scene.server.streams() - streams;
        assert!(streams < 100, "{streams} streams within {:?}", used.wall());
        told
    }
}

/// No change is lost or told twice.
fn nothing_is_lost(lie: impl Fn(&mut PbWatchResponse) + Send + Sync + 'static) {
    nothing_is_lost_with(move |good| {
        use prost::Message;
        let mut answer = PbWatchResponse::decode(&good[..]).expect("its own answer");
        if !answer.events.is_empty() {
            lie(&mut answer);
        }
        Reply::Message(answer.encode_to_vec())
    });
}

fn nothing_is_lost_with(lie: impl Fn(Vec<u8>) -> Reply + Send + Sync + 'static) {
    let it = Watching::begin();
    it.scene.server.reply(WATCH, lie);
    let lied = it.while_lying();
    it.scene.server.behave();
    let last = it.put();
    assert_eq!(puts_until(&it.watcher, last), [lied, last]);
    drop(it.watcher);
    it.scene.recovers();
}

fn each_event(change: fn(&mut PbEvent)) {
    nothing_is_lost(move |answer| answer.events.iter_mut().for_each(change));
}

fn each_key(change: fn(&mut PbKeyValue)) {
    nothing_is_lost(move |answer| {
        answer.events.iter_mut().filter_map(|event| event.kv.as_mut()).for_each(change);
    });
}

#[test]
fn events_of_an_unknown_kind_are_asked_for_again() {
    each_event(|event| event.r#type = 7);
    each_event(|event| event.r#type = -1);
}

#[test]
fn events_without_a_key_are_asked_for_again() {
    each_event(|event| event.kv = None);
}

#[test]
fn events_of_other_keys_are_asked_for_again() {
    each_key(|kv| kv.key = b"other".to_vec());
    each_key(|kv| kv.key.clear());
}

#[test]
fn answers_without_a_header_are_asked_for_again() {
    nothing_is_lost(|answer| answer.header = None);
}

#[test]
fn revisions_that_go_down_are_asked_for_again() {
    nothing_is_lost(|answer| {
        let mut later = answer.events[0].clone();
        later.kv.as_mut().expect("its key").mod_revision += 5;
        answer.events.insert(0, later);
    });
}

#[test]
fn events_of_a_watch_that_nobody_began_are_asked_for_again() {
    nothing_is_lost(|answer| answer.watch_id = 4711);
    nothing_is_lost(|answer| answer.watch_id = -4711);
}

#[test]
fn events_of_a_watch_that_is_created_once_more_are_asked_for_again() {
    nothing_is_lost(|answer| answer.created = true);
}

#[test]
fn a_watch_that_is_cancelled_without_a_reason_goes_on() {
    nothing_is_lost(|answer| answer.canceled = true);
    nothing_is_lost(|answer| {
        answer.canceled = true;
        answer.cancel_reason = "\0".repeat(100);
    });
}

#[test]
fn a_message_that_is_no_message_ends_the_stream_alone() {
    nothing_is_lost_with(|_| Reply::Message(vec![0xff; 100]));
    nothing_is_lost_with(|_| Reply::Raw(Vec::new(), &[("grpc-status", "0")]));
    nothing_is_lost_with(|_| Reply::Raw(Vec::new(), &[("other", "0")]));
    nothing_is_lost_with(|good| Reply::Raw([&[7][..], &framed(&good)[1..]].concat(), &[]));
}

#[test]
fn a_message_of_4_gib_is_not_made_room_for() {
    nothing_is_lost_with(|_| Reply::Raw(vec![0, 0xff, 0xff, 0xff, 0xff], &[]));
}

#[test]
fn a_watch_said_to_be_compacted_is_begun_anew() {
    let it = Watching::begin();
    it.scene.server.lie(WATCH, |answer: &mut PbWatchResponse| answer.compact_revision = i64::MAX);
    it.while_lying();
    it.scene.server.behave();
    resyncs(&it.watcher);
    let last = it.put();
    assert_eq!(puts_until(&it.watcher, last), [last]);
}

#[test]
fn pieces_of_a_revision_with_other_answers_between_are_asked_for_again() {
    fn in_pieces(good: &[u8], between: fn(&mut PbWatchResponse)) -> Reply {
        use prost::Message;
        let whole = PbWatchResponse::decode(good).expect("its own answer");
        let (mut piece, mut other) = (whole.clone(), whole.clone());
        piece.fragment = true;
        other.events.clear();
        between(&mut other);
        let all = [piece, other, whole].map(|answer| framed(&answer.encode_to_vec()));
        Reply::Raw(all.concat(), &[])
    }
    nothing_is_lost_with(|good| in_pieces(&good, |_| {}));
    nothing_is_lost_with(|good| in_pieces(&good, |progress| progress.fragment = true));
}

/// More pieces of one revision than are collected.
fn endless(good: &[u8]) -> Vec<u8> {
    use prost::Message;
    let mut answer = PbWatchResponse::decode(good).expect("its own answer");
    answer.fragment = true;
    for kv in answer.events.iter_mut().filter_map(|event| event.kv.as_mut()) {
        kv.value = vec![b'x'; 1 << 20];
    }
    framed(&answer.encode_to_vec()).repeat(300)
}

#[test]
fn a_revision_without_end_is_told_by_the_difference_that_it_makes() {
    let it = Watching::begin();
    it.scene.server.reply(WATCH, |good| Reply::Raw(endless(&good), &[]));
    it.put();
    resyncs(&it.watcher);
    it.scene.server.behave();
    let last = it.put();
    let end = Instant::now() + LATEST;
    while it.watcher.next(Duration::from_millis(100)).is_none_or(|told| told.revision != last) {
        assert!(Instant::now() < end, "it does not go on");
    }
    drop(it.watcher);
    it.scene.recovers();
}

#[test]
fn a_watch_is_not_begun_again_and_again_where_reads_make_no_sense() {
    for reply in [
        (|_| Reply::Message(Vec::new())) as fn(Vec<u8>) -> Reply,
        |_| Reply::Raw(Vec::new(), &[]),
        |_| Reply::Head(500, &[]),
    ] {
        let it = Watching::begin();
        it.scene.server.reply(RANGE, reply);
        it.scene.server.cut();
        let _ = it.scene.kv.delete("other"); // finds that the connection is gone
        let lied = it.while_lying();
        it.scene.server.behave();
        let last = it.put();
        assert_eq!(puts_until(&it.watcher, last), [lied, last]);
    }
}

#[test]
fn a_store_whose_revision_went_down_is_another_one() {
    let it = Watching::begin();
    it.scene.server.lie(RANGE, |answer: &mut PbRangeResponse| {
        answer.header.as_mut().expect("a header").revision = 1;
    });
    it.scene.server.cut();
    std::thread::sleep(WHILE);
    it.scene.server.behave();
    resyncs(&it.watcher);
    let last = it.put();
    assert_eq!(puts_until(&it.watcher, last), [last]);
}

#[test]
fn revisions_at_the_end_of_all_numbers_do_no_harm() {
    let it = Watching::begin();
    it.scene.server.lie(WATCH, |answer: &mut PbWatchResponse| {
        answer.header.as_mut().expect("a header").revision = i64::MAX;
        for kv in answer.events.iter_mut().filter_map(|event| event.kv.as_mut()) {
            kv.mod_revision = i64::MAX;
        }
    });
    it.while_lying();
    drop(it.watcher);
    it.scene.recovers();
}

#[test]
fn a_stream_that_ends_at_once_is_not_made_again_and_again() {
    let it = Watching::begin();
    it.scene.server.reply(WATCH, |_| Reply::Head(500, &[]));
    let lied = it.while_lying();
    it.scene.server.behave();
    let last = it.put();
    assert_eq!(puts_until(&it.watcher, last), [lied, last]);
}

/// As long as two silences of a server take, of which the second follows a question.
const SILENCES: Duration = Duration::from_secs(6);

#[test]
fn a_server_that_answers_nothing_but_pings_is_left() {
    let it = Watching::begin();
    let connections = it.scene.server.connections();
    it.scene.server.reply(WATCH, |_| Reply::Nothing);
    it.scene.server.reply(RANGE, |_| Reply::Nothing);
    let lied = it.put();
    let end = Instant::now() + SILENCES + LATEST;
    while it.scene.server.connections() == connections {
        assert!(Instant::now() < end, "it is still believed");
        std::thread::sleep(Duration::from_millis(10));
    }
    it.scene.server.behave();
    let last = it.put();
    assert_eq!(puts_until(&it.watcher, last), [lied, last]);
}

#[test]
fn a_server_that_has_nothing_to_tell_is_believed() {
    let it = Watching::begin();
    let connections = it.scene.server.connections();
    it.scene.server.reply(WATCH, |_| Reply::Nothing);
    let end = Instant::now() + SILENCES + Duration::from_secs(1);
    while Instant::now() < end {
        assert_eq!(it.scene.server.connections(), connections);
        std::thread::sleep(Duration::from_millis(10));
    }
    it.scene.server.behave();
    let last = it.put();
    assert_eq!(puts_until(&it.watcher, last), [last]);
}
