//! What the program is built from, by `deny.toml`: what cargo itself knows is checked with each run, the rest every night.

use std::collections::BTreeSet;
use std::process::Command;

/// Licences that `deny.toml` allows.
fn allowed(deny: &str) -> BTreeSet<&str> {
    let (_, rest) = deny.split_once("\nallow = [").expect("is in deny.toml");
    let (list, _) = rest.split_once(']').expect("a list");
    list.split('"').skip(1).step_by(2).collect()
}

#[test]
fn dependencies_have_licences_and_sources_that_are_allowed() {
    let deny = include_str!("../../../deny.toml");
    let allowed = allowed(deny);
    let cargo = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--edges", "no-dev", "--prefix", "none", "--format", "{p}|{l}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo starts");
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    let text = String::from_utf8(cargo.stdout).expect("UTF-8");
    let crates: BTreeSet<&str> = text.lines().map(|line| line.trim_end_matches(" (*)")).skip(1).collect();
    assert!(crates.len() > 100, "only {} crates", crates.len());
    for line in crates {
        let (package, licence) = line.split_once('|').expect("a package and its licence");
        let mut words = package.split(' ');
        let name = words.next().expect("a name");
        // Only what is not from the registry is followed by where it is from.
        let elsewhere = words.skip(1).find(|word| !word.is_empty() && *word != "(proc-macro)");
        assert_eq!(elsewhere, None, "{name} is not from the registry");
        let expression = spdx::Expression::parse_mode(licence, spdx::ParseMode::LAX);
        let expression = expression.unwrap_or_else(|error| panic!("{name}: {error}"));
        let is_exception = deny.contains(&format!("{{ crate = \"{name}\", allow = [\"{licence}\"] }}"));
        let is_allowed = expression.evaluate(|term| allowed.contains(term.license.to_string().as_str()));
        assert!(is_allowed || is_exception, "{name}: {licence}");
    }
}
