//! A watch stream of a hostile server.

#![allow(clippy::expect_used)] // a panic is a finding

use super::*;
use crate::backend::etcd::reach::{Reach, Role};
use crate::backend::Notice;
use crate::options::Options;
use crate::types::KeyRange;
use bytes::Bytes;
use etcd_client::proto::PbWatchResponse;
use prost::Message;
use std::sync::Weak;

/// What one watch was told.
struct Told {
    keys: KeyRange,
    state: Mutex<Progress>,
}

struct Progress {
    next: i64,
    ended: bool,
}

impl WatchSink for Told {
    fn notice(&self, notice: Notice) -> bool {
        let mut told = self.state.hold();
        assert!(!told.ended, "nothing comes after the end");
        match notice {
            Notice::Started | Notice::Cut(_) => {}
            Notice::Events(events) => {
                assert!(!events.is_empty());
                for event in &events {
                    assert!(event.revision() >= told.next, "each change once, in order");
                    assert!(self.keys.contains(&event.kv.key), "of these keys");
                }
                assert!(events.is_sorted_by_key(|event| event.revision()));
                told.next = events.last().expect("one").revision() + 1;
            }
            Notice::Progress(revision) => told.next = told.next.max(revision + 1),
            Notice::Compacted | Notice::Replaced | Notice::Gap(_) | Notice::Failed(_) => {
                told.ended = true;
            }
        }
        true
    }
}

/// Messages, each after its length in one byte, and commands between them.
pub fn stream(mut data: &[u8]) {
    let endpoints = Endpoints::new(
        &[],
        &Options::default(),
        Role::Watches,
        Reach::unheard(),
        None,
        None,
        Weak::new(),
    );
    let endpoints = endpoints.expect("no endpoint");
    let mut task = Task::new(endpoints, Arc::default(), unbounded_channel().1);
    let mut next = 0;
    for (keys, start) in
        [(KeyRange::single("k"), 5), (KeyRange::prefix(b"k"), 6), (KeyRange::single("k"), 7)]
    {
        add(&mut task, &mut next, keys, start);
    }
    while let Some((&length, rest)) = data.split_first() {
        let (message, rest) = match length {
            0xff => {
                task.groups.remove(next / 2);
                rejoin(&mut task);
                (&b""[..], rest)
            }
            0xfe => {
                add(&mut task, &mut next, KeyRange::prefix(b"k"), 7);
                (&b""[..], rest)
            }
            _ => rest.split_at(rest.len().min(length.into())),
        };
        data = rest;
        let answer = PbWatchResponse::decode(Bytes::copy_from_slice(message));
        if !answer.is_ok_and(|answer| task.take(WatchResponse(answer)).is_ok()) {
            rejoin(&mut task);
        }
        for group in std::mem::take(&mut task.again) {
            task.creation(group);
        }
        if task.groups.is_empty() {
            return;
        }
    }
}

/// As when the stream breaks: all watches go on to a new one.
fn rejoin(task: &mut Task) {
    task.groups.leave_stream(Some("broken"));
    task.creations();
}

fn add(task: &mut Task, next: &mut u64, keys: KeyRange, start: i64) {
    let state = Mutex::new(Progress { next: start, ended: false });
    let sink = Arc::new(Told { keys: keys.clone(), state });
    let wanted = Wanted { keys, start, prev: false, era: 0, resumed: false };
    if let Some(group) = task.groups.add(*next, wanted, sink) {
        task.creation(group);
    }
    *next += 1;
}
