//! Problems of manifests as people and programs read them.
//!
//! Pure: files, diagnostics and what must be hidden in, text out. Of a file that may be no manifest, no line is shown.

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde_json::{Value, json};

use crate::manifest::{Diagnostic, Excerpt, Hidden, Problem, Severity, SourceFile, Span, printable};

/// Renders all problems, each with its place and a caret, and a last line that counts them; empty if there are none.
pub fn render(files: &[SourceFile], diagnostics: &[Diagnostic], hidden: &[Hidden], colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let mut out = String::new();
    for diagnostic in diagnostics {
        out.push_str(&renderer.render(&groups(files, diagnostic, hidden)));
        out.push_str("\n\n");
    }
    if let Some(count) = count(diagnostics) {
        out.push_str(&count);
        out.push('\n');
    }
    out
}

fn count(diagnostics: &[Diagnostic]) -> Option<String> {
    let of = |severity: Severity| {
        let count = diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity).count();
        let plural = if count == 1 { "" } else { "s" };
        (count > 0).then(|| format!("{count} {}{plural}", severity.word()))
    };
    let parts: Vec<String> = [of(Severity::Error), of(Severity::Warning)].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn groups<'a>(files: &[SourceFile], diagnostic: &Diagnostic, hidden: &[Hidden]) -> Vec<Group<'a>> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(level.primary_title(printable(&diagnostic.message)));
    match diagnostic.span {
        Some(span) => {
            for (place, kind) in places(diagnostic, span) {
                group = add_place(group, files, hidden, place, (kind, diagnostic.is_concealed));
            }
        }
        None => group = group.element(Origin::path(path_of(files, diagnostic.file))),
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(printable(help)));
    }
    vec![group]
}

type LabelledPlace<'d> = (usize, Span, &'d str);

/// The place itself first, then the related ones.
fn places(diagnostic: &Diagnostic, span: Span) -> Vec<(LabelledPlace<'_>, AnnotationKind)> {
    let related = diagnostic.related.iter().map(|(file, span, label)| (*file, *span, label.as_str()));
    std::iter::once(((diagnostic.file, span, diagnostic.label.as_str()), AnnotationKind::Primary))
        .chain(related.map(|place| (place, AnnotationKind::Context)))
        .collect()
}

fn add_place<'a>(
    group: Group<'a>,
    files: &[SourceFile],
    hidden: &[Hidden],
    (file, span, label): LabelledPlace<'_>,
    (kind, is_concealed): (AnnotationKind, bool),
) -> Group<'a> {
    if is_concealed {
        let origin = Origin::path(path_of(files, file)).line(span.line as usize);
        return group.element(origin.char_column(span.column as usize));
    }
    let excerpt = Excerpt::of(files, hidden, file, span);
    let annotation = kind.span(excerpt.marked).label((!label.is_empty()).then(|| printable(label)));
    let snippet = Snippet::source(excerpt.text).line_start(span.line as usize).annotation(annotation);
    let path = path_of(files, file);
    if excerpt.is_cut {
        // The columns of a cut line would be wrong, so the place is told apart from it.
        let origin = Origin::path(path).line(span.line as usize).char_column(span.column as usize);
        group.element(origin).element(snippet)
    } else {
        group.element(snippet.path(path))
    }
}

fn path_of(files: &[SourceFile], file: usize) -> String {
    files.get(file).map(|file| printable(&file.path)).unwrap_or_default()
}

/// Problems as JSON: a list of objects with `severity`, `file`, `line`, `column` (from 1, `null` where a problem has no
/// place), `message`, `help` and `related` places.
pub fn to_json(problems: &[Problem]) -> Value {
    let one = |problem: &Problem| {
        let mut value = json!(problem);
        if problem.file.is_empty() {
            value["file"] = Value::Null;
        }
        value
    };
    problems.iter().map(one).collect()
}
