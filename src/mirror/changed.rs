//! Tells a caller what happened to a copy, after it did. Whoever is slow keeps nothing
//! waiting: from some point on the difference to the copy takes the place of the changes.

use super::Copy;
use crate::dispatch::{Dispatcher, Schedule, Strand, Turn};
use crate::error::Error;
use crate::feed::{Hidden, Item, Known, Queue, QUEUE_MAX, REPLACED, TOO_SLOW};
use crate::gate::Gate;
use crate::store::Store;
use crate::sync::Lock;
use crate::types::Event;
use crate::watch::{Consumer, Taken};
use arc_swap::ArcSwap;
use std::sync::{Arc, Mutex};

pub struct Changed {
    dispatcher: Dispatcher,
    pub gate: Gate,
    schedule: Schedule,
    copy: Arc<ArcSwap<Copy>>,
    consumer: Mutex<Box<dyn Consumer>>,
    inner: Mutex<Inner>,
}

struct Inner {
    queue: Queue,
    /// The difference to the copy is to follow what is queued.
    behind: Option<Behind>,
    /// Of changes up to this revision the last difference has told.
    told: i64,
    ended: Option<Error>,
}

struct Behind {
    why: String,
    /// It was another store meanwhile.
    another: bool,
}

enum Told {
    Item(Item),
    End(Error),
}

impl Changed {
    /// Begins with what is there; the consumer hears nothing before it is woken.
    pub fn new(store: &Store, copy: &Arc<ArcSwap<Copy>>, consumer: Box<dyn Consumer>) -> Arc<Self> {
        let mut queue = Queue::new(QUEUE_MAX, Hidden::default(), 0, Known::new());
        let first = copy.load().all();
        let told = first.revision;
        queue.snapshot(first);
        Arc::new(Self {
            dispatcher: store.dispatcher().clone(),
            gate: Gate::new(store.callbacks()),
            schedule: Schedule::default(),
            copy: copy.clone(),
            consumer: Mutex::new(consumer),
            inner: Mutex::new(Inner { queue, behind: None, told, ended: None }),
        })
    }

    pub fn wake(self: &Arc<Self>) {
        let wanted = self.inner.hold().has_something();
        if wanted {
            self.dispatcher.wake(self.clone());
        }
    }

    /// Whole revisions, which the copy has by now.
    pub fn changes(self: &Arc<Self>, mut events: Vec<Event>) {
        {
            let inner = &mut *self.inner.hold();
            if inner.behind.is_some() {
                return;
            }
            events.retain(|event| event.revision() > inner.told);
            inner.queue.changes(events);
            if inner.queue.is_full() {
                inner.fall_behind(TOO_SLOW.to_owned());
            }
        }
        self.wake();
    }

    /// The copy has all changes up to a later revision, which could not be had.
    pub fn resynced(self: &Arc<Self>, why: String) {
        self.inner.hold().fall_behind(why);
        self.wake();
    }

    pub fn cut(self: &Arc<Self>, why: String) {
        self.inner.hold().queue.cut(why);
        self.wake();
    }

    pub fn back(self: &Arc<Self>) {
        self.inner.hold().queue.back();
        self.wake();
    }

    pub fn end(self: &Arc<Self>, why: Error) {
        self.inner.hold().ended = Some(why);
        self.wake();
    }

    fn next(&self) -> Option<Told> {
        let inner = &mut *self.inner.hold();
        if let Some(item) = inner.queue.pop() {
            return Some(Told::Item(item));
        }
        if let Some(Behind { why, another }) = inner.behind.take() {
            let now = self.copy.load().all();
            inner.told = now.revision;
            inner.queue.difference(now, &why, another);
            return inner.queue.pop().map(Told::Item);
        }
        inner.ended.take().map(Told::End)
    }
}

impl Inner {
    fn has_something(&self) -> bool {
        !self.queue.is_empty() || self.behind.is_some() || self.ended.is_some()
    }

    fn fall_behind(&mut self, why: String) {
        self.queue.drop_changes();
        let before = self.behind.as_ref().is_some_and(|behind| behind.another);
        self.behind = Some(Behind { another: before || why == REPLACED, why });
    }
}

impl Strand for Changed {
    fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    fn failed(&self) {
        self.gate.shut();
    }

    fn run(self: Arc<Self>, turn: &mut Turn) -> bool {
        while !turn.is_over() {
            turn.step();
            let Some(told) = self.next() else { return false };
            let taken = self.gate.pass(|| {
                turn.call();
                let mut consumer = self.consumer.hold();
                match told {
                    Told::Item(item) => consumer.item(&item),
                    Told::End(why) => {
                        consumer.ended(&why);
                        Taken::Called(false)
                    }
                }
            });
            if !taken.is_some_and(Taken::goes_on) {
                self.gate.shut();
                return false;
            }
        }
        self.inner.hold().has_something()
    }
}
