//! Watches as a caller sees them: one change waited for, or a function called for
//! each.

use crate::dispatch::{Schedule, Strand};
use crate::error::{Error, Result};
use crate::feed::{Feed, Next};
use crate::gate::Gate;
use crate::store::Store;
use crate::sync::Lock;
use crate::types::{Event, EventKind, KeyRange};
use bytes::Bytes;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

/// Events delivered in one go, before other watches get the thread.
const BATCH: usize = 64;

/// How long to wait before a failed repair is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// Which kinds of change are asked for, and whether a delete is the last one.
#[derive(Clone, Copy)]
pub struct Kinds {
    put: bool,
    delete: bool,
    until_deleted: bool,
}

impl Kinds {
    /// All changes, whatever happens to the key.
    pub const ALL: Self = Self { put: true, delete: true, until_deleted: false };

    pub fn from_mask(mask: i32) -> Result<Self> {
        match mask {
            1..=3 => Ok(Self { put: mask & 1 != 0, delete: mask & 2 != 0, until_deleted: true }),
            _ => Err(Error::Invalid(format!("op is {mask}, not 1, 2 or 3"))),
        }
    }

    fn has(self, kind: EventKind) -> bool {
        match kind {
            EventKind::Put => self.put,
            EventKind::Delete => self.delete,
        }
    }
}

/// Takes what a watch reports; one call at a time.
pub trait Consumer: Send {
    /// False ends the watch.
    fn change(&mut self, event: &Event) -> bool;
    /// The last call of a watch that had to end.
    fn ended(&mut self, why: &Error);
}

/// Waits for the next change of a key; none when the time ran out.
pub fn next_change(store: &Store, key: Bytes, timeout: Option<Duration>) -> Result<Option<Event>> {
    let feed = Feed::open(store, KeyRange::single(key))?;
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let event = feed.next(store, deadline);
    feed.close(Error::Closed);
    event
}

/// Begins a watch of one key; its consumer hears nothing before it is activated.
pub fn of_key(
    store: &Arc<Store>,
    key: Bytes,
    kinds: Kinds,
    consumer: Box<dyn Consumer>,
) -> Result<Arc<Watcher>> {
    store.pool().ensure_thread()?;
    let feed = Feed::open(store, KeyRange::single(key))?;
    Ok(Watcher::new(store, feed, kinds, consumer))
}

/// A watch of one key.
pub struct Watcher {
    store: Weak<Store>,
    feed: Arc<Feed>,
    kinds: Kinds,
    gate: Gate,
    schedule: Schedule,
    consumer: Mutex<Box<dyn Consumer>>,
    cancelled: AtomicBool,
    /// Run when the callback that is running has returned.
    afterwards: Mutex<Option<Afterwards>>,
}

type Afterwards = Box<dyn FnOnce() + Send>;

impl Watcher {
    /// The consumer hears nothing before [`Watcher::activate`].
    pub fn new(
        store: &Arc<Store>,
        feed: Arc<Feed>,
        kinds: Kinds,
        consumer: Box<dyn Consumer>,
    ) -> Arc<Self> {
        Arc::new(Self {
            store: Arc::downgrade(store),
            feed,
            kinds,
            gate: Gate::new(store.callbacks()),
            schedule: Schedule::default(),
            consumer: Mutex::new(consumer),
            cancelled: AtomicBool::new(false),
            afterwards: Mutex::default(),
        })
    }

    pub fn activate(self: &Arc<Self>) {
        let strand: Weak<dyn Strand> = Arc::downgrade(&(self.clone() as Arc<dyn Strand>));
        self.feed.set_strand(strand);
        self.wake();
    }

    fn wake(self: &Arc<Self>) {
        if let Some(store) = self.store.upgrade() {
            store.pool().wake(self.clone());
        }
    }

    pub fn store_id(&self) -> u64 {
        self.gate.store()
    }

    /// Ends the watch without waiting for its callback.
    pub fn end(&self) {
        self.gate.shut();
        self.feed.close(Error::Closed);
    }

    /// Ends the watch and waits until its callback is not running, then runs
    /// `retire`. From inside the callback that is put off until it returns. Tells
    /// whether this was the first cancel.
    pub fn cancel(&self, retire: impl FnOnce() + Send + 'static) -> Result<bool> {
        let first = !self.cancelled.swap(true, Ordering::AcqRel);
        self.end();
        if self.gate.is_inside() {
            self.afterwards.hold().get_or_insert(Box::new(retire));
            return Ok(first);
        }
        if let Err(circle) = self.gate.wait() {
            // It did not wait: a later cancel is to.
            if first {
                self.cancelled.store(false, Ordering::Release);
            }
            return Err(circle);
        }
        retire();
        Ok(first)
    }

    /// Lets the consumer in, one call at a time.
    fn pass<T>(&self, call: impl FnOnce(&mut dyn Consumer) -> T) -> Option<T> {
        let answer = self.gate.pass(|| call(&mut **self.consumer.hold()));
        let afterwards = self.afterwards.hold().take();
        if let Some(afterwards) = afterwards {
            afterwards();
        }
        answer
    }

    /// Delivers one event; false when the watch is over.
    fn deliver(&self, event: &Event) -> bool {
        let last = self.kinds.until_deleted && event.kind == EventKind::Delete;
        if !self.kinds.has(event.kind) {
            return !last;
        }
        let go_on = self.pass(|consumer| consumer.change(event));
        go_on == Some(true) && !last
    }

    fn finish(&self, why: Option<&Error>) {
        if let Some(why) = why {
            self.pass(|consumer| consumer.ended(why));
        }
        self.end();
    }
}

impl Strand for Watcher {
    fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    fn failed(&self) {
        self.finish(Some(&Error::Internal("delivering a change failed".into())));
    }

    fn run(self: Arc<Self>) -> bool {
        let Some(store) = self.store.upgrade() else { return false };
        for _ in 0..BATCH {
            if self.gate.is_shut() {
                return false;
            }
            match self.feed.try_next() {
                Next::Event(event) => {
                    if !self.deliver(&event) {
                        self.finish(None);
                        return false;
                    }
                }
                Next::Empty => return false,
                Next::Broken => match self.feed.repair(&store, None) {
                    Ok(()) => {}
                    Err(Error::Unavailable(_)) => {
                        let weak = Arc::downgrade(&self);
                        store.timer().after(PAUSE, move || {
                            if let Some(watcher) = weak.upgrade() {
                                watcher.wake();
                            }
                        });
                        return false;
                    }
                    Err(Error::Closed) => return false,
                    Err(error) => {
                        self.finish(Some(&error));
                        return false;
                    }
                },
                Next::Ended(Error::Closed) => return false,
                Next::Ended(error) => {
                    self.finish(Some(&error));
                    return false;
                }
            }
        }
        true
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.feed.close(Error::Closed);
    }
}
