//! What tests share: servers on loopback, caches and clocks, the real binary.

pub(crate) mod cache;
pub(crate) mod cli;
pub(crate) mod cloud;
pub(crate) mod origin;
pub(crate) mod raw_server;
