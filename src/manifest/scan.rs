//! Reads simple lists of assets, the bulk of every large manifest, line by line and many times faster than YAML is read.
//!
//! What it reads it reads as `load` would, places included; at the first line of any other form it gives up, and `load`
//! reads the whole file. Does not know what names and hashes mean.

use super::diagnostic::Span;
use super::load::is_word_for_nothing;
use super::source::SourceFile;

/// Bytes before the list that are looked at.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Longest line that is read here, in bytes.
const MAX_LINE_BYTES: usize = 8 * 1024;

/// The line that begins the list.
const ASSETS: &[u8] = b"assets:";

/// What stands before the list of a file that may be simple.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListHead {
    /// The text up to the list, with an empty list in its place: a manifest of its own.
    pub(crate) text: String,
    /// Where the first line of the list begins, in bytes.
    start: usize,
    /// Number of that line, from 1.
    line: u32,
}

/// One asset of a simple list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Item<'t> {
    /// Whether it is of the list form; else it is a key and a hash.
    pub(crate) is_listed: bool,
    /// The word for its name in the list form: `path` or `url`.
    pub(crate) word: &'static str,
    /// The name, and where it stands.
    pub(crate) name: (&'t str, Span),
    /// The hash as it is written, and where.
    pub(crate) hash: (&'t str, Span),
}

/// Why the scanner gave up.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ScanStop {
    /// Some line is of another form.
    NotSimple,
    /// The file could not be read.
    Unreadable(String),
}

/// Finds the list of a file; `None` if there is none that might be simple.
pub(crate) fn head(source: &SourceFile) -> Option<ListHead> {
    let mut start = Vec::new();
    let read = source.each(&mut |piece| {
        start.extend_from_slice(&piece[..piece.len().min(MAX_HEAD_BYTES - start.len())]);
        start.len() < MAX_HEAD_BYTES
    });
    read.ok()?;
    let mut at = 0;
    for (line, text) in (2..).zip(start.split_inclusive(|&byte| byte == b'\n')) {
        at += text.len();
        if text.strip_prefix(ASSETS).is_some_and(|rest| matches!(rest, b"\n" | b"\r\n")) {
            let head = start[..at - text.len()].to_vec();
            return Some(ListHead { text: String::from_utf8(head).ok()? + "assets: {}\n", start: at, line });
        }
    }
    None
}

/// Shows `each` all assets of the list.
///
/// # Errors
/// [`ScanStop`]; some assets may have been shown then.
pub(crate) fn each(source: &SourceFile, head: &ListHead, each: &mut dyn FnMut(Item<'_>)) -> Result<(), ScanStop> {
    if run(source, head, each, None)? {
        return Ok(());
    }
    // Keys in no order may be twice there, which only `load` can report well.
    let mut keys = Vec::new();
    run(source, head, &mut |_| {}, Some(&mut keys))?;
    keys.sort_unstable();
    if keys.windows(2).any(|pair| pair[0] == pair[1]) { Err(ScanStop::NotSimple) } else { Ok(()) }
}

/// Whether the keys came in order, so far as they were not asked for.
fn run(
    source: &SourceFile,
    head: &ListHead,
    each: &mut dyn FnMut(Item<'_>),
    keys: Option<&mut Vec<u64>>,
) -> Result<bool, ScanStop> {
    let mut scanner = Scanner {
        each,
        keys,
        at: head.start,
        line: head.line,
        form: None,
        open: Open::default(),
        last_key: Vec::new(),
        in_order: true,
        is_empty: true,
    };
    let mut carry = Vec::new();
    let mut skip = head.start;
    let mut simple = Ok(());
    let read = source.each(&mut |piece| {
        let from = skip.min(piece.len());
        skip -= from;
        simple = scanner.piece(&mut carry, &piece[from..]);
        simple.is_ok()
    });
    read.map_err(ScanStop::Unreadable)?;
    simple.and_then(|()| scanner.end(&carry)).map_err(|NotSimple| ScanStop::NotSimple)?;
    Ok(scanner.in_order)
}

/// Some line is of another form.
struct NotSimple;

/// The two forms of a list, with the blanks before each asset.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AssetForm {
    Map(usize),
    List(usize),
}

/// An asset of the list form whose lines are not all read.
#[derive(Default)]
struct Open {
    begun: bool,
    word: &'static str,
    name: (String, Span),
    hash: (String, Span),
    has_size: bool,
}

struct Scanner<'e> {
    each: &'e mut dyn FnMut(Item<'_>),
    /// Takes a number for each key.
    keys: Option<&'e mut Vec<u64>>,
    /// Where the line begins, in bytes.
    at: usize,
    /// Its number.
    line: u32,
    form: Option<AssetForm>,
    open: Open,
    last_key: Vec<u8>,
    in_order: bool,
    is_empty: bool,
}

impl Scanner<'_> {
    /// Reads the lines of a piece; the last one, if it has no end yet, is carried over.
    fn piece(&mut self, carry: &mut Vec<u8>, mut piece: &[u8]) -> Result<(), NotSimple> {
        if !carry.is_empty() {
            let end = memchr::memchr(b'\n', piece).map_or(piece.len(), |end| end + 1);
            carry.extend_from_slice(&piece[..end]);
            piece = &piece[end..];
            if carry.ends_with(b"\n") {
                self.line(carry)?;
                carry.clear();
            }
        }
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', piece) {
            self.line(&piece[start..=end])?;
            start = end + 1;
        }
        carry.extend_from_slice(&piece[start..]);
        if carry.len() > MAX_LINE_BYTES { Err(NotSimple) } else { Ok(()) }
    }

    /// The file is at its end.
    fn end(&mut self, carry: &[u8]) -> Result<(), NotSimple> {
        if !carry.is_empty() {
            self.line(carry)?;
        }
        self.close()?;
        if self.is_empty { Err(NotSimple) } else { Ok(()) }
    }

    fn line(&mut self, whole: &[u8]) -> Result<(), NotSimple> {
        let line = whole.strip_suffix(b"\n").unwrap_or(whole);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let indent = line.iter().take_while(|&&byte| byte == b' ').count();
        match &line[indent..] {
            [] => {}
            [b'#', comment @ ..] => text_of(comment).map(drop)?,
            text => self.text(indent, text)?,
        }
        self.at += whole.len();
        self.line += 1;
        Ok(())
    }

    fn text(&mut self, indent: usize, text: &[u8]) -> Result<(), NotSimple> {
        let form = *self.form.get_or_insert(if text.starts_with(b"- ") {
            AssetForm::List(indent)
        } else {
            AssetForm::Map(indent)
        });
        match form {
            AssetForm::Map(usual) if indent == usual && indent > 0 => self.short(indent, text),
            AssetForm::List(usual) if indent == usual => {
                let field = text.strip_prefix(b"- ").ok_or(NotSimple)?;
                self.close()?;
                self.open.begun = true;
                self.field(indent + 2, field)
            }
            AssetForm::List(usual) if indent == usual + 2 => self.field(indent, text),
            _ => Err(NotSimple),
        }
    }

    /// A key and a hash.
    fn short(&mut self, indent: usize, text: &[u8]) -> Result<(), NotSimple> {
        let (name, value) = cut(text)?;
        let (key, hash) = (name.text.as_bytes(), value.text);
        if !begins_word(key) || is_word_for_nothing(name.text) || !is_hash(hash.as_bytes()) {
            return Err(NotSimple);
        }
        if let Some(keys) = &mut self.keys {
            keys.push(number_of(key));
        } else if self.in_order {
            self.in_order = self.last_key.as_slice() < key;
            self.last_key.clear();
            self.last_key.extend_from_slice(key);
        }
        let name_span = self.span(indent, indent, name.text);
        let before = indent + key.len() + 2;
        let hash_span = self.span(before, before - key.len() + name.characters(), hash);
        self.is_empty = false;
        (self.each)(Item { is_listed: false, word: "path", name: (name.text, name_span), hash: (hash, hash_span) });
        Ok(())
    }

    /// One line of an asset of the list form.
    fn field(&mut self, indent: usize, text: &[u8]) -> Result<(), NotSimple> {
        let (key, value) = cut(text)?;
        let (key, value) = (key.text.as_bytes(), value.text);
        let before = indent + key.len() + 2;
        let span = self.span(before, before, value);
        let open = &mut self.open;
        let (to, word) = match key {
            b"path" if open.word.is_empty() => (&mut open.name, "path"),
            b"url" if open.word.is_empty() => (&mut open.name, "url"),
            b"hash" if open.hash.0.is_empty() && is_hash(value.as_bytes()) => (&mut open.hash, open.word),
            b"size" if !open.has_size && is_size(value) => {
                open.has_size = true;
                return Ok(());
            }
            _ => return Err(NotSimple),
        };
        open.word = word;
        to.0.push_str(value);
        to.1 = span;
        if begins_word(value.as_bytes()) && !value.eq_ignore_ascii_case("null") { Ok(()) } else { Err(NotSimple) }
    }

    /// The asset of the list form that was read last is whole.
    fn close(&mut self) -> Result<(), NotSimple> {
        if !std::mem::replace(&mut self.open.begun, false) {
            return Ok(());
        }
        let Open { word, name, hash, .. } = &self.open;
        if word.is_empty() || hash.0.is_empty() {
            return Err(NotSimple);
        }
        (self.each)(Item { is_listed: true, word, name: (&name.0, name.1), hash: (&hash.0, hash.1) });
        self.is_empty = false;
        self.open.name.0.clear();
        self.open.hash.0.clear();
        self.open.word = "";
        self.open.has_size = false;
        Ok(())
    }

    /// The place of a text that so many bytes, and so many characters, of its line come before.
    fn span(&self, bytes: usize, characters: usize, text: &str) -> Span {
        let small = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        let start = self.at + bytes;
        Span { start: small(start), end: small(start + text.len()), line: self.line, column: small(characters + 1) }
    }
}

/// A plain word, and whether all of it is ASCII.
#[derive(Clone, Copy)]
struct Word<'t> {
    text: &'t str,
    is_ascii: bool,
}

impl Word<'_> {
    fn characters(self) -> usize {
        if self.is_ascii { self.text.len() } else { self.text.chars().count() }
    }
}

/// A key and a value, each one plain word.
fn cut(text: &[u8]) -> Result<(Word<'_>, Word<'_>), NotSimple> {
    let end = text.iter().position(|&byte| byte == b' ').ok_or(NotSimple)?;
    let key = text[..end].strip_suffix(b":").ok_or(NotSimple)?;
    Ok((word(key)?, word(&text[end + 1..])?))
}

fn word(bytes: &[u8]) -> Result<Word<'_>, NotSimple> {
    let seen = bytes.iter().fold(0, |seen, &byte| seen | CLASSES[usize::from(byte)]);
    // A colon at the end would begin a value.
    if seen & OTHER != 0 || bytes.last().is_none_or(|&last| last == b':') {
        return Err(NotSimple);
    }
    let is_ascii = seen & LETTER == 0;
    let text = if is_ascii { std::str::from_utf8(bytes).map_err(|_| NotSimple)? } else { text_of(bytes)? };
    Ok(Word { text, is_ascii })
}

/// Part of a character that [`text_of`] has to look at.
const LETTER: u8 = 1;
/// A byte that means more than itself somewhere in a plain word.
const OTHER: u8 = 2;

/// What bytes are in a plain word; 0: they mean nothing but themselves.
const CLASSES: [u8; 256] = {
    let plain = b"._/~+@%=-,()!$&'*;:?";
    let mut classes = [OTHER; 256];
    let mut byte = 0;
    while byte < 256 {
        if byte >= 0x80 {
            classes[byte] = LETTER;
        }
        byte += 1;
    }
    let mut letter = 0_u8;
    while letter < 0x80 {
        if letter.is_ascii_alphanumeric() {
            classes[letter as usize] = 0;
        }
        letter += 1;
    }
    let mut other = 0;
    while other < plain.len() {
        classes[plain[other] as usize] = 0;
        other += 1;
    }
    classes
};

/// The text, if it holds visible ASCII, blanks, and letters and digits of any script.
fn text_of(bytes: &[u8]) -> Result<&str, NotSimple> {
    let text = std::str::from_utf8(bytes).map_err(|_| NotSimple)?;
    let is_harmless = |c: char| c == ' ' || c.is_ascii_graphic() || (!c.is_ascii() && c.is_alphanumeric());
    let is_plain = bytes.iter().all(|byte| matches!(byte, b' '..=b'~'));
    if is_plain || text.chars().all(is_harmless) { Ok(text) } else { Err(NotSimple) }
}

/// Whether a value may be a hash: plain, and never nothing, a number or a switch.
fn is_hash(value: &[u8]) -> bool {
    value[0].is_ascii_alphabetic() && value.iter().any(|byte| matches!(byte, b':' | b'-'))
}

fn is_size(value: &str) -> bool {
    value.len() <= 15 && value.bytes().all(|byte| byte.is_ascii_digit()) && (value == "0" || !value.starts_with('0'))
}

/// Whether the first byte begins a plain word, and nothing else that YAML knows.
fn begins_word(word: &[u8]) -> bool {
    word[0].is_ascii_alphanumeric() || matches!(word[0], b'.' | b'/' | b'_' | 0x80..)
}

/// FNV-1a.
fn number_of(key: &[u8]) -> u64 {
    key.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Result<Vec<String>, ScanStop> {
        let source = SourceFile::whole("m.yaml", text);
        let head = head(&source).ok_or(ScanStop::NotSimple)?;
        let mut names = Vec::new();
        each(&source, &head, &mut |item| names.push(item.name.0.to_owned()))?;
        Ok(names)
    }

    #[test]
    fn simple_lists_are_read_here_and_no_others() {
        for simple in [
            "assets:\n  a/b.html: rev:1\n  c: sha256-AAAA\n",
            "version: 1\nbase_url: https://a.cn\nassets:\r\n  a/b.html: rev:1\r\n# c\r\n\r\n  c: rev:2",
            "assets:\n- path: a/b.html\n  hash: rev:1\n  size: 0\n- hash: rev:1\n  path: c\n",
            "assets:\n  - url: a/b.html\n    hash: rev:1\n  - path: c\n    hash: rev:1\n",
            "assets:\n  a/b.html: rev:1\n  c: rev:2\n",
        ] {
            assert_eq!(names(simple).as_deref(), Ok(["a/b.html".to_owned(), "c".to_owned()].as_slice()), "{simple:?}");
        }
        for other in [
            "assets: {}\n",
            "assets:\n",
            "assets:\n# a\n",
            " assets:\n  a: rev:1\n",
            "assets:\na: rev:1\n",
            "assets:\n  a: rev:1\nname: x\n",
            "assets:\n  a: rev:1\n  a: rev:1\n",
            "assets:\n  b: rev:1\n  a: rev:1\n  b: rev:1\n",
            "assets:\n  a:  rev:1\n",
            "assets:\n  a: rev:1 \n",
            "assets:\n  a: rev:1 # b\n",
            "assets:\n  a: *rev-1\n",
            "assets:\n  'a': rev:1\n",
            "assets:\n\ta: rev:1\n",
            "assets:\n  a: rev:\u{2028}\n",
            "assets:\n  a\u{200b}: rev:1\n",
            "assets:\n- path: a\n",
            "assets:\n- hash: rev:1\n",
            "assets:\n- path: a\n  hash: rev:1\n  priority: high\n",
            "assets:\n- path: a\n   hash: rev:1\n",
            "assets:\n- path: null\n  hash: rev:1\n",
            "assets:\n  null: rev:1\n",
            "assets:\n  : rev:1\n",
            "assets:\n  ? : rev:1\n",
        ] {
            assert_eq!(names(other), Err(ScanStop::NotSimple), "{other:?}");
        }
    }
}
