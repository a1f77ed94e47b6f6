//! Everything about one target: where it is listed, what is recorded, what would happen now.

use anyhow::Result;

use super::pass::{OnEvent, PassEvent};
use super::{Desired, Prepared, Selection, Stop, accounts};
use crate::core::model::{Entry, Matched};
use crate::core::recorded::Recorded;
use crate::core::target::ContentHash;
use crate::core::text::one_line;
use crate::host::Host;
use crate::manifest::without_secrets;
use crate::state::Backend;

/// Longest target that is shown, in characters.
const LONGEST: usize = 300;

/// Explains a target, at each provider that carries it.
///
/// # Errors
/// Bad input for one that is not known, and a state that cannot be read.
pub async fn explain<'a>(
    host: &Host,
    state: &dyn Backend,
    desired: &'a Desired,
    target: &'a str,
    on_event: &mut OnEvent<'_>,
) -> Result<Vec<ExplainedTarget<'a>>> {
    let store = state.open()?;
    let store = store.as_deref();
    let accounts = accounts(host, &desired.model, store).await?;
    on_event(PassEvent::Planning(true));
    let prepared = Selection::default().prepare_all(desired, store, &accounts, host.clock.now().wall)?;
    on_event(PassEvent::Planning(false));
    let recorded = store.map_or(Ok(Vec::new()), |store| store.recorded_of(target))?;
    let found = find(desired, &prepared, recorded, target);
    if found.is_empty() {
        let help = match meant(desired, target) {
            Some(url) => format!("did you mean `{}`?", one_line(&url, LONGEST)),
            None => {
                "targets are compared byte for byte, `freshen plan --format json` and `freshen state list` show them"
                    .into()
            }
        };
        let target = one_line(&without_secrets(target), LONGEST);
        let message = format!("`{target}` is neither in these manifests nor in the state; {help}");
        return Err(Stop::bad_input(message).into());
    }
    Ok(found)
}

/// The URL of these manifests that ends with the path that was given in its place.
fn meant(desired: &Desired, path: &str) -> Option<String> {
    let end = format!("/{}", path.trim_start_matches('/'));
    desired.model.entries.iter().map(|entry| entry.target.text).find(|url| url.ends_with(&end))
}

/// All that is known of the target at one provider.
pub struct ExplainedTarget<'a> {
    /// Its name.
    pub provider: String,
    /// The provider's kind, where a manifest that was read configures it.
    pub kind: Option<&'static str>,
    /// The target.
    pub target: &'a str,
    /// Manifest path, line, why the provider carries it, desired hash.
    pub listed: Option<(&'a str, u32, &'static str, ContentHash)>,
    /// What the state holds of it.
    pub recorded: Option<Recorded>,
    /// What an apply would do now, for people.
    pub next: String,
}

fn find<'a>(
    desired: &'a Desired,
    prepared: &Prepared,
    recorded: Vec<Recorded>,
    target: &'a str,
) -> Vec<ExplainedTarget<'a>> {
    let model = &desired.model;
    let mut found: Vec<ExplainedTarget<'a>> = Vec::new();
    for entry in model.entries.of_text(target) {
        let config = &model.providers[entry.provider];
        let why = match entry.matched {
            Matched::AssetProvider => "`provider` of the asset names it",
            Matched::ManifestProvider => "`provider` of the manifest names it",
            Matched::Host => "its `hosts` cover the URL's host",
        };
        let manifest = &model.manifests[entry.place.manifest];
        found.push(ExplainedTarget {
            provider: config.name.clone(),
            kind: Some(config.kind.capabilities().kind),
            target,
            listed: Some((&manifest.path, entry.place.line, why, entry.hash)),
            recorded: None,
            next: next(desired, prepared, &config.name, target),
        });
    }
    for row in recorded {
        if let Some(known) = found.iter_mut().find(|known| known.provider == row.provider) {
            known.recorded = Some(row);
            continue;
        }
        let next = next(desired, prepared, &row.provider, target);
        let provider = row.provider.clone();
        found.push(ExplainedTarget { provider, kind: None, target, listed: None, recorded: Some(row), next });
    }
    found
}

/// What an apply would do now.
fn next(desired: &Desired, prepared: &Prepared, provider: &str, target: &str) -> String {
    let model = &desired.model;
    let difference = &prepared.difference;
    let is_here = |index: usize, target: &str| {
        difference.changes.target(index).text == target
            && model.providers[difference.changes.provider(index)].name == provider
    };
    let Some(index) = (0..difference.changes.len()).find(|&index| is_here(index, target)) else {
        let listed = |entry: &Entry| entry.target.text == target && model.providers[entry.provider].name == provider;
        let is_adopted = difference.adopt.iter().any(|&index| listed(&model.entries.get(index)));
        let mut gone = difference.forget.iter().chain(&difference.dropped);
        let is_dropped = gone.any(|(name, gone)| name == provider && gone.text == target);
        return match (is_adopted, is_dropped) {
            (true, _) => "record it without a purge (on_new: adopt)".into(),
            (_, true) => "drop it from the state without a purge".into(),
            _ if model.entries.of_text(target).any(|entry| listed(&entry)) => {
                "do nothing: the recorded hash is the desired one".into()
            }
            _ => "do nothing: no manifest here speaks for it".into(),
        };
    };
    let kind = difference.changes.kind(index).word();
    let plan = &prepared.plan;
    if plan.rejected.contains(&index) {
        return "do nothing: it was refused for good; change the entry or the provider, or use `--force`".into();
    }
    if plan.waiting.contains(&index) || plan.postponed().any(|(other, _)| other == index) {
        return "wait: it is deferred".into();
    }
    match prepared.directories_by_change().get(&index) {
        Some(directory) => format!("purge it ({kind}) with its directory {}", one_line(directory, LONGEST)),
        None => format!("purge it ({kind})"),
    }
}
