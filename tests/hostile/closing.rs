//! The store is closed while a write is on its way, on a connection that another call
//! gave up.

use crate::client::{errmsg, Answers, EINDETERMINATE, OK};
use crate::server::Reply;
use crate::world::{PUT, RANGE, TXN};
use crate::{until, Scene, KEY};
use h2::Reason;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Writes take so long unless closing ends them.
const LONG: Duration = Duration::from_secs(4);

/// A server that does not answer writes, and ends one read.
fn begin() -> Scene {
    let scene = Scene::with_timeout(LONG);
    scene.server.reply(PUT, |_| Reply::Nothing);
    scene.server.reply(TXN, |_| Reply::Nothing);
    let was_reset = AtomicBool::new(false);
    scene.server.reply(RANGE, move |good| match was_reset.swap(true, Ordering::SeqCst) {
        false => Reply::Reset(Reason::INTERNAL_ERROR),
        true => Reply::Message(good),
    });
    scene
}

/// The connection of the write is given up, and the store closed.
fn give_up_and_close(scene: &Scene, asked_before: usize) -> i32 {
    until("the write is asked for", || scene.server.streams() > asked_before);
    let connections = scene.server.connections();
    assert!(scene.kv.get(KEY).is_ok(), "{}", errmsg());
    assert!(scene.server.connections() > connections, "the read went over another connection");
    scene.kv.close()
}

#[test]
fn a_store_on_a_connection_that_was_given_up_ends_with_the_close() {
    let scene = begin();
    let asked = scene.server.streams();
    std::thread::scope(|scope| {
        let kv = &scene.kv;
        let store = scope.spawn(|| (kv.store(KEY, "late"), Instant::now()));
        let closing = Instant::now();
        assert_eq!(give_up_and_close(&scene, asked), OK);
        let (status, ended) = store.join().expect("its status");
        assert_eq!(status, EINDETERMINATE);
        assert!(ended < closing + LONG / 2, "{:?} later", ended - closing);
    });
}

#[test]
fn a_put_on_a_connection_that_was_given_up_is_told_of_the_close_once() {
    static TOLD: Answers = Answers::new();
    let scene = begin();
    let asked = scene.server.streams();
    scene.kv.put_then(KEY, "late", &TOLD);
    assert_eq!(give_up_and_close(&scene, asked), OK);
    assert_eq!(TOLD.count.load(Ordering::SeqCst), 1);
    assert_eq!(TOLD.status.load(Ordering::SeqCst), EINDETERMINATE);
}
