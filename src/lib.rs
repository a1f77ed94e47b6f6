//! freshen keeps CDN caches true to what was published.

pub mod cli;
pub mod core;
pub mod host;
pub mod manifest;
pub mod provider;
pub mod rehearse;
pub mod state;
