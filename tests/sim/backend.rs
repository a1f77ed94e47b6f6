//! The place of the state as the processes of a world find it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use freshen::state::{Backend, Holder, Identity, LockedState, RunStart, SqliteStore, StateError, Store};

use crate::planted::Bug;
use crate::seams::Shared;
use crate::store::{Facts, SimStore};

/// The state of a world, for one process.
#[derive(Clone)]
pub(crate) struct SimBackend {
    pub(crate) shared: Shared,
    /// 0, or 1 for the second of two runners.
    pub(crate) runner: u8,
    pub(crate) inner: Arc<Mutex<SqliteStore>>,
    /// Where it lies, if two runners share it.
    pub(crate) path: Option<PathBuf>,
    pub(crate) facts: Arc<Mutex<Facts>>,
    pub(crate) bug: Option<Bug>,
    /// A planted defect: what is put to the name of each account.
    pub(crate) ledger: String,
    /// Another run holds the lock.
    pub(crate) is_locked: Arc<AtomicBool>,
}

impl SimBackend {
    fn store(&self) -> SimStore {
        SimStore {
            shared: self.shared.clone(),
            runner: self.runner,
            inner: Arc::clone(&self.inner),
            path: self.path.clone(),
            facts: Arc::clone(&self.facts),
            bug: self.bug,
            debits: BTreeMap::default(),
            ledger: self.ledger.clone(),
        }
    }
}

impl Backend for SimBackend {
    fn location(&self) -> String {
        "the state".to_owned()
    }

    fn is_there(&self) -> bool {
        true
    }

    fn open(&self) -> Result<Option<Box<dyn Store>>, StateError> {
        Ok(Some(Box::new(self.store())))
    }

    fn identity(&self) -> Result<Option<Identity>, StateError> {
        self.store().identity().map(Some)
    }

    fn scratch(&self, _: &str) -> Result<Box<dyn Store>, StateError> {
        unreachable!("nothing is rehearsed here")
    }

    fn holder(&self) -> Option<Holder> {
        None
    }

    /// File systems without locks let two runners have it at once.
    fn try_lock(&self, _: &RunStart) -> Result<Result<Box<dyn LockedState>, Holder>, StateError> {
        Ok(if self.is_locked.load(Ordering::Relaxed) { Err(Holder::default()) } else { Ok(Box::new(self.clone())) })
    }

    fn write_probe(&self) -> Option<String> {
        None
    }
}

impl LockedState for SimBackend {
    fn open(&self) -> Result<Option<Box<dyn Store>>, StateError> {
        Backend::open(self)
    }

    fn create(&self, _: &str) -> Result<Box<dyn Store>, StateError> {
        unreachable!("there is a state from the beginning")
    }

    fn write_recovery_file(&self, name: &str, _: &str) -> Result<String, StateError> {
        Ok(name.to_owned())
    }
}
