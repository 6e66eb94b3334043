//! Endpoint `srv:DOMAIN`: the members as the domain's SRV records tell them.
//!
//! They are looked up when the store is opened, when their time to live is over, and
//! soon whenever a request finds no member that is well. What was found stays until
//! another answer tells otherwise: one that fails or is empty does not.

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod message;
mod order;

use super::endpoints::Endpoints;
use super::io::Io;
use super::members::Given;
use super::tasks::lasting;
use super::transport::{look_up, Dialer, Driver};
use crate::endpoint::{Domain, Services, Url};
use crate::error::{Error, Result};
use crate::log::{log, Level};
use crate::options::Options;
use crate::sync::Lock;
use crate::sys::{self, NoRecords};
use futures_util::FutureExt;
use message::{Answer, Record};
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

/// Between two looks, however much they are wanted; doubled while they are.
const PAUSE: Duration = Duration::from_millis(250);
const PAUSE_MOST: Duration = Duration::from_secs(2);

/// What a time to live may be.
const TTL_LEAST: Duration = Duration::from_secs(5);
const TTL_MOST: Duration = Duration::from_secs(300);

/// Until the next look after one that failed, where nobody wants it sooner.
const AFTER_FAILURE: Duration = Duration::from_secs(30);

/// How long a request waits for a look, before it tries anew or ends.
const PATIENCE: Duration = Duration::from_secs(1);

/// No cluster is that large, and each member costs something.
const MEMBERS_MOST: usize = 16;

pub struct Discovery {
    domain: Domain,
    services: Arc<Services>,
    /// The records for http do not count: the options want TLS, or it was used before.
    tls_alone: AtomicBool,
    /// Why no member is known.
    why: Mutex<Error>,
    wanted: Notify,
    looked: Notify,
}

struct Found {
    tls: bool,
    answer: Answer,
}

impl Discovery {
    /// Checks everything that can be checked without the network.
    pub fn new(domain: Domain, options: &Options) -> Result<Arc<Self>> {
        let services = Arc::new(domain.services(options.srv_name.as_deref())?);
        let files = options.cacert.as_ref().or(options.cert.as_ref());
        let tls_alone = files.is_some() || options.server_name.is_some();
        if tls_alone {
            let url = Url { tls: true, host: domain.to_string(), port: 1 };
            Dialer::new(url, options, Driver::Callers, None, Weak::new())?;
        }
        let why = Error::Unavailable(format!("srv:{domain}: no answer of a name server yet"));
        Ok(Arc::new(Self {
            domain,
            services,
            tls_alone: tls_alone.into(),
            why: Mutex::new(why),
            wanted: Notify::new(),
            looked: Notify::new(),
        }))
    }

    /// No member is well: there may be others.
    pub fn want(&self) {
        self.wanted.notify_one();
    }

    /// Ends with the next look from now on, or after a while.
    pub fn looked(&self) -> impl Future<Output = ()> + Send + '_ {
        let looked = self.looked.notified();
        async move { drop(timeout(PATIENCE, looked).await) }
    }

    /// Why no member is known, where none is.
    pub fn why(&self) -> Error {
        self.why.hold().clone()
    }

    /// Looks for members until the endpoints are closed. `given` is where the cluster
    /// itself tells its members: then those found here are what that begins with, and
    /// goes back to when nobody answers.
    pub fn follow(self: &Arc<Self>, io: &Io, given: Option<Given>, all: &[&Arc<Endpoints>]) {
        let all: Vec<_> = all.iter().map(|endpoints| Arc::downgrade(endpoints)).collect();
        let me = self.clone();
        io.post(move || {
            tokio::spawn(async move { lasting(|| me.keep_looking(given.clone(), &all)).await });
        });
    }

    async fn keep_looking(&self, given: Option<Given>, all: &[Weak<Endpoints>]) {
        let (mut known, mut wanted, mut pause) = (Vec::new(), true, PAUSE);
        let gone = |it: &Weak<Endpoints>| it.upgrade().is_none_or(|it| it.is_closed());
        while !all.iter().any(gone) {
            let next = match self.look().await {
                Ok(Found { tls, mut answer }) => {
                    let ttl = Duration::from_secs(answer.ttl.into());
                    answer.records.sort_unstable();
                    // A new order alone, by another lot, changes nothing.
                    let replaces = match &given {
                        None => known != answer.records,
                        Some(_) => wanted,
                    };
                    let urls = urls(tls, answer.records.clone());
                    let replaced = {
                        let mut given = given.as_ref().map(|given| given.hold());
                        if let Some(given) = &mut given {
                            given.clone_from(&urls);
                        }
                        if replaces {
                            replace(all, &urls)
                        } else {
                            Ok(())
                        }
                    };
                    match replaced {
                        Ok(()) => {
                            known = answer.records;
                            self.tls_alone.fetch_or(tls, Ordering::Relaxed);
                            self.wanted.notified().now_or_never();
                        }
                        Err(Error::Closed) => return,
                        Err(error) => self.failed(error),
                    }
                    ttl.clamp(TTL_LEAST, TTL_MOST)
                }
                Err(error) => {
                    self.failed(error);
                    AFTER_FAILURE
                }
            };
            self.looked.notify_waiters();
            sleep(pause).await;
            wanted = timeout(next.saturating_sub(pause), self.wanted.notified()).await.is_ok();
            pause = if wanted { (pause * 2).min(PAUSE_MOST) } else { PAUSE };
        }
    }

    async fn look(&self) -> Result<Found> {
        let (services, tls_alone) = (self.services.clone(), &self.tls_alone);
        let tls_alone = tls_alone.load(Ordering::Relaxed);
        look_up(move || ask(&services, tls_alone)).await
    }

    fn failed(&self, error: Error) {
        let named = |why: String| format!("srv:{}: {why}", self.domain);
        let error = match error {
            Error::Unavailable(why) => Error::Unavailable(named(why)),
            Error::Tls(why) => Error::Tls(named(why)),
            error => error,
        };
        log(Level::Debug, || error.to_string());
        *self.why.hold() = error;
    }
}

fn replace(all: &[Weak<Endpoints>], urls: &[Url]) -> Result<()> {
    all.iter().filter_map(Weak::upgrade).try_for_each(|endpoints| endpoints.replace(urls))
}

/// Where there are records for https, those for http are not even asked for: a password
/// would cross the network readable whenever the others do not answer. So a failure to
/// learn whether there are any is a failure as a whole.
fn ask(services: &Services, tls_alone: bool) -> Result<Found> {
    let Services { tls, plain } = services;
    if let Some(answer) = records(tls)? {
        return Ok(Found { tls: true, answer });
    }
    if tls_alone {
        let why = format!("no records at {tls}; without TLS, none are wanted");
        return Err(Error::Unavailable(why));
    }
    match records(plain)? {
        Some(answer) => Ok(Found { tls: false, answer }),
        None => Err(Error::Unavailable(format!("no records at {tls} and {plain}"))),
    }
}

/// None where the name servers say that there are none.
fn records(name: &str) -> Result<Option<Answer>> {
    let failed = |why: &str| Err(Error::Unavailable(format!("{name}: {why}")));
    let message = match sys::query(name, message::INTERNET, message::SRV) {
        Ok(message) => message,
        Err(NoRecords::None) => return Ok(None),
        Err(NoRecords::Failed(why)) => return failed(&why),
    };
    match message::parse(&message) {
        None => failed("the answer is malformed"),
        Some(answer) if !answer.records.is_empty() => Ok(Some(answer)),
        Some(answer) if answer.passed_over > 0 => failed("the records name no host"),
        Some(_) => Ok(None),
    }
}

/// In the order in which they are to be tried.
fn urls(tls: bool, records: Vec<Record>) -> Vec<Url> {
    let lot = |most| sys::random_id().unsigned_abs() % (most + 1);
    let mut urls = Vec::new();
    for Record { host, port, .. } in order::order(records, lot) {
        let url = Url { tls, host, port };
        if urls.len() < MEMBERS_MOST && !urls.contains(&url) {
            urls.push(url);
        }
    }
    urls
}
