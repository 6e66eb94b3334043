//! Sequences of calls on `mem:` with hostile handles, lengths, options and times,
//! compared with a model where that is cheap.
#![no_main]

mod callbacks;
mod event_loop;
mod faults;
mod input;
mod leases;
mod mirror;
mod model;
mod others;
mod requests;
mod watches;
mod world;

libfuzzer_sys::fuzz_target!(|data: &[u8]| world::run(data));
