//! What becomes of a call that was not accepted: repeated, split, left for the next run, or the end of its lane.

use super::{Apply, OpenCall};
use crate::core::contract::{CallError, Culprit, ErrorClass};
use crate::core::event::{CallId, FailureScope, ItemState, Left, Record, RefusedDirectory};
use crate::core::http::{TransportFailure, TransportFailureKind};
use crate::core::lane::{Lane, Stopped, Suspect, split};
use crate::core::plan::rank;
use crate::core::quota::{COUNTS_ANEW_MS, DAY_MS, Draw, counts_anew_at};
use crate::core::recorded::{LONGEST_DEFERRAL_MS, Wait};
use crate::core::retry::{self, Verdict};
use crate::core::text::count;
use crate::core::time::{Now, Tick, Timestamp};

impl Apply<'_> {
    /// Notes that items will not be sent by this lane in this run.
    pub(super) fn leave(&mut self, items: Vec<usize>, until: Option<Timestamp>, reason: String) {
        let left = match until {
            Some(until) => Left::Deferred(until, reason, Wait::Quota),
            None => Left::Pending(reason),
        };
        self.leave_as(items, left);
    }

    pub(super) fn leave_as(&mut self, items: Vec<usize>, left: Left) {
        let record = self.left(items, left);
        self.outbox.extend(record);
    }

    pub(super) fn left(&mut self, items: Vec<usize>, left: Left) -> Option<Record> {
        let mut items = self.twins.with(items);
        items.retain(|&index| !matches!(self.states.get(index), ItemState::Recorded | ItemState::Rejected(_)));
        if items.is_empty() {
            return None;
        }
        let state = ItemState::from(&left);
        for &index in &items {
            self.states.set(index, &state);
        }
        Some(Record::Left { items, left })
    }

    pub(super) fn failed(&mut self, call: CallId, open: OpenCall, failure: &TransportFailure, now: Now) {
        let (class, code) = match failure.kind {
            TransportFailureKind::NotConnected => (ErrorClass::Transient, "no connection to"),
            TransportFailureKind::Unknown => (ErrorClass::Unknown, "no answer from"),
            TransportFailureKind::Tls => (ErrorClass::Config, "no trusted connection to"),
        };
        let error = CallError {
            class,
            code: format!("{code} {}", self.endpoint(open.lane)),
            message: failure.message.clone(),
            request_id: None,
            retry_after_ms: None,
            server_time: None,
        };
        let sent = failure.kind == TransportFailureKind::Unknown;
        if failure.kind == TransportFailureKind::NotConnected {
            self.lanes[open.lane].trouble = Some(FailureScope::Endpoint);
        }
        self.not_done(call, open, &error, !sent, now);
    }

    pub(super) fn refused(&mut self, call: CallId, open: OpenCall, error: &CallError, now: Now) {
        // Only an answer that may stand for a purge keeps its quota.
        let not_done = error.class.is_surely_not_done();
        let kind = self.model.providers[self.lanes[open.lane].provider].kind.capabilities();
        if kind.default_endpoint.is_some() {
            return self.not_done(call, open, error, not_done, now);
        }
        // The user runs these endpoints, perhaps several: name which one it was.
        let code = format!("{}: {}", self.endpoint(open.lane), error.code);
        self.not_done(call, open, &CallError { code, ..error.clone() }, not_done, now);
    }

    /// The same batch goes again at once, with what is valid now.
    pub(super) fn renewed(&mut self, call: CallId, mut open: OpenCall, error: &CallError, now: Now) {
        let debit = open.debit.take();
        let credit = self.give_back(open.lane, debit);
        let reason = open.batch.reason(error.summary());
        self.not_accepted(call, now, (&open.batch.items, Some(&reason)), credit, false);
        open.batch.attempts += 1;
        self.lanes[open.lane].push_front(vec![open.batch]);
    }

    fn not_done(&mut self, call: CallId, mut open: OpenCall, error: &CallError, surely: bool, now: Now) {
        let reason = open.batch.reason(error.summary());
        let debit = open.debit.take().filter(|_| surely);
        let credit = self.give_back(open.lane, debit);
        if !matches!(error.class, ErrorClass::Transient | ErrorClass::Unknown | ErrorClass::Throttled) {
            self.lanes[open.lane].reached();
        }
        self.not_accepted(call, now, (&open.batch.items, Some(&reason)), credit, !surely);
        self.settle(open, error, now);
    }

    /// What comes next for a batch whose refusal is written down.
    pub(super) fn settle(&mut self, open: OpenCall, error: &CallError, now: Now) {
        let reason = open.batch.reason(error.summary());
        let in_place = open.batch.directory.is_some();
        let culprit = match error.class {
            ErrorClass::TargetRefused(culprit) => Some(culprit),
            ErrorClass::BatchTooLarge => Some(Culprit::Unclear),
            _ => None,
        };
        let Some(culprit) = culprit else { return self.repeat_or_stop(open, error, &reason, now) };
        match split(&open.batch, culprit, self.changes) {
            Some(parts) => self.lanes[open.lane].push_front(parts.into()),
            None if culprit == Culprit::BusyHost => self.wait_for_host(open.batch.items, error, reason, now),
            None if in_place => self.directory_refused(open, reason),
            None => self.refused_alone(open.lane, Suspect { items: open.batch.items, reason, culprit }),
        }
    }

    /// A host that its vendor does not serve at the moment holds up its own targets only, each time for longer.
    fn wait_for_host(&mut self, items: Vec<usize>, error: &CallError, reason: String, now: Now) {
        let before = items.iter().map(|&index| self.changes.standing(index).host_waits()).max();
        let times = before.unwrap_or(0).saturating_add(1);
        let ms = retry::host_wait_ms(times).max(error.retry_after_ms.unwrap_or(0));
        let ms = i64::try_from(ms).unwrap_or(i64::MAX).min(LONGEST_DEFERRAL_MS);
        let until = now.wall.plus_ms(ms);
        self.leave_as(items, Left::Deferred(until, reason, Wait::Host { times }));
    }

    /// Splitting has found a culprit, if anything else is accepted. Where everything is one, the cause is another.
    fn refused_alone(&mut self, lane: usize, suspect: Suspect) {
        if self.lanes[lane].has_accepted() {
            return self.reject_all(lane, vec![suspect]);
        }
        let why = suspect.reason.clone();
        self.lanes[lane].suspect(suspect);
        if self.lanes[lane].refuses_all() {
            self.stop(lane, ErrorClass::Request, &not_the_targets(&why));
        }
    }

    /// Nothing more is to come. A refusal stands where the vendor speaks of a target that was all that there is to do at its
    /// provider; else, with nothing accepted, nothing shows that the targets are to blame, and they stay pending.
    pub(super) fn judge(&mut self) {
        for lane in 0..self.lanes.len() {
            let suspects = self.lanes[lane].take_suspects();
            let Some(Suspect { items, reason, culprit }) = suspects.last().filter(|_| !self.cancelled) else {
                continue;
            };
            if *culprit == Culprit::Target && suspects.len() == 1 && self.is_alone(items[0]) {
                self.reject_all(lane, suspects);
            } else {
                // Few of them may be to blame all the same, so the endpoint is in no trouble for what was not tried yet.
                let reason = not_the_targets(reason);
                self.stops[self.lanes[lane].provider].reason.get_or_insert(reason);
            }
        }
        self.note_rights();
        if !self.cancelled {
            (0..self.model.providers.len()).for_each(|provider| self.tell_shortage(provider));
        }
    }

    /// What all endpoints have accepted that there are waits for more of them, where `require` asks for more.
    fn tell_shortage(&mut self, provider: usize) {
        let config = &self.model.providers[provider];
        let (there, required) = (config.endpoints.len(), config.required());
        if required <= there {
            return;
        }
        let reason = format!("`require: {required}`, but its endpoints come to {} now", count(there, "cache"));
        let told = ItemState::Pending(Some(reason.clone()));
        let is_short = |&item: &usize| {
            let is_its = self.changes.provider(item) == provider && *self.states.get(item) != told;
            is_its && usize::from(self.tallies[item].accepted) == there
        };
        let items: Vec<usize> = (0..self.changes.len()).filter(is_short).collect();
        if !items.is_empty() {
            self.stops[provider].reason.get_or_insert_with(|| reason.clone());
            self.leave(items, None, reason);
        }
    }

    fn is_alone(&self, item: usize) -> bool {
        let provider = self.changes.provider(item);
        (0..self.changes.len()).all(|other| other == item || self.changes.provider(other) != provider)
    }

    fn repeat_or_stop(&mut self, mut open: OpenCall, error: &CallError, reason: &str, now: Now) {
        open.batch.attempts += 1;
        if matches!(error.class, ErrorClass::Transient | ErrorClass::Unknown | ErrorClass::Throttled) {
            return self.back_off(open, error, reason, now);
        }
        let OpenCall { lane, mut batch, sent, .. } = open;
        match error.class {
            ErrorClass::SignAgain if !batch.signed_again => {
                batch.signed_again = true;
                self.lanes[lane].push_front(vec![batch]);
            }
            ErrorClass::QuotaSpent => {
                self.lanes[lane].push_front(vec![batch]);
                self.quota_spent(lane, sent, error.server_time, reason, now);
            }
            class => {
                self.lanes[lane].push_front(vec![batch]);
                self.stop(lane, class, reason);
            }
        }
    }

    /// Waits and repeats. One batch that fails waits alone; an endpoint that fails again is left in peace meanwhile.
    fn back_off(&mut self, open: OpenCall, error: &CallError, reason: &str, now: Now) {
        let OpenCall { lane, mut batch, sent, .. } = open;
        let random = self.jitter.next();
        let throttled = error.class == ErrorClass::Throttled;
        let asked = error.retry_after_ms.map(|ms| now.tick.plus_ms(ms));
        let failures = self.lanes[lane].failed(&batch, throttled, sent.unwrap_or(now.tick), now.tick);
        if failures > 1 && !throttled {
            self.lanes[lane].mistrust();
        }
        self.lanes[lane].not_before = asked.max(self.lanes[lane].not_before);
        let asks_s = error.retry_after_ms.filter(|&ms| ms > retry::LONGEST_WAIT_MS).map(|ms| ms / 1000);
        match retry::decide(error.class, batch.attempts.max(failures), error.retry_after_ms, random) {
            Verdict::After(ms) if self.lanes[lane].spend_retry() => {
                batch.not_before = now.tick.plus_ms(ms);
                if throttled {
                    let pace = self.lanes[lane].pace;
                    self.paces[pace].slow_down(batch.not_before);
                }
                if failures > 1 || error.retry_after_ms.is_some() {
                    let held = &mut self.lanes[lane].hold_until;
                    *held = batch.not_before.max(*held);
                }
                self.lanes[lane].push_again(batch);
            }
            // This batch has had its attempts; others fared better.
            Verdict::GiveUp if !throttled && failures < retry::ATTEMPTS && asks_s.is_none() => {
                self.leave(batch.items, None, reason.to_owned());
            }
            // The endpoint is in trouble, not the batch: more calls would only burn time and quota.
            _ => {
                self.lanes[lane].push_again(batch);
                let asks = asks_s.map_or(String::new(), |seconds| format!("; it asks to wait {seconds} s"));
                let blame = self.lanes[lane].trouble.filter(|_| !throttled && asks_s.is_none());
                self.stop_for(lane, error.class, blame.unwrap_or(FailureScope::Endpoint), &format!("{reason}{asks}"));
            }
        }
    }

    /// The vendor's count stands for the day that it is of, and for all that draw on the same share of the quota.
    fn quota_spent(&mut self, lane: usize, sent: Option<Tick>, server: Option<Timestamp>, reason: &str, now: Now) {
        let wall = self.wall(now);
        let resets_at = match &self.lanes[lane].draw {
            Some(draw) => self.ledgers[draw.ledger].resets_at(),
            None => wall.next_midnight(self.lanes[lane].day_offset_minutes),
        };
        let took_ms = i64::try_from(now.tick.since(sent.unwrap_or(now.tick))).unwrap_or(i64::MAX);
        if wall.plus_ms(-took_ms) < resets_at.plus_ms(-DAY_MS) {
            // It left on the day before, whose quota is spent: now it goes again.
            return;
        }
        let counts_anew = counts_anew_at(resets_at);
        let until = if server.map_or(wall, |server| server.min(wall)) >= counts_anew {
            self.note_spent(lane);
            resets_at
        } else if wall < counts_anew {
            counts_anew
        } else {
            wall.plus_ms(COUNTS_ANEW_MS)
        };
        for index in 0..self.lanes.len() {
            let other = &self.lanes[index];
            if index == lane || self.draws_with(lane, other).is_some() {
                // What directories stood for need not wait for them.
                let goes_on = other.collapsed;
                if goes_on {
                    self.note_directory(index, reason);
                }
                let until = Some(until).filter(|_| !goes_on);
                self.stop_lane(index, Stopped { reason: reason.to_owned(), until, goes_on });
            }
        }
    }

    /// Counts the rest of the day's quota as used, as far as those that draw on it know its limit.
    fn note_spent(&mut self, lane: usize) {
        let limits = self.lanes.iter().filter_map(|other| self.draws_with(lane, other)?.limit);
        let (Some(limit), Some(draw)) = (limits.max(), &self.lanes[lane].draw) else { return };
        let ledger = &mut self.ledgers[draw.ledger];
        let used = ledger.spend(&draw.area, limit);
        self.outbox.push_back(Record::QuotaSpent { key: ledger.key(&draw.area), used });
    }

    /// How `other` draws on the share of a quota that the lane draws on, if it does.
    fn draws_with<'a>(&self, lane: usize, other: &'a Lane) -> Option<&'a Draw> {
        let own = self.lanes[lane].draw.as_ref()?;
        other.draw.as_ref().filter(|draw| (draw.ledger, &draw.area) == (own.ledger, &own.area))
    }

    /// Stops what shares the cause: all lanes to this endpoint of this provider. What is wrong with directories may be right
    /// with URLs, for example the permissions of a key.
    pub(super) fn stop(&mut self, lane: usize, class: ErrorClass, reason: &str) {
        self.stop_for(lane, class, FailureScope::Endpoint, reason);
    }

    /// As [`Apply::stop`], with what is to blame.
    fn stop_for(&mut self, lane: usize, class: ErrorClass, blame: FailureScope, reason: &str) {
        let (provider, endpoint) = (self.lanes[lane].provider, self.lanes[lane].endpoint);
        let alone = self.lanes[lane].collapsed;
        let goes_on = alone && class.is_of_the_operation();
        if goes_on {
            self.not_allowed.insert(lane);
            self.note_directory(lane, reason);
        } else {
            let stop = &mut self.stops[provider];
            stop.credentials |= class == ErrorClass::Auth;
            stop.reason.get_or_insert_with(|| reason.to_owned());
        }
        for index in 0..self.lanes.len() {
            let other = &self.lanes[index];
            if index == lane || (!alone && other.provider == provider && other.endpoint == endpoint) {
                if !alone {
                    let trouble = &mut self.lanes[index].trouble;
                    *trouble = (*trouble).max(Some(blame));
                }
                self.stop_lane(index, Stopped { reason: reason.to_owned(), until: None, goes_on });
            }
        }
    }

    /// The first stop counts: what it left is not left again.
    fn stop_lane(&mut self, index: usize, stop: Stopped) {
        let stop = self.lanes[index].stopped.get_or_insert(stop).clone();
        let items = self.lanes[index].drain();
        self.go_on_or_leave(index, items, stop);
    }

    /// One directory was refused, not the URLs that it stands for, and perhaps no other directory.
    fn directory_refused(&mut self, open: OpenCall, reason: String) {
        self.note_directory(open.lane, &reason);
        let stop = Stopped { reason, until: None, goes_on: true };
        self.go_on_or_leave(open.lane, open.batch.items, stop);
    }

    fn note_directory(&mut self, lane: usize, reason: &str) {
        let Lane { provider, operation, .. } = self.lanes[lane];
        let refused = || RefusedDirectory { operation: operation.name, reason: reason.to_owned() };
        self.stops[provider].directories.get_or_insert_with(refused);
    }

    /// Has URLs purged one by one that a directory was to stand for, as far as their quota allows; else leaves them as the end
    /// of the lane says.
    pub(super) fn go_on_or_leave(&mut self, lane: usize, mut items: Vec<usize>, stop: Stopped) {
        let Some(urls) = self.lanes[lane].one_by_one.filter(|_| stop.goes_on && !items.is_empty()) else {
            return self.leave(items, stop.until, stop.reason);
        };
        if let Some(Stopped { reason, until, .. }) = self.lanes[urls].stopped.clone() {
            return self.leave(items, until, reason);
        }
        items.sort_by_key(|&item| rank(self.changes, item));
        if items.iter().any(|&item| self.changes.standing(item).has_ever_failed()) {
            self.lanes[urls].mistrust();
        }
        let items: Vec<u32> = items.into_iter().filter_map(|item| u32::try_from(item).ok()).collect();
        self.lanes[urls].extend(&items);
        if let Some(ledger) = self.lanes[urls].draw.as_ref().map(|draw| draw.ledger) {
            self.cut_to_room(ledger);
        }
    }

    /// Notes, once, that an account may purge URLs and no directories.
    fn note_rights(&mut self) {
        for lane in std::mem::take(&mut self.not_allowed) {
            let Lane { provider, one_by_one, .. } = self.lanes[lane];
            if one_by_one.is_some_and(|urls| self.lanes[urls].has_accepted()) {
                let began = self.began.map_or(Timestamp::from_unix_ms(0), |began| began.wall);
                self.outbox.push_back(Record::DirectoriesRefused { provider, until: began.plus_ms(DAY_MS) });
            }
        }
    }
}

/// What is said of a lane that refused all and accepted nothing.
fn not_the_targets(reason: &str) -> String {
    format!(
        "everything was refused and nothing accepted, so nothing is given up; look at the provider's options: {reason}"
    )
}
