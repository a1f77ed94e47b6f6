//! Directory purges in place of many URL purges, where a manifest asks for them.
//!
//! Knows no vendor: whether a provider can purge directories is told by its kind.

use std::collections::{BTreeMap, HashSet};

use super::changes::Changes;
use super::entries::Entries;
use super::model::Model;
use super::pack::origin_len;
use super::recorded::ChangeKind;
use super::target::{Scope, Target};

/// `collapse:` of a manifest: when a directory is purged in place of the URLs below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collapse {
    /// Path that begins and ends with `/`, as it stands in URLs.
    pub directory: String,
    /// So many purges of URLs of this manifest below it, at one provider and origin, are still sent one by one.
    pub above: u64,
}

/// A directory that is purged in place of the URLs below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Index into the model's providers.
    pub provider: usize,
    /// What the call purges.
    pub target: Target,
    /// Changes that it stands for, in order, at least one.
    pub changes: Vec<u32>,
    /// Listed URLs below it that are none of those changes and are fetched anew all the same.
    pub others: usize,
}

/// Takes the URLs out of `due`, the changes of one provider in order, that directories stand for. Of directories within
/// each other the outer one wins if what no inner one stands for is too much for single purges.
pub(super) fn collapse(model: &Model, changes: &Changes, provider: usize, due: &mut Vec<u32>) -> Vec<Directory> {
    let config = &model.providers[provider];
    let rules = model
        .manifests
        .iter()
        .flat_map(|manifest| manifest.collapse.iter().map(|collapse| (manifest.name.as_str(), collapse)));
    let mut rules: Vec<(&str, &Collapse)> = rules.collect();
    if rules.is_empty() || config.kind.directories(&config.options).is_none() {
        return Vec::new();
    }
    rules.sort_by_key(|(_, collapse)| std::cmp::Reverse(collapse.directory.len()));
    let mut found: BTreeMap<Target, Vec<u32>> = BTreeMap::new();
    let mut taken: HashSet<u32> = HashSet::new();
    for (manifest, collapse) in rules {
        for (target, below) in too_many(changes, due, &taken, manifest, collapse) {
            taken.extend(&below);
            found.retain(|inner, _| !inner.is_below(&target));
            found.insert(target, below);
        }
    }
    due.retain(|index| !taken.contains(index));
    let directory = |(target, changes_below): (Target, Vec<u32>)| Directory {
        provider,
        others: others(&model.entries, changes, provider, &target, &changes_below),
        target,
        changes: changes_below,
    };
    found.into_iter().map(directory).collect()
}

/// The directories that a rule asks for, with all changes below them.
fn too_many(
    changes: &Changes,
    due: &[u32],
    taken: &HashSet<u32>,
    manifest: &str,
    collapse: &Collapse,
) -> Vec<(Target, Vec<u32>)> {
    let mut by_origin: BTreeMap<String, (u64, Vec<u32>)> = BTreeMap::new();
    for &number in due {
        let index = number as usize;
        let text = changes.target(index).text;
        let (origin, path) = text.split_at(origin_len(&text));
        if !path.starts_with(&collapse.directory) || may_leave(path) {
            continue;
        }
        let counts = !taken.contains(&number) && changes.owners(index).iter().any(|owner| owner == manifest);
        let (count, below) = by_origin.entry(origin.to_owned()).or_default();
        *count += u64::from(counts);
        below.push(number);
    }
    let too_many = by_origin.into_iter().filter(|(_, (count, _))| *count > collapse.above);
    too_many.map(|(origin, (_, below))| (Target::directory(origin + &collapse.directory), below)).collect()
}

/// Whether a cache may take a path for one above the directory that it begins with.
fn may_leave(path: &str) -> bool {
    path.to_ascii_lowercase().replace("%2e", ".").contains("..")
}

/// How many listed URLs below a directory are none of the changes that it stands for.
fn others(entries: &Entries, changes: &Changes, provider: usize, directory: &Target, below: &[u32]) -> usize {
    let listed = below.iter().filter(|index| changes.kind(**index as usize) != ChangeKind::Removed).count();
    entries.count_below(provider, Scope::Url, &directory.text).saturating_sub(listed)
}
