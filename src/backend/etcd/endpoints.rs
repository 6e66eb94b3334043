//! Which member of the cluster is asked: the same one while it answers.

mod mend;

use super::auth::Auth;
use super::choice::{Choice, LEAVE_OUT, LEAVE_OUT_MOST};
use super::io::Io;
use super::reach::{Reach, Role};
use super::srv::Discovery;
use super::tasks::lasting;
use super::transport::{channel, Connection, Dialer};
use crate::endpoint::Url;
use crate::error::{Error, Result};
use crate::log::{log, Level};
use crate::options::Options;
use crate::sync::Lock;
use etcd_client::{Client, ConnectOptions};
use mend::mend;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;
use tokio::sync::{oneshot, Notify, OwnedMutexGuard};
use tokio::time::sleep;

pub struct Endpoints {
    me: Weak<Self>,
    io: Weak<Io>,
    /// None where there is no user.
    auth: Option<Arc<Auth>>,
    dialer: Box<MakeDialer>,
    choice: Mutex<Choice<Member>>,
    /// All connections that are left, also those that no member has any more: calls may
    /// be under way on them.
    made: Mutex<Vec<Weak<Connection>>>,
    /// Finds the members where they are not given.
    discovery: Option<Arc<Discovery>>,
    closed: AtomicBool,
    /// Who asks for lists of members hears of the end.
    over: Arc<Notify>,
    role: Role,
    reach: Arc<Reach>,
    /// A lost connection is being made anew.
    mending: AtomicBool,
}

type MakeDialer = dyn Fn(&Url) -> Result<Dialer> + Send + Sync;

struct Member {
    dialer: Dialer,
    /// Held while connecting, so that many requests make one connection; holds how
    /// that went, if it failed.
    dialing: Arc<tokio::sync::Mutex<Failed>>,
    connection: Mutex<Held>,
}

type Failed = Option<(Instant, Error)>;

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
        role: Role,
        reach: Arc<Reach>,
        auth: Option<Arc<Auth>>,
        discovery: Option<Arc<Discovery>>,
        io: Weak<Io>,
    ) -> Result<Arc<Self>> {
        let (options, token) = (options.clone(), auth.as_ref().map(|auth| auth.token().clone()));
        let of_connections = io.clone();
        let dialer = move |url: &Url| {
            let token = token.clone();
            Dialer::new(url.clone(), &options, role.driver(), token, of_connections.clone())
        };
        let all = urls.iter().map(|url| Member::new(dialer(url)?)).collect::<Result<_>>()?;
        let (choice, dialer) = (Mutex::new(Choice::new(all)), Box::new(dialer));
        let (made, closed) = (Mutex::default(), AtomicBool::new(false));
        Ok(Arc::new_cyclic(|me| Self {
            me: me.clone(),
            io,
            auth,
            dialer,
            choice,
            made,
            discovery,
            closed,
            over: Arc::default(),
            role,
            reach,
            mending: AtomicBool::new(false),
        }))
    }

    /// Whether there is a connection to this URL, or can be.
    pub async fn reaches(&self, url: &Url) -> bool {
        let held = {
            let choice = self.choice.hold();
            let mut members = choice.members().filter(|member| member.dialer.url == *url);
            members.any(|member| member.held().is_some())
        };
        held || match self.dial(url).await {
            Ok(connection) => {
                connection.retire();
                true
            }
            Err(_) => false,
        }
    }

    /// A connection of whoever asks, to any URL.
    pub async fn dial(&self, url: &Url) -> Result<Arc<Connection>> {
        (self.dialer)(url)?.dial().await
    }

    /// Those of the members, when there are any.
    pub async fn urls(&self) -> Result<Vec<Url>> {
        self.find().await?;
        Ok(self.choice.hold().members().map(|member| member.dialer.url.clone()).collect())
    }

    /// From now on these are the members. The calls under way to others go on.
    pub fn replace(&self, urls: &[Url]) -> Result<()> {
        let mut choice = self.choice.hold();
        if self.is_closed() {
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
            if let Some(connection) = member.end() {
                connection.retire();
            }
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
        let member = self.pick()?;
        member.held().map(|connection| Connected { connection, member, token })
    }

    /// Has the I/O thread read answers where no thread waits for one.
    pub fn rouse(&self) {
        if let Some(connection) = self.pick().and_then(|member| member.held()) {
            connection.rouse();
        }
    }

    fn pick(&self) -> Option<Arc<Member>> {
        self.choice.hold().pick().cloned()
    }

    /// Likewise, when it is found; fails with what is known of why it is not.
    async fn find(&self) -> Result<Arc<Member>> {
        let Some(discovery) = &self.discovery else {
            return self.pick().ok_or_else(|| Error::Unavailable("there is no member".into()));
        };
        if !self.has_healthy() {
            discovery.want();
        }
        let looked = discovery.looked();
        if let Some(member) = self.pick() {
            return Ok(member);
        }
        looked.await;
        self.pick().ok_or_else(|| discovery.why())
    }

    /// Why a request is still not sent.
    pub fn why_unreached(&self) -> Error {
        match &self.discovery {
            Some(discovery) if self.choice.hold().is_empty() => discovery.why(),
            _ => Error::Unavailable("not connected in time".into()),
        }
    }

    /// A connection to the member of choice that takes the user's requests. A failure
    /// is not applied for sure.
    pub async fn connect(&self) -> Result<Connected> {
        let connected = self.reach().await?;
        let Some(auth) = &self.auth else { return Ok(connected) };
        let token = auth.ensure(&self.me, &connected).await?;
        Ok(Connected { token, ..connected })
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
        let member = self.find().await?;
        let connected = |connection| Connected { connection, member: member.clone(), token: 0 };
        let asked = Instant::now();
        let failed = member.dialing.clone().lock_owned().await;
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
        let (tell, dialed) = oneshot::channel();
        tokio::spawn(dial(self.me.clone(), member.clone(), failed, tell));
        let dialed = dialed.await;
        std::mem::forget(left_out);
        let dropped = |_| Err(Error::Unavailable("the connecting was dropped".into()));
        dialed.unwrap_or_else(dropped).map(connected)
    }

    /// What came of connecting to a member.
    fn dialed(
        &self,
        member: &Arc<Member>,
        dialed: Result<Arc<Connection>>,
    ) -> Result<Arc<Connection>> {
        match dialed {
            Ok(connection) => {
                log(Level::Info, || format!("{} connected", member.dialer.url));
                let mut held = member.connection.hold();
                if held.closed {
                    connection.close();
                    return Err(match self.is_closed() {
                        true => Error::Closed,
                        false => Error::Unavailable("it is no member any more".into()),
                    });
                }
                held.connection = Some(connection.clone());
                self.note_made(&connection);
                drop(held);
                self.made(member, &connection);
                Ok(connection)
            }
            Err(error) => {
                log(Level::Debug, || format!("{} not connected: {error}", member.dialer.url));
                self.leave_out(member);
                if !self.is_closed() && self.has_nobody() {
                    self.reach.cut(self.role, &error);
                }
                Err(error)
            }
        }
    }

    fn made(&self, member: &Arc<Member>, connection: &Connection) {
        tokio::spawn(mend(self.me.clone(), connection.gone()));
        let mut choice = self.choice.hold();
        self.reach.connected(self.role, member.dialer.url.to_string());
        self.note_used(&mut choice, member);
    }

    /// The member works, and may not have been the one that is used.
    fn note_used(&self, choice: &mut Choice<Member>, member: &Arc<Member>) {
        if choice.moves_to(member) {
            self.reach.moved(self.role, member.dialer.url.to_string());
        }
    }

    /// All members failed lately, and none has a connection.
    fn has_nobody(&self) -> bool {
        let choice = self.choice.hold();
        let nobody = choice.members().all(|member| member.held().is_none());
        nobody && !choice.has_healthy()
    }

    pub fn succeeded(&self, connected: &Connected) {
        let mut choice = self.choice.hold();
        choice.back(&connected.member);
        self.note_used(&mut choice, &connected.member);
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
        self.connections().iter().for_each(|connection| connection.abort());
    }

    fn note_made(&self, connection: &Arc<Connection>) {
        let mut made = self.made.hold();
        made.retain(|former| former.strong_count() > 0);
        made.push(Arc::downgrade(connection));
    }

    fn connections(&self) -> Vec<Arc<Connection>> {
        self.made.hold().iter().filter_map(Weak::upgrade).collect()
    }

    /// What one task is told of the end by.
    pub fn over(&self) -> Arc<Notify> {
        self.over.clone()
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Ends all connections, and makes no others.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.over.notify_one();
        if let Some(discovery) = &self.discovery {
            discovery.want(); // it sees the end
        }
        let members: Vec<_> = self.choice.hold().members().cloned().collect();
        members.iter().for_each(|member| drop(member.end()));
        self.connections().iter().for_each(|connection| connection.close());
    }

    /// Until a probe finds the member well again. One that is alone is never left
    /// out for long: there is nobody else to ask.
    fn leave_out(&self, member: &Arc<Member>) {
        if !self.choice.hold().leave_out(member, Instant::now()) {
            return;
        }
        let (me, member) = (self.me.clone(), member.clone());
        if let Some(io) = self.io.upgrade() {
            let probing = move || probe(me.clone(), member.clone());
            io.post(move || drop(tokio::spawn(lasting(probing))));
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

    /// No connection is made any more; the one there is, is taken from it.
    fn end(&self) -> Option<Arc<Connection>> {
        let mut held = self.connection.hold();
        held.closed = true;
        held.connection.take()
    }
}

impl Drop for Endpoints {
    fn drop(&mut self) {
        self.close();
    }
}

/// Connects to a member. Goes on when the one who asks gives up: its time may be shorter
/// than what connecting takes, and the next one needs it.
async fn dial(
    endpoints: Weak<Endpoints>,
    member: Arc<Member>,
    mut failed: OwnedMutexGuard<Failed>,
    tell: oneshot::Sender<Result<Arc<Connection>>>,
) {
    let dialed = member.dialer.dial().await;
    let Some(endpoints) = endpoints.upgrade() else {
        return drop(dialed.map(|connection| connection.close()));
    };
    let dialed = endpoints.dialed(&member, dialed);
    *failed = dialed.as_ref().err().map(|error| (Instant::now(), error.clone()));
    // Who gave up has left out a member that did answer.
    if let Err(Ok(_)) = tell.send(dialed) {
        endpoints.choice.hold().back(&member);
    }
}

/// Connects to a member that is left out until that works.
async fn probe(endpoints: Weak<Endpoints>, member: Arc<Member>) {
    let mut pause = LEAVE_OUT;
    loop {
        let end = Instant::now() + pause;
        while Instant::now() < end {
            // It may be back otherwise: its next failure is to have a first pause again.
            sleep(LEAVE_OUT).await;
            let Some(endpoints) = endpoints.upgrade() else { return };
            if !endpoints.choice.hold().needs_probe(&member) {
                return;
            }
        }
        pause = (pause * 2).min(LEAVE_OUT_MOST);
        let Ok(connection) = member.dialer.dial().await else { continue };
        connection.retire();
        let Some(endpoints) = endpoints.upgrade() else { return };
        log(Level::Info, || format!("{} is back", member.dialer.url));
        let mut choice = endpoints.choice.hold();
        choice.back(&member);
        choice.needs_probe(&member);
        return;
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
