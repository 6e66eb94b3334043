//! What the tasks of the I/O thread share: calls whose outcome they wait for, pauses, and
//! what becomes of them after a panic, which is a bug and must stay a small one.

use super::message::Method;
use super::requests::begin;
use super::transport::{Call, CallError, Connection, Done, Outcome};
use crate::error::{Error, Result};
use crate::signal::Once;
use crate::sys;
use bytes::Bytes;
use futures_util::FutureExt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::sleep;

/// Before a task that panicked begins anew.
const AFTER_PANIC: Duration = Duration::from_secs(1);

/// A call whose outcome a task waits for.
pub async fn call(connection: &Arc<Connection>, method: Method, message: Bytes) -> Outcome {
    await_call(connection, |done| begin(connection, method, message, done)).await
}

/// Likewise, of another service; `leader` as of [`Connection::begin`].
pub async fn unary(
    connection: &Arc<Connection>,
    method: &'static str,
    leader: bool,
    message: Bytes,
) -> Outcome {
    await_call(connection, |done| connection.begin(method, leader, message, done)).await
}

async fn await_call(
    connection: &Arc<Connection>,
    begin: impl FnOnce(Done) -> std::result::Result<Arc<Call>, CallError>,
) -> Outcome {
    let (send, receive) = oneshot::channel();
    let home = Arc::downgrade(connection);
    let tell = move |outcome| {
        // Without its connection the task is over.
        if let Some(connection) = home.upgrade() {
            connection.on_io(move || drop(send.send(outcome)));
        }
    };
    let call = begin(Done::Tell(Box::new(tell)))?;
    connection.rouse();
    let _abandoned = Abandon { connection, call };
    receive.await.unwrap_or_else(|_| Err(CallError::Broken("the call was dropped".into())))
}

/// Abandons a call when dropped, which does nothing to one that is over.
struct Abandon<'a> {
    connection: &'a Connection,
    call: Arc<Call>,
}

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        if !self.call.is_over() {
            self.connection.abandon(&self.call);
        }
    }
}

/// 20 % more or less, so that many clients do not come back at one moment.
pub fn jitter(time: Duration) -> Duration {
    let random = sys::random_id() as f64 / i64::MAX as f64;
    time.mul_f64(0.8 + 0.4 * random)
}

/// Does the task until it ends by itself: what others count on must not end with a panic.
pub async fn lasting<F: Future<Output = ()>>(mut task: impl FnMut() -> F) {
    while AssertUnwindSafe(task()).catch_unwind().await.is_err() {
        sleep(jitter(AFTER_PANIC)).await;
    }
}

/// Somebody waits for an answer, who hears also if there will be none.
pub struct Answering<T>(pub Arc<Once<Result<T>>>);

impl<T> Drop for Answering<T> {
    fn drop(&mut self) {
        self.0.set(Err(match std::thread::panicking() {
            true => Error::Internal("the request's task failed".into()),
            false => Error::Closed,
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::runtime::{Builder, Runtime};

    fn runtime() -> Runtime {
        Builder::new_current_thread().enable_time().build().expect("a runtime")
    }

    #[test]
    fn a_lasting_task_begins_anew_after_a_panic_and_never_after_its_end() {
        let mut begun = 0;
        runtime().block_on(lasting(|| {
            begun += 1;
            let fails = begun == 1;
            async move {
                tokio::task::yield_now().await;
                assert!(!fails, "a bug");
            }
        }));
        assert_eq!(begun, 2);
    }

    #[test]
    fn who_waits_for_an_answer_hears_of_a_panic_and_of_a_task_that_is_dropped() {
        let outcome = |task: fn(Answering<i32>)| {
            let answer = Arc::new(Once::default());
            let given = Answering(answer.clone());
            let ran = runtime().block_on(async move {
                tokio::spawn(async move {
                    tokio::task::yield_now().await;
                    task(given);
                })
                .await
            });
            drop(ran);
            answer.take(None).expect("an answer")
        };
        assert!(matches!(outcome(|given| given.0.set(Ok(7))), Ok(7)));
        assert!(matches!(outcome(drop), Err(Error::Closed)));
        assert!(matches!(outcome(|_given| panic!("a bug")), Err(Error::Internal(_))));
    }
}
