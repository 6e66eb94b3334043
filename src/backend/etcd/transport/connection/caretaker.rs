//! What drives a connection where no thread waits for an answer, and looks whether the
//! other end is alive. It runs on the I/O thread.

use super::{Connection, Driver, Leader};
use crate::backend::etcd::transport::dial::{news, Ready};
use crate::backend::etcd::transport::liveness::{Liveness, Use};
use crate::backend::etcd::transport::socket::Flow;
use crate::backend::etcd::transport::wire::HOLD;
use crate::log::{log, Level};
use crate::sync::Lock;
use crate::sys;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, TryLockError};
use std::time::{Duration, Instant};
use tokio::time::sleep_until;

/// A seat that is taken for so long is stuck.
const STUCK: Duration = Duration::from_millis(200);

/// The caretaker's pace while threads drive.
const TICK: Duration = Duration::from_millis(100);

impl Connection {
    /// Wakes it, from any thread.
    pub(super) fn ring(&self) {
        let wakeup = self.wakeup.clone();
        self.on_io(move || wakeup.caretaker.notify_one());
    }

    /// Has the I/O thread wake a task. A waker of the runtime would touch thread-locals of
    /// the caller's, which can be gone where its thread is about to end.
    pub fn on_io(&self, wake: impl FnOnce() + Send + 'static) {
        if let Some(io) = self.io.upgrade() {
            io.post(wake);
        }
    }

    /// Has the caretaker drive where no thread does.
    pub fn rouse(&self) {
        self.resting.store(false, Ordering::SeqCst);
        self.ring();
    }

    pub(super) async fn take_care(self: Arc<Self>, mut liveness: Liveness) {
        let mut watched = None;
        let mut seen = 0;
        let mut taken_since = None;
        self.write(); // from now on HTTP/2 knows whom to wake
        while self.ended.get().is_none() {
            let (led, calls) = {
                let mut board = self.board.hold();
                // It comes back as a follower.
                if board.leader.as_ref().is_some_and(Leader::is_missing) {
                    board.leader = None;
                }
                (board.leader.is_some(), board.calls.len())
            };
            let streams = self.streams.load(Ordering::SeqCst);
            if self.retired.load(Ordering::SeqCst) && calls == 0 && streams == 0 {
                self.kill("no longer used");
                continue;
            }
            let use_made = if calls > 0 {
                Use::Calls
            } else if streams > 0 {
                Use::Streams
            } else {
                Use::None
            };
            let made = self.calls_made.load(Ordering::Relaxed);
            let others_drive =
                self.driver == Driver::Callers && (led || (calls == 0 && made != seen));
            seen = made;
            let now = Instant::now();
            let mut wake_at = liveness.next_look(&self.flow, use_made);
            if self.flow.is_pong_held() {
                wake_at = wake_at.min(now + HOLD);
            }
            if taken_since.is_some() {
                wake_at = now + TICK;
            } else if !led && self.flow.is_readable() {
                wake_at = now; // the last drive left something
            }
            if others_drive {
                watched = None;
                wake_at = wake_at.min(now + TICK);
            } else {
                if watched.is_none() {
                    watched = match sys::watch(&self.flow.tcp) {
                        Ok(watched) => Some(watched),
                        Err(e) => return self.kill(&e.to_string()),
                    };
                }
                self.resting.store(true, Ordering::SeqCst);
                if self.calls_made.load(Ordering::SeqCst) != seen {
                    self.resting.store(false, Ordering::SeqCst);
                    continue;
                }
            }
            tokio::select! {
                () = self.wakeup.caretaker.notified() => {}
                () = sleep_until(wake_at.into()) => {}
                broken = heard(&watched, &self.flow) => if let Err(e) = broken {
                    return self.kill(&e.to_string());
                },
            }
            self.write();
            if self.is_taken() {
                // Whether the server is alive cannot be told; others go elsewhere.
                if taken_since.get_or_insert_with(Instant::now).elapsed() > STUCK {
                    self.retired.store(true, Ordering::SeqCst);
                }
                liveness.excuse();
                continue;
            }
            taken_since = None;
            if liveness.is_overdue() {
                // The answer may lie in the socket.
                self.flow.set_readable();
                self.write();
            }
            if let Err(why) = liveness.look(&self.flow, use_made) {
                self.kill(why);
            }
            if liveness.has_sent() {
                self.write();
            }
        }
        let why = self.ended.get().map_or("", |why| why.as_str());
        log(Level::Debug, || format!("connection ended: {why}"));
    }

    fn is_taken(&self) -> bool {
        matches!(self.seat.try_lock(), Err(TryLockError::WouldBlock))
    }
}

async fn heard(watched: &Option<Ready>, flow: &Flow) -> io::Result<()> {
    match watched {
        Some(watched) => news(watched, flow).await,
        None => std::future::pending().await,
    }
}
