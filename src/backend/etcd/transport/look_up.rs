//! Asks for names. That may block for long, so each time has a thread of its own.

use crate::error::{Error, Result};
use crate::sys;
use tokio::sync::oneshot;

const STACK: usize = 256 << 10;

pub async fn look_up<T: Send + 'static>(
    ask: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let (send, receive) = oneshot::channel();
    sys::spawn("hmkv-dns", STACK, move || drop(send.send(ask())))
        .map_err(|e| Error::NoMemory(format!("thread for a name look-up: {e}")))?;
    receive.await.unwrap_or_else(|_| Err(Error::Unavailable("the name look-up failed".into())))
}
