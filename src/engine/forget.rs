//! `state forget`: drops what the state holds of some targets, without a purge.

use std::collections::{BTreeSet, HashSet};

use anyhow::Result;

use super::{Exit, Stop, lock, run_start};
use crate::core::provider_key::ProviderKey;
use crate::core::recorded::Recorded;
use crate::core::target::Target;
use crate::core::text::one_line;
use crate::core::text_patterns::TextPatterns;
use crate::host::Host;
use crate::manifest::nearest::nearest;
use crate::state::{Backend, Store};

/// Most manifests that a message names.
const SHOWN_NAMES: usize = 5;

/// Which targets are forgotten.
pub struct Forgotten<'a> {
    /// Those that match this; `*` stands for any text.
    pub pattern: &'a str,
    /// Only of this provider, by its name, with or without the namespace before it.
    pub provider: Option<&'a str>,
    /// Nothing of providers of other namespaces.
    pub namespace: Option<&'a str>,
    /// Only what this manifest lists; what others list as well is theirs alone from then on.
    pub manifest: Option<&'a str>,
}

impl Forgotten<'_> {
    /// What the provider of a row can be called; nothing if it is one of another namespace.
    fn names_of<'r>(&self, row: &'r Recorded) -> impl Iterator<Item = &'r str> {
        let ProviderKey { namespace, name } = ProviderKey::of(&row.provider);
        let is_near = self.namespace.is_none() || namespace.is_none() || self.namespace == namespace;
        [row.provider.as_str(), name].into_iter().filter(move |_| is_near)
    }

    fn is_provider(&self, row: &Recorded) -> bool {
        self.names_of(row).any(|name| self.provider.is_none_or(|wanted| wanted == name))
    }
}

/// The state that is there.
///
/// # Errors
/// There is none, or it cannot be used.
pub fn existing(state: &dyn Backend) -> Result<Box<dyn Store>> {
    Ok(state.open()?.ok_or_else(|| missing(state))?)
}

fn missing(state: &dyn Backend) -> Stop {
    Stop::of(Exit::Failed, format!("there is no state at `{}`", state.location()))
}

/// Forgets targets; how many are gone.
///
/// # Errors
/// Bad input, and a state that cannot be used.
pub async fn forget(host: &Host, state: &dyn Backend, which: &Forgotten<'_>, lock_timeout_ms: u64) -> Result<usize> {
    let wanted = TextPatterns::new(&[which.pattern]);
    let start = run_start(host);
    existing(state)?;
    let lock = lock(host, state, &start, lock_timeout_ms).await?;
    let mut store = lock.open()?.ok_or_else(|| missing(state))?;
    let is_of = |row: &Recorded| which.manifest.is_none_or(|name| row.owners.iter().any(|owner| owner == name));
    let rows = store.recorded()?;
    if let Some(name) = which.manifest {
        let manifests = store.manifests()?;
        let owners = rows.iter().flat_map(|row| &row.owners);
        let known = manifests.iter().map(|manifest| &manifest.name).chain(owners);
        check_known("manifest", name, known.map(String::as_str))?;
    }
    if let Some(name) = which.provider {
        check_known("provider", name, rows.iter().flat_map(|row| which.names_of(row)))?;
    }
    let (of_manifest, others): (Vec<Recorded>, Vec<Recorded>) = rows.into_iter().partition(is_of);
    let (chosen, kept): (Vec<Recorded>, Vec<Recorded>) =
        of_manifest.into_iter().partition(|row| wanted.is_match(&row.target.text) && which.is_provider(row));
    let is_shared = |row: &Recorded| which.manifest.is_some() && row.owners.len() > 1;
    let (mut shared, own): (Vec<Recorded>, Vec<Recorded>) = chosen.into_iter().partition(is_shared);
    for row in &mut shared {
        row.owners.retain(|owner| Some(owner.as_str()) != which.manifest);
    }
    let keys: Vec<(String, Target)> = own.into_iter().map(|row| (row.provider, row.target)).collect();
    let gone = if keys.is_empty() { 0 } else { store.forget(&keys)? };
    if !shared.is_empty() {
        store.import(&shared)?;
    }
    // What owns nothing any more would be looked for by each run.
    let owners: HashSet<&String> = kept.iter().chain(&shared).chain(&others).flat_map(|row| &row.owners).collect();
    let is_idle = |name: &&str| !owners.iter().any(|owner| owner.as_str() == *name);
    if let Some(name) = which.manifest.filter(is_idle) {
        store.forget_manifests(&[name.to_owned()])?;
    }
    Ok(gone)
}

/// # Errors
/// Bad input for a name that the state does not know: nothing would be forgotten, without a word.
fn check_known<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Result<(), Stop> {
    let known: BTreeSet<&str> = known.collect();
    if known.contains(name) {
        return Ok(());
    }
    let help = match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "it knows none".to_owned(),
        None => {
            let shown: Vec<String> = known.iter().take(SHOWN_NAMES).map(|name| format!("`{name}`")).collect();
            let more = known.len().saturating_sub(SHOWN_NAMES);
            format!(
                "it knows {}{}",
                shown.join(", "),
                if more > 0 { format!(" and {more} more") } else { String::new() }
            )
        }
    };
    Err(Stop::bad_input(format!("the state knows no {what} `{}`; {help}", one_line(name, 200))))
}
