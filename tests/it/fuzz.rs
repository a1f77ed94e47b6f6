//! The kept inputs of the fuzz targets and variants of them, as ordinary tests: what once failed stays mended without a fuzzer.

#[path = "../../fuzz/checks/mod.rs"]
pub(crate) mod checks;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fastrand::Rng;
use freshen::core::contract::Reply;
use freshen::core::http::Response;
use freshen::vendor::VENDORS;
use serde_json::Value;

use crate::support::vendor::{self, Answer};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// So many variants of each kept input are tried.
const VARIANTS: u64 = 100;
/// Longest variant.
const MOST_BYTES: usize = 8192;

fn replay(target: &str, check: fn(&[u8])) {
    let entries = std::fs::read_dir(folder().join("corpus").join(target)).expect("kept inputs");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let inputs: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).expect("an input")).collect();
    assert!(inputs.len() >= 10, "{target}: {} inputs", inputs.len());
    for (path, input) in paths.iter().zip(&inputs) {
        println!("{}", path.display());
        check(input);
        for seed in 0..VARIANTS {
            println!("variant {seed}");
            check(&variant(input, &inputs, &mut Rng::with_seed(seed)));
        }
    }
}

/// An input with a few changes: bits, bytes that are gone, twice there or those of another input.
fn variant(input: &[u8], others: &[Vec<u8>], random: &mut Rng) -> Vec<u8> {
    fn range(length: usize, random: &mut Rng) -> std::ops::Range<usize> {
        let start = random.usize(..=length);
        start..start + random.usize(..=(length - start).min(64))
    }
    let mut bytes = input.to_vec();
    for _ in 0..random.usize(1..=4) {
        let (at, other) = (random.usize(..=bytes.len()), &others[random.usize(..others.len())]);
        match random.u8(..5) {
            0 | 1 if at < bytes.len() => bytes[at] ^= 1 << random.u8(..8),
            2 => drop(bytes.drain(range(bytes.len(), random))),
            3 => drop(bytes.splice(at..at, bytes[range(bytes.len(), random)].to_vec())),
            _ => drop(bytes.splice(range(bytes.len(), random), other[range(other.len(), random)].to_vec())),
        }
    }
    bytes.truncate(MOST_BYTES);
    bytes
}

// B2, B3, Y1-Y4
#[test]
fn kept_manifests_are_read_without_a_panic_and_every_place_lies_in_its_file() {
    replay("manifest", checks::manifest::check);
}

// B2, B3, X2
#[test]
fn kept_answers_are_accepted_only_as_documented() {
    replay("answer", checks::answer::check);
}

// B2, B3, U1-U6
#[test]
fn kept_urls_are_sent_byte_for_byte_and_stay_as_many() {
    replay("url", checks::url::check);
}

// B2, B3, T5
#[test]
fn kept_waits_are_bounded() {
    replay("retry_after", checks::retry_after::check);
}

// B2, B3, D1, D3
#[test]
fn kept_checksum_lists_name_files_below_a_folder_or_say_what_is_wrong() {
    replay("checksums", checks::checksums::check);
}

// B2, B3, D1, D3
#[test]
fn kept_names_of_files_have_urls_of_their_own() {
    replay("file_names", checks::file_names::check);
}

/// The members of `value`, and those of `other` in them or beside them.
fn merged(value: Value, other: Value) -> Value {
    match (value, other) {
        (Value::Object(mut members), Value::Object(others)) => {
            for (name, other) in others {
                let member = members.remove(&name).unwrap_or_default();
                members.insert(name, merged(member, other));
            }
            members.into()
        }
        (_, other) => other,
    }
}

/// The second reading of answers knows what each vendor documents and must be able to say no: the same bodies with another
/// status, nothing, an acceptance with an error in it.
#[test]
fn the_second_reading_of_answers_knows_what_no_vendor_documents() {
    for provider in VENDORS.all() {
        let kind = provider.capabilities().kind;
        let Answer { status, body } = vendor::fact(kind, "accepted");
        let is_documented = |status: u16, body: &str| {
            let response = Response { status, headers: Vec::new(), body: body.as_bytes().to_vec() };
            let id = |id: &str| body.contains(id).then(|| id.to_owned());
            let reply = Reply { task_ids: id("T-1").into_iter().collect(), request_id: id("R-1"), ..Reply::default() };
            checks::answer::is_documented(provider, &response, &reply)
        };
        assert!(is_documented(status, body), "{kind}");
        assert!(!is_documented(302, body) && !is_documented(status + 100, body), "{kind}");
        let refusal: Answer = vendor::fact(kind, "refusal");
        assert!(!is_documented(refusal.status, refusal.body), "{kind}");
        assert!(!body.contains("T-1") || !is_documented(status, &body.replace("T-1", "")), "{kind}: an empty task");
        if let (Ok(accepted), Ok(refused)) = (serde_json::from_str(body), serde_json::from_str(refusal.body)) {
            let both = merged(accepted, refused).to_string();
            assert!(!is_documented(status, &both) && !is_documented(status, "{}"), "{kind}: {both}");
        }
    }
}

/// Name and versions of each package of a lock file.
fn locked(path: &Path) -> BTreeMap<String, Vec<String>> {
    let text = std::fs::read_to_string(path).expect("a lock file");
    let value = |line: &str| Some(line.split_once('"')?.1.trim_end_matches('"').to_owned());
    let mut packages: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut name = String::new();
    for line in text.lines() {
        if line.starts_with("name = ") {
            name = value(line).expect("a name");
        } else if line.starts_with("version = \"") {
            packages.entry(name.clone()).or_default().push(value(line).expect("a version"));
        }
    }
    assert!(packages.len() > 20, "packages are read");
    packages
}

/// What is fuzzed is what is shipped.
#[test]
fn fuzz_targets_are_built_of_the_same_crates() {
    let (ours, theirs) = (locked(&folder().with_file_name("Cargo.lock")), locked(&folder().join("Cargo.lock")));
    let differing: Vec<String> = theirs
        .iter()
        .filter_map(|(name, versions)| {
            let known = ours.get(name)?;
            let others: Vec<&String> = versions.iter().filter(|version| !known.contains(version)).collect();
            (!others.is_empty()).then(|| format!("{name}: {others:?}, in Cargo.lock {known:?}"))
        })
        .collect();
    assert!(
        differing.is_empty(),
        "copy Cargo.lock over fuzz/Cargo.lock and run fuzz/run:\n  {}",
        differing.join("\n  ")
    );
}
