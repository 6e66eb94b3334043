//! A thread of network I/O: a single-threaded runtime that no caller enters.
//!
//! Callers put jobs in a queue and write to a socket; they never touch the
//! runtime or its thread-locals, so that every call works in every phase of a
//! thread's and a process's life.

use crate::error::{Error, Result};
use crate::sync::{wait_until, Lock};
use crate::sys;
use once_cell::sync::OnceCell;
use std::collections::VecDeque;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::runtime::Builder;

const STACK: usize = 1 << 20;

type Job = Box<dyn FnOnce() + Send>;

pub struct Io {
    name: &'static str,
    queue: Mutex<Queue>,
    /// Both ends, so that a signal never meets a closed one.
    signal: OnceCell<(UnixStream, UnixStream)>,
    ended: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    stopped: bool,
    ended: bool,
}

impl Io {
    /// One that is not started yet: its jobs wait.
    pub fn new(name: &'static str) -> Arc<Self> {
        Arc::new(Self {
            name,
            queue: Mutex::default(),
            signal: OnceCell::new(),
            ended: Condvar::new(),
            thread: Mutex::default(),
        })
    }

    /// Starts the thread, unless it is there.
    pub fn start(self: &Arc<Self>) -> Result<()> {
        let mut thread = self.thread.hold();
        if self.queue.hold().stopped {
            return Err(Error::Closed); // nobody would join it
        }
        if thread.is_some() {
            return Ok(());
        }
        let no_memory = |e: std::io::Error| Error::NoMemory(format!("I/O thread: {e}"));
        let signal = self.signal.get_or_try_init(UnixStream::pair).map_err(no_memory)?;
        let non_blocking = signal.0.set_nonblocking(true).and(signal.1.set_nonblocking(true));
        let receiver = non_blocking.and(signal.1.try_clone()).map_err(no_memory)?;
        let (run, ready) = (self.clone(), Arc::new(crate::signal::Once::default()));
        let is_ready = ready.clone();
        let started = sys::spawn(self.name, STACK, move || {
            let made = Builder::new_current_thread().enable_all().build().and_then(|runtime| {
                let _inside = runtime.enter();
                tokio::net::UnixStream::from_std(receiver).map(|receiver| (runtime, receiver))
            });
            match made {
                Err(e) => is_ready.set(Err(e)),
                Ok((runtime, receiver)) => {
                    let _ended = Ended(run.clone());
                    let runtime = runtime; // ends before that is told
                    is_ready.set(Ok(()));
                    runtime.block_on(run.serve(receiver));
                }
            }
        })
        .map_err(no_memory)?;
        if let Some(Err(e)) = ready.take(None) {
            let _ = started.join();
            return Err(no_memory(e));
        }
        *thread = Some(started);
        Ok(())
    }

    /// Runs the job on the I/O thread, after those before it. It must not block; it
    /// may spawn tasks. After the end it is dropped.
    pub fn post(&self, job: impl FnOnce() + Send + 'static) {
        let mut queue = self.queue.hold();
        if queue.stopped {
            drop(queue);
            return drop(job);
        }
        queue.jobs.push_back(Box::new(job));
        let first = queue.jobs.len() == 1;
        drop(queue);
        if first {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some((signal, _)) = self.signal.get() {
            // Fails where the buffer is full of signals, which is a signal too.
            let _ = (&*signal).write(&[0]);
        }
    }

    async fn serve(&self, signalled: tokio::net::UnixStream) {
        loop {
            let jobs = {
                let mut queue = self.queue.hold();
                if queue.stopped {
                    return;
                }
                std::mem::take(&mut queue.jobs)
            };
            for job in jobs {
                // A job that panics is a bug in it, and no reason to stop the others.
                let _ = catch_unwind(AssertUnwindSafe(job));
            }
            if signalled.readable().await.is_ok() {
                while matches!(signalled.try_read(&mut [0; 64]), Ok(64)) {}
            }
        }
    }

    /// Ends the thread; tasks that still run are dropped, which answers them.
    pub fn stop(&self, deadline: Instant) {
        let mut queue = self.queue.hold();
        queue.stopped = true;
        let jobs = std::mem::take(&mut queue.jobs);
        drop(queue);
        drop(jobs);
        self.wake();
        let mut thread = self.thread.hold();
        let mut queue = self.queue.hold();
        while thread.is_some() && !queue.ended {
            let (next, in_time) =
                wait_until(&self.ended, queue, Some(deadline + Duration::from_secs(1)));
            queue = next;
            if !in_time {
                return;
            }
        }
        drop(queue);
        if let Some(thread) = thread.take() {
            let _ = thread.join();
        }
    }
}

/// The thread is about to end: what nobody will run is answered by being dropped.
struct Ended(Arc<Io>);

impl Drop for Ended {
    fn drop(&mut self) {
        let mut queue = self.0.queue.hold();
        queue.stopped = true;
        queue.ended = true;
        let jobs = std::mem::take(&mut queue.jobs);
        drop(queue);
        drop(jobs);
        self.0.ended.notify_all();
    }
}
