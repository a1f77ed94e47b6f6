//! Queries to a provider and what it answers: the quota that is left, and what became of accepted purges.
//!
//! *Accepted* is what a purge call says; *done* is what a later query says. Neither says what an edge serves.

use super::contract::{Account, CallError, Credentials, Stamp};
use super::http::{Endpoint, Request, Response};
use super::rate::Rate;
use super::target::{Scope, Target};

/// The query of the quotas that are left.
pub trait QuotaQuery: Sync {
    /// Its name and limits.
    fn quota_spec(&self) -> QuerySpec;

    /// Builds and signs the request.
    ///
    /// # Errors
    /// A text for people if credentials of the wrong sort were given.
    fn encode_quota(&self, context: &QueryContext<'_>) -> Result<Request, String>;

    /// Reads the answer.
    ///
    /// # Errors
    /// Everything but the documented answer, by class; an answer that cannot be read is
    /// [`ErrorClass::Unknown`](super::contract::ErrorClass::Unknown).
    fn decode_quota(&self, account: &Account, response: &Response) -> Result<Vec<QuotaFound>, CallError>;
}

/// The query of what became of the targets of a task, page by page.
pub trait TaskQuery: Sync {
    /// Its name and limits.
    fn task_spec(&self) -> QuerySpec;

    /// Builds and signs the request for a page.
    ///
    /// # Errors
    /// As [`QuotaQuery::encode_quota`].
    fn encode_task(&self, cursor: TaskCursor<'_>, context: &QueryContext<'_>) -> Result<Request, String>;

    /// Reads the page.
    ///
    /// # Errors
    /// As [`QuotaQuery::decode_quota`].
    fn decode_task(&self, cursor: TaskCursor<'_>, response: &Response) -> Result<TaskPage, CallError>;
}

/// One query operation and its limits. Figures come from the vendors' documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuerySpec {
    /// The vendor's name for it.
    pub name: &'static str,
    /// How often it may be asked.
    pub calls: Rate,
    /// How many days the vendor keeps what is asked for; `None` where no figure is known.
    pub kept_days: Option<u16>,
}

/// What the request of a query depends on besides what is asked.
#[derive(Clone, Copy, Debug)]
pub struct QueryContext<'a> {
    /// Where it goes.
    pub endpoint: &'a Endpoint,
    /// Whose it is.
    pub account: &'a Account,
    /// What it is signed with.
    pub credentials: &'a Credentials,
    /// What makes it unique.
    pub stamp: &'a Stamp,
}

/// A page of the results of a task, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskCursor<'a> {
    /// The vendor's id of one task.
    pub id: &'a str,
    /// Which page.
    pub page: u32,
    /// How many rows the pages before it held: vendors may make them shorter than asked for.
    pub seen: u64,
}

/// A daily quota in the vendor's own count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaFound {
    /// Its name, see [`Operation::quota`](super::contract::Operation::quota).
    pub operation: &'static str,
    /// Its share, for example an area; empty for the only one.
    pub area: String,
    /// Targets a day.
    pub limit: u64,
    /// Targets that may still be purged today.
    pub left: u64,
}

/// What is left of the quota that `operation` draws on in `area`; `None` if the vendor did not say.
///
/// An empty area draws on those in which a target's domain is served, which nobody here knows: only when all of them are
/// spent is nothing left for sure.
pub fn quota_left(found: &[QuotaFound], operation: &str, area: &str) -> Option<u64> {
    let of_operation = found.iter().filter(|quota| quota.operation == operation);
    of_operation.filter(|quota| area.is_empty() || quota.area == area).map(|quota| quota.left).max()
}

/// A page of what became of a task's targets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskPage {
    /// Results, in the vendor's order.
    pub results: Vec<TaskResult>,
    /// Another page follows.
    pub more: bool,
}

/// What became of one target of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskResult {
    /// The target as the vendor names it, which may be a directory that was purged for all that is below it; `None` if the
    /// result is the whole task's.
    pub target: Option<Target>,
    /// Where it stands.
    pub state: TaskState,
}

/// Where an accepted purge stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TaskState {
    /// Carried out, says the vendor.
    Done,
    /// Not finished.
    Processing,
    /// It failed: the purge did not happen everywhere.
    Failed,
}

impl TaskState {
    /// The word for it in output.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Processing => "processing",
            Self::Failed => "failed",
        }
    }
}

/// Where `target` stands by the results of its tasks; `None` if they say nothing.
///
/// Vendors do not name every target as it was sent. One that is not named shares the fate of the whole, the worst of it, but
/// is not done because others are that were named.
pub fn state_of(target: &Target, results: &[TaskResult]) -> Option<TaskState> {
    let worst = |is_meant: &dyn Fn(&Target) -> bool| {
        let meant = results.iter().filter(|result| result.target.as_ref().is_some_and(is_meant));
        meant.map(|result| result.state).max()
    };
    let own = worst(&|named| named.scope != Scope::Directory && named.text == target.text)
        .or_else(|| worst(&|named| target.is_below(named)));
    let is_whole = results.iter().any(|result| result.target.is_none());
    let least = if is_whole { TaskState::Done } else { TaskState::Processing };
    own.or_else(|| results.iter().map(|result| result.state.max(least)).max())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(operation: &'static str, area: &str, left: u64) -> QuotaFound {
        QuotaFound { operation, area: area.into(), limit: 100, left }
    }

    /// T4
    #[test]
    fn quota_is_that_of_the_area_or_the_best_where_none_is_named() {
        let all = [found("urls", "mainland", 3), found("urls", "overseas", 7), found("paths", "mainland", 50)];
        assert_eq!(quota_left(&all, "urls", "mainland"), Some(3));
        assert_eq!(quota_left(&all, "urls", ""), Some(7));
        assert_eq!(quota_left(&all, "urls", "moon"), None);
        assert_eq!(quota_left(&all, "paths", ""), Some(50));
        assert_eq!(quota_left(&[], "urls", ""), None);
    }

    /// R13: a target has its own result, and where the vendor names it otherwise it is not taken for done too early.
    #[test]
    fn a_target_has_its_own_result_or_the_worst_of_its_task() {
        let result = |target: &str, state| TaskResult { target: Some(Target::url(target)), state };
        let results =
            [result("a", TaskState::Done), result("b", TaskState::Failed), result("c", TaskState::Processing)];
        assert_eq!(state_of(&Target::url("a"), &results), Some(TaskState::Done));
        assert_eq!(state_of(&Target::url("c"), &results), Some(TaskState::Processing));
        assert_eq!(state_of(&Target::url("other"), &results), Some(TaskState::Failed));
        assert_eq!(state_of(&Target::url("other"), &results[..1]), Some(TaskState::Processing), "others are done");
        assert_eq!(state_of(&Target::url("a"), &[]), None);
        let directory = Target::directory("https://a/d/");
        let below = [
            TaskResult { target: Some(directory), state: TaskState::Done },
            result("https://a/d/own", TaskState::Failed),
        ];
        assert_eq!(state_of(&Target::url("https://a/d/x"), &below), Some(TaskState::Done), "it is below the directory");
        assert_eq!(state_of(&Target::url("https://a/d/own"), &below), Some(TaskState::Failed), "it has its own result");
        assert_eq!(state_of(&Target::url("https://a/d"), &below), Some(TaskState::Failed), "it is neither");
        let whole = [TaskResult { target: None, state: TaskState::Done }];
        assert_eq!(state_of(&Target::url("a"), &whole), Some(TaskState::Done));
    }
}
