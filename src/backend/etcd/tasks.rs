//! What the tasks of the I/O thread share: calls whose outcome they wait for, and pauses.

use super::message::Method;
use super::requests::begin;
use super::transport::{Call, CallError, Connection, Done, Outcome};
use crate::sys;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

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
