//! A lock that is held, until it is released or lost.

use super::queue::Place;
use super::Spec;
use crate::error::{Error, Result};
use crate::feed::{Feed, Known, Seen, Wish};
use crate::lease::Lease;
use crate::request::{Compare, Put, Target, Txn};
use crate::signal::Once;
use crate::store::Store;
use crate::sync::Lock;
use crate::sys;
use crate::types::{Event, EventKind, KeyRange};
use crate::watch::{Consumer, Kinds, Pause, To, Watcher};
use bytes::Bytes;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

/// Hears of a loss once, with a reason; must not block.
pub type OnLost = Box<dyn Fn(&Held, &str) + Send + Sync>;

pub struct Held {
    key: Bytes,
    /// Its create revision, which no other holder has.
    pub token: i64,
    /// Of the store, from before the key was created.
    era: u64,
    pub lease: Arc<Lease>,
    margin: Duration,
    /// Since boot; it is given up then.
    until: Option<Duration>,
    state: Mutex<State>,
    on_lost: OnLost,
}

#[derive(Default)]
struct State {
    /// Lost or released.
    over: bool,
    lost: Option<String>,
    /// It is lost to its owner, but the server is not told yet.
    to_be_revoked: bool,
    guard: Option<Arc<Watcher>>,
}

impl Held {
    /// From here on a deletion of the key is a loss.
    pub(super) fn new(
        store: &Arc<Store>,
        spec: &Spec,
        place: Place,
        on_lost: OnLost,
    ) -> Result<Arc<Self>> {
        let Place { lease, key, revision: token, era } = place;
        let max_hold = spec.max_hold.map(|max_hold| max_hold - spec.terms.margin);
        let held = Arc::new(Self {
            key,
            token,
            era,
            lease,
            margin: spec.terms.margin,
            until: max_hold.map(|max_hold| sys::boottime() + max_hold),
            state: Mutex::default(),
            on_lost,
        });
        held.watch(store, Pause::FIRST)?;
        if let Some(max_hold) = max_hold {
            let weak = Arc::downgrade(&held);
            store.timer().after(max_hold, move || {
                if let Some(held) = weak.upgrade() {
                    held.outlived();
                }
            });
        }
        Ok(held)
    }

    /// Watches for the deletion of its key since it was created.
    fn watch(self: &Arc<Self>, store: &Arc<Store>, pause: Pause) -> Result<()> {
        let wish = Wish::changes(KeyRange::single(self.key.clone()));
        let seen = Seen { create: self.token, modified: self.token };
        let known = Known::from([(self.key.clone(), seen)]);
        let feed = Feed::open_at(store, &wish, self.token + 1, known, self.era)?;
        let consumer = Guard { held: Arc::downgrade(self), store: Arc::downgrade(store), pause };
        let guard =
            Watcher::new(store, store.internal(), feed, Kinds::ALL, To::Push(Box::new(consumer)));
        let mut state = self.state.hold();
        if state.over {
            return Ok(());
        }
        let former = state.guard.replace(guard.clone());
        drop(state);
        drop(former);
        guard.activate();
        Ok(())
    }

    /// Whether it is surely held. Finds a loss by the clock.
    pub fn is_held(&self) -> bool {
        // Found here where the process was stopped when the timer was to find it.
        if self.until.is_some_and(|until| until <= sys::boottime()) {
            self.outlived();
        }
        self.lease.is_alive() && !self.state.hold().over
    }

    /// How long it is surely held, should no renewal succeed.
    pub fn left(&self) -> Duration {
        if !self.is_held() {
            return Duration::ZERO;
        }
        let most = self.until.map(|until| until.saturating_sub(sys::boottime()));
        self.lease.left().min(most.unwrap_or(Duration::MAX))
    }

    /// `max_hold` is over, but for the margin, in which its owner is told.
    fn outlived(&self) {
        if self.lose("it was held for as long as it may be") {
            self.state.hold().to_be_revoked = true;
            self.lease.revoke_after(self.margin);
        }
    }

    /// Its owner is told, unless it is over; true if so.
    pub fn lose(&self, why: &str) -> bool {
        let guard = {
            let mut state = self.state.hold();
            if std::mem::replace(&mut state.over, true) {
                return false;
            }
            state.lost = Some(why.to_owned());
            state.guard.take()
        };
        self.lease.metrics().locks_lost.add_one();
        if let Some(guard) = guard {
            guard.end();
        }
        (self.on_lost)(self, why);
        true
    }

    /// Begins to give it up. What is returned gets whether that is certain; none where
    /// the server need not be told.
    pub fn begin_release(&self, deadline: Instant) -> Option<Arc<Once<Result<()>>>> {
        let guard = {
            let mut state = self.state.hold();
            let over = std::mem::replace(&mut state.over, true);
            if !std::mem::take(&mut state.to_be_revoked) && over {
                return None;
            }
            state.guard.take()
        };
        if let Some(guard) = guard {
            guard.end();
        }
        Some(self.lease.revoke(deadline))
    }

    /// Gives it up, or tells of the loss.
    pub fn release(&self, deadline: Instant) -> Result<()> {
        self.is_held(); // finds a loss
        let released = self.begin_release(deadline);
        let released = released.map_or(Ok(()), |it| it.take(None).unwrap_or(Err(Error::Closed)));
        self.check_lost().and(released)
    }

    fn check_lost(&self) -> Result<()> {
        match &self.state.hold().lost {
            Some(why) => Err(Error::Lost(why.clone())),
            None => Ok(()),
        }
    }

    /// True while the lock is held, as the store sees it.
    pub fn compare(&self) -> Compare {
        Compare::equal(self.key.clone(), Target::CreateRevision(self.token))
    }

    /// Stores a new value of the key.
    pub fn set(&self, store: &Store, value: Bytes) -> Result<()> {
        self.is_held(); // finds a loss
        self.check_lost()?;
        let put = Put { lease: self.lease.id, ..Put::new(self.key.clone(), value) };
        let txn = Txn { compares: vec![self.compare()], ..Txn::always(put) };
        let why = match store.call(txn.into()).and_then(|answer| answer.into_txn()) {
            Ok(answer) if answer.succeeded => return Ok(()),
            Ok(_) => GONE.to_owned(),
            Err(Error::Lost(why)) => why,
            Err(error) => return Err(error),
        };
        self.lose(&why);
        Err(Error::Lost(why))
    }
}

const GONE: &str = "its key was deleted";

impl Drop for Held {
    fn drop(&mut self) {
        self.lease.stop();
    }
}

/// Notices when the key of a held lock is deleted.
struct Guard {
    held: Weak<Held>,
    store: Weak<Store>,
    /// Before the next one, should this one have to end.
    pause: Pause,
}

impl Consumer for Guard {
    fn change(&mut self, event: &Event) -> bool {
        if event.kind == EventKind::Delete {
            if let Some(held) = self.held.upgrade() {
                held.lose(GONE);
                // It has no key, and with it no use, any more.
                let store = self.store.upgrade();
                held.lease.revoke(store.map_or_else(Instant::now, |store| store.deadline()));
            }
        }
        true
    }

    /// The lock is held still: it must not stay unguarded where a right was taken away
    /// for a moment.
    fn ended(&mut self, _why: &Error) {
        let Some(store) = self.store.upgrade() else { return };
        let (held, weak, next) = (self.held.clone(), self.store.clone(), self.pause.next());
        store.timer().after(self.pause.length(), move || {
            if let (Some(held), Some(store)) = (held.upgrade(), weak.upgrade()) {
                // Fails where the store is closed.
                let _ = held.watch(&store, next);
            }
        });
    }
}
