//! A request from its first attempt to its answer: deadline, retries, and what a
//! failure means.
//!
//! A read or write for which a connection is at hand is tried once directly, on
//! the caller's thread. Everything else, and what that attempt did not settle, is
//! the I/O thread's.

use super::endpoints::{Connected, Endpoints};
use super::leases;
use super::message::{self, Method};
use super::outcome::{self, Failure};
use super::transport::{Call, CallError, Connection, Done, Outcome};
use crate::error::{Error, Result};
use crate::request::{Request, Response};
use crate::sync::Lock;
use crate::sys;
use bytes::Bytes;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, Notify};
use tokio::time::{sleep_until, timeout_at};

/// How long one attempt of a request that may be repeated can take.
const ATTEMPT: Duration = Duration::from_millis(1500);

/// A member that has not answered for so long is passed over.
const SLOW: Duration = Duration::from_millis(500);

const BACK_OFF: Duration = Duration::from_millis(25);
const BACK_OFF_MOST: Duration = Duration::from_secs(1);

/// What HTTP/2, TLS and decoding need of a caller's stack, with a margin.
const STACK: usize = 40 << 10;

pub struct Requests {
    endpoints: Arc<Endpoints>,
    /// Of requests that deal with leases.
    leases: Arc<Endpoints>,
    abort: Arc<Notify>,
    close: Arc<Notify>,
    aborts: AtomicU64,
    closed: AtomicBool,
    /// A write met an exhausted space quota.
    full: AtomicBool,
}

impl Requests {
    pub fn new(endpoints: Arc<Endpoints>, leases: Arc<Endpoints>) -> Self {
        Self {
            endpoints,
            leases,
            abort: Arc::default(),
            close: Arc::default(),
            aborts: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            full: AtomicBool::new(false),
        }
    }

    /// Ends the requests that were begun before, but those that give up a lease:
    /// closing waits for them. Threads that drive hear of it at once; tasks, through
    /// what is returned, on the I/O thread.
    pub fn abort(&self) -> impl FnOnce() + Send + 'static {
        self.aborts.fetch_add(1, Ordering::SeqCst);
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
    ) -> std::result::Result<Result<Response>, Progress> {
        let progress = Progress::default();
        if sys::stack_left() < STACK || (request.stores() && self.is_full()) {
            return Err(progress);
        }
        let aborts = self.aborts.load(Ordering::SeqCst);
        let Some((method, message)) = message::encode(request) else { return Err(progress) };
        let Some(connected) = self.endpoints.current() else { return Err(progress) };
        let connection = connected.connection.clone();
        let outcome = match connection.begin(method.path(), message, Done::Keep) {
            Err(error) => Some(Err(error)),
            Ok(call) => {
                progress.0.hold().sent = Some((connected.clone(), Instant::now()));
                let outcome = connection.wait(&call, attempt_until(request, deadline));
                if outcome.is_none() {
                    connection.abandon(&call);
                }
                outcome
            }
        };
        let failure = match outcome {
            None => progress.give_up(&self.endpoints),
            Some(outcome) => {
                progress.0.hold().sent = None;
                let endpoints = &self.endpoints;
                match self.judge(endpoints, request, method, outcome, &connected, &progress) {
                    Ok(response) => return Ok(Ok(response)),
                    Err(failure) => failure,
                }
            }
        };
        if let Some(error) = progress.settle(request, failure) {
            return Ok(Err(error));
        }
        if self.aborts.load(Ordering::SeqCst) != aborts {
            return Ok(Err(progress.ended(request, Error::Closed)));
        }
        if Instant::now() >= deadline {
            return Ok(Err(progress.ended(request, progress.last())));
        }
        Err(progress)
    }

    fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// The answer of a request, at the deadline at the latest.
    pub fn begin(
        self: Arc<Self>,
        request: Request,
        deadline: Instant,
        progress: Progress,
    ) -> impl Future<Output = Result<Response>> + Send {
        // Hears of an abort from here on.
        let ended =
            if matches!(request, Request::Revoke { .. }) { &self.close } else { &self.abort };
        let aborted = ended.clone().notified_owned();
        async move {
            if self.closed.load(Ordering::SeqCst) {
                return Err(progress.ended(&request, Error::Closed));
            }
            tokio::select! {
                biased;
                () = aborted => Err(progress.ended(&request, Error::Closed)),
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
        let connected = endpoints.connect().await.map_err(Failure::NotApplied)?;
        if request.stores() && self.is_full() {
            self.ask_whether_full().await?;
        }
        let encoded = message::encode(request);
        progress.0.hold().sent = Some((connected.clone(), Instant::now()));
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
        // Gone where the attempt was given up meanwhile, which was noted then.
        progress.0.hold().sent = None;
        answer
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
        let answer = match outcome {
            Ok(message) => message::decode(method, message).map_err(|error| match error {
                // An answer that makes no sense does not tell what became of a write.
                Error::Internal(why) if request.writes() => Failure::Unknown(why),
                error => Failure::Final(error),
            }),
            Err(error) => Err(outcome::of_call(&error)),
        };
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
        if matches!(failure, Failure::Unknown(_)) {
            progress.0.hold().unknown = true;
        }
        match &failure {
            Failure::Final(_) => endpoints.succeeded(connected),
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
    async fn ask_whether_full(&self) -> std::result::Result<(), Failure> {
        let connected = self.leases.connect().await.map_err(Failure::NotApplied)?;
        let full = leases::is_full(&connected).await.map_err(Failure::NotApplied)?;
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
        let endpoints = match request {
            Request::Range(_) | Request::Txn(_) => &self.endpoints,
            _ => &self.leases,
        };
        let mut back_off = BACK_OFF;
        loop {
            let attempt = self.attempt(endpoints, request, progress);
            let until = attempt_until(request, deadline);
            let failure = match timeout_at(until.into(), attempt).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(failure)) => failure,
                Err(_) => progress.give_up(endpoints),
            };
            if let Some(error) = progress.settle(request, failure) {
                return Err(error);
            }
            let pause = if endpoints.has_healthy() { Duration::ZERO } else { jitter(back_off) };
            sleep_until((Instant::now() + pause).min(deadline).into()).await;
            if Instant::now() >= deadline {
                return Err(progress.ended(request, progress.last()));
            }
            back_off = (back_off * 2).min(BACK_OFF_MOST);
        }
    }
}

fn attempt_until(request: &Request, deadline: Instant) -> Instant {
    if request.repeatable() {
        deadline.min(Instant::now() + ATTEMPT)
    } else {
        deadline
    }
}

/// A call whose outcome a task waits for.
async fn call(connection: &Arc<Connection>, method: Method, message: Bytes) -> Outcome {
    let (send, receive) = oneshot::channel();
    let done = Done::Tell(Box::new(move |outcome| drop(send.send(outcome))));
    let call = connection.begin(method.path(), message, done)?;
    let _abandoned = Abandon { connection, call };
    receive.await.unwrap_or_else(|_| Err(CallError::Broken("the call was dropped".into())))
}

/// Abandons a call when dropped, which does nothing to one that is over.
struct Abandon<'a> {
    connection: &'a Connection,
    call: Arc<Call>,
}

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        if !self.call.is_over() {
            self.connection.abandon(&self.call);
        }
    }
}

/// What is known of a request, should it end now.
#[derive(Default)]
pub struct Progress(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// An attempt is under way on this connection: the server may have it.
    sent: Option<(Connected, Instant)>,
    /// An earlier attempt may have been applied.
    unknown: bool,
    last: Option<Error>,
}

impl Progress {
    fn note(&self, error: Error) {
        self.0.hold().last = Some(error);
    }

    fn last(&self) -> Error {
        match self.0.hold().last.take() {
            Some(error @ (Error::Tls(_) | Error::NoMemory(_))) => error,
            Some(error) => Error::Unavailable(error.to_string()),
            None => Error::Unavailable("no answer in time".into()),
        }
    }

    /// The request's end, if this failure is that.
    fn settle(&self, request: &Request, failure: Failure) -> Option<Error> {
        match failure {
            Failure::Final(error) if matches!(request, Request::Txn(_)) => {
                Some(self.ended(request, error))
            }
            Failure::Final(error) => Some(error),
            Failure::NotApplied(error) => {
                self.note(error);
                None
            }
            Failure::Unknown(why) => {
                self.note(Error::Unavailable(why));
                self.0.hold().unknown = true;
                (!request.repeatable()).then(|| self.ended(request, self.last()))
            }
        }
    }

    /// What to answer where there will be no answer of a server.
    fn ended(&self, request: &Request, error: Error) -> Error {
        let known = self.0.hold();
        if request.writes() && (known.unknown || known.sent.is_some()) {
            return Error::Indeterminate(error.to_string());
        }
        error
    }

    /// The attempt's time is over.
    fn give_up(&self, endpoints: &Endpoints) -> Failure {
        let sent = self.0.hold().sent.take();
        match sent {
            None => Failure::NotApplied(Error::Unavailable("not connected in time".into())),
            Some((connected, begun)) => {
                // A caller in a hurry is no reason for all others to move.
                if begun.elapsed() >= SLOW {
                    endpoints.pass_over(&connected);
                }
                Failure::Unknown("no answer in time".into())
            }
        }
    }
}

/// 20 % more or less, so that many clients do not come back at one moment.
fn jitter(time: Duration) -> Duration {
    let random = crate::sys::random_id() as f64 / i64::MAX as f64;
    time.mul_f64(0.8 + 0.4 * random)
}
