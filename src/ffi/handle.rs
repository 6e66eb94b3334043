//! Handles: numbers that look like pointers and are never followed.
//!
//! ```text
//! 63..60 kind   59..50 forks   49..24 generation   23..0 index
//! ```
//!
//! The kind is never 0, so that no handle is an address that a process can have.

use super::types::{hmkv, hmkv_watcher};
use crate::error::{Error, Result};
use crate::store::Store;
use crate::sync::SharedLock;
use crate::sys::{self, ForkLocal};
use crate::watch::Watcher;
use std::sync::{Arc, RwLock};

const STORE: u64 = 1;
const WATCHER: u64 = 2;

const FORKS_MASK: u64 = (1 << 10) - 1;
const GENERATION_MASK: u64 = (1 << 26) - 1;
const INDEX_MASK: u64 = (1 << 24) - 1;

const _: () = assert!(usize::BITS == 64, "handles need 64-bit pointers");

#[derive(Default)]
struct Table(RwLock<Slots>);

#[derive(Default)]
struct Slots {
    all: Vec<Slot>,
    free: Vec<usize>,
}

struct Slot {
    generation: u64,
    object: Option<Object>,
}

#[derive(Clone)]
enum Object {
    Store(Arc<Store>),
    Watcher(Arc<Watcher>),
}

impl Object {
    fn kind(&self) -> u64 {
        match self {
            Self::Store(_) => STORE,
            Self::Watcher(_) => WATCHER,
        }
    }
}

/// Where a handle of this kind must be.
fn decode(bits: u64, kind: u64) -> Result<(usize, u64)> {
    if bits >> 60 != kind {
        return Err(Error::Handle);
    }
    let now = u64::from(sys::forks()) & FORKS_MASK;
    let then = bits >> 50 & FORKS_MASK;
    if then != now {
        return Err(if then < now { Error::Forked } else { Error::Handle });
    }
    Ok(((bits & INDEX_MASK) as usize, bits >> 24 & GENERATION_MASK))
}

impl Slots {
    fn find(&self, bits: u64, kind: u64) -> Result<(usize, &Object)> {
        let (index, generation) = decode(bits, kind)?;
        let slot = self.all.get(index).filter(|slot| slot.generation == generation);
        let object = slot.and_then(|slot| slot.object.as_ref());
        let object = object.filter(|object| object.kind() == kind).ok_or(Error::Handle)?;
        Ok((index, object))
    }

    fn insert(&mut self, object: Object) -> Result<u64> {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                if self.all.len() as u64 > INDEX_MASK {
                    return Err(Error::NoMemory("too many handles".into()));
                }
                self.all.push(Slot { generation: 1, object: None });
                self.all.len() - 1
            }
        };
        let slot = &mut self.all[index];
        let forks = u64::from(sys::forks()) & FORKS_MASK;
        let bits = object.kind() << 60 | forks << 50 | slot.generation << 24 | index as u64;
        slot.object = Some(object);
        Ok(bits)
    }

    fn watchers<'a>(&'a self, store: &'a Store) -> impl Iterator<Item = (usize, &'a Arc<Watcher>)> {
        self.all.iter().enumerate().filter_map(|(index, slot)| match &slot.object {
            Some(Object::Watcher(watcher)) if watcher.store_id() == store.id() => {
                Some((index, watcher))
            }
            _ => None,
        })
    }

    fn remove(&mut self, index: usize) -> Option<Object> {
        let slot = &mut self.all[index];
        let object = slot.object.take()?;
        slot.generation += 1;
        // A slot whose generations are used up is never used again.
        if slot.generation <= GENERATION_MASK {
            self.free.push(index);
        }
        Some(object)
    }
}

impl Table {
    fn get(&self, bits: u64, kind: u64) -> Result<Object> {
        self.0.reading().find(bits, kind).map(|(_, object)| object.clone())
    }

    fn remove(&self, bits: u64, kind: u64) -> Option<Object> {
        let mut slots = self.0.writing();
        let (index, _) = slots.find(bits, kind).ok()?;
        slots.remove(index)
    }
}

static TABLE: ForkLocal<Table> = ForkLocal::new();

fn table() -> &'static Table {
    TABLE.get()
}

pub fn insert_store(store: Arc<Store>) -> Result<*mut hmkv> {
    Ok(table().0.writing().insert(Object::Store(store))? as *mut hmkv)
}

pub fn store(kv: *mut hmkv) -> Result<Arc<Store>> {
    match table().get(kv as u64, STORE)? {
        Object::Store(store) => Ok(store),
        Object::Watcher(_) => Err(Error::Handle),
    }
}

/// A handle for a watcher of the store `kv`, unless that is closed by now.
pub fn insert_watcher(kv: *mut hmkv, watcher: &Arc<Watcher>) -> Result<*mut hmkv_watcher> {
    let mut slots = table().0.writing();
    slots.find(kv as u64, STORE).map_err(|_| Error::Closed)?;
    Ok(slots.insert(Object::Watcher(watcher.clone()))? as *mut hmkv_watcher)
}

/// Retires a store's handle and tells its watchers, whose handles are retired by
/// [`retire_watchers`] when their callbacks have ended.
pub fn retire(kv: *mut hmkv) -> Result<(Arc<Store>, Vec<Arc<Watcher>>)> {
    let mut slots = table().0.writing();
    let (index, _) = slots.find(kv as u64, STORE)?;
    let Some(Object::Store(store)) = slots.remove(index) else {
        return Err(Error::Handle);
    };
    let watchers = slots.watchers(&store).map(|(_, watcher)| watcher.clone()).collect();
    Ok((store, watchers))
}

pub fn retire_watchers(store: &Store) {
    let mut slots = table().0.writing();
    let indexes: Vec<usize> = slots.watchers(store).map(|(index, _)| index).collect();
    let retired: Vec<_> = indexes.into_iter().map(|index| slots.remove(index)).collect();
    drop(slots);
    drop(retired);
}

/// Ends a watch and waits for its callback; only the first of several succeeds.
pub fn cancel_watcher(handle: *mut hmkv_watcher) -> Result<()> {
    let bits = handle as u64;
    let Object::Watcher(watcher) = table().get(bits, WATCHER)? else {
        return Err(Error::Handle);
    };
    match watcher.cancel(move || drop(table().remove(bits, WATCHER)))? {
        true => Ok(()),
        false => Err(Error::Handle),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forged_handles_are_refused() {
        let table = Table::default();
        for bits in
            [0, 1, 8, u64::MAX, STORE << 60, WATCHER << 60, 0xdead_beef, STORE << 60 | 1 << 24]
        {
            for kind in [STORE, WATCHER] {
                assert_eq!(table.get(bits, kind).err(), Some(Error::Handle), "{bits:x}");
            }
        }
    }

    #[test]
    fn a_handle_of_before_a_fork_says_so() {
        assert_eq!(decode(STORE << 60 | 5 << 50, STORE), Err(Error::Handle));
        assert_eq!(
            decode(STORE << 60 | u64::from(sys::forks()) << 50, WATCHER),
            Err(Error::Handle)
        );
    }
}
