//! Whether a new stream is of the same store.

use super::{Task, SET_UP};
use crate::backend::etcd::endpoints::Connected;
use crate::backend::etcd::outcome::Failure;
use crate::backend::etcd::probes;
use crate::backend::Notice;
use std::sync::atomic::Ordering;
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
        Ok(())
    }
}

fn no_answer(_: Elapsed) -> Failure {
    Failure::Unknown("no answer to a read in time".into())
}
