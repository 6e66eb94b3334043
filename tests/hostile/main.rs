//! A hostile server: whatever it sends, a call ends in its time by a status that is
//! true, nothing grows or spins, and all is well again once the server is.
#![allow(unsafe_code, clippy::unwrap_used, clippy::expect_used)]

mod answers;
mod client;
mod closing;
mod cluster;
mod connections;
mod frames;
mod leases;
mod members;
mod server;
mod watches;
mod world;

use client::{errmsg, Kv, Lateness, Use, EINDETERMINATE, EUNAVAIL, OK, PATIENCE, TIMEOUT};
use server::Server;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const KEY: &str = "k";

/// Far more than anything here takes, and less than what is not bounded.
const MEMORY: usize = 96 << 20;

/// A server, and a client that has used it. One at a time: what it costs is measured.
struct Scene {
    kv: Kv,
    server: Server,
    _alone: MutexGuard<'static, ()>,
}

/// A call by its name, and its status.
type Call<'a> = (&'a str, &'a dyn Fn(&Kv) -> i32);

/// A range takes as long again as this one.
const GET: Call<'_> = ("get", &|kv| kv.get(KEY).map_or_else(|status| status, |_| OK));

fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for it.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(5);
    while !is_so() {
        assert!(Instant::now() < end, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Scene {
    fn begin() -> Self {
        Self::with_timeout(TIMEOUT)
    }

    fn with_timeout(timeout: Duration) -> Self {
        let alone = alone();
        let server = Server::start();
        let kv = Kv::open(&server.endpoint, timeout);
        let scene = Self { kv, server, _alone: alone };
        scene.works();
        scene
    }

    fn works(&self) {
        let end = Instant::now() + Duration::from_secs(5);
        while self.kv.store(KEY, "good") != OK || self.kv.get(KEY) != Ok("good".into()) {
            assert!(Instant::now() < end, "it does not recover: {}", errmsg());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A call that is late on a busy machine says nothing.
    fn stores(&self, key: &str) {
        until("it is stored", || self.kv.store(key, "value") == OK);
    }

    /// Each of these calls answers one of the statuses, in time.
    fn fails(&self, statuses: &[i32], calls: &[Call<'_>]) {
        for (name, call) in calls {
            let seen = || self.server.asked() + self.server.streams();
            let (lateness, before) = (Lateness::now(), seen());
            let begin = Instant::now();
            let status = call(&self.kv);
            let took = begin.elapsed();
            // A machine that is busy may not even connect.
            let not_asked = status == EUNAVAIL && seen() == before;
            // One more attempt may be under way when the time is over.
            let in_flight = status == EINDETERMINATE && took >= TIMEOUT;
            let true_one =
                statuses.contains(&status) || not_asked || self.server.has_script() && in_flight;
            assert!(true_one, "{name} answers {status}: {}", errmsg());
            let late = lateness.worst();
            assert!(took < TIMEOUT + PATIENCE + late, "{name} took {took:?} ({late:?} late)");
        }
    }

    fn writes_fail(&self, statuses: &[i32]) {
        self.fails(
            statuses,
            &[
                ("store", &|kv| kv.store(KEY, "bad")),
                ("put", &|kv| kv.put(KEY, "bad")),
                ("delete", &|kv| kv.delete(KEY)),
                ("tas", &|kv| kv.tas(KEY, "good", "bad")),
            ],
        );
    }

    /// Fewer, where each takes all of its time.
    fn some_fail(&self, writes: &[i32]) {
        let asked = self.server.asked();
        self.fails(
            writes,
            &[("store", &|kv| kv.store(KEY, "bad")), ("put", &|kv| kv.put(KEY, "bad"))],
        );
        self.fails(&[EUNAVAIL], &[GET]);
        let asked = self.server.asked() - asked;
        assert!(asked < 50, "it asked {asked} times");
    }

    fn reads_fail(&self, statuses: &[i32]) {
        self.fails(
            statuses,
            &[GET, ("get_range", &|kv| kv.count("", "~").map_or_else(|status| status, |_| OK))],
        );
    }

    /// Calls fail so while the server misbehaves like that; then they work again.
    fn all_fail(misbehave: impl Fn(&Server), writes: &[i32]) {
        let scene = Self::begin();
        misbehave(&scene.server);
        let used = Use::now();
        scene.leave_connection();
        scene.some_fail(writes);
        used.check_idle();
        used.check_memory(MEMORY);
        scene.recovers();
    }

    /// The one that there was is cut, which a write may not know yet.
    fn leave_connection(&self) {
        let _ = self.kv.get(KEY);
    }

    fn recovers(&self) {
        self.server.behave();
        self.works();
        let used = Use::now();
        std::thread::sleep(Duration::from_millis(100));
        used.check_idle();
    }
}
