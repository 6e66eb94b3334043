//! A lease that is kept alive, and that knows when it must count as lost.

mod owned;

pub use owned::{LostConsumer, LostNotice, OwnedLease};

use crate::backend::Completion;
use crate::calls::Calls;
use crate::error::{Error, Result};
use crate::log::{log, Level};
use crate::metrics::Metrics;
use crate::request::{Request, Response};
use crate::signal::Once;
use crate::store::Store;
use crate::sync::Lock;
use crate::sys;
use crate::timer::Timer;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

/// Longest time for one renewal, and the pause after one that failed.
const ATTEMPT: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(250);

type OnLost = Box<dyn Fn(i64, &str) + Send + Sync>;

/// How long a lease lives without renewals, and how much earlier than by the clock it
/// counts as lost, so that its owner knows before the server gives its keys away.
#[derive(Clone, Copy)]
pub struct Terms {
    pub ttl: Duration,
    pub margin: Duration,
}

impl Terms {
    pub fn of(ttl: Duration) -> Self {
        Self { ttl, margin: (ttl / 8).min(Duration::from_millis(500)) }
    }

    fn valid_since(self, sent: Duration) -> Duration {
        sent + self.ttl - self.margin
    }
}

pub struct Lease {
    pub id: i64,
    terms: Terms,
    calls: Arc<Calls>,
    timer: Arc<Timer>,
    state: Mutex<State>,
    on_lost: OnLost,
}

struct State {
    /// Since boot. Counted from before a renewal was sent, so that it ends before
    /// the server's own time does.
    valid_until: Duration,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Live,
    Lost,
    Closed,
}

impl Lease {
    /// `on_lost` runs at most once, with the lease's id and a reason, on any
    /// thread; it must not block.
    pub fn grant(
        store: &Store,
        terms: Terms,
        deadline: Instant,
        on_lost: impl Fn(i64, &str) + Send + Sync + 'static,
    ) -> Result<Arc<Self>> {
        let (id, ttl) = (sys::random_id(), terms.ttl);
        let mut sent = sys::boottime();
        let unused = |error| match (error, store.check_open()) {
            // A lease that nobody uses ends by itself.
            (Error::Indeterminate(_) | Error::Lost(_), Err(closed)) => closed,
            (Error::Indeterminate(why) | Error::Lost(why), Ok(())) => Error::Unavailable(why),
            (other, _) => other,
        };
        let grant = Request::Grant { lease: id, ttl_s: ttl.as_secs() as i64 };
        store.call_until(grant, deadline).map_err(unused)?;
        if sys::boottime() - sent > ttl / 3 {
            // Granted late, or long ago by an attempt whose answer was lost.
            sent = sys::boottime();
            store.call_until(Request::Renew { lease: id }, deadline).map_err(unused)?;
        }
        let lease = Arc::new(Self {
            id,
            terms,
            calls: store.calls().clone(),
            timer: store.timer().clone(),
            state: Mutex::new(State { valid_until: terms.valid_since(sent), phase: Phase::Live }),
            on_lost: Box::new(on_lost),
        });
        lease.renew_after(ttl / 3);
        store.note_lease(&lease);
        Ok(lease)
    }

    /// Whether its keys are surely still there. Finds the loss where the time is
    /// over.
    pub fn is_alive(&self) -> bool {
        let state = self.state.hold();
        let (phase, valid_until) = (state.phase, state.valid_until);
        drop(state);
        if phase == Phase::Live && sys::boottime() >= valid_until {
            self.lose("it was not renewed in time");
            return false;
        }
        phase == Phase::Live
    }

    /// How long its keys are surely there, should no renewal succeed.
    pub fn left(&self) -> Duration {
        if !self.is_alive() {
            return Duration::ZERO;
        }
        self.state.hold().valid_until.saturating_sub(sys::boottime())
    }

    pub fn lose(&self, why: &str) {
        {
            let mut state = self.state.hold();
            if state.phase != Phase::Live {
                return;
            }
            state.phase = Phase::Lost;
        }
        self.metrics().leases_lost.add_one();
        log(Level::Warn, || format!("lease {:x} lost: {why}", self.id));
        (self.on_lost)(self.id, why);
    }

    pub fn metrics(&self) -> &Metrics {
        self.calls.metrics()
    }

    /// Asks the server whether the lease is there, and finds the loss if it is not.
    pub fn check(&self) -> Result<()> {
        let now = Instant::now();
        let answer = self.calls.call(Request::TimeToLive { lease: self.id }, now, now + ATTEMPT);
        if let Err(Error::Lost(why)) = &answer {
            self.lose(why);
        }
        answer.map(drop)
    }

    /// Likewise, without waiting for the answer.
    pub fn begin_check(self: &Arc<Self>) {
        let weak = Arc::downgrade(self);
        let done = Completion::new(move |answer| {
            if let (Err(Error::Lost(why)), Some(lease)) = (answer, weak.upgrade()) {
                lease.lose(&why);
            }
        });
        let check = Request::TimeToLive { lease: self.id };
        let now = Instant::now();
        self.calls.submit(check, now, now + self.terms.ttl, done);
    }

    /// Ends the renewals without a word.
    pub fn stop(&self) {
        self.state.hold().phase = Phase::Closed;
    }

    /// Begins to end the lease on the server, and with it its keys. What is returned
    /// gets whether that is certain.
    pub fn revoke(&self, deadline: Instant) -> Arc<Once<Result<()>>> {
        self.stop();
        let revoked = Arc::new(Once::default());
        let given = revoked.clone();
        let done = Completion::new(move |answer| given.set(answer.map(drop)));
        self.calls.submit(Request::Revoke { lease: self.id }, Instant::now(), deadline, done);
        revoked
    }

    /// Likewise after a time, in which it is renewed no more.
    pub fn revoke_after(self: &Arc<Self>, delay: Duration) {
        self.stop();
        let lease = self.clone();
        self.timer.after(delay, move || drop(lease.revoke(Instant::now() + lease.terms.ttl)));
    }

    fn renew_after(self: &Arc<Self>, delay: Duration) {
        let weak = Arc::downgrade(self);
        self.timer.after(delay, move || {
            if let Some(lease) = weak.upgrade() {
                lease.renew();
            }
        });
    }

    /// The answer to a renewal may itself be late, where what brings it is held up.
    fn look_after(self: &Arc<Self>, left: Duration) {
        let weak = Arc::downgrade(self);
        self.timer.after(left, move || {
            if let Some(lease) = weak.upgrade() {
                lease.is_alive();
            }
        });
    }

    fn renew(self: &Arc<Self>) {
        if !self.is_alive() {
            return;
        }
        let sent = sys::boottime();
        let left = self.state.hold().valid_until.saturating_sub(sent);
        let now = Instant::now();
        let deadline = now + ATTEMPT.min(self.terms.ttl / 3).min(left);
        let weak: Weak<Self> = Arc::downgrade(self);
        let done = Completion::new(move |answer| {
            if let Some(lease) = weak.upgrade() {
                lease.renewed(sent, answer);
            }
        });
        self.look_after(left);
        self.calls.submit(Request::Renew { lease: self.id }, now, deadline, done);
    }

    fn renewed(self: &Arc<Self>, sent: Duration, answer: Result<Response>) {
        match answer {
            Ok(_) => {
                self.state.hold().valid_until = self.terms.valid_since(sent);
                self.renew_after(
                    (self.terms.ttl / 3).saturating_sub(sys::boottime().saturating_sub(sent)),
                );
            }
            Err(Error::Lost(why)) => self.lose(&why),
            Err(Error::Closed) => {}
            Err(error) => {
                log(Level::Debug, || format!("lease {:x} not renewed: {error}", self.id));
                let left = self.state.hold().valid_until.saturating_sub(sys::boottime());
                self.renew_after(PAUSE.min(left));
            }
        }
    }
}
