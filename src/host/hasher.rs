//! Digests by any of the algorithms that hashes are written with.

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};

use crate::core::algorithm::Algorithm;
use crate::core::target::ContentHash;

/// Takes content in pieces.
pub(super) enum Hasher {
    Blake3(Box<blake3::Hasher>),
    Sha256(Sha256),
    Sha1(Sha1),
    Sha384(Sha384),
    Sha512(Sha512),
    Md5(Md5),
}

impl Hasher {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Blake3 => Self::Blake3(Box::default()),
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha1 => Self::Sha1(Sha1::new()),
            Algorithm::Sha384 => Self::Sha384(Sha384::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
            Algorithm::Md5 => Self::Md5(Md5::new()),
        }
    }

    pub(super) fn update(&mut self, piece: &[u8]) {
        match self {
            Self::Blake3(hasher) => {
                hasher.update(piece);
            }
            Self::Sha256(hasher) => hasher.update(piece),
            Self::Sha1(hasher) => hasher.update(piece),
            Self::Sha384(hasher) => hasher.update(piece),
            Self::Sha512(hasher) => hasher.update(piece),
            Self::Md5(hasher) => hasher.update(piece),
        }
    }

    /// The hash of all pieces.
    pub(super) fn finish(self) -> ContentHash {
        match self {
            Self::Blake3(hasher) => Algorithm::Blake3.hash(hasher.finalize().as_bytes()),
            Self::Sha256(hasher) => Algorithm::Sha256.hash(&hasher.finalize()),
            Self::Sha1(hasher) => Algorithm::Sha1.hash(&hasher.finalize()),
            Self::Sha384(hasher) => Algorithm::Sha384.hash(&hasher.finalize()),
            Self::Sha512(hasher) => Algorithm::Sha512.hash(&hasher.finalize()),
            Self::Md5(hasher) => Algorithm::Md5.hash(&hasher.finalize()),
        }
    }
}
