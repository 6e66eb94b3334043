use super::*;
use crate::backend::Notice;
use crate::error::Error;
use crate::request::{Range, Sort};
use crate::types::{EventKind, KeyRange};
use bytes::Bytes;
use std::time::Duration;

#[derive(Default)]
struct Seen(Mutex<Vec<Event>>, Mutex<bool>);

impl WatchSink for Seen {
    fn notice(&self, notice: Notice) -> bool {
        match notice {
            Notice::Events(events) => self.0.hold().extend(events),
            Notice::Compacted => *self.1.hold() = true,
            _ => {}
        }
        true
    }
}

fn put(state: &mut State, key: &str, value: &str) -> i64 {
    put_leased(state, key, value, 0).expect("no lease")
}

fn put_leased(state: &mut State, key: &str, value: &str, lease: i64) -> Result<i64> {
    let put = Put::new(key.to_owned().into(), value.to_owned().into());
    Ok(state.txn(&Txn::always(Put { lease, ..put }))?.revision)
}

fn get(state: &State, key: &str, revision: i64) -> Option<Bytes> {
    let range = Range { revision, ..Range::new(KeyRange::single(key.to_owned())) };
    state.history.range(&range).expect("a kept revision").kvs.pop().map(|kv| kv.value)
}

fn delete(state: &mut State, key: &str) -> i64 {
    let keys = KeyRange::single(key.to_owned());
    state.txn(&Txn::always(Delete::new(keys))).expect("a delete").revision
}

#[test]
fn revisions_versions_and_history_are_those_of_etcd() {
    let state = &mut State::default();
    assert_eq!((put(state, "a", "1"), put(state, "a", "2"), delete(state, "a")), (2, 3, 4));
    assert_eq!(delete(state, "a"), 4, "deleting nothing makes no revision");
    assert_eq!(put(state, "a", "3"), 5);
    let at = |revision| get(state, "a", revision);
    assert_eq!((at(2), at(3), at(4)), (Some("1".into()), Some("2".into()), None));
    let kv = state.history.newest(b"a").expect("stored");
    assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (5, 5, 1));
    let future = Range { revision: 6, ..Range::new(KeyRange::single("a")) };
    assert!(matches!(state.history.range(&future), Err(Error::Invalid(_))));
}

#[test]
fn a_transaction_shares_one_revision_and_sees_its_own_writes() {
    let state = &mut State::default();
    let put = |key: &'static str| Op::from(Put::new(key.into(), Bytes::new()));
    let all = Range { sort: Sort::Create, ..Range::new(KeyRange::prefix(b"k")) };
    let txn = Txn { then: vec![put("k2"), put("k1"), Op::Range(all)], ..Txn::default() };
    let answer = state.txn(&txn).expect("a transaction");
    assert_eq!(answer.revision, 2);
    let OpAnswer::Range(found) = &answer.ops[2] else { panic!("{answer:?}") };
    assert!(found.kvs.iter().all(|kv| kv.create_revision == 2));
    assert_eq!(found.total, 2);
}

#[test]
fn a_put_with_an_unknown_lease_changes_nothing() {
    let state = &mut State::default();
    assert!(matches!(put_leased(state, "a", "1", 7), Err(Error::Lost(_))));
    assert_eq!((get(state, "a", 0), state.history.revision()), (None, 1));
}

#[test]
fn the_end_of_a_lease_deletes_what_is_still_attached() {
    let state = &mut State::default();
    state.leases.grant(7, Duration::from_secs(60));
    for key in ["a", "b", "c"] {
        put_leased(state, key, "1", 7).expect("the lease");
    }
    put(state, "b", "detached");
    state.revoke(7);
    assert_eq!((get(state, "a", 0), get(state, "c", 0)), (None, None));
    assert_eq!(get(state, "b", 0), Some("detached".into()));
    assert_eq!(state.history.revision(), 6, "one revision for all");
    state.revoke(7);
    assert_eq!(state.history.revision(), 6);
}

#[test]
fn a_watch_gets_the_past_and_then_the_present() {
    let state = &mut State::default();
    for value in ["1", "2", "3"] {
        put(state, "a", value);
        put(state, "other", value);
    }
    let seen = Arc::new(Seen::default());
    let wanted =
        Wanted { keys: KeyRange::single("a"), start: 4, prev: false, era: 0, resumed: false };
    let id = state.watches.add(0, wanted, seen.clone(), &state.history);
    delete(state, "a");
    let got: Vec<_> = seen.0.hold().iter().map(|event| (event.kind, event.revision())).collect();
    assert_eq!(got, [(EventKind::Put, 4), (EventKind::Put, 6), (EventKind::Delete, 8)]);
    state.watches.remove(id);
    put(state, "a", "4");
    assert_eq!(seen.0.hold().len(), 3);
}

#[test]
fn old_history_is_compacted_and_what_is_live_stays() {
    let state = &mut State::default();
    put(state, "stays", "1");
    put(state, "goes", "1");
    delete(state, "goes");
    for n in 0..100_010 {
        put(state, "busy", &n.to_string());
    }
    assert_eq!(get(state, "stays", 0), Some("1".into()));
    assert!(state.history.live(&KeyRange::prefix(b"")).iter().all(|kv| kv.key != "goes"));
    let old = Range { revision: 2, ..Range::new(KeyRange::single("stays")) };
    assert!(matches!(state.history.range(&old), Err(Error::Compacted(_))));
    let seen = Arc::new(Seen::default());
    let wanted =
        Wanted { keys: KeyRange::single("busy"), start: 2, prev: false, era: 0, resumed: false };
    state.watches.add(0, wanted, seen.clone(), &state.history);
    assert!(*seen.1.hold());
}

#[test]
fn compaction_keeps_the_newest_state_and_forgets_what_was_before() {
    let state = &mut State::default();
    let (_, second) = (put(state, "a", "1"), put(state, "a", "2"));
    delete(state, "b");
    put(state, "b", "1");
    let last = delete(state, "b");
    state.history.compact();
    assert_eq!(get(state, "a", 0), Some("2".into()));
    assert_eq!(get(state, "a", last), Some("2".into()));
    let old = Range { revision: second, ..Range::new(KeyRange::single("a")) };
    assert!(matches!(state.history.range(&old), Err(Error::Compacted(_))));
    assert!(state.history.since(last).is_some() && state.history.since(last - 1).is_none());
    assert!(!state.history.keeps_before(last) && state.history.keeps_before(last + 1));
}
