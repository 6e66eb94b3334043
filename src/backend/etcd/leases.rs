//! Requests that deal with leases, by way of etcd-client.

use super::endpoints::Connected;
use super::outcome::{self, Failure};
use crate::error::Error;
use crate::request::{Request, Response};
use etcd_client::{LeaseGrantOptions, LeaseGrantResponse, LeaseTimeToLiveResponse};

/// Makes the call.
pub async fn send(
    connected: &Connected,
    request: &Request,
) -> std::result::Result<Response, Failure> {
    let mut client = connected.client().await.map_err(Failure::NotApplied)?;
    let failed = |error: etcd_client::Error| outcome::classify(&error);
    // What is not about this lease, or for less time, says nothing of it.
    let other = || Failure::Unknown(Error::unexpected("of another lease").to_string());
    match request {
        Request::Grant { lease, ttl_s } => {
            let options = LeaseGrantOptions::new().with_id(*lease);
            match client.lease_grant(*ttl_s, Some(options)).await {
                Ok(granted) if is_of(&granted, *lease, *ttl_s) => Ok(Response::Lease),
                Ok(_) => Err(other()),
                Err(error) if is_granted_already(&error) => Ok(Response::Lease),
                Err(error) => Err(failed(error)),
            }
        }
        // One renewal on a stream of its own: none waits behind another's.
        Request::Renew { lease } => match client.lease_keep_alive(*lease).await.map_err(failed)? {
            (keeper, _) if keeper.id() == *lease => Ok(Response::Lease),
            _ => Err(other()),
        },
        Request::Revoke { lease } => match client.lease_revoke(*lease).await.map_err(failed) {
            Err(Failure::Final(Error::Lost(_))) | Ok(_) => Ok(Response::Lease),
            Err(failure) => Err(failure),
        },
        Request::TimeToLive { lease } => {
            match client.lease_time_to_live(*lease, None).await.map_err(failed)? {
                left if is_there(&left) => Ok(Response::Lease),
                _ => Err(Failure::Final(Error::Lost("requested lease not found".into()))),
            }
        }
        Request::Range(_) | Request::Txn(_) => {
            Err(Failure::Final(Error::Internal("not about a lease".into())))
        }
    }
}

fn is_of(granted: &LeaseGrantResponse, lease: i64, ttl_s: i64) -> bool {
    granted.id() == lease && granted.ttl() >= ttl_s && granted.0.error.is_empty()
}

/// The seconds that are left are rounded down: in its last one a lease has 0. One that
/// is gone has -1, and was granted for no time.
fn is_there(left: &LeaseTimeToLiveResponse) -> bool {
    left.ttl() > 0 || left.ttl() == 0 && left.granted_ttl() > 0
}

/// Whether a failed grant says that an earlier try of it succeeded.
fn is_granted_already(error: &etcd_client::Error) -> bool {
    matches!(error, etcd_client::Error::GRpcStatus(status)
        if status.message() == "etcdserver: lease already exists")
}

#[cfg(test)]
mod tests {
    use super::*;
    use etcd_client::proto::PbLeaseTimeToLiveResponse;

    #[test]
    fn a_lease_in_its_last_second_is_there() {
        for (ttl, granted_ttl, there) in
            [(1, 5, true), (0, 5, true), (0, 0, false), (-1, 0, false), (-1, 5, false)]
        {
            let answer = PbLeaseTimeToLiveResponse { ttl, granted_ttl, ..Default::default() };
            assert_eq!(is_there(&LeaseTimeToLiveResponse(answer)), there, "{ttl} {granted_ttl}");
        }
    }
}
