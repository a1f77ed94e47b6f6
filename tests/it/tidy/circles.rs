//! Which modules of a folder use each other in a circle. Follows paths as they are written; what a module above hands on under a
//! name of its own counts for that module.

use std::collections::{BTreeMap, BTreeSet};

use super::source::Source;

/// A module by its path from the root of the crate.
type Module = Vec<String>;

/// The uses between the modules of a folder that close a circle, an example each.
pub(super) fn circles(sources: &[Source]) -> Vec<String> {
    let modules: BTreeMap<Module, &Source> = sources.iter().map(|source| (module_of(&source.path), source)).collect();
    let mut edges: BTreeMap<(Module, String), BTreeMap<String, &str>> = BTreeMap::new();
    for (module, source) in &modules {
        for path in paths(module, &source.code) {
            let used = (0..=path.len()).rev().map(|end| &path[..end]).find(|start| modules.contains_key(*start));
            let used = used.unwrap_or_default();
            let folder = module.iter().zip(used).take_while(|(a, b)| a == b).count();
            if let (Some(user), Some(used)) = (module.get(folder), used.get(folder)) {
                let of_user = edges.entry((module[..folder].to_vec(), user.clone())).or_default();
                of_user.entry(used.clone()).or_insert(&source.path);
            }
        }
    }
    let reaches = |folder: &Module, from: &String, to: &String| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(module) = next.pop() {
            if seen.insert(module) {
                next.extend(edges.get(&(folder.clone(), module.clone())).into_iter().flat_map(BTreeMap::keys));
            }
        }
        seen.contains(to)
    };
    let mut found = Vec::new();
    for ((folder, user), used) in &edges {
        let closing = used.iter().filter(|(used, _)| reaches(folder, used, user));
        let folder = folder.join("/");
        found.extend(closing.map(|(used, path)| format!("src/{folder}: `{user}` uses `{used}` ({path}), and back")));
    }
    found
}

fn module_of(path: &str) -> Module {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
    let inner = ["/mod", "lib", "main"].iter().fold(inner, |inner, end| inner.strip_suffix(end).unwrap_or(inner));
    inner.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// All paths of ours in the code of a module, from the root of the crate.
fn paths(module: &Module, code: &str) -> Vec<Module> {
    let words = words(code);
    let mut found = Vec::new();
    for at in 0..words.len() {
        let base = match words[at] {
            "crate" | "freshen" => &module[..0],
            "super" => &module[..module.len().saturating_sub(1)],
            "self" => &module[..],
            _ => continue,
        };
        if words.get(at + 1) == Some(&"::") && (at == 0 || words[at - 1] != "::") {
            branches(&words, at + 2, base.to_vec(), &mut found);
        }
    }
    found
}

/// Identifiers, `::` and single signs.
fn words(code: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_word = |char: char| char.is_alphanumeric() || char == '_';
        let length = match first {
            _ if is_word(first) => rest.find(|char| !is_word(char)).unwrap_or(rest.len()),
            ':' if rest.starts_with("::") => 2,
            _ => first.len_utf8(),
        };
        words.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    words
}

/// Adds the paths that go on from `base` at a word, which may open a group; returns where they end.
fn branches(words: &[&str], mut at: usize, mut base: Module, found: &mut Vec<Module>) -> usize {
    loop {
        match words.get(at) {
            Some(&"{") => {
                at += 1;
                while words.get(at).is_some_and(|word| *word != "}") {
                    at = branches(words, at, base.clone(), found);
                    while words.get(at).is_some_and(|word| !matches!(*word, "}" | ",")) {
                        at += 1; // `as` and a name
                    }
                    at += usize::from(words.get(at) == Some(&","));
                }
                return at + 1;
            }
            Some(&"super") => drop(base.pop()),
            Some(word) => base.push((*word).to_owned()),
            None => return at,
        }
        at += 1;
        if words.get(at) != Some(&"::") {
            found.push(base);
            return at;
        }
        at += 1;
    }
}

#[test]
fn circles_are_found_by_any_path() {
    let source =
        |path: &str, code: &str| Source { path: path.to_owned(), text: String::new(), code: code.to_owned(), lines: 0 };
    let sources = [
        source("src/core/mod.rs", "mod a; mod b; mod c;"),
        source("src/core/a.rs", "use super::{x::Y, b::{self, B as C}};"),
        source("src/core/b/inner.rs", "fn f() { crate::core::c::g(); }"),
        source("src/core/b.rs", ""),
        source("src/core/c.rs", "use crate::{core::{a}, host};"),
        source("src/core/d.rs", "use super::a; use super::super::host::h;"),
        source("src/host/h.rs", "use crate::core::d;"),
    ];
    let found: Vec<String> = circles(&sources).iter().map(|one| one.replace(", and back", "")).collect();
    assert_eq!(
        found,
        [
            "src/: `core` uses `host` (src/core/d.rs)",
            "src/: `host` uses `core` (src/host/h.rs)",
            "src/core: `a` uses `b` (src/core/a.rs)",
            "src/core: `b` uses `c` (src/core/b/inner.rs)",
            "src/core: `c` uses `a` (src/core/c.rs)",
        ]
    );
}
