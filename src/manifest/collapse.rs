//! `collapse` of a manifest: when directories are purged in place of its URLs.

use super::diagnostic::{Diagnostic, Diagnostics, Span};
use super::fields::{self, Fields};
use super::head::Head;
use super::hosts::HostRefusal;
use super::node::{Node, Value, shown};
use super::providers::Providers;
use super::shape::{self, COLLAPSE};
use super::spelling;
use super::url;
use crate::core::entries::Entries;
use crate::core::model::Collapse;
use crate::core::target::Scope;

/// What a manifest asks for, in the order in which it stands there.
pub(crate) fn of(file: usize, manifest: &Fields<'_, '_>, report: &mut Diagnostics) -> Vec<Collapse> {
    let nodes = match manifest.node("collapse") {
        None => return Vec::new(),
        Some(Node { value: Value::List(list), span }) => {
            if list.is_empty() {
                let help = "give `directory` and `above`, or delete the key";
                report.push(Diagnostic::error(file, *span, "`collapse` names no directory").help(help));
            }
            list.as_slice()
        }
        Some(one) => std::slice::from_ref(one),
    };
    let mut first: Vec<(Collapse, Span)> = Vec::new();
    for node in nodes {
        let Some((collapse, span)) = item(file, node, report) else { continue };
        match first.iter().find(|(known, _)| known.directory == collapse.directory) {
            None => first.push((collapse, span)),
            Some((_, before)) => report.push(
                Diagnostic::error(file, span, format!("directory `{}` is given twice", shown(&collapse.directory)))
                    .label("given again")
                    .help("keep one of the two")
                    .related(file, *before, "first given here"),
            ),
        }
    }
    first.into_iter().map(|(collapse, _)| collapse).collect()
}

fn item(file: usize, node: &Node<'_>, report: &mut Diagnostics) -> Option<(Collapse, Span)> {
    let entries = fields::entries(file, "an item of `collapse`", node, report)?;
    let fields = fields::read(file, &COLLAPSE, Some(&[]), node.span, entries, report);
    let (directory, span) = fields.text("directory")?;
    if let Err(HostRefusal { message, help }) = check_directory(directory) {
        let diagnostic = Diagnostic::error(file, span, format!("`directory`: {message}"));
        report.push(match help {
            Some(help) => diagnostic.help(help),
            None => diagnostic,
        });
        return None;
    }
    if let Some((usual, reason)) = spelling::respelled(directory) {
        let message = format!("`directory`: an unusual spelling: {reason}");
        let help = format!("only URLs that are spelled so begin with it; the usual spelling is `{}`", shown(&usual));
        report.push(Diagnostic::warning(file, span, message).help(help));
    }
    Some((Collapse { directory: directory.to_owned(), above: fields.integer("above")? }, span))
}

/// A directory is what URLs begin with behind their host, byte for byte; vendors take it for all that is below it.
fn check_directory(text: &str) -> Result<(), HostRefusal> {
    let example = "write the path of a directory as it stands in URLs, for example `/assets/`";
    if url::looks_like_url(text) {
        return Err(HostRefusal::new("a path, not a URL, is wanted here").help(example));
    }
    if !text.starts_with('/') {
        return Err(HostRefusal::new(format!("`{}` does not begin with `/`", shown(text))).help(example));
    }
    if !text.ends_with('/') {
        let help = format!("write `{}/`; it stands for all that is below it", shown(text));
        return Err(HostRefusal::new(format!("`{}` does not end in `/`", shown(text))).help(help));
    }
    if let Some(bad) = text.chars().find(|c| matches!(c, '*' | '?' | '#')) {
        let message = format!("`{bad}` in `{}`: patterns and queries are no directories", shown(text));
        return Err(HostRefusal::new(message).help("write the directory up to its last `/`"));
    }
    if text[1..].split('/').any(|part| part == "." || part == "..") || text.contains("//") {
        let message = format!("`{}` has a part that is empty, `.` or `..`", shown(text));
        return Err(HostRefusal::new(message).help(example));
    }
    url::check(&format!("https://host{text}")).map(drop)
}

/// Says so where no provider of a manifest's URLs can purge directories.
pub(crate) fn check_providers(
    heads: &[Head<'_, '_>],
    providers: &Providers,
    entries: &Entries,
    report: &mut Diagnostics,
) {
    for head in heads {
        let Some(span) = head.fields.key_span("collapse") else { continue };
        let mut names: Vec<(usize, &str)> = Vec::new();
        let mut is_able = false;
        for (provider, scope, manifests) in entries.listings() {
            let is_own = manifests.contains(&head.file) && scope == Scope::Url;
            if !is_own || names.iter().any(|(known, _)| *known == provider) {
                continue;
            }
            let draft = &providers.drafts[provider];
            names.push((provider, &draft.name));
            // Of a provider that could not be read nothing is known.
            is_able |= draft.config.as_ref().is_none_or(|config| config.kind.directories(&config.options).is_some());
        }
        if !names.is_empty() && !is_able {
            let names: Vec<&str> = names.into_iter().map(|(_, name)| name).collect();
            let message =
                format!("`collapse`: none of this manifest's providers purges directories: {}", shape::quoted(&names));
            let help = "delete it: their URLs are purged one by one; `freshen providers` shows who purges directories";
            report.push(Diagnostic::error(head.file, span, message).help(help));
        }
    }
}
