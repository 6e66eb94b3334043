//! Lies about leases: nobody relies on a lease that is not there.

use crate::client::{Use, EINDETERMINATE, EUNAVAIL, OK, PATIENCE, TIMEOUT};
use crate::world::{GRANT, KEEP_ALIVE};
use crate::{until, Scene, MEMORY};
use etcd_client::proto::{PbLeaseGrantResponse, PbLeaseKeepAliveResponse};
use std::cell::OnceCell;
use std::time::{Duration, Instant};

fn grants_fail(lie: fn(&mut PbLeaseGrantResponse)) {
    let scene = Scene::begin();
    let used = Use::now();
    scene.server.lie(GRANT, lie);
    let begin = Instant::now();
    let status = scene.kv.grant(2000).map_or_else(|status| status, |_| OK);
    assert!([EUNAVAIL, EINDETERMINATE].contains(&status), "{status}");
    assert!(begin.elapsed() < TIMEOUT + PATIENCE, "{:?}", begin.elapsed());
    assert_ne!(scene.kv.lock(), OK, "no lock without a lease");
    used.check_idle();
    used.check_memory(MEMORY);
    scene.server.behave();
    // A call that is late on a busy machine says nothing.
    until("a lease", || scene.kv.grant(2000).is_ok_and(|lease| lease.left_ms() > 0));
    until("the lock", || scene.kv.lock() == OK);
    until("its end", || scene.kv.unlock() == OK);
    scene.recovers();
}

#[test]
fn a_grant_of_another_lease_is_none() {
    grants_fail(|answer| answer.id += 1);
}

#[test]
fn a_grant_of_no_time_is_none() {
    grants_fail(|answer| answer.ttl = -5);
    grants_fail(|answer| answer.ttl = 0);
}

#[test]
fn a_grant_with_an_error_inside_is_none() {
    grants_fail(|answer| answer.error = "no".into());
}

/// The lease is lost in its time, and not held for alive.
fn renewals_fail(lie: fn(&mut PbLeaseKeepAliveResponse)) {
    let scene = Scene::begin();
    let used = Use::now();
    let granted = OnceCell::new();
    until("a lease", || scene.kv.grant(2000).is_ok_and(|lease| granted.set(lease).is_ok()));
    let lease = granted.into_inner().expect("a lease");
    scene.server.lie(KEEP_ALIVE, lie);
    let end = Instant::now() + Duration::from_millis(2000) + PATIENCE;
    while lease.left_ms() > 0 {
        assert!(Instant::now() < end, "it is still held for alive");
        std::thread::sleep(Duration::from_millis(20));
    }
    used.check_idle();
    used.check_memory(MEMORY);
    drop(lease);
    scene.server.behave();
    until("a lease", || scene.kv.grant(2000).is_ok());
    scene.recovers();
}

#[test]
fn a_renewal_of_another_lease_is_none() {
    renewals_fail(|answer| answer.id += 1);
}

#[test]
fn a_renewal_by_a_negative_time_is_none() {
    renewals_fail(|answer| answer.ttl = -5);
}
