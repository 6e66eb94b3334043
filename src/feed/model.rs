//! Full queues in every order that a backend's watch and a consumer can take.

use super::mend::Step;
use super::*;
use crate::sync::AtomicUsize;
use crate::types::KeyValue;
use bytes::Bytes;
use loom::thread;
use std::sync::atomic::Ordering;

const LAST: i64 = 4;

/// A feed, and the backend that it watches: of that, what is wanted and what was stored.
struct Watch {
    feed: Feed,
    wanted: Mutex<Option<i64>>,
    asked: Condvar,
    stored: AtomicUsize,
}

impl Watch {
    fn new(overflow: Overflow) -> Arc<Self> {
        let wish = Wish { overflow, queue_max: 1, ..Wish::changes(KeyRange::prefix(b"k")) };
        Arc::new(Self {
            feed: Feed::alone(&wish, 1, Known::new(), 0, Default::default()),
            wanted: Mutex::new(Some(1)),
            asked: Condvar::new(),
            stored: AtomicUsize::new(0),
        })
    }

    fn ask(&self, start: i64) {
        *self.wanted.hold() = Some(start);
        self.asked.notify_one();
    }

    /// As the backend: a change after the other, to each watch for as long as that is
    /// wanted, until one is asked for that begins after them all.
    fn serve(&self) {
        loop {
            let mut wanted = self.wanted.hold();
            let start = loop {
                match wanted.take() {
                    Some(start) => break start,
                    None => wanted = wait_until(&self.asked, wanted, None).0,
                }
            };
            drop(wanted);
            if start > LAST {
                return;
            }
            let _ = self.tell(Notice::Started)
                && (start..=LAST).all(|revision| {
                    self.stored.fetch_max(revision as usize, Ordering::AcqRel);
                    self.tell(Notice::Events(vec![Event::put(kv(revision), None)]))
                });
        }
    }

    fn tell(&self, notice: Notice) -> bool {
        let goes_on = self.feed.take(notice);
        self.feed.arrived.notify_all();
        goes_on
    }

    /// As the consumer.
    fn next(&self) -> Item {
        loop {
            match self.feed.try_next() {
                Next::Item(item) => return item,
                Next::Ended(error) => panic!("{error}"),
                Next::Broken => match self.feed.step(|| 0) {
                    Some(Step::Begin { start, .. }) => self.ask(start),
                    Some(Step::List(why)) => {
                        let found = Arc::new(Mutex::new(Some(self.list())));
                        self.feed.inner.hold().link = Link::Listed(why, found);
                    }
                    None => {}
                },
                Next::Empty => {
                    let inner = self.feed.inner.hold();
                    if inner.has_nothing() {
                        drop(wait_until(&self.feed.arrived, inner, None));
                    }
                }
            }
        }
    }

    fn list(&self) -> Found {
        let revision = self.stored.load(Ordering::Acquire) as i64;
        let kvs: Vec<_> = (1..=revision).map(kv).collect();
        Found { total: kvs.len() as u64, kvs, revision, more: false }
    }

    /// The revisions of what is told until the last, with 0 for each RESYNC.
    fn consume(&self) -> Vec<i64> {
        let mut told = Vec::new();
        loop {
            match self.next() {
                Item::Change { event, .. } => told.push(event.revision()),
                Item::Resync { .. } => told.push(0),
                other => panic!("{other:?}"),
            }
            if told.last() == Some(&LAST) {
                self.ask(LAST + 1);
                return told;
            }
        }
    }
}

fn kv(revision: i64) -> KeyValue {
    KeyValue {
        key: format!("k{revision}").into(),
        value: Bytes::new(),
        create_revision: revision,
        mod_revision: revision,
        version: 1,
        lease: 0,
    }
}

fn explore(overflow: Overflow, check: fn(Vec<i64>)) {
    loom::model(move || {
        let watch = Watch::new(overflow);
        let backend = watch.clone();
        let backend = thread::spawn(move || backend.serve());
        check(watch.consume());
        backend.join().expect("it ends");
    });
}

#[test]
fn model_a_full_queue_loses_nothing_and_tells_nothing_twice() {
    explore(Overflow::Resume, |told| assert_eq!(told, [1, 2, 3, 4]));
}

#[test]
fn model_of_a_dropped_queue_the_difference_tells_all_and_nothing_twice() {
    explore(Overflow::Resync, |mut told| {
        told.retain(|revision| *revision != 0);
        assert_eq!(told, [1, 2, 3, 4]);
    });
}
