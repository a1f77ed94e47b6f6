//! What a program that stays up carries from pass to pass.

use crate::core::budget::LastCalls;
use crate::core::diff::Removals;
use crate::core::hold::Hold;
use crate::core::removal_window::RemovalWindow;
use crate::core::time::Tick;
use crate::state::{Identity, Store};

/// Vendors are asked for their count of a quota at most this often, in milliseconds: the query comes before the purge.
const ASK_QUOTAS_MS: u64 = 600_000;

/// What one pass has to know of those before it.
#[derive(Debug, Default)]
pub struct PassMemory {
    last_calls: LastCalls,
    /// The state as it was when our last pass ended: no other run has sent anything if it still is.
    identity: Option<Identity>,
    quotas_asked_at: Option<Tick>,
    removals: RemovalWindow,
}

impl PassMemory {
    /// The state as it was when our last pass ended.
    pub const fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// Whether the state is as our last pass left it.
    pub fn is_alone(&self, store: &dyn Store) -> bool {
        self.identity.is_some() && store.identity().ok() == self.identity
    }

    /// Lets `write` change the state between passes: that is no other run.
    pub fn alone<T>(&mut self, store: &mut dyn Store, write: impl FnOnce(&mut dyn Store) -> T) -> T {
        let is_alone = self.is_alone(store);
        let written = write(store);
        if is_alone {
            self.identity = store.identity().ok();
        }
        written
    }

    /// What was written between passes, in this state, was no other run.
    pub fn goes_on(&mut self, store: Option<&dyn Store>) {
        self.marked(store);
    }

    /// A pass begins; returns what is known of calls before.
    pub(super) fn begins(&mut self, store: Option<&dyn Store>, now: Tick) -> LastCalls {
        if !store.is_some_and(|store| self.is_alone(store)) {
            // Another run may have sent a call a moment ago, and nothing is known of what it was allowed.
            self.last_calls = LastCalls::since(now);
            self.removals.others_ran();
        }
        self.last_calls.clone()
    }

    /// Has the removals of this pass count with those of passes before it.
    pub(super) fn weigh(&mut self, removals: &mut [Removals], now: Tick) {
        self.removals.add_up(removals, now);
    }

    /// A guard refuses the plan, or what is held of it.
    pub(super) fn refused(&mut self, hold: &Hold) {
        self.removals.refused(|manifest| hold.is_nothing() || hold.has(manifest));
    }

    /// The state is written and the pass may end.
    pub(super) fn marked(&mut self, store: Option<&dyn Store>) {
        self.identity = store.and_then(|store| store.identity().ok());
    }

    /// Calls were made.
    pub(super) fn called(&mut self, last_calls: &LastCalls) {
        self.last_calls = last_calls.clone();
    }

    /// Whether providers are asked what is left of their quotas in this pass.
    pub(super) fn asks_quotas(&mut self, now: Tick) -> bool {
        let due = self.quotas_asked_at.is_none_or(|at| now.since(at) >= ASK_QUOTAS_MS);
        if due {
            self.quotas_asked_at = Some(now);
        }
        due
    }
}
