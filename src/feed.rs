//! The changes of a key range as a gapless sequence, for one consumer.
//!
//! A feed stands between a backend's watch and whoever consumes it. Its queue is
//! bounded: when it is full the backend's watch ends, and is begun again at the
//! next revision once the queue is empty. When that revision is compacted by then,
//! the range is read instead and the difference to what was consumed becomes
//! events.

use crate::backend::{Notice, WatchSink, WatchToken};
use crate::dispatch::Strand;
use crate::error::{Error, Result};
use crate::gate::unique_id;
use crate::log::{log, Level};
use crate::request::Range;
use crate::store::Store;
use crate::sync::{wait_until, Lock};
use crate::types::{Event, EventKind, KeyRange};
use bytes::Bytes;
use once_cell::sync::OnceCell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::time::{Duration, Instant};

/// A full queue; one answer of the server may still go over it.
const QUEUE_EVENTS: usize = 4096;
const QUEUE_BYTES: usize = 16 << 20;

/// How long a consumer that waits by itself pauses after a failed repair.
const PAUSE: Duration = Duration::from_millis(250);

pub struct Feed {
    pub id: u64,
    keys: KeyRange,
    inner: Mutex<Inner>,
    arrived: Condvar,
    /// Run when there is something to consume.
    strand: OnceCell<Weak<dyn Strand>>,
}

struct Inner {
    queue: VecDeque<Event>,
    bytes: usize,
    /// From here on nothing is queued yet.
    next: i64,
    /// Create revisions of the keys that exist, as far as was consumed; 0 where it
    /// is not known.
    known: BTreeMap<Bytes, i64>,
    link: Link,
    token: Option<WatchToken>,
}

/// How the backend's watch stands.
#[derive(Clone)]
enum Link {
    Starting,
    Live,
    /// The queue was full.
    Cut,
    Compacted,
    Ended(Error),
}

pub enum Next {
    Event(Event),
    Empty,
    /// Call [`Feed::repair`].
    Broken,
    Ended(Error),
}

impl Feed {
    /// Begins with the first change after this call's linearizable read; returns
    /// when the server watches.
    pub fn open(store: &Store, keys: KeyRange) -> Result<Arc<Self>> {
        let deadline = store.deadline();
        let range = Range { keys_only: true, ..Range::new(keys.clone()) };
        let found = store.call_until(range.into(), deadline)?.into_range()?;
        let known = found.kvs.into_iter().map(|kv| (kv.key, kv.create_revision)).collect();
        let feed = Self::open_at(store, keys, found.revision + 1, known)?;
        match feed.wait_started(deadline) {
            Ok(()) => Ok(feed),
            Err(error) => {
                feed.close(error.clone());
                Err(error)
            }
        }
    }

    /// Begins with revision `start`, before which the keys `known` exist; does not
    /// wait for the server.
    pub fn open_at(
        store: &Store,
        keys: KeyRange,
        start: i64,
        known: BTreeMap<Bytes, i64>,
    ) -> Result<Arc<Self>> {
        let feed = Arc::new(Self {
            id: unique_id(),
            keys,
            inner: Mutex::new(Inner {
                queue: VecDeque::new(),
                bytes: 0,
                next: start,
                known,
                link: Link::Starting,
                token: None,
            }),
            arrived: Condvar::new(),
            strand: OnceCell::new(),
        });
        store.enlist(&feed)?;
        feed.begin(store, start);
        Ok(feed)
    }

    /// Whom to run from now on when there is something to consume.
    pub fn set_strand(&self, strand: Weak<dyn Strand>) {
        let _ = self.strand.set(strand);
    }

    fn begin(self: &Arc<Self>, store: &Store, start: i64) {
        let sink = Arc::new(Sink { feed: Arc::downgrade(self), pool: store.pool().clone() });
        let token = store.backend().watch(self.keys.clone(), start, sink);
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
                // A watch that broke since is repaired by whoever consumes it.
                Link::Live | Link::Cut | Link::Compacted => return Ok(()),
                Link::Ended(error) => return Err(error.clone()),
            }
            let (next, in_time) = wait_until(&self.arrived, inner, Some(deadline));
            inner = next;
            if !in_time {
                return Err(Error::Unavailable("the watch was not confirmed in time".into()));
            }
        }
    }

    /// Takes the next event without waiting.
    pub fn try_next(&self) -> Next {
        let mut inner = self.inner.hold();
        if let Some(event) = inner.queue.pop_front() {
            inner.bytes -= size(&event);
            match event.kind {
                EventKind::Put => {
                    inner.known.insert(event.kv.key.clone(), event.kv.create_revision)
                }
                EventKind::Delete => inner.known.remove(&event.kv.key),
            };
            return Next::Event(event);
        }
        match &inner.link {
            Link::Cut | Link::Compacted => Next::Broken,
            Link::Starting | Link::Live => Next::Empty,
            Link::Ended(error) => Next::Ended(error.clone()),
        }
    }

    /// Waits for the next event; none when the deadline came first.
    pub fn next(
        self: &Arc<Self>,
        store: &Store,
        deadline: Option<Instant>,
    ) -> Result<Option<Event>> {
        loop {
            match self.try_next() {
                Next::Event(event) => return Ok(Some(event)),
                Next::Ended(error) => return Err(error),
                Next::Broken => match self.repair(store, deadline) {
                    Ok(()) => continue,
                    Err(Error::Unavailable(_)) => {
                        let pause = Instant::now() + PAUSE;
                        let until = deadline.map_or(pause, |deadline| deadline.min(pause));
                        self.wait_while(Some(until), |link| !matches!(link, Link::Ended(_)));
                    }
                    Err(error) => return Err(error),
                },
                Next::Empty => {
                    self.wait_while(deadline, |link| matches!(link, Link::Starting | Link::Live));
                }
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                if let Next::Event(event) = self.try_next() {
                    return Ok(Some(event));
                }
                return Ok(None);
            }
        }
    }

    /// Waits for a notice unless there is something to do already.
    fn wait_while(&self, deadline: Option<Instant>, idle: impl Fn(&Link) -> bool) {
        let inner = self.inner.hold();
        if inner.queue.is_empty() && idle(&inner.link) {
            drop(wait_until(&self.arrived, inner, deadline));
        }
    }

    /// Begins the backend's watch again after [`Next::Broken`]. Blocks.
    pub fn repair(self: &Arc<Self>, store: &Store, deadline: Option<Instant>) -> Result<()> {
        let compacted = matches!(self.inner.hold().link, Link::Compacted);
        let deadline = deadline.map_or(store.deadline(), |it| it.min(store.deadline()));
        let start = if compacted { self.resync(store, deadline)? } else { self.inner.hold().next };
        {
            let mut inner = self.inner.hold();
            if let Link::Ended(error) = &inner.link {
                return Err(error.clone());
            }
            inner.link = Link::Starting;
        }
        self.begin(store, start);
        Ok(())
    }

    /// Reads the range and queues the difference to what was consumed. A key that
    /// was created anew counts as deleted and stored.
    fn resync(&self, store: &Store, deadline: Instant) -> Result<i64> {
        let range = Range::new(self.keys.clone());
        let found = store.call_until(range.into(), deadline)?.into_range()?;
        log(Level::Warn, || {
            format!(
                "watch: compacted history; {} keys listed at revision {}",
                found.kvs.len(),
                found.revision
            )
        });
        let mut inner = self.inner.hold();
        let consumed = inner.next;
        let mut gone = inner.known.clone();
        let mut events = Vec::new();
        for kv in found.kvs {
            let known = gone.remove(&kv.key);
            if known.is_some_and(|created| created != 0 && created != kv.create_revision) {
                events.push(Event::delete(kv.key.clone(), kv.create_revision));
            }
            if kv.mod_revision >= consumed {
                events.push(Event::put(kv));
            }
        }
        events.extend(gone.into_keys().map(|key| Event::delete(key, found.revision)));
        inner.bytes += events.iter().map(size).sum::<usize>();
        inner.queue.extend(events);
        inner.next = found.revision + 1;
        Ok(inner.next)
    }

    /// Ends the feed; whoever consumes it gets `why`.
    pub fn close(&self, why: Error) {
        let mut inner = self.inner.hold();
        if !matches!(inner.link, Link::Ended(_)) {
            inner.link = Link::Ended(why);
        }
        let token = inner.token.take();
        let queue = std::mem::take(&mut inner.queue);
        drop(inner);
        self.arrived.notify_all();
        drop((token, queue));
    }
}

fn size(event: &Event) -> usize {
    event.kv.key.len() + event.kv.value.len()
}

/// What the backend tells. It holds the feed weakly: the feed holds the backend's
/// watch.
struct Sink {
    feed: Weak<Feed>,
    pool: Arc<crate::dispatch::Pool>,
}

impl WatchSink for Sink {
    fn notice(&self, notice: Notice) -> bool {
        let Some(feed) = self.feed.upgrade() else { return false };
        let wanted = feed.take(notice);
        feed.arrived.notify_all();
        if let Some(strand) = feed.strand.get().and_then(Weak::upgrade) {
            self.pool.wake(strand);
        }
        wanted
    }
}

impl Feed {
    fn take(&self, notice: Notice) -> bool {
        let mut inner = self.inner.hold();
        if matches!(inner.link, Link::Ended(_)) {
            return false;
        }
        match notice {
            Notice::Started => inner.link = Link::Live,
            Notice::Progress(revision) => inner.next = inner.next.max(revision + 1),
            Notice::Compacted => inner.link = Link::Compacted,
            Notice::Failed(error) => inner.link = Link::Ended(error),
            Notice::Events(events) => {
                let next = inner.next;
                for event in events.into_iter().filter(|event| event.revision() >= next) {
                    inner.next = event.revision() + 1;
                    inner.bytes += size(&event);
                    inner.queue.push_back(event);
                }
                if inner.queue.len() > QUEUE_EVENTS || inner.bytes > QUEUE_BYTES {
                    inner.link = Link::Cut;
                }
            }
        }
        matches!(inner.link, Link::Starting | Link::Live)
    }
}
