//! A copy of the keys of a prefix, which a watch keeps up to date.
//!
//! One strand makes copies, each of whole revisions, and puts the newest in place of the
//! one before; readers take the one that is there and wait for nobody. Another strand
//! tells the caller.

mod changed;
mod copy;
mod wait;

use crate::dispatch::{Schedule, Strand, Turn};
use crate::error::{Error, Result};
use crate::feed::{Feed, From, Item, Next, Wish};
use crate::kv;
use crate::op::Answer;
use crate::request::Range;
use crate::signal::Once;
use crate::store::{Child, Store};
use crate::sync::Lock;
use crate::types::{Event, KeyRange, RangeEnd};
use crate::watch::Consumer;
use arc_swap::ArcSwap;
use bytes::Bytes;
use changed::Changed;
use copy::Copy;
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;
use wait::Waits;

/// What is taken before others get the thread, and before it is shown.
const BATCH: usize = 1024;

pub struct Mirror {
    store: Weak<Store>,
    store_id: u64,
    keys: KeyRange,
    feed: Arc<Feed>,
    schedule: Schedule,
    copy: Arc<ArcSwap<Copy>>,
    taken: Mutex<Taken>,
    changed: Option<Arc<Changed>>,
    waits: Waits,
}

/// What the copy has not got yet; of the strand alone.
#[derive(Default)]
struct Taken {
    /// Whole revisions.
    whole: Vec<Event>,
    /// A part of one, or of a difference.
    part: Vec<Event>,
}

impl Mirror {
    /// Returns when the copy is there; nothing changes and nobody is told before it is
    /// activated.
    pub fn open(
        store: &Arc<Store>,
        prefix: &[u8],
        consumer: Option<Box<dyn Consumer>>,
    ) -> Result<Arc<Self>> {
        store.pool().ensure_thread()?;
        let keys = KeyRange::prefix(prefix);
        let wish = Wish { from: From::Snapshot, states: true, ..Wish::changes(keys.clone()) };
        let feed = Feed::open(store, &wish)?;
        let copy = Arc::new(ArcSwap::from_pointee(snapshot(&feed)?));
        let changed = consumer.map(|consumer| Changed::new(store, &copy, consumer));
        Ok(Arc::new(Self {
            store: Arc::downgrade(store),
            store_id: store.id(),
            keys,
            feed,
            schedule: Schedule::default(),
            copy,
            taken: Mutex::default(),
            changed,
            waits: Waits::default(),
        }))
    }

    pub fn activate(self: &Arc<Self>) {
        let me = Arc::downgrade(self);
        self.feed.set_waker(move || {
            if let Some(me) = me.upgrade() {
                me.wake();
            }
        });
        if let Some(changed) = &self.changed {
            changed.wake();
        }
    }

    fn wake(self: &Arc<Self>) {
        if let Some(store) = self.store.upgrade() {
            store.pool().wake(self.clone());
        }
    }

    pub fn get(&self, key: Bytes) -> Result<Answer> {
        self.range(&Range::new(KeyRange::single(key)))
    }

    pub fn range(&self, range: &Range) -> Result<Answer> {
        if !self.keys.covers(&range.keys) {
            return Err(Error::Invalid("not all of it lies in the mirror's prefix".into()));
        }
        let found = self.copy.load().read(range);
        Ok(kv::found_answer(found, range.keys.end == RangeEnd::Single))
    }

    /// Ends it and waits until nobody is being told. From inside that it does not wait.
    pub fn close(&self) -> Result<()> {
        self.end_for(Error::Canceled);
        self.changed.as_ref().map_or(Ok(()), |changed| changed.gate.wait())
    }

    fn end_for(&self, why: Error) {
        if let Some(changed) = &self.changed {
            changed.gate.shut();
        }
        self.feed.close(why.clone());
        self.waits.end(why);
    }

    fn take(&self, taken: &mut Taken, item: Item) {
        match item {
            Item::Change { event, last, .. } => {
                taken.part.push(event);
                if last {
                    taken.whole.append(&mut taken.part);
                }
                return;
            }
            // Nothing of them is whole before this: they come without `last`.
            Item::Synced(revision) | Item::Resync { revision, .. } => {
                self.show_whole(taken);
                self.show(self.copy.load().after(taken.part.drain(..), revision));
            }
            Item::Cut(_) | Item::Back => self.show_whole(taken),
        }
        let Some(changed) = &self.changed else { return };
        match item {
            Item::Resync { why, .. } => changed.resynced(why),
            Item::Cut(why) => changed.cut(why),
            Item::Back => changed.back(),
            _ => {}
        }
    }

    fn show_whole(&self, taken: &mut Taken) {
        let events = std::mem::take(&mut taken.whole);
        let Some(last) = events.last().map(Event::revision) else { return };
        let now = self.copy.load();
        // What was done and undone before the copy was found to be up to date comes now.
        let new = events.iter().filter(|event| event.revision() > now.revision).cloned();
        if last > now.revision {
            self.show(now.after(new, last));
        }
        if let Some(changed) = &self.changed {
            changed.changes(events);
        }
    }

    fn show(&self, copy: Copy) {
        self.copy.store(Arc::new(copy));
        self.waits.tell();
    }

    /// All that came was taken: a look at how far that goes.
    fn settle(&self) {
        let answer = self.waits.take_answer();
        if let Some(reached) = self.feed.reached() {
            let now = self.copy.load_full();
            let confirmed = answer.as_ref().map_or(0, |answer| answer.confirmed(&now));
            let revision = reached.max(confirmed);
            if revision > now.revision {
                self.show(now.after([], revision));
            }
        }
        if answer.is_some() {
            self.waits.asked();
        }
    }

    fn run_batch(self: &Arc<Self>, store: &Arc<Store>, taken: &mut Taken) -> bool {
        for _ in 0..BATCH {
            match self.feed.try_next() {
                Next::Item(item) => self.take(taken, item),
                Next::Broken => self.feed.mend(store),
                Next::Empty => {
                    self.show_whole(taken);
                    self.settle();
                    return false;
                }
                Next::Ended(why) => {
                    self.show_whole(taken);
                    self.ended(why);
                    return false;
                }
            }
        }
        self.show_whole(taken);
        true
    }

    fn ended(&self, why: Error) {
        if let Some(changed) = &self.changed {
            changed.end(why.clone());
        }
        self.waits.end(why);
    }
}

/// All that a feed has to begin with, which waits in it.
fn snapshot(feed: &Feed) -> Result<Copy> {
    let mut events = Vec::new();
    loop {
        match feed.try_next() {
            Next::Item(Item::Change { event, .. }) => events.push(event),
            Next::Item(Item::Synced(revision)) => {
                return Ok(Copy::default().after(events, revision));
            }
            Next::Ended(error) => return Err(error),
            _ => return Err(Error::Internal("the snapshot is not whole".into())),
        }
    }
}

impl Strand for Mirror {
    fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    fn failed(&self) {
        let why = Error::Internal("keeping the copy failed".into());
        self.feed.close(why.clone());
        self.ended(why);
    }

    fn run(self: Arc<Self>, _turn: &mut Turn) -> bool {
        let Some(store) = self.store.upgrade() else { return false };
        let mut taken = self.taken.hold();
        self.run_batch(&store, &mut taken)
    }
}

impl Child for Mirror {
    fn store_id(&self) -> u64 {
        self.store_id
    }

    fn end(&self, _deadline: Instant) -> Option<Arc<Once<Result<()>>>> {
        self.end_for(Error::Closed);
        None
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.feed.close(Error::Closed);
    }
}
