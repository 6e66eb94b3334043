//! The C interface. An export is three moves inside one guard: take the
//! arguments, call the core once, hand out the answer. Its documentation is the
//! manual; the order of modules here is the order of sections in the header.

#![allow(unsafe_code, non_camel_case_types, clippy::missing_safety_doc)]

pub mod common;
pub mod dispatch;
pub mod event_watch;
pub mod kv;
pub mod lease;
pub mod lock;
pub mod mem_fault;
pub mod metrics;
pub mod mirror;
pub mod named_lock;
pub mod opts;
pub mod request;
pub mod result;
pub mod state;
pub mod status;
pub mod store;
pub mod temp_key;
pub mod txn;
pub mod types;
pub mod watch;

mod arena;
mod arg;
mod callback;
mod errmsg;
mod event;
mod guard;
mod handle;
mod keys;
mod out;
