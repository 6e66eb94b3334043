//! An open store: the rules that hold for both backends, and what hangs on it.

use crate::backend::etcd::EtcdBackend;
use crate::backend::mem::{Mem, MemBackend};
use crate::backend::Backend;
use crate::dispatch::Pool;
use crate::endpoint::Endpoint;
use crate::error::{Error, Result};
use crate::feed::Feed;
use crate::gate::{self, unique_id, Callbacks};
use crate::lock::DistLock;
use crate::log::LOG;
use crate::options::Options;
use crate::request::{Range, Request, Response};
use crate::runtime::Runtime;
use crate::state::{StateConsumer, StateEvents};
use crate::sync::Lock;
use crate::temp_key::TempKeys;
use crate::timer::Timer;
use crate::types::KeyRange;
use crate::watch::Watcher;
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

pub struct Store {
    callbacks: Arc<Callbacks>,
    options: Options,
    backend: Arc<dyn Backend>,
    runtime: Arc<Runtime>,
    closed: AtomicBool,
    /// Whoever waits for changes, to be ended when the store is closed.
    feeds: Mutex<Feeds>,
    state: Arc<StateEvents>,
    temp_keys: Arc<TempKeys>,
    lock: Arc<DistLock>,
}

#[derive(Default)]
struct Feeds {
    open: HashMap<u64, Weak<Feed>>,
    /// Entries are swept when there are so many.
    sweep_at: usize,
}

pub enum Closed {
    Fully,
    /// A callback still runs.
    CallbackRunning,
}

impl Store {
    pub fn open(endpoint: &str, options: &str) -> Result<Arc<Self>> {
        let options = Options::parse(options)?;
        let endpoint = Endpoint::parse(endpoint)?;
        if options.debug {
            LOG.get().raise_to_debug();
        }
        let runtime = Runtime::acquire()?;
        let backend = backend(endpoint, &options, &runtime).inspect_err(|_| {
            Runtime::release(Instant::now() + options.close_timeout);
        })?;
        let callbacks = Callbacks::new(unique_id());
        let store = Arc::new_cyclic(|me: &Weak<Self>| Self {
            state: StateEvents::new(callbacks.clone(), runtime.pool.clone()),
            callbacks,
            temp_keys: TempKeys::new(me.clone(), options.temp_ttl),
            lock: DistLock::new(me.clone(), options.lock.clone(), options.lock_ttl),
            options,
            backend,
            runtime,
            closed: AtomicBool::new(false),
            feeds: Mutex::default(),
        });
        if let Err(error) = store.wait_until_reachable() {
            store.close(Vec::new());
            return Err(error);
        }
        Ok(store)
    }

    /// The option `wait`: a linearizable read proves the whole path.
    fn wait_until_reachable(&self) -> Result<()> {
        if self.options.wait.is_zero() {
            return Ok(());
        }
        let probe = Range { limit: 1, ..Range::new(KeyRange::single("\0")) };
        self.call_until(probe.into(), Instant::now() + self.options.wait).map(drop)
    }

    pub fn id(&self) -> u64 {
        self.callbacks.store()
    }

    pub fn callbacks(&self) -> &Arc<Callbacks> {
        &self.callbacks
    }

    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    pub fn pool(&self) -> &Arc<Pool> {
        &self.runtime.pool
    }

    pub fn timer(&self) -> &Arc<Timer> {
        &self.runtime.timer
    }

    pub fn state(&self) -> &Arc<StateEvents> {
        &self.state
    }

    pub fn lock(&self) -> &Arc<DistLock> {
        &self.lock
    }

    pub fn timeout(&self) -> Duration {
        self.options.timeout
    }

    /// When a request that begins now must have its answer.
    pub fn deadline(&self) -> Instant {
        Instant::now() + self.options.timeout
    }

    pub fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        Ok(())
    }

    pub fn call(&self, request: Request) -> Result<Response> {
        self.call_until(request, self.deadline())
    }

    pub fn call_until(&self, request: Request, deadline: Instant) -> Result<Response> {
        self.check_open()?;
        request.check_size(self.options.max_request)?;
        self.backend.call(request, deadline)
    }

    pub fn temp_key(self: &Arc<Self>, key: Bytes) -> Result<()> {
        self.check_open()?;
        self.temp_keys.add(self, key)
    }

    pub fn on_state(&self, consumer: Option<Box<dyn StateConsumer>>) -> Result<()> {
        self.check_open()?;
        self.state.listen(consumer)
    }

    pub fn fault(&self, spec: &str) -> Result<()> {
        self.check_open()?;
        self.backend.fault(spec)
    }

    /// Has the feed ended when the store is closed.
    pub fn enlist(&self, feed: &Arc<Feed>) -> Result<()> {
        let mut feeds = self.feeds.hold();
        self.check_open()?;
        if feeds.open.len() >= feeds.sweep_at {
            feeds.open.retain(|_, feed| feed.strong_count() > 0);
            feeds.sweep_at = 2 * feeds.open.len() + 64;
        }
        feeds.open.insert(feed.id, Arc::downgrade(feed));
        Ok(())
    }

    pub fn refuse_own_callback(&self, what: &str) -> Result<()> {
        gate::refuse_inside(self.id(), what)
    }

    /// Ends everything. `watchers` are those with a handle; whoever calls this has
    /// retired the handles, so it is called once.
    pub fn close(&self, watchers: Vec<Arc<Watcher>>) -> Closed {
        let deadline = Instant::now() + self.options.close_timeout;
        let feeds = {
            let mut feeds = self.feeds.hold();
            self.closed.store(true, Ordering::Release);
            std::mem::take(&mut feeds.open)
        };
        for watcher in watchers {
            watcher.end();
        }
        for feed in feeds.into_values().filter_map(|feed| feed.upgrade()) {
            feed.close(Error::Closed);
        }
        self.backend.abort();
        self.lock.close(deadline);
        self.temp_keys.close(deadline);
        self.state.close();
        let quiet = self.callbacks.wait(deadline);
        self.backend.close();
        Runtime::release(deadline);
        if quiet {
            Closed::Fully
        } else {
            Closed::CallbackRunning
        }
    }
}

fn backend(endpoint: Endpoint, options: &Options, runtime: &Runtime) -> Result<Arc<dyn Backend>> {
    Ok(match endpoint {
        Endpoint::Mem(name) => {
            let mem = Mem::named(name);
            Arc::new(MemBackend::new(mem, runtime.timer.clone()))
        }
        Endpoint::Etcd(urls) => Arc::new(EtcdBackend::new(urls, options, runtime.io()?.clone())?),
    })
}
