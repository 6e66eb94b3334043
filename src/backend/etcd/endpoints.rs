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
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;
use tokio::time::sleep;

pub struct Endpoints {
    me: Weak<Self>,
    io: Weak<Io>,
    /// None where there is no user.
    auth: Option<Arc<Auth>>,
    dialer: Box<MakeDialer>,
    choice: Mutex<Choice<Member>>,
    closed: AtomicBool,
}

type MakeDialer = dyn Fn(&Url) -> Result<Dialer> + Send + Sync;

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
    member: Arc<Member>,
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
        let (options, token) = (options.clone(), auth.as_ref().map(|auth| auth.token().clone()));
        let dialer = move |url: &Url| Dialer::new(url.clone(), &options, driver, token.clone());
        let all = urls.iter().map(|url| Member::new(dialer(url)?)).collect::<Result<_>>()?;
        let (choice, dialer) = (Mutex::new(Choice::new(all)), Box::new(dialer));
        let closed = AtomicBool::new(false);
        Ok(Arc::new_cyclic(|me| Self { me: me.clone(), io, auth, dialer, choice, closed }))
    }

    /// Whether there is a connection to this URL, or can be.
    pub async fn reaches(&self, url: &Url) -> bool {
        let held = {
            let choice = self.choice.hold();
            let mut members = choice.members().filter(|member| member.dialer.url == *url);
            members.any(|member| member.held().is_some())
        };
        let Ok(dialer) = (self.dialer)(url) else { return false };
        held || match dialer.dial().await {
            Ok(connection) => {
                connection.retire();
                true
            }
            Err(_) => false,
        }
    }

    /// From now on these are the members. The calls under way to others go on.
    pub fn replace(&self, urls: &[Url]) -> Result<()> {
        let mut choice = self.choice.hold();
        if self.closed.load(Ordering::SeqCst) {
            return Err(Error::Closed);
        }
        let known = |url: &Url| choice.members().find(|member| member.dialer.url == *url).cloned();
        let member = |url: &Url| match known(url) {
            Some(member) => Ok(member),
            None => Member::new((self.dialer)(url)?),
        };
        let all: Vec<_> = urls.iter().map(member).collect::<Result<_>>()?;
        let gone = |member: &&Arc<Member>| !all.iter().any(|it| Arc::ptr_eq(it, member));
        for member in choice.members().filter(gone) {
            log(Level::Info, || format!("{} is no member any more", member.dialer.url));
            member.end(|connection| connection.retire());
        }
        for member in &all {
            if known(&member.dialer.url).is_none() {
                log(Level::Info, || format!("{} is a member", member.dialer.url));
            }
        }
        choice.replace(all);
        Ok(())
    }

    /// The connection to the member of choice, if there is one that takes requests.
    pub fn current(&self) -> Option<Connected> {
        let token = match &self.auth {
            None => 0,
            Some(auth) => auth.token().accepted()?,
        };
        let member = self.pick();
        member.held().map(|connection| Connected { connection, member, token })
    }

    /// Has the I/O thread read answers where no thread waits for one.
    pub fn rouse(&self) {
        if let Some(connection) = self.pick().held() {
            connection.rouse();
        }
    }

    fn pick(&self) -> Arc<Member> {
        self.choice.hold().pick().clone()
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
        let member = self.pick();
        let connected = |connection| Connected { connection, member: member.clone(), token: 0 };
        let asked = Instant::now();
        let mut failed = member.dialing.lock().await;
        if let Some(connection) = member.held() {
            return Ok(connected(connection));
        }
        // What failed while this request waited for its turn failed for it too.
        match &*failed {
            Some((when, error)) if *when >= asked => return Err(error.clone()),
            _ => {}
        }
        // A request may be dropped while it connects: that member did not answer.
        let left_out = LeaveOut { endpoints: self, member: &member };
        let dialed = member.dialer.dial().await;
        std::mem::forget(left_out);
        match dialed {
            Ok(connection) => {
                log(Level::Info, || format!("{} connected", member.dialer.url));
                *failed = None;
                let mut held = member.connection.hold();
                if held.closed {
                    connection.close();
                    return Err(match self.closed.load(Ordering::SeqCst) {
                        true => Error::Closed,
                        false => Error::Unavailable("it is no member any more".into()),
                    });
                }
                held.connection = Some(connection.clone());
                Ok(connected(connection))
            }
            Err(error) => {
                log(Level::Debug, || format!("{} not connected: {error}", member.dialer.url));
                *failed = Some((Instant::now(), error.clone()));
                self.leave_out(&member);
                Err(error)
            }
        }
    }

    pub fn succeeded(&self, connected: &Connected) {
        self.choice.hold().back(&connected.member);
    }

    /// The connection is not to be used again, and the member not for a while.
    pub fn failed(&self, connected: &Connected) {
        if self.renounce(connected) {
            self.leave_out(&connected.member);
        }
    }

    /// The connection takes no further calls, which is no fault of the member.
    pub fn renounce(&self, connected: &Connected) -> bool {
        let mut held = connected.member.connection.hold();
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
        self.leave_out(&connected.member);
    }

    /// Whether a member that did not fail lately is left to try at once.
    pub fn has_healthy(&self) -> bool {
        self.choice.hold().has_healthy()
    }

    /// Ends all calls that were begun before.
    pub fn abort(&self) {
        let members: Vec<_> = self.choice.hold().members().cloned().collect();
        let connections =
            members.iter().filter_map(|member| member.connection.hold().connection.clone());
        connections.for_each(|connection| connection.abort());
    }

    /// Ends all connections, and makes no others.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        let members: Vec<_> = self.choice.hold().members().cloned().collect();
        members.iter().for_each(|member| member.end(|connection| connection.close()));
    }

    /// Until a probe finds the member well again. One that is alone is never left
    /// out for long: there is nobody else to ask.
    fn leave_out(&self, member: &Arc<Member>) {
        if !self.choice.hold().leave_out(member, Instant::now()) {
            return;
        }
        let (me, member) = (self.me.clone(), member.clone());
        if let Some(io) = self.io.upgrade() {
            io.post(move || drop(tokio::spawn(probe(me, member))));
        }
    }
}

impl Member {
    fn new(dialer: Dialer) -> Result<Arc<Self>> {
        Ok(Arc::new(Self { dialer, dialing: Default::default(), connection: Mutex::default() }))
    }

    fn held(&self) -> Option<Arc<Connection>> {
        let held = self.connection.hold();
        held.connection.clone().filter(|connection| connection.is_usable())
    }

    /// No connection is made any more; the one there is, is ended so.
    fn end(&self, how: impl FnOnce(&Connection)) {
        let connection = {
            let mut held = self.connection.hold();
            held.closed = true;
            held.connection.take()
        };
        if let Some(connection) = connection {
            how(&connection);
        }
    }
}

impl Drop for Endpoints {
    fn drop(&mut self) {
        self.close();
    }
}

/// Connects to a member that is left out until that works.
async fn probe(endpoints: Weak<Endpoints>, member: Arc<Member>) {
    let mut pause = LEAVE_OUT;
    loop {
        sleep(pause).await;
        pause = (pause * 2).min(LEAVE_OUT_MOST);
        let Some(endpoints) = endpoints.upgrade() else { return };
        if !endpoints.choice.hold().is_out(&member) {
            return;
        }
        if let Ok(connection) = member.dialer.dial().await {
            connection.retire();
            log(Level::Info, || format!("{} is back", member.dialer.url));
            return endpoints.choice.hold().back(&member);
        }
    }
}

/// Leaves a member out when dropped.
struct LeaveOut<'a> {
    endpoints: &'a Endpoints,
    member: &'a Arc<Member>,
}

impl Drop for LeaveOut<'_> {
    fn drop(&mut self) {
        self.endpoints.leave_out(self.member);
    }
}
