//! Connections to etcd: HTTP/2 on the h2 crate, one endpoint each. Unary calls go
//! straight over them, driven by the threads that make them; everything else by
//! way of etcd-client.

mod address;
mod answers;
mod call;
mod channel;
mod connection;
mod dial;
mod liveness;
mod look_up;
mod socket;
mod tls;
mod token;
mod wire;

#[cfg(any(test, feature = "fuzzing"))]
pub use call::{answer, refused};
pub use call::{Call, CallError, Done, Outcome, PREFIX};
pub use channel::channel;
pub use connection::{Connection, Driver};
pub use dial::Dialer;
pub use look_up::look_up;
pub use token::{Token, AUTHENTICATE};
