//! freshen keeps CDN caches true to what was published.

pub mod core;
pub mod manifest;
pub mod provider;
