//! What tests share: servers on loopback, caches and clocks, the real binary, and worlds in virtual time.

pub(crate) mod cache;
pub(crate) mod cli;
pub(crate) mod cloud;
pub(crate) mod origin;
pub(crate) mod program;
pub(crate) mod raw_server;
pub(crate) mod reader;
pub(crate) mod relay;
pub(crate) mod watching;
pub(crate) mod world;
