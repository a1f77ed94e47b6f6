//! Directory purges in place of many URL purges, where a manifest asks for them.
//!
//! Knows no vendor: whether a provider can purge directories is a matter of its kind.

use std::collections::{BTreeMap, HashSet};

use super::arena::origin_len;
use super::changes::Changes;
use super::entries::Entries;
use super::model::{Collapse, Model};
use super::recorded::ChangeKind;
use super::target::{Scope, Target};

/// A directory that is purged in place of the URLs below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Index into the model's providers.
    pub provider: usize,
    /// What the call purges.
    pub target: Target,
    /// Index of the manifest that asks for it.
    pub manifest: usize,
    /// Changes that it stands for, in order, at least one.
    pub changes: Vec<u32>,
    /// Listed URLs below it that are none of those changes and are fetched anew all the same.
    pub others: usize,
}

/// Takes the URLs out of `due`, the changes of one provider in order, that directories stand for. Of directories within
/// each other the outer one wins if what no inner one stands for is too much for single purges.
pub(super) fn collapse(model: &Model, changes: &Changes, provider: usize, due: &mut Vec<u32>) -> Vec<Directory> {
    let config = &model.providers[provider];
    let rules = model.manifests.iter().enumerate();
    let mut rules: Vec<(usize, &Collapse)> =
        rules.flat_map(|(index, manifest)| manifest.collapse.iter().map(move |collapse| (index, collapse))).collect();
    if rules.is_empty() || config.kind.directories(&config.options).is_none() {
        return Vec::new();
    }
    rules.sort_by_key(|(_, collapse)| std::cmp::Reverse(collapse.directory.len()));
    let origins = origins(changes, due);
    let mut found: BTreeMap<Target, (usize, Vec<u32>)> = BTreeMap::new();
    let mut taken: HashSet<u32> = HashSet::new();
    for (manifest, collapse) in rules {
        let name = &model.manifests[manifest].name;
        for origin in &origins {
            let target = Target::directory(format!("{origin}{}", collapse.directory));
            let mut below = below(changes, due, &target.text).to_vec();
            below.retain(|index| !may_leave(&changes.target(*index as usize).text[origin.len()..]));
            let is_own = |index: &u32| {
                !taken.contains(index) && changes.owners(*index as usize).iter().any(|owner| owner == name)
            };
            if below.iter().filter(|index| is_own(index)).count() as u64 > collapse.above {
                taken.extend(&below);
                found.retain(|inner, _| !inner.is_below(&target));
                found.insert(target, (manifest, below));
            }
        }
    }
    due.retain(|index| !taken.contains(index));
    let directory = |(target, (manifest, below)): (Target, (usize, Vec<u32>))| Directory {
        provider,
        manifest,
        others: others(&model.entries, changes, provider, &target, &below),
        target,
        changes: below,
    };
    found.into_iter().map(directory).collect()
}

/// Schemes and authorities of URLs with a path, in order.
fn origins(changes: &Changes, due: &[u32]) -> Vec<String> {
    let mut origins = Vec::new();
    let mut rest = due;
    while let Some(&first) = rest.first() {
        let text = changes.target(first as usize).text;
        let origin = &text[..origin_len(&text)];
        // Other hosts may stand between a URL without a path and those with one: `https://a.cn`, `https://a.cn-x/`, `https://a.cn/`.
        let has_path = text[origin.len()..].starts_with('/');
        let all = if has_path { below(changes, rest, &format!("{origin}/")).len() } else { 1 };
        if has_path {
            origins.push(origin.to_owned());
        }
        rest = &rest[all..];
    }
    origins
}

/// The changes, of those in order, whose targets begin with `start`: they stand together.
fn below<'d>(changes: &Changes, due: &'d [u32], start: &str) -> &'d [u32] {
    let text = |index: &u32| changes.target(*index as usize).text;
    let from = &due[due.partition_point(|index| text(index).as_str() < start)..];
    &from[..from.partition_point(|index| text(index).starts_with(start))]
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
