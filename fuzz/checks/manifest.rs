//! Bytes as manifests: read, checked and shown without a panic; every place lies where it says it does; lists that are
//! read line by line are what YAML makes of them.
//!
//! Input: manifests, one or several with `␞` between them.

use freshen::cli::diagnostics::{render, to_json};
use freshen::core::model::{Entry, Model};
use freshen::manifest::{Built, Diagnostic, Problem, Severity, SourceFile, Span, build};

use super::SEPARATOR;

/// B2, Y1-Y4
pub(crate) fn check(data: &[u8]) {
    let parts = parts(data);
    let files: Vec<SourceFile> =
        (0..).zip(&parts).map(|(number, part)| SourceFile::whole(path(number), *part)).collect();
    let built = build(&files);
    let failed = built.diagnostics.iter().any(|found| found.severity == Severity::Error);
    assert_eq!(built.model.is_none(), failed, "a model or an error, never both or none");
    for found in &built.diagnostics {
        let related = found.related.iter().map(|(file, span, _)| (*file, *span));
        for (file, span) in found.span.map(|span| (found.file, span)).into_iter().chain(related) {
            assert_place(files[file].text().expect("held"), span, &found.message);
        }
        assert!(!found.message.is_empty() && found.file < files.len());
    }
    assert!(built.hidden.iter().all(|piece| {
        let bytes = files[piece.file].text().expect("held").len();
        piece.start <= piece.end && piece.end as usize <= bytes
    }));
    assert_shown(&files, &built);
    assert_read_as_yaml(&parts, &built);
    built.model.iter().for_each(assert_model);
}

fn path(number: usize) -> String {
    format!("m/{number}.yaml")
}

fn parts(data: &[u8]) -> Vec<&[u8]> {
    let mark = SEPARATOR.to_string().into_bytes();
    let mut parts = Vec::new();
    let mut rest = data;
    loop {
        let end = rest.windows(mark.len()).position(|window| window == mark);
        parts.push(&rest[..end.unwrap_or(rest.len())]);
        match end {
            Some(end) => rest = &rest[end + mark.len()..],
            None => return parts,
        }
    }
}

/// A list is read line by line if this line begins it, and as YAML with a blank more, which means nothing to YAML: both
/// make the same of it.
fn assert_read_as_yaml(parts: &[&[u8]], built: &Built) {
    let blank = |part: &[u8]| {
        let lines = part.split_inclusive(|byte| *byte == b'\n').map(|line| match line {
            b"assets:\n" => &b"assets: \n"[..],
            b"assets:\r\n" => b"assets: \r\n",
            other => other,
        });
        lines.collect::<Vec<_>>().concat()
    };
    let others: Vec<Vec<u8>> = parts.iter().map(|part| blank(part)).collect();
    if parts.iter().zip(&others).any(|(part, other)| part.len() < other.len()) {
        let files: Vec<SourceFile> =
            (0..).zip(others).map(|(number, part)| SourceFile::whole(path(number), part)).collect();
        assert_eq!(told(built), told(&build(&files)), "by lines, and as YAML");
    }
}

/// Entries and problems, with lines and columns.
fn told(built: &Built) -> (Option<Vec<Entry>>, Vec<String>) {
    let at = |span: Span| format!("{}:{}", span.line, span.column);
    let problem = |found: &Diagnostic| {
        let related: Vec<String> =
            found.related.iter().map(|(file, span, text)| format!("{file}:{} {text}", at(*span))).collect();
        let Diagnostic { severity, file, message, label, help, .. } = found;
        format!("{severity:?} {file}:{:?} {message} {label} {help:?} {related:?}", found.span.map(at))
    };
    let entries = built.model.as_ref().map(|model| model.entries.iter().collect());
    (entries, built.diagnostics.iter().map(problem).collect())
}

/// A place lies inside the file, between characters, and its line and column are those of its first byte.
fn assert_place(bytes: &[u8], span: Span, message: &str) {
    let (start, end) = (span.start as usize, span.end as usize);
    assert!(start <= end && end <= bytes.len(), "{message}: {span:?} in a file of {} bytes", bytes.len());
    assert!(span.line >= 1 && span.column >= 1, "{message}: {span:?}");
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    assert!(text.is_char_boundary(start) && text.is_char_boundary(end), "{message}: {span:?} cuts a character");
    let before = text[..start].strip_prefix('\u{feff}').unwrap_or(&text[..start]).replace("\r\n", "\n");
    let mut lines = before.split(['\n', '\r']).rev();
    let column = 1 + lines.next().unwrap_or_default().chars().count();
    assert_eq!((span.line as usize, span.column as usize), (1 + lines.count(), column), "{message}: {span:?}");
}

fn assert_shown(files: &[SourceFile], built: &Built) {
    let shown = render(files, &built.diagnostics, &built.hidden, false);
    assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "terminals obey nothing of it: {shown:?}");
    assert_eq!(shown.is_empty(), built.diagnostics.is_empty());
    let listed = to_json(&Problem::of(files, &built.diagnostics));
    assert_eq!(listed.as_array().map(Vec::len), Some(built.diagnostics.len()));
}

/// What plan and state rely on.
fn assert_model(model: &Model) {
    let keys: Vec<_> = model.entries.iter().map(|entry| (entry.provider, entry.target)).collect();
    assert!(keys.windows(2).all(|pair| pair[0] < pair[1]), "entries are unique and in order");
    assert!(model.providers.windows(2).all(|pair| pair[0].name < pair[1].name), "providers are unique and in order");
    for entry in model.entries.iter() {
        let provider = &model.providers[entry.provider];
        let text = &entry.target.text;
        assert!(!text.is_empty() && !text.chars().any(char::is_control), "{text:?}");
        assert_eq!(provider.kind.check_target(&entry.target, &provider.options), Ok(()));
        assert!(provider.limits_of(entry.target.scope).is_some_and(|limits| limits.calls.count > 0));
        assert!(entry.manifests.iter().all(|manifest| *manifest < model.manifests.len()));
        assert!(!entry.manifests.is_empty() && entry.place.line > 0 && entry.place.column > 0);
        assert!(entry.hash.as_str().contains(':'), "{}", entry.hash);
    }
    for provider in &model.providers {
        assert!(provider.has_cache_per_address() || (1..=provider.endpoints.len()).contains(&provider.required()));
    }
}
