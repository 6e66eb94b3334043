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
    assert!(queue.told.is_empty());
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
    queue.difference(found(102, &[put("c", 100, 100)]), "", false);
    assert_eq!(drain(&mut queue), "resync@102");
}

/// The keys that are taken to exist.
fn known(queue: &Queue) -> String {
    let keys =
        queue.known.iter().map(|(key, seen)| format!("{}@{}", key.escape_ascii(), seen.modified));
    keys.collect::<Vec<_>>().join(" ")
}

#[test]
fn coalesced_changes_among_hidden_ones_stay_bounded() {
    for hidden in [Hidden { puts: true, deletes: false }, Hidden { puts: false, deletes: true }] {
        let mut queue = queue(4, hidden);
        for revision in (2..20_000).step_by(2) {
            queue.changes(vec![put("a", revision, revision), delete("a", revision + 1)]);
            queue.changes(vec![put("b", revision, revision), delete("b", revision + 1)]);
            assert!(!queue.is_full() || queue.coalesce());
        }
        assert!(queue.items.len() + queue.told.len() <= 10);
        drain(&mut queue);
        assert_eq!(known(&queue), "");
    }
}

#[test]
fn hidden_changes_of_ever_new_keys_leave_nothing_behind() {
    let mut queue = queue(4, Hidden { puts: true, deletes: true });
    queue.snapshot(found(3, &[put("a", 2, 2)]));
    for revision in 4..1000 {
        let key = Bytes::from(revision.to_string());
        let kv = KeyValue { key: key.clone(), mod_revision: revision, ..KeyValue::default() };
        queue.changes(vec![Event::put(kv, None), Event::delete(key, revision, None)]);
    }
    assert_eq!((queue.items.len(), queue.told.len(), queue.known.len()), (2, 1, 0));
    assert_eq!(drain(&mut queue), "+a@2 synced@3");
}

#[test]
fn a_hidden_change_is_noted_after_what_waits_of_its_key() {
    let mut puts = queue(9, Hidden { puts: false, deletes: true });
    puts.changes(vec![put("a", 2, 2), delete("a", 3), put("b", 4, 4), put("a", 5, 5)]);
    puts.changes(vec![delete("b", 6)]);
    assert_eq!(known(&puts), "");
    drain(&mut puts);
    assert_eq!(known(&puts), "a@5");
    let mut deletes = queue(9, Hidden { puts: true, deletes: false });
    deletes.changes(vec![put("a", 2, 2), delete("a", 3), put("a", 4, 4), put("c", 5, 5)]);
    assert_eq!(known(&deletes), "a@2 c@5");
    drain(&mut deletes);
    assert_eq!(known(&deletes), "a@4 c@5");
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
    let now = [put("anew", 8, 8), put("new value", 3, 9), put("other", 7, 7), put("same", 2, 2)];
    queue.difference(found(10, &now), "", false);
    let expected = "-anew@8 +anew@8 +new value@9 +other@7 -gone@10 resync@10";
    assert_eq!(drain(&mut queue), expected);
}

#[test]
fn of_another_store_all_is_news() {
    let mut queue = Queue::new(9, Hidden::default(), 100, Known::new());
    queue.changes(vec![put("a", 101, 102), put("b", 103, 103)]);
    drain(&mut queue);
    queue.difference(found(5, &[put("a", 2, 2), put("c", 3, 3)]), "", false);
    assert_eq!(drain(&mut queue), "-a@2 +a@2 +c@3 -b@5 resync@5");
}

#[test]
fn a_snapshot_that_was_dropped_is_told_as_one() {
    let mut queue = queue(9, Hidden { puts: true, deletes: true });
    queue.snapshot(found(3, &[put("a", 2, 2)]));
    queue.clear();
    queue.difference(found(4, &[put("a", 2, 2)]), "", false);
    assert_eq!(drain(&mut queue), "+a@2 synced@4");
}

#[test]
fn cuts_that_nobody_takes_are_bounded() {
    let mut queue = queue(9, Hidden::default());
    for _ in 0..1000 {
        queue.cut(String::new());
        queue.back();
    }
    assert!(queue.items.len() <= STATES + 1);
    drain(&mut queue);
}

#[test]
fn of_states_that_were_dropped_the_last_is_told_if_it_is_news() {
    let cut = |queue: &mut Queue| queue.cut(String::new());
    let mut queue = queue(9, Hidden::default());
    cut(&mut queue);
    queue.back();
    queue.changes(vec![put("a", 2, 2)]);
    queue.drop_changes();
    assert_eq!(drain(&mut queue), "", "nobody has heard of that cut");
    cut(&mut queue);
    queue.pop();
    queue.back();
    queue.changes(vec![put("a", 2, 3)]);
    queue.drop_changes();
    queue.difference(found(4, &[put("a", 2, 3)]), "", false);
    assert_eq!(drain(&mut queue), "back +a@3 resync@4");
    cut(&mut queue);
    queue.back();
    queue.changes(vec![put("a", 2, 4)]);
    cut(&mut queue);
    queue.drop_changes();
    assert_eq!(drain(&mut queue), "cut");
}

#[test]
fn of_another_store_that_came_further_all_is_news_too() {
    let known = Known::from([
        ("a".into(), Seen { create: 2, modified: 7 }),
        ("b".into(), Seen { create: 3, modified: 3 }),
    ]);
    let mut queue = Queue::new(9, Hidden::default(), 10, known);
    let now = [put("a", 2, 7), put("c", 4, 4)];
    queue.difference(found(20, &now), "", true);
    assert_eq!(drain(&mut queue), "+a@7 +c@4 -b@20 resync@20");
}
