//! Which member of the cluster is asked: the same one while it answers.

use crate::backend::etcd::transport;
use crate::endpoint::Url;
use crate::error::{Error, Result};
use crate::log::{log, Level};
use crate::options::Options;
use crate::sync::Lock;
use etcd_client::Client;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tonic::transport::Endpoint;

/// How long a member that failed is left out; doubled while it goes on failing.
const LEAVE_OUT: Duration = Duration::from_millis(500);
const LEAVE_OUT_MOST: Duration = Duration::from_secs(10);

pub struct Endpoints {
    all: Vec<Member>,
    choice: Mutex<Choice>,
}

struct Member {
    url: Url,
    endpoint: Endpoint,
    /// Held while connecting, so that many requests make one connection.
    connection: tokio::sync::Mutex<Connection>,
}

#[derive(Default)]
struct Connection {
    client: Option<Client>,
    /// Counts connections, to tell a failure of this one from one of the last.
    number: u64,
    failed: Option<(Instant, Error)>,
}

/// A client and the connection it uses.
pub struct Connected {
    pub client: Client,
    member: usize,
    number: u64,
}

impl Endpoints {
    pub fn new(urls: Vec<Url>, options: &Options) -> Result<Self> {
        let member = |url: Url| {
            let endpoint = transport::endpoint(&url, options)?;
            Ok(Member { url, endpoint, connection: tokio::sync::Mutex::default() })
        };
        let all: Vec<Member> = urls.into_iter().map(member).collect::<Result<_>>()?;
        let choice = Mutex::new(Choice::new(all.len()));
        Ok(Self { all, choice })
    }

    /// A connection to the member of choice. A failure is not applied for sure.
    pub async fn connect(&self) -> Result<Connected> {
        let index = self.choice.hold().pick(Instant::now());
        let member = &self.all[index];
        let asked = Instant::now();
        let mut connection = member.connection.lock().await;
        if let Some(client) = &connection.client {
            let (client, number) = (client.clone(), connection.number);
            return Ok(Connected { client, member: index, number });
        }
        // What failed while this request waited for its turn failed for it too.
        match &connection.failed {
            Some((when, error)) if *when >= asked => return Err(error.clone()),
            _ => {}
        }
        // A request may be dropped while it connects: that member did not answer.
        let left_out = LeaveOut { endpoints: self, member: index };
        let connected = transport::connect(&member.endpoint).await;
        std::mem::forget(left_out);
        match connected {
            Ok(client) => {
                log(Level::Info, || format!("{} connected", member.url));
                connection.client = Some(client.clone());
                connection.number += 1;
                connection.failed = None;
                Ok(Connected { client, member: index, number: connection.number })
            }
            Err(error) => {
                log(Level::Debug, || format!("{} not connected: {error}", member.url));
                connection.failed = Some((Instant::now(), error.clone()));
                self.choice.hold().failed(index, Instant::now());
                Err(error)
            }
        }
    }

    pub fn succeeded(&self, connected: &Connected) {
        self.choice.hold().succeeded(connected.member);
    }

    /// The connection is not to be used again.
    pub async fn failed(&self, connected: &Connected) {
        let mut connection = self.all[connected.member].connection.lock().await;
        if connection.number == connected.number && connection.client.take().is_some() {
            self.choice.hold().failed(connected.member, Instant::now());
        }
    }

    /// The member works, but cannot serve this request: the next one is to try.
    pub fn pass_over(&self, connected: &Connected) {
        self.choice.hold().failed(connected.member, Instant::now());
    }

    /// Whether a member that did not fail lately is left to try at once.
    pub fn has_healthy(&self) -> bool {
        self.choice.hold().has_healthy(Instant::now())
    }
}

/// Leaves a member out when dropped.
struct LeaveOut<'a> {
    endpoints: &'a Endpoints,
    member: usize,
}

impl Drop for LeaveOut<'_> {
    fn drop(&mut self) {
        self.endpoints.choice.hold().failed(self.member, Instant::now());
    }
}

/// The members' health, apart from their connections.
struct Choice {
    current: usize,
    health: Vec<Health>,
}

#[derive(Clone, Copy, Default)]
struct Health {
    /// Until when it is left out, and for how long it was the last time.
    out: Option<(Instant, Duration)>,
}

impl Choice {
    fn new(members: usize) -> Self {
        Self { current: 0, health: vec![Health::default(); members] }
    }

    fn is_out(&self, member: usize, now: Instant) -> bool {
        self.health[member].out.is_some_and(|(until, _)| until > now)
    }

    fn has_healthy(&self, now: Instant) -> bool {
        (0..self.health.len()).any(|member| !self.is_out(member, now))
    }

    /// The current member; another when that is left out; when all are, the one
    /// whose time is over first.
    fn pick(&mut self, now: Instant) -> usize {
        let members = self.health.len();
        let order = (0..members).map(|step| (self.current + step) % members);
        let healthy = order.clone().find(|member| !self.is_out(*member, now));
        let soonest =
            || order.min_by_key(|member| self.health[*member].out.map(|(until, _)| until));
        if let Some(member) = healthy.or_else(soonest) {
            self.current = member;
        }
        self.current
    }

    /// Many requests fail at one moment; they count once.
    fn failed(&mut self, member: usize, now: Instant) {
        if self.is_out(member, now) {
            return;
        }
        let longer = |(_, last): (Instant, Duration)| (last * 2).min(LEAVE_OUT_MOST);
        let time = self.health[member].out.map_or(LEAVE_OUT, longer);
        self.health[member].out = Some((now + time, time));
    }

    fn succeeded(&mut self, member: usize) {
        self.health[member].out = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sticks_to_one_and_leaves_out_what_failed() {
        let (mut choice, now) = (Choice::new(3), Instant::now());
        assert_eq!((choice.pick(now), choice.pick(now)), (0, 0));
        choice.failed(0, now);
        assert_eq!((choice.pick(now), choice.pick(now + LEAVE_OUT * 4)), (1, 1));
    }

    #[test]
    fn with_all_left_out_the_first_to_come_back_is_tried() {
        let (mut choice, now) = (Choice::new(2), Instant::now());
        choice.failed(1, now);
        choice.failed(0, now + LEAVE_OUT / 2);
        assert!(!choice.has_healthy(now + LEAVE_OUT / 2));
        assert_eq!(choice.pick(now + LEAVE_OUT / 2), 1);
    }

    #[test]
    fn the_time_left_out_doubles_to_a_bound_and_success_ends_it() {
        let (mut choice, now) = (Choice::new(1), Instant::now());
        let until = |choice: &Choice| choice.health[0].out.map(|(until, _)| until - now);
        choice.failed(0, now);
        choice.failed(0, now);
        assert_eq!(until(&choice), Some(LEAVE_OUT), "failures of one moment count once");
        let later = now + LEAVE_OUT;
        choice.failed(0, later);
        assert_eq!(until(&choice), Some(LEAVE_OUT * 3));
        let mut last = later;
        for _ in 0..20 {
            last += LEAVE_OUT_MOST;
            choice.failed(0, last);
        }
        assert!(choice.is_out(0, last + LEAVE_OUT_MOST / 2));
        assert!(!choice.is_out(0, last + LEAVE_OUT_MOST));
        choice.succeeded(0);
        assert!(choice.has_healthy(last));
    }
}
