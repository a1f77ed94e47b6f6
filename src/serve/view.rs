//! What the page shows of a report: texts and tables, bounded in number and length. The page is made from it, and so are the
//! events that keep it up to date.
//!
//! Texts from outside are on one line and without control characters; they are not escaped for HTML.

use serde_json::{Map, Value, json};

use crate::core::command_line::Verb;
use crate::core::provider_key::ProviderKey;
use crate::core::report::{ManifestsReport, ProviderReport, QuotaName, QuotaReport, Report, RunReport, Running};
use crate::core::text::{count, one_line};
use crate::core::time::Timestamp;

/// Rows of a table that grows with the manifests.
const ROWS: usize = 200;
/// Problems of manifests that are shown.
const PROBLEMS: usize = 20;
/// Most characters of a text.
const MOST: usize = 400;
/// Most characters of a problem.
const LONGEST_PROBLEM: usize = 2_000;

/// How things are, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// All is done.
    Good,
    /// Work is under way or left.
    Busy,
    /// Somebody has to look.
    Bad,
}

impl Mood {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Busy => "busy",
            Self::Bad => "bad",
        }
    }
}

/// A part of the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TableView {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) columns: Vec<&'static str>,
    /// Said where there are no rows.
    pub(super) empty: &'static str,
    pub(super) rows: Vec<Vec<String>>,
}

/// All that the page shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PageView {
    pub(super) mood: Mood,
    pub(super) headline: String,
    /// The run that is under way, in words; empty if none is.
    pub(super) running: String,
    /// Targets that are done, and of how many.
    pub(super) progress: Option<(u64, u64)>,
    /// Identifier, name and value of each.
    pub(super) facts: Vec<(&'static str, &'static str, String)>,
    pub(super) tables: Vec<TableView>,
}

impl PageView {
    /// `problems` are the reasons why not all is well.
    pub(super) fn of(report: &Report, problems: &[String], now: Timestamp) -> Self {
        let left = |of: fn(&ProviderReport) -> u64| report.providers.values().map(of).sum::<u64>();
        let (pending, deferred) = (left(|provider| provider.pending), left(|provider| provider.deferred));
        let (rejected, waiting) = (left(|provider| provider.rejected), left(|provider| provider.waiting));
        let stale: u64 = report.edges.values().map(|edges| edges.stale).sum();
        let is_starting = report.manifests == ManifestsReport::Unread && report.trouble.is_none();
        let (mood, headline) = match (problems, &report.running) {
            _ if report.stopping => (Mood::Busy, "Stopping".to_owned()),
            // That manifests are not read yet is one; there is more where reading them hangs or nothing could be recorded.
            _ if is_starting && problems.len() <= 1 => (Mood::Busy, "Starting".to_owned()),
            _ if !report.unclaimed.is_empty() => (Mood::Bad, "Needs attention".to_owned()),
            ([_, ..], _) => (Mood::Bad, "Needs attention".to_owned()),
            ([], Some(run)) if run.purges > 0 => (Mood::Busy, "Purging".to_owned()),
            _ if waiting + pending + deferred + rejected > 0 => {
                let waiting = if waiting > 0 { format!("{waiting} waiting, ") } else { String::new() };
                (Mood::Busy, format!("{waiting}{pending} pending, {deferred} deferred, {rejected} rejected"))
            }
            _ if stale > 0 => (Mood::Busy, format!("{} stale at an edge", count(stale, "target"))),
            _ => (Mood::Good, "In order: everything is recorded".to_owned()),
        };
        let running = report.running.as_ref();
        Self {
            mood,
            headline,
            running: running.map(under_way).unwrap_or_default(),
            progress: running.filter(|run| run.purges > 0).map(|run| (run.purges_done.min(run.purges), run.purges)),
            facts: facts(report),
            tables: vec![
                problems_of(report, problems),
                providers(report),
                quotas(report, now),
                runs(report),
                targets(report),
            ],
        }
    }

    /// What differs from `before`, as JSON; `None` if nothing does.
    pub(super) fn since(&self, before: Option<&Self>) -> Option<Value> {
        let mut news = Map::new();
        let differs = |same: fn(&Self, &Self) -> bool| before.is_none_or(|before| !same(self, before));
        if differs(|a, b| a.mood == b.mood) {
            news.insert("mood".to_owned(), json!(self.mood.word()));
        }
        if differs(|a, b| a.progress == b.progress) {
            news.insert("progress".to_owned(), json!(self.progress.map_or([0, 0], |(done, of)| [done, of])));
        }
        let texts: Map<String, Value> = self
            .texts()
            .filter_map(|(id, text)| {
                let known = before.and_then(|before| before.texts().find(|(known, _)| *known == id));
                (known != Some((id, text))).then(|| (id.to_owned(), json!(text)))
            })
            .collect();
        if !texts.is_empty() {
            news.insert("texts".to_owned(), Value::Object(texts));
        }
        let tables: Map<String, Value> = self
            .tables
            .iter()
            .filter_map(|table| {
                let known = before.is_some_and(|before| before.tables.contains(table));
                (!known).then(|| (table.id.to_owned(), json!(table.rows)))
            })
            .collect();
        let columns: Map<String, Value> = self
            .tables
            .iter()
            .filter_map(|table| {
                let known = before.and_then(|before| before.tables.iter().find(|known| known.id == table.id));
                let is_known = known.is_some_and(|known| known.columns == table.columns);
                (!is_known).then(|| (table.id.to_owned(), json!(table.columns)))
            })
            .collect();
        if !columns.is_empty() {
            news.insert("columns".to_owned(), Value::Object(columns));
        }
        if !tables.is_empty() {
            news.insert("tables".to_owned(), Value::Object(tables));
        }
        (!news.is_empty()).then_some(Value::Object(news))
    }

    fn texts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let first = [("headline", self.headline.as_str()), ("running", self.running.as_str())];
        first.into_iter().chain(self.facts.iter().map(|(id, _, value)| (*id, value.as_str())))
    }
}

fn shown(text: &str) -> String {
    one_line(text, MOST)
}

/// With the command that it may offer.
fn problem_shown(text: &str) -> String {
    one_line(text, LONGEST_PROBLEM)
}

/// `2026-11-21 16:51:04 UTC`.
fn moment(at: Timestamp) -> String {
    at.utc_extended().replace('T', " ").replace('Z', " UTC")
}

fn moment_or_dash(at: Option<Timestamp>) -> String {
    at.map_or_else(dash, moment)
}

fn dash() -> String {
    "–".to_owned()
}

fn text_or_dash(text: Option<&String>) -> String {
    text.map_or_else(dash, |text| shown(text))
}

/// `Run 3 (changed) since 2026-11-21 16:51:04 UTC: 40 of 60 purges in 2 calls`
fn under_way(run: &Running) -> String {
    let known = run.run.map(|run| format!(" {run}")).unwrap_or_default();
    let begun = format!("Run{known} ({}) since {}", run.reason.word(), moment(run.since));
    if run.purges == 0 {
        return format!("{begun}: reading and comparing");
    }
    let of = count(run.purges, "purge");
    format!("{begun}: {} of {of} in {}", run.purges_done.min(run.purges), count(run.calls_done, "call"))
}

fn facts(report: &Report) -> Vec<(&'static str, &'static str, String)> {
    let manifests = match &report.manifests {
        ManifestsReport::Unread => "not read yet".to_owned(),
        ManifestsReport::Valid { manifests, targets } => format!("{manifests} valid, {}", count(*targets, "target")),
        ManifestsReport::Invalid { were_valid, since, problems } => {
            let meanwhile = if *were_valid { "the last valid ones hold" } else { "nothing is done" };
            format!("{} since {}; {meanwhile}", count(problems.len(), "problem"), moment(*since))
        }
    };
    let watching = match &report.polling {
        Some(why) => format!("looked at every so often: {}", shown(why)),
        None => format!("{}, {}", count(report.folders, "folder"), count(report.events, "event")),
    };
    let runs: Vec<String> = report.started.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    let calls: u64 = report.calls.values().map(|count| count.calls).sum();
    let not_cached: u64 = report.not_cached.values().sum();
    let calls = if not_cached == 0 {
        calls.to_string()
    } else {
        format!(
            "{calls}; {} not in the cache",
            if not_cached == 1 { "1 target was".to_owned() } else { format!("{not_cached} targets were") }
        )
    };
    vec![
        ("manifests", "Manifests", manifests),
        ("watching", "Files", watching),
        ("success", "All done at", moment_or_dash(report.last_success)),
        ("started", "Runs", if runs.is_empty() { dash() } else { runs.join(", ") }),
        ("calls", "Calls", calls),
    ]
}

fn problems_of(report: &Report, problems: &[String]) -> TableView {
    let mut rows: Vec<Vec<String>> = problems.iter().take(ROWS).map(|problem| vec![problem_shown(problem)]).collect();
    rows.extend(report.unclaimed.iter().take(PROBLEMS).map(|unclaimed| vec![problem_shown(unclaimed)]));
    if let ManifestsReport::Invalid { problems, .. } = &report.manifests {
        rows.extend(problems.iter().skip(1).take(PROBLEMS - 1).map(|problem| vec![shown(problem)]));
        if problems.len() > PROBLEMS {
            let check = report.commands.offer(Verb::Check, &[]);
            rows.push(vec![format!("and {} more; {check} shows all", problems.len() - PROBLEMS)]);
        }
    }
    TableView { id: "problems", title: "Problems", columns: vec!["Problem"], empty: "None.", rows }
}

fn providers(report: &Report) -> TableView {
    let edges = |name: &String| report.edges.get(name).copied().unwrap_or_default();
    let row = |(name, provider): (&String, &ProviderReport)| {
        vec![
            shown(name),
            shown(&provider.kind),
            provider.waiting.to_string(),
            provider.pending.to_string(),
            provider.deferred.to_string(),
            provider.rejected.to_string(),
            edges(name).stale.to_string(),
            edges(name).unverified.to_string(),
            moment_or_dash(provider.oldest),
            tried_again(provider),
            why(report, name, provider),
        ]
    };
    let mut rows: Vec<Vec<String>> = report.providers.iter().take(ROWS).map(row).collect();
    if report.providers.len() > ROWS {
        let more = format!("and {} more", report.providers.len() - ROWS);
        rows.push([vec![more], vec![dash(); PROVIDERS.len() - 1]].concat());
    }
    let (columns, rows) = without_unused(&PROVIDERS, rows);
    TableView { id: "providers", title: "Providers", columns, empty: "None are known yet.", rows }
}

/// Columns of the table of providers.
const PROVIDERS: [&str; 11] = [
    "Provider",
    "Kind",
    "Waiting",
    "Pending",
    "Deferred",
    "Rejected",
    "Stale",
    "Unverified",
    "Oldest pending",
    "Tried again",
    "Why",
];

/// A table without the columns of what only those see who ask for it, where they hold nothing.
fn without_unused(columns: &[&'static str], mut rows: Vec<Vec<String>>) -> (Vec<&'static str>, Vec<Vec<String>>) {
    const ASKED_FOR: [&str; 3] = ["Waiting", "Stale", "Unverified"];
    let mut columns = columns.to_vec();
    for column in (0..columns.len()).rev() {
        let is_nothing = |text: &String| *text == "0" || *text == dash();
        if ASKED_FOR.contains(&columns[column]) && rows.iter().all(|row| is_nothing(&row[column])) {
            columns.remove(column);
            for row in &mut rows {
                row.remove(column);
            }
        }
    }
    (columns, rows)
}

/// When work is tried next, and when the last of what is deferred.
fn tried_again(provider: &ProviderReport) -> String {
    let next = moment_or_dash(provider.next_try);
    match (provider.deferred_until, provider.last_deferred_until) {
        (Some(first), Some(last)) if first != last => format!("{next}, the last on {}", &moment(last)[..10]),
        _ => next,
    }
}

/// Why work is left, and what tries at once what fails.
fn why(report: &Report, name: &str, provider: &ProviderReport) -> String {
    let why = text_or_dash(provider.reason.as_ref());
    if provider.failures == 0 || provider.pending == 0 {
        return why;
    }
    let try_now = report.commands.offer_try_now(ProviderKey { namespace: None, name });
    format!("{why}; tried again by itself, or now by {}", problem_shown(&try_now))
}

fn targets(report: &Report) -> TableView {
    let row = |target: &crate::core::report::TargetReport| {
        vec![
            shown(&target.target),
            target.change.to_owned(),
            target.standing.to_owned(),
            shown(&target.provider),
            moment(target.since),
            moment_or_dash(target.until),
            text_or_dash(target.reason.as_ref()),
        ]
    };
    TableView {
        id: "targets",
        title: "Targets that are left, the oldest first",
        columns: vec!["Target", "Change", "Stands", "Provider", "Since", "Until", "Why"],
        empty: "None are left.",
        rows: report.targets.iter().map(row).collect(),
    }
}

fn quotas(report: &Report, now: Timestamp) -> TableView {
    let row = |((provider, operation, area), quota): (&QuotaName, &QuotaReport)| {
        vec![
            shown(provider),
            shown(operation),
            if area.is_empty() { "all".to_owned() } else { shown(area) },
            quota.left(now).to_string(),
            quota.limit.to_string(),
            moment(quota.next_day(now)),
        ]
    };
    TableView {
        id: "quotas",
        title: "Quotas of the day",
        columns: vec!["Provider", "Operation", "Area", "Left", "Of", "Next day begins"],
        empty: "None are known yet.",
        rows: report.quotas.iter().take(ROWS).map(row).collect(),
    }
}

fn runs(report: &Report) -> TableView {
    let row = |run: &RunReport| {
        let [recorded, waiting, pending, deferred, rejected] = run.counts.numbers();
        let counts = [run.calls, recorded, waiting + pending, deferred, rejected];
        let took = format!("{}.{:03} s", run.duration_ms / 1000, run.duration_ms % 1000);
        let first = vec![
            run.run.map_or_else(dash, |run| run.to_string()),
            run.reason.word().to_owned(),
            moment(run.started_at),
            took,
        ];
        let counts = counts.map(|count| count.to_string()).to_vec();
        [first, counts, vec![run.exit.to_string()]].concat()
    };
    TableView {
        id: "runs",
        title: "Last runs that did or left something",
        columns: vec![
            "Run", "Because", "Began", "Took", "Calls", "Recorded", "Pending", "Deferred", "Rejected", "Exit",
        ],
        empty: "None yet.",
        rows: report.runs.iter().map(row).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::watch::RunReason;
    use crate::serve::ready;

    fn view(report: &Report) -> PageView {
        let now = Timestamp::default();
        PageView::of(report, &ready::reasons(report, now, 1), now)
    }

    /// W6: a disk that hangs from the start looks as bad as one that hangs later.
    #[test]
    fn a_start_that_hangs_needs_attention() {
        let mut report = Report::default();
        let of = |report: &Report| (view(report).mood, view(report).headline);
        assert_eq!(of(&report), (Mood::Busy, "Starting".to_owned()));
        let (reason, since) = (RunReason::Start, Timestamp::default());
        report.running =
            Some(Running { run: None, reads_long: true, reason, since, purges: 0, calls_done: 0, purges_done: 0 });
        assert_eq!(of(&report), (Mood::Bad, "Needs attention".to_owned()));
    }

    /// A page that is open gets the columns with the rows that need them.
    #[test]
    fn columns_come_and_go_with_what_they_hold() {
        let manifests = ManifestsReport::Valid { manifests: 1, targets: 1 };
        let mut report = Report { manifests, ..Report::default() };
        report.providers.insert("own".to_owned(), ProviderReport::default());
        let before = view(&report);
        report.providers.insert("own".to_owned(), ProviderReport { waiting: 1, ..ProviderReport::default() });
        let after = view(&report);
        assert_eq!(after.headline, "1 waiting, 0 pending, 0 deferred, 0 rejected");
        let news = after.since(Some(&before)).expect("news");
        let (columns, rows) = (&news["columns"]["providers"], &news["tables"]["providers"][0]);
        assert_eq!((&columns[2], &rows[2]), (&json!("Waiting"), &json!("1")));
        assert_eq!(columns.as_array().map(Vec::len), rows.as_array().map(Vec::len));
        let back = before.since(Some(&after)).expect("news");
        assert_eq!(back["columns"]["providers"][2], "Pending");
        report.providers.insert("own".to_owned(), ProviderReport { waiting: 2, ..ProviderReport::default() });
        assert!(view(&report).since(Some(&after)).expect("news").get("columns").is_none());
    }
}
