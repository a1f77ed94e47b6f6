//! The words between the apply machine and its driver: events in, actions out, records for the state.

use super::contract::{CallError, Reply};
use super::http::{Endpoint, TransportFailure};
use super::plan::QuotaKey;
use super::recorded::{Standing, Wait};
use super::time::{Tick, Timestamp};

/// Number of a call, unique in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// A purge of some targets for some content, however often it is called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PurgeId {
    /// Digest of what is purged, where and for which changes: a repetition has the same one.
    pub content: u64,
    /// See [`Call::id`](super::contract::Call::id).
    pub id: String,
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// The run starts, or a time that was asked for has come.
    Woke,
    /// The intent of this call is on disk.
    Persisted(CallId),
    /// The call ended.
    Ended(CallId, Ending),
    /// Nothing more is to be started.
    Cancelled,
}

/// How a call ended.
#[derive(Clone, Debug)]
pub enum Ending {
    /// The provider accepted it.
    Accepted(Reply),
    /// The provider answered something else.
    Refused(CallError),
    /// The provider refused credentials that have been renewed meanwhile.
    Renewed(CallError),
    /// No answer came.
    Failed(TransportFailure),
}

/// What to do next.
#[derive(Debug, PartialEq)]
pub enum Action {
    /// Write this down; an intent is answered by [`Event::Persisted`].
    Persist(Record),
    /// Send this call.
    Send(CallId),
    /// Nothing to do until a call ends or this time comes.
    WakeAt(Option<Tick>),
    /// Nothing is left to do.
    Done,
}

/// What the state has to keep. Items are indexes into the changes.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A call is about to be sent; its quota is debited.
    Intent {
        /// The call.
        call: CallId,
        /// The vendor's name of what is called.
        operation: &'static str,
        /// What it will purge.
        items: Vec<usize>,
        /// Debit: quota and targets.
        debit: Option<(QuotaKey, u64)>,
        /// What the vendor knows it by, should it be repeated.
        purge: PurgeId,
    },
    /// A call ended.
    Outcome {
        /// The call.
        call: CallId,
        /// When.
        at: Timestamp,
        /// What became of each target.
        items: Vec<(usize, ItemOutcome)>,
        /// The vendor carried the call out, or may have.
        may_have_purged: bool,
        /// Targets that it surely left out all the same.
        left_out: Vec<usize>,
        /// Credit for a call that the vendor did not carry out.
        credit: Option<(QuotaKey, u64)>,
    },
    /// The vendor says that the day's quota is spent: at least so many targets are used.
    QuotaSpent {
        /// Whose quota.
        key: QuotaKey,
        /// Targets to count as used.
        used: u64,
    },
    /// The vendor takes URLs with these credentials and no directories.
    DirectoriesRefused {
        /// Index into the model's providers.
        provider: usize,
        /// When it is asked for a directory again.
        until: Timestamp,
    },
    /// Origins were seen to serve these targets.
    Ready {
        /// The targets.
        items: Vec<usize>,
        /// When.
        at: Timestamp,
        /// The validator of their content there.
        validator: Option<String>,
    },
    /// Answers of this host vary by these request headers.
    Varies {
        /// With a port that is not the scheme's own.
        host: String,
        /// Their names, in lower case and in order.
        names: Vec<String>,
    },
    /// These targets will not be sent in this run any more.
    Left {
        /// The targets.
        items: Vec<usize>,
        /// What holds them up.
        left: Left,
    },
}

/// What holds targets up that are not sent any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// Nothing but this failure.
    Pending(String),
    /// What has to come first, for this reason.
    Waiting(String),
    /// Not before this time, for this reason.
    Deferred(Timestamp, String, Wait),
    /// Refused for good.
    Rejected(String),
}

impl Left {
    /// As the state keeps it; `config`: digest of all that it depends on.
    pub fn standing(&self, config: &str) -> Standing {
        let config = config.to_owned();
        match self.clone() {
            Self::Pending(reason) => Standing::Pending { reason: Some(reason) },
            Self::Waiting(reason) => Standing::Waiting { reason },
            Self::Deferred(until, reason, wait) => Standing::Deferred { until, reason, wait, config },
            Self::Rejected(reason) => Standing::Rejected { reason, config },
        }
    }
}

/// What became of a target in a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemOutcome {
    /// Accepted by as many endpoints as are required: the desired hash is recorded.
    Recorded {
        /// The vendor's tasks, comma-separated.
        task_id: Option<String>,
    },
    /// Accepted at this endpoint; others are still to accept.
    AcceptedAt(String),
    /// Refused for good.
    Rejected(String),
    /// Not done, or not known to be done, for this reason, or not even sent; to be sent again.
    Later(Option<String>),
}

/// Where a target stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ItemState {
    /// Still to do, with the last failure.
    Pending(Option<String>),
    /// Recorded.
    Recorded,
    /// Not sent before something else has come, for this reason.
    Waiting(String),
    /// Not before this time, for this reason.
    Deferred(Timestamp, String, Wait),
    /// Refused for good.
    Rejected(String),
}

impl ItemState {
    /// The word for it in output, when it is due if that is known, and why it is left.
    pub fn parts(&self) -> (&'static str, Option<Timestamp>, Option<&str>) {
        match self {
            Self::Recorded => ("recorded", None, None),
            Self::Pending(reason) => ("pending", None, reason.as_deref()),
            Self::Waiting(reason) => ("waiting", None, Some(reason)),
            Self::Deferred(until, reason, _) => ("deferred", Some(*until), Some(reason)),
            Self::Rejected(reason) => ("rejected", None, Some(reason)),
        }
    }
}

impl From<&Standing> for ItemState {
    fn from(standing: &Standing) -> Self {
        match standing {
            Standing::Pending { reason } => Self::Pending(reason.clone()),
            Standing::Waiting { reason } => Self::Waiting(reason.clone()),
            Standing::Deferred { until, reason, wait, .. } => Self::Deferred(*until, reason.clone(), *wait),
            Standing::Rejected { reason, .. } => Self::Rejected(reason.clone()),
        }
    }
}

impl From<&Left> for ItemState {
    fn from(left: &Left) -> Self {
        match left.clone() {
            Left::Pending(reason) => Self::Pending(Some(reason)),
            Left::Waiting(reason) => Self::Waiting(reason),
            Left::Deferred(until, reason, wait) => Self::Deferred(until, reason, wait),
            Left::Rejected(reason) => Self::Rejected(reason),
        }
    }
}

/// What a provider has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProviderStop {
    /// Credentials were refused.
    pub credentials: bool,
    /// Why its calls stopped, the first reason.
    pub reason: Option<String>,
    /// The first refusal of a directory whose URLs went on one by one.
    pub directories: Option<RefusedDirectory>,
}

/// A directory that was refused, and the URLs that it was to stand for were not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedDirectory {
    /// What was called.
    pub operation: &'static str,
    /// Which one, and the vendor's answer.
    pub reason: String,
}

/// How an endpoint fared in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointEnd {
    /// Which one, with its address where each is a cache of its own.
    pub endpoint: Endpoint,
    /// It accepted something.
    pub accepted: bool,
    /// What is to blame for calls that failed last, or for the end of them.
    pub trouble: Option<FailureScope>,
    /// It asked not to be called before.
    pub not_before: Option<Tick>,
}

/// What is to blame for failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureScope {
    /// Perhaps the one batch that failed: nothing else was tried.
    Target,
    /// The endpoint: several batches failed, or what failed is the same for all.
    Endpoint,
}
