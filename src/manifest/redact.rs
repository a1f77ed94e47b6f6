//! What of a manifest's text is not shown with its problems: it may be a secret in the wrong place.
//!
//! The one place that decides it, for all problems of all files at once. Hidden are user names and passwords in URLs, values of
//! queries, values of headers, and the value of any key that manifests do not have, unless it is a slip of one that they have: the
//! name of a key that holds a credential in a wrong place is not known. Among assets, whose keys are names, those that suggest a
//! credential decide.
//! Does not know how text is shown.

mod line;
mod url_parts;

use std::collections::BTreeMap;
use std::ops::Range;

use super::diagnostic::{Diagnostic, Hidden, Span};
use super::nearest::is_slip;
use super::node::{Document, Key, Node, RefusedKey, Value, printable};
use super::secrets::names_credential;
use super::shape;
use super::source::SourceFile;
use crate::vendor::VENDORS;

/// What stands in place of a secret.
pub(super) const MASK: &str = "***";
/// Bytes before and after a place that may be shown of its line.
pub(super) const WINDOW_BYTES: usize = 4096;
/// A part of a secret with fewer characters than this is an ordinary word.
const SHORTEST_PART: usize = 3;

/// Hides what may be a secret: masks the words of `diagnostics`, and returns what must not be shown of the lines at their places.
/// `trees` are the files as far as they could be read; `None` for a file that is no YAML.
pub(crate) fn redact(
    files: &[SourceFile],
    trees: &[Option<Document<'_>>],
    diagnostics: &mut [Diagnostic],
) -> Vec<Hidden> {
    let mut places: BTreeMap<usize, Vec<Span>> = BTreeMap::new();
    for diagnostic in diagnostics.iter().filter(|diagnostic| !diagnostic.is_concealed) {
        for (file, span) in places_of(diagnostic) {
            places.entry(file).or_default().push(span);
        }
    }
    let mut shown: BTreeMap<usize, Lines<'_>> = BTreeMap::new();
    for (file, spans) in places {
        let Some(bytes) = files.get(file).and_then(|source| source.text().ok()) else { continue };
        let mut lines = Lines::at(bytes, &spans);
        let tree = trees.get(file).and_then(Option::as_ref);
        if let Some(tree) = tree {
            lines.read(&tree.root, SecretKind::Top, RefusedKeys { all: &tree.refused, within: None });
        }
        lines.read_rest(tree.is_some());
        shown.insert(file, lines);
    }
    for diagnostic in diagnostics {
        let secrets: Vec<String> = places_of(diagnostic)
            .filter_map(|(file, span)| Some(shown.get(&file)?.secrets_at(span)))
            .flatten()
            .map(str::to_owned)
            .collect();
        let labels = diagnostic.related.iter_mut().map(|(_, _, label)| label);
        let words = [&mut diagnostic.message, &mut diagnostic.label].into_iter().chain(diagnostic.help.as_mut());
        for text in words.chain(labels) {
            mask(text, &secrets);
            mask_urls(text);
        }
    }
    let mut hidden = Vec::new();
    for (file, lines) in &shown {
        hidden.extend(lines.hidden().map(|(start, end)| Hidden { file: *file, start, end }));
    }
    hidden
}

/// The place of a problem, and the others that matter.
fn places_of(diagnostic: &Diagnostic) -> impl Iterator<Item = (usize, Span)> {
    let related = diagnostic.related.iter().map(|(file, span, _)| (*file, *span));
    diagnostic.span.map(|span| (diagnostic.file, span)).into_iter().chain(related)
}

/// What a piece of a tree stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SecretKind {
    /// The map at the top.
    Top,
    /// What the user names as he likes: providers.
    Names,
    /// Assets: what is public, and often has an `@` or a query.
    Assets,
    /// What may be a credential.
    Secret,
    /// Names and values of headers.
    Headers,
    /// The value of a header: a secret, but for names in braces.
    HeaderValue,
    /// Where credentials come from.
    Credentials,
    /// Anything else.
    Plain,
}

impl SecretKind {
    /// What the `value` of `key` is in a map of this kind.
    fn of_value(self, key: &str, is_map: bool) -> Self {
        match (self, key) {
            (_, "<<") => self,
            (Self::Headers, _) => Self::HeaderValue,
            // A provider is a map, by any name: anything else belongs elsewhere.
            (Self::Names, _) if !is_map => Self::Secret,
            (Self::Names, _) | (Self::Credentials, "env_prefix" | "file") => Self::Plain,
            (Self::Secret | Self::HeaderValue | Self::Credentials, _) => Self::Secret,
            (Self::Assets, path) if !path.contains(['/', '.']) && names_credential(path) => Self::Secret,
            (Self::Assets, "origin") if is_map => Self::Plain,
            (Self::Assets, _) => Self::Assets,
            (Self::Top | Self::Plain, _) => match (self, known_key(key)) {
                (Self::Top, Some("assets")) => Self::Assets,
                (Self::Top, Some("providers")) => Self::Names,
                (_, Some("headers" | "variants" | "repurge_headers")) => Self::Headers,
                (_, Some("credentials")) => Self::Credentials,
                (_, Some(_)) => Self::Plain,
                (_, None) => Self::Secret,
            },
        }
    }
}

impl SecretKind {
    /// Whether nothing of it is shown.
    fn is_secret(self) -> bool {
        matches!(self, Self::Secret | Self::HeaderValue)
    }

    /// Whether a text in place of a map of this kind is no name.
    fn is_of_secrets(self) -> bool {
        matches!(self, Self::Headers | Self::Credentials)
    }

    /// What must not be shown of a text of this kind.
    fn secrets(self, text: &str) -> Vec<Range<usize>> {
        match self {
            Self::HeaderValue => beside_names(text),
            Self::Secret | Self::Headers | Self::Credentials => std::iter::once(0..text.len()).collect(),
            Self::Top | Self::Names | Self::Assets | Self::Plain => {
                let is_credential =
                    |name: &str| self == Self::Names || !name.contains(['/', '.']) && names_credential(name);
                match name_of(text).filter(|(name, _)| is_credential(name)) {
                    Some((_, rest)) => std::iter::once(rest).collect(),
                    None => url_parts::secrets(text, self == Self::Assets),
                }
            }
        }
    }

    /// What must not be shown of a key in a map of this kind: with a blank forgotten, its value is part of it.
    fn secrets_of_key(self, key: &str) -> Vec<Range<usize>> {
        match (self, name_of(key)) {
            (Self::Top | Self::Names | Self::Plain | Self::Headers | Self::Credentials, Some((_, rest))) => vec![rest],
            (Self::Headers | Self::Credentials, None) => Vec::new(),
            _ => self.secrets(key),
        }
    }
}

/// The name that a text begins with, and where what it separates from that begins, if there is such a thing.
fn name_of(text: &str) -> Option<(&str, Range<usize>)> {
    let is_separator = |c: char| matches!(c, ':' | '=' | '：' | '＝' | '"' | '\'') || c.is_whitespace();
    let start = text.len() - text.trim_start_matches(is_separator).len();
    let end = start + text[start..].find(is_separator)?;
    let rest = text.len() - text[end..].trim_start_matches(is_separator).len();
    (rest < text.len()).then(|| (&text[start..end], rest..text.len()))
}

/// All of a header's value but names in braces, such as `{host}`: they are no secrets, and problems are about them.
fn beside_names(text: &str) -> Vec<Range<usize>> {
    const LONGEST_NAME: usize = 32;
    let is_part = |c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '-' | '.' | ' ');
    let names = text.match_indices('{').filter_map(|(start, _)| {
        let length = text[start..].find('}')?;
        let is_name = length <= LONGEST_NAME && text[start + 1..start + length].chars().all(is_part);
        (is_name && !text[..start].ends_with('$')).then_some(start..start + length + 1)
    });
    let (mut pieces, mut from) = (Vec::new(), 0);
    for name in names {
        pieces.push(from..name.start);
        from = name.end;
    }
    pieces.push(from..text.len());
    // Quotes around a name are no secret.
    pieces.retain(|piece| from == 0 || !text[piece.clone()].trim_matches(['"', '\'', ' ']).is_empty());
    pieces
}

/// The key of manifests, at any place, that `key` is or was meant to be.
fn known_key(key: &str) -> Option<&'static str> {
    let options = || VENDORS.all().flat_map(|kind| kind.capabilities().options).map(|option| option.key);
    let all = || shape::keys().chain(options());
    let slip = || all().find(|known| !names_credential(key) && is_slip(key, known));
    all().find(|known| *known == key).or_else(slip)
}

/// A line at the place of a problem.
struct SourceLine {
    /// As far as it may be shown.
    range: Range<usize>,
    /// Texts of the tree on it.
    covered: Vec<Range<usize>>,
    hidden: Vec<Range<usize>>,
    /// Secrets on it as messages would repeat them.
    secrets: Vec<String>,
}

/// Keys that no map of a file has.
#[derive(Clone, Copy)]
struct RefusedKeys<'t> {
    /// In order of map.
    all: &'t [RefusedKey<'t>],
    /// The one that is being read.
    within: Option<usize>,
}

impl RefusedKeys<'_> {
    /// Those of the map that begins at a byte. A map that is a key itself begins where the map around it does, and what stands
    /// within it was refused before it was.
    fn of_map(self, start: u32) -> Range<usize> {
        let of_map = self.all.partition_point(|one| one.map < start)..self.all.partition_point(|one| one.map <= start);
        let end = self.within.filter(|within| of_map.contains(within)).unwrap_or(of_map.end);
        of_map.start..end
    }
}

/// The lines of a file that may be shown.
struct Lines<'b> {
    bytes: &'b [u8],
    /// In order of place; none overlaps another.
    shown: Vec<SourceLine>,
}

impl<'b> Lines<'b> {
    fn at(bytes: &'b [u8], places: &[Span]) -> Self {
        let mut ranges: Vec<Range<usize>> = places.iter().map(|span| window(bytes, span.start as usize)).collect();
        ranges.sort_unstable_by_key(|range| (range.start, range.end));
        let mut joined: Vec<Range<usize>> = Vec::new();
        for range in ranges {
            match joined.last_mut() {
                Some(last) if range.start < last.end || *last == range => last.end = last.end.max(range.end),
                _ => joined.push(range),
            }
        }
        let line = |range| SourceLine { range, covered: Vec::new(), hidden: Vec::new(), secrets: Vec::new() };
        Self { bytes, shown: joined.into_iter().map(line).collect() }
    }

    fn read(&mut self, node: &Node<'_>, kind: SecretKind, refused: RefusedKeys<'_>) {
        match &node.value {
            Value::Null => {}
            Value::Scalar { text, .. } => self.text(node.span, text, |text| kind.secrets(text)),
            Value::List(list) => list.iter().for_each(|item| self.read(item, kind, refused)),
            Value::Map(entries) => {
                for (key, value) in entries {
                    self.entry(key, value, kind, refused);
                }
                for index in refused.of_map(node.span.start) {
                    let RefusedKey { key, value, .. } = &refused.all[index];
                    self.entry(key, value, kind, RefusedKeys { within: Some(index), ..refused });
                }
            }
        }
    }

    fn entry(&mut self, key: &Key<'_>, value: &Node<'_>, kind: SecretKind, refused: RefusedKeys<'_>) {
        self.text(key.span, &key.text, |text| kind.secrets_of_key(text));
        self.read(value, kind.of_value(&key.text, matches!(value.value, Value::Map(_))), refused);
    }

    /// Takes one text of the tree, `text` with its escapes undone and variables replaced.
    fn text(&mut self, span: Span, text: &str, secrets: impl Fn(&str) -> Vec<Range<usize>>) {
        let place = span.start as usize..span.end as usize;
        let first = self.shown.partition_point(|line| line.range.end < place.start);
        for line in self.shown[first..].iter_mut().take_while(|line| line.range.start <= place.end) {
            line.covered.push(place.clone());
            let written = self.bytes.get(place.clone()).map(text_of).unwrap_or_default();
            let (mut as_written, mut as_read) = (secrets(&written), secrets(text));
            if written.contains('\\') && as_written.len() != as_read.len() {
                // Behind escapes it stands somewhere else.
                as_written = std::iter::once(0..written.len()).collect();
            }
            if written.starts_with('*') {
                // What an alias stands for may be a secret where it is written.
                as_read = std::iter::once(0..text.len()).collect();
            }
            line.hidden.extend(as_written.iter().map(|piece| place.start + piece.start..place.start + piece.end));
            line.secrets
                .extend(as_read.into_iter().filter_map(|piece| text.get(piece)).map(|text| printable(text.chars())));
        }
    }

    /// Looks at what is no text of a tree: comments, lists that were read line by line, and files that are no YAML.
    fn read_rest(&mut self, has_tree: bool) {
        for line in &mut self.shown {
            let bytes = self.bytes.get(line.range.clone()).unwrap_or_default();
            let text = text_of(bytes);
            let start = line.range.start;
            let is_covered = |at: usize| line.covered.iter().any(|place| place.contains(&(start + at)));
            let found = if !has_tree {
                line::secrets_below(&self.bytes[..start], &text)
            } else if line.covered.is_empty() {
                [line::secrets(&text, true), line::tags(&text, is_covered)].concat()
            } else {
                let is_begin = |at: usize| at == 0 || matches!(bytes[at - 1], b' ' | b'\t');
                let comment = (0..bytes.len()).find(|&at| bytes[at] == b'#' && is_begin(at) && !is_covered(at));
                let suspect =
                    comment.filter(|&at| text.get(at + 1..).is_none_or(|text| !line::secrets(text, false).is_empty()));
                suspect.map(|at| at + 1..bytes.len()).into_iter().chain(line::tags(&text, is_covered)).collect()
            };
            for piece in found {
                line.secrets.extend(text.get(piece.clone()).map(|text| printable(text.chars())));
                line.hidden.push(start + piece.start..start + piece.end);
            }
        }
    }

    /// First bytes of what is hidden, and those after the last ones.
    fn hidden(&self) -> impl Iterator<Item = (u32, u32)> {
        let small = |byte: usize| u32::try_from(byte).unwrap_or(u32::MAX);
        let pieces = self.shown.iter().flat_map(|line| &line.hidden);
        pieces.map(move |piece| (small(piece.start), small(piece.end)))
    }

    fn secrets_at(&self, span: Span) -> Vec<&str> {
        let at = span.start as usize;
        let first = self.shown.partition_point(|line| line.range.end < at);
        let lines = self.shown[first..].iter().take_while(|line| line.range.start <= at);
        let mut all: Vec<&str> = lines.flat_map(|line| line.secrets.iter().map(|secret| secret.trim())).collect();
        all.retain(|secret| !secret.is_empty());
        // The longest first: another one may be part of it.
        all.sort_unstable_by_key(|secret| std::cmp::Reverse(secret.len()));
        all
    }
}

/// Bytes as text of the same length.
fn text_of(bytes: &[u8]) -> String {
    let chunks = bytes.utf8_chunks();
    chunks.flat_map(|chunk| [chunk.valid().to_owned(), "?".repeat(chunk.invalid().len())]).collect()
}

/// The part of the line at byte `at` that may be shown.
fn window(bytes: &[u8], at: usize) -> Range<usize> {
    let at = at.min(bytes.len());
    let start = bytes[..at].iter().rposition(|b| matches!(b, b'\n' | b'\r')).map_or(0, |newline| newline + 1);
    let end = bytes[at..].iter().position(|b| matches!(b, b'\n' | b'\r')).map_or(bytes.len(), |length| at + length);
    start.max(at.saturating_sub(WINDOW_BYTES))..end.min(at.saturating_add(WINDOW_BYTES))
}

/// Replaces secrets that a message repeats, whole, cut off or in part. Messages quote what they repeat.
fn mask(text: &mut String, secrets: &[String]) {
    for secret in secrets {
        let cut: String = secret.chars().take(80).collect();
        for form in [secret.clone(), format!("{cut}…"), secret.to_lowercase()] {
            let quotes = [('`', '`'), ('"', '"')];
            for (open, close) in quotes {
                *text = text.replace(&format!("{open}{form}{close}"), &format!("{open}{MASK}{close}"));
            }
            if form.chars().count() > SHORTEST_PART {
                *text = text.replace(&form, MASK);
            }
        }
        *text = quoted(text, |piece| {
            let piece = piece.trim_end_matches('…').to_lowercase();
            let is_part = piece.chars().count() >= SHORTEST_PART && secret.to_lowercase().contains(&piece);
            is_part.then(|| MASK.to_owned())
        });
    }
}

/// Hides passwords in URLs that a message repeats, wherever they come from.
fn mask_urls(text: &mut String) {
    *text = quoted(text, |piece| Some(without_secrets(piece)));
}

/// A URL, or a text that is used as one, without what may be a secret.
pub(crate) fn without_secrets(url: &str) -> String {
    let mut masked = url.to_owned();
    for secret in url_parts::secrets(url, true).into_iter().rev() {
        masked.replace_range(secret, MASK);
    }
    masked
}

/// A text with other words in its quotes where `other` has some for them.
fn quoted(text: &str, other: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find(['`', '"']) {
        let quote = rest.as_bytes()[open] as char;
        let (before, behind) = rest.split_at(open + 1);
        out.push_str(before);
        let Some(close) = behind.find(quote) else {
            rest = behind;
            break;
        };
        out.push_str(&other(&behind[..close]).unwrap_or_else(|| behind[..close].to_owned()));
        out.push(quote);
        rest = &behind[close + 1..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_repeat_no_part_of_a_secret() {
        for (message, secret, masked) in [
            ("`hosts`: `u:hunter2@x` is more", "u:hunter2", "`hosts`: `***@x` is more"),
            ("found the text \"hun\"", "hun", "found the text \"***\""),
            ("`hunter` is not a known algorithm", "hunter2:abc", "`***` is not a known algorithm"),
            ("write `hunter2`", "HUNTER2", "write `***`"),
            ("`a` must be a text", "abc", "`a` must be a text"),
        ] {
            let mut text = message.to_owned();
            mask(&mut text, &[secret.to_owned()]);
            assert_eq!(text, masked);
        }
        let mut text = "`https://u:hunter2@x/?token=hunter2&v=1` and `a".to_owned();
        mask_urls(&mut text);
        assert_eq!(text, "`https://***@x/?token=***&v=1` and `a");
    }
}
