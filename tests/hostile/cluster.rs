//! Lies in what members tell of themselves and of each other.

use crate::client::{errmsg, Kv, Lateness, Log, Use, EUNAVAIL, OK, PATIENCE};
use crate::server::{framed, Reply, Server};
use crate::world::{KEEP_ALIVE, MEMBER_LIST, STATUS};
use crate::{alone, until, MEMORY};
use etcd_client::proto::{PbMember, PbMemberListResponse, PbStatusResponse};
use h2::Reason;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(1);

/// One member, and a client.
struct One {
    kv: Kv,
    server: Server,
    used: Use,
    _alone: MutexGuard<'static, ()>,
}

impl One {
    fn begin(timeout: Duration) -> Self {
        let alone = alone();
        let server = Server::start();
        let kv = Kv::open(&server.endpoint, timeout);
        let one = Self { kv, server, used: Use::now(), _alone: alone };
        assert!(one.status().contains("\"reachable\":true"), "it works");
        one
    }

    /// It succeeds, and is JSON.
    fn status(&self) -> String {
        let json = self.kv.cluster_status().unwrap_or_else(|status| {
            panic!("{status}: {}", errmsg());
        });
        assert_eq!(after_value(json.as_bytes()), Some(&b""[..]), "{json}");
        json
    }

    fn lists(&self, members: Vec<PbMember>) {
        self.server.lie(MEMBER_LIST, move |list: &mut PbMemberListResponse| {
            list.members.clone_from(&members);
        });
    }

    fn recovers(&self) {
        self.server.behave();
        assert!(self.status().contains("\"version\":\"3.5.0\""));
        self.used.check_memory(MEMORY);
    }
}

fn member(id: u64, name: &str, urls: &[&str]) -> PbMember {
    let client_ur_ls = urls.iter().map(|url| (*url).to_owned()).collect();
    PbMember { id, name: name.into(), client_ur_ls, ..Default::default() }
}

/// What follows a value of JSON; none where there is no such value. Blanks are not among
/// what the library writes.
fn after_value(json: &[u8]) -> Option<&[u8]> {
    let items = |mut rest, end: u8, item: fn(&[u8]) -> Option<&[u8]>| {
        if let Some(rest) = after(rest, &[end]) {
            return Some(rest);
        }
        loop {
            rest = item(rest)?;
            match rest.split_first()? {
                (b',', next) => rest = next,
                (last, next) => return (*last == end).then_some(next),
            }
        }
    };
    match json.split_first()? {
        (b'{', rest) => items(rest, b'}', |field| after_value(after(after_string(field)?, b":")?)),
        (b'[', rest) => items(rest, b']', after_value),
        (b'"', _) => after_string(json),
        _ => {
            let word = [&b"null"[..], b"true", b"false"].iter().find_map(|word| after(json, word));
            word.or_else(|| {
                let number = after(json, b"-").unwrap_or(json);
                let digits = number.iter().take_while(|byte| byte.is_ascii_digit()).count();
                (digits > 0).then_some(&number[digits..])
            })
        }
    }
}

fn after<'a>(json: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    json.strip_prefix(prefix)
}

fn after_string(json: &[u8]) -> Option<&[u8]> {
    let mut rest = after(json, b"\"")?;
    loop {
        rest = match rest {
            [b'"', rest @ ..] => return Some(rest),
            [b'\\', b'u', hex @ ..] => {
                let digits = hex.get(..4)?.iter().all(u8::is_ascii_hexdigit);
                digits.then_some(&hex[4..])?
            }
            [b'\\', b'"' | b'\\', rest @ ..] => rest,
            [b'\\' | 0..0x20, ..] | [] => return None,
            [_, rest @ ..] => rest,
        };
    }
}

/// Nobody answers then: it is the only one.
fn no_status(reply: fn(Vec<u8>) -> Reply) {
    let one = One::begin(TIMEOUT);
    one.server.reply(STATUS, reply);
    let (used, lateness) = (Use::now(), Lateness::now());
    assert_eq!(one.kv.cluster_status(), Err(EUNAVAIL), "{}", errmsg());
    let (took, late) = (used.wall(), lateness.worst());
    used.check_idle();
    assert!(took < TIMEOUT + PATIENCE + late, "{took:?} ({late:?} late)");
    one.recovers();
}

#[test]
fn a_status_that_makes_no_sense_is_none() {
    no_status(|_| Reply::Message(vec![0xff; 100]));
    no_status(|good| Reply::Raw(framed(&good).repeat(2), &[("grpc-status", "0")]));
    no_status(|good| Reply::Raw(framed(&good)[..good.len()].to_vec(), &[("grpc-status", "0")]));
    no_status(|good| Reply::Raw(framed(&good), &[("grpc-status", "2")]));
    no_status(|_| Reply::Head(500, &[]));
    no_status(|_| Reply::Reset(Reason::INTERNAL_ERROR));
}

#[test]
fn a_status_that_does_not_come_takes_the_timeout_and_no_more() {
    no_status(|_| Reply::Nothing);
}

#[test]
fn a_list_that_makes_no_sense_hides_no_status() {
    let one = One::begin(Duration::from_secs(10));
    let nonsense: [fn(Vec<u8>) -> Reply; 4] = [
        |_| Reply::Message(vec![0xff; 100]),
        |_| Reply::Message(Vec::new()),
        |_| Reply::Reset(Reason::INTERNAL_ERROR),
        |_| Reply::Head(200, &[("grpc-status", "13"), ("grpc-message", "%22%0A")]),
    ];
    for reply in nonsense {
        one.server.reply(MEMBER_LIST, reply);
        let json = one.status();
        assert!(json.contains("\"version\":\"3.5.0\""), "{json}");
    }
    one.recovers();
}

#[test]
fn whatever_members_tell_it_is_json() {
    const ODD: &str = "\"}],\\\u{0}\u{1}\n\u{1b}[31m\u{7f}\u{85}\u{2028}\u{10ffff}";
    let one = One::begin(Duration::from_secs(10));
    one.lists(vec![
        member(2, ODD, &["", "http://", "ftp://a:1", "http://a:99999999", ODD, "unix:///a"]),
        member(2, "again", &[]),
        member(0, "", &[ODD]),
        PbMember { peer_ur_ls: vec![ODD.into(); 3], ..member(u64::MAX, "most", &[]) },
    ]);
    one.server.lie(STATUS, |status: &mut PbStatusResponse| {
        *status = PbStatusResponse {
            version: ODD.into(),
            db_size: i64::MIN,
            db_size_in_use: i64::MAX,
            leader: u64::MAX,
            raft_index: u64::MAX,
            raft_term: u64::MAX,
            errors: vec![ODD.into(), String::new()],
            ..std::mem::take(status)
        };
    });
    let json = one.status();
    let escaped = r#"\"}],\\\u0000\u0001\u000a\u001b[31m"#;
    assert!(json.matches(escaped).count() >= 5, "{json}");
    assert!(json.contains("\"leader\":\"ffffffffffffffff\""), "{json}");
    assert_eq!(json.matches("it has no client URL of use").count(), 3, "{json}");
    // Nothing but zeros, and no header.
    one.server.reply(STATUS, |_| Reply::Message(Vec::new()));
    one.status();
    one.recovers();
}

/// Counts connections to any address of this machine, and ends them.
fn count_connections(listener: TcpListener) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            counted.fetch_add(1, Ordering::SeqCst);
            drop(connection);
        }
    });
    count
}

#[test]
fn no_more_than_64_urls_are_asked() {
    const MOST: usize = 64;
    let one = One::begin(Duration::from_secs(30));
    let listener = TcpListener::bind("0.0.0.0:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let count = count_connections(listener);
    // In several lists of one: members with one URL each, and one with many.
    let url = |n: usize| format!("http://127.1.{}.{}:{port}", n >> 8, n & 255);
    let urls: Vec<_> = (1..2000).map(url).collect();
    let mut members: Vec<_> = (0..1000).map(|n| member(n as u64 + 3, "one", &[&urls[n]])).collect();
    let many: Vec<_> = urls[1000..].iter().map(String::as_str).collect();
    members.insert(40, member(2, "many", &many));
    one.lists(members);
    let json = one.status();
    assert_eq!(json.matches("\"name\":").count(), 1001);
    assert!(json.contains("\"version\":\"3.5.0\""));
    // Of those that were not asked it is not said that they did not answer.
    assert_eq!(json.matches("not asked: more than 64 URLs").count(), 1000 - 40, "{json}");
    // Once the last one is ended those before it are counted.
    let mut last = TcpStream::connect(("127.0.0.1", port)).expect("it is there");
    let _ = last.read(&mut [0]);
    let asked = count.load(Ordering::SeqCst) - 1;
    assert_eq!(asked, MOST - 1, "beside the member's own one");
    one.recovers();
}

/// A line would be split, and a terminal obey.
#[test]
fn what_a_server_says_is_one_line_of_the_log() {
    let one = One::begin(Duration::from_secs(10));
    let log = Log::begin();
    one.server.reply(KEEP_ALIVE, |_| {
        const SAYS: &str = "said%0Athis%0D%09%1B[31m%7F%C2%9B%01here";
        Reply::Raw(Vec::new(), &[("grpc-status", "14"), ("grpc-message", SAYS)])
    });
    let lease = one.kv.grant(2000).unwrap_or_else(|status| panic!("{status}: {}", errmsg()));
    until("the line", || !log.lines("said").is_empty());
    for line in log.lines("said") {
        let line = String::from_utf8(line).expect("UTF-8");
        assert!(line.contains("here") && !line.contains(char::is_control), "{line:?}");
    }
    drop((lease, log));
    one.recovers();
    assert_eq!(one.kv.store("k", "v"), OK);
}
