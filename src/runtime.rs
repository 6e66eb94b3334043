//! The library's threads: born with the first open store, gone with the last.

use crate::backend::etcd::Io;
use crate::dispatch::Pool;
use crate::error::Result;
use crate::sync::Lock;
use crate::sys::ForkLocal;
use crate::timer::Timer;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

pub struct Runtime {
    pub timer: Arc<Timer>,
    pub pool: Arc<Pool>,
    timer_thread: Mutex<Option<JoinHandle<()>>>,
    io: Arc<Io>,
    /// That of leases, whose renewals wait behind no watch and no request, unless a token
    /// has ended: that is got anew on the thread that hears of it first.
    pub lease_io: Arc<Io>,
}

/// The runtime of this process, while it has users.
static SHARED: ForkLocal<Mutex<Shared>> = ForkLocal::new();

#[derive(Default)]
struct Shared {
    current: Option<Arc<Runtime>>,
    users: usize,
}

impl Runtime {
    /// Each success is to be paired with one [`Runtime::release`].
    pub fn acquire() -> Result<Arc<Self>> {
        let mut shared = SHARED.get().hold();
        let runtime = match &shared.current {
            Some(runtime) => runtime.clone(),
            None => {
                let (timer, thread) = Timer::start()?;
                let runtime = Arc::new(Self {
                    pool: Pool::new(timer.clone()),
                    timer,
                    timer_thread: Mutex::new(Some(thread)),
                    io: Io::new("hmkv-io"),
                    lease_io: Io::new("hmkv-lease"),
                });
                shared.current = Some(runtime.clone());
                runtime
            }
        };
        shared.users += 1;
        Ok(runtime)
    }

    /// The thread of network I/O, started when the first store needs it.
    pub fn io(&self) -> Result<&Arc<Io>> {
        self.io.start().map(|()| &self.io)
    }

    /// Ends the threads if this was the last user, waiting for callbacks that still
    /// run until the deadline.
    pub fn release(deadline: Instant) {
        let last = {
            let mut shared = SHARED.get().hold();
            shared.users -= 1;
            if shared.users > 0 {
                return;
            }
            shared.current.take()
        };
        let Some(runtime) = last else { return };
        runtime.pool.stop(deadline);
        runtime.io.stop(deadline);
        runtime.lease_io.stop(deadline);
        runtime.timer.stop();
        let thread = runtime.timer_thread.hold().take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}
