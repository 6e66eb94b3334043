//! What lies between etcd-client's calls and the socket: one channel to one
//! endpoint, and what its failures mean.

use crate::endpoint::Url;
use crate::error::{Error, Result};
use crate::options::Options;
use etcd_client::{Certificate, Channel, Client, ConnectOptions, Identity, TlsOptions};
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::Duration;
use tonic::transport::Endpoint;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a ping may go unanswered before the connection counts as dead.
const PING_TIMEOUT: Duration = Duration::from_secs(3);
/// Large answers must not wait for the window of one stream.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// Checks everything that can be checked without the network.
pub fn endpoint(url: &Url, options: &Options) -> Result<Endpoint> {
    let invalid =
        |e: tonic::transport::Error| Error::Invalid(format!("endpoint \"{url}\": {}", chain(&e)));
    let endpoint = Endpoint::from_shared(url.to_string())
        .map_err(invalid)?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(options.keepalive)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    if !url.tls {
        return Ok(endpoint);
    }
    if options.insecure {
        return Err(Error::Unsupported("option \"insecure\" is not built yet for https".into()));
    }
    let tls = tls(options)?;
    endpoint.tls_config(tls).map_err(|e| Error::Tls(chain(&e)))
}

fn tls(options: &Options) -> Result<TlsOptions> {
    let mut tls = TlsOptions::new();
    tls = match &options.cacert {
        Some(path) => tls.ca_certificate(Certificate::from_pem(pem(path, "CERTIFICATE")?)),
        None => tls.with_native_roots(),
    };
    if let (Some(cert), Some(key)) = (&options.cert, &options.key) {
        tls = tls.identity(Identity::from_pem(pem(cert, "CERTIFICATE")?, pem(key, "PRIVATE KEY")?));
    }
    if let Some(name) = &options.server_name {
        tls = tls.domain_name(name);
    }
    Ok(tls)
}

fn pem(path: &Path, what: &str) -> Result<String> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Error::Tls(format!("{}: {e}", path.display())))?;
    if !text.contains(&format!("{what}-----")) {
        return Err(Error::Tls(format!("{}: no {what} in it", path.display())));
    }
    Ok(text)
}

/// A client on a connection that is there when this returns.
pub async fn connect(endpoint: &Endpoint) -> Result<Client> {
    // The endpoint's own time limit is for TCP; this one is for TLS too.
    let connecting = tokio::time::timeout(CONNECT_TIMEOUT, endpoint.connect());
    // Looking up a name panics where no thread can be started for it.
    let connected = AssertUnwindSafe(connecting).catch_unwind().await;
    let connected = connected.map_err(|_| Error::NoMemory("thread for a name look-up".into()))?;
    let too_late = |_| Error::Unavailable("not connected in time".into());
    let channel = connected.map_err(too_late)?.map_err(|e| match has_tls_error(&e) {
        true => Error::Tls(chain(&e)),
        false => Error::Unavailable(chain(&e)),
    })?;
    let options = ConnectOptions::new().with_require_leader(true);
    // Without credentials this does not touch the network.
    Client::from_channel(Channel::Tonic(channel), Some(options))
        .await
        .map_err(|e| Error::Unavailable(e.to_string()))
}

/// What a failed attempt means for the request.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// The server's last word: not applied, and not worth another try.
    Final(Error),
    /// Not applied; another try may succeed.
    NotApplied(Error),
    /// It may have been applied, or may be later.
    Unknown(String),
}

pub fn classify(error: &etcd_client::Error) -> Failure {
    match error {
        etcd_client::Error::GRpcStatus(status) => {
            if source::<tonic::ConnectError>(status).is_some() {
                let text = chain(status);
                return Failure::NotApplied(match has_tls_error(status) {
                    true => Error::Tls(text),
                    false => Error::Unavailable(text),
                });
            }
            match refusal(status.message()) {
                Some(failure) => failure,
                None => Failure::Unknown(chain(status)),
            }
        }
        etcd_client::Error::InvalidArgs(why) => Failure::Final(Error::Invalid(why.clone())),
        // Said by etcd-client of a lease whose renewal was answered with no time left.
        etcd_client::Error::LeaseKeepAliveError(why) if why == "lease not found" => {
            Failure::Final(Error::Lost(why.clone()))
        }
        other => Failure::Unknown(other.to_string()),
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
        "user name is empty"
        | "invalid auth token"
        | "revision of auth store is old"
        | "authentication failed, invalid user ID or password" => {
            Failure::Final(Error::Auth(text()))
        }
        "key is not provided"
        | "duplicate key given in txn request"
        | "mvcc: required revision is a future revision"
        | "too large lease TTL" => Failure::Final(Error::Invalid(text())),
        _ => return None,
    })
}

/// Whether a failed grant says that an earlier try of it succeeded.
pub fn is_granted_already(error: &etcd_client::Error) -> bool {
    matches!(error, etcd_client::Error::GRpcStatus(status)
        if status.message() == "etcdserver: lease already exists")
}

fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

fn source<'a, E: std::error::Error + 'static>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a E> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

fn has_tls_error(error: &(dyn std::error::Error + 'static)) -> bool {
    causes(error).any(|cause| {
        let io = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause.is::<rustls::Error>() || io.is_some_and(|inner| inner.is::<rustls::Error>())
    })
}

/// An error with its causes, each said once.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = match error.downcast_ref::<tonic::Status>() {
        Some(status) => status.message().to_owned(),
        None => error.to_string(),
    };
    for cause in causes(error).skip(1) {
        let cause = cause.to_string();
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
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
