//! freshen keeps CDN caches true to what was published.

pub mod ask;
pub mod cli;
pub mod core;
pub mod drive;
mod exchange;
pub mod host;
pub mod manifest;
mod mask;
pub mod run;
pub mod serve;
pub mod state;
pub mod vendor;
