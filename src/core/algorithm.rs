//! Hash algorithms that manifests and checksum lists may name. Computes nothing.

use super::target::ContentHash;
use super::text::push_hex;

/// An algorithm whose digests can be compared with content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// BLAKE3 with 32 bytes; what freshen itself computes.
    Blake3,
    /// SHA-256.
    Sha256,
    /// SHA-1.
    Sha1,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
    /// MD5.
    Md5,
}

impl Algorithm {
    /// All of them, in the order in which messages list them.
    pub const ALL: [Self; 6] = [Self::Blake3, Self::Sha256, Self::Sha1, Self::Sha384, Self::Sha512, Self::Md5];
    /// Length of the longest digest in bytes.
    pub const MOST_DIGEST_BYTES: usize = 64;

    /// The word before the colon of a hash.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Blake3 => "blake3",
            Self::Sha256 => "sha256",
            Self::Sha1 => "sha1",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
            Self::Md5 => "md5",
        }
    }

    /// Length of a digest in bytes.
    pub const fn digest_bytes(self) -> usize {
        match self {
            Self::Blake3 | Self::Sha256 => 32,
            Self::Sha1 => 20,
            Self::Sha384 => 48,
            Self::Sha512 => Self::MOST_DIGEST_BYTES,
            Self::Md5 => 16,
        }
    }

    /// The algorithm of this word, lower case as hashes are written.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.word() == word)
    }

    /// The algorithm of a canonical hash; `None` for opaque texts (`etag:`, `rev:`), which nothing can compute.
    pub fn of_hash(hash: &ContentHash) -> Option<Self> {
        Self::of_word(hash.as_str().split_once(':')?.0)
    }

    /// The canonical hash of a digest of this algorithm.
    pub fn hash(self, digest: &[u8]) -> ContentHash {
        let mut text = String::with_capacity(self.word().len() + 1 + 2 * digest.len());
        text.push_str(self.word());
        text.push(':');
        push_hex(&mut text, digest);
        ContentHash::from_canonical(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_become_canonical_hashes_and_tell_their_algorithm() {
        let hash = Algorithm::Md5.hash(&[0x0f, 0xa0, 0xff]);
        assert_eq!(hash.as_str(), "md5:0fa0ff");
        assert_eq!(Algorithm::of_hash(&hash), Some(Algorithm::Md5));
        assert_eq!(Algorithm::of_hash(&ContentHash::from_canonical("etag:\"sha1:\"")), None);
    }
}
