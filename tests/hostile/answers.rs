//! What comes back is a well-formed HTTP/2 answer that makes no sense.

use crate::client::{Kv, Use, EINDETERMINATE, EINTERNAL, EUNAVAIL, OK};
use crate::server::{framed, Reply};
use crate::world::{DELETE, PUT, RANGE, TXN};
use crate::{Scene, GET, KEY, MEMORY};
use etcd_client::proto::{
    PbDeleteResponse, PbKeyValue, PbPutResponse, PbRangeResponse, PbResponseOp, PbTxnOpResponse,
    PbTxnResponse,
};
use h2::Reason;

const NONSENSE: &[i32] = &[EUNAVAIL, EINTERNAL];
const DONE: &[(&str, &str)] = &[("grpc-status", "0")];

/// Every answer is replaced by that.
fn with_each_answer(reply: fn(Vec<u8>) -> Reply) {
    let scene = Scene::begin();
    let used = Use::now();
    for method in [PUT, DELETE, TXN, RANGE] {
        scene.server.reply(method, reply);
    }
    scene.writes_fail(&[EINDETERMINATE]);
    scene.fails(NONSENSE, &[GET]);
    used.check_idle();
    used.check_memory(MEMORY);
    scene.recovers();
}

#[test]
fn an_answer_without_a_status_is_none() {
    with_each_answer(|good| Reply::Raw(framed(&good), &[]));
    with_each_answer(|good| Reply::Raw(framed(&good), &[("other", "0")]));
}

#[test]
fn an_answer_without_a_message_is_none() {
    with_each_answer(|_| Reply::Raw(Vec::new(), DONE));
    with_each_answer(|_| Reply::Head(200, DONE));
}

#[test]
fn an_answer_with_an_unknown_compression_flag_is_none() {
    with_each_answer(|good| Reply::Raw([&[1][..], &framed(&good)[1..]].concat(), DONE));
    with_each_answer(|good| Reply::Raw([&[0xff][..], &framed(&good)[1..]].concat(), DONE));
}

#[test]
fn an_answer_of_4_gib_that_does_not_come_is_none() {
    with_each_answer(|_| Reply::Raw(vec![0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3], DONE));
}

#[test]
fn a_truncated_answer_is_none() {
    with_each_answer(|good| Reply::Raw(framed(&good)[..good.len() + 4].to_vec(), DONE));
    with_each_answer(|good| Reply::Message(good[..good.len() - 1].to_vec()));
}

#[test]
fn two_messages_are_not_an_answer() {
    with_each_answer(|good| Reply::Raw(framed(&good).repeat(2), DONE));
}

#[test]
fn a_message_that_is_no_message_is_no_answer() {
    with_each_answer(|_| Reply::Message(vec![0xff; 100]));
    with_each_answer(|_| Reply::Message(vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]));
}

#[test]
fn an_empty_message_is_no_answer() {
    with_each_answer(|_| Reply::Message(Vec::new()));
}

#[test]
fn an_unknown_status_does_not_tell_what_became_of_a_write() {
    with_each_answer(|_| Reply::Raw(Vec::new(), &[("grpc-status", "99")]));
    with_each_answer(|_| Reply::Raw(Vec::new(), &[("grpc-status", "")]));
    with_each_answer(|_| Reply::Head(200, &[("grpc-status", "14"), ("grpc-message", "%")]));
}

#[test]
fn an_http_status_does_not_tell_what_became_of_a_write() {
    with_each_answer(|_| Reply::Head(500, &[]));
    with_each_answer(|_| Reply::Head(200, &[]));
    with_each_answer(|_| Reply::Head(301, &[("location", "http://elsewhere/")]));
}

#[test]
fn a_reset_after_the_request_does_not_tell_what_became_of_a_write() {
    with_each_answer(|_| Reply::Reset(Reason::INTERNAL_ERROR));
}

fn txn_answers(change: fn(&mut PbTxnResponse)) {
    let scene = Scene::begin();
    scene.server.lie(TXN, change);
    scene.fails(
        &[EINDETERMINATE],
        &[
            ("tas", &|kv: &Kv| kv.tas(KEY, "good", "bad")),
            ("txn", &|kv: &Kv| kv.put_and_read(KEY, "bad")),
        ],
    );
    scene.recovers();
}

#[test]
fn a_transaction_with_more_answers_than_operations_has_none() {
    txn_answers(|answer| {
        let more = answer.responses.clone();
        answer.responses.extend(more);
    });
}

#[test]
fn a_transaction_with_fewer_answers_than_operations_has_none() {
    txn_answers(|answer| answer.responses.clear());
}

#[test]
fn a_transaction_with_an_answer_of_another_kind_has_none() {
    txn_answers(|answer| {
        let other = PbTxnOpResponse::ResponseDeleteRange(PbDeleteResponse::default());
        answer.responses.fill(PbResponseOp { response: Some(other) });
    });
    txn_answers(|answer| {
        let other = PbTxnOpResponse::ResponseTxn(PbTxnResponse::default());
        answer.responses.fill(PbResponseOp { response: Some(other) });
    });
    txn_answers(|answer| answer.responses.fill(PbResponseOp { response: None }));
}

#[test]
fn a_transaction_that_says_it_took_the_other_branch_has_no_answer() {
    let scene = Scene::begin();
    scene.server.lie(TXN, |answer: &mut PbTxnResponse| answer.succeeded = !answer.succeeded);
    scene.fails(&[EINDETERMINATE], &[("txn", &|kv: &Kv| kv.put_and_read(KEY, "bad"))]);
    scene.recovers();
}

#[test]
fn a_write_without_a_revision_has_no_answer() {
    let scene = Scene::begin();
    scene.server.lie(PUT, |answer: &mut PbPutResponse| answer.header = None);
    scene.server.lie(DELETE, |answer: &mut PbDeleteResponse| answer.header = None);
    scene.server.lie(TXN, |answer: &mut PbTxnResponse| answer.header = None);
    scene.writes_fail(&[EINDETERMINATE]);
    scene.recovers();
}

fn ranges(change: fn(&mut PbRangeResponse)) {
    let scene = Scene::begin();
    let used = Use::now();
    for n in 0..20 {
        scene.stores(&format!("key{n:02}"));
    }
    scene.server.lie(RANGE, change);
    scene.reads_fail(NONSENSE);
    used.check_memory(MEMORY);
    scene.recovers();
}

#[test]
fn a_range_without_a_header_is_none() {
    ranges(|answer| answer.header = None);
}

#[test]
fn a_range_with_more_keys_than_were_asked_for_is_none() {
    ranges(|answer| {
        let last = answer.kvs.last().cloned().unwrap_or_default();
        answer.kvs.extend((0..100).map(|n| {
            let key = [&last.key[..], &[n]].concat();
            PbKeyValue { key, ..last.clone() }
        }));
    });
}

#[test]
fn a_range_that_has_more_and_gives_nothing_is_none() {
    ranges(|answer| {
        answer.kvs.clear();
        answer.more = true;
    });
}

#[test]
fn a_range_of_other_keys_is_none() {
    ranges(|answer| answer.kvs.iter_mut().for_each(|kv| kv.key = b"\xff".to_vec()));
}

#[test]
fn a_range_that_gives_the_same_keys_for_ever_is_none() {
    let scene = Scene::begin();
    let used = Use::now();
    let key = |n| format!("key{n:02}");
    for n in 0..20 {
        scene.stores(&key(n));
    }
    scene.server.lie(RANGE, move |answer: &mut PbRangeResponse| {
        let kv = |n| PbKeyValue { key: key(n).into_bytes(), ..Default::default() };
        answer.kvs = (0..8).map(kv).collect();
        answer.more = true;
    });
    let range = |kv: &Kv| kv.count("key", "key~").map_or_else(|status| status, |_| OK);
    scene.fails(NONSENSE, &[("get_range", &range)]);
    used.check_memory(MEMORY);
    scene.recovers();
}

#[test]
fn a_range_out_of_order_is_none() {
    let scene = Scene::begin();
    for n in 0..4 {
        scene.stores(&format!("key{n:02}"));
    }
    scene.server.lie(RANGE, |answer: &mut PbRangeResponse| answer.kvs.reverse());
    let range = |kv: &Kv| kv.count("key", "key~").map_or_else(|status| status, |_| OK);
    scene.fails(NONSENSE, &[("get_range", &range)]);
    scene.recovers();
}
