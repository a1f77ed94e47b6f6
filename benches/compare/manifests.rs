//! Runs over large manifests and checksum lists. Does not know how inputs are made.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::inputs::{change_one, checksum_list, manifest, remove};
use crate::measure::{Setup, freshen, peak, run, settle};
use crate::table::{Amount, Row, Table};

const MILLION: usize = 1_000_000;
const FILES: usize = 100;
const LISTS: usize = 10;
const MB: u64 = 1_000_000;
/// Bytes that are read and hashed at once.
const PIECE: usize = 256 * 1024;

pub(crate) fn nothing_changed(setup: &Setup, table: &mut Table) {
    let folder = setup.manifests("one", setup.scaled(MILLION), 1);
    adopt(&folder);
    let path = manifest(&folder, 0);
    let (time, digest) = setup.side_by_side(|| run(freshen(&folder, &["apply"])), || hash(&path));
    let row = Row::time("apply", time).beside("BLAKE3 of the same bytes, all cores", digest);
    table.add(row.at_most_times(1.5, Duration::from_millis(20)));
    table.add_peak("peak memory", peak(|| freshen(&folder, &["apply"])), Some(48 * MB));
}

pub(crate) fn one_changed(setup: &Setup, table: &mut Table) {
    let folder = setup.manifests("one", setup.scaled(MILLION), 1);
    adopt(&folder);
    let path = manifest(&folder, 0);
    change_one(&path);
    settle();
    let (time, yaml) = setup.side_by_side(|| plan_of_one(&folder), || parse(&path));
    table.add(Row::time("to the plan", time).at_most(Amount::Time(Duration::from_millis(600))));
    table.add(Row::time("to the plan", time).beside("the same file parsed by the YAML crate", yaml).faster_by(4.0));
    table.add_peak("peak memory", peak(|| freshen(&folder, &["plan"])), Some(200 * MB));
}

pub(crate) fn hundred_files(setup: &Setup, table: &mut Table) {
    let [same, changed] = ["hundred", "hundred-changed"].map(|name| {
        let folder = setup.manifests(name, setup.scaled(MILLION), FILES);
        adopt(&folder);
        folder
    });
    change_one(&manifest(&changed, FILES / 2));
    settle();
    let (time, nothing) = setup.side_by_side(|| plan_of_one(&changed), || run(freshen(&same, &["plan"])));
    table.add(Row::time("to the plan", time).beside("nothing changed", nothing).at_most_times(3.0, Duration::ZERO));
}

pub(crate) fn ten_million(setup: &Setup, table: &mut Table) {
    let assets = setup.scaled(10 * MILLION);
    let folder = setup.lists("lists", assets, LISTS);
    adopt(&folder);
    change_one(&checksum_list(&folder, LISTS / 2));
    settle();
    let time = setup.shortest(|| plan_of_one(&folder));
    table.add(Row::time("to the plan", time).at_most(Amount::Time(Duration::from_secs(6))));
    let peak = peak(|| freshen(&folder, &["plan"]));
    table.add_peak("peak memory", peak, Some(1500 * MB));
    table.add_peak("peak memory for each asset", peak.map(|peak| peak / assets as u64), None);
    remove(&folder.join(".freshen"));
}

/// Makes a state that knows everything in a folder.
pub(crate) fn adopt(folder: &Path) {
    remove(&folder.join(".freshen"));
    run(freshen(folder, &["adopt"]));
    settle();
}

/// A plan that has to find something to do: `plan --exit-code` would end with 3.
fn plan_of_one(folder: &Path) {
    let mut plan = freshen(folder, &["plan", "--exit-code"]);
    let ended = plan.output().expect("started");
    assert_eq!(ended.status.code(), Some(3), "{}", String::from_utf8_lossy(&ended.stderr));
}

/// Hashes the bytes of a file by all cores, none of them held longer than needed: a part for each core.
fn hash(path: &Path) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let bytes = path.metadata().expect("readable").len();
    let hash_part = |part: u64| {
        let mut file = File::open(path).expect("readable");
        let (start, end) = (part * bytes / cores, (part + 1) * bytes / cores);
        file.seek(SeekFrom::Start(start)).expect("within");
        let mut part = file.take(end - start);
        let (mut hasher, mut buffer) = (blake3::Hasher::new(), vec![0; PIECE]);
        loop {
            match part.read(&mut buffer).expect("readable") {
                0 => return hasher.finalize(),
                read => drop(hasher.update(&buffer[..read])),
            }
        }
    };
    std::thread::scope(|scope| {
        for part in 0..cores {
            scope.spawn(move || std::hint::black_box(hash_part(part)));
        }
    });
}

/// What the YAML crate makes of a manifest as simple as these.
#[derive(Deserialize)]
struct Simple {
    assets: BTreeMap<String, String>,
}

fn parse(path: &Path) {
    let text = std::fs::read_to_string(path).expect("UTF-8");
    // Its limits are for input from outside.
    let options = serde_yaml::options! { budget: None };
    let simple: Simple = serde_yaml::from_str_with_options(&text, options).expect("YAML");
    assert!(!simple.assets.is_empty());
}
