//! Patterns and provider names that narrow a command down.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::args::Selection;
use super::exit::Stop;
use crate::core::changes::Changes;
use crate::core::model::Model;
use crate::core::text::one_line;

/// Compiles patterns in which `*` stands for any text, `/` included.
///
/// # Errors
/// Bad input for a pattern that is not one.
pub(super) fn patterns(list: &[String]) -> Result<GlobSet, Stop> {
    let bad = |pattern: &str, error: globset::Error| {
        Stop::bad_input(format!("pattern `{pattern}` is not valid: {}", error.kind()))
    };
    let mut set = GlobSetBuilder::new();
    for pattern in list {
        set.add(GlobBuilder::new(pattern).literal_separator(false).build().map_err(|error| bad(pattern, error))?);
    }
    set.build().map_err(|error| bad(&list.join(", "), error))
}

/// Warnings about patterns that narrow nothing down and force nothing, since no target of the manifests or of the changes
/// matches them.
///
/// # Errors
/// Bad input for a pattern that is not one.
pub(super) fn unmatched(model: &Model, changes: &Changes, selection: &Selection) -> Result<Vec<String>, Stop> {
    let Selection { only, force, providers, .. } = selection;
    let mut unmatched = [("--only", only, patterns(only)?), ("--force", force, patterns(force)?)]
        .map(|(option, list, set)| (option, list, set, vec![true; list.len()]));
    if unmatched.iter().all(|(_, list, ..)| list.is_empty()) {
        return Ok(Vec::new());
    }
    let entries = model.entries.iter().map(|entry| (entry.provider, entry.target));
    for (provider, target) in entries.chain(changes.iter().map(|change| (change.provider, change.target))) {
        if !providers.is_empty() && !providers.contains(&model.providers[provider].name) {
            continue;
        }
        for (_, list, set, unmatched) in &mut unmatched {
            let matches = set.matches(&target.text);
            let is_left_out = matches.is_empty() && !list.is_empty();
            for index in matches {
                unmatched[index] = false;
            }
            // What `--only` leaves out is not forced either.
            if is_left_out {
                break;
            }
        }
    }
    let warnings = unmatched.into_iter().flat_map(|(option, list, _, unmatched)| {
        let those = list.iter().zip(unmatched).filter(|(_, is_unmatched)| *is_unmatched);
        those.map(move |(pattern, _)| {
            let pattern = one_line(pattern, 300);
            format!(
                "`{option} {pattern}` matches no target; patterns are held against whole URLs and ids, `*` is any text"
            )
        })
    });
    Ok(warnings.collect())
}

/// Checks that every name is a configured provider.
///
/// # Errors
/// Bad input that lists the configured ones.
pub(super) fn known_providers(model: &Model, names: &[String]) -> Result<(), Stop> {
    for name in names {
        if model.provider_index(name).is_none() {
            let known: Vec<&str> = model.providers.iter().map(|provider| provider.name.as_str()).collect();
            let message = format!("no provider is called `{name}`; configured are: {}", known.join(", "));
            return Err(Stop::bad_input(message));
        }
    }
    Ok(())
}
