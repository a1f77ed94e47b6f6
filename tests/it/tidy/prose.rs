//! The language of the docs: sentences of a length that is read at once.

use std::path::Path;

/// Words of a sentence in the middle of all of a page.
const MEDIAN: usize = 14;
/// Words that nine sentences of ten do not exceed.
const NINE_OF_TEN: usize = 26;

/// Words of each sentence outside headings, tables and code. A sentence ends with `.`, `!`, `?` or `:` before a blank, with its
/// paragraph or with its item of a list.
fn sentences(text: &str) -> Vec<usize> {
    let mut counts = Vec::new();
    let mut words = 0;
    let mut is_code = false;
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with("```") {
            is_code = !is_code;
        }
        let item = line.strip_prefix("* ").or_else(|| line.strip_prefix("- "));
        let item = item.or_else(|| {
            line.split_once(". ").filter(|(number, _)| number.parse::<u32>().is_ok()).map(|(_, rest)| rest)
        });
        let is_prose = !(is_code || line.is_empty() || line.starts_with(['|', '#']) || line.starts_with("```"));
        if !is_prose || item.is_some() {
            counts.push(std::mem::take(&mut words));
        }
        if !is_prose {
            continue;
        }
        for word in item.unwrap_or(line).split_whitespace() {
            words += usize::from(word.contains(char::is_alphanumeric));
            if word.trim_end_matches([')', '*', '"', '\'']).ends_with(['.', '!', '?', ':']) {
                counts.push(std::mem::take(&mut words));
            }
        }
    }
    counts.push(words);
    counts.retain(|words| *words > 0);
    counts.sort_unstable();
    counts
}

/// What is too long in a page.
fn too_long(path: &Path, text: &str) -> Option<String> {
    let counts = sentences(text);
    let (median, most) = (*counts.get(counts.len() / 2)?, *counts.get(counts.len() * 9 / 10)?);
    let is_long = median > MEDIAN || most > NINE_OF_TEN;
    is_long.then(|| format!("{}: half of its sentences have {median} words or more, a tenth {most}", path.display()))
}

#[test]
fn sentences_of_the_docs_are_short() {
    let folder = std::fs::read_dir(super::root().join("docs")).expect("a folder");
    let pages = folder
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|end| end == "md"));
    let pages = pages.chain([super::root().join("README.md")]);
    let problems = pages.filter_map(|path| too_long(&path, &std::fs::read_to_string(&path).expect("a page")));
    super::assert_none(&problems.collect::<Vec<_>>(), "cut them: one fact a sentence");
}

#[test]
fn sentences_are_counted_outside_code_and_tables() {
    let text = "# A heading. Two\n\nOne two `a.b` (three.) Four\nfive: six!\n\n* seven eight\n* nine\n1. ten\n| no | table. |\n```sh\nno code\n```\nlast\n";
    assert_eq!(sentences(text), [1, 1, 1, 1, 2, 2, 4]);
}

/// Things are no people, and programs log, report, print and return.
#[test]
fn things_are_not_spoken_of_as_people() {
    const WORDS: [&str; 3] = ["whoever", "tells", "told"];
    let mut all = 0;
    let mut found = Vec::new();
    for (path, text) in super::texts() {
        let is_code = path.rsplit('.').next() == Some("rs");
        if !(is_code || path.starts_with("docs/")) {
            continue;
        }
        let comments = text.lines().map(str::trim).filter(|line| !is_code || line.starts_with("//"));
        let words: Vec<&str> = comments.flat_map(|line| line.split(|c: char| !c.is_alphanumeric())).collect();
        all += words.len();
        let is_misplaced = |(at, word): (usize, &&str)| {
            WORDS.iter().any(|known| word.eq_ignore_ascii_case(known)) && words.get(at + 1) != Some(&"apart")
        };
        let count = words.iter().enumerate().filter(|&word| is_misplaced(word)).count();
        found.extend((count > 0).then_some((count, path)));
    }
    let count: usize = found.iter().map(|(count, _)| count).sum();
    assert!(count * 5000 <= all, "{count} in {all} words: {found:?}");
}
