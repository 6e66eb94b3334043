//! How a feed goes on that was full, or whose changes cannot be had.

use super::{Feed, Link, PAUSE, REPLACED};
use crate::error::Error;
use crate::kv;
use crate::log::{log, Level};
use crate::request::Range;
use crate::store::Store;
use crate::sync::{Lock, Mutex};
use std::sync::Arc;

/// What is to be done next.
pub(super) enum Step {
    Begin { start: i64, era: u64 },
    List(&'static str),
}

impl Feed {
    /// Takes one step to begin the backend's watch again, after [`Next::Broken`]. It
    /// does not wait: what it begins is heard of as of anything that arrives.
    pub fn mend(self: &Arc<Self>, store: &Arc<Store>) {
        match self.step(|| store.era()) {
            Some(Step::Begin { start, era }) => self.begin(store, start, era),
            Some(Step::List(why)) => self.list(store, why),
            None => {}
        }
    }

    pub(super) fn step(&self, era: impl FnOnce() -> u64) -> Option<Step> {
        let mut inner = self.inner.hold();
        match inner.link.clone() {
            Link::Full => {}
            Link::Listed(why, found) => {
                let found = found.hold().take()?;
                inner.next = found.revision + 1;
                inner.queue.difference(found, why, why == REPLACED);
            }
            Link::Missing(why) => {
                inner.link = Link::Listing;
                if why == REPLACED {
                    inner.era = era();
                }
                return Some(Step::List(why));
            }
            _ => return None,
        }
        inner.link = Link::Starting;
        Some(Step::Begin { start: inner.next, era: inner.era })
    }

    /// Reads the range, for the consumer to take the difference to what it had.
    fn list(self: &Arc<Self>, store: &Arc<Store>, why: &'static str) {
        log(Level::Warn, || format!("watch: {why}; listing the keys"));
        let (weak, store_too) = (Arc::downgrade(self), Arc::downgrade(store));
        kv::list(store, Range::new(self.keys.clone()), move |found| {
            let (Some(feed), Some(store)) = (weak.upgrade(), store_too.upgrade()) else { return };
            match found {
                Ok(found) => {
                    let found = Arc::new(Mutex::new(Some(found)));
                    feed.relink(Link::Listed(why, found));
                }
                // Passing ones; the watches that did not break outlive them too.
                Err(
                    Error::Unavailable(_) | Error::Auth(_) | Error::Tls(_) | Error::NoMemory(_),
                ) => {
                    store.timer().after(PAUSE, move || {
                        if let Some(feed) = weak.upgrade() {
                            feed.relink(Link::Missing(why));
                        }
                    });
                }
                Err(error) => feed.relink(Link::Ended(error)),
            }
        });
    }

    fn relink(&self, link: Link) {
        {
            let mut inner = self.inner.hold();
            if !matches!(inner.link, Link::Listing) {
                return;
            }
            inner.link = link;
        }
        self.tell();
    }
}
