//! Plans, outcomes and failures as a comment on a pull request, never longer than such a comment may be.
//!
//! Everything from outside stands in code spans, where neither Markdown nor HTML nor mentions have a meaning.

use super::{count, directories, folders, grouped, many, outcome, plan, shown};
use crate::core::changes::Change;
use crate::core::command_line::{CommandLine, Verb};
use crate::core::diff::Difference;
use crate::core::event::ItemState;
use crate::core::plan::{Job, Plan};
use crate::core::recorded::ChangeKind;
use crate::core::text::one_line;
use crate::engine::{Desired, Exit, Finished, warnings};
use crate::manifest::Problem;

/// Where a comment of ours begins, so that the next one can take its place; it is not shown.
const MARKER: &str = "<!-- freshen -->";
/// Longest comment, in bytes; GitHub takes 65 536 characters.
const LONGEST: usize = 65_536;
/// Kept free for what ends lists and says what they leave out.
const RESERVE: usize = 4_096;
/// Longest message, in characters.
const LONGEST_MESSAGE: usize = 2_000;
/// Lists and tables up to this length are shown unfolded, and plans without a table of folders.
const UNFOLDED: usize = 10;
/// In order of lists and columns.
const KINDS: [ChangeKind; 5] =
    [ChangeKind::Changed, ChangeKind::New, ChangeKind::Removed, ChangeKind::Forced, ChangeKind::Stale];
/// Most changes of a kind that are listed.
const EXAMPLES: usize = 100;

/// A comment that grows until it is full.
struct Comment {
    text: String,
}

impl Comment {
    fn titled(title: &str) -> Self {
        Self { text: format!("{MARKER}\n### freshen: {title}\n\n") }
    }

    /// Adds what is short and has to be there.
    fn add(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Adds lines as long as there is room, then how many of all `number` are left out.
    fn add_lines(&mut self, lines: impl Iterator<Item = String>, number: usize, left_out: impl Fn(usize) -> String) {
        let mut added = 0;
        for line in lines {
            if self.text.len() + line.len() > LONGEST - RESERVE {
                break;
            }
            self.text.push_str(&line);
            added += 1;
        }
        if added < number {
            self.text.push_str(&left_out(number - added));
        }
    }

    /// Adds a list with a heading of our own words, folded if it is long.
    fn add_list(&mut self, heading: &str, items: impl Iterator<Item = String>, number: usize) {
        let is_folded = number > UNFOLDED;
        self.add(&if is_folded {
            format!("<details>\n<summary>{heading}</summary>\n\n")
        } else {
            format!("**{heading}**\n\n")
        });
        let lines = items.map(|item| format!("- {item}\n"));
        self.add_lines(lines, number, |left_out| format!("- … and {left_out} more; `--format json` lists all\n"));
        self.add(if is_folded { "\n</details>\n\n" } else { "\n" });
    }

    /// Adds a table. The first `names` cells of a row are names; the others hold numbers and words of our own.
    fn add_table(&mut self, head: &[&str], names: usize, rows: &[Vec<String>]) {
        let (first, rest) = rows.split_at(rows.len().min(UNFOLDED));
        self.add_rows(head, names, first);
        if !rest.is_empty() {
            self.add(&format!("<details>\n<summary>{} more</summary>\n\n", rest.len()));
            self.add_rows(head, names, rest);
            self.add("</details>\n\n");
        }
    }

    fn add_rows(&mut self, head: &[&str], names: usize, rows: &[Vec<String>]) {
        if rows.is_empty() {
            return;
        }
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        self.add(&line(head.iter().map(|title| (*title).to_owned()).collect()));
        self.add(&line(vec!["---".to_owned(); head.len()]));
        let lines = rows.iter().map(|row| {
            let (names, others) = row.split_at(names.min(row.len()));
            // A bar ends a cell even in a code span.
            let names = names.iter().map(|name| code(name).replace('|', "\\|"));
            line(names.chain(others.iter().cloned()).collect())
        });
        self.add_lines(lines, rows.len(), |left_out| format!("\n… and {} more\n", count(left_out, "row")));
        self.add("\n");
    }

    /// Adds how many changes there are in each folder of each provider; `column` says in which of the columns one counts.
    fn add_folders(
        &mut self,
        desired: &Desired,
        difference: &Difference,
        columns: &[String],
        column: impl Fn(usize) -> usize,
    ) {
        if difference.changes.len() <= UNFOLDED {
            return;
        }
        let (rows, left_out) = folders::rows(&desired.model, &difference.changes, columns.len(), column);
        let used: Vec<usize> =
            (0..columns.len()).filter(|&column| rows.iter().any(|row| row.numbers[column] > 0)).collect();
        let names = ["PROVIDER", "FOLDER"].into_iter();
        let head: Vec<&str> = names.chain(used.iter().map(|&column| columns[column].as_str())).collect();
        let rows = rows.into_iter().map(|row| {
            let numbers = used.iter().map(|&column| grouped(row.numbers[column]));
            [row.provider, row.folder].into_iter().chain(numbers).collect()
        });
        self.add_rows(&head, 2, &rows.collect::<Vec<_>>());
        if left_out > 0 {
            self.add(&format!("… and {}\n\n", many(left_out, "smaller folder")));
        }
    }
}

/// Text from outside, cut and on one line, as a code span.
pub(crate) fn code(text: &str) -> String {
    span(&shown(text))
}

/// A message of ours with text from outside in it, as a code span.
fn code_whole(message: &str) -> String {
    span(&one_line(message, LONGEST_MESSAGE))
}

fn span(text: &str) -> String {
    let longest = text.split(|character| character != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let is_bare = !text.is_empty() && !text.starts_with(['`', ' ']) && !text.ends_with(['`', ' ']);
    let pad = if is_bare { "" } else { " " };
    format!("{fence}{pad}{text}{pad}{fence}")
}

fn jobs_table(comment: &mut Comment, desired: &Desired, jobs: &[Job]) {
    let rows: Vec<Vec<String>> = jobs.iter().map(|job| plan::job_row(desired, job).to_vec()).collect();
    comment.add_table(&plan::JOBS_HEAD, 1, &rows);
    let notes: Vec<String> = plan::job_notes(desired, jobs).collect();
    if !notes.is_empty() {
        comment.add_list("Calls", notes.iter().map(|note| code_whole(note)), notes.len());
    }
}

/// What a title begins with where what is due is left out.
const fn partial(is_part: bool) -> &'static str {
    if is_part { "partial: " } else { "" }
}

/// A command that messages offer, as a code span.
fn command(offered: &str) -> String {
    span(offered.trim_matches('`'))
}

fn asides(comment: &mut Comment, left_out: Option<&str>, asides: &str) {
    let lines: Vec<&str> = left_out.into_iter().chain(asides.lines()).collect();
    if !lines.is_empty() {
        comment.add_list("Also", lines.iter().map(|line| code_whole(line)), lines.len());
    }
}

/// The plan.
pub(crate) fn plan(view: &plan::PlanView<'_>) -> String {
    let prepared = view.prepared;
    let difference = &prepared.difference;
    let due = difference.changes.len();
    let headline = || format!("{}{}", partial(!prepared.plan.unselected.is_empty()), plan::headline(prepared));
    let title = if due == 0 { "nothing to purge".to_owned() } else { headline() };
    let title = if view.refusals.is_empty() { title } else { view.titled(&title) };
    let mut comment = Comment::titled(&title);
    let unchanged = count(difference.unchanged, "target");
    comment.add(&format!("{unchanged} unchanged.\n\n"));
    if let Some((note, _)) = view.new_state {
        comment.add(&format!("{}\n\n", code_whole(note)));
    }
    if !view.refusals.is_empty() {
        let refusals = view.refusals.iter().map(|refusal| code_whole(&refusal.with_way_on(view.commands)));
        comment.add_list(&format!("`apply` {}", view.verdict()), refusals, view.refusals.len());
        if let Some(rest) = view.sends_rest() {
            comment.add(&format!("What is not refused goes with {}.\n\n", command(&rest)));
        }
    }
    jobs_table(&mut comment, view.desired, &prepared.plan.jobs);
    comment.add_folders(view.desired, difference, &KINDS.map(|kind| kind.word().to_uppercase()), |index| {
        KINDS.iter().position(|kind| *kind == difference.changes.kind(index)).unwrap_or_default()
    });
    let besides = super::asides(difference, view.is_running, view.commands);
    asides(&mut comment, super::left_out(&prepared.plan).as_deref(), &besides);
    if due > 0 {
        let digest = &prepared.digest;
        let applies = || {
            let apply = view.commands.offer(Verb::Apply, &["--expect", digest]);
            format!(": {} applies exactly this", command(&apply))
        };
        let applies = if view.is_refused() { String::new() } else { applies() };
        comment.add(&format!("Plan digest `{digest}`{applies}.\n\n"));
    }
    let directories: Vec<String> = directories::lines(&view.desired.model, &prepared.plan).collect();
    if !directories.is_empty() {
        comment.add_list("Directories", directories.iter().map(|line| code_whole(line)), directories.len());
    }
    changes(&mut comment, view);
    comment.text
}

/// The changes by kind, or examples of them.
fn changes(comment: &mut Comment, view: &plan::PlanView<'_>) {
    let changes = &view.prepared.difference.changes;
    let hints = plan::ChangeHints::of(view.prepared);
    for kind in KINDS {
        let of_kind: Vec<usize> = (0..changes.len()).filter(|&index| changes.kind(index) == kind).collect();
        if of_kind.is_empty() {
            continue;
        }
        let listed = folders::examples(changes, &of_kind, EXAMPLES);
        let items = listed.iter().map(|&index| {
            let change = changes.get(index);
            change_item(view, &change, hints.of_change(index, &change))
        });
        comment.add_list(&format!("{} {}", grouped(of_kind.len()), kind.word()), items, of_kind.len());
    }
}

fn change_item(view: &plan::PlanView<'_>, change: &Change, hint: Option<String>) -> String {
    let provider = &view.desired.model.providers[change.provider].name;
    let hint = hint.map_or(String::new(), |hint| format!(" ({})", code(&hint)));
    format!("{}: {}{hint}", code(provider), code(&change.target.text))
}

/// The outcome. `second_run` is what a rehearsal reports of the next one.
pub(crate) fn outcome(view: &Finished<'_>, second_run: Option<&str>, commands: &CommandLine) -> String {
    let is_quiet = view.outcome.states.is_empty() && view.prepared.is_quiet();
    let (headline, rest) = outcome::headline(view);
    let Plan { unselected, refused, .. } = &view.prepared.plan;
    let partial = partial(!unselected.is_empty() || !refused.is_empty());
    let title = match (is_quiet, second_run.is_some()) {
        (true, _) => "nothing to do".to_owned(),
        (false, true) => format!("{partial}{headline} by emulators (a rehearsal)"),
        (false, false) => format!("{partial}{headline}"),
    };
    let mut comment = Comment::titled(&title);
    if is_quiet {
        comment.add(&format!("{} recorded, none changed.\n\n", count(view.prepared.difference.unchanged, "target")));
    } else {
        comment.add(&format!("{headline}{rest}\n\n"));
    }
    let (head, rows) = outcome::providers(view);
    comment.add_table(&head, 1, &rows);
    jobs_table(&mut comment, view.desired, &view.prepared.plan.jobs);
    let columns: Vec<String> = head.iter().skip(2).map(|&name| name.to_owned()).collect();
    let column = |name: &str| columns.iter().position(|known| known == name).unwrap_or_default();
    comment.add_folders(view.desired, &view.prepared.difference, &columns, |index| {
        match view.outcome.states.get(index) {
            ItemState::Recorded => 0,
            ItemState::Waiting(_) => column("WAITING"),
            ItemState::Pending(_) => column("PENDING"),
            ItemState::Deferred(..) => column("DEFERRED"),
            ItemState::Rejected(_) => column("REJECTED"),
        }
    });
    let changes = &view.prepared.difference.changes;
    let purged = outcome::purged(view);
    if !purged.is_empty() {
        let listed = folders::examples(changes, &purged, outcome::LISTED);
        let items = listed.iter().map(|&index| {
            let provider = &view.desired.model.providers[changes.provider(index)].name;
            format!("{}: {} ({})", code(provider), code(&changes.target(index).text), changes.kind(index).word())
        });
        comment.add_list(&format!("{} purged", grouped(purged.len())), items, purged.len());
    }
    let groups = outcome::left_over(view);
    let left: usize = groups.iter().map(|group| group.targets).sum();
    if left > 0 {
        let items = groups.iter().map(|group| {
            let mut lines = vec![code(&group.reason)];
            lines.extend(group.listed.iter().map(|target| code(target)));
            let more = group.targets - group.listed.len();
            lines.extend((more > 0).then(|| format!("… and {more} more")));
            lines.join("\n  - ")
        });
        comment.add_list(&format!("{} left", count(left, "target")), items, groups.len());
    }
    let problems: Vec<String> = outcome::problems(view, commands).iter().map(|problem| code_whole(problem)).collect();
    if !problems.is_empty() {
        let number = problems.len();
        comment.add_list("Problems", problems.into_iter(), number);
    }
    let warnings: Vec<String> = warnings(view.desired, &view.outcome).iter().map(|text| code_whole(text)).collect();
    if !warnings.is_empty() {
        let number = warnings.len();
        comment.add_list("Warnings", warnings.into_iter(), number);
    }
    let besides = super::asides(&view.prepared.difference, false, commands);
    asides(&mut comment, outcome::left_out(view).as_deref(), &besides);
    if let Some(second_run) = second_run {
        comment.add(&format!("A second run would find: {second_run}.\n"));
    }
    comment.text
}

/// What `check` found. `online` what providers say, as people read it.
pub(crate) fn checked(summary: Option<&str>, problems: &[Problem], online: Option<&str>) -> String {
    let mut comment = Comment::titled(summary.unwrap_or("the manifests are not valid"));
    add_problems(&mut comment, problems);
    let lines: Vec<&str> = online.into_iter().flat_map(str::lines).filter(|line| !line.trim().is_empty()).collect();
    if !lines.is_empty() {
        comment.add_list("At the providers", lines.iter().map(|line| code(line)), lines.len());
    }
    comment.text
}

/// A command that failed, with the problems of manifests if there are any.
pub(crate) fn failure(exit: Exit, message: &str, problems: Option<&[Problem]>) -> String {
    let mut comment = Comment::titled(&format!("failed with exit code {}", exit.code()));
    let lines: Vec<&str> = message.lines().collect();
    comment.add_list("Errors", lines.iter().map(|line| code_whole(line)), lines.len());
    // A refusal's message says it all.
    if let Some(problems) = problems.filter(|_| exit != Exit::Refused) {
        add_problems(&mut comment, problems);
    }
    comment.text
}

fn add_problems(comment: &mut Comment, list: &[Problem]) {
    if list.is_empty() {
        return;
    }
    let item = |problem: &Problem| {
        let Problem { severity, file, line, message, help, .. } = problem;
        let place = line.map_or_else(|| file.clone(), |line| format!("{file}:{line}"));
        let help = help.as_ref().map_or(String::new(), |help| format!("; {}", code_whole(help)));
        format!("{} in {}: {}{help}", severity.word(), code(&place), code_whole(message))
    };
    comment.add_list(&count(list.len(), "problem"), list.iter().map(item), list.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_stays_within_its_limit_whatever_it_is_given() {
        let long = || "`@x|<b>\\`".repeat(500);
        let mut comment = Comment::titled("all of it");
        for heading in ["one", "two", "three", "four", "five", "six", "seven", "eight"] {
            comment.add_list(heading, (0..1000).map(|_| code(&long())), 1000);
            comment.add_table(
                &["PROVIDER", "KIND", "ACCEPTED", "PENDING", "DEFERRED", "REJECTED"],
                1,
                &vec![vec![long(); 6]; 200],
            );
        }
        assert!(comment.text.len() <= LONGEST, "{}", comment.text.len());
        assert_eq!(comment.text.matches("<details>").count(), comment.text.matches("</details>").count());
        assert_eq!(comment.text.matches(" more; `--format json` lists all").count(), 8, "each list tells");
    }

    #[test]
    fn a_code_span_holds_any_text() {
        assert_eq!(code("a b"), "`a b`");
        assert_eq!(code("a`b``c"), "```a`b``c```");
        assert_eq!(code("`a`"), "`` `a` ``");
        assert_eq!((code(""), code(" a")), ("`  `".into(), "`  a `".into()));
        assert_eq!(code("a\nb"), "`a\\u{a}b`");
    }
}
