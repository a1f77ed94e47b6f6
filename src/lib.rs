//! freshen keeps CDN caches true to what was published.

pub mod cli;
pub mod core;
pub mod daemon;
pub mod engine;
pub mod host;
pub mod manifest;
pub mod serve;
pub mod state;
pub mod vendor;
