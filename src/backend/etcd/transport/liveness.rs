//! Whether the other end is alive, by HTTP/2 pings.

use super::socket::Flow;
use futures_util::FutureExt;
use h2::{Ping, PingPong};
use std::time::{Duration, Instant};

/// What a connection is used for. A ping of an unused one counts against the client.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Use {
    None,
    Streams,
    /// Answers are due.
    Calls,
}

/// Far enough.
const NEVER: Duration = Duration::from_secs(24 * 3600);

/// How long a ping of an idle connection may go unanswered.
const PATIENCE: Duration = Duration::from_secs(3);

/// Calls are in flight and nothing has come for so long: ask whether anyone is
/// there, and expect an answer sooner.
const SILENCE: Duration = Duration::from_millis(500);
const PATIENCE_IN_CALL: Duration = Duration::from_millis(1500);

/// etcd ends connections that ping more often, unless it has sent something else.
const SERVER_MINIMUM: Duration = Duration::from_millis(5500);
/// More than the answer to a ping takes, less than that to any call.
const SOMETHING_ELSE: u64 = 64;

pub struct Liveness {
    pings: Option<PingPong>,
    keepalive: Duration,
    unanswered: Option<(Instant, Duration)>,
    last: Option<Last>,
    in_call_since: Option<Instant>,
    has_sent: bool,
}

struct Last {
    sent: Instant,
    received_bytes: u64,
}

impl Liveness {
    pub fn new(pings: Option<PingPong>, keepalive: Duration) -> Self {
        Self {
            pings,
            keepalive,
            unanswered: None,
            last: None,
            in_call_since: None,
            has_sent: false,
        }
    }

    /// Whether the last look left a ping to be written.
    pub fn has_sent(&self) -> bool {
        self.has_sent
    }

    pub fn next_look(&mut self, flow: &Flow, used: Use) -> Instant {
        match self.unanswered {
            Some((sent, patience)) => sent + patience,
            None => self.ping_due(flow, used).0,
        }
    }

    /// A ping was not answered in time, as far as anyone has read.
    pub fn is_overdue(&self) -> bool {
        self.unanswered.is_some_and(|(sent, patience)| sent.elapsed() >= patience)
    }

    /// When the next ping is due, and how long its answer may take.
    fn ping_due(&mut self, flow: &Flow, used: Use) -> (Instant, Duration) {
        let mut heard = flow.received_at();
        let last = self.last.as_ref().map_or(heard, |last| last.sent.max(heard));
        let idle = (last + self.keepalive, PATIENCE);
        if used != Use::Calls {
            self.in_call_since = None;
        }
        match used {
            Use::None => return (Instant::now() + NEVER, PATIENCE),
            Use::Streams => return idle,
            Use::Calls => {
                heard = heard.max(*self.in_call_since.get_or_insert_with(Instant::now));
            }
        }
        let allowed = match &self.last {
            Some(last) if flow.received_bytes() - last.received_bytes < SOMETHING_ELSE => {
                last.sent + SERVER_MINIMUM
            }
            _ => heard,
        };
        idle.min(((heard + SILENCE).max(allowed), PATIENCE_IN_CALL))
    }

    /// An answer could not be read: its time begins anew.
    pub fn excuse(&mut self) {
        if let Some((sent, _)) = &mut self.unanswered {
            *sent = Instant::now();
        }
    }

    /// Sends a ping when it is due; an error when one was not answered in time.
    pub fn look(&mut self, flow: &Flow, used: Use) -> Result<(), &'static str> {
        self.has_sent = false;
        let now = Instant::now();
        let due = self.ping_due(flow, used);
        let Some(pings) = &mut self.pings else { return Ok(()) };
        if let Some((sent, patience)) = self.unanswered {
            let answered = std::future::poll_fn(|cx| pings.poll_pong(cx)).now_or_never();
            if matches!(answered, Some(Ok(_))) {
                self.unanswered = None;
            } else if now >= sent + patience {
                return Err("no answer to a ping");
            }
        } else if now >= due.0 && pings.send_ping(Ping::opaque()).is_ok() {
            self.unanswered = Some((now, due.1));
            self.last = Some(Last { sent: now, received_bytes: flow.received_bytes() });
            self.has_sent = true;
        }
        Ok(())
    }
}
