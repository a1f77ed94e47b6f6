//! What spares reading files that were not written to since: their stamps and digests, as a value and as bytes.
//!
//! Does not know where the bytes are kept. Whatever is wrong with them, the result is an empty cache: files are read.

use super::file_stamp::FileStamp;
use super::table::{FileTable, Row};
use crate::core::time::Timestamp;
use crate::manifest::Normalizer;

/// Begins the bytes; ends in the version of the form, which goes up with every change of it.
const MAGIC: &[u8; 16] = b"freshen stats  1";
const DIGEST_BYTES: usize = 32;
/// How much younger than its last change a file must be known to be. Clocks of file systems are coarser than the
/// system's own: milliseconds as a rule, two seconds at worst.
const RACY_MS: i64 = 2000;

/// Stamps (size, times of change, inode) and digests of the files of one directory, as a [`super::Tree`] leaves them.
///
/// It holds for the `normalize` expressions that it was made with; a scan with others does not look into it. Patterns
/// play no part: a file has its digest for every caller.
#[derive(Debug, Default)]
pub struct StatCache {
    table: FileTable,
    fingerprint: [u8; 32],
}

impl StatCache {
    /// The cache that a scan which `started` then leaves. A file that changed less than two seconds before, or later,
    /// is left out: it may have been written to after it was read and still have the same times.
    ///
    /// What was reached over links is known by where it is: a link may lead to another file with the same stamp.
    pub(super) fn new(mut table: FileTable, linked: FileTable, fingerprint: [u8; 32], started: Timestamp) -> Self {
        table.rows.retain(|row| !row.is_linked);
        if !linked.rows.is_empty() {
            table.append(linked);
            table.sort();
            table.drop_repeated();
        }
        let before_ns = started.plus_ms(-RACY_MS).unix_ms().saturating_mul(1_000_000);
        table.rows.retain(|row| row.stamp.modified_ns.max(row.stamp.changed_ns) < before_ns);
        Self { table, fingerprint }
    }

    /// How many files it knows.
    pub fn len(&self) -> usize {
        self.table.rows.len()
    }

    /// Whether it knows nothing.
    pub fn is_empty(&self) -> bool {
        self.table.rows.is_empty()
    }

    /// Identifies the rules that it holds for.
    pub fn rules(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// Adds the files that another one for the same rules knows; what both know is this one's.
    pub fn join(&mut self, other: Self) {
        self.table.append(other.table);
        self.table.sort();
        self.table.drop_repeated();
    }

    pub(super) fn fits(&self, fingerprint: &[u8; 32]) -> bool {
        self.fingerprint == *fingerprint
    }

    pub(super) fn get(&self, path: &str) -> Option<&Row> {
        self.table.get(path)
    }

    /// The bytes to keep: about 60 a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128 + 72 * self.len());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.fingerprint);
        let (mut path_before, mut stamp_before) = ("", [0; 4]);
        for row in &self.table.rows {
            let path = self.table.path(row);
            let shared = path.bytes().zip(path_before.bytes()).take_while(|(a, b)| a == b).count();
            put(&mut out, shared as u64);
            put(&mut out, (path.len() - shared) as u64);
            out.extend_from_slice(&path.as_bytes()[shared..]);
            let stamp = numbers(row.stamp);
            for (number, before) in stamp.into_iter().zip(stamp_before) {
                put(&mut out, zigzag(number.wrapping_sub(before)));
            }
            out.extend_from_slice(&row.digest);
            (path_before, stamp_before) = (path, stamp);
        }
        let checksum = *blake3::hash(&out).as_bytes();
        out.extend_from_slice(&checksum);
        out
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote; anything else is an empty cache.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self::read(bytes).unwrap_or_default()
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (body, checksum) = bytes.split_last_chunk::<DIGEST_BYTES>()?;
        if !body.starts_with(MAGIC) || blake3::hash(body).as_bytes() != checksum {
            return None;
        }
        let mut rest = &body[MAGIC.len()..];
        let mut cache = Self { fingerprint: take(&mut rest)?, table: FileTable::default() };
        let (mut path, mut stamp) = (Vec::new(), [0_u64; 4]);
        while !rest.is_empty() {
            path.truncate(usize::try_from(get(&mut rest)?).ok()?);
            let added = usize::try_from(get(&mut rest)?).ok()?;
            path.extend_from_slice(rest.get(..added)?);
            rest = &rest[added..];
            for number in &mut stamp {
                *number = number.wrapping_add(unzigzag(get(&mut rest)?));
            }
            cache.table.push(std::str::from_utf8(&path).ok()?, stamp_of(stamp), take(&mut rest)?, false);
        }
        Some(cache)
    }
}

/// Of all that decides what a file's digest is, besides its content: [`StatCache::rules`].
pub fn fingerprint(normalizer: &Normalizer) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for expression in normalizer.expressions() {
        hasher.update(&(expression.len() as u64).to_le_bytes());
        hasher.update(expression.as_bytes());
    }
    *hasher.finalize().as_bytes()
}

/// The numbers of a stamp in an order in which neighbours differ little from row to row.
fn numbers(stamp: FileStamp) -> [u64; 4] {
    let [modified, changed] = [stamp.modified_ns, stamp.changed_ns].map(i64::cast_unsigned);
    [stamp.size, modified, changed.wrapping_sub(modified), stamp.inode]
}

fn stamp_of([size, modified, delay, inode]: [u64; 4]) -> FileStamp {
    let changed_ns = modified.wrapping_add(delay).cast_signed();
    FileStamp { size, modified_ns: modified.cast_signed(), changed_ns, inode }
}

/// Small for differences of either sign.
const fn zigzag(difference: u64) -> u64 {
    let signed = difference.cast_signed();
    ((signed << 1) ^ (signed >> 63)).cast_unsigned()
}

const fn unzigzag(number: u64) -> u64 {
    (number >> 1) ^ (number & 1).wrapping_neg()
}

/// Seven bits a byte, the lowest first; the top bit says that more follow.
fn put(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push((number & 0x7f) as u8);
}

fn get(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*taken)
}
