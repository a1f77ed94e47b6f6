//! Help in the documents is what the program prints, and their lists of vendors are made from the table.
//! `UPDATE_DOCS=1 cargo test --test it readme` writes both anew.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::CommandFactory;
use freshen::cli::args::Cli;
use freshen::core::contract::{Capabilities, CredentialField, CredentialScheme, Operation, OptionShape, OptionSpec};
use freshen::core::provider::Provider;
use freshen::vendor::{VENDORS, Vendors};

/// Every command has its block here; other documents may show some of them.
const REFERENCE: &str = "docs/commands.md";
/// How wide help is shown, in columns.
const COLUMNS: &str = "100";
const FENCE: &str = "```";
const PROMPT: &str = "$ freshen";

/// The program's help for `freshen` and these verbs, without blanks at the ends of lines.
fn help(verbs: &str) -> String {
    // No terminal on any stream and no variables: width and defaults come from here alone.
    let output = Command::new(env!("CARGO_BIN_EXE_freshen"))
        .args(verbs.split_whitespace())
        .arg("--help")
        .env_clear()
        .env("COLUMNS", COLUMNS)
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    assert!(output.status.success(), "`freshen {verbs} --help` ends with {}", output.status);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// Verbs of all commands, the empty one first: `""`, `plan`, …, `state list`.
fn all_verbs(command: &clap::Command, above: &str) -> Vec<String> {
    let mut all = vec![above.to_owned()];
    for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
        all.extend(all_verbs(verb, format!("{above} {}", verb.get_name()).trim_start()));
    }
    all
}

/// Verbs of a line such as `$ freshen state list --help`.
fn shown_help(line: &str) -> Option<&str> {
    Some(line.strip_prefix(PROMPT)?.strip_suffix("--help")?.trim())
}

/// The document with the help of today in its blocks, and whose help it shows.
fn renewed(text: &str) -> (String, Vec<String>) {
    let (mut new, mut shown) = (String::new(), Vec::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        new += line;
        new.push('\n');
        if let Some(verbs) = shown_help(line) {
            new += &help(verbs);
            new += FENCE;
            new.push('\n');
            shown.push(verbs.to_owned());
            lines.by_ref().find(|line| *line == FENCE);
        }
    }
    (new, shown)
}

/// Sections for commands that the reference does not have yet.
fn missing_sections(shown: &[String]) -> String {
    let missing = all_verbs(&Cli::command(), "").into_iter().filter(|verbs| !shown.contains(verbs));
    let section = |verbs: String| {
        let command = format!("freshen {verbs}");
        let command = command.trim_end();
        format!("\n## {command}\n\n{FENCE}text\n$ {command} --help\n{}{FENCE}\n", help(&verbs))
    };
    missing.map(section).collect()
}

fn document(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn renew(name: &str) {
    let old = std::fs::read_to_string(document(name)).expect("a document");
    let (mut new, shown) = renewed(&old);
    if name == REFERENCE {
        new += &missing_sections(&shown);
        let gone: Vec<&String> = shown.iter().filter(|verbs| !all_verbs(&Cli::command(), "").contains(verbs)).collect();
        assert!(gone.is_empty(), "{name} shows commands that do not exist: {gone:?}");
    }
    if old == new {
        return;
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(document(name), new).expect("a writable document");
        return;
    }
    let at = old.lines().zip(new.lines()).position(|(old, new)| old != new).unwrap_or(old.lines().count());
    let line = |text: &str| text.lines().nth(at).unwrap_or("(the end)").to_owned();
    panic!(
        "{name}:{} says\n  {}\nand the program\n  {}\nwrite it anew: UPDATE_DOCS=1 cargo test --test it readme",
        at + 1,
        line(&old),
        line(&new)
    );
}

/// A list in a document that is made from the table of vendors.
struct VendorList {
    document: &'static str,
    /// The lines before it.
    head: &'static str,
    /// Begins each of its lines.
    mark: &'static str,
    lines: fn(Vendors) -> String,
}

const VENDOR_LISTS: [VendorList; 4] = [
    VendorList {
        document: "README.md",
        head: "| kind | vendor | operation | purges | a call | calls | a day |\n|---|---|---|---|---|---|---|\n",
        mark: "|",
        lines: operation_rows,
    },
    VendorList {
        document: "docs/manifests.md",
        head: "| kind | option | value | meaning |\n|---|---|---|---|\n",
        mark: "|",
        lines: option_rows,
    },
    VendorList {
        document: "docs/manifests.md",
        head: "| kind | field: variable |\n|---|---|\n",
        mark: "|",
        lines: credential_rows,
    },
    VendorList {
        document: "fuzz/dictionaries/manifest",
        head: "# kinds of providers\n",
        mark: "\"kind: ",
        lines: |vendors| vendors.names().iter().map(|kind| ["\"kind: ", kind, "\"\n"].concat()).collect(),
    },
];

/// What the lists of the documents say of `vendors`, a text each.
pub(crate) fn vendor_lists(vendors: Vendors) -> Vec<String> {
    VENDOR_LISTS.iter().map(|list| (list.lines)(vendors)).collect()
}

/// Each operation of each kind with its documented limits.
fn operation_rows(vendors: Vendors) -> String {
    let row = |kind: &dyn Provider, operation: &Operation| {
        let Capabilities { kind: name, summary, .. } = kind.capabilities();
        let share = if kind.quota_areas().is_empty() { "" } else { " an area" };
        let a_day = operation.targets_per_day.map_or_else(|| "no limit".to_owned(), |most| format!("{most}{share}"));
        let Operation { name: operation, scope, targets_per_call, calls, .. } = operation;
        let scope = scope.word();
        format!("| `{name}` | {summary} | `{operation}` | {scope} | {targets_per_call} | {calls} | {a_day} |\n")
    };
    let rows = |kind: &'static dyn Provider| {
        kind.capabilities().operations.iter().map(|operation| row(kind, operation)).collect::<String>()
    };
    vendors.all().map(rows).collect()
}

/// Each option of each kind.
fn option_rows(vendors: Vendors) -> String {
    let row = |kind: &Capabilities, option: &OptionSpec| {
        let value = match option.shape {
            OptionShape::OneOf(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
            shape => shape.words(),
        };
        let required = if option.required { ", required" } else { "" };
        format!("| `{}` | `{}` | {value}{required} | {} |\n", kind.kind, option.key, option.doc)
    };
    let rows = |kind: &Capabilities| kind.options.iter().map(|option| row(kind, option)).collect::<String>();
    vendors.all().map(|kind| rows(kind.capabilities())).collect()
}

/// Fields of credentials with their variables, a row for each kind that has an account.
fn credential_rows(vendors: Vendors) -> String {
    let row = |kind: &Capabilities| {
        let CredentialScheme::Fields { fields, instead } = kind.credentials else { return String::new() };
        let one = |field: &CredentialField| format!("`{}`: `{}`", field.name, field.variable);
        let optional = |field: &CredentialField| if field.is_required() { "" } else { " (optional)" };
        let fields: Vec<String> = fields.iter().map(|field| one(field) + optional(field)).collect();
        let instead = instead.map_or_else(String::new, |field| format!("; or {} alone", one(field)));
        format!("| `{}` | {}{instead} |\n", kind.kind, fields.join(", "))
    };
    vendors.all().map(|kind| row(kind.capabilities())).collect()
}

#[test]
fn lists_of_vendors_in_the_documents_are_made_from_their_table() {
    for VendorList { document: name, head, mark, lines } in VENDOR_LISTS {
        let path = document(name);
        let old = std::fs::read_to_string(&path).expect("a document");
        let (before, rest) = old.split_once(head).unwrap_or_else(|| panic!("{name} has no `{head}`"));
        let listed: usize = rest.split_inclusive('\n').take_while(|line| line.starts_with(mark)).map(str::len).sum();
        let new = format!("{before}{head}{}{}", lines(VENDORS), &rest[listed..]);
        if old != new && std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, new).expect("a writable document");
        } else {
            assert!(old == new, "{name}: write it anew: UPDATE_DOCS=1 cargo test --test it readme");
        }
    }
}

#[test]
fn reference_shows_the_help_of_every_command_as_it_is() {
    renew(REFERENCE);
}

#[test]
fn readme_shows_help_as_it_is() {
    if document("README.md").is_file() {
        renew("README.md");
    }
}

/// The names of temporary files in the documents are those of the code.
#[test]
fn temporary_files_are_those_that_are_left_out() {
    let text = std::fs::read_to_string(document("docs/manifests.md")).expect("a document");
    let part = text.split("### Temporary files").nth(1).and_then(|part| part.split("\n## ").next()).expect("a section");
    let shown: Vec<&str> = part.lines().filter(|line| line.starts_with("| `")).collect();
    let table = freshen::manifest::TEMPORARY_FILES.iter().map(|(pattern, who)| format!("| `{pattern}` | {who} |"));
    assert_eq!(shown, table.collect::<Vec<_>>());
    assert!(freshen::manifest::TEMPORARY_FOLDERS.iter().all(|folder| part.contains(&format!("`{folder}`"))));
}
