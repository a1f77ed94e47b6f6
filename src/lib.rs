//! freshen keeps CDN caches true to what was published.
//!
//! Manifests list assets and the hash of their content. A run compares them with the hashes that it recorded, and purges,
//! through the matching provider, only the URLs whose hash changed; only then does it record the new hash.
//!
//! # Layers
//!
//! Each uses those above it, as far as a table at the top of `tests/it/tidy.rs` allows it.
//!
//! | module | job |
//! |---|---|
//! | `core` | pure: difference, plan, guards, the machines that say what to do next |
//! | `manifest` | pure: bytes to a checked model, or to all problems with their places |
//! | `vendor` | pure: a folder a vendor, with its adapter and its emulator |
//! | `state` | recorded hashes, pending work, quotas; the places that hold them |
//! | `host` | the effects, one seam a file |
//! | `engine` | one run: options in, events out |
//! | `serve` | page, metrics and health of a program that stays up |
//! | `daemon` | what stays up, and runs whenever files change or work is due |
//! | `cli` | arguments and results |
//!
//! # Invariants
//!
//! * What changed is pending on disk before anything is sent, an intent before its call, an outcome before it is reported.
//! * Only the documented acceptance of a vendor is recorded; any other answer leaves the target due.
//! * Quota is debited with the intent, and credited only where the vendor surely did not carry the call out.
//!
//! `docs/architecture.md` follows one asset through all layers and says where things live.
//!
//! There is no stable API: the library exists for the program and its tests.

pub mod cli;
pub mod core;
pub mod daemon;
pub mod engine;
pub mod host;
pub mod manifest;
pub mod serve;
pub mod state;
pub mod vendor;
