//! The digest of one file: read once, proven not to have been written to meanwhile.

use std::fs::File;
use std::io::{self, Read};

use super::file_stamp::FileStamp;
use super::not_regular;
use super::root::Root;
use crate::host::look::called;
use crate::manifest::Normalizer;

/// Larger files are read in pieces of this many bytes: they are hashed while still in the processor's cache.
const PIECE_BYTES: usize = 256 * 1024;
const CHANGED: &str = "changed while it was read, twice; run again when it is written";

/// Digest of what counts of a file, and by what to know it again. `buffer` is scratch space.
///
/// # Errors
/// What is wrong, as it follows the path.
pub(super) fn digest(
    root: &Root,
    path: &str,
    normalizer: &Normalizer,
    buffer: &mut Vec<u8>,
) -> Result<(FileStamp, [u8; 32]), String> {
    stable(root, path, |file, size| {
        if size > PIECE_BYTES as u64 && (normalizer.is_empty() || size > Normalizer::MAX_TEXT_BYTES) {
            let mut hasher = blake3::Hasher::new();
            let bytes = pieces(file, size, buffer, |piece| {
                hasher.update(piece);
            })?;
            return Ok((bytes, *hasher.finalize().as_bytes()));
        }
        let content = whole(file, size, buffer)?;
        Ok((content.len() as u64, *digest_of(content, normalizer).as_bytes()))
    })
}

fn digest_of(content: &[u8], normalizer: &Normalizer) -> blake3::Hash {
    let Some(kept) = normalizer.kept(content) else { return blake3::hash(content) };
    let mut hasher = blake3::Hasher::new();
    for part in kept {
        hasher.update(part);
    }
    hasher.finalize()
}

/// Opens a file and has it read; once more if it was written to meanwhile. `read` returns how many bytes it read.
pub(super) fn stable<T>(
    root: &Root,
    path: &str,
    mut read: impl FnMut(&mut File, u64) -> io::Result<(u64, T)>,
) -> Result<(FileStamp, T), String> {
    for _ in 0..2 {
        let mut file = root.file(path).map_err(|error| cannot(&error))?;
        let metadata = file.metadata().map_err(|error| cannot(&error))?;
        if !metadata.is_file() {
            return Err(not_regular(called(metadata.file_type())));
        }
        let before = FileStamp::of(&metadata);
        let (bytes, read) = read(&mut file, before.size).map_err(|error| cannot(&error))?;
        let after = FileStamp::of(&file.metadata().map_err(|error| cannot(&error))?);
        if before == after && bytes == before.size {
            return Ok((before, read));
        }
    }
    Err(CHANGED.to_owned())
}

fn cannot(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "vanished while the directory was read; run again when it is written".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}

/// The whole content of a file that should have `size` bytes: that many, fewer, or one more if it has grown.
fn whole<'b>(file: &mut File, size: u64, buffer: &'b mut Vec<u8>) -> io::Result<&'b [u8]> {
    let size = usize::try_from(size).map_err(io::Error::other)?;
    if buffer.len() <= size {
        buffer.resize((size + 1).next_multiple_of(PIECE_BYTES), 0);
    }
    let mut filled = 0;
    // The end of the file is not asked for: if there is more now, the file's size shows it.
    while filled < size {
        match read(file, &mut buffer[filled..=size])? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(&buffer[..filled])
}

/// Hands over a file that should have `size` bytes in pieces; stops behind the first byte that is too many. Returns how
/// many bytes there were.
pub(super) fn pieces(file: &mut File, size: u64, buffer: &mut Vec<u8>, mut take: impl FnMut(&[u8])) -> io::Result<u64> {
    if buffer.len() < PIECE_BYTES {
        buffer.resize(PIECE_BYTES, 0);
    }
    let mut bytes = 0;
    while bytes < size {
        match read(file, &mut buffer[..PIECE_BYTES])? {
            0 => break,
            count => {
                take(&buffer[..count]);
                bytes += count as u64;
            }
        }
    }
    Ok(bytes)
}

fn read(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
