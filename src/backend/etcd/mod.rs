//! A real cluster, through etcd-client. The only place with async Rust.

mod choice;
mod convert;
mod endpoints;
mod io;
mod leases;
mod message;
mod outcome;
mod requests;
mod transport;
mod watches;

pub use io::Io;

use super::{Backend, Completion, WatchSink, WatchToken};
use crate::endpoint::Url;
use crate::error::{Error, Result};
use crate::gate::unique_id;
use crate::options::Options;
use crate::request::{Request, Response};
use crate::signal::Once;
use crate::types::KeyRange;
use endpoints::Endpoints;
use requests::{Progress, Requests};
use std::sync::Arc;
use std::time::Instant;
use transport::Driver;
use watches::{Command, Watches};

pub struct EtcdBackend {
    io: Arc<Io>,
    requests: Arc<Requests>,
    watches: Arc<Watches>,
}

impl EtcdBackend {
    pub fn new(urls: Vec<Url>, options: &Options, io: Arc<Io>) -> Result<Self> {
        // Streams have connections of their own, and so have leases: neither waits
        // behind a large answer.
        let endpoints = |driver| Endpoints::new(&urls, options, driver, Arc::downgrade(&io));
        let unary = endpoints(Driver::Callers)?;
        let leases = endpoints(Driver::Caretaker)?;
        let streams = endpoints(Driver::Caretaker)?;
        let watches = Arc::new(Watches::new(streams));
        Ok(Self { io, requests: Arc::new(Requests::new(unary, leases)), watches })
    }

    fn begin(&self, request: Request, deadline: Instant, progress: Progress, mut done: Completion) {
        let requests = self.requests.clone();
        self.io.post(move || {
            if request.writes() {
                done.begin_writing();
            }
            let task = requests.begin(request, deadline, progress);
            tokio::spawn(async move { done.complete(task.await) });
        });
    }
}

impl Backend for EtcdBackend {
    fn submit(&self, request: Request, deadline: Instant, done: Completion) {
        self.begin(request, deadline, Progress::default(), done);
    }

    fn call(&self, request: Request, deadline: Instant) -> Result<Response> {
        match self.requests.try_directly(&request, deadline) {
            Ok(answer) => answer,
            Err(progress) => {
                let answer = Arc::new(Once::default());
                let given = answer.clone();
                let done = Completion::new(move |result| given.set(result));
                self.begin(request, deadline, progress, done);
                answer.take(None).unwrap_or(Err(Error::Closed))
            }
        }
    }

    fn watch(&self, keys: KeyRange, start: i64, sink: Arc<dyn WatchSink>) -> WatchToken {
        let id = unique_id();
        self.watches.post(&self.io, Command::Add { id, keys, start, sink });
        let (io, watches) = (Arc::downgrade(&self.io), self.watches.clone());
        WatchToken::new(move || {
            if let Some(io) = io.upgrade() {
                watches.post(&io, Command::Remove(id));
            }
        })
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
