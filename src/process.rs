//! All that is global, in one place: a forked child starts with a fresh one.

use crate::backend::mem::Mem;
use crate::ffi::handle::Table;
use crate::gate::Waits;
use crate::log::Log;
use crate::runtime::Shared;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

#[derive(Default)]
pub struct Process {
    pub handles: Table,
    pub log: Log,
    pub waits: Mutex<Waits>,
    pub runtime: Mutex<Shared>,
    /// The stores of `mem:` by name. They live as long as the process.
    pub mem: Mutex<HashMap<String, Arc<Mem>>>,
}
