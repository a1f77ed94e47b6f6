//! What tests share: servers on loopback, caches and clocks, the real binary, and worlds in virtual time.

pub(crate) mod cache;
pub(crate) mod cli;
pub(crate) mod cloud;
pub(crate) mod origin;
pub(crate) mod program;
pub(crate) mod raw_server;
pub(crate) mod relay;
pub(crate) mod watching;
pub(crate) mod world;

/// Tests that need it are skipped where the tool is missing, but not in continuous integration.
#[expect(clippy::disallowed_methods, reason = "a tool of tests")]
pub(crate) fn strace_is_there() -> bool {
    let there = std::process::Command::new("strace").arg("-V").output().is_ok();
    assert!(there || std::env::var_os("CI").is_none(), "strace is missing");
    if !there {
        eprintln!("SKIPPED: strace is not installed");
    }
    there
}
