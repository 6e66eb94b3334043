//! A request from its first attempt to its answer: deadline, retries, and what a
//! failure means.
//!
//! A read or write for which a connection is at hand is tried once directly, on
//! the caller's thread. Everything else, and what that attempt did not settle, is
//! the I/O thread's.

use super::answer;
use super::cluster;
use super::endpoints::{Connected, Endpoints};
use super::io::Io;
use super::leases;
use super::message::{self, Method};
use super::outcome::{self, Failure};
use super::probes;
use super::progress::Progress;
use super::submission::Submission;
use super::tasks::{call, jitter, Answering};
use super::transport::{Call, CallError, Connection, Done, Outcome};
use super::window::Window;
use crate::backend::Completion;
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::request::{Request, Response};
use crate::signal::Once;
use crate::sys;
use bytes::Bytes;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::time::{sleep_until, timeout, timeout_at};

/// How long one attempt of a request that may be repeated can take.
const ATTEMPT: Duration = Duration::from_millis(1500);

const BACK_OFF: Duration = Duration::from_millis(25);
const BACK_OFF_MOST: Duration = Duration::from_secs(1);
/// So many attempts follow each other without a pause.
const AT_ONCE: u32 = 3;

/// What HTTP/2, TLS and decoding need of a caller's stack, with a margin.
const STACK: usize = 40 << 10;

pub struct Requests {
    endpoints: Arc<Endpoints>,
    /// Of requests that deal with leases.
    leases: Arc<Endpoints>,
    abort: Arc<Notify>,
    close: Arc<Notify>,
    /// The store is closing: nothing but leases is ended from now on.
    closing: AtomicBool,
    closed: AtomicBool,
    /// A write met an exhausted space quota.
    full: AtomicBool,
    window: Window<Arc<Submission>>,
}

impl Requests {
    pub fn new(endpoints: Arc<Endpoints>, leases: Arc<Endpoints>) -> Self {
        Self {
            endpoints,
            leases,
            abort: Arc::default(),
            close: Arc::default(),
            closing: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            full: AtomicBool::new(false),
            window: Window::default(),
        }
    }

    /// Ends all requests but those that give up a lease: closing waits for them.
    /// Threads that drive hear of it at once; tasks, through what is returned, on the
    /// I/O thread.
    pub fn abort(&self) -> impl FnOnce() + Send + 'static {
        self.closing.store(true, Ordering::SeqCst);
        // First, or those that end make room for those that wait.
        for waiting in self.window.drain() {
            waiting.complete(Err(Error::Closed));
        }
        self.endpoints.abort();
        let abort = self.abort.clone();
        move || abort.notify_waiters()
    }

    /// Ends all requests that were begun before, and the connections, likewise.
    pub fn close(&self) -> impl FnOnce() + Send + 'static {
        self.closed.store(true, Ordering::SeqCst);
        let abort = self.abort();
        self.endpoints.close();
        let (close, leases) = (self.close.clone(), self.leases.clone());
        move || {
            abort();
            close.notify_waiters();
            leases.close();
        }
    }

    /// One attempt on the caller's thread, where that can be; or else, or where it
    /// settled nothing, what is known of the request.
    pub fn try_directly(
        &self,
        request: &Request,
        deadline: Instant,
    ) -> std::result::Result<Result<Response>, Arc<Progress>> {
        let progress = Progress::default();
        let Some((method, message, connected)) = self.direct(request) else {
            return Err(Arc::new(progress));
        };
        let connection = connected.connection.clone();
        let outcome = match begin(&connection, method, message, Done::Keep) {
            Err(error) => Some(Err(error)),
            Ok(call) => {
                let begun = Instant::now();
                progress.note_sent(&connected);
                let until = || attempt_until(request, deadline, begun, Some(&connection));
                let outcome = connection.wait(&call, until);
                if outcome.is_none() {
                    connection.abandon(&call);
                }
                outcome
            }
        };
        let failure = match outcome {
            None => progress.give_up(&self.endpoints),
            Some(outcome) => {
                match self.settle_attempt(request, method, outcome, &connected, &progress) {
                    Ok(response) => return Ok(Ok(response)),
                    Err(failure) => failure,
                }
            }
        };
        match self.end_of(request, failure, &progress, deadline) {
            Some(error) => Ok(Err(error)),
            None => Err(Arc::new(progress)),
        }
    }

    /// What the members tell of themselves.
    pub fn cluster(self: &Arc<Self>, io: &Io, deadline: Instant) -> Result<Cluster> {
        let answer = Arc::new(Once::default());
        let (me, given) = (self.clone(), Answering(answer.clone()));
        io.post(move || {
            let aborted = me.abort.clone().notified_owned();
            if me.is_closing() {
                return;
            }
            tokio::spawn(async move {
                let answer = tokio::select! {
                    () = aborted => Err(Error::Closed),
                    cluster = cluster::ask(&me.leases, deadline) => cluster,
                };
                // Closing may have ended the calls before it was heard of.
                given.0.set(answer.map_err(|error| match me.is_closing() {
                    true => Error::Closed,
                    false => error,
                }));
            });
        });
        answer.take(None).unwrap_or(Err(Error::Closed))
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    pub(super) fn window(&self) -> &Window<Arc<Submission>> {
        &self.window
    }

    /// One in the window is done: begins those that wait.
    pub(super) fn make_room(&self) {
        self.window.make_room(|next| next.start());
    }

    /// Has the I/O thread read answers where no thread waits for one.
    pub(super) fn rouse(&self) {
        self.endpoints.rouse();
    }

    /// What one attempt on the caller's thread takes, where that can be.
    pub(super) fn direct(&self, request: &Request) -> Option<(Method, Bytes, Connected)> {
        if sys::stack_left() < STACK || (request.stores() && self.is_full()) {
            return None;
        }
        let connected = self.endpoints.current()?;
        let (method, message) = message::encode(request)?;
        Some((method, message, connected))
    }

    /// What came back from an attempt on a caller's thread.
    pub(super) fn settle_attempt(
        &self,
        request: &Request,
        method: Method,
        outcome: Outcome,
        connected: &Connected,
        progress: &Progress,
    ) -> std::result::Result<Response, Failure> {
        let answer = self.judge(&self.endpoints, request, method, outcome, connected, progress);
        progress.end_attempt(&answer);
        answer
    }

    pub(super) fn gave_up(&self, progress: &Progress) -> Failure {
        progress.give_up(&self.endpoints)
    }

    /// The request's end after a failed attempt, unless another one may help.
    pub(super) fn end_of(
        &self,
        request: &Request,
        failure: Failure,
        progress: &Progress,
        deadline: Instant,
    ) -> Option<Error> {
        if let Some(error) = progress.settle(request, failure) {
            return Some(error);
        }
        if self.is_closing() {
            return Some(progress.ended(request, Error::Closed));
        }
        (Instant::now() >= deadline).then(|| progress.ended(request, progress.last()))
    }

    fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Has the I/O thread make a request.
    pub fn post(
        self: Arc<Self>,
        io: &Io,
        request: Request,
        deadline: Instant,
        progress: Arc<Progress>,
        done: Completion,
    ) {
        let writes = request.writes();
        let owed = Owed { done: Some(done), progress: progress.clone(), writes };
        io.post(move || {
            let task = self.begin(request, deadline, progress);
            tokio::spawn(async move { owed.pay(task.await) });
        });
    }

    /// The answer of a request, at the deadline at the latest.
    fn begin(
        self: Arc<Self>,
        request: Request,
        deadline: Instant,
        progress: Arc<Progress>,
    ) -> impl Future<Output = Result<Response>> + Send {
        // Hears of an abort from here on.
        let (ended, is_ended) = match request {
            Request::Revoke { .. } => (&self.close, &self.closed),
            _ => (&self.abort, &self.closing),
        };
        let aborted = ended.clone().notified_owned();
        let is_ended = is_ended.load(Ordering::SeqCst);
        async move {
            if is_ended {
                return Err(progress.ended(&request, Error::Closed));
            }
            tokio::select! {
                biased;
                () = aborted => Err(progress.ended(&request, Error::Closed)),
                why = progress.given_up() => Err(progress.ended(&request, why)),
                answer = self.attempts(&request, deadline, &progress) => answer,
            }
        }
    }

    /// One attempt, on one connection.
    async fn attempt(
        &self,
        endpoints: &Endpoints,
        request: &Request,
        progress: &Progress,
    ) -> std::result::Result<Response, Failure> {
        let connected = endpoints.connect().await.map_err(outcome::of_connecting)?;
        if request.stores() && self.is_full() {
            self.ask_whether_full(&connected).await?;
        }
        let encoded = message::encode(request);
        progress.begin_sending(&connected)?;
        let answer = match encoded {
            Some((method, message)) => {
                let outcome = call(&connected.connection, method, message).await;
                self.judge(endpoints, request, method, outcome, &connected, progress)
            }
            None => {
                let answer = leases::send(&connected, request).await;
                self.weigh(endpoints, request, answer, &connected, progress)
            }
        };
        progress.end_attempt(&answer);
        answer
    }

    /// Likewise, for as long as one may take.
    async fn timed_attempt(
        &self,
        endpoints: &Endpoints,
        request: &Request,
        deadline: Instant,
        progress: &Progress,
    ) -> std::result::Result<Response, Failure> {
        let mut attempt = pin!(self.attempt(endpoints, request, progress));
        let begun = Instant::now();
        loop {
            let connection = progress.sent_on();
            let until = attempt_until(request, deadline, begun, connection.as_deref());
            if until <= Instant::now() {
                return Err(progress.give_up(endpoints));
            }
            if let Ok(answer) = timeout_at(until.into(), &mut attempt).await {
                return answer;
            }
        }
    }

    /// What came back over a connection.
    fn judge(
        &self,
        endpoints: &Endpoints,
        request: &Request,
        method: Method,
        outcome: Outcome,
        connected: &Connected,
        progress: &Progress,
    ) -> std::result::Result<Response, Failure> {
        if let Err(CallError::NotSeen(_)) = &outcome {
            endpoints.renounce(connected);
        }
        let answer = answer::judge(request, method, outcome);
        self.weigh(endpoints, request, answer, connected, progress)
    }

    /// What an answer means for the member that gave it.
    fn weigh(
        &self,
        endpoints: &Endpoints,
        request: &Request,
        answer: std::result::Result<Response, Failure>,
        connected: &Connected,
        progress: &Progress,
    ) -> std::result::Result<Response, Failure> {
        let mut failure = match answer {
            Ok(response) => {
                endpoints.succeeded(connected);
                return Ok(response);
            }
            Err(failure) => failure,
        };
        if let (Failure::Final(Error::NoSpace(why)), true) = (&failure, request.stores()) {
            failure = Failure::Unknown(why.clone());
            self.full.store(true, Ordering::Relaxed);
        }
        if let Failure::Token(why) = failure {
            endpoints.succeeded(connected);
            let again = endpoints.reject_token(connected) && progress.may_refresh();
            let error = Error::Auth(why);
            return Err(if again { Failure::NotApplied(error) } else { Failure::Final(error) });
        }
        if matches!(failure, Failure::Unknown(_)) {
            progress.note_unknown();
        }
        match &failure {
            Failure::Final(_) | Failure::Token(_) => endpoints.succeeded(connected),
            // The member answered; another may be able to serve the request.
            Failure::NotApplied(Error::Unavailable(why)) | Failure::Unknown(why)
                if why.starts_with("etcdserver:") =>
            {
                endpoints.pass_over(connected);
            }
            // It never got to the member.
            Failure::NotApplied(_) => {}
            Failure::Unknown(_) => endpoints.failed(connected),
        }
        Err(failure)
    }

    /// Whether the alarm for the space quota is raised.
    ///
    /// The write that exceeds the quota is applied and refused in one, by the same
    /// words as one that is refused and not applied. So its outcome is unknown; from
    /// then on the alarm is asked for before a write is sent.
    async fn ask_whether_full(&self, connected: &Connected) -> std::result::Result<(), Failure> {
        let no_answer = |_| Err(Failure::Unknown("no answer in time".into()));
        let asked = timeout(ATTEMPT, probes::is_full(&connected.connection)).await;
        let full = match asked.unwrap_or_else(no_answer) {
            Ok(full) => full,
            // The next write will tell.
            Err(Failure::Final(Error::Denied(_))) => false,
            Err(Failure::Token(why)) if self.endpoints.reject_token(connected) => {
                return Err(Failure::NotApplied(Error::Auth(why)));
            }
            Err(failure) => {
                self.endpoints.pass_over(connected);
                return Err(Failure::NotApplied(failure.into()));
            }
        };
        self.full.store(full, Ordering::Relaxed);
        if full {
            let why = "etcdserver: mvcc: database space exceeded";
            return Err(Failure::Final(Error::NoSpace(why.into())));
        }
        Ok(())
    }

    async fn attempts(
        &self,
        request: &Request,
        deadline: Instant,
        progress: &Progress,
    ) -> Result<Response> {
        let endpoints = if request.is_about_a_lease() { &self.leases } else { &self.endpoints };
        let mut back_off = BACK_OFF;
        for made in 1.. {
            let failure = match self.timed_attempt(endpoints, request, deadline, progress).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            if let Some(error) = progress.settle(request, failure) {
                return Err(error);
            }
            let at_once = made < AT_ONCE && endpoints.has_healthy();
            let pause = if at_once { Duration::ZERO } else { jitter(back_off) };
            sleep_until((Instant::now() + pause).min(deadline).into()).await;
            if Instant::now() >= deadline {
                return Err(progress.ended(request, progress.last()));
            }
            if !at_once {
                back_off = (back_off * 2).min(BACK_OFF_MOST);
            }
        }
        Err(progress.ended(request, progress.last()))
    }
}

/// How long an attempt may take that was begun then. A member that goes on answering
/// others is busy, and not to be asked once more.
pub(super) fn attempt_until(
    request: &Request,
    deadline: Instant,
    begun: Instant,
    connection: Option<&Connection>,
) -> Instant {
    if !request.repeatable() {
        return deadline;
    }
    let alive = connection.map_or(begun, |connection| connection.answers().last().max(begun));
    deadline.min(alive + ATTEMPT)
}

pub(super) fn begin(
    connection: &Connection,
    method: Method,
    message: Bytes,
    done: Done,
) -> std::result::Result<Arc<Call>, CallError> {
    connection.begin(method.path(), method.requires_leader(), message, done)
}

/// An answer, also where the task that would have it is dropped.
struct Owed {
    done: Option<Completion>,
    progress: Arc<Progress>,
    writes: bool,
}

impl Owed {
    fn pay(mut self, answer: Result<Response>) {
        if let Some(done) = self.done.take() {
            done.complete(answer);
        }
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        let Some(done) = self.done.take() else { return };
        let why = match std::thread::panicking() {
            true => Error::Internal("the request's task failed".into()),
            false => Error::Closed,
        };
        done.complete(Err(self.progress.give_up_for_good(self.writes, why)));
    }
}
