//! The user of a store: a token for the name and password, got anew whenever the
//! server no longer accepts it.
//!
//! One authentication at a time, for whoever waits, and with a pause after it: each
//! costs the server as much as a hundred requests.

use super::endpoints::{Connected, Endpoints};
use super::outcome::{self, Failure};
use super::tasks;
use super::transport::{CallError, Connection, Token, AUTHENTICATE};
use super::{message, message::encoded_login};
use crate::error::{Error, Result};
use crate::log::{log, Level};
use crate::options::{Options, Password};
use crate::sync::Lock;
use http::HeaderValue;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};

/// How long one may take.
const ATTEMPT: Duration = Duration::from_millis(1500);
/// From one that came to the server to the next.
const PACE: Duration = Duration::from_millis(300);
/// For so long a refusal counts for all: the same password is refused again.
const REFUSED: Duration = Duration::from_secs(1);

pub struct Auth {
    me: Weak<Self>,
    user: String,
    password: Password,
    token: Arc<Token>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: Option<Running>,
    /// The next one may begin then.
    not_before: Option<Instant>,
    refused: Option<(Instant, Error)>,
}

type Running = watch::Receiver<Option<Result<()>>>;

impl Auth {
    /// None where the options name no user; fails where the password cannot be read.
    pub fn new(options: &Options) -> Result<Option<Arc<Self>>> {
        let Some((user, password)) = options.user.clone().zip(options.password.clone()) else {
            return Ok(None);
        };
        password.read()?;
        Ok(Some(Arc::new_cyclic(|me| {
            let (token, state) = (Arc::default(), Mutex::default());
            Self { me: me.clone(), user, password, token, state }
        })))
    }

    pub fn token(&self) -> &Arc<Token> {
        &self.token
    }

    /// The number of the token that the server accepts, got over this connection of
    /// those endpoints if it has to be.
    pub async fn ensure(&self, endpoints: &Weak<Endpoints>, connected: &Connected) -> Result<u64> {
        loop {
            let Some(mut running) = self.join(endpoints, connected)? else {
                match self.token.accepted() {
                    Some(number) => return Ok(number),
                    None => continue, // rejected in this very moment
                }
            };
            let outcome = match running.wait_for(Option::is_some).await {
                Ok(outcome) => outcome.clone(),
                Err(_) => None,
            };
            let dropped = || Err(Error::Unavailable("the authentication was dropped".into()));
            outcome.unwrap_or_else(dropped)?;
        }
    }

    /// The authentication under way, begun if need be; none where there is a token.
    fn join(&self, endpoints: &Weak<Endpoints>, connected: &Connected) -> Result<Option<Running>> {
        let mut state = self.state.hold();
        if self.token.accepted().is_some() {
            return Ok(None);
        }
        // Of one that was dropped the sender is gone.
        if let Some(running) = state.running.as_ref().filter(|it| it.has_changed().is_ok()) {
            return Ok(Some(running.clone()));
        }
        match &state.refused {
            Some((when, error)) if when.elapsed() < REFUSED => return Err(error.clone()),
            _ => {}
        }
        let me = self.me.upgrade().ok_or(Error::Closed)?;
        let (tell, running) = watch::channel(None);
        state.running = Some(running.clone());
        let begin = state.not_before;
        let (endpoints, connected) = (endpoints.clone(), connected.clone());
        // Goes on when the one who asks gives up: others, and its next try, need it. So
        // it is the one to see that the member does not serve.
        tokio::spawn(async move {
            if let Some(begin) = begin {
                sleep_until(begin.into()).await;
            }
            let outcome = me.authenticate(&connected.connection).await;
            // Of anything but a refusal of the user another member may know better.
            if !matches!(&outcome, Ok(()) | Err(Error::Auth(_))) {
                if let Some(endpoints) = endpoints.upgrade() {
                    endpoints.pass_over(&connected);
                }
            }
            me.state.hold().running = None;
            tell.send_replace(Some(outcome));
        });
        Ok(Some(running))
    }

    async fn authenticate(&self, connection: &Arc<Connection>) -> Result<()> {
        let begun = Instant::now();
        let asked = match self.password.read() {
            Ok(password) => timeout(ATTEMPT, self.ask(connection, &password)).await,
            Err(error) => Ok(Err(Failure::Final(error))),
        };
        let failure = match asked {
            Ok(Ok(token)) => {
                log(Level::Info, || match &token {
                    Some(_) => format!("authenticated as {:?}", self.user),
                    None => "the server wants no authentication".into(),
                });
                self.token.replace(token);
                self.state.hold().not_before = Some(begun + PACE);
                return Ok(());
            }
            Ok(Err(failure)) => failure,
            Err(_) => Failure::Unknown("no answer to an authentication in time".into()),
        };
        let mut state = self.state.hold();
        if !matches!(failure, Failure::NotApplied(_)) {
            state.not_before = Some(begun + PACE);
        }
        let error = match failure {
            Failure::Final(error) => error,
            Failure::Token(why) => Error::Auth(why),
            Failure::NotApplied(error) => return Err(error),
            Failure::Unknown(why) => return Err(Error::Unavailable(why)),
        };
        log(Level::Warn, || format!("not authenticated as {:?}: {error}", self.user));
        if matches!(error, Error::Auth(_)) {
            state.refused = Some((Instant::now(), error.clone()));
        }
        Err(error)
    }

    /// A token; none where the server wants none.
    async fn ask(
        &self,
        connection: &Arc<Connection>,
        password: &str,
    ) -> std::result::Result<Option<HeaderValue>, Failure> {
        let login = encoded_login(&self.user, password);
        let answer = match tasks::unary(connection, AUTHENTICATE, true, login).await {
            Ok(answer) => message::token(answer).map_err(Failure::Final)?,
            Err(CallError::Refused(why)) if why == NOT_ENABLED => return Ok(None),
            // Of a user without a password, or whatever else there may be.
            Err(CallError::Refused(why)) if why.starts_with("auth: ") => {
                return Err(Failure::Final(Error::Auth(why)))
            }
            Err(error) => return Err(outcome::of_call(&error)),
        };
        let unfit = |_| Failure::Final(Error::unexpected("a token that no header can hold"));
        HeaderValue::try_from(answer).map(Some).map_err(unfit)
    }
}

const NOT_ENABLED: &str = "etcdserver: authentication is not enabled";
