//! Which targets a user selected: patterns and names, and the plan that they leave.

use super::prepare::{Choice, Prepared, prepare, unread};
use super::{Desired, Stop};
use crate::core::changes::Changes;
use crate::core::diff::{Forced, GuardedTargets};
use crate::core::hold::Hold;
use crate::core::model::Model;
use crate::core::owners::Unread;
use crate::core::plan::Selected;
use crate::core::target::Target;
use crate::core::text::one_line;
use crate::core::text_patterns::TextPatterns;
use crate::core::time::Timestamp;
use crate::state::Store;

/// Which changes a run is about.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Only targets that match one of these patterns, if there are any; `*` stands for any text.
    pub only: Vec<String>,
    /// Only these providers, if there are any.
    pub providers: Vec<String>,
    /// Purge targets that match one of these patterns even if their hash is recorded.
    pub force: Vec<String>,
    /// Names of manifests that the user calls vanished: what only they list is purged.
    pub vanished: Vec<String>,
    /// What guards refuse keeps nothing else from being sent.
    pub except_refused: bool,
}

impl Selection {
    /// Whether nothing is left out, nothing forced and nothing called vanished.
    pub fn is_all(&self) -> bool {
        self.leaves_nothing_out() && self.force.is_empty() && self.vanished.is_empty()
    }

    /// Whether no target is left out by its text or its provider.
    pub const fn leaves_nothing_out(&self) -> bool {
        self.only.is_empty() && self.providers.is_empty()
    }

    /// Computes the plan of what is selected; `None`: all manifests have to be read for it. `store` is `None` before the first
    /// run.
    ///
    /// # Errors
    /// Bad input for names, or a state that cannot be read.
    pub fn prepare(
        &self,
        desired: &Desired,
        store: Option<&dyn Store>,
        accounts: &[String],
        now: Timestamp,
    ) -> anyhow::Result<Option<Prepared>> {
        self.prepare_without(desired, store, (accounts, now), None)
    }

    /// As [`Selection::prepare`], without what guards hold back.
    ///
    /// # Errors
    /// As [`Selection::prepare`].
    pub fn prepare_without(
        &self,
        desired: &Desired,
        store: Option<&dyn Store>,
        (accounts, now): (&[String], Timestamp),
        hold: Option<&Hold>,
    ) -> anyhow::Result<Option<Prepared>> {
        let model = &desired.model;
        known_providers(model, &self.providers)?;
        let (only, force) = (TextPatterns::new(&self.only), TextPatterns::new(&self.force));
        let chosen = |provider: usize, target: &Target| self.takes(&only, model, provider, target);
        let forced = |provider: usize, target: &Target| force.is_match(&target.text) && chosen(provider, target);
        let at = |provider: usize| self.takes_provider(model, provider);
        let choosy = !self.leaves_nothing_out();
        let choice = Choice {
            selected: choosy.then_some(&chosen as &Selected<'_>),
            guarded: choosy.then_some(GuardedTargets { provider: &at, target: &chosen }),
            hold,
            forced: (!self.force.is_empty()).then_some(&forced as &Forced<'_>),
        };
        if !self.vanished.is_empty() {
            check_vanished(desired, store, &self.vanished)?;
        }
        Ok(prepare(desired, store, &choice, accounts, now)?)
    }

    /// Whether a target is one of those that are wanted; `only` are its patterns.
    pub(super) fn takes(&self, only: &TextPatterns, model: &Model, provider: usize, target: &Target) -> bool {
        (self.only.is_empty() || only.is_match(&target.text)) && self.takes_provider(model, provider)
    }

    fn takes_provider(&self, model: &Model, provider: usize) -> bool {
        self.providers.is_empty() || self.providers.contains(&model.providers[provider].name)
    }

    /// As [`Selection::prepare`], of manifests that were all read.
    ///
    /// # Errors
    /// As [`Selection::prepare`].
    pub fn prepare_all(
        &self,
        desired: &Desired,
        store: Option<&dyn Store>,
        accounts: &[String],
        now: Timestamp,
    ) -> anyhow::Result<Prepared> {
        let prepared = self.prepare(desired, store, accounts, now)?;
        prepared.ok_or_else(|| anyhow::anyhow!("not all manifests were read; please report it"))
    }

    /// Warnings about patterns that narrow nothing down and force nothing, since no target of the manifests or of the changes
    /// matches them.
    pub fn unmatched(&self, model: &Model, changes: &Changes) -> Vec<String> {
        let Self { only, force, providers, .. } = self;
        let mut unmatched = [("--only", only, TextPatterns::new(only)), ("--force", force, TextPatterns::new(force))]
            .map(|(option, list, set)| (option, list, set, vec![true; list.len()]));
        if unmatched.iter().all(|(_, list, ..)| list.is_empty()) {
            return Vec::new();
        }
        let entries = model.entries.iter().map(|entry| (entry.provider, entry.target));
        for (provider, target) in entries.chain(changes.iter().map(|change| (change.provider, change.target))) {
            if !providers.is_empty() && !providers.contains(&model.providers[provider].name) {
                continue;
            }
            for (_, list, set, unmatched) in &mut unmatched {
                let mut is_left_out = !list.is_empty();
                for index in set.matches(&target.text) {
                    unmatched[index] = false;
                    is_left_out = false;
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
                    "`{option} {pattern}` matches no target; patterns are held against whole URLs and ids, only `*` is any text"
                )
            })
        });
        warnings.collect()
    }
}

/// Checks that every name is a configured provider.
///
/// # Errors
/// Bad input that lists the configured ones.
pub fn known_providers(model: &Model, names: &[String]) -> Result<(), Stop> {
    for name in names {
        if model.provider_index(name).is_none() {
            let known: Vec<&str> = model.providers.iter().map(|provider| provider.name.as_str()).collect();
            let message = format!("no provider is called `{name}`; configured are: {}", known.join(", "));
            return Err(Stop::bad_input(message));
        }
    }
    Ok(())
}

/// Manifests that are called vanished have to be known, and not to be there.
fn check_vanished(desired: &Desired, store: Option<&dyn Store>, names: &[String]) -> anyhow::Result<()> {
    let unread = store.map_or(Ok(Unread::default()), |store| unread(desired, store))?;
    let is_known = |name: &&String| unread.spoken_for.iter().any(|manifest| manifest.name == **name);
    match names.iter().find(|name| !is_known(name)) {
        None => Ok(()),
        Some(name) => {
            let known: Vec<String> =
                unread.spoken_for.iter().map(|manifest| format!("`{}`", one_line(&manifest.name, 200))).collect();
            let known = if known.is_empty() { "none has".to_owned() } else { format!("{} have", known.join(", ")) };
            let message = format!(
                "`--vanished {}`: the state knows no such manifest, or it is still there; {known} vanished",
                one_line(name, 200)
            );
            Err(Stop::bad_input(message).into())
        }
    }
}
