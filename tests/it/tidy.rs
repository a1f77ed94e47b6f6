//! The tree checked as a whole: which layer may use which, sizes, words that have no place here, tables without gaps. Reads
//! files and nothing else.

mod circles;
mod dependencies;
mod prose;
mod source;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use freshen::core::contract::CredentialScheme;
use freshen::core::http::Endpoint;
use freshen::core::target::Scope;
use freshen::core::time::Timestamp;
use freshen::host::manifest_files::read_manifests;
use freshen::host::sources::Sources;
use freshen::manifest::{self, Severity};
use freshen::vendor::VENDORS;
use freshen::vendor::emulation::{Afterwards, Setup};
use serde_json::Value;

use crate::newcomer::with_newcomer;
use crate::support::vendor;

use source::{Name, Source, functions, used};

/// A part of `src` with everything that it may use besides the standard library, each with the reason.
struct Layer {
    /// Path from the root of the package: a folder or a file.
    at: &'static str,
    /// Values in, values out: no effects, no clock, no waiting.
    pure: bool,
    /// Modules of ours.
    ours: &'static [(&'static str, &'static str)],
    /// Crates of others.
    crates: &'static [(&'static str, &'static str)],
}

const LAYERS: &[Layer] = &[
    Layer {
        at: "src/core/",
        pure: true,
        ours: &[],
        crates: &[
            ("blake3", "what a purge is about, in a digest that is kept"),
            ("jiff", "civil dates of quota days and signatures"),
            ("secrecy", "the value that cannot be printed"),
            ("thiserror", "texts of typed errors"),
        ],
    },
    Layer {
        at: "src/manifest/",
        pure: true,
        ours: &[("core", "the model it builds"), ("vendor", "which options each kind takes")],
        crates: &[
            ("serde", "what the YAML crate hands over, problems for programs"),
            ("serde_yaml", "the one reader of YAML"),
            ("serde_json", "the JSON Schema"),
            ("url", "what a strict parser makes of a URL, for warnings"),
            ("base64", "hashes in the integrity form"),
            ("memchr", "fast reading of simple lists"),
            ("globset", "patterns of files are checked where they are written"),
            ("percent_encoding", "the canonical spelling of URLs"),
            ("strsim", "the word that was probably meant"),
            ("regex", "expressions of `normalize` are checked where they are written"),
            ("thiserror", "texts of typed errors"),
        ],
    },
    Layer {
        at: "src/vendor/",
        pure: true,
        ours: &[("core", "the contract it fulfils")],
        crates: &[
            ("serde", "bodies of requests"),
            ("serde_json", "bodies of requests and answers"),
            ("hmac", "signatures"),
            ("sha1", "signatures"),
            ("sha2", "signatures"),
            ("base64", "signatures"),
            ("percent_encoding", "canonical queries"),
            ("url", "the parts of a target"),
            ("jiff", "dates in signatures and answers"),
            ("secrecy", "signing keys are wiped after use"),
            ("zeroize", "signing keys are wiped after use"),
        ],
    },
    Layer {
        at: "src/state/",
        pure: false,
        ours: &[("core", "what is stored")],
        crates: &[
            ("blake3", "what the tables of a state are to be, in short"),
            ("rusqlite", "the embedded store"),
            ("rustix", "times of the sealed file, set by its name"),
            ("serde_json", "lists in a column"),
            ("thiserror", "texts of typed errors"),
        ],
    },
    Layer {
        at: "src/host/",
        pure: false,
        ours: &[
            ("core", "requests, times and credentials"),
            ("manifest", "the file that is handed over to be checked"),
        ],
        crates: &[
            ("blake3", "fingerprints of accounts, hashes of files"),
            ("brotli_decompressor", "bodies that probes read"),
            ("fastrand", "the seed of a run"),
            ("flate2", "bodies that probes read"),
            ("futures_util", "several things awaited at once"),
            ("globset", "patterns of files"),
            ("ignore", "walking folders"),
            ("jiff", "expiry of credentials"),
            ("md_5", "hashes of files that lists name"),
            ("notify", "changed files"),
            ("reqwest", "HTTP"),
            ("rustix", "files that cannot be reached over links"),
            ("ruzstd", "bodies that probes read"),
            ("rustls", "TLS"),
            ("secrecy", "credentials in memory"),
            ("serde", "credential files"),
            ("serde_json", "credential files"),
            ("sha1", "hashes of files that lists name"),
            ("sha2", "hashes of files that lists name"),
            ("thiserror", "texts of typed errors"),
            ("tokio", "waiting"),
            ("url", "what the HTTP crate takes"),
        ],
    },
    Layer {
        at: "src/engine/redact.rs",
        pure: true,
        ours: &[("core", "credentials and requests")],
        crates: &[
            ("base64", "credentials in an encoding that servers use"),
            ("percent_encoding", "credentials as they look in a query"),
            ("secrecy", "characters that are wiped after use"),
        ],
    },
    Layer {
        at: "src/engine/",
        pure: false,
        ours: &[
            ("core", "difference, plan, guards and the machine that it runs"),
            ("host", "the effects it performs"),
            ("manifest", "what is desired"),
            ("state", "what is recorded"),
            ("vendor", "emulators of a rehearsal"),
        ],
        crates: &[
            ("anyhow", "context of errors"),
            ("blake3", "digests of manifests, plans and configurations"),
            ("fastrand", "nonces from the seed of the run"),
            ("futures_util", "calls under way at once"),
            ("secrecy", "invented credentials of a rehearsal"),
            ("serde", "lines that are exported and imported"),
            ("serde_json", "lines of the audit log and of exports"),
            ("thiserror", "texts of typed errors"),
            ("tokio", "waiting"),
        ],
    },
    Layer {
        at: "src/serve/",
        pure: false,
        ours: &[("core", "the report that it shows"), ("host", "the clock")],
        crates: &[
            ("axum", "routes and answers"),
            ("base64", "the token as browsers send it"),
            ("blake3", "tokens are compared by their digests"),
            ("futures_util", "events as a stream"),
            ("hyper", "reading requests within limits"),
            ("hyper_util", "what joins the two above"),
            ("prometheus_client", "metrics"),
            ("serde_json", "events"),
            ("tokio", "sockets"),
        ],
    },
    Layer {
        at: "src/daemon/",
        pure: false,
        ours: &[
            ("core", "the machine that says when, and the report"),
            ("engine", "what a run is"),
            ("host", "files, clocks and the token"),
            ("manifest", "problems of manifests"),
            ("serve", "the listener that it starts"),
            ("state", "where runs record"),
        ],
        crates: &[
            ("anyhow", "context of errors"),
            ("sd_notify", "readiness and signs of life"),
            ("tokio", "waiting and signals"),
            ("tracing", "the log"),
        ],
    },
    Layer {
        at: "src/cli/",
        pure: false,
        ours: &[
            ("core", "values that it shows"),
            ("daemon", "what stays up"),
            ("engine", "what a run is"),
            ("host", "effects, directories and own files"),
            ("manifest", "problems, patterns and written manifests"),
            ("state", "where the state is"),
            ("vendor", "the table of kinds"),
        ],
        crates: &[
            ("annotate_snippets", "problems at their lines"),
            ("anstream", "colour where it is allowed"),
            ("anstyle", "colour"),
            ("anyhow", "context of errors"),
            ("clap", "arguments"),
            ("clap_complete", "completions of shells"),
            ("clap_mangen", "the manual page"),
            ("comfy_table", "tables"),
            ("indicatif", "progress"),
            ("serde", "results that are written as they are made"),
            ("serde_json", "results for programs"),
            ("tokio", "threads that read directories"),
            ("tracing", "the log of the watch"),
            ("tracing_subscriber", "the log of the watch"),
        ],
    },
    Layer {
        at: "src/main.rs",
        pure: false,
        ours: &[("cli", "what it runs"), ("host", "whether the system gives it what every run needs")],
        crates: &[("anstream", "the last words of a panic"), ("rustix", "no core dumps"), ("tokio", "the runtime")],
    },
    Layer { at: "src/lib.rs", pure: true, ours: &[], crates: &[] },
];

/// Crates that only one place names, with the reason; stronger than any layer.
const ONLY_IN: &[(&str, &str, &str)] = &[
    ("rusqlite", "src/state/", "nothing of SQL leaks out of the store"),
    ("serde_yaml", "src/manifest/load.rs", "the YAML crate can be replaced in one file"),
    ("reqwest", "src/host/http", "one client sends"),
    ("rustls", "src/host/http", "one client sends"),
    ("clap", "src/cli/", "arguments are the edge's"),
    ("notify", "src/host/", "events of files are an effect"),
    ("axum", "src/serve/", "one place listens"),
    ("prometheus_client", "src/serve/metrics.rs", "metrics have one form"),
];

/// What pure layers do not do, as it looks in code.
const EFFECTS: &[&str] = &[
    "std::fs",
    "std::env",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "ToSocketAddrs",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "Timestamp::now",
    "Zoned::now",
    "async fn",
    "async move",
    ".await",
];

const FUNCTION_LINES: usize = 70;
const FILE_LINES: usize = 600;

/// Files above the limit that are to be split, with the size they must not outgrow until then.
const TOO_LONG: &[(&str, usize, &str)] = &[];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn assert_none(problems: &[String], advice: &str) {
    assert!(problems.is_empty(), "{advice}\n  {}", problems.join("\n  "));
}

fn layer_of(path: &str) -> Option<&'static Layer> {
    // A file with the folder of its modules is one.
    let is_below =
        |file: &str| path.strip_prefix(file.trim_end_matches(".rs")).is_some_and(|rest| rest.starts_with('/'));
    LAYERS.iter().find(|layer| match layer.at {
        folder if folder.ends_with('/') => path.starts_with(folder),
        file => path == file || is_below(file),
    })
}

/// Names of the packages' dependencies as code spells them.
fn dependencies() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("Cargo.toml")).expect("a manifest");
    let mut section = "";
    let mut names = Vec::new();
    for line in text.lines() {
        if line.starts_with('[') {
            section = line.trim();
        } else if let ("[dependencies]", Some((name, _))) = (section, line.split_once('=')) {
            names.push(name.trim().replace('-', "_"));
        }
    }
    assert!(names.len() > 5, "dependencies are read");
    names
}

#[test]
fn layers_use_only_what_their_table_allows() {
    let dependencies = dependencies();
    let allowed = |list: &[(&str, &str)], name: &str| list.iter().any(|(known, _)| *known == name);
    let mut problems = Vec::new();
    for Source { path, code, .. } in source::production(root()) {
        let Some(layer) = layer_of(&path) else {
            problems.push(format!("{path}: belongs to no layer"));
            continue;
        };
        let own = layer.at.trim_start_matches("src/").trim_end_matches(['/']).trim_end_matches(".rs");
        for used in used(&path, &code) {
            let at = format!("{path}:{}", used.line);
            match used.name {
                Name::Ours(name) if name == own || allowed(layer.ours, &name) => {}
                Name::Ours(name) => problems.push(format!("{at}: {} does not use our `{name}`", layer.at)),
                Name::Other(name) if !dependencies.contains(&name) => {}
                Name::Other(name) => {
                    if !allowed(layer.crates, &name) {
                        problems.push(format!("{at}: {} does not use the crate `{name}`", layer.at));
                    }
                    let only = ONLY_IN.iter().find(|(known, ..)| *known == name);
                    if let Some((_, place, reason)) = only.filter(|(_, place, _)| !path.starts_with(place)) {
                        problems.push(format!("{at}: only {place} names `{name}`: {reason}"));
                    }
                }
            }
        }
        let impure = EFFECTS.iter().filter(|effect| layer.pure && code.contains(**effect));
        problems.extend(impure.map(|effect| format!("{path}: {} is pure, so no `{effect}`", layer.at)));
    }
    assert_none(
        &problems,
        "take the value as an argument, or give a reason in the table at the top of tests/it/tidy.rs:",
    );
}

#[test]
fn no_modules_of_a_folder_use_each_other_in_a_circle() {
    let problems = circles::circles(&source::production(root()));
    assert_none(&problems, "move what both need to the one that the other uses, or to a file of its own:");
}

#[test]
fn functions_and_files_stay_small() {
    let mut problems = Vec::new();
    for Source { path, code, lines, .. } in source::production(root()) {
        let long = functions(&code).into_iter().filter(|function| function.lines > FUNCTION_LINES);
        problems.extend(long.map(|long| {
            format!("{path}:{}: `{}` has {} lines, the limit is {FUNCTION_LINES}", long.line, long.name, long.lines)
        }));
        let exception = TOO_LONG.iter().find(|(known, ..)| *known == path);
        let limit = exception.map_or(FILE_LINES, |(_, limit, _)| *limit);
        if lines > limit {
            problems.push(format!("{path}: {lines} lines without tests, the limit is {limit}"));
        }
        if exception.is_some() && lines <= FILE_LINES {
            problems.push(format!("{path}: {lines} lines are within the limit: take it off the list of exceptions"));
        }
    }
    assert_none(&problems, "split by idea:");
}

#[test]
fn modules_open_with_what_they_are_for() {
    let headless = |(path, text): (String, String)| (!text.starts_with("//! ")).then_some(path);
    let production = source::production(root()).into_iter().map(|source| (source.path, source.text));
    let tests = source::files_below(&root().join("tests"), "rs").into_iter().map(|path| {
        let text = std::fs::read_to_string(&path).expect("UTF-8");
        (source::shown(root(), &path), text)
    });
    let problems: Vec<String> = production.chain(tests).filter_map(headless).collect();
    assert_none(&problems, "begin with `//!`, the module's job and what it does not know:");
}

/// Everything that is written by hand.
fn texts() -> Vec<(String, String)> {
    let folders = ["src", "tests", "fuzz", "benches", "docs", "manifests", "examples", ".github", ".ci"];
    let files =
        ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "Cargo.toml", "deny.toml", "clippy.toml", "rustfmt.toml"];
    let mut paths: Vec<PathBuf> = files.iter().map(|file| root().join(file)).filter(|path| path.is_file()).collect();
    paths.extend(folders.iter().flat_map(|folder| source::files_below(&root().join(folder), "")));
    let text =
        |path: PathBuf| Some((source::shown(root(), &path), String::from_utf8(std::fs::read(&path).ok()?).ok()?));
    paths.into_iter().filter_map(text).collect()
}

#[test]
fn leftovers_and_machine_paths_are_gone() {
    // In pieces, so that this file does not find itself.
    let words = [
        (concat!("dbg", "!("), "print nothing while debugging"),
        (concat!("to", "do!("), "finish it"),
        (concat!("unimplemented", "!("), "finish it"),
        (concat!("FIX", "ME"), "fix it, or open an issue and name it"),
        (concat!("#[", "allow("), "use #[expect(.., reason = \"..\")]"),
        (concat!("#![", "allow("), "use #[expect(.., reason = \"..\")]"),
        (concat!("/ro", "ot/"), "a path of one machine"),
        (concat!("/wo", "rk/"), "a path of one machine"),
        (concat!("/ho", "me/"), "a path of one machine"),
        (concat!("/Us", "ers/"), "a path of one machine"),
    ];
    let issue = |line: &str| line.split('#').skip(1).any(|rest| rest.starts_with(|char: char| char.is_ascii_digit()));
    let mut problems = Vec::new();
    for (path, text) in texts() {
        for (number, line) in text.lines().enumerate() {
            let at = format!("{path}:{}", number + 1);
            let found = words.iter().filter(|(word, _)| line.contains(word));
            problems.extend(found.map(|(word, advice)| format!("{at}: `{word}`: {advice}")));
            if line.contains(concat!("TO", "DO")) && !issue(line) {
                problems.push(format!("{at}: something to do without an issue"));
            }
        }
    }
    assert_none(&problems, "these have no place here:");
}

/// Ids of requirements that a line of code names in a comment, or the simulation in a claim.
fn requirement_ids(line: &str) -> impl Iterator<Item = &str> {
    let comment = line.find("// ").map(|at| &line[at..]);
    let claim = line.split_once("violated(").map(|(_, claim)| claim);
    let words = comment.into_iter().chain(claim).flat_map(|text| {
        text.split(|char: char| !char.is_alphanumeric() && !matches!(char, '%' | '`' | '.' | '-' | '_' | '/'))
    });
    words.map(|word| word.trim_end_matches('.')).filter(|word| {
        let digits = word.strip_prefix(|char: char| "SLCRTYUDXWHBP".contains(char)).unwrap_or_default();
        !digits.is_empty() && digits.len() <= 2 && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

#[test]
fn every_requirement_that_is_named_has_its_line() {
    let table = std::fs::read_to_string(root().join("docs/requirements.md")).expect("the table of requirements");
    let known: Vec<&str> =
        table.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next()).filter(|id| *id != "id").collect();
    assert!(known.len() > 80, "the table is read");
    let (mut named, mut problems) = (0, Vec::new());
    for (path, text) in texts().into_iter().filter(|(path, _)| Path::new(path).extension() == Some("rs".as_ref())) {
        for (number, line) in text.lines().enumerate() {
            for id in requirement_ids(line) {
                named += 1;
                if !known.contains(&id) {
                    problems.push(format!("{path}:{}: {id}", number + 1));
                }
            }
        }
    }
    assert!(named > 400, "ids are found: {named}");
    assert_none(&problems, "give it a line in docs/requirements.md, or write it in words:");
}

#[test]
fn production_prints_through_one_crate() {
    let mut problems = Vec::new();
    for Source { path, code, .. } in source::production(root()) {
        for macro_name in ["println!", "eprintln!", "print!", "eprint!"] {
            for (at, _) in code.match_indices(macro_name) {
                let before = &code[..at];
                let of_std = !before.ends_with("anstream::") && !before.ends_with(|char: char| char.is_alphanumeric());
                if of_std {
                    problems.push(format!("{path}:{}: `{macro_name}`", 1 + before.matches('\n').count()));
                }
            }
        }
    }
    assert_none(
        &problems,
        "print through anstream, which knows where colour is allowed and does not panic on closed pipes:",
    );
}

/// A command without the state and the manifests of its program does something else where it is pasted. Those about
/// neither may stand anywhere.
#[test]
fn commands_are_offered_from_one_place() {
    const VERBS: [&str; 8] = ["plan", "apply", "watch`", "adopt", "check", "status", "explain", "state"];
    let mut problems = Vec::new();
    for Source { path, text, .. } in source::production(root()) {
        let production = text.split("#[cfg(test)]").next().unwrap_or_default();
        let code: Vec<&str> = production.lines().map(str::trim).filter(|line| !line.starts_with("//")).collect();
        // A text may go on in the next line.
        let code = code.join("\n").replace("\\\n", "");
        let offered = code.match_indices("freshen ").filter_map(|(at, word)| {
            let rest = &code[at + word.len()..];
            VERBS.iter().find(|verb| rest.starts_with(**verb))
        });
        problems.extend(offered.map(|verb| format!("{path}: `freshen {verb}`")));
    }
    assert_none(&problems, "let core/command_line.rs spell it:");
}

#[test]
fn every_kind_has_vectors_and_an_emulator() {
    let folder = root().join("tests/it/golden/vectors");
    let mut problems = Vec::new();
    for provider in VENDORS.all() {
        let kind = provider.capabilities().kind;
        let file = format!("{kind}.json");
        // What signs nothing has no vector.
        let signs = provider.capabilities().credentials != CredentialScheme::Headers;
        if signs && !folder.join(&file).is_file() {
            problems.push(format!("{kind}: no vectors in tests/it/golden/vectors/{file}"));
        }
        let setup = Setup {
            kind: kind.to_owned(),
            endpoint: Endpoint {
                tls: true,
                host: "api.example.com".to_owned(),
                port: None,
                path_prefix: String::new(),
                address: None,
            },
            credentials: vendor::credentials(provider, ("id", "secret", None)),
            options: vendor::options(provider),
            hosts: Vec::new(),
            limits: BTreeMap::new(),
            afterwards: Afterwards::default(),
        };
        if VENDORS.emulator(setup).is_none() {
            problems.push(format!("{kind}: no emulator"));
        }
        let is_asked = provider.quota_query().is_some() || provider.task_query().is_some();
        if is_asked == vendor::fact::<Vec<&str>>(kind, "queries").is_empty() {
            problems.push(format!("{kind}: `queries` says by which words its queries are known, if it has any"));
        }
        let has_directories = provider.capabilities().operation(Scope::Directory).is_some();
        if has_directories != vendor::fact::<Option<Value>>(kind, "directories").is_some() {
            problems.push(format!("{kind}: `directories` says by which words their purges are known, if it has any"));
        }
    }
    let facts = source::files_below(&root().join(vendor::FOLDER), "yaml");
    let known = with_newcomer().names();
    for path in source::files_below(&folder, "json").into_iter().chain(facts) {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if !known.contains(&stem.as_str()) {
            problems.push(format!("{}: of no kind", source::shown(root(), &path)));
        }
    }
    assert_none(&problems, "a kind is not complete:");
}

#[test]
fn every_example_manifest_is_valid() {
    let examples = root().join("manifests");
    let (paths, lists): (Vec<PathBuf>, Vec<PathBuf>) = source::files_below(&examples, "")
        .into_iter()
        .partition(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    assert!(!paths.is_empty(), "there are examples");
    let files = match read_manifests(&[examples]).map(|found| found.files) {
        Ok(files) => files,
        Err(problems) => panic!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
    };
    assert_eq!(files.len(), paths.len(), "every file in manifests/ is read as a manifest");
    let mut sources = Sources::new(Timestamp::from_unix_ms(0), Box::new(|_| None));
    let built = manifest::build_with(&files, manifest::BuildOptions::default(), &mut sources);
    assert_eq!(sources.named().len(), lists.len(), "every other file is a list that a manifest names");
    let errors = built.diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
    let problems: Vec<String> = errors.map(|error| format!("{error:?}")).collect();
    assert_none(&problems, "an example is not valid:");
    assert!(built.model.is_some_and(|model| model.manifests.len() == paths.len() && !model.entries.is_empty()));
}
