//! What comes over a connection is no HTTP/2, or more of it than anyone can want.

use crate::client::{errmsg, Kv, Use, EINDETERMINATE, EUNAVAIL, OK, TIMEOUT};
use crate::frames::*;
use crate::{until, Scene, KEY, MEMORY};
use std::io;
use std::time::Duration;

/// The server may have seen the request.
const SEEN: &[i32] = &[EINDETERMINATE];
/// It has not, for sure.
const NOT_SEEN: &[i32] = &[EUNAVAIL];

type Act = fn(&mut Peer, u32) -> io::Result<()>;

/// Each request on a new connection is answered like that.
fn with_each_request(act: Act, writes: &[i32]) {
    Scene::all_fail(|server| server.perform(move |peer| on_request(peer, act)), writes);
}

fn on_request(peer: &mut Peer, act: Act) -> io::Result<()> {
    peer.greet(&[])?;
    loop {
        let stream = peer.request()?;
        act(peer, stream)?;
    }
}

/// The same of a server that sends as fast as it can, which costs as much as it sends.
fn with_a_flood(act: Act, writes: &[i32]) {
    let scene = Scene::begin();
    let used = Use::now();
    scene.server.perform(move |peer| on_request(peer, act));
    scene.leave_connection();
    scene.some_fail(writes);
    used.check_memory(MEMORY);
    scene.recovers();
}

fn from_the_first_byte(act: fn(&mut Peer) -> io::Result<()>) {
    Scene::all_fail(|server| server.perform(act), NOT_SEEN);
}

#[test]
fn a_port_that_speaks_tls_is_not_asked() {
    const HANDSHAKE_FAILURE: [u8; 7] = [21, 3, 3, 0, 2, 2, 40];
    from_the_first_byte(|peer| {
        peer.write(&HANDSHAKE_FAILURE)?;
        peer.stay()
    });
}

#[test]
fn a_port_that_speaks_http_1_is_not_asked() {
    from_the_first_byte(|peer| {
        peer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")?;
        peer.stay()
    });
}

#[test]
fn a_port_that_says_nothing_is_not_asked() {
    from_the_first_byte(|peer| {
        std::thread::sleep(Duration::from_secs(5));
        peer.stay()
    });
}

#[test]
fn a_port_that_hangs_up_is_not_asked() {
    from_the_first_byte(|_| Ok(()));
}

#[test]
fn a_server_that_takes_no_streams_is_not_asked() {
    from_the_first_byte(|peer| {
        peer.greet(&[(MAX_STREAMS, 0)])?;
        peer.stay()
    });
}

#[test]
fn settings_without_end_hold_nobody() {
    let scene = Scene::begin();
    let used = Use::now();
    scene.server.perform(|peer| {
        peer.greet(&[])?;
        peer.flood(&frame(SETTINGS, 0, 0, &settings_of(&[(MAX_STREAMS, 100)])))
    });
    scene.leave_connection();
    // It looks like any other server until it is asked.
    scene.some_fail(&[EUNAVAIL, EINDETERMINATE]);
    used.check_memory(MEMORY);
    scene.recovers();
}

#[test]
fn settings_of_a_thousand_entries_are_settings() {
    let scene = Scene::begin();
    scene.server.perform(|peer| {
        let unknown: Vec<_> = (0..2000).map(|n| (0x1000 + n, u32::MAX)).collect();
        peer.greet(&unknown)?;
        loop {
            let stream = peer.request()?;
            peer.send(RST_STREAM, 0, stream, &8u32.to_be_bytes())?;
        }
    });
    scene.leave_connection();
    scene.some_fail(SEEN);
    scene.recovers();
}

#[test]
fn pings_without_end_hold_nobody() {
    with_a_flood(|peer, _| peer.flood(&frame(PING, 0, 0, b"12345678")), SEEN);
}

#[test]
fn window_updates_without_end_hold_nobody() {
    with_a_flood(|peer, _| peer.flood(&frame(WINDOW_UPDATE, 0, 0, &0u32.to_be_bytes())), SEEN);
    with_a_flood(|peer, _| peer.flood(&frame(WINDOW_UPDATE, 0, 0, &1u32.to_be_bytes())), SEEN);
}

#[test]
fn a_goodbye_that_has_seen_the_request_leaves_its_outcome_unknown() {
    with_each_request(|peer, stream| peer.send(GOAWAY, 0, 0, &goaway(stream, 2)), SEEN);
}

#[test]
fn a_goodbye_that_has_not_seen_the_request_means_not_applied() {
    with_each_request(
        |peer, _| {
            peer.send(GOAWAY, 0, 0, &goaway(0, 0))?;
            peer.stay()
        },
        NOT_SEEN,
    );
}

#[test]
fn a_goodbye_after_each_answer_hinders_nobody() {
    // None of its calls is to fail.
    let scene = Scene::with_timeout(Duration::from_secs(5));
    scene.server.say_goodbye();
    let used = Use::now();
    for n in 0..50 {
        let value = n.to_string();
        assert_eq!(scene.kv.store(KEY, &value), OK, "{}", errmsg());
        assert_eq!(scene.kv.get(KEY), Ok(value), "{}", errmsg());
    }
    used.check_memory(MEMORY);
    scene.recovers();
}

#[test]
fn a_reset_of_each_request_leaves_its_outcome_unknown() {
    const CANCEL: u32 = 8;
    with_each_request(|peer, it| peer.send(RST_STREAM, 0, it, &CANCEL.to_be_bytes()), SEEN);
}

#[test]
fn a_refusal_of_each_request_means_not_applied() {
    const REFUSED: u32 = 7;
    // What is on its way when the time is over is unknown, though.
    with_each_request(
        |peer, it| peer.send(RST_STREAM, 0, it, &REFUSED.to_be_bytes()),
        &[EUNAVAIL, EINDETERMINATE],
    );
}

#[test]
fn a_server_that_refuses_everything_is_not_asked_again_and_again() {
    const REFUSED: u32 = 7;
    let scene = Scene::begin();
    scene.server.perform(|peer| {
        on_request(peer, |peer, it| peer.send(RST_STREAM, 0, it, &REFUSED.to_be_bytes()))
    });
    // One that knows nothing bad of the server yet.
    let kv = Kv::open(&scene.server.endpoint, TIMEOUT);
    let used = Use::now();
    assert_ne!(kv.store(KEY, "bad"), OK);
    used.check_idle();
    let asked = scene.server.asked();
    assert!(asked < 20, "asked {asked} times");
    drop(kv);
    scene.recovers();
}

#[test]
fn a_window_that_never_opens_holds_nobody() {
    Scene::all_fail(
        |server| {
            server.perform(|peer| {
                peer.greet(&[(INITIAL_WINDOW, 0)])?;
                peer.stay()
            });
        },
        &[EUNAVAIL, EINDETERMINATE],
    );
}

#[test]
fn a_window_beyond_all_bounds_ends_the_connection() {
    with_each_request(
        |peer, it| {
            peer.send(WINDOW_UPDATE, 0, it, &i32::MAX.to_be_bytes())?;
            peer.send(WINDOW_UPDATE, 0, 0, &i32::MAX.to_be_bytes())?;
            peer.stay()
        },
        SEEN,
    );
}

#[test]
fn headers_without_end_are_refused() {
    with_a_flood(
        |peer, it| {
            peer.send(HEADERS, 0, it, &good_head())?;
            peer.flood(&frame(CONTINUATION, 0, it, &field("x", "y").repeat(1000)))
        },
        SEEN,
    );
}

#[test]
fn continuations_of_nothing_without_end_hold_nobody() {
    with_a_flood(
        |peer, it| {
            peer.send(HEADERS, 0, it, &good_head())?;
            peer.flood(&frame(CONTINUATION, 0, it, &[]))
        },
        SEEN,
    );
}

#[test]
fn interim_answers_without_end_hold_nobody() {
    with_a_flood(
        |peer, it| {
            let interim = field(":status", "103");
            peer.flood(&frame(HEADERS, END_HEADERS, it, &interim))
        },
        SEEN,
    );
}

#[test]
fn trailers_without_end_are_refused() {
    with_a_flood(
        |peer, it| {
            peer.send(HEADERS, END_HEADERS, it, &good_head())?;
            peer.send(HEADERS, END_STREAM, it, &field("x", "y"))?;
            peer.flood(&frame(CONTINUATION, 0, it, &field("x", "y").repeat(1000)))
        },
        SEEN,
    );
}

#[test]
fn data_of_no_length_without_end_holds_nobody() {
    with_a_flood(
        |peer, it| {
            peer.send(HEADERS, END_HEADERS, it, &good_head())?;
            peer.flood(&frame(DATA, 0, it, &[]))
        },
        SEEN,
    );
}

/// The answer to each request is a message that begins like that and has no end.
fn with_an_endless_answer(prefix: [u8; 5], why: &str) {
    let scene = Scene::begin();
    let used = Use::now();
    scene.server.perform(move |peer| {
        peer.greet(&[])?;
        let it = peer.request()?;
        peer.send(HEADERS, END_HEADERS, it, &good_head())?;
        peer.send(DATA, 0, it, &prefix)?;
        peer.flood(&frame(DATA, 0, it, &[0; 16 << 10]))
    });
    scene.leave_connection();
    scene.some_fail(SEEN);
    let refused = || scene.kv.store(KEY, "bad") == EINDETERMINATE && errmsg() == why;
    until("it is not waited for", refused);
    used.check_memory(MEMORY);
    scene.recovers();
}

#[test]
fn an_answer_that_goes_on_after_its_end_is_refused() {
    with_an_endless_answer([0, 0, 0, 0, 3], "an answer of another length than it says");
}

#[test]
fn an_answer_of_4_gib_is_refused() {
    with_an_endless_answer([0, 0xff, 0xff, 0xff, 0xff], "an answer that is too large");
}

#[test]
fn data_before_the_head_is_refused() {
    with_each_request(|peer, it| peer.send(DATA, END_STREAM, it, b"data"), SEEN);
}

#[test]
fn a_frame_of_16_mib_is_refused() {
    with_each_request(
        |peer, it| {
            let [a, b, c, d] = it.to_be_bytes();
            peer.write(&[0xff, 0xff, 0xff, DATA, 0, a, b, c, d])?;
            peer.stay()
        },
        SEEN,
    );
}

#[test]
fn a_server_that_takes_frames_of_16_mib_is_served() {
    Scene::all_fail(
        |server| {
            server.perform(|peer| {
                peer.greet(&[(MAX_FRAME, (1 << 24) - 1), (INITIAL_WINDOW, i32::MAX as u32)])?;
                peer.stay()
            });
        },
        SEEN,
    );
}

#[test]
fn an_answer_on_a_stream_that_nobody_opened_ends_the_connection() {
    with_each_request(
        |peer, it| peer.send(HEADERS, END_HEADERS | END_STREAM, it + 100, &good_head()),
        SEEN,
    );
}

#[test]
fn a_push_is_refused() {
    with_each_request(
        |peer, it| {
            let promise = [&2u32.to_be_bytes()[..], &field(":path", "/")].concat();
            peer.send(PUSH_PROMISE, END_HEADERS, it, &promise)
        },
        SEEN,
    );
}

#[test]
fn headers_that_no_table_has_end_the_connection() {
    with_each_request(|peer, it| peer.send(HEADERS, END_HEADERS, it, &[0xff; 40]), SEEN);
}

#[test]
fn frames_of_unknown_kinds_are_skipped() {
    with_a_flood(|peer, _| peer.flood(&frame(0x77, 0xff, 0, &[1; 100])), SEEN);
}
