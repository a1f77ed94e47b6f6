//! The state as one SQLite file. Nothing of SQL leaks out of this folder.

mod backend;
mod caches;
mod check;
mod connect;
mod failure;
mod file;
mod guards;
mod inputs;
mod integrity_stamp;
mod lock;
mod marks;
mod migrate;
mod namespace;
mod place;
mod proof;
mod purged;
mod quota;
mod read_ahead;
mod refusals;
mod rows;
mod runs;
mod scan;
mod schema;
mod scratch;
mod stat_caches;
mod store;
mod sums;
mod tasks;
mod write;
mod write_probe;

pub(super) use backend::SqliteBackend;
#[doc(hidden)]
pub use integrity_stamp::seal_as_it_is;
pub use lock::{Holder, RunLock};
pub use read_ahead::ReadAhead;
pub use store::SqliteStore;
#[doc(hidden)]
pub use sums::add_up;

use std::path::Path;

use super::{
    Commit, Counts, DoubtfulCall, Identity, OpenTask, QuotaUse, RefusedRun, RunRow, RunStart, Settled, StatCacheRow,
    StateError, Store, TaskCounts,
};

/// A path as errors name it.
fn location(path: &Path) -> String {
    path.display().to_string()
}
