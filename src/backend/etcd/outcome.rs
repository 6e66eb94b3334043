//! What a failed attempt means for the request.

use super::transport::CallError;
use crate::error::Error;

/// What a failed attempt means for the request.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// The server's last word: not applied, and not worth another try.
    Final(Error),
    /// Not applied: the server does not accept the token, or wants one. This is what
    /// it says.
    Token(String),
    /// Not applied; another try may succeed.
    NotApplied(Error),
    /// It may have been applied, or may be later.
    Unknown(String),
}

impl From<Failure> for Error {
    /// For a request of the library's own, which changes nothing.
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Final(error) | Failure::NotApplied(error) => error,
            Failure::Token(why) => Self::Auth(why),
            Failure::Unknown(why) => Self::Unavailable(why),
        }
    }
}

pub fn of_call(error: &CallError) -> Failure {
    match error {
        CallError::NotSeen(why) => Failure::NotApplied(Error::Unavailable(why.clone())),
        CallError::Refused(why) => of_refusal(why),
        CallError::Broken(why) => Failure::Unknown(why.clone()),
    }
}

/// Of a connection that could not be had, and so was not used.
pub fn of_connecting(error: Error) -> Failure {
    match error {
        Error::Auth(_) => Failure::Final(error),
        error => Failure::NotApplied(error),
    }
}

pub fn of_refusal(message: &str) -> Failure {
    refusal(message).unwrap_or_else(|| Failure::Unknown(message.to_owned()))
}

pub fn classify(error: &etcd_client::Error) -> Failure {
    match error {
        etcd_client::Error::GRpcStatus(status) => {
            if let Some(error) = source::<CallError>(status) {
                return of_call(error);
            }
            of_refusal(status.message())
        }
        etcd_client::Error::InvalidArgs(why) => Failure::Final(Error::Invalid(why.clone())),
        // Said by etcd-client of a lease whose renewal was answered with no time left.
        etcd_client::Error::LeaseKeepAliveError(why) if why == "lease not found" => {
            Failure::Final(Error::Lost(why.clone()))
        }
        other => Failure::Unknown(other.to_string()),
    }
}

/// The reason alone.
pub fn text(error: &etcd_client::Error) -> String {
    match error {
        etcd_client::Error::GRpcStatus(status) => status.message().to_owned(),
        other => other.to_string(),
    }
}

/// What the server refuses before it is proposed, by its text: the gRPC code alone
/// tells too little.
fn refusal(message: &str) -> Option<Failure> {
    // Of a watch the server gives the text of the whole status.
    let message = message.rsplit_once("desc = ").map_or(message, |(_, message)| message);
    let text = || message.to_owned();
    if message.starts_with("grpc: received message larger than max") {
        return Some(Failure::Final(Error::TooLarge(text())));
    }
    // Where the server has no text for its clients.
    if message == "auth: revision in header is old" {
        return Some(Failure::Token(text()));
    }
    let reason = message.strip_prefix("etcdserver: ")?;
    Some(match reason {
        "no leader" | "too many requests" => Failure::NotApplied(Error::Unavailable(text())),
        "request is too large" | "too many operations in txn request" => {
            Failure::Final(Error::TooLarge(text()))
        }
        "mvcc: database space exceeded" => Failure::Final(Error::NoSpace(text())),
        "mvcc: required revision has been compacted" => Failure::Final(Error::Compacted(text())),
        "requested lease not found" => Failure::Final(Error::Lost(text())),
        "permission denied" => Failure::Final(Error::Denied(text())),
        "user name is empty" | "invalid auth token" | "revision of auth store is old" => {
            Failure::Token(text())
        }
        "authentication failed, invalid user ID or password" => Failure::Final(Error::Auth(text())),
        "key is not provided"
        | "duplicate key given in txn request"
        | "mvcc: required revision is a future revision"
        | "too large lease TTL" => Failure::Final(Error::Invalid(text())),
        _ => return None,
    })
}

fn source<'a, E: std::error::Error + 'static>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a E> {
    std::iter::successors(Some(error), |error| error.source())
        .find_map(|cause| cause.downcast_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(message: &str) -> Failure {
        classify(&etcd_client::Error::GRpcStatus(tonic::Status::unavailable(message)))
    }

    #[test]
    fn only_what_is_known_counts_as_not_applied() {
        for unknown in [
            "etcdserver: request timed out",
            "etcdserver: leader changed",
            "etcdserver: server stopped",
            "etcdserver: something new",
            "transport error",
            "",
        ] {
            assert!(matches!(of(unknown), Failure::Unknown(_)), "{unknown}");
        }
        assert!(matches!(of("etcdserver: no leader"), Failure::NotApplied(_)));
        let of_a_watch = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
        assert!(matches!(of(of_a_watch), Failure::Final(Error::Denied(_))));
        for stale in [
            "etcdserver: invalid auth token",
            "etcdserver: revision of auth store is old",
            "etcdserver: user name is empty",
            "auth: revision in header is old",
            "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token",
        ] {
            assert!(matches!(of(stale), Failure::Token(_)), "{stale}");
        }
        assert!(matches!(
            of("etcdserver: requested lease not found"),
            Failure::Final(Error::Lost(_))
        ));
        assert!(matches!(
            of("grpc: received message larger than max (5 vs. 4)"),
            Failure::Final(Error::TooLarge(_))
        ));
    }
}
