//! Folders that are mounted, mounted over and unmounted, in a namespace of the test's own.

use std::io::Write as _;
use std::process::{Command, Output};

use crate::support::cli::Bench;
use crate::support::cloud::Cloud;
use crate::support::is_installed;
use crate::support::watching::Watching;

/// Enters a new namespace of mounts, mounts the folder `one` at `site`, and becomes the program that follows.
const IN_NAMESPACE: &str = "mount --bind one site && exec \"$0\" \"$@\"";

/// How a namespace is made and entered here: as root, or as a user that is root in it. `None`: the system allows neither.
fn namespaces() -> Option<[&'static [&'static str]; 2]> {
    if !is_installed("unshare", "util-linux") || !is_installed("nsenter", "util-linux") {
        return None;
    }
    let kinds: [[&[&str]; 2]; 2] = [
        [&["--mount"], &["--mount"]],
        [&["--mount", "--user", "--map-root-user"], &["--mount", "--user", "--preserve-credentials"]],
    ];
    let bench = Bench::new().file("one/a", "").file("site/b", "");
    let works = |[make, _]: &[&[&str]; 2]| {
        let probe = [make, &["sh", "-c", IN_NAMESPACE, "true"][..]].concat();
        bench.other("unshare", &probe).status().is_ok_and(|status| status.success())
    };
    let found = kinds.into_iter().find(works);
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "no namespaces of mounts here, and CI runs every test");
        let _ =
            writeln!(std::io::stderr(), "SKIPPED: the system allows no namespaces of mounts, so nothing is mounted");
    }
    found
}

/// The program in a namespace of its own; it keeps the number of the process.
fn inside(bench: &Bench, make: &[&str], arguments: &[&str]) -> Command {
    let program = ["sh", "-c", IN_NAMESPACE, env!("CARGO_BIN_EXE_freshen")];
    bench.other("unshare", &[make, &program, arguments].concat())
}

/// W3: what is mounted over a watched folder, or was there and is gone, is seen at once; an empty mount point removes nothing.
#[test]
fn a_folder_that_is_mounted_anew_is_watched_anew() {
    let Some([make, enter]) = namespaces() else { return };
    let cloud = Cloud::of("http-purge");
    let bench = Bench::at("http-purge", &cloud);
    let bench = bench.file("one/a.html", "1").file("one/b.html", "1").file("two/a.html", "2").file("two/b.html", "1");
    std::fs::create_dir(bench.path("site")).expect("a mount point");
    bench.write("manifests/site.yaml", "base_url: http://cdn.example.com/\nsources: [{directory: ../site}]\n");
    let adopted = inside(&bench, make, &["adopt"]).output().expect("started");
    assert!(adopted.status.success(), "{}", String::from_utf8_lossy(&adopted.stderr));
    // Nothing but the mounts shows what follows.
    let watch = ["watch", "--log-format", "json", "--log-level", "debug", "--resync", "1h"];
    let mut watching = Watching::of(inside(&bench, make, &watch).spawn().expect("started"));
    watching.ends_a_run();
    let (pid, site, two) = (watching.id().to_string(), bench.path("site"), bench.path("two"));
    let [site, two] = [&site, &two].map(|path| path.to_str().expect("UTF-8"));
    let mounts = |command: &[&str]| {
        let all = [enter, &["--target", &pid], command].concat();
        let Output { status, stderr, .. } = bench.other("nsenter", &all).output().expect("started");
        assert!(status.success(), "{command:?}: {}", String::from_utf8_lossy(&stderr));
    };
    mounts(&["mount", "--bind", two, site]);
    watching.records(1);
    bench.write("two/b.html", "2");
    watching.records(1);
    mounts(&["umount", "--lazy", site]);
    watching.records(2);
    mounts(&["umount", "--lazy", site]);
    watching.says("is empty");
    mounts(&["mount", "--bind", two, site]);
    watching.says("the manifests are valid again");
    watching.records(2);
    watching.stop();
    assert_eq!(cloud.purged().len(), 6);
}
