//! What is not sent before something else has come: its origin serves the content, or the provider upstream has accepted it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Apply;
use crate::core::changes::Changes;
use crate::core::event::{ItemState, Left};
use crate::core::model::Model;
use crate::core::plan::{Plan, rank};
use crate::core::text::one_line;
use crate::core::time::Now;

/// Longest reason of a provider upstream that is repeated, in characters.
const LONGEST_REASON: usize = 300;

/// Changes that are held, and why.
#[derive(Debug, Default)]
pub(super) struct Held {
    by_change: BTreeMap<usize, Holds>,
    /// By change: those of other providers that it has to be recorded before.
    downstream: HashMap<usize, Vec<usize>>,
}

#[derive(Debug, Default)]
struct Holds {
    /// Its origin is asked.
    origin: bool,
    /// The change of the provider upstream that has to be recorded before.
    upstream: Option<usize>,
}

impl Held {
    /// What has to wait for providers upstream. `planned` is in no order and without twins.
    fn behind_upstream(model: &Model, changes: &Changes, planned: &[usize]) -> Self {
        let mut held = Self::default();
        let upstream_of = |provider: usize| model.provider_index(model.providers[provider].upstream.as_deref()?);
        let upstreams: BTreeSet<usize> = (0..model.providers.len()).filter_map(upstream_of).collect();
        if upstreams.is_empty() {
            return held;
        }
        let is_upstream = |index: &usize| upstreams.contains(&changes.provider(*index));
        let known: HashMap<_, usize> = (0..changes.len())
            .filter(is_upstream)
            .map(|index| ((changes.provider(index), changes.target(index)), index))
            .collect();
        for &index in planned {
            let Some(upstream) = upstream_of(changes.provider(index)) else { continue };
            let Some(&before) = known.get(&(upstream, changes.target(index))) else { continue };
            held.by_change.entry(index).or_default().upstream = Some(before);
            held.downstream.entry(before).or_default().push(index);
        }
        held
    }

    fn contains(&self, item: usize) -> bool {
        self.by_change.contains_key(&item)
    }

    fn waits_for_origins(&self) -> bool {
        self.by_change.values().any(|holds| holds.origin)
    }
}

impl Apply<'_> {
    /// Holds what has to wait for a provider upstream.
    pub(super) fn hold_downstream(&mut self, plan: &Plan) {
        let planned: Vec<usize> = plan.jobs.iter().flat_map(super::super::plan::Job::changes).collect();
        self.held = Held::behind_upstream(self.model, self.changes, &planned);
        self.hold_in_lanes();
    }

    /// Holds these planned changes until each is released or left: their origins are asked.
    pub fn hold(&mut self, items: impl Iterator<Item = usize>) {
        for item in items {
            self.held.by_change.entry(item).or_default().origin = true;
        }
        self.hold_in_lanes();
    }

    fn hold_in_lanes(&mut self) {
        if !self.held.by_change.is_empty() {
            let items: BTreeSet<usize> = self.held.by_change.keys().copied().collect();
            self.lanes.iter_mut().for_each(|lane| lane.hold(&items));
        }
    }

    /// The origin of a held change is ready.
    pub fn release(&mut self, item: usize, now: Now) {
        self.let_go(item, now, |holds| holds.origin = false);
    }

    fn let_go(&mut self, item: usize, now: Now, what: impl Fn(&mut Holds)) {
        let Some(holds) = self.held.by_change.get_mut(&item) else { return };
        what(holds);
        if holds.origin || holds.upstream.is_some() {
            return;
        }
        self.held.by_change.remove(&item);
        let (held, changes) = (&self.held, self.changes);
        for lane in &mut self.lanes {
            lane.release(item, now.tick, |index| rank(changes, index), |index| held.contains(index));
        }
    }

    /// A held change is not sent in this run: it waits, for this reason.
    pub fn wait(&mut self, item: usize, reason: String) {
        if self.held.by_change.remove(&item).is_none() {
            return;
        }
        let held = &self.held;
        self.lanes.iter_mut().for_each(|lane| lane.drop_held(item, |index| held.contains(index)));
        self.leave_as(vec![item], Left::Waiting(reason));
    }

    /// A change is recorded: what is downstream of it may go.
    pub(super) fn release_downstream(&mut self, recorded: usize, now: Now) {
        for item in self.held.downstream.remove(&recorded).unwrap_or_default() {
            self.let_go(item, now, |holds| holds.upstream = None);
        }
    }

    /// Nothing but held changes is left, and no origin is asked any more: what upstream has not accepted holds the rest back.
    pub(super) fn leave_downstream(&mut self) {
        if self.cancelled || !self.open_calls.is_empty() || self.held.waits_for_origins() {
            return;
        }
        if !self.lanes.iter().all(|lane| lane.stopped.is_some() || lane.has_only_held()) {
            return;
        }
        let held: Vec<(usize, usize)> =
            self.held.by_change.iter().filter_map(|(item, holds)| Some((*item, holds.upstream?))).collect();
        for (item, upstream) in held {
            let name = &self.model.providers[self.changes.provider(upstream)].name;
            let (word, _, why) = self.states.get(upstream).parts();
            let why = match self.states.get(upstream) {
                ItemState::Recorded => continue,
                _ => why.map_or(String::new(), |why| format!(": {}", one_line(why, LONGEST_REASON))),
            };
            self.wait(item, format!("`{name}` upstream has not accepted it; there it is {word}{why}"));
        }
    }
}
