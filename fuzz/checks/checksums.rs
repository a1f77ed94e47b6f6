//! Bytes as checksum lists: the same lines however they come in, only paths that lead below a folder, and never no file
//! without a word.
//!
//! Input: a list.

use freshen::core::algorithm::Algorithm;
use freshen::manifest::checksums::{ChecksumProblem, ChecksumReader, Listed};

const LONGEST_MESSAGE: usize = 1000;

/// A line of a list: its number, and its file or what is wrong with it.
type Line = (u64, Result<(String, Algorithm, Vec<u8>), ChecksumProblem>);

/// D1, D3, B2
pub(crate) fn check(data: &[u8]) {
    for declared in [None, Some(Algorithm::Blake3), Some(Algorithm::Md5)] {
        let lines = read(data, data.len().max(1), declared);
        for piece in [1, 7] {
            assert_eq!(read(data, piece, declared), lines, "in pieces of {piece}");
        }
        assert!(!lines.is_empty(), "a list without files is an error");
        assert!(lines.windows(2).all(|pair| pair[0].0 < pair[1].0), "one answer a line, in order");
        for (number, line) in &lines {
            match line {
                Ok((path, algorithm, digest)) => {
                    assert!(declared.is_none_or(|declared| declared == *algorithm), "line {number}: {algorithm:?}");
                    assert_eq!(digest.len(), algorithm.digest_bytes(), "line {number}");
                    assert_below(path);
                    assert_read_back(path, *algorithm, digest);
                }
                Err(problem) => assert_told(*number, problem),
            }
        }
    }
}

fn read(data: &[u8], piece: usize, declared: Option<Algorithm>) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut each = |line: Result<Listed<'_>, ChecksumProblem>| {
        lines.push(match line {
            Ok(Listed { path, algorithm, digest, line }) => (line, Ok((path.to_owned(), algorithm, digest.to_vec()))),
            Err(problem) => (problem.line, Err(problem)),
        });
    };
    let mut reader = ChecksumReader::new(declared);
    data.chunks(piece).for_each(|bytes| reader.feed(bytes, &mut each));
    reader.finish(&mut each);
    lines
}

/// The path leads to a file below the list's folder, and terminals obey nothing of it.
fn assert_below(path: &str) {
    assert!(!path.chars().any(char::is_control), "{path:?}");
    assert!(path != "-" && path.split('/').all(|part| !matches!(part, "" | "." | "..")), "{path:?}");
}

/// Both forms of a line say the same again.
fn assert_read_back(path: &str, algorithm: Algorithm, digest: &[u8]) {
    let hash = algorithm.hash(digest);
    let digits = hash.as_str().split_once(':').expect("an algorithm").1;
    let escaped = path.replace('\\', "\\\\");
    let mark = if escaped == path { "" } else { "\\" };
    let word = algorithm.word().to_ascii_uppercase();
    for line in [format!("{mark}{digits}  {escaped}\n"), format!("{mark}{word} ({escaped}) = {digits}\n")] {
        let again = read(line.as_bytes(), line.len(), Some(algorithm));
        assert_eq!(again, [(1, Ok((path.to_owned(), algorithm, digest.to_vec())))], "{line}");
    }
}

fn assert_told(number: u64, problem: &ChecksumProblem) {
    for text in [&problem.message, &problem.help] {
        assert!(!text.is_empty() && text.len() <= LONGEST_MESSAGE, "line {number}: {text}");
        assert!(!text.chars().any(char::is_control), "line {number}: {text:?}");
    }
}
