//! Who holds a lock, as it changes: the leader of an election.

use super::contenders;
use crate::error::{Error, Result};
use crate::feed::{From, Item, Wish};
use crate::store::Store;
use crate::types::{Event, EventKind, KeyValue};
use crate::watch::{self, Consumer, Kinds, Taken, To, Watcher};
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub fn observe(
    store: &Arc<Store>,
    name: &[u8],
    consumer: Box<dyn Consumer>,
) -> Result<Arc<Watcher>> {
    let wish = Wish { from: From::Snapshot, states: true, ..Wish::changes(contenders(name)) };
    watch::open(store, &wish, Kinds::ALL, To::Push(Box::new(Observer::new(consumer))))
}

struct Observer {
    consumer: Box<dyn Consumer>,
    /// By create revision: the first one leads.
    contenders: BTreeMap<i64, KeyValue>,
    by_key: HashMap<Bytes, i64>,
    /// The leader that was told last.
    told: Option<KeyValue>,
}

impl Observer {
    fn new(consumer: Box<dyn Consumer>) -> Self {
        let (contenders, by_key) = (BTreeMap::new(), HashMap::new());
        Self { consumer, contenders, by_key, told: None }
    }

    fn enter(&mut self, event: &Event) {
        let kv = &event.kv;
        if let Some(created) = self.by_key.remove(&kv.key) {
            self.contenders.remove(&created);
        }
        if event.kind == EventKind::Put {
            self.by_key.insert(kv.key.clone(), kv.create_revision);
            self.contenders.insert(kv.create_revision, kv.clone());
        }
    }

    /// Tells who leads, if that is news.
    fn tell(&mut self, revision: i64) -> Taken {
        let leader = self.contenders.values().next().cloned();
        if leader == self.told {
            return Taken::LeftOut;
        }
        let event = match (&leader, self.told.take()) {
            (Some(leader), _) => Event::put(leader.clone(), None),
            (None, Some(former)) => Event::delete(former.key, revision, None),
            (None, None) => return Taken::LeftOut,
        };
        self.told = leader;
        self.consumer.item(&Item::Change { event, last: true, revision })
    }
}

impl Consumer for Observer {
    fn change(&mut self, event: &Event) -> bool {
        self.enter(event);
        true
    }

    fn item(&mut self, item: &Item) -> Taken {
        match item {
            Item::Change { event, last, revision } => {
                self.enter(event);
                match last {
                    true => self.tell(*revision),
                    false => Taken::LeftOut,
                }
            }
            Item::Synced(revision) | Item::Resync { revision, .. } => self.tell(*revision),
            Item::Cut(_) | Item::Back => self.consumer.item(item),
        }
    }

    fn ended(&mut self, why: &Error) {
        self.consumer.ended(why);
    }
}
