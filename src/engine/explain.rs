//! Everything about one target: where it is listed, what is recorded, what would happen now.

mod from_state;

pub use from_state::{FromState, explain_from_state};

use std::collections::BTreeSet;

use anyhow::Result;

use super::pass::{OnEvent, PassEvent};
use super::status::show_refused;
use super::{Desired, Prepared, Selection, Stop, accounts, namespace, refusals};
use crate::core::command_line::{CommandLine, Verb};
use crate::core::guard::{Allowed, Refusal};
use crate::core::hold::{Hold, KnownRefusal, SeenRemovals};
use crate::core::model::{Entry, Matched};
use crate::core::proof_record::ProofRow;
use crate::core::recorded::{PurgedRemoval, Recorded};
use crate::core::target::ContentHash;
use crate::core::text::one_line;
use crate::core::time::Timestamp;
use crate::host::Host;
use crate::manifest::without_secrets;
use crate::state::{Backend, Store};

/// Longest target that is shown, in characters.
const LONGEST: usize = 300;

/// Most URLs that are offered in place of one that is not known.
const OFFERED: usize = 5;

/// Explains a target, at each provider that carries it. A URL may be given without its scheme, or by its path where no other one has
/// the same.
///
/// # Errors
/// Bad input for one that is not known, and a state that cannot be read.
pub async fn explain<'a>(
    host: &Host,
    state: &dyn Backend,
    desired: &'a Desired,
    given: &str,
    on_event: &mut OnEvent<'_>,
    commands: &CommandLine,
) -> Result<Vec<ExplainedTarget<'a>>> {
    let store = namespace::seen_within(desired, state, state.open()?)?;
    let store = store.as_deref();
    let accounts = accounts(host, &desired.model, store).await?;
    on_event(PassEvent::Planning(true));
    let prepared = Selection::default().prepare_all(desired, store, &accounts, host.clock.now().wall)?;
    on_event(PassEvent::Planning(false));
    let recorded_of = |target: &str| store.map_or(Ok(Vec::new()), |store| store.recorded_of(target));
    let purged_of = |target: &str| store.map_or(Ok(Vec::new()), |store| store.purged_removals(target));
    let (mut target, mut recorded, mut purged) = (given.to_owned(), recorded_of(given)?, purged_of(given)?);
    if recorded.is_empty() && purged.is_empty() && desired.model.entries.of_text(given).next().is_none() {
        target = meant(Some(desired), store, given, commands)?;
        (recorded, purged) = (recorded_of(&target)?, purged_of(&target)?);
    }
    let before = store.map_or(Ok(Vec::new()), Store::refusals)?;
    let seen = store.map_or(Ok(SeenRemovals::new()), Store::seen_removals)?;
    let refusals = RefusedPlan::of(desired, &prepared, (&before, host.clock.now().wall), commands);
    let known: Vec<_> = refusals.0.iter().map(|(known, _)| known).chain(&before).cloned().collect();
    show_refused(&mut recorded, &seen, &known);
    let mut found = find(desired, &prepared, recorded, &target);
    for one in &mut found {
        one.refusal = refusals.of_target(&prepared, one);
        one.proof = store.map_or(Ok(None), |store| proof(desired, store, one))?;
    }
    if found.is_empty() {
        found = purged.into_iter().map(|purged| gone(desired, &target, purged)).collect();
    }
    Ok(found)
}

/// The one target of these manifests, if there are any, or of the state that is meant by its path, or without its scheme; else one
/// that is gone.
fn meant(desired: Option<&Desired>, store: Option<&dyn Store>, given: &str, commands: &CommandLine) -> Result<String> {
    let targets = |is_meant: &dyn Fn(&str) -> bool| -> Result<Vec<String>> {
        let mut found = BTreeSet::new();
        let mut take = |text: &str| found.extend(is_meant(text).then(|| text.to_owned()));
        let entries = desired.iter().flat_map(|desired| desired.model.entries.iter());
        entries.for_each(|entry| take(&entry.target.text));
        store.map_or(Ok(()), |store| store.scan(&mut |row| take(row.text)))?;
        Ok(found.into_iter().collect())
    };
    let gone = store.map_or(Ok(Vec::new()), Store::purged_targets)?;
    let shown = |text: &str| format!("`{}`", one_line(&without_secrets(text), LONGEST));
    let offer = |targets: &[String]| {
        let more = targets.len().saturating_sub(OFFERED);
        let more = if more > 0 { format!(" or {more} more") } else { String::new() };
        let offered: Vec<String> = targets.iter().take(OFFERED).map(|target| shown(target)).collect();
        offered.join(", ") + &more
    };
    let path = format!("/{}", given.trim_start_matches('/'));
    let is_exact = |target: &str| is_address(target, given) || path_of(target) == path;
    let mut exact = targets(&is_exact)?;
    if exact.is_empty() {
        exact = gone.iter().filter(|target| is_exact(target)).cloned().collect();
    }
    if let [target] = exact.as_slice() {
        return Ok(target.clone());
    }
    if !exact.is_empty() {
        let message = format!("{} is the path of several URLs: {}; give one of them", shown(given), offer(&exact));
        return Err(Stop::bad_input(message).into());
    }
    let is_same_page = |target: &str, path: &str| !path.is_empty() && simple(path_of(target)) == simple(path);
    let is_near = |target: &str| {
        is_same_page(target, path_of(given)) || is_same_page(target, &path) || target.eq_ignore_ascii_case(given)
    };
    let mut near = targets(&is_near)?;
    near.extend(gone.into_iter().filter(|target| is_near(target)));
    near.sort();
    near.dedup();
    near.sort_by_key(|target| !host_of(target).eq_ignore_ascii_case(host_of(given)));
    let help = if near.is_empty() {
        let (planned, known) =
            (commands.offer(Verb::Plan, &["--format", "json"]), commands.offer(Verb::StateList, &[]));
        format!("targets are compared byte for byte, {planned} and {known} show them")
    } else {
        format!("did you mean {}?", offer(&near))
    };
    let message = format!("{} is neither in these manifests nor in the state; {help}", shown(given));
    Err(Stop::bad_input(message).into())
}

/// Whether a URL is the other one, which has no scheme.
fn is_address(url: &str, other: &str) -> bool {
    let is_host = || host_of(url).eq_ignore_ascii_case(host_of(other));
    !other.contains("://") && !path_of(url).is_empty() && path_of(url) == path_of(other) && is_host()
}

/// Up to the first slash behind the scheme.
fn host_of(url: &str) -> &str {
    let rest = without_scheme(url);
    rest.split('/').next().unwrap_or(rest)
}

fn without_scheme(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, rest)| rest)
}

/// From the first slash after the host on.
fn path_of(url: &str) -> &str {
    let rest = without_scheme(url);
    rest.find('/').map_or("", |at| &rest[at..])
}

/// A path as people take it for the same page: without query, `index.html` and the slash at its end.
fn simple(path: &str) -> &str {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    path.strip_suffix("index.html").unwrap_or(path).trim_end_matches('/')
}

/// All that is known of the target at one provider.
pub struct ExplainedTarget<'a> {
    /// Its own name; by what the state knows it, if it is none of these manifests.
    pub provider: String,
    /// The provider's kind, where a manifest that was read configures it.
    pub kind: Option<&'static str>,
    /// The target.
    pub target: String,
    /// Manifest path, line, why the provider carries it, desired hash.
    pub listed: Option<(&'a str, u32, &'static str, ContentHash)>,
    /// What the state holds of it.
    pub recorded: Option<Recorded>,
    /// Manifests that list it or listed it, by name.
    owners: Vec<String>,
    /// Where the state alone was asked, what it knows of manifests.
    pub from_state: Option<FromState>,
    /// What an apply would do now.
    pub next: NextStep,
    /// Why guards would refuse that apply.
    pub refusal: Option<RefusedTarget>,
    /// When it was purged, after it was removed.
    pub purged: Option<PurgedRemoval>,
    /// What is known of its proof.
    pub proof: Option<ProofRow>,
}

/// What an apply would do with a target now, unless guards refuse its plan.
pub struct NextStep {
    /// For people.
    pub text: String,
    /// It would purge it.
    pub is_due: bool,
    /// Index of its change, if there is one.
    change: Option<usize>,
}

impl NextStep {
    /// Without a change.
    fn unchanged(text: &str) -> Self {
        Self { text: text.to_owned(), is_due: false, change: None }
    }
}

/// Why an apply would do nothing of that.
pub struct RefusedTarget {
    /// What guards refuse.
    pub known: KnownRefusal,
    /// It is part of that, as opposed to what goes with `--except-refused`.
    pub is_held: bool,
}

/// What guards say against a plan, each with what it holds back.
struct RefusedPlan(Vec<(KnownRefusal, Hold)>);

impl RefusedPlan {
    fn of(
        desired: &Desired,
        prepared: &Prepared,
        before: (&[KnownRefusal], Timestamp),
        commands: &CommandLine,
    ) -> Self {
        let refusals = refusals::refusals(desired, prepared, Allowed::default());
        let hold = |refusal: &Refusal| {
            let mut hold = Hold::default();
            refusal.hold(&mut hold, &prepared.difference.moves);
            hold
        };
        let holds: Vec<Hold> = refusals.iter().map(hold).collect();
        Self(refusals::known(desired, prepared, &refusals, before, commands).into_iter().zip(holds).collect())
    }

    /// The refusal that holds a target back, else any.
    fn of_target(&self, prepared: &Prepared, target: &ExplainedTarget<'_>) -> Option<RefusedTarget> {
        let holds = |(_, hold): &&(KnownRefusal, Hold)| match target.next.change {
            Some(index) => hold.holds(&prepared.difference.changes, index),
            None => hold.has_any(&target.owners),
        };
        let own = self.0.iter().find(holds);
        let (known, _) = own.or(self.0.first())?;
        Some(RefusedTarget { known: known.clone(), is_held: own.is_some() })
    }
}

/// What is known of the proof of a target that was found.
fn proof(desired: &Desired, store: &dyn Store, found: &ExplainedTarget<'_>) -> Result<Option<ProofRow>> {
    let model = &desired.model;
    let own = model.entries.of_text(&found.target).find(|entry| model.providers[entry.provider].name == found.provider);
    let known = found.recorded.as_ref().map(|row| (row.provider.clone(), row.target.clone()));
    let key = known.or_else(|| own.map(|entry| (model.provider_key(entry.provider), entry.target)));
    Ok(key.map_or(Ok(None), |(provider, target)| store.proof_of(&provider, &target))?)
}

/// A target that was removed and purged.
fn gone<'a>(desired: &Desired, target: &str, purged: PurgedRemoval) -> ExplainedTarget<'a> {
    let provider =
        desired.model.index_of_key(&purged.provider).map(|index| desired.model.providers[index].name.clone());
    ExplainedTarget {
        provider: provider.unwrap_or_else(|| purged.provider.clone()),
        kind: None,
        target: target.to_owned(),
        listed: None,
        recorded: None,
        owners: Vec::new(),
        from_state: None,
        next: NextStep::unchanged("do nothing: no manifest here speaks for it"),
        refusal: None,
        purged: Some(purged),
        proof: None,
    }
}

fn find<'a>(
    desired: &'a Desired,
    prepared: &Prepared,
    recorded: Vec<Recorded>,
    target: &str,
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
        let next = next(desired, prepared, &model.provider_key(entry.provider), target);
        found.push(ExplainedTarget {
            provider: config.name.clone(),
            kind: Some(config.kind.capabilities().kind),
            target: target.to_owned(),
            listed: Some((&manifest.path, entry.place.line, why, entry.hash)),
            recorded: None,
            owners: vec![manifest.name.clone()],
            from_state: None,
            next,
            refusal: None,
            purged: None,
            proof: None,
        });
    }
    for row in recorded {
        let own = model.index_of_key(&row.provider).map(|provider| model.providers[provider].name.clone());
        let provider = own.unwrap_or_else(|| row.provider.clone());
        if let Some(known) = found.iter_mut().find(|known| known.provider == provider) {
            known.owners.extend(row.owners.iter().cloned());
            known.recorded = Some(row);
            continue;
        }
        let next = next(desired, prepared, &row.provider, target);
        let (kind, listed, owners, recorded) = (None, None, row.owners.clone(), Some(row));
        let (target, refusal, purged) = (target.to_owned(), None, None);
        let from_state = None;
        found.push(ExplainedTarget {
            provider,
            kind,
            target,
            listed,
            recorded,
            owners,
            from_state,
            next,
            refusal,
            purged,
            proof: None,
        });
    }
    found
}

/// What an apply would do now; `provider` is what the state knows it by.
fn next(desired: &Desired, prepared: &Prepared, provider: &str, target: &str) -> NextStep {
    let model = &desired.model;
    let difference = &prepared.difference;
    let index_of_provider = model.index_of_key(provider);
    let is_here = |index: usize, target: &str| {
        difference.changes.target(index).text == target && Some(difference.changes.provider(index)) == index_of_provider
    };
    let Some(index) = (0..difference.changes.len()).find(|&index| is_here(index, target)) else {
        let listed = |entry: &Entry| entry.target.text == target && Some(entry.provider) == index_of_provider;
        let is_adopted = difference.adopt.iter().any(|&index| listed(&model.entries.get(index)));
        let mut gone = difference.forget.iter().chain(&difference.dropped);
        let is_dropped = gone.any(|(name, gone)| name == provider && gone.text == target);
        let next = match (is_adopted, is_dropped) {
            (true, _) => "record it without a purge (on_new: adopt)",
            (_, true) => "drop it from the state without a purge",
            _ if model.entries.of_text(target).any(|entry| listed(&entry)) => {
                "do nothing: the recorded hash is the desired one"
            }
            _ => "do nothing: no manifest here speaks for it",
        };
        return NextStep::unchanged(next);
    };
    let kind = difference.changes.kind(index).word();
    let plan = &prepared.plan;
    let step = |is_due, text| NextStep { text, is_due, change: Some(index) };
    if plan.rejected.contains(&index) {
        let text = "do nothing: it was refused for good; change the entry or the provider, or use `--force`";
        return step(false, text.to_owned());
    }
    if let Some((_, begins)) = plan.postponed().find(|(other, _)| *other == index) {
        return step(false, format!("wait until {}, when the quota has room for it", begins.utc_minute()));
    }
    if plan.waiting.contains(&index) {
        return step(false, "wait: it is deferred".to_owned());
    }
    let text = match prepared.directories_by_change().get(&index) {
        Some(directory) => format!("purge it ({kind}) with its directory {}", one_line(directory, LONGEST)),
        None => format!("purge it ({kind})"),
    };
    step(true, text)
}
