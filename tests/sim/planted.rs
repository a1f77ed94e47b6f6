//! Defects that are planted between the engine and its seams, and between the watch and its world, to prove that the
//! invariants find them.

use std::collections::BTreeMap;

use freshen::core::contract::{
    Account, Call, CallError, Capabilities, Credentials, Culprit, ErrorClass, Operation, Options, Reply, Stamp,
};
use freshen::core::event::{ItemOutcome, Record};
use freshen::core::http::{Request, Response};
use freshen::core::plan::QuotaKey;
use freshen::core::provider::Provider;
use freshen::core::target::Target;

/// One defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Bug {
    /// The desired hash is recorded with the intent, before anything is sent.
    RecordedBeforeSending,
    /// Calls are sent without an intent on disk.
    NoIntent,
    /// Acceptances are not written down.
    OutcomeDropped,
    /// The ledger forgets what was sent.
    QuotaNotDebited,
    /// A lost answer gives its quota back.
    QuotaRefundedOnUnknown,
    /// One of several endpoints counts as all.
    PartIsWhole,
    /// No answer counts as acceptance.
    LostAnswerIsDone,
    /// Anything with a status of success counts as acceptance.
    GarbageIsAccepted,
    /// Two runs share a state, and none notices.
    NoLock,
    /// A hash that comes back makes the change in between forgotten.
    ReturnForgotten,
    /// Targets that are listed no more are dropped without a purge.
    RemovalForgotten,
    /// Refusals for good are not remembered.
    RejectedAgain,
    /// The limit of calls a second is not kept.
    PaceIgnored,
    /// The limit of calls a second begins anew with each process.
    PaceForgotten,
    /// The limit of targets a call is not kept.
    BatchIgnored,
    /// The second half of a batch that failed counts as done.
    HalfIsLost,
    /// A batch is sent without its last target.
    TargetLost,
    /// A batch is sent with a target that nobody asked for.
    TargetInvented,
    /// Each request has the same nonce.
    NonceReused,
    /// The exit code is that of success.
    SaysDone,
    /// Of two providers on one account the second one sends nothing while its limit is another one.
    LimitsMixedUp,
    /// Targets of further providers have no priority.
    PriorityOfTheFirstAlone,
    /// Each issue of temporary keys has a ledger of its own.
    LedgerOfTheKey,
    /// What is wrong with an endpoint counts as a refusal of the target.
    TargetsAreBlamed,
    /// A host that is off line is refused for good.
    OffLineIsForGood,
    /// What was refused stays so, however its provider is configured.
    ConfigurationIgnored,
    /// What some of several endpoints accepted is sent to all of them again by each run.
    PartsForgotten,
    /// Guards count what is left for other days.
    GuardCountsWhatWaits,
    /// Guards let everything through.
    GuardSleeps,
    /// A run goes by what it read before another one came and went.
    StaleReading,
    /// A run that is refused notes targets and not their manifests.
    ManifestsForgotten,
    /// Whatever a run does not read is taken for gone.
    HiddenIsGone,
    /// Calls that were carried out are noted as if they had not been.
    PurgedInSecret,
}

impl Bug {
    pub(crate) const ALL: [Self; 33] = [
        Self::RecordedBeforeSending,
        Self::NoIntent,
        Self::OutcomeDropped,
        Self::QuotaNotDebited,
        Self::QuotaRefundedOnUnknown,
        Self::PartIsWhole,
        Self::LostAnswerIsDone,
        Self::GarbageIsAccepted,
        Self::NoLock,
        Self::ReturnForgotten,
        Self::RemovalForgotten,
        Self::RejectedAgain,
        Self::PaceIgnored,
        Self::PaceForgotten,
        Self::BatchIgnored,
        Self::HalfIsLost,
        Self::TargetLost,
        Self::TargetInvented,
        Self::NonceReused,
        Self::SaysDone,
        Self::LimitsMixedUp,
        Self::PriorityOfTheFirstAlone,
        Self::LedgerOfTheKey,
        Self::TargetsAreBlamed,
        Self::OffLineIsForGood,
        Self::ConfigurationIgnored,
        Self::PartsForgotten,
        Self::GuardCountsWhatWaits,
        Self::GuardSleeps,
        Self::StaleReading,
        Self::ManifestsForgotten,
        Self::HiddenIsGone,
        Self::PurgedInSecret,
    ];

    /// The invariants that may find it.
    pub(crate) fn breaks(self) -> &'static [&'static str] {
        match self {
            Self::RecordedBeforeSending | Self::PartIsWhole | Self::LostAnswerIsDone | Self::GarbageIsAccepted => {
                &["S1", "S2", "L3"]
            }
            Self::NoIntent => &["C2"],
            Self::NoLock => &["S2", "S3"],
            Self::OutcomeDropped | Self::RejectedAgain | Self::PartsForgotten => &["S3"],
            Self::ConfigurationIgnored => &["L1"],
            Self::GuardCountsWhatWaits | Self::GuardSleeps => &["C11"],
            Self::StaleReading | Self::HiddenIsGone | Self::PurgedInSecret => &["S2"],
            Self::ManifestsForgotten => &["S2", "R7"],
            Self::QuotaNotDebited
            | Self::QuotaRefundedOnUnknown
            | Self::PaceIgnored
            | Self::PaceForgotten
            | Self::LedgerOfTheKey
            | Self::BatchIgnored => &["S5"],
            Self::ReturnForgotten | Self::RemovalForgotten => &["S2", "L3"],
            Self::HalfIsLost => &["S1", "S2"],
            // A cloud accepts fewer targets than it was asked for, or refuses an empty call, which is repeated.
            Self::TargetLost => &["S1", "S2", "L2", "L3", "R11"],
            Self::TargetInvented => &["S4"],
            Self::TargetsAreBlamed => &["L2"],
            Self::OffLineIsForGood => &["L1", "L2"],
            Self::NonceReused => &["R10"],
            Self::SaysDone => &["L3"],
            Self::LimitsMixedUp => &["P1"],
            Self::PriorityOfTheFirstAlone => &["T3"],
        }
    }

    fn is_in_adapter(self) -> bool {
        matches!(
            self,
            Self::GarbageIsAccepted
                | Self::TargetLost
                | Self::TargetInvented
                | Self::NonceReused
                | Self::TargetsAreBlamed
                | Self::OffLineIsForGood
        )
    }
}

/// Records as the defect would write them. `debits` remembers what open calls have cost.
pub(crate) fn alter(bug: Bug, records: &[Record], debits: &mut BTreeMap<u64, (QuotaKey, u64)>) -> Vec<Record> {
    let mut altered = Vec::with_capacity(records.len());
    for record in records {
        match record.clone() {
            Record::Intent { call, operation, items, mut debit, purge } => {
                debits.extend(debit.clone().map(|debit| (call.0, debit)));
                if bug == Bug::QuotaNotDebited {
                    debit = None;
                }
                let sent = if bug == Bug::NoIntent { Vec::new() } else { items.clone() };
                altered.push(Record::Intent { call, operation, items: sent, debit, purge });
                if bug == Bug::RecordedBeforeSending {
                    let done = items.iter().map(|&item| (item, ItemOutcome::Recorded { task_id: None })).collect();
                    let at = freshen::core::time::Timestamp::from_unix_ms(0);
                    altered.push(Record::Outcome {
                        call,
                        at,
                        items: done,
                        may_have_purged: true,
                        left_out: Vec::new(),
                        credit: None,
                    });
                }
            }
            Record::Outcome { call, at, mut items, mut may_have_purged, left_out, mut credit } => {
                let accepted = items
                    .iter()
                    .any(|(_, outcome)| matches!(outcome, ItemOutcome::Recorded { .. } | ItemOutcome::AcceptedAt(_)));
                if bug == Bug::OutcomeDropped && accepted {
                    continue;
                }
                if bug == Bug::QuotaRefundedOnUnknown && !accepted && credit.is_none() {
                    credit = debits.get(&call.0).cloned();
                }
                may_have_purged &= bug != Bug::PurgedInSecret;
                let half = items.len().div_ceil(2);
                for (place, (_, outcome)) in items.iter_mut().enumerate() {
                    let takes = match outcome {
                        ItemOutcome::AcceptedAt(_) => bug == Bug::PartIsWhole,
                        ItemOutcome::Later(reason) => {
                            (bug == Bug::LostAnswerIsDone
                                && reason.as_ref().is_some_and(|reason| reason.starts_with("no answer")))
                                || (bug == Bug::HalfIsLost && place >= half)
                        }
                        _ => false,
                    };
                    if takes {
                        *outcome = ItemOutcome::Recorded { task_id: None };
                    }
                }
                altered.push(Record::Outcome { call, at, items, may_have_purged, left_out, credit });
            }
            other => altered.push(other),
        }
    }
    altered
}

/// Records with the quotas that they draw on under other names.
pub(crate) fn moved(records: &[Record], name: &dyn Fn(&QuotaKey) -> QuotaKey) -> Vec<Record> {
    let mut moved = records.to_vec();
    for record in &mut moved {
        match record {
            Record::Intent { debit: Some((key, _)), .. } | Record::Outcome { credit: Some((key, _)), .. } => {
                *key = name(key);
            }
            Record::QuotaSpent { key, .. } => *key = name(key),
            _ => {}
        }
    }
    moved
}

/// The adapter as the simulation uses it, with its defect if it is one of adapters. It answers no queries: what they would say
/// of quotas is what the simulation counts itself.
pub(crate) fn adapter(inner: &'static dyn Provider, bug: Option<Bug>) -> &'static dyn Provider {
    Box::leak(Box::new(Defective { inner, bug: bug.filter(|bug| bug.is_in_adapter()) }))
}

struct Defective {
    inner: &'static dyn Provider,
    bug: Option<Bug>,
}

impl Defective {
    const fn class(&self, class: ErrorClass) -> ErrorClass {
        match (self.bug, class) {
            (Some(Bug::TargetsAreBlamed), ErrorClass::Transient | ErrorClass::Fatal | ErrorClass::Config) => {
                ErrorClass::TargetRefused(Culprit::Target)
            }
            (Some(Bug::OffLineIsForGood), ErrorClass::TargetRefused(Culprit::BusyHost)) => {
                ErrorClass::TargetRefused(Culprit::Host)
            }
            _ => class,
        }
    }
}

impl Provider for Defective {
    fn capabilities(&self) -> &'static Capabilities {
        self.inner.capabilities()
    }

    fn check_options(&self, options: &Options) -> Vec<(&'static str, String)> {
        self.inner.check_options(options)
    }

    fn check_target(&self, target: &Target, options: &Options) -> Result<(), String> {
        self.inner.check_target(target, options)
    }

    fn wire_key(&self, target: &Target, options: &Options) -> Option<String> {
        self.inner.wire_key(target, options)
    }

    fn quota_area(&self, options: &Options) -> String {
        self.inner.quota_area(options)
    }

    fn quota_areas(&self) -> &'static [&'static str] {
        self.inner.quota_areas()
    }

    fn directories(&self, options: &Options) -> Option<&'static Operation> {
        self.inner.directories(options)
    }

    fn has_cache_per_address(&self, options: &Options) -> bool {
        self.inner.has_cache_per_address(options)
    }

    fn encode(
        &self,
        call: &Call,
        account: &Account,
        credentials: &Credentials,
        stamp: &Stamp,
    ) -> Result<Request, String> {
        let (mut call, mut stamp) = (call.clone(), *stamp);
        let many = self.capabilities().default_endpoint.is_some();
        match self.bug {
            Some(Bug::TargetLost) if call.targets.len() > 1 => drop(call.targets.pop()),
            Some(Bug::TargetInvented) if many => {
                let other = format!("{}/nobody-asked", call.targets[0].text);
                call.targets[0] = Target { text: other, ..call.targets[0].clone() };
            }
            Some(Bug::NonceReused) => stamp.nonce = 7,
            _ => {}
        }
        self.inner.encode(&call, account, credentials, &stamp)
    }

    fn decode(&self, call: &Call, account: &Account, response: &Response) -> Result<Reply, CallError> {
        match self.inner.decode(call, account, response) {
            Err(error)
                if self.bug == Some(Bug::GarbageIsAccepted)
                    && error.class == ErrorClass::Unknown
                    && (200..300).contains(&response.status) =>
            {
                Ok(Reply::default())
            }
            Err(error) => Err(CallError { class: self.class(error.class), ..error }),
            decoded => decoded,
        }
    }
}

/// A defect between the machine of the watch and its world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WatchBug {
    /// Files that change during a run are not looked at again.
    EventsOfRunsLost,
    /// Files that never come to rest are never read.
    QuietForEver,
    /// Providers that fail are asked by each run.
    FailedAreAskedAgain,
    /// A run that hangs keeps the next one waiting.
    RunsNeverCut,
    /// A run under way is forgotten, and another one begins.
    RunsForgotten,
    /// Waits are measured by the wall clock.
    WaitsByTheWallClock,
    /// One provider fails, and all are left in peace.
    HealthyAreLeftInPeace,
    /// Each file that changes during a run gets a run of its own.
    EventsQueueUp,
    /// What is no longer configured is remembered.
    GoneAreRemembered,
    /// Each run's removals are looked at alone.
    SlicesDoNotAddUp,
    /// Manifests are taken to be as they were when all was done, once it was.
    ShortCutTooOften,
    /// Half of a file that is being written is taken for all of it.
    HalfFileTaken,
    /// The manifests of the run before are read.
    OldManifestTaken,
    /// A plan that loses too much is sent.
    RefusedPlanSent,
    /// What a run leaves is not tried again.
    RetryForgotten,
    /// Files that change as a run begins are not looked at again.
    EventLostAtTheStart,
    /// A run that failed counts as one that left nothing.
    FailedIsDone,
    /// Nothing is looked at that no event was seen of.
    ResyncForgotten,
    /// The first signal to stop is not heard.
    StopIgnored,
    /// The signal to reload is not heard.
    ReloadIgnored,
}

impl WatchBug {
    pub(crate) const ALL: [Self; 20] = [
        Self::EventsOfRunsLost,
        Self::QuietForEver,
        Self::FailedAreAskedAgain,
        Self::RunsNeverCut,
        Self::RunsForgotten,
        Self::WaitsByTheWallClock,
        Self::HealthyAreLeftInPeace,
        Self::EventsQueueUp,
        Self::GoneAreRemembered,
        Self::SlicesDoNotAddUp,
        Self::ShortCutTooOften,
        Self::HalfFileTaken,
        Self::OldManifestTaken,
        Self::RefusedPlanSent,
        Self::RetryForgotten,
        Self::EventLostAtTheStart,
        Self::FailedIsDone,
        Self::ResyncForgotten,
        Self::StopIgnored,
        Self::ReloadIgnored,
    ];

    /// The day on which it was found last, which is looked at first: days are expensive.
    pub(crate) const fn found_on(self) -> u64 {
        match self {
            Self::ShortCutTooOften => 1,
            Self::WaitsByTheWallClock => 2,
            Self::RetryForgotten => 3,
            Self::RefusedPlanSent => 4,
            Self::FailedIsDone => 6,
            Self::QuietForEver => 8,
            Self::RunsNeverCut => 15,
            Self::SlicesDoNotAddUp => 20,
            Self::FailedAreAskedAgain => 42,
            Self::ResyncForgotten => 52,
            Self::EventLostAtTheStart => 99,
            Self::HealthyAreLeftInPeace => 101,
            _ => 0,
        }
    }

    /// The claims that may find it.
    pub(crate) const fn breaks(self) -> &'static [&'static str] {
        match self {
            Self::EventsOfRunsLost => &["W4", "L1"],
            Self::QuietForEver | Self::RunsNeverCut | Self::HealthyAreLeftInPeace | Self::EventsQueueUp => &["W4"],
            Self::GoneAreRemembered => &["W6"],
            Self::SlicesDoNotAddUp | Self::RefusedPlanSent => &["C11"],
            Self::ShortCutTooOften
            | Self::RetryForgotten
            | Self::EventLostAtTheStart
            | Self::FailedIsDone
            | Self::ResyncForgotten => &["W4", "L1", "L3"],
            Self::HalfFileTaken | Self::OldManifestTaken => &["S2", "R7", "W4", "L1", "L3", "C11"],
            Self::StopIgnored | Self::ReloadIgnored => &["C14"],
            Self::RunsForgotten | Self::FailedAreAskedAgain => &["W4", "W6"],
            Self::WaitsByTheWallClock => &["W4", "W6", "L1"],
        }
    }
}
