//! How a feed goes on that was full, or whose changes cannot be had.

use super::{Feed, Link, PAUSE, REPLACED};
use crate::dispatch::Pool;
use crate::error::Error;
use crate::kv;
use crate::log::{log, Level};
use crate::request::Range;
use crate::store::Store;
use crate::sync::Lock;
use std::sync::{Arc, Mutex};

impl Feed {
    /// Takes one step to begin the backend's watch again, after [`Next::Broken`]. It
    /// does not wait: what it begins is heard of as of anything that arrives.
    pub fn mend(self: &Arc<Self>, store: &Arc<Store>) {
        let mut inner = self.inner.hold();
        let start = match inner.link.clone() {
            Link::Full => inner.next,
            Link::Listed(why, found) => {
                let Some(found) = found.hold().take() else { return };
                inner.next = found.revision + 1;
                inner.queue.difference(found, why, why == REPLACED);
                inner.next
            }
            Link::Missing(why) => {
                inner.link = Link::Listing;
                if why == REPLACED {
                    inner.era = store.era();
                }
                drop(inner);
                return self.list(store, why);
            }
            _ => return,
        };
        inner.link = Link::Starting;
        let era = inner.era;
        drop(inner);
        self.begin(store, start, era);
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
                    feed.relink(store.pool(), Link::Listed(why, found));
                }
                Err(Error::Unavailable(_)) => {
                    let pool = Arc::downgrade(store.pool());
                    store.timer().after(PAUSE, move || {
                        if let (Some(feed), Some(pool)) = (weak.upgrade(), pool.upgrade()) {
                            feed.relink(&pool, Link::Missing(why));
                        }
                    });
                }
                Err(error) => feed.relink(store.pool(), Link::Ended(error)),
            }
        });
    }

    fn relink(&self, pool: &Arc<Pool>, link: Link) {
        {
            let mut inner = self.inner.hold();
            if !matches!(inner.link, Link::Listing) {
                return;
            }
            inner.link = link;
        }
        self.tell(pool);
    }
}
