//! Whether a server that says nothing has nothing to say.

use super::Send;
use crate::backend::etcd::probes;
use crate::backend::etcd::transport::Connection;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::FutureExt;
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{sleep_until, timeout};

/// After so long a silence the server is asked, and has as long to answer.
const SILENT: Duration = Duration::from_secs(3);

pub struct Silence {
    since: Instant,
    asking: Option<BoxFuture<'static, bool>>,
}

impl Default for Silence {
    fn default() -> Self {
        Self { since: Instant::now(), asking: None }
    }
}

impl Silence {
    pub fn ends(&mut self) {
        *self = Self::default();
    }

    /// Returns when neither the stream nor a read of this key is answered: pings alone
    /// can be answered by a server that hangs. May be dropped and called again.
    pub async fn is_that_of_the_dead(
        &mut self,
        sends: &UnboundedSender<Send>,
        connection: &Arc<Connection>,
        key: Option<Bytes>,
    ) {
        let Some(key) = key else { return pending().await };
        loop {
            let Some(asking) = &mut self.asking else {
                sleep_until((self.since + SILENT).into()).await;
                let _ = sends.send(Send::Progress);
                let connection = connection.clone();
                let key = key.clone();
                let read = async move { probes::is_alive(&connection, &key).await };
                let read = timeout(SILENT, read).map(|answer| answer.unwrap_or(false));
                self.asking = Some(read.boxed());
                continue;
            };
            if !asking.await {
                return;
            }
            self.ends();
        }
    }
}
