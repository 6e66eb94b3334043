//! The changes of a key range as a gapless sequence, for one consumer.
//!
//! A feed stands between a backend's watch and whoever consumes it. Its queue is
//! bounded: when it is full the backend's watch ends, and is begun again at the
//! next revision once the queue is empty. When that revision is compacted by then,
//! the range is read instead and the difference to what was consumed becomes
//! events. Whoever consumes has that done, by [`Feed::mend`], and does not wait.

mod mend;
#[cfg(all(test, model))]
mod model;
mod queue;

pub use queue::{Hidden, Known, Queue, Seen};

use crate::backend::{Notice, Wanted, WatchSink, WatchToken};
use crate::error::{Error, Result};
use crate::gate::unique_id;
use crate::kv;
use crate::metrics::Metrics;
use crate::request::{Found, Range};
use crate::store::Store;
use crate::sync::{wait_until, Condvar, Lock, Mutex};
use crate::types::{Event, KeyRange};
use once_cell::sync::OnceCell;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

pub const QUEUE_MAX: usize = 4096;

/// How long to wait before the range is read again after a failure.
const PAUSE: Duration = Duration::from_millis(250);

/// What a consumer gets.
#[derive(Clone, Debug)]
pub enum Item {
    Change {
        event: Event,
        /// No further one of its revision follows.
        last: bool,
        /// Of the change, or of the state that it was found in.
        revision: i64,
    },
    /// The snapshot is complete.
    Synced(i64),
    /// The difference to a later state is complete.
    Resync {
        revision: i64,
        why: String,
    },
    /// The server cannot be reached; it is there again.
    Cut(String),
    Back,
}

/// What a feed is to give.
#[derive(Clone, Debug)]
pub struct Wish {
    pub keys: KeyRange,
    pub from: From,
    pub prev: bool,
    pub hidden: Hidden,
    /// With [`Item::Cut`] and [`Item::Back`].
    pub states: bool,
    pub queue_max: usize,
    pub overflow: Overflow,
}

impl Wish {
    /// Every change after now.
    pub fn changes(keys: KeyRange) -> Self {
        Self {
            keys,
            from: From::Now,
            prev: false,
            hidden: Hidden::default(),
            states: false,
            queue_max: QUEUE_MAX,
            overflow: Overflow::Resume,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    Now,
    Revision(i64),
    /// What is there, then every change after it.
    Snapshot,
}

/// What becomes of changes that find the queue full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    Resume,
    Coalesce,
    Resync,
    End,
}

pub struct Feed {
    pub id: u64,
    keys: KeyRange,
    prev: bool,
    states: bool,
    overflow: Overflow,
    metrics: Arc<Metrics>,
    inner: Mutex<Inner>,
    arrived: Condvar,
    /// Called when there may be something to consume.
    waker: OnceCell<Waker>,
}

type Waker = Box<dyn Fn() + Send + Sync>;

struct Inner {
    queue: Queue,
    /// From here on nothing is queued yet, in the store of this era.
    next: i64,
    era: u64,
    link: Link,
    /// The server watched at least once.
    started: bool,
    cut: bool,
    token: Option<WatchToken>,
}

/// How the backend's watch stands.
#[derive(Clone)]
enum Link {
    Starting,
    Live,
    /// The queue was full.
    Full,
    /// The changes from here on cannot be had, for this reason.
    Missing(&'static str),
    /// The range is being read instead.
    Listing,
    Listed(&'static str, Arc<Mutex<Option<Found>>>),
    Ended(Error),
}

pub enum Next {
    Item(Item),
    Empty,
    /// Call [`Feed::mend`].
    Broken,
    Ended(Error),
}

const COMPACTED: &str = "the changes are compacted";
pub const REPLACED: &str = "the store was replaced";
pub const TOO_SLOW: &str = "the consumer was too slow";

impl Feed {
    /// Begins as wished, by a linearizable read; returns when the server watches.
    pub fn open(store: &Store, wish: &Wish) -> Result<Arc<Self>> {
        let list = |range: Range| kv::read(store, range, || store.deadline());
        let all = Range::new(wish.keys.clone());
        let era = store.era();
        let feed = match wish.from {
            From::Snapshot => {
                let found = list(all)?;
                let (start, known) = (found.revision + 1, Known::new());
                let feed = Self::new(store, wish, start, known, era)?;
                feed.inner.hold().queue.snapshot(found);
                feed.begin(store, start, era);
                feed
            }
            From::Now => {
                let found = list(Range { keys_only: true, ..all })?;
                let start = found.revision + 1;
                Self::open_at(store, wish, start, seen(&found), era)?
            }
            From::Revision(start) => {
                let known = known_before(Range { keys_only: true, ..all }, start, list)?;
                Self::open_at(store, wish, start, known, era)?
            }
        };
        match feed.wait_started(store.deadline()) {
            Ok(()) => Ok(feed),
            Err(error) => {
                feed.close(error.clone());
                Err(error)
            }
        }
    }

    /// Begins with revision `start`, before which the keys `known` exist; does not
    /// wait for the server. `era` was read before the request that told the revision:
    /// had the store been replaced in between, it would mean another one there.
    pub fn open_at(
        store: &Store,
        wish: &Wish,
        start: i64,
        known: Known,
        era: u64,
    ) -> Result<Arc<Self>> {
        let feed = Self::new(store, wish, start, known, era)?;
        feed.begin(store, start, era);
        Ok(feed)
    }

    fn new(store: &Store, wish: &Wish, start: i64, known: Known, era: u64) -> Result<Arc<Self>> {
        let feed = Arc::new(Self::alone(wish, start, known, era, store.metrics().clone()));
        store.enlist(&feed)?;
        Ok(feed)
    }

    fn alone(wish: &Wish, start: i64, known: Known, era: u64, metrics: Arc<Metrics>) -> Self {
        Self {
            id: unique_id(),
            keys: wish.keys.clone(),
            prev: wish.prev,
            states: wish.states,
            overflow: wish.overflow,
            metrics,
            inner: Mutex::new(Inner {
                queue: Queue::new(wish.queue_max, wish.hidden, start, known),
                next: start,
                era,
                link: Link::Starting,
                started: false,
                cut: false,
                token: None,
            }),
            arrived: Condvar::new(),
            waker: OnceCell::new(),
        }
    }

    /// Whom to call when there may be something to consume, now or later. It must not block.
    pub fn set_waker(&self, waker: impl Fn() + Send + Sync + 'static) {
        let _ = self.waker.set(Box::new(waker));
        self.tell();
    }

    fn begin(self: &Arc<Self>, store: &Store, start: i64, era: u64) {
        let sink = Arc::new(Sink(Arc::downgrade(self)));
        let (keys, resumed) = (self.keys.clone(), self.inner.hold().started);
        let wanted = Wanted { keys, start, prev: self.prev, era, resumed };
        let token = store.watch(wanted, sink);
        let mut inner = self.inner.hold();
        let unwanted = match inner.link {
            Link::Ended(_) => Some(token),
            _ => inner.token.replace(token),
        };
        drop(inner);
        drop(unwanted);
    }

    fn wait_started(&self, deadline: Instant) -> Result<()> {
        let mut inner = self.inner.hold();
        loop {
            match &inner.link {
                Link::Starting => {}
                Link::Ended(error) if !inner.started => return Err(error.clone()),
                // What broke since is mended by whoever consumes it.
                _ => return Ok(()),
            }
            let (next, in_time) = wait_until(&self.arrived, inner, Some(deadline));
            inner = next;
            if !in_time {
                return Err(Error::Unavailable("the watch was not confirmed in time".into()));
            }
        }
    }

    /// Takes the next item without waiting.
    pub fn try_next(&self) -> Next {
        let mut inner = self.inner.hold();
        if let Some(item) = inner.queue.pop() {
            match item {
                Item::Change { .. } => self.metrics.watch_events.add_one(),
                Item::Resync { .. } => self.metrics.resyncs.add_one(),
                Item::Synced(_) | Item::Cut(_) | Item::Back => {}
            }
            return Next::Item(item);
        }
        match &inner.link {
            Link::Full | Link::Missing(_) | Link::Listed(..) => Next::Broken,
            Link::Starting | Link::Live | Link::Listing => Next::Empty,
            Link::Ended(error) => Next::Ended(error.clone()),
        }
    }

    /// Waits for the next item; none when the deadline came first.
    pub fn next(
        self: &Arc<Self>,
        store: &Arc<Store>,
        deadline: Option<Instant>,
    ) -> Result<Option<Item>> {
        let mut late = false;
        loop {
            match self.try_next() {
                Next::Item(item) => return Ok(Some(item)),
                Next::Ended(error) => return Err(error),
                Next::Broken => {
                    self.mend(store);
                    continue;
                }
                Next::Empty if late => return Ok(None),
                Next::Empty => {
                    let inner = self.inner.hold();
                    if inner.has_nothing() {
                        late = !wait_until(&self.arrived, inner, deadline).1;
                    }
                }
            }
        }
    }

    /// Waits for the next change.
    pub fn next_change(
        self: &Arc<Self>,
        store: &Arc<Store>,
        deadline: Option<Instant>,
    ) -> Result<Option<Event>> {
        loop {
            match self.next(store, deadline)? {
                Some(Item::Change { event, .. }) => return Ok(Some(event)),
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }

    /// The revision up to which all changes were consumed, where nothing waits and the
    /// server watches.
    pub fn reached(&self) -> Option<i64> {
        let inner = self.inner.hold();
        let watches = matches!(inner.link, Link::Live) && !inner.cut;
        (watches && inner.queue.is_empty()).then(|| inner.next - 1)
    }

    /// There may be something to consume.
    fn tell(&self) {
        self.arrived.notify_all();
        if let Some(wake) = self.waker.get() {
            wake();
        }
    }

    /// For whoever consumes, be it to mend it.
    pub fn has_something(&self) -> bool {
        !self.inner.hold().has_nothing()
    }

    /// How many items wait for the consumer.
    pub fn waiting(&self) -> usize {
        self.inner.hold().queue.len()
    }

    /// Ends the feed; whoever consumes it gets `why`.
    pub fn close(&self, why: Error) {
        let mut inner = self.inner.hold();
        if !matches!(inner.link, Link::Ended(_)) {
            inner.link = Link::Ended(why);
        }
        let token = inner.token.take();
        inner.queue.clear();
        drop(inner);
        self.arrived.notify_all();
        drop(token);
    }
}

impl Inner {
    fn has_nothing(&self) -> bool {
        let quiet = matches!(self.link, Link::Starting | Link::Live | Link::Listing);
        self.queue.is_empty() && quiet
    }
}

fn seen(found: &Found) -> Known {
    found.kvs.iter().map(|kv| (kv.key.clone(), Seen::of(kv))).collect()
}

/// The keys that existed before revision `start`, as far as that can be known.
fn known_before(all: Range, start: i64, list: impl Fn(Range) -> Result<Found>) -> Result<Known> {
    if start <= 1 {
        // Nothing was before; but it may be compacted.
        list(Range { revision: 1, limit: 1, ..all })?;
        return Ok(Known::new());
    }
    match list(Range { revision: start - 1, ..all.clone() }) {
        Ok(found) => Ok(seen(&found)),
        // It is yet to come.
        Err(Error::Invalid(_)) => Ok(seen(&list(all)?)),
        Err(error) => Err(error),
    }
}

/// What the backend tells. It holds the feed weakly: the feed holds the backend's
/// watch.
struct Sink(Weak<Feed>);

impl WatchSink for Sink {
    fn notice(&self, notice: Notice) -> bool {
        let Some(feed) = self.0.upgrade() else { return false };
        let wanted = feed.take(notice);
        feed.tell();
        wanted
    }
}

impl Feed {
    fn take(&self, notice: Notice) -> bool {
        let inner = &mut *self.inner.hold();
        if !matches!(inner.link, Link::Starting | Link::Live) {
            return false;
        }
        match notice {
            Notice::Started => {
                inner.link = Link::Live;
                inner.started = true;
                if std::mem::take(&mut inner.cut) {
                    inner.queue.back();
                }
            }
            Notice::Cut(why) => {
                if self.states && !std::mem::replace(&mut inner.cut, true) {
                    inner.queue.cut(why);
                }
            }
            Notice::Progress(revision) => inner.next = inner.next.max(revision + 1),
            Notice::Compacted => inner.link = Link::Missing(COMPACTED),
            Notice::Replaced => inner.link = Link::Missing(REPLACED),
            Notice::Gap(why) => inner.link = Link::Missing(why),
            Notice::Failed(error) => inner.link = Link::Ended(error),
            Notice::Events(mut events) => {
                events.retain(|event| event.revision() >= inner.next);
                if let Some(last) = events.last() {
                    inner.next = last.revision() + 1;
                }
                inner.queue.changes(events);
                if inner.queue.is_full() {
                    self.overflow(inner);
                }
            }
        }
        matches!(inner.link, Link::Starting | Link::Live)
    }

    fn overflow(&self, inner: &mut Inner) {
        match self.overflow {
            Overflow::Resume => inner.link = Link::Full,
            Overflow::Coalesce => {
                if !inner.queue.coalesce() {
                    inner.link = Link::Full;
                }
            }
            Overflow::Resync => {
                inner.queue.drop_changes();
                inner.link = Link::Missing(TOO_SLOW);
            }
            Overflow::End => {
                let why = format!("{TOO_SLOW}: queue_max events waited");
                inner.link = Link::Ended(Error::TooLarge(why));
            }
        }
    }
}
