//! Refuses a plan that is probably a mistake, with the numbers and the way on.

use std::collections::HashMap;

use super::changes::{Tallies, Tally};
use super::collapse::Directory;
use super::command_line::{CommandLine, Verb};
use super::diff::{Difference, Removals};
use super::hold::{Hold, Moves};
use super::model::{Guard, Limit, Manifest, Model};
use super::owners::MovedManifest;
use super::plan::Plan;

/// A first run above this many purges needs a word from the user.
pub const FIRST_RUN_PURGES: usize = 100;
/// Removals up to this many a manifest are never refused.
pub const REMOVALS: usize = 10;
/// Removals above this share of a manifest's recorded targets are refused, in percent.
pub const REMOVALS_PERCENT: usize = 30;
/// The way on where removals are a mistake.
const NOT_MEANT: &str =
    "if not, restore what lists them; what else changed of the manifest goes meanwhile with `--only PATTERN`";

/// What the user allowed for this run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allowed {
    /// `--purge-all`
    pub purge_all: bool,
    /// `--allow-removals`
    pub removals: bool,
    /// `--max-purges N`: most purges of each manifest, in place of what its guard says.
    pub max_purges: Option<u64>,
}

/// Why a plan is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing is recorded, so everything looks new.
    #[error(
        "first run: nothing is recorded yet, so all {purges} targets would be purged (more than {FIRST_RUN_PURGES})"
    )]
    FirstRun {
        /// Targets that would be purged.
        purges: usize,
    },
    /// The state keeps manifests of several repositories apart, and this run does not say which one it is of.
    #[error(
        "this state is used with {}, and this run has no namespace: say whose manifests these are with `--namespace`",
        list(namespaces)
    )]
    Namespace {
        /// Namespaces in use.
        namespaces: Vec<String>,
    },
    /// A manifest of the same name in another place, which lists nothing of what the state knows of it.
    #[error(
        "manifest `{manifest}` was read from `{before}` before, where it still is; the one at `{now}` lists none of its \
         targets, and {removed} would be removed"
    )]
    Elsewhere {
        /// Name of the manifest.
        manifest: String,
        /// Absolute path that it was read from before.
        before: String,
        /// Absolute path that it is read from now.
        now: String,
        /// Recorded targets that would be removed.
        removed: usize,
    },
    /// A manifest lost a large share of its targets.
    #[error(
        "manifest `{manifest}`: {removed} of its {recorded} recorded targets are no longer listed{} \
         (more than {REMOVALS_PERCENT} % and more than {REMOVALS})",
        over_time(*.earlier)
    )]
    Removals {
        /// Name of the manifest.
        manifest: String,
        /// Its recorded targets.
        recorded: usize,
        /// How many of them it no longer lists.
        removed: usize,
        /// How many of those went with earlier runs.
        earlier: usize,
    },
    /// A manifest lost more of its targets than its guard allows.
    #[error(
        "manifest `{manifest}`: {removed} of its {recorded} recorded targets are no longer listed{} \
         (its guard says `max_removed: {most}`)",
        over_time(*.earlier)
    )]
    GuardedRemovals {
        /// Name of the manifest.
        manifest: String,
        /// Its recorded targets.
        recorded: usize,
        /// How many of them it no longer lists.
        removed: usize,
        /// How many of those went with earlier runs.
        earlier: usize,
        /// What its guard allows.
        most: Limit,
    },
    /// More purges of a manifest's targets than its guard allows.
    #[error("manifest `{manifest}`: {purges} purges{} (its guard says `max_purges: {most}`)", and_later(*.later))]
    Purges {
        /// Name of the manifest.
        manifest: String,
        /// Purges of its targets.
        purges: usize,
        /// How many more wait for another quota day.
        later: usize,
        /// What its guard allows.
        most: u64,
    },
    /// Purges of a larger share of a manifest's recorded targets than its guard allows.
    #[error(
        "manifest `{manifest}`: purges of {purged} of its {recorded} recorded targets{} (its guard says \
         `max_share: {most}%`)", and_later(*.later)
    )]
    Share {
        /// Name of the manifest.
        manifest: String,
        /// Its recorded targets.
        recorded: usize,
        /// How many of them would be purged.
        purged: usize,
        /// Purges of its targets, with those of new ones.
        purges: usize,
        /// How many more wait for another quota day.
        later: usize,
        /// What its guard allows, in percent.
        most: u64,
    },
    /// A manifest asks for a directory that is a whole host.
    #[error(
        "manifest `{manifest}`: `{host}` would be purged as a whole in place of {purges} URLs, with {others} other listed \
         URLs and all else that caches keep of it"
    )]
    WholeHost {
        /// Name of the manifest.
        manifest: String,
        /// URL of the directory.
        host: String,
        /// Purges that it stands for.
        purges: usize,
        /// Listed URLs that are fetched anew without need.
        others: usize,
    },
    /// More purges of a manifest's targets than the user allowed.
    #[error("manifest `{manifest}`: {purges} purges, more than `--max-purges {most}` allows")]
    Asked {
        /// Name of the manifest.
        manifest: String,
        /// Purges of its targets.
        purges: usize,
        /// What the user allowed.
        most: u64,
    },
}

fn list(namespaces: &[String]) -> String {
    let quoted: Vec<String> = namespaces.iter().map(|namespace| format!("`--namespace {namespace}`")).collect();
    quoted.join(", ")
}

fn over_time(earlier: usize) -> String {
    if earlier == 0 { String::new() } else { format!(", {earlier} of them since earlier runs of this hour") }
}

fn and_later(later: usize) -> String {
    if later == 0 { String::new() } else { format!(", and {later} more on later days") }
}

impl Refusal {
    /// The manifest it is about, if it is about one.
    pub fn manifest(&self) -> Option<&str> {
        match self {
            Self::FirstRun { .. } | Self::Namespace { .. } => None,
            Self::Removals { manifest, .. }
            | Self::GuardedRemovals { manifest, .. }
            | Self::Elsewhere { manifest, .. }
            | Self::Purges { manifest, .. }
            | Self::Share { manifest, .. }
            | Self::WholeHost { manifest, .. }
            | Self::Asked { manifest, .. } => Some(manifest),
        }
    }

    /// Whether it is about targets that are not listed any more.
    pub const fn is_of_removals(&self) -> bool {
        matches!(self, Self::Removals { .. } | Self::GuardedRemovals { .. } | Self::Elsewhere { .. })
    }

    /// Holds back what it is about: its manifest, or all where it is not about one alone.
    pub fn hold(&self, hold: &mut Hold, moves: &Moves) {
        match self.manifest().filter(|_| !matches!(self, Self::Elsewhere { .. })) {
            Some(manifest) => hold.add(manifest, moves),
            None => hold.add_all(),
        }
    }

    /// What is wrong, and the way on.
    pub fn with_way_on(&self, commands: &CommandLine) -> String {
        self.way_on(commands).map_or_else(|| self.to_string(), |way_on| format!("{self}; {way_on}"))
    }

    /// What to do if the plan is no mistake.
    fn way_on(&self, commands: &CommandLine) -> Option<String> {
        let removals = || commands.offer(Verb::Apply, &["--allow-removals"]);
        let purges = |most: usize| commands.offer(Verb::Apply, &["--max-purges", &most.to_string()]);
        Some(match self {
            Self::FirstRun { .. } => format!(
                "if the caches are fresh, record them without purging: {}; to purge them all: {}",
                commands.offer(Verb::Adopt, &[]),
                commands.offer(Verb::Apply, &["--purge-all"])
            ),
            Self::Elsewhere { .. } => format!(
                "if it is another manifest, give it a `name:` or its repository a `--namespace`; if it is the same one: {}",
                removals()
            ),
            Self::Removals { .. } => {
                format!(
                    "if that is meant: {} for once, or `max_removed` in its guard for good; {NOT_MEANT}",
                    removals()
                )
            }
            Self::GuardedRemovals { .. } => {
                format!("if that is meant: {} for once, or a larger `max_removed` for good; {NOT_MEANT}", removals())
            }
            Self::Purges { purges: now, later, .. } | Self::Share { purges: now, later, .. } => {
                format!("if that is meant: {}", purges(now + later))
            }
            Self::WholeHost { purges: now, others, .. } => {
                format!("if that is meant: {}, or `max_purges` in its guard", purges(now + others))
            }
            Self::Namespace { .. } | Self::Asked { .. } => return None,
        })
    }

    /// Names the rule and what it is about: the same as long as only numbers change.
    pub fn subject(&self) -> String {
        let rule = match self {
            Self::FirstRun { .. } => "first run",
            Self::Namespace { .. } => "namespace",
            Self::Elsewhere { .. } => "elsewhere",
            Self::Removals { .. } => "removals",
            Self::GuardedRemovals { .. } => "guarded removals",
            Self::Purges { .. } => "purges",
            Self::Share { .. } => "share",
            Self::WholeHost { host, .. } => {
                return format!("whole host {host} of {}", self.manifest().unwrap_or_default());
            }
            Self::Asked { .. } => "purges asked for",
        };
        self.manifest().map_or_else(|| rule.to_owned(), |manifest| format!("{rule} of {manifest}"))
    }
}

/// What guards look at.
struct Check<'a> {
    model: &'a Model,
    difference: &'a Difference,
    plan: &'a Plan,
    /// Nothing was ever recorded.
    first_run: bool,
    allowed: Allowed,
}

/// All reasons to refuse; empty: go on. `first_run` says that nothing was ever recorded.
///
/// What counts is sent by this run and was not let through before: neither what waits for another day, was rejected, is held
/// back or was left out by the user, nor what an earlier run was allowed to send with the same content.
pub fn check(model: &Model, difference: &Difference, plan: &Plan, first_run: bool, allowed: Allowed) -> Vec<Refusal> {
    Check { model, difference, plan, first_run, allowed }.refusals(&later(plan).collect::<Vec<_>>())
}

/// Manifests whose removals guards would refuse in a run of all targets: what a narrower one leaves out of them may be an
/// accident.
pub fn lost_in_whole(model: &Model, difference: &Difference, allowed: Allowed) -> Vec<String> {
    if allowed.removals {
        return Vec::new();
    }
    let whole = |removals: &Removals| {
        let (of, lost, _) = removals.whole;
        Removals { removed: lost, lost, of, ..removals.clone() }
    };
    let removals = difference.removals.iter().map(whole).collect();
    let (difference, plan) = (&Difference { removals, ..Difference::default() }, &Plan::default());
    let check = Check { model, difference, plan, first_run: false, allowed };
    check.removals().iter().filter_map(|refusal| refusal.manifest().map(str::to_owned)).collect()
}

/// Which changes go on by themselves once a plan was let through, by index: what it sends, and what the quota leaves for
/// other days if guards let all of that through at once as well.
pub fn admitted(model: &Model, difference: &Difference, plan: &Plan, first_run: bool, allowed: Allowed) -> Vec<bool> {
    let check = Check { model, difference, plan, first_run, allowed };
    let mut admitted = vec![true; difference.changes.len()];
    let mut leave = |index: usize| admitted[index] = false;
    left_out(plan).for_each(&mut leave);
    if !check.refusals(&[]).is_empty() {
        later(plan).for_each(&mut leave);
    }
    // To purge URLs one by one is another thing than to purge their host as a whole, once there is a quota for that.
    let whole = plan.one_by_one.iter().filter(|directory| check.is_whole(directory));
    whole.flat_map(|directory| &directory.changes).for_each(|&index| leave(index as usize));
    admitted
}

/// What a plan does not send at all.
fn left_out(plan: &Plan) -> impl Iterator<Item = usize> {
    [&plan.unselected, &plan.refused, &plan.waiting, &plan.rejected].into_iter().flatten().copied()
}

/// What waits for another quota day.
fn later(plan: &Plan) -> impl Iterator<Item = usize> {
    plan.jobs.iter().flat_map(|job| job.over_quota.iter())
}

impl<'a> Check<'a> {
    /// Reasons to refuse what the plan sends, with what waits for another day unless it is `left`.
    fn refusals(&self, left: &[usize]) -> Vec<Refusal> {
        if self.difference.hold.is_all() {
            return Vec::new();
        }
        let tallies = self.tallies(left);
        let mut refusals = Vec::new();
        if self.first_run && tallies.purges > FIRST_RUN_PURGES && !self.allowed.purge_all {
            refusals.push(Refusal::FirstRun { purges: tallies.purges });
        }
        if !self.difference.namespaces.is_empty() {
            refusals.push(Refusal::Namespace { namespaces: self.difference.namespaces.clone() });
        }
        if !self.allowed.removals {
            refusals.extend(elsewhere(self.model, self.difference));
            refusals.extend(self.removals());
        }
        refusals.extend(self.purges(tallies));
        if self.allowed.max_purges.is_none() {
            refusals.extend(self.whole_hosts());
        }
        refusals
    }

    fn tallies(&self, left: &[usize]) -> Tallies<'a> {
        self.difference.changes.tally(left_out(self.plan).chain(left.iter().copied()))
    }

    /// A host that would be purged as a whole, where no limit was given that the purge keeps to.
    fn is_whole(&self, directory: &Directory) -> bool {
        let is_whole = directory.target.path_and_query().as_deref() == Some("/");
        let is_limited =
            self.model.manifests[directory.manifest].guard.max_purges.or(self.allowed.max_purges).is_some();
        is_whole && !is_limited
    }

    /// Directories that were not let through before.
    fn directories(&self) -> impl Iterator<Item = &Directory> {
        let is_admitted = |&index: &u32| self.difference.changes.is_admitted(index as usize);
        let all = self.plan.jobs.iter().flat_map(|job| &job.directories);
        all.filter(move |directory| !directory.changes.iter().all(is_admitted))
    }

    fn whole_hosts(&self) -> impl Iterator<Item = Refusal> {
        let whole = self.directories().filter(|directory| self.is_whole(directory));
        whole.map(|directory| Refusal::WholeHost {
            manifest: self.model.manifests[directory.manifest].name.clone(),
            host: directory.target.text.clone(),
            purges: directory.changes.len(),
            others: directory.others,
        })
    }

    /// Manifests that lost much: that is a mistake of the manifest, however many purges it comes to in this run.
    fn removals(&self) -> Vec<Refusal> {
        let own = self.model.manifests.iter();
        let own = own.filter_map(|manifest| Some((manifest.name.as_str(), manifest.guard.max_removed?)));
        let own: HashMap<&str, Limit> = own.collect();
        let refusal = |removals: &Removals| {
            let (manifest, recorded, removed) = (removals.manifest.clone(), removals.of, removals.lost);
            let earlier = removed - removals.removed;
            match own.get(manifest.as_str()) {
                Some(&most) => most.is_exceeded(removed, recorded).then_some(Refusal::GuardedRemovals {
                    manifest,
                    recorded,
                    removed,
                    earlier,
                    most,
                }),
                None if removals.forgotten => None,
                None => (removed > REMOVALS && removed * 100 > recorded * REMOVALS_PERCENT)
                    .then_some(Refusal::Removals { manifest, recorded, removed, earlier }),
            }
        };
        let removals = self.difference.removals.iter();
        removals.filter(|removals| !self.difference.hold.has(&removals.manifest)).filter_map(refusal).collect()
    }

    /// Refusals for the number of purges; what the user allowed takes the place of all guards.
    fn purges(&self, mut tallies: Tallies<'a>) -> Vec<Refusal> {
        let Self { model, difference, allowed, .. } = self;
        let guarded = |guard: &Guard| guard.max_purges.is_some() || guard.max_share.is_some();
        if allowed.max_purges.is_none() && !model.manifests.iter().any(|manifest| guarded(&manifest.guard)) {
            return Vec::new();
        }
        let all = self.tallies(&[]);
        let more = |manifest: &Manifest| all.of(&manifest.name).purges - tallies.of(&manifest.name).purges;
        let later: Vec<usize> = model.manifests.iter().map(more).collect();
        for directory in self.directories() {
            // What a directory purges besides counts as if it had been asked for.
            let tally = tallies.of_manifests.entry(model.manifests[directory.manifest].name.as_str()).or_default();
            tally.add(Tally { purges: directory.others, of_recorded: directory.others });
        }
        let recorded: HashMap<&str, usize> =
            difference.removals.iter().map(|removals| (removals.manifest.as_str(), removals.recorded)).collect();
        let mut refusals = Vec::new();
        for (manifest, later) in model.manifests.iter().zip(later) {
            let name = || manifest.name.clone();
            let Tally { purges, of_recorded, .. } = tallies.of(&manifest.name);
            if let Some(most) = allowed.max_purges {
                if purges as u64 > most {
                    refusals.push(Refusal::Asked { manifest: name(), purges, most });
                }
                continue;
            }
            if let Some(most) = manifest.guard.max_purges.filter(|most| purges as u64 > *most) {
                refusals.push(Refusal::Purges { manifest: name(), purges, later, most });
            }
            let recorded = recorded.get(manifest.name.as_str()).copied().unwrap_or_default();
            // Targets that came over from another manifest are recorded, but not yet as this one's.
            let recorded = recorded.max(of_recorded);
            let share =
                manifest.guard.max_share.filter(|most| Limit::Percent(*most).is_exceeded(of_recorded, recorded));
            if let Some(most) = share {
                refusals.push(Refusal::Share { manifest: name(), recorded, purged: of_recorded, purges, later, most });
            }
        }
        refusals
    }
}

/// Manifests that have the names of others: they are read in another place, and nothing of what those list is kept.
pub fn elsewhere(model: &Model, difference: &Difference) -> Option<Refusal> {
    // However few of them the user selected.
    let loses =
        |moved: &&MovedManifest| difference.removals.iter().any(|all| all.manifest == moved.name && all.whole.1 > 0);
    let moved = difference.moved.iter().find(loses).or(difference.moved.first())?;
    let is_moved = |name: &str| difference.moved.iter().any(|moved| moved.name == name);
    let read = |name: &str| model.manifests.iter().find(|manifest| manifest.name == name);
    let (mut kept, mut removed) = (0, 0);
    for removals in &difference.removals {
        let name = removals.manifest.as_str();
        if is_moved(name) {
            let (recorded, removed, let_through) = removals.whole;
            kept += recorded - removed - let_through;
        }
        if is_moved(name) || read(name).is_none() {
            removed += removals.whole.1;
        }
    }
    (kept == 0 && removed > 0).then(|| Refusal::Elsewhere {
        manifest: moved.name.clone(),
        before: moved.before.clone(),
        now: read(&moved.name).map(|manifest| manifest.tree.absolute()).unwrap_or_default(),
        removed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(difference: &Difference, allowed: Allowed) -> Vec<Refusal> {
        super::check(&Model::default(), difference, &Plan::default(), false, allowed)
    }

    fn removals(recorded: usize, removed: usize) -> Difference {
        Difference { removals: vec![Removals::new("site".into(), recorded, removed)], ..Difference::default() }
    }

    #[test]
    fn removals_need_both_number_and_share() {
        let refused = |recorded, removed| !check(&removals(recorded, removed), Allowed::default()).is_empty();
        assert!(!refused(10, 10), "ten are never refused");
        assert!(refused(11, 11));
        assert!(!refused(100, 30), "thirty percent are let through");
        assert!(refused(100, 31));
        let forgotten = Removals { forgotten: true, ..Removals::new("site".into(), 100, 100) };
        let forgotten = Difference { removals: vec![forgotten], ..Difference::default() };
        assert!(check(&forgotten, Allowed::default()).is_empty(), "nothing is sent for them");
        let allowed = Allowed { removals: true, ..Allowed::default() };
        assert!(check(&removals(100, 100), allowed).is_empty());
    }
}
