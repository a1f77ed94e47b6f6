//! What tests share: servers on loopback, caches and clocks, the real binary, and worlds in virtual time.

pub(crate) mod browser;
pub(crate) mod cache;
pub(crate) mod cli;
pub(crate) mod cloud;
pub(crate) mod names;
pub(crate) mod origin;
pub(crate) mod program;
pub(crate) mod raw_server;
pub(crate) mod reader;
pub(crate) mod relay;
pub(crate) mod schemas;
pub(crate) mod service_manager;
pub(crate) mod watching;
pub(crate) mod world;

use std::io::Write;
use std::process::{Command, Stdio};

/// It is among the fuzz checks, which share it.
pub(crate) use crate::fuzz::checks::vendor;

/// Whether the test may take long: `tests/nightly` tries all points and numbers of which each run tries a part.
pub(crate) fn is_nightly() -> bool {
    std::env::var_os("FRESHEN_NIGHTLY").is_some()
}

/// Whether a program is installed. Where the variable `CI` is set, its absence is a failure.
pub(crate) fn is_installed(program: &str, package: &str) -> bool {
    if Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok() {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "{program} is not installed, and CI runs every test");
    let _ = writeln!(std::io::stderr(), "SKIPPED: {program} is not installed (tests/run installs {package})");
    false
}
