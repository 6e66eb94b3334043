//! Which member of the cluster is asked: the same one while it answers.

use super::auth::{Auth, NoToken};
use super::choice::{Choice, LEAVE_OUT, LEAVE_OUT_MOST};
use super::io::Io;
use super::transport::{channel, Connection, Dialer, Driver};
use crate::endpoint::Url;
use crate::error::{Error, Result};
use crate::log::{log, Level};
use crate::options::Options;
use crate::sync::Lock;
use etcd_client::{Client, ConnectOptions};
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;
use tokio::time::sleep;

pub struct Endpoints {
    me: Weak<Self>,
    io: Weak<Io>,
    /// None where there is no user.
    auth: Option<Arc<Auth>>,
    all: Vec<Member>,
    choice: Mutex<Choice>,
}

struct Member {
    dialer: Dialer,
    /// Held while connecting, so that many requests make one connection; holds how
    /// that went, if it failed.
    dialing: tokio::sync::Mutex<Option<(Instant, Error)>>,
    connection: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    connection: Option<Arc<Connection>>,
    closed: bool,
}

/// A connection and whose it is.
#[derive(Clone)]
pub struct Connected {
    pub connection: Arc<Connection>,
    member: usize,
    /// Which token its requests carry, or a later one.
    token: u64,
}

impl Connected {
    pub async fn client(&self) -> Result<Client> {
        let options = ConnectOptions::new().with_require_leader(true);
        // Without credentials this does not touch the network.
        Client::from_channel(channel(self.connection.clone()), Some(options))
            .await
            .map_err(|e| Error::Unavailable(e.to_string()))
    }
}

impl Endpoints {
    pub fn new(
        urls: &[Url],
        options: &Options,
        driver: Driver,
        auth: Option<Arc<Auth>>,
        io: Weak<Io>,
    ) -> Result<Arc<Self>> {
        let member = |url: &Url| {
            let token = auth.as_ref().map(|auth| auth.token().clone());
            let dialer = Dialer::new(url.clone(), options, driver, token)?;
            Ok(Member { dialer, dialing: Default::default(), connection: Mutex::default() })
        };
        let all: Vec<Member> = urls.iter().map(member).collect::<Result<_>>()?;
        let choice = Mutex::new(Choice::new(all.len()));
        Ok(Arc::new_cyclic(|me| Self { me: me.clone(), io, auth, all, choice }))
    }

    /// The connection to the member of choice, if there is one that takes requests.
    pub fn current(&self) -> Option<Connected> {
        let token = match &self.auth {
            None => 0,
            Some(auth) => auth.token().accepted()?,
        };
        let member = self.choice.hold().pick();
        self.held(member).map(|connected| Connected { token, ..connected })
    }

    /// Has the I/O thread read answers where no thread waits for one.
    pub fn rouse(&self) {
        let member = self.choice.hold().pick();
        if let Some(connected) = self.held(member) {
            connected.connection.rouse();
        }
    }

    fn held(&self, member: usize) -> Option<Connected> {
        let held = self.all[member].connection.hold();
        let connection = held.connection.as_ref().filter(|connection| connection.is_usable())?;
        Some(Connected { connection: connection.clone(), member, token: 0 })
    }

    /// A connection to the member of choice that takes the user's requests. A failure
    /// is not applied for sure.
    pub async fn connect(&self) -> Result<Connected> {
        let connected = self.reach().await?;
        let Some(auth) = &self.auth else { return Ok(connected) };
        match auth.ensure(&connected.connection).await {
            Ok(token) => Ok(Connected { token, ..connected }),
            Err(NoToken { error, own }) => {
                if own && matches!(error, Error::Unavailable(_)) {
                    self.pass_over(&connected);
                }
                Err(error)
            }
        }
    }

    /// The server does not accept the token, or none, of a request. False where there
    /// is no user: it will not accept the next one either.
    pub fn reject_token(&self, connected: &Connected) -> bool {
        if let Some(auth) = &self.auth {
            auth.token().reject(connected.token);
        }
        self.auth.is_some()
    }

    pub fn has_user(&self) -> bool {
        self.auth.is_some()
    }

    async fn reach(&self) -> Result<Connected> {
        let index = self.choice.hold().pick();
        let member = &self.all[index];
        let asked = Instant::now();
        let mut failed = member.dialing.lock().await;
        if let Some(connected) = self.held(index) {
            return Ok(connected);
        }
        // What failed while this request waited for its turn failed for it too.
        match &*failed {
            Some((when, error)) if *when >= asked => return Err(error.clone()),
            _ => {}
        }
        // A request may be dropped while it connects: that member did not answer.
        let left_out = LeaveOut { endpoints: self, member: index };
        let dialed = member.dialer.dial().await;
        std::mem::forget(left_out);
        match dialed {
            Ok(connection) => {
                log(Level::Info, || format!("{} connected", member.dialer.url));
                *failed = None;
                let mut held = member.connection.hold();
                if held.closed {
                    connection.close();
                    return Err(Error::Closed);
                }
                held.connection = Some(connection.clone());
                Ok(Connected { connection, member: index, token: 0 })
            }
            Err(error) => {
                log(Level::Debug, || format!("{} not connected: {error}", member.dialer.url));
                *failed = Some((Instant::now(), error.clone()));
                self.leave_out(index);
                Err(error)
            }
        }
    }

    pub fn succeeded(&self, connected: &Connected) {
        self.choice.hold().back(connected.member);
    }

    /// The connection is not to be used again, and the member not for a while.
    pub fn failed(&self, connected: &Connected) {
        if self.renounce(connected) {
            self.leave_out(connected.member);
        }
    }

    /// The connection takes no further calls, which is no fault of the member.
    pub fn renounce(&self, connected: &Connected) -> bool {
        let mut held = self.all[connected.member].connection.hold();
        let is_held =
            held.connection.as_ref().is_some_and(|held| Arc::ptr_eq(held, &connected.connection));
        if is_held {
            held.connection = None;
        }
        connected.connection.retire();
        is_held
    }

    /// The member works, but cannot serve this request: the next one is to try.
    pub fn pass_over(&self, connected: &Connected) {
        self.leave_out(connected.member);
    }

    /// Whether a member that did not fail lately is left to try at once.
    pub fn has_healthy(&self) -> bool {
        self.choice.hold().has_healthy()
    }

    fn connections(&self) -> Vec<Arc<Connection>> {
        self.all.iter().filter_map(|member| member.connection.hold().connection.clone()).collect()
    }

    /// Ends all calls that were begun before.
    pub fn abort(&self) {
        self.connections().iter().for_each(|connection| connection.abort());
    }

    /// Ends all connections, and makes no others.
    pub fn close(&self) {
        for member in &self.all {
            let mut held = member.connection.hold();
            held.closed = true;
            if let Some(connection) = held.connection.take() {
                connection.close();
            }
        }
    }

    /// Until a probe finds the member well again. One that is alone is never left
    /// out for long: there is nobody else to ask.
    fn leave_out(&self, member: usize) {
        let newly = self.choice.hold().leave_out(member, Instant::now());
        if !newly || self.all.len() == 1 {
            return;
        }
        let (me, io) = (self.me.clone(), self.io.upgrade());
        if let Some(io) = io {
            io.post(move || drop(tokio::spawn(probe(me, member))));
        }
    }
}

impl Drop for Endpoints {
    fn drop(&mut self) {
        self.close();
    }
}

/// Connects to a member that is left out until that works.
async fn probe(endpoints: Weak<Endpoints>, member: usize) {
    let mut pause = LEAVE_OUT;
    loop {
        sleep(pause).await;
        pause = (pause * 2).min(LEAVE_OUT_MOST);
        let Some(endpoints) = endpoints.upgrade() else { return };
        if !endpoints.choice.hold().is_out(member) {
            return;
        }
        if let Ok(connection) = endpoints.all[member].dialer.dial().await {
            connection.retire();
            log(Level::Info, || format!("{} is back", endpoints.all[member].dialer.url));
            return endpoints.choice.hold().back(member);
        }
    }
}

/// Leaves a member out when dropped.
struct LeaveOut<'a> {
    endpoints: &'a Endpoints,
    member: usize,
}

impl Drop for LeaveOut<'_> {
    fn drop(&mut self) {
        self.endpoints.leave_out(self.member);
    }
}
