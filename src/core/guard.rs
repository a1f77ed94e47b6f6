//! Refuses a plan that is probably a mistake, with the numbers and the way on.

use super::diff::Difference;

/// A first run above this many purges needs a word from the user.
pub const FIRST_RUN_PURGES: usize = 100;
/// Removals up to this many a manifest are never refused.
pub const REMOVALS: usize = 10;
/// Removals above this share of a manifest's recorded targets are refused, in percent.
pub const REMOVALS_PERCENT: usize = 30;

/// What the user allowed for this run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allowed {
    /// `--purge-all`
    pub purge_all: bool,
    /// `--allow-removals`
    pub removals: bool,
}

/// Why a plan is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing is recorded, so everything looks new.
    #[error(
        "first run: nothing is recorded yet, so all {purges} targets would be purged (more than {FIRST_RUN_PURGES}); \
         if the caches are fresh, record them without purging: `freshen adopt`; to purge them all: `freshen apply --purge-all`"
    )]
    FirstRun {
        /// Targets that would be purged.
        purges: usize,
    },
    /// A manifest lost a large share of its targets.
    #[error(
        "manifest `{manifest}`: {removed} of its {recorded} recorded targets are no longer listed \
         (more than {REMOVALS_PERCENT} % and more than {REMOVALS}); if that is meant: `freshen apply --allow-removals`"
    )]
    Removals {
        /// Name of the manifest.
        manifest: String,
        /// Its recorded targets.
        recorded: usize,
        /// How many of them it no longer lists.
        removed: usize,
    },
}

/// All reasons to refuse; empty: go on. `first_run` says that nothing was ever recorded.
pub fn check(difference: &Difference, first_run: bool, allowed: Allowed) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let purges = difference.changes.len();
    if first_run && purges > FIRST_RUN_PURGES && !allowed.purge_all {
        refusals.push(Refusal::FirstRun { purges });
    }
    for (manifest, recorded, removed) in &difference.removals {
        if *removed > REMOVALS && removed * 100 > recorded * REMOVALS_PERCENT && !allowed.removals {
            let manifest = manifest.clone();
            refusals.push(Refusal::Removals { manifest, recorded: *recorded, removed: *removed });
        }
    }
    refusals
}

#[cfg(test)]
mod tests {
    use super::*;

    fn removals(recorded: usize, removed: usize) -> Difference {
        Difference { removals: vec![("site".into(), recorded, removed)], ..Difference::default() }
    }

    #[test]
    fn removals_need_both_number_and_share() {
        let refused = |recorded, removed| !check(&removals(recorded, removed), false, Allowed::default()).is_empty();
        assert!(!refused(10, 10), "ten are never refused");
        assert!(refused(11, 11));
        assert!(!refused(100, 30), "thirty percent are let through");
        assert!(refused(100, 31));
        let allowed = Allowed { removals: true, ..Allowed::default() };
        assert!(check(&removals(100, 100), false, allowed).is_empty());
    }
}
