//! The run lock, and whether what a command read before it is as new as what other runs wrote.

use crate::host::Host;
use crate::state::{Backend, Identity, LockedState, RunStart, StateError, Store};

/// What a command has of the state before it reads what it will write by.
pub enum Claim {
    /// No lock, only which state it was, if there was one and it could be read.
    Seen(Result<Option<Identity>, StateError>),
    /// The lock: no other run writes meanwhile.
    Held(Box<dyn LockedState>),
}

/// The lock, and whether what was read still counts.
pub enum Claimed {
    /// The state was not written to since before the reading.
    Current(Box<dyn LockedState>),
    /// Another run came and went, or had to be waited for. It may have purged what is newer than what was read, so all has
    /// to be read again: once, since no other run comes in between while the lock is held.
    Overtaken(Box<dyn LockedState>),
}

impl Claim {
    /// Looks which state it is, before anything is read.
    pub fn before_reading(state: &dyn Backend) -> Self {
        Self::Seen(state.identity())
    }

    /// The lock, if it is held.
    pub fn held(self) -> Option<Box<dyn LockedState>> {
        match self {
            Self::Held(lock) => Some(lock),
            Self::Seen(_) => None,
        }
    }

    /// Whether another run has to be waited for.
    pub fn waits(&self, state: &dyn Backend) -> bool {
        matches!(self, Self::Seen(_)) && state.holder().is_some()
    }

    /// Takes the lock, unless it is held already, waiting up to `timeout_ms` for another run to end.
    ///
    /// # Errors
    /// As [`lock`].
    pub async fn take(
        self,
        host: &Host,
        state: &dyn Backend,
        start: &RunStart,
        timeout_ms: u64,
    ) -> Result<Claimed, StateError> {
        let waits = self.waits(state);
        let seen = match self {
            Self::Held(lock) => return Ok(Claimed::Current(lock)),
            Self::Seen(seen) => seen,
        };
        let lock = lock(host, state, start, timeout_ms).await?;
        let is_same = matches!((seen, state.identity()), (Ok(seen), Ok(found)) if seen == found);
        Ok(if is_same && !waits { Claimed::Current(lock) } else { Claimed::Overtaken(lock) })
    }
}

/// Takes the run lock, waiting up to `timeout_ms` for another run to end.
///
/// # Errors
/// Locked, with the holder's name; or a folder that cannot be written.
pub async fn lock(
    host: &Host,
    state: &dyn Backend,
    start: &RunStart,
    timeout_ms: u64,
) -> Result<Box<dyn LockedState>, StateError> {
    const LOOK_AGAIN_MS: u64 = 100;
    let end = host.clock.now().tick.plus_ms(timeout_ms);
    loop {
        let holder = match state.try_lock(start)? {
            Ok(lock) => return Ok(lock),
            Err(holder) => holder,
        };
        let now = host.clock.now().tick;
        if now >= end {
            return Err(StateError::Locked { location: state.location(), holder });
        }
        host.clock.sleep_until(now.plus_ms(LOOK_AGAIN_MS).min(end)).await;
    }
}

/// Who runs.
pub fn run_start(host: &Host) -> RunStart {
    RunStart { at: host.clock.now().wall, host: host.env.machine_name(), pid: std::process::id() }
}

/// A name for a new state, never given twice.
pub fn lineage(host: &Host) -> String {
    format!("{:032x}", fastrand::Rng::with_seed(host.seed ^ 0x6672_6573_6865_6e21).u128(..))
}

/// Opens the state of which the lock is held, or makes it.
///
/// # Errors
/// A state that cannot be used, and a place that cannot be written.
pub fn open_or_create(host: &Host, locked: &dyn LockedState) -> Result<Box<dyn Store>, StateError> {
    match locked.open()? {
        Some(store) => Ok(store),
        None => locked.create(&lineage(host)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::recorded::Inputs;
    use crate::core::time::Timestamp;
    use crate::state;

    fn start() -> RunStart {
        RunStart { at: Timestamp::from_unix_ms(0), host: "here".into(), pid: 1 }
    }

    async fn is_overtaken(claim: Claim, state: &dyn Backend) -> bool {
        matches!(claim.take(&Host::system(), state, &start(), 0).await.unwrap(), Claimed::Overtaken(_))
    }

    fn lock(state: &dyn Backend) -> Box<dyn LockedState> {
        state.try_lock(&start()).unwrap().expect("no other run has it")
    }

    /// S3: who comes and goes while another one reads has written what that one does not know.
    #[tokio::test]
    async fn a_write_after_the_reading_began_overtakes_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state.db");
        let state = &*state::at(&file);
        assert!(!is_overtaken(Claim::before_reading(state), state).await);
        let first = Claim::before_reading(state);
        drop(lock(state).create("1").unwrap());
        assert!(is_overtaken(first, state).await, "the first run came in between");
        assert!(!is_overtaken(Claim::before_reading(state), state).await);
        let second = Claim::before_reading(state);
        lock(state).open().unwrap().unwrap().note_inputs(&Inputs::default()).unwrap();
        assert!(is_overtaken(second, state).await);
        let replaced = Claim::before_reading(state);
        std::fs::remove_file(&file).unwrap();
        drop(lock(state).create("2").unwrap());
        assert!(is_overtaken(replaced, state).await);
    }

    /// S3: what could not be looked at may have been written by anybody.
    #[tokio::test]
    async fn a_state_that_could_not_be_looked_at_is_not_taken_for_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let state = &*state::at(&folder.path().join("state.db"));
        drop(lock(state).create("1").unwrap());
        let unreadable = StateError::Io { location: state.location(), action: "read", cause: "busy".into() };
        assert!(is_overtaken(Claim::Seen(Err(unreadable)), state).await);
    }
}
