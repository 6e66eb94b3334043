//! The one way to a backend: what goes through it is counted and timed, and logged
//! where it is slow.

use crate::backend::{Backend, Completion, Flight};
use crate::error::Result;
use crate::log::{log, Level};
use crate::metrics::{Kind, Metrics, Status};
use crate::request::{Request, Response};
use crate::state::StateEvents;
use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Of a longer key the log has the beginning.
const KEY_SHOWN: usize = 200;

pub struct Calls {
    backend: Arc<dyn Backend>,
    metrics: Arc<Metrics>,
    state: Arc<StateEvents>,
    /// What takes so long is logged; none: nothing.
    slow: Option<Duration>,
    /// Few requests are timed: they take less than that would.
    sampled: bool,
}

impl Calls {
    pub fn new(
        backend: Arc<dyn Backend>,
        metrics: Arc<Metrics>,
        state: Arc<StateEvents>,
        slow: Duration,
    ) -> Arc<Self> {
        let slow = Some(slow).filter(|slow| !slow.is_zero());
        let sampled = backend.is_fast() && slow.is_none();
        Arc::new(Self { backend, metrics, state, slow, sampled })
    }

    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Makes a request, which began then, and waits for its answer.
    #[inline(always)]
    pub fn call(&self, request: Request, begun: Instant, deadline: Instant) -> Result<Response> {
        let begun = self.begin(&request, begun);
        let answer = self.backend.call(request, deadline);
        self.end(&begun, &answer);
        answer
    }

    /// Likewise, and returns; see [`Backend::submit`].
    pub fn submit(
        self: &Arc<Self>,
        request: Request,
        begun: Instant,
        deadline: Instant,
        done: Completion,
    ) -> Option<Box<dyn Flight>> {
        let measure = Measure { begun: self.begin(&request, begun), calls: self.clone() };
        self.backend.submit(request, deadline, done.measured(measure))
    }

    #[inline]
    fn begin(&self, request: &Request, when: Instant) -> Begun {
        Begun { kind: Kind::of(request), when, about: self.slow.map(|_| request.about()) }
    }

    #[inline]
    fn end(&self, begun: &Begun, answer: &Result<Response>) {
        let status = Status::of(answer);
        if self.sampled {
            return self.metrics.note_sample(begun.kind, status, || begun.when.elapsed());
        }
        let took = begun.when.elapsed();
        self.metrics.note(begun.kind, status, took);
        if let (Some(about), Some(slow)) = (&begun.about, self.slow) {
            if took >= slow {
                self.tell_slow(begun.kind, about, took, status);
            }
        }
    }

    #[cold]
    fn tell_slow(&self, kind: Kind, about: &Bytes, took: Duration, status: Status) {
        log(Level::Warn, || {
            let shown = about[..about.len().min(KEY_SHOWN)].escape_ascii();
            let rest = if about.len() > KEY_SHOWN { "..." } else { "" };
            let (kind, status, us) = (kind.name(), status.name(), took.as_micros());
            // That in use by now.
            let endpoint = Some(self.state.endpoint()).filter(|it| !it.is_empty());
            let endpoint = endpoint.map_or(String::new(), |endpoint| format!(", {endpoint}"));
            format!(
                "slow: {kind} \"{shown}\"{rest} took {}.{:03} ms: {status}{endpoint}",
                us / 1000,
                us % 1000
            )
        });
    }
}

struct Begun {
    kind: Kind,
    when: Instant,
    /// Where slow ones are logged.
    about: Option<Bytes>,
}

/// Counts a request that was submitted, when it ends.
pub struct Measure {
    calls: Arc<Calls>,
    begun: Begun,
}

impl Measure {
    pub fn end(self, answer: &Result<Response>) {
        self.calls.end(&self.begun, answer);
    }
}
