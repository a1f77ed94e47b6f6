//! Problems of manifests as people and programs read them.
//!
//! Pure: files, diagnostics and what must be hidden in, text out. What is shown of a file is cut and cleaned, so that
//! neither a line of megabytes nor a terminal escape reaches the terminal. Of a file that may be no manifest, no line is shown.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde_json::{Value, json};

use crate::manifest::{
    Diagnostic, Hidden, MASK, Problem, RelatedPlace, Severity, SourceFile, Span, WINDOW_BYTES, printable,
    printable_char,
};

/// Most characters that are shown of a line.
const MAX_LINE_CHARS: usize = 140;
/// Characters kept before the marked place when a line is cut.
const CONTEXT_CHARS: usize = 40;

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
    let excerpt = excerpt(files, hidden, file, span);
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

/// One line as it is shown.
struct Excerpt {
    text: String,
    marked: Range<usize>,
    /// Whether columns of the text are not those of the line: its beginning is cut off, or something before the place is masked.
    is_cut: bool,
}

fn excerpt(files: &[SourceFile], hidden: &[Hidden], file: usize, span: Span) -> Excerpt {
    let bytes = files.get(file).and_then(|file| file.text().ok()).unwrap_or_default();
    let start = (span.start as usize).min(bytes.len());
    let line_start = bytes[..start].iter().rposition(|b| matches!(b, b'\n' | b'\r')).map_or(0, |at| at + 1);
    let line_end = bytes[start..].iter().position(|b| matches!(b, b'\n' | b'\r')).map_or(bytes.len(), |at| start + at);
    // Far more than is shown; the rest of a line of megabytes is not looked at.
    let window = line_start.max(start.saturating_sub(WINDOW_BYTES))..line_end.min(start.saturating_add(WINDOW_BYTES));
    let end = (span.end as usize).clamp(start, window.end);
    let hidden: Vec<&Hidden> = hidden
        .iter()
        .filter(|piece| piece.file == file && (piece.start as usize) < line_end && piece.end as usize > line_start)
        .collect();
    let hidden_at = |at: usize| {
        hidden.iter().find(|piece| (piece.start as usize..piece.end as usize).contains(&at)).map(|piece| piece.end)
    };
    let mut shown: Vec<(usize, char)> = Vec::new();
    let mut masked_to = 0;
    let mut at = window.start;
    for chunk in bytes[window].utf8_chunks() {
        for c in chunk.valid().chars() {
            let begin = at;
            at += c.len_utf8();
            if begin == 0 && c == '\u{feff}' || begin < masked_to {
                continue;
            }
            if let Some(end) = hidden_at(begin) {
                shown.extend(MASK.chars().map(|c| (begin, c)));
                masked_to = end as usize;
                continue;
            }
            // `##[` is a command to some CI systems, wherever in a line it stands.
            let is_command = c == '[' && matches!(shown.as_slice(), [.., (_, '#'), (_, '#')]);
            shown.push((begin, if is_command { char::REPLACEMENT_CHARACTER } else { printable_char(c) }));
        }
        if !chunk.invalid().is_empty() {
            if at >= masked_to {
                shown.push((at, char::REPLACEMENT_CHARACTER));
            }
            at += chunk.invalid().len();
        }
    }
    let has_mask = hidden.iter().any(|piece| (piece.start as usize) < start);
    // What is marked of a secret is its mask.
    let start =
        hidden_at(start).and_then(|_| shown.iter().rev().find(|(at, _)| *at <= start)).map_or(start, |(at, _)| *at);
    let excerpt = cut(&shown, start, end);
    Excerpt { is_cut: excerpt.is_cut || has_mask, ..excerpt }
}

/// Cuts a line around the marked bytes.
fn cut(line: &[(usize, char)], start: usize, end: usize) -> Excerpt {
    let marked = line.partition_point(|(at, _)| *at < start)..line.partition_point(|(at, _)| *at < end);
    let from = if line.len() > MAX_LINE_CHARS { marked.start.saturating_sub(CONTEXT_CHARS) } else { 0 };
    let to = line.len().min(from + MAX_LINE_CHARS);
    let mut text = String::new();
    if from > 0 {
        text.push('…');
    }
    let mut range = None;
    let mut range_end = None;
    for (index, (_, c)) in line.iter().enumerate().take(to).skip(from) {
        if index == marked.start {
            range = Some(text.len());
        }
        if index == marked.end {
            range_end = Some(text.len());
        }
        text.push(*c);
    }
    let start = range.unwrap_or(text.len());
    let end = range_end.unwrap_or(text.len()).max(start);
    if to < line.len() {
        text.push('…');
    }
    Excerpt { text, marked: start..end, is_cut: from > 0 }
}

/// Problems as JSON: a list of objects with `severity`, `file`, `line`, `column` (from 1, `null` where a problem has no
/// place), `message`, `help` and `related` places.
pub fn to_json(problems: &[Problem]) -> Value {
    let related = |place: &RelatedPlace| {
        let RelatedPlace { file, line, column, message } = place;
        json!({"file": file, "line": line, "column": column, "message": message})
    };
    let one = |problem: &Problem| {
        let Problem { severity, file, line, column, message, help, .. } = problem;
        json!({
            "severity": severity.word(),
            "file": (!file.is_empty()).then_some(file),
            "line": line,
            "column": column,
            "message": message,
            "help": help,
            "related": problem.related.iter().map(related).collect::<Vec<_>>(),
        })
    };
    problems.iter().map(one).collect()
}
