//! All watches of a store on one stream, which is made anew whenever it breaks:
//! each watch then resumes at the first revision that it did not get.

mod checks;
mod groups;
mod silence;

use super::convert;
use super::endpoints::{Connected, Endpoints};
use super::io::Io;
use super::outcome::{self, Failure};
use crate::backend::{Notice, Wanted, WatchSink};
use crate::error::{Error, Result};
use crate::log::{log, Level};
use crate::sync::Lock;
use etcd_client::{WatchOptions, WatchResponse, WatchResponseStream, WatchStream};
use futures_util::FutureExt;
use groups::{Groups, Unneeded};
use silence::Silence;
use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver, UnboundedSender};
use tokio::time::{sleep, timeout_at};

/// How long making a stream may take.
const SET_UP: Duration = Duration::from_millis(1500);

/// The largest answer. The server sends larger ones in pieces, of which none exceeds
/// what it takes as a request by much.
const ANSWER_MOST: usize = 64 << 20;

const BACK_OFF: Duration = Duration::from_millis(25);
const BACK_OFF_MOST: Duration = Duration::from_secs(1);
/// While the user is refused.
const REFUSED: Duration = Duration::from_secs(1);

pub enum Command {
    Add { id: u64, wanted: Wanted, sink: Arc<dyn WatchSink> },
    Remove(u64),
    Close,
}

/// The front of the task that has the stream; the task begins with the first watch.
pub struct Watches {
    state: Mutex<State>,
    era: Arc<AtomicU64>,
}

enum State {
    Idle(Arc<Endpoints>),
    Running(UnboundedSender<Command>),
    Closed,
}

impl Watches {
    pub fn new(endpoints: Arc<Endpoints>) -> Self {
        Self { state: Mutex::new(State::Idle(endpoints)), era: Arc::default() }
    }

    pub fn era(&self) -> u64 {
        self.era.load(Ordering::Acquire)
    }

    pub fn post(self: &Arc<Self>, io: &Io, command: Command) {
        let watches = self.clone();
        io.post(move || watches.command(command));
    }

    /// On the I/O thread.
    fn command(&self, command: Command) {
        let mut state = self.state.hold();
        if matches!(command, Command::Close) {
            *state = State::Closed;
            return;
        }
        *state = match std::mem::replace(&mut *state, State::Closed) {
            State::Idle(endpoints) => {
                let (sender, commands) = unbounded_channel();
                tokio::spawn(Task::new(endpoints, self.era.clone(), commands).run());
                let _ = sender.send(command);
                State::Running(sender)
            }
            State::Running(sender) => {
                let _ = sender.send(command);
                State::Running(sender)
            }
            State::Closed => State::Closed,
        };
    }
}

struct Task {
    endpoints: Arc<Endpoints>,
    commands: UnboundedReceiver<Command>,
    groups: Groups,
    /// Ids of creations that the server has not answered, in their order: a refusal
    /// may come without one.
    unanswered: VecDeque<i64>,
    /// Groups that the server has begun where it may have missed something.
    again: Vec<u64>,
    /// The token of the stream is not accepted any more, says the server.
    stale: Option<String>,
    /// Which store this is, how many came before, and a revision that it had.
    cluster: Option<u64>,
    era: Arc<AtomicU64>,
    highest: i64,
}

/// What is sent on the stream.
enum Send {
    Create(Box<Creation>),
    Cancel(i64),
    Progress,
}

struct Creation {
    server_id: i64,
    key: Vec<u8>,
    options: WatchOptions,
}

enum End {
    /// The store was closed.
    Closed,
    /// No watch is left.
    Idle,
    Broken(String),
    /// Another stream with another token is to go on where it stood.
    Stale(String),
    /// There is no token to be had.
    Refused(Error),
}

impl Task {
    fn new(
        endpoints: Arc<Endpoints>,
        era: Arc<AtomicU64>,
        commands: UnboundedReceiver<Command>,
    ) -> Self {
        Self {
            endpoints,
            commands,
            groups: Groups::default(),
            unanswered: VecDeque::new(),
            again: Vec::new(),
            stale: None,
            cluster: None,
            era,
            highest: 0,
        }
    }

    async fn run(mut self) {
        let mut back_off = BACK_OFF;
        loop {
            while self.groups.is_empty() {
                match self.commands.recv().await {
                    Some(command) => self.note(command),
                    None => return,
                }
            }
            let began = Instant::now();
            // A bug in serving one answer must not silence all watches.
            let why = match AssertUnwindSafe(self.stream()).catch_unwind().await {
                Ok(End::Closed) => return,
                Ok(End::Idle) => continue,
                // The next token is got in its time, which is no cut.
                Ok(End::Stale(why)) => {
                    log(Level::Debug, || format!("watch stream is made anew: {why}"));
                    continue;
                }
                Ok(End::Refused(error)) => {
                    self.groups.refuse(&error);
                    self.groups.leave_stream(Some(&error.to_string()));
                    sleep(REFUSED).await;
                    continue;
                }
                Ok(End::Broken(why)) => why,
                Err(_) => "serving it failed".into(),
            };
            log(Level::Warn, || format!("watch stream ended, resuming: {why}"));
            self.groups.leave_stream(Some(&why));
            if began.elapsed() > BACK_OFF_MOST {
                back_off = BACK_OFF;
            }
            // Another member is gone to at once, but once.
            if !self.endpoints.has_healthy() || began.elapsed() < back_off {
                sleep(back_off).await;
                back_off = (back_off * 2).min(BACK_OFF_MOST);
            }
        }
    }

    /// Takes a command while there is no stream.
    fn note(&mut self, command: Command) {
        match command {
            Command::Add { id, wanted, sink } => drop(self.add(id, wanted, sink)),
            Command::Remove(id) => drop(self.groups.remove(id)),
            Command::Close => {}
        }
    }

    /// Adds a watcher, unless it knows another store than this one.
    fn add(&mut self, id: u64, wanted: Wanted, sink: Arc<dyn WatchSink>) -> Option<u64> {
        if wanted.era != self.era.load(Ordering::Acquire) {
            sink.notice(Notice::Replaced);
            return None;
        }
        self.groups.add(id, wanted, sink)
    }

    /// Makes a stream, puts all watches on it and serves it until it ends.
    async fn stream(&mut self) -> End {
        loop {
            match self.commands.try_recv() {
                Ok(command) => self.note(command),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return End::Closed,
            }
        }
        let mut creations = self.creations();
        let Some(first) = creations.pop_front() else { return End::Idle };
        let first_id = first.server_id;

        self.stale = None;
        let (connected, stream) = match self.set_up(first).await {
            Ok(made) => made,
            Err(end) => return end,
        };
        self.endpoints.succeeded(&connected);
        let checked = self.check_store(&connected).await;
        if let Err(failure) = checked {
            return self.failed(&connected, failure);
        }
        let unneeded = self.drop_ended(first_id, &mut creations);
        if self.groups.is_empty() {
            return End::Idle;
        }

        // Requests are written by a task of their own: while the stream's window is
        // full, answers must be read.
        let (mut writer, mut answers) = stream.split();
        let (sends, mut to_send) = unbounded_channel::<Send>();
        let writing = tokio::spawn(async move {
            while let Some(send) = to_send.recv().await {
                let sent = match send {
                    Send::Create(creation) => {
                        writer.watch(creation.key, Some(creation.options)).await
                    }
                    Send::Cancel(id) => writer.cancel(id).await,
                    Send::Progress => writer.request_progress().await,
                };
                if sent.is_err() {
                    return;
                }
            }
        });
        cancel(unneeded, &sends);
        for creation in creations {
            create(Some(creation), &sends);
        }
        let end = self.serve(&mut answers, &sends, &connected).await;
        writing.abort();
        match &end {
            End::Broken(_) => self.endpoints.failed(&connected),
            End::Stale(_) => drop(self.endpoints.reject_token(&connected)),
            _ => {}
        }
        end
    }

    /// What a failure on the way to a stream, or of one, means.
    fn failed(&self, connected: &Connected, failure: Failure) -> End {
        match failure {
            Failure::Token(why) => match self.endpoints.reject_token(connected) {
                true => End::Stale(why),
                false => End::Refused(Error::Auth(why)),
            },
            other => {
                self.endpoints.failed(connected);
                End::Broken(Error::from(other).to_string())
            }
        }
    }

    /// A stream with its first watch.
    async fn set_up(&self, first: Creation) -> std::result::Result<(Connected, WatchStream), End> {
        let deadline = (Instant::now() + SET_UP).into();
        let broken = |error: Error| match error {
            Error::Auth(_) => End::Refused(error),
            error => End::Broken(error.to_string()),
        };
        let too_late = |_| End::Broken("no answer in time".into());
        let connecting = timeout_at(deadline, self.endpoints.connect()).await;
        let connected = connecting.map_err(too_late)?.map_err(broken)?;
        let client = connected.client().await.map_err(broken)?;
        let mut client = client.watch_client().max_decoding_message_size(ANSWER_MOST);
        match timeout_at(deadline, client.watch(first.key, Some(first.options))).await {
            Ok(Ok(stream)) => Ok((connected, stream)),
            Ok(Err(error)) => match outcome::classify(&error) {
                failure @ Failure::Token(_) => Err(self.failed(&connected, failure)),
                _ => {
                    self.endpoints.failed(&connected);
                    Err(End::Broken(outcome::text(&error)))
                }
            },
            Err(late) => {
                self.endpoints.pass_over(&connected);
                Err(too_late(late))
            }
        }
    }

    /// What a new stream begins with, in the order in which it is to be sent: that is
    /// the one in which the server refuses.
    fn creations(&mut self) -> VecDeque<Creation> {
        self.groups.leave_stream(None);
        self.unanswered.clear();
        self.groups.ids().into_iter().filter_map(|group| self.creation(group)).collect()
    }

    /// What to send so that the server watches from where this group stands.
    fn creation(&mut self, group: u64) -> Option<Creation> {
        let (server_id, wanted) = self.groups.stand(group, self.highest)?;
        self.unanswered.push_back(server_id);
        let options = convert::watch_options(&wanted, server_id);
        Some(Creation { server_id, key: wanted.keys.key.to_vec(), options })
    }

    /// Keeps the creations of groups that still are; tells whether the first one, which
    /// was sent, is not needed.
    fn drop_ended(&mut self, first: i64, creations: &mut VecDeque<Creation>) -> Unneeded {
        let groups = &self.groups;
        let is_needed = |server_id: i64| groups.of_server_id(server_id).is_some();
        creations.retain(|creation| is_needed(creation.server_id));
        self.unanswered.retain(|server_id| *server_id == first || is_needed(*server_id));
        if is_needed(first) {
            Vec::new()
        } else {
            vec![first]
        }
    }

    async fn serve(
        &mut self,
        answers: &mut WatchResponseStream,
        sends: &UnboundedSender<Send>,
        connected: &Connected,
    ) -> End {
        let mut silence = Silence::default();
        loop {
            let key = self.groups.keys().next();
            tokio::select! {
                biased;
                answer = answers.message() => match answer {
                    Ok(Some(answer)) => match self.take(answer) {
                        Ok(unneeded) => {
                            silence.ends();
                            cancel(unneeded, sends);
                            for group in std::mem::take(&mut self.again) {
                                create(self.creation(group), sends);
                            }
                            if let Some(why) = self.stale.take() {
                                return End::Stale(why);
                            }
                        }
                        Err(error) => return End::Broken(error.to_string()),
                    },
                    Ok(None) => return End::Broken("the server ended it".into()),
                    Err(error) => return self.failed(connected, outcome::classify(&error)),
                },
                () = silence.is_that_of_the_dead(sends, &connected.connection, key) => {
                    return End::Broken("the server is silent".into());
                }
                command = self.commands.recv() => match command {
                    None | Some(Command::Close) => return End::Closed,
                    Some(Command::Remove(id)) => cancel(self.groups.remove(id), sends),
                    Some(Command::Add { id, wanted, sink }) => {
                        let new = self.add(id, wanted, sink);
                        create(new.and_then(|group| self.creation(group)), sends);
                    }
                },
            }
            if self.groups.is_empty() {
                return End::Idle;
            }
        }
    }

    /// Passes on what the server says; an error where it makes no sense.
    fn take(&mut self, mut answer: WatchResponse) -> Result<Unneeded> {
        let mut server_id = answer.watch_id();
        if answer.created() {
            match self.unanswered.iter().position(|id| *id == server_id) {
                Some(at) => drop(self.unanswered.remove(at)),
                None if answer.canceled() => {
                    server_id = self.unanswered.pop_front().unwrap_or(server_id);
                }
                None => return Err(Error::unexpected("a watch that nobody began")),
            }
            if !answer.0.events.is_empty() {
                return Err(Error::unexpected("events of a watch that begins"));
            }
        }
        let Some(group) = self.groups.of_server_id(server_id) else {
            // Of a watch that was removed meanwhile, or of a requested progress report.
            if !answer.0.events.is_empty() && !self.groups.has_given(server_id) {
                return Err(Error::unexpected("events of a watch that nobody began"));
            }
            return Ok(Vec::new());
        };
        if answer.compact_revision() != 0 {
            self.groups.end(group, Notice::Compacted);
            return Ok(Vec::new());
        }
        if answer.canceled() {
            return self.refused(group, answer.cancel_reason());
        }
        let revision = convert::revision(answer.0.header.as_ref())?;
        self.highest = self.highest.max(revision);
        if answer.created() {
            if self.groups.may_have_missed(group, revision) {
                self.again.push(group);
                return Ok(vec![server_id]);
            }
            return Ok(self.groups.confirm(group));
        }
        let is_empty = answer.0.events.is_empty();
        if self.groups.collecting().is_some_and(|other| other != group || is_empty) {
            return Err(Error::unexpected("a revision that is not told to its end"));
        }
        if is_empty {
            return Ok(self.groups.progress(group, revision));
        }
        // The header may be ahead of what is still to come.
        let sent = std::mem::take(&mut answer.0.events);
        let events = sent.into_iter().map(convert::event).collect::<Result<Vec<_>>>()?;
        if !self.groups.expects(group, &events) {
            return Err(Error::unexpected("events of other keys, or out of order"));
        }
        Ok(self.groups.events(group, events, answer.0.fragment))
    }

    /// The server ended one watch, or did not begin it.
    fn refused(&mut self, group: u64, reason: &str) -> Result<Unneeded> {
        match outcome::of_refusal(reason) {
            Failure::Final(error @ (Error::Denied(_) | Error::Auth(_) | Error::Invalid(_))) => {
                self.groups.end(group, Notice::Failed(error));
                Ok(Vec::new())
            }
            Failure::Token(why) => {
                match self.endpoints.has_user() {
                    true => self.stale = Some(why),
                    false => self.groups.end(group, Notice::Failed(Error::Auth(why))),
                }
                Ok(Vec::new())
            }
            // For any other reason it is tried again, with all others on a new stream.
            _ => Err(Error::unexpected(&format!("watch canceled: {reason}"))),
        }
    }
}

fn create(creation: Option<Creation>, sends: &UnboundedSender<Send>) {
    if let Some(creation) = creation {
        let _ = sends.send(Send::Create(Box::new(creation)));
    }
}

fn cancel(unneeded: Unneeded, sends: &UnboundedSender<Send>) {
    for server_id in unneeded {
        let _ = sends.send(Send::Cancel(server_id));
    }
}

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
#[cfg(test)]
mod tests;
