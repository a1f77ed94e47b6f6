//! What becomes of a call that was accepted: with all of its targets, or with some of them.

use std::collections::BTreeMap;

use super::{Apply, OpenCall};
use crate::core::contract::{CallError, ErrorClass, Reply};
use crate::core::event::{CallId, ItemOutcome, ItemState, Left, Record};
use crate::core::lane::{Batch, Suspect};
use crate::core::time::Now;

impl Apply<'_> {
    pub(super) fn accepted(&mut self, call: CallId, mut open: OpenCall, reply: &Reply, now: Now) {
        let lane = open.lane;
        if let (Some(_), Some((_, error))) = (&open.batch.directory, reply.refused.first()) {
            return self.refused(call, open, error, now);
        }
        self.lanes[lane].reached();
        self.ids.done(&open.purge);
        let refused = refused_items(&open.batch, reply);
        let taken: Vec<usize> = open.batch.items.iter().copied().filter(|item| !refused.contains_key(item)).collect();
        let suspects = if taken.is_empty() { Vec::new() } else { self.lanes[lane].accepted() };
        let mut items = self.record(lane, &taken, reply, now);
        for (&item, error) in &refused {
            items.extend(self.later(&[item], Some(&open.batch.reason(error.summary()))));
        }
        let undone = refused.iter().filter(|(_, error)| error.class.is_surely_not_done());
        let left_out: Vec<usize> = undone.map(|(&item, _)| item).collect();
        let debit = open.debit.take().filter(|_| !left_out.is_empty());
        let credit = self.give_back(lane, debit.map(|(key, _)| (key, left_out.len() as u64)));
        let may_have_purged = left_out.len() < open.batch.items.len();
        let left_out = self.twins.with(left_out);
        self.outbox.push_back(Record::Outcome { call, at: now.wall, items, may_have_purged, left_out, credit });
        self.reject_all(lane, suspects);
        for (error, items) in by_class(refused) {
            let batch = Batch { items, ..open.batch.clone() };
            let open = OpenCall {
                lane,
                batch,
                debit: None,
                prepared: open.prepared,
                sent: open.sent,
                purge: open.purge.clone(),
            };
            self.settle(open, error, now);
        }
    }

    /// What the acceptance of these comes to.
    fn record(&mut self, lane: usize, taken: &[usize], reply: &Reply, now: Now) -> Vec<(usize, ItemOutcome)> {
        let required = self.model.providers[self.lanes[lane].provider].required();
        let endpoint = self.endpoint(lane).to_string();
        let task_id = (!reply.task_ids.is_empty()).then(|| reply.task_ids.join(","));
        let mut items = Vec::with_capacity(taken.len());
        for &index in taken {
            if self.has_more_variants(lane, index) {
                items.extend(self.later(&[index], None));
                continue;
            }
            let tally = &mut self.tallies[index];
            tally.accepted += 1;
            if usize::from(tally.accepted) >= required {
                for index in self.twins.with(vec![index]) {
                    self.states.set(index, &ItemState::Recorded);
                    self.release_downstream(index, now);
                    items.push((index, ItemOutcome::Recorded { task_id: task_id.clone() }));
                }
            } else {
                let accepted = self.twins.with(vec![index]).into_iter();
                items.extend(accepted.map(|index| (index, ItemOutcome::AcceptedAt(endpoint.clone()))));
            }
        }
        items
    }

    /// What is refused for good: targets that too few endpoints are left for.
    pub(super) fn reject_all(&mut self, lane: usize, suspects: Vec<Suspect>) {
        let config = &self.model.providers[self.lanes[lane].provider];
        for Suspect { mut items, reason, .. } in suspects {
            items.retain(|&index| {
                let tally = &mut self.tallies[index];
                tally.refused += u16::from(self.lanes[lane].headers.is_empty());
                config.is_beyond(usize::from(tally.refused))
            });
            self.leave_as(items, Left::Rejected(reason));
        }
    }
}

/// Items of the batch that the reply refuses.
fn refused_items<'r>(batch: &Batch, reply: &'r Reply) -> BTreeMap<usize, &'r CallError> {
    reply.refused.iter().filter_map(|(target, error)| Some((*batch.items.get(*target)?, error))).collect()
}

/// Each culprit alone, since the vendor names it; of any other class all together, which go their way as one batch.
fn by_class(refused: BTreeMap<usize, &CallError>) -> Vec<(&CallError, Vec<usize>)> {
    let mut groups: Vec<(&CallError, Vec<usize>)> = Vec::new();
    for (item, error) in refused {
        let alone = matches!(error.class, ErrorClass::TargetRefused(_));
        match groups.iter_mut().find(|(known, _)| !alone && known.class == error.class) {
            Some((_, items)) => items.push(item),
            None => groups.push((error, vec![item])),
        }
    }
    groups
}
