//! What guards hold back, by manifest, while the rest goes; and what is known of a refusal while it lasts.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use super::changes::Changes;
use super::target::Target;
use super::text::count;
use super::time::Timestamp;

/// Why a change is left that a guard refuses.
pub const REFUSED: &str = "refused by a guard";

/// When removals were first seen that no run was to send so far, by what the state knows their provider and by target.
pub type SeenRemovals = HashMap<(String, Target), Timestamp>;

/// Pairs of manifests, by name, of which the second one lists a target that the first one listed before.
pub type Moves = BTreeSet<(String, String)>;

/// Manifests whose changes are held back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hold {
    all: bool,
    manifests: BTreeSet<String>,
}

impl Hold {
    /// Holds all back.
    pub const fn add_all(&mut self) {
        self.all = true;
    }

    /// Holds a manifest back. Manifests between which targets moved are held together.
    pub fn add(&mut self, manifest: &str, moves: &Moves) {
        self.manifests.insert(manifest.to_owned());
        loop {
            let before = self.manifests.len();
            for (from, to) in moves {
                if self.manifests.contains(from) || self.manifests.contains(to) {
                    self.manifests.extend([from.clone(), to.clone()]);
                }
            }
            if self.manifests.len() == before {
                return;
            }
        }
    }

    /// Whether nothing is held back.
    pub fn is_nothing(&self) -> bool {
        !self.all && self.manifests.is_empty()
    }

    /// Whether all is held back.
    pub const fn is_all(&self) -> bool {
        self.all
    }

    /// Manifests that are held beside `manifest`, by name.
    pub fn others(&self, manifest: &str) -> Vec<String> {
        self.manifests.iter().filter(|other| *other != manifest).cloned().collect()
    }

    /// Whether a manifest is held.
    pub fn has(&self, manifest: &str) -> bool {
        self.all || self.manifests.contains(manifest)
    }

    /// Whether any of the manifests is held that list a target, or listed it.
    pub fn has_any(&self, owners: &[String]) -> bool {
        self.all || (!self.manifests.is_empty() && owners.iter().any(|owner| self.manifests.contains(owner)))
    }

    /// Whether the change at `index` is held back. What earlier runs let through is not for guards any more.
    pub fn holds(&self, changes: &Changes, index: usize) -> bool {
        !self.is_nothing() && self.has_any(changes.owners(index)) && !changes.is_admitted(index)
    }

    /// How many changes are held back at each provider, by its index.
    pub fn numbers(&self, changes: &Changes, providers: usize) -> Vec<u64> {
        let mut numbers = vec![0; providers];
        for index in (0..changes.len()).filter(|&index| self.holds(changes, index)) {
            numbers[changes.provider(index)] += 1;
        }
        numbers
    }
}

/// A refusal of a guard, as it is known while it lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownRefusal {
    /// Name of the manifest; empty if it is about none or all.
    pub manifest: String,
    /// The rule and what it is about, see [`Refusal::subject`](super::guard::Refusal::subject).
    pub subject: String,
    /// What is wrong, with the numbers and the way on.
    pub text: String,
    /// When a run was first refused for it.
    pub since: Timestamp,
    /// What it holds back: names of providers, and numbers of targets.
    pub holds_back: Vec<(String, u64)>,
    /// Other manifests that are held back with it, by name, since targets moved between them.
    pub held_with: Vec<String>,
}

impl KnownRefusal {
    /// Why targets of manifests are left, `owners`; `None`: it does not hold them back.
    pub fn why_held(&self, owners: &[String]) -> Option<String> {
        if self.manifest.is_empty() || owners.contains(&self.manifest) {
            return Some(REFUSED.to_owned());
        }
        let is_held = owners.iter().any(|owner| self.held_with.contains(owner));
        is_held.then(|| format!("held back with manifest `{}`, which a guard refuses", self.manifest))
    }

    /// What it holds back, for people: `20 targets at own, 3 at media`.
    pub fn held_back(&self) -> String {
        let mut text = String::new();
        for (provider, number) in &self.holds_back {
            text += &if text.is_empty() {
                format!("{} at {provider}", count(*number, "target"))
            } else {
                format!(", {number} at {provider}")
            };
        }
        if text.is_empty() { "nothing".to_owned() } else { text }
    }
}

impl fmt::Display for KnownRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "since {}, which holds back {}: {}", self.since.utc_extended(), self.held_back(), self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// C11: however long the chain of moves is, its manifests are held together, and others are not.
    #[test]
    fn manifests_are_held_together_over_any_number_of_moves() {
        let moves = [("d", "c"), ("a", "b"), ("c", "b"), ("e", "f")].map(|(from, to)| (from.into(), to.into())).into();
        let mut hold = Hold::default();
        hold.add("a", &moves);
        assert_eq!(["a", "b", "c", "d", "e", "f"].map(|name| hold.has(name)), [true, true, true, true, false, false]);
    }
}
