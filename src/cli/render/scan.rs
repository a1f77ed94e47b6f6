//! What `scan` prints.

use serde_json::{Value, json};

use super::{JSON_VERSION, kind_word, shown};
use crate::core::recorded::ChangeKind;
use crate::core::text::push_hex;
use crate::engine::compare::FileDifference;
use crate::host::tree::Tree;
use crate::manifest::PublishedAt;

/// A list as `b3sum` writes it; `b3sum --check` reads it in the directory.
pub(in crate::cli) fn checksums(tree: &Tree) -> String {
    let mut text = String::new();
    for file in tree.files() {
        // Line feeds and carriage returns, which are escaped as well, are in no name of a tree.
        let is_escaped = file.path.contains('\\');
        if is_escaped {
            text.push('\\');
        }
        push_hex(&mut text, file.digest);
        text.push_str("  ");
        text.push_str(&if is_escaped { file.path.replace('\\', "\\\\") } else { file.path.to_owned() });
        text.push('\n');
    }
    text
}

/// The files as JSON.
pub(in crate::cli) fn files_json(tree: &Tree, published: Option<&PublishedAt>) -> Value {
    let files: Vec<Value> = tree
        .files()
        .map(|file| {
            let url = published.and_then(|published| published.url(file.path).ok());
            json!({"path": file.path, "url": url, "hash": file.hash().as_str(), "size": file.size})
        })
        .collect();
    json!({"version": JSON_VERSION, "command": "scan", "files": files})
}

/// A difference for people.
pub(in crate::cli) fn difference(found: &FileDifference) -> String {
    let mut text = String::new();
    for (kind, path) in &found.changes {
        text.push_str(&format!("{} {}\n", kind_word(*kind), shown(path)));
    }
    text.push_str(&format!(
        "{} new, {} changed, {} removed, {} unchanged",
        count(found, ChangeKind::New),
        count(found, ChangeKind::Changed),
        count(found, ChangeKind::Removed),
        found.unchanged,
    ));
    if found.not_compared > 0 {
        text.push_str(&format!(", {} not compared (URLs that no file has, and opaque hashes)", found.not_compared));
    }
    text.push('\n');
    text
}

fn count(found: &FileDifference, kind: ChangeKind) -> usize {
    found.changes.iter().filter(|(of, _)| *of == kind).count()
}

/// A difference as JSON.
pub(in crate::cli) fn difference_json(found: &FileDifference) -> Value {
    let changes: Vec<Value> =
        found.changes.iter().map(|(kind, path)| json!({"kind": kind.word(), "path": path})).collect();
    json!({
        "version": JSON_VERSION,
        "command": "scan",
        "changes": changes,
        "unchanged": found.unchanged,
        "not_compared": found.not_compared,
    })
}
