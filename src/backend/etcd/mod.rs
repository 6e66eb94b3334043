//! A real cluster, through etcd-client. The only place with async Rust.

mod convert;
mod endpoints;
mod io;
mod requests;
mod transport;
mod watches;

pub use io::Io;

use super::{Backend, Completion, WatchSink, WatchToken};
use crate::endpoint::Url;
use crate::error::{Error, Result};
use crate::gate::unique_id;
use crate::options::Options;
use crate::request::Request;
use crate::types::KeyRange;
use endpoints::Endpoints;
use requests::Requests;
use std::sync::Arc;
use std::time::Instant;
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
        let unary = Endpoints::new(urls.clone(), options)?;
        let leases = Endpoints::new(urls.clone(), options)?;
        let streams = Endpoints::new(urls, options)?;
        let watches = Arc::new(Watches::new(streams));
        Ok(Self { io, requests: Arc::new(Requests::new(unary, leases)), watches })
    }
}

impl Backend for EtcdBackend {
    fn submit(&self, request: Request, deadline: Instant, mut done: Completion) {
        let requests = self.requests.clone();
        self.io.post(move || {
            if request.writes() {
                done.begin_writing();
            }
            let task = requests.begin(request, deadline);
            tokio::spawn(async move { done.complete(task.await) });
        });
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
        let requests = self.requests.clone();
        self.io.post(move || requests.abort());
    }

    fn close(&self) {
        self.watches.post(&self.io, Command::Close);
        let requests = self.requests.clone();
        self.io.post(move || requests.close());
    }

    fn fault(&self, _spec: &str) -> Result<()> {
        Err(Error::Unsupported("faults are made on mem: only".into()))
    }
}
