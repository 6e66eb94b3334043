//! Handles: numbers that look like pointers and are never followed.
//!
//! ```text
//! 63..60 kind   59..50 forks   49..24 generation   23..0 index
//! ```
//!
//! The kind is never 0, so that no handle is an address that a process can have.

use super::types::{hmkv, hmkv_lease, hmkv_lock, hmkv_mirror, hmkv_watcher};
use crate::error::{Error, Result};
use crate::lease::OwnedLease;
use crate::lock::NamedLock;
use crate::mirror::Mirror;
use crate::store::{Child, Store};
use crate::sync::{RwLock, SharedLock};
use crate::sys::{self, ForkLocal};
use crate::watch::Watcher;
use std::sync::Arc;

const STORE: u64 = 1;
const WATCHER: u64 = 2;
const LEASE: u64 = 3;
const LOCK: u64 = 4;
const MIRROR: u64 = 5;

const FORKS_MASK: u64 = (1 << 10) - 1;
const GENERATION_MASK: u64 = (1 << 26) - 1;
const INDEX_MASK: u64 = (1 << 24) - 1;

const _: () = assert!(usize::BITS == 64, "handles need 64-bit pointers");

struct Table<O>(RwLock<Slots<O>>);

struct Slots<O> {
    all: Vec<Slot<O>>,
    free: Vec<usize>,
}

struct Slot<O> {
    generation: u64,
    object: Option<O>,
}

/// What has a handle of a kind.
trait HasKind: Clone {
    fn kind(&self) -> u64;
}

#[derive(Clone)]
enum Object {
    Store(Arc<Store>),
    Watcher(Arc<Watcher>),
    Lease(Arc<OwnedLease>),
    Lock(Arc<NamedLock>),
    Mirror(Arc<Mirror>),
}

impl HasKind for Object {
    fn kind(&self) -> u64 {
        match self {
            Self::Store(_) => STORE,
            Self::Watcher(_) => WATCHER,
            Self::Lease(_) => LEASE,
            Self::Lock(_) => LOCK,
            Self::Mirror(_) => MIRROR,
        }
    }
}

impl Object {
    fn child(&self) -> Option<Arc<dyn Child>> {
        match self {
            Self::Store(_) => None,
            Self::Watcher(watcher) => Some(watcher.clone()),
            Self::Lease(lease) => Some(lease.clone()),
            Self::Lock(lock) => Some(lock.clone()),
            Self::Mirror(mirror) => Some(mirror.clone()),
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

impl<O: HasKind> Slots<O> {
    fn find(&self, bits: u64, kind: u64) -> Result<(usize, &O)> {
        let (index, generation) = decode(bits, kind)?;
        let slot = self.all.get(index).filter(|slot| slot.generation == generation);
        let object = slot.and_then(|slot| slot.object.as_ref());
        let object = object.filter(|object| object.kind() == kind).ok_or(Error::Handle)?;
        Ok((index, object))
    }

    fn insert(&mut self, object: O) -> Result<u64> {
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

    fn remove(&mut self, index: usize) -> Option<O> {
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

impl Slots<Object> {
    fn children(&self, store: u64) -> impl Iterator<Item = (usize, Arc<dyn Child>)> + '_ {
        let children = self.all.iter().enumerate().filter_map(|(index, slot)| {
            slot.object.as_ref().and_then(Object::child).map(|child| (index, child))
        });
        children.filter(move |(_, child)| child.store_id() == store)
    }
}

impl<O> Default for Table<O> {
    fn default() -> Self {
        Self(RwLock::new(Slots { all: Vec::new(), free: Vec::new() }))
    }
}

impl<O: HasKind> Table<O> {
    fn get(&self, bits: u64, kind: u64) -> Result<O> {
        self.0.reading().find(bits, kind).map(|(_, object)| object.clone())
    }

    fn retire(&self, bits: u64, kind: u64) -> Result<O> {
        let mut slots = self.0.writing();
        let (index, _) = slots.find(bits, kind)?;
        slots.remove(index).ok_or(Error::Handle)
    }
}

static TABLE: ForkLocal<Table<Object>> = ForkLocal::new();

fn table() -> &'static Table<Object> {
    TABLE.get()
}

pub fn insert_store(store: Arc<Store>) -> Result<*mut hmkv> {
    Ok(table().0.writing().insert(Object::Store(store))? as *mut hmkv)
}

pub fn store(kv: *mut hmkv) -> Result<Arc<Store>> {
    match table().get(kv as u64, STORE)? {
        Object::Store(store) => Ok(store),
        _ => Err(Error::Handle),
    }
}

/// A handle for a child of the store `kv`, unless that is closed by now.
fn insert_child(kv: *mut hmkv, object: Object) -> Result<u64> {
    let mut slots = table().0.writing();
    slots.find(kv as u64, STORE).map_err(|_| Error::Closed)?;
    slots.insert(object)
}

pub fn insert_watcher(kv: *mut hmkv, watcher: &Arc<Watcher>) -> Result<*mut hmkv_watcher> {
    Ok(insert_child(kv, Object::Watcher(watcher.clone()))? as *mut hmkv_watcher)
}

pub fn watcher(watcher: *mut hmkv_watcher) -> Result<Arc<Watcher>> {
    match table().get(watcher as u64, WATCHER)? {
        Object::Watcher(watcher) => Ok(watcher),
        _ => Err(Error::Handle),
    }
}

pub fn insert_lease(kv: *mut hmkv, lease: &Arc<OwnedLease>) -> Result<*mut hmkv_lease> {
    Ok(insert_child(kv, Object::Lease(lease.clone()))? as *mut hmkv_lease)
}

pub fn lease(lease: *mut hmkv_lease) -> Result<Arc<OwnedLease>> {
    match table().get(lease as u64, LEASE)? {
        Object::Lease(lease) => Ok(lease),
        _ => Err(Error::Handle),
    }
}

pub fn retire_lease(lease: *mut hmkv_lease) -> Result<Arc<OwnedLease>> {
    match table().retire(lease as u64, LEASE)? {
        Object::Lease(lease) => Ok(lease),
        _ => Err(Error::Handle),
    }
}

pub fn insert_lock(kv: *mut hmkv, lock: &Arc<NamedLock>) -> Result<*mut hmkv_lock> {
    Ok(insert_child(kv, Object::Lock(lock.clone()))? as *mut hmkv_lock)
}

pub fn lock(lock: *mut hmkv_lock) -> Result<Arc<NamedLock>> {
    match table().get(lock as u64, LOCK)? {
        Object::Lock(lock) => Ok(lock),
        _ => Err(Error::Handle),
    }
}

pub fn retire_lock(lock: *mut hmkv_lock) -> Result<Arc<NamedLock>> {
    match table().retire(lock as u64, LOCK)? {
        Object::Lock(lock) => Ok(lock),
        _ => Err(Error::Handle),
    }
}

/// Retires a lock that was not acquired.
pub fn drop_lock(lock: *mut hmkv_lock) {
    drop(table().retire(lock as u64, LOCK));
}

pub fn insert_mirror(kv: *mut hmkv, mirror: &Arc<Mirror>) -> Result<*mut hmkv_mirror> {
    Ok(insert_child(kv, Object::Mirror(mirror.clone()))? as *mut hmkv_mirror)
}

pub fn mirror(mirror: *mut hmkv_mirror) -> Result<Arc<Mirror>> {
    match table().get(mirror as u64, MIRROR)? {
        Object::Mirror(mirror) => Ok(mirror),
        _ => Err(Error::Handle),
    }
}

pub fn retire_mirror(mirror: *mut hmkv_mirror) -> Result<Arc<Mirror>> {
    match table().retire(mirror as u64, MIRROR)? {
        Object::Mirror(mirror) => Ok(mirror),
        _ => Err(Error::Handle),
    }
}

pub type Children = Vec<Arc<dyn Child>>;

/// Retires a store's handle and tells its children, whose handles are retired by
/// [`retire_children`] when their callbacks have ended.
pub fn retire(kv: *mut hmkv) -> Result<(Arc<Store>, Children)> {
    let mut slots = table().0.writing();
    let (index, _) = slots.find(kv as u64, STORE)?;
    let Some(Object::Store(store)) = slots.remove(index) else {
        return Err(Error::Handle);
    };
    let children = slots.children(store.id()).map(|(_, child)| child).collect();
    Ok((store, children))
}

pub fn retire_children(store: &Store) {
    let mut slots = table().0.writing();
    let indexes: Vec<usize> = slots.children(store.id()).map(|(index, _)| index).collect();
    let retired: Vec<_> = indexes.into_iter().map(|index| slots.remove(index)).collect();
    drop(slots);
    drop(retired);
}

/// Ends a watch and waits for its callback; only the first of several succeeds.
pub fn cancel_watcher(handle: *mut hmkv_watcher) -> Result<()> {
    let bits = handle as u64;
    match watcher(handle)?.cancel(move || drop(table().retire(bits, WATCHER)))? {
        true => Ok(()),
        false => Err(Error::Handle),
    }
}

#[cfg(all(test, not(model)))]
mod tests {
    use super::*;

    #[test]
    fn forged_handles_are_refused() {
        let table = Table::<Object>::default();
        for bits in
            [0, 1, 8, u64::MAX, STORE << 60, WATCHER << 60, 0xdead_beef, STORE << 60 | 1 << 24]
        {
            for kind in [STORE, WATCHER, LEASE, LOCK, MIRROR] {
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

#[cfg(all(test, model))]
mod model {
    use super::*;
    use loom::thread;

    /// An object that knows whether it was given back.
    #[derive(Clone)]
    struct Thing(u64, u64);

    impl HasKind for Thing {
        fn kind(&self) -> u64 {
            self.0
        }
    }

    fn table() -> Arc<Table<Thing>> {
        Arc::new(Table::default())
    }

    #[test]
    fn model_of_many_that_retire_a_handle_one_has_it() {
        loom::model(|| {
            let table = table();
            let bits = table.0.writing().insert(Thing(STORE, 1)).expect("a handle");
            let threads = [(), ()].map(|()| {
                let table = table.clone();
                thread::spawn(move || table.retire(bits, STORE).is_ok())
            });
            let own = table.retire(bits, STORE).is_ok();
            let others = threads.map(|thread| thread.join().expect("it ends"));
            let retired = [own, others[0], others[1]];
            assert_eq!(retired.iter().filter(|retired| **retired).count(), 1);
            assert!(table.get(bits, STORE).is_err());
        });
    }

    #[test]
    fn model_a_stale_handle_never_finds_what_has_its_place() {
        loom::model(|| {
            let table = table();
            let first = table.0.writing().insert(Thing(STORE, 1)).expect("a handle");
            let looking = table.clone();
            let looking = thread::spawn(move || {
                for _ in 0..2 {
                    if let Ok(found) = looking.get(first, STORE) {
                        assert_eq!(found.1, 1);
                    }
                }
            });
            let replacing = table.clone();
            let replacing = thread::spawn(move || {
                replacing.retire(first, STORE).expect("the only one that retires it");
                assert!(replacing.get(first, STORE).is_err());
                replacing.0.writing().insert(Thing(STORE, 2)).expect("a handle")
            });
            let third = table.0.writing().insert(Thing(WATCHER, 3)).expect("a handle");
            let second = replacing.join().expect("it ends");
            looking.join().expect("it ends");
            assert_eq!(table.get(second, STORE).map(|it| it.1), Ok(2));
            assert_eq!(table.get(third, WATCHER).map(|it| it.1), Ok(3));
            assert!(table.get(first, STORE).is_err() && table.get(third, STORE).is_err());
        });
    }
}
