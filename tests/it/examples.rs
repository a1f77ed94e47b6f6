//! Files in `examples/` as far as they can be tried here: the command lines are ours, units are verified by systemd, manifests
//! inside them are valid.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser;
use freshen::cli::args::{Cli, Verb};
use serde_json::Value;

use crate::support::cli::Bench;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(example(name)).expect("an example")
}

/// Every document of a YAML file.
fn documents(name: &str) -> Vec<Value> {
    text(name).split("\n---\n").map(|part| serde_yaml::from_str(part).expect("YAML")).collect()
}

/// Arguments that the program takes for `watch`, with a state that outlives the container or service.
fn assert_watches(arguments: &[String]) {
    let all = std::iter::once("freshen").chain(arguments.iter().map(String::as_str));
    let cli = Cli::try_parse_from(all).unwrap_or_else(|error| panic!("{error}"));
    assert!(matches!(cli.verb, Verb::Watch(_)), "{arguments:?}");
    assert!(cli.global.state.is_absolute(), "{arguments:?}");
}

fn list(value: &Value) -> Vec<String> {
    value.as_array().expect("a list").iter().map(|text| text.as_str().expect("text").to_owned()).collect()
}

#[test]
fn command_lines_of_examples_are_taken() {
    let unit = text("freshen.service");
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("a command");
    assert_watches(&start.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>());
    assert_watches(&list(&documents("compose.yaml")[0]["services"]["freshen"]["command"]));
    let pod = &documents("kubernetes.yaml")[2]["spec"]["template"]["spec"];
    assert_watches(&list(&pod["containers"][0]["args"]));
}

/// The manifests in the ConfigMap are valid, as they would be mounted.
#[test]
fn the_config_map_holds_valid_manifests() {
    let bench = Bench::new();
    for (name, text) in documents("kubernetes.yaml")[0]["data"].as_object().expect("files") {
        bench.write(&format!("manifests/{name}"), text.as_str().expect("text"));
    }
    bench.run(&["check"]).exits(0).says("Valid: 2 manifests");
}

/// With the program in the place that the unit names nothing is wrong with it, and little is left to be hardened.
#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    let found = Command::new("systemd-analyze").arg("--version").output().is_ok_and(|ran| ran.status.success());
    if !found {
        assert!(std::env::var_os("CI").is_none(), "systemd-analyze is missing; install the package `systemd`");
        eprintln!("skipped: systemd-analyze is missing; install the package `systemd`");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let unit = folder.path().join("freshen.service");
    let program = env!("CARGO_BIN_EXE_freshen");
    std::fs::write(&unit, text("freshen.service").replace("/usr/local/bin/freshen", program)).expect("written");
    let ran = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit).output().expect("started");
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    let about_it: Vec<&str> = said.lines().filter(|line| line.contains("freshen.service")).collect();
    assert!(ran.status.success() && about_it.is_empty(), "{said}");
}
