//! Whether a new stream is of the same store, and has what its watches begin with.

use super::{Command, Task, SET_UP};
use crate::backend::etcd::endpoints::Connected;
use crate::backend::etcd::outcome::Failure;
use crate::backend::etcd::probes;
use crate::backend::etcd::transport::Connection;
use crate::backend::Notice;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Instant;
use tokio::time::error::Elapsed;
use tokio::time::timeout_at;

/// How many keys are tried to find one that may be read.
const LOOKS: usize = 8;

impl Task {
    /// Ends all watches where the store is not the one that they were of: on another
    /// one, or one that was restored from a backup, they would wait for revisions that
    /// others have, or that are yet to come.
    pub(super) async fn check_store(
        &mut self,
        connected: &Connected,
    ) -> std::result::Result<(), Failure> {
        let deadline = (Instant::now() + SET_UP).into();
        let mut seen = None;
        // A user can read what is watched, and maybe nothing else.
        for key in self.groups.keys().take(LOOKS) {
            let looked = timeout_at(deadline, probes::look(&connected.connection, &key)).await;
            seen = match looked.map_err(no_answer)? {
                // Without a user the watches themselves are refused.
                Err(Failure::Token(_)) if !self.endpoints.has_user() => None,
                other => other?,
            };
            if seen.is_some() {
                break;
            }
        }
        let Some((cluster, revision)) = seen else { return Ok(()) };
        let another = self.cluster.replace(cluster).is_some_and(|known| known != cluster);
        if another || revision < self.highest {
            self.highest = 0;
            self.era.fetch_add(1, Ordering::AcqRel);
            for group in self.groups.ids() {
                self.groups.end(group, Notice::Replaced);
            }
        }
        self.highest = self.highest.max(revision);
        self.check_starts(&connected.connection).await
    }

    /// A server that compacted a deletion which a watch is to begin with neither tells
    /// of it nor that it is compacted. But it does not read the state before it.
    async fn check_starts(
        &mut self,
        connection: &Arc<Connection>,
    ) -> std::result::Result<(), Failure> {
        let Some((key, oldest)) = self.groups.oldest_start() else { return Ok(()) };
        let deadline = (Instant::now() + SET_UP).into();
        let kept = timeout_at(deadline, probes::keeps_before(connection, &key, oldest)).await;
        if kept.map_err(no_answer)? != Some(true) {
            self.groups.ids().into_iter().for_each(|group| self.groups.doubt(group));
        }
        Ok(())
    }

    pub(super) fn check_doubted(&mut self, connection: &Arc<Connection>) {
        for (server_id, key, start) in self.doubted.drain(..) {
            let (own, connection) = (self.own.clone(), connection.clone());
            tokio::spawn(async move {
                // Without an answer it stays in doubt, and is asked again on the next stream.
                let kept = probes::keeps_before(&connection, &key, start).await;
                if let (Some(kept), Some(own)) = (kept, own.upgrade()) {
                    let _ = own.send(match kept {
                        true => Command::Kept(server_id),
                        false => Command::Compacted(server_id),
                    });
                }
            });
        }
    }
}

fn no_answer(_: Elapsed) -> Failure {
    Failure::Unknown("no answer to a read in time".into())
}
