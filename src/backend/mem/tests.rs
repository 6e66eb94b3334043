use super::*;
use crate::backend::Notice;
use crate::request::{Order, Range};
use crate::types::EventKind;

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
    let op = Op::Put { key: key.to_owned().into(), value: value.to_owned().into(), lease };
    Ok(state.txn(&Txn::always(op))?.revision)
}

fn get(state: &State, key: &str, revision: i64) -> Option<Bytes> {
    let range = Range { revision, ..Range::new(KeyRange::single(key.to_owned())) };
    state.history.range(&range).expect("a kept revision").kvs.pop().map(|kv| kv.value)
}

fn delete(state: &mut State, key: &str) -> i64 {
    let keys = KeyRange::single(key.to_owned());
    state.txn(&Txn::always(Op::Delete(keys))).expect("a delete").revision
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
    let put = |key: &'static str| Op::Put { key: key.into(), value: Bytes::new(), lease: 0 };
    let all = Range { order: Order::CreateDescending, ..Range::new(KeyRange::prefix(b"k")) };
    let txn = Txn { then: vec![put("k2"), put("k1"), Op::Range(all)], ..Txn::default() };
    let answer = state.txn(&txn).expect("a transaction");
    assert_eq!((answer.revision, answer.ranges[0].revision), (2, 2));
    assert!(answer.ranges[0].kvs.iter().all(|kv| kv.create_revision == 2));
    assert_eq!(answer.ranges[0].total, 2);
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
    let id = state.watches.add(KeyRange::single("a"), 4, seen.clone(), &state.history);
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
    assert!(!state.history.live_keys(&KeyRange::prefix(b"")).contains(&Bytes::from("goes")));
    let old = Range { revision: 2, ..Range::new(KeyRange::single("stays")) };
    assert!(matches!(state.history.range(&old), Err(Error::Compacted(_))));
    let seen = Arc::new(Seen::default());
    state.watches.add(KeyRange::single("busy"), 2, seen.clone(), &state.history);
    assert!(*seen.1.hold());
}
