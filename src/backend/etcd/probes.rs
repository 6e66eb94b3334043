//! Questions of the library's own: reads of a key that the user may be expected to read,
//! and the alarm for space.

use super::message;
use super::outcome::{self, Failure};
use super::tasks::{call, unary};
use super::transport::{CallError, Connection, Outcome, PREFIX};
use crate::error::Error;
use crate::request::Range;
use crate::types::KeyRange;
use bytes::Bytes;
use etcd_client::proto::PbAlarmResponse;
use etcd_client::AlarmType;
use prost::Message;
use std::sync::Arc;

/// The store's id and a revision of it that a quorum has, by a read of this key; none
/// where it may not be read.
pub async fn look(
    connection: &Arc<Connection>,
    key: &Bytes,
) -> std::result::Result<Option<(u64, i64)>, Failure> {
    match probe(connection, of_key(key)).await {
        Ok(answer) => message::header(answer).map(Some).map_err(Failure::Final),
        Err(Failure::Final(_)) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Whether the member says anything, be it a refusal.
pub async fn is_alive(connection: &Arc<Connection>, key: &Bytes) -> bool {
    let local = Range { serializable: true, ..of_key(key) };
    matches!(read(connection, local).await, Ok(_) | Err(CallError::Refused(_)))
}

const ALARM: &str = "/etcdserverpb.Maintenance/Alarm";

/// Its message: field 3 says which alarm, and that it is asked for is the default.
const NOSPACE: [u8; PREFIX + 2] = [0, 0, 0, 0, 2, 3 << 3, AlarmType::Nospace as u8];

/// Whether the alarm for the space quota is raised.
pub async fn is_full(connection: &Arc<Connection>) -> std::result::Result<bool, Failure> {
    let answer = unary(connection, ALARM, true, Bytes::from_static(&NOSPACE)).await;
    let answer = answer.map_err(|error| outcome::of_call(&error))?;
    let unfit = |_| Failure::Final(Error::unexpected("an answer to a question for alarms"));
    PbAlarmResponse::decode(answer).map(|answer| !answer.alarms.is_empty()).map_err(unfit)
}

fn of_key(key: &Bytes) -> Range {
    Range { count_only: true, ..Range::new(KeyRange::single(key.clone())) }
}

async fn probe(connection: &Arc<Connection>, range: Range) -> std::result::Result<Bytes, Failure> {
    read(connection, range).await.map_err(|error| outcome::of_call(&error))
}

async fn read(connection: &Arc<Connection>, range: Range) -> Outcome {
    let no_message = || CallError::Broken("no message".into());
    let (method, message) = message::encode(&range.into()).ok_or_else(no_message)?;
    call(connection, method, message).await
}
