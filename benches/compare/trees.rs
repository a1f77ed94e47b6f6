//! Directories, beside the programs that others use on them. Does not know how inputs are made.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::inputs::{HEAD, PROVIDER, remove};
use crate::manifests::adopt;
use crate::measure::{Setup, command, freshen, is_there, run, settle};
use crate::table::{Amount, Row, Table};

const FILES: usize = 100_000;
const BIG_FILES: usize = 4;
const BIG_BYTES: usize = 1 << 30;

pub(crate) fn first_scan(setup: &Setup, table: &mut Table) {
    let tree = setup.small_files("tree", setup.scaled(FILES));
    let Some(()) = installed(table, "b3sum", "--version") else { return };
    run(scan(&tree)); // It may not be in the system's cache any more.
    let (time, one) = setup.side_by_side(|| run(scan(&tree)), || run(b3sum(&tree, 1)));
    table.add(Row::time("scan", time).beside("b3sum", one).at_most_times(1.0, Duration::ZERO));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (time, all) = setup.side_by_side(|| run(scan(&tree)), || run(b3sum(&tree, cores)));
    table.add(Row::time("scan", time).beside("b3sum, a process for each core", all));
}

pub(crate) fn unchanged_tree(setup: &Setup, table: &mut Table) {
    let tree = setup.small_files("tree", setup.scaled(FILES));
    let site = setup.path("site");
    remove(&site);
    std::fs::create_dir_all(site.join("manifests")).expect("a folder");
    let text = format!("{PROVIDER}{HEAD}sources:\n  - directory: \"{}\"\n", tree.display());
    std::fs::write(site.join("manifests/site.yaml"), text).expect("written");
    adopt(&site);
    let apply = || run(freshen(&site, &["apply"]));
    table.add(Row::time("apply", setup.shortest(apply)).at_most(Amount::Time(Duration::from_millis(350))));
    if let Some(()) = installed(table, "rclone", "version") {
        let copy = setup.path("rclone");
        let sync = || run(rclone(&tree, &copy));
        let (time, rclone) = no_op(setup, &copy, apply, sync);
        table.add(Row::time("apply", time).beside("rclone sync --checksum", rclone).faster_by(60.0));
        remove(&copy);
    }
    if let Some(()) = installed(table, "hugo", "version") {
        let (config, copy) = (setup.path("hugo-site"), setup.path("hugo"));
        write_hugo_site(&config, &tree, &copy);
        let (time, hugo) = no_op(setup, &copy, apply, || run(hugo(&config)));
        table.add(Row::time("apply", time).beside("hugo deploy", hugo).faster_by(100.0));
        remove(&copy);
        remove(&config);
    }
    remove(&site);
}

pub(crate) fn big_files(setup: &Setup, table: &mut Table) {
    let folder = setup.big_files("big", BIG_FILES, setup.scaled(BIG_BYTES));
    let Some(()) = installed(table, "b3sum", "--version") else { return };
    run(scan(&folder));
    let (time, b3sum) = setup.side_by_side(|| run(scan(&folder)), || run(b3sum(&folder, 1)));
    table.add(Row::time("scan", time).beside("b3sum", b3sum).at_most_times(1.3, Duration::ZERO));
}

fn installed(table: &mut Table, program: &str, ask: &str) -> Option<()> {
    let found = is_there(program, ask).then_some(());
    if found.is_none() {
        table.skip(program, &format!("{program} is not installed"));
    }
    found
}

/// Times beside a program whose first run copies everything to `copy`.
fn no_op(setup: &Setup, copy: &Path, apply: impl FnMut(), mut other: impl FnMut()) -> (Duration, Duration) {
    other();
    assert!(files_in(copy) >= setup.scaled(FILES), "nothing was copied");
    settle();
    setup.side_by_side(apply, other)
}

fn files_in(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable"));
    entries.map(|entry| if entry.path().is_dir() { files_in(&entry.path()) } else { 1 }).sum()
}

fn scan(folder: &Path) -> Command {
    freshen(folder, &["scan", ".", "--as", "checksums"])
}

/// `b3sum` on all files of a folder, in so many processes at once.
fn b3sum(folder: &Path, processes: usize) -> Command {
    let mut shell = command("sh");
    let script = if processes == 1 {
        "find . -type f -print0 | xargs -0 b3sum"
    } else {
        "find . -type f -print0 | xargs -0 -n 2000 -P \"$0\" b3sum"
    };
    shell.args(["-c", script, &processes.to_string()]).current_dir(folder);
    shell
}

fn rclone(from: &Path, to: &Path) -> Command {
    let mut rclone = command("rclone");
    rclone.args(["sync", "--checksum", "--config", ""]).args([from, to]);
    rclone
}

fn write_hugo_site(site: &Path, public: &Path, to: &Path) {
    for folder in [site, to] {
        remove(folder);
        std::fs::create_dir_all(folder).expect("a folder");
    }
    let text = format!(
        "baseURL = \"https://www.example.com/\"\npublishDir = \"{}\"\n\n[[deployment.targets]]\nname = \"copy\"\nURL = \
         \"file://{}\"\n",
        public.display(),
        to.display()
    );
    std::fs::write(site.join("config.toml"), text).expect("written");
}

fn hugo(site: &Path) -> Command {
    let mut hugo = command("hugo");
    hugo.args(["deploy", "--maxDeletes", "-1"]).current_dir(site);
    hugo
}
