//! What guards refuse of a plan: what is left of it without that, and what is known of it while it lasts.

use anyhow::Result;

use super::stop::Reason;
use super::{Desired, Finished, Prepared};
use crate::core::command_line::CommandLine;
use crate::core::diff::Difference;
use crate::core::guard::{self, Allowed, Refusal};
use crate::core::hold::{Hold, KnownRefusal};
use crate::core::model::Model;
use crate::core::recorded::ChangeKind;
use crate::core::target::Target;
use crate::core::time::Timestamp;
use crate::state::{RefusedRun, RunStart, StateError, Store};

/// Most refusals that the list of runs names of one.
const MOST_NAMED: usize = 3;

/// What guards say against the plan, also what it leaves out for that; empty: go on.
pub fn refusals(desired: &Desired, prepared: &Prepared, allowed: Allowed) -> Vec<Refusal> {
    let more = check(desired, prepared, allowed);
    prepared.refusals.iter().cloned().chain(more).collect()
}

fn check(desired: &Desired, prepared: &Prepared, allowed: Allowed) -> Vec<Refusal> {
    let Prepared { difference, plan, first_run, .. } = prepared;
    guard::check(&desired.model, difference, plan, *first_run, allowed)
}

/// The plan without what guards refuse; `again` makes it with so much held back. What that leaves room for is for guards as well.
/// `None`: all manifests have to be read for it.
///
/// # Errors
/// Those of `again`.
pub fn leave_out_refused(
    desired: &Desired,
    mut prepared: Prepared,
    allowed: Allowed,
    again: &mut dyn FnMut(&Hold) -> Result<Option<Prepared>>,
) -> Result<Option<Prepared>> {
    let mut refused = Vec::new();
    loop {
        let more = check(desired, &prepared, allowed);
        if more.is_empty() {
            prepared.refusals = refused;
            return Ok(Some(prepared));
        }
        let Difference { hold: before, moves, removals, .. } = prepared.difference;
        let mut hold = before.clone();
        for refusal in &more {
            refusal.hold(&mut hold, &moves);
        }
        if hold == before {
            hold.add_all();
        }
        refused.extend(more);
        let Some(next) = again(&hold)? else { return Ok(None) };
        // What was lost in earlier passes counts on.
        prepared = Prepared { difference: Difference { removals, ..next.difference }, ..next };
    }
}

/// What is known of these refusals from now on, by what was known `before`.
pub(super) fn known(
    desired: &Desired,
    prepared: &Prepared,
    refusals: &[Refusal],
    (before, now): (&[KnownRefusal], Timestamp),
    commands: &CommandLine,
) -> Vec<KnownRefusal> {
    let providers = &desired.model.providers;
    let known = |refusal: &Refusal| {
        let mut hold = Hold::default();
        refusal.hold(&mut hold, &prepared.difference.moves);
        let numbers = hold.numbers(&prepared.difference.changes, providers.len()).into_iter();
        let named = providers.iter().map(|provider| provider.name.clone()).zip(numbers);
        let subject = refusal.subject();
        let since = before.iter().find(|known| known.subject == subject).map_or(now, |known| known.since.min(now));
        let manifest = refusal.manifest().unwrap_or_default().to_owned();
        KnownRefusal {
            held_with: hold.others(&manifest),
            manifest,
            subject,
            text: refusal.with_way_on(commands),
            since,
            holds_back: named.filter(|(_, number)| *number > 0).collect(),
        }
    };
    refusals.iter().map(known).collect()
}

/// The oldest target that a refusal holds back, of removals the oldest that is removed.
fn oldest_held(difference: &Difference, refusal: &Refusal) -> Option<(String, ChangeKind)> {
    let changes = &difference.changes;
    let mut hold = Hold::default();
    refusal.hold(&mut hold, &difference.moves);
    let indexes = (0..changes.len()).filter(|&index| hold.holds(changes, index));
    let is_other = |index| refusal.is_of_removals() && changes.kind(index) != ChangeKind::Removed;
    let oldest = indexes.min_by_key(|&index| (is_other(index), changes.since(index)))?;
    Some((changes.target(oldest).text, changes.kind(oldest)))
}

/// What was seen to go and is listed again before it was work is new when it goes again.
fn forget_taken_back(model: &Model, store: &mut dyn Store) -> Result<(), StateError> {
    let is_listed = |(provider, target): &(String, Target)| {
        let provider = model.index_of_key(provider);
        provider.is_some_and(|index| model.entries.find(index, target.scope, &target.text).is_some())
    };
    let taken_back: Vec<(String, Target)> = store.seen_removals()?.into_keys().filter(is_listed).collect();
    if taken_back.is_empty() { Ok(()) } else { store.forget_seen_removals(&taken_back) }
}

impl Finished<'_> {
    /// The run as one that guards refused, if they refused any of it. Without its namespace it is not known whose run it is.
    pub(super) fn refused_run<'s>(&self, start: &'s RunStart, at: Timestamp) -> Option<RefusedRun<'s>> {
        let Prepared { refusals, difference, .. } = self.prepared;
        if refusals.is_empty() || !difference.namespaces.is_empty() {
            return None;
        }
        let mut named: Vec<String> = refusals.iter().take(MOST_NAMED).map(Refusal::subject).collect();
        if refusals.len() > MOST_NAMED {
            named.push(format!("{} more", refusals.len() - MOST_NAMED));
        }
        Some(RefusedRun { run: self.outcome.run, start, at, refused: named.join(", "), counts: self.counts(None) })
    }
}

/// What is let through to be carried out.
#[derive(Clone, Copy)]
pub(super) struct Admission<'a> {
    /// What the user allowed.
    pub(super) allowed: Allowed,
    /// The digest that was reviewed.
    pub(super) expected: Option<&'a str>,
    /// What reasons offer.
    pub(super) commands: &'a CommandLine,
}

/// What is said against a plan.
pub(super) struct Verdict {
    /// By guards, and by the digest that was reviewed.
    pub(super) reasons: Vec<Reason>,
    /// Nothing is sent, as opposed to what the plan leaves out.
    pub(super) stops: bool,
}

/// Lets guards and the reviewed digest speak. What they let through goes on by itself in later runs. A refused run still marks
/// what it saw, except removals, and notes why it was refused; one of all targets that is not notes that nothing is.
///
/// # Errors
/// A state that cannot be read or written.
pub(super) fn admit(
    desired: &Desired,
    prepared: &mut Prepared,
    store: Option<&mut (dyn Store + 'static)>,
    Admission { allowed, expected, commands }: Admission<'_>,
    (is_all, now): (bool, Timestamp),
) -> Result<Verdict, StateError> {
    let model = &desired.model;
    let refusals = refusals(desired, prepared, allowed);
    let before = store.as_ref().map_or(Ok(Vec::new()), |store| store.refusals())?;
    let known_by = |commands| known(desired, prepared, &refusals, (&before, now), commands);
    // Who reads the state may be in another folder.
    let (told, noted) = (known_by(commands), known_by(&commands.anywhere()));
    let path_of = |name: &str| {
        let manifest = model.manifests.iter().find(|manifest| manifest.name == name);
        manifest.map(|manifest| manifest.path.clone())
    };
    let reason = |(known, refusal): (&KnownRefusal, &Refusal)| {
        Reason::of(known, path_of(&known.manifest), oldest_held(&prepared.difference, refusal))
    };
    let mut reasons: Vec<Reason> = told.iter().zip(&refusals).map(reason).collect();
    // Without its namespace it is not known whose manifests these are.
    let is_nameless = !prepared.difference.namespaces.is_empty();
    let mut stops = is_nameless || refusals.len() > prepared.refusals.len();
    if let Some(expected) = expected.filter(|expected| **expected != prepared.digest) {
        reasons.push(Reason::of_digest(expected, &prepared.digest, commands));
        stops = true;
    }
    if !stops {
        let Prepared { difference, plan, first_run, .. } = prepared;
        difference.admitted = guard::admitted(model, difference, plan, *first_run, allowed);
        let lost = guard::lost_in_whole(model, difference, allowed);
        let is_lost = |&&index: &&usize| difference.changes.owners(index).iter().any(|owner| lost.contains(owner));
        difference.kept_back = plan.unselected.iter().filter(is_lost).chain(&plan.refused).copied().collect();
        difference.kept_back.sort_unstable();
    }
    prepared.refusals = refusals;
    let Some(store) = store.filter(|_| !is_nameless) else { return Ok(Verdict { reasons, stops }) };
    if !reasons.is_empty() {
        store.mark_seen(model, &prepared.difference)?;
    }
    forget_taken_back(model, store)?;
    // Neither a run of some targets nor one that only its digest stopped says that anything is over.
    let is_over = is_all && !(stops && prepared.refusals.is_empty());
    let covers = if is_over { prepared.difference.covered(model) } else { Vec::new() };
    let is_news = |one: &KnownRefusal| is_all || !before.iter().any(|known| known.subject == one.subject);
    store.note_refusals(&covers, &noted.into_iter().filter(is_news).collect::<Vec<_>>())?;
    Ok(Verdict { reasons, stops })
}
