//! A request from its first attempt to its answer: deadline, retries, and what a
//! failure means.

use super::convert;
use super::endpoints::{Connected, Endpoints};
use super::transport::{self, Failure};
use crate::error::{Error, Result};
use crate::request::{Op, Request, Response, Txn};
use crate::sync::Lock;
use etcd_client::{AlarmAction, AlarmType, Client, LeaseGrantOptions, PutOptions};
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::time::{sleep_until, timeout_at};

/// How long one attempt of a request that may be repeated can take.
const ATTEMPT: Duration = Duration::from_millis(1500);

const BACK_OFF: Duration = Duration::from_millis(25);
const BACK_OFF_MOST: Duration = Duration::from_secs(1);

pub struct Requests {
    endpoints: Endpoints,
    /// Of requests that deal with leases.
    leases: Endpoints,
    abort: Arc<Notify>,
    close: Arc<Notify>,
    /// A write met an exhausted space quota.
    full: AtomicBool,
}

impl Requests {
    pub fn new(endpoints: Endpoints, leases: Endpoints) -> Self {
        Self {
            endpoints,
            leases,
            abort: Arc::default(),
            close: Arc::default(),
            full: AtomicBool::new(false),
        }
    }

    /// Ends the requests that were begun before, but those that give up a lease:
    /// closing waits for them.
    pub fn abort(&self) {
        self.abort.notify_waiters();
    }

    /// Ends all requests that were begun before.
    pub fn close(&self) {
        self.abort.notify_waiters();
        self.close.notify_waiters();
    }

    /// The answer of a request, at the deadline at the latest.
    pub fn begin(
        self: Arc<Self>,
        request: Request,
        deadline: Instant,
    ) -> impl Future<Output = Result<Response>> + Send {
        // Hears of an abort from here on.
        let ended =
            if matches!(request, Request::Revoke { .. }) { &self.close } else { &self.abort };
        let aborted = ended.clone().notified_owned();
        async move {
            let progress = Progress::default();
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
        let mut client = connected.client.clone();
        let stores = request.stores();
        if stores && self.full.load(Ordering::Relaxed) {
            let full = is_full(&mut client).await.map_err(Failure::NotApplied)?;
            self.full.store(full, Ordering::Relaxed);
            if full {
                let why = "etcdserver: mvcc: database space exceeded";
                return Err(Failure::Final(Error::NoSpace(why.into())));
            }
        }
        progress.0.hold().sent = Some(connected);
        let answer = send(&mut client, request).await;
        let sent = progress.0.hold().sent.take();
        let Some(connected) = sent else {
            return Err(Failure::Unknown("the attempt was given up".into()));
        };
        match answer {
            Ok(answer) => {
                endpoints.succeeded(&connected);
                answer.map_err(|error| match error {
                    // An answer that makes no sense does not tell what became of a write.
                    Error::Internal(why) if request.writes() => Failure::Unknown(why),
                    error => Failure::Final(error),
                })
            }
            Err(error) => {
                let mut failure = transport::classify(&error);
                if let Failure::Final(Error::NoSpace(why)) = &failure {
                    if stores {
                        failure = Failure::Unknown(why.clone());
                        self.full.store(true, Ordering::Relaxed);
                    }
                }
                if matches!(failure, Failure::Unknown(_)) {
                    progress.0.hold().unknown = true;
                }
                match &failure {
                    Failure::Final(_) => endpoints.succeeded(&connected),
                    // The member answered; another may be able to serve the request.
                    Failure::NotApplied(Error::Unavailable(why)) | Failure::Unknown(why)
                        if why.starts_with("etcdserver:") =>
                    {
                        endpoints.pass_over(&connected);
                    }
                    _ => endpoints.failed(&connected).await,
                }
                Err(failure)
            }
        }
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
            let mut until = deadline;
            if request.repeatable() {
                until = until.min(Instant::now() + ATTEMPT);
            }
            let attempt = self.attempt(endpoints, request, progress);
            let failure = match timeout_at(until.into(), attempt).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(failure)) => failure,
                Err(_) => progress.give_up(endpoints),
            };
            match failure {
                Failure::Final(error) if matches!(request, Request::Txn(_)) => {
                    return Err(progress.ended(request, error));
                }
                Failure::Final(error) => return Err(error),
                Failure::NotApplied(error) => progress.note(error),
                Failure::Unknown(why) => {
                    progress.note(Error::Unavailable(why));
                    progress.0.hold().unknown = true;
                    if !request.repeatable() {
                        return Err(progress.ended(request, progress.last()));
                    }
                }
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

/// What is known of a request, should it end now.
#[derive(Default)]
struct Progress(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// An attempt is under way on this connection: the server may have it.
    sent: Option<Connected>,
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
            Some(connected) => {
                endpoints.pass_over(&connected);
                Failure::Unknown("no answer in time".into())
            }
        }
    }
}

/// Whether the alarm for the space quota is raised.
///
/// The write that exceeds the quota is applied and refused in one, by the same
/// words as one that is refused and not applied. So its outcome is unknown; from
/// then on the alarm is asked for before a write is sent.
async fn is_full(client: &mut Client) -> Result<bool> {
    match client.alarm(AlarmAction::Get, AlarmType::Nospace, None).await {
        Ok(answer) => Ok(!answer.alarms().is_empty()),
        Err(error) => Err(Error::Unavailable(error.to_string())),
    }
}

/// Makes the call. The inner failure is that of an answer which makes no sense.
async fn send(
    client: &mut Client,
    request: &Request,
) -> std::result::Result<Result<Response>, etcd_client::Error> {
    // The size of an answer is the caller's choice.
    let mut kv = client.kv_client().max_decoding_message_size(usize::MAX);
    Ok(match request {
        Request::Range(range) => {
            let options = convert::get_options(range);
            let answer = kv.get(range.keys.key.clone(), Some(options)).await?;
            convert::revision(answer.header())
                .map(|revision| Response::Range(convert::found(answer.0, revision)))
        }
        Request::Txn(txn) => transact(&mut kv, txn.clone()).await?,
        Request::Grant { lease, ttl_s } => {
            let options = LeaseGrantOptions::new().with_id(*lease);
            match client.lease_grant(*ttl_s, Some(options)).await {
                Err(error) if !transport::is_granted_already(&error) => return Err(error),
                _ => Ok(Response::Lease),
            }
        }
        // One renewal on a stream of its own: none waits behind another's.
        Request::Renew { lease } => {
            client.lease_keep_alive(*lease).await.map(|_| Ok(Response::Lease))?
        }
        Request::Revoke { lease } => match client.lease_revoke(*lease).await {
            Err(error) if !is_lost(&error) => return Err(error),
            _ => Ok(Response::Lease),
        },
        Request::TimeToLive { lease } => match client.lease_time_to_live(*lease, None).await?.ttl()
        {
            ttl if ttl > 0 => Ok(Response::Lease),
            _ => Err(Error::Lost("requested lease not found".into())),
        },
    })
}

fn is_lost(error: &etcd_client::Error) -> bool {
    matches!(transport::classify(error), Failure::Final(Error::Lost(_)))
}

/// A single unconditional operation has a call of its own, smaller and cheaper.
async fn transact(
    kv: &mut etcd_client::KvClient,
    mut txn: Txn,
) -> std::result::Result<Result<Response>, etcd_client::Error> {
    let single = txn.compares.is_empty() && txn.then.len() == 1;
    let answer = match txn.then.pop() {
        Some(Op::Put { key, value, lease }) if single => {
            let options = PutOptions::new().with_lease(lease);
            let answer = kv.put(key, value, Some(options)).await?;
            convert::revision(answer.header())
        }
        Some(Op::Delete(keys)) if single => {
            let options = convert::delete_options(&keys);
            let answer = kv.delete(keys.key, Some(options)).await?;
            convert::revision(answer.header())
        }
        last => {
            txn.then.extend(last);
            let answer = kv.txn(convert::txn(txn)).await?;
            return Ok(convert::txn_answer(answer).map(Response::Txn));
        }
    };
    Ok(answer.map(|revision| {
        Response::Txn(crate::request::TxnAnswer { succeeded: true, revision, ranges: Vec::new() })
    }))
}

/// 20 % more or less, so that many clients do not come back at one moment.
fn jitter(time: Duration) -> Duration {
    let random = crate::sys::random_id() as f64 / i64::MAX as f64;
    time.mul_f64(0.8 + 0.4 * random)
}
