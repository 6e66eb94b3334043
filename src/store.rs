//! An open store: the rules that hold for both backends, and what hangs on it.

use crate::backend::etcd::{EtcdBackend, Members, Reach};
use crate::backend::mem::MemBackend;
use crate::backend::{Backend, Completion, Flight, Wanted, WatchSink, WatchToken};
use crate::calls::Calls;
use crate::dispatch::{Dispatcher, Polled, Pool};
use crate::endpoint::Endpoint;
use crate::error::{Error, Result};
use crate::fault::{self, Fault};
use crate::feed::Feed;
use crate::gate::{self, unique_id, Callbacks};
use crate::lease::Lease;
use crate::lock::{Acquisition, DistLock};
use crate::log::LOG;
use crate::metrics::{Gauges, Metrics};
use crate::namespace::Namespace;
use crate::options::{Dispatch, Options};
use crate::request::{Range, Request, Response};
use crate::runtime::Runtime;
use crate::signal::Once;
use crate::state::{StateConsumer, StateEvents};
use crate::sync::{wait_until, Lock};
use crate::temp_key::TempKeys;
use crate::timer::Timer;
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::time::{Duration, Instant};

pub struct Store {
    callbacks: Arc<Callbacks>,
    options: Options,
    namespace: Arc<Namespace>,
    calls: Arc<Calls>,
    runtime: Arc<Runtime>,
    dispatcher: Dispatcher,
    closed: AtomicBool,
    /// Whoever waits for changes, to be ended when the store is closed.
    feeds: Mutex<Feeds>,
    /// Whoever waits for a lock, likewise.
    acquiring: Mutex<HashMap<u64, Arc<Acquisition>>>,
    acquired: Condvar,
    /// Those that are kept alive.
    leases: Mutex<Vec<Weak<Lease>>>,
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

/// What has a handle and hangs on a store.
pub trait Child: Send + Sync {
    fn store_id(&self) -> u64;

    /// Begins to end it with its store; what is returned is set when that is done.
    fn end(&self, deadline: Instant) -> Option<Arc<Once<Result<()>>>>;

    /// After the last callback.
    fn ended(&self, _deadline: Instant) {}
}

pub enum Closed {
    Fully,
    /// A callback still runs.
    CallbackRunning,
}

impl Store {
    pub fn open(endpoint: &str, options: &str) -> Result<Arc<Self>> {
        Self::open_over(endpoint, options, |backend| backend)
    }

    /// Likewise, with what stands before the backend in a test.
    fn open_over(
        endpoint: &str,
        options: &str,
        over: impl FnOnce(Arc<dyn Backend>) -> Arc<dyn Backend>,
    ) -> Result<Arc<Self>> {
        let options = Options::parse(options)?;
        let endpoint = Endpoint::parse(endpoint)?;
        if options.debug {
            LOG.get().raise_to_debug();
        }
        let runtime = Runtime::acquire()?;
        let callbacks = Callbacks::new(unique_id());
        let metrics = Arc::<Metrics>::default();
        let parts = || {
            let dispatcher = dispatcher(&options, &runtime, &callbacks)?;
            let state = StateEvents::new(callbacks.clone(), dispatcher.clone());
            let backend = backend(endpoint, &options, &runtime, &state, &metrics)?;
            Ok((dispatcher, state, backend))
        };
        let (dispatcher, state, backend) = parts().inspect_err(|_: &Error| {
            Runtime::release(Instant::now() + options.close_timeout);
        })?;
        let calls = Calls::new(over(backend), metrics, state.clone(), options.slow);
        let store = Arc::new_cyclic(|me: &Weak<Self>| Self {
            state,
            callbacks,
            temp_keys: TempKeys::new(me.clone(), options.temp_ttl),
            lock: DistLock::new(me.clone(), &options.lock, options.lock_ttl),
            namespace: Arc::new(Namespace::new(&options.namespace)),
            options,
            calls,
            runtime,
            dispatcher,
            closed: AtomicBool::new(false),
            feeds: Mutex::default(),
            acquiring: Mutex::default(),
            acquired: Condvar::new(),
            leases: Mutex::default(),
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
        match self.call_until(Range::probe().into(), Instant::now() + self.options.wait) {
            // It works, for a user who may read other keys.
            Ok(_) | Err(Error::Denied(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub fn id(&self) -> u64 {
        self.callbacks.store()
    }

    pub fn callbacks(&self) -> &Arc<Callbacks> {
        &self.callbacks
    }

    pub fn calls(&self) -> &Arc<Calls> {
        &self.calls
    }

    fn backend(&self) -> &Arc<dyn Backend> {
        self.calls.backend()
    }

    pub fn metrics(&self) -> &Arc<Metrics> {
        self.calls.metrics()
    }

    /// What was counted, as text for Prometheus.
    pub fn metrics_text(&self) -> Result<String> {
        self.check_open()?;
        let feeds: Vec<_> = self.feeds.hold().open.values().filter_map(Weak::upgrade).collect();
        Ok(self.metrics().text(&Gauges {
            connected: self.state.is_connected(),
            callback_queue: self.callbacks.results_waiting() + self.state.waiting(),
            watch_queue: feeds.iter().map(|feed| feed.waiting()).sum(),
        }))
    }

    /// What the members tell of themselves, as JSON.
    pub fn cluster_status(&self) -> Result<String> {
        self.check_open()?;
        let cluster = self.backend().cluster(self.deadline())?;
        Ok(cluster.json())
    }

    /// For work of the library's own.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.runtime.pool
    }

    /// Likewise.
    pub fn internal(&self) -> Dispatcher {
        Dispatcher::Threads(self.runtime.pool.clone())
    }

    /// For callbacks of the user.
    pub fn dispatcher(&self) -> &Dispatcher {
        &self.dispatcher
    }

    /// The queue of callbacks that wait to be asked for.
    pub fn polled(&self) -> Result<&Arc<Polled>> {
        match &self.dispatcher {
            Dispatcher::Caller(polled) => Ok(polled),
            Dispatcher::Threads(_) => {
                Err(Error::Invalid("the store has no option dispatch=poll".into()))
            }
        }
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

    /// Likewise, for one that begins then, with a timeout of its own.
    fn deadline_after(&self, begun: Instant, timeout: Option<Duration>) -> Instant {
        const LONG: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
        begun + timeout.unwrap_or(self.options.timeout).min(LONG)
    }

    pub fn era(&self) -> u64 {
        self.backend().era()
    }

    /// Whether large ranges are read in pages.
    pub fn wants_pages(&self) -> bool {
        self.backend().wants_pages()
    }

    pub fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        Ok(())
    }

    pub fn call(&self, request: Request) -> Result<Response> {
        let now = Instant::now();
        self.call_within(request, now, now + self.options.timeout)
    }

    pub fn call_until(&self, request: Request, deadline: Instant) -> Result<Response> {
        self.call_within(request, Instant::now(), deadline)
    }

    fn call_within(&self, request: Request, begun: Instant, deadline: Instant) -> Result<Response> {
        let request = self.admit(request)?;
        let mut response = self.calls.call(request, begun, deadline)?;
        self.namespace.leave(&mut response);
        Ok(response)
    }

    /// Begins a request; see [`Backend::submit`].
    pub fn submit(
        &self,
        request: Request,
        timeout: Option<Duration>,
        done: Completion,
    ) -> Option<Box<dyn Flight>> {
        let request = match self.admit(request) {
            Ok(request) => request,
            Err(error) => {
                done.complete(Err(error));
                return None;
            }
        };
        let now = Instant::now();
        let deadline = self.deadline_after(now, timeout);
        if self.namespace.is_none() {
            return self.calls.submit(request, now, deadline, done);
        }
        let namespace = self.namespace.clone();
        let done = done.after(move |answer| {
            answer.map(|mut response| {
                namespace.leave(&mut response);
                response
            })
        });
        self.calls.submit(request, now, deadline, done)
    }

    /// The request as the backend gets it.
    fn admit(&self, mut request: Request) -> Result<Request> {
        self.check_open()?;
        self.namespace.enter(&mut request);
        request.check(self.options.max_request)?;
        Ok(request)
    }

    /// Begins to watch; see [`Backend::watch`].
    pub fn watch(&self, wanted: Wanted, sink: Arc<dyn WatchSink>) -> WatchToken {
        let (wanted, sink) = self.namespace.watch(wanted, sink);
        self.backend().watch(wanted, sink)
    }

    pub fn temp_key(self: &Arc<Self>, key: Bytes) -> Result<()> {
        self.check_open()?;
        self.temp_keys.add(self, key)
    }

    pub fn on_state(&self, consumer: Option<Box<dyn StateConsumer>>) -> Result<()> {
        self.check_open()?;
        self.state.listen(consumer)
    }

    /// Makes faults happen, and has those look around whom they may concern.
    pub fn fault(&self, spec: &str) -> Result<()> {
        self.check_open()?;
        for fault in fault::parse(spec)? {
            self.backend().fault(fault)?;
            if fault == Fault::Expire {
                let leases: Vec<_> = self.leases.hold().iter().filter_map(Weak::upgrade).collect();
                leases.iter().for_each(|lease| lease.begin_check());
            }
        }
        Ok(())
    }

    /// Notes a lease that is kept alive.
    pub fn note_lease(&self, lease: &Arc<Lease>) {
        let mut leases = self.leases.hold();
        if leases.len() == leases.capacity() {
            leases.retain(|lease| lease.strong_count() > 0);
        }
        leases.push(Arc::downgrade(lease));
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

    /// Has a wait for a lock ended when the store is closed, which waits for that.
    pub fn acquiring<'a>(&'a self, acquisition: &Arc<Acquisition>) -> Result<Acquiring<'a>> {
        let mut acquiring = self.acquiring.hold();
        self.check_open()?;
        let id = unique_id();
        acquiring.insert(id, acquisition.clone());
        Ok(Acquiring { store: self, id })
    }

    fn end_acquiring(&self, deadline: Instant) {
        let mut acquiring = self.acquiring.hold();
        let waiting: Vec<_> = acquiring.values().cloned().collect();
        drop(acquiring);
        for acquisition in waiting {
            acquisition.end(Error::Closed);
        }
        acquiring = self.acquiring.hold();
        while !acquiring.is_empty() {
            let (next, in_time) = wait_until(&self.acquired, acquiring, Some(deadline));
            acquiring = next;
            if !in_time {
                return;
            }
        }
    }

    pub fn lock_ttl(&self) -> Duration {
        self.options.lock_ttl
    }

    pub fn refuse_own_callback(&self, what: &str) -> Result<()> {
        gate::refuse_inside(self.id(), what)
    }

    /// Ends everything. `children` are those with a handle; whoever calls this has
    /// retired the store's handle, so it is called once.
    pub fn close(&self, children: Vec<Arc<dyn Child>>) -> Closed {
        let deadline = Instant::now() + self.options.close_timeout;
        let feeds = {
            let mut feeds = self.feeds.hold();
            // Whoever waits for a lock is entered before this, or not at all.
            let _acquiring = self.acquiring.hold();
            self.closed.store(true, Ordering::Release);
            std::mem::take(&mut feeds.open)
        };
        let mut ending: Vec<_> = children.iter().filter_map(|child| child.end(deadline)).collect();
        for feed in feeds.into_values().filter_map(|feed| feed.upgrade()) {
            feed.close(Error::Closed);
        }
        self.backend().abort();
        ending.extend(self.lock.close(deadline));
        self.end_acquiring(deadline);
        for ended in ending {
            ended.take(Some(deadline));
        }
        self.temp_keys.close(deadline);
        self.state.close();
        let quiet = match &self.dispatcher {
            Dispatcher::Threads(_) => self.callbacks.shut(deadline, || ()),
            Dispatcher::Caller(polled) => polled.close(deadline),
        };
        for child in children {
            child.ended(deadline);
        }
        self.backend().close();
        Runtime::release(deadline);
        if quiet {
            Closed::Fully
        } else {
            Closed::CallbackRunning
        }
    }
}

/// A wait for a lock, while it lives.
pub struct Acquiring<'a> {
    store: &'a Store,
    id: u64,
}

impl Drop for Acquiring<'_> {
    fn drop(&mut self) {
        self.store.acquiring.hold().remove(&self.id);
        self.store.acquired.notify_all();
    }
}

fn dispatcher(
    options: &Options,
    runtime: &Runtime,
    callbacks: &Arc<Callbacks>,
) -> Result<Dispatcher> {
    Ok(match options.dispatch {
        Dispatch::Thread => Dispatcher::Threads(runtime.pool.clone()),
        Dispatch::Poll => Dispatcher::Caller(Polled::new(callbacks.clone())?),
    })
}

fn backend(
    endpoint: Endpoint,
    options: &Options,
    runtime: &Runtime,
    state: &Arc<StateEvents>,
    metrics: &Arc<Metrics>,
) -> Result<Arc<dyn Backend>> {
    let members = match endpoint {
        Endpoint::Mem(name) => {
            return Ok(Arc::new(MemBackend::new(name, runtime.timer.clone(), state.clone())));
        }
        Endpoint::Etcd(urls) => Members::Given(urls),
        Endpoint::Srv(domain) => Members::Of(domain),
    };
    let (io, lease_io) = (runtime.io()?.clone(), runtime.lease_io.clone());
    let timer = runtime.timer.clone();
    let reach = Reach::new(state.clone(), metrics.clone());
    Ok(Arc::new(EtcdBackend::new(members, options, io, lease_io, timer, reach)?))
}

#[cfg(test)]
mod tests;
