//! What the state knows of a target: the recorded hash and the work that is left.

use super::model::{Manifest, OnRemoved, Priority, TreePath};
use super::target::{ContentHash, Scope, Target};
use super::time::Timestamp;

/// Everything recorded about one target of one provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// By what the state knows the provider, see [`ProviderKey`](super::provider_key::ProviderKey).
    pub provider: String,
    /// The target.
    pub target: Target,
    /// Names of the manifests that list it, in order, at least one.
    pub owners: Vec<String>,
    /// The hash for which the provider accepted a purge, or that was adopted.
    pub hash: Option<ContentHash>,
    /// A run left the target alone since, see [`RecordedRow::valid_hash`].
    pub left_alone: bool,
    /// When it was recorded.
    pub recorded_at: Option<Timestamp>,
    /// The vendor's task for it.
    pub task_id: Option<String>,
    /// A change that was seen and is not yet recorded.
    pub work: Option<Work>,
}

/// A recorded target as the state reads it, row by row.
#[derive(Clone, Copy, Debug)]
pub struct RecordedRow<'a> {
    /// By what the state knows the provider.
    pub provider: &'a str,
    /// How the text is meant.
    pub scope: Scope,
    /// Text of the target.
    pub text: &'a str,
    /// Names of the manifests that list it, in order, at least one.
    pub owners: &'a [String],
    /// The recorded hash, canonical.
    pub hash: Option<&'a str>,
    /// A run left the target alone since.
    pub left_alone: bool,
    /// A change that was seen and is not yet recorded.
    pub work: Option<&'a Work>,
}

impl RecordedRow<'_> {
    /// The recorded hash, as long as caches hold nothing else. A target that a run left alone, as no manifest configured its
    /// provider, may have been purged through another one since, and may be cached anew: should its own come back, it is due.
    pub fn valid_hash(&self) -> Option<&str> {
        self.hash.filter(|_| !self.left_alone)
    }
}

impl Recorded {
    /// What a comparison needs of it.
    pub fn row(&self) -> RecordedRow<'_> {
        RecordedRow {
            provider: &self.provider,
            scope: self.target.scope,
            text: &self.target.text,
            owners: &self.owners,
            hash: self.hash.as_ref().map(ContentHash::as_str),
            left_alone: self.left_alone,
            work: self.work.as_ref(),
        }
    }
}

/// A change that was seen: it stays until a purge is accepted, whatever hash comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// The hash to record; `None` for a removal.
    pub desired: Option<ContentHash>,
    /// Why it is there.
    pub kind: ChangeKind,
    /// Its place in the order.
    pub priority: Priority,
    /// When the change was first seen.
    pub since: Timestamp,
    /// What holds it up.
    pub standing: Standing,
    /// How far it has come with its present content.
    pub progress: Progress,
    /// A purge of it was about to be sent and no outcome is known: it may have been purged before.
    pub in_doubt: bool,
    /// It was purged since it was recorded last, or may have been; so it is whenever it is in doubt.
    pub may_have_been_purged: bool,
    /// Endpoints that accepted a purge for `desired`, where a provider has several.
    pub accepted_at: Vec<String>,
}

impl Work {
    /// Whether it was tried, and has failed so far.
    pub fn fails(&self) -> bool {
        self.progress == Progress::Tried && matches!(&self.standing, Standing::Pending { reason: Some(_) })
    }
}

/// A removed target that was purged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurgedRemoval {
    /// By what the state knows the provider.
    pub provider: String,
    /// When a purge was accepted.
    pub at: Timestamp,
    /// Number of the run.
    pub run: i64,
}

/// Why a target is to be purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChangeKind {
    /// Never recorded.
    New,
    /// The desired hash differs from the recorded one, or did since the last accepted purge.
    Changed,
    /// Recorded or perhaps purged, and no longer listed.
    Removed,
    /// The user asked for it.
    Forced,
    /// An edge was seen to serve something else after a purge was accepted.
    Stale,
}

impl ChangeKind {
    /// All kinds, in order.
    pub const ALL: [Self; 5] = [Self::New, Self::Changed, Self::Removed, Self::Forced, Self::Stale];

    /// Whether it may be due although the recorded hash is the desired one.
    pub const fn is_of_recorded(self) -> bool {
        matches!(self, Self::Forced | Self::Stale)
    }

    /// The word for it in output and state.
    pub const fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Changed => "changed",
            Self::Removed => "removed",
            Self::Forced => "forced",
            Self::Stale => "stale",
        }
    }
}

/// What holds a change up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Nothing but the last failure, if there was one.
    Pending {
        /// What went wrong last, for people.
        reason: Option<String>,
    },
    /// Not sent: its origin does not serve the content yet, or the provider upstream has not accepted it. No failure.
    Waiting {
        /// What it waits for, for people.
        reason: String,
    },
    /// Not before a known time.
    Deferred {
        /// When it may be sent.
        until: Timestamp,
        /// Why it waits.
        reason: String,
        /// What it waits for.
        wait: Wait,
        /// Digest of all that the wait depends on, as [`Standing::Rejected`] has it.
        config: String,
    },
    /// Refused for good until the entry changes, or what the refusal depended on.
    Rejected {
        /// The vendor's code and message.
        reason: String,
        /// Digest of all that the refusal depended on: the provider's configuration, and whose account it was.
        config: String,
    },
}

/// What a deferred change waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wait {
    /// The next quota day. Where a ledger of the quota is kept, it decides.
    Quota,
    /// Its host, which the vendor does not serve at the moment.
    Host {
        /// How many times in a row, from 1.
        times: u32,
    },
}

/// Longest that a change is deferred, in milliseconds.
pub const LONGEST_DEFERRAL_MS: i64 = 86_400_000;

/// How far a change has come with its present content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Progress {
    /// No run was allowed to send it yet.
    #[default]
    Seen,
    /// Guards let it through, or would not have refused it: it is not for them any more.
    Admitted,
    /// It failed: the reason why it is pending is about its present content.
    Tried,
}

impl Progress {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::Seen, Self::Admitted, Self::Tried];

    /// The word for it in output and state.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::Admitted => "admitted",
            Self::Tried => "tried",
        }
    }
}

impl Standing {
    /// Pending, with nothing gone wrong yet.
    pub const fn fresh() -> Self {
        Self::Pending { reason: None }
    }

    /// The same once the change is to another content: it may be sent at once, and what went wrong stays known.
    #[must_use]
    pub fn of_other_content(&self) -> Self {
        match self {
            Self::Pending { .. } => self.clone(),
            Self::Waiting { .. } | Self::Deferred { .. } | Self::Rejected { .. } => Self::fresh(),
        }
    }

    /// What it waits for at `now`, if its time has not come. One that is further ahead than a day comes from a clock that
    /// was wrong, or is a later quota day's and its ledger decides: it is not waited for.
    pub fn waits_at(&self, now: Timestamp) -> Option<Wait> {
        let Self::Deferred { until, wait, .. } = self else { return None };
        let left_ms = until.unix_ms().saturating_sub(now.unix_ms());
        (1..=LONGEST_DEFERRAL_MS).contains(&left_ms).then_some(*wait)
    }

    /// How many times in a row it waited for its host.
    pub const fn host_waits(&self) -> u32 {
        match self {
            Self::Deferred { wait: Wait::Host { times }, .. } => *times,
            _ => 0,
        }
    }

    /// The same once it depends on what has this digest: a refusal or a wait holds for nothing else.
    #[must_use]
    pub fn under(self, config_digest: &str) -> Self {
        match &self {
            Self::Rejected { config, .. } | Self::Deferred { config, .. } if config != config_digest => Self::fresh(),
            _ => self,
        }
    }

    /// Whether it failed with its present content or the ones before.
    pub const fn has_ever_failed(&self) -> bool {
        matches!(self, Self::Pending { reason: Some(_) })
    }

    /// The word for it in output and state.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Pending { .. } => "pending",
            Self::Waiting { .. } => "waiting",
            Self::Deferred { .. } => "deferred",
            Self::Rejected { .. } => "rejected",
        }
    }
}

/// Numbers of targets by where a run leaves them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Recorded by the run.
    pub recorded: u64,
    /// Left waiting for an origin or a provider upstream.
    pub waiting: u64,
    /// Left pending.
    pub pending: u64,
    /// Left deferred.
    pub deferred: u64,
    /// Rejected.
    pub rejected: u64,
}

impl Counts {
    /// Recorded, waiting, pending, deferred, rejected.
    pub const fn numbers(&self) -> [u64; 5] {
        [self.recorded, self.waiting, self.pending, self.deferred, self.rejected]
    }

    /// All that are not recorded.
    pub const fn left(&self) -> u64 {
        self.waiting + self.pending + self.deferred + self.rejected
    }
}

/// The manifests of a run, as far as a later run has to know them again: if they are the same and no work is left,
/// nothing is to be done, and they need not be read; if some differ, only those need be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    /// Identifies the files, the folders that were given, and the program.
    pub digest: String,
    /// Identifies the folders that were given, and the program.
    pub frame: String,
    /// Identifies all providers, as far as it depends on them what entries there are.
    pub configuration: String,
    /// How many targets the manifests ask for, at all providers together.
    pub targets: u64,
    /// Name and kind of each provider, in order.
    pub providers: Vec<(String, String)>,
    /// The manifests' files, in order of path.
    pub files: Vec<InputFile>,
}

impl Inputs {
    /// Whether any target is listed by two files.
    pub fn has_shared_targets(&self) -> bool {
        self.files.iter().map(|file| file.targets).sum::<u64>() != self.targets
    }
}

/// The file of a manifest, as a later run has to know it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputFile {
    /// Its normalised path.
    pub path: String,
    /// Identifies its bytes.
    pub digest: String,
    /// How many targets it lists, at all providers together.
    pub targets: u64,
    /// Whether its assets are a simple list, which can be passed over while it stays the same.
    pub is_simple: bool,
}

/// A manifest that an earlier run read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownManifest {
    /// Its name.
    pub name: String,
    /// The namespace that it was read in.
    pub namespace: Option<String>,
    /// The root of its tree then; `None` where an older program read it.
    pub root: Option<String>,
    /// Its path below the root; where that is not known, as seen from the working directory then.
    pub path: String,
    /// Absolute paths that it was found by over links, each until it is gone or leads to another file that was read.
    pub links: Vec<String>,
    /// What to do with its targets once it no longer lists them.
    pub on_removed: OnRemoved,
}

impl KnownManifest {
    /// A manifest as it is read.
    pub fn of(manifest: &Manifest) -> Self {
        let Manifest { name, namespace, tree, on_removed, .. } = manifest.clone();
        let TreePath { root, path, link } = tree;
        Self { name, namespace, root: Some(root), path, links: link.into_iter().collect(), on_removed }
    }

    /// The path that it was last read from: absolute, unless an older program read it.
    pub fn file(&self) -> String {
        self.root.as_ref().map_or_else(|| self.path.clone(), |root| format!("{root}/{}", self.path))
    }

    /// A path that led to [`KnownManifest::file`]: that itself, or the last link that was found.
    pub fn found_by(&self) -> String {
        self.links.last().cloned().unwrap_or_else(|| self.file())
    }
}
