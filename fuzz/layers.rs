//! The pure layers of freshen, compiled without the rest of it.

#[path = "../src/core/mod.rs"]
pub mod core;
#[path = "../src/manifest/mod.rs"]
pub mod manifest;
#[path = "../src/vendor/mod.rs"]
pub mod vendor;

/// What of the edge is pure as well.
#[path = "../src/cli"]
pub mod cli {
    pub mod diagnostics;
}
