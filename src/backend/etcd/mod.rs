//! A real cluster, through etcd-client. The only place with async Rust.

mod answer;
mod auth;
mod choice;
mod cluster;
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
mod reach;
mod requests;
mod srv;
mod submission;
mod tasks;
mod transport;
mod watches;
mod window;

pub use io::Io;
pub use reach::Reach;

use super::{Backend, Completion, Flight, Wanted, WatchSink, WatchToken};
use crate::cluster::Cluster;
use crate::endpoint::{Domain, Url};
use crate::error::{Error, Result};
use crate::fault::Fault;
use crate::gate::unique_id;
use crate::options::Options;
use crate::request::{Request, Response};
use crate::signal::Once;
use crate::timer::Timer;
use auth::Auth;
use endpoints::Endpoints;
use progress::Progress;
use reach::Role;
use requests::Requests;
use srv::Discovery;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use submission::Submission;
use watches::{Command, Watches};

pub struct EtcdBackend {
    io: Arc<Io>,
    /// Of leases, and of what else is rare; started by the first of them.
    lease_io: Arc<Io>,
    timer: Arc<Timer>,
    requests: Arc<Requests>,
    watches: Arc<Watches>,
}

/// Who they are.
pub enum Members {
    Given(Vec<Url>),
    Of(Domain),
}

impl EtcdBackend {
    /// A cluster of these members, or of those that the domain tells.
    pub fn new(
        members: Members,
        options: &Options,
        io: Arc<Io>,
        lease_io: Arc<Io>,
        timer: Arc<Timer>,
        reach: Arc<Reach>,
    ) -> Result<Self> {
        let (urls, discovery) = match members {
            Members::Given(urls) => (urls, None),
            Members::Of(domain) => (Vec::new(), Some(Discovery::new(domain, options)?)),
        };
        // Streams have connections of their own, and so have leases: neither waits
        // behind a large answer. The thread of a connection is that of its endpoints.
        let auth = Auth::new(options)?;
        let endpoints = |role| {
            let (reach, auth, discovery) = (reach.clone(), auth.clone(), discovery.clone());
            let io = if role == Role::Leases { &lease_io } else { &io };
            Endpoints::new(&urls, options, role, reach, auth, discovery, Arc::downgrade(io))
        };
        let unary = endpoints(Role::Requests)?;
        let leases = endpoints(Role::Leases)?;
        let streams = endpoints(Role::Watches)?;
        let (all, syncs) = ([&leases, &unary, &streams], !options.sync.is_zero());
        let given = Arc::new(Mutex::new(urls.clone()));
        if let Some(discovery) = &discovery {
            discovery.follow(&io, syncs.then(|| given.clone()), &all);
        }
        if syncs {
            lease_io.start()?;
            members::follow(&lease_io, options.sync, given, &all);
        }
        let watches = Arc::new(Watches::new(streams));
        let requests = Arc::new(Requests::new(unary, leases));
        Ok(Self { io, lease_io, timer, requests, watches })
    }
}

impl EtcdBackend {
    /// Has the I/O thread make a request that it is for.
    fn post(&self, request: Request, deadline: Instant, progress: Arc<Progress>, done: Completion) {
        let io = if request.is_about_a_lease() {
            if let Err(error) = self.lease_io.start() {
                return done.complete(Err(error));
            }
            &self.lease_io
        } else {
            &self.io
        };
        self.requests.clone().post(io, request, deadline, progress, done);
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
            self.post(request, deadline, Arc::default(), done);
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
                self.post(request, deadline, progress, done);
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

    fn cluster(&self, deadline: Instant) -> Result<Cluster> {
        self.lease_io.start()?;
        self.requests.cluster(&self.lease_io, deadline)
    }

    fn fault(&self, _fault: Fault) -> Result<()> {
        Err(Error::Unsupported("faults are made on mem: only".into()))
    }
}
