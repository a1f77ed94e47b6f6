//! freshen keeps CDN caches true to what was published.

pub mod core;
pub mod host;
pub mod provider;
pub mod state;
