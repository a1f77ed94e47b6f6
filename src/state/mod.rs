//! What a run asks of a state, in its own words: a [`Store`] for what is in it, a [`Backend`] for where it is. Nothing of SQL
//! leaks out of this folder.

mod backend;
mod sqlite;

pub use crate::core::recorded::Counts;
pub use backend::{Backend, LockedState, at};
pub use sqlite::{Holder, ReadAhead, RunLock, SqliteStore};
#[doc(hidden)]
pub use sqlite::{add_up, seal_as_it_is};

use std::collections::HashMap;

use crate::core::changes::Changes;
use crate::core::command_line::{CommandLine, Verb};
use crate::core::diff::Difference;
use crate::core::endpoints::{AwayCache, FoundCaches, ReturnedCache};
use crate::core::event::{PurgeId, Record};
use crate::core::hold::{KnownRefusal, SeenRemovals};
use crate::core::model::Model;
use crate::core::owners::{Newcomers, Unread};
use crate::core::plan::{QuotaKey, QuotaTerms};
use crate::core::proof_record::{ProofRow, ProofVerdict, RunProof, SettledProof};
use crate::core::query::TaskState;
use crate::core::recorded::{Inputs, KnownManifest, PurgedRemoval, Recorded, RecordedRow};
use crate::core::target::Target;
use crate::core::time::Timestamp;

/// Why the state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file is there and is not a whole state of ours.
    #[error("state `{location}` is damaged: {cause}; nothing was changed")]
    Damaged {
        /// Where it is.
        location: String,
        /// What was found.
        cause: String,
    },
    /// What is there is no state of ours, and never was one as far as what stands beside it shows.
    #[error("`{location}` is no state of freshen: {cause}; nothing was changed. Give another path with `--state`")]
    Foreign {
        /// Where it is.
        location: String,
        /// What was found.
        cause: String,
    },
    /// The file was written by a newer program.
    #[error(
        "state `{location}` has format {found}, this program knows up to {known}: use the newer freshen, nothing was changed"
    )]
    Newer {
        /// Where it is.
        location: String,
        /// Its format.
        found: i64,
        /// The newest format of this program.
        known: i64,
    },
    /// It is not the state that was used here last: a copy took its place.
    #[error(
        "state `{location}` is not the one that was used here last: {}; nothing was changed",
        found.differs_from(known)
    )]
    NotLast {
        /// Where it is.
        location: String,
        /// What it is.
        found: Identity,
        /// What was used last.
        known: Identity,
    },
    /// There can be no state at this path, or it is not safe to use it there.
    #[error("state `{location}` cannot be used: {cause}; nothing was changed")]
    Misplaced {
        /// Where it would be.
        location: String,
        /// What was found there, and what to do about it.
        cause: String,
    },
    /// Another run holds the lock.
    #[error("state `{location}` is locked by another run: {holder}; wait for it or raise `--lock-timeout`")]
    Locked {
        /// Where it is.
        location: String,
        /// Who holds it.
        holder: Holder,
    },
    /// Another copy of this state went on meanwhile.
    #[error(
        "state `{location}` was changed by another run meanwhile (serial {found}, expected {expected}); nothing was overwritten"
    )]
    Overtaken {
        /// Where it is.
        location: String,
        /// Serial found.
        found: i64,
        /// Serial this run read.
        expected: i64,
    },
    /// Another file took the place of the one that was opened, or it was removed.
    #[error("state `{location}` was replaced or removed by somebody else meanwhile; nothing was overwritten")]
    Replaced {
        /// Where it is.
        location: String,
    },
    /// Reading or writing failed.
    #[error("state `{location}` cannot be {action}: {cause}")]
    Io {
        /// Where it is.
        location: String,
        /// `read`, `written`, `created`, ...
        action: &'static str,
        /// What the system or the storage engine said.
        cause: String,
    },
}

impl StateError {
    /// What happened, and the way on where that is a command.
    pub fn with_way_on(&self, commands: &CommandLine) -> String {
        let adopt = || commands.offer_for_all(Verb::Adopt, &[]);
        match self {
            Self::Damaged { .. } => format!(
                "{self}. Move the file away and run {} if the caches are fresh, or {} to purge everything anew",
                adopt(),
                commands.offer_for_all(Verb::Apply, &["--purge-all"])
            ),
            Self::NotLast { location, .. } => format!(
                "{self}. Put that one back; or, to go on with this one, remove `{location}.seal` and run {} to purge \
                 everything anew, or {} if the caches are fresh",
                commands.offer_for_all(Verb::Apply, &["--force", "*"]),
                adopt()
            ),
            _ => self.to_string(),
        }
    }
}

/// A call whose outcome never came to the state: the run was stopped in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoubtfulCall {
    /// Number of the run that sent it.
    pub run: i64,
    /// By what the state knows the provider.
    pub provider: String,
    /// When its intent was written.
    pub at: Timestamp,
    /// How many targets.
    pub targets: u64,
    /// What it purges goes on under this id, unless one of its targets was called for since.
    pub purge: Option<PurgeId>,
}

/// One finished or unfinished run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRow {
    /// Number of the run.
    pub id: i64,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended; `None`: it was stopped, or goes on.
    pub finished_at: Option<Timestamp>,
    /// Exit status.
    pub exit: Option<i64>,
    /// Calls made.
    pub calls: u64,
    /// Targets recorded, pending, deferred and rejected at its end.
    pub counts: Counts,
    /// What guards refused of it, in a few words.
    pub refused: Option<String>,
    /// How many runs in a row were refused like this and sent nothing; the last one ended at `finished_at`.
    pub times: u64,
    /// What it came to at the edges, as far as that was noted.
    pub proof: RunProof,
}

/// A run that guards refused, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedRun<'a> {
    /// Its number, if it has sent anything.
    pub run: Option<i64>,
    /// The process that runs.
    pub start: &'a RunStart,
    /// When it ended.
    pub at: Timestamp,
    /// What was refused, in a few words.
    pub refused: String,
    /// Targets that it left.
    pub counts: Counts,
}

/// The process that runs, for the state's own records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunStart {
    /// When.
    pub at: Timestamp,
    /// Name of the machine.
    pub host: String,
    /// Process id.
    pub pid: u32,
}

/// Spent quota of one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaUse {
    /// The account, by its name in the ledger.
    pub account: String,
    /// The vendor's name of the operation.
    pub operation: String,
    /// Share of the quota.
    pub area: String,
    /// Civil date of the quota day.
    pub day: String,
    /// At which offset from UTC, in minutes, the midnight lies at which it begins.
    pub offset_minutes: i32,
    /// Targets counted as used.
    pub used: u64,
}

/// A purge that a provider accepted with a task, and whose result is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenTask {
    /// By what the state knows the provider.
    pub provider: String,
    /// What was purged.
    pub target: Target,
    /// The vendor's tasks, comma-separated.
    pub task_id: String,
    /// When the purge was accepted.
    pub accepted_at: Timestamp,
}

/// What became of the task of one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The target with its task, as it was asked about.
    pub task: OpenTask,
    /// What the provider says.
    pub state: TaskState,
}

/// Numbers of a provider's recorded targets whose purge has a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskCounts {
    /// By what the state knows the provider.
    pub provider: String,
    /// The provider said that the purge is done.
    pub done: u64,
    /// Accepted, with nothing known beyond.
    pub open: u64,
}

/// What marks a state apart from copies of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Given once, when the state is created.
    pub lineage: String,
    /// Goes up with each run that writes.
    pub serial: i64,
}

impl Identity {
    /// Whether it is an older copy of the state that `known` is.
    pub fn is_older_than(&self, known: &Self) -> bool {
        self.lineage == known.lineage && self.serial < known.serial
    }

    fn differs_from(&self, known: &Self) -> String {
        if self.is_older_than(known) {
            let (found, known) = (self.serial, known.serial);
            return format!(
                "it is an older copy with serial {found}, or its log lost its end, and that one had {known}"
            );
        }
        "it was made apart from that one".to_owned()
    }
}

/// What spares reading the unchanged files of one directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatCacheRow {
    /// Absolute path of the directory, without links.
    pub directory: String,
    /// Identifies the rules.
    pub rules: [u8; 32],
    /// The cache; this folder does not know what it says.
    pub content: Vec<u8>,
}

/// The store of recorded hashes, pending work, quota ledger and runs. It knows a provider by its key, see [`Model::provider_key`].
pub trait Store: Send {
    /// Whether nothing was ever recorded.
    fn is_first_run(&self) -> Result<bool, StateError>;
    /// Everything recorded, in order of (provider, target).
    fn recorded(&self) -> Result<Vec<Recorded>, StateError>;
    /// What is recorded of the targets with this text, in order of provider.
    fn recorded_of(&self, text: &str) -> Result<Vec<Recorded>, StateError>;
    /// Shows `visit` everything recorded, in order of (provider, target).
    fn scan(&self, visit: &mut dyn FnMut(RecordedRow<'_>)) -> Result<(), StateError>;
    /// As [`Store::scan`], but only what is recorded of the model's entries.
    fn look_up(&self, model: &Model, visit: &mut dyn FnMut(RecordedRow<'_>)) -> Result<(), StateError>;
    /// What the last run that marked its changes compared, if that still holds.
    fn inputs(&self) -> Result<Option<Inputs>, StateError>;
    /// Whether any change is still to do.
    fn has_work(&self) -> Result<bool, StateError>;
    /// Manifests of earlier runs, in order of name.
    fn manifests(&self) -> Result<Vec<KnownManifest>, StateError>;
    /// Targets already counted as used of a quota, on its day and on days of other offsets that overlap it.
    fn quota_used(&self, key: &QuotaKey) -> Result<u64, StateError>;
    /// The whole quota ledger, newest day first.
    fn quota_uses(&self) -> Result<Vec<QuotaUse>, StateError>;
    /// What each provider may purge a day, as of the last run that had work for it, with its account; in order.
    fn quota_terms(&self) -> Result<Vec<(QuotaTerms, String)>, StateError>;
    /// The account that a provider used last, by its name in the ledger.
    fn account_of(&self, provider: &str) -> Result<Option<String>, StateError>;
    /// The grounds on which a provider refused directories and took URLs, and when it is asked again.
    fn directories_refused(&self, provider: &str) -> Result<Option<(String, Timestamp)>, StateError>;
    /// Caches that are in no name or list of endpoints any more, and that lack what was recorded since; those of the last 30 days.
    fn caches_away(&self, now: Timestamp) -> Result<Vec<AwayCache>, StateError>;
    /// Calls whose outcome is unknown because a run was stopped.
    fn doubtful_calls(&self) -> Result<Vec<DoubtfulCall>, StateError>;
    /// The last `most` runs, newest first.
    fn runs(&self, most: usize) -> Result<Vec<RunRow>, StateError>;
    /// Refusals of guards that last.
    fn refusals(&self) -> Result<Vec<KnownRefusal>, StateError>;
    /// When removals were first seen that are not kept as work, since no run was to send them so far.
    fn seen_removals(&self) -> Result<SeenRemovals, StateError>;
    /// Removed targets with this text that were purged in the last 30 days, in order of provider.
    fn purged_removals(&self, text: &str) -> Result<Vec<PurgedRemoval>, StateError>;
    /// Texts of all of these, in order.
    fn purged_targets(&self) -> Result<Vec<String>, StateError>;
    /// Lineage and serial.
    fn identity(&self) -> Result<Identity, StateError>;
    /// Accepted purges whose task is not known to be done, in order of (provider, task, target).
    fn open_tasks(&self) -> Result<Vec<OpenTask>, StateError>;
    /// Numbers of tasks, in order of provider.
    fn task_counts(&self) -> Result<Vec<TaskCounts>, StateError>;
    /// Accepted purges at these providers, by what the state knows them, whose probe may be made by then: at most so many, those that
    /// are due longest first. Probes at others are for other runs to make.
    fn owed_proofs(
        &self,
        providers: &[String],
        due_until: Timestamp,
        limit: usize,
    ) -> Result<Vec<ProofRow>, StateError>;
    /// When the next probe at one of these providers may be made, if any is owed.
    fn next_proof_due(&self, providers: &[String]) -> Result<Option<Timestamp>, StateError>;
    /// All that is known of proof, in order of (provider, target).
    fn proofs(&self) -> Result<Vec<ProofRow>, StateError>;
    /// What is known of the proof of a target.
    fn proof_of(&self, provider: &str, target: &Target) -> Result<Option<ProofRow>, StateError>;
    /// Numbers of targets by provider and verdict, in order.
    fn proof_counts(&self) -> Result<Vec<(String, ProofVerdict, u64)>, StateError>;
    /// Hosts whose answers were seen to vary, in order, each with the names in `Vary`.
    fn varies(&self) -> Result<Vec<(String, Vec<String>)>, StateError>;

    /// Lets the next comparison have rows that were read ahead, if they are still those of this state.
    fn compare_with(&self, ahead: Option<ReadAhead>) {
        drop(ahead);
    }
    /// The stat cache of a directory; none if there is any doubt.
    fn stat_cache(&self, _directory: &str, _rules: &[u8; 32]) -> Option<Vec<u8>> {
        None
    }
    /// Directories that have stat caches, each once.
    fn cached_directories(&self) -> Result<Vec<String>, StateError> {
        Ok(Vec::new())
    }

    /// Keeps stat caches in place of older ones, and drops those of directories that are `gone`.
    fn keep_stat_caches(&mut self, _caches: &[StatCacheRow], _gone: &[String]) -> Result<(), StateError> {
        Ok(())
    }
    /// Brings what was noted without a namespace into that of a run, and notes its manifests: others have to name it from now on.
    /// Whether there was anything.
    fn enter_namespace(&mut self, model: &Model, newcomers: &Newcomers) -> Result<bool, StateError>;
    /// Marks every change as pending, records adoptions, drops what is forgotten; one transaction. Of what is kept back only that is
    /// marked which [`Store::mark_seen`] marks.
    fn mark(&mut self, model: &Model, difference: &Difference, at: Timestamp) -> Result<(), StateError>;
    /// Marks only changes that are no removals, as a refused run leaves them behind, with manifests and links that are new. Of
    /// removals it is noted when they were first seen.
    fn mark_seen(&mut self, model: &Model, difference: &Difference) -> Result<(), StateError>;
    /// Notes what a run was refused for, in place of what was known of these manifests; writes nothing if all of it is known. An
    /// empty name stands for what is about no manifest.
    fn note_refusals(&mut self, covers: &[String], refused: &[KnownRefusal]) -> Result<(), StateError>;
    /// Forgets when these removals were first seen.
    fn forget_seen_removals(&mut self, keys: &[(String, Target)]) -> Result<(), StateError>;
    /// Lists a run that guards refused. Those that are refused alike, one after another, and send nothing are one.
    fn note_refused_run(&mut self, refused: &RefusedRun<'_>) -> Result<(), StateError>;
    /// Notes what was compared and found to be recorded.
    fn note_inputs(&mut self, inputs: &Inputs) -> Result<(), StateError>;
    /// Records entries as fresh without a purge and drops their pending work. Of manifests that are not read, those
    /// that the run speaks for list them no more.
    fn adopt(&mut self, model: &Model, entries: &[usize], unread: &Unread, at: Timestamp) -> Result<(), StateError>;
    /// Begins a run; also proves that the state can be written before anything is sent. `accounts` are those that were found for
    /// providers. What a provider spent in an account that goes on in this one counts there from now on, unless that
    /// account is `in_use` at any provider.
    fn begin_run(
        &mut self,
        start: &RunStart,
        accounts: &[(String, String)],
        in_use: &[String],
    ) -> Result<i64, StateError>;
    /// Notes what providers may purge a day, each in place of what was known of it; writes nothing if all of it is known.
    fn note_quota_terms(&mut self, of_providers: &[(String, Vec<QuotaTerms>)]) -> Result<(), StateError>;
    /// Notes which caches a run has found, before it records anything; writes nothing if all of it is known. Those that were away
    /// for 30 days, and all but the newest 256 of a provider, are forgotten.
    fn note_caches(&mut self, found: &[FoundCaches], at: Timestamp) -> Result<(), StateError>;
    /// Makes due again what caches lack that are back, at them alone as far as others are known to have it. Returns how many
    /// targets that are.
    fn owe_caches(&mut self, back: &[ReturnedCache], at: Timestamp) -> Result<u64, StateError>;
    /// Commits intents and outcomes of a run, durably, in one transaction.
    fn commit(&mut self, run: i64, batch: &Commit<'_>) -> Result<(), StateError>;
    /// Ends a run. All but the newest thousand runs, the newest hundred days of the quota ledger and the removals that were purged in
    /// the last 30 days are forgotten.
    fn finish_run(&mut self, run: i64, at: Timestamp, exit: i64, calls: u64, counts: Counts) -> Result<(), StateError>;
    /// Notes what became of tasks: done ones are not asked about again, targets of failed ones are due again. A target that
    /// has another task or work by now is left alone. Returns how many are due again.
    fn settle(&mut self, settled: &[Settled], at: Timestamp) -> Result<u64, StateError>;
    /// Notes what probes have shown, and makes due again what is stale and is to be purged again. Results about rows that are not as
    /// they were read, or whose target is due for anything else by now, are dropped; returns how many.
    fn settle_proofs(&mut self, settled: &[SettledProof], at: Timestamp) -> Result<u64, StateError>;
    /// Notes what a run came to at the edges, in place of what was noted of it.
    fn note_proof(&mut self, run: i64, proof: RunProof) -> Result<(), StateError>;
    /// Notes the names in `Vary` of a host's answers; writes nothing if they are known.
    fn note_vary(&mut self, host: &str, names: &[String], at: Timestamp) -> Result<(), StateError>;
    /// Counts at least `used` targets of a quota as spent, since the vendor says so.
    fn learn_quota(&mut self, key: &QuotaKey, used: u64) -> Result<(), StateError>;
    /// Drops everything known of the targets (provider, target); returns how many there were.
    fn forget(&mut self, keys: &[(String, Target)]) -> Result<usize, StateError>;
    /// Forgets manifests that own nothing any more.
    fn forget_manifests(&mut self, names: &[String]) -> Result<(), StateError>;
    /// Counts at least so much of each quota day as spent.
    fn raise_quota(&mut self, spent: &[QuotaUse]) -> Result<(), StateError>;
    /// Puts rows in place of what is known of their targets.
    fn import(&mut self, rows: &[Recorded]) -> Result<(), StateError>;
    /// Puts rows in place of what is known of the proof of their targets.
    fn import_proofs(&mut self, rows: &[ProofRow]) -> Result<(), StateError>;
}

/// Records to commit, with what their indexes mean.
pub struct Commit<'a> {
    /// The records, in order.
    pub records: &'a [Record],
    /// The changes that items point into.
    pub changes: &'a Changes,
    /// By what the state knows providers, by index.
    pub providers: &'a [String],
    /// What verdicts on targets of each provider depend on, its configuration and its account, by index.
    pub grounds: &'a [String],
    /// Changes whose manifests ask for proof: how long after its acceptance each is probed, in milliseconds.
    pub owes: &'a HashMap<usize, i64>,
    /// Wall time of the commit.
    pub at: Timestamp,
}
