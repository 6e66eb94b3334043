//! The queue: joining it, waiting in it, leaving it.

use super::held::{Held, OnLost};
use super::{contenders, prefix, Spec, Wait};
use crate::error::{Error, Result};
use crate::feed::{Feed, Known, Seen, Wish};
use crate::lease::Lease;
use crate::request::{Compare, Put, Range, Target, Txn};
use crate::store::Store;
use crate::sync::{wait_until, Lock as _};
use crate::types::{EventKind, KeyRange, KeyValue};
use bytes::Bytes;
use once_cell::sync::OnceCell;
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::time::{Duration, Instant};

/// How long a contender that gives up waits for its key to be gone.
const LEAVE: Duration = Duration::from_secs(1);

/// How long to wait before the queue is looked at again after a failure.
const PAUSE: Duration = Duration::from_millis(250);

/// A place in the queue.
pub(super) struct Place {
    pub lease: Arc<Lease>,
    pub key: Bytes,
    pub revision: i64,
    /// Of the store, from before it was joined.
    pub era: u64,
}

/// The contender right ahead, at a revision of the store in an era.
struct Ahead {
    kv: KeyValue,
    revision: i64,
    era: u64,
}

/// How a wait in the queue ended.
enum Turn {
    Mine,
    TimeOver,
    /// The key is gone: join again.
    Gone,
}

/// How long a contender may take: a time to join, and from then on the wait.
#[derive(Clone, Copy)]
struct Patience {
    join_by: Instant,
    until: Option<Instant>,
}

impl Patience {
    /// When a request in the queue must have its answer.
    fn deadline(&self, store: &Store) -> Instant {
        let request = store.deadline();
        self.until.map_or(request, |until| request.min(until.max(self.join_by)))
    }

    fn is_over(&self) -> bool {
        self.until.is_some_and(|until| until <= Instant::now())
    }
}

/// One attempt to get a lock.
pub struct Acquisition {
    spec: Spec,
    inner: Mutex<Inner>,
    changed: Condvar,
    on_seen: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct Inner {
    lease: i64,
    saw_holder: bool,
    /// The one ahead in the queue, while it is watched.
    ahead: Option<Arc<Feed>>,
    /// The wait is to end, for this reason.
    ended: Option<Error>,
    /// It has left the queue, or has the lock.
    over: bool,
}

impl Acquisition {
    /// `on_seen` hears when another is seen holding the lock.
    pub fn new(spec: Spec, on_seen: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        let (inner, changed) = (Mutex::default(), Condvar::new());
        Arc::new(Self { spec, inner, changed, on_seen: Box::new(on_seen) })
    }

    pub fn saw_holder(&self) -> bool {
        self.inner.hold().saw_holder
    }

    /// Ends the wait: [`Acquisition::run`] fails for this reason, soon.
    pub fn end(&self, why: Error) {
        let ahead = {
            let mut inner = self.inner.hold();
            inner.ended.get_or_insert(why.clone());
            inner.ahead.clone()
        };
        self.changed.notify_all();
        if let Some(ahead) = ahead {
            ahead.close(why);
        }
    }

    /// It is over when what is returned is dropped.
    pub fn over(&self) -> Over<'_> {
        Over(self)
    }

    /// Waits until it is over.
    pub fn wait_until_over(&self, deadline: Instant) -> Result<()> {
        let mut inner = self.inner.hold();
        while !inner.over {
            let (next, in_time) = wait_until(&self.changed, inner, Some(deadline));
            inner = next;
            if !in_time {
                return Err(Error::Unavailable("the queue was not left in time".into()));
            }
        }
        Ok(())
    }

    fn check_ended(&self, store: &Store) -> Result<()> {
        match &self.inner.hold().ended {
            Some(why) => Err(why.clone()),
            None => store.check_open(),
        }
    }

    /// Joins the queue and waits, on the calling thread; none when the time was over.
    pub fn run(
        self: &Arc<Self>,
        store: &Arc<Store>,
        wait: Wait,
        on_lost: impl Fn() -> OnLost,
    ) -> Result<Option<Arc<Held>>> {
        let join_by = store.deadline();
        let mut joined: Option<Patience> = None;
        loop {
            let by = joined.map_or(join_by, |patience| patience.deadline(store));
            let turn = self.attempt(store, by, join_by, wait, &mut joined, &on_lost);
            self.check_ended(store).inspect_err(|_| {
                if let Ok(Some(held)) = &turn {
                    self.let_go(held);
                }
            })?;
            match (turn, &joined) {
                (Ok(Some(held)), _) => return Ok(Some(held)),
                (Ok(None), _) | (Err(Error::Lost(_)), _) => {}
                // The place was lost in an outage; the wait goes on.
                (Err(Error::Unavailable(_)), Some(patience)) => self.pause(patience),
                (Err(error), _) => return Err(error),
            }
            match &joined {
                Some(patience) if !patience.is_over() => {}
                None if Instant::now() < join_by => {}
                _ if self.saw_holder() => return Ok(None),
                _ => return Err(Error::Unavailable("the queue did not answer in time".into())),
            }
        }
    }

    /// One place in the queue, from joining to the lock or to leaving.
    fn attempt(
        self: &Arc<Self>,
        store: &Arc<Store>,
        by: Instant,
        join_by: Instant,
        wait: Wait,
        joined: &mut Option<Patience>,
        on_lost: &impl Fn() -> OnLost,
    ) -> Result<Option<Arc<Held>>> {
        let slot: Arc<OnceCell<Weak<Held>>> = Arc::default();
        let lease = self.grant(store, by, slot.clone())?;
        let held = self.join(store, &lease, by).and_then(|place| {
            // The wait begins when the queue is joined.
            let until = || match wait {
                Wait::Forever => None,
                Wait::For(wait) => Instant::now().checked_add(wait),
            };
            let patience = *joined.get_or_insert_with(|| Patience { join_by, until: until() });
            match self.wait(store, &place, &patience)? {
                Turn::Mine => Held::new(store, &self.spec, place, on_lost()).map(Some),
                Turn::TimeOver | Turn::Gone => Ok(None),
            }
        });
        match held {
            Ok(Some(held)) => {
                let _ = slot.set(Arc::downgrade(&held));
                // A loss before that is found here.
                if !lease.is_alive() {
                    held.lose("its lease was lost");
                }
                Ok(Some(held))
            }
            other => {
                self.leave(&lease);
                other
            }
        }
    }

    fn grant(
        self: &Arc<Self>,
        store: &Store,
        deadline: Instant,
        slot: Arc<OnceCell<Weak<Held>>>,
    ) -> Result<Arc<Lease>> {
        let me = Arc::downgrade(self);
        let on_lost = move |id: i64, why: &str| match slot.get() {
            Some(held) => {
                if let Some(held) = held.upgrade() {
                    held.lose(why);
                }
            }
            None => {
                if let Some(me) = me.upgrade() {
                    me.lost(id);
                }
            }
        };
        let lease = Lease::grant(store, self.spec.terms, deadline, on_lost)?;
        self.inner.hold().lease = lease.id;
        Ok(lease)
    }

    /// The lease was lost in the queue.
    fn lost(&self, lease: i64) {
        let ahead = {
            let inner = self.inner.hold();
            inner.ahead.clone().filter(|_| inner.lease == lease)
        };
        if let Some(feed) = ahead {
            feed.close(Error::Lost("the lease was lost".into()));
        }
    }

    /// Creates this contender's key, or finds it created.
    fn join(&self, store: &Store, lease: &Arc<Lease>, deadline: Instant) -> Result<Place> {
        let mut key = prefix(&self.spec.name);
        key.extend_from_slice(format!("{:x}", lease.id).as_bytes());
        let key = Bytes::from(key);
        let put = Put { lease: lease.id, ..Put::new(key.clone(), self.spec.value.clone()) };
        let txn = Txn {
            compares: vec![Compare::equal(key.clone(), Target::CreateRevision(0))],
            then: vec![put.into()],
            or_else: vec![Range::new(KeyRange::single(key.clone())).into()],
            idempotent: true,
        };
        let era = store.era();
        let answer = store.call_until(txn.into(), deadline).map_err(|error| match error {
            // Whether it was joined or not, the revoked lease takes it back.
            Error::Indeterminate(why) => Error::Unavailable(why),
            other => other,
        })?;
        let answer = answer.into_txn()?;
        let revision = match (answer.succeeded, answer.found()) {
            (true, _) => answer.revision,
            (false, Some(kv)) => kv.create_revision,
            (false, None) => return Err(Error::unexpected("a key that exists and does not")),
        };
        Ok(Place { lease: lease.clone(), key, revision, era })
    }

    /// Waits until nobody is ahead.
    fn wait(
        self: &Arc<Self>,
        store: &Arc<Store>,
        place: &Place,
        patience: &Patience,
    ) -> Result<Turn> {
        loop {
            let deadline = patience.deadline(store);
            let turn = match self.look(store, place, deadline) {
                Ok(None) => self.verify(store, place, deadline).map(Some),
                Ok(Some(ahead)) => self.wait_for_end(store, place, ahead, patience),
                Err(error) => Err(error),
            };
            match turn {
                Ok(Some(turn)) => return Ok(turn),
                Ok(None) => {}
                Err(Error::Unavailable(_)) if self.saw_holder() && !patience.is_over() => {
                    self.pause(patience);
                }
                Err(error) => return Err(error),
            }
            self.check_ended(store)?;
            if !place.lease.is_alive() {
                return Ok(Turn::Gone);
            }
        }
    }

    fn look(&self, store: &Store, place: &Place, deadline: Instant) -> Result<Option<Ahead>> {
        let ahead = Range::last_created(contenders(&self.spec.name), place.revision - 1);
        let era = store.era();
        let found = store.call_until(ahead.into(), deadline)?.into_range()?;
        let Some(kv) = found.kvs.into_iter().next() else { return Ok(None) };
        if !std::mem::replace(&mut self.inner.hold().saw_holder, true) {
            (self.on_seen)();
        }
        Ok(Some(Ahead { kv, revision: found.revision, era }))
    }

    /// After the wait: the key must be there still, and the lease alive.
    fn verify(&self, store: &Store, place: &Place, deadline: Instant) -> Result<Turn> {
        let own = Range::new(KeyRange::single(place.key.clone()));
        let found = store.call_until(own.into(), deadline)?.into_range()?;
        let mine = found.kvs.first().is_some_and(|kv| kv.create_revision == place.revision);
        Ok(if mine && place.lease.is_alive() { Turn::Mine } else { Turn::Gone })
    }

    /// Waits for the deletion of the key ahead; none when that came.
    fn wait_for_end(
        &self,
        store: &Arc<Store>,
        place: &Place,
        ahead: Ahead,
        patience: &Patience,
    ) -> Result<Option<Turn>> {
        if patience.is_over() {
            return Ok(Some(Turn::TimeOver));
        }
        let Ahead { kv, revision, era } = ahead;
        let known = Known::from([(kv.key.clone(), Seen::of(&kv))]);
        let wish = Wish::changes(KeyRange::single(kv.key));
        let feed = Feed::open_at(store, &wish, revision + 1, known, era)?;
        self.inner.hold().ahead = Some(feed.clone());
        let turn = loop {
            // What came before the feed was known is seen here.
            if let Err(why) = self.check_ended(store) {
                break Err(why);
            }
            if !place.lease.is_alive() {
                break Ok(Some(Turn::Gone));
            }
            match feed.next_change(store, patience.until) {
                Ok(Some(event)) if event.kind == EventKind::Delete => break Ok(None),
                Ok(Some(_)) => {}
                Ok(None) => break Ok(Some(Turn::TimeOver)),
                Err(Error::Lost(_)) => break Ok(Some(Turn::Gone)),
                Err(error) => break Err(error),
            }
        };
        feed.close(Error::Closed);
        self.inner.hold().ahead = None;
        turn
    }

    /// Waits a moment before the store is asked again.
    fn pause(&self, patience: &Patience) {
        let pause = Instant::now() + PAUSE;
        let inner = self.inner.hold();
        if inner.ended.is_none() {
            let until = patience.until.map_or(pause, |until| until.min(pause));
            drop(wait_until(&self.changed, inner, Some(until)));
        }
    }

    /// Takes the key back by revoking its lease, also when the store is closing.
    fn leave(&self, lease: &Arc<Lease>) {
        lease.revoke(self.leave_by()).take(Some(Instant::now() + LEAVE));
    }

    /// Gives up a lock that nobody wants any more.
    pub fn let_go(&self, held: &Held) {
        if let Some(released) = held.begin_release(self.leave_by()) {
            released.take(Some(Instant::now() + LEAVE));
        }
    }

    /// Later the lease has ended by itself.
    fn leave_by(&self) -> Instant {
        Instant::now() + self.spec.terms.ttl
    }
}

pub struct Over<'a>(&'a Acquisition);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.inner.hold().over = true;
        self.0.changed.notify_all();
    }
}
