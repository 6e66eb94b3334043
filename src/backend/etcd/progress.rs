//! What is known of a request while it is under way.

use super::endpoints::{Connected, Endpoints};
use super::outcome::Failure;
use super::transport::Connection;
use crate::error::Error;
use crate::request::{Request, Response};
use crate::sync::Lock;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// A member that has not answered for so long is passed over.
const SLOW: Duration = Duration::from_millis(500);

/// How many tokens one request may use up.
const REFRESHES: u32 = 3;

/// What is known of a request, should it end now.
#[derive(Default)]
pub struct Progress {
    known: Mutex<Known>,
    is_given_up: Notify,
}

#[derive(Default)]
struct Known {
    /// Nobody wants it any more, for this reason: it is not to be sent.
    given_up: Option<Error>,
    /// An attempt is under way on this connection: the server may have it.
    sent: Option<(Connected, Instant)>,
    /// An earlier attempt may have been applied.
    unknown: bool,
    /// How often its token was not accepted.
    rejected: u32,
    last: Option<Error>,
}

impl Progress {
    pub fn begin_sending(&self, connected: &Connected) -> std::result::Result<(), Failure> {
        let mut known = self.known.hold();
        if let Some(why) = &known.given_up {
            return Err(Failure::Final(why.clone()));
        }
        known.sent = Some((connected.clone(), Instant::now()));
        Ok(())
    }

    /// What was sent and answered stays sent: whoever gives up the request in this
    /// moment must not take it for one that was not.
    pub fn end_attempt(&self, answer: &std::result::Result<Response, Failure>) {
        if answer.is_err() {
            self.known.hold().sent = None;
        }
    }

    /// Ends the request for this reason; what is known of it then.
    pub fn give_up_for_good(&self, writes: bool, why: Error) -> Error {
        let mut known = self.known.hold();
        known.given_up = Some(why.clone());
        self.is_given_up.notify_one();
        if writes && (known.unknown || known.sent.is_some()) {
            return Error::Indeterminate(why.to_string());
        }
        why
    }

    pub fn sent_on(&self) -> Option<Arc<Connection>> {
        self.known.hold().sent.as_ref().map(|(connected, _)| connected.connection.clone())
    }

    /// Ends when nobody wants the request any more; tells why.
    pub async fn given_up(&self) -> Error {
        self.is_given_up.notified().await;
        self.known.hold().given_up.clone().unwrap_or(Error::Canceled)
    }

    /// An attempt is on its way.
    pub fn note_sent(&self, connected: &Connected) {
        self.known.hold().sent = Some((connected.clone(), Instant::now()));
    }

    /// It may have been applied.
    pub fn note_unknown(&self) {
        self.known.hold().unknown = true;
    }

    /// Its token was not accepted; whether to try again with another one.
    pub fn may_refresh(&self) -> bool {
        let mut known = self.known.hold();
        known.rejected += 1;
        known.rejected <= REFRESHES
    }

    fn note(&self, error: Error) {
        self.known.hold().last = Some(error);
    }

    pub fn last(&self) -> Error {
        match self.known.hold().last.take() {
            Some(error @ (Error::Tls(_) | Error::NoMemory(_))) => error,
            Some(error) => Error::Unavailable(error.to_string()),
            None => Error::Unavailable("no answer in time".into()),
        }
    }

    /// The request's end, if this failure is that.
    pub fn settle(&self, request: &Request, failure: Failure) -> Option<Error> {
        match failure {
            Failure::Final(error) if matches!(request, Request::Txn(_)) => {
                Some(self.ended(request, error))
            }
            Failure::Final(error) => Some(error),
            Failure::Token(why) => Some(self.ended(request, Error::Auth(why))),
            Failure::NotApplied(error) => {
                self.note(error);
                None
            }
            Failure::Unknown(why) => {
                self.note(Error::Unavailable(why));
                self.known.hold().unknown = true;
                (!request.repeatable()).then(|| self.ended(request, self.last()))
            }
        }
    }

    /// What to answer where there will be no answer of a server.
    pub fn ended(&self, request: &Request, error: Error) -> Error {
        let known = self.known.hold();
        if request.writes() && (known.unknown || known.sent.is_some()) {
            return Error::Indeterminate(error.to_string());
        }
        error
    }

    /// The attempt's time is over.
    pub fn give_up(&self, endpoints: &Endpoints) -> Failure {
        let sent = {
            let mut known = self.known.hold();
            known.unknown |= known.sent.is_some();
            known.sent.take()
        };
        match sent {
            None => Failure::NotApplied(endpoints.why_unreached()),
            Some((connected, begun)) => {
                // A caller in a hurry is no reason for all others to move; several are,
                // where nobody had an answer meanwhile.
                let missing = connected.connection.answers().missing_since(begun);
                if missing.elapsed() >= SLOW {
                    endpoints.pass_over(&connected);
                }
                Failure::Unknown("no answer in time".into())
            }
        }
    }
}
