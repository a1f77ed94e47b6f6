//! Names of hosts that a test invents: the program runs in a namespace of mounts with a `hosts` file of its own.

use std::io::Write as _;
use std::process::{Child, Command};

use super::cli::{Bench, Ran};
use super::is_installed;

/// Puts the test's files in place of the system's, and becomes the program that follows. No other source of names is asked.
const IN_NAMESPACE: &str = "mount --bind names/hosts /etc/hosts && mount --bind names/nsswitch.conf /etc/nsswitch.conf \
                            && exec \"$0\" \"$@\"";

/// How a namespace is made here.
#[derive(Clone, Copy)]
pub(crate) struct Names(&'static [&'static str]);

impl Names {
    /// As root, or as a user that is root in it. `None`, and a line on standard error: the system allows neither.
    pub(crate) fn new() -> Option<Self> {
        if !is_installed("unshare", "util-linux") {
            return None;
        }
        let bench = Bench::new();
        let ways: [&[&str]; 2] = [&["--mount"], &["--mount", "--user", "--map-root-user"]];
        let found = ways.map(Names).into_iter().find(|names| {
            Names::are(&bench, &[]);
            let probe = [names.0, &["sh", "-c", IN_NAMESPACE, "true"]].concat();
            bench.other("unshare", &probe).status().is_ok_and(|status| status.success())
        });
        if found.is_none() {
            assert!(std::env::var_os("CI").is_none(), "no namespaces of mounts here, and CI runs every test");
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED: the system allows no namespaces of mounts, so no names are invented"
            );
        }
        found
    }

    /// From now on these are all names, each with its addresses.
    pub(crate) fn are(bench: &Bench, names: &[(&str, &[&str])]) {
        let mut hosts = String::new();
        for (name, addresses) in names {
            for address in *addresses {
                hosts.push_str(&format!("{address} {name}\n"));
            }
        }
        bench.write("names/hosts", hosts);
        bench.write("names/nsswitch.conf", "hosts: files\n");
    }

    fn command(self, bench: &Bench, arguments: &[&str]) -> Command {
        let program = ["sh", "-c", IN_NAMESPACE, env!("CARGO_BIN_EXE_freshen")];
        bench.other("unshare", &[self.0, &program, arguments].concat())
    }

    /// Runs to the end.
    pub(crate) fn run(self, bench: &Bench, arguments: &[&str]) -> Ran {
        Ran::of(&self.command(bench, arguments).output().expect("started"))
    }

    /// Starts a run and leaves it running; it keeps the number of the process.
    pub(crate) fn start(self, bench: &Bench, arguments: &[&str]) -> Child {
        self.command(bench, arguments).spawn().expect("started")
    }
}
