//! libhmkv: the C library for etcd.
//!
//! Calls go down, events come up, and nobody reaches past a neighbour:
//!
//! ```text
//! C caller -> ffi (check, convert, guard)
//!          -> store, op, kv, lease, temp_key, lock, watch, mirror (what both backends share)
//!          -> calls (counts what goes to a backend)
//!          -> backend: mem | etcd
//! C callback <- dispatch <- watch queue <- backend
//! ```
//!
//! `ffi` never sees a backend, a backend never knows of C, and async Rust stays
//! inside `backend/etcd`. `unsafe` exists in `ffi/` and `sys.rs` only. A global is a
//! [`sys::ForkLocal`]: a forked child starts afresh.

mod backend;
mod calls;
mod cluster;
mod dispatch;
mod endpoint;
mod error;
mod fault;
mod feed;
mod ffi;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzz;
mod gate;
mod kv;
mod lease;
mod lock;
mod log;
mod metrics;
mod mirror;
mod namespace;
mod op;
mod options;
mod pager;
mod request;
mod runtime;
mod signal;
mod state;
mod store;
mod sync;
mod sys;
mod temp_key;
mod timer;
mod types;
mod watch;
