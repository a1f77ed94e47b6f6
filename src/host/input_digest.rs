//! A digest of manifest files, taken before they are read: a run that finds it again need not read them at all.
//!
//! Does not know what the files say.

use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::look::{CHANGED, Look, cannot_read, open};

/// Bytes of a file that are hashed as one; the pieces of all files are shared out among the cores.
const PIECE_BYTES: u64 = 1024 * 1024;

/// A file to be hashed.
pub(super) enum Input<'a> {
    /// Its bytes are held.
    Held(&'a [u8]),
    /// It stays on the disk, as long as it looks like this.
    Large(PathBuf, Look),
}

/// Digests of files, in their order, by all cores.
///
/// # Errors
/// The first file that cannot be read or is not what it was, by its index, and what is wrong with it.
pub(super) fn digests(inputs: &[Input<'_>]) -> Result<Vec<blake3::Hash>, (usize, String)> {
    let pieces: Vec<(usize, u64)> = inputs
        .iter()
        .enumerate()
        .flat_map(|(file, input)| {
            let bytes = match input {
                Input::Held(_) => 0,
                Input::Large(_, look) => look.bytes,
            };
            (0..bytes.div_ceil(PIECE_BYTES)).map(move |piece| (file, piece))
        })
        .collect();
    let hashed = hash_pieces(inputs, &pieces)?;
    let mut files: Vec<blake3::Hasher> = inputs.iter().map(|_| blake3::Hasher::new()).collect();
    for ((file, _), hash) in pieces.iter().zip(&hashed) {
        files[*file].update(hash.as_bytes());
    }
    for (file, input) in files.iter_mut().zip(inputs) {
        match input {
            Input::Held(bytes) => file.update(bytes),
            Input::Large(_, look) => file.update(&look.bytes.to_le_bytes()),
        };
    }
    Ok(files.iter().map(blake3::Hasher::finalize).collect())
}

/// Hashes of pieces, by the pieces' index.
type Hashes = Vec<(usize, blake3::Hash)>;

fn hash_pieces(inputs: &[Input<'_>], pieces: &[(usize, u64)]) -> Result<Vec<blake3::Hash>, (usize, String)> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut buffer = Vec::new();
        let mut hashes = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(&(file, piece)) = pieces.get(index) else { return Ok(hashes) };
            let hash = hash_piece(&inputs[file], piece, &mut buffer).map_err(|cause| (file, cause))?;
            hashes.push((index, hash));
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(pieces.len());
    let parts: Vec<Result<Hashes, (usize, String)>> = std::thread::scope(|scope| {
        // Where no more threads are to be had, those that there are do the work.
        let helpers: Vec<_> =
            (1..cores).map_while(|_| std::thread::Builder::new().spawn_scoped(scope, work).ok()).collect();
        let own = work();
        let died = |_| Err((0, "cannot be hashed".to_owned()));
        std::iter::once(own).chain(helpers.into_iter().map(|helper| helper.join().unwrap_or_else(died))).collect()
    });
    let mut all = vec![blake3::Hash::from_bytes([0; 32]); pieces.len()];
    for part in parts {
        part?.into_iter().for_each(|(index, hash)| all[index] = hash);
    }
    Ok(all)
}

fn hash_piece(input: &Input<'_>, piece: u64, buffer: &mut Vec<u8>) -> Result<blake3::Hash, String> {
    let Input::Large(path, look) = input else { return Ok(blake3::hash(&[])) };
    let start = piece * PIECE_BYTES;
    let mut file = open(path).map_err(cannot_read)?;
    file.seek(SeekFrom::Start(start)).map_err(cannot_read)?;
    buffer.clear();
    file.by_ref().take(PIECE_BYTES).read_to_end(buffer).map_err(cannot_read)?;
    let is_whole = buffer.len() as u64 == PIECE_BYTES.min(look.bytes.saturating_sub(start));
    if !is_whole || Look::at(&file.metadata().map_err(cannot_read)?) != *look {
        return Err(CHANGED.into());
    }
    Ok(blake3::hash(buffer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_depends_on_every_byte_and_on_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let of = |bytes: &[u8]| {
            let path = folder.path().join("m.yaml");
            std::fs::write(&path, bytes).unwrap();
            let look = Look::at(&std::fs::metadata(&path).unwrap());
            digests(&[Input::Held(b"a"), Input::Large(path, look)]).unwrap()
        };
        let mut bytes = vec![b'x'; 2 * 1024 * 1024 + 5];
        let before = of(&bytes);
        assert_eq!(of(&bytes), before);
        for at in [0, 1024 * 1024, 2 * 1024 * 1024 + 4] {
            bytes[at] = b'y';
            let after = of(&bytes);
            assert!(after[1] != before[1] && after[0] == before[0], "{at}");
            bytes[at] = b'x';
        }
        bytes.pop();
        assert_ne!(of(&bytes)[1], before[1]);
    }

    // Y5
    #[test]
    fn a_file_that_is_not_what_it_was_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.yaml");
        std::fs::write(&path, "abc").unwrap();
        let look = Look::at(&std::fs::metadata(&path).unwrap());
        std::fs::write(&path, "abcd").unwrap();
        assert_eq!(digests(&[Input::Large(path, look)]), Err((0, CHANGED.to_owned())));
    }
}
