//! What can go wrong, as a caller would act on it.

use thiserror::Error;

pub type Result<T> = std::result::Result<T, Error>;

/// A failure. Every variant but [`Error::Indeterminate`] means that a write was
/// not applied and never will be. The text holds details only: the caller knows
/// which call failed, and the status already says how.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Error {
    #[error("{0}")]
    Invalid(String),
    #[error("stale, closed, foreign or NULL handle")]
    Handle,
    #[error("the store was closed during the call")]
    Closed,
    #[error("the handle was inherited through fork; open one in this process")]
    Forked,
    #[error("{0}")]
    InCallback(String),
    #[error("the request was cancelled")]
    Canceled,
    #[error("{0}")]
    Unavailable(String),
    #[error("{0}")]
    Indeterminate(String),
    #[error("{0}")]
    Auth(String),
    #[error("{0}")]
    Denied(String),
    #[error("{0}")]
    Tls(String),
    #[error("{0}")]
    TooLarge(String),
    #[error("{0}")]
    NoSpace(String),
    #[error("{0}")]
    Compacted(String),
    #[error("{0}")]
    Lost(String),
    #[error("the value contains a NUL byte")]
    Binary,
    #[error("{0}")]
    NoMemory(String),
    #[error("{0}")]
    Unsupported(String),
    #[error("{0}")]
    Internal(String),
}

impl Error {
    /// For answers that make no sense: a bug here or in the server.
    pub fn unexpected(what: &str) -> Self {
        Self::Internal(format!("unexpected answer: {what}"))
    }
}
