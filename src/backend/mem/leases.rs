//! Leases: their ends and their keys.

use crate::error::{Error, Result};
use crate::request::Response;
use crate::timer::Timer;
use bytes::Bytes;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

#[derive(Default)]
pub struct Leases(HashMap<i64, Lease>);

struct Lease {
    ttl: Duration,
    ends: Instant,
    keys: BTreeSet<Bytes>,
    /// Which timer is to end it.
    timer: Weak<Timer>,
}

impl Leases {
    /// Makes the lease, or finds it made by the same request before.
    pub fn grant(&mut self, id: i64, ttl: Duration) {
        let ends = Instant::now() + ttl;
        let (keys, timer) = (BTreeSet::new(), Weak::new());
        self.0.entry(id).or_insert(Lease { ttl, ends, keys, timer });
    }

    pub fn renew(&mut self, id: i64) -> Result<Response> {
        let lease = self.0.get_mut(&id).ok_or_else(not_found)?;
        lease.ends = Instant::now() + lease.ttl;
        Ok(Response::Lease)
    }

    pub fn check(&self, id: i64) -> Result<Response> {
        self.0.get(&id).map(|_| Response::Lease).ok_or_else(not_found)
    }

    pub fn ends(&self, id: i64) -> Option<Instant> {
        self.0.get(&id).map(|lease| lease.ends)
    }

    /// Leases that this timer does not end yet; from now on it is to.
    pub fn adopt(&mut self, timer: &Arc<Timer>) -> Vec<(i64, Instant)> {
        let timer = Arc::downgrade(timer);
        let foreign = self.0.iter_mut().filter(|(_, lease)| !lease.timer.ptr_eq(&timer));
        foreign
            .map(|(id, lease)| {
                lease.timer = timer.clone();
                (*id, lease.ends)
            })
            .collect()
    }

    pub fn attach(&mut self, id: i64, key: &Bytes) {
        if let Some(lease) = self.0.get_mut(&id) {
            lease.keys.insert(key.clone());
        }
    }

    pub fn detach(&mut self, id: i64, key: &Bytes) {
        if let Some(lease) = self.0.get_mut(&id) {
            lease.keys.remove(key);
        }
    }

    /// Ends a lease; its keys are for the caller to delete.
    pub fn end(&mut self, id: i64) -> BTreeSet<Bytes> {
        self.0.remove(&id).map(|lease| lease.keys).unwrap_or_default()
    }
}

fn not_found() -> Error {
    Error::Lost("requested lease not found".into())
}
