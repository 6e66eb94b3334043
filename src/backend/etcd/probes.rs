//! Reads of the library's own, of a key that the user may be expected to read.

use super::message;
use super::outcome::{self, Failure};
use super::requests::call;
use super::transport::Connection;
use crate::error::Error;
use crate::request::Range;
use crate::types::KeyRange;
use bytes::Bytes;
use std::sync::Arc;

/// The store's id and a revision of it that a quorum has, by a read of this key; none
/// where it may not be read.
pub async fn look(
    connection: &Arc<Connection>,
    key: &Bytes,
) -> std::result::Result<Option<(u64, i64)>, Failure> {
    match probe(connection, key, 0).await {
        Ok(answer) => message::header(answer).map(Some).map_err(Failure::Final),
        Err(Failure::Final(_)) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Whether the state before a revision can still be read, by a read of this key; yes
/// where the server does not say, none where it did not answer.
pub async fn keeps_before(
    connection: &Arc<Connection>,
    key: &Bytes,
    revision: i64,
) -> Option<bool> {
    if revision <= 1 {
        return Some(true);
    }
    match probe(connection, key, revision - 1).await {
        Ok(_) => Some(true),
        Err(Failure::Final(error)) => Some(!matches!(error, Error::Compacted(_))),
        Err(_) => None,
    }
}

async fn probe(
    connection: &Arc<Connection>,
    key: &Bytes,
    revision: i64,
) -> std::result::Result<Bytes, Failure> {
    let keys = KeyRange::single(key.clone());
    let range = Range { revision, count_only: true, ..Range::new(keys) };
    let no_message = || Failure::Final(Error::Internal("no message".into()));
    let (method, message) = message::encode(&range.into()).ok_or_else(no_message)?;
    call(connection, method, message).await.map_err(|error| outcome::of_call(&error))
}
