//! A real cluster, through etcd-client. The only place with async Rust.

mod answer;
mod auth;
mod choice;
mod convert;
mod endpoints;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod io;
mod leases;
mod members;
mod message;
mod outcome;
mod probes;
mod progress;
mod requests;
mod submission;
mod transport;
mod watches;
mod window;

pub use io::Io;

use super::{Backend, Completion, Flight, Wanted, WatchSink, WatchToken};
use crate::endpoint::Url;
use crate::error::{Error, Result};
use crate::gate::unique_id;
use crate::options::Options;
use crate::request::{Request, Response};
use crate::signal::Once;
use crate::timer::Timer;
use auth::Auth;
use endpoints::Endpoints;
use requests::Requests;
use std::sync::Arc;
use std::time::Instant;
use submission::Submission;
use transport::Driver;
use watches::{Command, Watches};

pub struct EtcdBackend {
    io: Arc<Io>,
    timer: Arc<Timer>,
    requests: Arc<Requests>,
    watches: Arc<Watches>,
}

impl EtcdBackend {
    pub fn new(urls: Vec<Url>, options: &Options, io: Arc<Io>, timer: Arc<Timer>) -> Result<Self> {
        // Streams have connections of their own, and so have leases: neither waits
        // behind a large answer.
        let auth = Auth::new(options)?;
        let endpoints =
            |driver| Endpoints::new(&urls, options, driver, auth.clone(), Arc::downgrade(&io));
        let unary = endpoints(Driver::Callers)?;
        let leases = endpoints(Driver::Caretaker)?;
        let streams = endpoints(Driver::Caretaker)?;
        if !options.sync.is_zero() {
            members::follow(&io, options.sync, urls.clone(), &[&leases, &unary, &streams]);
        }
        let watches = Arc::new(Watches::new(streams));
        Ok(Self { io, timer, requests: Arc::new(Requests::new(unary, leases)), watches })
    }
}

impl Backend for EtcdBackend {
    fn submit(
        &self,
        request: Request,
        deadline: Instant,
        done: Completion,
    ) -> Option<Box<dyn Flight>> {
        if request.is_about_a_lease() {
            // Behind no load of the user's, and after it when the store is closed.
            self.requests.clone().post(&self.io, request, deadline, Arc::default(), done);
            return None;
        }
        Some(Submission::begin(&self.requests, &self.io, &self.timer, request, deadline, done))
    }

    fn call(&self, request: Request, deadline: Instant) -> Result<Response> {
        match self.requests.try_directly(&request, deadline) {
            Ok(answer) => answer,
            Err(progress) => {
                let answer = Arc::new(Once::default());
                let given = answer.clone();
                let done = Completion::new(move |result| given.set(result));
                self.requests.clone().post(&self.io, request, deadline, progress, done);
                answer.take(None).unwrap_or(Err(Error::Closed))
            }
        }
    }

    fn watch(&self, wanted: Wanted, sink: Arc<dyn WatchSink>) -> WatchToken {
        let id = unique_id();
        self.watches.post(&self.io, Command::Add { id, wanted, sink });
        let (io, watches) = (Arc::downgrade(&self.io), self.watches.clone());
        WatchToken::new(move || {
            if let Some(io) = io.upgrade() {
                watches.post(&io, Command::Remove(id));
            }
        })
    }

    fn era(&self) -> u64 {
        self.watches.era()
    }

    fn wants_pages(&self) -> bool {
        true
    }

    fn abort(&self) {
        self.io.post(self.requests.abort());
    }

    fn close(&self) {
        self.watches.post(&self.io, Command::Close);
        self.io.post(self.requests.close());
    }

    fn fault(&self, _spec: &str) -> Result<()> {
        Err(Error::Unsupported("faults are made on mem: only".into()))
    }
}
