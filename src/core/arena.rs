//! Texts of targets and hashes in little memory: the beginnings of URLs are kept once, digests as bytes.
//!
//! Does not know what they belong to; the caller keeps the places.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::algorithm::Algorithm;
use super::target::ContentHash;

/// Digests that are packed as bytes: the word before the colon, and the bytes after it.
const ALGORITHMS: [(&str, usize); 6] =
    [("blake3", 32), ("sha256", 32), ("md5", 16), ("sha1", 20), ("sha384", 48), ("sha512", 64)];
/// Stands for a hash that is kept as text.
const OPAQUE: u8 = 255;
/// The longest digest, in bytes.
const MAX_DIGEST: usize = 64;
/// The longest digest as text: its word, a colon, two digits a byte.
const MAX_DIGEST_TEXT: usize = 6 + 1 + 2 * MAX_DIGEST;

/// Place of a record in an [`Arena`].
pub type Offset = u64;

/// Packed texts and hashes, only ever added to.
#[derive(Clone, Debug, Default)]
pub struct Arena {
    bytes: Vec<u8>,
    /// Scheme and authority of URLs, each once; the first one is empty.
    origins: Vec<Box<str>>,
    known: HashMap<Box<str>, usize>,
    /// The origin that was packed last.
    last: usize,
}

/// The text of a target, cut after the authority of its URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackedText<'a> {
    origin: &'a str,
    /// UTF-8, as it was packed.
    rest: &'a [u8],
}

impl Arena {
    /// Packs the text of a target; returns its place.
    pub fn push_text(&mut self, text: &str) -> Offset {
        let (origin, rest) = text.split_at(origin_len(text));
        let origin = self.origin(origin);
        self.push_parts(origin, rest, "")
    }

    /// Packs a text of three parts: an origin by its number, and what follows.
    pub fn push_parts(&mut self, origin: usize, path: &str, rest: &str) -> Offset {
        let at = self.bytes.len() as Offset;
        self.push_number(origin);
        self.push_number(path.len() + rest.len());
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.extend_from_slice(rest.as_bytes());
        at
    }

    /// Number of an origin, for [`Arena::push_parts`].
    pub fn origin(&mut self, origin: &str) -> usize {
        if self.origins.get(self.last).is_some_and(|last| **last == *origin) {
            return self.last;
        }
        let next = self.origins.len();
        self.last = *self.known.entry(origin.into()).or_insert(next);
        if self.last == next {
            self.origins.push(origin.into());
        }
        self.last
    }

    /// Packs a hash in its canonical form, as text or as its digest's bytes; returns its place.
    pub fn push_hash(&mut self, canonical: &str) -> Offset {
        let at = self.bytes.len() as Offset;
        if !self.push_digest_text(canonical) {
            self.bytes.push(OPAQUE);
            self.push_number(canonical.len());
            self.bytes.extend_from_slice(canonical.as_bytes());
        }
        at
    }

    /// Packs a hash if it is a digest in its canonical form; else `false`, and nothing is packed.
    fn push_digest_text(&mut self, canonical: &str) -> bool {
        let Some(number) = algorithm_of(canonical) else { return false };
        let (word, bytes) = ALGORITHMS[number];
        let text = canonical.as_bytes();
        let mut digest = [0; MAX_DIGEST];
        let mut seen = 0;
        for (byte, pair) in digest.iter_mut().zip(text[word.len() + 1..].chunks_exact(2)) {
            let (high, low) = (DIGITS[usize::from(pair[0])], DIGITS[usize::from(pair[1])]);
            seen |= high | low;
            *byte = high << 4 | low & 15;
        }
        if seen & NO_DIGIT == 0 {
            self.bytes.push(u8::try_from(number).unwrap_or(OPAQUE));
            self.bytes.extend_from_slice(&digest[..bytes]);
        }
        seen & NO_DIGIT == 0
    }

    /// Packs the hash of these bytes of a digest; returns its place.
    pub fn push_digest(&mut self, algorithm: Algorithm, digest: &[u8]) -> Offset {
        let known = ALGORITHMS.iter().position(|known| *known == (algorithm.word(), digest.len()));
        let Some(number) = known.and_then(|number| u8::try_from(number).ok()) else {
            return self.push_hash(algorithm.hash(digest).as_str());
        };
        let at = self.bytes.len() as Offset;
        self.bytes.push(number);
        self.bytes.extend_from_slice(digest);
        at
    }

    /// Packs a text as what it has behind the start that it shares with `before`, and its hash, if it has one.
    pub fn push_next(&mut self, before: &str, text: &str, hash: Option<&str>) {
        let shared = shared_chars(before, text);
        self.push_number(shared);
        self.push_number(2 * (text.len() - shared) + usize::from(hash.is_some()));
        self.bytes.extend_from_slice(&text.as_bytes()[shared..]);
        hash.map(|hash| self.push_hash(hash));
    }

    /// Reads what [`Arena::push_next`] has packed at `at`: makes the text before it its text, and the hash its hash. Returns
    /// whether it has a hash, and the place after it.
    pub fn read_next(&self, at: Offset, text: &mut String, hash: &mut String) -> (bool, Offset) {
        let (shared, at) = self.number(at);
        let (length, at) = self.number(at);
        let (length, has_hash) = (length / 2, length % 2 == 1);
        text.truncate(shared);
        text.push_str(std::str::from_utf8(&self.bytes[index(at)..][..length]).unwrap_or_default());
        let at = at + length as Offset;
        hash.clear();
        if !has_hash {
            return (false, at);
        }
        hash.push_str(self.hash_text(at, &mut [0; MAX_DIGEST_TEXT]));
        (true, at + self.packed_hash(at).len() as Offset)
    }

    /// The text at `at`.
    pub fn text(&self, at: Offset) -> PackedText<'_> {
        let (origin, at) = self.number(at);
        let (length, at) = self.number(at);
        PackedText { origin: &self.origins[origin], rest: &self.bytes[index(at)..][..length] }
    }

    /// The place after the text at `at`: its hash stands there if it was packed next.
    pub fn after_text(&self, at: Offset) -> Offset {
        let (_, at) = self.number(at);
        let (length, at) = self.number(at);
        at + length as Offset
    }

    /// The hash at `at`.
    pub fn hash(&self, at: Offset) -> ContentHash {
        let mut text = [0; MAX_DIGEST_TEXT];
        ContentHash::from_canonical(self.hash_text(at, &mut text))
    }

    /// Whether the hash at `at` is this one.
    pub fn is_hash(&self, at: Offset, canonical: &str) -> bool {
        let mut text = [0; MAX_DIGEST_TEXT];
        self.hash_bytes(at, &mut text) == canonical.as_bytes()
    }

    /// Whether two hashes are the same one.
    pub fn same_hash(&self, one: Offset, other: Offset) -> bool {
        self.packed_hash(one) == self.packed_hash(other)
    }

    /// Bytes that are packed.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing is packed.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Gives memory back that was taken in advance.
    pub fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
    }

    fn hash_text<'t>(&'t self, at: Offset, buffer: &'t mut [u8; MAX_DIGEST_TEXT]) -> &'t str {
        std::str::from_utf8(self.hash_bytes(at, buffer)).unwrap_or_default()
    }

    /// The text of a hash as bytes.
    fn hash_bytes<'t>(&'t self, at: Offset, buffer: &'t mut [u8; MAX_DIGEST_TEXT]) -> &'t [u8] {
        let tag = self.byte(at);
        if tag == OPAQUE {
            let (length, at) = self.number(at + 1);
            return &self.bytes[index(at)..][..length];
        }
        let (word, bytes) = ALGORITHMS[usize::from(tag)];
        let digest = &self.bytes[index(at + 1)..][..bytes];
        let length = word.len() + 1 + 2 * bytes;
        buffer[..word.len()].copy_from_slice(word.as_bytes());
        buffer[word.len()] = b':';
        for (pair, byte) in buffer[word.len() + 1..length].chunks_exact_mut(2).zip(digest) {
            pair.copy_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        &buffer[..length]
    }

    fn packed_hash(&self, at: Offset) -> &[u8] {
        let tag = self.byte(at);
        let length = if tag == OPAQUE {
            let (length, after) = self.number(at + 1);
            index(after - at) + length
        } else {
            1 + ALGORITHMS[usize::from(tag)].1
        };
        &self.bytes[index(at)..][..length]
    }

    /// Seven bits a byte, the lowest first.
    fn push_number(&mut self, mut number: usize) {
        while number > 0x7f {
            self.bytes.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.bytes.push(number.to_le_bytes()[0]);
    }

    fn number(&self, mut at: Offset) -> (usize, Offset) {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = self.byte(at);
            at += 1;
            number |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return (number, at);
            }
            shift += 7;
        }
    }

    fn byte(&self, at: Offset) -> u8 {
        self.bytes[index(at)]
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

fn index(at: Offset) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

/// Bytes of scheme and authority; 0 for what is no URL.
pub fn origin_len(text: &str) -> usize {
    let Some(scheme) = text.find("://") else { return 0 };
    let start = scheme + 3;
    text.as_bytes()[start..].iter().position(|byte| matches!(byte, b'/' | b'?')).map_or(text.len(), |end| start + end)
}

/// Bytes of the whole characters that two texts have in common from their start on.
fn shared_chars(one: &str, other: &str) -> usize {
    let shared = one.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count();
    (0..=shared).rev().find(|&end| other.is_char_boundary(end)).unwrap_or(0)
}

/// Whether a hash is a digest in its canonical form.
pub fn is_digest(canonical: &str) -> bool {
    algorithm_of(canonical).is_some_and(|number| {
        let digits = &canonical.as_bytes()[ALGORITHMS[number].0.len() + 1..];
        digits.iter().fold(0, |seen, &digit| seen | DIGITS[usize::from(digit)]) & NO_DIGIT == 0
    })
}

/// Number of the algorithm whose word and length a hash has.
fn algorithm_of(canonical: &str) -> Option<usize> {
    let text = canonical.as_bytes();
    let is_meant = |(word, bytes): &(&str, usize)| {
        text.len() == word.len() + 1 + 2 * bytes && text.starts_with(word.as_bytes()) && text[word.len()] == b':'
    };
    ALGORITHMS.iter().position(is_meant)
}

/// Marks what is no lower-case hex digit in [`DIGITS`].
const NO_DIGIT: u8 = 0x80;

/// Values of hex digits, by their byte.
const DIGITS: [u8; 256] = {
    let mut digits = [NO_DIGIT; 256];
    let mut value = 0_u8;
    while value < 16 {
        digits[HEX[value as usize] as usize] = value;
        value += 1;
    }
    digits
};

impl PackedText<'_> {
    /// How many bytes both begin with.
    pub fn shared_bytes(&self, other: Self) -> usize {
        let shared = |one: &[u8], other: &[u8]| one.iter().zip(other).take_while(|(a, b)| a == b).count();
        let origins = shared(self.origin.as_bytes(), other.origin.as_bytes());
        if self.origin == other.origin { origins + shared(self.rest, other.rest) } else { origins }
    }

    /// The bytes from `start` on, as many as there are, then zeros.
    pub fn bytes_at<const N: usize>(&self, start: usize) -> [u8; N] {
        let mut found = [0; N];
        let from_rest = start.saturating_sub(self.origin.len());
        let origin = self.origin.as_bytes().iter().skip(start);
        let rest = self.rest.get(from_rest..).unwrap_or_default().iter();
        found.iter_mut().zip(origin.chain(rest)).for_each(|(to, byte)| *to = *byte);
        found
    }

    /// Whether it begins with `start`.
    pub fn starts_with(&self, start: &str) -> bool {
        let (origin, rest) = start.as_bytes().split_at(self.origin.len().min(start.len()));
        self.origin.as_bytes().starts_with(origin) && self.rest.starts_with(rest)
    }

    /// Compares with a text, byte by byte.
    pub fn cmp_str(&self, text: &str) -> Ordering {
        let (start, rest) = text.as_bytes().split_at(self.origin.len().min(text.len()));
        self.origin.as_bytes().cmp(start).then_with(|| self.rest.cmp(rest))
    }
}

impl PartialOrd for PackedText<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PackedText<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        // Of one table, equal origins are one.
        if std::ptr::eq(self.origin, other.origin) || self.origin == other.origin {
            return self.rest.cmp(other.rest);
        }
        self.origin.bytes().chain(self.rest.iter().copied()).cmp(other.origin.bytes().chain(other.rest.iter().copied()))
    }
}

impl std::fmt::Display for PackedText<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.origin, std::str::from_utf8(self.rest).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_hashes_come_back_as_they_were() {
        let mut arena = Arena::default();
        let texts =
            ["https://a.cn/x", "https://a.cn", "https://a.cn?q", "http://b.cn:81/\u{4e2d}/?a=b", "f488", "", "a://"];
        let hashes = [
            "md5:0cc175b9c0f1b6a831c399e269772661".to_owned(),
            format!("sha512:{}", "ab".repeat(64)),
            format!("sha512:{}", "AB".repeat(64)),
            "sha256:00".into(),
            "etag:\"x\u{e9}\"".into(),
            "rev:".into(),
        ];
        let places: Vec<(Offset, Offset)> = texts
            .iter()
            .flat_map(|text| {
                hashes.iter().map(|hash| (arena.push_text(text), arena.push_hash(hash))).collect::<Vec<_>>()
            })
            .collect();
        for (index, (text, hash)) in places.iter().enumerate() {
            assert_eq!(arena.text(*text).to_string(), texts[index / hashes.len()]);
            assert_eq!(arena.after_text(*text), *hash);
            assert_eq!(arena.hash(*hash).as_str(), hashes[index % hashes.len()]);
            for (other, known) in hashes.iter().enumerate() {
                assert_eq!(arena.is_hash(*hash, known), other == index % hashes.len());
                assert_eq!(arena.same_hash(*hash, places[other].1), other == index % hashes.len());
            }
        }
        let digest = arena.push_hash(&format!("blake3:{}", "0f".repeat(32)));
        assert_eq!(arena.len() as u64 - digest, 33, "a digest is kept as bytes");
        for algorithm in Algorithm::ALL {
            let bytes = &[0xf1; 64][..algorithm.digest_bytes()];
            let (packed, written) = (arena.push_digest(algorithm, bytes), algorithm.hash(bytes));
            let text = arena.push_hash(written.as_str());
            assert!(arena.same_hash(packed, text) && arena.hash(packed) == written, "{algorithm:?}");
        }
    }

    proptest::proptest! {
        // U1: characters of several bytes may differ in the last one only.
        #[test]
        fn texts_packed_one_after_the_other_come_back(
            rows in proptest::collection::vec(("(https://a\\.cn/)?[a-cé你佟]{0,6}", proptest::option::of("(rev|md5|sha256):[0-9a-f]{32}")), 0..9)
        ) {
            let (mut arena, mut before) = (Arena::default(), "");
            for (text, hash) in &rows {
                arena.push_next(before, text, hash.as_deref());
                before = text;
            }
            let (mut at, mut text, mut hash) = (0, String::new(), String::new());
            for row in &rows {
                let (has_hash, after) = arena.read_next(at, &mut text, &mut hash);
                proptest::prop_assert_eq!((&text, has_hash.then_some(&hash)), (&row.0, row.1.as_ref()));
                at = after;
            }
            proptest::prop_assert_eq!(at, arena.len() as Offset);
        }
    }

    proptest::proptest! {
        #[test]
        fn packed_texts_are_in_the_order_of_their_bytes(a in "(https?://[a-c.]{1,3})?[/?a-c]{0,6}", b in "(https?://[a-c.]{1,3})?[/?a-c]{0,6}") {
            let mut arena = Arena::default();
            let (first, second) = (arena.push_text(&a), arena.push_text(&b));
            proptest::prop_assert_eq!(arena.text(first).cmp(&arena.text(second)), a.as_bytes().cmp(b.as_bytes()));
            proptest::prop_assert_eq!(arena.text(first).cmp_str(&b), a.as_bytes().cmp(b.as_bytes()));
            let shared = arena.text(first).shared_bytes(arena.text(second));
            proptest::prop_assert!(a.as_bytes()[..shared] == b.as_bytes()[..shared]);
            for start in 0..=a.len() {
                let padded = [&a.as_bytes()[start..], &[0; 4]].concat();
                proptest::prop_assert_eq!(&arena.text(first).bytes_at::<4>(start)[..], &padded[..4]);
            }
        }
    }
}
