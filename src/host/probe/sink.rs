//! Where decoded bytes go: into the digest, within limits.

use std::io::{self, Write};

use crate::core::algorithm::Algorithm;
use crate::core::probe::SeenBody;
use crate::host::hasher::Hasher;
use crate::manifest::Normalizer;

/// A body may have so many times the bytes that came over the network.
const MOST_RATIO: u64 = 1000;
/// A body of so many bytes harms nobody, whatever it was unpacked from.
const FREE_BYTES: u64 = 1024 * 1024;

/// Takes decoded bytes; refuses those beyond the limits and remembers why.
pub(super) struct Sink {
    content: Content,
    most_bytes: u64,
    /// Decoded bytes.
    decoded: u64,
    /// Bytes that came over the network.
    received: u64,
    exceeded: Option<Exceeded>,
}

/// A limit that was exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exceeded {
    Size,
    Ratio,
}

/// What becomes of the bytes.
enum Content {
    Hashed(Hasher),
    /// A text of which not all counts is hashed as a whole.
    Held(Vec<u8>, Normalizer, Algorithm),
}

impl Sink {
    pub(super) fn new(algorithm: Algorithm, most_bytes: u64, normalizer: Normalizer) -> Self {
        let (content, most_bytes) = if normalizer.is_empty() {
            (Content::Hashed(Hasher::new(algorithm)), most_bytes)
        } else {
            let most_bytes = most_bytes.min(Normalizer::MAX_TEXT_BYTES);
            (Content::Held(Vec::new(), normalizer, algorithm), most_bytes)
        };
        Self { content, most_bytes, decoded: 0, received: 0, exceeded: None }
    }

    /// Counts bytes that came over the network, before they are decoded.
    ///
    /// # Errors
    /// They are more than a body within the limit has in any coding: a coding may stand for nothing at all.
    pub(super) fn receive(&mut self, bytes: usize) -> io::Result<()> {
        self.received += bytes as u64;
        if self.received > self.most_bytes.saturating_add(self.most_bytes / 8).saturating_add(FREE_BYTES) {
            self.exceeded = Some(Exceeded::Size);
        }
        self.exceeded.map_or(Ok(()), |_| Err(limit()))
    }

    /// Decoded bytes so far.
    pub(super) fn decoded(&self) -> u64 {
        self.decoded
    }

    /// Why bytes were refused.
    pub(super) fn exceeded(&self) -> Option<Exceeded> {
        self.exceeded
    }

    /// More decoded bytes than this are refused.
    pub(super) fn most_bytes(&self) -> u64 {
        self.most_bytes
    }

    /// The digest of what counts. Takes a while for a text.
    pub(super) fn finish(self) -> SeenBody {
        let hash = match self.content {
            Content::Hashed(hasher) => hasher.finish(),
            Content::Held(text, normalizer, algorithm) => {
                let mut hasher = Hasher::new(algorithm);
                match normalizer.kept(&text) {
                    Some(parts) => parts.into_iter().for_each(|part| hasher.update(part)),
                    None => hasher.update(&text),
                }
                hasher.finish()
            }
        };
        SeenBody::Digest(hash, self.decoded)
    }

    /// Whether the end takes long enough to be worth a thread.
    pub(super) fn is_held(&self) -> bool {
        matches!(self.content, Content::Held(..))
    }
}

impl Write for Sink {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let decoded = self.decoded + piece.len() as u64;
        if decoded > self.most_bytes {
            self.exceeded = Some(Exceeded::Size);
        } else if decoded > FREE_BYTES && decoded / MOST_RATIO > self.received {
            self.exceeded = Some(Exceeded::Ratio);
        }
        if self.exceeded.is_some() {
            return Err(limit());
        }
        self.decoded = decoded;
        match &mut self.content {
            Content::Hashed(hasher) => hasher.update(piece),
            Content::Held(text, ..) => text.extend_from_slice(piece),
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn limit() -> io::Error {
    io::ErrorKind::FileTooLarge.into()
}
