//! Workflow commands of GitHub Actions: annotations at the manifests' lines.
//!
//! One command is one line. What it says is escaped so that nothing from outside ends it or begins another.

use std::fmt::Write;

use super::{count, directories, outcome, plan, standing};
use crate::core::command_line::CommandLine;
use crate::core::diff::Difference;
use crate::core::event::ItemState;
use crate::core::model::{Location, Model};
use crate::core::proof_record::ProofVerdict;
use crate::core::recorded::Standing;
use crate::core::text::one_line;
use crate::engine::prove::ProofReport;
use crate::engine::{AccountStatus, CredentialStatus, Exit, Finished, warnings};
use crate::manifest::{Problem, Severity};

/// Most annotations of a level: GitHub shows no more of a step.
const MOST: usize = 10;
/// Longest message, in characters.
const LONGEST: usize = 2_000;

/// How an annotation is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Error,
    Warning,
    Notice,
}

impl Level {
    const fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Notice => "notice",
        }
    }
}

/// What an annotation belongs to.
#[derive(Default)]
struct AnnotationPlace<'a> {
    file: Option<&'a str>,
    line: Option<u64>,
    column: Option<u64>,
}

impl<'a> AnnotationPlace<'a> {
    fn place(model: &'a Model, place: Option<Location>) -> Self {
        place.map_or_else(Self::default, |place| Self {
            file: Some(&model.manifests[place.manifest].path),
            line: Some(place.line.into()),
            column: Some(place.column.into()),
        })
    }
}

fn command(level: Level, at: &AnnotationPlace<'_>, message: &str) -> String {
    let mut text = format!("::{} title=freshen", level.word());
    let number = |number: Option<u64>| number.map(|number| number.to_string());
    for (key, value) in [("file", at.file.map(str::to_owned)), ("line", number(at.line)), ("col", number(at.column))] {
        if let Some(value) = value {
            let _ = write!(text, ",{key}={}", property(&value));
        }
    }
    format!("{text}::{}\n", data(message))
}

/// A message: percent signs and line ends are escaped; control characters do not get so far.
fn data(text: &str) -> String {
    let text = text.lines().map(|line| one_line(line, LONGEST)).collect::<Vec<_>>().join("\n");
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The value of a property, which also ends at `,` and `:`.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// How many annotations of each level a step has.
pub(crate) type Annotated = [usize; 3];

/// Annotations, at most [`MOST`] of a level; what comes first counts most.
#[derive(Default)]
struct Annotations {
    text: String,
    added: Annotated,
    left_out: usize,
}

impl Annotations {
    /// More of a step that has some.
    fn after(added: Annotated) -> Self {
        Self { added, ..Self::default() }
    }

    fn add(&mut self, level: Level, at: &AnnotationPlace<'_>, message: &str) {
        self.add_lazily(level, at, || message.to_owned());
    }

    /// There may be very many: a message is made only where it is shown.
    fn add_lazily(&mut self, level: Level, at: &AnnotationPlace<'_>, message: impl FnOnce() -> String) {
        let added = &mut self.added[level as usize];
        // The last notice says how much is left out.
        if *added + usize::from(level == Level::Notice) < MOST {
            *added += 1;
            self.text += &command(level, at, &message());
        } else {
            self.left_out += 1;
        }
    }

    fn add_all(&mut self, level: Level, messages: impl IntoIterator<Item = String>) {
        messages.into_iter().for_each(|message| self.add(level, &AnnotationPlace::default(), &message));
    }

    fn end(mut self) -> (String, Annotated) {
        if self.left_out > 0 {
            self.text += &notice(&format!("{} more; the summary and `--format json` list all", self.left_out));
            self.added[Level::Notice as usize] += 1;
        }
        (self.text, self.added)
    }
}

/// The plan, after the annotations of its manifests.
pub(crate) fn plan(view: &plan::PlanView<'_>, before: Annotated) -> String {
    let model = &view.desired.model;
    let changes = &view.prepared.difference.changes;
    let title = if changes.is_empty() { "nothing to purge".to_owned() } else { plan::headline(view.prepared) };
    let unchanged = count(view.prepared.difference.unchanged, "target");
    let mut found = Annotations::after(before);
    found.add_all(Level::Notice, [format!("plan: {title}, {unchanged} unchanged")]);
    for refusal in view.refusals {
        let file = refusal.manifest().and_then(|name| model.manifests.iter().find(|manifest| manifest.name == name));
        let at = AnnotationPlace { file: file.map(|manifest| manifest.path.as_str()), ..AnnotationPlace::default() };
        let refusal = refusal.with_way_on(view.commands);
        found.add(Level::Error, &at, &format!("`apply` {}: {refusal}", view.verdict()));
    }
    let doubtful = view.new_state.filter(|(_, is_doubtful)| *is_doubtful);
    found.add_all(Level::Warning, doubtful.map(|(note, _)| note.to_owned()));
    found.add_all(Level::Warning, unclaimed(&view.prepared.difference, view.commands));
    found.add_all(Level::Notice, directories::lines(model, &view.prepared.plan));
    let hints = plan::ChangeHints::of(view.prepared);
    for (index, change) in changes.iter().enumerate() {
        let level = if matches!(change.standing, Standing::Rejected { .. }) { Level::Warning } else { Level::Notice };
        found.add_lazily(level, &AnnotationPlace::place(model, change.place), || {
            let hint = hints.of_change(index, &change).map_or(String::new(), |hint| format!(" ({hint})"));
            let provider = &model.providers[change.provider].name;
            format!("{} at {provider}: {}{hint}", change.kind.word(), change.target.text)
        });
    }
    found.end().0
}

/// What no run speaks for.
fn unclaimed(difference: &Difference, commands: &CommandLine) -> impl Iterator<Item = String> {
    difference.unclaimed.iter().map(|one| one.with_way_on(commands))
}

/// The outcome, after the annotations of its manifests: what is left before what is done.
pub(crate) fn outcome(view: &Finished<'_>, rehearsal: bool, before: Annotated, commands: &CommandLine) -> String {
    let model = &view.desired.model;
    let changes = &view.prepared.difference.changes;
    let (headline, rest) = outcome::headline(view);
    let level = match view.exit {
        Exit::Done => Level::Notice,
        Exit::NotAllDone => Level::Warning,
        _ => Level::Error,
    };
    let rehearsal = if rehearsal { "rehearsal: " } else { "" };
    let mut found = Annotations::after(before);
    found.add_all(level, [format!("{rehearsal}{headline}{rest}")]);
    found.add_all(Level::Error, outcome::problems(view, commands));
    found.add_all(Level::Warning, warnings(view.desired, &view.outcome));
    found.add_all(Level::Warning, unclaimed(&view.prepared.difference, commands));
    let states = || view.outcome.states.iter().enumerate();
    let is_done = |state: &ItemState| matches!(state, ItemState::Recorded);
    let left = states().filter(|(_, state)| !is_done(state));
    for (index, state) in left.chain(states().filter(|(_, state)| is_done(state))) {
        let level = match state {
            ItemState::Recorded => Level::Notice,
            ItemState::Waiting(_) | ItemState::Pending(_) | ItemState::Deferred(..) => Level::Warning,
            ItemState::Rejected(_) => Level::Error,
        };
        let change = changes.get(index);
        found.add_lazily(level, &AnnotationPlace::place(model, change.place), || {
            let what = if is_done(state) { "accepted".to_owned() } else { standing(state, str::to_owned) };
            format!("{} at {}: {what}", change.target.text, model.providers[change.provider].name)
        });
    }
    found.end().0
}

/// What edges serve.
pub(crate) fn proof(report: &ProofReport) -> String {
    let mut found = Annotations::default();
    let nowhere = AnnotationPlace::default();
    for target in report.targets() {
        let level = match target.verdict {
            ProofVerdict::Verified => continue,
            ProofVerdict::Stale => Level::Error,
            _ => Level::Warning,
        };
        let why = target.why.as_deref().unwrap_or_default();
        let what = format!("{} at {}: {}: {why}", target.target.text, target.provider, target.verdict.word());
        found.add(level, &nowhere, &what);
    }
    let level = if report.is_proven(false) { Level::Notice } else { Level::Warning };
    found.add(level, &nowhere, &super::proof::headline(report));
    found.end().0
}

/// Problems of manifests, and refusals.
pub(crate) fn problems(problems: &[Problem]) -> (String, Annotated) {
    let mut found = Annotations::default();
    for problem in problems {
        let level = if problem.severity == Severity::Error { Level::Error } else { Level::Warning };
        let file = Some(problem.file.as_str()).filter(|file| !file.is_empty());
        let at = AnnotationPlace { file, line: problem.line.map(u64::from), column: problem.column.map(u64::from) };
        found.add_lazily(level, &at, || {
            let help = problem.help.as_ref().map_or(String::new(), |help| format!("\n{help}"));
            format!("{}{help}", problem.message)
        });
    }
    found.end()
}

/// What providers say of their accounts.
pub(crate) fn online(model: &Model, standings: &[AccountStatus]) -> String {
    let one = |standing: &AccountStatus| {
        let problem = standing.problem.as_ref()?;
        let level = match standing.credentials {
            CredentialStatus::Accepted | CredentialStatus::Untried => Level::Warning,
            _ => Level::Error,
        };
        let provider = &model.providers[standing.provider].name;
        Some(command(level, &AnnotationPlace::default(), &format!("provider `{provider}`: {problem}")))
    };
    standings.iter().filter_map(one).collect()
}

/// A result in a few words.
pub(crate) fn notice(message: &str) -> String {
    command(Level::Notice, &AnnotationPlace::default(), message)
}

/// A command that failed; the problems of manifests, if there are any, say more than the message.
pub(crate) fn failure(message: &str, problems: Option<&[Problem]>) -> String {
    match problems {
        Some(found) => self::problems(found).0,
        None => command(Level::Error, &AnnotationPlace::default(), message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// X5
    #[test]
    fn nothing_ends_a_command_or_begins_another() {
        let at = AnnotationPlace { file: Some("a,line=9::b\n::error::%.yaml"), line: Some(3), column: None };
        let found = command(Level::Warning, &at, "100%\n::stop-commands::x\r ##[add-mask]y");
        assert_eq!(
            found,
            "::warning title=freshen,file=a%2Cline=9%3A%3Ab%0A\\u{3a}%3Aerror%3A%3A%25.yaml,line=3::\
             100%25%0A\\u{3a}:stop-commands::x\\u{d} ##\\u{5b}add-mask]y\n"
        );
    }
}
