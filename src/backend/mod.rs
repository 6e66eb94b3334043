//! What a backend does. The rest, from paging to locks, is written once above it.

pub mod etcd;
pub mod mem;

use crate::calls::Measure;
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::fault::Fault;
use crate::request::{Request, Response};
use crate::signal::Once;
use crate::types::{Event, KeyRange};
use std::sync::Arc;
use std::time::Instant;

/// The contract of both backends:
///
/// - Every change makes one new revision; all operations of a transaction share it.
/// - Reads are linearizable.
/// - A request is answered exactly once, soon after its deadline at the latest. A
///   failure other than [`Error::Indeterminate`] means that nothing was changed and
///   nothing will be.
/// - A watch gives every change from its start revision on, in order, once, whole
///   revisions at a time, whatever happens to connections and servers, until it
///   says that it cannot.
pub trait Backend: Send + Sync {
    /// Begins a request and returns. `done` runs on any thread, also on this one
    /// before the return; it must not block. What is returned can give it up; none
    /// where it is done.
    fn submit(
        &self,
        request: Request,
        deadline: Instant,
        done: Completion,
    ) -> Option<Box<dyn Flight>>;

    /// Makes a request and waits for its answer.
    fn call(&self, request: Request, deadline: Instant) -> Result<Response>;

    /// Begins to watch and returns. The watch ends when the sink refuses a notice or
    /// the token is dropped; notices on their way then may still come.
    fn watch(&self, wanted: Wanted, sink: Arc<dyn WatchSink>) -> WatchToken;

    /// Counts the stores that took the place of the one before, as far as was noticed.
    fn era(&self) -> u64;

    /// Whether large ranges had better be read in pages.
    fn wants_pages(&self) -> bool;

    /// Whether a request takes hardly longer than a look at the clock.
    fn is_fast(&self) -> bool {
        !self.wants_pages()
    }

    /// Answers all requests, also later ones, but revocations with [`Error::Closed`] or
    /// [`Error::Indeterminate`].
    fn abort(&self);

    /// Ends everything, after the last request.
    fn close(&self);

    /// What the members of the cluster tell of themselves; fails where none does.
    fn cluster(&self, deadline: Instant) -> Result<Cluster>;

    /// Makes a fault happen, on `mem:`. It does not wait.
    fn fault(&self, fault: Fault) -> Result<()>;
}

/// Waits for the answer to what is begun.
pub fn answer_to(begin: impl FnOnce(Completion)) -> Result<Response> {
    let answer = Arc::new(Once::default());
    let given = answer.clone();
    begin(Completion::new(move |result| given.set(result)));
    answer.take(None).unwrap_or(Err(Error::Closed))
}

/// A request under way.
pub trait Flight: Send {
    /// Lends the calling thread, which waits for the answer. It returns when that is
    /// here, or when others see to it.
    fn drive(&self);

    /// Nobody is going to wait for the answer.
    fn leave(&self);

    /// Gives it up: nothing is sent from now on. Tells what is known of it:
    /// [`Error::Canceled`] or [`Error::Indeterminate`].
    fn cancel(&self) -> Error;
}

/// What is watched: the changes of these keys from revision `start` on.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub keys: KeyRange,
    pub start: i64,
    /// With the keys as they were before.
    pub prev: bool,
    /// [`Backend::era`] of before `start` was learned.
    pub era: u64,
    /// The server has let a watch of these keys begin before, for whoever wants this.
    pub resumed: bool,
}

/// Takes the answer of a request, once; gives one itself when it is dropped.
pub struct Completion {
    done: Option<Done>,
    writing: bool,
    measure: Option<Measure>,
}

type Done = Box<dyn FnOnce(Result<Response>) + Send>;

impl Completion {
    pub fn new(done: impl FnOnce(Result<Response>) + Send + 'static) -> Self {
        Self { done: Some(Box::new(done)), writing: false, measure: None }
    }

    pub fn measured(mut self, measure: Measure) -> Self {
        self.measure = Some(measure);
        self
    }

    /// The answer goes through this first.
    pub fn after(
        mut self,
        first: impl FnOnce(Result<Response>) -> Result<Response> + Send + 'static,
    ) -> Self {
        self.done = self.done.take().map(|done| -> Done { Box::new(|answer| done(first(answer))) });
        self
    }

    /// A write is on its way: nobody knows its outcome before the answer.
    pub fn begin_writing(&mut self) {
        self.writing = true;
    }

    pub fn complete(mut self, result: Result<Response>) {
        self.answer(|| result);
    }

    fn answer(&mut self, answer: impl FnOnce() -> Result<Response>) {
        let Some(done) = self.done.take() else { return };
        let answer = answer();
        if let Some(measure) = self.measure.take() {
            measure.end(&answer);
        }
        done(answer);
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        let writing = self.writing;
        self.answer(|| {
            Err(if writing {
                Error::Indeterminate("the request was dropped".into())
            } else if std::thread::panicking() {
                Error::Internal("the request's task failed".into())
            } else {
                Error::Closed
            })
        });
    }
}

#[derive(Clone, Debug)]
pub enum Notice {
    /// The server watches: no change from the start revision on is missed. Comes
    /// again after a cut.
    Started,
    /// The server cannot be reached, for this reason; the watch goes on when it can.
    Cut(String),
    /// One or more whole revisions.
    Events(Vec<Event>),
    /// All changes up to this revision were given.
    Progress(i64),
    /// The start revision is compacted; the watch has ended.
    Compacted,
    /// The store is not the one that was watched; the watch has ended.
    Replaced,
    /// Changes are missing, for this reason; the watch has ended.
    Gap(&'static str),
    /// The watch has ended for this reason.
    Failed(Error),
}

/// Takes the notices of one watch, in order. It must not block and must not call
/// the backend.
pub trait WatchSink: Send + Sync {
    /// False ends the watch.
    fn notice(&self, notice: Notice) -> bool;
}

/// Ends a watch when dropped. Not to be dropped inside a sink.
pub struct WatchToken(Option<Box<dyn FnOnce() + Send>>);

impl WatchToken {
    pub fn new(end: impl FnOnce() + Send + 'static) -> Self {
        Self(Some(Box::new(end)))
    }
}

impl Drop for WatchToken {
    fn drop(&mut self) {
        if let Some(end) = self.0.take() {
            end();
        }
    }
}
