//! What tests share: servers on loopback, caches and clocks.

pub(crate) mod cache;
pub(crate) mod origin;
pub(crate) mod program;
pub(crate) mod raw_server;
pub(crate) mod relay;
