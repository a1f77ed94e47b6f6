//! freshen keeps CDN caches true to what was published.

pub mod core;
pub mod drive;
pub mod host;
mod mask;
pub mod provider;
pub mod rehearse;
pub mod state;
