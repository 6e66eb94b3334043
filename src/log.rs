//! The one sink of the library's log.

use crate::sync::{Lock, SharedLock};
use crate::sys::ForkLocal;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Condvar, Mutex, RwLock};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Error = 1,
    Warn = 2,
    Info = 3,
    Debug = 4,
}

/// Takes a line; called on any thread.
pub trait Sink: Send + Sync {
    fn line(&self, level: Level, line: &str);
}

#[derive(Default)]
pub struct Log {
    level: AtomicI32,
    sink: RwLock<Option<Arc<Running>>>,
}

/// A sink and how many threads are inside it.
struct Running {
    sink: Box<dyn Sink>,
    inside: Mutex<usize>,
    left: Condvar,
}

std::thread_local! {
    static LOGGING: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

impl Log {
    /// Replaces the sink, and waits until nobody is inside the former one.
    pub fn set(&self, level: i32, sink: Option<Box<dyn Sink>>) {
        self.level.store(level.clamp(0, Level::Debug as i32), Ordering::Relaxed);
        let fresh = sink
            .map(|sink| Arc::new(Running { sink, inside: Mutex::default(), left: Condvar::new() }));
        let former = std::mem::replace(&mut *self.sink.writing(), fresh);
        if let Some(former) = former.filter(|_| !LOGGING.get()) {
            let mut inside = former.inside.hold();
            while *inside > 0 {
                inside = crate::sync::wait_until(&former.left, inside, None).0;
            }
        }
    }

    /// The option `debug` of a store.
    pub fn raise_to_debug(&self) {
        self.level.store(Level::Debug as i32, Ordering::Relaxed);
    }

    pub fn write(&self, level: Level, line: impl FnOnce() -> String) {
        if self.level.load(Ordering::Relaxed) < level as i32 || LOGGING.get() {
            return;
        }
        let running = {
            let sink = self.sink.reading();
            let Some(running) = sink.as_ref() else { return };
            *running.inside.hold() += 1;
            running.clone()
        };
        LOGGING.set(true);
        running.sink.line(level, &line());
        LOGGING.set(false);
        *running.inside.hold() -= 1;
        running.left.notify_all();
    }
}

/// That of the process.
pub static LOG: ForkLocal<Log> = ForkLocal::new();

pub fn log(level: Level, line: impl FnOnce() -> String) {
    LOG.get().write(level, line);
}
