//! One of two members misbehaves: the other one is asked.

use crate::client::{errmsg, Kv, Use, EINDETERMINATE, EUNAVAIL, OK, PATIENCE};
use crate::server::{Reply, Server};
use crate::world::{ALARM, AUTHENTICATE, MEMBER_LIST, PUT, RANGE, WATCH};
use crate::{alone, until, KEY};
use etcd_client::proto::{PbMember, PbMemberListResponse, PbWatchResponse};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::MutexGuard;
use std::time::{Duration, Instant};

const USER: &str = "user=u password=p";

/// Two members, of which the first one is asked first; no client yet.
struct Two {
    first: Server,
    second: Server,
    _alone: MutexGuard<'static, ()>,
}

impl Two {
    /// Both have the key.
    fn begin() -> Self {
        let alone = alone();
        let (first, second) = (Server::start(), Server::start());
        for server in [&first, &second] {
            let kv = Kv::open(&server.endpoint, Duration::from_secs(5));
            assert_eq!(kv.store(KEY, "good"), OK, "{}", errmsg());
        }
        Self { first, second, _alone: alone }
    }

    fn open(&self, timeout: Duration, more: &str) -> Kv {
        let endpoint = format!("{},{}", self.first.endpoint, self.second.endpoint);
        Kv::open_with(&endpoint, timeout, more)
    }
}

#[test]
fn a_member_that_does_not_authenticate_is_left_by_reads() {
    let two = Two::begin();
    two.first.reply(AUTHENTICATE, |_| Reply::Nothing);
    let kv = two.open(Duration::from_secs(5), USER);
    assert_eq!(kv.get(KEY), Ok("good".into()), "{}", errmsg());
}

#[test]
fn a_member_that_does_not_authenticate_is_left_by_watches() {
    let two = Two::begin();
    two.first.reply(AUTHENTICATE, |_| Reply::Nothing);
    let kv = two.open(Duration::from_secs(5), USER);
    assert!(kv.watch(KEY).is_ok(), "{}", errmsg());
}

#[test]
fn a_member_that_answers_nothing_is_left_by_callers_in_a_hurry() {
    let two = Two::begin();
    two.first.reply(RANGE, |_| Reply::Nothing);
    let kv = two.open(Duration::from_millis(400), "");
    let good = (0..10).filter(|_| kv.get(KEY).is_ok()).count();
    assert!(good > 5, "{good} of 10 reads");
}

#[test]
fn a_member_that_does_not_tell_of_its_alarm_is_left_by_writes() {
    const FULL: &[(&str, &str)] =
        &[("grpc-status", "8"), ("grpc-message", "etcdserver: mvcc: database space exceeded")];
    const NO_LEADER: &[(&str, &str)] =
        &[("grpc-status", "14"), ("grpc-message", "etcdserver: no leader")];
    for reply in [
        (|_| Reply::Nothing) as fn(Vec<u8>) -> Reply,
        |_| Reply::Raw(Vec::new(), NO_LEADER),
        |_| Reply::Message(vec![0xff; 100]),
    ] {
        let two = Two::begin();
        let kv = two.open(Duration::from_secs(5), "");
        two.first.reply(PUT, |_| Reply::Raw(Vec::new(), FULL));
        two.second.reply(ALARM, reply);
        assert_eq!(kv.store(KEY, "unknown"), EINDETERMINATE, "{}", errmsg());
        two.first.behave(); // the second one is asked next
        assert_eq!(kv.store(KEY, "good"), OK, "{}", errmsg());
    }
}

fn with_each_nonsense(check: impl Fn(&Two, fn(Vec<u8>) -> Reply)) {
    check(&Two::begin(), |_| Reply::Message(vec![0xff; 100]));
    // A token that no header can hold.
    check(&Two::begin(), |_| Reply::Message(b"\x12\x03a\nb".to_vec()));
}

#[test]
fn a_member_whose_token_makes_no_sense_is_left() {
    with_each_nonsense(|two, nonsense| {
        two.first.reply(AUTHENTICATE, nonsense);
        let kv = two.open(Duration::from_secs(5), USER);
        let used = Use::now();
        assert_eq!(kv.get(KEY), Ok("good".into()), "{}", errmsg());
        assert!(kv.watch(KEY).is_ok(), "{}", errmsg());
        assert!(used.wall() < Duration::from_secs(1) + PATIENCE, "{:?}", used.wall());
    });
}

#[test]
fn a_token_that_makes_no_sense_keeps_nobody_busy() {
    with_each_nonsense(|two, nonsense| {
        // Alone, and good until the watch is there.
        let server = &two.second;
        let kv = Kv::open_with(&server.endpoint, Duration::from_secs(1), USER);
        let watcher = kv.watch(KEY).unwrap_or_else(|_| panic!("{}", errmsg()));
        server.reply(AUTHENTICATE, nonsense);
        server.lie(WATCH, |answer: &mut PbWatchResponse| {
            answer.canceled = true;
            answer.cancel_reason = "etcdserver: invalid auth token".into();
        });
        let used = Use::now();
        assert_eq!(kv.store(KEY, "good"), OK, "{}", errmsg());
        until("the token is rejected", || kv.get(KEY).is_err());
        assert_eq!(kv.get(KEY), Err(EUNAVAIL), "{}", errmsg());
        used.check_idle();
        drop(watcher);
    });
}

#[test]
fn members_that_refuse_now_and_then_are_not_probed_for_each_refusal() {
    const BUSY: &[(&str, &str)] =
        &[("grpc-status", "8"), ("grpc-message", "etcdserver: too many requests")];
    let two = Two::begin();
    let kv = two.open(Duration::from_secs(5), "");
    let servers = [&two.first, &two.second];
    for server in servers {
        let asked = AtomicUsize::new(0);
        server.reply(RANGE, move |good| match asked.fetch_add(1, Ordering::SeqCst) % 2 {
            0 => Reply::Message(good),
            _ => Reply::Head(200, BUSY),
        });
    }
    let made = || servers.map(Server::connections).iter().sum::<usize>();
    let before = made();
    let end = Instant::now() + Duration::from_millis(1200);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while Instant::now() < end {
                    let _ = kv.get(KEY);
                }
            });
        }
    });
    let made = made() - before;
    assert!(made < 30, "{made} connections");
}

#[test]
fn a_member_that_takes_longer_to_connect_than_a_call_may_is_reached() {
    let two = Two::begin();
    two.second.greet_after(Duration::from_millis(300));
    let kv = Kv::open(&two.second.endpoint, Duration::from_millis(100));
    let before = two.second.connections();
    until("a read succeeds", || kv.get(KEY) == Ok("good".into()));
    let made = two.second.connections() - before;
    assert!(made < 5, "{made} connections");
}

#[test]
fn a_member_that_does_not_connect_is_left_by_callers_in_a_hurry() {
    let two = Two::begin();
    two.first.greet_after(Duration::from_secs(5));
    let kv = two.open(Duration::from_millis(200), "");
    let _ = kv.get(KEY);
    let good = (0..10).filter(|_| kv.get(KEY) == Ok("good".into())).count();
    assert!(good > 5, "{good} of 10 reads: {}", errmsg());
}

/// Each URL is looked at with a few others, if at all.
#[test]
fn a_list_of_members_without_end_holds_nobody() {
    const URLS: usize = 100_000;
    let two = Two::begin();
    let told = &*Box::leak(Box::new(AtomicUsize::new(0)));
    two.first.lie(MEMBER_LIST, |list: &mut PbMemberListResponse| {
        let urls =
            (0..URLS).map(|n| format!("http://10.{}.{}.{}:1", n >> 16, n >> 8 & 255, n & 255));
        list.members = vec![PbMember { client_ur_ls: urls.collect(), ..Default::default() }];
        told.fetch_add(1, Ordering::SeqCst);
    });
    let _asks = Kv::open_with(&two.first.endpoint, Duration::from_secs(1), "sync=60s");
    // Another store, which the same threads serve.
    let kv = Kv::open(&two.second.endpoint, Duration::from_secs(1));
    until("the list is told", || told.load(Ordering::SeqCst) > 0);
    let used = Use::now();
    for _ in 0..20 {
        let lease = kv.grant(2000).unwrap_or_else(|_| panic!("{}", errmsg()));
        assert!(lease.left_ms() > 0);
    }
    assert!(used.cpu() < Duration::from_secs(5), "{:?} of CPU", used.cpu());
}
