//! Watches as a caller sees them: a change or event waited for, or a function called
//! for each.

use crate::dispatch::{Dispatcher, Schedule, Strand, Turn};
use crate::error::{Error, Result};
use crate::feed::{Feed, Item, Next, Wish};
use crate::gate::Gate;
use crate::signal::Once;
use crate::store::{Child, Store};
use crate::sync::Lock;
use crate::types::{Event, EventKind, KeyRange};
use bytes::Bytes;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

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

/// What a consumer made of an item.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Nothing.
    LeftOut,
    /// A callback ran, as far as there is one; whether the watch goes on.
    Called(bool),
}

impl Taken {
    pub fn goes_on(self) -> bool {
        self != Self::Called(false)
    }
}

/// Takes what a watch reports; one call at a time.
pub trait Consumer: Send {
    /// False ends the watch.
    fn change(&mut self, event: &Event) -> bool;
    /// Anything; by default changes alone.
    fn item(&mut self, item: &Item) -> Taken {
        match item {
            Item::Change { event, .. } => Taken::Called(self.change(event)),
            _ => Taken::LeftOut,
        }
    }
    /// The last call of a watch that had to end.
    fn ended(&mut self, why: &Error);
}

/// How long the library waits before it opens a watch of its own again that had to end:
/// longer each time, for one that is denied may be so for ever.
#[derive(Clone, Copy)]
pub struct Pause(Duration);

impl Pause {
    pub const FIRST: Self = Self(Duration::from_millis(250));

    pub fn length(self) -> Duration {
        self.0
    }

    pub fn next(self) -> Self {
        Self((self.0 * 2).min(Duration::from_secs(8)))
    }
}

/// Keeps what a watch reported until the next one, for who pulls.
pub trait Keeper: Send {
    /// Where the caller finds it.
    fn keep(&mut self, told: Told) -> Result<Address>;
}

pub enum Told {
    Item(Item),
    Ended(Error),
}

/// Of something that a [`Keeper`] keeps.
pub struct Address(pub *const ());

pub enum To {
    Push(Box<dyn Consumer>),
    Pull(Box<dyn Keeper>),
}

/// Waits for the next change of a key; none when the time ran out.
pub fn next_change(
    store: &Arc<Store>,
    key: Bytes,
    timeout: Option<Duration>,
) -> Result<Option<Event>> {
    let feed = Feed::open(store, &Wish::changes(KeyRange::single(key)))?;
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let event = feed.next_change(store, deadline);
    feed.close(Error::Closed);
    event
}

/// Begins a watch; its consumer hears nothing before it is activated.
pub fn open(store: &Arc<Store>, wish: &Wish, kinds: Kinds, to: To) -> Result<Arc<Watcher>> {
    let dispatcher = store.dispatcher().clone();
    if matches!(to, To::Push(_)) {
        dispatcher.ensure_thread()?;
    }
    let feed = Feed::open(store, wish)?;
    Ok(Watcher::new(store, dispatcher, feed, kinds, to))
}

/// A watch with its consumer.
pub struct Watcher {
    store: Weak<Store>,
    dispatcher: Dispatcher,
    feed: Arc<Feed>,
    kinds: Kinds,
    gate: Gate,
    schedule: Schedule,
    /// None when the watch is over: whoever consumed has nothing to fear any more.
    consumer: Mutex<Option<Box<dyn Consumer>>>,
    keeper: Mutex<Option<Pulled>>,
    /// A thread is about to take the next event.
    pulling: AtomicBool,
    cancelled: AtomicBool,
    /// Run when the callback that is running has returned.
    afterwards: Mutex<Option<Afterwards>>,
}

struct Pulled {
    keeper: Box<dyn Keeper>,
    /// It was told.
    ended: Option<Error>,
}

type Afterwards = Box<dyn FnOnce() + Send>;

impl Watcher {
    /// The consumer hears nothing before [`Watcher::activate`].
    pub fn new(
        store: &Arc<Store>,
        dispatcher: Dispatcher,
        feed: Arc<Feed>,
        kinds: Kinds,
        to: To,
    ) -> Arc<Self> {
        let (consumer, keeper) = match to {
            To::Push(consumer) => (Some(consumer), None),
            To::Pull(keeper) => (None, Some(Pulled { keeper, ended: None })),
        };
        Arc::new(Self {
            store: Arc::downgrade(store),
            dispatcher,
            feed,
            kinds,
            gate: Gate::new(store.callbacks()),
            schedule: Schedule::default(),
            consumer: Mutex::new(consumer),
            keeper: Mutex::new(keeper),
            pulling: AtomicBool::new(false),
            cancelled: AtomicBool::new(false),
            afterwards: Mutex::default(),
        })
    }

    pub fn activate(self: &Arc<Self>) {
        if self.consumer.hold().is_some() {
            let me = Arc::downgrade(self);
            self.feed.set_waker(move || {
                if let Some(me) = me.upgrade().filter(|me| me.feed.has_something()) {
                    me.dispatcher.wake(me.clone());
                }
            });
        }
    }

    /// Ends the watch without waiting for its callback.
    pub fn end(&self) {
        self.end_for(Error::Closed);
    }

    fn end_for(&self, why: Error) {
        self.gate.shut();
        self.feed.close(why);
    }

    /// Ends the watch and waits until its callback is not running, then runs
    /// `retire`. From inside the callback that is put off until it returns. Tells
    /// whether this was the first cancel.
    pub fn cancel(&self, retire: impl FnOnce() + Send + 'static) -> Result<bool> {
        let first = !self.cancelled.swap(true, Ordering::AcqRel);
        self.end_for(Error::Canceled);
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
        self.let_go();
        retire();
        Ok(first)
    }

    /// Drops the consumer, which is not used any more, after it has returned. From
    /// inside it is left to whoever called it.
    fn let_go(&self) {
        if self.gate.is_inside() {
            return;
        }
        self.gate.last(None, || {
            let consumer = self.consumer.hold().take();
            let keeper = self.keeper.hold().take();
            drop((consumer, keeper));
        });
        self.run_afterwards();
    }

    /// What a cancel from inside has put off; also from inside the end of the userdata.
    fn run_afterwards(&self) {
        let afterwards = self.afterwards.hold().take();
        if let Some(afterwards) = afterwards {
            afterwards();
        }
    }

    /// Lets the consumer in, one call at a time.
    fn pass(
        &self,
        turn: &mut Turn,
        call: impl FnOnce(&mut dyn Consumer) -> Taken,
    ) -> Option<Taken> {
        let answer = self.gate.pass(|| {
            let mut consumer = self.consumer.hold();
            let taken = call(&mut **consumer.as_mut()?);
            if taken != Taken::LeftOut {
                turn.call();
            }
            Some(taken)
        });
        self.run_afterwards();
        answer.flatten()
    }

    /// Delivers one item; false when the watch is over.
    fn deliver(&self, turn: &mut Turn, item: &Item) -> bool {
        let mut last = false;
        if let Item::Change { event, .. } = item {
            last = self.kinds.until_deleted && event.kind == EventKind::Delete;
            if !self.kinds.has(event.kind) {
                return !last;
            }
        }
        let taken = self.pass(turn, |consumer| consumer.item(item));
        taken.is_some_and(Taken::goes_on) && !last
    }

    fn finish(&self, turn: &mut Turn, why: Option<&Error>) {
        if let Some(why) = why {
            self.pass(turn, |consumer| {
                consumer.ended(why);
                Taken::Called(false)
            });
        }
        self.end();
        self.let_go();
    }

    /// Waits for the next event, for one that pulls; none when the time ran out.
    pub fn next(&self, timeout: Option<Duration>) -> Result<Option<Address>> {
        if self.pulling.swap(true, Ordering::AcqRel) {
            return Err(Error::Invalid("another thread waits for the next event".into()));
        }
        let answer = self.pull(timeout);
        self.pulling.store(false, Ordering::Release);
        answer
    }

    fn pull(&self, timeout: Option<Duration>) -> Result<Option<Address>> {
        let mut pulled = self.keeper.hold();
        let Some(Pulled { keeper, ended }) = &mut *pulled else {
            return Err(match self.gate.is_shut() {
                true => Error::Canceled,
                false => Error::Invalid("the watch has a callback".into()),
            });
        };
        if let Some(error) = ended {
            return Err(error.clone());
        }
        let store = self.store.upgrade().ok_or(Error::Closed)?;
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let why = match self.feed.next(&store, deadline) {
            Ok(None) => return Ok(None),
            Ok(Some(item)) => match keeper.keep(Told::Item(item)) {
                Ok(address) => return Ok(Some(address)),
                // What could not be kept is lost: the watch ends with that.
                Err(error) => error,
            },
            Err(error @ (Error::Closed | Error::Canceled)) => return Err(error),
            Err(error) => error,
        };
        *ended = Some(why.clone());
        self.feed.close(why.clone());
        keeper.keep(Told::Ended(why)).map(Some)
    }
}

impl Strand for Watcher {
    fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    fn failed(&self) {
        let why = Error::Internal("delivering a change failed".into());
        self.finish(&mut Turn::default(), Some(&why));
    }

    fn run(self: Arc<Self>, turn: &mut Turn) -> bool {
        let Some(store) = self.store.upgrade() else { return false };
        while !turn.is_over() {
            turn.step();
            if self.gate.is_shut() {
                self.let_go();
                return false;
            }
            match self.feed.try_next() {
                Next::Item(item) => {
                    if !self.deliver(turn, &item) {
                        self.finish(turn, None);
                        return false;
                    }
                }
                Next::Empty => return false,
                Next::Broken => self.feed.mend(&store),
                Next::Ended(error) => return self.over(turn, &error),
            }
        }
        self.feed.has_something()
    }
}

impl Watcher {
    /// There is nothing more to consume; tells why, unless that was asked for.
    fn over(&self, turn: &mut Turn, why: &Error) -> bool {
        match why {
            Error::Closed | Error::Canceled => self.let_go(),
            _ => self.finish(turn, Some(why)),
        }
        false
    }
}

impl Child for Watcher {
    fn store_id(&self) -> u64 {
        self.gate.store()
    }

    fn end(&self, _deadline: Instant) -> Option<Arc<Once<Result<()>>>> {
        self.end_for(Error::Closed);
        None
    }

    fn ended(&self, deadline: Instant) {
        self.gate.last(Some(deadline), || {
            let consumer = self.consumer.hold().take();
            drop(consumer);
        });
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.feed.close(Error::Closed);
    }
}

#[cfg(test)]
mod tests;
