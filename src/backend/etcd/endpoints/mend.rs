//! Lost connections are made anew, also while nobody asks for anything.

use super::Endpoints;
use crate::backend::etcd::tasks::{jitter, lasting};
use crate::sync::Lock;
use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::Weak;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Between two tries to make a lost connection anew, growing.
const MEND_PAUSE: Duration = Duration::from_millis(25);
const MEND_PAUSE_MOST: Duration = Duration::from_secs(1);
/// A connection that ends so soon is made anew after a pause.
const SHORT_LIVED: Duration = Duration::from_secs(1);

/// A connection that had worked: when it has ended, sees that there is one again, so that
/// a cut is noticed, and its end, also while nobody asks for anything.
pub async fn mend(endpoints: Weak<Endpoints>, gone: impl Future<Output = ()>) {
    let born = Instant::now();
    gone.await;
    let upgraded = || endpoints.upgrade().filter(|endpoints| !endpoints.is_closed());
    if upgraded().is_none_or(|endpoints| endpoints.mending.swap(true, Ordering::SeqCst)) {
        return;
    }
    if born.elapsed() < SHORT_LIVED {
        // A server that accepts connections and ends them is not to be pressed.
        sleep(jitter(MEND_PAUSE_MOST)).await;
    }
    lasting(|| make_anew(&endpoints)).await;
}

async fn make_anew(endpoints: &Weak<Endpoints>) {
    let upgraded = || endpoints.upgrade().filter(|endpoints| !endpoints.is_closed());
    let mut pause = MEND_PAUSE;
    while let Some(endpoints) = upgraded() {
        if let Some(member) = endpoints.pick().filter(|member| member.held().is_some()) {
            endpoints.note_used(&mut endpoints.choice.hold(), &member);
            endpoints.mending.store(false, Ordering::SeqCst);
            return;
        }
        let at_once = match endpoints.reach().await {
            // It may have ended again.
            Ok(connected) => {
                endpoints.succeeded(&connected);
                false
            }
            Err(_) => endpoints.has_healthy(),
        };
        drop(endpoints);
        if !at_once {
            sleep(jitter(pause)).await;
            pause = (pause * 2).min(MEND_PAUSE_MOST);
        }
    }
}
