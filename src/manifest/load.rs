//! Bytes to a tree of nodes with their places. The only file that names the YAML crate.
//!
//! Works on the parser's events, not on typed values: scalars stay as written, so nothing can turn `0123`, `1e5` or
//! `no` into another value, and a duplicate key does not end the reading. Does not know what keys mean.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_yaml::granit_parser::{
    ErrorKind, Event, Parser, ScalarStyle, ScanError, Span as ParserSpan, StrInput, Tag, options as parser_options,
};

use super::diagnostic::{Diagnostic, Diagnostics, Span};
use super::hints;
use super::node::{Document, Key, Node, RefusedKey, Value, shown, size_of_tree};
use super::shape::is_of_manifests;

/// Largest manifest, in bytes.
pub const MAX_FILE_BYTES: usize = 256 * 1024 * 1024;
/// Deepest nesting; the format itself needs five levels.
const MAX_DEPTH: usize = 32;
/// Memory that the tree of a file of no size may take, in bytes.
const MIN_TREE_BYTES: usize = 11 * 1024 * 1024;
/// Memory that the tree may take for each byte of the file: what a hostile one takes is bounded by it. Lists of assets
/// with digests take twice their size, and less than three times in the list form.
const TREE_BYTES_PER_BYTE: usize = 3;
/// Most directives before a document.
const MAX_DIRECTIVES: usize = 10;
/// Most items of lists that are nothing and are kept.
const MAX_EMPTY_ITEMS: usize = 100;
/// Longest single text, in bytes.
const MAX_SCALAR_BYTES: usize = 64 * 1024;
/// Most anchors in a file.
const MAX_ANCHORS: usize = 100;
/// Most values that anchors hold and that aliases repeat, in a file.
const MAX_ALIASED_NODES: usize = 10_000;
/// Longest key on one line, in characters: YAML's own 1024 is too short for long URLs.
const MAX_KEY_CHARS: usize = 16 * 1024;

/// Reads one file. Problems go to `report`; `None` if there is no tree to go on with.
///
/// Of a file that has not shown itself a manifest before something is wrong with it, no text is shown.
pub(crate) fn load<'a>(file: usize, bytes: &'a [u8], report: &mut Diagnostics) -> Option<Document<'a>> {
    let (source, fault) = text_of(file, bytes);
    let is_faulty = fault.is_some();
    let (tree, is_manifest) = read(file, source, report);
    if let Some(fault) = fault {
        report.push_only(fault);
    }
    let first = report.first_of(file).filter(|first| !(is_manifest || first.is_concealed));
    if let Some(span) = first.map(|first| first.span.unwrap_or_default()) {
        report.push_only(no_manifest(file, span, "no manifest"));
        return None;
    }
    tree.filter(|_| !is_faulty)
}

/// The tree of a text, and whether a key at its top showed it to be a manifest before anything was wrong with it.
fn read<'a>(file: usize, source: &'a str, report: &mut Diagnostics) -> (Option<Document<'a>>, bool) {
    if has_many_directives(source) {
        let at = Span { line: 1, column: 1, ..Span::default() };
        let message = format!("more than {MAX_DIRECTIVES} lines that begin with `%`");
        report.push(Diagnostic::error(file, at, message).help("delete them").concealed());
        return (None, false);
    }
    let mut builder = Builder {
        file,
        source,
        report,
        stack: Vec::new(),
        root: None,
        documents: 0,
        tree_bytes: 0,
        anchors: HashMap::new(),
        aliased: 0,
        is_manifest: false,
        empty_items: 0,
        refused: Vec::new(),
    };
    let parser = Parser::<StrInput>::new_from_str_with_options(
        source,
        parser_options! {
            simple_key_max_lookahead: MAX_KEY_CHARS,
            flow_nesting_limit: MAX_DEPTH,
            block_nesting_limit: MAX_DEPTH,
        },
    );
    for event in parser {
        let step = match event {
            Ok((event, span)) => builder.take(event, &span),
            Err(error) if !(builder.is_manifest || matches!(error.kind(), ErrorKind::RecursionLimitExceeded)) => {
                Err(Box::new(no_manifest(file, place_of_error(source, &error), "not valid YAML, and no manifest")))
            }
            Err(error) => Err(Box::new(syntax_error(file, source, &error))),
        };
        if let Err(stop) = step {
            builder.report.push(*stop);
            return (None, builder.is_manifest);
        }
    }
    if builder.root.is_none() {
        let at = Span { line: 1, column: 1, ..Span::default() };
        builder.report.push(empty_file(file, at).concealed());
    }
    // Stable: what stands within another one was read before it.
    builder.refused.sort_by_key(|refused| refused.map);
    let Builder { root, refused, is_manifest, .. } = builder;
    (root.map(|root| Document { root, refused }), is_manifest)
}

/// What is wrong with a file that may be of any kind: no word of its text.
fn no_manifest(file: usize, span: Span, what: &str) -> Diagnostic {
    let message = format!("{what}: no key of one stands at its top before this place");
    let help = "give a file with `assets`, `sources` or `providers`; the text of other files is not shown";
    Diagnostic::error(file, Span { end: span.start, ..span }, message).help(help).concealed()
}

/// The parser keeps what directives say, and nothing of the format needs any.
fn has_many_directives(source: &str) -> bool {
    let is_before = |line: &&str| line.is_empty() || line.starts_with(['%', '#', '\u{feff}']);
    source.lines().take_while(is_before).filter(|line| line.starts_with('%')).nth(MAX_DIRECTIVES).is_some()
}

fn empty_file(file: usize, at: Span) -> Diagnostic {
    Diagnostic::error(file, at, "the manifest is empty")
        .help("list `assets`, or delete the file; to say that there are none write `assets: {}`")
}

/// The bytes as text, up to what is wrong with them: they are UTF-8 without control characters and of bearable size.
fn text_of(file: usize, bytes: &[u8]) -> (&str, Option<Diagnostic>) {
    if bytes.len() > MAX_FILE_BYTES {
        let at = Span { line: 1, column: 1, ..Span::default() };
        let message = format!("the file has {} bytes, more than {MAX_FILE_BYTES}", bytes.len());
        let help = "split the manifest into several files";
        return ("", Some(Diagnostic::error(file, at, message).help(help).concealed()));
    }
    let (source, mut fault) = match std::str::from_utf8(bytes) {
        Ok(source) => (source, None),
        Err(error) => {
            let good = error.valid_up_to();
            let before = std::str::from_utf8(&bytes[..good]).unwrap_or_default();
            let message = format!("byte 0x{:02x} is not UTF-8", bytes[good]);
            let fault = Diagnostic::error(file, place_of(before, good, 0), message);
            (before, Some(fault.help("save the file as UTF-8")))
        }
    };
    // Only the first byte order mark is one; further ones come from files put together, and hide in keys.
    let is_misplaced = |(at, c): &(usize, char)| is_forbidden(*c) || (*at > 0 && *c == '\u{feff}');
    let Some((at, bad)) = source.char_indices().find(is_misplaced) else { return (source, fault) };
    let message = format!("control character U+{:04X} in the file", u32::from(bad));
    fault = Some(Diagnostic::error(file, place_of(source, at, bad.len_utf8()), message).help("delete it"));
    (&source[..at], fault)
}

fn is_forbidden(c: char) -> bool {
    c.is_control() && !matches!(c, '\t' | '\n' | '\r')
}

/// Line and column of byte `at`.
fn place_of(source: &str, at: usize, bytes: usize) -> Span {
    let before = &source[..at];
    let line_start = before.rfind(['\n', '\r']).map_or(0, |newline| newline + 1);
    let lines = before.matches('\n').count() + before.replace("\r\n", "\n").matches('\r').count();
    span(at, at + bytes, lines + 1, before[line_start..].trim_start_matches('\u{feff}').chars().count() + 1)
}

/// The text that begins at a line and column, both from 1: up to its end quote, else to the end of a key or of the line.
pub(crate) fn mark(bytes: &[u8], line: u32, column: u32) -> Span {
    let source = std::str::from_utf8(bytes).unwrap_or_default();
    let start = byte_of(source, line as usize, (column as usize).saturating_sub(1));
    let text = source.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
    let quoted = text.chars().next().filter(|first| matches!(first, '"' | '\'')).and_then(|quote| {
        let end = text[1..].find(quote)?;
        Some(end + 2)
    });
    let plain = || [": ", ", ", "}", " #"].iter().filter_map(|end| text.find(end)).min().unwrap_or(text.len());
    let end = start + text[..quoted.unwrap_or_else(plain)].trim_end_matches([':', ' ']).len();
    span(start, end, line as usize, column as usize)
}

fn span(start: usize, end: usize, line: usize, column: usize) -> Span {
    let small = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    Span { start: small(start), end: small(end.max(start)), line: small(line), column: small(column) }
}

/// The place of an event. Collections begin where they begin; only their first character is marked.
fn place(source: &str, of: &ParserSpan) -> Span {
    let start = of.start.byte_offset().unwrap_or(0);
    let end = of.end.byte_offset().unwrap_or(start);
    let marked = source.get(start..end).unwrap_or_default().trim_end();
    span(start, start + marked.len(), of.start.line(), of.start.col() + 1)
}

fn syntax_error(file: usize, source: &str, error: &ScanError) -> Diagnostic {
    let place = place_of_error(source, error);
    let start = place.start as usize;
    let found = source.get(start..).and_then(|rest| rest.chars().next()).unwrap_or('\n');
    if matches!(error.kind(), ErrorKind::RecursionLimitExceeded) {
        return Diagnostic::error(file, place, format!("nested deeper than {MAX_DEPTH} levels")).concealed();
    }
    let line = source[..start.min(source.len())].rsplit(['\n', '\r']).next().unwrap_or_default();
    let is_indentation = line.trim_matches([' ', '\t', '-']).is_empty();
    let is_tab = is_indentation && (found == '\t' || line.contains('\t')) || hints::is_indented_with_tab(line);
    let next_tab = || hints::tab_below(&source[start..]).map(|at| place_of(source, start + at, 1));
    if let Some(place) = is_tab.then_some(place).or_else(next_tab) {
        let number = place.line;
        return Diagnostic::error(file, place, format!("line {number} is indented with a tab"))
            .help("YAML is indented with blanks only; most editors can replace tabs by them");
    }
    let diagnostic = Diagnostic::error(file, place, format!("not valid YAML: {}", error.info()));
    if let Some(help) = hints::of_indentation(&source[..start.min(source.len())]) {
        return diagnostic.help(help);
    }
    match found {
        '\t' => diagnostic.help("write a blank in place of the tab"),
        '*' | '&' | '@' | '`' | '%' | '!' => {
            diagnostic.help(format!("put a text that begins with `{found}` in quotes"))
        }
        ':' => diagnostic.help("put a text that holds `: ` in quotes; a hash such as `rev:1` has no blank in it"),
        '"' if has_backslash(source, start) => {
            diagnostic.help("a backslash in double quotes begins an escape: write `/`, or use single quotes")
        }
        _ => diagnostic,
    }
}

/// Whether a backslash stands behind this place on its line.
fn has_backslash(source: &str, start: usize) -> bool {
    source[start..].lines().next().is_some_and(|line| line.contains('\\'))
}

fn place_of_error(source: &str, error: &ScanError) -> Span {
    let marker = error.marker();
    let start = marker.byte_offset().unwrap_or_else(|| byte_of(source, marker.line(), marker.col()));
    let found = source.get(start..).and_then(|rest| rest.chars().next()).filter(|found| !found.is_control());
    span(start, start + found.map_or(0, char::len_utf8), marker.line(), marker.col() + 1)
}

/// The byte at a line (from 1) and column (from 0), as the parser counts them.
fn byte_of(source: &str, line: usize, column: usize) -> usize {
    let mut start = 0;
    for _ in 1..line {
        match source[start..].find('\n') {
            Some(newline) => start += newline + 1,
            None => break,
        }
    }
    let rest = &source[start..];
    let rest_start = if start == 0 && rest.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    start + rest_start + rest[rest_start..].char_indices().nth(column).map_or(rest.len() - rest_start, |(at, _)| at)
}

/// A collection that is not closed yet.
struct Frame<'a> {
    span: Span,
    anchor: usize,
    items: Items<'a>,
}

enum Items<'a> {
    List(Vec<Node<'a>>),
    Map { entries: Vec<(Key<'a>, Node<'a>)>, key: NextKey<'a> },
}

/// Whether a map waits for a key or for the value of one.
enum NextKey<'a> {
    Awaited,
    Read(Key<'a>),
    /// The key was refused, and so is its value.
    Refused(Key<'a>),
}

struct Builder<'a, 'r> {
    file: usize,
    source: &'a str,
    report: &'r mut Diagnostics,
    stack: Vec<Frame<'a>>,
    root: Option<Node<'a>>,
    documents: usize,
    /// Memory that all values take, so far as they were kept.
    tree_bytes: usize,
    anchors: HashMap<usize, (usize, Node<'a>)>,
    aliased: usize,
    /// A key at the top was one that manifests have.
    is_manifest: bool,
    /// Items of lists that are nothing.
    empty_items: usize,
    refused: Vec<RefusedKey<'a>>,
}

type Step = Result<(), Box<Diagnostic>>;

impl<'a> Builder<'a, '_> {
    /// Takes one event. An error ends the reading of this file.
    fn take(&mut self, event: Event<'a>, at: &ParserSpan) -> Step {
        let place = place(self.source, at);
        match event {
            Event::DocumentStart(..) => return self.document(place),
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && !self.tagged(tag.as_deref(), at, place);
                let owned = if matches!(text, Cow::Owned(_)) { text.len() + size_of::<usize>() * 2 } else { 0 };
                self.tree_bytes += owned;
                self.limits(place, text.len())?;
                return self.finish_node(Node { value: Value::Scalar { text, plain }, span: place }, anchor);
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.tagged(tag.as_deref(), at, place);
                return self.open(place, anchor, Items::List(Vec::new()));
            }
            Event::MappingStart(_, anchor, tag) => {
                self.tagged(tag.as_deref(), at, place);
                return self.open(place, anchor, Items::Map { entries: Vec::new(), key: NextKey::Awaited });
            }
            Event::SequenceEnd | Event::MappingEnd => return self.close(),
            Event::Alias(anchor) => return self.alias(anchor, place),
            _ => {}
        }
        Ok(())
    }

    fn document(&mut self, place: Span) -> Step {
        self.documents += 1;
        if self.documents == 1 {
            return Ok(());
        }
        Err(Box::new(
            Diagnostic::error(self.file, place, "a second YAML document begins here")
                .help("write one document a file: put the rest into a file of its own")
                // The rest may be anything.
                .concealed(),
        ))
    }

    /// Refuses tags, apart from `!!str`, which forces a text. Says whether a text was forced.
    fn tagged(&mut self, tag: Option<&Tag>, at: &ParserSpan, place: Span) -> bool {
        let Some(tag) = tag else { return false };
        if tag.core_suffix() == Some("str") {
            return true;
        }
        let marked = at.tag_span().map_or(place, |span| self::place(self.source, &span));
        self.report.push(
            // Its text may be a secret that begins with `!`.
            Diagnostic::error(self.file, marked, "tags are not supported")
                .help("write the value without it; texts can be quoted"),
        );
        false
    }

    fn limits(&mut self, place: Span, scalar_bytes: usize) -> Step {
        self.tree_bytes += size_of::<Node<'_>>();
        let message = if self.tree_bytes > MIN_TREE_BYTES + self.source.len() * TREE_BYTES_PER_BYTE {
            "too many values for a file of its size".to_owned()
        } else if self.stack.len() > MAX_DEPTH {
            format!("nested deeper than {MAX_DEPTH} levels")
        } else if scalar_bytes > MAX_SCALAR_BYTES {
            format!("a text of {scalar_bytes} bytes, more than {MAX_SCALAR_BYTES}")
        } else {
            return Ok(());
        };
        // Marking a text of megabytes helps nobody.
        let short = Span { end: place.start, ..place };
        Err(Box::new(
            Diagnostic::error(self.file, short, message)
                .help("nothing of the format needs this; split or correct the file")
                .concealed(),
        ))
    }

    fn open(&mut self, place: Span, anchor: usize, items: Items<'a>) -> Step {
        let bracket = self.source.as_bytes().get(place.start as usize);
        let end = place.start + u32::from(matches!(bracket, Some(b'[' | b'{')));
        self.stack.push(Frame { span: Span { end, ..place }, anchor, items });
        // What the allocator adds to its items.
        self.tree_bytes += size_of::<usize>() * 2;
        self.limits(place, 0)
    }

    fn close(&mut self) -> Step {
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        let value = match frame.items {
            Items::List(mut list) => {
                list.shrink_to_fit();
                Value::List(list)
            }
            Items::Map { entries, .. } => {
                let mut entries = self.without_duplicates(frame.span.start, entries);
                entries.shrink_to_fit();
                Value::Map(entries)
            }
        };
        self.finish_node(Node { value, span: frame.span }, frame.anchor)
    }

    fn finish_node(&mut self, node: Node<'a>, anchor: usize) -> Step {
        if anchor != 0 {
            let size = size_of_tree(&node);
            self.count_aliased(size, node.span)?;
            if self.anchors.len() >= MAX_ANCHORS {
                return Err(Box::new(Diagnostic::error(
                    self.file,
                    node.span,
                    format!("more than {MAX_ANCHORS} anchors"),
                )));
            }
            self.anchors.insert(anchor, (size, node.clone()));
        }
        self.deliver(node);
        Ok(())
    }

    fn count_aliased(&mut self, size: usize, place: Span) -> Step {
        self.aliased += size;
        if self.aliased <= MAX_ALIASED_NODES {
            return Ok(());
        }
        let message = format!("anchors and aliases stand for more than {MAX_ALIASED_NODES} values");
        Err(Box::new(Diagnostic::error(self.file, place, message).help("write the values out").concealed()))
    }

    fn alias(&mut self, anchor: usize, place: Span) -> Step {
        let Some((size, node)) = self.anchors.get(&anchor) else {
            let message = "this alias stands inside its own anchor";
            return Err(Box::new(Diagnostic::error(self.file, place, message).concealed()));
        };
        let (size, value) = (*size, node.value.clone());
        self.count_aliased(size, place)?;
        self.tree_bytes += size * size_of::<Node<'_>>();
        self.deliver(Node { value, span: place });
        Ok(())
    }

    /// Hands a finished node to the collection it stands in.
    fn deliver(&mut self, node: Node<'a>) {
        let is_top = self.stack.len() == 1;
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some(as_value(node));
            return;
        };
        match &mut frame.items {
            Items::List(list) => {
                let item = as_value(node);
                self.empty_items += usize::from(item.value == Value::Null);
                // Each is a mistake wherever it stands, and so many are not reported.
                if item.value != Value::Null || self.empty_items <= MAX_EMPTY_ITEMS {
                    list.push(item);
                }
            }
            Items::Map { entries, key } => {
                let map = frame.span;
                *key = match std::mem::replace(key, NextKey::Awaited) {
                    NextKey::Read(read) => {
                        entries.push((read, as_value(node)));
                        NextKey::Awaited
                    }
                    NextKey::Refused(key) => {
                        self.refused.push(RefusedKey { map: map.start, key, value: as_value(node) });
                        NextKey::Awaited
                    }
                    NextKey::Awaited => {
                        if matches!(node.value, Value::List(_) | Value::Map(_)) {
                            let key = Key { text: Cow::Borrowed(""), span: node.span };
                            self.refused.push(RefusedKey { map: map.start, key, value: node.clone() });
                        }
                        let read = as_key(self.file, node, self.report);
                        self.tree_bytes -= size_of::<Node<'_>>() - size_of::<Key<'_>>();
                        self.is_manifest |= is_top && matches!(&read, NextKey::Read(key) if shows_manifest(key, map));
                        read
                    }
                };
            }
        }
    }

    /// Refuses what repeats a key of a map, and says so with both places.
    fn without_duplicates(&mut self, map: u32, entries: Vec<(Key<'a>, Node<'a>)>) -> Vec<(Key<'a>, Node<'a>)> {
        let text = |index: u32| entries[index as usize].0.text.as_ref();
        // Places in order of key: a table of keys would take far more.
        let mut order: Vec<u32> = (0..u32::try_from(entries.len()).unwrap_or(u32::MAX)).collect();
        order.sort_unstable_by(|a, b| text(*a).cmp(text(*b)).then(a.cmp(b)));
        let mut repeated: Vec<(u32, u32)> = Vec::new();
        for same in order.chunk_by(|a, b| text(*a) == text(*b)) {
            repeated.extend(same[1..].iter().map(|again| (*again, same[0])));
        }
        drop(order);
        if repeated.is_empty() {
            return entries;
        }
        repeated.sort_unstable();
        for (again, first) in &repeated {
            let (key, first) = (&entries[*again as usize].0, &entries[*first as usize].0);
            self.report.push(
                Diagnostic::error(self.file, key.span, format!("key `{}` is given twice", shown(&key.text)))
                    .label("given again")
                    .help("keep one of the two")
                    .related(self.file, first.span, "first given here"),
            );
        }
        let repeated = repeated.into_iter().map(|(again, _)| again as usize).collect::<Vec<_>>();
        let mut repeated = repeated.into_iter().peekable();
        let mut kept = Vec::with_capacity(entries.len());
        for (index, (key, value)) in entries.into_iter().enumerate() {
            match repeated.next_if_eq(&index) {
                Some(_) => self.refused.push(RefusedKey { map, key, value }),
                None => kept.push((key, value)),
            }
        }
        kept
    }
}

/// Whether a key of the map at the top, which stands at `map`, shows the file to be a manifest: it is a key that manifests have and
/// other files do not, and begins a line; or the map itself does, in braces. The text of any other file is not shown.
pub(crate) fn shows_manifest(key: &Key<'_>, map: Span) -> bool {
    let is_in_braces = map.end > map.start;
    let begins = if is_in_braces { map.column } else { key.span.column };
    begins == 1 && is_of_manifests(&key.text)
}

/// A plain `null`, `~` or nothing is no text.
fn as_value(node: Node<'_>) -> Node<'_> {
    if is_nothing(&node) { Node { value: Value::Null, span: node.span } } else { node }
}

/// The parser reports what is absent as if `~` stood there.
fn is_nothing(node: &Node<'_>) -> bool {
    matches!(&node.value, Value::Scalar { text, plain: true } if is_word_for_nothing(text))
}

/// Whether YAML takes a plain text for nothing.
pub(super) fn is_word_for_nothing(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

fn as_key<'a>(file: usize, node: Node<'a>, report: &mut Diagnostics) -> NextKey<'a> {
    if is_nothing(&node) {
        let help = "write the key before its `:`; a text like `null` or `~` stands in quotes";
        report.push(Diagnostic::error(file, node.span, "a key that is empty").help(help));
        return NextKey::Refused(Key { text: Cow::Borrowed(""), span: node.span });
    }
    let Value::Scalar { text, plain } = node.value else {
        report.push(
            Diagnostic::error(file, node.span, "a key must be a text")
                .label("a list or map as key")
                .help("put a text that begins with `[`, `{` or `*` in quotes"),
        );
        return NextKey::Refused(Key { text: Cow::Borrowed(""), span: node.span });
    };
    if plain && text == "<<" {
        report.push(
            Diagnostic::error(file, node.span, "merge keys are not supported")
                .help("write the keys out where they belong"),
        );
        return NextKey::Refused(Key { text, span: node.span });
    }
    NextKey::Read(Key { text, span: node.span })
}
