//! All watches of a store on one stream, which is made anew whenever it breaks:
//! each watch then resumes at the first revision that it did not get.

use super::convert;
use super::endpoints::{Connected, Endpoints};
use super::io::Io;
use super::outcome::{self, Failure};
use crate::backend::{Notice, WatchSink};
use crate::error::{Error, Result};
use crate::log::{log, Level};
use crate::sync::Lock;
use crate::types::KeyRange;
use etcd_client::{WatchOptions, WatchResponse, WatchResponseStream, WatchStream};
use futures_util::FutureExt;
use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver, UnboundedSender};
use tokio::time::{sleep, timeout_at};

/// How long making a stream may take.
const SET_UP: Duration = Duration::from_millis(1500);

const BACK_OFF: Duration = Duration::from_millis(25);
const BACK_OFF_MOST: Duration = Duration::from_secs(1);

pub enum Command {
    Add { id: u64, keys: KeyRange, start: i64, sink: Arc<dyn WatchSink> },
    Remove(u64),
    Close,
}

/// The front of the task that has the stream; the task begins with the first watch.
pub struct Watches {
    state: Mutex<State>,
}

enum State {
    Idle(Arc<Endpoints>),
    Running(UnboundedSender<Command>),
    Closed,
}

impl Watches {
    pub fn new(endpoints: Arc<Endpoints>) -> Self {
        Self { state: Mutex::new(State::Idle(endpoints)) }
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
                tokio::spawn(Task::new(endpoints, commands).run());
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
    watches: HashMap<u64, Watch>,
    /// Which watch the server means by its ids, on the present stream.
    by_server_id: HashMap<i64, u64>,
    next_server_id: i64,
    /// Ids of creations that the server has not answered, in their order: a refusal
    /// may come without one.
    unanswered: VecDeque<i64>,
}

struct Watch {
    keys: KeyRange,
    /// The first revision that the sink has not got.
    next: i64,
    sink: Arc<dyn WatchSink>,
    server_id: i64,
}

/// What is sent on the stream.
enum Send {
    Create(Box<Creation>),
    Cancel(i64),
}

struct Creation {
    key: Vec<u8>,
    options: WatchOptions,
}

enum End {
    /// The store was closed.
    Closed,
    /// No watch is left.
    Idle,
    Broken(String),
}

impl Task {
    fn new(endpoints: Arc<Endpoints>, commands: UnboundedReceiver<Command>) -> Self {
        Self {
            endpoints,
            commands,
            watches: HashMap::new(),
            by_server_id: HashMap::new(),
            next_server_id: 1,
            unanswered: VecDeque::new(),
        }
    }

    async fn run(mut self) {
        let mut back_off = BACK_OFF;
        loop {
            while self.watches.is_empty() {
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
                Ok(End::Broken(why)) => why,
                Err(_) => "serving it failed".into(),
            };
            log(Level::Warn, || format!("watch stream ended, resuming: {why}"));
            if began.elapsed() > BACK_OFF_MOST {
                back_off = BACK_OFF;
            }
            if !self.endpoints.has_healthy() {
                sleep(back_off).await;
                back_off = (back_off * 2).min(BACK_OFF_MOST);
            }
        }
    }

    /// Takes a command while there is no stream.
    fn note(&mut self, command: Command) {
        match command {
            Command::Add { id, keys, start, sink } => {
                self.watches.insert(id, Watch { keys, next: start, sink, server_id: 0 });
            }
            Command::Remove(id) => drop(self.watches.remove(&id)),
            Command::Close => {}
        }
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
        self.by_server_id.clear();
        self.unanswered.clear();
        let ids: Vec<u64> = self.watches.keys().copied().collect();
        let creations: Vec<_> = ids.into_iter().filter_map(|id| self.creation(id)).collect();
        let mut creations = creations.into_iter();
        let Some(first) = creations.next() else { return End::Idle };

        let (connected, stream) = match self.set_up(first).await {
            Ok(made) => made,
            Err(why) => return End::Broken(why),
        };
        self.endpoints.succeeded(&connected);

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
                };
                if sent.is_err() {
                    return;
                }
            }
        });
        for creation in creations {
            let _ = sends.send(Send::Create(Box::new(creation)));
        }
        let end = self.serve(&mut answers, &sends).await;
        writing.abort();
        if matches!(end, End::Broken(_)) {
            self.endpoints.failed(&connected);
        }
        end
    }

    /// A stream with its first watch.
    async fn set_up(
        &self,
        first: Creation,
    ) -> std::result::Result<(Connected, WatchStream), String> {
        let deadline = (Instant::now() + SET_UP).into();
        let too_late = |_| "no answer in time".to_owned();
        let connecting = timeout_at(deadline, self.endpoints.connect()).await;
        let connected = connecting.map_err(too_late)?.map_err(|e| e.to_string())?;
        let client = connected.client().await.map_err(|e| e.to_string())?;
        let mut client = client.watch_client().max_decoding_message_size(usize::MAX);
        match timeout_at(deadline, client.watch(first.key, Some(first.options))).await {
            Ok(Ok(stream)) => Ok((connected, stream)),
            Ok(Err(error)) => {
                self.endpoints.failed(&connected);
                Err(error.to_string())
            }
            Err(late) => {
                self.endpoints.pass_over(&connected);
                Err(too_late(late))
            }
        }
    }

    /// What to send so that the server watches from where this watch stands.
    fn creation(&mut self, id: u64) -> Option<Creation> {
        let server_id = self.next_server_id;
        let watch = self.watches.get_mut(&id)?;
        self.next_server_id += 1;
        watch.server_id = server_id;
        self.by_server_id.insert(server_id, id);
        self.unanswered.push_back(server_id);
        let options = convert::watch_options(&watch.keys, server_id, watch.next);
        Some(Creation { key: watch.keys.key.to_vec(), options })
    }

    async fn serve(
        &mut self,
        answers: &mut WatchResponseStream,
        sends: &UnboundedSender<Send>,
    ) -> End {
        loop {
            tokio::select! {
                biased;
                answer = answers.message() => match answer {
                    Ok(Some(answer)) => {
                        if let Err(error) = self.take(answer, sends) {
                            return End::Broken(error.to_string());
                        }
                    }
                    Ok(None) => return End::Broken("the server ended it".into()),
                    Err(error) => return End::Broken(error.to_string()),
                },
                command = self.commands.recv() => match command {
                    None | Some(Command::Close) => return End::Closed,
                    Some(Command::Remove(id)) => self.remove(id, sends),
                    Some(add @ Command::Add { id, .. }) => {
                        self.note(add);
                        if let Some(creation) = self.creation(id) {
                            let _ = sends.send(Send::Create(Box::new(creation)));
                        }
                    }
                },
            }
            if self.watches.is_empty() {
                return End::Idle;
            }
        }
    }

    fn remove(&mut self, id: u64, sends: &UnboundedSender<Send>) {
        if let Some(watch) = self.watches.remove(&id) {
            self.by_server_id.remove(&watch.server_id);
            let _ = sends.send(Send::Cancel(watch.server_id));
        }
    }

    /// Passes on what the server says; an error where it makes no sense.
    fn take(&mut self, answer: WatchResponse, sends: &UnboundedSender<Send>) -> Result<()> {
        let mut server_id = answer.watch_id();
        if answer.created() {
            match self.unanswered.iter().position(|id| *id == server_id) {
                Some(at) => drop(self.unanswered.remove(at)),
                None => server_id = self.unanswered.pop_front().unwrap_or(server_id),
            }
        }
        // Of a watch that was removed meanwhile, or of a requested progress report.
        let Some(id) = self.by_server_id.get(&server_id).copied() else { return Ok(()) };
        let Some(watch) = self.watches.get_mut(&id) else { return Ok(()) };
        if answer.compact_revision() != 0 {
            watch.sink.notice(Notice::Compacted);
            self.forget(id, server_id);
            return Ok(());
        }
        if answer.canceled() {
            return self.refused(id, server_id, answer.cancel_reason());
        }
        if answer.created() {
            let wanted = watch.sink.notice(Notice::Started);
            if !wanted {
                self.remove(id, sends);
            }
            return Ok(());
        }
        let revision = convert::revision(answer.0.header.as_ref())?;
        let next = watch.next;
        let is_progress = answer.0.events.is_empty();
        let mut events = Vec::with_capacity(answer.0.events.len());
        for event in answer.0.events {
            let event = convert::event(event)?;
            // Servers are known to send again what was sent.
            if event.revision() >= next {
                events.push(event);
            }
        }
        let wanted = match events.last() {
            // All were sent before; the header may be ahead of what is still to come.
            None if !is_progress => return Ok(()),
            None => {
                watch.next = next.max(revision + 1);
                watch.sink.notice(Notice::Progress(revision))
            }
            Some(last) => {
                watch.next = last.revision() + 1;
                watch.sink.notice(Notice::Events(events))
            }
        };
        if !wanted {
            self.remove(id, sends);
        }
        Ok(())
    }

    /// The server ended one watch, or did not begin it.
    fn refused(&mut self, id: u64, server_id: i64, reason: &str) -> Result<()> {
        match outcome::of_refusal(reason) {
            Failure::Final(error @ (Error::Denied(_) | Error::Auth(_) | Error::Invalid(_))) => {
                if let Some(watch) = self.watches.get(&id) {
                    watch.sink.notice(Notice::Failed(error));
                }
                self.forget(id, server_id);
                Ok(())
            }
            // For any other reason it is tried again, with all others on a new stream.
            _ => Err(Error::unexpected(&format!("watch canceled: {reason}"))),
        }
    }

    fn forget(&mut self, id: u64, server_id: i64) {
        self.watches.remove(&id);
        self.by_server_id.remove(&server_id);
    }
}

#[cfg(test)]
mod tests;
