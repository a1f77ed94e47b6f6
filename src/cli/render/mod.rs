//! Results as text or JSON. Pure: values in, text out.

pub(super) mod directories;
mod document;
pub(super) mod edges;
mod folders;
pub(super) mod github;
pub(super) mod left;
pub(super) mod markdown;
pub(super) mod online;
pub(super) mod outcome;
pub(super) mod plan;
pub(super) mod proof;
pub(super) mod providers;
pub(super) mod scan;
pub(super) mod status;

pub(super) use document::Document;

use std::time::Duration;

use anstyle::{AnsiColor, Style};
use comfy_table::{CellAlignment, Table, presets};
use serde_json::Value;

use crate::core::command_line::{CommandLine, Verb};
use crate::core::contract::Rate;
use crate::core::diff::{Difference, Orphans, Unclaimed};
use crate::core::event::ItemState;
use crate::core::plan::Plan;
use crate::core::recorded::ChangeKind;
pub(super) use crate::core::text::count;
use crate::core::text::one_line;
use crate::core::time::Timestamp;

/// Version of all JSON output; goes up when a field changes its meaning or goes away.
pub(super) const JSON_VERSION: u64 = 1;

/// Longest target or reason that is shown to people, in characters.
const LONGEST: usize = 300;

/// Text from outside, safe to show on one line.
pub(super) fn shown(text: &str) -> String {
    one_line(text, LONGEST)
}

/// A table without lines, its numbers to the right, indented by two blanks.
pub(super) fn table(head: &[&str], rows: &[Vec<String>], right: &[usize]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(head.to_vec());
    for row in rows {
        table.add_row(row.clone());
    }
    for &index in right {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = String::new();
    for line in table.lines() {
        text.push_str("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A table without the columns of what only those see who ask for it, where they hold nothing.
pub(super) fn without_unused(
    head: &[&'static str],
    mut rows: Vec<Vec<String>>,
) -> (Vec<&'static str>, Vec<Vec<String>>) {
    const ASKED_FOR: [&str; 5] = ["WAITING", "INCONCLUSIVE", "UNVERIFIABLE", "UNVERIFIED", "DUE"];
    let mut head = head.to_vec();
    for column in (0..head.len()).rev() {
        if ASKED_FOR.contains(&head[column]) && rows.iter().all(|row| row[column] == "0") {
            head.remove(column);
            for row in &mut rows {
                row.remove(column);
            }
        }
    }
    (head, rows)
}

/// A number for people: `13 000`.
pub(super) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && number >= 10_000 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A number of things for people: `13 000 changes`.
pub(super) fn many(number: usize, thing: &str) -> String {
    format!("{} {thing}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// A row of a table: texts, then numbers.
pub(super) fn row(texts: &[&str], numbers: &[u64]) -> Vec<String> {
    texts.iter().map(ToString::to_string).chain(numbers.iter().map(ToString::to_string)).collect()
}

/// The word for a change, coloured.
pub(super) fn kind_word(kind: ChangeKind) -> String {
    let colour = match kind {
        ChangeKind::New => AnsiColor::Green,
        ChangeKind::Changed => AnsiColor::Yellow,
        ChangeKind::Removed => AnsiColor::Red,
        ChangeKind::Forced => AnsiColor::Magenta,
        ChangeKind::Stale => AnsiColor::Cyan,
    };
    let style = Style::new().fg_color(Some(colour.into()));
    format!("{style}{:<8}{style:#}", kind.word())
}

/// Emphasised text.
pub(super) fn strong(text: &str) -> String {
    let style = Style::new().bold();
    format!("{style}{text}{style:#}")
}

/// A moment in UTC for people: `2026-11-20 16:00 UTC`.
pub(super) fn moment(at: Timestamp) -> String {
    at.utc_minute()
}

/// What holds a target up; `show` prepares the reason.
pub(super) fn standing(state: &ItemState, show: impl Fn(&str) -> String) -> String {
    let (word, until, reason) = state.parts();
    let until = until.map_or_else(String::new, |until| format!(" until {}", moment(until)));
    let reason = reason.map_or_else(String::new, |reason| format!(": {}", show(reason)));
    format!("{word}{until}{reason}")
}

/// What is said of a run that was stopped before its end.
pub(super) fn unfinished(began: Timestamp) -> String {
    format!("the run that began {} was stopped before its end; this one goes on from there", moment(began))
}

/// What no run speaks for, a line each.
pub(super) fn unclaimed(unclaimed: &[Unclaimed], commands: &CommandLine) -> String {
    unclaimed.iter().map(|one| aside(&one.with_way_on(commands)) + "\n").collect()
}

/// A message on one line, with the commands that it offers.
pub(super) fn aside(message: &str) -> String {
    one_line(message, LONGEST_ASIDE)
}

/// Longest line about something besides purges, in characters.
const LONGEST_ASIDE: usize = 2_000;

/// What a difference brings along besides purges, a line each. `is_running`: another run is under way.
pub(super) fn asides(difference: &Difference, is_running: bool, commands: &CommandLine) -> String {
    let in_doubt = if is_running {
        "may be on the way: the run under way, or one before it, sent them and has recorded no answer"
    } else {
        "may have been purged before: an earlier run stopped before it knew, so the purge is sent again"
    };
    let mut text = String::new();
    for (number, what) in [
        (difference.adopt.len(), "recorded without a purge (on_new: adopt)"),
        (difference.forget.len(), "forgotten without a purge (on_removed: forget)"),
        (difference.dropped.len(), "dropped, since the entry went away before its first purge"),
        ((0..difference.changes.len()).filter(|&index| difference.changes.in_doubt(index)).count(), in_doubt),
    ] {
        if number > 0 {
            text.push_str(&format!("{} {what}\n", count(number, "target")));
        }
    }
    for Orphans { provider, targets, pending } in &difference.orphans {
        let targets = count(*targets, "target");
        let pending = if *pending > 0 { format!(", {pending} of them pending") } else { String::new() };
        text.push_str(&format!(
            "{targets} of provider `{provider}`{pending}, which no manifest configures for them: left alone; to drop them, {}\n",
            commands.offer(Verb::StateForget, &["*", "--provider", provider])
        ));
    }
    text + &unclaimed(&difference.unclaimed, commands)
}

/// Targets that the user left out of a plan, if any.
pub(super) fn left_out(plan: &Plan) -> Option<String> {
    let targets = count(plan.unselected.len(), "target");
    (!plan.unselected.is_empty()).then(|| format!("{targets} left out by --only or --provider, still pending"))
}

/// How many a second: a whole number where it is one.
pub(super) fn per_second(rate: Rate) -> Value {
    if rate.period == Duration::from_secs(1) { rate.count.into() } else { rate.a_second().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_grouped() {
        let shown = [0, 999, 9_999, 10_000, 123_456, 1_000_000].map(grouped);
        assert_eq!(shown, ["0", "999", "9999", "10 000", "123 456", "1 000 000"]);
        assert_eq!((many(1, "change"), many(12_345, "change")), ("1 change".into(), "12 345 changes".into()));
    }
}
