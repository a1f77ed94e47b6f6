//! Digests of another algorithm than the walk's, for files that are compared with lists of such.

use std::fs::File;
use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::content::{pieces, stable};
use super::mount::Mount;
use super::root::Root;
use super::{TreeProblem, links, problem};
use crate::core::algorithm::Algorithm;
use crate::core::target::ContentHash;
use crate::host::hasher::Hasher;
use crate::manifest::Links;

/// A file below a directory, and the algorithm that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted<'w> {
    /// Path below the directory, with `/`.
    pub path: &'w str,
    /// The algorithm.
    pub algorithm: Algorithm,
}

/// Hashes these files of the directory at `path` on all cores, those that links lead to as `links` says; the hashes come in
/// their order.
///
/// # Errors
/// All files that cannot be read or that change meanwhile.
pub fn digests(path: &Path, wanted: &[Wanted<'_>], links: Links) -> Result<Vec<ContentHash>, Vec<TreeProblem>> {
    let root = Root::open(path, Mount::of).map_err(|message| vec![problem(path, Path::new(""), message)])?;
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(wanted.len()));
    let work = || {
        let mut buffer = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(file) = wanted.get(index) else { break };
            let result = hash(&root, *file, links, &mut buffer);
            done.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(work);
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(index, _)| *index);
    let (mut hashes, mut errors) = (Vec::with_capacity(done.len()), Vec::new());
    for (index, result) in done {
        match result {
            Ok(hash) => hashes.push(hash),
            Err(message) => errors.push(problem(path, Path::new(wanted[index].path), message)),
        }
    }
    if errors.is_empty() { Ok(hashes) } else { Err(errors) }
}

fn hash(root: &Root, wanted: Wanted<'_>, links: Links, buffer: &mut Vec<u8>) -> Result<ContentHash, String> {
    let target = links::target(&root.path().join(wanted.path));
    let opened = target.as_ref().ok().map(|target| target.opened(root.path(), links)).transpose()?;
    let opened = opened.and_then(Path::to_str).unwrap_or(wanted.path);
    let read = |file: &mut File, size| {
        let mut hasher = Hasher::new(wanted.algorithm);
        let bytes = pieces(file, size, buffer, |piece| hasher.update(piece))?;
        Ok((bytes, hasher.finish()))
    };
    stable(root, opened, read).map(|(_, hash)| hash)
}
