//! Whether the other end is alive, by HTTP/2 pings.

use super::socket::Flow;
use futures_util::FutureExt;
use h2::{Ping, PingPong};
use std::time::{Duration, Instant};

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
    has_sent: bool,
}

struct Last {
    sent: Instant,
    received_bytes: u64,
}

impl Liveness {
    pub fn new(pings: Option<PingPong>, keepalive: Duration) -> Self {
        Self { pings, keepalive, unanswered: None, last: None, has_sent: false }
    }

    /// Whether the last look left a ping to be written.
    pub fn has_sent(&self) -> bool {
        self.has_sent
    }

    pub fn next_look(&self, flow: &Flow, in_call: bool) -> Instant {
        match self.unanswered {
            Some((sent, patience)) => sent + patience,
            None => self.ping_due(flow, in_call).0,
        }
    }

    /// When the next ping is due, and how long its answer may take.
    fn ping_due(&self, flow: &Flow, in_call: bool) -> (Instant, Duration) {
        let heard = flow.received_at();
        let last = self.last.as_ref().map_or(heard, |last| last.sent.max(heard));
        let idle = (last + self.keepalive, PATIENCE);
        if !in_call {
            return idle;
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
    pub fn look(&mut self, flow: &Flow, in_call: bool) -> Result<(), &'static str> {
        self.has_sent = false;
        let now = Instant::now();
        let due = self.ping_due(flow, in_call);
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
