//! Rust sources as the tree checks see them: code apart from comments and texts, production apart from tests, paths,
//! functions. Knows tokens and nesting, not grammar.

use std::path::{Path, PathBuf};

/// One file below `src`.
pub(super) struct Source {
    /// Path from the root of the package, with `/`.
    pub(super) path: String,
    /// Everything.
    pub(super) text: String,
    /// Production code only: comments, texts and tests are blanks, line feeds stay.
    pub(super) code: String,
    /// Lines without those of tests.
    pub(super) lines: usize,
}

/// A path in code, for example `crate::core::plan`, resolved from the root of the crate that it names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Used {
    /// Line, from 1.
    pub(super) line: usize,
    /// What it names.
    pub(super) name: Name,
}

/// Where a path leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// A top-level module of ours.
    Ours(String),
    /// First segment of any other path: a crate, or something that is in scope.
    Other(String),
}

/// A function with a body.
pub(super) struct Function {
    /// Its name.
    pub(super) name: String,
    /// Line of `fn`, from 1.
    pub(super) line: usize,
    /// Lines from `fn` to the closing brace.
    pub(super) lines: usize,
}

/// All production files below `src`, in order of path; files that only tests compile are left out.
pub(super) fn production(root: &Path) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut only_tests = Vec::new();
    for path in files_below(&root.join("src"), "rs") {
        let text = std::fs::read_to_string(&path).expect("UTF-8");
        let (code, lines, modules) = without_tests(&code_only(&text));
        let folder = match path.file_stem().and_then(|stem| stem.to_str()) {
            Some("mod" | "lib" | "main") => path.with_file_name(""),
            _ => path.with_extension(""),
        };
        only_tests.extend(modules.iter().map(|module| folder.join(format!("{module}.rs"))));
        sources.push((path, text, code, lines));
    }
    sources.retain(|(path, ..)| !only_tests.contains(path));
    sources
        .into_iter()
        .map(|(path, text, code, lines)| Source { path: shown(root, &path), text, code, lines })
        .collect()
}

/// A path from `root`, with `/`.
pub(super) fn shown(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).expect("below the root").to_string_lossy().replace('\\', "/")
}

/// All files below a folder with this extension (any, if empty), in order of path. A folder that is missing is empty.
pub(super) fn files_below(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return found };
    for path in entries.map(|entry| entry.expect("readable").path()) {
        if path.is_dir() {
            found.extend(files_below(&path, extension));
        } else if extension.is_empty() || path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The text with blanks in place of comments and of the content of texts and characters; line feeds stay.
pub(super) fn code_only(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let length = token(&chars[at..], at.checked_sub(1).map(|before| chars[before]));
        if length == 0 {
            code.push(chars[at]);
            at += 1;
        } else {
            let end = (at + length).min(chars.len());
            code.extend(chars[at..end].iter().map(|&char| if char == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    code
}

/// Length of the comment, text or character that begins here; 0 if none does.
fn token(rest: &[char], before: Option<char>) -> usize {
    match rest {
        ['/', '/', ..] => rest.iter().position(|&char| char == '\n').unwrap_or(rest.len()),
        ['/', '*', ..] => block_comment(rest),
        ['"', ..] => quoted(rest, '"'),
        ['r', '"' | '#', ..] if !before.is_some_and(is_word) || before == Some('b') => raw_text(rest),
        ['\'', '\\', ..] => quoted(rest, '\''),
        // Anything else behind a quote is a lifetime.
        ['\'', _, '\'', ..] => 3,
        _ => 0,
    }
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

fn raw_text(rest: &[char]) -> usize {
    let hashes = rest[1..].iter().take_while(|&&char| char == '#').count();
    if rest.get(1 + hashes) != Some(&'"') {
        return 0; // a raw identifier
    }
    let mut end = vec!['"'];
    end.extend(std::iter::repeat_n('#', hashes));
    let body = 2 + hashes;
    rest[body..].windows(end.len()).position(|window| window == end).map_or(rest.len(), |at| body + at + end.len())
}

fn is_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

/// Code without its tests, how many lines that leaves, and the modules in files of their own that only tests compile.
fn without_tests(code: &str) -> (String, usize, Vec<String>) {
    const MARK: &str = "#[cfg(test)]";
    let (mut left, mut modules) = (code.to_owned(), Vec::new());
    let mut test_lines = 0;
    while let Some(start) = left.find(MARK) {
        let item = start + MARK.len();
        let end = item + end_of_item(&left[item..]);
        let words: Vec<&str> = left[item..end].split_whitespace().collect();
        if let Some(name) = words.iter().position(|word| *word == "mod").and_then(|at| words.get(at + 1))
            && let Some(name) = name.strip_suffix(';')
        {
            modules.push(name.to_owned());
        }
        let blanks: String = left[start..end].chars().map(|char| if char == '\n' { '\n' } else { ' ' }).collect();
        test_lines += 1 + blanks.matches('\n').count();
        left.replace_range(start..end, &blanks);
    }
    let lines = code.lines().count().saturating_sub(test_lines);
    (left, lines, modules)
}

/// Bytes up to the end of the first item: its `;` or the brace that closes its body.
fn end_of_item(code: &str) -> usize {
    let mut depth = 0;
    for (at, char) in code.char_indices() {
        match char {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => {
                depth -= 1;
                if depth == 0 && char == '}' {
                    return at + 1;
                }
            }
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

/// Functions with bodies, in order.
pub(super) fn functions(code: &str) -> Vec<Function> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        if code[..at].chars().next_back().is_some_and(is_word) {
            continue;
        }
        let item = &code[at..];
        let name: String = item[3..].chars().take_while(|&char| is_word(char)).collect();
        let end = end_of_item(item);
        // A pointer type has no name, a trait's signature no body.
        if !name.is_empty() && item[..end].ends_with('}') {
            let line = 1 + code[..at].matches('\n').count();
            found.push(Function { name, line, lines: 1 + item[..end].matches('\n').count() });
        }
    }
    found
}

/// The first segments of all paths, those of ours resolved. `path` is the file's, from the root of the package.
pub(super) fn used(path: &str, code: &str) -> Vec<Used> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("::") {
        let first = code[..at].rfind(|char: char| !is_word(char)).map_or(0, |before| before + 1);
        let segment = &code[first..at];
        let inside = code[..first].ends_with("::");
        if segment.is_empty() || inside {
            continue;
        }
        let line = 1 + code[..at].matches('\n').count();
        let names = match segment {
            "crate" | "freshen" => heads(&code[at + 2..]),
            "super" => above(path, &code[first..]),
            "self" | "Self" => Vec::new(),
            other => vec![Name::Other(other.to_owned())],
        };
        found.extend(names.into_iter().map(|name| Used { line, name }));
    }
    // A crate as a whole: `use anyhow;`
    for (at, _) in code.match_indices("use ") {
        let name: String = code[at + 4..].chars().take_while(|&char| is_word(char)).collect();
        if code[at + 4 + name.len()..].starts_with([';', ' ']) {
            found.push(Used { line: 1 + code[..at].matches('\n').count(), name: Name::Other(name) });
        }
    }
    found
}

/// Modules of ours behind `crate::`: one, or those of a group.
fn heads(rest: &str) -> Vec<Name> {
    let Some(group) = rest.strip_prefix('{') else {
        return vec![Name::Ours(rest.chars().take_while(|&char| is_word(char)).collect())];
    };
    let (mut depth, mut names, mut head) = (1, Vec::new(), String::new());
    for char in group.chars() {
        match char {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => names.push(std::mem::take(&mut head)),
            char if depth == 1 => head.push(char),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names.push(head);
    let first = |head: &String| head.trim().chars().take_while(|&char| is_word(char)).collect::<String>();
    names.iter().map(first).filter(|name| !name.is_empty()).map(Name::Ours).collect()
}

/// Where `super::…` leads, if it leaves the top-level module of its file.
fn above(path: &str, rest: &str) -> Vec<Name> {
    let levels = rest.split("::").take_while(|segment| *segment == "super").count();
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
    let depth = inner.trim_end_matches("/mod").split('/').count();
    if levels < depth { Vec::new() } else { heads(&rest[levels * "super::".len()..]) }
}

#[test]
fn comments_and_texts_are_not_code() {
    let text = "a /* b /* c */ d */ e // f\n'\"' \"g\\\"h\" r#\"i\"j\"# b'k' 'l: m b\"n\" '\\'' o";
    let code = code_only(text);
    assert_eq!(code.split_whitespace().collect::<Vec<_>>(), ["a", "e", "b", "'l:", "m", "b", "o"]);
    assert_eq!(code.lines().count(), 2);
}

#[test]
fn tests_are_taken_out_of_production() {
    let code =
        "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { let _ = [1; 2]; }\n}\n#[cfg(test)]\nmod c;\nfn d() {}\n";
    let (left, lines, modules) = without_tests(code);
    assert_eq!((lines, modules), (2, vec!["c".to_owned()]));
    let names: Vec<String> = functions(&left).into_iter().map(|function| function.name).collect();
    assert_eq!(names, ["a", "d"]);
}

#[test]
fn paths_are_resolved_to_the_module_of_ours_that_they_reach() {
    let code = "use crate::{core::{a, b}, host};\nuse super::super::state::X;\nuse super::y;\nfn f() { jiff::now(); }\nuse url;";
    let ours = |name: &str| Name::Ours(name.to_owned());
    let found: Vec<Name> = used("src/core/x.rs", code).into_iter().map(|used| used.name).collect();
    let other = |name: &str| Name::Other(name.to_owned());
    assert_eq!(found[..2], [ours("core"), ours("host")]);
    assert!(found.contains(&ours("state")) && found.contains(&other("jiff")) && found.contains(&other("url")));
    assert!(!found.contains(&ours("y")), "{found:?}");
    assert!(used("src/host/http/proxy.rs", "use super::super::Env;").is_empty());
    assert_eq!(used("src/host/mod.rs", "super::core::X").pop().map(|used| used.name), Some(ours("core")));
}
