//! What is above the backends, with one that counts eras and can leave renewals without
//! an answer.

use super::*;
use crate::feed::{From, Item, Wish};
use crate::kv;
use crate::lease::Terms;
use crate::lock::{observe, Attempt, Wait};
use crate::types::{Event, KeyRange};
use crate::watch::{self, Consumer, Kinds, Taken, To};
use std::sync::atomic::AtomicU64;

/// A machine that is busy may take so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whose store is another one after each answer. Of `mem:`, it is always the same one.
struct Odd {
    backend: Arc<dyn Backend>,
    era: AtomicU64,
    /// By the revision that answers told: the eras in which they were asked for.
    told: Mutex<HashMap<i64, Vec<u64>>>,
    watched: Mutex<Vec<Wanted>>,
    /// Renewals, which nobody answers.
    unanswered: Mutex<Option<Vec<Completion>>>,
}

#[derive(Clone, Copy)]
enum Told {
    First,
    Last,
}

impl Odd {
    fn open() -> (Arc<Store>, Arc<Self>) {
        let name = format!("mem:store-{}", unique_id());
        let mut odd = None;
        let store = Store::open_over(&name, "temp_ttl=1m lock_ttl=1m timeout=1m", |backend| {
            let made = Arc::new(Self {
                backend,
                era: AtomicU64::new(1),
                told: Mutex::default(),
                watched: Mutex::default(),
                unanswered: Mutex::default(),
            });
            odd = Some(made.clone());
            made
        });
        (store.expect("a store"), odd.expect("it was asked for"))
    }

    /// Those of one key or of keys that begin so.
    fn watched(&self, keys: &KeyRange) -> Vec<Wanted> {
        self.watched.hold().iter().filter(|wanted| wanted.keys == *keys).cloned().collect()
    }

    /// So many watches of these keys have begun, each in the era before the answer from
    /// which its start is known: the first or the last one so far that told it.
    fn check(&self, keys: &KeyRange, count: usize, by: Told) {
        until("the watches", || self.watched(keys).len() >= count);
        for wanted in self.watched(keys) {
            let told = self.told.hold();
            let eras = told.get(&(wanted.start - 1)).expect("an answer told the revision");
            let told = match by {
                Told::First => *eras.iter().min().expect("one"),
                Told::Last => *eras.iter().max().expect("one"),
            };
            assert!(wanted.era <= told, "{keys:?}: era {} of {told}", wanted.era);
        }
    }
}

impl Backend for Odd {
    fn submit(
        &self,
        request: Request,
        deadline: Instant,
        done: Completion,
    ) -> Option<Box<dyn Flight>> {
        if let (Request::Renew { .. }, Some(kept)) = (&request, &mut *self.unanswered.hold()) {
            kept.push(done);
            return None;
        }
        self.backend.submit(request, deadline, done)
    }

    fn call(&self, request: Request, deadline: Instant) -> Result<Response> {
        let before = self.era();
        let answer = self.backend.call(request, deadline);
        let revision = match &answer {
            Ok(Response::Range(found)) => Some(found.revision),
            Ok(Response::Txn(answer)) => Some(answer.revision),
            _ => None,
        };
        if let Some(revision) = revision {
            self.told.hold().entry(revision).or_default().push(before);
            self.era.fetch_add(1, Ordering::SeqCst);
        }
        answer
    }

    fn watch(&self, wanted: Wanted, sink: Arc<dyn WatchSink>) -> WatchToken {
        self.watched.hold().push(wanted.clone());
        self.backend.watch(wanted, sink)
    }

    fn era(&self) -> u64 {
        self.era.load(Ordering::SeqCst)
    }

    fn wants_pages(&self) -> bool {
        self.backend.wants_pages()
    }

    fn abort(&self) {
        self.backend.abort();
    }

    fn close(&self) {
        self.backend.close();
    }

    fn cluster(&self, deadline: Instant) -> Result<crate::cluster::Cluster> {
        self.backend.cluster(deadline)
    }

    fn fault(&self, fault: Fault) -> Result<()> {
        self.backend.fault(fault)
    }
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(2));
    }
}

struct Ignoring;

impl Consumer for Ignoring {
    fn change(&mut self, _event: &Event) -> bool {
        true
    }

    fn item(&mut self, _item: &Item) -> Taken {
        Taken::Called(true)
    }

    fn ended(&mut self, _why: &Error) {}
}

fn key(name: &str) -> KeyRange {
    KeyRange::single(name.to_owned())
}

#[test]
fn watches_begin_in_the_era_of_the_answer_that_told_their_start() {
    let (store, odd) = Odd::open();
    kv::put(&store, "now".into(), "value".into()).expect("a put");
    for (count, from) in [(1, From::Now), (2, From::Snapshot)] {
        let wish = Wish { from, ..Wish::changes(key("now")) };
        watch::open(&store, &wish, Kinds::ALL, To::Push(Box::new(Ignoring))).expect("a watch");
        odd.check(&key("now"), count, Told::Last);
    }
    observe(&store, b"leader", Box::new(Ignoring)).expect("an observer");
    odd.check(&KeyRange::prefix(b"leader/"), 1, Told::Last);
    store.close(Vec::new());
}

#[test]
fn locks_watch_in_the_era_of_the_answer_that_told_of_the_key() {
    let (store, odd) = Odd::open();
    let ahead = "hbtd_dist_lock/1";
    kv::put(&store, ahead.into(), "".into()).expect("a put");
    let acquiring = store.clone();
    let acquiring = std::thread::spawn(move || acquiring.lock().acquire(Wait::Forever));
    odd.check(&key(ahead), 1, Told::Last);
    kv::delete(&store, ahead.into()).expect("a delete");
    assert_eq!(acquiring.join().expect("it ends").expect("the lock"), Attempt::Held);
    let own = kv::range_inclusive(&store, "hbtd_dist_lock/".into(), "hbtd_dist_lock0".into());
    let own = own.expect("a range").kvs.first().expect("its key").key.clone();
    odd.check(&KeyRange::single(own), 1, Told::First);
    store.close(Vec::new());
}

#[test]
fn temporary_keys_are_watched_in_the_era_in_which_they_were_stored() {
    let (store, odd) = Odd::open();
    store.temp_key("temp".into()).expect("a temporary key");
    odd.check(&key("temp"), 1, Told::First);
    // Restored under another lease, it is watched anew.
    store.fault("expire").expect("a fault");
    odd.check(&key("temp"), 2, Told::First);
    store.close(Vec::new());
}

#[test]
fn a_loss_is_found_though_the_answer_to_a_renewal_never_comes() {
    let (store, odd) = Odd::open();
    let lost = Arc::new(Mutex::new(None));
    let told = lost.clone();
    let terms = Terms::of(Duration::from_secs(1));
    *odd.unanswered.hold() = Some(Vec::new());
    let lease = crate::lease::Lease::grant(&store, terms, store.deadline(), move |_, why| {
        *told.hold() = Some(why.to_owned());
    });
    let lease = lease.expect("a lease");
    // Nobody asks the lease, which would find the loss by itself.
    until("the loss", || lost.hold().is_some());
    assert_eq!(lost.hold().as_deref(), Some("it was not renewed in time"));
    assert_eq!(lease.left(), Duration::ZERO);
    let renewals = odd.unanswered.hold().take().unwrap_or_default();
    assert!(renewals.len() <= 1, "it went on");
    store.close(Vec::new());
}
