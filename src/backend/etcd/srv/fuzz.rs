//! Answers of a hostile name server.

use super::message::parse;
use super::order::order;
use super::{urls, MEMBERS_MOST};
use crate::endpoint::Url;

pub fn srv(data: &[u8]) {
    let Some(answer) = parse(data) else { return };
    assert!(answer.ttl <= i32::MAX as u32 || answer.records.is_empty());
    // A record of a host takes 20 bytes at least.
    assert!(answer.records.len() <= data.len() / 20);
    for record in &answer.records {
        assert!(record.host.len() <= 253 && record.port > 0, "{record:?}");
    }
    let mut ordered = order(answer.records.clone(), |most| most / 2);
    assert!(ordered.is_sorted_by_key(|record| record.priority));
    let mut records = answer.records.clone();
    records.sort();
    ordered.sort();
    assert_eq!(records, ordered);
    let urls = urls(true, records);
    assert!(urls.len() <= MEMBERS_MOST && urls.is_empty() == answer.records.is_empty());
    for url in urls {
        assert_eq!(Url::parse(&url.to_string()), Ok(url));
    }
}
