//! Checksum lists as `sha256sum`, `b3sum`, `md5sum` and their kin write them: bytes in, in pieces of any size, a call
//! for each line out.
//!
//! Does not read files and keeps nothing but an unfinished line; what collects the names finds those listed twice. What is
//! wrong with a line is reported without its text: the file may be no list at all, but one that holds secrets.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter, memrchr};

use crate::core::algorithm::Algorithm;

/// Longest line, in bytes.
const MAX_LINE_BYTES: usize = 64 * 1024;
const FORMS: &str =
    "a line is a checksum in hex digits, two blanks (or ` *`) and a name, or `SHA256 (name) = checksum`";

/// A file of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed<'l> {
    /// Its path, relative, with `/`; no control characters, no `.`, `..` or empty parts.
    pub path: &'l str,
    /// What the digest was made with.
    pub algorithm: Algorithm,
    /// The digest; its length is the algorithm's.
    pub digest: &'l [u8],
    /// Line, from 1.
    pub line: u64,
}

/// What is wrong with a line, or with the list as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChecksumProblem {
    /// Line, from 1.
    pub line: u64,
    /// What was found; nothing of the line's text.
    pub message: String,
    /// What to do.
    pub help: String,
}

impl ChecksumProblem {
    /// A name that is listed again, with the same digest or another one.
    pub fn repeated(first_line: u64, line: u64, is_same: bool) -> Self {
        let digests = if is_same { "the same checksum" } else { "another checksum" };
        let message = format!("the name of line {first_line} is listed again with {digests}");
        Self::new(line, message, "list each file once: write the list anew rather than adding to it")
    }

    fn new(line: u64, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { line, message: message.into(), help: help.into() }
    }
}

/// The algorithm that the name of a list gives: BLAKE3 for `*.b3` and for names with the word `B3SUMS`, in any case, and with `.txt` or
/// `.asc` behind them; otherwise none.
pub fn algorithm_of_list(file_name: &str) -> Option<Algorithm> {
    let lower = file_name.to_ascii_lowercase();
    let mut name = lower.as_str();
    while let Some(stem) = name.strip_suffix(".asc").or_else(|| name.strip_suffix(".txt")) {
        name = stem;
    }
    let has_extension = name.strip_suffix(".b3").is_some_and(|stem| !stem.is_empty());
    let has_word = name.split(|c: char| !c.is_alphanumeric()).any(|word| matches!(word, "b3sum" | "b3sums"));
    (has_extension || has_word).then_some(Algorithm::Blake3)
}

/// Reads a list.
///
/// * A line is `<hex>  name` or `<hex> *name`, or `SHA256 (name) = <hex>` with the algorithm's name in front. Lines may
///   end in CR LF; lines with nothing in them are skipped.
/// * Lines that begin with `#` are comments; a byte order mark may begin the list. Between the lines of a message that PGP
///   has signed in clear stands the list; the signature is not checked.
/// * The algorithm is the one declared; else, in the form that names it, that one; else it follows from the number of
///   digits, where 64 mean SHA-256: a list of `b3sum` has to be declared, or be called as [`algorithm_of_list`] knows.
/// * In a line that begins with `\`, `\\`, `\n` and `\r` in the name are a backslash, a line feed and a carriage return.
/// * `./` at the beginning of a name, as `find` writes it, is dropped; nothing else of a name is changed.
#[derive(Debug, Default)]
pub struct ChecksumReader {
    declared: Declared,
    /// The beginning of a line whose end is not here yet.
    unfinished: Vec<u8>,
    /// Whether that line is too long, which is reported already.
    is_overlong: bool,
    lines: u64,
    is_empty: bool,
    digest: Digest,
    armour: Armour,
    /// There is a NUL byte, which is reported already.
    has_nul: bool,
}

/// The algorithm of a list, where its lines do not name it, and what says so.
type Declared = Option<(Algorithm, DeclaredBy)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DeclaredBy {
    /// `algorithm` of the source.
    Manifest,
    /// The name of the list.
    Name,
}

/// Where a line stands in a message that is signed in clear.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Armour {
    /// In none so far.
    #[default]
    Without,
    /// In what stands between its first line and the first empty one.
    Headers,
    /// In the list.
    Text,
    /// In the signature.
    Signature,
    /// Behind all of it.
    Ended,
}

const BEGIN_MESSAGE: &[u8] = b"-----BEGIN PGP SIGNED MESSAGE-----";
const BEGIN_SIGNATURE: &[u8] = b"-----BEGIN PGP SIGNATURE-----";
const END_SIGNATURE: &[u8] = b"-----END PGP SIGNATURE-----";
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[derive(Debug)]
struct Digest([u8; Algorithm::MOST_DIGEST_BYTES]);

impl Default for Digest {
    fn default() -> Self {
        Self([0; Algorithm::MOST_DIGEST_BYTES])
    }
}

impl ChecksumReader {
    /// A list whose algorithm is this, if it is known beforehand.
    pub fn new(declared: Option<Algorithm>) -> Self {
        let declared = declared.map(|algorithm| (algorithm, DeclaredBy::Manifest));
        Self { declared, is_empty: true, ..Self::default() }
    }

    /// As [`ChecksumReader::new`], for a list of this name, which counts where nothing else is declared.
    pub fn of_list(file_name: &str, declared: Option<Algorithm>) -> Self {
        let new = Self::new(declared);
        let by_name = || Some((algorithm_of_list(file_name)?, DeclaredBy::Name));
        Self { declared: new.declared.or_else(by_name), ..new }
    }

    /// Takes the next bytes. `each` gets every line that ends in them, or what is wrong with it.
    pub fn feed(&mut self, bytes: &[u8], each: &mut impl FnMut(Result<Listed<'_>, ChecksumProblem>)) {
        if self.has_nul {
            return;
        }
        let nul = memchr(0, bytes);
        self.feed_lines(&bytes[..nul.unwrap_or(bytes.len())], each);
        if nul.is_some() {
            self.has_nul = true;
            if !self.is_overlong {
                let help = "write the list without `-z` (`--zero`), and in UTF-8";
                let message =
                    "a NUL byte: lists that were written with `-z` have it at the end of lines, UTF-16 anywhere";
                each(Err(ChecksumProblem::new(self.lines + 1, message, help)));
            }
        }
    }

    fn feed_lines(&mut self, bytes: &[u8], each: &mut impl FnMut(Result<Listed<'_>, ChecksumProblem>)) {
        let mut start = 0;
        for end in memchr_iter(b'\n', bytes) {
            if start == 0 && (self.is_overlong || !self.unfinished.is_empty()) {
                self.keep(&bytes[..end], each);
                self.finish_line(each);
            } else {
                self.line(&bytes[start..end], each);
            }
            start = end + 1;
        }
        self.keep(&bytes[start..], each);
    }

    /// Ends the list.
    pub fn finish(mut self, each: &mut impl FnMut(Result<Listed<'_>, ChecksumProblem>)) {
        if self.has_nul {
            return;
        }
        // Nothing can be missing behind this line.
        if self.armour == Armour::Signature && self.unfinished.trim_ascii_end() == END_SIGNATURE {
            self.finish_line(each);
        }
        if self.lines == 0 && self.unfinished == BYTE_ORDER_MARK {
            self.unfinished.clear();
        }
        if self.is_overlong || !self.unfinished.is_empty() {
            let message = "the last line does not end in a line feed: the list may have been cut off";
            let help = "write it again; if it is whole, put a line feed at its end";
            each(Err(ChecksumProblem::new(self.lines + 1, message, help)));
        } else if matches!(self.armour, Armour::Headers | Armour::Text | Armour::Signature) {
            let message = "the PGP signature has no end: the list may have been cut off";
            each(Err(ChecksumProblem::new(self.lines + 1, message, "write it again")));
        } else if self.is_empty {
            let help = "write it again; an empty list is taken for a mistake, never for a removal of everything";
            each(Err(ChecksumProblem::new(1, "the list is empty", help)));
        }
    }

    /// Keeps the beginning of a line.
    fn keep(&mut self, bytes: &[u8], each: &mut impl FnMut(Result<Listed<'_>, ChecksumProblem>)) {
        if self.is_overlong || bytes.is_empty() {
            return;
        }
        if self.unfinished.len() + bytes.len() > MAX_LINE_BYTES {
            self.is_overlong = true;
            self.unfinished = Vec::new();
            return each(Err(overlong(self.lines + 1)));
        }
        self.unfinished.extend_from_slice(bytes);
    }

    fn finish_line(&mut self, each: &mut impl FnMut(Result<Listed<'_>, ChecksumProblem>)) {
        if std::mem::take(&mut self.is_overlong) {
            self.is_empty = false;
            self.lines += 1;
            return;
        }
        let mut line = std::mem::take(&mut self.unfinished);
        self.line(&line, each);
        line.clear();
        self.unfinished = line;
    }

    fn line(&mut self, line: &[u8], each: &mut impl FnMut(Result<Listed<'_>, ChecksumProblem>)) {
        self.lines += 1;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = if self.lines == 1 { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line) } else { line };
        if line.len() > MAX_LINE_BYTES {
            self.is_empty = false;
            return each(Err(overlong(self.lines)));
        }
        let line = match self.content(line) {
            Ok(Some(line)) => Ok(line),
            Ok(None) => return,
            Err(wrong) => Err(wrong),
        };
        self.is_empty = false;
        match line.and_then(|line| read(line, self.declared, &mut self.digest)) {
            Ok((path, algorithm)) => {
                let digest = &self.digest.0[..algorithm.digest_bytes()];
                each(Ok(Listed { path: &path, algorithm, digest, line: self.lines }));
            }
            Err(Wrong(message, help)) => each(Err(ChecksumProblem::new(self.lines, message, help))),
        }
    }
}

impl ChecksumReader {
    /// What a line says of a file; nothing if it is empty, a comment, or part of what a signature adds.
    fn content<'l>(&mut self, line: &'l [u8]) -> Result<Option<&'l [u8]>, Wrong> {
        if line.starts_with(BYTE_ORDER_MARK) {
            let help = "write one list; PowerShell puts a mark before each that it writes";
            return Err(wrong("a byte order mark (U+FEFF) within the list: several were put together", help));
        }
        let bare = line.trim_ascii_end();
        let next = match (self.armour, bare) {
            (Armour::Without, BEGIN_MESSAGE) if self.is_empty => Armour::Headers,
            (Armour::Headers, b"") => Armour::Text,
            (Armour::Headers, header) if header.windows(2).any(|pair| pair == b": ") => Armour::Headers,
            (Armour::Headers, _) => return Err(wrong("no header of a signed message", "write the list again")),
            (Armour::Signature, END_SIGNATURE) => Armour::Ended,
            (Armour::Text, BEGIN_SIGNATURE) | (Armour::Signature, _) => Armour::Signature,
            (Armour::Ended, other) if !(other.is_empty() || other.starts_with(b"#")) => {
                return Err(wrong("a line behind the PGP signature", "sign the list as a whole"));
            }
            _ if line.is_empty() || line.starts_with(b"#") => return Ok(None),
            (Armour::Text, _) => return Ok(Some(line.strip_prefix(b"- ").unwrap_or(line))),
            _ => return Ok(Some(line)),
        };
        self.armour = next;
        Ok(None)
    }
}

fn overlong(line: u64) -> ChecksumProblem {
    ChecksumProblem::new(line, format!("a line of more than {MAX_LINE_BYTES} bytes"), FORMS)
}

/// What is wrong with a line, and what to do.
struct Wrong(String, Cow<'static, str>);

fn wrong(message: impl Into<String>, help: impl Into<Cow<'static, str>>) -> Wrong {
    Wrong(message.into(), help.into())
}

/// Path and algorithm of a line; its digest goes to `digest`.
fn read<'l>(line: &'l [u8], declared: Declared, digest: &mut Digest) -> Result<(Cow<'l, str>, Algorithm), Wrong> {
    let body = line.strip_prefix(b"\\").unwrap_or(line);
    let is_escaped = body.len() < line.len();
    let Some(blank) = memchr(b' ', body) else { return Err(no_line(body)) };
    let (first, rest) = (&body[..blank], &body[blank + 1..]);
    let (algorithm, digits, name) = match rest.split_first() {
        Some((b' ' | b'*', name)) => (algorithm_of_digits(first, declared)?, first, name),
        Some((b'(', rest)) => tagged(first, rest, declared)?,
        _ => return Err(no_line(body)),
    };
    decode(digits, algorithm, digest)?;
    let name = std::str::from_utf8(name)
        .map_err(|_| wrong("a name that is not UTF-8", "rename the file, and write the list again"))?;
    if !is_escaped && memchr(b'\\', name.as_bytes()).is_some() {
        return Err(backslash(name));
    }
    let name = if is_escaped { Cow::Owned(unescaped(name)?) } else { Cow::Borrowed(name) };
    checked(name).map(|name| (name, algorithm))
}

/// `sha256sum`, `b3sum` and `md5sum` begin a line with a backslash where there is any in its name.
fn backslash(name: &str) -> Wrong {
    if name.len() > 1 && name.starts_with('"') && name.ends_with('"') {
        let help = "write the list with sha256sum, b3sum or md5sum, or with `git -c core.quotePath=off`";
        return wrong("a name in quotes with escapes, as `git ls-tree` writes it and no checksum tool does", help);
    }
    let help = "write it again; where names hold backslashes, the line begins with `\\` and has `\\\\` for each";
    wrong("a backslash in the name of a line that does not begin with one: no checksum tool writes that", help)
}

fn no_line(line: &[u8]) -> Wrong {
    if is_of_git(line) {
        let help = "write the list with sha256sum, b3sum or md5sum: git's ids are no checksums of the content alone";
        return wrong("a line as `git ls-tree` and `git ls-files -s` write it", help);
    }
    wrong("no line of a checksum list", FORMS)
}

/// Whether a line begins with the mode of a file in six octal digits, and has a tab before its name.
fn is_of_git(line: &[u8]) -> bool {
    let is_mode = |mode: &[u8]| mode.iter().all(|byte| (b'0'..=b'7').contains(byte));
    line.split_at_checked(6)
        .is_some_and(|(mode, rest)| is_mode(mode) && rest.starts_with(b" ") && rest.contains(&b'\t'))
}

fn algorithm_of_digits(digits: &[u8], declared: Declared) -> Result<Algorithm, Wrong> {
    if let Some((declared, _)) = declared {
        return Ok(declared);
    }
    Ok(match digits.len() {
        32 => Algorithm::Md5,
        40 => Algorithm::Sha1,
        64 => Algorithm::Sha256,
        96 => Algorithm::Sha384,
        128 => Algorithm::Sha512,
        count => {
            check_digits(digits)?;
            return Err(wrong(
                format!("a checksum of {count} hex digits"),
                "digests of MD5 have 32, of SHA-1 40, of SHA-256 and BLAKE3 64, of SHA-384 96, of SHA-512 128; \
                 write the list with one of them; this one may have been cut",
            ));
        }
    })
}

/// The form that names the algorithm, from behind its first parenthesis on.
fn tagged<'l>(tag: &[u8], rest: &'l [u8], declared: Declared) -> Result<(Algorithm, &'l [u8], &'l [u8]), Wrong> {
    let tag = String::from_utf8_lossy(tag);
    let known = Algorithm::ALL.into_iter().find(|algorithm| tag.eq_ignore_ascii_case(algorithm.word()));
    let Some(algorithm) = known else {
        let help = "write the list with BLAKE3, SHA256, SHA1, SHA384, SHA512 or MD5";
        return Err(wrong("an algorithm that is not known", help));
    };
    if let Some((declared, by)) = declared.filter(|(declared, _)| *declared != algorithm) {
        let (found, declared) = (algorithm.word(), declared.word());
        if by == DeclaredBy::Name {
            let help = format!("rename the list, or give `algorithm: {found}` in the manifest");
            return Err(wrong(format!("a checksum of {found}, but the name of the list stands for {declared}"), help));
        }
        let message = format!("a checksum of {found}, but `algorithm` declares the list as {declared}");
        return Err(wrong(message, "correct one of the two"));
    }
    // A name may hold what follows names; digits cannot.
    let end = memrchr(b')', rest).filter(|end| rest[*end..].starts_with(b") = "));
    let Some(end) = end else { return Err(wrong("no `) = ` behind the name", FORMS)) };
    Ok((algorithm, &rest[end + 4..], &rest[..end]))
}

const NO_DIGIT: u8 = 0xff;
/// The value of each byte as a hex digit.
const DIGITS: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789abcdef"[value as usize] as usize] = value;
        values[b"0123456789ABCDEF"[value as usize] as usize] = value;
        value += 1;
    }
    values
};

fn decode(digits: &[u8], algorithm: Algorithm, digest: &mut Digest) -> Result<(), Wrong> {
    let expected = 2 * algorithm.digest_bytes();
    if digits.len() != expected {
        check_digits(digits)?;
        let message = format!("{} has {expected} hex digits, found {}", algorithm.word(), digits.len());
        return Err(wrong(message, "write the list again, this line may have been cut; or declare another algorithm"));
    }
    let mut seen = 0;
    for (pair, byte) in digits.as_chunks::<2>().0.iter().zip(&mut digest.0) {
        let [high, low] = pair.map(|digit| DIGITS[usize::from(digit)]);
        seen |= high | low;
        *byte = high << 4 | low & 15;
    }
    if seen > 15 { check_digits(digits) } else { Ok(()) }
}

fn check_digits(digits: &[u8]) -> Result<(), Wrong> {
    if digits.iter().all(u8::is_ascii_hexdigit) {
        Ok(())
    } else {
        Err(wrong("a checksum with other than hex digits", FORMS))
    }
}

fn unescaped(name: &str) -> Result<String, Wrong> {
    let mut out = String::with_capacity(name.len());
    let mut chars = name.chars();
    while let Some(char) = chars.next() {
        out.push(match char {
            '\\' => match chars.next() {
                Some('\\') => '\\',
                Some('n') => '\n',
                Some('r') => '\r',
                _ => {
                    let help =
                        "only `\\\\`, `\\n` and `\\r` stand in a line that begins with `\\`; write the list again";
                    return Err(wrong("an unknown escape in a name", help));
                }
            },
            other => other,
        });
    }
    Ok(out)
}

/// The name without `./` at its beginning, if it is a path below the list's folder.
fn checked(name: Cow<'_, str>) -> Result<Cow<'_, str>, Wrong> {
    if is_plain(name.as_bytes()) {
        return Ok(name);
    }
    let mut bare = name.as_ref();
    while let Some(rest) = bare.strip_prefix("./") {
        bare = rest;
    }
    check_parts(bare)?;
    let dropped = name.len() - bare.len();
    Ok(match name {
        Cow::Borrowed(name) => Cow::Borrowed(&name[dropped..]),
        Cow::Owned(name) => Cow::Owned(name[dropped..].to_owned()),
    })
}

/// Whether a name needs no closer look: visible ASCII, no part that is empty or begins with a dot.
fn is_plain(name: &[u8]) -> bool {
    let (mut is_odd, mut before) = (false, b'/');
    for &byte in name {
        is_odd |= !(0x20..0x7f).contains(&byte) || (before == b'/' && matches!(byte, b'/' | b'.'));
        before = byte;
    }
    !is_odd && before != b'/' && name != b"-"
}

fn check_parts(name: &str) -> Result<(), Wrong> {
    let anew = "write the list in the folder that is published, with paths of files below it";
    if name.chars().any(char::is_control) {
        return Err(wrong("a control character in a name", "rename the file, and write the list again"));
    }
    match name {
        "" => return Err(wrong("a name that is empty", anew)),
        "-" => return Err(wrong("`-`, which stands for standard input, as a name", anew)),
        _ if name.starts_with('/') => return Err(wrong("an absolute path", anew)),
        _ => {}
    }
    match name.split('/').find(|part| matches!(*part, "" | "." | "..")) {
        Some("") => Err(wrong("an empty part in a path", anew)),
        Some(part) => Err(wrong(format!("`{part}` in a path"), anew)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MD5: &str = "0cc175b9c0f1b6a831c399e269772661";

    fn sha256() -> String {
        "0123456789abcdef".repeat(4)
    }

    /// Every line as `line path algorithm` or `line message`.
    fn lines_in(bytes: &[u8], piece: usize, declared: Option<Algorithm>) -> Vec<String> {
        let mut found = Vec::new();
        let mut each = |line: Result<Listed<'_>, ChecksumProblem>| {
            found.push(match line {
                Ok(listed) => {
                    let hash = listed.algorithm.hash(listed.digest);
                    format!("{} {} {}", listed.line, listed.path, &hash.as_str()[..8])
                }
                Err(problem) => format!("{}: {}", problem.line, problem.message),
            });
        };
        let mut reader = ChecksumReader::new(declared);
        for piece in bytes.chunks(piece) {
            reader.feed(piece, &mut each);
        }
        reader.finish(&mut each);
        found
    }

    fn lines(text: &str) -> Vec<String> {
        lines_in(text.as_bytes(), 1 << 20, None)
    }

    #[test]
    fn all_usual_forms_are_read() {
        let sha256 = sha256();
        let text = format!(
            "{MD5}  a\n{MD5} *b c\n\n{sha256}  ./x/y\r\n{}  *z\nMD5 (d) = {MD5}\nSHA256 (a) = b) = {sha256}\n\
             \\{MD5}  e\\\\f\n\\MD5 (g\\\\h) = {MD5}\n{}  ././你/.h\n{MD5}   i",
            sha256.to_uppercase(),
            "ab".repeat(64),
        );
        let expected = [
            "1 a md5:0cc1",
            "2 b c md5:0cc1",
            "4 x/y sha256:0",
            "5 *z sha256:0",
            "6 d md5:0cc1",
            "7 a) = b sha256:0",
            "8 e\\f md5:0cc1",
            "9 g\\h md5:0cc1",
            "10 你/.h sha512:a",
        ];
        let found = lines(&format!("{text}\n"));
        assert_eq!(found[..9], expected);
        assert_eq!(found[9], "11  i md5:0cc1");
        // Wherever the bytes are cut.
        for piece in [1, 2, 3, 7, 64] {
            assert_eq!(lines_in(format!("{text}\n").as_bytes(), piece, None), found, "{piece}");
        }
    }

    #[test]
    fn the_algorithm_is_declared_or_named_or_follows_from_the_length() {
        assert_eq!(algorithm_of_list("site.b3"), Some(Algorithm::Blake3));
        for name in
            ["B3SUMS", "B3SUMS.asc", "B3SUMS.txt", "b3sums", "x.b3.asc", "x.B3.txt.asc", "app-1.2-b3sums", "app.b3sum"]
        {
            assert_eq!(algorithm_of_list(name), Some(Algorithm::Blake3), "{name}");
        }
        for name in ["SHA256SUMS", ".b3", ".b3.asc", "list", "b3", "x.b3.zip", "xb3sums", ""] {
            assert_eq!(algorithm_of_list(name), None, "{name}");
        }
        let list = format!("{}  a\n", sha256());
        assert_eq!(lines_in(list.as_bytes(), 99, Some(Algorithm::Blake3)), ["1 a blake3:0"]);
        let message = "1: sha1 has 40 hex digits, found 64";
        assert_eq!(lines_in(list.as_bytes(), 99, Some(Algorithm::Sha1)), [message]);
        let tagged = format!("BLAKE3 (a) = {0}\nSHA256 (b) = {0}\n", sha256());
        let declared = lines_in(tagged.as_bytes(), 99, Some(Algorithm::Blake3));
        assert_eq!(declared, ["1 a blake3:0", "2: a checksum of sha256, but `algorithm` declares the list as blake3"]);
        let mut found = Vec::new();
        ChecksumReader::of_list("x.b3", None).feed(tagged.as_bytes(), &mut |line: Result<
            Listed<'_>,
            ChecksumProblem,
        >| {
            found.extend(line.err().map(|problem| format!("{}; {}", problem.message, problem.help)));
        });
        let by_name = "a checksum of sha256, but the name of the list stands for blake3";
        assert_eq!(found, [format!("{by_name}; rename the list, or give `algorithm: sha256` in the manifest")]);
    }

    // D3, and what a list must not smuggle in
    #[test]
    fn bad_lines_are_told_with_number_and_finding_and_the_others_are_read() {
        let bad = |line: &str, message: &str| {
            let found = lines(&format!("{MD5}  a\n{line}\n{MD5}  z\n"));
            assert_eq!(found, ["1 a md5:0cc1", &format!("2: {message}"), "3 z md5:0cc1"], "{line}");
        };
        bad(&format!("{MD5}  /etc/passwd"), "an absolute path");
        bad(&format!("{MD5}  a/../b"), "`..` in a path");
        bad(&format!("{MD5}  ./../b"), "`..` in a path");
        bad(&format!("{MD5}  a/./b"), "`.` in a path");
        bad(&format!("{MD5}  a//b"), "an empty part in a path");
        bad(&format!("{MD5}  a/"), "an empty part in a path");
        bad(&format!("{MD5}  "), "a name that is empty");
        bad(&format!("{MD5}  ./"), "a name that is empty");
        bad(&format!("{MD5}  -"), "`-`, which stands for standard input, as a name");
        bad(&format!("\\{MD5}  a\\nb"), "a control character in a name");
        bad(&format!("\\{MD5}  a\\tb"), "an unknown escape in a name");
        bad(&format!("\\{MD5}  a\\"), "an unknown escape in a name");
        bad(&format!("{MD5}  a\u{85}"), "a control character in a name");
        bad(&format!("{MD5} a"), "no line of a checksum list");
        let backslash = "a backslash in the name of a line that does not begin with one: no checksum tool writes that";
        bad(&format!("{MD5}  a\\b"), backslash);
        bad(&format!("{MD5} *a\\nb"), backslash);
        bad(&format!("MD5 (a\\b) = {MD5}"), backslash);
        let quoted = "a name in quotes with escapes, as `git ls-tree` writes it and no checksum tool does";
        bad(&format!("{MD5}  \"na\\303\\257ve\""), quoted);
        let git = "a line as `git ls-tree` and `git ls-files -s` write it";
        bad(&format!("100644 blob {MD5}\tapp.zip"), git);
        bad(&format!("120000 blob {MD5}      12\t\"app\\303\\244.zip\""), git);
        bad(&format!("100755 {MD5} 0\tapp.zip"), git);
        bad("100644 blob", "no line of a checksum list");
        bad("-----BEGIN PGP SIGNED MESSAGE-----", "no line of a checksum list");
        bad("-----BEGIN PGP SIGNATURE-----", "no line of a checksum list");
        bad("nothing", "no line of a checksum list");
        bad(&format!("{}  a", MD5.replace('9', "g")), "a checksum with other than hex digits");
        bad(&format!("{}  a", &MD5[..30]), "a checksum of 30 hex digits");
        bad(&format!("SHA224 (a) = {MD5}"), "an algorithm that is not known");
        bad(&format!("MD5 (a) {MD5}"), "no `) = ` behind the name");
        bad("MD5 (a) = 0cc1", "md5 has 32 hex digits, found 4");
        bad(&format!("{MD5}  {}", "x".repeat(70_000)), "a line of more than 65536 bytes");
        // Also where it comes in pieces.
        let long = format!("{MD5}  {}\n{MD5}  z\n", "x".repeat(70_000));
        let expected = ["1: a line of more than 65536 bytes", "2 z md5:0cc1"];
        assert_eq!(lines_in(long.as_bytes(), 1000, None), expected);
        let found = lines_in(&[MD5.as_bytes(), b"  \xff\n"].concat(), 5, None);
        assert_eq!(found, ["1: a name that is not UTF-8"]);
    }

    #[test]
    fn comments_marks_and_signatures_are_taken() {
        let line = format!("{MD5}  a\n");
        for list in [
            format!("# one: 2 bytes\n#\n{line}#{line}"),
            format!("\u{feff}{line}"),
            format!("\u{feff}# x\r\n{}", line.replace('\n', "\r\n")),
            format!("{BEGIN}Hash: SHA512\n\n{line}{SIGNATURE}"),
            format!("# x\n\n{BEGIN}\n# y\n- {line}{SIGNATURE}\n# z\n"),
            format!("{BEGIN}Hash: SHA512\n\n{line}{SIGNATURE}").replace('\n', "\r\n"),
            format!("{BEGIN}Hash: SHA512\n\n{line}{}", SIGNATURE.trim_end()),
        ] {
            for piece in [1, 3, 1 << 20] {
                let found = lines_in(list.as_bytes(), piece, None);
                assert!(found.len() == 1 && found[0].ends_with(" a md5:0cc1"), "{list:?}: {found:?}");
            }
        }
        let mark = "a byte order mark (U+FEFF) within the list: several were put together";
        assert_eq!(
            lines(&format!("{line}\u{feff}{line}{line}")),
            ["1 a md5:0cc1", &format!("2: {mark}"), "3 a md5:0cc1"]
        );
        assert_eq!(lines(&format!("\u{feff}\u{feff}{line}")), [format!("1: {mark}")]);
    }

    const BEGIN: &str = "-----BEGIN PGP SIGNED MESSAGE-----\n";
    const SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----\n\nabc\n=x\n-----END PGP SIGNATURE-----\n";

    #[test]
    fn what_a_signature_leaves_out_is_an_error() {
        let line = format!("{MD5}  a\n");
        let cut = "the PGP signature has no end: the list may have been cut off";
        assert_eq!(lines(&format!("{BEGIN}\n{line}")), ["3 a md5:0cc1", &format!("4: {cut}")]);
        assert_eq!(lines(&format!("{BEGIN}\n{line}-----BEGIN PGP SIGNATURE-----\n"))[1], format!("5: {cut}"));
        let after = lines(&format!("{BEGIN}\n{line}{SIGNATURE}{line}"));
        assert_eq!(after[1], "9: a line behind the PGP signature");
        assert_eq!(lines(&format!("{line}{BEGIN}\n"))[1], "2: no line of a checksum list");
        assert_eq!(lines(&format!("{BEGIN}\n{SIGNATURE}")), ["1: the list is empty"]);
        assert_eq!(lines("# nothing\n"), ["1: the list is empty"]);
        assert_eq!(lines(&format!("{BEGIN}{line}"))[0], "2: no header of a signed message");
    }

    #[test]
    fn a_list_with_nul_bytes_is_named_as_such_once() {
        let nul = "a NUL byte: lists that were written with `-z` have it at the end of lines, UTF-16 anywhere";
        let utf16: Vec<u8> = format!("\u{feff}{MD5}  a\n").encode_utf16().flat_map(u16::to_le_bytes).collect();
        for piece in [1, 7, 1 << 20] {
            let zero = lines_in(format!("{MD5}  a\0{MD5}  b\0").as_bytes(), piece, None);
            assert_eq!(zero, [format!("1: {nul}")]);
            assert_eq!(lines_in(&utf16, piece, None), [format!("1: {nul}")]);
            let later = lines_in(format!("{MD5}  a\n{MD5}  b\0\nx\n").as_bytes(), piece, None);
            assert_eq!(later, ["1 a md5:0cc1".to_owned(), format!("2: {nul}")]);
        }
    }

    // D4
    #[test]
    fn a_list_that_is_cut_off_or_empty_is_an_error() {
        let cut = "2: the last line does not end in a line feed: the list may have been cut off";
        assert_eq!(lines(&format!("{MD5}  a\n{MD5}  b")), ["1 a md5:0cc1", cut]);
        assert_eq!(lines(""), ["1: the list is empty"]);
        assert_eq!(lines("\u{feff}"), ["1: the list is empty"]);
        assert_eq!(lines("\n\r\n"), ["1: the list is empty"]);
    }

    #[test]
    fn names_that_are_listed_twice_have_a_problem_of_their_own() {
        let problem = ChecksumProblem::repeated(1, 7, false);
        assert_eq!(problem.message, "the name of line 1 is listed again with another checksum");
        assert_eq!(problem.line, 7);
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_a_path_below_the_folder(name in "[a./\\\\* \\-~é\\r]{0,9}", piece in 1..50_usize) {
            let list = format!("{MD5}  {name}\n\\{MD5} *{}\n", name.replace('\\', "\\\\").replace('\r', "\\r"));
            let found = lines_in(list.as_bytes(), piece, None);
            for line in found.iter().filter(|line| !line.contains(": ")) {
                let path = line.split_once(' ').unwrap().1.strip_suffix(" md5:0cc1").unwrap();
                prop_assert!(path.split('/').all(|part| !matches!(part, "" | "." | "..")), "{path}");
                prop_assert!(name.ends_with(path) || name.strip_suffix('\r').is_some_and(|name| name.ends_with(path)));
            }
        }
    }
}
