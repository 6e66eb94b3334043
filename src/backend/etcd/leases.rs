//! Requests that deal with leases, and one about alarms, by way of etcd-client.

use super::endpoints::Connected;
use super::outcome::{self, Failure};
use crate::error::Error;
use crate::request::{Request, Response};
use etcd_client::{AlarmAction, AlarmType, LeaseGrantOptions};

/// Makes the call.
pub async fn send(
    connected: &Connected,
    request: &Request,
) -> std::result::Result<Response, Failure> {
    let mut client = connected.client().await.map_err(Failure::NotApplied)?;
    let failed = |error: etcd_client::Error| outcome::classify(&error);
    match request {
        Request::Grant { lease, ttl_s } => {
            let options = LeaseGrantOptions::new().with_id(*lease);
            match client.lease_grant(*ttl_s, Some(options)).await {
                Err(error) if !is_granted_already(&error) => Err(failed(error)),
                _ => Ok(Response::Lease),
            }
        }
        // One renewal on a stream of its own: none waits behind another's.
        Request::Renew { lease } => {
            client.lease_keep_alive(*lease).await.map(|_| Response::Lease).map_err(failed)
        }
        Request::Revoke { lease } => match client.lease_revoke(*lease).await.map_err(failed) {
            Err(Failure::Final(Error::Lost(_))) | Ok(_) => Ok(Response::Lease),
            Err(failure) => Err(failure),
        },
        Request::TimeToLive { lease } => {
            match client.lease_time_to_live(*lease, None).await.map_err(failed)?.ttl() {
                ttl if ttl > 0 => Ok(Response::Lease),
                _ => Err(Failure::Final(Error::Lost("requested lease not found".into()))),
            }
        }
        Request::Range(_) | Request::Txn(_) => {
            Err(Failure::Final(Error::Internal("not about a lease".into())))
        }
    }
}

/// Whether a failed grant says that an earlier try of it succeeded.
fn is_granted_already(error: &etcd_client::Error) -> bool {
    matches!(error, etcd_client::Error::GRpcStatus(status)
        if status.message() == "etcdserver: lease already exists")
}

/// Whether the alarm for the space quota is raised.
pub async fn is_full(connected: &Connected) -> std::result::Result<bool, Failure> {
    let mut client = connected.client().await.map_err(Failure::NotApplied)?;
    let answer = client.alarm(AlarmAction::Get, AlarmType::Nospace, None).await;
    answer.map(|answer| !answer.alarms().is_empty()).map_err(|error| outcome::classify(&error))
}
